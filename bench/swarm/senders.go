package swarm

import (
	"math"
	"time"
)

// A schedule is a series of evenly spaced moments.
type schedule struct {
	start    int64   // Unix ns
	interval float64 // ns
	k        uint64  // how many have passed
}

// due is the next moment, Unix ns. It is computed from the start, so that
// nothing adds up.
func (s *schedule) due() int64 { return s.start + int64(float64(s.k)*s.interval) }

// everyNS is a schedule of rate moments a second, the index'th of n equal ones
// that together have n times the rate.
func everyNS(now int64, rate float64, index, n int) schedule {
	interval := float64(time.Second) / rate
	return schedule{start: now + int64(interval*float64(index)/float64(n)), interval: interval}
}

// maxBurst bounds what is sent in one round of the loop, so that reading goes
// on.
const maxBurst = 512

// senders is the sending half of a worker.
type senders struct {
	absences
	readers

	left   int     // messages to send yet; -1 for no limit
	more   bool    // a burst was cut short; go on at once
	accAll []int64 // by publisher: Σ next over all receivers of all workers

	publishers []publisher
	all        []int32 // by room: receivers of all workers
	everybody  int64   // Σ all

	echoSent    []uint32 // by client
	outstanding int64    // echoes sent and not acked, of live clients
	cursor      int      // last client that sent (Echo) or left (Churn)
	begun       bool     // the first echoes of the closed loop are sent
	plan        schedule // of Echo and Churn
	excused     bool     // behind plan because of the server
}

// A publisher is a client that sends to rooms.
type publisher struct {
	id       int32 // among the publishers of all workers
	client   int32
	seq      []uint32 // by room: sent so far
	expected int64    // Σ seq × receivers of the room
	plan     schedule
	excused  bool // behind plan because the server does not read
	burst    int  // messages of a burst that are to be sent yet
}

func (s *senders) bytes() int { return 4 * len(s.echoSent) }

// messages is this worker's part of Config.Messages.
func (w *worker) messages() int {
	total := w.cfg.Messages
	switch {
	case w.cfg.pubSub():
		n := 0
		for i := range w.job.publishers() {
			n += share(total, i*w.job.Workers+w.job.Index, w.cfg.Publishers)
		}
		return n
	case w.cfg.Scenario == Echo:
		before := 0
		for k := range w.job.Index {
			before += share(w.cfg.Active, k, w.job.Workers)
		}
		return total*(before+w.job.active())/w.cfg.Active - total*before/w.cfg.Active
	}
	return share(total, w.job.Index, w.job.Workers)
}

// startSending begins phRun; members are the receivers by room.
func (w *worker) startSending(members []int32, now int64) {
	if w.phase != phHold {
		return
	}
	w.phase = phRun
	w.all = members
	for _, n := range members {
		w.everybody += int64(n)
	}
	switch w.cfg.Scenario {
	case Broadcast, Rooms:
		w.choosePublishers(now)
	case Reader:
		w.choosePublishers(now)
		w.startReading(now)
	case Jitter:
		w.choosePublishers(now)
		w.startCutting(now)
	case Avalanche:
		w.cutAll(now)
	case Churn:
		w.plan = everyNS(now, w.cfg.Rate/float64(w.job.Workers), w.job.Index, w.job.Workers)
	case Echo:
		if w.cfg.MsgRate > 0 && w.job.active() > 0 {
			rate := w.cfg.MsgRate * float64(w.job.active()) / float64(w.cfg.Active)
			w.plan = everyNS(now, rate, w.job.Index, w.job.Workers)
		}
	}
}

// choosePublishers takes the first connected clients.
func (w *worker) choosePublishers(now int64) {
	next := int32(0)
	for i := range w.job.publishers() {
		for int(next) < len(w.clients) && w.clients[next].state != stLive {
			next++
		}
		if int(next) == len(w.clients) {
			return
		}
		id := i*w.job.Workers + w.job.Index
		p := publisher{id: int32(id), client: next, seq: make([]uint32, w.cfg.Rooms)}
		if w.cfg.MsgRate > 0 {
			p.plan = everyNS(now, w.cfg.MsgRate/float64(w.cfg.Publishers), id, w.cfg.Publishers)
		}
		w.publishers = append(w.publishers, p)
		next++
	}
}

