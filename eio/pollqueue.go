package eio

import (
	"bytes"
	"hash/maphash"
	"io"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/loop/http1"
)

// What waits for a poll is judged as what waits for a slow WebSocket is: not by how
// much it is, but by whether the client makes progress, which here means that it
// asks for more. A connection's start may have a lot to tell before the client can
// have asked once. So above MaxQueue, half of which ends that, the client's posts
// are not acknowledged; who has not asked for SlowAfter then is closed; and only
// MaxQueueHard, for the sake of memory, is how much there may be.

const (
	// maxPackets bounds the packets in the answer to a poll. The client of Python,
	// among others, gives its session up when there are more than 16.
	maxPackets = 16
	// entrySize is what a place in a queue costs beside its bytes.
	entrySize = 64
	// maxJoined bounds the bytes that copies of small messages share a place with.
	maxJoined = 4 << 10
)

// queued is frames that wait. They are sent uncompressed if plain; they are a copy
// that may be appended to if own.
type queued struct {
	frames     []byte // nil: they were dropped
	plain, own bool
	mark       uint32      // in the ext's index; 0: none yet
	kind       *class.Kind // of one message that may be dropped; nil: it never is
}

// size returns the bytes that q holds.
func (q *queued) size() int {
	if q.own {
		return entrySize + cap(q.frames)
	}
	return entrySize + len(q.frames)
}

// A backlog is what is in a queue.
type backlog struct{ bytes, entries int }

// countQueue brings the shard's gauges up to date after a change of a queue.
func (sh *shard) countQueue(e *ext) {
	now := backlog{e.queued, len(e.queue) - e.dead}
	sh.tally.Queued += int64(now.bytes - e.counted.bytes)
	sh.tally.Entries += int64(now.entries - e.counted.entries)
	e.counted = now
	if now.entries > 0 && !e.get.Valid() { // or it is about to be sent
		sh.largest.Note(sh.loop.Engine().Now()/largestWindow, int64(now.bytes))
	}
}

// largestWindow is for how long, in ms, the largest queue is remembered at least; twice
// that at most.
const largestWindow = 60_000

// put appends to the queue.
func (e *ext) put(frames []byte, share, plain bool, k *class.Kind) {
	if n := len(e.queue); !share && n > 0 && k == nil {
		last := &e.queue[n-1]
		if last.own && last.plain == plain && last.kind == nil && len(last.frames)+len(frames) <= maxJoined {
			before := last.size()
			last.frames = append(last.frames, frames...)
			e.queued += last.size() - before
			return
		}
	}
	if !share {
		frames = bytes.Clone(frames)
	}
	q := queued{frames: frames, plain: plain, own: !share, kind: k}
	e.queue = append(e.queue, q)
	e.queued += q.size()
	if k != nil {
		e.fresh++
		e.freshHeld += q.size()
	}
}

// take takes from the front of the queue what one answer may have: packets, and
// bytes unless the first message is longer.
func (e *ext) take(packets, most int) (messages []queued) {
	for len(e.queue) > 0 && packets > 0 {
		q := &e.queue[0]
		if q.frames == nil {
			e.dead--
			e.pop()
			continue
		}
		n := 0
		for n < len(q.frames) && packets > 0 {
			_, _, k := cutFrame(q.frames[n:])
			if most < k && (n > 0 || len(messages) > 0) {
				packets = 0
				break
			}
			n, most, packets = n+k, most-k, packets-1
		}
		if n == 0 {
			break
		}
		e.unmark(q)
		e.queued -= q.size()
		if n < len(q.frames) {
			messages = append(messages, queued{frames: q.frames[:n:n], plain: q.plain})
			q.frames = q.frames[n:]
			e.queued += q.size()
			break
		}
		messages = append(messages, *q)
		e.pop()
	}
	e.skipDead()
	if len(e.queue) == 0 {
		e.clearQueue()
	}
	return messages
}

// Together has all that waits for a poll now be in one answer. It is for what a client
// keeps until the last of it has come, and keeps also if the connection ends before.
func (s Session) Together() {
	r := s.at()
	if r == nil || r.is(overWS) {
		return
	}
	e := s.sh.peekExt(s.slot)
	if e == nil {
		return
	}
	e.together = 0
	for _, q := range e.queue {
		for n := 0; n < len(q.frames); e.together++ {
			_, _, k := cutFrame(q.frames[n:])
			n += k
		}
	}
}

// answerQueue answers a poll with what is queued, or the first part of it.
func (sh *shard) answerQueue(h *httpConn, slot uint32, e *ext) {
	packets, most := maxPackets, sh.srv.o.MaxQueue
	if e.together > 0 {
		packets, most = max(packets, e.together), max(most, sh.srv.o.MaxQueueHard)
		e.together = 0
	}
	messages := e.take(packets, most)
	sh.countQueue(e)
	e.gave, e.relayed, e.via, e.answered = h.conn, h.relayed, loop.Conn{}, 0
	if h.relayed {
		e.via, e.answered = h.conn, h.poll
	}
	ref := sh.ref(slot)
	sh.answerPoll(h, slot, e, messages...)
	if h.state == stateIdle || h.state == stateDropping {
		h.gave = ref
	}
	if e.firm()*2 <= sh.srv.o.MaxQueue {
		sh.loop.Cancel(&e.slow)
		sh.handle(slot).resume(swamped)
	} else {
		_ = e.gave.Taking() // from now on
	}
}

// flushGet answers the poll that waits with what is queued.
func (sh *shard) flushGet(slot uint32, e *ext) {
	h := sh.httpOf(e.get)
	e.get = loop.Conn{}
	if h != nil {
		sh.answerQueue(h, slot, e)
	}
}

