package swarm

// accounts is what a worker knows about messages on their way to its clients.
//
// A closed loop needs to know when everybody has received a message. With
// outstanding = Σ over receivers of (sent to its room − next expected), each
// worker sums the second half over its own clients (acc), the coordinator adds
// the sums up, and the publisher, which knows the first half, sends when the
// difference is small enough.
type accounts struct {
	members []int32 // by room: this worker's receivers that are connected
	acc     []int64 // by publisher: Σ next over this worker's receivers

	// Only in a closed loop with several workers: top is the highest next seen
	// by publisher and room, behind what this worker's receivers lack of it. A
	// report goes out at once when nobody lacks anything, else now and then.
	top       [][]uint32
	behind    []int64
	died      []int32 // rooms of receivers lost since the last report
	accDirty  bool
	accUrgent bool
	accAt     int64

	goal  int64 // Σ of what this worker's receivers should have, from doDrain
	owing [][]uint32
}

func (w *worker) initAccounts() {
	switch {
	case w.cfg.pubSub():
		w.streams = w.cfg.Publishers
	case w.cfg.Scenario == Echo:
		w.streams = 1
		w.echoSent = make([]uint32, len(w.clients))
	}
	w.initReaders()
	w.ledger = newLedger(w.streams * len(w.clients))
	w.members = make([]int32, w.cfg.Rooms)
	w.acc = make([]int64, w.streams)
	if w.job.Workers > 1 && w.cfg.pubSub() && w.cfg.MsgRate == 0 {
		w.behind = make([]int64, w.streams)
		w.top = make([][]uint32, w.streams)
		for p := range w.top {
			w.top[p] = make([]uint32, w.cfg.Rooms)
		}
	}
	if w.job.Workers == 1 {
		w.accAll = w.acc
	} else {
		w.accAll = make([]int64, w.streams)
	}
}

// message counts a msg packet.
func (w *worker) message(i int32, p []byte) {
	c := &w.clients[i]
	s, ok := w.wire.parseMsg(p)
	if !ok || int(s.publisher) >= w.streams || !w.cfg.pubSub() {
		w.counts.Strange++
		return
	}
	if s.room != c.room {
		w.counts.Misrouted++
		return
	}
	if w.sessions != nil {
		w.noteOffset(i, p)
	}
	moved := w.ledger.observe(i*int32(w.streams)+int32(s.publisher), s.seq)
	if moved == 0 {
		return
	}
	w.acc[s.publisher] += int64(moved)
	w.lastNS = w.at
	_ = w.latency.RecordValue(clampLatency(w.at - s.at))
	if w.top == nil {
		return
	}
	w.accDirty = true
	if top := &w.top[s.publisher][s.room]; s.seq >= *top {
		w.behind[s.publisher] += int64(s.seq+1-*top) * int64(w.members[s.room])
		*top = s.seq + 1
	}
	if w.behind[s.publisher] -= int64(moved); w.behind[s.publisher] == 0 {
		w.accUrgent = true
	}
}

// acked counts the ack of an echo.
func (w *worker) acked(i int32, p []byte) {
	id, args, ok := w.wire.parseAck(p)
	if ok && w.isReader(i) {
		w.readerAcked(i, id, args)
		return
	}
	if !ok || w.cfg.Scenario != Echo {
		w.counts.Strange++
		return
	}
	s, ok := w.wire.parseEchoed(args)
	if !ok || s.seq != id || id >= w.echoSent[i] {
		w.counts.Strange++
		return
	}
	moved := w.ledger.observe(i, id)
	if moved == 0 {
		return
	}
	w.outstanding -= int64(moved)
	w.lastNS = w.at
	_ = w.latency.RecordValue(clampLatency(w.at - s.at))
	if w.phase == phRun && w.cfg.MsgRate == 0 {
		for range moved {
			w.sendEcho(i, w.at)
		}
	}
}

// clampLatency is ns as the µs a histogram takes.
func clampLatency(ns int64) int64 { return min(max(ns/1000, 0), maxLatency) }

// receiverLost settles the accounts of live client i, which is gone.
func (w *worker) receiverLost(i int32) {
	if w.isReader(i) {
		w.readerLost(i)
		return
	}
	r := w.clients[i].room
	w.members[r]--
	for s := range w.streams {
		at := i*int32(w.streams) + int32(s)
		next := w.ledger.next[at]
		w.ledger.forget(at)
		w.acc[s] -= int64(next)
		if w.top != nil {
			w.behind[s] -= int64(w.top[s][r] - next)
		}
		if w.owing != nil {
			w.goal -= int64(w.owing[s][r])
		}
		if w.cfg.Scenario == Echo {
			w.outstanding -= int64(w.echoSent[i] - next)
		}
	}
	switch {
	case !w.cfg.pubSub() || w.phase == phConnect:
	case w.job.Workers == 1 && w.phase != phHold:
		w.memberLost(int32(r))
	default:
		w.died = append(w.died, int32(r))
		w.accDirty, w.accUrgent = true, true
	}
}

// reportAcc tells the coordinator what has been received.
func (w *worker) reportAcc(now int64) {
	w.tell(event{Ev: evAcc, Acc: w.acc, Died: w.died})
	w.died = w.died[:0]
	w.accDirty, w.accUrgent, w.accAt = false, false, now
}

// heard takes the sums of all workers.
func (w *worker) heard(acc []int64, died []int32) {
	if w.job.Workers > 1 { // alone, accAll is acc
		copy(w.accAll, acc)
	}
	for _, r := range died {
		w.memberLost(r)
	}
}

// owe takes what was sent, by publisher and room.
func (w *worker) owe(sent [][]uint32) {
	if !w.cfg.pubSub() || len(sent) != w.streams {
		return
	}
	w.owing = sent
	for _, rooms := range sent {
		for r, n := range rooms {
			w.goal += int64(n) * int64(w.members[r])
		}
	}
}

// owed is how many messages this worker's clients still wait for.
func (w *worker) owed() uint64 {
	switch {
	case w.cfg.Scenario == Echo:
		return uint64(max(0, w.outstanding))
	case w.cfg.Scenario == Avalanche && w.phase >= phRun:
		return uint64(w.pending + w.away)
	case w.owing == nil:
		return 0
	}
	left := w.goal
	for _, n := range w.acc {
		left -= n
	}
	return uint64(max(0, left) + w.echoesOwed)
}

// settled reports whether there is nothing left to wait for.
func (w *worker) settled() bool {
	if w.cfg.Scenario == Churn {
		return w.pending+w.closing == 0
	}
	if w.cfg.cuts() && w.pending+w.away > 0 {
		return false
	}
	return w.owed() == 0
}
