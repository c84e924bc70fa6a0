package packetlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/freight"
)

// A porter carries parcels. Owners are strings, and so is the rest of a socket.
type porter struct{ forget string }

func (porter) Pack(m Message) freight.Message {
	return freight.Message{Frames: m.(*parcel).data, Tail: 1, Plain: true, Kind: &class.Kind{Policy: class.Conflate, Key: "k"}}
}

func (porter) Unpack(_ string, m freight.Message) (Message, error) {
	if m.Tail != 1 || !m.Plain || m.Kind == nil || m.Kind.Key != "k" {
		return nil, errors.New("another message")
	}
	return &parcel{size: len(m.Frames), data: m.Frames}, nil
}

func (porter) Label(owner any) string {
	label, _ := owner.(string)
	return label
}

func (p porter) Labelled(label string) any {
	if label != "" && label == p.forget {
		return nil
	}
	return label
}

func (porter) PackRest(s *Saved) ([]byte, error) { return []byte(s.Rest.(string)), nil }

func (porter) UnpackRest(s *Saved, p []byte) error {
	if string(p) == "broken" {
		return errors.New("broken")
	}
	s.Rest = string(p)
	return nil
}

// moved returns the log in another process, whose clock is another, with other options.
func (d *dated) moved(t testing.TB, o Options, more ...*Saved) *dated {
	t.Helper()
	data := d.exported(t, more...)
	next := newDated(o)
	next.time = rand.Int64N(1 << 30)
	next.index.seed, next.index.salt = d.index.seed, d.index.salt // names that share a bucket do so there
	next.emit(100)                                                // when it began, for nobody
	if err := next.Import(porter{}, data); err != nil {
		t.Fatal(err)
	}
	return next
}

func (d *dated) exported(t testing.TB, more ...*Saved) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Export(&b, porter{}, more); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// labelled returns a parcel that can be told from others.
func labelled(i, size int) *parcel {
	p := newParcel(max(size, 8))
	copy(p.data, fmt.Sprintf("%08d", i))
	return p
}

// gathered claims a socket, and returns what it has missed, and its rooms.
func (d *dated) gathered(pid string, offset *string) string {
	s, from := d.Claim("/", pid, "me", offset, 0)
	if s == nil {
		return "nobody"
	}
	g := d.Gather(s, from, 1<<20)
	for !g.Step() {
		continue
	}
	missed, ok, last := g.Finish(1 << 20)
	if !ok || !last {
		return "too late"
	}
	var b strings.Builder
	for _, m := range missed {
		b.Write(m.(*parcel).data[:8])
		b.WriteByte(' ')
	}
	fmt.Fprint(&b, g.Rooms(), s.Rest, s.Identity, s.Expires)
	d.Back(s)
	return b.String()
}

// What clients get who come back is the same however often the log has gone to another
// process meanwhile: model and log are told the same.
func TestALogGoesOnInAnotherProcess(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := Options{Window: 100 * time.Second, MaxBytes: 1 << 20}
		model, log := newDated(o), newDated(o)
		log.nonce, log.index.seed, log.index.salt = model.nonce, model.index.seed, model.index.salt
		both := func(f func(d *dated)) { f(model); f(log) }
		room := func() string { return fmt.Sprintf("r%d", r.IntN(4)) }
		ref := func() rooms.Ref { return rooms.Ref(1 + r.IntN(6)) }
		offsets := map[rooms.Ref]string{}
		moves := 0
		for i := range 400 {
			var offset [OffsetLen]byte
			switch x, who, name, n := r.IntN(12), ref(), room(), r.IntN(50); x {
			case 0, 1, 2:
				e := [...]Entry{
					{Name: "/"}, {Name: "/", Room: name}, {Name: "/", Ref: who}, {Name: "/", Room: name, Except: who}, {Name: "/other", Room: name},
					{Name: "/", To: &Audience{Rooms: []string{name, "r9"}, Refs: []rooms.Ref{who}, Except: []string{room()}}},
					{Name: "/", To: &Audience{All: true, ExceptRefs: []rooms.Ref{who}, Except: []string{name}}},
				}[r.IntN(7)]
				both(func(d *dated) {
					e := e
					if e.To != nil {
						to := *e.To
						e.To = &to
					}
					e.Message = labelled(i, n)
					d.Append(e, offset[:])
				})
				offsets[who] = string(offset[:])
			case 3, 4:
				from := model.Last() - min(model.Last(), uint64(r.IntN(20)))
				both(func(d *dated) {
					d.Save(&Saved{Socket: Socket{Name: "/", ID: fmt.Sprint("id", who), PID: fmt.Sprint("p", who), Identity: "me", Rooms: []string{name, "always"},
						Ref: who, Home: who, From: from, Expires: int64(n)}, Owner: "/", Rest: "data"}, 0)
				})
			case 5:
				both(func(d *dated) { d.ReviseRef(who, rooms.Joined+rooms.Op(n%2), []string{name}, d.Last()) })
			case 6:
				both(func(d *dated) { d.Changed("/", who, name, n%2 == 0, d.Last(), d.entries.first-1) })
			case 7:
				both(func(d *dated) { d.after(n / 10) })
			case 8, 9:
				var had *string
				if text, ok := offsets[who]; ok && n%2 == 0 {
					had = &text
				}
				a, b := model.gathered(fmt.Sprint("p", who), had), log.gathered(fmt.Sprint("p", who), had)
				if a != b {
					t.Fatalf("seed %d, step %d, after %d handovers: %s, want %s", seed, i, moves, b, a)
				}
			case 10:
				if s := model.away.byPID[fmt.Sprint("p", who)]; s != nil && n < 10 {
					model.Claim("/", s.PID, "me", nil, 0)
					model.Unclaim(s)
				}
			default:
				if n < 20 {
					if next := log.moved(t, o); n%4 > 0 { // else it is called off
						log = next
						moves++
					}
				}
			}
			if model.Last() != log.Last() || model.away.count != log.away.count || model.bytes != log.bytes {
				t.Fatalf("seed %d, step %d, after %d handovers: place %d, %d away, %d bytes, want %d, %d, %d", seed, i, moves,
					log.Last(), log.away.count, log.bytes, model.Last(), model.away.count, model.bytes)
			}
		}
		if model.after(1000); model.held() != 0 {
			t.Fatal("the model keeps something for ever")
		}
		if log.after(1000); log.held() != 0 || log.away.first() != nil || log.armed {
			t.Fatalf("seed %d: %d bytes are kept for ever", seed, log.held())
		}
	}
}

