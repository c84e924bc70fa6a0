package http1

import (
	"bytes"
)

// A Request is a parsed request head. Everything in it is a view of the bytes
// given to Parse and is valid as long as they are; Clone makes it independent.
// A Request is reused for any number of Parse calls; after the first they do
// not allocate. It belongs to one goroutine.
type Request struct {
	Method   []byte
	Target   []byte // as sent
	Path     []byte // of Target, undecoded: up to the first '?'; "/" if absolute-form has none; "*"
	RawQuery []byte // of Target, undecoded: after the first '?'; nil if there is no '?'
	Minor    int    // of HTTP/1.Minor: 0 or 1

	// Fields are the header fields in the order received.
	Fields []Field

	// ContentLength is the length of the body in bytes, -1 if the request does
	// not say; then it has a body only if Chunked.
	ContentLength int64
	Chunked       bool

	// KeepAlive tells that the peer wants the connection to stay open after the
	// response: the default of HTTP/1.1 unless the Connection field says close,
	// in HTTP/1.0 only if it says keep-alive.
	KeepAlive bool

	// Expect100 tells that the peer waits for 100 Continue before it sends the
	// body. Always false in HTTP/1.0 (RFC 9110, 10.1.1).
	Expect100 bool

	// Upgrade tells that the Connection field lists upgrade and an Upgrade field
	// is present. Always false in HTTP/1.0 (RFC 9110, 7.8).
	Upgrade bool

	// Host is the authority of an absolute-form target, else the value of the
	// Host field, without checks beyond its characters. It may be empty.
	Host []byte
}

// Get returns the value of the first field with that name in any case, nil if
// there is none. A field with an empty value gives an empty slice, not nil.
func (r *Request) Get(name string) []byte {
	for i := range r.Fields {
		if f := &r.Fields[i]; equalFold(f.Name, name) {
			return f.Value
		}
	}
	return nil
}

// Query returns the decoded value of a query parameter, the last one if the key
// is given more than once, and whether it is there at all; "a" and "a=" are
// there with an empty value. Decoding is that of URLSearchParams. The string is
// a copy; see QueryView for a view.
func (r *Request) Query(key string) (value string, ok bool) {
	raw, ok := r.rawQuery(key)
	return unescape(string(raw)), ok
}

// QueryView is Query without a copy: value is a view of the request where
// nothing had to be decoded, else a slice of its own.
func (r *Request) QueryView(key string) (value []byte, ok bool) {
	raw, ok := r.rawQuery(key)
	return decoded(raw), ok
}

// rawQuery returns the undecoded value of the last parameter with that key.
func (r *Request) rawQuery(key string) (value []byte, ok bool) {
	for q := r.RawQuery; len(q) > 0; {
		i := bytes.LastIndexByte(q, '&')
		k, v, _ := bytes.Cut(q[i+1:], []byte("="))
		if i+1 < len(q) && decodesTo(k, key) {
			return v, true
		}
		q = q[:max(i, 0)]
	}
	return nil, false
}

// QueryViews sets values[i] to what QueryView returns for keys[i], nil if it is
// not there, in one pass over the query.
func (r *Request) QueryViews(keys []string, values [][]byte) {
	clear(values)
	for rest := r.RawQuery; len(rest) > 0; {
		pair := rest
		if i := bytes.IndexByte(rest, '&'); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		if len(pair) == 0 {
			continue
		}
		k, v, _ := bytes.Cut(pair, []byte("="))
		for i, key := range keys {
			if decodesTo(k, key) {
				values[i] = v[:len(v):len(v)]
				if v == nil {
					values[i] = pair[len(pair):]
				}
			}
		}
	}
	for i, v := range values {
		values[i] = decoded(v)
	}
}

// decodesTo tells whether raw is key, which is plain ASCII, once decoded.
func decodesTo(raw []byte, key string) bool {
	if len(raw) == len(key) {
		return string(raw) == key
	}
	i, n := 0, 0
	for ; i < len(raw) && n < len(key); n++ {
		c := raw[i]
		switch {
		case c == '+':
			c, i = ' ', i+1
		case c == '%' && i+2 < len(raw) && class[raw[i+1]]&class[raw[i+2]]&hexChar != 0:
			c, i = unhex(raw[i+1])<<4|unhex(raw[i+2]), i+3
		default:
			i++
		}
		if c != key[n] {
			return false
		}
	}
	return i == len(raw) && n == len(key)
}

// decoded returns b if nothing is to be decoded, else a copy.
func decoded(b []byte) []byte {
	for _, c := range b {
		if c == '+' || c == '%' || c >= 0x80 {
			return []byte(unescape(string(b)))
		}
	}
	return b
}

// Clone returns a copy of r that does not share memory with the parsed bytes.
func (r *Request) Clone() *Request {
	size := len(r.Method) + len(r.Target) + len(r.Host)
	for _, f := range r.Fields {
		size += len(f.Name) + len(f.Value)
	}
	buf := make([]byte, 0, size)
	own := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		i := len(buf)
		buf = append(buf, b...)
		return buf[i:len(buf):len(buf)]
	}
	c := *r
	c.Method, c.Target, c.Host = own(r.Method), own(r.Target), own(r.Host)
	c.Fields = make([]Field, len(r.Fields))
	for i, f := range r.Fields {
		c.Fields[i] = Field{own(f.Name), own(f.Value)}
	}
	if r.Target != nil {
		c.splitTarget() // cannot fail: it did not for r
	}
	return &c
}