func (sh *shard) pollLater(slot uint32, e *ext) {
	if !e.flush {
		e.flush = true
		sh.pollers = append(sh.pollers, slot)
	}
}

// flushPollers answers the polls for which something was queued in this step,
// and closes the sessions whose queues overflowed.
func (sh *shard) flushPollers() {
	for i := 0; i < len(sh.pollers); i++ {
		slot := sh.pollers[i]
		e := sh.peekExt(slot)
		if e == nil || !e.flush {
			continue // gone, and perhaps another session's slot by now
		}
		e.flush = false
		if e.overflow {
			sh.tally.Overflow++
			sh.srv.notice.Warn("client closed: more waits for its polls than may", "flag", "--queue-hard-max",
				"queue-hard-max", sh.srv.o.MaxQueueHard, "address", addrText(sh.handle(slot).RemoteAddr()))
			sh.slow(slot, e)
			continue
		}
		if e.polled() && len(e.queue) > 0 {
			sh.flushGet(slot, e)
		}
		sh.judge(e) // what is left
	}
	sh.pollers = sh.pollers[:0]
}

// swamp begins to watch a client for which more than MaxQueue waits.
func (sh *shard) swamp(slot uint32, e *ext) {
	sh.handle(slot).pause(swamped)
	e.asked, e.moving = sh.loop.Now(), false
	sh.watchSlow(slot, e, sh.slowAfter())
}

// slowAfter returns how long a client may make no progress. It is not longer than
// it may be silent.
func (sh *shard) slowAfter() time.Duration { return min(sh.srv.o.SlowAfter, sh.srv.o.PingTimeout) }

func (sh *shard) watchSlow(slot uint32, e *ext, d time.Duration) {
	sh.loop.Schedule(&e.slow, d, func() {
		if sh.sessions.At(slot).is(closing) {
			return // CloseTimeout is what counts
		}
		if sh.loop.IsQuiet() {
			sh.watchSlow(slot, e, unheardFor)
			return
		}
		// An answer on its way is judged by the loop, an upgrade by its own time. The
		// client can ask for more when it has had the last of it, of which the kernel
		// has much: it may have been any moment since the last look.
		before := e.moving
		e.moving = e.gave.Taking() || e.gave.Queued() > 0
		if before || e.moving || e.probing.Valid() {
			e.asked = max(e.asked, sh.loop.Now())
		}
		left := time.Duration(e.asked-sh.loop.Now())*time.Millisecond + sh.slowAfter()
		if left > 0 {
			sh.watchSlow(slot, e, left)
			return
		}
		sh.srv.notice.Warn("client closed: it does not ask for what waits for its polls", "flags", "--slow-after, --queue-max",
			"slow-after", sh.slowAfter().String(), "queued", e.queued, "address", addrText(sh.handle(slot).RemoteAddr()))
		sh.slow(slot, e)
	})
}

// slow closes a session that does not take what waits for it.
func (sh *shard) slow(slot uint32, e *ext) {
	sh.tally.Slow++
	e.clearQueue()
	sh.countQueue(e)
	sh.close(slot, TransportError)
}

// cameBack notes that a client asks for more, which it does when it has the answer
// before: unless that was lost with another server, which has passed it on or not,
// nobody knows, or that server has gone and a proxy asks the same again, which it
// does when it got no answer. Then its session ends, and is recovered if it can be, and the
// request has been answered.
func (sh *shard) cameBack(h *httpConn, slot uint32, e *ext) bool {
	h.relayed = h.req.Get(ForwardedHeader) != nil
	h.poll = pollOf(h.req)
	// Some stamp with seconds: twice the same alone says nothing.
	repeated := h.poll != 0 && h.poll == e.answered && e.via.PeerEnded()
	if e.relayed && e.gave != h.conn && e.gave.Reset() || repeated {
		sh.close(slot, TransportError)
		sh.refuse(h, unknownSID)
		return false
	}
	if sh.sessions.At(slot).is(swamped) {
		_ = e.gave.Taking() // not any more
	}
	e.gave, e.relayed, e.via, e.answered, e.asked, e.moving = loop.Conn{}, false, loop.Conn{}, 0, sh.loop.Now(), false
	sh.polledFirst(slot)
	sh.bytesCame(slot)
	return true
}

// pollOf returns what tells a poll from the next one, 0 if nothing does: clients
// number their requests, or stamp them, so that no cache answers them.
func pollOf(r *http1.Request) uint64 {
	if t, _ := r.QueryView("t"); len(t) == 0 {
		return 0
	}
	return maphash.Bytes(pollSeed, r.Target)
}

var pollSeed = maphash.MakeSeed()

// answerArrived notes that the answer to a poll, the last thing on a connection, has
// reached whoever asks for something else there.
func (sh *shard) answerArrived(h *httpConn) {
	if slot := sh.lookup(h.gave); slot != 0 {
		if e := sh.peekExt(slot); e != nil && e.gave == h.conn {
			e.gave, e.relayed = loop.Conn{}, false
		}
	}
	h.gave = 0
}

// answerLost tells whether an answer to a poll, the last thing on a connection that has
// ended with err, may not have reached anybody: part of it was not sent, or another
// server was to pass it on and has not read it. (Proxies reset connections that
// they are done with.)
func (sh *shard) answerLost(h *httpConn, err error) (slot uint32, yes bool) {
	slot = sh.lookup(h.gave)
	if slot == 0 || h.state != stateIdle && h.state != stateDropping && h.state != stateHead {
		return 0, false
	}
	e := sh.peekExt(slot)
	return slot, e != nil && e.gave == h.conn && (e.relayed && err != io.EOF || h.conn.Queued() > 0)
}