// Offsets that clients have are right, and those that follow: an empty log's, too.
func TestOffsetsOfALogThatHasMoved(t *testing.T) {
	d := newDated(Options{Window: time.Minute})
	one := d.emit(1)
	two := d.emit(1)
	d.leave(1)
	d = d.moved(t, d.o)
	three := d.emit(1)
	if one[:5] != three[:5] || two[5:] >= three[5:] {
		t.Fatalf("offsets %s, %s, and %s in another process", one, two, three)
	}
	if n := d.back(&two); n != 1 {
		t.Errorf("who has had two of three has missed %d", n)
	}
	d.after(1000)
	if d = d.moved(t, d.o); d.entries.len() != 0 || d.Last() != 3 || d.emit(1)[5:] <= three[5:] {
		t.Errorf("the log is at %d with %d entries, want 4 and 1", d.Last(), d.entries.len())
	}
}

// Whose client is coming back, or has come back and may not have had everything, is known
// to a successor as one that is away, or has come back.
func TestSocketsThatAreOnTheirWayBack(t *testing.T) {
	d := newDated(Options{Window: time.Minute})
	d.emit(1)
	d.leave(0)
	if s, _ := d.Claim("/", "p", "", nil, 0); s == nil {
		t.Fatal("it is not there")
	}
	next := d.moved(t, d.o)
	if n := next.back(nil); n != 1 {
		t.Fatalf("who was coming back has missed %d, want 1", n)
	}
	next.Back(next.away.byPID["p"])
	next.after(50)
	last := next.moved(t, d.o)
	last.after(9)
	if last.entries.len() != 1 || last.away.first() == nil || last.away.count != 0 {
		t.Errorf("%d entries are kept for who has come back, and %d are away, want 1 and 0", last.entries.len(), last.away.count)
	}
	last.leave(0)
	if n := last.back(nil); n != 1 {
		t.Errorf("who had not had it when it came back has missed %d, want 1", n)
	}
}

// Time goes on, and the successor's own bounds hold.
func TestBoundsOfALogThatHasMoved(t *testing.T) {
	d := newDated(Options{Window: time.Minute})
	first := d.emit(1)
	d.leave(0)
	d.after(59)
	if n := d.moved(t, d.o).back(&first); n != 0 {
		t.Errorf("a second before its time it has missed %d, want 0", n)
	}
	late := d.moved(t, d.o)
	if late.after(2); late.back(&first) != -1 {
		t.Error("it is back when its time is over")
	}
	if d.moved(t, Options{Window: 30 * time.Second}).back(&first) != -1 {
		t.Error("it is back when its time is over where the time is shorter")
	}
	for i := range 1000 {
		d.emit(1000)
		d.Save(&Saved{Socket: Socket{Name: "/", PID: fmt.Sprint(i), ID: "i", Ref: rooms.Ref(i + 8), Home: rooms.Ref(i + 8), From: d.Last()}, Owner: "/"}, 0)
	}
	const most = 200_000
	small := d.moved(t, Options{Window: time.Minute, MaxBytes: most})
	if small.held() > most || small.held() < most/3 || small.away.bytes > most/2 || small.counts.Dropped == 0 || small.counts.Evicted == 0 {
		t.Errorf("%d bytes are held, %d of them sockets, of %d; %+v", small.held(), small.away.bytes, most, *small.counts)
	}
	if small.Last() != d.Last() {
		t.Errorf("the last place is %d, want %d", small.Last(), d.Last())
	}
}

