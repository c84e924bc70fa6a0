package api

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// Draining is as the body says, or as the settings do; what is said wrongly drains nobody.
func TestDrain(t *testing.T) {
	var got []Drain
	var err error
	st := wire.Draining{Phase: "serving"}
	a := start(t, nil, func(o *Options) {
		o.Drain = func(d Drain) error {
			if err == nil {
				got = append(got, d)
				st = wire.Draining{Phase: "waiting", Since: 5, Remaining: 7}
			}
			return err
		}
		o.Undrain = func() error {
			if err == nil {
				st = wire.Draining{Phase: "serving"}
			}
			return err
		}
		o.Draining = func() wire.Draining { return st }
		o.DrainTimes = func() (delay, over time.Duration) { return 5 * time.Second, 15 * time.Second }
	})
	a.wants("POST", "/api/drain", "", 200, `{"phase":"waiting","since":5,"remaining":7}`)
	a.wants("POST", "/api/drain", `{"delay":"0s","over":"1m","stop":true}`, 200, `{"phase":"waiting","since":5,"remaining":7}`)
	if want := []Drain{{5 * time.Second, 15 * time.Second, false}, {0, time.Minute, true}}; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("drained with %v, want %v", got, want)
	}
	for body, want := range map[string]string{
		`{"delay":5}`: "wrong_type", `{"delay":"-1s"}`: "malformed", `{"over":"2h"}`: "malformed", `{"over":"x"}`: "malformed", `{"stop":"yes"}`: "wrong_type", `{"wait":"1s"}`: unknownMember, `[]`: "wrong_type", `{`: "malformed",
	} {
		if status, answer := a.ask("POST", "/api/drain", body); status != 400 || !strings.Contains(answer, `"code":"`+want+`"`) {
			t.Errorf("%s is answered %d %s", body, status, answer)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d orders to drain came, want 2", len(got))
	}
	if _, info := a.ask("GET", "/api/info", ""); !strings.Contains(info, `"draining":{"phase":"waiting","since":5,"remaining":7}`) {
		t.Errorf("info is %s", info)
	}
	a.wants("POST", "/api/undrain", "", 200, `{"phase":"serving","remaining":0}`)
	if _, info := a.ask("GET", "/api/info", ""); !strings.Contains(info, `"draining":{"phase":"serving","remaining":0}`) {
		t.Errorf("info is %s", info)
	}
	err = errors.New("stops")
	for _, path := range []string{"/api/drain", "/api/undrain"} {
		if status, answer := a.ask("POST", path, ""); status != 409 || !strings.Contains(answer, `"stopping"`) {
			t.Errorf("%s of a server that stops is answered %d %s", path, status, answer)
		}
	}
	a = start(t, nil, nil)
	for _, path := range []string{"/api/drain", "/api/undrain"} {
		if status, _ := a.ask("POST", path, ""); status != 501 {
			t.Errorf("%s of a server without draining is answered %d", path, status)
		}
	}
}
