package eio

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
	"github.com/sioedge/sioedge/wsframe"
)

// A SessionState is what there is of a session that its client depends on, as plain
// data, for another process, or another server in this one, to go on with: see
// Session.Snapshot and Server.Restore.
//
// Connections are named as their loop names them: Conn.Key. What their own layer has of
// them, bytes not sent and bytes not handled, is not in it.
type SessionState struct {
	Slot      uint32 `cbor:"1,keyasint,omitempty"` // the session's place, which its id is sealed from
	Gen       uint32 `cbor:"2,keyasint,omitempty"`
	Revision  int    `cbor:"3,keyasint,omitempty"` // of Engine.IO: 4 or 3
	WebSocket bool   `cbor:"4,keyasint,omitempty"` // the transport; false: polling
	Base64    bool   `cbor:"5,keyasint,omitempty"` // the client takes no bytes there
	Inflates  bool   `cbor:"6,keyasint,omitempty"` // its messages may be compressed
	Deflates  bool   `cbor:"7,keyasint,omitempty"` // it takes compressed messages
	Secure    bool   `cbor:"8,keyasint,omitempty"` // Session.Secure
	User      uint32 `cbor:"9,keyasint,omitempty"` // of Session.SetUser

	Age time.Duration `cbor:"10,keyasint,omitempty"` // since the session was opened, in whole seconds

	// The heartbeat, in time left and time gone by.
	AwaitPong bool          `cbor:"11,keyasint,omitempty"` // a ping is out, or of Engine.IO 3: the client's is waited for
	Renewed   bool          `cbor:"12,keyasint,omitempty"` // and that wait was begun anew by another packet
	AwaitPoll bool          `cbor:"13,keyasint,omitempty"` // its client has never come back since it opened the session
	Deadline  time.Duration `cbor:"14,keyasint,omitempty"` // of what is waited for, or until the next ping
	Pinged    time.Duration `cbor:"15,keyasint,omitempty"` // since the last ping, in whole seconds; negative: none
	Proved    time.Duration `cbor:"16,keyasint,omitempty"` // since the last ping that was answered, likewise
	RTT       int           `cbor:"17,keyasint,omitempty"` // of the last ping, in ms; or how long it has been out; negative: not known

	Paused  bool                `cbor:"18,keyasint,omitempty"` // Session.PauseRead
	Delayed time.Duration       `cbor:"19,keyasint,omitempty"` // how long it is not read from yet: Session.PauseReadFor
	Busy    bool                `cbor:"20,keyasint,omitempty"` // more of what it sent is to be handled
	Client  netip.AddrPort      `cbor:"21,keyasint,omitzero"`  // of Options.Via; zero: the peer
	Conn    handle.Key          `cbor:"22,keyasint,omitzero"`  // its WebSocket, or the connection of its latest request
	Message wsframe.ReaderState `cbor:"23,keyasint,omitzero"`  // what has come of one in pieces
	Owner   netip.Addr          `cbor:"24,keyasint,omitzero"`  // that it is counted for: Options.MaxConnsPerIP

	// While polling.
	Closing   bool           `cbor:"30,keyasint,omitempty"` // closed, and the client does not know yet
	CloseLeft time.Duration  `cbor:"31,keyasint,omitempty"` // how long that is waited for
	Guest     bool           `cbor:"32,keyasint,omitempty"` // has joined nothing
	GuestOf   netip.Addr     `cbor:"33,keyasint,omitzero"`  // and is counted for, or would be
	Opener    handle.Key     `cbor:"34,keyasint,omitzero"`  // and for this connection
	Callback  string         `cbor:"35,keyasint,omitempty"` // the function that answers are given to: JSONP
	Queue     []QueueState   `cbor:"36,keyasint,omitempty"` // what waits for a poll
	Together  int            `cbor:"37,keyasint,omitempty"` // packets at its front that the next answer has, however many
	Swamped   bool           `cbor:"38,keyasint,omitempty"` // more waits than Options.MaxQueue, or did
	Silent    time.Duration  `cbor:"39,keyasint,omitempty"` // since its client last asked for more, while swamped
	Overflow  bool           `cbor:"40,keyasint,omitempty"` // it is about to be closed: more waits than Options.MaxQueueHard
	Poll      *ExchangeState `cbor:"41,keyasint,omitempty"` // that waits; nil: none
	Post      handle.Key     `cbor:"42,keyasint,omitzero"`  // the connection on which a body is being received: HTTPState.Post
	Unacked   *ExchangeState `cbor:"43,keyasint,omitempty"` // a post whose acknowledgement is kept back
	Rest      *RestState     `cbor:"44,keyasint,omitempty"` // of its body; nil: none
	Probe     *ProbeState    `cbor:"45,keyasint,omitempty"` // an upgrade in progress; nil: none
	Gave      handle.Key     `cbor:"46,keyasint,omitzero"`  // the connection of the last answer to a poll, while that may be lost
	Relayed   bool           `cbor:"47,keyasint,omitempty"` // it is another server's
}

