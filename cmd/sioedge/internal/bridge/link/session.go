package link

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// A Session is that of one process, over as many connections as it takes. Any goroutine
// may call its methods.
type Session struct {
	// Immutable after newSession.
	all     *Sessions
	id      string
	handler Handler
	hello   *wire.Hello

	// turn is had by who calls the handler: the connection, or who ends the session.
	turn chan struct{}

	// Owned by who has the turn.
	received uint64 // batches
	done     int    // messages of the batch behind these, which were handled
	items    []any  // of Worked

	// Guarded by mu, which is held while messages are appended, never while anything else
	// is called.
	mu     sync.Mutex
	out    outbox
	queue  int         // bytes; Options.Queue
	short  bool        // a Put was false
	worked uint64      // of received, those that were handled
	told   uint64      // of worked, those that the process was told of in this connection
	conn   *conn       // nil: there is none
	newest *conn       // that has the turn, or waits for it
	coming int         // connections that wait for the turn
	absent int         // counts the times that a session began to wait for its process, and ended to
	ending *Refusal    // Close was called
	over   bool        // Ended was called, or will be soon
	moved  atomic.Bool // another process has it
	// Of one that another process had, until the server serves.
	restored bool
	ends     bool // it is to end then
	stats    Stats
}

// Stats are those of a session.
type Stats struct {
	Connected             bool
	Resumes               int64
	BatchesIn, BatchesOut int64 // with messages
	BytesIn, BytesOut     int64 // of batches
	Unacked, Queued       int   // bytes under way to the process, and behind its window
}

func newSession(x *Sessions, h Handler, hello *wire.Hello) *Session {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Session{all: x, id: base64.RawURLEncoding.EncodeToString(id[:]), handler: h, hello: hello, turn: make(chan struct{}, 1), queue: x.options.Load().Queue}
}

// UID returns the name of the process.
func (s *Session) UID() string { return s.hello.UID }

// Hello returns what the process said when the session began. It may not be modified.
func (s *Session) Hello() *wire.Hello { return s.hello }

// Over tells whether the session is over, so that Put is false for good.
func (s *Session) Over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// Stats returns them.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Connected, st.Unacked, st.Queued = s.conn != nil, s.out.under, s.out.queued()
	return st
}

// Put sends the message that f appends. The item, unless it is nil, is told to Worked or
// to Ended later. It is false, and nothing happens, if as much waits as may, unless it is
// forced, or if the session is over. It never blocks. F is called with a lock held, and
// does nothing but append.
func (s *Session) Put(item any, force bool, f func(dst []byte) []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if !force && s.out.queued() >= s.queue {
		s.short = true
		return false
	}
	s.out.put(item, f)
	s.wake()
	return true
}

// wake has the connection look what there is to be written.
func (s *Session) wake() {
	if s.conn != nil {
		s.conn.poke()
	}
}

// Close ends the session: what its window lets through is sent, then why. It does not
// wait; Ended follows.
func (s *Session) Close(code, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.ending != nil {
		return
	}
	s.ending = &Refusal{code, text}
	if s.conn != nil {
		s.conn.poke()
		return
	}
	s.over = true
	// ends when who has the turn has done what it does
	go s.finish(code)
}

// finish ends a session that is over, in its turn.
func (s *Session) finish(why string) {
	s.turn <- struct{}{}
	s.all.hold.RLock()
	s.end(why)
	s.all.hold.RUnlock()
	<-s.turn
}

// end is finish for who has the turn.
func (s *Session) end(why string) {
	s.all.remove(s)
	s.mu.Lock()
	items := s.out.rest()
	s.mu.Unlock()
	s.handler.Ended(s, why, items)
}

// enter waits for the turn, for a connection that takes the place of the one there is. It
// returns why there is none: the session is over (nil: it is not known any more), or a
// newer one has come.
func (s *Session) enter(c *conn) (ok bool, why *Refusal) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false, nil
	}
	if s.conn != nil {
		s.conn.give()
	}
	s.newest = c
	s.coming++
	s.mu.Unlock()

	t := time.NewTimer(c.o.Timeout)
	defer t.Stop()
	mine := false
	select {
	case s.turn <- struct{}{}:
		mine = true
	case <-t.C:
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming--
	switch {
	case !mine:
		why = &Refusal{wire.CodeReplaced, "the connection before this one has not ended"}
		s.wait()
	case s.over:
		<-s.turn
	case s.newest != c:
		<-s.turn
		s.wait()
		why = &Refusal{wire.CodeReplaced, "the session has a newer connection"}
	default:
		s.conn = c
		s.queue = c.o.Queue
		s.absent++
		return true, nil
	}
	return false, why
}

// wait ends the session if no connection comes in time. The lock is held.
func (s *Session) wait() {
	if s.over || s.conn != nil || s.coming > 0 || s.restored {
		return
	}
	s.absent++
	n := s.absent
	time.AfterFunc(s.all.options.Load().Grace, func() {
		s.mu.Lock()
		if s.absent != n || s.over || s.coming > 0 {
			s.mu.Unlock()
			return
		}
		s.over = true
		s.mu.Unlock()
		s.finish(Absent)
	})
}

// leave says that a connection that has the turn has ended, and the session with it if it
// is final, and gives the turn back.
func (s *Session) leave(why string, final bool) {
	s.mu.Lock()
	s.conn = nil
	if s.ending != nil {
		why, final = s.ending.Code, true
	}
	s.over = s.over || final
	s.wait()
	s.mu.Unlock()
	if final {
		s.all.hold.RLock()
		s.end(why)
		s.all.hold.RUnlock()
	}
	<-s.turn
}

// attach goes on where the process is. The error is what is wrong with its counts.
func (s *Session) attach(h *wire.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.out.resume(h.Received) {
		return &wire.Error{Kind: wire.KindHello, Member: "hello.received", What: "cannot be so many"}
	}
	s.told = 0 // the last time may have been lost
	s.stats.Resumes++
	s.all.tally.resumed.Add(1)
	return nil
}

// acked takes what a process says that it has worked off, in the turn.
func (s *Session) acked(ack uint64) error {
	s.mu.Lock()
	items, ok := s.out.ack(ack, s.items[:0])
	if s.out.queued() > 0 {
		s.wake()
	}
	s.mu.Unlock()
	if !ok {
		return errors.New("it has worked off more than was sent to it")
	}
	if len(items) > 0 {
		s.handler.Worked(s, items)
		clear(items)
		s.items = items[:0]
	}
	return nil
}
