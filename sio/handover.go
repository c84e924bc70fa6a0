package sio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/passing"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// HandoverOptions are the options of [Server.Handover]. The zero value is ready for use.
type HandoverOptions struct {
	// Version and Build are told to the successor.
	Version, Build string
	// Note is for the successor: [Inheritance.Note].
	Note []byte
	// Files are given to it, by their names: [Inheritance.File]. They stay the caller's.
	// Those that the server listens on go by themselves.
	Files []*os.File
	// DryRun ends when the successor has said that it is ready.
	DryRun bool

	// Ready is how long the successor may take to be ready: to read its settings, to join
	// the cluster. Zero means 30 s.
	Ready time.Duration
	// Hold is how long what is under way may take to end: handlers that run, and what
	// parts wait for. Zero means 10 s.
	Hold time.Duration
	// Take is how long the rest may take, from the moment at which nobody is served until
	// the successor serves. Zero means 10 s.
	Take time.Duration
}

// Handed is what a handover was like.
type Handed struct {
	Successor Process
	Conns     int           // connections, those that poll with none at the moment left out
	Sessions  int           // that went
	Sockets   int           // of all namespaces
	Stays     eio.Stays     // what did not go: see Server.Handover
	Pause     time.Duration // for which nobody was served
	Steps     Steps         // of Pause
}

// Steps are how long the steps of a handover's pause took, one behind the other. Together
// they are Handed.Pause.
type Steps struct {
	Quiet   time.Duration // until nothing was read of clients any more
	Settle  time.Duration // until what was under way had ended, and what was emitted was in queues
	Split   time.Duration // until the successor heard what this server hears of the cluster; without one it is nothing
	Freeze  time.Duration // until all loops stood still
	Parts   time.Duration // until what there is beside sockets was sent
	Loops   time.Duration // until connections, sessions and sockets were sent
	Taken   time.Duration // until the successor had put all that in its place
	Serving time.Duration // until it served
}

// String names the steps, with what each took.
func (s Steps) String() string {
	return fmt.Sprintf("quiet %v, settle %v, split %v, freeze %v, parts %v, loops %v, taken %v, serving %v",
		s.Quiet, s.Settle, s.Split, s.Freeze, s.Parts, s.Loops, s.Taken, s.Serving)
}

// A Process is a program at the other end of a handover.
type Process struct {
	PID            int
	Version, Build string // as it says
}

// ErrRefused is returned, wrapped with the reason, when the other process refuses a
// handover.
var ErrRefused = errors.New("sio: the handover was refused")

var errHandedOver = errors.New("sio: the server has been handed over, or is being")

// Handover gives all that the server has to the process at the other end of conn, which
// has called [Inherit]: listening sockets, connections and sessions, sockets with their
// rooms, data and ids, what is kept for recovery, what waits to be sent. Clients notice a
// pause. Conn is Handover's from then on.
//
// When it returns without an error, the server has left the cluster and accepts nobody any
// more; it has what could not go (Handed.Stays), serves that on, and is to be shut down.
// With an error it serves as before, all clients, and Handover may be called again:
// ErrRefused, what conn failed with, ctx's or a time that was over, [ErrServerClosed] of
// one that does not serve, or what of the server is not data: see Part and CarryKey.
//
// What stays ([Handed].Stays), clients with TLS in this process for the most part, is served
// on by this server until it is shut down: a program lets it run, and calls Shutdown when
// Stats says that no sessions are left, or when it has waited long enough; clients then
// connect again, to the successor. With [Recovery] and without an adapter, those who come
// within its window from the handover are recovered there, as they were when it took place,
// and are sent what they have missed, but for those who were sent an event here that the
// successor does not know of: they are new ones. Rooms that such a socket joins here later,
// and data that are stored with it, are not known there. With an adapter that keeps events
// for all servers nothing is lost.
//
// Handlers that run are waited for, and no others begun meanwhile: events that wait for
// them are handled by those of the successor, and so are middlewares of sockets that
// connect. OnConnect, OnDisconnect, functions of rooms, those that wait for an answer or a
// deadline and what Msg.Later goes on in are done here before. A question that a client has
// not answered (EmitAck) fails with [ErrClosed] where it was asked. What goroutines of the
// program emit, or do to sockets, waits while nobody is served: it is done before, or when
// the server goes on, or fails with ErrClosed. So what a [Part] does meanwhile must need
// nothing that such a goroutine has locked. Data of sockets goes as Options.EncodeData says.
// Sockets of namespaces that the successor has not are told that they have left. Handlers
// must not call it.
func (srv *Server) Handover(ctx context.Context, conn *net.UnixConn, o HandoverOptions) (h Handed, err error) {
	h0 := &handover{srv: srv, o: o, stream: passing.New(conn)}
	defer h0.stream.Close()
	switch {
	case srv.engine.OnLoop():
		return h, ErrInline
	case !srv.begun.Load() || srv.simulated:
		return h, ErrServerClosed
	}
	select { // its clients may be about to be served: they have said so
	case <-srv.serving:
	case <-srv.stopped:
		return h, ErrServerClosed
	case <-ctx.Done():
		return h, ctx.Err()
	}
	if srv.handing.Swap(true) {
		return h, errHandedOver
	}
	if err = h0.run(ctx); err != nil || o.DryRun {
		srv.engine.KeepListeners()
		srv.handing.Store(false)
	}
	if err != nil {
		return h, err
	}
	return h0.handed, nil
}

