package redis

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// modes are those of the sharded adapter.
var modes = map[string]Mode{"dynamic": Dynamic, "static": Static, "private": DynamicPrivate}

// A sharding is two servers on the masters of a Redis Cluster.
type sharding struct {
	t        testing.TB
	all      []*master
	prefix   string
	hosts    []*fake
	adapters []rooms.Adapter
}

// newSharding starts two servers, with members in rooms.
func newSharding(t testing.TB, all []*master, o Options, rooms ...string) *sharding {
	t.Helper()
	s := &sharding{t: t, all: all, prefix: o.Prefix}
	s.hosts, s.adapters = join(t, "sharded", all[0].addr, 2, o)
	for _, a := range s.adapters {
		for _, room := range rooms {
			a.Occupied("/", room)
		}
	}
	s.settle()
	return s
}

// settle waits until all subscriptions are in place.
func (s *sharding) settle() {
	s.t.Helper()
	for _, a := range s.adapters {
		eventually(s.t, "being up with all subscriptions", func() bool {
			_, all, _ := coreOf(a).b.subs.inPlace()
			return all && a.Status().Up
		})
	}
}

// channel returns that of a room, or of the namespace.
func (s *sharding) channel(room string) string {
	if room == "" || coreOf(s.adapters[0]).o.Mode == Static {
		return wire.BroadcastChannel(s.prefix, "/")
	}
	return wire.RoomChannel(s.prefix, "/", room)
}

// target addresses a room, or the namespace.
func target(room string) rooms.Target {
	if room == "" {
		return rooms.Target{Namespace: "/"}
	}
	return rooms.Target{Namespace: "/", Rooms: []string{room}}
}

// emit emits an event of a number.
func (s *sharding) emit(from int, room string, n int) {
	s.adapters[from].Emit(target(room), rooms.Event{Data: fmt.Appendf(nil, "[%d]", n)})
}

// delivered returns the note of that.
func delivered(room string, n int) string {
	return fmt.Sprintf("deliver %v [%d] [] false false", target(room), n)
}

// reach checks that what each server emits to the rooms reaches the other one,
// once.
func (s *sharding) reach(rooms ...string) {
	s.t.Helper()
	for from := range 2 {
		var want []string
		for n, room := range rooms {
			s.emit(from, room, n)
			want = append(want, delivered(room, n))
		}
		got := s.hosts[1-from].got(s.t, len(want))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			s.t.Errorf("it was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if others := s.hosts[from].got(s.t, 0); len(others) > 0 {
			s.t.Errorf("the sender was told %q", others)
		}
	}
}

// A traffic is what one server emits to rooms, to each in turn, until it is ended.
type traffic struct {
	end, ended chan struct{}
	sent       int
}

func (s *sharding) traffic(rooms ...string) *traffic {
	k := &traffic{end: make(chan struct{}), ended: make(chan struct{})}
	// ends with stop
	go func() {
		defer close(k.ended)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for ; ; k.sent++ {
			for _, room := range rooms {
				s.emit(0, room, k.sent)
			}
			select {
			case <-k.end:
				return
			case <-ticker.C:
			}
		}
	}()
	return k
}

// stop ends it; the last that is emitted is number sent.
func (k *traffic) stop() {
	close(k.end)
	<-k.ended
}

// once checks that what the second server was told of a room is in order, has
// nothing twice, and ends with the last; it returns how much of it is missing.
func (s *sharding) once(k *traffic, notes []string, room string) (missing int) {
	s.t.Helper()
	last := -1
	missing = k.sent + 1
	for _, note := range notes {
		if !strings.HasPrefix(note, strings.TrimSuffix(delivered(room, 0), "[0] [] false false")) {
			continue
		}
		n := last
		for n++; n <= k.sent && note != delivered(room, n); n++ {
		}
		if n > k.sent {
			s.t.Fatalf("room %q: it was told %s after number %d", room, note, last)
		}
		last = n
		missing--
	}
	if last != k.sent {
		s.t.Errorf("room %q: the last that it was told is number %d, want %d", room, last, k.sent)
	}
	return missing
}

