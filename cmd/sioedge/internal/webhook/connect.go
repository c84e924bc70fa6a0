package webhook

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/sio"
)

// Unavailable is the code that a connection is closed with whose client could not be
// decided about.
const Unavailable = 4503

// A call is a client's that waits to connect.
type call struct {
	done   chan struct{}
	result *action.Result
	why    Loss
	left   atomic.Bool // nobody waits any more
}

// end answers it.
func (c *call) end(r *action.Result, why Loss) {
	c.result, c.why = r, why
	close(c.done)
}

// Connect asks the backend whether a client may connect: see [action.Backend]. It takes as
// long as the backend's timeout if that is idle, and at most half of the time that a client
// has to connect.
func (b *Backend) Connect(s sio.Socket, e action.Entry) (*action.Result, error) {
	patience := time.NewTimer(min(b.connectTimeout/2, 3*b.own.Load().Timeout))
	defer patience.Stop()
	who := credentialsOf(s)
	ttl := b.own.Load().CacheTTL
	over, _ := b.hurry.get()
	key, cached := b.answers.key(b.form.Load(), who, &e)
	ask := func() (*action.Result, Loss) {
		return b.ask(s, action.Connect, patience.C, who.header, func(dst []byte, f *form) []byte { return f.connect(dst, s, &e, who) })
	}
	if ttl <= 0 || !cached {
		r, why := ask()
		return b.decide(s, r, why)
	}
	for {
		epoch := b.answers.epochNow()
		r, other := b.answers.get(key, time.Now())
		if r != nil {
			return b.decide(s, r, 0)
		}
		if other != nil {
			select {
			case <-other:
				continue
			case <-patience.C:
				return b.decide(s, nil, Late)
			case <-over:
				return b.decide(s, nil, Late)
			}
		}
		r, why := ask()
		keep := time.Duration(0)
		if r != nil {
			keep = min(r.CacheTTL, ttl)
		}
		b.answers.put(key, r, keep, epoch, time.Now())
		return b.decide(s, r, why)
	}
}

// Refresh asks the backend whether a client may go on with a new token: see
// [action.Backend]. It takes as long as Connect.
func (b *Backend) Refresh(s sio.Socket, e action.Entry, token json.RawMessage) (*action.Result, error) {
	patience := time.NewTimer(min(b.connectTimeout/2, 3*b.own.Load().Timeout))
	defer patience.Stop()
	data := dataOf(s)
	r, why := b.ask(s, action.Refresh, patience.C, nil, func(dst []byte, f *form) []byte { return f.refresh(dst, s, &e, token, data) })
	switch {
	case r != nil:
		return b.said(r)
	case s.Gone():
		return nil, sio.ErrClosed
	}
	b.tally.undecided[why].Add(1)
	b.notice.Warn("webhook: a new token is refused because the backend has not answered", "backend", b.name, "reason", why.String(), "see", b.key)
	return nil, &sio.Error{Message: "backend unavailable", Data: unavailable{503}}
}

// said returns a backend's result, or its refusal as the client sees it.
func (b *Backend) said(r *action.Result) (*action.Result, error) {
	if r.Error == nil {
		b.tally.admitted.Add(1)
		return r, nil
	}
	b.tally.refused.Add(1)
	e := &sio.Error{Message: r.Error.Message}
	if len(r.Error.Data) > 0 {
		e.Data = r.Error.Data
	}
	return nil, e
}

// decide returns what becomes of a client, which the backend has not said if there is no
// result.
func (b *Backend) decide(s sio.Socket, r *action.Result, why Loss) (*action.Result, error) {
	if r != nil {
		return b.said(r)
	}
	if s.Gone() {
		return nil, sio.ErrClosed
	}
	b.tally.undecided[why].Add(1)
	switch onError := b.own.Load().OnError; onError {
	case "allow":
		b.notice.Warn("webhook: a client is let in although the backend has not answered", "backend", b.name, "reason", why.String(), "see", b.key+".on_error")
		return &action.Result{}, nil
	case "reject":
		b.notice.Warn("webhook: a client is refused because the backend has not answered", "backend", b.name, "reason", why.String(), "see", b.key+".on_error")
		return nil, &sio.Error{Message: "backend unavailable", Data: unavailable{503}}
	}
	b.notice.Warn("webhook: a client has to come back because the backend has not answered", "backend", b.name, "reason", why.String(), "see", b.key+".on_error")
	_ = s.CloseConnWith(Unavailable, "backend unavailable") // or it has left
	return nil, sio.ErrClosed
}

// unavailable is what a client is told that is refused.
type unavailable struct {
	Code int `json:"code"`
}

// ask puts a question about a client into a lane and waits for the answer. Header is that of
// the client's request, members appends those of the item.
func (b *Backend) ask(s sio.Socket, kind action.Kind, patience <-chan time.Time, header http.Header, members func(dst []byte, f *form) []byte) (*action.Result, Loss) {
	if b.breaker.state() == Open {
		return nil, lossOf(Shut)
	}
	f, now := b.form.Load(), time.Now()
	var id [idLength]byte
	b.ids.append(id[:0], now)
	sid := s.ID()
	text := f.end(members(f.begin(nil, string(id[:]), kind.String(), sid, now), f))
	c := &call{done: make(chan struct{})}
	it := item{idLen: idLength, kind: kind, cost: int64(len(text)) + itemBytes, since: now.UnixMilli(), socket: s, call: c}
	trace := ""
	if len(header["Traceparent"]) == 1 && slices.Contains(f.headers, "Traceparent") {
		trace = traceparent(header["Traceparent"][0])
	}
	if why := b.admit(it.cost); why != 0 {
		b.countLoss(kind, why, it.since)
		return nil, why
	}
	over, _ := b.hurry.get()
	b.doors[action.LaneOf(s.Conn())%uint64(len(b.doors))].put(f, it, text, trace)
	select {
	case <-c.done:
		return c.result, c.why
	case <-patience:
	case <-over:
	case <-b.closed:
	}
	c.left.Store(true)
	return nil, Late
}

// admit counts bytes of what is not an event, or says why it is not taken.
func (b *Backend) admit(n int64) Loss {
	if b.stopped.Load() {
		return Stopped
	}
	if b.kept.Add(n)+b.room.used.Load() > int64(b.own.Load().Queue) {
		b.kept.Add(-n)
		return Full
	}
	return 0
}

// put adds an item whose JSON is there.
func (l *lane) put(f *form, it item, text []byte, trace string) {
	x := l.begin(f, it.kind)
	it.from = x.at()
	x.body = append(x.body, text...)
	x.follow(trace)
	l.end(x, it)
}

// traceparent returns the field of a trace if it is one (W3C Trace Context), "" otherwise:
// what clients send is not a field of our requests.
func traceparent(text string) string {
	if len(text) != 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return ""
	}
	for i := range len(text) {
		c := text[i]
		if i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return text
}
