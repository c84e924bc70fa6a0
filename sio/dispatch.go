package sio

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/parser"
)

// Message is called by the Engine.IO server for each message of a client.
func (srv *Server) Message(es eio.Session, data []byte, binary bool) {
	sh := srv.shards[es.Loop().Index()]
	sh.size = len(data)
	done, err := sh.assemble(es, data, binary)
	if done && err == nil && len(sh.packet.Event) > srv.o.MaxEventName && sh.packet.Type == parser.Event {
		err = errEventName
	}
	if err != nil {
		sh.badPacket(es, err)
		return
	}
	if done {
		sh.handle(es, &sh.packet)
	}
}

// badPacket ends a session whose client sent what cannot be a packet.
func (sh *shard) badPacket(es eio.Session, err error) {
	sh.tally.BadPackets++
	sh.srv.notice.Info("a connection was closed for a packet that cannot be one", "client", es.RemoteAddr(), "error", err)
	es.Close()
}

// handle acts on a packet. What a client may not send in its state ends the
// session (Socket.IO protocol 5; Node's server does the same).
func (sh *shard) handle(es eio.Session, p *parser.Packet) {
	var query []byte
	if sh.srv.isOld(es) {
		query = cutQuery(p)
	}
	if tooLong(p) {
		sh.badPacket(es, errNamespaceName)
		return
	}
	if p.Type == parser.Connect {
		sh.connect(es, p, query)
		return
	}
	slot := sh.find(es, p.Namespace)
	if slot == 0 {
		sh.forNobody(es, p)
		return
	}
	r := sh.sockets.At(slot)
	state := r.state
	if state == connected {
		r.is |= heard
	}
	switch {
	case p.Type == parser.Disconnect && state == connecting:
		sh.drop(es, slot)
	case p.Type == parser.Disconnect:
		sh.leave(es, slot, ClientDisconnect)
	case p.Type == parser.Event && state == connected:
		sh.event(es, slot, p)
	case p.Type == parser.Ack && state == connected:
		sh.instances[r.instance].space.In.Acks++
		sh.acked(es, slot, p)
	default:
		sh.forNobody(es, p)
	}
}

// forNobody drops a packet for a socket that the server has just ended. Any other
// that is for none is a violation.
func (sh *shard) forNobody(es eio.Session, p *parser.Packet) {
	if p.Type == parser.ConnectError || !sh.justEnded.Has(sh.loop, es, p.Namespace) {
		sh.violated(es)
		return
	}
	sh.tally.Drops.Crossed++
}

// event has an event's handler called: here, or on the socket's goroutine with
// a copy of the packet.
func (sh *shard) event(es eio.Session, slot uint32, p *parser.Packet) {
	x := &sh.instances[sh.sockets.At(slot).instance]
	x.space.In.Received(p)
	t := x.in.ns.table.Load()
	if len(t.gates) > 0 && !sh.passes(es, slot, p, t.gates) {
		return
	}
	sh.sawEvent(slot, p)
	e := t.lookup(p.Event)
	if e == nil || sh.sockets.Marked(slot, sh.sockets.Gen(slot)) {
		return
	}
	s := sh.socket(slot)
	if !e.inline || sh.held(slot) {
		account, size := es.Budget(), sizeOfEvent(len(p.Event), p.Args, p.Buffers)
		if account.Work(size) {
			sh.inbox(slot).put(task{msg: newMsg(s, p), handler: e.run, account: account, size: size, hold: e.inline})
		}
		return
	}
	m, event := &sh.msg, e.event
	if event == "" { // it is any
		event = sh.names.String(p.Event)
	}
	m.view(sh, s, p, event)
	if err := e.call(s, m); err != nil {
		sh.srv.fail(s, event, err)
	}
	sh.loop.Yield() // it may have woken somebody
	m.drop()
}

// held tells whether inline events of a socket have to wait for its connect
// handlers, or for one that waited for them.
func (sh *shard) held(slot uint32) bool {
	x := sh.exts[slot]
	return x != nil && x.inbox != nil && x.inbox.holding.Load() > 0
}

// In tells whether the socket that sent the event is in a room, its own among them,
// by what was asked for before. In an inline handler that is a look-up.
func (m *Msg) In(room string) (in bool) {
	switch {
	case m.first != nil:
		return m.first.In(room)
	case m.s.in == nil || m.s.ref == 0:
		return false // it was an inline handler's, which has returned; or a server's
	}
	sh := m.s.shard()
	if m != &sh.msg {
		return m.s.In(room)
	}
	sh.loop.RunPosted()
	slot := sh.lookup(m.s.ref)
	return slot != 0 && sh.in(slot, room)
}

// call runs the handler; a panic is an error.
func (e *entry) call(s Socket, m *Msg) (err error) {
	defer s.srv().recovered(&err)
	return e.run(s, m)
}

