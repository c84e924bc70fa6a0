package ioclient

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sioedge/sioedge/sio/parser"
)

// A Client is connected to one server, or tries to be. Its methods may be called by any
// goroutine; Options.Notify may call Emit, Answer, Active and Info, and no other.
type Client struct {
	o      Options
	jar    cookies
	ctx    context.Context // until Close
	cancel context.CancelFunc
	wake   chan struct{} // of one: Reconnect was called

	// Owned by Run.
	assembler parser.Assembler
	packet    parser.Packet

	nmu sync.Mutex // held while Notify is called; never with mu

	mu      sync.Mutex // guards these
	spaces  map[string]*space
	session *session // nil: there is none
	stats   Stats
}

// Stats count what a Client has done since it was made.
type Stats struct {
	Sessions, Recovered int // Recovered are connections of namespaces
	EventsIn, EventsOut int
	AcksIn, AcksOut     int
	Useless             int // packets: for a namespace that was left, acknowledgements of nothing
}

// Errors of methods.
var (
	ErrNoNamespace = errors.New("not in that namespace: see of")
	ErrNoSession   = errors.New("not connected: see reconnect")
	ErrGone        = errors.New("the connection was lost before the acknowledgement")
	ErrNotAsked    = errors.New("the server waits for no such acknowledgement")
)

// New makes a Client, which Run has connect.
func New(o Options) (*Client, error) {
	if err := o.normalize(); err != nil {
		return nil, err
	}
	c := &Client{o: o, wake: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	first := &space{name: o.Target.Namespace, active: true}
	c.spaces = map[string]*space{first.name: first}
	return c, nil
}

// Run connects, and again when a connection is lost, until Close is called: then it
// returns nil. The error is that of the last attempt, if there are to be no more.
func (c *Client) Run() error {
	failed := 0 // attempts in a row
	for c.await() {
		select {
		case <-c.wake: // what it asked for is done now
		default:
		}
		lost := true
		s, err := begin(c.ctx, &c.o, &c.jar)
		switch {
		case c.ctx.Err() != nil:
			if err == nil {
				_, _ = c.talk(s)
			}
			return nil
		case err == nil:
			failed = 0
			lost, err = c.talk(s)
		default:
			c.notify(Notice{Kind: Failed, Err: err})
			if c.o.FailFirst && c.count().Sessions == 0 {
				return err
			}
		}
		if c.ctx.Err() != nil {
			return nil
		}
		if !lost || !c.Active() {
			continue
		}
		if c.o.Attempts != 0 && failed >= max(c.o.Attempts, 0) {
			return cmp.Or(err, ErrNoSession)
		}
		delay := c.o.Backoff.delay(failed)
		failed++
		c.notify(Notice{Kind: Retrying, Attempt: failed, Delay: delay})
		c.sleep(delay)
	}
	return nil
}

// await waits until a namespace is to be connected. It is false once c is closed.
func (c *Client) await() bool {
	for !c.Active() {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return false
		}
	}
	return c.ctx.Err() == nil
}

// sleep waits, but not after Reconnect.
func (c *Client) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.wake:
	case <-c.ctx.Done():
	}
}

// talk serves one session until it ends. It tells whether it was lost: neither side has
// ended it by its own wish; and why it has ended.
func (c *Client) talk(s *session) (bool, error) {
	c.assembler.Reset()
	c.mu.Lock()
	c.session = s
	c.stats.Sessions++
	any := false
	for _, sp := range c.spaces {
		if sp.active {
			any = true
			c.join(sp)
		}
	}
	c.mu.Unlock()
	c.notify(Notice{Kind: Opened, Transport: s.transport(), SID: s.open.SID})
	if !any { // it was left meanwhile
		s.fail(closing{reason: reasonClient})
	}
	end := s.serve(c.take, func(transport string) { c.notify(Notice{Kind: Upgraded, Transport: transport}) })
	c.mu.Lock()
	c.session = nil
	var lost []string
	for name, sp := range c.spaces {
		if sp.connected {
			lost = append(lost, name)
		}
		sp.leave(ErrGone)
	}
	c.mu.Unlock()
	for _, name := range lost {
		c.notify(Notice{Kind: Disconnected, Namespace: name, Reason: end.reason, Code: end.code, Message: end.text, Err: end.err})
	}
	return end.reason != reasonClient && end.reason != reasonServer, &endError{end}
}

// notify tells of something. It is not called with mu held.
func (c *Client) notify(n Notice) {
	c.nmu.Lock()
	defer c.nmu.Unlock()
	n.Time = time.Now()
	c.o.Notify(n)
}

func (c *Client) count() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Active tells whether some namespace is connected, or is to be. If none is there is no
// session either, until Of or Reconnect is called.
func (c *Client) Active() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active()
}

func (c *Client) active() bool {
	for _, sp := range c.spaces {
		if sp.active {
			return true
		}
	}
	return false
}

// Of enters a further namespace, or one again that was left.
func (c *Client) Of(name string) error {
	if err := CheckNamespace(name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sp := c.spaces[name]
	if sp == nil {
		sp = &space{name: name}
		c.spaces[name] = sp
	}
	c.enter(sp)
	return nil
}

// Reconnect enters all namespaces again that are not connected, now.
func (c *Client) Reconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sp := range c.spaces {
		c.enter(sp)
	}
	c.poke()
}

// enter has a namespace entered, if it is not.
func (c *Client) enter(sp *space) {
	if sp.active {
		return
	}
	sp.active = true
	if c.session != nil {
		c.join(sp)
	}
	c.poke()
}

func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Leave leaves a namespace. When it was the last one the session ends, too.
func (c *Client) Leave(ctx context.Context, name string) error {
	c.mu.Lock()
	sp := c.spaces[name]
	if sp == nil || !sp.active {
		c.mu.Unlock()
		return ErrNoNamespace
	}
	told := sp.connected
	c.part(sp)
	s := c.session
	if c.active() {
		s = nil
	}
	c.mu.Unlock()
	if told {
		c.notify(Notice{Kind: Disconnected, Namespace: name, Reason: reasonClient})
	}
	if s != nil {
		s.finish(ctx)
	}
	return nil
}

// part has a namespace be left, and the server be told.
func (c *Client) part(sp *space) {
	if sp.connected && c.session != nil {
		c.tell(packet{data: parser.AppendDisconnect([]byte{typeMessage}, sp.name)})
	}
	sp.active = false
	sp.leave(ErrGone)
}

// Disconnect leaves all namespaces and ends the session.
func (c *Client) Disconnect(ctx context.Context) {
	for _, sp := range c.Info().Namespaces {
		_ = c.Leave(ctx, sp.Name)
	}
}

// Close disconnects, after what waits has been sent if that is before ctx ends, and has
// Run return.
func (c *Client) Close(ctx context.Context) {
	c.Disconnect(ctx)
	c.cancel()
}

// Flush waits until all that was sent is on its way, or ctx ends.
func (c *Client) Flush(ctx context.Context) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		s.flush(ctx)
	}
}

// Ping measures how long the server takes to answer.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return 0, ErrNoSession
	}
	return (*s.wire.Load()).ping(ctx)
}
