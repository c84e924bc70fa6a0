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
	"cmd/sioedge/internal/declare": {"cmd/sioedge/internal/action", "cmd/sioedge/internal/carried", "cmd/sioedge/internal/config", "cmd/sioedge/internal/identity", "cmd/sioedge/internal/limit", "cmd/sioedge/internal/peerlink", "cmd/sioedge/internal/presence", "loop/notice", "rooms/value", "sio"},

	"loop":                {"loop/class", "loop/handle", "loop/histogram", "loop/notice", "loop/slab"},
	"loop/budget":         {},
	"loop/class":          {},
	"loop/handle":         {},
	"loop/passing":        {},
	"loop/hashset":        {},
	"loop/notice":         {},
	"loop/http1":          {},
	"loop/slab":           {},
	"wsframe":             {},
	"eio":                 {"loop", "loop/budget", "loop/class", "loop/handle", "loop/histogram", "loop/notice", "loop/http1", "loop/http1/encoding", "wsframe"},
	"rooms":               {"loop/handle", "loop/hashset", "loop/histogram", "loop/notice", "loop/slab"},
	"rooms/redis":         {"loop/notice", "rooms", "rooms/redis/wire", "rooms/value"},
	"rooms/redis/interop": {"rooms", "rooms/redis", "sio"},
	"rooms/redis/wire":    {"rooms/value"},
	"rooms/value":         {},
	"sio/parser":          {"rooms/value"},
	"sio": {"eio", "loop", "loop/budget", "loop/class", "loop/handle", "loop/http1", "loop/notice", "loop/passing", "rooms", "rooms/value", "sio/parser",
		"sio/internal/clientfiles",
		"sio/internal/clusterlog",
		"sio/internal/collect",
		"sio/internal/confine",
		"sio/internal/crossing",
		"sio/internal/due",
		"sio/internal/ears",
		"sio/internal/fifo",
		"sio/internal/framing",
		"sio/internal/freight",
		"sio/internal/history",
		"sio/internal/keyed",
		"sio/internal/memory",
		"sio/internal/names",
		"sio/internal/outbound",
		"sio/internal/pace",
		"sio/internal/passage",
		"sio/internal/takeover",
		"sio/internal/packetlog",
		"sio/internal/pattern",
		"sio/internal/quiet",
		"sio/internal/relay",
		"sio/internal/running",
		"sio/internal/totals",
	},
	"sio/internal/clientfiles": {"eio", "loop/http1/encoding"},
	"sio/internal/collect":     {},
	"sio/internal/passage":     {},
	"sio/internal/confine":     {"rooms"},
	"sio/internal/crossing":    {"eio", "loop", "loop/budget"},
	"sio/internal/due":         {},
	"sio/internal/ears":        {},
	"sio/internal/fifo":        {},
	"sio/internal/freight":     {"loop/class"},
	"sio/internal/history":     {"eio", "rooms", "rooms/value", "sio/internal/freight", "sio/internal/passage", "sio/parser"},
	"sio/internal/framing":     {"eio", "rooms", "rooms/value", "sio/internal/packetlog", "sio/parser"},
	"sio/internal/keyed":       {"loop/handle"},
	"sio/internal/names":       {},
	"sio/internal/memory":      {"eio", "loop", "loop/notice"},
	"sio/internal/clusterlog":  {"rooms", "sio/internal/packetlog", "sio/internal/passage"},
	"sio/internal/outbound":    {"loop/class"},
	"sio/internal/pace":        {"loop"},
	"sio/internal/takeover":    {},
	"sio/internal/packetlog":   {"rooms", "sio/internal/freight", "sio/internal/passage"},
	"sio/internal/pattern":     {},
	"sio/internal/quiet":       {},
	"sio/internal/running":     {},
	"sio/internal/totals":      {"eio"},
	"sio/internal/relay":       {"eio", "loop/http1", "loop/notice", "rooms"},
	"sio/siotest":              {"loop", "rooms/value", "sio", "sio/internal/quiet", "sio/parser", "wsframe"},
	"sio/handover":             {},
	"sio/interop":              {},
	"bench/swarm":              {"bench/host", "wsframe"},
	"bench/sendloop":           {"wsframe"},
	"bench/host":               {},
	"bench/compare":            {"bench/client", "bench/host", "bench/swarm", "wsframe"},
	"bench/bridge":             {"bench/client", "bench/host", "bench/swarm"},
	"bench/client":             {"wsframe"},
	"bench/library":            {"sio"},
	"bench/crowd":              {"wsframe"},
	"bench/cluster":            {"bench/client", "bench/host"},
	"bench/stalled":            {"bench/host", "wsframe"},
	"bench/attack":             {"bench/host"},
	"bench/attack/target":      {"eio", "loop", "rooms/redis", "sio"},
	"bench/million":            {"eio", "sio", "loop", "wsframe"},
	"bench/loops":              {"bench/host", "eio", "loop", "sio", "wsframe"},
	"bench/many":               {"bench/host", "bench/swarm", "wsframe"},
	"bench/tls":                {"loop", "loop/tlslink"},
	"loop/http1/encoding":      {},
	"bench/swarm/faulty":       {"bench/swarm", "wsframe"},
	"cmd/sioedge": {"loop/notice", "sio", "cmd/sioedge/internal/carried",
		"cmd/sioedge/internal/admin", "cmd/sioedge/internal/adminui", "cmd/sioedge/internal/api", "cmd/sioedge/internal/api/wire", "cmd/sioedge/internal/apiclient",
		"cmd/sioedge/internal/action", "cmd/sioedge/internal/bridge", "cmd/sioedge/internal/roster", "cmd/sioedge/internal/webhook",
		"eio", "loop", "loop/http1", "rooms", "rooms/redis", "sio/parser", "cmd/sioedge/demo", "cmd/sioedge/internal/capacity", "cmd/sioedge/internal/config", "cmd/sioedge/internal/console", "cmd/sioedge/internal/declare", "cmd/sioedge/internal/health", "cmd/sioedge/internal/identity", "cmd/sioedge/internal/ioclient", "cmd/sioedge/internal/journal", "cmd/sioedge/internal/limit", "cmd/sioedge/internal/listen", "cmd/sioedge/internal/metrics", "cmd/sioedge/internal/presence", "cmd/sioedge/internal/terminal", "cmd/sioedge/internal/trial", "cmd/sioedge/internal/successor", "sio/handover"},
	"cmd/sioedge/demo":            {"sio"},
	"cmd/sioedge/internal/limit":  {"cmd/sioedge/internal/carried", "cmd/sioedge/internal/config", "loop/notice", "sio"},
	"cmd/sioedge/internal/config": {},
	"cmd/sioload":                 {"bench/crowd", "bench/swarm"},

	"cmd/sioedge/internal/api": {"cmd/sioedge/internal/action", "cmd/sioedge/internal/api/wire", "cmd/sioedge/internal/carried", "cmd/sioedge/internal/identity", "cmd/sioedge/internal/peerlink",
		"cmd/sioedge/internal/presence", "eio", "loop/notice", "rooms", "rooms/value", "sio"},
	"cmd/sioedge/internal/api/wire": {},

	"cmd/sioedge/e2e":                     {},
	"cmd/sioedge/internal/bridge/interop": {},
	"cmd/sioedge/internal/bustest":        {"rooms"},
	"cmd/sioedge/internal/apiclient":      {"cmd/sioedge/internal/api/wire", "cmd/sioedge/internal/terminal"},
	"cmd/sioedge/internal/console":        {"cmd/sioedge/internal/ioclient", "cmd/sioedge/internal/terminal", "rooms/value"},
	"cmd/sioedge/internal/terminal":       {},
	"cmd/sioedge/internal/ioclient":       {"rooms/value", "sio/parser", "wsframe"},
	"cmd/sioedge/internal/peerlink":       {"loop/notice", "rooms", "sio"},

	"cmd/sioedge/internal/action":   {"cmd/sioedge/internal/config", "cmd/sioedge/internal/peerlink", "rooms/value", "sio"},
	"cmd/sioedge/internal/identity": {"cmd/sioedge/internal/carried", "cmd/sioedge/internal/config", "cmd/sioedge/internal/peerlink", "loop/hashset", "loop/notice", "rooms/value", "sio"},

	"cmd/sioedge/internal/webhook": {"cmd/sioedge/internal/action", "cmd/sioedge/internal/carried", "cmd/sioedge/internal/config", "loop/notice", "rooms/value", "sio"},

	"cmd/sioedge/internal/alive":    {},
	"cmd/sioedge/internal/capacity": {},
	"cmd/sioedge/internal/trial":    {"cmd/sioedge/internal/capacity"},
	"cmd/sioedge/internal/carried":  {},

	"cmd/sioedge/internal/bridge":      {"cmd/sioedge/internal/action", "cmd/sioedge/internal/bridge/link", "cmd/sioedge/internal/bridge/wire", "cmd/sioedge/internal/carried", "cmd/sioedge/internal/config", "eio", "loop/notice", "sio"},
	"cmd/sioedge/internal/bridge/link": {"cmd/sioedge/internal/bridge/wire", "loop/notice"},
	"cmd/sioedge/internal/bridge/wire": {},

	"cmd/sioedge/internal/successor": {"sio/handover"},

	// Operation.
	"loop/histogram":                {},
	"loop/proxyproto":               {"loop", "loop/notice"},
	"loop/tlslink":                  {"loop", "loop/notice", "loop/histogram"},
	"cmd/sioedge/internal/listen":   {"cmd/sioedge/internal/config", "eio", "loop", "loop/http1", "loop/notice", "loop/proxyproto", "loop/tlslink", "sio", "sio/handover"},
	"cmd/sioedge/internal/health":   {"loop", "loop/notice", "sio"},
	"cmd/sioedge/internal/journal":  {"loop/notice", "sio"},
	"cmd/sioedge/internal/metrics":  {"cmd/sioedge/internal/carried", "cmd/sioedge/internal/adminui", "cmd/sioedge/internal/action", "cmd/sioedge/internal/admin", "cmd/sioedge/internal/api", "cmd/sioedge/internal/bridge", "cmd/sioedge/internal/config", "cmd/sioedge/internal/declare", "cmd/sioedge/internal/health", "cmd/sioedge/internal/identity", "cmd/sioedge/internal/limit", "cmd/sioedge/internal/listen", "cmd/sioedge/internal/presence", "cmd/sioedge/internal/roster", "cmd/sioedge/internal/webhook", "eio", "loop", "loop/histogram", "loop/tlslink", "rooms", "rooms/redis", "sio"},
	"cmd/sioedge/internal/admin":    {"cmd/sioedge/internal/carried", "cmd/sioedge/internal/api", "cmd/sioedge/internal/config", "cmd/sioedge/internal/peerlink", "loop/notice", "sio"},
	"cmd/sioedge/internal/adminui":  {"cmd/sioedge/internal/admin", "cmd/sioedge/internal/config", "cmd/sioedge/internal/peerlink", "loop/notice", "rooms/value", "sio"},
	"cmd/sioedge/soak":              {"bench/host", "cmd/sioedge/internal/ioclient"},
	"cmd/sioedge/upgrades":          {"bench/crowd", "bench/host", "cmd/sioedge/internal/api/wire"},
	"cmd/sioedge/deploy":            {},
	"cmd/sioedge/examples/e2e":      {"cmd/sioedge/internal/ioclient"},
	"cmd/sioedge/internal/roster":   {"rooms/value", "cmd/sioedge/internal/action", "cmd/sioedge/internal/alive", "cmd/sioedge/internal/carried", "cmd/sioedge/internal/peerlink", "loop/notice", "sio"},
	"cmd/sioedge/internal/presence": {"cmd/sioedge/internal/alive", "cmd/sioedge/internal/carried", "cmd/sioedge/internal/config", "cmd/sioedge/internal/peerlink", "loop/notice", "sio"},
}

