package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// settings returns what flags and variables make of the settings.
func settings(t *testing.T, args string, environ ...string) *config.Loaded {
	t.Helper()
	l, err := load(args, environ...)
	if err != nil {
		t.Fatalf("sioedge %s with %q: %v", args, environ, err)
	}
	return l
}

func load(args string, environ ...string) (*config.Loaded, error) {
	f := config.Flags("serve")
	if err := f.Parse(strings.Fields(args)); err != nil {
		return nil, err
	}
	return config.Load(config.Sources{Flags: f, Environ: environ})
}

// optionsOf returns what the library gets.
func optionsOf(t *testing.T, l *config.Loaded) sio.Options {
	t.Helper()
	o, err := options(l, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestEnvironmentSetsWhatFlagsDoNot(t *testing.T) {
	c := settings(t, "--ping-timeout 7s", "SIOEDGE_PING_INTERVAL=3s", "SIOEDGE_PING_TIMEOUT=9s", "SIOEDGE_LISTEN=:1", "HOME=/")
	if c.Ping.Interval != 3*time.Second || c.Ping.Timeout != 7*time.Second || len(c.Listen) != 1 || c.Listen[0] != ":1" {
		t.Errorf("ping interval %v, ping timeout %v, listen %v; want 3s, 7s, [:1]", c.Ping.Interval, c.Ping.Timeout, c.Listen)
	}
}

func TestMistakesAreUsageErrors(t *testing.T) {
	for name, args := range map[string][]string{
		"a flag that does not exist":       {"serve", "--no-such-flag"},
		"a value that is no duration":      {"--ping-interval", "soon"},
		"an argument":                      {"serve", "now"},
		"a transport that does not exist":  {"serve", "--transports", "pigeon"},
		"a hard bound under the soft one":  {"serve", "--queue-hard-max", "1KiB"},
		"no time to be slow":               {"serve", "--slow-after", "0s"},
		"a size that is none":              {"serve", "--queue-max", "much"},
		"a log level that does not exist":  {"serve", "--log-level", "loud"},
		"no payload at all":                {"serve", "--max-payload", "0"},
		"the demo in production":           {"serve", "--demo", "--env", "production"},
		"a ping interval of nothing":       {"serve", "--ping-interval", "-1s"},
		"a directory that is not there":    {"serve", "--client-dir", "/nonexistent"},
		"more loops than there can be":     {"serve", "--loops", "1000"},
		"negative descriptors":             {"serve", "--max-conns", "-1"},
		"a log format that does not exist": {"serve", "--log-format", "xml"},
		"a parser that does not exist":     {"serve", "--parser", "xml"},
		"a command that does not exist":    {"launch"},
		"compression that is not known":    {"serve", "--compress", "some"},
		"a compression level beyond nine":  {"serve", "--compress-level", "10"},
		"a threshold of nothing":           {"serve", "--compress-threshold", "0"},
		"an inflated size that is none":    {"serve", "--max-inflated", "big"},
		"a path that cannot be one":        {"serve", "--path", "/a b/"},
		"an origin without a scheme":       {"serve", "--origins", "example.com"},
		"a cookie's name that is none":     {"serve", "--cookie", "a b"},
		"an adapter that does not exist":   {"serve", "--adapter", "carrier-pigeon"},
		"an adapter of an unknown kind":    {"serve", "--adapter", "redis+pigeon://localhost"},
		"an advertised path":               {"serve", "--adapter", "redis://127.0.0.1:1", "--advertise", "http://a/b"},
		"no tunnels at all":                {"serve", "--max-tunnels", "0"},
		"a namespace with a comma":         {"serve", "--namespace", "/a,b"},
		"no depth at all":                  {"serve", "--max-depth", "0"},
		"fewer than no rooms":              {"serve", "--max-rooms", "-1"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command()
			cmd.SetArgs(append(args, "--listen", "127.0.0.1:0"))
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			var usage usageError
			if err := cmd.Execute(); !errors.As(err, &usage) {
				t.Errorf("sioedge %s: %v, want a usage error", strings.Join(args, " "), err)
			}
		})
	}
}

func TestCompressionFlags(t *testing.T) {
	for args, want := range map[string]*eio.Compression{
		"":                     nil,
		"--compress off":       nil,
		"--compress all":       {Threshold: 1024, Level: 1, MaxInflated: 4_000_000},
		"--compress broadcast": {Threshold: 1024, Level: 1, MaxInflated: 4_000_000, PreparedOnly: true},
		"--compress all --compress-threshold 200 --compress-level 6 --max-inflated 2MB": {Threshold: 200, Level: 6, MaxInflated: 2_000_000},
	} {
		c := settings(t, args)
		o := optionsOf(t, c)
		if !reflect.DeepEqual(o.PerMessageDeflate, want) {
			t.Errorf("sioedge %s: Compression = %+v, want %+v", args, o.PerMessageDeflate, want)
		}
		if got := o.HTTPCompression.Threshold; got != int(c.Compress.Threshold) {
			t.Errorf("sioedge %s: HTTPCompression.Threshold = %d, want %d", args, got, c.Compress.Threshold)
		}
	}
}

// No bound is a number that nothing reaches, since zero of the library's is one.
func TestInstancesFlag(t *testing.T) {
	for args, want := range map[string]int{"": 100_000, "--max-instances 5": 5, "--max-instances 0": math.MaxInt} {
		if o := optionsOf(t, settings(t, args)); o.MaxInstances != want {
			t.Errorf("sioedge %s: MaxInstances = %d, want %d", args, o.MaxInstances, want)
		}
	}
}

func TestOldClientsAreServedIfAsked(t *testing.T) {
	for args, want := range map[string]bool{"": false, "--eio3": true} {
		if o := optionsOf(t, settings(t, args)); o.AllowEIO3 != want {
			t.Errorf("sioedge %s: AllowEIO3 = %v, want %v", args, o.AllowEIO3, want)
		}
	}
}

func TestUnknownEnvironmentIsRefused(t *testing.T) {
	for _, name := range []string{"SIOEDGE_PING_INTERVALL", "SIOEDGE_LISTEN_PORTS", "SIOEDGE_SERVICE", "SIOEDGE_PORT_TCP"} {
		if _, err := load("", name+"=3s"); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("with %s: %v, want an error that names it", name, err)
		}
	}
}

