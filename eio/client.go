package eio

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// The address of a client is its connection's peer's, which the kernel knows, unless
// Options.Via says something else of a request. That is kept with the exchange, and with
// its session: by slot, for those sessions alone.

// A Via is where a request has come from: what its connection says, or proxies in front.
type Via struct {
	// Client is the client's address; the zero one if it has none, on a unix socket.
	Client netip.AddrPort
	// Secure tells whether the client's connection is encrypted: up to this process, or
	// up to the first proxy.
	Secure bool
	// Host is the host, with its port, that the client has asked for. A view.
	Host []byte
}

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

// resolve returns where a request has come from, and has r say which host it is for. The
// zero AddrPort is the peer's.
func (sh *shard) resolve(c loop.Conn, r *http1.Request) (client netip.AddrPort, secure bool) {
	if k, ok := c.Link().(interface{ Secure() bool }); ok {
		secure = k.Secure()
	}
	if sh.srv.o.Via == nil {
		return netip.AddrPort{}, secure
	}
	peer := c.RemoteAddr()
	v := sh.srv.o.Via(Via{peer, secure, r.Host}, r)
	if len(v.Host) > 0 && http1.ValidHost(v.Host) {
		r.Host = v.Host
	}
	a := netip.AddrPortFrom(v.Client.Addr().WithZone("").Unmap(), v.Client.Port())
	if !a.IsValid() || a == peer {
		a = netip.AddrPort{}
	}
	return a, v.Secure
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
// address of the latest request. See Options.Via.
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

// PeerAddr is RemoteAddr whatever Options.Via says: the address of the other end
// of the connection, such as a proxy's.
func (s Session) PeerAddr() netip.AddrPort {
	r := s.at()
	if r == nil {
		return netip.AddrPort{}
	}
	return s.sh.transport(r).conn(s.slot).RemoteAddr()
}

// Secure tells whether the client that has opened the session has done so by an encrypted
// connection: to this process, unless Options.Via says something else.
func (s Session) Secure() bool {
	r := s.at()
	return r != nil && r.is(secured)
}

// Certificate returns the certificate that the client has on the session's connection of
// this moment: one that TLS in this process has asked for, and has verified. Nil: it has
// none. It must not be modified.
func (s Session) Certificate() *x509.Certificate {
	r := s.at()
	if r == nil {
		return nil
	}
	k, ok := s.sh.transport(r).conn(s.slot).Link().(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	if state := k.ConnectionState(); len(state.VerifiedChains) > 0 {
		return state.VerifiedChains[0][0]
	}
	return nil
}

// secureKey is of contexts of requests that came by an encrypted connection.
type secureKey struct{}

// IsSecure tells whether a request that Options.Route, Forward, Tunnel, Seek, Middleware or
// AllowRequest was given has come by a connection that is encrypted at the client: see
// Via.Secure. The request's TLS is about the connection to this process.
func IsSecure(r *http.Request) bool { return r.Context().Value(secureKey{}) != nil }

// overTLS adds to a request what is known of its connection.
func (h *httpConn) overTLS(r *http.Request) *http.Request {
	if k, ok := h.conn.Link().(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := k.ConnectionState()
		r.TLS = &state
	}
	if !h.secure {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), secureKey{}, true))
}

// addrText returns an address for the log.
func addrText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().String()
}
