package sio

import (
	"encoding/json"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/parser"
)

// A claim is a socket that is being recovered: its CONNECT has been read, its
// middlewares may be running.
type claim struct {
	saved *savedSocket
	from  uint64   // what it has missed begins behind this place
	watch *watcher // has what it has missed, if a cluster keeps that; else nil
}

// recoveryRequest returns what a client that wants its session back sends with
// its auth. The offset is missing as long as it has received no event.
func recoveryRequest(auth []byte) (pid string, offset *string, ok bool) {
	var r struct {
		PID    *string `json:"pid"`
		Offset *string `json:"offset"`
	}
	if len(auth) == 0 || json.Unmarshal(auth, &r) != nil || r.PID == nil {
		return "", nil, false
	}
	return *r.PID, r.Offset, true
}

// recover tries to make slot, which is connecting, the socket that its client had
// before. It is false if the client does not ask for that, or cannot have it.
// Otherwise the connection goes on, here or by a later task.
func (sh *shard) recover(es eio.Session, slot uint32, auth []byte) bool {
	pid, offset, ok := recoveryRequest(auth)
	if !ok {
		return false
	}
	if old := sh.srv.holder(pid); old != 0 {
		sh.evict(old, sh.ref(slot), pid, offset)
		return true
	}
	return sh.regain(es, slot, pid, offset)
}

// regain is recover when nobody has the socket any more.
func (sh *shard) regain(es eio.Session, slot uint32, pid string, offset *string) bool {
	if sh.srv.shared != nil {
		sh.fetch(slot, pid, offset)
		return true
	}
	saved, from := sh.srv.log.claim(sh.instance(slot).name, pid, offset)
	if saved == nil {
		return false
	}
	sh.claimed(es, slot, claim{saved: saved, from: from})
	return true
}

// holder returns the socket that has a pid at this moment, 0 if none has.
func (srv *Server) holder(pid string) rooms.Ref {
	srv.log.mu.Lock()
	ref, ok := srv.log.named[pid]
	srv.log.mu.Unlock()
	if !ok {
		x, mine := srv.pids.Parse([]byte(pid))
		if !mine {
			return 0
		}
		ref = rooms.Ref(x)
	}
	if ref.Loop() >= len(srv.shards) || !srv.shards[ref.Loop()].sockets.Is(ref.Slot(), ref.Gen()) {
		return 0
	}
	return ref
}

// evict ends the session of a socket whose client has come back before we
// noticed that it was gone, and then goes on with its newcomer.
func (sh *shard) evict(old, newcomer rooms.Ref, pid string, offset *string) {
	from := sh.srv.shards[old.Loop()]
	proceed := loop.TaskFunc(func(*loop.Loop) {
		slot := sh.lookup(newcomer)
		if slot == 0 {
			return
		}
		es := sh.session(slot)
		if !sh.regain(es, slot, pid, offset) {
			sh.enterNamespace(es, slot)
		}
	})
	from.loop.Post(loop.TaskFunc(func(*loop.Loop) {
		if slot := from.lookup(old); slot != 0 && old != newcomer {
			from.session(slot).Close()
		}
		sh.loop.Post(proceed)
	}))
}

// claimed gives a connecting socket what it had, and has it admitted.
func (sh *shard) claimed(es eio.Session, slot uint32, c claim) {
	saved := c.saved
	sh.claims[slot] = c
	sh.rename(slot, saved.id)
	sh.srv.details.edit(sh.ref(slot), func(d *detail) {
		d.pid, d.data, d.recovered = saved.pid, saved.data, true
	})
	if sh.srv.o.Recovery.RunMiddlewares {
		sh.enterNamespace(es, slot)
		return
	}
	sh.resume(slot)
}

