package eio

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
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
	Slot, Gen uint32 // the session's place, which its id is sealed from
	Revision  int    // of Engine.IO: 4 or 3
	WebSocket bool   // the transport; false: polling
	Base64    bool   // the client takes no bytes there
	Inflates  bool   // its messages may be compressed
	Deflates  bool   // it takes compressed messages
	User      uint32 // of Session.SetUser

	// The heartbeat, in time left and time gone by.
	AwaitPong bool          // a ping is out, or of Engine.IO 3: the client's is waited for
	Renewed   bool          // and that wait was begun anew by another packet
	AwaitPoll bool          // its client has never come back since it opened the session
	Deadline  time.Duration // of what is waited for, or until the next ping
	Pinged    time.Duration // since the last ping, in whole seconds; negative: none
	Proved    time.Duration // since the last ping that was answered, likewise

	Paused  bool                // Session.PauseRead
	Busy    bool                // more of what it sent is to be handled
	Client  netip.AddrPort      // of Options.ClientAddr; zero: the peer
	Conn    handle.Key          // its WebSocket, or the connection of its latest request
	Message wsframe.ReaderState // what has come of one in pieces

	// While polling.
	Closing   bool           // closed, and the client does not know yet
	CloseLeft time.Duration  // how long that is waited for
	Guest     bool           // has joined nothing
	GuestOf   netip.Addr     // and is counted for, or would be
	Callback  string         // the function that answers are given to: JSONP
	Queue     []QueueState   // what waits for a poll
	Together  int            // packets at its front that the next answer has, however many
	Swamped   bool           // more waits than Options.MaxQueue, or did
	Silent    time.Duration  // since its client last asked for more, while swamped
	Poll      *ExchangeState // that waits; nil: none
	Unacked   *ExchangeState // a post whose acknowledgement is kept back
	Rest      *RestState     // of its body; nil: none
	Probe     *ProbeState    // an upgrade in progress; nil: none
}

// A QueueState is messages that wait for a poll, as frames.
type QueueState struct {
	Frames []byte // those of one place in the queue
	Plain  bool   // never compressed
}

// A RestState is what has not been handled yet of the body of a post.
type RestState struct {
	Body   []byte // what is left, from the start of a packet
	Octets bool   // it is a payload of bytes: Engine.IO 3
}

// A ProbeState is an upgrade in progress. What has come of a message on its WebSocket is
// in SessionState.Message.
type ProbeState struct {
	Conn   handle.Key     // the WebSocket
	Client netip.AddrPort // of Options.ClientAddr; zero: the peer
	// What the session is to have of the fields of these names.
	Base64, Inflates, Deflates bool
	Left                       time.Duration // of UpgradeTimeout
	Probed                     bool          // the probe has come: polls are answered with a noop
	Noop                       time.Duration // and the next one in this time
}

