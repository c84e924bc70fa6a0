package eio

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"github.com/sioedge/sioedge/loop"
)

// A polling session needs no descriptor, so that MaxConns does not bound how many
// there are. Three things do: MaxSessions bounds all sessions; MaxSessionsPerIP
// those over polling that have joined nothing yet, guests, by the address that
// opened them, and a sixteenth of it those that one connection opened; and who has
// never polled is not waited for as long as others (expectPoll).

// guestsPerConn is how many of an address's guests one connection may have opened,
// as a part of MaxSessionsPerIP.
const guestsPerConn = 16

// perAddress counts something by address: of IPv6 by the 64 bits that a network has.
// Addresses that have some of it alone are in it.
type perAddress struct {
	seed   maphash.Seed
	shards [64]struct {
		mu sync.Mutex // held for one look at of
		of map[netip.Addr]int
	}
}

func newPerAddress() *perAddress {
	g := &perAddress{seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].of = map[netip.Addr]int{}
	}
	return g
}

// add counts one of a, unless that has most already. A most of 0 is any number.
func (g *perAddress) add(a netip.Addr, most int) bool {
	s := &g.shards[maphash.Comparable(g.seed, a)%uint64(len(g.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.of[a]
	if most > 0 && n >= most {
		return false
	}
	s.of[a] = n + 1
	return true
}

func (g *perAddress) remove(a netip.Addr) {
	s := &g.shards[maphash.Comparable(g.seed, a)%uint64(len(g.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.of[a] - 1; n > 0 {
		s.of[a] = n
	} else {
		delete(s.of, a)
	}
}

// network returns what a client is counted by. It is the zero Addr for who
// has no address: behind a unix socket is a proxy, or a friend.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		a = netip.PrefixFrom(a.WithZone(""), 64).Masked().Addr()
	}
	return a
}

// A guest is what is remembered of a session over polling so that it can be one.
type guest struct {
	is     bool
	from   netip.Addr
	opener loop.Conn // zero when it has once joined something
}

// hasPlace tells whether there may be one more session. If not, the request has been
// refused.
func (sh *shard) hasPlace(h *httpConn) bool {
	o := &sh.srv.o
	if sh.srv.sessions.Load() < int64(o.MaxSessions) {
		return true
	}
	sh.srv.notice.Warn("too many sessions", "flag", "--max-sessions", "max-sessions", o.MaxSessions, "address", addrText(sh.clientAddr(h)))
	sh.full(h)
	return false
}

// addGuest makes a session, which has just been opened over polling, a guest. It is
// false if there are too many; then the request has been refused.
func (sh *shard) addGuest(h *httpConn) (g guest, ok bool) {
	o := &sh.srv.o
	g = guest{is: true, from: network(sh.clientAddr(h).Addr()), opener: h.conn}
	if (h.client.IsValid() || h.guests < max(o.MaxSessionsPerIP/guestsPerConn, 1)) &&
		(!g.from.IsValid() || sh.srv.guests.add(g.from, o.MaxSessionsPerIP)) {
		h.guests++
		return g, true
	}
	sh.tally.Guests++
	sh.srv.notice.Warn("too many sessions of one address or connection that have joined nothing",
		"flag", "--max-sessions-per-ip", "max-sessions-per-ip", o.MaxSessionsPerIP, "address", addrText(sh.clientAddr(h)))
	sh.answerUnavailable(h)
	return guest{}, false
}

// removeGuest ends that a session is a guest, if it is.
func (sh *shard) removeGuest(g *guest) {
	if !g.is {
		return
	}
	if g.from.IsValid() {
		sh.srv.guests.remove(g.from)
	}
	if h := sh.httpOf(g.opener); h != nil {
		h.guests--
	}
	g.is, g.opener = false, loop.Conn{}
}

// SetJoined tells that the session has joined something, or nothing any more: see
// Options.MaxSessionsPerIP. A new session has joined nothing.
func (s Session) SetJoined(joined bool) {
	r := s.at()
	if r == nil || r.is(closing|overWS) {
		return
	}
	e := s.sh.ext(s.slot)
	switch {
	case joined:
		s.sh.removeGuest(&e.guest)
	case !e.guest.is:
		if e.guest.is = true; e.guest.from.IsValid() {
			s.sh.srv.guests.add(e.guest.from, 0)
		}
	}
}

// expectPoll arms the end of a session that was opened over polling, unless its
// first ping comes before: the client's first poll is to come within the time that
// a connection's first request may take, or PingTimeout.
func (sh *shard) expectPoll(slot uint32) {
	o := &sh.srv.o
	if wait := max(o.PingTimeout, o.HeadTimeout); wait < o.PingInterval {
		sh.sessions.At(slot).set(awaitPoll)
		sh.deadlines.set(slot, sh.loop.Now()+wait.Milliseconds())
		sh.keepTurning()
	}
}

// polledFirst begins the heartbeat of a session whose client has come back.
func (sh *shard) polledFirst(slot uint32) {
	if s := sh.sessions.At(slot); s.is(awaitPoll) {
		s.unset(awaitPoll)
		sh.startHeartbeat(slot)
	}
}
