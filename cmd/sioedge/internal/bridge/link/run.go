package link

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// run serves a session by a connection that has its turn, until either ends.
func (s *Session) run(c *conn, hello *wire.Hello, resumed bool) {
	err := c.welcome(s, resumed)
	if err == nil {
		c.poke() // of what was Put before
		// ends behind a farewell, when writing fails, or with stop
		go s.write(c, int(min(uint64(c.o.Window), hello.Window)))
		err = s.read(c)
		if f := farewellOf(err); f != nil {
			c.farewell.Store(f)
			c.limit(&c.writeUntil, time.Now().Add(parting), c.SetWriteDeadline)
			c.poke()
		} else {
			close(c.stop)
			c.limit(&c.writeUntil, time.Unix(1, 0), c.SetWriteDeadline) // what is cut off is sent again
		}
		<-c.wrote
	}
	s.tell(c, err)
	s.leave(why(err))
	c.part()
}

// why returns why a session ends with an error of its connection, if it does.
func why(err error) (why string, final bool) {
	var bye *goodbye
	var refusal *Refusal
	switch {
	case errors.As(err, &bye):
		return Left, bye.status == ws.StatusNormalClosure
	case errors.Is(err, errGiven) || errors.Is(err, errMoved) || isOfConnection(err):
		return "", false
	case errors.As(err, &refusal):
		return refusal.Code, true
	}
	return wire.CodeProtocol + ": " + err.Error(), true
}

// isOfConnection tells whether an error is the connection's, not what was said on it.
func isOfConnection(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &op)
}

// tell counts why a connection ended, and logs it if the process is to blame.
func (s *Session) tell(c *conn, err error) {
	var bye *goodbye
	var refusal *Refusal
	t := &s.all.tally
	s.mu.Lock()
	ending := s.ending != nil
	s.mu.Unlock()
	switch {
	case errors.As(err, &bye) || errors.As(err, &refusal) || errors.Is(err, errMoved) || ending:
	case c.given.Load():
		t.replaced.Add(1)
	case isOfConnection(err):
		t.cut.Add(1)
		if isTimeout(err) || c.hung.Load() {
			t.hung.Add(1)
			s.all.notice.Warn("nothing came from a process of a bridge, or could be written to it, for as long as may be: its connection is ended (bridges.*.timeout)", "process", s.UID(), "timeout", c.o.Timeout)
		}
	default:
		s.broke(err)
	}
}

// broke counts a session whose process broke the protocol.
func (s *Session) broke(err error) {
	s.all.tally.broken.Add(1)
	s.all.notice.Warn("a process of a bridge breaks the protocol of links: its session is ended (a message's bound is bridges.*.max_message)", "process", s.UID(), "error", err)
}

// welcome writes the first batch.
func (c *conn) welcome(s *Session, resumed bool) error {
	w := c.o.Welcome()
	w.Version, w.Session, w.Resumed, w.Received = wire.Version, s.id, resumed, s.received
	w.Window, w.MaxMessage = uint64(c.o.Window), uint64(c.o.MaxMessage)
	w.Timeout, w.Grace = uint64(c.o.Timeout.Milliseconds()), uint64(c.o.Grace.Milliseconds())
	_, err := c.Write(frame(nil, ws.OpBinary, wire.AppendWelcome(wire.AppendBatch(nil, 0, 1), &w)))
	return err
}

// read handles what a process sends until its connection ends, and returns why.
func (s *Session) read(c *conn) error {
	in := inflow{most: c.o.Window + c.o.MaxMessage}
	var m wire.Message
	for {
		b, err := c.message(c.o.MaxMessage)
		if c.given.Load() {
			return errGiven
		}
		if err != nil {
			return err
		}
		s.all.tally.bytesIn.Add(int64(len(b)))
		ack, r, err := wire.ParseBatch(b, wire.Application)
		if err != nil {
			return err
		}
		if err := s.batch(c, ack, &r, &m, len(b), &in); err != nil {
			return err
		}
	}
}

