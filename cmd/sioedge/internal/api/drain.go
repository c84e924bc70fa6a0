package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms/value"
)

// A Drain has clients leave: when delay is over, evenly over a time.
type Drain struct {
	Delay, Over time.Duration
	Stop        bool // and then the server stops
}

// maxDrain bounds each of its times.
const maxDrain = time.Hour

// drains are the routes.
func drains() []*route {
	return []*route{
		{
			method: http.MethodPost, path: wire.DrainPath, name: "drain", doc: "Have clients leave: the server is not ready from now on, and after a delay no new ones are taken, and those that are there end one after the other. It does not wait for that. Asked again, it goes on by what is said then.",
			body: wire.Drain{}, answer: wire.Draining{}, statuses: []int{409, 501}, serve: (*call).drain,
		},
		{method: http.MethodPost, path: wire.UndrainPath, name: "undrain", doc: "End that: the server takes clients again.", answer: wire.Draining{}, statuses: []int{409, 501}, serve: (*call).undrain},
	}
}

var errNoDrain = fail(http.StatusNotImplemented, "not_drained", "this server cannot be drained")

// drain is the endpoint; it may be without a body.
func (c *call) drain() (any, error) {
	if c.a.o.Drain == nil {
		return nil, errNoDrain
	}
	body := c.body
	if value.SkipSpace(body, 0) == len(body) {
		body = []byte("{}")
	}
	if err := checkJSON(body, c.s); err != nil {
		return nil, err
	}
	var d Drain
	d.Delay, d.Over = c.a.o.DrainTimes()
	err := members(body, func(name string, v []byte) (err error) {
		switch name {
		case "delay":
			d.Delay, err = drainTime(name, v)
		case "over":
			d.Over, err = drainTime(name, v)
		case "stop":
			err = json.Unmarshal(v, &d.Stop)
		default:
			err = errUnknown
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.a.o.Drain(d); err != nil {
		return nil, notNow(err, fail(http.StatusConflict, "stopping", "the server stops already"))
	}
	return c.a.o.Draining(), nil
}

func drainTime(name string, v []byte) (time.Duration, error) {
	var text string
	if err := json.Unmarshal(v, &text); err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDrain {
		return 0, bad(name, string(action.Malformed), "is to be a time such as 5s, an hour at most")
	}
	return d, nil
}

// undrain is the endpoint.
func (c *call) undrain() (any, error) {
	if c.a.o.Undrain == nil {
		return nil, errNoDrain
	}
	if c.a.o.Undrain() != nil {
		return nil, fail(http.StatusConflict, "stopping", "the server stops, and there is no way back")
	}
	return c.a.o.Draining(), nil
}
