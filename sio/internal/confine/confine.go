// Package confine has a panic of an adapter end the call and nothing else: it is another
// program's code, called on loops and goroutines where nobody else would recover.
package confine

import (
	"context"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// Adapter returns a with its panics confined. What panicked makes of one is what a
// method returns that returns an error; any goroutine may call it. If a keeps events, as a rooms.Log, or is rooms.Movable, so is the result.
func Adapter(a rooms.Adapter, panicked func(method string, value any) error) rooms.Adapter {
	c := &confined{a, panicked}
	l, logs := a.(rooms.Log)
	m, moves := a.(rooms.Movable)
	switch {
	case logs && moves:
		return &movableLog{&logged{c, l}, moving{c, m}}
	case logs:
		return &logged{c, l}
	case moves:
		return &movable{c, moving{c, m}}
	}
	return c
}

type confined struct {
	a        rooms.Adapter
	panicked func(method string, value any) error
}

// confine is deferred around each call; err, if not nil, becomes what has happened.
func (c *confined) confine(method string, err *error) {
	v := recover()
	if v == nil {
		return
	}
	e := c.panicked(method, v)
	if err != nil {
		*err = e
	}
}

func (c *confined) Start(h rooms.Host) (err error) {
	defer c.confine("Start", &err)
	return c.a.Start(h)
}

func (c *confined) Close(ctx context.Context) (err error) {
	defer c.confine("Close", &err)
	return c.a.Close(ctx)
}

func (c *confined) Open(namespace string) {
	defer c.confine("Open", nil)
	c.a.Open(namespace)
}

func (c *confined) Drop(namespace string) {
	defer c.confine("Drop", nil)
	c.a.Drop(namespace)
}

func (c *confined) Occupied(namespace, room string) {
	defer c.confine("Occupied", nil)
	c.a.Occupied(namespace, room)
}

func (c *confined) Vacated(namespace, room string) {
	defer c.confine("Vacated", nil)
	c.a.Vacated(namespace, room)
}

func (c *confined) OwnRooms() (own bool) {
	defer c.confine("OwnRooms", nil)
	return c.a.OwnRooms()
}

func (c *confined) Await(ctx context.Context, namespace string, names []string) (err error) {
	defer c.confine("Await", &err)
	return c.a.Await(ctx, namespace, names)
}

func (c *confined) Emit(t rooms.Target, e rooms.Event) {
	defer c.confine("Emit", nil)
	c.a.Emit(t, e)
}

func (c *confined) Join(t rooms.Target, names []string) {
	defer c.confine("Join", nil)
	c.a.Join(t, names)
}

func (c *confined) Leave(t rooms.Target, names []string) {
	defer c.confine("Leave", nil)
	c.a.Leave(t, names)
}

func (c *confined) Disconnect(t rooms.Target, closing bool) {
	defer c.confine("Disconnect", nil)
	c.a.Disconnect(t, closing)
}

func (c *confined) ServerSideEmit(namespace string, e rooms.Event) {
	defer c.confine("ServerSideEmit", nil)
	c.a.ServerSideEmit(namespace, e)
}

func (c *confined) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, asked func(int), answer func(rooms.Value)) (err error) {
	defer c.confine("EmitAck", &err)
	return c.a.EmitAck(ctx, t, e, asked, answer)
}

func (c *confined) Members(ctx context.Context, t rooms.Target) (all []rooms.Member, err error) {
	defer c.confine("Members", &err)
	return c.a.Members(ctx, t)
}

// Count asks an adapter that can count, and else counts what it fetches.
func (c *confined) Count(ctx context.Context, t rooms.Target) (n int, err error) {
	defer c.confine("Count", &err)
	if counter, ok := c.a.(rooms.Counter); ok {
		return counter.Count(ctx, t)
	}
	members, err := c.a.Members(ctx, t)
	return len(members), err
}

func (c *confined) RoomNames(ctx context.Context, namespace string) (all []string, err error) {
	defer c.confine("RoomNames", &err)
	return c.a.RoomNames(ctx, namespace)
}

func (c *confined) ServerSideAsk(ctx context.Context, namespace string, e rooms.Event) (all []rooms.Value, err error) {
	defer c.confine("ServerSideAsk", &err)
	return c.a.ServerSideAsk(ctx, namespace, e)
}

func (c *confined) Peer(node string) (p rooms.Peer, ok bool) {
	defer c.confine("Peer", nil)
	return c.a.Peer(node)
}

func (c *confined) Seek(ctx context.Context, node string) {
	defer c.confine("Seek", nil)
	c.a.Seek(ctx, node)
}

func (c *confined) Status() (st rooms.Status) {
	defer func() {
		if v := recover(); v != nil {
			_ = c.panicked("Status", v)
			st = rooms.Status{Reason: fmt.Sprintf("sio: the adapter has panicked: %v", v)}
		}
	}()
	return c.a.Status()
}

// logged is an adapter that keeps events.
type logged struct {
	*confined
	l rooms.Log
}

func (c *logged) Record(r rooms.Recorder) {
	defer c.confine("Record", nil)
	c.l.Record(r)
}

func (c *logged) Lane(namespace string) (lane string) {
	defer c.confine("Lane", nil)
	return c.l.Lane(namespace)
}

func (c *logged) Append(t rooms.Target, e rooms.Event, n uint64) {
	defer c.confine("Append", nil)
	c.l.Append(t, e, n)
}

func (c *logged) Keep(s rooms.Session, window time.Duration) {
	defer c.confine("Keep", nil)
	c.l.Keep(s, window)
}

func (c *logged) Take(ctx context.Context, pid string) (s rooms.Session, ok bool, err error) {
	defer c.confine("Take", &err)
	return c.l.Take(ctx, pid)
}

func (c *logged) Missed(ctx context.Context, namespace, pattern string, from, to rooms.Place, each func(rooms.Entry) bool) (complete bool, err error) {
	defer c.confine("Missed", &err)
	return c.l.Missed(ctx, namespace, pattern, from, to, each)
}
