package sio

import (
	"context"
	"iter"
	"slices"

	"github.com/sioedge/sioedge/rooms"
)

// Count is that of [Namespace.All].
func (n *Namespace) Count() int { return n.All().Count() }

// Count returns how many connected sockets are addressed, those of this server. For
// the whole namespace, or one room of it, nobody is asked: the numbers are kept, and
// what the caller has asked for a moment ago may not have happened yet. For all else
// (several rooms, Except, a socket's own operators, a socket's id) every loop is
// asked, which counts by bits and takes microseconds, and waited for. A socket that
// leaves counts until its OnDisconnecting functions have returned.
func (b BroadcastOperator) Count() (n int) {
	srv, targets := b.server(), b.targets()
	if kept := len(b.to) <= 1 && len(b.except) == 0 && b.sender == 0; kept {
		if len(b.to) == 0 {
			for _, in := range targets {
				n += srv.rooms.CountAll(in.id)
			}
			return n
		}
		if _, id := srv.ids.Parse([]byte(b.to[0])); !id {
			for _, in := range targets {
				n += srv.rooms.Count(in.id, b.to[0])
			}
			return n
		}
	}
	srv.seq.settle(b.address())
	for _, sh := range srv.shards {
		sh.loop.Ask(func() {
			for _, in := range targets {
				if b.direct {
					n += len(sh.matching(b, in))
				} else {
					n += sh.local.Count(b.addressees(in))
				}
			}
		})
	}
	return n
}

// CountAll is Count over all servers of the cluster. It waits for the others, or for
// ctx; errors are as in [BroadcastOperator.FetchSockets], with the number of those
// that are known. Servers of this kind answer with a number; those of Node can only
// be asked for all that they know of their sockets, which are counted here.
func (b BroadcastOperator) CountAll(ctx context.Context) (int, error) {
	if b.server().waits() {
		return 0, ErrInline
	}
	n := b.Count()
	c, t := b.cluster()
	if c == nil {
		return n, nil
	}
	more, err := c.(rooms.Counter).Count(ctx, t) // which confine adds to those that cannot
	return n + more, err
}

// RoomCounts yields the rooms of the instances that b addresses with the numbers of
// their connected sockets on this server, in no order; the rooms of b do not matter,
// and sockets' own rooms are not among them. It takes a part of the rooms at a time:
// one that is there throughout is yielded once (of a namespace with parameters, once
// for each instance), one that comes or goes meanwhile may be.
func (b BroadcastOperator) RoomCounts() iter.Seq2[string, int] {
	return func(yield func(room string, sockets int) bool) {
		srv, more := b.server(), true
		for _, in := range b.targets() {
			srv.rooms.Each(in.id, func(part []rooms.RoomCount) bool {
				for _, r := range part {
					if _, own := srv.ids.Parse([]byte(r.Name)); !own && more {
						more = yield(r.Name, r.Count)
					}
				}
				return more
			})
			if !more {
				return
			}
		}
	}
}

// Namespaces returns the namespaces that have been made, with those of patterns and
// functions, in the order in which a name is looked up among these.
func (srv *Server) Namespaces() []*Namespace { return slices.Clone(*srv.registry.all.Load()) }

// Instances returns the names of the namespace's instances that are live, in no
// order: its own, or of one with parameters, those that have sockets on this server.
func (n *Namespace) Instances() []string {
	var names []string
	for _, in := range n.srv.registry.of(n) {
		names = append(names, in.name)
	}
	return names
}

// Lookup returns the socket of this server that has an id, also one that was
// recovered and has it from before. It is false if there is none, or none that is
// connected, in any of the namespace's instances; id may be anything. It asks the
// loop of the socket, and waits. [BroadcastOperator.FetchSockets] of To(id) finds one
// on any server.
func (n *Namespace) Lookup(id string) (s Socket, ok bool) {
	srv := n.srv
	take := func(sh *shard, slot uint32) bool {
		if !ok && sh.sockets.At(slot).state == connected && sh.instance(slot).ns == n && sh.id(slot) == id {
			s, ok = sh.socket(slot), true
		}
		return !ok
	}
	srv.seq.settle(n.name)
	if x, mine := srv.ids.Parse([]byte(id)); mine && rooms.Ref(x).Loop() < len(srv.shards) {
		sh := srv.shards[rooms.Ref(x).Loop()]
		sh.loop.Ask(func() {
			if slot := sh.lookup(rooms.Ref(x)); slot != 0 {
				take(sh, slot)
			}
		})
	}
	if ok || !srv.named.Load() || len(id) > maxRoomName {
		return s, ok
	}
	// Whoever has an id that is not its Ref's is in the room of that name.
	for _, in := range srv.registry.of(n) {
		srv.rooms.Loops(in.id, id, func(i int) {
			sh := srv.shards[i]
			sh.loop.Ask(func() {
				sh.local.EachIn(in.id, id, func(slot uint32) bool { return take(sh, slot) })
			})
		})
	}
	return s, ok
}

// Pages yields the sockets addressed as [BroadcastOperator.FetchSockets] returns
// them, at most size at a time (zero means 100), those of this server first. Of these
// no more than a page is in memory, and between pages they go on living: one that is
// there throughout, and in the rooms, is in exactly one page, one that comes or goes
// meanwhile may be in one. A page is the caller's. Those of other servers come when all
// have answered, a server's together, since that is how they can be asked. An error
// comes with no page and ends it: that of ctx, of FetchSockets, or ErrInline on a loop.
func (b BroadcastOperator) Pages(ctx context.Context, size int) iter.Seq2[[]RemoteSocket, error] {
	if size <= 0 {
		size = 100
	}
	return func(yield func([]RemoteSocket, error) bool) {
		if b.server().waits() {
			yield(nil, ErrInline)
			return
		}
		b.server().seq.settle(b.address())
		for page := range b.pages(size) {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) {
				return
			}
		}
		c, t := b.cluster()
		if c == nil {
			return
		}
		members, err := c.Members(ctx, t)
		for part := range slices.Chunk(members, size) {
			if !yield(b.remote(part), nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// pages yields the sockets of this server, in pages that are full but for the last.
func (b BroadcastOperator) pages(size int) iter.Seq[[]RemoteSocket] {
	return func(yield func([]RemoteSocket) bool) {
		var page []rooms.Member
		for _, in := range b.targets() {
			for _, sh := range b.server().shards {
				for from, more := uint32(0), true; more; {
					var here []member
					want := min(size-len(page), operatorStep)
					sh.loop.Ask(func() { here, from = sh.members(b, in, from, want) })
					for _, m := range here {
						page = append(page, m.described())
					}
					if more = from != 0; len(page) == size {
						if !yield(b.remote(page)) {
							return
						}
						page = nil
					}
				}
			}
		}
		if len(page) > 0 {
			yield(b.remote(page))
		}
	}
}

// members returns up to most of this loop's sockets that b addresses in an instance,
// from a slot on, and where to go on; 0: nowhere.
func (sh *shard) members(b BroadcastOperator, in *instance, from uint32, most int) (all []member, next uint32) {
	var slots []uint32
	if b.direct {
		slots = sh.matching(b, in)
	} else {
		slots = sh.local.Members(b.addressees(in), from, make([]uint32, 0, most))
	}
	for _, slot := range slots {
		if sh.sockets.At(slot).state == connected {
			all = append(all, sh.member(slot))
		}
	}
	if b.direct || len(slots) < most {
		return all, 0
	}
	return all, slots[len(slots)-1] + 1
}
