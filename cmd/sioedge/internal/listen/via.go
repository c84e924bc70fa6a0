package listen

import (
	"bytes"
	"iter"
	"net/netip"
	"strings"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
)

const (
	// mostHops bounds how many proxies are looked at.
	mostHops = 32
	// longestHost bounds a host that a proxy names, in bytes.
	longestHost = 255
)

// Via returns what believes proxies in these networks what they say of a request, nil if
// there are none. headers is how they say it: "x-forwarded" is X-Forwarded-For, -Proto and
// -Host, "forwarded" is Forwarded (RFC 7239). The other ones are not looked at: a proxy
// that writes the ones passes on what a client has put into the others.
//
// The client is the last address, seen from the server, that is none of the proxies': what
// stands before it anybody may have written. A peer without an address, on a Unix socket,
// is a proxy as well.
func Via(proxies []netip.Prefix, headers string) func(eio.Via, *http1.Request) eio.Via {
	trusted := Trusts(proxies)
	if trusted == nil {
		return nil
	}
	say := xForwarded
	if headers == "forwarded" {
		say = forwarded
	}
	return func(v eio.Via, r *http1.Request) eio.Via {
		if !trusted(v.Client.Addr()) {
			return v
		}
		return say(v, r, trusted)
	}
}

// xForwarded reads the X-Forwarded- fields. Where each proxy adds to all of them, the
// scheme and the host are those that stand where the client's address does; where one has
// fewer, those that stand first.
func xForwarded(v eio.Via, r *http1.Request, trusted func(netip.Addr) bool) eio.Via {
	at := 0
	for i, text := range fromEnd(r, "X-Forwarded-For") {
		a, ok := hop(text)
		if at = i; !ok {
			break // a proxy says no more than that
		}
		if v.Client = a; !trusted(a.Addr()) {
			break
		}
	}
	believe(&v, nth(r, "X-Forwarded-Proto", at), nth(r, "X-Forwarded-Host", at))
	return v
}

// believe has v say what a scheme and a host are, if they are any.
func believe(v *eio.Via, scheme, host []byte) {
	switch strings.ToLower(string(scheme)) {
	case "https", "wss":
		v.Secure = true
	case "http", "ws":
		v.Secure = false
	}
	if len(host) > 0 && len(host) <= longestHost && http1.ValidHost(host) {
		v.Host = host
	}
}

// fromEnd yields what stands between the commas of all fields of a name, the last first.
func fromEnd(r *http1.Request, name string) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		n := 0
		for i := len(r.Fields) - 1; i >= 0; i-- {
			f := &r.Fields[i]
			if len(f.Name) != len(name) || !strings.EqualFold(string(f.Name), name) {
				continue
			}
			for rest, more := f.Value, true; more; n++ {
				comma := bytes.LastIndexByte(rest, ',')
				last := rest[comma+1:]
				if more = comma >= 0; more {
					rest = rest[:comma]
				}
				if n == mostHops || !yield(n, bytes.TrimSpace(last)) {
					return
				}
			}
		}
	}
}

// nth returns what fromEnd yields as number n, or last if that is before.
func nth(r *http1.Request, name string, n int) (value []byte) {
	for i, text := range fromEnd(r, name) {
		if value = text; i == n {
			break
		}
	}
	return value
}

// hop parses an address as proxies write it: 192.0.2.1, 192.0.2.1:4711, 2001:db8::1,
// [2001:db8::1]:4711. No port is port 0, and so is one that is hidden (RFC 7239, 6.3).
func hop(text []byte) (netip.AddrPort, bool) {
	const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")
	if i := bytes.LastIndex(text, []byte(":_")); i >= 0 {
		text = text[:i]
	}
	if len(text) == 0 || len(text) > longest {
		return netip.AddrPort{}, false
	}
	s := string(text)
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a.WithZone("").Unmap(), 0), true
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Addr().WithZone("").Unmap(), a.Port()), true
}
