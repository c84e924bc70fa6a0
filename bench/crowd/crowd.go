// Package crowd is clients of every kind that a Socket.IO server meets, which send numbers
// and check those that come: what is lost, doubled, out of order, late, and who is cut off.
//
// Each client asks for acknowledgements, one behind the other, and is in a room to which one
// of its members publishes numbers. The server needs the application of package swarm. A
// client is a connection and two goroutines or three: thousands in a process, for what
// matters here is that the kinds are mixed. For a load of one kind there is swarm.
package crowd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Kind is what a client is like.
type Kind string

// The kinds.
const (
	WebSocket Kind = "websocket" // Engine.IO 4, from the start
	Polling   Kind = "polling"   // long polling alone
	Upgrading Kind = "upgrading" // polls, upgrades slowly, stays a while, leaves, and comes anew
	Deflate   Kind = "deflate"   // WebSocket with permessage-deflate, both ways
	EIO3      Kind = "eio3"      // WebSocket of Engine.IO 3, as Socket.IO 2 has it
	MsgPack   Kind = "msgpack"   // WebSocket with packets as MessagePack
	Halves    Kind = "halves"    // WebSocket whose messages come in pieces, with pauses between
	HalfPosts Kind = "halfposts" // polling whose requests come so
	Slow      Kind = "slow"      // WebSocket that reads now and then, and asks for much
)

// Kinds are all of them.
var Kinds = []Kind{WebSocket, Polling, Upgrading, Deflate, EIO3, MsgPack, Halves, HalfPosts, Slow}

// prompt tells whether a client of the kind does nothing slowly by itself.
func (k Kind) prompt() bool {
	switch k {
	case Upgrading, Halves, HalfPosts, Slow:
		return false
	}
	return true
}

// A Config says what a crowd does. It crosses to workers as JSON.
type Config struct {
	Addr    string        // of the server, host:port
	Clients int           // how many
	Kinds   []Kind        // dealt to the clients in turn; nil: all
	Room    int           // clients of a room. Zero means 10
	Every   time.Duration // between two questions of a client. Zero means 1 s
	Publish time.Duration // between two numbers that a room gets. Zero means 1 s
	Rate    float64       // connections a second. Zero means 500
	// Patience is how long what is owed may take at the end. Zero means 20 s.
	Patience time.Duration
	Name     string // unlike that of other crowds on the server
}

func (c Config) withDefaults() Config {
	if len(c.Kinds) == 0 {
		c.Kinds = Kinds
	}
	for _, d := range []struct{ p, v *time.Duration }{{&c.Every, new(time.Second)}, {&c.Publish, new(time.Second)}} {
		if *d.p == 0 {
			*d.p = *d.v
		}
	}
	if c.Patience == 0 {
		c.Patience = patience
	}
	if c.Room == 0 {
		c.Room = 10
	}
	if c.Rate == 0 {
		c.Rate = 500
	}
	return c
}

// A Crowd is clients of one server. Any goroutine may use it.
type Crowd struct {
	c       Config
	clients []*client
	rooms   []*room
	report  *recorder

	stopping chan struct{} // closed when nothing new is sent
	leaving  chan struct{} // closed when all are to go
	sending  sync.WaitGroup
	running  sync.WaitGroup
	joined   atomic.Int64 // clients that are in their room
}

// A room counts what its member publishes.
type room struct {
	name string
	last atomic.Int64 // the number that was published last
}

// New returns a crowd of which nobody has connected.
func New(c Config) *Crowd {
	c = c.withDefaults()
	x := &Crowd{c: c, report: newRecorder(), stopping: make(chan struct{}), leaving: make(chan struct{})}
	for i := range c.Clients {
		if i%c.Room == 0 {
			x.rooms = append(x.rooms, &room{name: fmt.Sprintf("%s-%d", c.Name, i/c.Room)})
		}
		kind := c.Kinds[(i+i/c.Room)%len(c.Kinds)] // so that all kinds are in a room with all
		x.clients = append(x.clients, &client{crowd: x, kind: kind, room: x.rooms[i/c.Room], publishes: i%c.Room == 0})
	}
	return x
}

// Connect has the clients come, and returns when all are in their rooms.
func (x *Crowd) Connect(ctx context.Context) error {
	pause := time.Duration(float64(time.Second) / x.c.Rate)
	for _, c := range x.clients {
		x.running.Add(1)
		x.sending.Add(1)
		// ends when all are to go, or the client is cut off
		go func() {
			defer x.running.Done()
			c.run()
		}()
		time.Sleep(pause)
	}
	for x.joined.Load() < int64(len(x.clients)) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("crowd: %d of %d clients have come: %s", x.joined.Load(), len(x.clients), strings.Join(x.report.snapshot().Problems, "; "))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// patience is how long a client may take to open a session, for one.
const patience = 20 * time.Second

// Stop has nothing new be sent, waits for what is owed, and has all go. The report is of
// everything since Connect.
func (x *Crowd) Stop() Report {
	close(x.stopping)
	x.sending.Wait() // all publishers have sent their last
	for _, c := range x.clients {
		c.settle()
	}
	close(x.leaving)
	for _, c := range x.clients {
		c.hangUp()
	}
	x.running.Wait()
	return x.report.snapshot()
}

// Now returns what has been seen until now.
func (x *Crowd) Now() Report { return x.report.snapshot() }

// wait sleeps for d, give or take a third; it is false when nothing new is to be sent.
func (x *Crowd) wait(d time.Duration) bool {
	d += time.Duration((rand.Float64() - 0.5) * 0.6 * float64(d))
	select {
	case <-x.stopping:
		return false
	case <-time.After(d):
		return true
	}
}
