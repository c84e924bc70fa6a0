package sio

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
)

// A clusterLog is what makes recovery work among the servers of a cluster: an
// adapter that is a [rooms.Log].
//
// An event is appended to the log and delivered when it is read there, with its
// place as its offset: so all servers deliver in one order, and an offset says to
// each of them what a client has had. What this server does meanwhile and may not
// overtake the event waits with it. If the log is slow or gone, events are
// delivered at once again, without offsets, and skipped when they are read.
type clusterLog struct {
	// Immutable after newClusterLog.
	srv      *Server
	host     *host
	log      rooms.Log
	patience time.Duration
	mu       *sync.Mutex // the packetLog's

	// Guarded by mu.
	number   uint64 // of the event appended last
	lanes    map[string]*lane
	watchers map[*watcher]struct{}
	directs  directs
	wake     sleepers // by whoever unlocks
}

// A lane is events in one order. Guarded by clusterLog.mu.
type lane struct {
	last    rooms.Place // everything up to there has been delivered; 0: not known yet
	direct  uint64      // events for single sockets since then
	issues  []issue     // what was done to sockets, and is not read yet
	told    time.Time   // when the loops were told how far that is
	waiting []waiting   // the first is an event that is not read yet
	armed   bool        // look will be called

	slow    bool   // events are delivered at once
	skipped uint64 // events up to this number have been delivered so
	probe   mark   // the number of such a one, to see how long it takes; zero: none
	ahead   []waiting
	lost    bool // ahead does not have all

	waitingBytes, aheadBytes int
}

// A mark says when something was so.
type mark struct {
	at time.Time
	n  uint64
}

// A waiting is an event that is not read yet, or, with number 0, something to be
// done behind one.
type waiting struct {
	number uint64
	at     time.Time
	run    func(rooms.Place)
	target rooms.Target // of an event
	event  rooms.Event
}

const (
	// maxAhead bounds the events that were delivered before they were read.
	maxAhead = 10_000
	// maxAheadBytes bounds what they take, and what those take that wait.
	maxAheadBytes = 16 << 20
)

func newClusterLog(h *host, l rooms.Log, patience time.Duration) *clusterLog {
	if patience == 0 {
		patience = time.Second
	}
	return &clusterLog{
		srv: h.srv, host: h, log: l, patience: patience, mu: &h.srv.log.mu,
		lanes: map[string]*lane{}, watchers: map[*watcher]struct{}{},
	}
}

// unlock ends what began with mu.Lock.
func (l *clusterLog) unlock() {
	wake := l.wake
	l.wake = sleepers{}
	l.mu.Unlock()
	l.srv.wake(wake)
}

// of returns the lane of a namespace; mu is held.
func (l *clusterLog) of(namespace string) *lane { return l.lane(l.log.Lane(namespace)) }

func (l *clusterLog) lane(name string) *lane {
	x := l.lanes[name]
	if x == nil {
		x = &lane{}
		l.lanes[name] = x
	}
	return x
}

// emit appends an event, which run delivers when it is read.
func (l *clusterLog) emit(t rooms.Target, e rooms.Event, run func(rooms.Place)) {
	l.mu.Lock()
	defer l.unlock()
	x := l.of(t.Namespace)
	l.number++
	l.log.Append(t, e, l.number)
	w := waiting{l.number, time.Now(), run, t, e}
	if !x.slow {
		l.wait(x, w)
		if x.waitingBytes > maxAheadBytes {
			l.giveUp(x, "more waits for the log of the cluster than may; events are delivered without it")
		}
		return
	}
	x.early(w)
	l.srv.log.counts.Early++
	if x.probe.n == 0 {
		x.probe = mark{w.at, w.number}
	}
}

// size is what w takes, about.
func (w *waiting) size() int {
	n := 256 + len(w.event.Data) + len(w.target.Namespace)
	for _, a := range w.event.Attachments {
		n += 24 + len(a)
	}
	for _, names := range [][]string{w.target.Rooms, w.target.Except} {
		for _, name := range names {
			n += 16 + len(name)
		}
	}
	return n
}