// A socket whose namespace the successor has not is not kept. One that stays with the old
// process is as if it had left now.
func TestSocketsOfALogThatHasMoved(t *testing.T) {
	d := newDated(Options{Window: time.Minute})
	d.emit(1)
	d.Save(&Saved{Socket: Socket{Name: "/", PID: "p", ID: "i", Ref: 7, Home: 7}, Owner: "gone"}, 0)
	data := d.exported(t, &Saved{Socket: Socket{Name: "/", PID: "q", ID: "j", Ref: 9, Home: 8, From: 1}, Owner: "/"})
	next := newDated(d.o)
	next.time = 1 << 40
	if err := next.Import(porter{forget: "gone"}, data); err != nil {
		t.Fatal(err)
	}
	if next.back(nil) != -1 {
		t.Error("a socket of no namespace is kept")
	}
	next.after(59)
	if s, from := next.Claim("/", "q", "", nil, 0); s == nil || from != 1 || s.ID != "j" || s.Home != 8 {
		t.Errorf("what stays is kept as %+v from %d", s, from)
	}
}

// Who stays with the process that went has offsets of another log: nobody takes them for
// the successor's.
func TestOffsetsOfALogWhoseSuccessorHasIt(t *testing.T) {
	d := newDated(Options{Window: time.Minute})
	before := d.emit(1)
	d.leave(0)
	next := d.moved(t, d.o)
	d.Part()
	after := d.emit(1)
	if d.entries.len() != 1 || d.away.first() != nil {
		t.Errorf("%d entries are kept, and sockets, by who has given them away", d.entries.len())
	}
	next.emit(1)
	if after[5:] <= before[5:] || next.back(&after) != -1 {
		t.Error("who has had an event of the process that went misses another one")
	}
	if next.back(&before) != 1 {
		t.Error("who has had none of them is not back")
	}
}

// TestBrokenLogs: what another process sends is refused, or it is a log with its bounds.
func TestBrokenLogs(t *testing.T) {
	data := full(40).exported(t)
	for n := range data {
		if imported(t, data[:n]) == nil {
			t.Fatalf("%d of %d bytes are a log", n, len(data))
		}
	}
	if imported(t, append(bytes.Clone(data), 0)) == nil {
		t.Error("with a byte more it is a log")
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

// full returns a log of so many entries, with sockets.
func full(n int) *dated {
	d := newDated(Options{Window: time.Hour, MaxBytes: 1 << 30})
	var offset [OffsetLen]byte
	for i := range n {
		who, name := rooms.Ref(1+i%50), fmt.Sprint("r", i%7)
		e := [...]Entry{
			{Name: "/"}, {Name: "/", Room: name}, {Name: "/", Ref: who}, {Name: "/", Room: name, Except: who},
			{Name: "/", To: &Audience{Rooms: []string{name, "r9"}, Refs: []rooms.Ref{who}, Except: []string{"r1"}}},
		}[i%5]
		e.Message = labelled(i, 100)
		d.Append(e, offset[:])
		if i%10 == 0 {
			d.Save(&Saved{Socket: Socket{Name: "/", ID: fmt.Sprint("id", who), PID: fmt.Sprint("p", who), Identity: "me", Rooms: []string{name}, Ref: who, Home: who, From: d.Last() / 2}, Owner: "/", Rest: "data"}, 0)
			d.ReviseRef(who, rooms.Joined, []string{"r3"}, d.Last())
		}
		d.time += 3
	}
	return d
}

// imported imports a log that may be none, and uses it.
func imported(t testing.TB, data []byte) error {
	const most = 1 << 16
	d := newDated(Options{Window: time.Hour, MaxBytes: most})
	d.time = 1 << 20
	err := d.Import(porter{}, data)
	if err != nil {
		return err
	}
	if d.held() > most && d.entries.len() > 1 || d.away.bytes > most/2 {
		t.Fatalf("%d bytes are held of %d, %d entries, %d bytes of sockets", d.held(), most, d.entries.len(), d.away.bytes)
	}
	d.emit(10)
	for pid := range d.away.byPID {
		_ = d.gathered(pid, nil)
	}
	d.after(10_000)
	if d.held() != 0 {
		t.Fatalf("%d bytes are held for ever", d.held())
	}
	return nil
}

func FuzzImportLog(f *testing.F) {
	for _, n := range []int{0, 1, 20, 300} {
		f.Add(full(n).exported(f))
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = imported(t, data) })
}

func BenchmarkLogGoes(b *testing.B) {
	d := full(100_000)
	b.Run("Export", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.SetBytes(int64(len(d.exported(b))))
		}
	})
	b.Run("Import", func(b *testing.B) {
		data := d.exported(b)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if err := newDated(d.o).Import(porter{}, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
