package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// A Message is one message or one control frame.
type Message struct {
	// Op is Text, Binary, Close, Ping or Pong; zero when there is no message.
	Op Op

	// Compressed tells that the first frame had RSV1: Data is to be inflated
	// first and, if Text, was not checked. Only if Reader.Compression is set.
	Compressed bool

	// Code is the code of a Close frame, CodeNone if it has none.
	Code uint16

	// Data is the payload, unmasked; of Close the reason. Text is valid UTF-8.
	// It is valid until the next call of Next or until the bytes given to Next
	// are reused, whichever is first.
	Data []byte
}

// Defaults of the limits of a Reader.
const (
	DefaultMaxMessage   = 1_000_000 // Node: maxHttpBufferSize
	DefaultMaxFragments = 65_536
)

// A Reader turns the bytes received on one connection into messages. It unmasks
// them where they lie and holds memory only while a message is incomplete, so an
// Idle reader may be dropped and replaced by a new one with the same options.
// It belongs to one goroutine.
type Reader struct {
	// MaxMessage bounds the payload of a message over all its fragments, as
	// received, in bytes; exactly that much is allowed. Zero means
	// DefaultMaxMessage. Node: maxHttpBufferSize.
	MaxMessage int64

	// MaxFragments bounds the frames of one message. Zero means
	// DefaultMaxFragments.
	MaxFragments int

	// Client makes this the reader of a client, which expects unmasked frames.
	Client bool

	// Compression allows RSV1 on the first frame of a message: RFC 7692.
	Compression bool

	// The message being received; op is zero if there is none.
	op         Op
	compressed bool
	fragments  int32
	checked    int    // how much of buf is known to be UTF-8
	buf        []byte // what was received of it

	// The frame being received, whose header is consumed.
	inFrame bool
	fin     bool
	mask    [4]byte
	pos     uint8 // in mask
	left    int64 // bytes to come
}

// Idle reports whether r holds nothing: the bytes consumed so far end with a
// message. What Next left unconsumed is not in r.
func (r *Reader) Idle() bool { return r.op == 0 }

// Held returns the bytes of memory that r holds: of the message that is incomplete.
func (r *Reader) Held() int { return cap(r.buf) }

// Next reads the start of b, which it changes by unmasking. It consumed n bytes;
// m is the next message, or m.Op is zero if b does not complete one: then call
// it again with b[n:] and more. A message in one frame that is wholly in b is
// returned as a view of b. Otherwise payload is consumed as it arrives, into a
// buffer that grows with what was received, whatever the header claims; only an
// incomplete header or control frame is left for the caller to keep, at most
// MaxHeader-1 or 6+124 bytes.
//
// Control frames between the fragments of a message are messages of their own.
//
// The error is a *CloseError, after which r must not be used: CodeProtocolError;
// CodeTooLarge as soon as a header tells that MaxMessage is passed;
// CodeInvalidText at the first byte that can not be part of UTF-8, also inside a
// frame; CodePolicy for more than MaxFragments frames.
func (r *Reader) Next(b []byte) (m Message, n int, err error) {
	for {
		if !r.inFrame {
			var h Header
			k, err := h.parse(b[n:])
			if err == nil && k > 0 {
				err = r.admit(&h)
			}
			if k == 0 || err != nil {
				return Message{}, n, err
			}
			payload := b[n+k:]
			whole := int64(len(payload)) >= h.Length
			if h.Op.Control() {
				if !whole {
					return Message{}, n, nil
				}
				payload = payload[:h.Length:h.Length]
				r.unmask(&h, payload)
				m, err := controlMessage(h.Op, payload)
				return m, n + k + len(payload), err
			}
			if whole && h.Fin && r.op == 0 {
				payload = payload[:h.Length:h.Length]
				r.unmask(&h, payload)
				m := Message{Op: h.Op, Compressed: h.RSV != 0, Data: payload}
				if m.Op == Text && !m.Compressed && !utf8.Valid(payload) {
					return Message{}, n, errText
				}
				return m, n + k + len(payload), nil
			}
			r.begin(&h)
			n += k
		}
		k, err := r.receive(b[n:])
		n += k
		switch {
		case err != nil:
			return Message{}, n, err
		case r.inFrame:
			return Message{}, n, nil
		case r.fin:
			m, err := r.finish()
			return m, n, err
		}
	}
}

var errText = &CloseError{CodeInvalidText, "text is not UTF-8"}

