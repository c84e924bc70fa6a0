package clusterlog

import (
	"context"
	"slices"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A Watcher gathers what a socket misses while it is being recovered: sessions of
// clients that are away are kept apart from any server, and what operators do to
// them is in the log. Whoever takes a session reads there what was done to it since.
// The rest is between reading and delivering: watchers are told of what is read, and
// of what this server has added and not read yet.
type Watcher struct {
	// Immutable once it watches, but for the session's rooms.
	Session rooms.Session
	Name    string      // of the instance
	Pattern string      // that this is of, or ""
	From    rooms.Place // where what it may have missed begins

	had    Spot      // up to there it has had everything, with those for it alone
	direct []*Direct // for it alone, from when it was connected

	// Guarded by Options.Lock once it watches.
	missed   []Missed
	places   []rooms.Place // of those, until it has caught up
	again    []*Direct     // those among them
	bytes    int64
	full     bool // there was more than may be kept
	revoked  bool // it was disconnected
	caughtUp bool // what came before is known
	spilled  bool // more has come until then than may be kept
	later    []sight
	waiting  int64 // bytes of that
}

// Missed are the frames of an event that a client has missed.
type Missed struct {
	Frames []byte
	Plain  bool // not to be compressed
}

// missedBytes is what an event takes beside its bytes.
const missedBytes = 96

// A sight is what a watcher sees: an event, or something that is done.
type sight struct {
	target rooms.Target
	frames []byte
	plain  bool
	op     rooms.Op
	names  []string
}

// Resume has a watcher begin behind what a client says that it has had. It is called
// before it watches; it is false if the session is not what this package keeps.
func (w *Watcher) Resume(offset *string) (ok bool) {
	if w.direct, ok = ParseDirects(w.Session.Direct); !ok {
		return false
	}
	if !slices.Contains(w.Session.Rooms, w.Session.ID) {
		w.Session.Rooms = append(slices.Clone(w.Session.Rooms), w.Session.ID)
	}
	w.had = Spot{Place: w.From}
	if offset != nil {
		had, ok := ParseSpot(*offset)
		if !ok || had.Place == w.Session.At && had.N > w.Session.Behind {
			w.had, w.From = Spot{}, 0
		} else if w.had.less(had) {
			w.had, w.From = had, had.Place
		}
	}
	return true
}

// Bytes returns what has been gathered.
func (w *Watcher) Bytes() int64 { return w.bytes }

// Revoked tells whether the socket was disconnected meanwhile.
func (w *Watcher) Revoked() bool { return w.revoked }

// Again are the events for the socket alone among what it has missed.
func (w *Watcher) Again() []*Direct { return w.again }

func (w *Watcher) wants(t rooms.Target) bool {
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(w.Session.Rooms, name) })
	}
	return (len(t.Rooms) == 0 || in(t.Rooms)) && !in(t.Except)
}

// meant tells whether a target is of the namespace that a watcher is in.
func (w *Watcher) meant(t rooms.Target) bool {
	return t.Namespace == w.Name || w.Pattern != "" && t.Namespace == w.Pattern
}

func (w *Watcher) add(frames []byte, plain bool, most int64) {
	w.bytes += int64(len(frames)) + missedBytes
	if w.full = w.full || w.bytes > most; !w.full {
		w.missed = append(w.missed, Missed{frames, plain})
	}
}

// see notes what comes, until what came before is known.
func (w *Watcher) see(x sight, most int64) {
	if w.caughtUp {
		w.take(x, most)
		return
	}
	if w.waiting += int64(len(x.frames)) + missedBytes; w.waiting > most {
		w.spilled = true
		return
	}
	w.later = append(w.later, x)
}

// take does what is seen.
func (w *Watcher) take(x sight, most int64) {
	if w.revoked || !w.wants(x.target) {
		return
	}
	switch x.op {
	case rooms.Emitted:
		w.add(x.frames, x.plain, most)
	case rooms.Disconnected:
		w.revoked = true
	default:
		w.Session.Rooms = Moved(w.Session.Rooms, w.Session.ID, x.names, x.op == rooms.Joined)
	}
}

