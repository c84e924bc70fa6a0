package rooms

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A rig is one loop that writes down its deliveries.
type rig struct {
	dir  *Directory
	l    *Local
	log  []string // "slot:messages", with a + where more was said
	runs []*Run
}

func newRig() *rig {
	r := &rig{dir: NewDirectory(1)}
	r.l = r.dir.Local(0)
	r.l.OnDeliver(func(slot uint32, run *Run, from int, more bool) {
		var s strings.Builder
		fmt.Fprintf(&s, "%d:", slot)
		for _, b := range run.Broadcasts[from:] {
			s.WriteString(b.Message.(string))
		}
		if more {
			s.WriteByte('+')
		}
		r.log, r.runs = append(r.log, s.String()), append(r.runs, run)
	})
	return r
}

// add connects sockets to namespace 1 and puts them into rooms.
func (r *rig) add(slots []uint32, rooms ...string) {
	for _, slot := range slots {
		if rec := r.l.record(slot); rec == nil || rec.all == 0 {
			r.l.Add(slot, 1, 1)
		}
		for _, room := range rooms {
			r.l.Join(slot, 1, room)
		}
	}
}

// publish enqueues a broadcast in namespace 1, and says whether it was posted.
func (r *rig) publish(message string, b Broadcast) (posted bool) {
	b.Namespace, b.Message = 1, message
	r.dir.Publish(&b, func(_ int, b *Broadcast) {
		posted = true
		r.l.Enqueue(b)
	})
	return posted
}

// all steps to the end.
func (r *rig) all() {
	for r.l.Step(512) {
	}
}

func (r *rig) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(r.log, want) {
		t.Fatalf("deliveries %q, want %q", r.log, want)
	}
	r.log = nil
}

func to(rooms ...string) Broadcast { return Broadcast{To: rooms} }

func TestConsecutiveMessagesForTheSameSocketsAreOneRun(t *testing.T) {
	r := newRig()
	r.add([]uint32{3, 1}, "a")
	r.add([]uint32{2}, "b")
	r.publish("1", to("a"))
	r.publish("2", to("a"))
	r.publish("3", to("b"))
	r.publish("4", to("a"))
	r.publish("5", Broadcast{To: []string{"a"}, Volatile: true})
	r.all()
	r.expect(t, "1:12+", "3:12+", "2:3+", "1:4+", "3:4+", "1:5", "3:5")
}

func TestRunEndsAtItsBounds(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	for range MaxRunMessages + 2 {
		r.publish("m", to("a"))
	}
	r.all()
	r.expect(t, "1:"+strings.Repeat("m", MaxRunMessages)+"+", "1:mm")

	for _, size := range []int{MaxRunBytes / 2, MaxRunBytes / 2, 1, MaxRunBytes + 1, MaxRunBytes, 0} {
		r.publish(fmt.Sprint(size, " "), Broadcast{To: []string{"a"}, Size: size})
	}
	r.all()
	r.expect(t, "1:32768 32768 +", "1:1 +", "1:65537 +", "1:65536 0 ")
}

func TestWhatComesAfterTheFirstVisitIsTheNextRun(t *testing.T) {
	r := newRig()
	r.add([]uint32{1, 2, 3}, "a")
	r.publish("1", to("a"))
	r.l.Step(1)
	r.publish("2", to("a"))
	r.publish("3", to("a"))
	r.all()
	r.expect(t, "1:1", "2:1+", "3:1+", "1:23", "2:23", "3:23")
	if r.runs[0] != r.runs[2] || r.runs[0] == r.runs[3] {
		t.Errorf("a run is not one address")
	}
}

func TestEachSocketOnceHoweverManyRoomsMatch(t *testing.T) {
	r := newRig()
	r.add([]uint32{1, 4097, 9}, "a", "b", "c")
	r.add([]uint32{2, 5000}, "b")
	r.add([]uint32{7}, "out")
	r.add([]uint32{4097}, "out")
	r.publish("x", Broadcast{To: []string{"a", "b", "c", "a", "none"}, Except: []string{"out", "none"},
		ToRefs: []Ref{MakeRef(0, 7, 1), MakeRef(0, 2, 1)}, ExceptRefs: []Ref{MakeRef(0, 9, 1)}})
	r.all()
	r.expect(t, "1:x", "2:x", "5000:x")
}

