package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// newTopics returns subscriptions whose only line has a connection.
func newTopics(most int) *subscriptions {
	s := &subscriptions{}
	s.init(most, 10*time.Second)
	s.reset(s.first, struct{ rueidis.CoreClient }{})
	return s
}

// changes returns the commands that are to be sent now, as text.
func (s *subscriptions) changes(now time.Time) (all []string) {
	for more := true; more; {
		var some []change
		some, more = s.next(s.first, now)
		for _, c := range some {
			for _, t := range c.topics {
				all = append(all, fmt.Sprint(map[bool]string{true: "+", false: "-"}[c.begin], t.kind, " ", t.name))
			}
		}
	}
	slices.Sort(all)
	return all
}

func (s *subscriptions) want(t *testing.T, now time.Time, want ...string) {
	t.Helper()
	if got := s.changes(now); !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
}

// What several own is there until the last of them has given it up: a room and a
// namespace that are called the same, or a pattern's and a channel's name.
func TestTopicsHaveOwners(t *testing.T) {
	s, now := newTopics(10), time.Now()
	room, namespace := topic{exact, wire.RoomChannel("p", "/", "general")}, topic{exact, wire.BroadcastChannel("p", "/#general")}
	if room != namespace {
		t.Fatalf("%v and %v do not collide", room, namespace)
	}
	s.add(room)
	s.add(namespace)
	s.add(topic{pattern, room.name})
	s.want(t, now, "+0 p#/#general#", "+1 p#/#general#")
	for _, k := range []string{"subscribe", "psubscribe"} {
		s.confirm(s.first, rueidis.PubSubSubscription{Kind: k, Channel: room.name})
	}
	s.drop(namespace)
	s.drop(topic{pattern, room.name})
	s.want(t, now.Add(time.Minute), "-1 p#/#general#")
	if !s.isReady(room) {
		t.Error("the room's subscription has gone with the namespace's")
	}
	s.drop(room)
	s.drop(room) // once too often
	s.want(t, now.Add(9*time.Second))
	s.want(t, now.Add(time.Minute), "-0 p#/#general#")
	s.add(room)
	s.want(t, now.Add(time.Minute), "+0 p#/#general#")
}

// As rooms come and go, a bounded number of them is kept subscribed to; those that
// have members stay.
func TestWhatLingersIsBounded(t *testing.T) {
	s, now := newTopics(1<<20), time.Now()
	s.add(topic{exact, "stays"})
	s.changes(now)
	subscribed, unsubscribed := 0, 0
	for i := range 5 * mostLingering {
		x := topic{exact, fmt.Sprint("room ", i)}
		s.add(x)
		for _, c := range s.changes(now) {
			if c[0] == '+' {
				subscribed++
			} else {
				unsubscribed++
			}
		}
		s.drop(x)
	}
	s.changes(now)
	if n := len(s.all); n > mostLingering+2 || len(s.lingering.queue) > mostLingering {
		t.Errorf("%d subscriptions are kept, and %d wait, want at most %d", n, len(s.lingering.queue), mostLingering)
	}
	if subscribed != 5*mostLingering || unsubscribed < 4*mostLingering-2 {
		t.Errorf("%d were subscribed to and %d unsubscribed from", subscribed, unsubscribed)
	}
	if x := s.all[topic{exact, "stays"}]; x == nil || !x.sent {
		t.Error("a room with members is not subscribed to")
	}
	s.changes(now.Add(2 * time.Minute))
	if len(s.all) != 1 {
		t.Errorf("%d are kept at the end, want one", len(s.all))
	}
}