// A handover is the side of a server that goes.
type handover struct {
	srv    *Server
	o      HandoverOptions
	stream *passing.Stream
	handed Handed

	conns, sessions, sockets atomic.Int64
	place                    []byte
	frozen                   *loop.Frozen
	undo                     []func()
	committed                bool
	since                    time.Time // nobody is served
	stepped                  time.Time // the last step has ended
}

// run goes through the protocol; see passage. What it has done is undone if it fails, also by
// a panic of what the program has given it to call.
func (h *handover) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil && !h.committed {
			err = &PanicError{p, debug.Stack()}
		} else if p != nil {
			panic(p) // there is no way back
		}
		if err == nil {
			return
		}
		h.refuse(err)
		for i := len(h.undo) - 1; i >= 0; i-- {
			h.undo[i]()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = h.stream.SetDeadline(time.Now()) })
	defer stop()
	if err := h.meet(ctx); err != nil || h.o.DryRun {
		return err
	}
	holding, held := context.WithTimeout(ctx, cmp.Or(h.o.Hold, 10*time.Second))
	defer held()
	if err := h.hold(holding); err != nil {
		return err
	}
	taking, taken := context.WithTimeout(ctx, cmp.Or(h.o.Take, 10*time.Second))
	defer taken()
	h.bound(taking)
	if err := h.halt(taking); err != nil {
		return err
	}
	if err := h.give(); err != nil {
		return err
	}
	if err := h.commit(); err != nil {
		return err
	}
	h.committed = true
	h.leave(ctx)
	return nil
}

// step notes how long the step took that has ended now.
func (h *handover) step(took *time.Duration) {
	now := time.Now()
	*took, h.stepped = now.Sub(h.stepped), now
}

// undone has f be called if the handover fails, in reverse order.
func (h *handover) undone(f func()) { h.undo = append(h.undo, f) }

// hold has nothing begin any more that a handover would cut in two. Handlers are first:
// what parts keep back would keep them.
func (h *handover) hold(ctx context.Context) error {
	srv := h.srv
	h.undone(srv.releaseHandlers)
	if err := srv.holdHandlers(ctx); err != nil {
		return err
	}
	h.undone(srv.releaseParts)
	return errors.Join(srv.holdParts(ctx, false), srv.holdParts(ctx, true))
}

// halt has nobody be served any more, and the loops stand still.
func (h *handover) halt(ctx context.Context) error {
	srv := h.srv
	h.since = time.Now()
	h.stepped = h.since
	steps := &h.handed.Steps
	if err := srv.engine.Quiet(ctx, true); err != nil {
		return err
	}
	h.undone(func() { _ = srv.engine.Quiet(context.Background(), false) })
	h.step(&steps.Quiet)
	if err := srv.settleHandlers(ctx); err != nil { // of clients that have left since
		return err
	}
	if err := srv.gate.Shut(ctx); err != nil {
		return err
	}
	h.undone(srv.gate.Open)
	if err := srv.settleAll(ctx); err != nil {
		return err
	}
	h.step(&steps.Settle)
	back, err := h.split(ctx)
	if h.undone(back); err != nil {
		return err
	}
	h.step(&steps.Split)
	err = h.freeze(ctx)
	h.step(&steps.Freeze)
	return err
}

// freeze has the loops stand still at a moment at which no handler runs.
func (h *handover) freeze(ctx context.Context) (err error) {
	for {
		if h.frozen, err = h.srv.engine.Freeze(ctx); err != nil {
			return err
		}
		if h.srv.handlers.Running() == 0 {
			break
		}
		h.frozen.Thaw() // a timer was due
		if err := h.srv.settleHandlers(ctx); err != nil {
			return err
		}
	}
	h.undone(h.frozen.Thaw)
	h.undone(h.srv.standStill(h.frozen))
	h.srv.frozen = h.frozen
	h.undone(func() { h.srv.frozen = nil })
	return nil
}

// bound has the stream fail when ctx does.
func (h *handover) bound(ctx context.Context) {
	at, _ := ctx.Deadline()
	_ = h.stream.SetDeadline(at)
}

