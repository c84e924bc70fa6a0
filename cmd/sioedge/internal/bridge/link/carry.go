package link

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// ErrHeld is returned by Handler.Message for a message that waits for something that does
// not come while sessions are held: it has done nothing, and is handled again.
var ErrHeld = errors.New("link: it is held")

// errMoved ends a connection whose session goes on in another process.
var errMoved = errors.New("another process has the session")

// statusMoved is the code of the close frame then: "Service Restart" of IANA's registry.
const statusMoved = ws.StatusCode(1012)

// A hold keeps sessions as they are: nothing of processes is handled, nothing is sent, none
// begins or ends.
type hold struct {
	sync.RWMutex // had for reading by who handles something
	held         atomic.Bool
	gone         atomic.Bool // another process has the sessions
}

// Hold has sessions be held, behind the messages that are handled at this moment, until
// Release or Moved. The error is ctx's; then they are not.
func (x *Sessions) Hold(ctx context.Context) error {
	locked := make(chan bool) // without room: what nobody takes is given back
	over := make(chan struct{})
	// ends when those have ended that handle something
	go func() {
		x.hold.Lock()
		select {
		case locked <- true:
		case <-over:
			x.hold.Unlock()
		}
	}()
	select {
	case <-locked:
		x.hold.held.Store(true)
		return nil
	case <-ctx.Done():
	}
	close(over)
	select {
	case <-locked: // just now
		x.hold.Unlock()
	default:
	}
	return ctx.Err()
}

// Release has sessions go on that are held.
func (x *Sessions) Release() {
	if !x.hold.held.Swap(false) {
		return
	}
	x.hold.Unlock()
	for _, s := range x.list() {
		s.mu.Lock()
		s.wake()
		s.mu.Unlock()
	}
}

// Moved ends the connections of sessions that another process has, for whose processes to
// come back at once: nothing more is handled of them, and there are no sessions any more.
// Handlers are not told.
func (x *Sessions) Moved() {
	x.hold.gone.Store(true)
	x.mu.Lock()
	all := x.all
	x.all = map[string]*Session{}
	x.mu.Unlock()
	for _, s := range all {
		s.mu.Lock()
		s.over = true
		s.moved.Store(true)
		if c := s.conn; c != nil {
			c.farewell.Store(&farewell{nil, statusMoved})
			c.limit(&c.writeUntil, time.Now().Add(parting), c.SetWriteDeadline)
			c.limit(&c.readUntil, time.Now().Add(parting), c.SetReadDeadline)
			c.poke()
		}
		s.mu.Unlock()
	}
	if x.hold.held.Swap(false) {
		x.hold.Unlock()
	}
}

func (x *Sessions) list() (all []*Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.all {
		all = append(all, s)
	}
	return all
}

// A Carried is a session as data, for another process.
type Carried struct {
	ID       string         `cbor:"1,keyasint,omitempty"`
	Hello    []byte         `cbor:"2,keyasint,omitempty"` // a batch with it
	Received uint64         `cbor:"3,keyasint,omitempty"` // batches
	Handled  int            `cbor:"4,keyasint,omitempty"` // messages of the batch behind these
	Acked    uint64         `cbor:"5,keyasint,omitempty"`
	Most     int            `cbor:"6,keyasint,omitempty"` // of Batches, that the process may have received
	Batches  []CarriedBatch `cbor:"7,keyasint,omitempty"`
	Over     bool           `cbor:"8,keyasint,omitempty"` // it was about to end
}

// A CarriedBatch is one that the process has not worked off.
type CarriedBatch struct {
	Messages []byte `cbor:"1,keyasint,omitempty"`
	N        int    `cbor:"2,keyasint,omitempty"`
	Items    []int  `cbor:"3,keyasint,omitempty"`
}

// Carry returns the session as data. It is held; number returns what an item is as data.
func (s *Session) Carry(number func(item any) int) Carried {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.close()
	c := Carried{
		ID: s.id, Hello: wire.AppendHello(wire.AppendBatch(nil, 0, 1), s.hello), Received: s.received, Handled: s.done,
		Acked: s.out.acked, Most: s.out.most, Over: s.over || s.ending != nil,
	}
	for _, b := range s.out.batches() {
		x := CarriedBatch{Messages: b.buf[headroom:], N: b.n}
		for _, item := range b.items {
			x.Items = append(x.Items, number(item))
		}
		c.Batches = append(c.Batches, x)
	}
	return c
}

var errCarried = errors.New("link: what another server has told of a session contradicts itself")

// Restore has a session go on that another process had, once Serving was called: its process
// has the time that there is to come back. Item returns what Carry has had a number of; it is
// false if there is none. The error says that it cannot be.
func (x *Sessions) Restore(c *Carried, h Handler, item func(number int) (any, bool)) (*Session, error) {
	_, r, err := wire.ParseBatch(c.Hello, wire.Application)
	var m wire.Message
	if err == nil {
		_, err = r.Next(&m)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Kind != wire.KindHello || c.ID == "" || len(c.ID) > 64 || c.Most < 0 || c.Most > len(c.Batches) || c.Handled < 0:
		return nil, errCarried
	}
	s := &Session{all: x, id: c.ID, handler: h, hello: m.Hello, turn: make(chan struct{}, 1), queue: x.options.Load().Queue}
	s.received, s.worked, s.done = c.Received, c.Received, c.Handled
	s.out.acked, s.out.most = c.Acked, c.Most
	s.restored, s.ends = true, c.Over
	for i := range c.Batches {
		b, err := restoreBatch(&c.Batches[i], item)
		if err != nil {
			return nil, err
		}
		s.out.list = append(s.out.list, b)
		s.out.waiting += b.size()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all[s.id] != nil {
		return nil, errCarried
	}
	x.all[s.id] = s
	return s, nil
}

func restoreBatch(c *CarriedBatch, item func(number int) (any, bool)) (*batch, error) {
	whole := append(wire.AppendBatch(nil, 0, c.N), c.Messages...)
	_, r, err := wire.ParseBatch(whole, wire.Edge)
	if err != nil {
		return nil, err
	}
	if c.N < 1 || r.Len() != c.N || len(c.Items) > c.N {
		return nil, errCarried
	}
	var m wire.Message
	for ok := true; ok; {
		if ok, err = r.Next(&m); err != nil {
			return nil, err
		}
	}
	b := &batch{buf: slices.Concat(make([]byte, headroom), c.Messages), n: c.N}
	for _, n := range c.Items {
		x, ok := item(n)
		if !ok {
			return nil, errCarried
		}
		b.items = append(b.items, x)
	}
	return b, nil
}

// Serving has the sessions that were restored be there: those whose process does not come
// back in time end.
func (x *Sessions) Serving() {
	for _, s := range x.list() {
		s.mu.Lock()
		if !s.restored {
			s.mu.Unlock()
			continue
		}
		if s.restored = false; s.ends {
			s.over = true
			// ends when the handler was told
			go s.finish(Absent)
		}
		s.wait()
		s.mu.Unlock()
	}
}