// Kubernetes tells every container of a Service by the names of its variables.
func TestVariablesOfAServiceAreNotOurs(t *testing.T) {
	got := settings(t, "",
		"SIOEDGE_SERVICE_HOST=10.0.0.1", "SIOEDGE_SERVICE_PORT=3000", "SIOEDGE_SERVICE_PORT_HTTP=3000", "SIOEDGE_PORT=tcp://10.0.0.1:3000",
		"SIOEDGE_PORT_3000_TCP=tcp://10.0.0.1:3000", "SIOEDGE_PORT_3000_TCP_PROTO=tcp", "SIOEDGE_PORT_3000_TCP_PORT=3000", "SIOEDGE_PORT_3000_TCP_ADDR=10.0.0.1",
		"SIOEDGE_REDIS_SERVICE_HOST=10.0.0.2", "SIOEDGE_REDIS_PORT_6379_TCP_ADDR=10.0.0.2", "SIOEDGE_REDIS_PORT=tcp://10.0.0.2:6379",
	)
	if want := settings(t, ""); !reflect.DeepEqual(got.Settings, want.Settings) {
		t.Errorf("the environment of a Service makes %+v, want nothing set", got.Settings)
	}
	for _, k := range config.Keys() {
		if k.Flag != "" && config.Foreign(k.Env()) {
			t.Errorf("--%s cannot be told from a variable of Kubernetes", k.Flag)
		}
	}
}

func TestListsInTheEnvironment(t *testing.T) {
	c := settings(t, "", "SIOEDGE_NAMESPACE=/,/chat, /c/:id", "SIOEDGE_LISTEN=:1,unix:/run/s", "SIOEDGE_ORIGINS=https://a.example,https://b.example", "SIOEDGE_TRANSPORTS=websocket")
	got := [][]string{patterns(c), c.Listen, c.Origins, c.Transports}
	want := [][]string{{"/", "/chat", "/c/:id"}, {":1", "unix:/run/s"}, {"https://a.example", "https://b.example"}, {"websocket"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("lists of the environment are %q, want %q", got, want)
	}
}

// patterns returns the names of the namespaces.
func patterns(l *config.Loaded) (all []string) {
	for _, ns := range l.Namespaces {
		all = append(all, ns.Pattern)
	}
	return all
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]config.Size{"0": 0, "65536": 65536, "64KiB": 65536, "1MB": 1_000_000, "1.5 MiB": 3 << 19, "10B": 10} {
		if n, err := config.ParseSize(s); n != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, n, err, want)
		}
	}
	for _, s := range []string{"", "KiB", "-1", "1XB", "1e30GB"} {
		if n, err := config.ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, n)
		}
	}
}

