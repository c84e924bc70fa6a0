package admin

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sioedge/sioedge/sio"
)

// Bounds of a trace: how long it lasts, how many there are at one time, how many lines a
// second, how many wait to be sent, and how many bytes of an event's arguments are shown.
const (
	traceTime  = 5 * time.Minute
	maxTraces  = 8
	traceRate  = 200
	traceQueue = 512
	traceText  = 1 << 10
	traceName  = 1 << 10
	traceWrite = 10 * time.Second // that a piece may take
)

// A traceQuestion says what is traced: what a user, a room, a socket or a namespace sends
// and is sent.
type traceQuestion struct {
	Kind  string  `json:"kind"` // user, room, route, socket
	Name  string  `json:"name"`
	Nsp   string  `json:"nsp"`   // of a room
	Share float64 `json:"share"` // of events, above 0; joins and the like are all told
}

func (q *traceQuestion) check() error {
	switch {
	case q.Kind != "user" && q.Kind != "room" && q.Kind != "route" && q.Kind != "socket":
		return errors.New("kind is to be user, room, route or socket")
	case q.Name == "" || len(q.Name) > traceName || len(q.Nsp) > traceName:
		return errors.New("the name is missing, or too long")
	case !(q.Share > 0 && q.Share <= 1):
		return errors.New("share is to be above 0, and 1 at most")
	}
	if q.Kind != "user" && q.Kind != "socket" {
		if q.Kind == "route" && !strings.HasPrefix(q.Name, "/") {
			q.Name = "/" + q.Name
		}
		if !strings.HasPrefix(q.Nsp, "/") {
			q.Nsp = "/" + q.Nsp
		}
	}
	return nil
}

// A traceLine is something that has happened.
type traceLine struct {
	Time  int64  `json:"time,omitempty"` // ms since 1970
	What  string `json:"what,omitempty"`
	SID   string `json:"sid,omitempty"`
	Nsp   string `json:"nsp,omitempty"`
	User  string `json:"user,omitempty"`
	Event string `json:"event,omitempty"`
	Room  string `json:"room,omitempty"` // that was joined or left
	To    string `json:"to,omitempty"`   // rooms that it was emitted to
	Text  string `json:"text,omitempty"` // arguments, or a reason
	Cut   int    `json:"cut,omitempty"`  // bytes that are not in Text
	Ack   bool   `json:"ack,omitempty"`

	LeftOut int64  `json:"left_out,omitempty"` // lines before this one
	End     string `json:"end,omitempty"`      // why there are no more
}

// A tracing sees what happens, on the loops.
type tracing struct {
	// Immutable.
	q     traceQuestion
	user  func(sio.Socket) string
	lines chan *traceLine

	mu   sync.Mutex
	full time.Time // when no line counts any more: see spend

	leftOut atomic.Int64
}

// whats name what happens.
var whats = map[sio.ObservationKind]string{
	sio.ObservedConnect: "connect", sio.ObservedDisconnect: "disconnect", sio.ObservedJoin: "join", sio.ObservedLeave: "leave",
	sio.ObservedEvent: "in", sio.ObservedEmit: "out", sio.ObservedUpgrade: "upgrade", sio.ObservedData: "data",
}

// see is the observer. It never waits: what is too much is counted.
func (t *tracing) see(o *sio.Observation) {
	if !t.wants(o) {
		return
	}
	event := o.Kind == sio.ObservedEvent || o.Kind == sio.ObservedEmit
	if event && t.q.Share < 1 && rand.Float64() >= t.q.Share {
		return
	}
	if !t.may() {
		t.leftOut.Add(1)
		return
	}
	x := &traceLine{Time: time.Now().UnixMilli(), What: whats[o.Kind], SID: o.Socket.PublicID(), Nsp: o.Socket.Name(), User: t.user(o.Socket), Room: o.Room}
	switch {
	case event:
		x.Event, x.Ack = o.Event(), o.WantsAck()
		x.To, _ = cut(strings.Join(o.To, ", "), traceText/4)
		x.Text, x.Cut = textOf(o.Args())
	case o.Kind == sio.ObservedDisconnect:
		x.Text, x.Cut = cut(string(o.Reason), traceText)
	case o.Kind == sio.ObservedUpgrade || o.Kind == sio.ObservedConnect:
		x.Text = o.Transport()
	}
	select {
	case t.lines <- x:
	default:
		t.leftOut.Add(1)
	}
}

