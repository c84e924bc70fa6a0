package sio

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
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
	if srv.o.KeepHandshake || srv.o.Recovery.Identity != nil {
		return true
	}
	return slices.ContainsFunc(*srv.registry.all.Load(), (*Namespace).greets)
}

// Close is called by the Engine.IO server when a session has ended: all its
// sockets leave, in the order of joining.
func (srv *Server) Close(es eio.Session, reason Reason) {
	sh := srv.shards[es.Loop().Index()]
	if es.Overran() {
		sh.abandon(es)
	}
	for slot := es.User() &^ userFlags; slot != 0; slot = es.User() &^ userFlags {
		sh.leave(es, slot, reason)
	}
	sh.forgetAssembly(es)
	delete(sh.requests, es.Ref())
	delete(sh.replayed, es.Ref())
	sh.justEnded.forget(es)
}

// connect handles a CONNECT packet (Socket.IO protocol 5, "Connection to a
// namespace"); query is what a client of Socket.IO 2 gave with the name.
func (sh *shard) connect(es eio.Session, p *parser.Packet, query []byte) {
	old := sh.srv.isOld(es)
	if slot := sh.find(es, p.Namespace); slot == 0 {
		sh.justEnded.join(es, string(p.Namespace))
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
		sh.tally.jammed++
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
		sh.tally.full++
		sh.srv.registry.release(in)
		sh.space(in.ns).refused++
		sh.reject(es, in.name, &Error{Message: "server is full"})
		return
	}
	sh.brings(slot, brought)
	if sh.srv.o.KeepHandshake || in.ns.greets() || sh.srv.o.Recovery.Identity != nil {
		sh.srv.details.put(sh.ref(slot), sh.requests[es.Ref()].withQuery(query), p.Data)
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
		sh.tally.namespaces++
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
		sh.tally.namespaces++
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
		sh.justEnded.end(sh, es, sh.instance(slot).name) // what it sends when it has the first answer
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
	sh.inbox(slot).put(task{name: "connect", account: account, size: taskCost, run: func() error {
		return sh.runMiddlewares(s, t.use)
	}})
}

// connected makes a socket connected, without a word to its client.
func (sh *shard) connected(es eio.Session, slot uint32) {
	sh.sockets.At(slot).state = connected
	es.SetUser(es.User() | everJoined)
	es.SetJoined(true)
	sh.srv.registry.announce(sh.instance(slot))
	sh.local.Add(slot, sh.sockets.Gen(slot), sh.instance(slot).id)
	sh.tellOwn(slot, true)
	if sh.instance(slot).ns.table.Load().rooms != nil {
		sh.follow(slot)
	}
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
	sh.transmit(es, text[n:], false)
	sh.scratch = text[:0]
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
		if !sh.srv.o.KeepHandshake {
			s.post((*shard).settle)
		}
		return nil
	}})
}

// settle forgets what a socket brought, once its namespace has seen it, unless the
// options say otherwise; and the request that its session began with, unless
// another namespace that it may join wants to see that.
func (sh *shard) settle(slot uint32) {
	if sh.srv.o.KeepHandshake {
		return
	}
	sh.srv.details.settle(sh.ref(slot))
	sh.giveBack(slot)
	if es := sh.session(slot); es.Valid() && !sh.joinsMore(es) {
		sh.dropRequest(es)
	}
}

// joinsMore tells whether a session may join one more namespace whose handlers
// can ask how it began.
func (sh *shard) joinsMore(es eio.Session) bool {
	return slices.ContainsFunc(*sh.srv.registry.all.Load(), func(ns *Namespace) bool {
		if !ns.greets() || ns.in == nil {
			return ns.greets()
		}
		slot := sh.find(es, []byte(ns.name))
		return slot == 0 || sh.sockets.At(slot).state != connected // it may be refused, and try again
	})
}

// greets tells whether the namespace has handlers for sockets that connect.
func (n *Namespace) greets() bool {
	t := n.table.Load()
	return len(t.use)+len(t.connect) > 0
}

