package listen

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
)

// An element of Forwarded is what one proxy says (RFC 7239, 4): whom it has the request
// from, by which scheme, and for which host.
type element struct {
	from, scheme, host []byte
	broken             bool // what stands here and before it cannot be read
}

// elements are the last ones of all fields.
type elements struct {
	ring [mostHops]element
	n    int // that there were
}

func (e *elements) add(x element) {
	e.ring[e.n%mostHops] = x
	e.n++
}

// last returns the one that is i before the last.
func (e *elements) last(i int) (x element, ok bool) {
	if i >= mostHops || i >= e.n {
		return element{}, false
	}
	return e.ring[(e.n-1-i)%mostHops], true
}

// forwarded reads Forwarded. An identifier that is hidden, or unknown, ends what is known
// of addresses; scheme and host are of the one that has the client's, or of the next one
// behind it that says them.
func forwarded(v eio.Via, r *http1.Request, trusted func(netip.Addr) bool) eio.Via {
	var all elements
	for i := range r.Fields {
		f := &r.Fields[i]
		if len(f.Name) == len("Forwarded") && strings.EqualFold(string(f.Name), "Forwarded") && !all.read(f.Value) {
			all.add(element{broken: true})
		}
	}
	for i := 0; ; i++ {
		x, ok := all.last(i)
		if !ok || x.broken {
			return v
		}
		believe(&v, x.scheme, x.host)
		a, ok := hop(x.from)
		if !ok {
			return v
		}
		if v.Client = a; !trusted(a.Addr()) {
			return v
		}
	}
}

// read adds the elements of a field, and tells whether it can be one:
//
//	for=192.0.2.43, for="[2001:db8:cafe::17]:4711";proto=https;by=203.0.113.60
//
// Values that would have to be quoted, and are not, are read, and spaces around
// semicolons passed over. If it tells false, what it has added says nothing.
func (e *elements) read(b []byte) bool {
	for {
		var x element
		var ok, more bool
		if b, more, ok = x.read(b); !ok {
			return false
		}
		if x.from != nil || x.scheme != nil || x.host != nil {
			e.add(x)
		}
		if !more {
			return true
		}
	}
}

// read reads an element, and returns what is behind its comma, if there is one.
func (x *element) read(b []byte) (rest []byte, more, ok bool) {
	for {
		b = bytes.TrimLeft(b, " \t")
		switch {
		case len(b) == 0:
			return nil, false, true
		case b[0] == ',':
			return b[1:], true, true
		case b[0] == ';':
			b = b[1:]
			continue
		}
		if b, ok = x.pair(b); !ok {
			return nil, false, false
		}
		if b = bytes.TrimLeft(b, " \t"); len(b) > 0 && b[0] != ',' && b[0] != ';' {
			return nil, false, false
		}
	}
}

// pair reads a name and its value. No name may be there twice.
func (x *element) pair(b []byte) (rest []byte, ok bool) {
	i := bytes.IndexAny(b, `=,;" `+"\t")
	if i <= 0 || b[i] != '=' {
		return nil, false
	}
	name := string(b[:i])
	value, rest, ok := valueOf(b[i+1:])
	if !ok {
		return nil, false
	}
	var to *[]byte
	switch {
	case strings.EqualFold(name, "for"):
		to = &x.from
	case strings.EqualFold(name, "proto"):
		to = &x.scheme
	case strings.EqualFold(name, "host"):
		to = &x.host
	default: // by, and what else there may be
		return rest, true
	}
	if *to != nil {
		return nil, false
	}
	*to = value
	return rest, true
}

// valueOf reads a token or a quoted string (RFC 9110, 5.6). It is never nil.
func valueOf(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		i := bytes.IndexAny(b, `,;"`+" \t")
		if i < 0 {
			i = len(b)
		}
		return b[:i:i], b[i:], i > 0 && (i == len(b) || b[i] != '"')
	}
	b = b[1:]
	i := bytes.IndexAny(b, `"\`)
	if i >= 0 && b[i] == '"' {
		return b[:i:i], b[i+1:], true
	}
	value = []byte{}
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return value, b[i+1:], true
		case b[i] == '\\':
			if i++; i == len(b) {
				return nil, nil, false
			}
		}
		value = append(value, b[i])
	}
	return nil, nil, false
}
