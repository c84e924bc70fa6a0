// Package framing makes Engine.IO frames of the packets of events: with the offset
// that recovery puts behind their arguments or without, as JSON or as MessagePack.
package framing

import (
	"encoding/binary"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/parser"
)

// Of returns the frames of an event.
func Of(namespace string, e rooms.Event, id uint64, hasID bool) []byte {
	var buf [64]byte
	return parts(e.Attachments, parser.AppendHead(buf[:0], parser.Event, len(e.Attachments), namespace, id, hasID), e.Data, nil)
}

// Type returns the type of the packet that frames are of, as it is on the wire.
func Type(frames []byte) parser.Type {
	at := len("4") + 2
	if n := frames[1]; n == 126 { // RFC 6455, 5.2
		at += 2
	} else if n == 127 {
		at += 8
	}
	return parser.Type(frames[at] - '0')
}

// endingIn returns the frames of an event whose arguments, up to the bracket
// behind them, are followed by tail. Of the text, the frame ends at textEnd.
func endingIn(namespace string, e rooms.Event, tail string) (frames []byte, textEnd int) {
	var buf, end [64]byte
	head := parser.AppendHead(buf[:0], parser.Event, len(e.Attachments), namespace, 0, false)
	frames = parts(e.Attachments, head, e.Data[:len(e.Data)-1], append(end[:0], tail...))
	textEnd = len(frames)
	for _, a := range e.Attachments {
		textEnd -= eio.BinaryLen(len(a))
	}
	return frames, textEnd
}

// OffsetTail is what an offset adds to an event.
const OffsetTail = len(`,""`) + packetlog.OffsetLen

// Logged returns the frames of an event with an offset as its last argument.
// The offset is where in frames it is to be written.
func Logged(namespace string, e rooms.Event) (frames, offset []byte) {
	frames, end := endingIn(namespace, e, `,"`+packetlog.BlankOffset+`"]`)
	end -= len(`"]`)
	return frames, frames[end-packetlog.OffsetLen : end]
}

// parts returns the frames of a packet whose text is in three parts.
func parts(attachments [][]byte, head, data, tail []byte) []byte {
	n := eio.TextLen(len(head) + len(data) + len(tail))
	for _, a := range attachments {
		n += eio.BinaryLen(len(a))
	}
	return Append(eio.AppendText(make([]byte, 0, n), head, data, tail), nil, attachments)
}

// At returns the frames of an event with an offset, unless that is "", and how
// much at the end of its text that is.
func At(namespace string, e rooms.Event, offset string) (frames []byte, tail int) {
	if offset == "" {
		return Of(namespace, e, 0, false), 0
	}
	text := string(append(value.AppendJSONText([]byte{','}, offset), ']'))
	frames, _ = endingIn(namespace, e, text)
	return frames, len(text) - 1
}

// Append appends a packet's text, unless nil, and its attachments as one
// unit.
func Append(dst, text []byte, attachments [][]byte) []byte {
	if text != nil {
		dst = eio.AppendText(dst, text)
	}
	for _, a := range attachments {
		dst = eio.AppendBinary(dst, a)
	}
	return dst
}

// WithTail returns the frames of a packet with another tail, or "" for none, in place
// of that of so many bytes before the last one of its text.
func WithTail(frames []byte, tail int, other string) []byte {
	var out []byte
	eio.EachMessage(frames, func(data []byte, binary bool) {
		switch n := len(data) - 1; {
		case binary:
			out = eio.AppendBinary(out, data)
		case n < tail:
			out = eio.AppendText(out, data)
		default:
			out = eio.AppendText(out, data[:n-tail], []byte(other), data[n:])
		}
	})
	return out
}

// IsEvent tells whether frames are those of an event, in JSON.
func IsEvent(frames []byte) (is bool) {
	eio.EachMessage(frames, func(data []byte, binary bool) {
		is = is || !binary && len(data) > 0 && (data[0] == '0'+byte(parser.Event) || data[0] == '0'+byte(parser.BinaryEvent))
	})
	return is
}

