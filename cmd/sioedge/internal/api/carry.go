package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// A pause is how requests are kept back while the server's clients are handed over: those
// under way end, streams behind the line that they are at, and others wait for what comes
// of it.
type pause struct {
	mu     sync.Mutex
	n      int           // requests, and lines of streams, that are under way
	idle   chan struct{} // closed when there are none; nil: nobody waits
	ended  chan struct{} // closed when it has ended; nil: it is not
	moved  bool          // another server has the clients
	hurry  context.Context
	press  context.CancelFunc // of hurry
	stream context.Context    // done when streams are to end
	end    context.CancelFunc // of stream
	timer  *time.Timer
}

func (p *pause) init() {
	p.hurry, p.press = context.WithCancel(context.Background())
	p.stream, p.end = context.WithCancel(context.Background())
}

// streams is done when streams are to end.
func (p *pause) streams() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream
}

// moving is what is answered while, and since, another server has the clients.
func moving(what string) *problem {
	p := fail(http.StatusServiceUnavailable, "moving", what)
	p.retry, p.passing = time.Second, true
	return p
}

// begin counts a request as under way, if need be when a pause has ended. The problem is that
// another server has the clients by then, or ctx's end.
func (p *pause) begin(ctx context.Context) (hurry context.Context, wrong *problem) {
	for {
		p.mu.Lock()
		ended := p.ended
		switch {
		case p.moved:
			p.mu.Unlock()
			return nil, moving("another process has the clients by now: ask again, by another connection")
		case ended == nil:
			p.n++
			hurry = p.hurry
			p.mu.Unlock()
			return hurry, nil
		}
		p.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, moving("the clients are being handed over to another process: ask again")
		}
	}
}

// done says that a request is not under way any more.
func (p *pause) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n--; p.n == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// A hurried context is one whose time is over when another one ends.
type hurried struct{ context.Context }

// errHurry is why it ends then.
var errHurry = errors.New("api: there is no more time")

// Err is that time is over: who asks clients has what they have answered until then.
func (h hurried) Err() error {
	err := h.Context.Err()
	if err != nil && errors.Is(context.Cause(h.Context), errHurry) {
		return context.DeadlineExceeded
	}
	return err
}

// within returns ctx with its time over when hurry ends.
func within(ctx, hurry context.Context) (context.Context, func()) {
	inner, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(hurry, func() { cancel(errHurry) })
	return hurried{inner}, func() { stop(); cancel(nil) }
}

// unhurried is which part of the time of a Hold is left to requests that wait for clients.
const unhurried = 0.8

