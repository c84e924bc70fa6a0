package wsframe

import (
	"bytes"
	"strconv"
)

// Deflate are the parameters of permessage-deflate that are not always the same:
// RFC 7692, 7.1.2. Context takeover is always off, in both directions. Windows
// are powers of two, from 8 to 15, so 256 bytes to 32 KiB.
type Deflate struct {
	// ServerMaxWindowBits is the window of what the server compresses; see Fits.
	// Wanted, zero means whatever the client asks for, and otherwise a client that
	// asks for less is declined. Got, zero means that nobody asked, so 15. Node:
	// serverMaxWindowBits.
	ServerMaxWindowBits int

	// ClientMaxWindowBits is the window of what the client compresses. An Inflater
	// takes 15 whatever it is. Zero, wanted and got, means that the client decides.
	// Node: clientMaxWindowBits.
	ClientMaxWindowBits int
}

// Fits reports whether a message of that many bytes may be sent compressed by a
// Compressor, whose window is always 32 KiB, to a peer with which d was
// negotiated: in a message that is no longer than the window of that peer, nothing
// refers further back. What does not fit is to be sent as it is, which is allowed
// for each message; browsers and Node ask for no smaller window, so there
// everything fits.
func (d Deflate) Fits(payloadLen int) bool {
	bits := d.ServerMaxWindowBits
	return bits == 0 || bits >= 15 || payloadLen <= 1<<bits
}

// Negotiate chooses the first acceptable offer of permessage-deflate in a value
// of Sec-WebSocket-Extensions; several such fields are to be joined by commas.
// response is the value of that field in the answer. It reports false if there
// is none to accept, which declines the extension and not the connection; Node
// refuses the handshake instead.
//
// An offer is declined if it has a parameter that is unknown, repeated or has an
// illegal value, or that asks for a smaller server window than want allows. What
// follows a syntax error is not looked at.
func Negotiate(offer []byte, want Deflate) (got Deflate, response []byte, ok bool) {
	l := lexer{offer}
	for {
		for l.eat(',') { // RFC 9110, 5.6.1: elements may be empty
		}
		o, wellFormed := l.extension()
		if !wellFormed {
			return Deflate{}, nil, false
		}
		if got, ok := o.accept(want); ok {
			return got, got.response(), true
		}
	}
}

// response returns the answer that accepts d. It always turns context takeover
// off, which a server may do unasked: RFC 7692, 7.1.1.
func (d Deflate) response() []byte {
	b := []byte("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	if d.ServerMaxWindowBits != 0 {
		b = strconv.AppendInt(append(b, "; server_max_window_bits="...), int64(d.ServerMaxWindowBits), 10)
	}
	if d.ClientMaxWindowBits != 0 {
		b = strconv.AppendInt(append(b, "; client_max_window_bits="...), int64(d.ClientMaxWindowBits), 10)
	}
	return b
}

// A deflateOffer is one extension in an offer.
type deflateOffer struct {
	legal      bool // permessage-deflate, with parameters that are
	seen       [4]bool
	serverBits int // 0 if not given
	clientBits int // 0 if not given, 15 if given without a value
}

// param takes in one parameter; value is nil if it has none: RFC 7692, 7.1.
func (o *deflateOffer) param(name, value []byte) {
	var which int
	var legal bool
	switch string(name) {
	case "server_no_context_takeover":
		which, legal = 0, value == nil
	case "client_no_context_takeover":
		which, legal = 1, value == nil
	case "server_max_window_bits":
		o.serverBits = windowBits(value)
		which, legal = 2, o.serverBits != 0
	case "client_max_window_bits":
		o.clientBits = 15
		if value != nil {
			o.clientBits = windowBits(value)
		}
		which, legal = 3, o.clientBits != 0
	}
	o.legal = o.legal && legal && !o.seen[which]
	o.seen[which] = true
}

// windowBits parses the value of a parameter; it returns zero if it is illegal:
// RFC 7692, 7.1.2 wants 8 to 15 without leading zeros.
func windowBits(value []byte) int {
	switch {
	case len(value) == 1 && (value[0] == '8' || value[0] == '9'):
		return int(value[0] - '0')
	case len(value) == 2 && value[0] == '1' && '0' <= value[1] && value[1] <= '5':
		return int(10 + value[1] - '0')
	}
	return 0
}

// accept answers an offer with what of it is to be said in the response.
func (o *deflateOffer) accept(want Deflate) (got Deflate, ok bool) {
	if !o.legal || o.serverBits != 0 && o.serverBits < want.ServerMaxWindowBits {
		return Deflate{}, false
	}
	// RFC 7692, 7.1.2.1: if asked for, the server's window is to be answered; it
	// may be without.
	got.ServerMaxWindowBits = o.serverBits
	if w := want.ServerMaxWindowBits; w != 0 && (w < 15 || o.serverBits != 0) {
		got.ServerMaxWindowBits = w
	}
	// RFC 7692, 7.1.2.2: the client's may be answered only if offered.
	bits := o.clientBits
	if w := want.ClientMaxWindowBits; w != 0 {
		bits = min(bits, w)
	}
	if bits < 15 {
		got.ClientMaxWindowBits = bits
	}
	return got, true
}

// A lexer takes a value of Sec-WebSocket-Extensions apart: RFC 6455, 9.1.
type lexer struct{ b []byte }

// extension parses one element of the list. It reports false if there is none,
// or not before a syntax error.
func (l *lexer) extension() (o deflateOffer, ok bool) {
	name := l.token()
	o.legal = string(name) == "permessage-deflate"
	for ok = name != nil; ok && l.eat(';'); {
		param := l.token()
		var value []byte
		if ok = param != nil; ok && l.eat('=') {
			value = l.value()
			ok = value != nil
		}
		o.param(param, value)
	}
	l.skip()
	return o, ok && (len(l.b) == 0 || l.b[0] == ',')
}

func (l *lexer) skip() { l.b = bytes.TrimLeft(l.b, " \t") }

// eat reports whether c is next, and passes it.
func (l *lexer) eat(c byte) bool {
	l.skip()
	if len(l.b) == 0 || l.b[0] != c {
		return false
	}
	l.b = l.b[1:]
	return true
}

// token returns the next token, nil if there is none.
func (l *lexer) token() (token []byte) {
	l.skip()
	n := 0
	for n < len(l.b) && isToken(l.b[n:n+1]) {
		n++
	}
	if n == 0 {
		return nil
	}
	token, l.b = l.b[:n], l.b[n:]
	return token
}

// value returns the next token or what a quoted string says, which must be a
// token too; nil if there is neither.
func (l *lexer) value() (value []byte) {
	if !l.eat('"') {
		return l.token()
	}
	for i := 0; i < len(l.b); i++ {
		c := l.b[i]
		if c == '"' {
			l.b = l.b[i+1:]
			return value
		}
		if c == '\\' && i+1 < len(l.b) {
			i++
			c = l.b[i]
		}
		if !isToken([]byte{c}) {
			return nil
		}
		value = append(value, c)
	}
	return nil
}