// memberLost takes one receiver out of room r.
func (w *worker) memberLost(r int32) {
	if w.all == nil {
		return
	}
	w.all[r]--
	w.everybody--
	for k := range w.publishers {
		w.publishers[k].expected -= int64(w.publishers[k].seq[r])
	}
}

// stopSending ends phRun and tells how much was sent.
func (w *worker) stopSending() {
	if w.phase >= phStopped {
		return
	}
	w.phase = phStopped
	sent := map[int][]uint32{}
	for _, p := range w.publishers {
		sent[int(p.id)] = p.seq
	}
	w.tell(event{Ev: evStopped, Sent: sent})
}

// spend takes one message from the worker's part and reports whether it may be
// sent.
func (w *worker) spend() bool {
	if w.left == 0 {
		return false
	}
	if w.left > 0 {
		w.left--
	}
	w.counts.Sent++
	return true
}

// nextSend is when sendDue has something to do again, Unix ns. What the arrival
// of something sets off is not in it.
func (w *worker) nextSend() int64 {
	if w.more || w.left == 0 {
		return 0
	}
	next := int64(math.MaxInt64)
	if w.plan.interval > 0 && !w.excused {
		next = w.plan.due()
	}
	if w.readPlan.interval > 0 {
		next = min(next, w.readPlan.due())
	}
	for k := range w.publishers {
		if p := &w.publishers[k]; p.plan.interval > 0 && w.clients[p.client].has&hasUnsent == 0 && w.clients[p.client].state == stLive {
			next = min(next, p.plan.due())
		}
	}
	return next
}

// sendDue sends what is due, or what the closed loop allows.
func (w *worker) sendDue(now int64) {
	w.more = false
	switch {
	case w.left == 0:
		w.stopSending()
	case w.cfg.pubSub():
		for k := range w.publishers {
			w.publish(&w.publishers[k], now)
		}
		w.readDue(now)
		w.cutDue(now)
	case w.cfg.Scenario == Avalanche:
		if w.pending+w.away == 0 {
			w.stopSending()
		}
	case w.cfg.Scenario == Churn:
		w.churn(now)
	case w.cfg.Scenario == Echo && w.cfg.MsgRate > 0:
		w.echoDue(now)
	case w.cfg.Scenario == Echo && !w.begun:
		w.echoFirst()
	}
	if w.left == 0 {
		w.stopSending()
	}
}

// publish sends p's messages in one write.
func (w *worker) publish(p *publisher, now int64) {
	c := &w.clients[p.client]
	if c.state != stLive || w.everybody == 0 {
		return
	}
	if c.has&hasUnsent != 0 {
		p.excused = true
		return
	}
	burst := w.burstBuf[:0]
	for n := 0; ; n++ {
		at, ok := w.mayPublish(p, now)
		if !ok {
			break
		}
		if w.more = n >= maxBurst || len(burst) > 64<<10; w.more || !w.spend() {
			break
		}
		r := w.pickRoom(p)
		w.packetBuf = w.wire.appendPublish(w.packetBuf[:0], w.cfg.roomName(r),
			stamp{publisher: uint16(p.id), room: uint16(r), seq: p.seq[r], at: at})
		burst = appendMasked(burst, opText, w.random.Uint32(), w.packetBuf)
		p.seq[r]++
		p.expected += int64(w.all[r])
		p.plan.k++
	}
	w.burstBuf = burst
	if len(burst) > 0 {
		w.write(p.client, burst)
	}
}