// Hold has no request begin, streams end, and waits for what is under way. Who asks clients
// has what they answer in most of the time that ctx leaves. The error is ctx's.
func (a *API) Hold(ctx context.Context) error {
	p := &a.pause
	p.mu.Lock()
	if p.ended == nil {
		p.ended = make(chan struct{})
	}
	p.end()
	if at, ok := ctx.Deadline(); ok && p.timer == nil {
		press := p.press
		p.timer = time.AfterFunc(time.Duration(float64(time.Until(at))*unhurried), press)
	}
	if p.n > 0 && p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle := p.idle
	p.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Part has what is remembered of commands, and stored with rooms, go along with the server's
// clients.
func (a *API) Part() sio.Part {
	return sio.Part{Name: "api", Hold: a.Hold, Release: a.Release, Export: a.Export, Moved: a.Moved, Import: a.Import}
}

// Release has requests go on.
func (a *API) Release() { a.pause.release(false) }

// Moved has those that wait come again: another server has the clients.
func (a *API) Moved() { a.pause.release(true) }

func (p *pause) release(moved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if p.ended == nil {
		return
	}
	close(p.ended)
	if p.ended, p.moved = nil, moved; !moved {
		p.press()
		p.init()
	}
}

// carriedAPI is what a successor gets.
type carriedAPI struct {
	Once  []carriedOnce `cbor:"1,keyasint,omitempty"`
	Rooms []carriedRoom `cbor:"2,keyasint,omitempty"`
}

type carriedOnce struct {
	ID     string        `cbor:"1,keyasint"`
	Age    time.Duration `cbor:"2,keyasint,omitempty"`
	Print  uint64        `cbor:"3,keyasint,omitempty"`
	Answer []byte        `cbor:"4,keyasint,omitempty"`
	Status int           `cbor:"5,keyasint,omitempty"` // of Error; 0: there is none
	Error  []byte        `cbor:"6,keyasint,omitempty"`
	Long   bool          `cbor:"7,keyasint,omitempty"`
}

type carriedRoom struct {
	Record []byte        `cbor:"1,keyasint"`
	Due    time.Duration `cbor:"2,keyasint,omitempty"`
}

// Export returns what is remembered of commands, and stored with rooms. Nothing is under way.
func (a *API) Export() ([]byte, error) {
	now := time.Now()
	x := carriedAPI{Once: a.memory.export(now)}
	d := &a.roomData
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kept {
		text, err := json.Marshal(k.roomRecord)
		if err != nil {
			return nil, err
		}
		x.Rooms = append(x.Rooms, carriedRoom{text, max(k.due.Sub(now), 0)})
	}
	return carried.Marshal(x)
}

func (m *memory) export(now time.Time) (all []carriedOnce) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.order[m.first:] {
		select {
		case <-o.done:
		default:
			continue // its request has gone
		}
		if m.known[o.id] != o || o.err != nil && o.err.passing {
			continue
		}
		c := carriedOnce{ID: o.id, Age: now.Sub(o.begun), Print: o.print, Answer: o.answer, Long: o.long}
		if o.err != nil {
			c.Status = o.err.status
			c.Error, _ = json.Marshal(o.err.is) // which can be
		}
		all = append(all, c)
	}
	return all
}

var errCarried = errors.New("api: what another server has told contradicts itself")

// Import takes what another server's Export has returned, before there are any clients.
func (a *API) Import(data []byte) error {
	var x carriedAPI
	if err := carried.Unmarshal(data, &x); err != nil {
		return err
	}
	now := time.Now()
	for i := range x.Once {
		if err := a.memory.restore(&x.Once[i], now); err != nil {
			return err
		}
	}
	for _, c := range x.Rooms {
		var r roomRecord
		if err := json.Unmarshal(c.Record, &r); err != nil {
			return err
		}
		if err := r.check(now); err != nil {
			return errors.Join(errCarried, err)
		}
		if _, ok := a.roomData.put(r, false, now); !ok {
			continue // the settings want less by now
		}
		d := &a.roomData
		d.mu.Lock()
		if k := d.kept[roomKey{r.Nsp, r.Room}]; k != nil {
			k.due = now.Add(min(max(c.Due, 0), maxRoomTTL))
		}
		d.mu.Unlock()
	}
	return nil
}

func (m *memory) restore(c *carriedOnce, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := &once{id: c.ID, begun: now.Add(-c.Age), print: c.Print, bytes: onceForEach + len(c.ID) + len(c.Answer), done: make(chan struct{}), long: c.Long}
	close(o.done)
	if c.Status != 0 {
		var is wire.Error
		if err := json.Unmarshal(c.Error, &is); err != nil {
			return err
		}
		o.err = &problem{status: c.Status, is: is}
	} else if !c.Long {
		o.answer = c.Answer
	}
	switch {
	case c.ID == "" || len(c.ID) > maxOnceKey || c.Age < 0 || m.known[c.ID] != nil || len(c.Answer) > onceAnswer:
		return errCarried
	case c.Status != 0 && (c.Status < 400 || c.Status > 599), c.Status == 0 && !c.Long && !json.Valid(c.Answer):
		return errCarried
	case len(m.order) >= onceMost || m.bytes > onceBytes:
		return errCarried
	}
	m.known[o.id] = o
	m.order = append(m.order, o)
	m.bytes += o.bytes
	return nil
}