func TestBroadcastToNobodyIsNotToEverybody(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	if r.publish("1", to("none")) || r.publish("2", Broadcast{ToRefs: []Ref{0, MakeRef(1, 1, 1)}}) {
		t.Errorf("Publish posted what is for nobody")
	}
	r.publish("3", Broadcast{ToRefs: []Ref{MakeRef(0, 1, 2), MakeRef(0, 99999, 1), MakeRef(0, 2, 1)}}) // stale, unknown
	if r.l.Pending() {
		t.Errorf("Pending() = true with nothing for anybody")
	}
	r.publish("4", Broadcast{})
	r.all()
	r.expect(t, "1:4")
}

func TestSocketOfAnotherNamespaceIsNotReachedByItsRef(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	r.l.Add(2, 1, 8)
	r.l.Join(2, 8, "a")
	r.publish("x", Broadcast{To: []string{"a"}, ToRefs: []Ref{MakeRef(0, 2, 1)}})
	r.all()
	r.expect(t, "1:x")
	if got := r.dir.Count(8, "a"); got != 1 {
		t.Errorf("Count(8, a) = %d, want 1", got)
	}
}

func TestSocketGetsNothingBeforeItIsConnected(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	r.l.Join(2, 1, "a")
	r.publish("1", to("a"))
	r.l.Add(2, 1, 1)
	r.publish("2", to("a"))
	r.all()
	r.expect(t, "1:12", "2:2")
	r.l.Join(3, 1, "b") // refused by a middleware
	r.l.Remove(3)
	if n := r.dir.Count(1, "b"); n != 0 || r.l.Rooms(3) != nil {
		t.Errorf("Count(b), Rooms = %d, %q after Remove, want none", n, r.l.Rooms(3))
	}
}

func TestChangeOfASocketDeliversFirstWhatItHasNotHad(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *rig)
		want   []string
	}{
		{"leave", func(r *rig) { r.l.Leave(2, 1, "a") }, []string{"2:1", "1:1", "3:1"}},
		{"remove", func(r *rig) { r.l.Remove(2) }, []string{"2:1", "1:1", "3:1"}},
		{"direct message", func(r *rig) { r.l.CatchUp(2) }, []string{"2:1", "1:1", "3:1"}},
		{"join of an excepted room", func(r *rig) { r.l.Join(2, 1, "muted") }, []string{"2:1", "1:1", "3:1"}},
		{"join of one not in the room", func(r *rig) { r.l.Join(4, 1, "a") }, []string{"1:1", "2:1", "3:1"}},
		{"leave of an excepted room", func(r *rig) { r.l.Leave(5, 1, "muted") }, []string{"1:1", "2:1", "3:1"}},
		{"new socket", func(r *rig) { r.add([]uint32{6}, "a") }, []string{"1:1", "2:1", "3:1"}},
		{"new socket in the slot of one that has left", func(r *rig) {
			r.l.Remove(2)
			r.l.Add(2, 2, 1)
			r.l.Join(2, 1, "a")
		}, []string{"2:1", "1:1", "3:1"}},
		{"all leave, and others come", func(r *rig) {
			for slot := range uint32(6) {
				r.l.Remove(slot)
			}
			r.add([]uint32{7}, "a", "muted")
		}, []string{"1:1", "2:1", "3:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.add([]uint32{1, 2, 3, 5}, "a")
			r.add([]uint32{4, 5}, "muted")
			r.publish("1", Broadcast{To: []string{"a"}, Except: []string{"muted"}})
			tt.change(r)
			r.all()
			r.expect(t, tt.want...)
		})
	}
}

