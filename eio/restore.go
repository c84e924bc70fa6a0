package eio

import (
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

// Errors of Restore, and of Server.Import.
var (
	// ErrNoRoom is of a session whose place is taken.
	ErrNoRoom = errors.New("eio: the place of the session is taken, or was by a later one")
	// ErrSmaller is of a session that has more than Options allow here.
	ErrSmaller = errors.New("eio: the options do not allow what the session has")

	errBroken = errors.New("eio: the state of a session is broken")
)

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
		flagIf(st.Inflates, inflates) | flagIf(st.Deflates, deflates) | flagIf(st.Secure, secured) | flagIf(st.AwaitPong, awaitPong) | flagIf(st.Renewed, renewed) |
		flagIf(st.AwaitPoll, awaitPoll) | flagIf(st.Paused, handlerPaused) | flagIf(st.Swamped, swamped) | flagIf(st.Closing, closing)
	s, now := sh.sessions.At(st.Slot), sh.loop.Now()
	*s = session{flags: f, user: st.User, opened: int32((now - min(max(st.Age, 0), 1<<30*time.Second).Milliseconds()) / 1000), pinged: sh.ago(st.Pinged), proved: sh.ago(st.Proved)}
	s.setTook(st.RTT, now)
	srv.sessions.Add(1)
	if st.Swamped {
		sh.tally.Swamped++
	}
	if st.Closing {
		sh.sessions.Mark(st.Slot, st.Gen)
	} else {
		sh.open++
		*sh.tally.Open.of(f)++
		sh.deadlines.set(st.Slot, now+max(st.Deadline.Milliseconds(), 0))
		sh.keepTurning()
	}
	sh.keepClient(st.Slot, st.Client)
	if srv.o.MaxConnsPerIP > 0 {
		sh.restoreOwner(st, conn)
	}
	if st.WebSocket {
		c := conn(st.Conn)
		sh.claim(c)
		s.conn = c.Key()
		c.SetTag(tagWS | st.Slot)
		if s.is(halted) {
			c.PauseRead()
		}
	}
	if !st.WebSocket || st.Message.Op != 0 || st.Rest != nil || st.Unacked != nil || st.Post != (handle.Key{}) {
		sh.restoreExt(st, conn)
	}
	sh.handle(st.Slot).PauseReadFor(st.Delayed)
	if st.Busy || st.Rest != nil || st.Unacked != nil { // whatever that waited for
		sh.later(st.Slot)
	}
	return sh.handle(st.Slot), nil
}

// restoreOwner counts a session for its client's address.
func (sh *shard) restoreOwner(st *SessionState, conn func(handle.Key) loop.Conn) {
	if a := st.address(conn); a.IsValid() {
		sh.srv.owners.add(a, 0)
		sh.owns(st.Slot, a)
	}
}