// Open returns the packet that frames of JSON are of, without an offset of so many bytes
// at the end of its text; nil if they are none of one. It is a view.
func Open(frames []byte, tail int) *parser.Packet {
	if tail > 0 {
		frames = WithTail(frames, tail, "")
	}
	var text []byte
	var attachments [][]byte
	eio.EachMessage(frames, func(data []byte, binary bool) {
		if binary {
			attachments = append(attachments, data)
		} else {
			text = data
		}
	})
	p := &parser.Packet{}
	if parser.Parse(text, parser.Limits{MaxAttachments: max(len(attachments), 1), MaxDepth: 1 << 20, MaxArgs: 1 << 30}, p) != nil {
		return nil
	}
	p.Buffers = attachments
	return p
}

// Pack turns the frames of one JSON packet and its attachments into the
// frame of a MessagePack packet. It is nil if the packet cannot be one.
func Pack(frames []byte) []byte {
	p := Open(frames, 0)
	if p == nil {
		return nil
	}
	b, err := parser.AppendMsgpackPacket(nil, p)
	if err != nil {
		return nil
	}
	return eio.AppendBinary(nil, b)
}

// Unpack makes of a MessagePack packet that was parsed what the JSON parser would have
// left, but for its attachments, which are its own. Its text is appended to dst, which is
// returned, and p has views of that.
func Unpack(dst []byte, p *parser.Packet) (_ []byte, err error) {
	at := len(dst)
	var attachments [][]byte
	if p.Data != nil && p.Type == parser.Connect {
		if dst, _, err = value.AppendJSONFromMsgpack(dst, p.Data, nil); err != nil {
			return dst, err
		}
		p.Data = dst[at:]
		at = len(dst)
	}
	ends := make([]int, 0, 8)
	for _, arg := range p.Args {
		if dst, attachments, err = value.AppendJSONFromMsgpack(dst, arg, attachments); err != nil {
			return dst, err
		}
		ends = append(ends, len(dst))
	}
	for i, end := range ends {
		p.Args[i] = dst[at:end]
		at = end
	}
	p.Buffers, p.Attachments, p.Encoding = CloneAll(attachments), len(attachments), parser.JSON
	return dst, nil
}

// Own returns e with attachments that are not the caller's of a method any more:
// for whoever keeps it when the method has returned.
func Own(e rooms.Event) rooms.Event {
	e.Attachments = CloneAll(e.Attachments)
	return e
}

// CloneAll returns copies of attachments, nil of nil.
func CloneAll(all [][]byte) [][]byte {
	if all == nil {
		return nil
	}
	own := make([][]byte, len(all))
	for i, a := range all {
		own[i] = append(make([]byte, 0, len(a)), a...)
	}
	return own
}

// IsWhole tells whether frames are a text that may be an event's, with a tail of so many
// bytes before its last, and attachments behind it: what another process sends may be
// anything.
func IsWhole(frames []byte, tail int) bool {
	for first := true; len(frames) > 0; first = false {
		data, rest, ok := cut(frames, first)
		if !ok {
			return false
		}
		if first && !mayBeEvent(data, tail) {
			return false
		}
		if frames = rest; len(frames) == 0 {
			return true
		}
	}
	return false
}

// mayBeEvent tells whether a text has the beginning and the end of an event's.
func mayBeEvent(text []byte, tail int) bool {
	n := len(text)
	switch {
	case tail < 0 || tail > n || n-tail < len(`42[""]`), text[0] != '4', text[n-1] != ']', tail > 0 && text[n-1-tail] != ',':
		return false
	}
	return text[1] == '0'+byte(parser.Event) || text[1] == '0'+byte(parser.BinaryEvent)
}

// cut cuts off the first frame, which is whole, not masked, and of the shortest form (RFC
// 6455, 5.2), as ours are.
func cut(frames []byte, text bool) (data, rest []byte, ok bool) {
	op := byte(0x82)
	if text {
		op = 0x81
	}
	if len(frames) < 2 || frames[0] != op {
		return nil, nil, false
	}
	n, at := uint64(frames[1]), 2
	switch {
	case n == 126 && len(frames) >= 4:
		n, at = uint64(binary.BigEndian.Uint16(frames[2:])), 4
	case n == 127 && len(frames) >= 10:
		n, at = binary.BigEndian.Uint64(frames[2:]), 10
	case n > 125:
		return nil, nil, false
	}
	if n > uint64(len(frames)-at) || at == 4 && n < 126 || at == 10 && n < 1<<16 {
		return nil, nil, false
	}
	return frames[at:][:n], frames[at+int(n):], true
}
