package history

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/freight"
)

// A porter carries notes.
type porter struct{}

func (porter) Pack(m Message) freight.Message {
	return freight.Message{Frames: []byte(m.(*note).text), Tail: 1}
}

func (porter) Unpack(instance string, m freight.Message) (Message, error) {
	if m.Tail != 1 || instance == "" {
		return nil, errors.New("another message")
	}
	return &note{text: string(m.Frames)}, nil
}

// moved returns the store in another process, whose clock is another. Of its rooms those
// have members that some say.
func (d *dated) moved(t testing.TB, o Options, occupied ...string) *dated {
	t.Helper()
	data, err := d.Export(porter{})
	if err != nil {
		t.Fatal(err)
	}
	next := newDated(o)
	next.ms = 1<<40 + rand.Int64N(1000)
	next.put("when it began, for nobody", "a")
	if err := next.Import(porter{}, data); err != nil {
		t.Fatal(err)
	}
	for _, name := range occupied {
		next.Occupied("/", name, true)
	}
	next.Settle(func(_, room string) bool { return slices.Contains(occupied, room) })
	return next
}

// described says what there is of rooms, in order.
func (d *dated) described() string {
	var b strings.Builder
	for i := range 5 {
		var all []*Item
		for k := range i + 1 {
			all = d.Last(all, "/", fmt.Sprint("r", k), 1000, d.place)
		}
		for _, x := range InOrder(all) {
			fmt.Fprint(&b, x.Message.(*note).text, x.Place, x.Rooms, x.Except, x.Local, x.Merged, d.ms-x.At, " ")
		}
		fmt.Fprint(&b, d.Fresh("/", fmt.Sprint("r", i)), d.age("/", fmt.Sprint("r", i)), "\n")
	}
	return b.String()
}

// What is kept of rooms is the same, however often it has gone to another process
// meanwhile: model and store are told the same.
func TestAHistoryGoesOnInAnotherProcess(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := Options{Size: 4, TTL: time.Minute, MaxBytes: 1 << 20}
		model, store := newDated(o), newDated(o)
		both := func(f func(d *dated)) { f(model); f(store) }
		both(func(d *dated) { d.ms = 1 << 30 })
		members := map[string]bool{}
		for i := range 200 {
			room, n := fmt.Sprint("r", r.IntN(5)), r.IntN(20)
			switch r.IntN(8) {
			case 0, 1, 2:
				both(func(d *dated) {
					d.Add("/", []string{room}, &Item{Message: &note{text: fmt.Sprintf("[\"%d\"]", i)}, Except: []string{"x"}, Local: n%2 == 0})
				})
			case 3:
				names := []string{"r0", "r3", fmt.Sprint("r", 1+n%2)}
				both(func(d *dated) {
					d.Add("/", names, &Item{Message: &note{text: fmt.Sprintf("[\"%d\"]", i)}, Rooms: names})
				})
			case 4:
				members[room] = !members[room]
				both(func(d *dated) { d.Occupied("/", room, members[room]) })
			case 5:
				both(func(d *dated) {
					f, _ := d.begin("/", room)
					p := &past{Room: room, Stale: int64(n % 3 * 1000)}
					for k := range n % 5 {
						text := []byte(fmt.Sprintf("[\"%d\"]", i-5+k))
						p.Events = append(p.Events, pastEvent{Age: int64(1000 - k), event: rooms.Event{Data: text}})
					}
					d.end("/", room, f, p, members[room])
				})
			case 6:
				both(func(d *dated) { d.ms += int64(n) * 500; d.Sweep() })
			default:
				var occupied []string
				for name, yes := range members {
					if yes {
						occupied = append(occupied, name)
					}
				}
				store = store.moved(t, o, occupied...)
			}
			if a, b := model.described(), store.described(); a != b {
				t.Fatalf("seed %d, step %d:\n%s\nwant:\n%s", seed, i, b, a)
			}
			if model.Stats() != store.Stats() {
				t.Fatalf("seed %d, step %d: %+v, want %+v", seed, i, store.Stats(), model.Stats())
			}
		}
	}
}