func (t *tracing) wants(o *sio.Observation) bool {
	switch t.q.Kind {
	case "user":
		return t.user(o.Socket) == t.q.Name
	case "socket":
		return o.Socket.PublicID() == t.q.Name
	case "room":
		return o.Socket.Name() == t.q.Nsp && (o.Room == t.q.Name || o.Room == "" && o.In(t.q.Name))
	}
	return o.Socket.Name() == t.q.Name || o.Socket.Namespace().Name() == t.q.Name
}

// may tells whether there may be a line now: not more than traceRate a second.
func (t *tracing) may() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	full, wait := spend(t.full, time.Now(), time.Second/traceRate, traceRate)
	t.full = full
	return wait == 0
}

// textOf is what is shown of arguments, and how many bytes of them are not.
func textOf(a sio.Args) (text string, left int) {
	raw, attachments := a.Verbatim()
	var b strings.Builder
	for i, arg := range raw {
		sep := ""
		if i > 0 {
			sep = ", "
		}
		if space := traceText - b.Len(); space <= len(sep) {
			left += len(arg)
		} else {
			near := arg[:min(len(arg), space+utf8.UTFMax)] // what is not shown is not copied
			shown, more := cut(string(near), space-len(sep))
			b.WriteString(sep + shown)
			left += more + len(arg) - len(near)
		}
	}
	for _, x := range attachments {
		left += len(x)
	}
	return b.String(), left
}

// cut returns the first bytes of a text, whole runes, and how many are left.
func cut(text string, most int) (string, int) {
	if len(text) <= most {
		return strings.ToValidUTF8(text, "�"), 0
	}
	n := most
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.ToValidUTF8(text[:n], "�"), len(text) - n
}

// trace answers with what happens, a line each, until the time is over, the session has
// ended, or the page goes away.
func (a *Admin) trace(w http.ResponseWriter, r *http.Request) {
	var q traceQuestion
	if !a.readJSON(w, r, 4*traceName, &q) {
		return
	}
	if a.rules.Load().ReadOnly {
		refuse(w, http.StatusForbidden, "readonly", "what clients say is not shown here (admin.readonly)")
		return
	}
	if err := q.check(); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", err.Error())
		return
	}
	if a.traces.Add(1) > maxTraces {
		a.traces.Add(-1)
		a.counts.untraced.Add(1)
		refuse(w, http.StatusTooManyRequests, "too_many_traces", "as many traces are under way as may be")
		return
	}
	defer a.traces.Add(-1)
	a.counts.traced.Add(1)
	a.o.Logger.Info("an operator traces on the page", "operator", sessionOf(r).who, "kind", q.Kind, "name", q.Name, "address", r.RemoteAddr)
	t := &tracing{q: q, user: a.o.User, lines: make(chan *traceLine, traceQueue)}
	ctx, cancel := context.WithTimeout(r.Context(), a.traceTime)
	defer cancel()
	defer a.o.Server.Observe(t.see)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	a.tell(ctx, w, r, t)
}

// tell writes lines until ctx ends.
func (a *Admin) tell(ctx context.Context, w http.ResponseWriter, r *http.Request, t *tracing) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // what cannot do that has no deadline
	enc := json.NewEncoder(w)
	write := func(x *traceLine) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(traceWrite))
		x.LeftOut = t.leftOut.Swap(0)
		if a.counts.leftOut.Add(x.LeftOut); enc.Encode(x) != nil {
			return false
		}
		return len(t.lines) > 0 || rc.Flush() == nil
	}
	alive := time.NewTicker(time.Second)
	defer alive.Stop()
	for ok := write(new(traceLine)); ok; {
		select {
		case x := <-t.lines:
			ok = write(x)
		case <-alive.C:
			switch {
			case !a.lives(r):
				write(&traceLine{End: "The session has ended"})
				return
			case a.rules.Load().ReadOnly:
				write(&traceLine{End: "Nothing may be traced any more"})
				return
			}
			ok = write(new(traceLine))
		case <-a.stopped.Done():
			write(&traceLine{End: "The server stops"})
			return
		case <-ctx.Done():
			if r.Context().Err() == nil {
				write(&traceLine{End: "The time is over"})
			}
			return
		}
	}
}
