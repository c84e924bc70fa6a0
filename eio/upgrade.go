package eio

import (
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

var probeAnswer = wsframe.AppendFrame(nil, wsframe.Text, []byte("3probe"))

// maxProbe is the most that may be in a packet of an upgrade, when inflated.
const maxProbe = 1 << 10

// startProbe begins an upgrade of a session from polling to this connection
// (Engine.IO protocol 4, "Upgrade"). A session that is upgrading or has
// upgraded is left alone: the newcomer is closed.
func (sh *shard) startProbe(h *httpConn, slot uint32) {
	s := sh.sessions.At(slot)
	if sh.srv.o.NoUpgrades {
		sh.refuse(h, badRequest)
		return
	}
	ref := sh.ref(slot)
	protocol, ok := sh.checkUpgrade(h)
	if !ok {
		return
	}
	if sh.lookup(ref) == 0 { // the application has ended it
		sh.refuse(h, unknownSID)
		return
	}
	zip := sh.acceptUpgrade(h, protocol)
	if e := sh.peekExt(slot); s.is(overWS|closing) || e == nil || e.probing.Valid() {
		sh.tally.Barred++
		sh.hangUp(h.conn)
		return
	}
	sh.polledFirst(slot)
	e := sh.ext(slot)
	sh.setProbing(e, h.conn)
	e.prober, e.upgrade = h.client, zip|h.query.flags()
	sh.tally.Probed++
	e.reader = sh.srv.newReader()
	e.reader.Compression = zip != 0
	h.conn.SetTag(tagProbe | slot)
	sh.loop.Schedule(&e.timer, sh.srv.o.UpgradeTimeout, func() { sh.expireProbe(slot) })
}

// setProbing notes, and counts, the WebSocket of an upgrade in progress; the zero Conn
// is none.
func (sh *shard) setProbing(e *ext, c loop.Conn) {
	if e.probing != (loop.Conn{}) {
		sh.tally.Probing--
	}
	if e.probing = c; c != (loop.Conn{}) {
		sh.tally.Probing++
	}
}

// expireProbe gives an upgrade up that has taken too long.
func (sh *shard) expireProbe(slot uint32) {
	if e := sh.peekExt(slot); e != nil && sh.loop.IsQuiet() {
		sh.loop.Schedule(&e.timer, unheardFor, func() { sh.expireProbe(slot) })
		return
	}
	sh.tally.Expired++ // a session that is closed, or has upgraded, has another timer
	sh.abandonProbe(slot)
}

// abandonProbe gives an upgrade up; the session goes on polling.
func (sh *shard) abandonProbe(slot uint32) {
	if e := sh.peekExt(slot); e != nil && e.probing.Valid() {
		c := e.probing
		sh.dropProbe(slot)
		sh.hangUp(c)
	}
}

// dropProbe forgets an upgrade whose connection is being closed.
func (sh *shard) dropProbe(slot uint32) {
	e := sh.peekExt(slot)
	if e == nil {
		return
	}
	if !sh.sessions.At(slot).is(closing) {
		sh.loop.Cancel(&e.timer)
	}
	sh.loop.Cancel(&e.release)
	sh.setProbing(e, loop.Conn{})
	e.reader = sh.srv.newReader()
	sh.releasePoll(slot)
}

// dataProbe handles what the connection of an upgrade in progress received.
// Only the probe and the end of the upgrade are expected; anything else ends
// the attempt and leaves the session as it was.
func (sh *shard) dataProbe(c loop.Conn, slot uint32, b []byte) (used int) {
	e := sh.peekExt(slot)
	if e == nil || e.probing != c || sh.overdue(slot) {
		return len(b)
	}
	m, n, err := e.reader.Next(b)
	if !sh.chargeReader(slot, e, 0) {
		return len(b)
	}
	if err == nil && m.Compressed {
		m, err = sh.zip.inflateTo(m, maxProbe)
	}
	if err == nil {
		sh.tally.In.count(m.Op)
	}
	switch {
	case err != nil:
		sh.dropProbe(slot)
		sh.breakWS(c, err)
	case m.Op == 0 || m.Op == wsframe.Pong:
	case m.Op == wsframe.Ping:
		sh.pong(c, m)
	case m.Op == wsframe.Close:
		sh.dropProbe(slot)
		sh.endWS(c, m)
	case m.Op == wsframe.Text && string(m.Data) == "2probe":
		sh.signOfLife(slot, false)
		sh.tally.Out.Text++
		c.Write(probeAnswer)
		sh.releasePolls(slot, e)
	case m.Op == wsframe.Text && len(m.Data) == 1 && m.Data[0] == upgrade:
		sh.finishUpgrade(c, slot, e)
	default:
		sh.abandonProbe(slot)
	}
	return n
}

// releasePolls has polls that wait answered with a noop, from now on until the
// upgrade ends: the client waits for its poll before it completes that. As in Node
// that is every 100 ms; who answered at once would be asked again at once.
func (sh *shard) releasePolls(slot uint32, e *ext) { sh.releasePollsIn(slot, e, releaseEvery) }

// releasePollsIn is releasePolls, for the first time in d.
func (sh *shard) releasePollsIn(slot uint32, e *ext, d time.Duration) {
	sh.loop.Schedule(&e.release, d, func() {
		sh.releasePolls(slot, e)
		sh.releasePoll(slot)
	})
}

const releaseEvery = 100 * time.Millisecond

// finishUpgrade makes c the session's transport. What was queued goes first,
// so that nothing overtakes it. A session that was closed meanwhile and could
// not tell its client does so here.
func (sh *shard) finishUpgrade(c loop.Conn, slot uint32, e *ext) {
	s := sh.sessions.At(slot)
	if e.polled() {
		sh.answerGet(slot, e, closeFrame) // a correct client has none
	}
	sh.releaseUnacked(slot)
	sh.setProbing(e, loop.Conn{})
	rest, queue := e.rest, e.queue
	sh.dropExt(slot)
	if rest != nil { // a correct client has waited for the answer; this one waits now
		sh.ext(slot).rest = rest
	}
	if !s.is(closing) {
		sh.tally.Upgraded++
		*sh.tally.Open.of(s.flags)--
		*sh.tally.Open.of(s.flags | overWS)++
	}
	s.unset(noBinary) // each transport says for itself whether it takes bytes
	s.set(overWS | e.upgrade)
	s.conn = c.Key()
	sh.keepClient(slot, e.prober)
	for _, q := range queue {
		if q.frames != nil {
			(*webSocket)(sh).send(slot, q.frames, shared, q.plain, q.kind)
		}
	}
	if s.is(closing) {
		sh.hangUp(c)
		sh.free(slot)
		return
	}
	c.SetTag(tagWS | slot)
	if s.is(halted) {
		c.PauseRead()
	}
	sh.restartHeartbeat(slot)
	es := sh.handle(slot)
	if u := sh.srv.upgrader; u != nil {
		u.Upgraded(es)
	}
	es.resume(swamped) // at last: the handler gets what is left of a body
}
