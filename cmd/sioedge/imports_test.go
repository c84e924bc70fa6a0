package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sioedge/sioedge"

// mayImport lists, for each package, the packages of this module that it may
// import: arrows run one way.
var mayImport = map[string][]string{
	"loop":                     {"loop/handle", "loop/notice", "loop/slab"},
	"loop/budget":              {},
	"loop/handle":              {},
	"loop/notice":              {},
	"loop/http1":               {},
	"loop/slab":                {},
	"wsframe":                  {},
	"eio":                      {"loop", "loop/budget", "loop/handle", "loop/notice", "loop/http1", "loop/http1/encoding", "wsframe"},
	"rooms":                    {"loop/handle", "loop/notice", "loop/slab"},
	"rooms/redis":              {"loop/notice", "rooms", "rooms/redis/wire", "rooms/value"},
	"rooms/redis/interop":      {"rooms", "rooms/redis", "sio"},
	"rooms/redis/wire":         {"rooms/value"},
	"rooms/value":              {},
	"sio/parser":               {"rooms/value"},
	"sio":                      {"eio", "loop", "loop/budget", "loop/handle", "loop/notice", "loop/http1", "rooms", "rooms/value", "sio/internal/clientfiles", "sio/internal/clusterlog", "sio/internal/confine", "sio/internal/due", "sio/internal/memory", "sio/internal/packetlog", "sio/internal/pattern", "sio/internal/quiet", "sio/internal/relay", "sio/parser"},
	"sio/internal/clientfiles": {"eio", "loop/http1/encoding"},
	"sio/internal/confine":     {"rooms"},
	"sio/internal/due":         {},
	"sio/internal/memory":      {"eio", "loop", "loop/notice"},
	"sio/internal/clusterlog":  {"rooms", "sio/internal/packetlog"},
	"sio/internal/packetlog":   {"rooms"},
	"sio/internal/pattern":     {},
	"sio/internal/quiet":       {},
	"sio/internal/relay":       {"eio", "loop/http1", "loop/notice", "rooms"},
	"sio/siotest":              {"loop", "rooms/value", "sio", "sio/internal/quiet", "sio/parser", "wsframe"},
	"sio/interop":              {},
	"bench/swarm":              {"bench/host", "wsframe"},
	"bench/sendloop":           {"wsframe"},
	"bench/host":               {},
	"bench/compare":            {"bench/host", "bench/swarm"},
	"bench/cluster":            {"bench/host", "wsframe"},
	"bench/stalled":            {"bench/host", "wsframe"},
	"bench/attack":             {"bench/host"},
	"bench/attack/target":      {"eio", "loop", "rooms/redis", "sio"},
	"bench/million":            {"eio", "sio", "loop", "wsframe"},
	"bench/many":               {"bench/host", "bench/swarm"},
	"loop/http1/encoding":      {},
	"bench/swarm/faulty":       {"bench/swarm", "wsframe"},
	"cmd/sioedge":              {"sio", "eio", "loop", "rooms", "rooms/redis", "sio/parser", "cmd/sioedge/demo"},
	"cmd/sioedge/demo":         {"sio"},
	"cmd/sioload":              {"bench/swarm"},
}

// outside lists the modules that a package may use beyond the standard library.
var outside = map[string][]string{
	"loop":                {"github.com/panjf2000/gnet", "golang.org/x/sys"},
	"loop/http1/encoding": {"github.com/klauspost/compress", "github.com/valyala/bytebufferpool"},
	"rooms/redis":         {"github.com/redis/rueidis"},
	"rooms/redis/wire":    {"github.com/tinylib/msgp"},
	"rooms/value":         {"github.com/tinylib/msgp"},
	"sio/parser":          {"github.com/tinylib/msgp"},
	"wsframe":             {"github.com/gobwas/ws", "github.com/klauspost/compress", "github.com/valyala/bytebufferpool"},
	"sio":                 {"github.com/valyala/bytebufferpool"},
	"bench/swarm":         {"github.com/panjf2000/gnet", "golang.org/x/sys", "github.com/HdrHistogram"},
	"bench/sendloop":      {"golang.org/x/sys"},
	"cmd/sioedge":         {"github.com/spf13", "golang.org/x/term"},
	"cmd/sioload":         {"github.com/spf13", "golang.org/x/term"},
	"cmd/sioedge/demo":    {},
}

func TestImportsRunOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], module+"/")
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s is in no layer", pkg)
		}
		for _, imp := range words[1:] {
			switch inside, ok := strings.CutPrefix(imp, module+"/"); {
			case ok && !slices.Contains(allowed, inside):
				t.Errorf("%s imports %s", pkg, inside)
			case !ok && strings.Contains(strings.Split(imp, "/")[0], ".") &&
				!slices.ContainsFunc(outside[pkg], func(p string) bool { return strings.HasPrefix(imp, p) }):
				t.Errorf("%s imports %s", pkg, imp)
			}
		}
	}
}