func TestAdapterURL(t *testing.T) {
	for _, test := range []struct{ flag, environment, want string }{
		{"memory", "redis://a", ""},
		{"redis://b:1", "redis://a", "redis://b:1"},
		{"redis+streams://b:1", "", "redis+streams://b:1"},
		{"redis", "redis://a:1/2", "redis://a:1/2"},
		{"redis+sharded", "rediss://u:p@a", "rediss+sharded://u:p@a"},
		{"redis", "", "redis://localhost:6379"},
		{"redis", "nonsense", "error"},
		{"nats", "", "error"},
	} {
		got, err := adapterURL(test.flag, test.environment)
		if err != nil {
			got = "error"
		}
		if got != test.want {
			t.Errorf("adapterURL(%q, %q) = %q, want %q", test.flag, test.environment, got, test.want)
		}
	}
}

// elsewhere are keys that make no difference to the library's options: what has them, so
// that none is read and then ignored.
var elsewhere = map[string]string{
	"listen": "serve", "drain": "stop", "env": "config", "client.dir": "client", "log.level": "serve", "log.format": "logger",
	"adapter.url": "cluster", "adapter.prefix": "cluster", "adapter.max_subscriptions": "cluster",
	"limits.events": "limit", "limits.bytes": "limit", "limits.per_event.*": "limit", "limits.max_backend_sockets": "roster", "limits.max_conns_per_user": "limit",
	"compress.level": "compression", "compress.max_inflated": "compression", "namespaces": "declare",
	"secret": "config", "internal.listen": "serve", "drain_delay": "stop", "health.path": "health", "adapter.required": "health", "metrics": "internal",
	"log.file": "logger", "handover.socket": "upgrade", "handover.program": "upgrade", "handover.stay": "upgrade", "handover.ready_timeout": "upgrade", "handover.hold_timeout": "upgrade", "handover.take_timeout": "upgrade", "log.conn_sample": "journal", "proxy_headers": "listen",
}

// Each setting makes a difference to what the library is told, but for those of others.
func TestEachSettingIsUsed(t *testing.T) {
	others := map[string]string{
		"transports": "polling", "parser": "auto", "origins": "https://a.example", "trust_proxy": "10.0.0.0/8", "compress.mode": "all",
		"client.serve": "false", "limits.memory": "1GiB", "queue.policy": "conflate", "limits.conn_budget": "8MiB", "queue.max": "1MiB",
		"path": "/x/", "cluster.secret": "s", "cluster.advertise": "http://a:1", "limits.max_header_bytes": "2000", "queue.hard_max": "1GiB",
	}
	shown := func(args string) string {
		o := optionsOf(t, settings(t, args))
		asks, cookie := o.Engine.Via != nil, o.Cookie
		o.Engine.Via, o.Logger, o.Cookie = nil, nil, nil
		return fmt.Sprintf("%+v %+v %+v %v %v %t", o, o.CORS, o.HTTPCompression, cookie, o.Client != nil, asks)
	}
	before := regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(shown(""), "")
	for _, k := range config.Keys() {
		_, other := elsewhere[k.Path]
		if k.Path == "" || strings.Contains(k.Path, "[") || of(k, "auth.", "api.", "webhook.", "backends", "bridges", "tls.", "admin.") || other {
			continue
		}
		value := others[k.Path]
		if value == "" {
			value = map[string]string{"bool": "true", "number": "7", "size": "777", "duration": "777ms", "text": "x"}[k.Type()]
		}
		if k.Least > 7 && k.Type() == "number" {
			value = fmt.Sprint(k.Least + 1)
		}
		if after := regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(shown("--"+k.Flag+"="+value), ""); after == before {
			t.Errorf("--%s=%s makes no difference", k.Flag, value)
		}
	}
}

// of says whether a key is of one of these groups, which a package of its own has.
func of(k *config.Key, groups ...string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return strings.HasPrefix(k.Path, g) })
}
