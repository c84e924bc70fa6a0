package eio

import (
	"bytes"
	"encoding/base64"
	"slices"
	"sync"

	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/wsframe"
)

// A Prepared is a message, or several in a row, encoded once for any number
// of sessions. It is immutable and may be sent by any loop of a server.
//
// Its form is that of WebSocket frames; a polling payload is derived from
// them when a poll is answered, which is rare and per client anyway. The
// compressed form is made when a session first needs it.
type Prepared struct {
	// Plain has the message never compressed. It is set before the message is
	// sent, or not at all. Node: the option compress: false.
	Plain bool
	texts uint32 // of frames: text messages

	frames []byte
	parts  []*Prepared // of Concat
	kinds  *kinds      // nil: nothing of it may be dropped

	once     sync.Once
	binaries uint32 // of frames: the others
	deflated []byte // frames with those compressed that are worth it

	onceTyped sync.Once
	typed     *Prepared // for Engine.IO 3: itself if there is no binary message
}

// Prepare encodes one message.
func Prepare(data []byte, binary bool) *Prepared {
	b := make([]byte, 0, wsframe.ServerHeaderLen(len(data)+1)+len(data)+1)
	if binary {
		return &Prepared{frames: wsframe.AppendFrame(b, wsframe.Binary, data), binaries: 1}
	}
	return &Prepared{frames: AppendText(b, data), texts: 1}
}

// PrepareFrames takes frames that were made by AppendText and AppendBinary;
// they belong to the Prepared from now on.
func PrepareFrames(frames []byte) *Prepared {
	var n Frames
	n.sent(frames)
	return &Prepared{frames: frames, texts: uint32(n.Text), binaries: uint32(n.Binary)}
}

// kinds are what messages may be dropped by.
type kinds struct {
	one    *class.Kind  // of one message
	cuts   []class.Part // of frames
	zipped []class.Part // of deflated, if that is not frames
	buf    [2]class.Part
}

// OfKind says what the message may be dropped by while it waits for a slow client, and
// returns p. It is called before the message is sent. Nil: it is never dropped.
func (p *Prepared) OfKind(k *class.Kind) *Prepared {
	if p.kinds = nil; k != nil {
		x := &kinds{one: k}
		x.buf[0] = class.Part{End: len(p.frames), Kind: k}
		x.cuts = x.buf[:1:1]
		p.kinds = x
	}
	return p
}

// Kind returns what OfKind was given.
func (p *Prepared) Kind() *class.Kind {
	if p.kinds == nil {
		return nil
	}
	return p.kinds.one
}

// cuts returns where the messages end that may be dropped, nil if none may.
func (p *Prepared) cuts() []class.Part {
	if p.kinds == nil {
		return nil
	}
	return p.kinds.cuts
}

// cut appends to cuts that a message of kind k ends there. What is never dropped is
// not told apart from what is before it.
func cut(cuts []class.Part, end int, k *class.Kind) []class.Part {
	if n := len(cuts); n > 0 && k == nil && cuts[n-1].Kind == nil {
		cuts[n-1].End = end
		return cuts
	}
	return append(cuts, class.Part{End: end, Kind: k})
}

// cutsOf returns the cuts of messages in a row that are so long; nil if none of them
// may be dropped.
func cutsOf(ps []*Prepared, length func(p *Prepared) int) (cuts []class.Part) {
	if !slices.ContainsFunc(ps, func(p *Prepared) bool { return p.Kind() != nil }) {
		return nil
	}
	cuts, end := make([]class.Part, 0, len(ps)), 0
	for _, p := range ps {
		end += length(p)
		cuts = cut(cuts, end, p.Kind())
	}
	return cuts
}

// Concat joins messages into one, which a session of the server receives with
// one write. Each is compressed, or not, as it would be by itself. It keeps ps.
// Any goroutine may call it.
func (s *Server) Concat(ps []*Prepared) *Prepared {
	n := 0
	for _, p := range ps {
		n += len(p.frames)
	}
	b := make([]byte, 0, n)
	joined := &Prepared{}
	for _, p := range ps {
		b = append(b, p.frames...)
		joined.texts += p.texts
		joined.binaries += p.binaries
	}
	joined.frames = b
	if cuts := cutsOf(ps, (*Prepared).Size); cuts != nil {
		joined.kinds = &kinds{cuts: cuts}
	}
	if s.deflate != nil {
		joined.parts = ps // which need not live as long otherwise
	}
	return joined
}

// forSession returns the frames, and the cuts of them, for a session's WebSocket that
// takes binary messages.
func (p *Prepared) forSession(s *session, z *zipper) (frames []byte, cuts []class.Part) {
	if s.is(revision3) {
		p = p.withTypes()
	}
	if !s.is(deflates) {
		return p.frames, p.cuts()
	}
	if frames = p.deflate(z); p.kinds == nil || len(frames) == len(p.frames) {
		return frames, p.cuts()
	}
	return frames, p.kinds.zipped
}

// deflate returns the message's frames for a client that takes compressed ones.
// They are made once, by the loop that needs them first; another that needs
// them at the same time waits no longer than making them itself would take.
func (p *Prepared) deflate(z *zipper) []byte {
	if p.Plain || len(p.frames) < z.o.Threshold {
		return p.frames
	}
	p.once.Do(func() { p.deflated = p.compress(z) })
	return p.deflated
}

