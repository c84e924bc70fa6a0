package sio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/passing"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// An Inheritance is what another process gives to this one: see [Inherit].
type Inheritance struct {
	stream   *passing.Stream
	greeting passage.Greeting
	files    []*os.File // of greeting.Files; nil: taken
	from     Process
	used     bool
}

// Inherit begins to take over the clients of the process at the other end of conn, which
// has called [Server.Handover]. What it returns goes into [Options]: the Server has the
// other's Node, ids and number of loops then; what it listens to that the other listens to
// is the other's sockets. Serve has all the rest come before it serves anybody, with an
// error if it does not: the other goes on then. Version and build are of this program.
//
// Ctx bounds it until the server serves. The error is the connection's or ctx's, or says
// why the other cannot be understood; conn is closed then.
func Inherit(ctx context.Context, conn *net.UnixConn, version, build string) (*Inheritance, error) {
	in := &Inheritance{stream: passing.New(conn)}
	if at, ok := ctx.Deadline(); ok {
		_ = in.stream.SetDeadline(at)
	}
	context.AfterFunc(ctx, func() { _ = in.stream.SetDeadline(time.Now()) })
	if err := in.meet(version, build); err != nil {
		in.Refuse(err)
		return nil, err
	}
	return in, nil
}

// meet hears who the other is, and says who this one is.
func (in *Inheritance) meet(version, build string) error {
	r, err := in.stream.Receive()
	if err != nil {
		return fmt.Errorf("sio: handover: %w", err)
	}
	for _, fd := range r.Files {
		in.files = append(in.files, os.NewFile(uintptr(fd), ""))
	}
	g := &in.greeting
	if err := receivedAs(r, passage.Hello, g); err != nil {
		return err
	}
	switch {
	case g.Protocol != passage.Version:
		return fmt.Errorf("sio: the other process hands over by version %d of the protocol, and this one takes over by version %d", g.Protocol, passage.Version)
	case len(g.Needs) > 0:
		return fmt.Errorf("sio: the other process wants %q of the protocol, which this one has not", g.Needs)
	case len(g.Files) != len(in.files), g.Loops < 1, len(g.IDKey) != eio.IDKeyLen, !eio.Node(g.Node).Valid():
		return errors.New("sio: handover: the other process contradicts itself")
	}
	in.from = Process{Version: g.Version, Build: g.Build}
	in.from.PID, _, _ = in.stream.Peer()
	return say(in.stream, passage.Heir, passage.Greeting{Protocol: passage.Version, Version: version, Build: build})
}

// From returns whose clients are taken over.
func (in *Inheritance) From() Process { return in.from }

// DryRun tells whether the other only wants to know if this process would be ready: Serve
// returns at once then.
func (in *Inheritance) DryRun() bool { return in.greeting.DryRun }

// Note returns HandoverOptions.Note.
func (in *Inheritance) Note() []byte { return in.greeting.Note }

// File returns the file of HandoverOptions.Files of a name, once; nil if there is none.
func (in *Inheritance) File(name string) *os.File {
	for i, f := range in.greeting.Files {
		if f.Addr == "" && f.Name == name && in.files[i] != nil {
			file := in.files[i]
			in.files[i] = nil
			return file
		}
	}
	return nil
}

// Refuse has the other process go on. It may be called until Serve is.
func (in *Inheritance) Refuse(err error) {
	refuse(in.stream, err)
	in.close()
}

func (in *Inheritance) close() {
	_ = in.stream.Close()
	for i, f := range in.files {
		if f != nil {
			_ = f.Close()
		}
		in.files[i] = nil
	}
}

// options gives o what the server must have in common with the one that goes.
func (in *Inheritance) options(o *Options) error {
	g := &in.greeting
	switch {
	case in.used:
		return errors.New("sio: an Inheritance is of one Server")
	case o.Engine.Node != "" && string(o.Engine.Node) != g.Node:
		return fmt.Errorf("sio: the server is to be the node %s, and takes over clients of %s", o.Engine.Node, g.Node)
	case o.Loop.Loops != 0 && o.Loop.Loops != g.Loops:
		return fmt.Errorf("sio: the server is to have %d loops, and takes over clients of %d: ids are of loops", o.Loop.Loops, g.Loops)
	}
	in.used = true
	o.Engine.Node, o.Engine.IDKey, o.Loop.Loops = eio.Node(g.Node), g.IDKey, g.Loops
	m, ok := o.Adapter.(rooms.Movable)
	switch {
	case o.Adapter == nil && g.Adapter == nil:
		return nil
	case !ok, g.Adapter == nil:
		return errors.New("sio: the server is not in the cluster in which the clients are that it takes over")
	}
	return m.Inherit(g.Adapter)
}