// Rooms whose channels are on different masters are reached, once; and again when
// the slots of some have moved to other masters.
func TestSubscriptionsFollowTheirSlots(t *testing.T) {
	t.Parallel()
	all := masters(t, 3)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			names := []string{"", "r", "a", "b", "c", "d", "e", "f", "g"}
			s := newSharding(t, all, Options{Prefix: name, Mode: mode}, names[1:]...)
			s.reach(names...)
			before := s.adapters[1].Status()
			k := s.traffic(names...)
			moved := []string{s.channel("a"), s.channel(""), coreOf(s.adapters[0]).heartbeats().name}
			slices.Sort(moved)
			moved = slices.Compact(moved)
			for _, channel := range moved {
				from, to := move(all, channel)
				eventually(t, "subscribing where the slot is now", func() bool {
					return from.subscribed(channel) == 0 && to.subscribed(channel) == 2
				})
			}
			s.settle()
			k.stop()
			k.sent++ // what comes now must arrive
			for _, room := range names {
				s.emit(0, room, k.sent)
			}
			var notes []string
			eventually(t, "what was emitted last", func() bool {
				notes = append(notes, s.hosts[1].got(t, 0)...)
				return !slices.ContainsFunc(names, func(room string) bool { return !slices.Contains(notes, delivered(room, k.sent)) })
			})
			for _, room := range names {
				missing := s.once(k, notes, room)
				if missing > 0 && !slices.Contains(moved, s.channel(room)) {
					t.Errorf("%d of %d for room %q are missing, whose slot has not moved", missing, k.sent, room)
				}
			}
			s.reach(names...)
			after := s.adapters[1].Status()
			if after.Reconnects < before.Reconnects+int64(len(moved)) || !after.Since.After(before.Since) || !after.Up {
				t.Errorf("Status() = %+v, before %+v, want it up again after each slot that moved, and these counted", after, before)
			}
		})
	}
}

// roomsAt returns a room whose channel one master has, and one of another.
func (s *sharding) roomsAt(dead *master) (lost, kept string) {
	s.t.Helper()
	for i := 0; lost == "" || kept == ""; i++ {
		room := fmt.Sprint("room ", i)
		if has, _ := owner(s.all, s.channel(room)); has == dead {
			lost = room
		} else {
			kept = room
		}
	}
	return lost, kept
}

// take waits until what is emitted to a room arrives, and drops what came before.
func (s *sharding) take(room string) {
	s.t.Helper()
	const mark = 1 << 20
	for i := range 2 {
		s.emit(i, room, mark)
		var notes []string
		eventually(s.t, "what is emitted now", func() bool {
			notes = append(notes, s.hosts[1-i].got(s.t, 0)...)
			return slices.Contains(notes, delivered(room, mark))
		})
	}
}

// When a master dies, or hangs, what the others have goes on, and that something
// is missing is said; when it is back, so is everything.
func TestOneDeadMasterIsNotAll(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct{ down, up func(m *master) }{
		"killed": {(*master).kill, (*master).start},
		"hung":   {(*master).stop, (*master).resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			oneDown(t, how.down, how.up)
		})
	}
}

func oneDown(t *testing.T, down, up func(m *master)) {
	all := masters(t, 3)
	s := newSharding(t, all, Options{Prefix: "p", Timeout: time.Second})
	ask := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		members, err := s.adapters[0].Members(ctx, target(""))
		if err != nil || len(members) != 1 {
			t.Errorf("Members = %v, %v, want those of the other server", members, err)
		}
	}
	ask()
	busy, _ := owner(all, s.channel(""))
	asks, _ := owner(all, wire.RoomChannel("p", "/", coreOf(s.adapters[0]).uid))
	dead := all[slices.IndexFunc(all, func(m *master) bool { return m != busy && m != asks })]
	lost, kept := s.roomsAt(dead)
	for _, a := range s.adapters {
		a.Occupied("/", lost)
		a.Occupied("/", kept)
	}
	s.settle()
	s.reach("", lost, kept)

	down(dead)
	for i, a := range s.adapters {
		s.emit(i, lost, 0)
		s.emit(i, kept, 1)
		if got := s.hosts[1-i].got(t, 1); len(got) != 1 || got[0] != delivered(kept, 1) {
			t.Errorf("it was told %q, want what is for a room that another master has", got)
		}
		eventually(t, "counting what is lost", func() bool { return a.Status().Lost > 0 })
		eventually(t, "knowing that a master is dead", func() bool { s := a.Status(); return !s.Up && s.Reason != "" })
	}
	for i := range 10 {
		s.emit(i%2, lost, i)
		s.reach("", kept)
		ask()
	}
	for _, a := range s.adapters {
		if s := a.Status(); s.Up || s.Reason == "" || len(s.Peers) != 1 {
			t.Errorf("Status() = %+v, want it down as long as a master is, with a reason, and the other server", s)
		}
	}

	up(dead)
	s.settle()
	s.take(lost)
	s.reach("", lost, kept)
	ask()
}

