package rooms

import (
	"fmt"
	"runtime"
	"testing"
)

// crowd returns two loops, each with half of n sockets connected and in as many
// rooms as named by rooms.
func crowd(n int, rooms func(i int) []string) *Directory {
	d := NewDirectory(2)
	for i := range n {
		l, slot := d.Local(i%2), uint32(i/2+1)
		l.Add(slot, 1, 1)
		for _, name := range rooms(i) {
			l.Join(slot, 1, name)
		}
	}
	return d
}

func TestStepAllocatesNothingByRecipient(t *testing.T) {
	const members = 20_000
	d := crowd(2*members, func(i int) []string {
		names := []string{"all", room(i / 2 % 3)}
		if i/2%1000 == 0 {
			names = append(names, "few")
		}
		return names
	})
	l := d.Local(0)
	delivered := 0
	l.OnDeliver(func(uint32, *Run, int, bool) { delivered++ })
	for _, tt := range []struct {
		name string
		b    Broadcast
		want int
	}{
		{"everybody", Broadcast{}, members},
		{"a room", to("all"), members},
		{"a room but one socket", Broadcast{To: []string{"all"}, ExceptRefs: []Ref{MakeRef(0, 77, 1)}}, members - 1},
		{"two rooms", to(room(0), room(1)), members/3*2 + 2},
		{"all but a room", Broadcast{Except: []string{"few"}}, members - members/1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := func() {
				b := tt.b
				b.Namespace = 1
				d.Publish(&b, func(i int, b *Broadcast) {
					if i == 0 {
						l.Enqueue(b)
					}
				})
			}
			run()
			delivered = 0
			allocs := testing.AllocsPerRun(20, func() { l.Step(512) })
			if allocs != 0 {
				t.Errorf("Step allocates %v times, want 0", allocs)
			}
			for l.Step(512) {
			}
			if delivered != tt.want {
				t.Errorf("%d deliveries, want %d", delivered, tt.want)
			}
			// The broadcast, its run, and what the closure here makes.
			if allocs := testing.AllocsPerRun(5, func() {
				run()
				for l.Step(512) {
				}
			}); allocs > 4 {
				t.Errorf("a broadcast allocates %v times, want at most 4", allocs)
			}
		})
	}
}

func TestCatchUpAndEachAllocateNothing(t *testing.T) {
	d := crowd(5000, func(i int) []string { return []string{"all", room(i % 7), room(i % 5), room(i % 3), "more"} })
	l := d.Local(0)
	l.OnDeliver(func(uint32, *Run, int, bool) {})
	for _, name := range []string{"all", "more", "all"} {
		d.Publish(&Broadcast{Namespace: 1, To: []string{name}}, func(i int, b *Broadcast) {
			if i == 0 {
				l.Enqueue(b)
			}
		})
	}
	slot := uint32(0)
	l.CatchUp(2500) // makes the scratch space
	if allocs := testing.AllocsPerRun(100, func() { slot++; l.CatchUp(slot) }); allocs != 0 {
		t.Errorf("CatchUp allocates %v times, want 0", allocs)
	}
	n := 0
	if allocs := testing.AllocsPerRun(10, func() { l.EachIn(1, "all", func(uint32) bool { n++; return true }) }); allocs != 0 {
		t.Errorf("EachIn allocates %v times, want 0", allocs)
	}
}

// heap returns the live bytes and objects that make leaves behind.
func heap(make func() any) (bytes, objects float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := make()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc), float64(after.HeapObjects) - float64(before.HeapObjects)
}

