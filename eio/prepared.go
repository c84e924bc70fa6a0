package eio

import (
	"bytes"
	"encoding/base64"
	"sync"

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

	frames []byte
	parts  []*Prepared // of Concat

	once     sync.Once
	deflated []byte // frames with those compressed that are worth it

	onceTyped sync.Once
	typed     *Prepared // for Engine.IO 3: itself if there is no binary message
}

// Prepare encodes one message.
func Prepare(data []byte, binary bool) *Prepared {
	b := make([]byte, 0, wsframe.ServerHeaderLen(len(data)+1)+len(data)+1)
	if binary {
		return &Prepared{frames: wsframe.AppendFrame(b, wsframe.Binary, data)}
	}
	return &Prepared{frames: AppendText(b, data)}
}

// PrepareFrames takes frames that were made by AppendText and AppendBinary;
// they belong to the Prepared from now on.
func PrepareFrames(frames []byte) *Prepared { return &Prepared{frames: frames} }

// Concat joins messages into one, which a session of the server receives with
// one write. Each is compressed, or not, as it would be by itself. It keeps ps.
// Any goroutine may call it.
func (s *Server) Concat(ps []*Prepared) *Prepared {
	n := 0
	for _, p := range ps {
		n += len(p.frames)
	}
	b := make([]byte, 0, n)
	for _, p := range ps {
		b = append(b, p.frames...)
	}
	if s.deflate == nil {
		return &Prepared{frames: b} // ps need not live as long
	}
	return &Prepared{frames: b, parts: ps}
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
		p.typed = &Prepared{Plain: p.Plain, frames: withTypes(p.frames)}
		for _, part := range p.parts {
			p.typed.parts = append(p.typed.parts, part.withTypes())
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
