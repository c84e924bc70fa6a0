package sio

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// Open is called by the Engine.IO server for a new session.
func (srv *Server) Open(es eio.Session, r *http1.Request) {
	sh := srv.shards[es.Loop().Index()]
	if srv.keepsHandshake() && !sh.keepRequest(es, newRequest(es, r)) {
		return
	}
	sh.arrivals.add(sh, es.Ref())
	if srv.isOld(es) {
		sh.greet(es)
	}
}

// keepsHandshake tells whether anybody could ask for one.
func (srv *Server) keepsHandshake() bool {
	who := &srv.registry.curious
	return srv.o.KeepHandshake == KeepAlways || srv.o.Recovery.Identity != nil || who.literal.Load()+who.open.Load() > 0
}

// Close is called by the Engine.IO server when a session has ended: all its
// sockets leave, in the order of joining.
func (srv *Server) Close(es eio.Session, reason Reason) {
	sh := srv.shards[es.Loop().Index()]
	if es.Overran() {
		sh.abandon(es)
	}
	if sh.parting && reason == eio.ForcedClose {
		reason = ServerShuttingDown
	}
	for slot := es.User() &^ userFlags; slot != 0; slot = es.User() &^ userFlags {
		sh.leave(es, slot, reason)
	}
	sh.forgetAssembly(es)
	delete(sh.requests, es.Ref())
	delete(sh.replayed, es.Ref())
	sh.justEnded.Forget(es)
	sh.connEnded(es)
}

// connect handles a CONNECT packet (Socket.IO protocol 5, "Connection to a
// namespace"); query is what a client of Socket.IO 2 gave with the name.
func (sh *shard) connect(es eio.Session, p *parser.Packet, query []byte) {
	old := sh.srv.isOld(es)
	if slot := sh.find(es, p.Namespace); slot == 0 {
		sh.justEnded.Join(es, string(p.Namespace))
	} else if old && string(p.Namespace) == "/" {
		return // some ask for what they have been given
	} else if !sh.replace(es, slot) {
		sh.violated(es) // by a second CONNECT; Node's server closes too
		return
	} else if !es.Valid() {
		return // what handlers take did not fit
	}
	in := sh.admits(es, p)
	if in == nil {
		return
	}
	if sh.srv.jammed(in.ns) {
		sh.tally.Drops.Jammed++
		sh.srv.registry.release(in)
		sh.reject(es, string(p.Namespace), &Error{Message: "server is overloaded"})
		return
	}
	brought, ok := sh.bring(es, len(p.Data)+len(query))
	if !ok {
		sh.srv.registry.release(in)
		return
	}
	slot, ok := sh.newSocket(es, in)
	if !ok {
		brought.account.Release(brought.size)
		sh.tally.Drops.Full++
		sh.srv.registry.release(in)
		sh.space(in.ns).Refused++
		sh.reject(es, in.name, &Error{Message: "server is full"})
		return
	}
	sh.brings(slot, brought)
	if o := &sh.srv.o; o.KeepHandshake == KeepAlways || in.ns.table.Load().greets() || o.Recovery.Identity != nil || o.Recovery.Window > 0 && len(p.Data) > 0 {
		sh.srv.details.put(sh.ref(slot), sh.request(es, in.ns).withQuery(query), p.Data)
	}
	if old {
		sh.setID(slot, oldID(es, in.name))
	}
	if !old && sh.srv.seq.recover(sh, es, slot, p.Data) {
		return
	}
	sh.enterNamespace(es, slot)
}

// admits returns the instance of the namespace that a CONNECT packet names, for one
// more socket, or refuses it and returns nil.
func (sh *shard) admits(es eio.Session, p *parser.Packet) *instance {
	if sh.ending {
		sh.reject(es, string(p.Namespace), &Error{Message: "server is shutting down"})
		return nil
	}
	if sh.count(es) >= sh.srv.o.MaxNamespaces {
		sh.tally.Drops.Namespaces++
		sh.srv.notice.Warn("a connection has as many namespaces as it may have", "flag", "--max-namespaces", "max-namespaces", sh.srv.o.MaxNamespaces)
		sh.refuse(es, string(p.Namespace), &Error{Message: "too many namespaces"})
		return nil
	}
	in, full := sh.srv.registry.acquire(p.Namespace, p.Data)
	if in != nil {
		return in
	}
	e := &Error{Message: "Invalid namespace"}
	if full {
		sh.tally.Drops.Namespaces++
		sh.srv.notice.Warn("there are as many live namespaces as there may be", "flag", "--max-instances", "max-instances", sh.srv.o.MaxInstances)
		e.Message = "too many namespaces"
	}
	sh.refuse(es, string(p.Namespace), e)
	return nil
}

// replace ends a socket whose client asks for its namespace once more, having
// given up before it had an answer: connect, disconnect, connect, of which the
// JavaScript client says nothing in between (socketio/socket.io#4648). It is false
// if the client has had one, since it has used the socket; or since this is its one
// namespace, and who gives that up closes the connection.
func (sh *shard) replace(es eio.Session, slot uint32) bool {
	r := sh.sockets.At(slot)
	if r.is&heard != 0 || r.state == connected && sh.count(es) == 1 {
		return false
	}
	if r.state == connected {
		sh.justEnded.End(sh.loop, es, sh.instance(slot).name) // what it sends when it has the first answer
	}
	sh.leave(es, slot, ClientDisconnect)
	return true
}

