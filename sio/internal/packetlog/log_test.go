package packetlog

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A parcel is a message of so many bytes, with further forms.
type parcel struct {
	size    int
	further *atomic.Int64
	counted int64
	data    []byte
	forms   [][]byte
}

func newParcel(size int) *parcel { return &parcel{size: size, data: make([]byte, size)} }

// parcelBytes is what one takes beside its bytes, about.
const parcelBytes = 64

func (p *parcel) Size() int { return p.size }

func (p *parcel) Keep(further *atomic.Int64) int64 {
	p.further = further
	return parcelBytes + int64(p.size)
}

func (p *parcel) Drop() { p.further.Add(-p.counted) }

// form makes a further form.
func (p *parcel) form() {
	p.forms = append(p.forms, make([]byte, p.size))
	p.counted += int64(p.size)
	p.further.Add(int64(p.size))
}

// A dated is a log whose clock the test moves.
type dated struct {
	*Log
	counts    *Counts
	revisions Revisions
	time      int64 // ms
}

func newDated(o Options) *dated {
	d := &dated{time: 1, counts: &Counts{}}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	o.Proof, o.Counts, o.Revisions = 66*time.Second, d.counts, &d.revisions
	o.Now = func() int64 { return d.time }
	o.Named = func(string) (rooms.Ref, bool) { return 0, false }
	d.Log = New(o)
	return d
}

// after moves the clock, and has the log looked after.
func (d *dated) after(seconds int) {
	d.time += int64(seconds) * 1000
	for more := true; more; {
		more, _ = d.Tick()
	}
}

// emit emits an event to everybody, of so many bytes, and returns its offset.
func (d *dated) emit(size int) (offset string) {
	var o [OffsetLen]byte
	d.Append(Entry{Name: "/", Message: newParcel(size)}, o[:])
	return string(o[:])
}

// leave has a client go that is known to have had everything up to a place.
func (d *dated) leave(proven uint64) {
	d.Save(&Saved{Socket: Socket{Name: "/", PID: "p", ID: "i", Ref: 7, Home: 7, From: proven}}, 0)
}

// back returns how many events the client gets that it has missed; -1: it is a
// new one.
func (d *dated) back(offset *string) int {
	s, from := d.Claim("/", "p", "", offset, 0)
	if s == nil {
		return -1
	}
	g := d.Gather(s, from, 1<<20)
	for !g.Step() {
		continue
	}
	missed, ok, _ := g.Finish(1 << 20)
	if !ok {
		return -1
	}
	return len(missed)
}

// An idle client's last event may be long gone from the log: what followed was
// not for it, or it would have had it.
func TestRecoveryOfAnIdleClientWithAnOldOffset(t *testing.T) {
	d := newDated(Options{Window: 2 * time.Minute})
	old := d.emit(1)
	d.after(1000)
	d.emit(1)
	d.after(1000)
	d.emit(1)
	d.after(7000)
	d.leave(3) // a pong has come since
	d.after(10)
	d.emit(1)
	d.after(10)
	d.emit(1)
	d.after(80)
	if d.entries.first != 4 {
		t.Fatalf("the first event kept is %d, want 4", d.entries.first)
	}
	if n := d.back(&old); n != 2 {
		t.Errorf("it has missed %d events, want 2", n)
	}
}

func TestRecoveryOfWhatItsBytesCost(t *testing.T) {
	for _, test := range []struct {
		name   string
		proven uint64
		want   int
	}{
		{"it may lack what was dropped", 1, -1},
		{"what was dropped had been received before it left", 2, 2},
	} {
		d := newDated(Options{Window: 2 * time.Minute, MaxBytes: 10_000})
		first := d.emit(1)
		d.emit(1)
		d.leave(test.proven)
		d.emit(1)
		d.emit(10_000 - 2*(1+int(entryBytes+parcelBytes)) - int(d.away.bytes)) // the second is too many
		if d.entries.first != 3 || d.counts.Dropped != 2 {
			t.Fatalf("%s: the first event kept is %d, %d were dropped", test.name, d.entries.first, d.counts.Dropped)
		}
		if n := d.back(&first); n != test.want {
			t.Errorf("%s: missed %d, want %d; %+v", test.name, n, test.want, d.counts)
		}
	}
}

// What a client lacks is kept for its time, from when it was emitted, and not
// from when it last left. Nobody else's events are kept for it.
func TestRecoveryOfWhoFlaps(t *testing.T) {
	d := newDated(Options{Window: 10 * time.Second})
	offset := d.emit(1)
	d.leave(1)
	for i := 1; ; i++ {
		d.emit(1)
		d.after(5)
		n := d.back(&offset)
		if n < 0 {
			if lived := 5 * i; lived < 70 || lived > 80 || d.counts.Unknown+d.counts.Lost != 1 {
				t.Errorf("it was a new one after %d s, want 76: window and proof; %+v", lived, d.counts)
			}
			break
		}
		if n != i {
			t.Fatalf("back after %d s: %d events, want all %d", 5*i, n, i)
		}
		d.away.back(d.away.byPID["p"])
		d.leave(1) // it has received nothing of that
	}
	if d.after(100); d.entries.len() != 0 || d.held() != 0 || d.armed || d.away.first() != nil {
		t.Errorf("%d events and %d bytes are kept for nobody", d.entries.len(), d.held())
	}
}

// Without anybody who is away, what is kept is what those may lack who are there.
func TestRecoveryKeepsWhatIsNeeded(t *testing.T) {
	d := newDated(Options{Window: time.Hour})
	d.emit(1)
	d.after(int(d.o.Proof/time.Second) + 1)
	if d.entries.len() != 0 {
		t.Errorf("%d events are kept for nobody", d.entries.len())
	}
	d.emit(1)
	d.leave(d.Last() - 1)
	for range 30 {
		d.after(100)
		d.emit(1)
	}
	if n := d.back(nil); n != 31 {
		t.Errorf("it has missed %d, want 31", n)
	}
}
