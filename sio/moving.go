package sio

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// meet greets the successor and waits until it is ready.
func (h *handover) meet(ctx context.Context) error {
	ready, done := context.WithTimeout(ctx, cmp.Or(h.o.Ready, 30*time.Second))
	defer done()
	h.bound(ready)
	g, files, err := h.greeting()
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		return err
	}
	fds := make([]int, 0, len(files)+len(h.o.Files))
	for _, f := range append(files, h.o.Files...) {
		fds = append(fds, int(f.Fd()))
	}
	if err := h.say(passage.Hello, g, fds...); err != nil {
		return err
	}
	var heir passage.Greeting
	if err := h.hear(passage.Heir, &heir); err != nil {
		return err
	}
	h.handed.Successor.Version, h.handed.Successor.Build = heir.Version, heir.Build
	h.handed.Successor.PID, _, _ = h.stream.Peer()
	return h.hear(passage.Ready, nil)
}

// greeting says who this server is, with copies of what it listens on.
func (h *handover) greeting() (g passage.Greeting, files []*os.File, err error) {
	srv := h.srv
	g = passage.Greeting{
		Protocol: passage.Version, Version: h.o.Version, Build: h.o.Build, Loops: len(srv.shards), Node: srv.Node(),
		IDKey: srv.eio.IDKey(), Note: h.o.Note, DryRun: h.o.DryRun,
	}
	listeners, err := srv.engine.ListenerFiles()
	if err != nil {
		return g, nil, err
	}
	for _, l := range listeners {
		g.Files = append(g.Files, passage.File{Addr: l.Addr, Label: l.Label, Asked: l.Asked, Own: l.OwnPath})
		files = append(files, l.File)
	}
	for _, f := range h.o.Files {
		g.Files = append(g.Files, passage.File{Name: f.Name()})
	}
	for _, p := range srv.allParts() {
		g.Parts = append(g.Parts, passage.PartName{Name: p.Name, Optional: p.Optional})
	}
	if srv.cluster != nil {
		m, ok := srv.cluster.(rooms.Movable)
		if !ok {
			return g, files, fmt.Errorf("sio: no other process can take the place of a %T in its cluster", srv.cluster)
		}
		g.Adapter, err = m.Offer()
	}
	return g, files, err
}

// Lengths of records, in bytes.
const (
	recordLen = 8 << 20   // what goes in one
	bodyLen   = 256 << 20 // what goes in several, of which the last says what they are
	sharedLen = 512       // pieces of that length are sent once, by themselves
)

// An exporter sends what there is of a loop.
type exporter struct {
	h  *handover
	sh *shard

	buf    bytes.Buffer
	shared map[sharedPiece]pieceRecord
	left   map[uint64]time.Duration // of ConnectTimeout, of sessions
	sent   uint32                   // passage.Shared
}

// A sharedPiece is memory that several queues may have.
type sharedPiece struct {
	at *byte
	n  int
}

// export sends what there is of a loop: its table, connections, and sessions with their
// sockets. It is called on the loop, which is frozen, and changes nothing.
func (sh *shard) export(h *handover) (eio.Stays, error) {
	for sh.local.Pending() {
		sh.local.Step(1 << 16)
	}
	x := &exporter{h: h, sh: sh, shared: map[sharedPiece]pieceRecord{}, left: map[uint64]time.Duration{}}
	for _, a := range sh.arrivals.queue {
		x.left[a.session] = max(time.Duration(a.at-sh.loop.Now())*time.Millisecond, 1)
	}
	sh.given = sh.given[:0]
	table := tableRecord{sh.srv.eio.ExportTable(sh.loop), sh.sockets.Export(sh.goes)}
	if err := x.send(passage.Table, &table); err != nil {
		return eio.Stays{}, err
	}
	return sh.srv.eio.Export(sh.loop, x.conn, x.session)
}

// goes tells whether the socket of a slot goes along with its session: that of one which
// stays, or that leaves, keeps its place for ever.
func (sh *shard) goes(slot uint32) bool {
	return sh.sockets.At(slot).state == connected && !sh.session(slot).Stays()
}

