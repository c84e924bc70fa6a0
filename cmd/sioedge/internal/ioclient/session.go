package ioclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Types of Engine.IO packets, the first byte of each.
const (
	typeOpen    = '0'
	typeClose   = '1'
	typePing    = '2'
	typePong    = '3'
	typeMessage = '4'
	typeUpgrade = '5'
	typeNoop    = '6'
)

// Reasons of the stock client.
const (
	reasonServer    = "io server disconnect"
	reasonClient    = "io client disconnect"
	reasonClosed    = "transport close"
	reasonError     = "transport error"
	reasonHeartbeat = "ping timeout"
	reasonParse     = "parse error"
)

// A closing is why a session has ended. Code and text are those of a close frame.
type closing struct {
	reason string
	code   uint16
	text   string
	err    error
}

// A packet is one of Engine.IO: with its type in front, unless it is binary.
type packet struct {
	data   []byte
	binary bool
}

// A wire carries the packets of a session. read and write are each called by one
// goroutine at a time; an error is a *closing's or any other, and the end.
type wire interface {
	// read waits for packets and calls f for each, whose data is valid until f returns.
	read(ctx context.Context, f func(packet) error) error
	write(ctx context.Context, ps []packet) error
	// ping measures how long the server takes to answer.
	ping(ctx context.Context) (time.Duration, error)
	name() string
	close()
}

// openPacket is what a server says of a session.
type openPacket struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"` // ms
	PingTimeout  int64    `json:"pingTimeout"`  // ms
	MaxPayload   int      `json:"maxPayload"`   // bytes
}

// A session is an Engine.IO session. What is not said to be guarded is the reader's.
type session struct {
	o    *Options
	open openPacket
	beat time.Duration // how long the server may be silent

	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
	wg     sync.WaitGroup

	wmu  sync.Mutex // held while something is written, and while the wire is changed
	wire atomic.Pointer[wire]

	qmu     sync.Mutex // guards these
	queue   []packet
	queued  int           // bytes of queue
	ponging bool          // a heartbeat is to be answered
	writing bool          // what was taken from it is not written yet
	wake    chan struct{} // of one
	idle    chan struct{} // closed when nothing waits; nil: nobody asks

	emu sync.Mutex
	end *closing // the first

	upgraded chan wire // of one: what has been probed
}

// ErrFull is returned when too much waits to be sent.
var ErrFull = errors.New("too much waits to be sent: the server does not take it")

// begin opens a session with the first of the transports.
func begin(ctx context.Context, o *Options, jar *cookies) (*session, error) {
	s := newSession(ctx, o)
	opening, done := context.WithTimeout(s.ctx, o.OpenTimeout)
	defer done()
	w, err := s.first(opening, jar)
	if err != nil {
		if errors.Is(opening.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no session within %v", o.OpenTimeout)
		}
		s.cancel()
		return nil, err
	}
	s.wire.Store(&w)
	s.beat = time.Duration(s.open.PingInterval+s.open.PingTimeout) * time.Millisecond
	s.timer.Reset(s.beat)
	s.wg.Add(1)
	// ends with the session
	go s.writer()
	if o.Transports[0] == Polling && slices.Contains(o.Transports, WebSocket) && slices.Contains(s.open.Upgrades, WebSocket) {
		s.wg.Add(1)
		// ends when the probe is answered, or with the session
		go s.probe(jar)
	}
	return s, nil
}

// newSession makes a session that is not open.
func newSession(ctx context.Context, o *Options) *session {
	s := &session{o: o, wake: make(chan struct{}, 1), upgraded: make(chan wire, 1), beat: maxBeat}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.timer = time.AfterFunc(2*maxBeat, func() { s.fail(closing{reason: reasonHeartbeat}) })
	s.timer.Stop()
	return s
}

// first opens the first transport and reads the packet that opens the session.
func (s *session) first(ctx context.Context, jar *cookies) (wire, error) {
	if s.o.Transports[0] == Polling {
		p := newPolling(s.o, jar)
		err := p.read(ctx, func(k packet) error {
			if p.sid != "" {
				p.early = append(p.early, packet{slices.Clone(k.data), k.binary})
				return nil
			}
			if err := s.opened(k); err != nil {
				return err
			}
			p.begin(s.open.SID, s.open.MaxPayload)
			return nil
		})
		if err == nil && p.sid == "" {
			err = errors.New("an answer without the packet that opens a session")
		}
		if err != nil {
			p.close()
			return nil, err
		}
		return p, nil
	}
	w, err := dialSocket(ctx, s.o, "", jar)
	if err != nil {
		return nil, err
	}
	if err := w.once(ctx, s.opened); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// opened takes the packet that opens a session.
func (s *session) opened(k packet) error {
	if k.binary || len(k.data) == 0 || k.data[0] != typeOpen {
		return errors.New("not what an Engine.IO server says first")
	}
	var o openPacket
	if err := json.Unmarshal(k.data[1:], &o); err != nil {
		return errors.New("the packet that opens a session is not JSON")
	}
	beat := max(o.PingInterval, 0) + max(o.PingTimeout, 0)
	if o.SID == "" || len(o.SID) > maxID || o.PingInterval <= 0 || o.PingTimeout < 0 || beat <= 0 || beat > maxBeat.Milliseconds() {
		return errors.New("the packet that opens a session makes no sense; is it Engine.IO 4?")
	}
	s.open = o
	return nil
}

// serve reads until the session ends, and tells why it has. take has messages.
func (s *session) serve(take func(packet) error, upgraded func(transport string)) closing {
	for s.ctx.Err() == nil {
		w := *s.wire.Load()
		if err := w.read(s.ctx, func(k packet) error { return s.packet(k, take) }); err != nil {
			s.failWith(err)
			break
		}
		select {
		case next := <-s.upgraded:
			if err := s.change(next); err != nil {
				s.failWith(err)
				break
			}
			upgraded(next.name())
		default:
		}
	}
	s.fail(closing{reason: reasonClosed})
	(*s.wire.Load()).close()
	s.wg.Wait()
	select {
	case w := <-s.upgraded:
		w.close()
	default:
	}
	return *s.end
}

// packet takes one packet of the server.
func (s *session) packet(k packet, take func(packet) error) error {
	s.timer.Reset(s.beat)
	if k.binary {
		return take(k)
	}
	if len(k.data) == 0 || !utf8.Valid(k.data) {
		return &endError{closing{reason: reasonParse, err: errors.New("a packet that is empty or not UTF-8")}}
	}
	switch k.data[0] {
	case typeMessage:
		return take(packet{data: k.data[1:]})
	case typePing:
		s.answer()
		return nil
	case typeClose:
		return &endError{closing{reason: reasonClosed}}
	case typeNoop, typePong, typeOpen, typeUpgrade:
		return nil
	}
	return &endError{closing{reason: reasonParse, err: fmt.Errorf("no packet begins with %q", k.data[0])}}
}

// An endError is an error that says how the session ends.
type endError struct{ closing }

// Error is the reason, and what is behind it.
func (e *endError) Error() string {
	if e.err == nil {
		return e.reason
	}
	return e.reason + ": " + e.err.Error()
}

func (s *session) failWith(err error) {
	var end *endError
	if errors.As(err, &end) {
		s.fail(end.closing)
		return
	}
	s.fail(closing{reason: reasonError, err: err})
}

// fail ends the session; the first reason counts.
func (s *session) fail(c closing) {
	s.emu.Lock()
	if s.end == nil {
		s.end = &c
	}
	s.emu.Unlock()
	s.timer.Stop()
	s.cancel()
}
