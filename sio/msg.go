package sio

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// Binary is bytes that travel as a binary attachment, as []byte does; it is
// what an attachment becomes when it is decoded into an any.
type Binary = value.Binary

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
		if err := value.Decode(a.raw[i], a.buffers, d); err != nil {
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
	first *Msg              // which With and WithContext were called on; it is acknowledged
	ctx   context.Context   // by WithContext; nil: the socket's

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
// Ack acknowledges. The error is an *[EncodeError], or [ErrClosed] if m is a view
// that is not valid any more.
func (m *Msg) With(args ...any) (*Msg, error) {
	if m.s.in == nil {
		return nil, ErrClosed // it was an inline handler's, which has returned
	}
	a, err := m.s.srv().encodeArgs(args)
	if err != nil {
		return nil, err
	}
	return &Msg{Args: a, s: m.s, event: m.event, wants: m.wants, first: m, ctx: m.ctx}, nil
}

// encodeArgs encodes arguments, into memory of their own.
func (srv *Server) encodeArgs(args []any) (Args, error) {
	e, err := srv.encodeEvent("x", args) // any name will do
	if err != nil {
		return Args{}, err
	}
	var p parser.Packet
	err = parser.Parse(append([]byte{'0' + byte(parser.Event)}, e.Data...), parser.Limits{MaxArgs: 1 << 30, MaxAttachments: 1, MaxDepth: 1 << 20}, &p)
	return Args{p.Args, cloneAll(e.Attachments)}, err
}

// Context returns the context that a wrapper has given the event, such as one with
// the span of a trace; else that of the socket ([Socket.Context]), or of what
// another server sent, which has none, context.Background().
func (m *Msg) Context() context.Context {
	switch {
	case m.ctx != nil:
		return m.ctx
	case m.s.in == nil:
		return closedContext // it was an inline handler's, which has returned
	case m.s.ref == 0:
		return context.Background()
	}
	return m.s.Context()
}

// WithContext returns the event with another context, for a wrapper of
// [Namespace.UseEvent] to pass on. It is valid as long as m, whose arguments it has,
// and which is what its Ack acknowledges.
func (m *Msg) WithContext(ctx context.Context) *Msg {
	return &Msg{Args: m.Args, s: m.s, event: m.event, wants: m.wants, first: m, ctx: ctx}
}

// WantsAck tells whether the client waits for an acknowledgement.
func (m *Msg) WantsAck() bool { return m.wants }

// Ack answers the client's acknowledgement. Only the first call does, and only
// if the client wants one; a call whose arguments cannot be encoded does not
// count. Any goroutine may call it, also after the handler has returned, unless
// that is inline. The error is an *[EncodeError], or [ErrClosed] if the client has
// left; nil does not mean that it has the answer.
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
	return m.s.srv().seq.mail(m.s, text, attachments, false)
}

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
	if sh.srv.offsets && sh.srv.isOld(es) {
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

// Size returns the length of the message in its usual form.
func (m *message) Size() int { return m.json.Size() }

// Keep has further forms counted, and returns what there is: see
// packetlog.Message.
func (m *message) Keep(kept *atomic.Int64) int64 {
	m.kept = kept
	return messageBytes + int64(m.json.Size())
}

// messageBytes is what a message takes beside its bytes, about.
const messageBytes = int64(unsafe.Sizeof(message{})) + 160

// Drop ends Keep.
func (m *message) Drop() { m.kept.Add(-m.extra.Swap(math.MinInt64 / 2)) }

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

// A Parser says how packets are encoded; server and client must agree on it.
type Parser uint8

// The parsers.
const (
	// JSON is the default of every client: JSON with binary attachments.
	JSON Parser = iota
	// MessagePack is the npm package socket.io-msgpack-parser.
	MessagePack
	// EitherParser takes whichever a client's first packet is in.
	EitherParser
)

// packedSession is set in a session's user word if its client speaks
// MessagePack.
const packedSession = 1 << 30

// userFlags are the bits of a session's user word that are no slot.
const userFlags = everJoined | packedSession

func packed(es eio.Session) bool { return es.User()&packedSession != 0 }

// speaks decides by its first message which parser a session's client speaks,
// and tells whether a message is in it.
func (srv *Server) speaks(es eio.Session, binary bool) bool {
	switch {
	case srv.o.Parser == JSON || packed(es):
	case es.User() != 0: // decided: JSON
		return true
	case binary:
		es.SetUser(packedSession)
	}
	return srv.o.Parser != MessagePack && !packed(es) || packed(es) && binary
}

// unpack parses a MessagePack packet into sh.packet, as the JSON parser would
// have left it: handlers need not know.
func (sh *shard) unpack(data []byte) error {
	p := &sh.packet
	if err := parser.ParseMsgpack(data, sh.srv.o.Limits, p); err != nil {
		return err
	}
	var err error
	text := sh.unpacked[:0]
	var attachments [][]byte
	if p.Data != nil && p.Type == parser.Connect {
		if text, _, err = value.AppendJSONFromMsgpack(text, p.Data, nil); err != nil {
			return err
		}
		p.Data = text
	}
	ends := make([]int, 0, 8)
	for _, arg := range p.Args {
		if text, attachments, err = value.AppendJSONFromMsgpack(text, arg, attachments); err != nil {
			return err
		}
		ends = append(ends, len(text))
	}
	at := 0
	for i, end := range ends {
		p.Args[i] = text[at:end]
		at = end
	}
	for i, a := range attachments {
		attachments[i] = bytes.Clone(a) // they may be kept
	}
	p.Buffers, p.Attachments, p.Encoding = attachments, len(attachments), parser.JSON
	sh.unpacked = text[:0]
	if cap(text) > 64<<10 {
		sh.unpacked = nil
	}
	return nil
}

// packFrames turns the frames of one JSON packet and its attachments into the
// frame of a MessagePack packet. It is nil if the packet cannot be one.
func packFrames(frames []byte) []byte {
	var text []byte
	var attachments [][]byte
	eio.EachMessage(frames, func(data []byte, binary bool) {
		if binary {
			attachments = append(attachments, data)
		} else {
			text = data
		}
	})
	var p parser.Packet
	if parser.Parse(text, parser.Limits{MaxAttachments: max(len(attachments), 1), MaxDepth: 1 << 20, MaxArgs: 1 << 30}, &p) != nil {
		return nil
	}
	p.Buffers = attachments
	b, err := parser.AppendMsgpackPacket(nil, &p)
	if err != nil {
		return nil
	}
	return eio.AppendBinary(nil, b)
}

// transmit sends the frames of one packet to a session, which are copied, and
// not compressed if plain.
func (sh *shard) transmit(es eio.Session, frames []byte, plain bool) {
	if packed(es) {
		frames = packFrames(frames)
	}
	if plain {
		es.SendPlain(frames)
		return
	}
	es.Send(frames)
}

// frameAt returns the frames of an event with an offset, unless that is "", and how
// much at the end of its text that is.
func frameAt(namespace string, e rooms.Event, offset string) (frames []byte, tail int) {
	if offset == "" {
		return frame(namespace, e, 0, false), 0
	}
	text := string(append(value.AppendJSONText([]byte{','}, offset), ']'))
	frames, _ = frameEndingIn(namespace, e, text)
	return frames, len(text) - 1
}
