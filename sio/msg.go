package sio

import (
	"encoding/json"
	"sync/atomic"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/parser"
)

// Binary is bytes that travel as a binary attachment, as []byte does; it is
// what an attachment becomes when it is decoded into an any.
type Binary = parser.Binary

// Args are the arguments of an event or of an acknowledgement, not decoded yet. As
// an argument of Emit, EmitAck, Ack and the like they stand for all of them, passed
// on unchanged and undecoded with their attachments, beside other arguments or
// alone; so does a *[Msg]:
//
//	return s.To(room).Emit(m.Event(), m.Args)
type Args struct {
	raw     [][]byte
	buffers [][]byte
}

// Len returns the number of arguments.
func (a Args) Len() int { return len(a.raw) }

// Raw returns argument i as JSON, nil if there is none. Attachments in it are
// placeholders. It may not be modified.
func (a Args) Raw(i int) json.RawMessage {
	if i < 0 || i >= len(a.raw) {
		return nil
	}
	return a.raw[i]
}

// Binary returns the attachments in their order. They may not be modified.
func (a Args) Binary() [][]byte { return a.buffers }

// From returns the arguments from argument i on.
func (a Args) From(i int) Args {
	a.raw = a.raw[min(max(i, 0), len(a.raw)):]
	return a
}

// Verbatim returns the arguments for whoever encodes them again. They may not be
// modified.
func (a Args) Verbatim() (args, attachments [][]byte) { return a.raw, a.buffers }

// Decode decodes the arguments into dst, one each, by encoding/json, with
// attachments put into the []byte, [Binary] or any where their placeholders
// are. Arguments without a dst are ignored, a dst without an argument is left
// as it is. The error is a *[DecodeError].
func (a Args) Decode(dst ...any) error {
	for i, d := range dst {
		if i == len(a.raw) {
			break
		}
		if err := parser.Decode(a.raw[i], a.buffers, d); err != nil {
			return &DecodeError{i, err}
		}
	}
	return nil
}

// A Msg is an event from a client.
type Msg struct {
	Args
	s     Socket
	event string
	id    uint64
	wants bool
	acked atomic.Bool
	reply func(rooms.Value) // gets the answer, of a message that is no client's
	first *Msg              // whose arguments With has replaced; it is acknowledged

	inline [4][]byte // backs raw
}

// newMsg copies a packet.
func newMsg(s Socket, p *parser.Packet) *Msg {
	m := &Msg{s: s, event: string(p.Event), id: p.ID, wants: p.HasID}
	m.copyArgs(p, m.inline[:0])
	return m
}

// copyArgs copies the arguments of p in one piece. Attachments are the packet's
// own already.
func (a *Args) copyArgs(p *parser.Packet, into [][]byte) {
	n := 0
	for _, arg := range p.Args {
		n += len(arg)
	}
	data := make([]byte, 0, n)
	a.raw, a.buffers = into, p.Buffers
	if len(p.Args) > cap(into) {
		a.raw = make([][]byte, 0, len(p.Args))
	}
	for _, arg := range p.Args {
		at := len(data)
		data = append(data, arg...)
		a.raw = append(a.raw, data[at:len(data):len(data)])
	}
}

// view makes m a view of a packet.
func (m *Msg) view(s Socket, p *parser.Packet, event string) {
	m.Args = Args{p.Args, p.Buffers}
	m.s, m.event, m.id, m.wants = s, event, p.ID, p.HasID
	m.acked.Store(false)
}

// drop makes m answer to nothing, in case a handler kept it.
func (m *Msg) drop() { *m = Msg{} }

// Event returns the event's name.
func (m *Msg) Event() string { return m.event }

// With returns the event with other arguments, for a wrapper of
// [Namespace.UseEvent] to pass on. It is valid as long as m, which is what its
// Ack acknowledges.
func (m *Msg) With(args ...any) (*Msg, error) {
	if m.s.in == nil {
		return nil, ErrClosed // it was an inline handler's, which has returned
	}
	e, err := m.s.srv().encodeEvent("x", args) // any name will do
	if err != nil {
		return nil, err
	}
	var p parser.Packet
	if err := parser.Parse(append([]byte{'0' + byte(parser.Event)}, e.Data...), parser.Limits{MaxArgs: len(args) + 1, MaxAttachments: 1, MaxDepth: 1 << 20}, &p); err != nil {
		return nil, err
	}
	return &Msg{Args: Args{p.Args, cloneAll(e.Attachments)}, s: m.s, event: m.event, wants: m.wants, first: m}, nil
}

// WantsAck tells whether the client waits for an acknowledgement.
func (m *Msg) WantsAck() bool { return m.wants }

// Ack answers the client's acknowledgement. Only the first call does, and only
// if the client wants one; a call whose arguments cannot be encoded does not
// count. Any goroutine may call it, also after the handler has returned, unless
// that is inline.
func (m *Msg) Ack(args ...any) error {
	if m.first != nil {
		return m.first.Ack(args...)
	}
	if !m.wants || m.acked.Load() {
		return nil
	}
	if m.reply != nil {
		v, err := m.s.srv().valueOf(args)
		if err == nil && !m.acked.Swap(true) {
			m.reply(v)
		}
		return err
	}
	buf := packets.Get()
	defer packets.Put(buf)
	text, attachments, err := m.s.srv().o.Limits.AppendAck(buf.B[:0], m.s.in.name, m.id, args)
	buf.B = text[:0]
	if err != nil {
		return encodeError(err)
	}
	if m.acked.Swap(true) {
		return nil
	}
	return m.s.mail(text, attachments, false)
}
