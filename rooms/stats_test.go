package rooms

import (
	"reflect"
	"testing"
)

func TestStatsSayWhatALoopHasAndDid(t *testing.T) {
	r := newRig()
	r.add([]uint32{1, 2, 3}, "a")
	r.add([]uint32{4})
	r.l.Join(9, 1, "early") // before it is connected
	want := func(when string, want Stats) {
		t.Helper()
		if got := r.l.Stats(); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
	}
	want("sockets and rooms", Stats{Members: 4, Memberships: 4, Sets: 3, Joins: 4})
	b := Broadcast{To: []string{"a"}, Size: 680}
	r.publish("1", b)
	r.publish("2", b)
	r.publish("3", Broadcast{Except: []string{"a"}, Size: 680})
	r.publish("4", Broadcast{To: []string{"nobody"}, Size: 680})
	want("three broadcasts", Stats{Members: 4, Memberships: 4, Sets: 3, Joins: 4, Queued: 3, QueuedBytes: 3000, Broadcasts: 3})
	if got := r.dir.Stats(); got.Rooms != 2 || got.Namespaces != 1 || got.Waiting != 3000 || got.Shards < 1 || got.Shards > 2 {
		t.Errorf("directory: %+v, want two rooms, a namespace and 3000 bytes", got)
	}
	r.l.Remove(1) // has its own first
	want("one has gone", Stats{Members: 3, Memberships: 3, Sets: 3, Joins: 4, Leaves: 1, Queued: 3, QueuedBytes: 3000, Broadcasts: 3, CaughtUp: 1})
	r.l.CatchUp(2)
	r.all()
	want("all visited", Stats{Members: 3, Memberships: 3, Sets: 3, Joins: 4, Leaves: 1, Broadcasts: 3, CaughtUp: 2, Runs: 2, Visited: 3, Skipped: 1})
	for _, slot := range []uint32{2, 3, 4, 9} {
		r.l.Remove(slot)
	}
	want("nobody is left", Stats{Joins: 4, Leaves: 4, Broadcasts: 3, CaughtUp: 2, Runs: 2, Visited: 3, Skipped: 1})
	if got := r.dir.Stats(); got != (DirectoryStats{}) {
		t.Errorf("directory: %+v, want nothing", got)
	}
}

// Add leaves no field out.
func TestStatsAddAllFields(t *testing.T) {
	var one, sum Stats
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanInt() {
			f.SetInt(int64(i + 1))
		} else {
			f.SetUint(uint64(i + 1))
		}
	}
	sum.Add(one)
	sum.Add(one)
	for i := range v.NumField() {
		f := reflect.ValueOf(sum).Field(i)
		if got := f.Interface(); f.CanInt() && f.Int() != int64(2*(i+1)) || f.CanUint() && f.Uint() != uint64(2*(i+1)) {
			t.Errorf("%s = %v after adding %d twice", v.Type().Field(i).Name, got, i+1)
		}
	}
}

// A broadcast counts once in the directory, however many loops it waits for, and
// until the last has visited its members.
func TestWaitingEndsWithTheLastLoop(t *testing.T) {
	const loops = 5
	d := NewDirectory(loops)
	for i := range loops {
		d.Local(i).OnDeliver(func(uint32, *Run, int, bool) {})
		d.Local(i).Add(1, 1, 1)
	}
	for range 10 {
		d.Publish(&Broadcast{Namespace: 1, Size: 680}, func(i int, b *Broadcast) { d.Local(i).Enqueue(b) })
	}
	for i := range loops {
		if got := d.Waiting(); got != 10_000 {
			t.Errorf("%d bytes wait before loop %d has visited its members, want 10000", got, i)
		}
		for d.Local(i).Step(100) {
		}
	}
	if got := d.Waiting(); got != 0 {
		t.Errorf("%d bytes wait when all have visited their members", got)
	}
}
