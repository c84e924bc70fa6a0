package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// With a Redis Cluster, each room is on a node of its own, or each process at one of many:
// what is said to a room comes once, and in order, through handovers.
func TestHandoversInARedisCluster(t *testing.T) {
	all := masters(t, 3)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			moves, stays := newLedger("nod0"), newLedger("nod1")
			o := Options{Prefix: strings.ReplaceAll(kind, " ", "")}
			other, x := lineageOf(t, kind, all[0].addr, stays, o), lineageOf(t, kind, all[0].addr, moves, o)
			names := []string{"", "r"}
			for i := range 20 {
				names = append(names, fmt.Sprint("room", i))
			}
			for _, l := range []*lineage{other, x} {
				for _, name := range names[2:] {
					l.now.Occupied("/", name)
				}
				eventually(t, "all subscriptions", func() bool {
					_, all, _ := coreOf(l.now).b.subs.inPlace()
					return all && l.now.Status().Up
				})
			}
			k := talkRooms(other.now, "other", names)
			for range 5 {
				own := talkRooms(x.now, "own"+fmt.Sprint(time.Now().UnixNano()), names)
				before := moves.had("other/r")
				eventually(t, "more", func() bool { return moves.had("other/r") > before+10 })
				stays.check(t, own())
				x.hand(func() {
					time.Sleep(5 * time.Millisecond) // so that there is something that is kept
				}, names[2:]...)
			}
			moves.check(t, k())
		})
	}
}

// talkRooms emits to rooms, each with numbers of its own, until what it returns is called,
// which returns how many these were.
func talkRooms(a rooms.Adapter, who string, names []string) (stop func() map[string]int) {
	said, end, ended := map[string]int{}, make(chan struct{}), make(chan struct{})
	// ends with stop
	go func() {
		defer close(ended)
		for {
			for _, name := range names {
				key := who + "/" + name
				said[key]++
				t := rooms.Target{Namespace: "/"}
				if name != "" {
					t.Rooms = []string{name}
				}
				a.Emit(t, rooms.Event{Data: fmt.Appendf(nil, "[%q,%d]", key, said[key])})
			}
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() map[string]int {
		close(end)
		<-ended
		return said
	}
}
