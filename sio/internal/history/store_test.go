package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A note is a message of a test.
type note struct {
	text    string
	further *atomic.Int64
	extra   int64
	gone    bool
}

func (n *note) Remember(further *atomic.Int64) int64 {
	n.further = further
	return int64(len(n.text)) + 48
}

func (n *note) Forget() {
	if n.gone {
		panic("forgotten twice")
	}
	n.gone = true
	n.further.Add(-n.extra)
}

// grow makes a further form.
func (n *note) grow(by int64) {
	n.extra += by
	n.further.Add(by)
}

type notes struct{}

func (notes) Event(_ string, m Message) (rooms.Event, bool) {
	return rooms.Event{Data: []byte(m.(*note).text)}, true
}

func (notes) Message(_ string, e rooms.Event) Message { return &note{text: string(e.Data)} }

// A dated is a store whose clock the test moves.
type dated struct {
	*Store
	ms int64
}

func newDated(o Options) *dated {
	d := &dated{ms: 1}
	d.Store = New(o, notes{}, func() int64 { return d.ms })
	return d
}

func (d *dated) put(text string, names ...string) *note {
	n := &note{text: text}
	x := &Item{Message: n}
	if len(names) > 1 {
		x.Rooms = names
	}
	d.Add("/", names, x)
	return n
}

func (d *dated) has(room string) string {
	var all []string
	for _, x := range d.Last(nil, "/", room, math.MaxInt, math.MaxUint64) {
		all = append(all, x.Message.(*note).text)
	}
	return strings.Join(all, " ")
}

func (d *dated) want(t *testing.T, room, want string) {
	t.Helper()
	if got := d.has(room); got != want {
		t.Errorf("room %s has %q, want %q", room, got, want)
	}
}

func TestStoreKeepsTheLastOfEachRoom(t *testing.T) {
	d := newDated(Options{Size: 2, MaxBytes: 1 << 20})
	first := d.put("1", "a")
	d.put("2", "a", "b")
	d.put("3", "a")
	d.put("4", "b", "c")
	d.want(t, "a", "2 3")
	d.want(t, "b", "2 4")
	d.want(t, "c", "4")
	if !first.gone {
		t.Error("what no room has is not forgotten")
	}
	all := d.Last(nil, "/", "a", 9, math.MaxUint64)
	all = InOrder(d.Last(all, "/", "b", 9, math.MaxUint64))
	if len(all) != 3 || all[0].Message.(*note).text != "2" || all[2].Message.(*note).text != "4" {
		t.Errorf("both rooms have %d events", len(all))
	}
	if got := d.Last(nil, "/", "b", 1, 2); len(got) != 2 {
		t.Errorf("the last one up to a place and all behind it are %d, want 2", len(got))
	}
	d.Configure(Options{Size: 1, MaxBytes: 1 << 20})
	d.want(t, "a", "3")
	d.Configure(Options{Size: 1})
	if st := d.Stats(); st.Bytes+st.Rooms+st.Events != 0 || st.Kept != 4 || st.Evicted == 0 {
		t.Errorf("Stats without room: %+v", st)
	}
}

func TestStoreForgetsWhatIsOld(t *testing.T) {
	d := newDated(Options{Size: 9, TTL: time.Second, MaxBytes: 1 << 20})
	old := d.put("1", "a")
	d.put("2", "b")
	d.ms += 600
	d.put("3", "a")
	d.ms += 399
	d.want(t, "a", "1 3")
	d.ms++
	d.want(t, "a", "3")
	if !old.gone {
		t.Error("what is too old is kept")
	}
	d.put("4", "c") // which looks at others, too
	if st := d.Stats(); st.Rooms != 2 || st.Events != 2 || st.Expired != 2 {
		t.Errorf("Stats: %+v", st)
	}
	d.ms += 10_000
	if more := d.Sweep(); more || d.Stats().Bytes != 0 {
		t.Errorf("%+v is left", d.Stats())
	}
}

