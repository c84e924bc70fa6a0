package api

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// What the document shows is what happens: each example is run by a shell, in order.
func TestExamplesOfTheDocument(t *testing.T) {
	for _, name := range []string{"sh", "curl", "sed"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s", name)
		}
	}
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	draining := wire.Draining{Phase: "serving"}
	a := start(t, nil, func(o *Options) {
		o.Reload = func() (applied, restart []string, err error) { return []string{"log.level"}, nil, nil }
		o.Drain, o.Undrain = func(Drain) error { draining = wire.Draining{Phase: "waiting", Since: 1, Remaining: 4}; return nil }, func() error { draining = wire.Draining{Phase: "serving"}; return nil }
		o.Upgrade = func(bool) (wire.Upgraded, error) { return wire.Upgraded{}, nil }
		o.Draining, o.DrainTimes = func() wire.Draining { return draining }, func() (delay, over time.Duration) { return 0, 0 }
	})
	a.connect("/", "u1", `{"plan":"pro"}`, "r1")
	a.connect("/", "u3", `{}`, "other")
	a.connect("/rooms/1", "u2", `{}`, "x")
	a.connect("/chat", "u4", `{}`, "r1")
	examples := regexp.MustCompile("(?s)```sh\n(.*?)```\n```\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	for _, x := range examples {
		script := strings.NewReplacer("KEY=…", "KEY="+shell(testKey), "http://127.0.0.1:9000", a.in.URL).Replace(x[1])
		cmd := exec.Command("sh", "-e")
		cmd.Env = append(os.Environ(), "KEY="+testKey)
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v: %s", x[1], err, out)
		}
		want := "^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(x[2])), "…", ".*?") + "$"
		if !regexp.MustCompile(want).MatchString(strings.TrimSpace(string(out))) {
			t.Errorf("%s\nanswers\n%s\nand not\n%s", x[1], out, x[2])
		}
	}
	if n := strings.Count(string(b), "```sh\n"); n != len(examples) || n < 15 {
		t.Errorf("%d of %d examples were run", len(examples), n)
	}
	// And there is nothing that it does not show.
	for _, r := range routes {
		path, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/api"), "{")
		if !strings.Contains(string(b), "/api"+path) {
			t.Errorf("the document has no %s", r.path)
		}
	}
}

func shell(text string) string { return "'" + text + "'" }
