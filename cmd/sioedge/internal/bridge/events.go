package bridge

import (
	"encoding/json"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

// An event is one of a client's until a process has worked it off: it is the item of its
// message. Guarded by Bridge.mu.
type event struct {
	k    *socket
	ack  int64 // wire.None: the client wants no answer
	text []byte
	bins [][]byte
	size int // bytes, about
}

const (
	eventBytes    = 128 // that an event takes beside what it says, about
	eventOverhead = 64  // of its message
	maxFree       = 1024
	maxFreeText   = 4 << 10
)

// Event sends an event on: see [action.Bridge].
func (b *Bridge) Event(s sio.Socket, m *sio.Msg) error {
	k, ok := b.sockets.Get(s)
	if !ok || k.s != s {
		return nil
	}
	if b.event(k, m, false) == nil {
		return nil
	}
	b.tally.paused.Add(1)
	b.notice.Info("bridge: clients wait because too much waits for a process", "bridge", b.name, "see", b.key+".window, "+b.key+".max_waiting")
	return b.later(k, m)
}

// later has an event wait. It is apart from Event, so that those that find room cost no
// allocation.
func (b *Bridge) later(k *socket, m *sio.Msg) error {
	return m.Later(func(_ sio.Socket, m *sio.Msg) error {
		b.tally.pausedNow.Add(1)
		defer b.tally.pausedNow.Add(-1)
		made := b.moving.room()
		for room := b.event(k, m, isClosed(made)); room != nil; room = b.event(k, m, isClosed(made)) {
			select {
			case <-room: // closed at the latest when the link has ended, or the wait for another is over
			case <-made:
			}
		}
		return nil
	})
}

// event sends an event to the socket's process, or keeps it while there is none. It returns
// what to wait for if there is no room, which by force there is.
func (b *Bridge) event(k *socket, m *sio.Msg, force bool) (room <-chan struct{}) {
	size := sizeOf(m)
	if b.long(size - eventBytes) {
		return nil
	}
	b.mu.Lock()
	defer b.unlock()
	x := k.x
	switch {
	case k.stage == gone || b.stopped:
		b.tally.dropped.Add(1)
		return nil
	case k.stage == open && !k.member.draining && len(k.held) == 0:
		e := b.take(k, m, size)
		if !k.member.s.Put(e, force, func(dst []byte) []byte {
			e.ack = reply(m)
			return wire.AppendEvent(dst, k.number, e.ack, e.text, e.bins)
		}) {
			b.recycle(e)
			return k.member.awaitRoom()
		}
		b.tally.events.Add(1)
		return nil
	case !force && x.held > 0 && x.held+size > int(b.settings.Load().MaxWaiting):
		if x.wake == nil {
			x.wake = make(chan struct{})
		}
		return x.wake
	}
	e := b.take(k, m, size)
	e.ack = reply(m)
	k.held = append(k.held, e)
	x.held += size
	b.tally.heldEvents.Add(1)
	return nil
}

// long tells whether something of a client is too long for a message, which is counted: it is
// dropped then.
func (b *Bridge) long(size int) bool {
	if size+eventOverhead <= int(b.settings.Load().MaxMessage) {
		return false
	}
	b.tally.tooLong.Add(1)
	b.notice.Warn("bridge: an event, or an answer, is dropped because it is too long", "bridge", b.name, "bytes", size, "see", b.key+".max_message")
	return true
}

// reply takes the acknowledgement out of an event, and returns its number.
func reply(m *sio.Msg) int64 {
	if id, ok := m.Reply().ID(); ok && id < 1<<53 {
		return int64(id)
	}
	return wire.None
}

// sizeOf returns what an event takes, about.
func sizeOf(m *sio.Msg) int {
	return eventBytes + len(m.Event()) + sizeOfArgs(m.Verbatim())
}

func sizeOfArgs(args, bins [][]byte) (n int) {
	for _, a := range args {
		n += len(a) + 1
	}
	for _, a := range bins {
		n += len(a) + 8
	}
	return n
}

// take returns an event with what a client has sent. The lock is held.
func (b *Bridge) take(k *socket, m *sio.Msg, size int) *event {
	var e *event
	if n := len(b.free); n > 0 {
		e, b.free = b.free[n-1], b.free[:n-1]
	} else {
		e = &event{}
	}
	args, bins := m.Verbatim()
	text := appendQuoted(append(e.text[:0], '['), m.Event())
	for _, a := range args {
		text = append(append(text, ','), a...)
	}
	e.k, e.text, e.bins, e.size = k, append(text, ']'), bins, size
	return e
}

// recycle takes an event that nobody needs. The lock is held.
func (b *Bridge) recycle(e *event) {
	if len(b.free) < maxFree && cap(e.text) <= maxFreeText {
		*e = event{text: e.text[:0]}
		b.free = append(b.free, e)
	}
}

// appendQuoted appends a text as JSON.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // a text can be encoded
			return append(dst, text...)
		}
	}
	dst = append(append(dst, '"'), s...)
	return append(dst, '"')
}

// Worked is told of events that a process has worked off: see link.Handler.
func (b *Bridge) Worked(_ *link.Session, items []any) {
	b.mu.Lock()
	defer b.unlock()
	for _, item := range items {
		e := item.(*event)
		e.k.x.deaths = 0
		b.recycle(e)
	}
}

// flush sends a socket's process what the socket holds, and that it has left, if it has.
// The lock is held.
func (b *Bridge) flush(k *socket) {
	for _, e := range k.held {
		k.x.held -= e.size
		k.member.s.Put(e, true, func(dst []byte) []byte { return wire.AppendEvent(dst, k.number, e.ack, e.text, e.bins) })
	}
	b.tally.events.Add(int64(len(k.held)))
	k.held = nil
	k.x.hasRoom()
	if d := k.leaves; d != nil {
		k.leaves = nil
		b.sayLeft(k, *d)
	}
}

// release drops what a socket holds. The lock is held.
func (b *Bridge) release(k *socket) {
	for _, e := range k.held {
		k.x.held -= e.size
		b.recycle(e)
	}
	b.tally.dropped.Add(int64(len(k.held)))
	k.held = nil
	k.x.hasRoom()
}

// hasRoom has those go on whose events wait for room. The lock is held.
func (x *seat) hasRoom() {
	if x.wake != nil {
		close(x.wake)
		x.wake = nil
	}
}
