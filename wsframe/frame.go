// Package wsframe is a codec for WebSocket (RFC 6455): frame headers, whole
// messages and the opening handshake, all on byte slices. It does no I/O, starts
// no goroutine and reads no clock.
//
//	 0               1               2               3
//	 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R|  Op   |M|  0…125      |                               |
//	|I|S|S|S|       |A|  126: 16 bits follow                        |
//	|N|V|V|V|       |S|  127: 64 bits follow                        |
//	| |1|2|3|       |K|             |  then the key if MASK, 4 bytes|
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//
//	client                                    server
//	GET … Upgrade: websocket      ->          CheckUpgrade
//	                              <-          AppendUpgrade
//	masked frames                 ->          Reader.Next
//	                              <-          AppendFrame
//	Close, code                   ->
//	                              <-          AppendClose, the same code
//
// A server sends most messages to many, so it encodes a frame once with
// AppendFrame and sends the same bytes to all; what it receives is parsed and
// unmasked where it lies.
package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// An Op is the opcode of a frame: RFC 6455, 5.2.
type Op byte

// The opcodes. The others are reserved and refused.
const (
	Continuation Op = 0x0
	Text         Op = 0x1
	Binary       Op = 0x2
	Close        Op = 0x8
	Ping         Op = 0x9
	Pong         Op = 0xa
)

// Control reports whether frames with this opcode are control frames: at most
// 125 bytes, never fragmented, allowed between the fragments of a message.
func (o Op) Control() bool { return o >= Close }

// Codes of a Close frame that this package uses: RFC 6455, 7.4.1.
const (
	CodeNormal        = 1000
	CodeGoingAway     = 1001
	CodeProtocolError = 1002
	CodeNone          = 1005 // of a Close frame without a code; never sent
	CodeInvalidText   = 1007
	CodePolicy        = 1008
	CodeTooLarge      = 1009
)

// A CloseError tells how to fail the connection: Code is for the Close frame to
// send, Reason says why, for logs at debug level; Node sends the code alone.
type CloseError struct {
	Code   uint16
	Reason string
}

// Error returns the reason prefixed with the name of the package.
func (e *CloseError) Error() string { return "wsframe: " + e.Reason }

func violation(reason string) error { return &CloseError{CodeProtocolError, reason} }

// Bits of Header.RSV.
const (
	RSV1 = 4 // the message is compressed: RFC 7692, 6
	RSV2 = 2
	RSV3 = 1
)

// A Header is the head of one frame.
type Header struct {
	Fin    bool
	RSV    byte // RSV1, RSV2, RSV3
	Op     Op
	Masked bool
	Mask   [4]byte // the masking key if Masked
	Length int64   // of the payload in bytes
}

// MaxHeader is the length of the longest frame header in bytes.
const MaxHeader = 14

// ParseHeader parses the frame header at the start of b and returns its length.
// It returns 0 and a nil error when b is too short to tell. The error is a
// *CloseError with CodeProtocolError for what no peer may send in any state:
// reserved opcodes, RSV2 and RSV3, RSV1 on a frame that does not start a message,
// a control frame that is fragmented or longer than 125 bytes, a length that is
// not in its shortest form or has its highest bit set.
func ParseHeader(b []byte) (h Header, n int, err error) {
	n, err = h.parse(b)
	return h, n, err
}

// parse is ParseHeader into h, which must be zero. Reading a Header back as a
// whole right after its bytes were written stalls the processor; so the Reader,
// for which that is a third of the time of a short frame, has it by pointer.
func (h *Header) parse(b []byte) (n int, err error) {
	if len(b) < 2 {
		return 0, nil
	}
	first, second := b[0], b[1]
	op := Op(first & 0x0f)
	// One test for what nearly all frames are: data, and no extension.
	if op > Binary || first&0x70 != 0 {
		if err := check(first, second); err != nil {
			return 0, err
		}
	}
	length := int64(second & 0x7f)
	n = 2
	if length >= 126 {
		if length, n, err = extendedLength(b); n == 0 {
			return 0, err
		}
	}
	masked := second&0x80 != 0
	if masked {
		if len(b) < n+4 {
			return 0, nil
		}
		h.Mask = [4]byte(b[n:])
		n += 4
	}
	h.Fin, h.RSV, h.Op, h.Masked, h.Length = first&0x80 != 0, first>>4&7, op, masked, length
	return n, nil
}

