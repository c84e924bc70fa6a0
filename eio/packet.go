package eio

import "bytes"

// The packet types of Engine.IO 4, as the first character of a packet. In Engine.IO
// 3 ping and pong go the other way, and encoded is followed by a type.
const (
	opened  = '0' // server to client: the handshake
	closed  = '1' // either side, ends the session
	ping    = '2' // server to client; from a client only as "2probe" while it upgrades
	pong    = '3' // client to server; from a server only as "3probe"
	message = '4' // data
	upgrade = '5' // client to server: the upgrade is complete
	noop    = '6' // server to client: releases a pending poll
	encoded = 'b' // polling: a binary message as base64, without a type of its own

	separator = 0x1e // between the packets of a polling payload
)

// cutPacket splits the first packet off a polling payload. An empty packet is
// for the caller to refuse.
func cutPacket(payload []byte) (packet, rest []byte, more bool) {
	if i := bytes.IndexByte(payload, separator); i >= 0 {
		return payload[:i], payload[i+1:], true
	}
	return payload, nil, false
}

var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// decodeBase64 decodes b in place and returns the decoded bytes. Like Node's
// decoder it takes both alphabets, with or without padding, and white space
// anywhere: Java's and Android's clients break lines, and write a break at the end.
// Unlike it, it refuses every other character.
func decodeBase64(b []byte) ([]byte, bool) {
	n, acc, bits, digits := 0, uint32(0), 0, 0
	padded := false
	for _, c := range b {
		v := base64Values[c]
		switch {
		case c == '\n' || c == '\r' || c == ' ' || c == '\t':
			continue
		case c == '=':
			padded = true
			continue
		case v == 0xff || padded:
			return nil, false
		}
		digits++
		acc, bits = acc<<6|uint32(v), bits+6
		if bits >= 8 {
			bits -= 8
			b[n] = byte(acc >> bits) // n never passes the character being read
			n++
		}
	}
	return b[:n], digits%4 != 1
}