// A QueueState is messages that wait for a poll, as frames. They are not dropped any
// more, whatever their Kind was.
type QueueState struct {
	Frames []byte `cbor:"1,keyasint,omitempty"` // those of one place in the queue
	Plain  bool   `cbor:"2,keyasint,omitempty"` // never compressed
}

// A RestState is what has not been handled yet of the body of a post.
type RestState struct {
	Body   []byte `cbor:"1,keyasint,omitempty"` // what is left, from the start of a packet
	Octets bool   `cbor:"2,keyasint,omitempty"` // it is a payload of bytes: Engine.IO 3
}

// A ProbeState is an upgrade in progress. What has come of a message on its WebSocket is
// in SessionState.Message.
type ProbeState struct {
	Conn   handle.Key     `cbor:"1,keyasint,omitzero"` // the WebSocket
	Client netip.AddrPort `cbor:"2,keyasint,omitzero"` // of Options.Via; zero: the peer
	// What the session is to have of the fields of these names.
	Base64   bool          `cbor:"3,keyasint,omitempty"`
	Inflates bool          `cbor:"4,keyasint,omitempty"`
	Deflates bool          `cbor:"5,keyasint,omitempty"`
	Left     time.Duration `cbor:"6,keyasint,omitempty"` // of UpgradeTimeout
	Probed   bool          `cbor:"7,keyasint,omitempty"` // the probe has come: polls are answered with a noop
	Noop     time.Duration `cbor:"8,keyasint,omitempty"` // and the next one in this time
}

// An ExchangeState is a request that waits for its answer.
type ExchangeState struct {
	Conn      handle.Key       `cbor:"1,keyasint,omitzero"`  // that it came on
	Client    netip.AddrPort   `cbor:"2,keyasint,omitzero"`  // of Options.Via; zero: the peer
	KeepAlive bool             `cbor:"3,keyasint,omitempty"` // the connection goes on behind the answer
	Old       bool             `cbor:"4,keyasint,omitempty"` // HTTP/1.0
	OldIE     bool             `cbor:"5,keyasint,omitempty"` // an Internet Explorer, which is told not to filter answers
	Coding    encoding.Coding  `cbor:"6,keyasint,omitempty"` // that the answer may be compressed with
	Relayed   bool             `cbor:"7,keyasint,omitempty"` // another server has passed it on
	Unread    *http1.BodyState `cbor:"8,keyasint,omitempty"` // its body, which is thrown away behind the answer; nil: it has none
	// Fields are of the answer, SessionFields too unless it is an error.
	Fields        []http1.Field `cbor:"9,keyasint,omitempty"`
	SessionFields []http1.Field `cbor:"10,keyasint,omitempty"`
}

// Errors of Snapshot: what of a session cannot be taken over yet.
var (
	// ErrBodyComes: a request is not complete yet.
	ErrBodyComes = errors.New("eio: the body of a request of the session is being received")
	// ErrOverflow: its queue has passed MaxQueueHard.
	ErrOverflow = errors.New("eio: the session is about to be closed: too much waits for it")
	// ErrConnEnds: also of Restore, for a connection that is not there.
	ErrConnEnds = errors.New("eio: a connection of the session is about to end")
)

// Snapshot returns the session's state, with copies of what it holds. It changes nothing:
// whoever hands the session over sees to it that nothing happens to it any more. It is
// called between two steps of the loop. A session of which there is something that cannot
// be put into a state without its connections is refused with ErrBodyComes, ErrOverflow or
// ErrConnEnds; that passes. See Server.Export for all there is.
//
// Not in it is what another process has no use for, or has to find out anew: which polls
// were answered (Options.Forward), how much of the queue the client was seen to take; and
// what the Handler has charged to the session's budget, which is the Handler's to charge
// again.
func (s Session) Snapshot() (*SessionState, error) {
	r := s.at()
	if r == nil {
		return nil, loop.ErrClosed
	}
	e := s.sh.peekExt(s.slot)
	switch c := s.sh.transport(r).conn(s.slot); {
	case r.is(overWS) && (!c.Valid() || c.Ending()), e != nil && (e.get.Ending() || e.unacked.Ending() || e.probing.Ending()):
		return nil, ErrConnEnds
	case e != nil && e.post.Valid():
		return nil, ErrBodyComes
	case e != nil && e.overflow:
		return nil, ErrOverflow
	}
	st := &SessionState{}
	s.sh.state(s.slot, st)
	st.clone()
	return st, nil
}