// The successor's own bounds hold, and a room whose members have stayed behind is not what
// others would be asked for no more.
func TestBoundsOfAHistoryThatHasMoved(t *testing.T) {
	d := newDated(Options{Size: 100, TTL: time.Hour, MaxBytes: 1 << 20})
	d.put("old", "a")
	d.ms += 10_000
	for i := range 20 {
		d.put(strings.Repeat("x", 100), "a", fmt.Sprint("b", i))
	}
	d.Occupied("/", "a", true)
	f, _ := d.begin("/", "a")
	d.end("/", "a", f, nil, true)
	if st := d.moved(t, Options{Size: 5, MaxBytes: 1 << 20}, "a").Stats(); st.Events != 25 || st.Rooms != 21 {
		t.Errorf("of five events a room: %+v", st)
	}
	if st := d.moved(t, Options{Size: 100, TTL: 9 * time.Second, MaxBytes: 1 << 20}, "a").Stats(); st.Events != 40 || st.Expired != 1 {
		t.Errorf("of nine seconds: %+v", st)
	}
	if st := d.moved(t, Options{Size: 100, MaxBytes: 3000}, "a").Stats(); st.Bytes > 3000 || st.Events < 2 || st.Evicted == 0 {
		t.Errorf("of 3000 bytes: %+v", st)
	}
	if !d.moved(t, d.o, "a").Fresh("/", "a") || d.moved(t, d.o).Fresh("/", "a") {
		t.Error("a room is fresh without members, or is not with them")
	}
}

// What another process sends is refused, or it is a history with its bounds.
func TestBrokenHistories(t *testing.T) {
	data, err := filled(20).Export(porter{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if imported(t, data[:n]) == nil {
			t.Fatalf("%d of %d bytes are a history", n, len(data))
		}
	}
	if imported(t, append(bytes.Clone(data), 0)) == nil {
		t.Error("with a byte more it is a history")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		broken := bytes.Clone(data)
		for range 1 + r.IntN(3) {
			broken[r.IntN(len(broken))] = byte(r.Uint32())
		}
		_ = imported(t, broken)
	}
}

func filled(n int) *dated {
	d := newDated(Options{Size: 100, MaxBytes: 1 << 30})
	for i := range n {
		d.ms += 10
		names := []string{fmt.Sprint("r", i%7), fmt.Sprint("s", i%3)}[:1+i%2]
		d.put(fmt.Sprintf("[\"%d\"]", i), names...)
		if i%5 == 0 {
			d.Occupied("/", names[0], i%2 == 0)
		}
	}
	return d
}

// imported imports a history that may be none, and uses it.
func imported(t testing.TB, data []byte) error {
	const most = 1 << 12
	d := newDated(Options{Size: 10, MaxBytes: most})
	d.ms = 1 << 20
	if err := d.Import(porter{}, data); err != nil {
		return err
	}
	d.Settle(func(_, room string) bool { return len(room)%2 == 0 })
	if st := d.Stats(); st.Bytes > most && st.Events > 0 {
		t.Fatalf("%d bytes are held of %d", st.Bytes, most)
	}
	d.put("[]", "r1", "r2")
	for k := range d.rooms {
		d.Last(nil, k.instance, k.room, 3, d.place)
		d.Occupied(k.instance, k.room, false)
	}
	for d.oldest != nil {
		d.drop(d.oldest.room.links[0])
	}
	if st := d.Stats(); st.Bytes != 0 || d.further.Load() != 0 {
		t.Fatalf("%+v is left", st)
	}
	return nil
}

func FuzzImportHistory(f *testing.F) {
	for _, n := range []int{0, 1, 20, 600} {
		data, err := filled(n).Export(porter{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = imported(t, data) })
}