// mayPublish reports whether p's next message may go, and from when its latency
// counts.
func (w *worker) mayPublish(p *publisher, now int64) (at int64, ok bool) {
	switch {
	case w.cfg.MsgRate == 0 && w.cfg.Burst:
		if p.burst == 0 && p.expected == w.accAll[p.id] {
			p.burst = w.cfg.Inflight
		}
		if p.burst == 0 {
			return 0, false
		}
		p.burst--
		return now, true
	case w.cfg.MsgRate == 0:
		message := (w.everybody + int64(w.cfg.Rooms) - 1) / int64(w.cfg.Rooms)
		return now, p.expected-w.accAll[p.id] <= int64(w.cfg.Inflight-1)*message
	}
	due := p.plan.due()
	if due > now {
		p.excused = false
		return 0, false
	}
	if !p.excused {
		w.noteLate(now - due)
	}
	return due, true
}

// pickRoom is p's own room, or a random one that has a receiver; everybody is
// not 0.
func (w *worker) pickRoom(p *publisher) int {
	switch {
	case w.cfg.Rooms == 1:
		return 0
	case w.cfg.OwnRoom:
		return int(w.clients[p.client].room) // p is in it
	}
	r := w.random.IntN(w.cfg.Rooms)
	for w.all[r] == 0 {
		r = (r + 1) % w.cfg.Rooms
	}
	return r
}

// sendEcho sends client i's next echo.
func (w *worker) sendEcho(i int32, at int64) {
	if !w.spend() {
		return
	}
	w.packetBuf = w.wire.appendEcho(w.packetBuf[:0], stamp{seq: w.echoSent[i], at: at})
	w.echoSent[i]++
	w.outstanding++
	w.sendFrame(i, opText, w.packetBuf)
}

// echoFirst starts the closed loop: the acks keep it going.
func (w *worker) echoFirst() {
	w.begun = true
	for i := range w.job.active() {
		for range w.cfg.Inflight {
			if w.clients[i].state == stLive {
				w.sendEcho(int32(i), time.Now().UnixNano())
			}
		}
	}
}

// echoDue sends the echoes that are due, the active clients in turn.
func (w *worker) echoDue(now int64) {
	active := w.job.active()
	for n := 0; active > 0 && w.plan.due() <= now; n++ {
		if w.more = n >= maxBurst; w.more {
			return
		}
		i := w.nextWhere(active, func(c *client) bool { return c.state == stLive })
		if i < 0 {
			w.excused = true // nobody is left to send
			return
		}
		due := w.plan.due()
		w.plan.k++
		w.noteLate(now - due)
		w.sendEcho(i, due)
	}
}

// churn disconnects the clients whose turn it is; drop connects them again.
func (w *worker) churn(now int64) {
	for w.plan.due() <= now {
		i := int32(-1)
		if w.pending+w.closing < w.maxPending() {
			i = w.nextWhere(len(w.clients), func(c *client) bool { return c.state == stLive || c.state == stNone })
		}
		if i < 0 {
			if !w.excused {
				w.blocked++
			}
			w.excused = true // until the server has answered some
			return
		}
		if !w.excused {
			w.noteLate(now - w.plan.due())
		}
		w.plan.k++
		if !w.spend() {
			return
		}
		if w.clients[i].state == stNone {
			w.connect(i)
		} else {
			w.leave(i, now)
		}
	}
	w.excused = false
}

// leave asks the server to close client i, as clients do: a DISCONNECT packet,
// then a close frame. RFC 6455, 7.1.1: the server closes the TCP connection.
func (w *worker) leave(i int32, now int64) {
	c := &w.clients[i]
	c.state, c.since = stClosing, now
	w.counts.Live--
	w.closing++
	b := w.frameBuf[:0]
	if len(w.wire.left) > 0 {
		b = appendMasked(b, opText, w.random.Uint32(), w.wire.left)
	}
	w.frameBuf = appendMasked(b, opClose, w.random.Uint32(), []byte{0x03, 0xe8}) // 1000: normal closure
	w.write(i, w.frameBuf)
}

// nextWhere is the next of the first n clients, in turn, that ok accepts, or -1.
func (w *worker) nextWhere(n int, ok func(*client) bool) int32 {
	for range n {
		if w.cursor++; w.cursor >= n {
			w.cursor = 0
		}
		if ok(&w.clients[w.cursor]) {
			return int32(w.cursor)
		}
	}
	return -1
}