// An assembly is a packet whose attachments a session's client has announced
// and not sent yet.
type assembly struct {
	parser.Assembler
	account *budget.Account
	charged int
	size    int        // bytes of the packet's messages that have come
	timer   loop.Timer // by when the next one has to be there
}

// overhead is what an assembly takes beside its bytes, and each of its
// attachments, about.
const (
	assemblyOverhead   = 512
	attachmentOverhead = 64
)

// assemble parses a message into sh.packet. Only sessions that wait for
// attachments have an assembly; what it holds is charged before it is copied.
func (sh *shard) assemble(es eio.Session, data []byte, binary bool) (done bool, err error) {
	if !sh.srv.speaks(es, binary) {
		return false, errParser
	}
	if packed(es) {
		return true, sh.unpack(data)
	}
	if own := sh.assemblies[es.Ref()]; own != nil {
		return sh.continued(es, own, data, binary)
	}
	switch {
	case binary:
		return sh.asm.Binary(data, &sh.packet)
	case !announces(data):
		return sh.asm.Text(data, sh.srv.o.Limits, &sh.packet)
	}
	own := &assembly{account: es.Budget(), charged: len(data) + assemblyOverhead, size: len(data)}
	if !own.account.Charge(own.charged) {
		return false, nil // the session is gone
	}
	done, err = own.Text(data, sh.srv.o.Limits, &sh.packet)
	if own.Idle() {
		own.account.Release(own.charged)
		return done, err
	}
	sh.assemblies[es.Ref()] = own
	sh.awaitAttachment(es, own)
	return done, err
}

// announces tells whether a text is a packet's with attachments, if it is one.
func announces(text []byte) bool {
	return len(text) > 0 && (text[0] == '0'+byte(parser.BinaryEvent) || text[0] == '0'+byte(parser.BinaryAck))
}

// continued takes a message of a client that owes attachments.
func (sh *shard) continued(es eio.Session, own *assembly, data []byte, binary bool) (done bool, err error) {
	if !binary {
		done, err = own.Text(data, sh.srv.o.Limits, &sh.packet) // which it may not send
	} else {
		n := len(data) + attachmentOverhead
		if !own.account.Charge(n) {
			return false, nil // the session is gone, and the assembly with it
		}
		own.charged += n
		own.size += len(data)
		done, err = own.Binary(data, &sh.packet)
	}
	if sh.size = own.size; own.Idle() {
		sh.forgetAssembly(es)
	} else {
		sh.awaitAttachment(es, own)
	}
	return done, err
}

// awaitAttachment gives a client the time for the next attachment that it has
// for a request's body. If it is sending then, or has to wait, it has it once more.
func (sh *shard) awaitAttachment(es eio.Session, own *assembly) {
	patience := cmp.Or(sh.srv.o.Engine.BodyTimeout, time.Minute)
	sh.loop.Schedule(&own.timer, patience, func() {
		if es.Behind() {
			sh.awaitAttachment(es, own)
			return
		}
		sh.tally.Unfinished++
		sh.srv.notice.Warn("a connection did not send the attachments that it had announced", "flag", "--body-timeout")
		es.Close()
	})
}

// forgetAssembly ends the wait for attachments, if a session has one.
func (sh *shard) forgetAssembly(es eio.Session) {
	if own := sh.assemblies[es.Ref()]; own != nil {
		sh.loop.Cancel(&own.timer)
		own.account.Release(own.charged)
		delete(sh.assemblies, es.Ref())
	}
}

// freeToBring is how many bytes a session's first request, and what a client
// gives when it joins a namespace, may have without being charged to the
// session: an ordinary token, so that ordinary idle sessions have no account.
const freeToBring = 2 << 10

// maxNamespaceName bounds the name of a namespace that a client asks for, in
// bytes. Each is kept, and told to the servers of a cluster.
const maxNamespaceName = 1 << 10

var errNamespaceName = errors.New("sio: the name of a namespace is too long")

// A bringing is what a socket brought, charged until it is forgotten.
type bringing struct {
	account *budget.Account
	size    int
}

// bring charges n bytes that a client gives when it joins a namespace. It is
// false if they do not fit: the session is gone.
func (sh *shard) bring(es eio.Session, n int) (b bringing, ok bool) {
	if n <= freeToBring {
		return bringing{}, true
	}
	b = bringing{es.Budget(), n}
	return b, b.account.Charge(n)
}

// brings notes what a socket brought.
func (sh *shard) brings(slot uint32, b bringing) {
	if b.size > 0 {
		sh.brought[slot] = b
	}
}

// giveBack releases what a socket brought.
func (sh *shard) giveBack(slot uint32) {
	if b, ok := sh.brought[slot]; ok {
		b.account.Release(b.size)
		delete(sh.brought, slot)
	}
}

// keepRequest keeps a session's first request. It is false if that is more than
// may be kept: the session is gone.
func (sh *shard) keepRequest(es eio.Session, r *request) bool {
	if n := len(r.text); n > freeToBring && !es.Budget().Charge(n) {
		return false
	}
	sh.requests[es.Ref()] = r
	return true
}

