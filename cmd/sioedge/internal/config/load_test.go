package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every setting is in the table once, with what the reference needs, and the table has
// nothing else.
func TestTable(t *testing.T) {
	flags, envs, paths := map[string]int{}, map[string]int{}, map[string]int{}
	for _, k := range Keys() {
		paths[k.Path]++
		if k.Flag != "" {
			flags[k.Flag]++
			envs[k.Env()]++
		}
		if k.Doc == "" || strings.Contains(k.Doc, "\n") || strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: %q is not a line of the reference", k.Path, k.Doc)
		}
		typ, ok := keys.types[k.Path]
		if !ok {
			t.Errorf("%s is no setting", k.Path)
			continue
		}
		groups := (typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map) && typ.Elem().Kind() == reflect.Struct // of which a text may do for one
		free := strings.ContainsAny(k.Path, "[*") || groups && k.Flag == ""
		if k.Path != "" && free == (k.Flag != "") {
			t.Errorf("%s: a flag is what each setting has that is in no list and has no free name", k.Path)
		}
		inherits := strings.HasPrefix(k.Path, "backends") || k.Path == "bridges" // of webhook; there are none
		if k.Default == "" && k.Path != "" && typ.Kind() != reflect.String && typ.Kind() != reflect.Slice && !inherits {
			t.Errorf("%s has no default, but is a %s", k.Path, k.Type())
		}
	}
	for _, names := range []map[string]int{flags, envs, paths} {
		for name, n := range names {
			if n != 1 {
				t.Errorf("%q is there %d times", name, n)
			}
		}
	}
	for path, typ := range keys.types {
		leaf := !group(typ) && typ.Kind() != reflect.Map
		if _, ok := keys.paths[path]; leaf && !ok {
			t.Errorf("%s has no key", path)
		}
	}
}

// What several sources set is as the last of them says, for every type.
func TestPrecedence(t *testing.T) {
	for _, c := range []struct {
		path            string
		file, env, flag string
		get             func(s *Settings) any
		want            [4]any // default, file, environment, flag
	}{
		{"cookie", "f", "e", "g", func(s *Settings) any { return s.Cookie }, [4]any{"", "f", "e", "g"}},
		{"eio3", "true", "false", "true", func(s *Settings) any { return s.EIO3 }, [4]any{false, true, false, true}},
		{"loops", "1", "2", "3", func(s *Settings) any { return s.Loops }, [4]any{0, 1, 2, 3}},
		{"queue.max", "1KiB", "2KiB", "3kB", func(s *Settings) any { return s.Queue.Max }, [4]any{Size(256 << 10), Size(1 << 10), Size(2 << 10), Size(3000)}},
		{"ping.interval", "1s", "2s", "1m3s", func(s *Settings) any { return s.Ping.Interval }, [4]any{25 * time.Second, time.Second, 2 * time.Second, 63 * time.Second}},
		{"origins", "[a, b]", "c,d", "e,f", func(s *Settings) any { return strings.Join(s.Origins, " ") }, [4]any{"", "a b", "c d", "e f"}},
		{"listen", "':1'", ":2,:3", ":4", func(s *Settings) any { return strings.Join(s.Listen, " ") }, [4]any{":3000", ":1", ":2 :3", ":4"}},
		{"trust_proxy", "[10.0.0.1]", "10.1.2.3/8", "::1", func(s *Settings) any { return fmt.Sprint(s.TrustProxy) }, [4]any{"[]", "[10.0.0.1/32]", "[10.0.0.0/8]", "[::1/128]"}},
		{"namespaces", "[/f, {pattern: /g, readonly: true, presence: true}]", "/e,/d", "/a,b", func(s *Settings) any {
			var all []string
			for _, ns := range s.Namespaces {
				all = append(all, fmt.Sprintf("%s %t %v", ns.Pattern, ns.ReadOnly, ns.Presence.Debounce))
			}
			return strings.Join(all, " ")
		}, [4]any{"/ false 0s", "/f false 0s /g true 5s", "/e false 0s /d false 0s", "/a,b false 0s"}},
		{"auth.jwt.require_expiry", "false", "true", "false", func(s *Settings) any { return s.Auth.JWT.RequireExpiry }, [4]any{true, false, true, false}},
		{"log.level", "debug", "warn", "error", func(s *Settings) any { return s.Log.Level }, [4]any{"info", "debug", "warn", "error"}},
	} {
		k := keys.paths[c.path]
		text := ""
		for i, name := range strings.Split(c.path, ".") {
			text += "\n" + strings.Repeat("  ", i) + name + ":"
		}
		for level := range 4 {
			f := Flags("serve")
			var environ, args []string
			if level >= 1 {
				environ = append(environ, ConfigEnv+"="+file(t, text+" "+c.file))
			}
			if level >= 2 {
				environ = append(environ, k.Env()+"="+c.env)
			}
			if level >= 3 {
				args = append(args, "--"+k.Flag+"="+c.flag)
			}
			if err := f.Parse(args); err != nil {
				t.Fatal(err)
			}
			l, err := Load(Sources{f, environ})
			if err != nil {
				t.Errorf("%s, %d sources: %v", c.path, level, err)
				continue
			}
			if got := c.get(&l.Settings); got != c.want[level] {
				t.Errorf("%s, %d sources: %v, want %v", c.path, level, got, c.want[level])
			}
		}
	}
}

