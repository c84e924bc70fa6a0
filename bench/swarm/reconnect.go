package swarm

import (
	"bytes"
	"container/heap"
	"time"
)

// absences are the clients that a worker has cut, in Jitter and Avalanche. A
// cut is a closed socket: neither a DISCONNECT packet nor a close frame.
type absences struct {
	wakes    wakes
	away     int               // clients in stAway
	attempts map[int32]int     // failed on the way back
	sessions map[int32]session // Jitter: what recovery needs
	cutAt    int64             // Avalanche: Unix ns
	cutEnd   int64             // Jitter: nobody is cut after it, Unix ns
}

// A session is what a Socket.IO client keeps for connection state recovery.
type session struct {
	sid, pid string
	offset   []byte
}

// A wake is a client's return.
type wake struct {
	at     int64 // Unix ns
	client int32
}

// wakes is a heap, the next return first.
type wakes []wake

func (h wakes) Len() int           { return len(h) }
func (h wakes) Less(i, j int) bool { return h[i].at < h[j].at }
func (h wakes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *wakes) Push(x any) { *h = append(*h, x.(wake)) }

// Pop is for package heap.
func (h *wakes) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// cut closes the connection of live client i, which comes back after so long.
func (w *worker) cut(i int32, now int64, after time.Duration) {
	w.release(i)
	w.counts.Live--
	w.counts.Cut++
	w.stayAway(i, now, after)
}

func (w *worker) stayAway(i int32, now int64, after time.Duration) {
	w.clients[i].state = stAway
	w.away++
	heap.Push(&w.wakes, wake{now + int64(after), i})
}

// retry lets client i, refused on its way back, try again later.
func (w *worker) retry(i int32) {
	w.counts.Refused++
	if w.attempts == nil {
		w.attempts = map[int32]int{}
	}
	w.attempts[i]++
	w.stayAway(i, time.Now().UnixNano(), w.backoff(w.attempts[i]))
}

// backoff is how long the JavaScript client waits before its next attempt with
// its defaults: reconnectionDelay 1 s, doubled after each failure, then
// randomizationFactor 0.5, then reconnectionDelayMax 5 s.
func (w *worker) backoff(failed int) time.Duration {
	d := time.Second << min(failed, 8)
	d += time.Duration((w.random.Float64() - 0.5) * float64(d))
	return min(d, 5*time.Second)
}

// wakeDue connects the clients whose time has come, however many.
func (w *worker) wakeDue(now int64) {
	for len(w.wakes) > 0 && w.wakes[0].at <= now && w.phase < phDone {
		i := heap.Pop(&w.wakes).(wake).client
		w.away--
		w.connect(i)
	}
}

// cutAll begins an avalanche.
func (w *worker) cutAll(now int64) {
	w.cutAt = now
	for i := range w.clients {
		if w.clients[i].state == stLive {
			w.counts.Sent++
			w.cut(int32(i), now, w.backoff(0))
		}
	}
}

// startCutting begins the jitter.
func (w *worker) startCutting(now int64) {
	rate := w.cfg.Cut * float64(w.cfg.Clients) / w.cfg.Away.Seconds()
	if rate <= 0 {
		return
	}
	w.plan = everyNS(now, rate/float64(w.job.Workers), w.job.Index, w.job.Workers)
	w.cutEnd = now + int64(w.cfg.Warmup+w.cfg.Duration-2*w.cfg.Away)
}

// cutDue cuts the clients whose turn it is, publishers spared.
func (w *worker) cutDue(now int64) {
	for w.plan.interval > 0 && w.plan.due() <= now {
		if now >= w.cutEnd {
			w.plan = schedule{}
			return
		}
		w.plan.k++
		if i := w.nextWhere(len(w.clients), func(c *client) bool { return c.state == stLive }); i >= 0 && !w.publishes(i) {
			w.cut(i, now, w.cfg.Away)
		}
	}
}

func (w *worker) publishes(i int32) bool {
	for k := range w.publishers {
		if w.publishers[k].client == i {
			return true
		}
	}
	return false
}

// appendConnect appends client i's CONNECT packet, which asks for its old
// session if it had one.
func (w *worker) appendConnect(dst []byte, i int32) []byte {
	s, ok := w.sessions[i]
	packet, auth := w.connectOf(i)
	if !ok || s.pid == "" {
		return append(dst, packet...)
	}
	dst = append(dst, packet[:len(packet)-len(auth)]...)
	dst = append(append(append(dst, `{"pid":"`...), s.pid...), '"')
	if len(s.offset) > 0 {
		dst = append(append(append(dst, `,"offset":"`...), s.offset...), '"')
	}
	if len(auth) > len("{}") {
		return append(append(dst, ','), auth[1:]...)
	}
	return append(dst, '}')
}

// resumed takes the answer to client i's CONNECT and reports whether it says
// that the client has its old session back. The packets it missed come around it.
func (w *worker) resumed(i int32, answer []byte) bool {
	if w.cfg.Scenario != Jitter {
		return false
	}
	old := w.sessions[i]
	s := session{sid: field(answer, "sid"), pid: field(answer, "pid")}
	same := old.pid != "" && s.sid == old.sid
	if same {
		s.offset = old.offset
	}
	if w.sessions == nil {
		w.sessions = map[int32]session{}
	}
	w.sessions[i] = s
	return same
}

// field is the value of a string in a JSON object, which has no escapes.
func field(p []byte, name string) string {
	_, after, _ := bytes.Cut(p, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(after, []byte(`"`))
	return string(value)
}

// noteOffset keeps the offset of a msg packet that parseMsg has accepted.
func (w *worker) noteOffset(i int32, p []byte) {
	if w.wire.centrifuge || len(p) <= w.wire.size {
		return
	}
	s := w.sessions[i]
	s.offset = append(s.offset[:0], p[w.wire.size+len(`,"`)-1:len(p)-len(`"]`)]...)
	w.sessions[i] = s
}