// listeners gives o the sockets of an address that the other process listens to, once. Of
// two that it was asked to listen at with the same words, such as a port 0, it is the first.
func (in *Inheritance) listeners(addr string, o *loop.ListenOptions) {
	at := ""
	for i, f := range in.greeting.Files {
		if in.files[i] == nil || f.Addr == "" || f.Addr != addr && f.Asked != addr || at != "" && f.Addr != at {
			continue
		}
		at = f.Addr
		o.Files, o.OwnPath = append(o.Files, in.files[i]), f.Own
		in.files[i] = nil
	}
}

// takeOver has everything come, before the loops run. Nobody is served until Go has come.
func (srv *Server) takeOver() (err error) {
	in := srv.o.Inherit
	defer in.close()
	defer func() {
		if err != nil {
			refuse(in.stream, err)
			srv.abandonAdopted()
		}
	}()
	for _, p := range in.greeting.Parts {
		if !p.Optional && !slices.ContainsFunc(srv.allParts(), func(q Part) bool { return q.Name == p.Name }) {
			return fmt.Errorf("sio: there is no part %q to take over", p.Name)
		}
	}
	if err := say(in.stream, passage.Ready, nil); err != nil || in.greeting.DryRun {
		return err
	}
	t := &succession{srv: srv, in: in, parts: map[string][]byte{}, whole: map[string]bool{}}
	srv.hold.on.Store(true) // until somebody is served
	if err := t.follow(); err != nil {
		return err
	}
	if err := t.receive(); err != nil {
		return err
	}
	if err := say(in.stream, passage.Taken, t.totals()); err != nil {
		return err
	}
	if err := hear(in.stream, passage.Go, nil); err != nil {
		return err
	}
	for _, p := range srv.allParts() {
		if p.Taken != nil {
			p.Taken()
		}
	}
	if m, ok := srv.cluster.(rooms.Movable); ok {
		if err := m.Succeed(t.end.Place); err != nil {
			return err
		}
	}
	if err := say(in.stream, passage.Serving, nil); err != nil {
		return err
	}
	for _, sh := range srv.shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.inherit() })) // before anything is read
	}
	srv.releaseHandlers()
	srv.succeeded()
	return nil
}

// A succession is the side of the successor.
type succession struct {
	srv   *Server
	in    *Inheritance
	parts map[string][]byte // what has come of each
	whole map[string]bool   // that is all
	end   passage.Totals
	here  passage.Totals
	lanes []lane

	conns, sessions, sockets atomic.Int64
	failed                   atomic.Bool // a lane has
}

// follow waits until the other has come to a halt, and hears what that hears.
func (t *succession) follow() error {
	m, ok := t.srv.cluster.(rooms.Movable)
	if !ok {
		return nil
	}
	r, err := t.in.stream.Receive()
	if err != nil {
		return fmt.Errorf("sio: handover: %w", err)
	}
	if err := receivedAs(r, passage.Offer, nil); err != nil {
		return err
	}
	ctx, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	if err := m.Follow(ctx, r.Body); err != nil {
		return err
	}
	return say(t.in.stream, passage.Followed, nil)
}

// receive puts everything in its place, each loop's part of it on a goroutine: no loop
// runs yet.
func (t *succession) receive() (err error) {
	t.lanes = make([]lane, len(t.srv.shards))
	failed := make(chan error, len(t.srv.shards))
	for i, sh := range t.srv.shards {
		c := make(chan []passing.Record, 4)
		t.lanes[i].c = c
		// ends when its channel is closed
		go func() { failed <- t.lane(sh, c) }()
	}
	err = t.distribute()
	for i := range t.lanes {
		t.lanes[i].send()
		close(t.lanes[i].c)
	}
	for range t.lanes {
		err = errors.Join(err, <-failed)
	}
	t.here = passage.Totals{Conns: int(t.conns.Load()), Sessions: int(t.sessions.Load()), Sockets: int(t.sockets.Load())}
	return err
}

// A lane is what has come for a loop, which is told of several records at a time.
type lane struct {
	c    chan []passing.Record
	next []passing.Record
}

// together is how many records at most.
const together = 64

func (l *lane) add(r passing.Record) {
	if l.next = append(l.next, r); len(l.next) >= together {
		l.send()
	}
}

func (l *lane) send() {
	if len(l.next) > 0 {
		l.c <- l.next
		l.next = make([]passing.Record, 0, together)
	}
}

