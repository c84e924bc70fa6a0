package webhook

import (
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/sio"
)

// Event sends an event on: see [action.Backend]. If it finds its lane full it goes on on
// the socket's goroutine, where it waits, so that the client's further events wait in its
// inbox and sio stops to read from it.
func (b *Backend) Event(s sio.Socket, m *sio.Msg, e action.Entry, o action.EventOptions) error {
	if b.event(s, m, &e, o.Timeout, false) {
		return nil
	}
	b.tally.paused.Add(1)
	b.notice.Warn("webhook: clients wait because too much waits for a backend", "backend", b.name, "see", b.key+".queue")
	return b.later(m, e, o.Timeout)
}

// later has an event wait. It is apart from Event, so that those that find room cost no
// allocation.
func (b *Backend) later(m *sio.Msg, e action.Entry, timeout time.Duration) error {
	return m.Later(func(s sio.Socket, m *sio.Msg) error {
		_, room := b.hurry.get()
		for !b.event(s, m, &e, timeout, isClosed(room)) {
			b.wait(b.lane(s.Conn()), room)
		}
		return nil
	})
}

// wait waits until a lane may have room for an event, or there is to be.
func (b *Backend) wait(l *lane, made <-chan struct{}) {
	for _, room := range []*store{&l.room, &b.room} {
		if empty := room.wait(); empty != nil {
			b.tally.waiting.Add(1)
			select {
			case <-empty:
			case <-made:
			case <-b.closed:
			}
			b.tally.waiting.Add(-1)
			return
		}
	}
}

// event puts an event into its lane. It is false if there is no room, which by force there
// is.
func (b *Backend) event(s sio.Socket, m *sio.Msg, e *action.Entry, timeout time.Duration, force bool) bool {
	lane, now := action.LaneOf(s.Conn()), time.Now()
	l := &b.lanes[lane%uint64(len(b.lanes))]
	if b.stopped.Load() {
		b.countLoss(action.Event, Stopped, now.UnixMilli())
		return true
	}
	args, attachments := m.Verbatim()
	cost := itemBytes + int64(len(e.Claims)) + 256 // of the names around the arguments, about
	for _, a := range args {
		cost += int64(len(a))
	}
	for _, a := range attachments {
		cost += int64(len(a)) * 4 / 3
	}
	data := dataOf(s)
	cost += int64(len(data))
	if !l.room.take(cost) && (!force || !l.room.force(cost)) {
		return false
	}
	if !b.room.take(cost) && (!force || !b.room.force(cost)) {
		l.room.give(cost)
		return false
	}
	f := b.form.Load()
	it := item{idLen: idLength, kind: action.Event, cost: cost, since: now.UnixMilli(), socket: s, lane: lane, asks: m.WantsAck(), reply: m.Reply()}
	if it.asks && timeout > 0 {
		it.due = now.Add(timeout).UnixMilli()
	}
	if f.multipart {
		it.attachments = attachments
	}
	x := l.begin(f, action.Event)
	it.from = x.at()
	x.body = f.event(x.body, b.ids, now, s, m, e, data)
	l.end(x, it)
	return true
}

// event appends an event: arguments as they came, with the placeholders of attachments.
func (f *form) event(dst []byte, g *ids, now time.Time, s sio.Socket, m *sio.Msg, e *action.Entry, data []byte) []byte {
	var buf [idLength]byte
	id := g.append(buf[:0], now)
	sid := s.ID()
	dst = entry(f.begin(dst, string(id), "event", sid, now), sid, e, s.Param)
	dst = text(dst, "ev", m.Event())
	dst = append(dst, `,"args":[`...)
	args, attachments := m.Verbatim()
	for i, a := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, a...)
	}
	dst = f.attachments(append(dst, ']'), id, attachments)
	if m.WantsAck() {
		dst = append(dst, `,"ack":true`...)
	}
	return f.end(raw(dst, "data", data))
}

// Tell has the backend know of something: see [action.Backend].
func (b *Backend) Tell(k action.Kind, p action.Peer, body func(dst []byte) []byte) {
	now := time.Now()
	at := p.Time
	if at.IsZero() {
		at = now
	}
	if b.carried.ask(p.ID, p.Done) {
		return
	}
	f, id := b.form.Load(), p.ID
	if id == "" {
		id = string(b.ids.append(nil, now))
	}
	text := f.begin(nil, id, k.String(), p.SID, at)
	text = entry(text, p.SID, &action.Entry{Namespace: p.Namespace, Route: p.Route, User: p.User}, nil)
	if body != nil {
		text = body(text)
	}
	text = f.end(text)
	it := item{idLen: len(id), kind: k, cost: int64(len(text)) + itemBytes, since: now.UnixMilli(), lane: p.Lane, done: p.Done}
	if why := b.admit(it.cost); why != 0 {
		if it.done != nil {
			it.done(false)
		}
		b.countLoss(k, why, it.since)
		return
	}
	b.lanes[p.Lane%uint64(len(b.lanes))].put(f, it, text, "")
}

// lane returns the lane of a connection.
func (b *Backend) lane(c sio.Conn) *lane { return &b.lanes[action.LaneOf(c)%uint64(len(b.lanes))] }
