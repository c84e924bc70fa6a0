package eio

import (
	"fmt"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/loop/handle"
)

// A Session is a handle to a session: comparable, 16 bytes, without a pointer
// to the session. When that is gone, methods do nothing. Its methods belong to
// the session's loop, except Ref, ID and Loop.
type Session struct {
	sh        *shard
	slot, gen uint32
}

// at returns the session's record, nil if it is gone.
func (s Session) at() *session {
	if s.sh == nil {
		return nil
	}
	s.sh.loop.Check()
	return s.sh.sessions.Find(s.slot, s.gen)
}

// Valid tells whether the session is open.
func (s Session) Valid() bool {
	r := s.at()
	return r != nil && !r.is(closing)
}

// Ref names the session: a handle.Ref. Any goroutine may call it.
func (s Session) Ref() uint64 { return uint64(handle.MakeRef(s.sh.loop.Index(), s.slot, s.gen)) }

// ID returns the session's public id. Whoever knows it can read a polling
// session. Any goroutine may call it.
func (s Session) ID() string {
	var room [IDLen]byte
	return string(s.sh.srv.ids.Append(room[:0], s.Ref()))
}

// Loop returns the loop that owns the session. Any goroutine may call it.
func (s Session) Loop() *loop.Loop { return s.sh.loop }

// User returns the word that SetUser stored, 0 before.
func (s Session) User() uint32 {
	if r := s.at(); r != nil {
		return r.user
	}
	return 0
}

// SetUser stores a word of the handler's with the session.
func (s Session) SetUser(u uint32) {
	if r := s.at(); r != nil {
		r.user = u
	}
}

// Transport returns "polling" or "websocket".
func (s Session) Transport() string {
	if r := s.at(); r != nil && r.is(overWS) {
		return "websocket"
	}
	return "polling"
}

// Revision returns the revision of Engine.IO that the client speaks: 4, or 3
// with Options.AllowEIO3. It still answers within Handler.Close.
func (s Session) Revision() int {
	if r := s.at(); r != nil && r.is(revision3) {
		return 3
	}
	return 4
}

// Writable tells whether a message sent now would leave now: nothing is
// queued before it and, while polling, a poll is waiting. Volatile messages
// are dropped otherwise.
func (s Session) Writable() bool {
	r := s.at()
	if r == nil || r.is(closing) {
		return false
	}
	if r.is(overWS) {
		return (*webSocket)(s.sh).writable(s.slot)
	}
	return (*polling)(s.sh).writable(s.slot)
}

// Send sends frames made by AppendText and AppendBinary, which are copied.
// All messages of one call arrive with nothing in between.
func (s Session) Send(frames []byte) {
	if s.Valid() {
		s.sh.send(s.slot, frames, borrowed, false, nil)
	}
}

// SendPlain is Send without compression, whatever was negotiated. Node: the
// option compress: false.
func (s Session) SendPlain(frames []byte) {
	if s.Valid() {
		s.sh.send(s.slot, frames, borrowed, true, nil)
	}
}

// SendKind is Send, or SendPlain, for what may be dropped as a whole while it waits, by
// its Kind; nil: it may not.
func (s Session) SendKind(frames []byte, plain bool, k *class.Kind) {
	if s.Valid() {
		s.sh.send(s.slot, frames, borrowed, plain, k)
	}
}

// SendPrepared sends p, which is shared and never copied. With now, it goes
// to the kernel at once if nothing is before it; otherwise at the end of the
// loop's step, together with what else is sent until then.
func (s Session) SendPrepared(p *Prepared, now bool) {
	r := s.at()
	switch {
	case r == nil || r.is(closing):
	case !r.is(overWS) || r.is(noBinary):
		start := 0
		for _, c := range p.cuts() {
			s.sh.send(s.slot, p.frames[start:c.End:c.End], shared, p.Plain, c.Kind)
			start = c.End
		}
		if p.kinds == nil {
			s.sh.send(s.slot, p.frames, shared, p.Plain, nil)
		}
	default:
		frames, cuts := p.forSession(r, &s.sh.zip)
		s.sh.tally.Out.prepared(p)
		switch c := s.sh.loop.Conn(r.conn); {
		case cuts != nil && now:
			c.SendParts(frames, cuts)
		case cuts != nil:
			c.WriteParts(frames, cuts)
		case now:
			c.SendShared(frames)
		default:
			c.WriteShared(frames)
		}
	}
}

// SendWhole is SendPrepared for what is not to be dropped, whatever its Kind.
func (s Session) SendWhole(p *Prepared, now bool) {
	r := s.at()
	switch {
	case r == nil || r.is(closing):
	case !r.is(overWS) || r.is(noBinary):
		s.sh.send(s.slot, p.frames, shared, p.Plain, nil)
	default:
		frames, _ := p.forSession(r, &s.sh.zip)
		s.sh.tally.Out.prepared(p)
		if c := s.sh.loop.Conn(r.conn); now {
			c.SendShared(frames)
		} else {
			c.WriteShared(frames)
		}
	}
}

// Close ends the session from our side: the client is told, in the way of its
// transport, after what was sent before. The handler gets ForcedClose within
// this call.
func (s Session) Close() {
	if s.Valid() {
		s.sh.close(s.slot, ForcedClose)
	}
}

// Lookup returns the session that ref names, if it is one of l's and not gone.
// It must be called on l.
func (srv *Server) Lookup(l *loop.Loop, ref uint64) (Session, bool) {
	l.Check()
	sh := srv.shards[l.Index()]
	slot := sh.lookup(ref)
	if slot == 0 || int(ref>>56) != l.Index() {
		return Session{}, false
	}
	return sh.handle(slot), true
}

// At returns the session of l that a key, of its Ref, names. Whether that is there is not
// looked at: see Session.
func (srv *Server) At(l *loop.Loop, k handle.Key) Session {
	l.Check()
	return Session{srv.shards[l.Index()], k.Slot, k.Gen}
}

// IsOpen tells whether the session that ref names is one of srv's and Handler.Close has
// not been called of it. Any goroutine may call it.
func (srv *Server) IsOpen(ref uint64) bool {
	r := handle.Ref(ref)
	if r.Loop() >= len(srv.shards) {
		return false
	}
	t := &srv.shards[r.Loop()].sessions
	return t.Is(r.Slot(), r.Gen()) && !t.Marked(r.Slot(), r.Gen())
}

// String names the session in logs. It does not show its id, which is a secret. Any
// goroutine may call it.
func (s Session) String() string { return fmt.Sprintf("session %x", s.Ref()) }