// enterNamespace has a connecting socket go through the middlewares.
func (sh *shard) enterNamespace(es eio.Session, slot uint32) {
	t := sh.instance(slot).ns.table.Load()
	if len(t.use) == 0 {
		sh.srv.seq.admit(sh, es, slot)
		return
	}
	s := sh.socket(slot)
	account, ok := sh.toll(es, len(t.use))
	if !ok {
		return
	}
	sh.inbox(slot).put(task{name: "connect", account: account, size: taskCost, anew: true, run: func() error {
		return sh.runMiddlewares(s, t.use)
	}})
}

// connected makes a socket connected, without a word to its client.
func (sh *shard) connected(es eio.Session, slot uint32) {
	sh.admitted(es, slot)
	if sh.instance(slot).ns.table.Load().rooms != nil {
		sh.follow(slot)
	}
	sh.saw(slot, Observation{Kind: ObservedConnect})
}

// admitted makes a socket connected, and tells nobody but the cluster.
func (sh *shard) admitted(es eio.Session, slot uint32) {
	sh.sockets.At(slot).state = connected
	es.SetUser(es.User() | everJoined)
	es.SetJoined(true)
	sh.srv.registry.announce(sh.instance(slot))
	sh.local.Add(slot, sh.sockets.Gen(slot), sh.instance(slot).id)
	sh.tellOwn(slot, true)
}

// accept makes a socket connected, tells the client, and has the connect
// handlers called: in this order, so that the client sees the answer before
// anything they emit.
func (sh *shard) accept(es eio.Session, slot uint32, t *table) {
	account, ok := sh.toll(es, len(t.connect))
	if !ok {
		return
	}
	sh.connected(es, slot)
	ref, id, pid := sh.ref(slot), "", ""
	if !sh.srv.isOld(es) {
		id = sh.id(slot)
		pid = sh.srv.seq.pid(ref)
	}
	text := parser.AppendConnect(sh.scratch[:0], sh.instance(slot).name, id, pid)
	n := len(text)
	text = eio.AppendText(text, text)
	sh.transmit(es, text[n:], false, nil)
	sh.scratch = text[:0]
	sh.goOn(slot)
	if len(t.connect) == 0 {
		sh.settle(slot)
		return
	}
	s := sh.socket(slot)
	sh.inbox(slot).put(task{name: "connect", account: account, size: taskCost, hold: true, run: func() error {
		welcome := false
		defer func() {
			if !welcome { // also if a handler ends the goroutine
				sh.sockets.Mark(s.ref.Slot(), s.ref.Gen())
				s.Disconnect(DisconnectOptions{})
			}
		}()
		for _, h := range t.connect {
			if sh.srv.call(s, "connect", func() error { return h(s) }) != nil {
				return nil
			}
		}
		welcome = true
		if sh.srv.o.KeepHandshake != KeepAlways {
			s.post((*shard).settle)
		}
		return nil
	}})
}

// settle forgets what a socket brought, once its namespace has seen it, unless the
// options say otherwise; and the request that its session began with, unless
// another namespace that it may join wants to see that.
func (sh *shard) settle(slot uint32) {
	keep := sh.srv.o.KeepHandshake
	if keep == KeepAlways {
		return
	}
	sh.srv.details.settle(sh.ref(slot))
	sh.giveBack(slot)
	es := sh.session(slot)
	if es.Valid() && (keep == KeepForFirst && sh.instance(slot).ns.table.Load().asks() || !sh.joinsMore(es)) {
		sh.dropRequest(es)
	}
}

// joinsMore tells whether a session may join one more namespace whose handlers
// can ask how it began. It looks at the sockets that the session has, however many
// namespaces there are.
func (sh *shard) joinsMore(es eio.Session) bool {
	who := &sh.srv.registry.curious
	if who.open.Load() > 0 {
		return true
	}
	left := who.literal.Load()
	for slot := es.User() &^ userFlags; slot != 0; slot = sh.sockets.At(slot).next {
		// One that is not connected yet may be refused, and try again.
		if ns := sh.instance(slot).ns; ns.in != nil && ns.table.Load().asks() && sh.sockets.At(slot).state == connected {
			left--
		}
	}
	return left > 0
}

// refuse answers a CONNECT with a CONNECT_ERROR.
func (sh *shard) refuse(es eio.Session, name string, e *Error) {
	sh.tally.Refused++
	text, _ := parser.AppendConnectError(nil, name, e.Message, e.Data) // which is JSON, if any: see refusal
	sh.transmit(es, eio.AppendText(nil, text), false, nil)
}

// drop ends a socket that was never connected.
func (sh *shard) drop(es eio.Session, slot uint32) {
	sh.srv.seq.giveUp(sh, slot)
	sh.giveBack(slot)
	ref := sh.ref(slot)
	sh.unlink(es, slot)
	sh.local.Remove(slot)
	sh.failAcks(slot)
	sh.free(slot)
	sh.srv.forget(ref)
}

