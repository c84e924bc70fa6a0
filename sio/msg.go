package sio

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
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

// ParseArgs returns arguments that came as the text of a JSON array, such as [1,"two"],
// with the attachments that placeholders in it name, {"_placeholder":true,"num":0} the
// first of them, to be passed on as they are:
//
//	args, err := sio.ParseArgs(body, nil) // of an HTTP request
//	if err != nil {
//		return err
//	}
//	return ns.To(room).Emit("news", args)
//
// All of it is validated here, and nothing is decoded. List and attachments belong to
// the Args from now on. Without attachments, what looks like a placeholder is data. The
// error says what is wrong with list: it is no JSON array, or nested deeper than 1000,
// not UTF-8, or names an attachment that is not there, or one more than four times.
func ParseArgs(list []byte, attachments [][]byte) (Args, error) {
	raw, err := parser.ParseArgs(list, len(attachments), maxNesting)
	if err != nil {
		return Args{}, fmt.Errorf("sio: arguments: %w", err)
	}
	return Args{raw, attachments}, nil
}

// maxNesting bounds ParseArgs, as values of Go are bounded.
const maxNesting = 1000

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
	on    *shard            // of an inline handler, on whose loop it is used; else nil

	inline [4][]byte // backs raw
}

// newMsg copies a packet.
func newMsg(s Socket, p *parser.Packet) *Msg {
	m := &Msg{s: s, event: string(p.Event), id: p.ID, wants: p.HasID}
	m.copyArgs(p.Args, p.Buffers, m.inline[:0])
	return m
}

// copyArgs copies the arguments of a packet in one piece. Attachments are the packet's
// own already.
func (a *Args) copyArgs(args, attachments, into [][]byte) {
	n := 0
	for _, arg := range args {
		n += len(arg)
	}
	data := make([]byte, 0, n)
	a.raw, a.buffers = into, attachments
	if len(args) > cap(into) {
		a.raw = make([][]byte, 0, len(args))
	}
	for _, arg := range args {
		at := len(data)
		data = append(data, arg...)
		a.raw = append(a.raw, data[at:len(data):len(data)])
	}
}

// view makes m a view of a packet, for an inline handler of a shard.
func (m *Msg) view(on *shard, s Socket, p *parser.Packet, event string) {
	m.Args = Args{p.Args, p.Buffers}
	m.s, m.event, m.id, m.wants, m.on = s, event, p.ID, p.HasID, on
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
	return Args{p.Args, framing.CloneAll(e.Attachments)}, err
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
// that is inline: then only the handler does, on the loop. The error is an *[EncodeError], or [ErrClosed] if the client has
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
	if m.on != nil && m.on.nothingBefore() {
		return m.on.answer(m.s, m.id, args, &m.acked)
	}
	return m.s.acknowledge(m.id, args, &m.acked)
}

// A Reply is the acknowledgement of an event, apart from its [Msg]: a small value to
// keep until the answer is known, which pins nothing of the event. The zero Reply is
// one that nobody waits for.
type Reply struct {
	s     Socket
	id    uint64
	reply func(rooms.Value) // of a message that is no client's
}

// Reply takes the acknowledgement out of the event: from then on it is up to the Reply,
// and Ack of the event does nothing. It is the zero Reply if the client wants none, or
// has been answered, or the handler was inline and has returned. An inline handler that
// asks somebody else has its answer sent by whoever gets it, without a goroutine that
// waits:
//
//	ns.HandleInline("sum", func(s sio.Socket, m *sio.Msg) error {
//		return queue.Put(job{string(m.Raw(0)), m.Reply()})
//	})
func (m *Msg) Reply() Reply {
	for m.first != nil {
		m = m.first
	}
	if !m.wants || m.acked.Swap(true) {
		return Reply{}
	}
	r := Reply{s: m.s, id: m.id}
	if reply := m.reply; reply != nil {
		var once sync.Once
		r.reply = func(v rooms.Value) { once.Do(func() { reply(v) }) }
	}
	return r
}

// ID returns the number that the client has given its event, for [Socket.ReplyTo]; ok is
// false if it is no client's, and for the zero Reply.
func (r Reply) ID() (id uint64, ok bool) { return r.id, r.Wanted() && r.reply == nil }

// ReplyTo returns the acknowledgement of the socket's event of a number, which is what
// [Reply.ID] of it was, for who keeps no more than that, as another process does. One
// that no event of the socket has is sent all the same, and the client ignores it.
func (s Socket) ReplyTo(id uint64) Reply { return Reply{s: s, id: id} }

// Wanted tells whether somebody waits for it, or would unless the client has left.
func (r Reply) Wanted() bool { return r.s.in != nil }

// Ack answers the acknowledgement, as [Msg.Ack] does, from any goroutine and whenever.
// It is to be called once, of all copies: a client ignores a second answer, but is sent
// it. A call whose arguments cannot be encoded does not count: that is its error. Of the
// zero Reply it does nothing.
func (r Reply) Ack(args ...any) error {
	switch {
	case r.s.in == nil:
		return nil
	case r.reply == nil:
		return r.s.acknowledge(r.id, args, nil)
	}
	v, err := r.s.srv().valueOf(args)
	if err == nil {
		r.reply(v)
	}
	return err
}

// A message is what is sent to many, in each form that somebody needs: as JSON or
// MessagePack, and without the offset that recovery has put behind the arguments.
type message struct {
	json *eio.Prepared
	tail int // bytes of the text before its last that are the offset

	kept       packetlog.Keeping  // by the log of who may come back
	remembered *packetlog.Keeping // by the history of rooms; nil: it is not

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
		frames = framing.WithTail(frames, m.tail, "")
	}
	if form&packedForm != 0 {
		frames = framing.Pack(frames)
	}
	if frames != nil {
		m.forms[i] = eio.PrepareFrames(frames).OfKind(m.json.Kind())
		m.forms[i].Plain = m.json.Plain
		m.count(int64(len(frames)))
	}
	return m.forms[i]
}

// count counts further bytes of a message that is kept.
func (m *message) count(n int64) {
	m.kept.Count(n)
	m.remembered.Count(n)
}

// Size returns the length of the message in its usual form.
func (m *message) Size() int { return m.json.Size() }

// Keep has further forms counted, and returns what there is: see
// packetlog.Message.
func (m *message) Keep(kept *atomic.Int64) int64 {
	m.kept.Begin(kept)
	return messageBytes + int64(m.json.Size())
}

// messageBytes is what a message takes beside its bytes, about.
const messageBytes = int64(unsafe.Sizeof(message{})) + 160

// Drop ends Keep.
func (m *message) Drop() { m.kept.End() }

// everJoined is set in a session's user word, beside the slot of its first
// socket, once it has joined a namespace.
const everJoined = 1 << 31

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
func (sh *shard) unpack(data []byte) (err error) {
	p := &sh.packet
	if err = parser.ParseMsgpack(data, sh.srv.o.Limits, p); err != nil {
		return err
	}
	if sh.unpacked, err = framing.Unpack(sh.unpacked[:0], p); cap(sh.unpacked) > 64<<10 {
		sh.unpacked = nil
	}
	return err
}

// transmit sends the frames of one packet to a session, which are copied, and
// not compressed if plain.
func (sh *shard) transmit(es eio.Session, frames []byte, plain bool, k *class.Kind) {
	if packed(es) {
		frames = framing.Pack(frames)
	}
	es.SendKind(frames, plain, k)
}
