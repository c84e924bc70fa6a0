package eio

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// Stays are what there is of a Server that cannot go to another process, by why; that
// stays with it, and is served on.
type Stays struct {
	TLS     int // connections with TLS in this process, and those of their sessions
	Mounted int // connections whose request a Handler answers, or a function on a goroutine
	Opening int // connections that are not open yet
	Tunnels int // WebSockets of other servers' sessions, and requests for those
}

// Export calls conn with each connection of a loop that can go to another process, and then
// session with each session that can. It is called on the loop of an engine that is frozen,
// and changes nothing but what may happen at any time: a poll that waits on a connection
// that stays is answered with a noop, behind which the connection ends. A state is the
// function's; what is in its slices is the server's, and good until the engine is thawed.
// The error is that of a function, or says what cannot be put into a state.
//
// A session stays, whole, whose WebSocket stays, or the connection of a request that
// brings something: a post whose body has not come, or is not acknowledged. So does one
// with a connection that is about to end, which it ends with or has to know of. A session
// that has been closed, of which its client does not know yet, goes like others, though
// the Handler has been told.
func (srv *Server) Export(l *loop.Loop, conn func(*ConnState) error, session func(Session, *SessionState) error) (Stays, error) {
	l.Check()
	return srv.shards[l.Index()].export(l.Conns(), loop.Conn.State, conn, session)
}

// export is Export of connections that have a state by a function of their own.
func (sh *shard) export(conns iter.Seq[loop.Conn], state func(loop.Conn) (loop.ConnState, error), conn func(*ConnState) error, session func(Session, *SessionState) error) (Stays, error) {
	x := newExport(sh)
	x.stays.Opening = int(sh.loop.Stats().Openings.Now)
	sh.given = given{}
	for c := range conns {
		if !x.goes(c) {
			continue
		}
		st := next(&x.conns)
		var err error
		if st.ConnState, err = state(c); err != nil {
			return x.stays, fmt.Errorf("eio: a connection: %w", err)
		}
		x.conn(c, st)
		if err := conn(st); err != nil {
			return x.stays, err
		}
	}
	return x.stays, x.sessions(session)
}

// An export is what Export knows.
type export struct {
	sh    *shard
	stays Stays
	stay  map[uint32]bool // slots of sessions that stay

	// Room for states, of many at a time.
	conns  []ConnState
	https  []HTTPState
	states []SessionState
}

// statesAtOnce is for how many states there is room at a time.
const statesAtOnce = 64

// next returns room for one.
func next[T any](room *[]T) *T {
	if len(*room) == 0 {
		*room = make([]T, statesAtOnce)
	}
	p := &(*room)[0]
	*room = (*room)[1:]
	return p
}

// given is what of a shard Export has given away.
type given struct {
	conns    []handle.Key
	sessions []uint32
}

// portable tells whether a connection can go, as far as that is its own business.
func portable(c loop.Conn) bool { return c.Valid() && !c.Ending() && c.Link() == nil }

// newExport finds the sessions that stay, and answers the polls that must not wait here.
func newExport(sh *shard) *export {
	x := &export{sh: sh, stay: map[uint32]bool{}}
	for slot := uint32(1); slot <= sh.sessions.Max(); slot++ {
		r := sh.sessions.At(slot)
		if !r.is(inUse) {
			continue
		}
		switch e := sh.peekExt(slot); {
		case sh.stays(slot):
			x.stay[slot] = true
		case e != nil && bound(e.get):
			h := sh.httpOf(e.get)
			h.keepAlive = false
			sh.answerGet(slot, e, noopFrame)
		}
	}
	return x
}

// stays tells whether a session stays, whole.
func (sh *shard) stays(slot uint32) bool {
	r, e := sh.sessions.At(slot), sh.peekExt(slot)
	switch {
	case r.is(overWS) && !portable(sh.loop.Conn(r.conn)):
		return true
	case e == nil:
		return false
	}
	return bound(e.post) || bound(e.unacked) || bound(e.probing) || e.get.Ending()
}

// Stays tells whether Export leaves the session here. It is called where Export is.
func (s Session) Stays() bool { return s.at() != nil && s.sh.stays(s.slot) }

// bound tells whether c is a connection that has to stay.
func bound(c loop.Conn) bool { return c != loop.Conn{} && !portable(c) }

// goes tells whether a connection goes, and counts it otherwise.
func (x *export) goes(c loop.Conn) bool {
	sh, slot := x.sh, uint32(0)
	switch tag := c.Tag(); tag & tagKind {
	case tagHTTP:
		h := sh.https[tag&^tagKind]
		switch {
		case h.state == stateIdle && c.Link() != nil:
			return false // it ends soon: see remains
		case h.state == stateForward, h.state == stateTunnel, h.state == stateForwardBody:
			x.stays.Tunnels++
			return false
		case h.state.apart(), h.state == stateRouteBody:
			x.stays.Mounted++
			return false
		case h.state == statePayload, h.state == statePoll, h.state == stateUnacked:
			slot = sh.lookup(h.session)
		}
	case tagWS, tagProbe:
		slot = tag &^ tagKind
	case tagTunnel:
		x.stays.Tunnels++
		return false
	default: // we are done with it, and it ends
		return false
	}
	switch {
	case c.Ending():
		return false
	case c.Link() != nil, x.stay[slot]:
		x.stays.TLS++
		return false
	}
	return true
}