// batch handles one, unless sessions are held: then when they are not any more.
func (s *Session) batch(c *conn, ack uint64, r *wire.Reader, m *wire.Message, size int, in *inflow) error {
	hold := &s.all.hold
	hold.RLock()
	defer hold.RUnlock()
	if s.moved.Load() {
		return errMoved
	}
	counted, before := r.Len() > 0, s.done
	for i := 0; ; i++ {
		ok, err := r.Next(m)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if i < before {
			continue // it was handled by the process before
		}
		for err = s.handle(m); errors.Is(err, ErrHeld); err = s.handle(m) {
			hold.RUnlock() // who holds waits for that
			hold.RLock()
			if s.moved.Load() {
				return errMoved
			}
		}
		if err != nil {
			return err
		}
		s.done = i + 1
	}
	s.done = 0
	if err := s.acked(ack); err != nil {
		return err
	}
	return s.handled(c, size, counted, in)
}

func (s *Session) handle(m *wire.Message) error {
	if m.Kind == wire.KindHello {
		return &wire.Error{Kind: m.Kind, What: "is not the first"}
	}
	return s.handler.Message(s, m)
}

// An inflow is what a process has under way: batches that it was not told of yet.
type inflow struct {
	most  int
	bytes int
	told  uint64
}

// handled counts a batch that was handled, and has the process told unless there is more
// to be handled first.
func (s *Session) handled(c *conn, size int, counted bool, in *inflow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.BytesIn += int64(size)
	if counted {
		s.all.tally.batchesIn.Add(1)
		s.stats.BatchesIn++
		s.received++
		s.worked = s.received
		if s.told > in.told {
			in.told, in.bytes = s.told, 0
		}
		in.bytes += size
	}
	if in.bytes > in.most {
		return errors.New("more than the window is under way from it (bridges.*.window)")
	}
	if s.worked > s.told && (c.r.Buffered() == 0 || in.bytes > in.most/4) {
		s.wake()
	}
	return nil
}

// write writes what there is until the connection ends.
func (s *Session) write(c *conn, window int) {
	defer close(c.wrote)
	ping := time.NewTicker(max(c.o.Timeout/3, time.Millisecond))
	defer ping.Stop()
	var scratch []byte
	for {
		pinged := false
		select {
		case <-c.wakes:
		case <-ping.C:
			pinged = true
		case <-c.stop:
			return
		}
		scratch = scratch[:0]
		if pinged {
			scratch = frame(scratch, ws.OpPing, nil)
		}
		if p := c.pong.Swap(nil); p != nil {
			scratch = frame(scratch, ws.OpPong, *p)
		}
		for more := true; more; {
			var b []byte
			var last *farewell
			b, last, more = s.next(c, window, scratch)
			scratch = scratch[:0]
			var err error
			if len(b) > 0 {
				_, err = c.Write(b)
			}
			s.written()
			if err != nil {
				select {
				case <-c.stop: // which sets an end in time
				default:
					c.hung.Store(isTimeout(err))
				}
				_ = c.Close()
				return
			}
			if last != nil {
				// What the process has on its way is still handled.
				c.limit(&c.readUntil, time.Now().Add(parting), c.SetReadDeadline)
				return
			}
		}
	}
}

// next returns what is to be written: control frames, if there are any, a batch, or what
// was worked off, or what is said last. More tells whether there may be more behind it.
func (s *Session) next(c *conn, window int, control []byte) (b []byte, last *farewell, more bool) {
	if len(control) > 0 {
		return control, nil, true
	}
	if f := c.farewell.Load(); f != nil {
		return f.frames(), f, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all.hold.held.Load() || s.moved.Load() { // in either case it is poked again
		return nil, nil, false
	}
	if x, again := s.out.take(window); x != nil {
		b = x.frame(s.worked)
		s.told = s.worked
		s.stats.BatchesOut++
		s.stats.BytesOut += int64(len(b))
		s.all.tally.batchesOut.Add(1)
		s.all.tally.bytesOut.Add(int64(len(b)))
		if again {
			s.all.tally.resent.Add(1)
		}
		return b, nil, true
	}
	if s.worked > s.told {
		s.told = s.worked
		return frame(nil, ws.OpBinary, wire.AppendBatch(nil, s.worked, 0)), nil, true
	}
	if s.ending != nil {
		f := &farewell{s.ending, statusOf(s.ending.Code)}
		return f.frames(), f, false
	}
	return nil, nil, false
}

// written says that what next returned is not looked at any more, and tells the handler if
// there is room again.
func (s *Session) written() {
	s.mu.Lock()
	s.out.wrote()
	room := s.short && s.out.queued() <= s.queue/2
	if room {
		s.short = false
	}
	s.mu.Unlock()
	if room {
		s.handler.Room(s)
	}
}
