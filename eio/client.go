package eio

import (
	"net/netip"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// The address of a client is its connection's peer's, which the kernel knows, unless
// Options.ClientAddr says something else of a request. That is kept with the exchange,
// and with its session: by slot, for those sessions alone.

// A packedAddr is an address and a port without pointers, so that the garbage
// collector does not look at a map of them. Those of IPv4 are mapped.
type packedAddr struct {
	ip   [16]byte
	port uint16
}

func packAddr(a netip.AddrPort) packedAddr { return packedAddr{a.Addr().As16(), a.Port()} }

func (p packedAddr) unpack() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(p.ip).Unmap(), p.port)
}

// askClient returns the address of the client of a request, the zero AddrPort if it
// is the peer's.
func (sh *shard) askClient(c loop.Conn, r *http1.Request) netip.AddrPort {
	ask := sh.srv.o.ClientAddr
	if ask == nil {
		return netip.AddrPort{}
	}
	peer := c.RemoteAddr()
	a := ask(peer, r)
	a = netip.AddrPortFrom(a.Addr().WithZone("").Unmap(), a.Port())
	if !a.IsValid() || a == peer {
		return netip.AddrPort{}
	}
	return a
}

// clientAddr returns the address of the client that a request is of.
func (sh *shard) clientAddr(h *httpConn) netip.AddrPort {
	if h.client.IsValid() {
		return h.client
	}
	return h.conn.RemoteAddr()
}

// keepClient notes the address of the latest request of a session, the zero AddrPort
// if it is the peer's.
func (sh *shard) keepClient(slot uint32, a netip.AddrPort) {
	s := sh.sessions.At(slot)
	if !a.IsValid() {
		if s.is(proxied) {
			s.unset(proxied)
			delete(sh.clients, slot)
		}
		return
	}
	s.set(proxied)
	if sh.clients == nil {
		sh.clients = map[uint32]packedAddr{}
	}
	sh.clients[slot] = packAddr(a)
}

// RemoteAddr returns the client's address; the zero AddrPort when no connection
// is open at this moment, or none that has an address. While polling it is the
// address of the latest request. See Options.ClientAddr.
func (s Session) RemoteAddr() netip.AddrPort {
	r := s.at()
	if r == nil {
		return netip.AddrPort{}
	}
	c := s.sh.transport(r).conn(s.slot)
	if r.is(proxied) && c.Valid() {
		return s.sh.clients[s.slot].unpack()
	}
	return c.RemoteAddr()
}

// addrText returns an address for the log.
func addrText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().String()
}
