package main

import (
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/sioedge/sioedge/eio"
)

func TestEnvironmentSetsWhatFlagsDoNot(t *testing.T) {
	var c config
	f := flags(&c)
	if err := f.Parse([]string{"--ping-timeout", "7s"}); err != nil {
		t.Fatal(err)
	}
	err := environment(f, []string{"SIOEDGE_PING_INTERVAL=3s", "SIOEDGE_PING_TIMEOUT=9s", "SIOEDGE_LISTEN=:1", "HOME=/"})
	if err != nil {
		t.Fatal(err)
	}
	if c.pingInterval != 3*time.Second || c.pingTimeout != 7*time.Second || len(c.listen) != 1 || c.listen[0] != ":1" {
		t.Errorf("ping interval %v, ping timeout %v, listen %v; want 3s, 7s, [:1]", c.pingInterval, c.pingTimeout, c.listen)
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
		var c config
		if err := flags(&c).Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		o, err := c.options()
		if err != nil || !reflect.DeepEqual(o.PerMessageDeflate, want) {
			t.Errorf("sioedge %s: Compression = %+v, %v, want %+v", args, o.PerMessageDeflate, err, want)
		}
		if got := o.HTTPCompression.Threshold; got != c.compressFrom {
			t.Errorf("sioedge %s: HTTPCompression.Threshold = %d, want %d", args, got, c.compressFrom)
		}
	}
}

// No bound is a number that nothing reaches, since zero of the library's is one.
func TestInstancesFlag(t *testing.T) {
	for args, want := range map[string]int{"": 100_000, "--max-instances 5": 5, "--max-instances 0": math.MaxInt} {
		var c config
		if err := flags(&c).Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if o, err := c.options(); err != nil || o.MaxInstances != want {
			t.Errorf("sioedge %s: MaxInstances = %d, %v, want %d", args, o.MaxInstances, err, want)
		}
	}
}

func TestOldClientsAreServedIfAsked(t *testing.T) {
	for args, want := range map[string]bool{"": false, "--eio3": true} {
		var c config
		if err := flags(&c).Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		o, err := c.options()
		if err != nil || o.AllowEIO3 != want {
			t.Errorf("sioedge %s: AllowEIO3 = %v, %v, want %v", args, o.AllowEIO3, err, want)
		}
	}
}

func TestUnknownEnvironmentIsRefused(t *testing.T) {
	for _, name := range []string{"SIOEDGE_PING_INTERVALL", "SIOEDGE_LISTEN_PORTS", "SIOEDGE_SERVICE", "SIOEDGE_PORT_TCP"} {
		if err := environment(flags(new(config)), []string{name + "=3s"}); err == nil {
			t.Errorf("environment with %s = nil, want an error", name)
		}
	}
}

// Kubernetes tells every container of a Service by the names of its variables.
func TestVariablesOfAServiceAreNotOurs(t *testing.T) {
	var c config
	f := flags(&c)
	want := c
	err := environment(f, []string{
		"SIOEDGE_SERVICE_HOST=10.0.0.1", "SIOEDGE_SERVICE_PORT=3000", "SIOEDGE_SERVICE_PORT_HTTP=3000", "SIOEDGE_PORT=tcp://10.0.0.1:3000",
		"SIOEDGE_PORT_3000_TCP=tcp://10.0.0.1:3000", "SIOEDGE_PORT_3000_TCP_PROTO=tcp", "SIOEDGE_PORT_3000_TCP_PORT=3000", "SIOEDGE_PORT_3000_TCP_ADDR=10.0.0.1",
		"SIOEDGE_REDIS_SERVICE_HOST=10.0.0.2", "SIOEDGE_REDIS_PORT_6379_TCP_ADDR=10.0.0.2", "SIOEDGE_REDIS_PORT=tcp://10.0.0.2:6379",
	})
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("environment of a Service = %v and %+v, want nothing set", err, c)
	}
	f.VisitAll(func(g *pflag.Flag) {
		if name := "SIOEDGE_" + strings.ToUpper(strings.ReplaceAll(g.Name, "-", "_")); foreign.MatchString(name) {
			t.Errorf("--%s cannot be told from a variable of Kubernetes", g.Name)
		}
	})
}

func TestListsInTheEnvironment(t *testing.T) {
	var c config
	err := environment(flags(&c), []string{"SIOEDGE_NAMESPACE=/,/chat, /c/:id", "SIOEDGE_LISTEN=:1,unix:/run/s", "SIOEDGE_ORIGINS=https://a.example,https://b.example", "SIOEDGE_TRANSPORTS=websocket"})
	if err != nil {
		t.Fatal(err)
	}
	got := [][]string{c.namespaces, c.listen, c.origins, c.transports}
	want := [][]string{{"/", "/chat", "/c/:id"}, {":1", "unix:/run/s"}, {"https://a.example", "https://b.example"}, {"websocket"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("lists of the environment are %q, want %q", got, want)
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int{"0": 0, "65536": 65536, "64KiB": 65536, "1MB": 1_000_000, "1.5 MiB": 3 << 19, "10B": 10} {
		if n, err := size("x", s); n != want || err != nil {
			t.Errorf("size(%q) = %d, %v, want %d", s, n, err, want)
		}
	}
	for _, s := range []string{"", "KiB", "-1", "1XB", "1e30GB"} {
		if n, err := size("x", s); err == nil {
			t.Errorf("size(%q) = %d, want an error", s, n)
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