// The oldest event goes first, whichever room it is of, and what is counted is what is
// held.
func TestStoreCountsWhatIsHeld(t *testing.T) {
	const most = 2 << 20
	for name, names := range map[string]func(i int) []string{
		"one room":           func(int) []string { return []string{"r"} },
		"many rooms":         func(i int) []string { return []string{fmt.Sprintf("a room with a name that is not short %d", i)} },
		"several rooms each": func(i int) []string { return []string{fmt.Sprint("r", i), fmt.Sprint("s", i), "t"} },
	} {
		d := newDated(Options{Size: 1 << 20, MaxBytes: most})
		before := heap()
		for i := range 30_000 {
			n := d.put(strings.Repeat("x", 100), names(i)...)
			if i%2 == 0 {
				n.grow(100)
			}
		}
		st, took := d.Stats(), heap()-before
		if st.Bytes > most || st.Bytes < most*9/10 || float64(took) > 1.3*float64(st.Bytes)+300_000 || float64(took) < 0.4*float64(st.Bytes) {
			t.Errorf("%s: %d bytes are held, counted as %d of %d", name, took, st.Bytes, most)
		}
		if first := d.oldest.item.Place; d.newest.item.Place != 30_000 || first < 10_000 {
			t.Errorf("%s: the events from %d on are kept", name, first)
		}
		for d.oldest != nil {
			d.drop(d.oldest)
		}
		if st := d.Stats(); st.Bytes != 0 || st.Rooms != 0 {
			t.Errorf("%s: at the end %+v", name, st)
		}
		runtime.KeepAlive(d)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestOverlap(t *testing.T) {
	for _, test := range []struct {
		name         string
		theirs, mine string
		want         int
	}{
		{"nothing of mine", "abc", "", 3},
		{"nothing in common", "abc", "de", 3},
		{"mine follow on", "abcd", "cde", 2},
		{"theirs are ahead", "abcde", "cd", 2},
		{"the longest", "abab", "abab", 0},
		{"another order at the end", "abdc", "cde", 2},
		{"all mine", "cd", "cde", 0},
		{"nothing of theirs", "", "ab", 0},
	} {
		codes := func(s string) (all []uint64) {
			for _, c := range s {
				all = append(all, uint64(c))
			}
			return all
		}
		if got := Overlap(codes(test.theirs), codes(test.mine)); got != test.want {
			t.Errorf("%s: %d of theirs are not mine, want %d", test.name, got, test.want)
		}
	}
}

// Whatever a server has missed, and whenever another answers: together they have a
// piece of what was emitted, to its end.
func TestMergeIsAPieceOfTheWhole(t *testing.T) {
	for range 2000 {
		size := 1 + rand.IntN(12)
		d := newDated(Options{Size: size, MaxBytes: 1 << 20})
		var whole []string
		emit := func(n int, heard bool) {
			for range n {
				d.ms++
				text := fmt.Sprintf("[\"%d\"]", len(whole))
				whole = append(whole, text)
				if heard {
					d.put(text, "r")
				}
			}
		}
		d.Occupied("/", "r", true)
		emit(rand.IntN(5), true)
		d.Occupied("/", "r", false)
		emit(rand.IntN(20), false)
		d.Occupied("/", "r", true)
		emit(rand.IntN(4), true)
		f, _ := d.begin("/", "r")
		p := &past{Room: "r"}
		for _, text := range whole[max(0, len(whole)-size):] {
			p.Events = append(p.Events, pastEvent{event: rooms.Event{Data: []byte(text)}})
		}
		emit(rand.IntN(4), true)
		d.end("/", "r", f, p, true)
		got := strings.Fields(d.has("r"))
		if n := len(got); n < min(size, len(whole)) || !slices.Equal(got, whole[len(whole)-n:]) {
			t.Fatalf("of size %d: %q, want the end of %q", size, got, whole)
		}
		if !d.Fresh("/", "r") || len(d.flights) != 0 {
			t.Fatal("it would ask again")
		}
		d.Configure(Options{})
	}
}

// Servers of which each has its own events first: what both have in another order comes
// once.
func TestMergeOfAnotherOrder(t *testing.T) {
	d := newDated(Options{Size: 10, MaxBytes: 1 << 20})
	d.put("[0]", "r")
	d.put("[1]", "r")
	d.Occupied("/", "r", true)
	f, _ := d.begin("/", "r")
	p := &past{Room: "r"}
	for _, text := range []string{"[1]", "[0]", "[2]", "[0]"} {
		p.Events = append(p.Events, pastEvent{event: rooms.Event{Data: []byte(text)}})
	}
	d.end("/", "r", f, p, true)
	d.want(t, "r", "[0] [1] [2] [0]")
}