// A socket that catches up does not end the run for the others.
func TestCatchingUpLeavesTheRunOpen(t *testing.T) {
	r := newRig()
	r.add([]uint32{1, 2, 3}, "a")
	r.publish("1", to("a"))
	r.publish("2", to("a"))
	r.l.CatchUp(2)
	r.l.CatchUp(3)
	r.l.CatchUp(3)
	r.publish("3", to("a"))
	r.l.CatchUp(3)
	r.all()
	r.expect(t, "2:12", "3:12", "3:3", "1:123", "2:3")
}

// The cursor stands in the middle of a block whose members have all left.
func TestStepGoesOnBehindABlockThatIsEmptyNow(t *testing.T) {
	for _, b := range []Broadcast{to("a", "b"), to("a"), {To: []string{"a"}, Except: []string{"c"}}} {
		r := newRig()
		r.add([]uint32{100, 200, blockLen + 1, 3*blockLen + 50}, "a", "b")
		r.add([]uint32{7}, "c")
		r.publish("1", b)
		r.l.Step(1)
		r.l.Leave(100, 1, "a")
		r.l.Leave(100, 1, "b")
		r.l.Remove(200)
		r.all()
		r.expect(t, "100:1", "200:1", "4097:1", "12338:1")
	}
}

func TestRoomMadeAnewIsAnotherRoom(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	b := &Broadcast{Namespace: 1, To: []string{"a"}, Message: "old"}
	r.dir.Publish(b, func(int, *Broadcast) {}) // in the mailbox
	r.l.Remove(1)
	r.add([]uint32{2}, "a")
	r.l.Enqueue(b)
	r.publish("new", to("a"))
	r.all()
	r.expect(t, "2:new")
}

func TestExpectedJoinIsFoundByPublish(t *testing.T) {
	d := NewDirectory(3)
	posted := func(b Broadcast) (loops []int) {
		b.Namespace = 1
		d.Publish(&b, func(i int, _ *Broadcast) { loops = append(loops, i) })
		return loops
	}
	d.Expect(2, 1, "a")
	d.Expect(2, 1, "a")
	d.Expect(1, 1, "a")
	if got := posted(to("a")); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("posted to %v, want 1 and 2", got)
	}
	if n, names := d.Count(1, "a"), d.Names(1); n != 0 || len(names) != 0 {
		t.Errorf("Count, Names = %d, %q while nobody has joined, want none", n, names)
	}
	l := d.Local(2)
	l.Join(1, 1, "a")
	l.Leave(1, 1, "a")
	l.Arrived(1, "a")
	if got := posted(to("a")); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("posted to %v with a join still expected, want 1 and 2", got)
	}
	l.Arrived(1, "a")
	d.Local(1).Join(1, 1, "a")
	d.Local(1).Arrived(1, "a")
	if got := posted(to("a")); !slices.Equal(got, []int{1}) {
		t.Errorf("posted to %v, want 1", got)
	}
	mustPanic(t, "Arrived without Expect", func() { l.Arrived(1, "a") })
}

// Order rests on this: while Publish posts, no other Publish to any of the rooms
// can, nor can a loop become a member.
func TestRoomsAreLockedWhilePublishPosts(t *testing.T) {
	d := NewDirectory(2)
	for i := range 2 {
		d.Local(i).Add(1, 1, 1)
		d.Local(i).Join(1, 1, "a")
	}
	shard := func(name string) uint32 { return shardOf(d.hash(key{ns: 1, name: name, everyone: name == ""})) }
	for _, tt := range []struct {
		b     Broadcast
		names []string
	}{
		{Broadcast{}, []string{""}},
		{to("a", "none", "a"), []string{"a", "none"}},
		{Broadcast{To: []string{"a"}, Except: []string{"x", "y"}}, []string{"a", "x", "y"}},
	} {
		want, posts := map[uint32]bool{}, 0
		for _, name := range tt.names {
			want[shard(name)] = true
		}
		locked := func() map[uint32]bool {
			got := map[uint32]bool{}
			for i := range d.shards {
				if d.shards[i].mu.TryLock() {
					d.shards[i].mu.Unlock()
				} else {
					got[uint32(i)] = true
				}
			}
			return got
		}
		tt.b.Namespace = 1
		d.Publish(&tt.b, func(i int, _ *Broadcast) {
			posts++
			if got := locked(); !maps.Equal(got, want) {
				t.Errorf("To %q, Except %q: shards %v locked while posting to %d, want %v", tt.b.To, tt.b.Except, got, i, want)
			}
		})
		if got := locked(); posts != 2 || len(got) > 0 {
			t.Errorf("To %q: %d posts, shards %v locked afterwards, want 2 and none", tt.b.To, posts, got)
		}
	}
	mustPanic(t, "Publish with a post that panics", func() {
		d.Publish(&Broadcast{Namespace: 1}, func(int, *Broadcast) { panic("broken") })
	})
	if got := d.CountAll(1); got != 2 { // does not hang
		t.Errorf("CountAll() = %d, want 2", got)
	}
}