// extendedLength parses the length at the start of a frame that has one of 16 or
// 64 bits, and returns where it ends: RFC 6455, 5.2.
func extendedLength(b []byte) (length int64, n int, err error) {
	shortest := int64(126)
	switch {
	case b[1]&0x7f == 126 && len(b) >= 4:
		length, n = int64(binary.BigEndian.Uint16(b[2:])), 4
	case b[1]&0x7f == 127 && len(b) >= 10:
		length, n = int64(binary.BigEndian.Uint64(b[2:])), 10
		shortest = 1 << 16
	default:
		return 0, 0, nil
	}
	if length < 0 {
		return 0, 0, violation("length with its highest bit set")
	}
	if length < shortest {
		return 0, 0, violation("length not in its shortest form")
	}
	return length, n, nil
}

// check finds what is wrong with the first two bytes of a frame whatever the
// state of the connection.
func check(first, second byte) error {
	op, rsv := Op(first&0x0f), first>>4&7
	switch {
	case op > Binary && op < Close || op > Pong:
		return violation("reserved opcode") // RFC 6455, 5.2
	case rsv&^RSV1 != 0:
		return violation("reserved bit") // RFC 6455, 5.2
	case rsv != 0 && op != Text && op != Binary:
		return violation("RSV1 on a frame that does not start a message") // RFC 7692, 6
	case op.Control() && first&0x80 == 0:
		return violation("fragmented control frame") // RFC 6455, 5.5
	case op.Control() && second&0x7f > 125:
		return violation("control frame too long") // RFC 6455, 5.5
	}
	return nil
}

// AppendHeader appends the encoding of h to dst: with h.Mask if h.Masked, which
// is what clients send. The payload that follows is to be masked with Mask.
func AppendHeader(dst []byte, h Header) []byte {
	first := byte(h.Op) | h.RSV<<4
	if h.Fin {
		first |= 0x80
	}
	var masked byte
	if h.Masked {
		masked = 0x80
	}
	switch n := h.Length; {
	case n < 126:
		dst = append(dst, first, masked|byte(n))
	case n < 1<<16:
		dst = append(dst, first, masked|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, first, masked|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

// ServerHeaderLen returns the length in bytes of the header that AppendFrame
// puts before a payload of that length.
func ServerHeaderLen(payloadLen int) int {
	switch {
	case payloadLen < 126:
		return 2
	case payloadLen < 1<<16:
		return 4
	}
	return 10
}

// AppendFrame appends a whole message in one unmasked frame, as servers send it.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: true, Op: op, Length: int64(len(payload))})
	return append(dst, payload...)
}

// AppendMaskedFrame appends a whole message in one frame masked with key, as
// clients send it. payload is not changed.
func AppendMaskedFrame(dst []byte, op Op, payload []byte, key [4]byte) []byte {
	dst = AppendHeader(dst, Header{Fin: true, Op: op, Masked: true, Mask: key, Length: int64(len(payload))})
	i := len(dst)
	dst = append(dst, payload...)
	Mask(dst[i:], key, 0)
	return dst
}

// AppendClose appends an unmasked Close frame. Code 0 and CodeNone give a frame
// without payload; then reason is ignored. A reason longer than the 123 bytes
// that fit is cut at a character.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 || code == CodeNone {
		return append(dst, 0x80|byte(Close), 0)
	}
	if len(reason) > 123 {
		cut := 123
		for cut > 0 && !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	dst = append(dst, 0x80|byte(Close), byte(2+len(reason)), byte(code>>8), byte(code))
	return append(dst, reason...)
}
