package eio

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
)

// A ConnState is a connection as plain data, with what a Server knows of it: see
// Server.Export.
type ConnState struct {
	loop.ConnState

	// HTTP is the request that is being received or answered on it; nil: it is a
	// WebSocket, of which there is a SessionState.
	HTTP *HTTPState `cbor:"64,keyasint,omitempty"`
	// Counted: for its peer's address (Options.MaxConnsPerIP). Over: it is one too many.
	Counted bool `cbor:"65,keyasint,omitempty"`
	Over    bool `cbor:"66,keyasint,omitempty"`
}

// An HTTPState is where a connection is in a request. The zero value waits for one, or
// has one that waits for an answer: that is in its session's state.
type HTTPState struct {
	Left     time.Duration    `cbor:"1,keyasint,omitempty"` // until it is given up
	Head     bool             `cbor:"2,keyasint,omitempty"` // a part of a head has come
	Since    time.Duration    `cbor:"3,keyasint,omitempty"` // its first byte came
	Dropping *http1.BodyState `cbor:"4,keyasint,omitempty"` // a body that is thrown away; nil: none
	Post     *PostState       `cbor:"5,keyasint,omitempty"` // the body of a session's post, that has not come whole; nil: none
}

// A PostState is a post of which a part has come.
type PostState struct {
	Session handle.Key      `cbor:"1,keyasint,omitzero"`
	Request ExchangeState   `cbor:"2,keyasint"`
	Body    http1.BodyState `cbor:"3,keyasint"`           // what is still to come
	Came    []byte          `cbor:"4,keyasint,omitempty"` // what has come
	Part    int             `cbor:"5,keyasint,omitempty"` // bytes of it since Left was set
	Octets  bool            `cbor:"6,keyasint,omitempty"` // a payload of bytes: Engine.IO 3
	Form    bool            `cbor:"7,keyasint,omitempty"` // a payload in a form: JSONP
}

// httpState fills st with where h is in a request. Slices in it are the connection's own.
func (sh *shard) httpState(h *httpConn, st *HTTPState) {
	*st = HTTPState{Left: sh.loop.Left(&h.timer)}
	switch h.state {
	case stateHead:
		st.Head, st.Since = true, time.Duration(sh.loop.Engine().Micros()-h.begun)*time.Microsecond
	case stateDropping:
		body := h.body.State()
		st.Dropping = &body
	case statePayload:
		r := handle.Ref(h.session)
		st.Post = &PostState{Session: r.Key(), Request: *h.exchange.data(), Body: h.body.State(), Came: h.buf, Part: h.part, Octets: h.octets, Form: h.form}
	}
}

var errBrokenConn = errors.New("eio: the state of a connection is broken")

// ImportConn puts a connection into the loop, whose FD is the engine's from then on, unless
// there is an error. It comes before its session: one that has none, of those that need
// one, ends when the loop runs.
func (srv *Server) ImportConn(l *loop.Loop, st *ConnState) error {
	l.Check()
	sh := srv.shards[l.Index()]
	if err := sh.checkConn(st); err != nil {
		return err
	}
	s := st.ConnState
	s.Tag, s.Paused, s.Held, s.Await = tagOrphan, false, false, false // sessions say so, and there are no tunnels
	c, err := l.Attach(s, nil)
	if err != nil {
		return err
	}
	sh.adopt(c, st)
	return nil
}

// checkConn tells whether a state can be one: it has come from elsewhere.
func (sh *shard) checkConn(st *ConnState) error {
	sent := 0
	for _, p := range st.Output {
		if sent += len(p); len(p) == 0 {
			return errBrokenConn
		}
	}
	switch h := st.HTTP; {
	case st.Key == (handle.Key{}), st.Link != nil, st.FD < 0, st.Begun < 0, st.Begun > sent, st.Quiet < 0:
		return errBrokenConn
	case int64(st.Key.Slot) > 2*int64(sh.loop.Engine().MaxConns()): // no table has grown so far
		return errBrokenConn
	case h == nil:
		return nil
	default:
		return sh.checkHTTP(h)
	}
}

