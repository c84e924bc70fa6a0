package admin

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/sio"
)

// Bounds of a survey: how often it looks, at how many rooms and sockets then, how long it
// goes on without being asked, how many of each list are kept, and of how many sockets
// events are counted.
const (
	surveyEvery   = 250 * time.Millisecond
	surveyRooms   = 4096
	surveySockets = 512
	surveyIdle    = 10 * time.Second
	maxRanks      = 25
	maxTalkers    = 2048
)

// A RoomRank is one of the biggest rooms.
type RoomRank struct {
	Room    string `json:"room"`
	Nsp     string `json:"nsp"`
	Sockets int    `json:"sockets"`
}

// A SocketRank is a socket that sends much, or takes little.
type SocketRank struct {
	SID    string  `json:"sid"`
	Nsp    string  `json:"nsp"`
	User   string  `json:"user,omitempty"`
	Rate   float64 `json:"rate,omitempty"`        // events a second, of late
	Events int64   `json:"events,omitempty"`      // since the survey began
	Bytes  int64   `json:"bytes,omitempty"`       // of their arguments
	Queued int     `json:"queue_bytes,omitempty"` // that wait to be sent

	socket sio.Socket
	before int64 // Events at the last look
}

// Ranks are what a survey has found.
type Ranks struct {
	Rooms    []RoomRank   `json:"rooms"`
	Talkers  []SocketRank `json:"talkers"`
	Slow     []SocketRank `json:"slow"`
	Seen     int          `json:"seen"`   // sockets that were looked at
	Rounds   int          `json:"rounds"` // how often all were
	Watching int64        `json:"watching_ms"`
}

// A survey looks for the biggest rooms, and for who sends most and takes least, a part at
// a time, while somebody asks what it has found.
type survey struct {
	// Immutable.
	a    *Admin
	most int // sockets whose events are counted

	mu      sync.Mutex
	running bool
	asked   time.Time
	began   time.Time
	found   Ranks // but for Talkers

	talk    sync.Mutex // apart, since loops take it
	talkers map[sio.Socket]*SocketRank
	looked  time.Time // when rates were made
}

// ranks answers what was found, and has the survey go on, or begin.
func (a *Admin) ranks(w http.ResponseWriter, _ *http.Request) {
	x := &a.survey
	x.mu.Lock()
	x.asked = a.now()
	if !x.running {
		x.running, x.began, x.found = true, x.asked, Ranks{}
		x.talk.Lock()
		x.talkers, x.looked = map[sio.Socket]*SocketRank{}, x.asked
		x.talk.Unlock()
		// ends when nobody has asked for surveyIdle, or with the server
		go x.run()
	}
	found := x.found
	found.Watching = a.now().Sub(x.began).Milliseconds()
	found.Rooms, found.Slow = append([]RoomRank{}, found.Rooms...), append([]SocketRank{}, found.Slow...)
	x.mu.Unlock()
	found.Talkers = x.top()
	for _, list := range [][]SocketRank{found.Talkers, found.Slow} {
		for i := range list {
			list[i].User = a.o.User(list[i].socket)
		}
	}
	answer(w, http.StatusOK, found)
}

// run is the survey.
func (x *survey) run() {
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.running = false
	}()
	defer x.a.o.Server.Observe(x.heard)()
	rooms, sockets := &round[RoomRank]{all: x.a.allRooms}, &round[sio.Socket]{all: x.a.allSockets}
	defer rooms.end()
	defer sockets.end()
	var biggest []RoomRank
	var slowest []SocketRank
	tick := time.NewTicker(x.a.surveyEvery)
	defer tick.Stop()
	for x.wanted() {
		over := rooms.step(surveyRooms, func(r RoomRank) { biggest = ranked(biggest, r, bigger) })
		x.publish(func(f *Ranks) { f.Rooms = current(f.Rooms, biggest, over, f.Rounds) })
		if over {
			biggest = nil
		}
		if sockets.pull == nil && x.a.queued() == 0 {
			x.publish(func(f *Ranks) { f.Slow, f.Rounds = nil, f.Rounds+1 }) // nobody can be slow
		} else {
			seen := 0
			over = sockets.step(surveySockets, func(s sio.Socket) {
				seen++
				if st, ok := s.Stats(); ok && st.Queued > 0 {
					slowest = ranked(slowest, SocketRank{SID: s.PublicID(), Nsp: s.Name(), Queued: st.Queued, socket: s}, slower)
				}
			})
			x.publish(func(f *Ranks) {
				f.Seen += seen
				f.Slow = current(f.Slow, slowest, over, f.Rounds)
				if over {
					f.Rounds++
				}
			})
			if over {
				slowest = nil
			}
		}
		select {
		case <-tick.C:
		case <-x.a.stopped.Done():
		}
	}
}