func (l *clusterLog) wait(x *lane, w waiting) {
	x.waiting = append(x.waiting, w)
	x.waitingBytes += w.size()
	if !x.armed {
		x.armed = true
		time.AfterFunc(l.patience, func() { l.look(x) })
	}
}

// after has f called, with mu held, when what was emitted before has been
// delivered: at once if nothing waits.
func (l *clusterLog) after(namespace string, f func()) {
	l.mu.Lock()
	defer l.unlock()
	if x := l.of(namespace); len(x.waiting) > 0 {
		l.wait(x, waiting{at: time.Now(), run: func(rooms.Place) { f() }})
		return
	}
	f()
}

// settle waits until what was emitted before has been delivered. On a loop, which
// may not wait, it does nothing.
func (l *clusterLog) settle(name string) {
	l.mu.Lock()
	x := l.lane(name)
	if len(x.waiting) == 0 || l.srv.onLoop() {
		l.mu.Unlock()
		return
	}
	done := make(chan struct{})
	l.wait(x, waiting{at: time.Now(), run: func(rooms.Place) { close(done) }})
	l.mu.Unlock()
	<-done
}

func (srv *Server) onLoop() bool {
	return slices.ContainsFunc(srv.shards, func(sh *shard) bool { return sh.loop.OnLoop() })
}

// early delivers an event before it is read.
func (x *lane) early(w waiting) {
	w.run(0)
	w.run = nil
	x.skipped = w.number
	if n := w.size(); len(x.ahead) < maxAhead && x.aheadBytes+n <= maxAheadBytes {
		x.ahead = append(x.ahead, w)
		x.aheadBytes += n
	} else {
		x.lost = true
	}
}

// look gives up waiting if that has been too long.
func (l *clusterLog) look(x *lane) {
	l.mu.Lock()
	defer l.unlock()
	x.armed = false
	if len(x.waiting) == 0 {
		return
	}
	if left := l.patience - time.Since(x.waiting[0].at); left > 0 {
		x.armed = true
		time.AfterFunc(left, func() { l.look(x) })
		return
	}
	l.giveUp(x, "the log of the cluster is slow; events are delivered without it")
}

// giveUp delivers what waits, and what comes, before it is read; mu is held.
func (l *clusterLog) giveUp(x *lane, why string) {
	l.srv.notice.Warn(why)
	x.slow = true
	for len(x.waiting) > 0 {
		w := x.pop()
		if w.number == 0 {
			w.run(0)
			continue
		}
		l.srv.log.counts.Early++
		x.early(w)
	}
}

func (x *lane) pop() waiting {
	w := x.waiting[0]
	x.waiting[0] = waiting{}
	x.waitingBytes -= w.size()
	if x.waiting = x.waiting[1:]; len(x.waiting) == 0 {
		x.waiting = nil
	}
	return w
}

// Recorded delivers an event that has been read.
func (l *clusterLog) Recorded(name string, e rooms.Entry) {
	l.mu.Lock()
	defer l.unlock()
	x := l.lane(name)
	l.pass(name, x, e.Place)
	switch {
	case e.Own != 0:
		l.returned(x, e)
		return
	case e.Op != rooms.Emitted:
		x.read()
		return
	}
	if b, ok := l.host.at(e.Target); ok {
		b.volatile, b.plain = e.Event.Volatile, e.Event.Plain
		place := e.Place
		if e.Once {
			place = 0
		}
		l.deliver(b, e.Target, e.Event, place)
	}
}

// Passed notes how far a lane has been read.
func (l *clusterLog) Passed(name string, p rooms.Place) {
	l.mu.Lock()
	defer l.unlock()
	l.pass(name, l.lane(name), p)
}

// pass notes that everything up to p has been delivered, or is about to be. What
// came before has been posted to the loops, which are told now and then.
func (l *clusterLog) pass(name string, x *lane, p rooms.Place) {
	if now := time.Now(); x.last != 0 && now.Sub(x.told) >= markEvery {
		x.told = now
		l.srv.tell(name, uint64(x.last))
	}
	if x.last != p {
		x.last, x.direct = p, 0
	}
}

