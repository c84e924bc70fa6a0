package sio

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
)

// A dated is a log whose clock the test moves.
type dated struct {
	*packetLog
	t    *testing.T
	ids  *eio.IDs
	time int64 // ms
}

func newDated(t *testing.T, o Recovery) *dated {
	t.Helper()
	ids, err := eio.NewIDs("node", "test")
	if err != nil {
		t.Fatal(err)
	}
	d := &dated{packetLog: newPacketLog(o, 25*time.Second, 20*time.Second), t: t, ids: ids, time: 1}
	d.now = func() int64 { return d.time }
	return d
}

// after moves the clock, and has the log looked after.
func (d *dated) after(seconds int) {
	d.time += int64(seconds) * 1000
	d.mu.Lock()
	d.tick()
	d.mu.Unlock()
}

// emit emits an event to everybody, of so many bytes, and returns its offset.
func (d *dated) emit(size int) (offset string) {
	var o [offsetLen]byte
	d.mu.Lock()
	d.append(logged{name: "/", msg: newMessage(make([]byte, size), false)}, o[:])
	d.mu.Unlock()
	return string(o[:])
}

// leave has a client go that is known to have had everything up to a place.
func (d *dated) leave(proven uint64) {
	d.save(&savedSocket{name: "/", pid: "p", id: "i", ref: 7, home: 7, from: proven}, 0)
}

// back returns how many events the client gets that it has missed; -1: it is a
// new one.
func (d *dated) back(offset *string) int {
	s, from := d.claim("/", "p", "", offset, 0)
	if s == nil {
		return -1
	}
	g := d.gather(d.ids, s, from, 1<<20)
	d.mu.Lock()
	defer d.mu.Unlock()
	for !g.step() {
		continue
	}
	missed, ok, _ := g.finish()
	if !ok {
		return -1
	}
	return len(missed)
}

// An idle client's last event may be long gone from the log: what followed was
// not for it, or it would have had it.
func TestRecoveryOfAnIdleClientWithAnOldOffset(t *testing.T) {
	d := newDated(t, Recovery{Window: 2 * time.Minute})
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
	if d.first != 4 {
		t.Fatalf("the first event kept is %d, want 4", d.first)
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
		d := newDated(t, Recovery{Window: 2 * time.Minute, MaxBytes: 10_000})
		first := d.emit(1)
		d.emit(1)
		d.leave(test.proven)
		d.emit(1)
		d.emit(10_000 - 2*(1+int(entryBytes+messageBytes)) - int(d.away.bytes)) // the second is too many
		if d.first != 3 || d.counts.Dropped != 2 {
			t.Fatalf("%s: the first event kept is %d, %d were dropped", test.name, d.first, d.counts.Dropped)
		}
		if n := d.back(&first); n != test.want {
			t.Errorf("%s: missed %d, want %d; %+v", test.name, n, test.want, d.counts)
		}
	}
}

// What a client lacks is kept for its time, from when it was emitted, and not
// from when it last left. Nobody else's events are kept for it.
func TestRecoveryOfWhoFlaps(t *testing.T) {
	d := newDated(t, Recovery{Window: 10 * time.Second})
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
	if d.after(100); len(d.entries) != 0 || d.held() != 0 || d.armed || d.away.first() != nil {
		t.Errorf("%d events and %d bytes are kept for nobody", len(d.entries), d.held())
	}
}

// Without anybody who is away, what is kept is what those may lack who are there.
func TestRecoveryKeepsWhatIsNeeded(t *testing.T) {
	d := newDated(t, Recovery{Window: time.Hour})
	d.emit(1)
	d.after(int(d.proof/time.Second) + 1)
	if len(d.entries) != 0 {
		t.Errorf("%d events are kept for nobody", len(d.entries))
	}
	d.emit(1)
	d.leave(d.last() - 1)
	for range 30 {
		d.after(100)
		d.emit(1)
	}
	if n := d.back(nil); n != 31 {
		t.Errorf("it has missed %d, want 31", n)
	}
}