// state fills st with what a session is. Slices in it are the session's own.
func (sh *shard) state(slot uint32, st *SessionState) {
	r, now := sh.sessions.At(slot), sh.loop.Now()
	*st = SessionState{Slot: slot, Gen: sh.sessions.Gen(slot), Revision: sh.handle(slot).Revision(), WebSocket: r.is(overWS), Base64: r.is(noBinary),
		Inflates: r.is(inflates), Deflates: r.is(deflates), Secure: r.is(secured), User: r.user,
		AwaitPong: r.is(awaitPong), Renewed: r.is(renewed), AwaitPoll: r.is(awaitPoll),
		Deadline: sh.deadlines.left(slot, now), Pinged: sh.since(r.pinged), Proved: sh.since(r.proved), RTT: r.took(now),
		Age:    time.Duration(now/1000-int64(r.opened)) * time.Second,
		Paused: r.is(handlerPaused), Busy: r.is(busy), Swamped: r.is(swamped), Closing: r.is(closing)}
	if r.is(proxied) {
		st.Client = sh.clients[slot].unpack()
	}
	if a, owned := sh.owners[slot]; owned {
		st.Owner = a.unpack().Addr()
	}
	if r.is(delayed) {
		st.Delayed = sh.loop.Left(&sh.delays[slot].timer)
	}
	st.Conn = sh.transport(r).conn(slot).Key()
	if e := sh.peekExt(slot); e != nil {
		sh.extState(st, e)
	}
}

// extState adds what is in the extension.
func (sh *shard) extState(st *SessionState, e *ext) {
	st.Message = e.reader.State()
	st.Guest, st.GuestOf, st.Opener, st.Callback, st.Together = e.guest.is, e.guest.from, e.guest.opener.Key(), e.callback, e.together
	if st.Overflow = e.overflow; !e.overflow { // otherwise it is dropped
		for _, q := range e.queue {
			if q.frames != nil {
				st.Queue = append(st.Queue, QueueState{q.frames, q.plain})
			}
		}
	}
	if st.Swamped {
		st.Silent = time.Duration(sh.loop.Now()-e.asked) * time.Millisecond
	}
	if e.rest != nil {
		st.Rest = &RestState{e.rest.body, e.rest.octets}
	}
	st.Poll, st.Unacked, st.Post = sh.waitingState(e.get), sh.waitingState(e.unacked), e.post.Key()
	st.Gave, st.Relayed = e.gave.Key(), e.relayed
	if st.Closing {
		st.CloseLeft = sh.loop.Left(&e.timer)
	}
	if e.probing.Valid() {
		f := e.upgrade
		st.Probe = &ProbeState{Conn: e.probing.Key(), Client: e.prober, Base64: f.has(noBinary), Inflates: f.has(inflates),
			Deflates: f.has(deflates), Left: sh.loop.Left(&e.timer), Probed: e.release.Armed(), Noop: sh.loop.Left(&e.release)}
	}
}

// waitingState returns the state of the request on c, nil if there is none.
func (sh *shard) waitingState(c loop.Conn) *ExchangeState {
	h := sh.httpOf(c)
	if h == nil {
		return nil
	}
	x := h.exchange.data()
	x.Conn = c.Key()
	return x
}

// data returns what of an exchange its answer depends on.
func (x *exchange) data() *ExchangeState {
	st := &ExchangeState{Client: x.client, KeepAlive: x.keepAlive, Old: x.isOld, OldIE: x.oldIE, Coding: x.coding, Relayed: x.relayed || x.stays,
		Fields: x.fields, SessionFields: x.hooked}
	if x.unread {
		body := x.body.State()
		st.Unread = &body
	}
	return st
}

// clone has all that is in st be its own.
func (st *SessionState) clone() {
	st.Message.Data = bytes.Clone(st.Message.Data)
	for i := range st.Queue {
		st.Queue[i].Frames = bytes.Clone(st.Queue[i].Frames)
	}
	if st.Rest != nil {
		st.Rest.Body = bytes.Clone(st.Rest.Body)
	}
	for _, x := range []*ExchangeState{st.Poll, st.Unacked} {
		if x != nil {
			x.Fields, x.SessionFields = cloneFields(x.Fields), cloneFields(x.SessionFields)
		}
	}
}

func cloneFields(fields []http1.Field) (all []http1.Field) {
	for _, f := range fields {
		all = append(all, http1.Field{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
	}
	return all
}

// since returns how long ago a second was that second made, negative for never.
func (sh *shard) since(at uint16) time.Duration {
	if at == 0 {
		return -1
	}
	return time.Duration(uint16(sh.loop.Now()/1000)-at) * time.Second
}

// IDKey returns the key of the sessions' ids, for Options.IDKey. It is a secret. Any
// goroutine may call it.
func (srv *Server) IDKey() []byte { return srv.ids.Key() }