// Whatever lingers is not looked at again before its time: who joins and leaves
// rooms does not make that dearer for others.
func TestWhatLingersIsNotLookedAt(t *testing.T) {
	const n = 5000
	s, now := newTopics(2*n), time.Now()
	for i := range n {
		s.add(topic{exact, fmt.Sprint(i)})
	}
	if got := len(s.changes(now)); got != n {
		t.Fatalf("%d commands, want %d", got, n)
	}
	for range 3 { // again and again: it is remembered once
		for i := range n {
			s.drop(topic{exact, fmt.Sprint(i)})
		}
		s.want(t, now)
		if len(s.first.changed) != 0 || len(s.lingering.queue) != n {
			t.Fatalf("%d are looked at and %d wait, want none and %d", len(s.first.changed), len(s.lingering.queue), n)
		}
		for i := range n {
			s.add(topic{exact, fmt.Sprint(i)})
		}
		s.want(t, now)
	}
	for i := range n {
		s.drop(topic{exact, fmt.Sprint(i)})
	}
	s.want(t, now)
	if got := len(s.changes(now.Add(time.Minute))); got != n || len(s.all) != 0 || len(s.lingering.queue) != 0 {
		t.Errorf("%d commands, and %d kept, want %d and none", got, len(s.all), n)
	}
}

// What is one too many is counted, refused to who waits for it, and made when there
// is room.
func TestTopicsAreBounded(t *testing.T) {
	s, now := newTopics(2), time.Now()
	var over []string
	s.over = func(t topic) { over = append(over, t.name) }
	for _, name := range []string{"a", "b"} {
		s.add(topic{exact, name})
	}
	s.want(t, now, "+0 a", "+0 b")
	s.add(topic{exact, "c"})
	if _, _, parked := s.inPlace(); parked != 1 || !slices.Equal(over, []string{"c"}) {
		t.Errorf("%d parked and told of %q, want c", parked, over)
	}
	if err := s.await(context.Background(), topic{exact, "c"}); !errors.Is(err, errFull) {
		t.Errorf("await = %v, want errFull", err)
	}
	if err := s.await(context.Background(), topic{exact, "d"}); !errors.Is(err, errUnwanted) {
		t.Errorf("await of what nobody wants = %v, want errUnwanted", err)
	}
	s.drop(topic{exact, "a"})
	s.want(t, now)
	s.want(t, now.Add(time.Minute), "-0 a")
	s.want(t, now.Add(time.Minute), "+0 c")
	if _, _, parked := s.inPlace(); parked != 0 {
		t.Errorf("%d parked, want none", parked)
	}
}

// A command that is refused because of one channel is asked again channel by
// channel.
func TestARefusedChannelRefusesNoOther(t *testing.T) {
	s, now := newTopics(10), time.Now()
	a, b := topic{exact, "a"}, topic{exact, "b"}
	s.add(a)
	s.add(b)
	s.want(t, now, "+0 a", "+0 b")
	no := errors.New("NOPERM")
	if err := s.refuse(s.first, []topic{a, b}, no); err != nil {
		t.Errorf("refuse of several = %v, want that it is not known which", err)
	}
	if all, _ := s.next(s.first, now); len(all) != 2 || len(all[0].topics) != 1 {
		t.Errorf("next = %v, want a command each", all)
	}
	s.confirm(s.first, rueidis.PubSubSubscription{Kind: "subscribe", Channel: "a"})
	if err := s.refuse(s.first, []topic{b}, no); !errors.Is(err, no) {
		t.Errorf("refuse = %v, want why", err)
	}
	s.want(t, now)
	if ok, err := s.settled(); !ok || !errors.Is(err, no) {
		t.Errorf("settled = %t, %v, want that b is refused", ok, err)
	}
	if err := s.await(context.Background(), b); !errors.Is(err, no) {
		t.Errorf("await = %v, want why", err)
	}
	s.want(t, time.Now().Add(refusedPause), "+0 b")
	if err := s.refuse(s.first, []topic{b}, no); err != nil {
		t.Errorf("refuse once more = %v, want that it is known", err)
	}
	s.want(t, time.Now().Add(refusedPause), "+0 b")
	s.confirm(s.first, rueidis.PubSubSubscription{Kind: "subscribe", Channel: "b"})
	if ok, err := s.settled(); !ok || err != nil {
		t.Errorf("settled = %t, %v, want all in place", ok, err)
	}
}