// runMiddlewares runs the middlewares of a socket, on a goroutine, and tells the loop.
func (sh *shard) runMiddlewares(s Socket, use []Middleware) error {
	verdict := internalError // if a middleware ends the goroutine
	defer func() { sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.afterMiddlewares(s, verdict) })) }()
	for _, m := range use {
		// A panic is reported, and to the client an internal error.
		var refused error
		err := sh.srv.call(s, "connect", func() error {
			refused = m(s)
			return nil
		})
		if err != nil {
			refused = err
		}
		if refused != nil {
			verdict = sh.srv.refusal(s, refused)
			return nil
		}
	}
	verdict = nil
	return nil
}

// refusal is what a client is told of a middleware's error, with data that is JSON
// already: encoding it is the program's, and may block and panic.
func (srv *Server) refusal(s Socket, err error) *Error {
	e := internalError
	failed := srv.guard(func() error {
		if e = clientError(err); e.Data == nil {
			return nil
		}
		data, err := value.AppendJSON(nil, e.Data)
		e = &Error{e.Message, json.RawMessage(data)}
		return err
	})
	if failed != nil {
		srv.notice.Warn("data of a refusal cannot be encoded", append(about(s, "connect"), "error", failed)...)
		return &Error{Message: e.Message}
	}
	return e
}

// afterMiddlewares goes on with a socket whose middlewares have returned; refused is nil if
// they let it pass.
func (sh *shard) afterMiddlewares(s Socket, refused *Error) {
	slot := sh.lookup(s.ref)
	if slot == 0 || sh.sockets.At(slot).state != connecting {
		return // gone meanwhile
	}
	es := sh.session(slot)
	if refused == nil {
		sh.srv.seq.admit(sh, es, slot)
		return
	}
	sh.justEnded.End(sh.loop, es, s.in.name)
	sh.drop(es, slot)
	sh.space(s.in.ns).Refused++
	sh.reject(es, s.in.name, refused)
}

// arrivals are the sessions that have not joined a namespace yet, in the order
// of opening, which is that of their deadlines.
type arrivals struct {
	queue []arrival
	timer loop.Timer
}

type arrival struct {
	session uint64
	at      int64 // ms on the loop's clock
}

// waits tells whether the session is open and has joined nothing yet.
func (a arrival) waits(sh *shard) bool {
	es, ok := sh.srv.eio.Lookup(sh.loop, a.session)
	return ok && es.User()&everJoined == 0
}

func (a *arrivals) add(sh *shard, session uint64) {
	if len(a.queue) == cap(a.queue) && len(a.queue) >= 1024 {
		// Sessions that come and go at once are not to be remembered for long.
		a.queue = slices.DeleteFunc(a.queue, func(q arrival) bool { return !q.waits(sh) })
	}
	a.queue = append(a.queue, arrival{session, sh.loop.Now() + sh.srv.o.ConnectTimeout.Milliseconds()})
	if !a.timer.Armed() {
		sh.loop.Schedule(&a.timer, sh.srv.o.ConnectTimeout, func() { a.expire(sh) })
	}
}

// expire closes the sessions that are still without a namespace, and forgets
// the others.
func (a *arrivals) expire(sh *shard) {
	now, i := sh.loop.Horizon(), 0
	for ; i < len(a.queue) && a.queue[i].at <= now; i++ {
		if a.queue[i].waits(sh) {
			sh.tally.Timeouts++
			es, _ := sh.srv.eio.Lookup(sh.loop, a.queue[i].session)
			es.CloseFor(eio.CloseConnectTimeout, "connect timeout")
		}
	}
	a.queue = a.queue[i:]
	if len(a.queue) == 0 {
		a.queue = nil
		return
	}
	wait := time.Duration(max(a.queue[0].at-now, 100)) * time.Millisecond // several at once
	sh.loop.Schedule(&a.timer, wait, func() { a.expire(sh) })
}

var closedContext = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrClosed)
	return ctx
}()

// OnUpgrade adds a function that is called when the connection of a socket that has been
// admitted, and has not left, becomes a WebSocket. It runs on the event loop, and must not
// block; a panic in it goes to Options.OnError. One that is admitted later has the
// connection as Socket.Transport says.
func (n *Namespace) OnUpgrade(h func(Socket)) {
	n.change(func(t *table) { t.upgrade = append(t.upgrade[:len(t.upgrade):len(t.upgrade)], h) })
}

// Upgraded is called by the Engine.IO server for a session that is a WebSocket now.
func (srv *Server) Upgraded(es eio.Session) {
	sh := srv.shards[es.Loop().Index()]
	for slot := es.User() &^ userFlags; slot != 0; slot = sh.sockets.At(slot).next {
		if sh.sockets.At(slot).state != connected {
			continue
		}
		sh.saw(slot, Observation{Kind: ObservedUpgrade})
		for _, h := range sh.instance(slot).ns.table.Load().upgrade {
			_ = srv.call(sh.socket(slot), "upgrade", func() error { h(sh.socket(slot)); return nil }) // which has told OnError
		}
	}
}