func (p *Prepared) compress(z *zipper) []byte {
	if p.parts == nil {
		b, ok := z.deflate(z.scratch[:0], p.frames)
		z.scratch = keepScratch(b)
		if !ok {
			return p.frames
		}
		if x := p.kinds; x != nil {
			x.buf[1] = class.Part{End: len(b), Kind: x.one}
			x.zipped = x.buf[1:]
		}
		return bytes.Clone(b)
	}
	n := 0
	for _, part := range p.parts {
		n += len(part.deflate(z))
	}
	if n == len(p.frames) {
		return p.frames // nothing became smaller
	}
	b := make([]byte, 0, n)
	for _, part := range p.parts {
		b = append(b, part.deflate(z)...)
	}
	if p.kinds != nil {
		p.kinds.zipped = cutsOf(p.parts, func(part *Prepared) int { return len(part.deflate(z)) })
	}
	return b
}

// withTypes returns the message as a WebSocket of Engine.IO 3 has it: with a type
// byte before each binary message. It is made once, as its compressed form is.
func (p *Prepared) withTypes() *Prepared {
	p.onceTyped.Do(func() {
		p.typed = p
		if !hasBinary(p.frames) {
			return
		}
		p.typed = (&Prepared{Plain: p.Plain, frames: withTypes(p.frames)}).OfKind(p.Kind())
		for _, part := range p.parts {
			p.typed.parts = append(p.typed.parts, part.withTypes())
		}
		if p.kinds != nil && p.Kind() == nil { // joined
			x, start, end := &kinds{}, 0, 0
			for _, c := range p.cuts() {
				end += len(withTypes(p.frames[start:c.End]))
				x.cuts = append(x.cuts, class.Part{End: end, Kind: c.Kind})
				start = c.End
			}
			p.typed.kinds = x
		}
	})
	return p.typed
}

// Size returns the bytes of the message on a WebSocket.
func (p *Prepared) Size() int { return len(p.frames) }

// AppendText appends the frame of a text message to dst: Engine.IO's type
// character, then the parts of the message one after the other.
func AppendText(dst []byte, parts ...[]byte) []byte {
	n := int64(1)
	for _, p := range parts {
		n += int64(len(p))
	}
	dst = wsframe.AppendHeader(dst, wsframe.Header{Fin: true, Op: wsframe.Text, Length: n})
	dst = append(dst, message)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

// TextLen returns how long what AppendText appends is for n bytes.
func TextLen(n int) int { return wsframe.ServerHeaderLen(n+1) + n + 1 }

// BinaryLen returns how long what AppendBinary appends is for n bytes.
func BinaryLen(n int) int { return wsframe.ServerHeaderLen(n) + n }

// AppendBinary appends the frame of a binary message to dst.
func AppendBinary(dst, data []byte) []byte {
	return wsframe.AppendFrame(dst, wsframe.Binary, data)
}

// withoutBinary returns frames with every binary message as text: base64 behind
// prefix, as in a polling payload. Node: the query parameter b64.
func withoutBinary(frames []byte, prefix string) []byte {
	return eachBinary(frames, func(dst, p []byte) []byte {
		dst = wsframe.AppendHeader(dst, wsframe.Header{Fin: true, Op: wsframe.Text,
			Length: int64(len(prefix) + base64.StdEncoding.EncodedLen(len(p)))})
		return base64.StdEncoding.AppendEncode(append(dst, prefix...), p)
	})
}

// eachBinary returns frames with every binary message replaced by what f appends
// for it, frames itself if there is none.
func eachBinary(frames []byte, f func(dst, data []byte) []byte) []byte {
	var dst []byte
	done := 0
	for i := 0; i < len(frames); {
		h, p, n := cutFrame(frames[i:])
		if h.Op == wsframe.Binary {
			dst = f(append(dst, frames[done:i]...), p)
			done = i + n
		}
		i += n
	}
	if done == 0 {
		return frames
	}
	return append(dst, frames[done:]...)
}

// cutFrame returns the head of the first of our own frames, its payload and its length.
func cutFrame(frames []byte) (h wsframe.Header, payload []byte, n int) {
	h, n, err := wsframe.ParseHeader(frames)
	if n == 0 || err != nil {
		panic("eio: frames are broken")
	}
	return h, frames[n : n+int(h.Length)], n + int(h.Length)
}

// appendPayload appends the polling payload of the messages in frames to dst:
// packets with a record separator between them, binary as base64 (Engine.IO
// protocol 4, "Payload encoding"). more says that dst already holds packets.
func appendPayload(dst, frames []byte, more bool) []byte {
	for len(frames) > 0 {
		h, p, n := cutFrame(frames)
		frames = frames[n:]
		if more {
			dst = append(dst, separator)
		}
		more = true
		if h.Op == wsframe.Binary {
			dst = append(dst, encoded)
			dst = base64.StdEncoding.AppendEncode(dst, p)
		} else {
			dst = append(dst, p...)
		}
	}
	return dst
}

// Frames returns the message as frames, not to be modified.
func (p *Prepared) Frames() []byte { return p.frames }

// EachMessage calls f with each message in frames that were made by AppendText
// and AppendBinary. What it is given is a view.
func EachMessage(frames []byte, f func(data []byte, binary bool)) {
	for len(frames) > 0 {
		h, data, n := cutFrame(frames)
		frames = frames[n:]
		if h.Op == wsframe.Text {
			data = data[1:] // Engine.IO's type
		}
		f(data, h.Op == wsframe.Binary)
	}
}