// refuse answers a CONNECT with a CONNECT_ERROR.
func (sh *shard) refuse(es eio.Session, name string, e *Error) {
	sh.tally.refused++
	text, _ := parser.AppendConnectError(nil, name, e.Message, e.Data) // which is JSON, if any: see refusal
	sh.transmit(es, eio.AppendText(nil, text), false)
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
	sh.srv.details.remove(ref)
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
	sh.justEnded.end(sh, es, s.in.name)
	sh.drop(es, slot)
	sh.space(s.in.ns).refused++
	sh.reject(es, s.in.name, refused)
}

// When the server ends a socket, its client goes on sending to the namespace
// until it knows: an event, an acknowledgement or its own DISCONNECT crosses ours
// on the way. For what may be a round trip such packets are dropped; after that,
// as from the start, a packet for a namespace that was never joined is a
// violation. What is remembered for that is charged to the session's budget, and left
// out if there is no room in it.

const (
	// recentEndTime is how long packets may cross: for as long as a ping may take
	// there and back, with the default time-out of 20 s and some air.
	recentEndTime = 30 * time.Second
	// maxRecentEnds bounds the namespaces of one session that are remembered; the
	// oldest is forgotten for one more.
	maxRecentEnds = 16
)

// recentEnds are what the server has ended, by session. Owned by the loop.
type recentEnds struct {
	of    map[uint64][]recentEnd
	queue []arrival // sessions in of, each once, by the time of looking at them
	timer loop.Timer
}

type recentEnd struct {
	name    string // the instance's
	until   int64  // ms on the loop's clock
	account *budget.Account
}

// crossingBytes is what one takes beside its name, about: with the place of the
// session's.
const crossingBytes = 96

// release ends what is charged for it.
func (x recentEnd) release() { x.account.Release(crossingBytes + len(x.name)) }

// end notes that the server has ended a socket in a namespace.
func (c *recentEnds) end(sh *shard, es eio.Session, name string) {
	if c.of == nil {
		c.of = map[uint64][]recentEnd{}
	}
	session, until := es.Ref(), sh.loop.Now()+recentEndTime.Milliseconds()
	all, known := c.of[session]
	if len(all) == maxRecentEnds {
		all[0].release()
		all = append(all[:0], all[1:]...)
	}
	if account := es.Budget(); account.Spare(crossingBytes + len(name)) {
		all = append(all, recentEnd{name, until, account})
	}
	if c.of[session] = all; !known {
		c.queue = append(c.queue, arrival{session, until})
	}
	if !c.timer.Armed() {
		sh.loop.Schedule(&c.timer, recentEndTime, func() { c.expire(sh) })
	}
}

// has tells whether a packet for a namespace may be one that crosses.
func (c *recentEnds) has(sh *shard, es eio.Session, name []byte) bool {
	for _, x := range c.of[es.Ref()] {
		if x.name == string(name) && x.until > sh.loop.Now() {
			return true
		}
	}
	return false
}

// join notes that the client asks for a namespace: what comes behind that is meant
// for its new socket.
func (c *recentEnds) join(es eio.Session, name string) {
	all := c.of[es.Ref()]
	if len(all) == 0 {
		return
	}
	c.of[es.Ref()] = slices.DeleteFunc(all, func(x recentEnd) bool {
		if x.name == name {
			x.release()
		}
		return x.name == name
	})
}

// forget ends what is kept for a session that ends, and its budget with it; its place
// in the queue runs out.
func (c *recentEnds) forget(es eio.Session) {
	if len(c.of) > 0 {
		delete(c.of, es.Ref())
	}
}

// expire forgets what is over.
func (c *recentEnds) expire(sh *shard) {
	now, i := sh.loop.Now(), 0
	for ; i < len(c.queue) && c.queue[i].at <= now; i++ {
		all, ok := c.of[c.queue[i].session]
		switch {
		case !ok:
		case len(all) > 0 && all[len(all)-1].until > now:
			c.queue = append(c.queue, arrival{c.queue[i].session, all[len(all)-1].until})
		default:
			for _, x := range all {
				x.release()
			}
			delete(c.of, c.queue[i].session)
		}
	}
	if c.queue = c.queue[i:]; len(c.queue) == 0 {
		c.queue = nil
		return
	}
	sh.loop.Schedule(&c.timer, time.Duration(max(c.queue[0].at-now, 1000))*time.Millisecond, func() { c.expire(sh) })
}