// resume posts the rest of a recovery: behind everything that was emitted until
// now, which is replayed, and before what will be, which is delivered.
func (sh *shard) resume(slot uint32) {
	c, log, in := sh.claims[slot], sh.srv.log, sh.instance(slot)
	log.mu.Lock()
	var missed []*message
	var ok bool
	if c.watch != nil {
		missed, ok = sh.srv.shared.end(c.watch)
	} else {
		missed, ok = log.missed(c.saved, c.from)
	}
	if !ok {
		log.mu.Unlock()
		sh.unname(slot)
		sh.begin(slot)
		return
	}
	log.named[c.saved.pid] = sh.ref(slot)
	for _, room := range c.saved.rooms {
		sh.srv.rooms.Expect(sh.loop.Index(), in.id, room)
	}
	sh.srv.rooms.Expect(sh.loop.Index(), in.id, c.saved.id)
	ref := sh.ref(slot)
	wake := sh.loop.PostQuiet(loop.TaskFunc(func(*loop.Loop) { sh.restore(ref, in, c, missed) }))
	log.mu.Unlock()
	if wake {
		sh.loop.Wake()
	}
}

// begin posts the acceptance of a new socket: behind everything that was emitted
// until now, which it does not get, and before what will be, which it may come
// back for.
func (sh *shard) begin(slot uint32) {
	ref, log := sh.ref(slot), sh.srv.log
	log.mu.Lock()
	start := log.last()
	if sh.srv.shared != nil {
		start = uint64(sh.srv.shared.of(sh.instance(slot).name).last)
	}
	wake := sh.loop.PostQuiet(loop.TaskFunc(func(*loop.Loop) {
		if slot := sh.lookup(ref); slot != 0 && sh.sockets.At(slot).state == connecting {
			sh.sockets.At(slot).start = positionOf(start)
			sh.accept(sh.session(slot), slot, sh.instance(slot).ns.table.Load())
		}
	}))
	log.mu.Unlock()
	if wake {
		sh.loop.Wake()
	}
}

// restore connects a recovered socket: into its rooms, what it missed, and then
// the answer to its CONNECT, until which the client keeps the events back.
func (sh *shard) restore(ref rooms.Ref, in *instance, c claim, missed []*message) {
	slot := sh.lookup(ref)
	alive := slot != 0 && sh.sockets.At(slot).state == connecting
	for _, room := range append(c.saved.rooms, c.saved.id) {
		if alive {
			if sh.local.Join(slot, in.id, room) && room != c.saved.id && sh.srv.o.MaxRooms > 0 {
				sh.sockets.At(slot).rooms++
			}
		}
		sh.local.Arrived(in.id, room)
	}
	if !alive {
		return
	}
	delete(sh.claims, slot)
	sh.sockets.At(slot).start = positionOf(c.saved.from)
	es := sh.session(slot)
	for _, p := range missed {
		if p := p.to(es); p != nil {
			es.SendPrepared(p, false)
		}
	}
	sh.accept(es, slot, in.ns.table.Load())
}

// unname makes a socket whose recovery failed an ordinary one.
func (sh *shard) unname(slot uint32) {
	delete(sh.claims, slot)
	sh.rename(slot, "")
	sh.srv.details.edit(sh.ref(slot), func(d *detail) { d.pid, d.data, d.recovered = "", nil, false })
}

// giveUp puts back what a socket has claimed that goes while it is connecting.
func (sh *shard) giveUp(slot uint32) {
	if c, ok := sh.claims[slot]; ok {
		delete(sh.claims, slot)
		sh.forgetName(c.saved.pid)
		if c.watch != nil {
			sh.srv.shared.giveBack(c.watch)
			return
		}
		sh.srv.log.unclaim(c.saved)
	}
}

// forfeit forgets what a socket has claimed that is refused.
func (sh *shard) forfeit(slot uint32) {
	if c := sh.claims[slot]; c.watch != nil {
		sh.srv.shared.abandon(c.watch)
	}
	delete(sh.claims, slot)
}

func (sh *shard) forgetName(pid string) {
	sh.srv.log.mu.Lock()
	delete(sh.srv.log.named, pid)
	sh.srv.log.mu.Unlock()
}