// distribute receives until there is no more.
func (t *succession) distribute() error {
	for !t.failed.Load() {
		if !t.in.stream.Ready() { // nobody waits for what is here
			for i := range t.lanes {
				t.lanes[i].send()
			}
		}
		r, err := t.in.stream.Receive()
		if err != nil {
			return fmt.Errorf("sio: handover: %w", err)
		}
		switch r.Kind {
		case passage.Part:
			var p passage.Piece
			if err := errors.Join(receivedAs(r, passage.Part, &p)); err != nil {
				return err
			}
			if err := t.piece(p); err != nil {
				return err
			}
		case passage.Table, passage.Conn, passage.Session, passage.More, passage.Shared:
			if int(r.Lane) >= len(t.lanes) {
				closeFiles(r.Files)
				return errors.New("sio: handover: a record of a loop that there is not")
			}
			t.lanes[r.Lane].add(r)
		default:
			return receivedAs(r, passage.End, &t.end)
		}
	}
	return nil // a lane says why
}

// lane puts what is of a loop in its place. It takes everything, also behind an error.
func (t *succession) lane(sh *shard, records chan []passing.Record) (err error) {
	a := newAdoption(sh)
	for some := range records {
		for i := range some {
			r := &some[i]
			if err != nil {
				closeFiles(r.Files)
				continue
			}
			if err = a.adopt(*r); err != nil {
				t.failed.Store(true)
			}
			if r.Kind == passage.Shared {
				r.Body = nil // it is kept
			}
		}
		t.in.stream.Recycle(some)
	}
	if err == nil {
		err = a.settle()
	}
	t.conns.Add(int64(a.conns))
	t.sessions.Add(int64(a.sessions))
	t.sockets.Add(int64(a.sockets))
	return err
}

func (t *succession) totals() passage.Totals { return t.here }

// partLen bounds what a part may say, in bytes.
const partLen = 1 << 30

// piece takes some of what a part says.
func (t *succession) piece(p passage.Piece) error {
	if t.whole[p.Name] || !slices.ContainsFunc(t.in.greeting.Parts, func(q passage.PartName) bool { return q.Name == p.Name }) {
		return errHandover
	}
	if !slices.ContainsFunc(t.srv.allParts(), func(q Part) bool { return q.Name == p.Name }) {
		return nil // the other knows that this server does without it
	}
	t.parts[p.Name] = append(t.parts[p.Name], p.Data...)
	if n := len(t.parts[p.Name]); n > partLen {
		return fmt.Errorf("sio: part %s: there are %d bytes, more than %d", p.Name, n, partLen)
	}
	if p.More {
		return nil
	}
	for _, q := range t.srv.allParts() {
		if q.Name == p.Name && q.Import != nil {
			if err := q.Import(t.parts[p.Name]); err != nil {
				return fmt.Errorf("sio: part %s: %w", p.Name, err)
			}
		}
	}
	delete(t.parts, p.Name)
	t.whole[p.Name] = true
	return nil
}

// abandonAdopted gives back what has come of another server's, to which it still belongs:
// nothing may be sent over it, nor any of it be shut down.
func (srv *Server) abandonAdopted() {
	for _, sh := range srv.shards {
		for c := range sh.loop.Conns() {
			c.Forget()
		}
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func closeFiles(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}

func say(s *passing.Stream, kind uint8, v any, fds ...int) (err error) {
	var body []byte
	if v != nil {
		if body, err = passage.Marshal(v); err != nil {
			return err
		}
	}
	return errors.Join(s.Send(kind, 0, body, fds...), s.Flush())
}

func refuse(s *passing.Stream, err error) {
	_ = s.SetDeadline(time.Now().Add(time.Second))
	_ = say(s, passage.Refuse, passage.Refusal{Reason: err.Error()})
}

// hear waits for a record of a kind, and decodes its body into v unless that is nil.
func hear(s *passing.Stream, kind uint8, v any) error {
	r, err := s.Receive()
	if err != nil {
		return fmt.Errorf("sio: handover: %w", err)
	}
	return receivedAs(r, kind, v)
}

// receivedAs is hear of a record that has come.
func receivedAs(r passing.Record, kind uint8, v any) error {
	switch {
	case r.Kind == passage.Refuse:
		var x passage.Refusal
		if passage.Unmarshal(r.Body, &x) != nil {
			x.Reason = "for a reason that cannot be read"
		}
		return fmt.Errorf("%w: %s", ErrRefused, x.Reason)
	case r.Kind != kind || len(r.Files) > 0 && kind != passage.Hello:
		closeFiles(r.Files)
		return fmt.Errorf("sio: handover: a record of kind %d in place of %d", r.Kind, kind)
	case v == nil:
		return nil
	}
	return passage.Unmarshal(r.Body, v)
}
