package sio

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/eio"
)

// A message is what is sent to many, in each form that somebody needs: as JSON or
// MessagePack, and without the offset that recovery has put behind the arguments.
type message struct {
	json *eio.Prepared
	tail int // bytes of the text before its last that are the offset

	kept  *atomic.Int64 // counts the bytes of further forms while the message is kept; nil: nobody does
	extra atomic.Int64  // of which it has counted these; negative: not kept any more

	mu    sync.Mutex
	forms [3]*eio.Prepared // by form, less 1; nil also if there is none
	made  [3]bool
}

// The forms of a message, beside that for nearly everybody, 0.
const (
	packedForm = 1 << iota
	bareForm   // without the offset
)

// newMessage takes frames, which belong to it from now on. They are never
// compressed if plain.
func newMessage(frames []byte, plain bool) *message {
	m := &message{json: eio.PrepareFrames(frames)}
	m.json.Plain = plain
	return m
}

// form returns the form that a session's client needs of messages.
func (sh *shard) form(es eio.Session) (form int) {
	if packed(es) {
		form = packedForm
	}
	if sh.srv.log != nil && sh.srv.isOld(es) {
		form |= bareForm
	}
	return form
}

// in returns the message in a form, nil if it cannot be had in that.
func (m *message) in(form int) *eio.Prepared {
	if m.tail == 0 {
		form &^= bareForm
	}
	if form == 0 {
		return m.json
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := form - 1
	if m.made[i] {
		return m.forms[i]
	}
	m.made[i] = true
	frames := m.json.Frames()
	if form&bareForm != 0 {
		frames = withoutTail(frames, m.tail)
	}
	if form&packedForm != 0 {
		frames = packFrames(frames)
	}
	if frames != nil {
		m.forms[i] = eio.PrepareFrames(frames)
		m.forms[i].Plain = m.json.Plain
		m.count(int64(len(frames)))
	}
	return m.forms[i]
}

// count counts further bytes of a message that is kept.
func (m *message) count(n int64) {
	if m.kept == nil {
		return
	}
	m.kept.Add(n)
	if m.extra.Add(n) < 0 {
		m.kept.Add(-n) // not kept any more
	}
}

// keep has further forms counted, and returns what there is. It is called before
// the message is given to others.
func (m *message) keep(kept *atomic.Int64) int64 {
	m.kept = kept
	return int64(m.json.Size())
}

// drop ends keep.
func (m *message) drop() { m.kept.Add(-m.extra.Swap(math.MinInt64 / 2)) }

// withoutTail returns the frames of a packet without so many bytes before the last
// one of its text.
func withoutTail(frames []byte, tail int) []byte {
	var out []byte
	eio.EachMessage(frames, func(data []byte, binary bool) {
		switch n := len(data) - 1; {
		case binary:
			out = eio.AppendBinary(out, data)
		case n < tail:
			out = eio.AppendText(out, data)
		default:
			out = eio.AppendText(out, data[:n-tail], data[n:])
		}
	})
	return out
}