// wanted tells whether the survey goes on.
func (x *survey) wanted() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.a.now().Sub(x.asked) < surveyIdle && x.a.stopped.Err() == nil
}

func (x *survey) publish(f func(*Ranks)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.found)
}

// current is what is shown of a list: the last whole one, or before there is one, what was
// found so far.
func current[T any](shown, found []T, over bool, rounds int) []T {
	if over || rounds == 0 && len(found) > 0 {
		return slices.Clone(found)
	}
	return shown
}

// A round goes over all there are, again and again, some at each step.
type round[T any] struct {
	all  func() iter.Seq[T]
	pull func() (T, bool)
	stop func()
}

// step has f called with up to n, and tells whether they were the last.
func (r *round[T]) step(n int, f func(T)) (over bool) {
	if r.pull == nil {
		r.pull, r.stop = iter.Pull(r.all())
	}
	for range n {
		v, ok := r.pull()
		if !ok {
			r.end()
			return true
		}
		f(v)
	}
	return false
}

func (r *round[T]) end() {
	if r.stop != nil {
		r.stop()
	}
	r.pull, r.stop = nil, nil
}

// clients yields the namespaces that clients can join.
func (a *Admin) clients() iter.Seq[*sio.Namespace] {
	return func(yield func(*sio.Namespace) bool) {
		for _, ns := range a.o.Server.Namespaces() {
			if !peerlink.Owns(ns.Name()) && !yield(ns) {
				return
			}
		}
	}
}

func (a *Admin) allRooms() iter.Seq[RoomRank] {
	return func(yield func(RoomRank) bool) {
		for ns := range a.clients() {
			for _, name := range ns.Instances() {
				for room, n := range ns.Instance(name).RoomCounts() {
					if !yield(RoomRank{room, name, n}) {
						return
					}
				}
			}
		}
	}
}

func (a *Admin) allSockets() iter.Seq[sio.Socket] {
	return func(yield func(sio.Socket) bool) {
		for ns := range a.clients() {
			for place, more := uint64(0), true; more; more = place != 0 {
				var part []sio.Socket
				part, place = ns.All().Local().SocketsFrom(place, 64)
				for _, s := range part {
					if !yield(s) {
						return
					}
				}
			}
		}
	}
}

// queued returns the bytes that wait to be sent to anybody.
func (a *Admin) queued() int64 {
	st := a.o.Server.Stats()
	return st.Loop.Queued + st.Engine.Queued
}

// ranked adds one to the first so many of a list.
func ranked[T any](all []T, v T, compare func(a, b T) int) []T {
	i, _ := slices.BinarySearchFunc(all, v, compare)
	if i >= maxRanks {
		return all
	}
	all = slices.Insert(all, i, v)
	return all[:min(len(all), maxRanks)]
}

func bigger(a, b RoomRank) int {
	return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), cmp.Compare(a.Nsp, b.Nsp), cmp.Compare(a.Room, b.Room))
}

func slower(a, b SocketRank) int {
	return cmp.Or(cmp.Compare(b.Queued, a.Queued), cmp.Compare(a.SID, b.SID))
}

func louder(a, b SocketRank) int {
	return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Events, a.Events), cmp.Compare(a.SID, b.SID))
}

// heard counts events of sockets, on their loops. If there are too many sockets, the half
// that has sent less is forgotten.
func (x *survey) heard(o *sio.Observation) {
	if o.Kind != sio.ObservedEvent {
		return
	}
	size := 0
	raw, attachments := o.Args().Verbatim()
	for _, part := range [][][]byte{raw, attachments} {
		for _, b := range part {
			size += len(b)
		}
	}
	x.talk.Lock()
	defer x.talk.Unlock()
	r := x.talkers[o.Socket]
	if r == nil {
		if len(x.talkers) >= x.most {
			x.forget()
		}
		r = &SocketRank{SID: o.Socket.PublicID(), Nsp: o.Socket.Name(), socket: o.Socket}
		x.talkers[o.Socket] = r
	}
	r.Events++
	r.Bytes += int64(size)
}

func (x *survey) forget() {
	counts := make([]int64, 0, len(x.talkers))
	for _, r := range x.talkers {
		counts = append(counts, r.Events)
	}
	slices.Sort(counts)
	least := counts[len(counts)/2]
	for s, r := range x.talkers {
		if r.Events <= least {
			delete(x.talkers, s)
		}
	}
}

// top returns who sends most, and makes rates of what was counted since the last time.
func (x *survey) top() []SocketRank {
	x.talk.Lock()
	defer x.talk.Unlock()
	now := x.a.now()
	renew := now.Sub(x.looked).Seconds()
	top := []SocketRank{}
	for _, r := range x.talkers {
		if renew >= 1 {
			r.Rate, r.before = float64(r.Events-r.before)/renew, r.Events
		}
		top = ranked(top, *r, louder)
	}
	if renew >= 1 {
		x.looked = now
	}
	return top
}