// split divides what comes from the cluster between this server and its successor. Back
// undoes it, also what was begun of it.
func (h *handover) split(ctx context.Context) (back func(), err error) {
	m, ok := h.srv.cluster.(rooms.Movable)
	if !ok {
		return func() {}, nil
	}
	offer, err := m.Offer()
	if err != nil {
		return func() {}, err
	}
	if err := errors.Join(h.stream.Send(passage.Offer, 0, offer), h.stream.Flush()); err != nil {
		return func() {}, err
	}
	if err := h.hear(passage.Followed, nil); err != nil {
		return func() {}, err
	}
	h.place, err = m.Mark(ctx)
	return m.Back, err
}

// give sends all there is. The loops stand still.
func (h *handover) give() error {
	for _, p := range h.srv.allParts() {
		if err := h.part(p); err != nil {
			return err
		}
	}
	h.step(&h.handed.Steps.Parts)
	var mu sync.Mutex
	var failed error
	h.frozen.Each(func(l *loop.Loop) {
		stays, err := h.srv.shards[l.Index()].export(h)
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, err)
		x := &h.handed.Stays
		x.TLS, x.Mounted, x.Opening, x.Tunnels = x.TLS+stays.TLS, x.Mounted+stays.Mounted, x.Opening+stays.Opening, x.Tunnels+stays.Tunnels
	})
	if failed != nil {
		return failed
	}
	err := h.say(passage.End, h.totals())
	h.step(&h.handed.Steps.Loops)
	return err
}

func (h *handover) totals() passage.Totals {
	return passage.Totals{Conns: int(h.conns.Load()), Sessions: int(h.sessions.Load()), Sockets: int(h.sockets.Load()), Place: h.place}
}

// pieceLen is how much of what a part says goes at a time.
const pieceLen = 1 << 20

func (h *handover) part(p Part) error {
	if p.Export == nil {
		return nil
	}
	data, err := p.Export()
	if err != nil {
		return fmt.Errorf("sio: part %s: %w", p.Name, err)
	}
	for more := true; more; {
		n := min(len(data), pieceLen)
		more = n < len(data)
		if err := h.send(passage.Part, 0, passage.Piece{Name: p.Name, Data: data[:n], More: more}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// commit has the successor serve. Behind Go there are two of us, of whom one lives: if the
// other has gone before it served, or is killed as it does not say so, that is us.
func (h *handover) commit() error {
	var t passage.Totals
	if err := h.hear(passage.Taken, &t); err != nil {
		return err
	}
	if mine := h.totals(); t.Conns != mine.Conns || t.Sessions != mine.Sessions || t.Sockets != mine.Sockets {
		return fmt.Errorf("sio: the other process has taken %d connections, %d sessions and %d sockets of %d, %d and %d",
			t.Conns, t.Sessions, t.Sockets, mine.Conns, mine.Sessions, mine.Sockets)
	}
	h.step(&h.handed.Steps.Taken)
	err := h.say(passage.Go, nil)
	if err == nil {
		err = h.hear(passage.Serving, nil)
	}
	if err != nil {
		return errors.Join(err, h.stream.Kill(time.Second))
	}
	h.handed.Conns, h.handed.Sessions, h.handed.Sockets = t.Conns, t.Sessions, t.Sockets
	h.step(&h.handed.Steps.Serving)
	h.handed.Pause = h.stepped.Sub(h.since)
	return nil
}

// leave forgets what is the successor's now, and has the rest served on.
func (h *handover) leave(ctx context.Context) {
	srv, stays := h.srv, h.handed.Stays != (eio.Stays{})
	srv.hushed.Store(true)
	h.frozen.Each(func(l *loop.Loop) { srv.shards[l.Index()].forget() })
	srv.standing.Store(nil)
	srv.frozen = nil
	srv.movedParts()
	if m, ok := srv.cluster.(rooms.Movable); ok {
		if err := m.Gone(ctx, stays); err != nil {
			srv.notice.Warn("the adapter has not gone in time", "error", err)
		}
	}
	srv.hushed.Store(false)
	srv.eio.Drain() // who comes by what stays is to go elsewhere
	if stays {
		srv.gate.Open()
	} else {
		srv.gate.End()
	}
	h.frozen.Thaw()
	_ = srv.engine.StopAccepting(ctx) // while nobody is accepted: they are the other's
	_ = srv.engine.Quiet(context.WithoutCancel(ctx), false)
	srv.releaseHandlers()
}

// send encodes v as the body of a record.
func (h *handover) send(kind, lane uint8, v any, fds ...int) error {
	body, err := passage.Marshal(v)
	if err != nil {
		return err
	}
	return h.stream.Send(kind, lane, body, fds...)
}

// say sends a record at once; of nil it has no body.
func (h *handover) say(kind uint8, v any, fds ...int) error { return say(h.stream, kind, v, fds...) }

// hear waits for a record of a kind.
func (h *handover) hear(kind uint8, v any) error { return hear(h.stream, kind, v) }

func (h *handover) refuse(err error) { refuse(h.stream, err) }