// request returns a session's first request as a namespace sees it; nil if it is not
// kept.
func (sh *shard) request(es eio.Session, ns *Namespace) *request {
	r := sh.requests[es.Ref()]
	if r == nil && (sh.srv.o.KeepHandshake == KeepForFirst || ns.table.Load().brief) {
		return knownOf(es) // the first namespace has had the rest
	}
	return r
}

// dropRequest forgets a session's first request.
func (sh *shard) dropRequest(es eio.Session) {
	r := sh.requests[es.Ref()]
	delete(sh.requests, es.Ref())
	if r != nil && len(r.text) > freeToBring {
		es.Budget().Release(len(r.text))
	}
}

// tooLong tells whether a client asks for a namespace whose name is too long.
func tooLong(p *parser.Packet) bool {
	return p.Type == parser.Connect && len(p.Namespace) > maxNamespaceName
}

// Clients of Socket.IO 2 speak Engine.IO 3 and Socket.IO protocol 4. Events and
// acknowledgements are the same; connecting is not:
//
//	S 40                              right after the opening, unasked
//	C 40/chat?token=abc,              the query is what auth is in protocol 5
//	S 40/chat,                        without an id, which the client makes itself: /chat#<session id>
//	S 44/chat,"not authorized"        or the data of the error alone

// isOld tells whether a session's client is one of Socket.IO 2.
func (srv *Server) isOld(es eio.Session) bool { return srv.o.Engine.AllowEIO3 && es.Revision() == 3 }

// greet connects a new client of Socket.IO 2 to the root, as it expects without
// asking.
func (sh *shard) greet(es eio.Session) {
	if sh.srv.o.Parser == MessagePack {
		es.SetUser(packedSession) // it will not speak first
	}
	sh.connect(es, &parser.Packet{Type: parser.Connect, Namespace: []byte("/")}, nil)
}

// cutQuery takes the query off a packet's namespace; that of a CONNECT becomes
// its auth.
func cutQuery(p *parser.Packet) (query []byte) {
	p.Namespace, query, _ = bytes.Cut(p.Namespace, []byte("?"))
	if p.Type == parser.Connect {
		p.Data = queryAuth(query)
	}
	return query
}

// queryAuth returns a query as a JSON object of strings, nil if there is none. The
// last value of a name counts.
func queryAuth(query []byte) []byte {
	values, _ := url.ParseQuery(string(query)) // what can be parsed
	if len(values) == 0 {
		return nil
	}
	auth := make(map[string]string, len(values))
	for name, v := range values {
		auth[name] = v[len(v)-1]
	}
	b, err := json.Marshal(auth)
	if err != nil {
		panic("sio: strings have no JSON: " + err.Error())
	}
	return b
}

// oldID returns the id that a client of Socket.IO 2 has in a namespace.
func oldID(es eio.Session, name string) string {
	if name == "/" {
		return es.ID()
	}
	return name + "#" + es.ID()
}

// setID gives a connecting socket an id that is not that of its Ref, and has it
// join the room of that name, which no socket of its own kind needs.
func (sh *shard) setID(slot uint32, id string) {
	sh.rename(slot, id)
	sh.local.Join(slot, sh.instance(slot).id, id)
}

// reject tells a client that its socket was not admitted.
func (sh *shard) reject(es eio.Session, name string, e *Error) {
	if !sh.srv.isOld(es) {
		sh.refuse(es, name, e)
		return
	}
	sh.tally.Refused++
	var payload any = e.Message
	if e.Data != nil {
		payload = e.Data
	}
	head := parser.AppendHead(nil, parser.ConnectError, 0, name, 0, false)
	text, _ := value.AppendJSON(head, payload) // a text, or JSON: see refusal
	sh.transmit(es, eio.AppendText(nil, text), false, nil)
}

// identify asks who a connecting socket is, if anybody wants to know.
func (sh *shard) identify(slot uint32) {
	who := sh.srv.o.Recovery.Identity
	if who == nil {
		return
	}
	s, identity := sh.socket(slot), ""
	if err := sh.srv.call(s, "connect", func() error { identity = who(s); return nil }); err != nil {
		identity = rand.Text() // nobody
	}
	if identity != "" {
		sh.srv.details.identify(s.ref, packetlog.Known(identity))
	}
}

// identify notes who a socket's client is; "" is nobody.
func (d *details) identify(ref rooms.Ref, identity string) {
	s := &d.shards[ref.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case identity == "":
		delete(s.identities, ref)
	case s.identities == nil:
		s.identities = map[rooms.Ref]string{ref: identity}
	default:
		s.identities[ref] = identity
	}
}

// identity returns who a socket's client is, as far as anybody wanted to know.
func (d *details) identity(ref rooms.Ref) string {
	s := &d.shards[ref.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identities[ref]
}