// outside lists the modules that a package may use beyond the standard library.
var outside = map[string][]string{
	"loop":                 {"github.com/panjf2000/gnet", "golang.org/x/sys"},
	"loop/http1/encoding":  {"github.com/klauspost/compress", "github.com/valyala/bytebufferpool"},
	"rooms/redis":          {"github.com/redis/rueidis"},
	"rooms/redis/wire":     {"github.com/tinylib/msgp"},
	"rooms/value":          {"github.com/tinylib/msgp"},
	"sio/parser":           {"github.com/tinylib/msgp"},
	"wsframe":              {"github.com/gobwas/ws", "github.com/klauspost/compress", "github.com/valyala/bytebufferpool"},
	"loop/passing":         {"golang.org/x/sys"},
	"sio":                  {"github.com/valyala/bytebufferpool"},
	"sio/internal/passage": {"github.com/fxamacker/cbor"},
	"sio/handover":         {"golang.org/x/sys"},
	"bench/crowd":          {"github.com/tinylib/msgp"},
	"bench/swarm":          {"github.com/panjf2000/gnet", "golang.org/x/sys", "github.com/HdrHistogram"},
	"bench/sendloop":       {"golang.org/x/sys"},
	"bench/loops":          {"golang.org/x/sys"},
	"cmd/sioedge":          {"github.com/golang-jwt/jwt", "github.com/spf13", "golang.org/x/term"},
	"cmd/sioload":          {"github.com/spf13", "golang.org/x/term"},
	"cmd/sioedge/demo":     {},

	"cmd/sioedge/internal/successor": {"golang.org/x/sys"},

	// What an operator meets is made of well-kept libraries.
	"cmd/sioedge/internal/config":      {"golang.org/x/crypto/bcrypt", "github.com/knadh/koanf", "github.com/spf13", "go.yaml.in/yaml"},
	"cmd/sioedge/internal/carried":     {"github.com/fxamacker/cbor"},
	"cmd/sioedge/internal/apiclient":   {"cmd/sioedge/internal/api/wire", "cmd/sioedge/internal/terminal"},
	"cmd/sioedge/internal/admin":       {"golang.org/x/crypto/bcrypt"},
	"cmd/sioedge/internal/console":     {"golang.org/x/term"},
	"cmd/sioedge/internal/metrics":     {"github.com/klauspost/compress/gzhttp", "github.com/prometheus/client_golang", "github.com/prometheus/client_model"},
	"cmd/sioedge/internal/terminal":    {"golang.org/x/term"},
	"cmd/sioedge/internal/listen":      {"github.com/coreos/go-systemd", "golang.org/x/crypto/acme", "golang.org/x/sys"},
	"cmd/sioedge/internal/webhook":     {"github.com/sony/gobreaker"},
	"cmd/sioedge/internal/bridge/link": {"github.com/gobwas/ws"},
	"cmd/sioedge/internal/bridge/wire": {"github.com/tinylib/msgp"},
	"cmd/sioedge/internal/identity":    {"github.com/golang-jwt/jwt", "github.com/MicahParks/jwkset"},
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
