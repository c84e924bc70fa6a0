package rooms

import (
	"testing"

	"github.com/sioedge/sioedge/loop/histogram"
)

func histogramOf(values ...int64) (h histogram.Histogram) {
	for _, v := range values {
		h.Add(v)
	}
	return h
}

// How many recipients a broadcast has, and what times it takes, is of all loops together,
// whoever has caught up before its turn, and told once.
func TestSpreadOfBroadcasts(t *testing.T) {
	const loops = 3
	d := NewDirectory(loops)
	clock, got := int64(0), 0
	var ended []any
	for i := range loops {
		l := d.Local(i)
		l.OnDeliver(func(uint32, *Run, int, bool) { clock += 10; got++ })
		l.Measure(func() int64 { return clock / 100 * 100 }, func() int64 { return clock }, func(b *Broadcast) { ended = append(ended, b.Owner) })
		for slot := range uint32(2 * (i + 1)) { // 2, 4 and 6 members
			l.Join(slot, 1, "room")
			l.Add(slot, 1, 1)
		}
	}
	spread := func() (sum Spread) {
		for i := range loops {
			x := d.Local(i).Spread()
			sum.Add(&x)
		}
		return sum
	}
	publish := func(b Broadcast) {
		b.Namespace = 1
		d.Publish(&b, func(i int, b *Broadcast) { d.Local(i).Enqueue(b) })
	}
	visit := func() {
		for i := range loops {
			for d.Local(i).Step(3) {
			}
		}
	}
	clock = 1000
	publish(Broadcast{To: []string{"room"}, Since: 950, Owner: "first"})
	publish(Broadcast{To: []string{"room"}, Since: 960, Owner: "second"}) // one run with it
	publish(Broadcast{Owner: "not measured"})
	publish(Broadcast{To: []string{"nobody"}, Since: 970, Owner: "nobody"})
	publish(Broadcast{To: []string{"room"}, Except: []string{"room"}, Since: 980, Owner: "all left out"})
	d.Local(2).CatchUp(3)
	if spread() != (Spread{}) || clock != 1020 {
		t.Fatalf("before its turn: %+v", spread())
	}
	visit()
	want := Spread{Recipients: histogramOf(12, 12)}
	x := spread()
	if x.Recipients != want.Recipients || x.Waited.Count() != 3*3 || x.Took.Count() != 2 {
		t.Errorf("Spread() = %+v, want two broadcasts to 12 each, and the waits of three in each loop", x)
	}
	if last := clock - 6*10; x.Took.Total < 2*last-950-960-200 || x.Took.Total > 2*clock-950-960 {
		t.Errorf("they took %d µs together, with the last recipient at about %d", x.Took.Total, last)
	}
	if len(ended) != 2 || ended[0] != "first" || ended[1] != "second" {
		t.Errorf("visited was called for %v, want the first and the second", ended)
	}

	// One whose recipients have gone is for nobody; of others, those that are there count.
	publish(Broadcast{To: []string{"room"}, Since: clock, Owner: "third"})
	for i := range loops {
		for slot := range uint32(2 * (i + 1)) {
			d.Local(i).Leave(slot, 1, "room") // has its own first
		}
	}
	visit()
	if x := spread(); x.Recipients != histogramOf(12, 12, 12) || len(ended) != 3 {
		t.Errorf("Recipients = %+v, and %v has ended", x.Recipients, ended)
	}
	x, clock = spread(), 5000
	d.Local(0).Join(1, 1, "room")
	publish(Broadcast{To: []string{"room"}, Since: 4500})
	clock = 5310
	visit()
	y := spread()
	if n := y.Waited.Total - x.Waited.Total; n != 800 {
		t.Errorf("it waited for %d µs, want 800: until 5300, the beginning of the step", n)
	}
	if n := y.Took.Total - x.Took.Total; n != 820 {
		t.Errorf("it took %d µs, want 820", n)
	}
}

// Rooms are counted by their namespace, from the first member to the last.
func TestRoomsOfNamespaces(t *testing.T) {
	d := NewDirectory(2)
	for ns := range uint32(3) {
		for room := range ns * 10 {
			for i := range 2 {
				d.Local(i).Join(ns, ns, string(rune('a'+room)))
			}
		}
	}
	d.Expect(0, 7, "expected")
	got := d.RoomsOf()
	if len(got) != 3 || got[1] != 10 || got[2] != 20 || got[7] != 1 {
		t.Errorf("RoomsOf() = %v, want 10, 20 and 1", got)
	}
	d.Local(0).Arrived(7, "expected")
	for ns := range uint32(3) {
		d.Local(0).Remove(ns)
	}
	if got := d.RoomsOf(); len(got) != 2 || got[1] != 10 || got[2] != 20 {
		t.Errorf("RoomsOf() = %v, want those with members on the other loop", got)
	}
	for ns := range uint32(3) {
		d.Local(1).Remove(ns)
	}
	if got := d.RoomsOf(); len(got) != 0 {
		t.Errorf("RoomsOf() = %v when all have left", got)
	}
}