// Thousands of rooms need no connections of their own, nor goroutines.
func TestRoomsShareTheConnectionsToMasters(t *testing.T) {
	t.Parallel()
	all := masters(t, 3)
	_, adapters := join(t, "sharded", all[0].addr, 1, Options{Prefix: "p"})
	const n = 10_000
	for i := range n {
		adapters[0].Occupied("/", fmt.Sprint("room ", i))
	}
	eventually(t, "subscribing", func() bool { return adapters[0].Status().Subscriptions >= n })
	if g := runtime.NumGoroutine(); g > n/10 {
		t.Errorf("there are %d goroutines, want few", g)
	}
	for _, m := range all {
		list := m.ask("CLIENT", "LIST")
		// One for subscriptions, one for commands, that of the test.
		if n := strings.Count(list, "\n"); n > 4 {
			t.Errorf("a master has %d connections, want few:\n%s", n, list)
		}
	}
}

// What is added to streams on several masters arrives, once and in order, while
// the streams move to others.
func TestStreamsFollowTheirSlots(t *testing.T) {
	t.Parallel()
	all := masters(t, 3)
	for _, channels := range []string{"plain", "sharded"} {
		t.Run(channels, func(t *testing.T) {
			o := Options{Prefix: channels, Streams: 4, ShardedPubSub: channels == "sharded"}
			hosts, adapters := join(t, "streams", all[0].addr, 2, o)
			names := []string{"/", "/admin", "/news", "/users", "/campaigns/1/trends"}
			lanes := map[string]string{}
			for _, ns := range names {
				adapters[0].Open(ns)
				adapters[1].Open(ns)
				lanes[adapters[0].(*streams).Lane(ns)] = ns
			}
			const n = 300
			var want, got []string
			emit := func(i int) {
				for _, ns := range names {
					adapters[0].Emit(rooms.Target{Namespace: ns}, rooms.Event{Data: fmt.Appendf(nil, "[%d]", i)})
					adapters[0].Emit(rooms.Target{Namespace: ns}, rooms.Event{Data: []byte(`["volatile"]`), Volatile: true})
					adapters[0].ServerSideEmit(ns, rooms.Event{Data: []byte(`["published"]`)})
				}
			}
			lane := slices.Sorted(maps.Keys(lanes))
			for i := range n {
				emit(i)
				if i%(n/6) == 0 {
					move(all, lane[i/(n/6)%len(lane)])
				}
				time.Sleep(time.Millisecond)
			}
			for _, ns := range names {
				for i := range n {
					want = append(want, fmt.Sprintf("deliver {%s [] []} [%d] [] false false", ns, i))
				}
			}
			eventually(t, "all that was emitted", func() bool {
				for _, note := range hosts[1].got(t, 0) {
					if !strings.Contains(note, "volatile") && !strings.Contains(note, "published") {
						got = append(got, note)
					}
				}
				return len(got) >= len(want)
			})
			slices.SortStableFunc(got, func(a, b string) int {
				index := func(s string) int {
					return slices.IndexFunc(names, func(ns string) bool { return strings.Contains(s, "{"+ns+" ") })
				}
				return index(a) - index(b)
			})
			if !slices.Equal(got, want) {
				t.Errorf("it was told %d things, want the %d that were emitted, once and in order", len(got), len(want))
			}
			for _, a := range adapters {
				eventually(t, "being up", func() bool { return a.Status().Up })
				if s := a.Status(); s.Lost > 0 {
					t.Errorf("Status() = %+v, want nothing lost", s)
				}
			}
		})
	}
}