// The file is named by a flag, or by its variable.
func TestTheFlagNamesTheFile(t *testing.T) {
	a, b := file(t, "loops: 1"), file(t, "loops: 2")
	f := Flags("serve")
	if err := f.Parse([]string{"--config", b}); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Sources{f, []string{"SIOEDGE_CONFIG=" + a}})
	if err != nil || l.Loops != 2 || l.File != b {
		t.Errorf("Load = %v, %v, want what %s says", l, err, b)
	}
}

// What is in the file for nothing can be asked for.
func TestOverridden(t *testing.T) {
	l, err := of(t, "namespaces: [/a]\nloops: 2", "SIOEDGE_NAMESPACE=/b")
	if err != nil {
		t.Fatal(err)
	}
	if file, by, ok := l.Overridden("namespaces"); !ok || file != l.File+":1" || by != "SIOEDGE_NAMESPACE" {
		t.Errorf("Overridden(namespaces) = %q, %q, %t", file, by, ok)
	}
	if file, by, ok := l.Overridden("loops"); ok {
		t.Errorf("Overridden(loops) = %q, %q, %t", file, by, ok)
	}
}

func TestPortIsTheDefaultOfListen(t *testing.T) {
	l, err := Load(Sources{Environ: []string{"PORT=1234"}})
	if err != nil || !slices.Equal(l.Listen, []string{":1234"}) {
		t.Errorf("with PORT=1234: %v, %v", l, err)
	}
	if l, err := of(t, "listen: ':5'", "PORT=1234"); err != nil || !slices.Equal(l.Listen, []string{":5"}) {
		t.Errorf("with PORT=1234 and a file: %v, %v", l, err)
	}
}

