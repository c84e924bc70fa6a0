// Package proxyproto reads the preface of the PROXY protocol, versions 1 and 2, by which
// a proxy that passes bytes on says whose they are
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt):
//
//	proxy                                              server
//	  ── "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n" ─►   or version 2, in binary
//	  ── the client's bytes ─────────────────────────────►
//
// An [Opener] has it read in front of a listener's connections; [Parse] is the codec.
package proxyproto

import (
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop"
)

// Options are what an Opener is made of.
type Options struct {
	// Version is the one that is taken: 1 or 2. Zero: either.
	Version int

	// Trusted tells whether the other end of a connection is believed, by the address
	// that the kernel knows, an IPv4 one unmapped; one of a unix socket has none. Others
	// are refused before they are read from. It is called on loops, and must not block.
	// Nil: nobody is.
	Trusted func(netip.Addr) bool

	// Next has the connection behind the preface, such as TLS. Nil: it is open.
	Next loop.Opener

	// Hint is appended to what the log says of one that is not trusted: what to change.
	Hint string
}

// An Opener has connections begin with a preface, without which they are refused.
// [loop.Options].OpeningTimeout bounds how long it may take. Its address is
// [loop.Conn.RemoteAddr] from then on, so that what asks for the other end of the
// connection behind it sees the client, not the proxy.
type Opener struct {
	// Immutable after New.
	o   Options
	why reasons

	stats struct {
		v1, v2, local, untrusted, none, version, malformed, tooLong, checksum, late, ended atomic.Int64
	}
}

// reasons are texts of the log.
type reasons struct{ untrusted, none, version, malformed, tooLong, checksum string }

// New returns an Opener.
func New(o Options) *Opener {
	const preface = "its preface of the PROXY protocol "
	return &Opener{o: o, why: reasons{
		untrusted: "it is no proxy whose preface is believed" + o.Hint,
		none:      "it has no preface of the PROXY protocol",
		version:   preface + "is of the other version",
		malformed: preface + "is malformed",
		tooLong:   preface + "is too long",
		checksum:  preface + "has a wrong checksum",
	}}
}

// Stats count connections by what their preface was.
type Stats struct {
	V1, V2    int64 // good ones, by version; those that are Local among them
	Local     int64 // of these: LOCAL, and UNKNOWN
	Untrusted int64 // refused: not of a proxy that is trusted
	None      int64 // refused: something else
	Version   int64 // refused: of the version that is not taken
	Malformed int64 // refused
	TooLong   int64 // refused: a line of more than 107 bytes, or more than 4 KiB
	Checksum  int64 // refused
	Late      int64 // not there within OpeningTimeout
	Ended     int64 // ended before it was there
}

// Stats returns the counts. Any goroutine may call it.
func (o *Opener) Stats() Stats {
	s := &o.stats
	return Stats{V1: s.v1.Load(), V2: s.v2.Load(), Local: s.local.Load(), Untrusted: s.untrusted.Load(), None: s.none.Load(),
		Version: s.version.Load(), Malformed: s.malformed.Load(), TooLong: s.tooLong.Load(), Checksum: s.checksum.Load(),
		Late: s.late.Load(), Ended: s.ended.Load()}
}

// Add adds t to s.
func (s *Stats) Add(t Stats) {
	s.V1 += t.V1
	s.V2 += t.V2
	s.Local += t.Local
	s.Untrusted += t.Untrusted
	s.None += t.None
	s.Version += t.Version
	s.Malformed += t.Malformed
	s.TooLong += t.TooLong
	s.Checksum += t.Checksum
	s.Late += t.Late
	s.Ended += t.Ended
}

// Begin is called for a connection that was accepted.
func (o *Opener) Begin(c loop.Conn) loop.Opening {
	if o.o.Trusted != nil && o.o.Trusted(c.RemoteAddr().Addr().Unmap()) {
		return o
	}
	o.stats.untrusted.Add(1)
	c.Refuse(o.why.untrusted, o.answer())
	return nil
}

// Data looks for the preface in what has come.
func (o *Opener) Data(c loop.Conn, b []byte) int {
	h, n, err := Parse(b)
	switch {
	case err == nil && o.other(b):
		return o.refuse(c, b, &o.stats.version, o.why.version)
	case err == nil && n == 0:
		return 0
	case errors.Is(err, ErrNone):
		return o.refuse(c, b, &o.stats.none, o.why.none)
	case errors.Is(err, ErrTooLong):
		return o.refuse(c, b, &o.stats.tooLong, o.why.tooLong)
	case errors.Is(err, ErrChecksum):
		return o.refuse(c, b, &o.stats.checksum, o.why.checksum)
	case err != nil:
		return o.refuse(c, b, &o.stats.malformed, o.why.malformed)
	}
	count := &o.stats.v1
	if h.Version == 2 {
		count = &o.stats.v2
	}
	count.Add(1)
	if h.Local {
		o.stats.local.Add(1)
	}
	c.Opened(loop.Opened{Addr: netip.AddrPortFrom(h.Source.Addr().Unmap(), h.Source.Port()), Next: o.o.Next})
	return n
}

// other tells whether what has come is the beginning of the version that is not taken.
func (o *Opener) other(b []byte) bool {
	switch {
	case o.o.Version == 0 || len(b) == 0:
		return false
	case b[0] == v1[0]:
		return o.o.Version != 1
	}
	return o.o.Version != 2
}

func (o *Opener) refuse(c loop.Conn, b []byte, count *atomic.Int64, why string) int {
	count.Add(1)
	c.Refuse(why, o.answer())
	return len(b)
}

// answer returns what is said to one that is refused: in HTTP, as it may be a client that
// has come past its proxy. Behind TLS nothing could be read.
func (o *Opener) answer() []byte {
	if o.o.Next != nil {
		return nil
	}
	return refusal
}

var refusal = []byte("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 32\r\n\r\n" +
	"this port is for a proxy alone\r\n")

// End is told that a connection has ended before its preface was there.
func (o *Opener) End(_ loop.Conn, err error) {
	switch {
	case errors.Is(err, loop.ErrRefused): // has been counted
	case errors.Is(err, loop.ErrOpeningTimeout):
		o.stats.late.Add(1)
	default:
		o.stats.ended.Add(1)
	}
}