func (sh *shard) checkHTTP(h *HTTPState) error {
	var body http1.Body
	p, most := h.Post, int64(sh.srv.o.MaxPayload)
	switch {
	case h.Head && (h.Dropping != nil || p != nil), h.Dropping != nil && p != nil, h.Since < 0, h.Since > 24*time.Hour,
		h.Dropping != nil && !body.SetState(*h.Dropping, maxDropped):
		return errBrokenConn
	case p == nil:
		return nil
	case !p.Request.sound(), p.Request.Unread != nil, p.Part < 0, p.Part > partLen, p.Session == (handle.Key{}):
		return errBrokenConn
	case int64(len(p.Came)) > most, p.Body.Left > most || p.Body.Room > most:
		return ErrSmaller
	case !body.SetState(p.Body, most-int64(len(p.Came))):
		return errBrokenConn
	}
	return nil
}

// adopt makes what the server has of a connection that is on the loop already.
func (sh *shard) adopt(c loop.Conn, st *ConnState) {
	if st.Counted || sh.srv.o.Via == nil {
		sh.recount(c, st.Over)
	}
	if st.HTTP == nil {
		sh.orphan(c)
		return
	}
	h, o := sh.newHTTPConn(c), &sh.srv.o
	left := func(most time.Duration) { sh.deadline(h, min(max(st.HTTP.Left, 0), most)) }
	switch x := st.HTTP; {
	case x.Head:
		sh.become(h, stateHead)
		h.begun = sh.loop.Engine().Micros() - x.Since.Microseconds()
		left(o.HeadTimeout)
	case x.Dropping != nil:
		sh.become(h, stateDropping)
		_ = h.body.SetState(*x.Dropping, maxDropped) // checkHTTP has seen that it can
		left(o.BodyTimeout)
	case x.Post != nil:
		p := x.Post
		h.exchange = p.Request.exchange()
		sh.become(h, statePayload)
		h.session = uint64(handle.MakeRef(sh.loop.Index(), p.Session.Slot, p.Session.Gen))
		h.octets, h.form, h.part = p.Octets, p.Form, p.Part
		_ = h.body.SetState(p.Body, int64(o.MaxPayload)) // likewise
		h.buf = slices.Clip(p.Came)
		h.kept = cap(h.buf)
		sh.tally.BodyBytes += int64(h.kept)
		left(o.BodyTimeout)
	default:
		left(max(o.IdleTimeout, o.HeadTimeout))
	}
}

// recount is countPeer for a connection that was counted elsewhere, or would have been.
func (sh *shard) recount(c loop.Conn, over bool) {
	a := netip.Addr{}
	if sh.srv.o.MaxConnsPerIP > 0 {
		a = network(c.RemoteAddr().Addr())
	}
	if !a.IsValid() {
		return
	}
	if over {
		sh.srv.overs.add(a, 0)
	} else {
		sh.srv.peers.add(a, 0)
	}
	if sh.peers == nil {
		sh.peers = map[handle.Key]peer{}
	}
	sh.peers[c.Key()] = peer{packAddr(netip.AddrPortFrom(a, 0)), over}
}

// orphan has a connection wait for its session, until the loop runs.
func (sh *shard) orphan(c loop.Conn) {
	c.SetTag(tagOrphan)
	if sh.orphans = append(sh.orphans, c.Key()); len(sh.orphans) > 1 {
		return
	}
	sh.loop.Post(loop.TaskFunc(func(l *loop.Loop) {
		for _, k := range sh.orphans {
			if c := l.Conn(k); c.Tag() == tagOrphan {
				c.Abort()
			}
		}
		sh.orphans = nil
	}))
}

// Import has a session go on whose connections have been imported: see Restore. What waits
// in it, such as what is left of a body, is handled when the loop runs.
func (srv *Server) Import(l *loop.Loop, st *SessionState) (Session, error) {
	l.Check()
	return srv.Restore(l, st, l.Conn)
}
