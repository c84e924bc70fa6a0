package sio

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
	frames := func(n int) *message { return newMessage(make([]byte, n), false) }
	var offset [offsetLen]byte
	for name, fill := range map[string]func(d *dated, i int){
		"events for everybody": func(d *dated, i int) { d.append(logged{name: "/", msg: frames(64)}, offset[:]) },
		"events for many rooms": func(d *dated, i int) {
			d.append(logged{name: "/", msg: frames(64), to: &audience{rooms: names(i, 50)}}, offset[:])
		},
		"events not for many rooms": func(d *dated, i int) {
			d.append(logged{name: "/", msg: frames(64), to: &audience{all: true, except: names(i, 50)}}, offset[:])
		},
		"events for one": func(d *dated, i int) {
			d.append(logged{name: "/", msg: frames(64), ref: rooms.Ref(i + 1)}, offset[:])
		},
		"changes": func(d *dated, i int) {
			d.append(logged{name: "/", ref: rooms.Ref(i + 1), change: &change{names(i, 1)[0], true, 1}}, nil)
		},
		"further forms": func(d *dated, i int) {
			text := make([]byte, 0, 300)
			text = append(text, `2["event","`...)
			for len(text) < 250 {
				text = append(text, 'x')
			}
			m := newMessage(appendFrames(nil, append(text, `"]`...), nil), false)
			d.append(logged{name: "/", msg: m}, offset[:])
			if m.in(packedForm) == nil {
				t.Error("there is no such form")
			}
		},
		"sockets": func(d *dated, i int) {
			d.mu.Unlock()
			d.save(&savedSocket{name: "/", id: names(i, 1)[0], pid: names(i, 2)[1], ref: rooms.Ref(i + 1), home: rooms.Ref(i + 1)}, 0)
			d.mu.Lock()
		},
		"sockets with rooms": func(d *dated, i int) {
			d.mu.Unlock()
			d.save(&savedSocket{name: "/", id: names(i, 1)[0], pid: names(i, 2)[1], ref: rooms.Ref(i + 1), home: rooms.Ref(i + 1), rooms: names(i, 50)}, 0)
			d.mu.Lock()
		},
	} {
		d := newDated(t, Recovery{Window: time.Hour, MaxBytes: most})
		before := heapBytes()
		d.mu.Lock()
		for i := range 8_000 {
			fill(d, i)
		}
		held := d.held()
		d.mu.Unlock()
		took := heapBytes() - before
		if held > most || held < most*2/5 || float64(took) > 1.25*float64(held)+200_000 || float64(took) < 0.4*float64(held) {
			t.Errorf("%s: %d bytes are held, counted as %d, of %d; %d events, %d sockets", name, took, held, most, len(d.entries), d.away.count)
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