// Budgets of memory, which do not depend on the machine.
func TestMemoryOfSocketsAndRooms(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("makes a million sockets, several times")
	}
	const n = 1_000_000
	base, _ := heap(func() any { return crowd(n, func(int) []string { return nil }) })
	for _, tt := range []struct {
		name    string
		rooms   func(i int) []string
		over    float64 // bytes that are not counted: the sockets themselves
		count   float64 // of what the bytes and objects are given for
		bytes   float64 // at most
		objects float64 // at most
	}{
		{"socket in one room of all", func(int) []string { return []string{"all"} }, 0, n, 60, 0.02},
		{"socket in three rooms of 1000, scattered", func(i int) []string {
			return []string{names[i%1000], names[1000+i/7%1000], names[2000+i/13%1000]}
		}, 0, n, 60, 0.05},
		{"socket in six rooms of 10,000", func(i int) []string {
			r := i % 95
			return []string{names[r], names[r+1], names[r+2], names[r+3], names[r+4], names[r+5]}
		}, 0, n, 100, 0.06},
		{"membership of rooms of ten", func(i int) []string { return []string{fmt.Sprint("chat:", i%(n/10))} }, base, n, 60, 0.8},
		{"room of one member", func(i int) []string {
			if i%4 != 0 {
				return nil
			}
			return []string{fmt.Sprint("user:", i)}
		}, base, n / 4, 250, 3},
	} {
		bytes, objects := heap(func() any { return crowd(n, tt.rooms) })
		bytes, objects = (bytes-tt.over)/tt.count, objects/tt.count
		t.Logf("%s: %.1f bytes, %.4f objects", tt.name, bytes, objects)
		if bytes > tt.bytes || objects > tt.objects {
			t.Errorf("%s: %.1f bytes, %.4f objects, want at most %v, %v", tt.name, bytes, objects, tt.bytes, tt.objects)
		}
	}
}

var names = func() (names []string) {
	for i := range 3000 {
		names = append(names, room(i))
	}
	return names
}()

func BenchmarkBroadcast(b *testing.B) {
	for _, members := range []int{1, 100, 10_000, 100_000} {
		d := NewDirectory(1)
		l := d.Local(0)
		n := 0
		l.OnDeliver(func(uint32, *Run, int, bool) { n++ })
		for i := range members {
			l.Add(uint32(i+1), 1, 1)
			l.Join(uint32(i+1), 1, "all")
			l.Join(uint32(i+1), 1, []string{"odd", "even"}[i%2])
		}
		for _, tt := range []struct {
			name string
			b    Broadcast
		}{
			{"room", to("all")},
			{"union", to("odd", "even")},
			{"except", Broadcast{To: []string{"all"}, Except: []string{"odd"}}},
		} {
			b.Run(fmt.Sprintf("%s/members=%d", tt.name, members), func(b *testing.B) {
				n = 0
				for b.Loop() {
					x := tt.b
					x.Namespace = 1
					d.Publish(&x, func(_ int, x *Broadcast) { l.Enqueue(x) })
					for l.Step(512) {
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(n, 1)), "ns/recipient")
			})
		}
	}
}

// A chat under load: each message to a room is followed by one to its sender,
// which catches up, while many rooms' messages wait.
func BenchmarkCatchUp(b *testing.B) {
	for _, pending := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			const sockets = 50_000
			d := NewDirectory(1)
			l := d.Local(0)
			l.OnDeliver(func(uint32, *Run, int, bool) {})
			for i := range sockets {
				l.Add(uint32(i+1), 1, 1)
				l.Join(uint32(i+1), 1, room(i%10_000))
			}
			i := 0
			for b.Loop() {
				r := i % 10_000
				d.Publish(&Broadcast{Namespace: 1, To: []string{room(r)}}, func(_ int, x *Broadcast) { l.Enqueue(x) })
				l.CatchUp(uint32(r + 1))
				if i++; i%pending == 0 {
					b.StopTimer()
					for l.Step(512) {
					}
					b.StartTimer()
				}
			}
		})
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	d := crowd(100_000, func(int) []string { return []string{"all"} })
	l := d.Local(0)
	for _, name := range []string{"all", "alone"} {
		b.Run("room="+name, func(b *testing.B) {
			slot := uint32(0)
			for b.Loop() {
				slot = slot%50_000 + 1
				if !l.Leave(slot, 1, name) {
					l.Join(slot, 1, name)
				}
			}
		})
	}
}
