package sio

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
)

// A guarded adapter is one whose panics end nothing but the call: it is another
// program's code, called on loops and goroutines where nobody else would recover.
// A call that returns an error returns a *PanicError then.
type guarded struct {
	a       rooms.Adapter
	notices *notice.Log
}

// confine is deferred around each call; err, if not nil, becomes what has happened.
func (g *guarded) confine(method string, err *error) {
	v := recover()
	if v == nil {
		return
	}
	e := &PanicError{v, debug.Stack()}
	g.notices.Warn("the adapter has panicked", "method", method, "error", e)
	if err != nil {
		*err = e
	}
}

func (g *guarded) Start(h rooms.Host) (err error) {
	defer g.confine("Start", &err)
	return g.a.Start(h)
}

func (g *guarded) Close(ctx context.Context) (err error) {
	defer g.confine("Close", &err)
	return g.a.Close(ctx)
}

func (g *guarded) Open(namespace string) {
	defer g.confine("Open", nil)
	g.a.Open(namespace)
}

func (g *guarded) Drop(namespace string) {
	defer g.confine("Drop", nil)
	g.a.Drop(namespace)
}

func (g *guarded) Occupied(namespace, room string) {
	defer g.confine("Occupied", nil)
	g.a.Occupied(namespace, room)
}

func (g *guarded) Vacated(namespace, room string) {
	defer g.confine("Vacated", nil)
	g.a.Vacated(namespace, room)
}

func (g *guarded) Await(ctx context.Context, namespace string, names []string) (err error) {
	defer g.confine("Await", &err)
	return g.a.Await(ctx, namespace, names)
}

func (g *guarded) Emit(t rooms.Target, e rooms.Event) {
	defer g.confine("Emit", nil)
	g.a.Emit(t, e)
}

func (g *guarded) Join(t rooms.Target, names []string) {
	defer g.confine("Join", nil)
	g.a.Join(t, names)
}

func (g *guarded) Leave(t rooms.Target, names []string) {
	defer g.confine("Leave", nil)
	g.a.Leave(t, names)
}

func (g *guarded) Disconnect(t rooms.Target, closing bool) {
	defer g.confine("Disconnect", nil)
	g.a.Disconnect(t, closing)
}

func (g *guarded) ServerSideEmit(namespace string, e rooms.Event) {
	defer g.confine("ServerSideEmit", nil)
	g.a.ServerSideEmit(namespace, e)
}

func (g *guarded) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, answer func(rooms.Value)) (err error) {
	defer g.confine("EmitAck", &err)
	return g.a.EmitAck(ctx, t, e, answer)
}

func (g *guarded) Members(ctx context.Context, t rooms.Target) (all []rooms.Member, err error) {
	defer g.confine("Members", &err)
	return g.a.Members(ctx, t)
}

func (g *guarded) RoomNames(ctx context.Context, namespace string) (all []string, err error) {
	defer g.confine("RoomNames", &err)
	return g.a.RoomNames(ctx, namespace)
}

func (g *guarded) ServerSideAsk(ctx context.Context, namespace string, e rooms.Event) (all []rooms.Value, err error) {
	defer g.confine("ServerSideAsk", &err)
	return g.a.ServerSideAsk(ctx, namespace, e)
}

func (g *guarded) Peer(node string) (p rooms.Peer, ok bool) {
	defer g.confine("Peer", nil)
	return g.a.Peer(node)
}

func (g *guarded) Seek(ctx context.Context, node string) {
	defer g.confine("Seek", nil)
	g.a.Seek(ctx, node)
}

func (g *guarded) Status() (st rooms.Status) {
	var err error
	defer func() {
		if err != nil {
			st = rooms.Status{Reason: fmt.Sprintf("sio: the adapter has panicked: %v", err.(*PanicError).Value)}
		}
	}()
	defer g.confine("Status", &err)
	return g.a.Status()
}

// A guardedLog is a guarded adapter that keeps events.
type guardedLog struct {
	*guarded
	l rooms.Log
}

func (g *guardedLog) Record(r rooms.Recorder) {
	defer g.confine("Record", nil)
	g.l.Record(r)
}

func (g *guardedLog) Lane(namespace string) (lane string) {
	defer g.confine("Lane", nil)
	return g.l.Lane(namespace)
}

func (g *guardedLog) Append(t rooms.Target, e rooms.Event, n uint64) {
	defer g.confine("Append", nil)
	g.l.Append(t, e, n)
}

func (g *guardedLog) Keep(s rooms.Session, window time.Duration) {
	defer g.confine("Keep", nil)
	g.l.Keep(s, window)
}

func (g *guardedLog) Take(ctx context.Context, pid string) (s rooms.Session, ok bool, err error) {
	defer g.confine("Take", &err)
	return g.l.Take(ctx, pid)
}

func (g *guardedLog) Missed(ctx context.Context, namespace, pattern string, from, to rooms.Place, each func(rooms.Entry) bool) (complete bool, err error) {
	defer g.confine("Missed", &err)
	return g.l.Missed(ctx, namespace, pattern, from, to, each)
}
