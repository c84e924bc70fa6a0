package bridge

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

// Ended takes the sockets from a process whose link has ended: see link.Handler. The events
// that it has not worked off are the first that another one gets.
func (b *Bridge) Ended(s *link.Session, why string, unworked []any) {
	b.mu.Lock()
	defer b.unlock()
	m := b.of(s)
	if m == nil {
		return
	}
	m.over = true
	b.members = slices.DeleteFunc(b.members, func(x *member) bool { return x == m })
	b.tally.ended.Add(1)
	b.o.Logger.Info("bridge: a process has gone", "bridge", b.name, "process", s.UID(), "why", why, "sockets", m.load)
	hit := b.takeBack(m, unworked)
	for _, x := range m.conns {
		if x.member == m {
			x.drained = m.draining
			b.wait(x)
		}
		if b.stopped {
			b.giveUp(x, &b.tally.stopped)
		}
	}
	for x := range hit {
		if !x.waits {
			b.wait(x) // of a connection that has ended meanwhile
		}
		if m.draining || b.stopped {
			continue
		}
		if x.deaths++; x.deaths >= b.mostDeaths {
			b.notice.Warn("bridge: a connection is closed because processes in a row have gone with its events", "bridge", b.name, "process", s.UID(), "links", x.deaths)
			b.giveUp(x, &b.tally.deadly)
		}
	}
	for _, cancel := range m.requests {
		cancel()
	}
	m.hasRoom()
	m.conns, m.socks, m.load, m.left, m.relays = nil, nil, 0, 0, nil
	b.tellPeers()
	b.kick()
}

// takeBack has sockets hold the events that their process has not worked off, in front of
// those that they hold. It returns whose connections they are. The lock is held.
func (b *Bridge) takeBack(m *member, unworked []any) (hit map[*seat]bool) {
	hit = map[*seat]bool{}
	var all []*socket
	for _, item := range unworked {
		e := item.(*event)
		k := e.k
		if k.member != m {
			b.recycle(e) // it has handed the socket over, and what it did with the event was that
			continue
		}
		if len(k.redo) == 0 {
			all = append(all, k)
		}
		k.redo = append(k.redo, e)
		k.x.held += e.size
		b.tally.redelivered.Add(1)
	}
	for _, k := range all {
		k.held = append(k.redo, k.held...)
		k.redo = nil
		if k.stage == gone { // it has left, and nobody may know what it said
			k.stage = open
			k.x.sockets = append(k.x.sockets, k)
		}
		hit[k.x] = true
	}
	return hit
}

// wait has a connection, which no process has any more, wait for one. The lock is held.
func (b *Bridge) wait(x *seat) {
	for _, k := range x.sockets {
		if k.stage != unasked || k.member != nil {
			k.admittedNow()
			k.member, k.number, k.stage = nil, 0, unasked
		}
	}
	x.member, x.number = nil, 0
	if len(x.sockets) == 0 {
		return
	}
	x.waits, x.since = true, time.Now()
	if !x.listed {
		x.listed = true
		b.waiting = append(b.waiting, x)
	}
	b.arm()
	b.kick()
}

// arm has expire called when the connection that waits longest has waited long enough. The
// lock is held.
func (b *Bridge) arm() {
	if x := b.first(); x != nil && !b.moving.held {
		b.expiry.Reset(time.Until(x.since.Add(b.settings.Load().Takeover)))
	}
}

// first returns the connection that waits longest, nil if none does. The lock is held.
func (b *Bridge) first() *seat {
	for len(b.waiting) > 0 {
		x := b.waiting[0]
		if x.waits {
			return x
		}
		x.listed = false
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
	}
	b.waiting = nil
	return nil
}

// expire closes the connections that have waited long enough.
func (b *Bridge) expire() {
	b.mu.Lock()
	defer b.unlock()
	if b.moving.held {
		return
	}
	n, most := 0, b.settings.Load().Takeover
	for x := b.first(); x != nil && time.Since(x.since) >= most; x = b.first() {
		b.giveUp(x, &b.tally.noProcess)
		n++
	}
	b.arm()
	if n > 0 {
		b.notice.Warn("bridge: connections are closed because no process is there", "bridge", b.name, "connections", n, "see", b.key+".takeover")
	}
}

// giveUp has a connection that waits closed. Its client comes back. The lock is held.
func (b *Bridge) giveUp(x *seat, count *atomic.Int64) {
	count.Add(1)
	x.waits = false
	all := x.sockets
	x.sockets = nil
	for _, k := range all {
		k.stage = gone
		b.release(k)
		k.admittedNow()
		k.decide(sio.ErrClosed)
		b.closing = append(b.closing, k.s)
	}
}