func TestAllLoopsHaveTheirBit(t *testing.T) {
	d := NewDirectory(256)
	var want []int
	for i := 0; i < 256; i += 37 {
		d.Local(i).Add(1, 1, 1)
		d.Local(i).Join(1, 1, "a")
		want = append(want, i)
	}
	for len(want) > 0 {
		for _, b := range []*Broadcast{{Namespace: 1}, {Namespace: 1, To: []string{"a"}}} {
			var got []int
			d.Publish(b, func(i int, _ *Broadcast) { got = append(got, i) })
			if !slices.Equal(got, want) {
				t.Fatalf("posted to %v, want %v", got, want)
			}
		}
		if got := d.CountAll(1); got != len(want) {
			t.Fatalf("CountAll() = %d, want %d", got, len(want))
		}
		d.Local(want[0]).Remove(1)
		want = want[1:]
	}
	if names := d.Names(1); len(names) != 0 {
		t.Errorf("Names() = %q when all have left, want none", names)
	}
}

func TestRefHoldsItsParts(t *testing.T) {
	for _, tt := range []struct {
		loop      int
		slot, gen uint32
	}{{0, 1, 0}, {255, 1<<32 - 1, 1<<24 - 1}, {7, 1 << 20, 77}, {1, 0, 1<<31 | 5}} {
		r := MakeRef(tt.loop, tt.slot, tt.gen)
		if r.Loop() != tt.loop || r.Slot() != tt.slot || r.Gen() != tt.gen&(1<<24-1) {
			t.Errorf("MakeRef(%d, %d, %d) = %d, %d, %d", tt.loop, tt.slot, tt.gen, r.Loop(), r.Slot(), r.Gen())
		}
	}
}

func TestEachVisitsThoseConnectedInSlotOrder(t *testing.T) {
	r := newRig()
	var want []uint32
	for i := range uint32(300) {
		slot := (i*7919)%5000 + 1
		r.add([]uint32{slot}, "a")
		want = append(want, slot)
	}
	slices.Sort(want)
	r.l.Join(6000, 1, "a") // not connected
	var got []uint32
	note := func(slot uint32) bool { got = append(got, slot); return true }
	if r.l.EachIn(1, "a", note); !slices.Equal(got, want) {
		t.Errorf("EachIn visits %d, want %d in order", len(got), len(want))
	}
	got = nil
	if r.l.Each(1, note); !slices.Equal(got, want) {
		t.Errorf("Each visits %d, want %d in order", len(got), len(want))
	}
	got = nil
	if r.l.Each(2, note); got != nil {
		t.Errorf("Each of a namespace with nobody visits %v", got)
	}
	got = nil
	r.l.EachIn(1, "a", func(slot uint32) bool { got = append(got, slot); return len(got) < 3 })
	if !slices.Equal(got, want[:3]) {
		t.Errorf("EachIn goes on to %v after false, want %v", got, want[:3])
	}
	got = nil
	r.l.Each(1, func(slot uint32) bool { // each takes itself and its neighbour out
		got = append(got, slot)
		i, _ := slices.BinarySearch(want, slot)
		r.l.Remove(slot)
		r.l.Remove(want[i+1])
		return true
	})
	if len(got) != 150 || r.dir.CountAll(1) != 0 {
		t.Errorf("visited %d with %d left, want 150 and none", len(got), r.dir.CountAll(1))
	}
}

