package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
	"github.com/sioedge/sioedge/rooms/value"
)

// An Emitter sends events to the clients of a cluster from a program that is no
// server, as the npm package @socket.io/redis-emitter does:
//
//	e := redis.NewEmitter("localhost:6379", redis.Options{})
//	defer e.Close(ctx)
//	err := e.Of("/news").To("sports").Emit("goal", match)
//
// Any goroutine may use it. What is emitted is queued and sent in the background;
// Close waits for that.
type Emitter struct {
	Emission
	c *classic
}

// An Emission says whom an Emitter's events go to, and how. It is a value: each
// method returns another one.
type Emission struct {
	c      *classic
	target rooms.Target
	event  rooms.Event // its flags

	narrowed bool // To has been called
}

// NewEmitter returns an emitter for servers with the classic adapter: those of
// PubSub, and of Node. Addr is as for PubSub. It does not wait for Redis.
func NewEmitter(addr string, o Options) *Emitter {
	c := &classic{core: newCore(o.withDefaults(addr))}
	c.uid = wire.EmitterUID
	c.b = newBroker(&c.o, func(string, string, []byte) {})
	c.b.run(false)
	return &Emitter{Emission{c: c, target: rooms.Target{Namespace: "/"}}, c}
}

// Close sends what is queued, or gives up when ctx is done.
func (e *Emitter) Close(ctx context.Context) error {
	ctx, cancel := deadline(ctx, e.c.o.Timeout)
	defer cancel()
	return e.c.b.shut(ctx)
}

// Status tells whether Redis can be reached, and what was sent and lost.
func (e *Emitter) Status() rooms.Status { return e.c.Status() }

// Of addresses a namespace; it is "/" otherwise. A leading slash is added if it
// is missing.
func (e Emission) Of(namespace string) Emission {
	e.target.Namespace = "/" + strings.TrimPrefix(namespace, "/")
	return e
}

// To adds rooms. Without a call of it the whole namespace is addressed, and with
// an empty list nobody, until some are added. A socket's id is a room.
func (e Emission) To(names ...string) Emission {
	e.target.Rooms, e.narrowed = slices.Concat(e.target.Rooms, names), true
	return e
}

// nobody tells whether e was narrowed to nothing.
func (e Emission) nobody() bool { return e.narrowed && len(e.target.Rooms) == 0 }

// Except takes the sockets in the rooms out.
func (e Emission) Except(names ...string) Emission {
	e.target.Except = slices.Concat(e.target.Except, names)
	return e
}

// Volatile lets the event be dropped for each socket that could not receive it
// at once.
func (e Emission) Volatile() Emission {
	e.event.Volatile = true
	return e
}

// Compress says whether the event may be sent compressed. Without it, it may.
func (e Emission) Compress(may bool) Emission {
	e.event.Plain = !may
	return e
}

// Emit sends an event. The error is about the arguments, which are encoded as
// those of sio's are; nil does not mean that it has been sent.
func (e Emission) Emit(event string, args ...any) error {
	data, attachments, err := value.AppendEvent(nil, event, args, 0)
	if err != nil {
		return err
	}
	e.event.Data, e.event.Attachments = data, attachments
	if !e.nobody() {
		e.c.Emit(e.target, e.event)
	}
	return nil
}

// Join puts the sockets addressed into rooms.
func (e Emission) Join(names ...string) {
	if !e.nobody() {
		e.c.Join(e.target, names)
	}
}

// Leave takes the sockets addressed out of rooms.
func (e Emission) Leave(names ...string) {
	if !e.nobody() {
		e.c.Leave(e.target, names)
	}
}

// Disconnect disconnects the sockets addressed; with closing, their connections
// too.
func (e Emission) Disconnect(closing bool) {
	if !e.nobody() {
		e.c.Disconnect(e.target, closing)
	}
}

// ServerSideEmit sends an event to the namespace's servers themselves.
func (e Emission) ServerSideEmit(event string, args ...any) error {
	data, attachments, err := value.AppendEvent(nil, event, args, 0)
	if err == nil {
		e.c.ServerSideEmit(e.target.Namespace, rooms.Event{Data: data, Attachments: attachments})
	}
	return err
}
