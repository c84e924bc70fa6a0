package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms/value"
)

// NotNow is an error of Options.Upgrade, and of Options.Drain: what is asked for cannot be
// done as something else is under way.
type NotNow struct {
	Code string // for programs
	Why  string // for people
}

// Error returns the text for people.
func (n *NotNow) Error() string { return n.Why }

// upgrades are the routes.
func upgrades() []*route {
	return []*route{{
		method: http.MethodPost, path: wire.UpgradePath, name: "upgrade", doc: "Start the program that lies where this one was started from, and give it all clients: they notice a pause. It is answered when that has been decided. If it comes to nothing (503), this process goes on as before.",
		body: wire.Upgrade{}, answer: wire.Upgraded{}, statuses: []int{409, 501, 503}, serve: (*call).upgrade,
	}}
}

// upgrade is the endpoint; it may be without a body.
func (c *call) upgrade() (any, error) {
	if c.a.o.Upgrade == nil {
		return nil, fail(http.StatusNotImplemented, "not_upgraded", "this server cannot be upgraded")
	}
	body := c.body
	if value.SkipSpace(body, 0) == len(body) {
		body = []byte("{}")
	}
	if err := checkJSON(body, c.s); err != nil {
		return nil, err
	}
	var u wire.Upgrade
	err := members(body, func(name string, v []byte) error {
		if name != "dry_run" {
			return errUnknown
		}
		return json.Unmarshal(v, &u.DryRun)
	})
	if err != nil {
		return nil, err
	}
	up, err := c.a.o.Upgrade(u.DryRun)
	// It may have taken longer than answers to others may take.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(writeTime))
	if err != nil {
		return nil, notNow(err, fail(http.StatusServiceUnavailable, "not_upgraded", err.Error()))
	}
	return up, nil
}

// notNow is a conflict with what is under way, or else another problem.
func notNow(err error, other *problem) *problem {
	if n := (*NotNow)(nil); errors.As(err, &n) {
		return fail(http.StatusConflict, n.Code, n.Why)
	}
	return other
}