// An ExchangeState is a request that waits for its answer.
type ExchangeState struct {
	Conn      handle.Key      // that it came on
	Client    netip.AddrPort  // of Options.ClientAddr; zero: the peer
	KeepAlive bool            // the connection goes on behind the answer
	Old       bool            // HTTP/1.0
	OldIE     bool            // an Internet Explorer, which is told not to filter answers
	Coding    encoding.Coding // that the answer may be compressed with
	Relayed   bool            // another server has passed it on
	// Fields are of the answer, SessionFields too unless it is an error.
	Fields, SessionFields []http1.Field
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
// be put into a state is refused with ErrBodyComes, ErrOverflow or ErrConnEnds; that passes.
//
// Not in it is what another process has no use for, or has to find out anew: whether the
// answer to the last poll has arrived, which polls were answered (Options.Forward), how
// much of the queue the client was seen to take; and what the Handler has charged to the
// session's budget, which is the Handler's to charge again.
func (s Session) Snapshot() (*SessionState, error) {
	r := s.at()
	if r == nil {
		return nil, loop.ErrClosed
	}
	sh := s.sh
	st := &SessionState{Slot: s.slot, Gen: s.gen, Revision: s.Revision(), WebSocket: r.is(overWS), Base64: r.is(noBinary),
		Inflates: r.is(inflates), Deflates: r.is(deflates), User: r.user,
		AwaitPong: r.is(awaitPong), Renewed: r.is(renewed), AwaitPoll: r.is(awaitPoll),
		Deadline: sh.deadlines.left(s.slot, sh.loop.Now()), Pinged: sh.since(r.pinged), Proved: sh.since(r.proved),
		Paused: r.is(handlerPaused), Busy: r.is(busy), Swamped: r.is(swamped), Closing: r.is(closing)}
	if r.is(proxied) {
		st.Client = sh.clients[s.slot].unpack()
	}
	c := sh.transport(r).conn(s.slot)
	if st.Conn = c.Key(); st.WebSocket && (!c.Valid() || c.Ending()) {
		return nil, ErrConnEnds
	}
	if e := sh.peekExt(s.slot); e != nil {
		return st, sh.snapshotExt(st, e)
	}
	return st, nil
}

// snapshotExt adds what is in the extension.
func (sh *shard) snapshotExt(st *SessionState, e *ext) (err error) {
	switch {
	case e.post.Valid():
		return ErrBodyComes
	case e.overflow:
		return ErrOverflow
	case e.get.Ending() || e.unacked.Ending() || e.probing.Ending():
		return ErrConnEnds
	}
	st.Message = e.reader.State()
	st.Message.Data = bytes.Clone(st.Message.Data)
	st.Guest, st.GuestOf, st.Callback, st.Together = e.guest.is, e.guest.from, e.callback, e.together
	for _, q := range e.queue {
		st.Queue = append(st.Queue, QueueState{bytes.Clone(q.frames), q.plain})
	}
	if st.Swamped {
		st.Silent = time.Duration(sh.loop.Now()-e.asked) * time.Millisecond
	}
	if e.rest != nil {
		st.Rest = &RestState{bytes.Clone(e.rest.body), e.rest.octets}
	}
	st.Poll, st.Unacked = sh.snapshotExchange(e.get), sh.snapshotExchange(e.unacked)
	if st.Closing {
		st.CloseLeft = sh.loop.Left(&e.timer)
	}
	if e.probing.Valid() {
		f := e.upgrade
		st.Probe = &ProbeState{Conn: e.probing.Key(), Client: e.prober, Base64: f.has(noBinary), Inflates: f.has(inflates),
			Deflates: f.has(deflates), Left: sh.loop.Left(&e.timer), Probed: e.release.Armed(), Noop: sh.loop.Left(&e.release)}
	}
	return nil
}

// snapshotExchange returns the state of the request on c, nil if there is none.
func (sh *shard) snapshotExchange(c loop.Conn) *ExchangeState {
	h := sh.httpOf(c)
	if h == nil {
		return nil
	}
	own := func(fields []http1.Field) (all []http1.Field) {
		for _, f := range fields {
			all = append(all, http1.Field{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
		}
		return all
	}
	// A body that is still to be thrown away is not in the state: the connection ends.
	return &ExchangeState{Conn: c.Key(), Client: h.client, KeepAlive: h.keepAlive && !h.unread, Old: h.isOld, OldIE: h.oldIE,
		Coding: h.coding, Fields: own(h.fields), SessionFields: own(h.hooked), Relayed: h.relayed}
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

// ErrNoRoom is what Restore returns for a session whose place is taken.
var ErrNoRoom = errors.New("eio: the place of the session is taken, or was by a later one")

var errBroken = errors.New("eio: the state of a session is broken")

// Restore has a session of another server, or process, go on on l, in the same place, so
// that its id is right if the servers have Options.Node and IDKey in common. conn returns
// the connection on l that has a key of the state now: the engine has opened it, and it
// has received nothing since; the zero Conn if it is gone. The Handler is not told: it has
// a state of its own. The state is the session's from now on. It must be called on l.
func (srv *Server) Restore(l *loop.Loop, st *SessionState, conn func(handle.Key) loop.Conn) (Session, error) {
	l.Check()
	sh := srv.shards[l.Index()]
	if err := sh.checkState(st, conn); err != nil {
		return Session{}, err
	}
	if st.Slot == 0 || !sh.sessions.AllocAt(st.Slot, st.Gen) {
		return Session{}, ErrNoRoom
	}
	f := inUse | flagIf(st.WebSocket, overWS) | flagIf(st.Revision == 3, revision3) | flagIf(st.Base64, noBinary) |
		flagIf(st.Inflates, inflates) | flagIf(st.Deflates, deflates) | flagIf(st.AwaitPong, awaitPong) | flagIf(st.Renewed, renewed) |
		flagIf(st.AwaitPoll, awaitPoll) | flagIf(st.Paused, handlerPaused) | flagIf(st.Swamped, swamped) | flagIf(st.Closing, closing)
	s := sh.sessions.At(st.Slot)
	*s = session{flags: f, user: st.User, pinged: sh.ago(st.Pinged), proved: sh.ago(st.Proved)}
	srv.sessions.Add(1)
	if !st.Closing {
		sh.open++
		*sh.tally.Open.of(f)++
		sh.deadlines.set(st.Slot, sh.loop.Now()+max(st.Deadline.Milliseconds(), 0))
		sh.keepTurning()
	}
	sh.keepClient(st.Slot, st.Client)
	if st.WebSocket {
		c := conn(st.Conn)
		sh.freeHTTPConn(sh.httpOf(c))
		s.conn = c.Key()
		c.SetTag(tagWS | st.Slot)
		if s.is(halted) {
			c.PauseRead()
		}
	}
	if !st.WebSocket || st.Message.Op != 0 || st.Rest != nil {
		sh.restoreExt(st, conn)
	}
	if st.Busy || st.Rest != nil || st.Unacked != nil { // whatever that waited for
		sh.later(st.Slot)
	}
	return sh.handle(st.Slot), nil
}

func flagIf(on bool, f flags) flags {
	if on {
		return f
	}
	return 0
}

// ago returns the second that was some time ago.
func (sh *shard) ago(d time.Duration) uint16 {
	if d < 0 {
		return 0
	}
	return second(sh.loop.Now() - d.Milliseconds())
}

// checkState tells whether a state can be one: it has come from elsewhere.
func (sh *shard) checkState(st *SessionState, conn func(handle.Key) loop.Conn) error {
	const most = 24 * 24 * time.Hour
	switch {
	case !st.agrees(), st.Deadline > most, st.CloseLeft < 0, st.Silent < 0,
		(st.Inflates || st.Deflates || st.Probe != nil && (st.Probe.Inflates || st.Probe.Deflates)) && sh.srv.deflate == nil,
		st.Callback != "" && st.Callback != callbackName(st.Callback),
		st.Rest != nil && len(st.Rest.Body) > sh.srv.o.MaxPayload:
		return errBroken
	case int64(st.Slot) > 2*int64(sh.srv.o.MaxSessions): // no table has grown so far
		return ErrNoRoom
	}
	var conns []loop.Conn
	for _, k := range st.conns() {
		c := conn(k)
		if !sh.idleHTTP(c) || slices.Contains(conns, c) {
			return ErrConnEnds
		}
		conns = append(conns, c)
	}
	st.Message.Data = slices.Clip(st.Message.Data) // what is charged is its length: it fits
	r := sh.srv.newReader()
	r.Compression = st.Inflates || st.Probe != nil && st.Probe.Inflates
	if !r.SetState(st.Message) {
		return errBroken
	}
	bytes := 0
	for _, q := range st.Queue {
		if bytes += entrySize + len(q.Frames); !wholeFrames(q.Frames) || bytes > sh.srv.o.MaxQueueHard && len(st.Queue) > 1 {
			return errBroken
		}
	}
	return nil
}

// agrees tells whether what a state says is of one session: what there is while polling,
// while its client does not know that it is closed, and over a WebSocket.
func (st *SessionState) agrees() bool {
	for _, x := range []*ExchangeState{st.Poll, st.Unacked} {
		if x != nil && (st.Closing || x.Coding != encoding.Identity && x.Coding != encoding.Gzip && x.Coding != encoding.Deflate) {
			return false
		}
	}
	switch {
	case st.Revision != 3 && st.Revision != 4:
		return false
	case st.WebSocket:
		return !st.Closing && !st.AwaitPoll && !st.Guest && !st.Swamped && len(st.Queue) == 0 && st.Poll == nil && st.Probe == nil
	}
	return !st.Inflates && !st.Deflates
}

// conns returns the keys of the connections that the session cannot be without.
func (st *SessionState) conns() (keys []handle.Key) {
	if st.WebSocket {
		keys = append(keys, st.Conn)
	}
	for _, x := range []*ExchangeState{st.Poll, st.Unacked} {
		if x != nil {
			keys = append(keys, x.Conn)
		}
	}
	if st.Probe != nil {
		keys = append(keys, st.Probe.Conn)
	}
	return keys
}

// idleHTTP tells whether c is a connection on which there is no request.
func (sh *shard) idleHTTP(c loop.Conn) bool {
	h := sh.httpOf(c)
	return h != nil && h.state == stateIdle
}

// wholeFrames tells whether b is frames as a server makes them.
func wholeFrames(b []byte) bool {
	for len(b) > 0 {
		h, n, err := wsframe.ParseHeader(b)
		if err != nil || n == 0 || h.Masked || h.Op.Control() || h.Length > int64(len(b)-n) {
			return false
		}
		b = b[n+int(h.Length):]
	}
	return true
}

// restoreExt makes the extension of a session that is being restored.
func (sh *shard) restoreExt(st *SessionState, conn func(handle.Key) loop.Conn) {
	slot := st.Slot
	e := sh.ext(slot)
	e.reader.Compression = st.Inflates || st.Probe != nil && st.Probe.Inflates
	_ = e.reader.SetState(st.Message) // checkState has seen that it can
	sh.chargeReader(slot, e, 0)
	e.callback, e.together = st.Callback, st.Together
	for _, q := range st.Queue {
		e.queue = append(e.queue, queued{frames: q.Frames, plain: q.Plain})
		e.queued += e.queue[len(e.queue)-1].size()
	}
	sh.countQueue(e)
	e.guest = guest{is: st.Guest, from: st.GuestOf}
	if st.Guest && st.GuestOf.IsValid() {
		sh.srv.guests.add(st.GuestOf, 0)
	}
	if st.Rest != nil {
		e.rest = &remainder{body: st.Rest.Body, octets: st.Rest.Octets, charged: len(st.Rest.Body) + remainderOverhead}
		sh.account(slot).Charge(e.rest.charged)
	}
	if !st.WebSocket {
		e.last = conn(st.Conn)
	}
	e.get = sh.restoreExchange(slot, st.Poll, statePoll, conn)
	e.unacked = sh.restoreExchange(slot, st.Unacked, stateUnacked, conn)
	if e.get.Valid() && len(e.queue) > 0 {
		sh.pollLater(slot, e)
	}
	if p := st.Probe; p != nil {
		sh.restoreProbe(slot, e, p, conn(p.Conn))
	}
	if st.Swamped {
		e.asked = sh.loop.Now() - st.Silent.Milliseconds()
		sh.watchSlow(slot, e, max(sh.slowAfter()-st.Silent, time.Millisecond))
	}
	if st.Closing {
		sh.loop.Schedule(&e.timer, min(st.CloseLeft, sh.srv.o.CloseTimeout), func() { sh.free(slot) }) // in place of the upgrade's
	}
}

// restoreProbe makes c the WebSocket of an upgrade in progress.
func (sh *shard) restoreProbe(slot uint32, e *ext, p *ProbeState, c loop.Conn) {
	sh.freeHTTPConn(sh.httpOf(c))
	c.SetTag(tagProbe | slot)
	sh.setProbing(e, c)
	e.prober = p.Client
	e.upgrade = flagIf(p.Base64, noBinary) | flagIf(p.Inflates, inflates) | flagIf(p.Deflates, deflates)
	sh.loop.Schedule(&e.timer, min(p.Left, sh.srv.o.UpgradeTimeout), func() { sh.abandonProbe(slot) })
	if p.Probed {
		sh.releasePollsIn(slot, e, min(p.Noop, releaseEvery))
	}
}

// restoreExchange makes a connection wait for the answer to a request.
func (sh *shard) restoreExchange(slot uint32, x *ExchangeState, as state, conn func(handle.Key) loop.Conn) loop.Conn {
	if x == nil {
		return loop.Conn{}
	}
	h := sh.httpOf(conn(x.Conn))
	sh.loop.Cancel(&h.timer)
	h.exchange = exchange{client: x.Client, keepAlive: x.KeepAlive, isOld: x.Old, oldIE: x.OldIE, coding: x.Coding,
		session: sh.ref(slot), relayed: x.Relayed, fields: x.Fields, hooked: x.SessionFields}
	sh.wait(h, as)
	return h.conn
}