// address returns what a session is counted by that is being restored.
func (st *SessionState) address(conn func(handle.Key) loop.Conn) netip.Addr {
	switch {
	case st.Owner.IsValid():
		return network(st.Owner)
	case st.Client.IsValid():
		return network(st.Client.Addr())
	}
	return network(conn(st.Conn).RemoteAddr().Addr())
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

// claim ends what c was until it became the WebSocket of a session.
func (sh *shard) claim(c loop.Conn) {
	if h := sh.httpOf(c); h != nil {
		sh.freeHTTPConn(h)
	}
}

// checkState tells whether a state can be one: it has come from elsewhere.
func (sh *shard) checkState(st *SessionState, conn func(handle.Key) loop.Conn) error {
	const most = 24 * 24 * time.Hour
	o := &sh.srv.o
	switch {
	case !st.agrees(), st.Deadline > most, st.Delayed > most, st.CloseLeft < 0, st.Silent < 0, st.RTT > clockTurn,
		st.Callback != "" && st.Callback != callbackName(st.Callback):
		return errBroken
	case (st.Inflates || st.Deflates || st.Probe != nil && (st.Probe.Inflates || st.Probe.Deflates)) && sh.srv.deflate == nil,
		st.Rest != nil && len(st.Rest.Body) > o.MaxPayload, int64(len(st.Message.Data)) > int64(o.MaxPayload):
		return ErrSmaller
	case int64(st.Slot) > 2*int64(o.MaxSessions): // no table has grown so far
		return ErrNoRoom
	}
	if err := sh.checkConns(st, conn); err != nil {
		return err
	}
	st.Message.Data = slices.Clip(st.Message.Data) // what is charged is its length: it fits
	r := sh.srv.newReader()
	r.Compression = st.Inflates || st.Probe != nil && st.Probe.Inflates
	if !r.SetState(st.Message) {
		return errBroken
	}
	held := r.Held()
	if st.Rest != nil {
		held += len(st.Rest.Body) + remainderOverhead
	}
	if h := sh.httpOf(conn(st.Post)); h != nil {
		held += h.kept
	}
	if held > o.ConnBudget {
		return ErrSmaller
	}
	bytes := 0
	for _, q := range st.Queue {
		if !wholeFrames(q.Frames) {
			return errBroken
		}
		if bytes += entrySize + len(q.Frames); bytes > o.MaxQueueHard && len(st.Queue) > 1 {
			return ErrSmaller
		}
	}
	return nil
}

// agrees tells whether what a state says is of one session: what there is while polling,
// while its client does not know that it is closed, and over a WebSocket.
func (st *SessionState) agrees() bool {
	for _, x := range []*ExchangeState{st.Poll, st.Unacked} {
		if x != nil && (st.Closing || !x.sound()) {
			return false
		}
	}
	switch {
	case st.Revision != 3 && st.Revision != 4:
		return false
	case st.WebSocket:
		return !st.Closing && !st.AwaitPoll && !st.Guest && !st.Swamped && !st.Overflow && len(st.Queue) == 0 && st.Poll == nil && st.Probe == nil
	}
	return !st.Inflates && !st.Deflates
}

// maxFields bounds the fields that answers have by themselves.
const maxFields = 1024

// sound tells whether an exchange can be one.
func (x *ExchangeState) sound() bool {
	var body http1.Body
	bad := func(f http1.Field) bool { return !f.Valid() }
	return (x.Coding == encoding.Identity || x.Coding == encoding.Gzip || x.Coding == encoding.Deflate) &&
		(x.Unread == nil || body.SetState(*x.Unread, maxDropped)) &&
		len(x.Fields)+len(x.SessionFields) <= maxFields && !slices.ContainsFunc(x.Fields, bad) && !slices.ContainsFunc(x.SessionFields, bad)
}

// checkConns tells whether the connections are there that a session cannot be without,
// each for one purpose, and nobody else's.
func (sh *shard) checkConns(st *SessionState, conn func(handle.Key) loop.Conn) error {
	seen := make([]loop.Conn, 0, 4)
	is := func(k handle.Key, good func(c loop.Conn) bool) bool {
		c := conn(k)
		ok := c.Valid() && !slices.Contains(seen, c) && good(c)
		seen = append(seen, c)
		return ok
	}
	fresh := func(c loop.Conn) bool { return c.Tag() == tagOrphan || sh.idleHTTP(c) }
	ref := uint64(handle.MakeRef(sh.loop.Index(), st.Slot, st.Gen))
	switch {
	case st.WebSocket && !is(st.Conn, fresh),
		st.Probe != nil && !is(st.Probe.Conn, fresh),
		st.Poll != nil && !is(st.Poll.Conn, sh.idleHTTP),
		st.Unacked != nil && !is(st.Unacked.Conn, sh.idleHTTP),
		st.Post != (handle.Key{}) && !is(st.Post, func(c loop.Conn) bool {
			h := sh.httpOf(c)
			return h != nil && h.state == statePayload && h.session == ref
		}):
		return ErrConnEnds
	}
	return nil
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
	e.callback, e.together, e.overflow = st.Callback, max(st.Together, 0), st.Overflow
	for _, q := range st.Queue {
		e.queue = append(e.queue, queued{frames: q.Frames, plain: q.Plain})
		e.queued += e.queue[len(e.queue)-1].size()
	}
	sh.countQueue(e)
	sh.restoreGuest(st, e, conn)
	if st.Rest != nil {
		e.rest = &remainder{body: st.Rest.Body, octets: st.Rest.Octets, charged: len(st.Rest.Body) + remainderOverhead}
		sh.account(slot).Charge(e.rest.charged)
	}
	if c := conn(st.Conn); !st.WebSocket && c.Valid() {
		e.last = c
	}
	if h := sh.httpOf(conn(st.Gave)); h != nil {
		e.gave, e.relayed, h.gave = h.conn, st.Relayed, sh.ref(slot)
	}
	if h := sh.httpOf(conn(st.Post)); h != nil {
		if e.post = h.conn; !st.Closing {
			h.paid = h.kept
			sh.account(slot).Charge(h.paid)
		}
	}
	e.get = sh.restoreExchange(slot, st.Poll, statePoll, conn)
	e.unacked = sh.restoreExchange(slot, st.Unacked, stateUnacked, conn)
	if e.overflow || e.get.Valid() && len(e.queue) > 0 {
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

func (sh *shard) restoreGuest(st *SessionState, e *ext, conn func(handle.Key) loop.Conn) {
	e.guest = guest{is: st.Guest, from: network(st.GuestOf)}
	if !st.Guest {
		return
	}
	if e.guest.from.IsValid() {
		sh.srv.guests.add(e.guest.from, 0)
	}
	if h := sh.httpOf(conn(st.Opener)); h != nil {
		e.guest.opener = h.conn
		h.guests++
	}
}

// restoreProbe makes c the WebSocket of an upgrade in progress.
func (sh *shard) restoreProbe(slot uint32, e *ext, p *ProbeState, c loop.Conn) {
	sh.claim(c)
	c.SetTag(tagProbe | slot)
	sh.setProbing(e, c)
	e.prober = p.Client
	e.upgrade = flagIf(p.Base64, noBinary) | flagIf(p.Inflates, inflates) | flagIf(p.Deflates, deflates)
	sh.loop.Schedule(&e.timer, min(p.Left, sh.srv.o.UpgradeTimeout), func() { sh.expireProbe(slot) })
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
	h.exchange = x.exchange()
	h.session = sh.ref(slot)
	sh.wait(h, as)
	return h.conn
}

// exchange returns the exchange that x is of, in the state of an idle one.
func (x *ExchangeState) exchange() exchange {
	e := exchange{client: x.Client, keepAlive: x.KeepAlive, isOld: x.Old, oldIE: x.OldIE, coding: x.Coding,
		relayed: x.Relayed, stays: x.Relayed, fields: x.Fields, hooked: x.SessionFields}
	if x.Unread != nil {
		e.unread = e.body.SetState(*x.Unread, maxDropped) // sound has seen that it can
	}
	return e
}