// remember keeps a socket that leaves for a reason after which it may come back.
func (sh *shard) remember(slot uint32, reason Reason) {
	if sh.srv.log == nil || sh.srv.isOld(sh.session(slot)) {
		return // or it does not know how to come back
	}
	s := sh.socket(slot)
	pid := sh.srv.pid(s.ref)
	sh.forgetName(pid)
	if !recoverable(reason) {
		return
	}
	x := &savedSocket{
		name: s.in.name, id: s.ID(), pid: pid, ref: s.ref, data: s.Data(), from: sh.sockets.At(slot).start.get(),
	}
	for _, room := range sh.local.Rooms(slot) {
		if room != x.id {
			x.rooms = append(x.rooms, room)
		}
	}
	if sh.srv.shared != nil {
		sh.srv.shared.keep(s, x)
		return
	}
	sh.srv.log.save(x)
}

// pid returns the private id that a socket's client asks for it with.
func (srv *Server) pid(ref rooms.Ref) string {
	if d := srv.details.get(ref); d != nil && d.pid != "" {
		return d.pid
	}
	return string(srv.pids.Append(nil, uint64(ref)))
}

// Recovered tells whether the socket is one that its client had before, with
// what it missed delivered.
func (s Socket) Recovered() bool {
	d := s.srv().details.get(s.ref)
	return d != nil && d.recovered
}

// Recoveries returns what became of attempts to recover.
func (srv *Server) Recoveries() Recoveries {
	if srv.log == nil {
		return Recoveries{}
	}
	srv.log.mu.Lock()
	defer srv.log.mu.Unlock()
	return srv.log.counts
}

// frameLogged returns the frames of an event with an offset as its last argument.
// The offset is where in frames it is to be written.
func frameLogged(namespace string, e rooms.Event) (frames, offset []byte) {
	buf := packets.Get()
	defer packets.Put(buf)
	buf.B = parser.AppendHead(buf.B[:0], parser.Event, len(e.Attachments), namespace, 0, false)
	buf.B = append(buf.B, e.Data[:len(e.Data)-1]...)
	buf.B = append(buf.B, `,"`+blankOffset+`"]`...)
	frames = appendFrames(nil, buf.B, nil)
	end := len(frames) - len(`"]`)
	return appendFrames(frames, nil, e.Attachments), frames[end-offsetLen : end]
}

// endsInString tells whether a client would take the last argument of an event,
// or its name, for an offset.
func endsInString(data []byte) bool { return len(data) > 1 && data[len(data)-2] == '"' }

// deliverLogged is deliver for one instance where events are kept.
func (b BroadcastOperator) deliverLogged(in *instance, e rooms.Event) {
	frames, offset := frameLogged(in.name, e)
	srv := b.server()
	d := &delivery{srv: srv, b: b.broadcast(in, frames)}
	srv.log.mu.Lock()
	if e.Volatile {
		// Not kept. But it must not take the place of the last offset that
		// the client has, so it repeats that.
		srv.log.write(offset, srv.log.last())
	} else {
		srv.log.append(d.b, in.name, offset)
	}
	wake := srv.post(d)
	srv.log.mu.Unlock()
	srv.wake(wake)
}

// emitLogged is Emit where events are kept.
func (s Socket) emitLogged(event string, args []any, plain bool) error {
	if s.gone() {
		return ErrClosed
	}
	e, err := encodeEvent(event, args)
	if err != nil {
		return err
	}
	frames, offset := frameLogged(s.in.name, e)
	log := s.srv().log
	log.mu.Lock()
	defer log.mu.Unlock()
	log.append(&rooms.Broadcast{ToRefs: []rooms.Ref{s.ref}, Message: newMessage(frames, plain), Size: len(frames)}, s.in.name, offset)
	if !s.shard().loop.Mail(uint64(s.ref), mailKind(plain), frames, nil) {
		return ErrClosed
	}
	return nil
}