// kick has the mover open the connections that wait at processes that are there. The lock is
// held.
func (b *Bridge) kick() {
	if b.moves || b.moving.held || b.arrived != nil {
		return
	}
	if x, _ := b.nextMove(); x != nil {
		b.moves = true
		// ends when nothing waits, or there is no process
		go b.move()
	}
}

// nextMove returns a connection that waits, and the process that gets it; none if there is
// none of the one or the other. The lock is held.
func (b *Bridge) nextMove() (*seat, *member) {
	x := b.first()
	if x == nil {
		return nil, nil
	}
	m := b.choose(x.sockets[0])
	if m == nil {
		return nil, nil
	}
	return x, m
}

// move is the mover: it opens connections that wait, one after the other.
func (b *Bridge) move() {
	for {
		b.mu.Lock()
		x, m := b.nextMove()
		if x == nil || b.moving.held {
			b.moves = false
			b.unlock()
			return
		}
		var all []*socket
		for _, k := range x.sockets {
			if k.known && k.leaves == nil {
				all = append(all, k)
			}
		}
		b.unlock()
		rooms := map[*socket][]string{}
		for _, k := range all {
			rooms[k] = b.roomsOf(k)
		}
		b.mu.Lock()
		if x.waits && !m.over && !m.draining && !b.moving.held {
			b.open(x, m, rooms)
		}
		b.unlock()
	}
}

// open has a process have a connection that waits, with its sockets. The lock is held.
func (b *Bridge) open(x *seat, m *member, rooms map[*socket][]string) {
	b.give(x, m, true)
	known := false
	for _, k := range slices.Clone(x.sockets) {
		in := k.rooms
		if k.known && k.leaves == nil {
			in, known = rooms[k], true
		}
		n := 0
		for _, room := range in {
			n += len(room) + 5
		}
		if n += len(k.auth) + len(k.data.text()); b.long(n + 4<<10) {
			b.closing = append(b.closing, k.s) // it comes back without
			continue
		}
		b.tell(k, m, in, true)
	}
	switch {
	case !known:
	case x.drained:
		b.tally.takenDrained.Add(1)
	default:
		b.tally.takenEnded.Add(1)
	}
}

// drain has a process get nothing any more.
func (b *Bridge) drain(m *member) {
	b.mu.Lock()
	defer b.unlock()
	if m.draining {
		return
	}
	m.draining, m.drains = true, time.Now()
	b.o.Logger.Info("bridge: a process drains", "bridge", b.name, "process", m.s.UID(), "sockets", m.load)
	m.s.Put(nil, true, wire.AppendDrained)
	// It has the time for which clients may wait.
	time.AfterFunc(b.settings.Load().Takeover, func() { b.overdue(m) })
	for _, x := range m.conns {
		b.settle(x)
	}
}

// overdue takes the rest from a process that drains for too long: clients wait, since what
// they send does not go to it any more.
func (b *Bridge) overdue(m *member) {
	b.mu.Lock()
	left := m.load
	if b.moving.held {
		time.AfterFunc(time.Second, func() { b.overdue(m) })
		left = 0
	}
	b.unlock()
	if left > 0 {
		b.notice.Warn("bridge: a process that drains has not handed its sockets over in time, and they go to others as they are", "bridge", b.name, "process", m.s.UID(), "sockets", left, "see", b.key+".takeover")
		b.handedOver(m)
	}
}

// handOver takes a socket from a process that drains.
func (b *Bridge) handOver(m *member, number uint64, data []byte) {
	b.mu.Lock()
	defer b.unlock()
	k := m.socks[number]
	if k == nil || k.member != m || k.number != number || !m.draining {
		b.tally.unknown.Add(1)
		return
	}
	if k.stage == gone {
		b.closed(m, k, data)
		return
	}
	b.setData(k, data)
	b.tearOff(m, k)
}

// tearOff takes a socket from a process, which may still emit to it. The lock is held.
func (b *Bridge) tearOff(m *member, k *socket) {
	if k.stage == asked && !k.known {
		delete(m.socks, k.number)
	}
	k.admittedNow()
	k.member, k.number, k.stage = nil, 0, unasked
	m.load--
	b.settle(k.x)
}

// handedOver takes the rest from a process that drains.
func (b *Bridge) handedOver(m *member) {
	b.mu.Lock()
	defer b.unlock()
	if !m.draining {
		b.tally.unknown.Add(1)
		return
	}
	for number, k := range m.socks {
		if k.member == m && k.number == number && k.stage != gone {
			b.tearOff(m, k)
		}
	}
}
