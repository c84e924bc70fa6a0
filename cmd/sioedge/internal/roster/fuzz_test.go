package roster

import (
	"encoding/json"
	"testing"
	"time"
)

// What another server says may be anything. It is refused, or does no harm: none panics, what
// is kept has its bound, and so has what is to be done for it.
func FuzzMessage(f *testing.F) {
	for _, m := range []message{
		{Kind: here, Run: 1, Hello: true, Holds: []hold{{"n9", 1, 7, false}}, To2: []target{{"n0", 1}}},
		{Kind: rows, Run: 1, To2: []target{{"n0", 1}}, Upto: 2, Base: 1_700_000_000_000, Places: [][]string{{"default", "/r/:id", "/r/1", "id", "1"}}, SIDs: []string{"a", "b"}, Users: []string{"u", ""},
			At: []int{0, 0}, Born: []int64{10, 20}, Extras: []extra{{Row: 0, Left: 5, Due: 100, Reason: "x", Recoverable: true, Claimed: "n2"}, {Row: 1, Removed: true}}},
		{Kind: ack, Run: 1, To: "n0", Of: 1, Epoch: 1, Upto: 1},
		{Kind: ack, Run: 1, To: "n0", Of: 1, Epoch: 1, Lacks: true},
		{Kind: claims, Run: 1, SIDs: []string{"s0"}, Hops: []uint32{1 << 31}},
		{Kind: answers, Run: 1, To: "n0", Of: 1, Waits: []string{"s1"}, Here: []string{"s1"}, None: []string{"s1"}, Not: []string{"s0"}, Yields: []yielded{{"s1", 2, 1, true, 5}}},
		{Kind: took, Run: 1, SIDs: []string{"s0", "s1"}, Gens: []uint32{0, 7}, Hops: []uint32{9, 9}},
		{Kind: gone, Run: 1, To: "n0", Of: 1, SIDs: []string{"s0"}, Gens: []uint32{0}, All: true},
		{Kind: heard, Run: 1, To: "n0", Of: 1, SIDs: []string{"a"}},
		{Kind: bye, Run: 1},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		now := time.Unix(1_700_000_000, 0)
		o := testRules()
		o.entries = 16
		b := newBook("n0", 1, o)
		place := placeKey{backend: "default", route: "/r/:id", namespace: "/r/1", params: paramsKey([]string{"id", "1"})}
		come := func(sid string, recovered bool) {
			b.came(&arrival{sid: sid, at: place, names: []string{"id", "1"}, recovered: recovered, tell: true, keep: true}, now)
		}
		come("s0", false)
		come("s1", true)
		for _, body := range [][]byte{one, two, one} {
			var m message
			if len(body) > 1<<20 || json.Unmarshal(body, &m) != nil {
				continue
			}
			_ = b.hear("n1", &m, now)
			b.left("s0", parting{reason: "x", left: now.UnixMilli(), recoverable: true}, 0, now)
			for range 3 {
				now = now.Add(15 * time.Second) // which is silence enough to be lost
				b.step(now)
			}
			come("s0", true)
			for _, e := range b.out {
				if e.say != nil {
					if raw, err := json.Marshal(e.say); err != nil || e.say.check() != nil || len(raw) > 1<<20 {
						t.Fatalf("it says %s: %v, %v", raw, err, e.say.check())
					}
				}
			}
			if len(b.out) > 1000 || b.copied() > 2*o.entries || len(b.own.entries) > 2 || len(b.waiting) > 2*o.entries+2 {
				t.Fatalf("%d effects, %d copies, %d entries, %d wait", len(b.out), b.copied(), len(b.own.entries), len(b.waiting))
			}
			b.out = nil
		}
	})
}
