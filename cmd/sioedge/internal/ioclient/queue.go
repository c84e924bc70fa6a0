package ioclient

import (
	"context"
	"time"
)

// send has packets written one after the other, with nothing in between. Their memory is
// the session's from now on. The error is ErrFull.
func (s *session) send(ps ...packet) error {
	size := 0
	for _, p := range ps {
		size += len(p.data) + 16
	}
	s.qmu.Lock()
	defer s.qmu.Unlock()
	if s.queued+size > s.o.MaxQueue {
		return ErrFull
	}
	s.queue = append(s.queue, ps...)
	s.queued += size
	s.poke()
	return nil
}

// answer has a heartbeat answered, before all else that waits: once, however often the
// server asks meanwhile.
func (s *session) answer() {
	s.qmu.Lock()
	defer s.qmu.Unlock()
	s.ponging = true
	s.poke()
}

// poke wakes the writer.
func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// writeTimeout is how long a server may take to take what is written, beyond its
// heartbeat.
const writeTimeout = 10 * time.Second

// writer writes what waits, all that there is at once.
func (s *session) writer() {
	defer s.wg.Done()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		}
		s.wmu.Lock()
		s.qmu.Lock()
		ps := s.queue
		if s.ponging {
			ps = append([]packet{{data: []byte{typePong}}}, ps...)
		}
		s.queue, s.queued, s.ponging, s.writing = nil, 0, false, true
		s.qmu.Unlock()
		var err error
		if len(ps) > 0 {
			ctx, done := context.WithTimeout(s.ctx, writeTimeout)
			err = (*s.wire.Load()).write(ctx, ps)
			done()
		}
		s.qmu.Lock()
		s.writing = false
		if s.idle != nil && len(s.queue) == 0 {
			close(s.idle)
			s.idle = nil
		}
		s.qmu.Unlock()
		s.wmu.Unlock()
		if err != nil {
			s.failWith(err)
			return
		}
	}
}

// flush waits until nothing waits to be written, or the session or ctx has ended.
func (s *session) flush(ctx context.Context) {
	s.qmu.Lock()
	if len(s.queue) == 0 && !s.ponging && !s.writing {
		s.qmu.Unlock()
		return
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.qmu.Unlock()
	select {
	case <-idle:
	case <-s.ctx.Done():
	case <-ctx.Done():
	}
}

// transport returns the name of the wire.
func (s *session) transport() string { return (*s.wire.Load()).name() }

// finish ends the session by the client's wish, once what waits has been written or ctx
// has ended.
func (s *session) finish(ctx context.Context) {
	if s.transport() == Polling { // a WebSocket's end says it
		_ = s.send(packet{data: []byte{typeClose}})
	}
	s.flush(ctx)
	s.fail(closing{reason: reasonClient})
}

// probe tries whether WebSocket works. If it does, the reader changes to it when its poll
// has returned, which the server sees to.
func (s *session) probe(jar *cookies) {
	defer s.wg.Done()
	ctx, done := context.WithTimeout(s.ctx, s.o.OpenTimeout)
	defer done()
	w, err := dialSocket(ctx, s.o, s.open.SID, jar)
	if err != nil {
		return // polling goes on
	}
	probed := false
	if err = w.write(ctx, []packet{{data: []byte("2probe")}}); err == nil {
		err = w.once(ctx, func(k packet) error {
			probed = string(k.data) == "3probe" && !k.binary
			return nil
		})
	}
	if err != nil || !probed {
		w.close()
		return
	}
	s.upgraded <- w
}

// change goes on with another wire. No poll is under way, and no request to write.
func (s *session) change(w wire) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	ctx, done := context.WithTimeout(s.ctx, writeTimeout)
	defer done()
	if err := w.write(ctx, []packet{{data: []byte{typeUpgrade}}}); err != nil {
		w.close()
		return err
	}
	old := *s.wire.Swap(&w)
	old.close()
	return nil
}