// A client that can name a namespace or a room cannot take another's messages away:
// an instance called as a pattern, a namespace called as a room of another.
func TestNamesThatCollideDoNotUnsubscribeEachOther(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hosts, adapters := join(t, kind, addr, 2, Options{Prefix: kind, Linger: time.Millisecond})
			a, b := adapters[0], adapters[1]
			names := []string{"/:tenant", "/#r", "/a", "/a#b"}
			b.Open("/:tenant")
			b.Open("/a")
			b.Occupied("/a", "b")
			for _, ns := range names { // what a client opens, and leaves
				b.Open(ns)
				b.Occupied(ns, "x")
			}
			for _, ns := range names {
				b.Drop(ns)
				b.Vacated(ns, "x")
			}
			if err := b.Await(context.Background(), "/a", []string{"b"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * tick) // for what lingers to go
			for _, target := range []rooms.Target{{Namespace: "/:tenant"}, {Namespace: "/", Rooms: []string{"r"}}, {Namespace: "/a"}, {Namespace: "/a", Rooms: []string{"b"}}} {
				a.Emit(target, rooms.Event{Data: []byte(`["e"]`)})
			}
			want := []string{
				`deliver {/:tenant [] []} ["e"] [] false false`, `deliver {/ [r] []} ["e"] [] false false`,
				`deliver {/a [] []} ["e"] [] false false`, `deliver {/a [b] []} ["e"] [] false false`,
			}
			got := hosts[1].got(t, len(want))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("it was told %q, want %q", got, want)
			}
		})
	}
}

// Redis sends a message once for each subscription that it matches; it is delivered
// once.
func TestNamesThatCollideAreDeliveredOnce(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hosts, adapters := join(t, kind, addr, 2, Options{Prefix: kind})
			a, b := adapters[0], adapters[1]
			own := "nod1aaaaaaaaaaaaaaaa" // as the id of one of b's sockets
			for _, ns := range []string{"/a", "/a#b", "/#" + own, "/a#" + own} {
				b.Open(ns)
			}
			for _, room := range []string{"b", "b#c", "x#" + own, own} {
				b.Occupied("/a", room)
			}
			eventually(t, "subscribing", func() bool {
				ok, err := coreOf(b).b.subs.settled()
				return ok && err == nil && len(coreOf(a).peers.having("/a#"+own)) == 1
			})
			var want []string
			for _, target := range []rooms.Target{
				{Namespace: "/a"}, {Namespace: "/a#b"}, {Namespace: "/#" + own}, {Namespace: "/a#" + own},
				{Namespace: "/a", Rooms: []string{"b"}}, {Namespace: "/a", Rooms: []string{"b#c"}}, {Namespace: "/a#b", Rooms: []string{own}},
				{Namespace: "/a", Rooms: []string{"x#" + own}}, {Namespace: "/a", Rooms: []string{own}}, {Namespace: "/", Rooms: []string{own}},
			} {
				a.Emit(target, rooms.Event{Data: []byte(`["e"]`)})
				want = append(want, fmt.Sprintf(`deliver %v ["e"] [] false false`, target))
			}
			a.Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: []byte(`["last"]`)})
			want = append(want, `deliver {/ [] []} ["last"] [] false false`)
			eventually(t, "the last", func() bool {
				hosts[1].mu.Lock()
				defer hosts[1].mu.Unlock()
				return slices.Contains(hosts[1].noted, want[len(want)-1])
			})
			got := hosts[1].got(t, len(want)) // of several streams, in any order
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("it was told\n%q\nwant\n%q", got, want)
			}
		})
	}
}

// After Await, what is published to a room arrives: 400 of 400.
func TestAwaitMissesNothing(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hosts, adapters := join(t, kind, addr, 2, Options{Prefix: kind})
			const n = 400
			for i := range n {
				room := fmt.Sprint("room", i)
				adapters[1].Occupied("/", room)
				if err := adapters[1].Await(context.Background(), "/", []string{room}); err != nil {
					t.Fatal(err)
				}
				adapters[0].Emit(rooms.Target{Namespace: "/", Rooms: []string{room}}, rooms.Event{Data: []byte(`["e"]`)})
			}
			hosts[1].got(t, n)
		})
	}
}