// conn adds to a state what the server has of a connection that goes.
func (x *export) conn(c loop.Conn, st *ConnState) {
	sh := x.sh
	sh.given.conns = append(sh.given.conns, c.Key())
	if p, counted := sh.peers[c.Key()]; counted {
		st.Counted, st.Over = true, p.over
	}
	if h := sh.httpOf(c); h != nil {
		st.HTTP = next(&x.https)
		sh.httpState(h, st.HTTP)
	}
}

// sessions calls f with each session that goes.
func (x *export) sessions(f func(Session, *SessionState) error) error {
	sh := x.sh
	for slot := uint32(1); slot <= sh.sessions.Max(); slot++ {
		if !sh.sessions.At(slot).is(inUse) || x.stay[slot] {
			continue
		}
		st := next(&x.states)
		sh.state(slot, st)
		sh.given.sessions = append(sh.given.sessions, slot)
		if err := f(sh.handle(slot), st); err != nil {
			return err
		}
	}
	return nil
}

// Forget forgets what Export has given away, without a word to the Handler or to clients.
// It is called on the loop of an engine that is still frozen. From then on no session is
// opened here any more, and who asks for one that was is sent where it is now: see
// answerElsewhere.
func (srv *Server) Forget(l *loop.Loop) {
	l.Check()
	srv.shards[l.Index()].forget(loop.Conn.Forget)
}

// forget is Forget of connections that are forgotten by a function of their own.
func (sh *shard) forget(conn func(loop.Conn)) {
	for _, slot := range sh.given.sessions {
		sh.forgetSession(slot)
	}
	for _, k := range sh.given.conns {
		c := sh.loop.Conn(k)
		sh.forgetPeer(c)
		if h := sh.httpOf(c); h != nil {
			h.exchange.releaseBody(sh)
			sh.freeHTTPConn(h)
		}
		conn(c)
	}
	sh.given = given{}
	sh.srv.handed.Store(true)
	for _, h := range sh.https {
		if h != nil {
			sh.remains(h)
		}
	}
}

// forgetSession is free of a session that has gone elsewhere.
func (sh *shard) forgetSession(slot uint32) {
	s := sh.sessions.At(slot)
	if e := sh.peekExt(slot); e != nil {
		sh.setProbing(e, loop.Conn{}) // whose WebSocket is not to be hung up
	}
	if !s.is(closing) {
		sh.open--
		*sh.tally.Open.of(s.flags)--
	}
	sh.free(slot)
}

// goesSoon is how long a connection is waited for on which nothing can be asked for that
// is not elsewhere: what its client sent during the handover is answered.
const goesSoon = time.Second

// remains has a connection that stays serve what is left.
func (sh *shard) remains(h *httpConn) {
	if h.state == stateIdle {
		sh.deadline(h, min(sh.loop.Left(&h.timer), goesSoon))
	}
	h.stays = sh.lookup(h.session) != 0 // then its client is not to look for it elsewhere
}

// ExportTable returns which places of sessions have been used how often, so that ids of those
// that have ended are not taken for those of others: for ImportTable, which comes first.
func (srv *Server) ExportTable(l *loop.Loop) []byte {
	l.Check()
	x := newExport(srv.shards[l.Index()])
	return x.sh.sessions.Export(func(slot uint32) bool { return !x.stay[slot] })
}

var errTable = errors.New("eio: the table of sessions is broken")

// ImportTable is for a loop on which nothing has been yet.
func (srv *Server) ImportTable(l *loop.Loop, table []byte) error {
	l.Check()
	sh := srv.shards[l.Index()]
	if err := sh.sessions.Import(table, 2*int64(srv.o.MaxSessions)); err != nil {
		return fmt.Errorf("%w: %w", errTable, err)
	}
	return nil
}

// answerElsewhere answers a request for a session that another process has now, or has had
// since: its client is to ask again, on another connection, which is that process's. A
// poll has an answer that says nothing; all else is refused with 503, so that the client
// begins anew, which a client also does that is told by another status, but not by all.
func (sh *shard) answerElsewhere(h *httpConn) {
	if h.upgrade || string(h.req.Method) != http.MethodGet || string(h.query.transport) != "polling" {
		sh.unavailable(h)
		return
	}
	sh.hook(h)
	payload, contentType := appendPayload(nil, noopFrame, false), valueText
	if h.query.flags().has(revision3) {
		payload = appendPayload3(nil, noopFrame)
	}
	if h.query.jsonp {
		payload, contentType = appendCallback(nil, callbackName(string(h.query.j)), payload), valueScript
	}
	h.keepAlive = false
	sh.answerSession(h, payload, contentType, encoding.Identity)
}