// send sends a record, whose body may be long.
func (x *exporter) send(kind uint8, v any, fds ...int) error {
	x.buf.Reset()
	if err := passage.Write(&x.buf, v); err != nil {
		return err
	}
	body, lane := x.buf.Bytes(), uint8(x.sh.loop.Index())
	if len(body) > bodyLen {
		return fmt.Errorf("sio: there are %d bytes of one session, more than %d", len(body), bodyLen)
	}
	for ; len(body) > recordLen; body = body[recordLen:] {
		if err := x.h.stream.Send(passage.More, lane, body[:recordLen]); err != nil {
			return err
		}
	}
	return x.h.stream.Send(kind, lane, body, fds...)
}

// piece returns a record of bytes that are queued.
func (x *exporter) piece(p []byte) (pieceRecord, error) {
	if len(p) < sharedLen {
		return pieceRecord{Data: p}, nil
	}
	key := sharedPiece{&p[0], len(p)}
	r, ok := x.shared[key]
	if ok {
		return r, nil
	}
	r.First = x.sent + 1
	for part := range slices.Chunk(p, recordLen) {
		if err := x.h.stream.Send(passage.Shared, uint8(x.sh.loop.Index()), part); err != nil {
			return r, err
		}
		r.Count++
	}
	x.sent += r.Count
	x.shared[key] = r
	return r, nil
}

// conn sends a connection.
func (x *exporter) conn(st *eio.ConnState) error {
	var r connRecord
	for _, p := range st.Output {
		piece, err := x.piece(p)
		if err != nil {
			return err
		}
		r.Output = append(r.Output, piece)
	}
	st.Output = nil
	r.State = st
	x.h.conns.Add(1)
	return x.send(passage.Conn, &r, st.FD)
}

// session sends a session.
func (x *exporter) session(es eio.Session, st *eio.SessionState) error {
	sh := x.sh
	sh.given = append(sh.given, es)
	st.User = 0
	r := sessionRecord{Session: st, Replayed: sh.replayed[es.Ref()], Ended: sh.justEnded.State(sh.loop, es),
		Packed: packed(es), Joined: es.User()&everJoined != 0}
	for i := range st.Queue {
		p, err := x.piece(st.Queue[i].Frames)
		if err != nil {
			return err
		}
		st.Queue[i].Frames = nil
		r.Queue = append(r.Queue, p)
	}
	if !r.Joined {
		r.Arrives = x.left[es.Ref()]
	}
	if own := sh.assemblies[es.Ref()]; own != nil {
		text, attachments := own.State()
		r.Packet = &packetRecord{text, attachments, sh.loop.Left(&own.timer)}
	}
	if q := sh.requests[es.Ref()]; q != nil {
		r.Request = r.add(q)
	}
	var err error
	if r.Values, err = sh.srv.carried.pack(sh.srv.conns.Of(es.Ref())); err != nil {
		return err
	}
	for slot := es.User() &^ userFlags; slot != 0; slot = sh.sockets.At(slot).next {
		if sh.sockets.At(slot).state == connecting {
			r.Joins = append(r.Joins, sh.joining(slot))
			continue
		}
		s, err := x.socket(&r, slot)
		if err != nil {
			return err
		}
		r.Sockets = append(r.Sockets, s)
		x.h.sockets.Add(1)
	}
	x.h.sessions.Add(1)
	return x.send(passage.Session, &r)
}

// add returns which of the requests q is, from 1, which is added unless it is the last.
func (r *sessionRecord) add(q *request) int {
	x := q.record()
	for i := range r.Requests {
		if y := &r.Requests[i]; y.Text == x.Text && y.Query == x.Query && y.Issued == x.Issued {
			return i + 1
		}
	}
	r.Requests = append(r.Requests, x)
	return len(r.Requests)
}

// joining returns what a client has asked for that connects.
func (sh *shard) joining(slot uint32) joinRecord {
	j := joinRecord{Name: sh.instance(slot).name}
	if d := sh.srv.details.get(sh.ref(slot)); d != nil {
		j.Auth = d.auth
		if d.request != nil {
			j.Query = d.request.particulars().query
		}
	}
	return j
}

