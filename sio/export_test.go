package sio

import (
	"math"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/notice"
)

// Held counts what the server keeps for its clients, on all loops together: all
// zero when there are none. Inboxes are kept for a while after their use, and
// arrivals for ConnectTimeout; both are left out.
func (srv *Server) Held() map[string]int {
	held := map[string]int{}
	for _, sh := range srv.shards {
		count := func() {
			held["sockets"] += sh.sockets.Len()
			held["sessions"] += srv.eio.Count(sh.loop)
			held["extensions"] += len(sh.exts)
			held["assemblers"] += len(sh.assemblies)
			held["brought"] += len(sh.brought)
			held["handshakes"] += len(sh.requests)
			held["crossings"] += sh.justEnded.Len()
			held["recoveries"] += len(sh.claims) + len(sh.resumed) + len(sh.replayed)
			held["instances"] += len(sh.places)
		}
		if !sh.loop.Ask(count) {
			count() // the loop has ended
		}
	}
	for i := range srv.details.shards {
		d := &srv.details.shards[i]
		d.mu.Lock()
		held["details"] += len(d.m)
		d.mu.Unlock()
	}
	if q, ok := srv.seq.(interface{ Named() int }); ok {
		held["recoveries"] += q.Named()
	}
	held["given ids"] = srv.given.Len()
	held["values"] = srv.values.Len()
	held["connections' values"] = srv.conns.Len() + srv.partings.Len()
	srv.registry.mu.Lock()
	held["patterns' namespaces"] = len(srv.registry.live)
	last := srv.registry.last
	srv.registry.mu.Unlock()
	for id := range last + 1 {
		held["members"] += srv.rooms.CountAll(id)
		held["rooms"] += len(srv.rooms.Names(id))
	}
	return held
}

// NoticeOnce has the server's lines about a cause written once. It is called before
// there are clients.
func (srv *Server) NoticeOnce() { *srv.notice = *notice.New(srv.o.Logger, math.MaxInt64) }

// Guard has memory be what sample says, and looks at it when look is called.
func (srv *Server) Guard(sample func() int64) (look func()) {
	srv.memory.Sample = sample
	return srv.memory.Look
}

// Inboxes counts the inboxes, with those that are not freed yet.
func (srv *Server) Inboxes() (n int) {
	for _, sh := range srv.shards {
		sh.loop.Ask(func() { n += len(sh.inboxes) })
	}
	return n
}

// Writable tells whether a volatile event would be sent to the socket: over
// polling, whether a poll waits.
func (s Socket) Writable() (ok bool) {
	s.ask(func(sh *shard, slot uint32) { ok = sh.session(slot).Writable() })
	return ok
}

// AwaitRunning waits until the loops run.
func (srv *Server) AwaitRunning() {
	for !srv.served.Load() {
		runtime.Gosched()
	}
	for _, sh := range srv.shards {
		sh.loop.Ask(func() {})
	}
}

// Wear has new slots of all loops' sockets begin that many generations before
// their last, and Retired counts those that have come to their end.
func (srv *Server) Wear(left uint32) {
	for _, sh := range srv.shards {
		sh.loop.Ask(func() { sh.sockets.Age = handle.MaxGen - left })
	}
}

func (srv *Server) Retired() (n int) {
	for _, sh := range srv.shards {
		sh.loop.Ask(func() { n += sh.sockets.Retired() })
	}
	return n
}

// WearIDs has the ids of the instances of namespaces come to their end.
func (srv *Server) WearIDs() {
	srv.registry.mu.Lock()
	srv.registry.last = math.MaxUint32 - 1
	srv.registry.mu.Unlock()
}

// LimitSockets bounds the slots of each loop's sockets.
func (srv *Server) LimitSockets(n uint32) {
	for _, sh := range srv.shards {
		sh.loop.Ask(func() { sh.sockets.Limit = n })
	}
}

// RecordSize returns the size and the alignment of a socket's record.
func RecordSize() (size, align uintptr) { return unsafe.Sizeof(record{}), unsafe.Alignof(record{}) }

// LoopIndex names the loop that the socket is on.
func (s Socket) LoopIndex() string { return strconv.Itoa(s.ref.Loop()) }

// MemoryInUse is what the guard of memory looks at.
func (srv *Server) MemoryInUse() int64 { return srv.memory.Sample() }

// Ahead returns the bytes of events of a lane that wait for the cluster's log, and
// of those that were delivered before they were read.
func (srv *Server) Ahead(name string) (waiting, ahead int) {
	q := srv.seq.(*clustered)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.log.Lane(name).Held()
}

// Named counts the sockets with a private id that is not that of their Ref.
func (q *recovering) Named() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.named)
}

// LastPlace returns the place of the newest entry in the log.
func (srv *Server) LastPlace() uint64 {
	q := srv.seq.(*logged)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.log.Last()
}

// Proven returns the place up to which the socket's client has had everything.
func (s Socket) Proven() (place uint64) {
	s.ask(func(sh *shard, slot uint32) { place = sh.srv.seq.proven(sh, slot) })
	return place
}

// Members counts the sockets in a room of a literal namespace.
func (srv *Server) Members(namespace, room string) int {
	return srv.rooms.Count(srv.registry.called(namespace).id, room)
}

// Slot returns the slot of a socket, for its loop alone.
func (s Socket) Slot() uint32 { return s.shard().lookup(s.ref) }

// SetWall has deadlines judged by now. It is called before the server serves.
func (srv *Server) SetWall(now func() time.Time) { srv.wall = now }

// Deadlines counts the sockets of all loops that have one.
func (srv *Server) Deadlines() (n int) {
	for _, sh := range srv.shards {
		sh.loop.Ask(func() { n += sh.deadlines.Len() })
	}
	return n
}

// Stuff fills the mailboxes of all loops with what is for nobody.
func (srv *Server) Stuff() {
	for _, sh := range srv.shards {
		for range 17 {
			sh.loop.Mail(0, 0, make([]byte, 1<<20), nil)
		}
	}
}

// Server returns the one that the namespace is of.
func (n *Namespace) Server() *Server { return n.srv }

// Passed returns the names of options that are passed on, here and in Engine.
func Passed() (names [][2]string) {
	for _, p := range passed {
		names = append(names, [2]string{p.name, p.engine})
	}
	return names
}

// Complete returns o as New takes it.
func Complete(o Options) (Options, error) { return o.complete() }

// Holds tells whether handlers are held; Parked counts the inboxes that wait for that.
func (srv *Server) Holds() bool { return srv.hold.on.Load() }

func (srv *Server) Parked() int {
	srv.hold.mu.Lock()
	defer srv.hold.mu.Unlock()
	return len(srv.hold.parked)
}