// returned delivers an event of this server that has been read, and what waits
// behind it.
func (l *clusterLog) returned(x *lane, e rooms.Entry) {
	for len(x.ahead) > 0 && x.ahead[0].number <= e.Own {
		x.aheadBytes -= x.ahead[0].size()
		x.ahead[0] = waiting{}
		x.ahead = x.ahead[1:]
	}
	if len(x.ahead) == 0 {
		x.ahead, x.lost = nil, x.lost && e.Own < x.skipped
	}
	if x.probe.n != 0 && e.Own >= x.probe.n {
		x.slow = x.slow && time.Since(x.probe.at) > l.patience/2
		x.probe = mark{}
	}
	for len(x.waiting) > 0 && x.waiting[0].number <= e.Own {
		switch w := x.pop(); w.number {
		case e.Own:
			w.run(e.Place)
		default: // something that waits, or an event that the log has lost
			w.run(0)
		}
	}
	for len(x.waiting) > 0 && x.waiting[0].number == 0 {
		x.pop().run(0)
	}
}

// deliver sends an event to the sockets of this server, and to those that are
// being recovered. Place is 0 if the event cannot be replayed. mu is held.
func (l *clusterLog) deliver(b BroadcastOperator, t rooms.Target, e rooms.Event, place rooms.Place) {
	for _, in := range b.targets() {
		place := place
		if in.name != t.Namespace && l.log.Lane(in.name) != l.log.Lane(t.Namespace) {
			place = 0 // it means nothing there
		}
		frames, tail := frameAt(in.name, e, l.offset(in, e, place))
		l.watched(in, t, e, frames)
		x := b.broadcast(in, frames)
		x.Message.(*message).tail = tail
		wake := l.srv.post(&delivery{srv: l.srv, b: x})
		for i := range wake {
			l.wake[i] |= wake[i]
		}
	}
}

// offset returns what is put behind an event: "" if nothing. An event without a
// place of its own must not take that of the last offset that the client has.
func (l *clusterLog) offset(in *instance, e rooms.Event, place rooms.Place) string {
	if place != 0 && !e.Volatile {
		return place.String()
	}
	if now := l.of(in.name).now(); endsInString(e.Data) && now.place != 0 {
		return now.String()
	}
	return ""
}

// frameAt returns the frames of an event with an offset, unless that is "", and how
// much at the end of its text that is.
func frameAt(namespace string, e rooms.Event, offset string) (frames []byte, tail int) {
	if offset != "" {
		data := append(bytes.Clone(e.Data[:len(e.Data)-1]), ',')
		data = append(value.AppendJSONText(data, offset), ']')
		tail = len(data) - len(e.Data)
		e.Data = data
	}
	return frame(namespace, e, 0, false), tail
}

// emitCluster is emit where the cluster keeps events.
func (b BroadcastOperator) emitCluster(e rooms.Event) {
	l := b.server().shared
	a, _ := b.cluster()
	t := b.target()
	run := func(p rooms.Place) { l.deliver(b, t, e, p) }
	if a != nil && !e.Volatile {
		l.emit(t, e, run)
		return
	}
	l.after(t.Namespace, func() { run(0) })
	if a != nil {
		a.Emit(t, e)
	}
}

// ordered has f called when what was emitted to the namespace before has been
// delivered.
func (srv *Server) ordered(namespace string, f func()) {
	if srv.shared == nil {
		f()
		return
	}
	srv.shared.after(namespace, f)
}

// settle waits until what was emitted to a namespace before has been delivered.
func (srv *Server) settle(namespace string) {
	if srv.shared != nil {
		srv.shared.settle(srv.shared.log.Lane(namespace))
	}
}

// settleAll is settle for all namespaces.
func (srv *Server) settleAll() {
	if srv.shared == nil {
		return
	}
	srv.shared.mu.Lock()
	var names []string
	for name := range srv.shared.lanes {
		names = append(names, name)
	}
	srv.shared.mu.Unlock()
	for _, name := range names {
		srv.shared.settle(name)
	}
}

// status adds to how the adapter is.
func (l *clusterLog) status(st *rooms.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.lanes {
		if x.slow && st.Up {
			st.Up, st.Reason = false, "what is added to the log does not come back in time"
		}
	}
}
