package wsframe

import (
	"bytes"
	"io"
	"math"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
	"github.com/valyala/bytebufferpool"
)

const (
	// flushed ends what a compressor flushed, an empty block without compression,
	// and is not sent: RFC 7692, 7.2.1.
	flushed = "\x00\x00\xff\xff"

	// inflateTail follows a payload when it is inflated: what was not sent, and
	// an empty last block, with which a payload that is complete can be told from
	// one that stops in the middle: it alone ends where the tail does.
	inflateTail = flushed + "\x01" + flushed

	// keepRoom is the largest buffer that is kept from message to message.
	keepRoom = 64 << 10
)

// A Compressor compresses messages: RFC 7692, 7.2.1. Each stands for itself (no
// context takeover), so that one compressor serves all connections and one
// compressed frame can be sent to many. Payloads of less than about 100 bytes
// seldom become smaller.
//
// Its first use takes 0.8 MB at level 1 and up to 1.4 MB at higher ones, later
// ones nothing; make one per loop. It belongs to one goroutine. The zero
// Compressor is ready to use.
type Compressor struct {
	// Level is from 1, the fastest, to 9; what is outside, as zero, means the
	// nearest of these. It must not change after the first use. Level 6, that of
	// Node, takes 1.6 times as long as 1 and saves another 5 %.
	Level int

	w   *flate.Writer
	out bytebufferpool.ByteBuffer // while in Append what it appends to
}

// Append appends the payload of a compressed message, to be sent with RSV1 on
// its first frame. It reports false, and appends nothing, if that would not be
// smaller than payload, which is then to be sent as it is. payload is not kept.
func (c *Compressor) Append(dst, payload []byte) (out []byte, ok bool) {
	c.out.B = dst
	if c.w == nil {
		w, err := flate.NewWriter(&c.out, min(max(c.Level, 1), 9))
		if err != nil {
			panic(err) // levels 1 to 9 are its own
		}
		c.w = w
	} else {
		c.w.Reset(&c.out)
	}
	// Neither fails, because appending does not.
	c.w.Write(payload)
	c.w.Flush()
	out = c.out.B[:len(c.out.B)-len(flushed)]
	c.out.B = nil
	if len(out)-len(dst) >= len(payload) {
		return out[:len(dst)], false
	}
	return out, true
}

// AppendFrame appends a whole message in one unmasked compressed frame, as
// servers send it. It reports false, and appends nothing, where Append does; then
// the frame to send is that of the function AppendFrame.
func (c *Compressor) AppendFrame(dst []byte, op Op, payload []byte) (frame []byte, ok bool) {
	start := len(dst)
	// How long the header is follows from what is behind it; this is the most.
	body := start + ServerHeaderLen(len(payload))
	out, ok := c.Append(append(dst, make([]byte, body-start)...), payload)
	if !ok {
		return out[:start], false
	}
	head := AppendHeader(out[:start], Header{Fin: true, RSV: RSV1, Op: op, Length: int64(len(out) - body)})
	return append(head, out[body:]...), true
}

// An Inflater inflates messages that were compressed without context takeover:
// RFC 7692, 7.2.2. Its first use takes 38 KB; it keeps that and buffers of at
// most 64 KiB. Make one per loop. It belongs to one goroutine. The zero Inflater
// is ready to use.
type Inflater struct {
	r   io.Reader // of flate, from src
	src bytes.Reader
	in  []byte // the payload being inflated and the tail
	out []byte // what Message returns
}

// Append appends the inflated payload of a compressed message, the concatenation
// of its fragments. limit bounds what is appended, in bytes; exactly that much is
// allowed; zero means DefaultMaxMessage. payload is not changed and not kept.
//
// The error is a *CloseError, with which it appends nothing: CodeTooLarge as
// soon as limit is passed, having taken memory for no more than that;
// CodeInvalidText, as Node does, for what is not a sequence of blocks of RFC 1951,
// does not end with one of them, or is empty: an empty message is one byte.
func (f *Inflater) Append(dst, payload []byte, limit int) ([]byte, error) {
	if limit == 0 {
		limit = DefaultMaxMessage
	}
	limit = min(limit, math.MaxInt/2) // a little is added to it
	f.in = append(append(f.in[:0], payload...), inflateTail...)
	f.src.Reset(f.in)
	f.restart()
	out, err := f.inflate(dst, len(dst)+limit)
	if cap(f.in) > keepRoom {
		f.in = nil
		f.src.Reset(nil)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Message returns m inflated, with Compressed reset, and if it is Text checks
// that it is UTF-8. Data is valid until the next call. limit and the error are
// those of Append. m must be a message with Compressed set.
func (f *Inflater) Message(m Message, limit int) (Message, error) {
	out, err := f.Append(f.out[:0], m.Data, limit)
	f.out = nil
	if cap(out) <= keepRoom {
		f.out = out
	}
	if err != nil {
		return Message{}, err
	}
	if m.Op == Text && !utf8.Valid(out) {
		return Message{}, errText
	}
	m.Compressed, m.Data = false, out
	return m, nil
}

var (
	errCorrupt  = &CloseError{CodeInvalidText, "corrupt compressed message"}
	errInflated = &CloseError{CodeTooLarge, "message too large when inflated"}
)

// restart begins a sequence of blocks at what is left of src.
func (f *Inflater) restart() {
	if f.r == nil {
		f.r = flate.NewReader(&f.src)
		return
	}
	f.r.(flate.Resetter).Reset(&f.src, nil) // always nil
}

// inflate appends what src has to out, up to a length of end.
func (f *Inflater) inflate(out []byte, end int) ([]byte, error) {
	for {
		// One byte more than allowed, to see that there is one.
		out = grow(out, max(512, 4*f.src.Len()), end+1)
		n, err := f.r.Read(out[len(out):min(cap(out), end+1)])
		out = out[:len(out)+n]
		if len(out) > end {
			return nil, errInflated
		}
		if err == nil {
			continue
		}
		if err != io.EOF {
			return nil, errCorrupt
		}
		// A block with BFINAL ends a sequence of blocks but not the message, which
		// may go on at the next byte: RFC 7692, 7.2.3.4. Who uses it may forget
		// about the byte that stands for the empty block behind it.
		switch left := f.src.Len(); {
		case left == 0 || left == len(inflateTail):
			return out, nil
		case left < len(inflateTail):
			return nil, errCorrupt // it ended inside the tail
		}
		f.restart()
	}
}

// grow makes room in b for at least a byte: for first bytes at the start, then
// for as many again; but not beyond a length of end.
func grow(b []byte, first, end int) []byte {
	if len(b) < cap(b) {
		return b
	}
	grown := make([]byte, len(b), min(max(2*len(b), len(b)+first), end))
	copy(grown, b)
	return grown
}