func TestEachEndsWithTheRoom(t *testing.T) {
	r := newRig()
	for slot := range uint32(200) {
		r.add([]uint32{slot + 1}, "a")
	}
	visited := 0
	r.l.EachIn(1, "a", func(uint32) bool {
		visited++
		for slot := range uint32(200) {
			r.l.Leave(slot+1, 1, "a")
		}
		return true
	})
	if visited != 1 {
		t.Errorf("EachIn visited %d, want 1", visited)
	}
}

func TestPanicOfADelivererLosesOnlyItsDelivery(t *testing.T) {
	r := newRig()
	r.add([]uint32{1, 2, 3}, "a")
	deliver := r.l.deliver
	r.l.OnDeliver(func(slot uint32, run *Run, from int, more bool) {
		if slot == 2 {
			panic("broken")
		}
		deliver(slot, run, from, more)
	})
	r.publish("1", to("a"))
	mustPanic(t, "Step", r.all)
	r.all()
	r.expect(t, "1:1", "3:1")
	r.publish("2", to("a"))
	mustPanic(t, "CatchUp", func() { r.l.CatchUp(2) })
	r.all()
	r.expect(t, "1:2", "3:2")
}

func TestMisuseIsFoundAtOnce(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "a")
	mustPanic(t, "NewDirectory(0)", func() { NewDirectory(0) })
	mustPanic(t, "NewDirectory(257)", func() { NewDirectory(257) })
	mustPanic(t, "a second Add", func() { r.l.Add(1, 1, 1) })
	mustPanic(t, "a slot that is too high", func() { r.l.Add(1<<31, 1, 1) })
	for name, f := range map[string]func(){
		"Add":     func() { r.l.Add(9, 1, 1) },
		"Remove":  func() { r.l.Remove(1) },
		"Join":    func() { r.l.Join(1, 1, "b") },
		"Leave":   func() { r.l.Leave(1, 1, "a") },
		"CatchUp": func() { r.l.CatchUp(1) },
		"Enqueue": func() { r.l.Enqueue(&Broadcast{}) },
		"Step":    func() { r.l.Step(1) },
	} {
		r.l.OnDeliver(func(uint32, *Run, int, bool) { mustPanic(t, name+" from Deliver", f) })
		r.publish("x", to("a"))
		r.all()
	}
}

func mustPanic(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s returned, want a panic", name)
		}
	}()
	f()
}

// What waits is counted until the last member has been visited, and once, however
// it ends.
func TestWaitingIsCounted(t *testing.T) {
	r := newRig()
	r.add([]uint32{1, 2, 3}, "a")
	if r.publish("0", Broadcast{To: []string{"nobody"}, Size: 1000}); r.dir.Waiting() != 0 {
		t.Errorf("%d bytes wait for nobody", r.dir.Waiting())
	}
	b := Broadcast{To: []string{"a"}, Size: 1000}
	r.publish("1", b)
	r.publish("2", b)
	b.To = nil
	r.publish("3", b)
	if got := r.dir.Waiting(); got < 3000 || got > 5000 {
		t.Errorf("%d bytes wait, want those of three messages", got)
	}
	r.l.CatchUp(2) // who has had it before the others
	r.l.Remove(3)
	r.all()
	if got := r.dir.Waiting(); got != 0 {
		t.Errorf("%d bytes wait when all have been visited", got)
	}
	late := Broadcast{Namespace: 1, To: []string{"a"}, Message: "4", Size: 1000}
	r.dir.Publish(&late, func(int, *Broadcast) {})
	r.l.Remove(1)
	r.l.Remove(2) // before it comes to the loop
	r.l.Enqueue(&late)
	r.all()
	if got := r.dir.Waiting(); got != 0 {
		t.Errorf("%d bytes wait for a room that has gone", got)
	}
}
