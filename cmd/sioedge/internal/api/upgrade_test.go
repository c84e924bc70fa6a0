package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// An upgrade is as the body says, and is answered by what came of it.
func TestUpgrade(t *testing.T) {
	var asked []bool
	var fails error
	a := start(t, nil, func(o *Options) {
		o.Upgrade = func(dry bool) (wire.Upgraded, error) {
			asked = append(asked, dry)
			return wire.Upgraded{DryRun: dry, Node: "n", PID: 7, Version: "v2", Connections: 3, Sessions: 4, Sockets: 5, Stays: wire.Stays{TLS: 1}, Pause: 1.5, Steps: wire.Steps{Freeze: 0.5, Loops: 1}}, fails
		}
		o.DrainTimes = func() (delay, over time.Duration) { return 0, 0 }
		o.Drain = func(Drain) error { return &NotNow{"upgrading", "clients are being given away"} }
	})
	const rest = `"node":"n","pid":7,"version":"v2","connections":3,"sessions":4,"sockets":5,"stays":{"tls":1,"mounted":0,"opening":0,"tunnels":0},"pause_ms":1.5,"steps_ms":{"quiet":0,"settle":0,"split":0,"freeze":0.5,"parts":0,"loops":1,"taken":0,"serving":0}}`
	a.wants("POST", "/api/upgrade", "", 200, "{"+rest)
	a.wants("POST", "/api/upgrade", `{"dry_run":false}`, 200, "{"+rest)
	a.wants("POST", "/api/upgrade", `{"dry_run":true}`, 200, `{"dry_run":true,`+rest)
	if fmt.Sprint(asked) != "[false false true]" {
		t.Errorf("upgrades were asked for, dry: %v", asked)
	}
	for body, want := range map[string]string{`{"dry_run":"yes"}`: "wrong_type", `{"dry-run":true}`: unknownMember, `[]`: "wrong_type", `{`: "malformed"} {
		if status, answer := a.ask("POST", "/api/upgrade", body); status != 400 || !strings.Contains(answer, `"code":"`+want+`"`) {
			t.Errorf("%s is answered %d %s", body, status, answer)
		}
	}
	if len(asked) != 3 {
		t.Errorf("%d upgrades were asked for, want 3", len(asked))
	}
	fails = errors.New("it has other loops")
	if status, answer := a.ask("POST", "/api/upgrade", ""); status != 503 || !strings.Contains(answer, `"not_upgraded"`) || !strings.Contains(answer, "it has other loops") {
		t.Errorf("one that fails is answered %d %s", status, answer)
	}
	fails = fmt.Errorf("no: %w", &NotNow{"draining", "clients leave"})
	if status, answer := a.ask("POST", "/api/upgrade", ""); status != 409 || !strings.Contains(answer, `"code":"draining","message":"clients leave"`) {
		t.Errorf("one that is not begun is answered %d %s", status, answer)
	}
	if status, answer := a.ask("POST", "/api/drain", `{"delay":"1s","over":"1s"}`); status != 409 || !strings.Contains(answer, `"upgrading"`) {
		t.Errorf("draining meanwhile is answered %d %s", status, answer)
	}
	a = start(t, nil, nil)
	if status, _ := a.ask("POST", "/api/upgrade", ""); status != 501 {
		t.Errorf("a server that cannot be upgraded answers %d", status)
	}
}