// What is said of a mistake, by which source it is of.
func TestFaults(t *testing.T) {
	t.Setenv("NOBODY", "")
	for _, c := range []struct {
		name, file, env, flags string
		want                   []string // each is one line; FILE is its path
	}{
		{"two in a file", "loops: x\nping:\n  interval: 0s", "", "", []string{"FILE:1: loops: \"x\" is not a whole number", "FILE:3: ping.interval: must be from 1ms to 576h"}},
		{"all sources", "loops: x", "SIOEDGE_EIO3=perhaps", "--drain=5", []string{
			"SIOEDGE_EIO3: \"perhaps\" is neither true nor false", "--drain: \"5\" is not a duration such as 25s or 1m30s", "FILE:1: loops: \"x\" is not a whole number"}},
		{"a list of flags", "", "", "--transports=polling,pigeon,crow", []string{"--transports: \"pigeon\" is not polling or websocket", "--transports: \"crow\" is not polling or websocket"}},
		{"an unknown variable", "", "SIOEDGE_LOPS=3", "", []string{"SIOEDGE_LOPS: names no setting; did you mean SIOEDGE_LOOPS?"}},
		{"one that is like none", "", "SIOEDGE_WHATEVER_ELSE=3", "", []string{"SIOEDGE_WHATEVER_ELSE: names no setting"}},
		{"twice", "loops: 1\nloops: 2", "", "", []string{"FILE:2: loops: is there twice"}},
		{"twice inside", "queue: {max: 1KiB,\n max: 2KiB}", "", "", []string{"FILE:2: queue.max: is there twice"}},
		{"not YAML", "loops: 1\n  x: [", "", "", []string{"FILE:2: mapping values are not allowed in this context"}},
		{"two documents", "loops: 1\n---\nloops: 2", "", "", []string{"FILE:2: a second document begins; only one is read"}},
		{"a list of settings", "- loops", "", "", []string{"FILE:1: want a group of settings"}},
		{"a text", "loops", "", "", []string{"FILE:1: want a group of settings"}},
		{"a strange tag", "cookie: !!binary aGVsbG8=", "", "", []string{"FILE:1: cookie: has a tag that means nothing here, \"!!binary\""}},
		{"a name that is none", "[a]: 1", "", "", []string{"FILE:1: a name is a text of at most 256 bytes"}},
		{"a secret", "cluster: {secret: [s3cret]}", "", "", []string{"FILE:1: cluster.secret: want a text"}},
		{"nothing in a list", "namespaces: [~]", "", "", []string{"FILE:1: namespaces[0]: want a group of settings"}},
		{"nothing for an event", "namespaces:\n- pattern: /\n  events:\n    get:", "", "", []string{"FILE:4: namespaces[0].events.get: want a group of settings"}},
		{"together, in a file", "queue:\n  max: 1MiB\n  hard_max: 1KiB", "", "", []string{"FILE:3: queue.hard_max: must be at least queue.max (--queue-max)"}},
		{"together, a flag", "", "", "--queue-hard-max=1KiB", []string{"--queue-hard-max: must be at least queue.max (--queue-max)"}},
		{"together, a variable", "", "SIOEDGE_QUEUE_HARD_MAX=1KiB", "", []string{"SIOEDGE_QUEUE_HARD_MAX: must be at least queue.max (--queue-max)"}},
		{"together, a default", "queue: {max: 32MiB}", "", "", []string{"FILE:1: queue.hard_max: must be at least queue.max (--queue-max)"}},
		{"no addresses", "listen: []", "", "", []string{"FILE:1: listen: must name at least one"}},
		{"a transport twice", "", "", "--transports=polling,polling", []string{"--transports: names polling twice"}},
		{"the demo in production", "env: production", "", "--demo", []string{"--demo: is refused in the environment production (--env)"}},
		{"a budget that is too small", "limits: {conn_budget: 1MiB}", "", "", []string{"FILE:1: limits.conn_budget: must be at least twice limits.max_payload and 256 KiB (--max-payload)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Flags("serve")
			if err := f.Parse(strings.Fields(c.flags)); err != nil {
				t.Fatal(err)
			}
			path := file(t, c.file)
			environ := []string{"SIOEDGE_CONFIG=" + path}
			if c.env != "" {
				environ = append(environ, c.env)
			}
			_, err := Load(Sources{f, environ})
			if err == nil {
				t.Fatal("nothing is wrong")
			}
			got := strings.Split(strings.ReplaceAll(err.Error(), path, "FILE"), "\n")
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// What the file has that there is not is no fault, but said, with what was meant.
func TestUnknownSettings(t *testing.T) {
	l, err := of(t, `
lisen: ":1"
max_conns: 5
slow_after: 1s
ping: { intervall: 3s, x: 1 }
namespaces:
- pattern: /
  event: {}
  events: { a: { action: drop, rooms: x } }
nonsense: 1
`)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`FILE:2: lisen: there is no such setting; did you mean listen?
FILE:3: max_conns: there is no such setting; did you mean limits.max_conns?
FILE:4: slow_after: there is no such setting; did you mean queue.slow_after?
FILE:5: ping.intervall: there is no such setting; did you mean interval?
FILE:5: ping.x: there is no such setting
FILE:8: namespaces[0].event: there is no such setting; did you mean events?
FILE:9: namespaces[0].events.a.rooms: there is no such setting; did you mean room?
FILE:10: nonsense: there is no such setting
`, "FILE", l.File)
	if got := joinedText(l.Unknown); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What may be written in fewer words.
func TestShortForms(t *testing.T) {
	long := `
auth: { mode: none }
compress: { mode: all }
recovery: { window: 2m }
adapter: { url: memory }
origins: ["https://a.example"]
namespaces:
- pattern: /chat
- pattern: /b
  presence: { enabled: true }
  emit: { price: { policy: conflate } }
  join_on_connect: ["a,b"]
  events: { debug: { action: drop }, cursor: { action: relay, to: ["r"] } }
`
	short := `
auth: none
compress: all
recovery: 2m
adapter: memory
origins: https://a.example
namespaces:
- /chat
- pattern: /b
  presence: true
  emit: { price: conflate }
  join_on_connect: a,b
  events: { debug: drop, cursor: { action: relay, to: r } }
`
	a, err := of(t, long)
	if err != nil {
		t.Fatal(err)
	}
	b, err := of(t, short)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.Settings, b.Settings) {
		t.Errorf("the short forms make\n%+v\nwant\n%+v", b.Settings, a.Settings)
	}
	if ns := a.Namespaces[1]; !*ns.Events["debug"].Ack || !ns.Presence.Enabled || ns.Presence.Debounce != 5*time.Second {
		t.Errorf("the defaults of a namespace are %+v", ns)
	}
	l, err := of(t, "namespaces: [{pattern: /, presence: {debounce: 1s}}, {pattern: /b, presence: {enabled: false, debounce: 1s}}]")
	if err != nil || !l.Namespaces[0].Presence.Enabled || l.Namespaces[1].Presence.Enabled {
		t.Errorf("presence with a debounce: %+v, %v, want the first enabled alone", l, err)
	}
}

// JSON is YAML, and groups can be written once for several places.
func TestAliasesAndMerges(t *testing.T) {
	l, err := of(t, `{"loops": 2, "origins": ["https://a"], "namespaces": [{"pattern": "/", "readonly": true}]}`)
	if err != nil || l.Loops != 2 || !l.Namespaces[0].ReadOnly {
		t.Errorf("JSON: %+v, %v", l, err)
	}
	l, err = of(t, `
namespaces:
- &chat
  pattern: /a
  readonly: true
  join_on_connect: &rooms [x, y]
- <<: *chat
  pattern: /b
- <<: [*chat, { auth: none, readonly: false }]
  pattern: /c
  join_on_connect: *rooms
`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/a true [x y] ", "/b true [x y] ", "/c true [x y] none"} {
		ns := l.Namespaces[i]
		if got := fmt.Sprintf("%s %t %v %s", ns.Pattern, ns.ReadOnly, ns.JoinOnConnect, ns.Auth); got != want {
			t.Errorf("namespace %d is %q, want %q", i, got, want)
		}
	}
}

// What is printed is a file of the same settings, but for its secrets.
func TestPrint(t *testing.T) {
	const text = `
listen: ":1"
trust_proxy: 10.0.0.0/8
cookie: "true"
env: "$${x}"
adapter: "redis://u:hidden1@h:1/0?sentinel_password=hidden2"
cluster: { secret: hidden3 }
auth: { jwt: { secret: "${env:S}", jwks_url: "https://u:hidden5@h/" } }
limits: { per_event: { "a.b": 1/s, "*": 2/s } }
namespaces:
- /chat
- pattern: /c/:id
  params: { id: "[0-9]+" }
  presence: true
  history: { size: 5 }
  events:
    "*": drop
    sub: { action: join, room: "{args.0}", ack: false, allow: ["a:*"] }
  emit: { price: { policy: conflate, key: "{args.0}" } }
`
	l, err := of(t, text, "S=hidden4", "SIOEDGE_LOOPS=3", "SIOEDGE_CLUSTER_SECRET=hidden6")
	if err != nil {
		t.Fatal(err)
	}
	for _, onlySet := range []bool{false, true} {
		var b bytes.Buffer
		if err := l.Print(&b, onlySet); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"loops: 3 # SIOEDGE_LOOPS", "listen: [':1'] # " + l.File + ":2", "secret: '" + masked + "' # SIOEDGE_CLUSTER_SECRET", "namespaces: # " + l.File + ":10"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s\nhas no %q", &b, want)
			}
		}
		if strings.Contains(b.String(), "hidden") {
			t.Errorf("%s\nshows a secret", &b)
		}
		if onlySet == strings.Contains(b.String(), "transports") {
			t.Errorf("%s\nhas what was not set: %t", &b, !onlySet)
		}
		again, err := of(t, b.String())
		if err != nil {
			t.Fatalf("%s\nis no file of settings: %v", &b, err)
		}
		var second bytes.Buffer
		if err := again.Print(&second, onlySet); err != nil {
			t.Fatal(err)
		}
		if a, b := withoutComments(b.String()), withoutComments(second.String()); a != b {
			t.Errorf("%s\nmakes\n%s", a, b)
		}
		if a, b := again.Namespaces[1], l.Namespaces[1]; fmt.Sprint(a.Params, a.History, a.Emit, a.Presence, *a.Events["sub"].Ack) != fmt.Sprint(b.Params, b.History, b.Emit, b.Presence, *b.Events["sub"].Ack) {
			t.Errorf("%+v is %+v", b, a)
		}
	}
}

func withoutComments(s string) string {
	return regexp.MustCompile(` # .*`).ReplaceAllString(s, "")
}

func TestReferenceIsUpToDate(t *testing.T) {
	const path = "../../docs/config.md"
	var b bytes.Buffer
	if err := Reference(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what sioedge config doc prints (%v); go test ./cmd/sioedge/internal/config -update makes it", filepath.Base(path), err)
	}
	for _, k := range Keys() {
		if n := strings.Count(b.String(), "| `--"+k.Flag+"` |"); k.Flag != "" && n != 1 {
			t.Errorf("--%s is documented %d times", k.Flag, n)
		}
	}
}

func TestVariables(t *testing.T) {
	var b bytes.Buffer
	if err := Variables(&b); err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys() {
		if k.Flag != "" && strings.Count("\n"+b.String(), "\n"+k.Env()+" ") != 1 {
			t.Errorf("%s is not there once", k.Env())
		}
	}
}

func TestDeclarations(t *testing.T) {
	all, err := Declarations("d", []byte("loops: 3\nnamespaces: [/a, {pattern: /b, presence: true}]"))
	if err != nil || len(all) != 2 || !all[0].Plain() || all[1].Plain() || !all[1].Presence.Enabled {
		t.Errorf("Declarations = %+v, %v", all, err)
	}
	for text, want := range map[string]string{
		"namespaces: [{pattern: /, auth: x}]": "d:1: namespaces[0].auth: \"x\" is not required, optional or none",
		"namespace: /":                        "d:1: namespace: there is no such setting; did you mean namespaces?",
		"namespaces: ['${env:A}']":            "d:1: namespaces[0].pattern: needs the environment variable A, which is not set",
	} {
		if _, err := Declarations("d", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("Declarations(%q) = %v, want %s", text, err, want)
		}
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"redis://h:1/0":                         "redis://h:1/0",
		"redis://u:p@h:1":                       "redis://********@h:1",
		"redis+streams://:p/@@h:1?db=1":         "redis+streams://********@h:1?db=1",
		"redis://h?sentinel_password=x&db=2":    "redis://h?sentinel_password=********&db=2",
		"https://id.example/jwks?access_token=": "https://id.example/jwks?access_token=********",
	} {
		if got := Mask(text); got != want {
			t.Errorf("Mask(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestSizeIsWrittenAsItIsRead(t *testing.T) {
	for _, s := range []Size{0, 1, 1000, 1024, 1536, 1 << 20, 3 << 30, 1 << 40} {
		if got, err := ParseSize(s.String()); got != s || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s.String(), got, err, s)
		}
	}
	for _, d := range []time.Duration{0, time.Millisecond, 25 * time.Second, time.Minute, 90 * time.Minute, 24 * time.Hour, time.Hour + time.Second} {
		if got, err := time.ParseDuration(duration(d)); got != d || err != nil {
			t.Errorf("duration(%v) = %q, want it", d, duration(d))
		}
	}
	if p, err := network("10.1.2.3/8"); p != netip.MustParsePrefix("10.0.0.0/8").String() || err != nil {
		t.Errorf("network(10.1.2.3/8) = %v, %v", p, err)
	}
}
