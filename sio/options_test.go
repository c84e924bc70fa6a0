package sio_test

import (
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/sio"
)

// shown are the fields of Options that are tested where what they do is, by a name
// that some test has them set by.
var shown = []string{
	"Engine", "Loop", "ConnectTimeout", "Parser", "Limits", "MaxInstances", "MaxNamespaces", "MaxRooms", "MaxPendingAcks", "MaxEventName",
	"MaxBroadcasts", "MaxLeftBehind", "Recovery", "Adapter", "Advertise", "ClusterSecret", "MaxForwards", "MaxTunnels", "KeepHandshake",
	"Client", "Handler", "OnError", "Logger", "MemoryLimit", "QueuePolicy", "Inherit", "EncodeData", "DecodeData",
}

// Each field of Options is passed on, or a test sets it.
func TestEachOptionHasAnEffect(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, name := range files {
		if name != "options_test.go" {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	passed := map[string]bool{}
	for _, p := range sio.Passed() {
		passed[p[0]] = true
	}
	for f := range reflect.TypeFor[sio.Options]().Fields() {
		known := false
		for _, name := range shown {
			known = known || name == f.Name
		}
		switch set := regexp.MustCompile(`\b` + f.Name + `(:| =|\.\w+ =)`); {
		case passed[f.Name]:
		case !known:
			t.Errorf("%s is neither passed on nor in the list of those that tests show", f.Name)
		case !set.MatchString(tests.String()):
			t.Errorf("no test sets %s", f.Name)
		}
	}
}

// optionValues has two values for each option that is passed on.
var optionValues = map[string][2]any{
	"Path": {"/a/", "/b/"}, "PingInterval": {time.Second, time.Minute}, "PingTimeout": {time.Second, time.Minute},
	"UpgradeTimeout": {time.Second, time.Minute}, "MaxHTTPBufferSize": {1000, 2000},
	"Transports": {[]string{"websocket"}, []string{"polling"}}, "NoUpgrades": {true, nil}, "AllowEIO3": {true, nil},
	"AllowRequest": {func(*http.Request) error { return nil }, func(*http.Request) error { return nil }},
	"CORS":         {&eio.CORS{Origins: []string{"*"}}, &eio.CORS{}}, "Cookie": {&http.Cookie{Name: "a"}, &http.Cookie{Name: "b"}},
	"PerMessageDeflate": {&eio.Compression{Level: 2}, &eio.Compression{}}, "HTTPCompression": {&eio.HTTPCompression{Threshold: 1}, &eio.HTTPCompression{}},
	"InitialPacket": {[]byte("a"), []byte("b")},
}

// An option with a name of Node's is that of Engine, and may be set in either place,
// but not differently in both.
func TestOptionsThatArePassedOn(t *testing.T) {
	for _, p := range sio.Passed() {
		set := func(here, there any) (sio.Options, error) {
			var o sio.Options
			if here != nil {
				reflect.ValueOf(&o).Elem().FieldByName(p[0]).Set(reflect.ValueOf(here))
			}
			if there != nil {
				reflect.ValueOf(&o.Engine).Elem().FieldByName(p[1]).Set(reflect.ValueOf(there))
			}
			return sio.Complete(o)
		}
		of := func(o sio.Options) any { return reflect.ValueOf(o.Engine).FieldByName(p[1]).Interface() }
		a, b := optionValues[p[0]][0], optionValues[p[0]][1]
		for what, both := range map[string][2]any{"here": {a, nil}, "there": {nil, a}, "in both, alike": {a, a}} {
			o, err := set(both[0], both[1])
			if reflect.TypeOf(a).Kind() == reflect.Func {
				if alike := both[0] != nil && both[1] != nil; (err != nil) != alike || err == nil && of(o) == nil {
					t.Errorf("%s set %s: %v", p[0], what, err)
				}
				continue
			}
			if err != nil || !reflect.DeepEqual(of(o), a) {
				t.Errorf("%s set %s is %v, %v, want %v", p[0], what, of(o), err, a)
			}
		}
		if b == nil {
			continue
		}
		if _, err := set(a, b); err == nil || !strings.Contains(err.Error(), "Options."+p[0]) || !strings.Contains(err.Error(), "Options.Engine."+p[1]) {
			t.Errorf("%s set differently in both: %v, want an error that names both", p[0], err)
		}
	}
}

// What the Server needs of Engine for itself is refused, not overwritten.
func TestOptionsThatAreTheServers(t *testing.T) {
	for name, set := range map[string]func(o *eio.Options){
		"Route":   func(o *eio.Options) { o.Route = func(string) http.Handler { return nil } },
		"Forward": func(o *eio.Options) { o.Forward = func(eio.Node) http.Handler { return nil } },
		"Tunnel":  func(o *eio.Options) { o.Tunnel = func(eio.Node) http.RoundTripper { return nil } },
		"Seek":    func(o *eio.Options) { o.Seek = func(*http.Request, eio.Node) error { return nil } },
		"Proven":  func(o *eio.Options) { o.Proven = func(*http1.Request, []byte) bool { return true } },
	} {
		for _, cluster := range []bool{false, true} {
			var o sio.Options
			set(&o.Engine)
			if cluster {
				o.Adapter = (&bus{}).stop()
			}
			_, err := sio.Complete(o)
			if want := cluster || name == "Route"; want != (err != nil) || want && !strings.Contains(err.Error(), "Options.Engine."+name) {
				t.Errorf("%s set, cluster %v: %v, want an error that names it: %v", name, cluster, err, want)
			}
		}
	}
}

// A value that cannot be is an error that names its field.
func TestOptionsThatCannotBe(t *testing.T) {
	type field struct {
		name string
		set  func(o *sio.Options)
	}
	fields := []field{
		{"Recovery.Window", func(o *sio.Options) { o.Recovery.Window = -1 }}, {"Recovery.Patience", func(o *sio.Options) { o.Recovery.Patience = -1 }},
		{"Recovery.MaxBytes", func(o *sio.Options) { o.Recovery.MaxBytes = -1 }}, {"Limits.MaxDepth", func(o *sio.Options) { o.Limits.MaxDepth = -1 }},
		{"Limits.MaxArgs", func(o *sio.Options) { o.Limits.MaxArgs = -1 }}, {"Limits.MaxAttachments", func(o *sio.Options) { o.Limits.MaxAttachments = -1 }},
		{"Limits.MaxAttachmentBytes", func(o *sio.Options) { o.Limits.MaxAttachmentBytes = -1 }}, {"MaxRooms", func(o *sio.Options) { o.MaxRooms = 1 << 16 }},
	}
	for f := range reflect.TypeFor[sio.Options]().Fields() {
		if k := f.Type.Kind(); k == reflect.Int || k == reflect.Int64 {
			fields = append(fields, field{f.Name, func(o *sio.Options) { reflect.ValueOf(o).Elem().FieldByName(f.Name).SetInt(-1) }})
		}
	}
	for _, f := range fields {
		var o sio.Options
		f.set(&o)
		if _, err := sio.New(o); err == nil || !strings.Contains(err.Error(), "Options."+f.name+" ") {
			t.Errorf("%s: New = %v, want an error that names it", f.name, err)
		}
	}
}

// Zero bounds the memory by what the machine has, where that is known; none is
// a limit that nothing reaches.
func TestMemoryLimitOfOptions(t *testing.T) {
	for limit, want := range map[int64]func(n int64) bool{
		0:             func(n int64) bool { return n > 0 || runtime.GOOS != "linux" },
		math.MaxInt64: func(n int64) bool { return n == 0 },
		5:             func(n int64) bool { return n == 5 },
	} {
		if o, err := sio.Complete(sio.Options{MemoryLimit: limit}); err != nil || !want(o.MemoryLimit) {
			t.Errorf("MemoryLimit %d becomes %d, %v", limit, o.MemoryLimit, err)
		}
	}
}

// Tune raises GOMAXPROCS once; clients are served as before.
func TestTune(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	srv := serve(t, sio.Options{Loop: loops(2), Logger: slog.New(slog.DiscardHandler)}, func(srv *sio.Server) {
		srv.Tune()
		srv.Tune()
		echo(srv.Of("/"))
	})
	if n := runtime.GOMAXPROCS(0); n != before+2 {
		t.Errorf("GOMAXPROCS is %d, want %d", n, before+2)
	}
	srv.join("40").quiet("")
	st := newStage(t, sio.Options{})
	st.Tune() // does nothing
}

// Zero bounds the live namespaces, as the server's flag does.
func TestMaxInstancesOfOptions(t *testing.T) {
	for most, want := range map[int]int{0: 100_000, 5: 5, math.MaxInt: math.MaxInt} {
		if o, err := sio.Complete(sio.Options{MaxInstances: most}); err != nil || o.MaxInstances != want {
			t.Errorf("MaxInstances %d becomes %d, %v, want %d", most, o.MaxInstances, err, want)
		}
	}
}
