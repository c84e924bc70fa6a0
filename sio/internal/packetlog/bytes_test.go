package packetlog

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// MaxBytes counts what is really held, of everything that is kept.
func TestRecoveryCountsWhatIsHeld(t *testing.T) {
	const most = 2 << 20
	names := func(i, n int) (all []string) {
		for k := range n {
			all = append(all, fmt.Sprintf("room %d of %d", k, i))
		}
		return all
	}
	var offset [OffsetLen]byte
	for name, fill := range map[string]func(d *dated, i int){
		"events for everybody": func(d *dated, i int) { d.Append(Entry{Name: "/", Message: newParcel(64)}, offset[:]) },
		"events for many rooms": func(d *dated, i int) {
			d.Append(Entry{Name: "/", Message: newParcel(64), To: &Audience{Rooms: names(i, 50)}}, offset[:])
		},
		"events not for many rooms": func(d *dated, i int) {
			d.Append(Entry{Name: "/", Message: newParcel(64), To: &Audience{All: true, Except: names(i, 50)}}, offset[:])
		},
		"events for a room": func(d *dated, i int) {
			d.Append(Entry{Name: "/", Message: newParcel(64), Room: names(i, 1)[0]}, offset[:])
		},
		"events for one": func(d *dated, i int) {
			d.Append(Entry{Name: "/", Message: newParcel(64), Ref: rooms.Ref(i + 1)}, offset[:])
		},
		"changes": func(d *dated, i int) {
			d.appendChange("/", rooms.Ref(i+1), names(i, 1)[0], true, 1)
		},
		"further forms": func(d *dated, i int) {
			p := newParcel(300)
			d.Append(Entry{Name: "/", Message: p}, offset[:])
			p.form()
		},
		"sockets": func(d *dated, i int) {
			d.Save(&Saved{Socket: Socket{Name: "/", ID: names(i, 1)[0], PID: names(i, 2)[1], Ref: rooms.Ref(i + 1), Home: rooms.Ref(i + 1)}}, 0)
		},
		"sockets with rooms": func(d *dated, i int) {
			d.Save(&Saved{Socket: Socket{Name: "/", ID: names(i, 1)[0], PID: names(i, 2)[1], Ref: rooms.Ref(i + 1), Home: rooms.Ref(i + 1), Rooms: names(i, 50)}}, 0)
		},
	} {
		d := newDated(Options{Window: time.Hour, MaxBytes: most})
		before := heapBytes()
		for i := range 8_000 {
			fill(d, i)
		}
		d.after(0) // forms that came after their message
		held := d.held()
		took := heapBytes() - before
		if held > most || held < most*2/5 || float64(took) > 1.25*float64(held)+200_000 || float64(took) < 0.4*float64(held) {
			t.Errorf("%s: %d bytes are held, counted as %d, of %d; %d events, %d sockets", name, took, held, most, d.entries.len(), d.away.count)
		}
		if d.after(100_000); d.held() != 0 || d.forms.Load() != 0 || heapBytes()-before > most/4 {
			t.Errorf("%s: %d bytes are counted at the end, %d are held", name, d.held(), heapBytes()-before)
		}
		runtime.KeepAlive(d)
	}
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
