package clusterlog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A page is a source that keeps nothing.
type page struct{ appended []uint64 }

func (p *page) Lane(string) string { return "lane" }

func (p *page) Append(_ rooms.Target, _ rooms.Event, n uint64) { p.appended = append(p.appended, n) }

func (p *page) Missed(context.Context, string, string, rooms.Place, rooms.Place, func(rooms.Entry) bool) (bool, error) {
	return true, nil
}

// What waits behind an event is done when that is read; if the log is slow all is
// done without it, in the same order, and nothing twice.
func TestALaneKeepsTheOrderOfWhatIsDone(t *testing.T) {
	for _, slow := range []bool{false, true} {
		p, early := &page{}, 0
		var late []func()
		l := New(Options{Source: p, Lock: &sync.Mutex{}, Most: 1 << 20,
			Later: func(_ time.Duration, f func()) { late = append(late, f) },
			Early: func() { early++ }, Warn: func(string, ...any) {}})
		x := l.Lane("lane")
		x.Pass(1, time.Now())
		var done []string
		for i := range 3 {
			l.Append(rooms.Target{Namespace: "/"}, rooms.Event{}, func(p rooms.Place) { done = append(done, fmt.Sprint("event ", i, " at ", uint64(p))) })
			l.After(x, 0, func() { done = append(done, fmt.Sprint("behind ", i)) })
		}
		if len(done) > 0 || !x.Busy() {
			t.Fatalf("%q are done before anything was read", done)
		}
		want := []string{"event 0 at 10", "behind 0", "event 1 at 20", "behind 1", "event 2 at 30", "behind 2"}
		if slow {
			want = []string{"event 0 at 0", "behind 0", "event 1 at 0", "behind 1", "event 2 at 0", "behind 2"}
			late[0]()
		}
		for i, n := range p.appended {
			l.Returned(x, n, rooms.Place(10*(i+1)))
		}
		if waiting, ahead := x.Held(); !slices.Equal(done, want) || waiting != 0 || ahead != 0 || slow != (early == 3) {
			t.Errorf("slow: %t: done %q, want %q; %d and %d bytes are held, %d were early", slow, done, want, waiting, ahead, early)
		}
	}
}

// What waits behind an event is bounded by the bytes that it keeps, events or not.
func TestWhatWaitsInALaneIsBounded(t *testing.T) {
	p, said := &page{}, 0
	l := New(Options{Source: p, Lock: &sync.Mutex{}, Most: 1 << 20,
		Later: func(time.Duration, func()) {}, Early: func() {}, Warn: func(string, ...any) { said++ }})
	x := l.Lane("lane")
	x.Pass(1, time.Now())
	l.Append(rooms.Target{Namespace: "/"}, rooms.Event{}, func(rooms.Place) {})
	const each = 1 << 20
	done := 0
	for range 2 * maxAheadBytes / each {
		l.After(x, each, func() { done++ })
		if waiting, _ := x.Held(); waiting > maxAheadBytes+each {
			t.Fatalf("%d bytes wait", waiting)
		}
	}
	if done != 2*maxAheadBytes/each || said != 1 || !x.Slow() {
		t.Errorf("%d are done, said %d times, slow: %t", done, said, x.Slow())
	}
}

// Events for one socket go with it: those that its client may not have had, unless
// some are not kept any more.
func TestDirectsGoWithTheirSocket(t *testing.T) {
	l := New(Options{Source: &page{}})
	x := l.Lane("lane")
	send := func() string { return l.Send(x, 7, rooms.Event{Data: []byte(`["e",1]`)}, false) }
	if offset := send(); offset != "" {
		t.Errorf("the offset is %q before the lane is known", offset)
	}
	var offsets []string
	for _, place := range []rooms.Place{5 << 20, 6 << 20} {
		x.Pass(place, time.Now())
		offsets = append(offsets, send(), send())
	}
	if want := []string{"5-0.1", "5-0.2", "6-0.1", "6-0.2"}; !slices.Equal(offsets, want) {
		t.Errorf("offsets are %q, want %q", offsets, want)
	}
	events, ok := l.Directs.Take(7, 6<<20)
	again, sound := ParseDirects(AppendDirects(events))
	if !ok || !sound || len(again) != 2 || again[0].Spot != "6-0.1" || string(again[1].Data) != `["e",1]` {
		t.Errorf("%d go with it (%t, %t), want the last two", len(again), ok, sound)
	}
	send()
	l.Directs.Prune(time.Hour, 0)
	if _, ok := l.Directs.Take(7, 6<<20); ok {
		t.Error("what was dropped is not missed")
	}
}

func TestSpotsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "1-2.", "1-2.0", "1-2.x", "1-2.99999999999", "x.1"} {
		if s, ok := ParseSpot(text); ok {
			t.Errorf("ParseSpot(%q) = %v", text, s)
		}
	}
	for _, text := range []string{"1-2", "1-2.3"} {
		if s, ok := ParseSpot(text); !ok || s.String() != text {
			t.Errorf("ParseSpot(%q) = %v, %t", text, s, ok)
		}
	}
}
