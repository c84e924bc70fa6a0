package sio

import (
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio/parser"
)

// Message is called by the Engine.IO server for each message of a client.
func (srv *Server) Message(es eio.Session, data []byte, binary bool) {
	sh := srv.shards[es.Loop().Index()]
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
	sh.tally.badPackets.Add(1)
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
		sh.crosses(es, p)
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
		sh.acked(slot, p)
	default:
		sh.crosses(es, p)
	}
}

// crosses drops a packet for a socket that the server has just ended. Any other
// that is for none is a violation.
func (sh *shard) crosses(es eio.Session, p *parser.Packet) {
	if p.Type == parser.ConnectError || !sh.crossed.has(sh, es, p.Namespace) {
		sh.violated(es)
		return
	}
	sh.tally.crossed.Add(1)
}

// event has an event's handler called: here, or on the socket's goroutine with
// a copy of the packet.
func (sh *shard) event(es eio.Session, slot uint32, p *parser.Packet) {
	in := sh.instance(slot)
	e := in.ns.table.Load().lookup(p.Event)
	if e == nil || sh.sockets.Marked(slot, sh.sockets.Gen(slot)) {
		return
	}
	s := sh.socket(slot)
	if !e.inline || sh.held(slot) {
		account, size := es.Budget(), sizeOfEvent(p)
		if account.Work(size) {
			sh.inbox(slot).put(task{msg: newMsg(s, p), handler: e.run, account: account, size: size, hold: e.inline})
		}
		return
	}
	m := &sh.msg
	m.view(s, p, e.event)
	if err := e.call(s, m); err != nil {
		sh.srv.fail(s, e.event, err)
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

// call runs the handler; a panic is an error.
func (e *entry) call(s Socket, m *Msg) (err error) {
	defer s.srv().recovered(&err)
	return e.run(s, m)
}