// Moved returns the rooms of a socket that joins or leaves some.
func Moved(all []string, id string, names []string, join bool) []string {
	all = slices.Clone(all)
	for _, name := range names {
		i := slices.Index(all, name)
		switch {
		case name == id:
		case join && i < 0:
			all = append(all, name)
		case !join && i >= 0:
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

// catchUp takes what has come since.
func (l *Log) catchUp(w *Watcher) {
	l.mingle(w)
	for _, x := range w.later {
		w.take(x, l.o.Most)
	}
	w.later, w.waiting, w.caughtUp, w.full = nil, 0, true, w.full || w.spilled
}

// mingle puts the events for a watcher alone among what it has missed otherwise,
// but for those that its client has had.
func (l *Log) mingle(w *Watcher) {
	missed, places := w.missed, w.places
	w.missed, w.places = nil, nil
	n := 0
	for _, d := range w.direct {
		if !w.had.less(d.spot) {
			continue
		}
		for n < len(missed) && places[n] <= d.spot.Place {
			w.missed = append(w.missed, missed[n])
			n++
		}
		w.add(l.o.Frame(w.Name, d.event(), d.Spot), d.Plain, l.o.Most)
		w.again = append(w.again, d)
	}
	w.missed = append(w.missed, missed[n:]...)
}

// Delivered tells the watchers of an event for an instance, which is not volatile.
func (l *Log) Delivered(instance string, t rooms.Target, frames []byte, plain bool) {
	for w := range l.watchers {
		if w.Name == instance {
			w.see(sight{target: t, frames: frames, plain: plain}, l.o.Most)
		}
	}
}

// Revise tells those who are coming back what is done to sockets.
func (l *Log) Revise(t rooms.Target, op rooms.Op, names []string) {
	for w := range l.watchers {
		if w.meant(t) {
			w.see(sight{target: t, op: op, names: names}, l.o.Most)
		}
	}
}

// Watch has w watch, and gives it what it has missed before. What there is until
// now is read at first, so that little comes while the rest is read. It waits, and
// is called without the lock. It is false if not all is known, or it is too much.
func (l *Log) Watch(ctx context.Context, w *Watcher) bool {
	to, ok := l.reach(w)
	for !ok { // another server is faster, or the offset is none
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
		to, ok = l.reach(w)
	}
	if !l.read(ctx, w, w.From, to) {
		return false
	}
	rest := l.begin(w)
	ok = l.read(ctx, w, to, rest)
	l.o.Lock.Lock()
	defer l.o.Lock.Unlock()
	l.catchUp(w)
	if !ok || w.full {
		delete(l.watchers, w)
		return false
	}
	return true
}

// read gives a watcher what is in the log between two places. Of what was done to
// sockets, that counts which came when this one was away.
func (l *Log) read(ctx context.Context, w *Watcher, from, to rooms.Place) bool {
	complete, err := l.o.Source.Missed(ctx, w.Name, w.Pattern, from, to, func(e rooms.Entry) bool {
		switch {
		case e.Op != rooms.Emitted && e.Place <= w.Session.At:
		case e.Op != rooms.Emitted:
			w.take(sight{target: e.Target, op: e.Op, names: e.Names}, l.o.Most)
		case w.wants(e.Target):
			w.add(l.o.Frame(w.Name, e.Event, e.Place.String()), e.Event.Plain, l.o.Most)
			w.places = append(w.places, e.Place)
		}
		return !w.full
	})
	if err != nil {
		l.o.Warn("the log could not be read", "error", err)
	}
	return err == nil && complete
}

// reach returns up to where the log of a watcher's namespace has been delivered. It
// is false if that is not as far as its client is. It takes the lock.
func (l *Log) reach(w *Watcher) (to rooms.Place, ok bool) {
	l.o.Lock.Lock()
	defer l.o.Lock.Unlock()
	x := l.Of(w.Name)
	return x.last, x.last >= max(w.From, w.Session.At)
}

// begin has w get what is delivered from now on, and returns up to where it has to
// be read. It takes the lock.
func (l *Log) begin(w *Watcher) (to rooms.Place) {
	l.o.Lock.Lock()
	defer l.o.Lock.Unlock()
	x := l.Of(w.Name)
	w.full = x.lost
	for _, a := range x.ahead { // not read yet, but not to be delivered then
		if w.meant(a.target) {
			frames := l.o.Frame(w.Name, a.event, l.Offset(w.Name, a.event, 0))
			w.see(sight{target: a.target, frames: frames, plain: a.event.Plain}, l.o.Most)
		}
	}
	l.watchers[w] = struct{}{}
	return x.last
}

// An Outcome is what became of an attempt to recover.
type Outcome uint8

// The Outcomes.
const (
	Recovered Outcome = iota
	Revoked           // the socket was disconnected
	TooLarge          // more was missed than may be replayed
	Lost              // not all is kept that was missed
)

// End ends a watch and returns what was missed, of which so many bytes may be
// replayed.
func (l *Log) End(w *Watcher, most int64) (missed []Missed, o Outcome) {
	delete(l.watchers, w)
	x := l.Of(w.Name)
	x.age()
	for _, i := range x.issues {
		if w.meant(i.target) && w.Session.At <= i.place {
			w.take(sight{target: i.target, op: i.op, names: i.names}, most)
		}
	}
	switch {
	case w.revoked:
		return nil, Revoked
	case w.bytes > most:
		return nil, TooLarge
	case w.full:
		return nil, Lost
	}
	if x.last == w.Session.At { // numbers go on from those of the other server
		x.direct = max(x.direct, w.Session.Behind)
	}
	w.Session.At, w.Session.Behind = x.last, x.direct
	return w.missed, Recovered
}

// Abandon ends the watch of a socket that is not recovered.
func (l *Log) Abandon(w *Watcher) { delete(l.watchers, w) }