// admit checks a header against the state of the connection.
func (r *Reader) admit(h *Header) error {
	if h.Masked == r.Client {
		return violation("masked by the server or not masked by the client") // RFC 6455, 5.1
	}
	if h.RSV != 0 && !r.Compression {
		return violation("RSV1 without an extension") // RFC 6455, 5.2
	}
	if h.Op.Control() {
		return nil
	}
	if (h.Op == Continuation) != (r.op != 0) {
		return violation("continuation of nothing, or a message inside a message") // RFC 6455, 5.4
	}
	limit := r.MaxMessage
	if limit == 0 {
		limit = DefaultMaxMessage
	}
	if h.Length > limit-int64(len(r.buf)) {
		return &CloseError{CodeTooLarge, "message too large"}
	}
	most := r.MaxFragments
	if most == 0 {
		most = DefaultMaxFragments
	}
	if int(r.fragments) >= most {
		return &CloseError{CodePolicy, "too many fragments"}
	}
	return nil
}

func (r *Reader) unmask(h *Header, payload []byte) {
	if h.Masked {
		Mask(payload, h.Mask, 0)
	}
}

// begin starts to receive a data frame in pieces.
func (r *Reader) begin(h *Header) {
	if h.Op != Continuation {
		r.op = h.Op
		r.compressed = h.RSV != 0
	}
	r.fragments++
	r.inFrame, r.fin = true, h.Fin
	r.mask, r.pos, r.left = h.Mask, 0, h.Length
}

// receive takes what b holds of the payload of the current frame.
func (r *Reader) receive(b []byte) (n int, err error) {
	n = int(min(r.left, int64(len(b))))
	b = b[:n]
	if !r.Client {
		Mask(b, r.mask, int(r.pos))
		r.pos = (r.pos + uint8(n&3)) & 3
	}
	r.grow(n)
	r.buf = append(r.buf, b...)
	r.left -= int64(n)
	r.inFrame = r.left > 0
	if r.op == Text && !r.compressed {
		k, ok := validPrefix(r.buf[r.checked:])
		if !ok {
			return n, errText
		}
		r.checked += k
	}
	return n, nil
}

// grow makes room for n more bytes: twice what was received, so that many small
// fragments cost no more than their sum, and not what a header claims; but no
// more than that where it is the end of the message.
func (r *Reader) grow(n int) {
	need := len(r.buf) + n
	if need <= cap(r.buf) {
		return
	}
	size := max(2*need, 256)
	if end := int64(len(r.buf)) + r.left; r.fin && int64(size) > end {
		size = int(end)
	}
	grown := make([]byte, len(r.buf), size)
	copy(grown, r.buf)
	r.buf = grown
}

// finish hands the complete message over and makes r idle.
func (r *Reader) finish() (Message, error) {
	if r.op == Text && !r.compressed && r.checked != len(r.buf) {
		return Message{}, errText
	}
	m := Message{Op: r.op, Compressed: r.compressed, Data: r.buf}
	r.op, r.compressed, r.fragments, r.checked, r.buf = 0, false, 0, 0, nil
	return m, nil
}

// validPrefix returns how much of b is UTF-8, leaving at most the start of one
// character at the end. It reports false if b can not be the start of UTF-8.
func validPrefix(b []byte) (n int, ok bool) {
	n = len(b)
	for i := 1; i <= 3 && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				n -= i
			}
			break
		}
	}
	return n, utf8.Valid(b[:n])
}

// controlMessage checks the payload of a Close frame: RFC 6455, 5.5.1 and 7.4.
func controlMessage(op Op, payload []byte) (Message, error) {
	if op != Close {
		return Message{Op: op, Data: payload}, nil
	}
	switch len(payload) {
	case 0:
		return Message{Op: Close, Code: CodeNone}, nil
	case 1:
		return Message{}, violation("half a close code")
	}
	m := Message{Op: Close, Code: binary.BigEndian.Uint16(payload), Data: payload[2:]}
	if !validCode(m.Code) {
		return Message{}, violation("close code not for the wire")
	}
	if !utf8.Valid(m.Data) {
		return Message{}, &CloseError{CodeInvalidText, "close reason is not UTF-8"}
	}
	return m, nil
}

// validCode reports whether a code may be in a Close frame: those registered, and
// those of libraries and applications.
func validCode(code uint16) bool {
	switch {
	case code >= 3000:
		return code < 5000
	case code == 1004 || code == 1005 || code == 1006:
		return false
	}
	return code >= 1000 && code <= 1014
}
