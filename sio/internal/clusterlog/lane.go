// Package clusterlog has what recovery needs where the servers of a cluster keep
// events in a log that all of them read: an adapter that is a rooms.Log.
//
// An event is appended to the log and delivered when it is read there, with its
// place as its offset: so all servers deliver in one order, and an offset says to
// each of them what a client has had. What this server does meanwhile and may not
// overtake the event waits with it, in its Lane. If the log is slow or gone, events
// are delivered at once again, without offsets, and skipped when they are read.
//
// Events for one socket alone are not added to the log: they are Directs, which go
// with their socket. A client that comes back has a Watcher, which gathers what it
// has missed, from the log and from what is delivered meanwhile.
package clusterlog

import (
	"context"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A Source is the part of a rooms.Log that this package uses.
type Source interface {
	Lane(namespace string) string
	Append(t rooms.Target, e rooms.Event, n uint64)
	Missed(ctx context.Context, namespace, pattern string, from, to rooms.Place, each func(rooms.Entry) bool) (complete bool, err error)
}

// Options of a Log.
type Options struct {
	Source Source
	// Lock is held by whoever calls a method that does not say otherwise.
	Lock sync.Locker
	// Patience is how long an event may take to come back from the log.
	Patience time.Duration
	// Most is how many bytes are gathered for a client that comes back.
	Most int64
	// Later has f called after d, with the lock held.
	Later func(d time.Duration, f func())
	// Early is told of each event that is delivered before it was read. The lock is
	// held.
	Early func()
	// Warn logs a warning.
	Warn func(text string, args ...any)
	// Frame encodes an event for the sockets of an instance, with an offset.
	Frame func(instance string, e rooms.Event, offset string) []byte
}

// A Log is a server's view of the log of its cluster. Guarded by Options.Lock.
type Log struct {
	o        Options // immutable
	number   uint64  // of the event appended last
	Lanes    map[string]*Lane
	watchers map[*Watcher]struct{}
	Directs  Directs
}

// New returns the view of a server that has read nothing yet.
func New(o Options) *Log {
	return &Log{o: o, Lanes: map[string]*Lane{}, watchers: map[*Watcher]struct{}{}}
}

// A Lane is events in one order. Guarded by Options.Lock.
type Lane struct {
	last    rooms.Place // everything up to there has been delivered; 0: not known yet
	direct  uint64      // events for single sockets since then
	issues  []issue     // what was done to sockets, and is not read yet
	told    time.Time   // when Pass said how far that is
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
	held   int          // bytes that run keeps, of what is no event
	target rooms.Target // of an event
	event  rooms.Event
}

const (
	// maxAhead bounds the events that were delivered before they were read.
	maxAhead = 10_000
	// maxAheadBytes bounds what they take, and what those take that wait.
	maxAheadBytes = 16 << 20
	// tellEvery is how often Pass says how far a lane is.
	tellEvery = time.Second
)

// Of returns the lane of a namespace.
func (l *Log) Of(namespace string) *Lane { return l.Lane(l.o.Source.Lane(namespace)) }

// Lane returns the lane called name.
func (l *Log) Lane(name string) *Lane {
	x := l.Lanes[name]
	if x == nil {
		x = &Lane{}
		l.Lanes[name] = x
	}
	return x
}

// Slow tells whether events of the lane are delivered without the log.
func (x *Lane) Slow() bool { return x.slow }

// Last returns up to where everything has been delivered, 0 if that is not known.
func (x *Lane) Last() rooms.Place { return x.last }

// Busy tells whether events of this server wait for the log.
func (x *Lane) Busy() bool { return len(x.waiting) > 0 }

// Held returns the bytes of events that wait for the log, and of those that were
// delivered before they were read.
func (x *Lane) Held() (waiting, ahead int) { return x.waitingBytes, x.aheadBytes }

// Append appends an event, which run delivers when it is read.
func (l *Log) Append(t rooms.Target, e rooms.Event, run func(rooms.Place)) {
	x := l.Of(t.Namespace)
	l.number++
	l.o.Source.Append(t, e, l.number)
	w := waiting{number: l.number, at: time.Now(), run: run, target: t, event: e}
	if !x.slow {
		l.wait(x, w)
		return
	}
	x.early(w)
	l.o.Early()
	if x.probe.n == 0 {
		x.probe = mark{w.at, w.number}
	}
}

// size is what w takes, about.
func (w *waiting) size() int {
	n := 256 + w.held + Size(w.event) + len(w.target.Namespace)
	for _, names := range [][]string{w.target.Rooms, w.target.Except} {
		for _, name := range names {
			n += 16 + len(name)
		}
	}
	return n
}

// Size returns the bytes that an event takes.
func Size(e rooms.Event) int {
	n := len(e.Data)
	for _, a := range e.Attachments {
		n += 24 + len(a)
	}
	return n
}

// wait puts w behind what waits, unless that is more than may: then nothing waits.
func (l *Log) wait(x *Lane, w waiting) {
	x.waiting = append(x.waiting, w)
	if x.waitingBytes += w.size(); x.waitingBytes > maxAheadBytes {
		l.giveUp(x, "more waits for the log of the cluster than may; events are delivered without it")
		return
	}
	if !x.armed {
		x.armed = true
		l.o.Later(l.o.Patience, func() { l.look(x) })
	}
}

// After has f, which keeps so many bytes of an event or a packet, called when what
// was emitted before has been delivered: at once if nothing waits.
func (l *Log) After(x *Lane, held int, f func()) {
	if x.Busy() {
		l.wait(x, waiting{at: time.Now(), held: held, run: func(rooms.Place) { f() }})
		return
	}
	f()
}

// early delivers an event before it is read.
func (x *Lane) early(w waiting) {
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
func (l *Log) look(x *Lane) {
	x.armed = false
	if !x.Busy() {
		return
	}
	if left := l.o.Patience - time.Since(x.waiting[0].at); left > 0 {
		x.armed = true
		l.o.Later(left, func() { l.look(x) })
		return
	}
	l.giveUp(x, "the log of the cluster is slow; events are delivered without it")
}

// giveUp delivers what waits, and what comes, before it is read.
func (l *Log) giveUp(x *Lane, why string) {
	l.o.Warn(why)
	x.slow = true
	for x.Busy() {
		w := x.pop()
		if w.number == 0 {
			w.run(0)
			continue
		}
		l.o.Early()
		x.early(w)
	}
}

func (x *Lane) pop() waiting {
	w := x.waiting[0]
	x.waiting[0] = waiting{}
	x.waitingBytes -= w.size()
	if x.waiting = x.waiting[1:]; len(x.waiting) == 0 {
		x.waiting = nil
	}
	return w
}

// Pass notes that everything up to p has been delivered by now, or is about to be.
// Now and then it says what was so before, which the loops are to be told.
func (x *Lane) Pass(p rooms.Place, now time.Time) (before rooms.Place, tell bool) {
	if before, tell = x.last, x.last != 0 && now.Sub(x.told) >= tellEvery; tell {
		x.told = now
	}
	if x.last != p {
		x.last, x.direct = p, 0
	}
	return before, tell
}

// Returned delivers an event of this server that has been read, and what waits
// behind it.
func (l *Log) Returned(x *Lane, own uint64, place rooms.Place) {
	for len(x.ahead) > 0 && x.ahead[0].number <= own {
		x.aheadBytes -= x.ahead[0].size()
		x.ahead[0] = waiting{}
		x.ahead = x.ahead[1:]
	}
	if len(x.ahead) == 0 {
		x.ahead, x.lost = nil, x.lost && own < x.skipped
	}
	if x.probe.n != 0 && own >= x.probe.n {
		x.slow = x.slow && time.Since(x.probe.at) > l.o.Patience/2
		x.probe = mark{}
	}
	for x.Busy() && x.waiting[0].number <= own {
		switch w := x.pop(); w.number {
		case own:
			w.run(place)
		default: // something that waits, or an event that the log has lost
			w.run(0)
		}
	}
	for x.Busy() && x.waiting[0].number == 0 {
		x.pop().run(0)
	}
}

// An issue is something that this server has added to the log and not read yet.
type issue struct {
	at     time.Time
	place  rooms.Place // that had been read then
	target rooms.Target
	op     rooms.Op
	names  []string
}

// issueAge is how long it may take to be read: after that it has been lost.
const issueAge = 30 * time.Second

// Issue notes what is done to sockets, before it is added to the log.
func (x *Lane) Issue(t rooms.Target, op rooms.Op, names []string) {
	x.age()
	x.issues = append(x.issues, issue{time.Now(), x.last, t, op, names})
}

// age forgets what was lost.
func (x *Lane) age() {
	for len(x.issues) > 0 && time.Since(x.issues[0].at) > issueAge {
		x.issues = x.issues[1:]
	}
}

// Read notes that the first issue was read.
func (x *Lane) Read() {
	if len(x.issues) > 0 {
		x.issues[0] = issue{}
		x.issues = x.issues[1:]
	}
}