// socket returns a socket that is connected.
func (x *exporter) socket(r *sessionRecord, slot uint32) (socketRecord, error) {
	sh, srv, s := x.sh, x.sh.srv, x.sh.socket(slot)
	st := sh.snapshot(slot)
	rec := socketRecord{
		Name: st.Name, Slot: slot, Gen: s.ref.Gen(), Own: s.own, Rooms: st.Rooms, Identity: st.Identity,
		Expires: st.Expires, Auth: st.handshake.auth, From: st.From,
	}
	if d := srv.details.get(s.ref); d != nil {
		rec.PID = d.pid
	}
	if q := st.handshake.r; q != nil {
		rec.Request = r.add(q)
	}
	if m, ok := sh.resumed[slot]; ok {
		rec.Resumed, rec.ResumedS = m.place, sh.loop.Now()-m.at
	}
	is := sh.sockets.At(slot).is
	for _, b := range []struct {
		bit uint32
		set bool
	}{
		{wasHeard, is&heard != 0}, {wasCrowded, is&crowded != 0}, {wasFollowed, is&followed != 0}, {wasRecovered, st.recovered},
		{wasTimed, st.timed}, {wasMarked, sh.sockets.Marked(slot, s.ref.Gen())},
	} {
		if b.set {
			rec.Is |= b.bit
		}
	}
	err := x.kept(&rec, slot, st)
	if err != nil {
		err = fmt.Errorf("%w (of %s)", err, st.Name)
	}
	return rec, err
}

// kept adds what a program has stored with a socket, and what it has not done.
func (x *exporter) kept(rec *socketRecord, slot uint32, st *socketState) (err error) {
	srv := x.sh.srv
	if st.data != nil {
		rec.Data, err = srv.packData(st.data)
	}
	values, verr := srv.carried.pack(st.values)
	rec.Values = values
	if e := x.sh.exts[slot]; e != nil && e.inbox != nil {
		rec.Tasks = e.inbox.records()
	}
	for _, w := range x.sh.waiting.Of(slot) {
		rec.Waits = append(rec.Waits, waitRecord{w.Wanted(), w.n})
	}
	return errors.Join(err, verr)
}

// records returns the events that wait.
func (b *inbox) records() (all []taskRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.tasks.Waiting() {
		if m := t.msg; m != nil {
			all = append(all, taskRecord{m.event, m.id, m.wants, m.acked.Load(), m.raw, m.buffers})
		}
	}
	return all
}

// forget forgets what export has sent, without a word to anybody: handlers do not see
// sockets leave, clients are not told, nothing is kept for recovery, and other servers do
// not hear of rooms that are empty. Who waits for an answer is told ErrClosed.
func (sh *shard) forget() {
	for _, es := range sh.given {
		for slot := es.User() &^ userFlags; slot != 0; slot = es.User() &^ userFlags {
			sh.forgetSocket(es, slot)
		}
		sh.forgetAssembly(es)
		delete(sh.requests, es.Ref())
		delete(sh.replayed, es.Ref())
		sh.justEnded.Forget(es)
		sh.srv.conns.Take(es.Ref())
	}
	sh.given = nil
	sh.srv.eio.Forget(sh.loop)
	sh.arrivals.queue = slices.DeleteFunc(sh.arrivals.queue, func(q arrival) bool { return !q.waits(sh) })
}

func (sh *shard) forgetSocket(es eio.Session, slot uint32) {
	ref := sh.ref(slot)
	sh.srv.seq.handedOn(sh, slot)
	sh.giveBack(slot)
	if x := sh.exts[slot]; x != nil && x.inbox != nil {
		x.inbox.clear()
	}
	sh.unlink(es, slot)
	sh.sockets.At(slot).state = leaving
	sh.local.Remove(slot)
	sh.failAcks(slot)
	sh.free(slot)
	sh.srv.forget(ref)
}

// clear forgets all that waits.
func (b *inbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget()
	b.tasks.Drop(func(t *task) bool {
		b.done(t)
		b.sh.tally.Backlog.Tasks--
		return true
	})
}

func (q *recovering) handedOn(sh *shard, slot uint32) {
	sh.loop.Check()
	delete(sh.claims, slot)
	delete(sh.resumed, slot)
	q.forgetName(sh, slot, q.pid(sh.ref(slot)))
}
