package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

// notes returns what was recorded, in words.
func (r *recorder) notes() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		switch {
		case e.Own != 0:
			all = append(all, fmt.Sprint("own ", e.Own))
		case e.Op != rooms.Emitted:
			all = append(all, fmt.Sprint("op ", e.Op))
		default:
			all = append(all, string(e.Event.Data))
		}
	}
	return all
}

// What a server has appended is its own as long as it reads it; what of that comes behind
// the place is an event of another process to its heir, which nobody has delivered. The
// heir's own is its own, and another server's to those who stay.
func TestAppendedEventsThroughAHandover(t *testing.T) {
	addr := server(t)
	all := rooms.Target{Namespace: "/"}
	event := func(s string) rooms.Event { return rooms.Event{Data: fmt.Appendf(nil, `[%q]`, s)} }
	for _, stays := range []bool{false, true} {
		t.Run(fmt.Sprintf("stays %t", stays), func(t *testing.T) {
			o := Options{Prefix: fmt.Sprint("p", stays), Logger: slog.New(slog.DiscardHandler)}
			h := &fake{node: "nod0"}
			start := func(offer []byte) (a *streams, r *recorder) {
				a, r = Streams(addr, o).(*streams), &recorder{}
				a.Record(r)
				if offer != nil {
					if err := a.Inherit(offer); err != nil {
						t.Fatal(err)
					}
				}
				if err := a.Start(h); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = a.Close(within(t)) })
				a.Open("/")
				return a, r
			}
			old, ro := start(nil)
			eventually(t, "being up", func() bool { return old.Status().Up })
			old.Append(all, event("before"), 1)
			old.Join(all, []string{"r"})
			offer, err := old.Offer()
			if err != nil {
				t.Fatal(err)
			}
			next, rn := start(offer)
			x := &lineage{t: t, now: old}
			old.Append(all, event("later"), 2)
			place, err := x.split(within(t), next)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(ro.notes(), ", "), "own 1, op 1, own 2"; got != want {
				t.Errorf("the one that goes has recorded %s, want %s: all that it had appended", got, want)
			}
			old.Append(all, event("timer"), 3)
			old.Leave(all, []string{"r"})
			old.Emit(all, event("volatile"))
			eventually(t, "that being added", old.b.idle)
			if err := next.Succeed(place); err != nil {
				t.Fatal(err)
			}
			rn.mu.Lock()
			first := rn.passed
			rn.mu.Unlock()
			if first == 0 {
				t.Error("the heir does not say where it begins")
			}
			next.Append(all, event("heir"), 1)
			eventually(t, "that being added", next.b.idle)
			if err := old.Gone(within(t), stays); err != nil {
				t.Fatal(err)
			}
			want := []string{`["timer"]`, "op 2", "own 1"}
			if stays {
				old.Append(all, event("stays"), 4)
				want = append(want, `["stays"]`)
				eventually(t, "all", func() bool { return len(ro.notes()) >= 7 })
				if got, want := strings.Join(ro.notes()[3:], ", "), `own 3, op 2, ["heir"], own 4`; got != want {
					t.Errorf("who stays has recorded %s, want %s", got, want)
				}
			}
			eventually(t, "all", func() bool { return len(rn.notes()) >= len(want) })
			if got := strings.Join(rn.notes(), ", "); got != strings.Join(want, ", ") {
				t.Errorf("the heir has recorded %s, want %s", got, strings.Join(want, ", "))
			}
		})
	}
}

// More than is kept waits in Redis.
func TestAHeldReaderReadsNoMoreThanItKeeps(t *testing.T) {
	addr := server(t)
	x, moves, _, other := pair(t, "streams", addr, Options{Prefix: "p"})
	next := x.heir()
	offer, err := x.now.Offer()
	if err := errors.Join(err, next.Follow(within(t), offer)); err != nil {
		t.Fatal(err)
	}
	place, err := x.now.Mark(within(t))
	if err != nil {
		t.Fatal(err)
	}
	r := next.(*streams).all()[0]
	r.mu.Lock()
	r.bytes = mostKept // so that the next is too much
	r.mu.Unlock()
	say(other.now, "other", 1, 3000)
	eventually(t, "reading some", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.kept) > 0
	})
	eventually(t, "all being in the stream", func() bool { return other.now.(*streams).b.idle() })
	r.mu.Lock()
	if n := len(r.kept); n > 2*readCount {
		t.Errorf("%d entries are kept, want no more than were read before it was too much", n)
	}
	r.mu.Unlock()
	next.Occupied("/", "r")
	if err := errors.Join(next.Succeed(place), x.now.Gone(within(t), false)); err != nil {
		t.Fatal(err)
	}
	x.close(x.now)
	x.now = next
	moves.check(t, map[string]int{"other": 3000})
}
