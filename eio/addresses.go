package eio

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
)

// Options.MaxConnsPerIP bounds two things of one address, each by itself: connections
// that it is the peer of, and sessions whose client has it. Behind a proxy, whose
// connections are nobody's, it is the sessions alone.
//
// A connection too many is there until it has its answer: who does not ask for it has
// HeadTimeout, and of those there are as many as of the others.
//
// It is 429, not 503 as for what the whole server has too little of: stock clients back
// off after either, but proxies and balancers take 503 for a server that fails. They
// would ask the next one, and leave this one out, for one client that wants too much.

// overWait is how long a connection is waited for that is far too many, but may be
// another node's.
const overWait = time.Second

// A peer is what a connection is counted for.
type peer struct {
	addr packedAddr
	over bool // it is one too many
}

// countPeer counts a connection, if there is a bound, for its peer's address.
func (sh *shard) countPeer(h *httpConn) {
	srv, most := sh.srv, sh.srv.o.MaxConnsPerIP
	if most == 0 {
		return
	}
	if _, counted := sh.peers[h.conn.Key()]; counted {
		return
	}
	a := network(h.conn.RemoteAddr().Addr())
	if !a.IsValid() {
		return
	}
	p := peer{addr: packAddr(netip.AddrPortFrom(a, 0))}
	p.over = !srv.peers.add(a, most)
	switch {
	case !p.over || srv.overs.add(a, most):
	case h.state == stateIdle && srv.o.Proven == nil:
		sh.tally.PerIPConns++
		sh.crowded(h, "too many connections of one address")
		h.conn.Abort()
		return
	default: // its request is there, or it may be another node's
		srv.overs.add(a, 0)
		if h.state == stateIdle {
			sh.deadline(h, min(overWait, srv.o.HeadTimeout))
		}
	}
	if sh.peers == nil {
		sh.peers = map[handle.Key]peer{}
	}
	sh.peers[h.conn.Key()] = p
}

// forgetPeer ends countPeer.
func (sh *shard) forgetPeer(c loop.Conn) {
	p, counted := sh.peers[c.Key()]
	if !counted {
		return
	}
	if delete(sh.peers, c.Key()); len(sh.peers) == 0 {
		sh.peers = nil // a map never gets smaller
	}
	if p.over {
		sh.srv.overs.remove(p.addr.unpack().Addr())
	} else {
		sh.srv.peers.remove(p.addr.unpack().Addr())
	}
}

// hasConn tells whether a request came on a connection that its address may have. If not,
// it has been refused. Another node's may.
func (sh *shard) hasConn(h *httpConn) bool {
	if sh.srv.o.MaxConnsPerIP == 0 {
		return true
	}
	if h.client.IsValid() {
		sh.forgetPeer(h.conn) // it is a proxy's
		return true
	}
	sh.countPeer(h)
	if !sh.peers[h.conn.Key()].over {
		return true
	}
	if claim := h.req.Get(ForwardedHeader); claim != nil && sh.srv.o.Proven != nil && sh.proven(h.req, claim) {
		return true
	}
	sh.tally.PerIPConns++
	sh.crowded(h, "too many connections of one address")
	sh.answerCrowded(h)
	return false
}

// reserve counts a session that is about to be opened for its client's address, which
// newSession gives to it. It is false if that has too many; the request has been refused.
func (sh *shard) reserve(h *httpConn) (a netip.Addr, ok bool) {
	most := sh.srv.o.MaxConnsPerIP
	if most == 0 {
		return a, true
	}
	if a = network(sh.clientAddr(h).Addr()); !a.IsValid() || sh.srv.owners.add(a, most) {
		return a, true
	}
	sh.tally.PerIPSessions++
	sh.crowded(h, "too many sessions of one address")
	sh.answerCrowded(h)
	return a, false
}

// owns notes that a session is counted for an address.
func (sh *shard) owns(slot uint32, a netip.Addr) {
	if !a.IsValid() {
		return
	}
	if sh.owners == nil {
		sh.owners = map[uint32]packedAddr{}
	}
	sh.owners[slot] = packAddr(netip.AddrPortFrom(a, 0))
}

// disown ends owns.
func (sh *shard) disown(slot uint32) {
	a, owned := sh.owners[slot]
	if !owned {
		return
	}
	sh.srv.owners.remove(a.unpack().Addr())
	if delete(sh.owners, slot); len(sh.owners) == 0 {
		sh.owners = nil
	}
}

// crowded says in the log that an address has too many.
func (sh *shard) crowded(h *httpConn, what string) {
	sh.srv.notice.Warn(what, "flag", "--max-conns-per-ip", "max-conns-per-ip", sh.srv.o.MaxConnsPerIP, "address", addrText(sh.clientAddr(h)))
}

func (sh *shard) answerCrowded(h *httpConn) {
	sh.answer(h, http.StatusTooManyRequests,
		[]http1.Field{{Name: []byte("Retry-After"), Value: strconv.AppendInt(nil, retryAfter, 10)}}, nil, true)
}
