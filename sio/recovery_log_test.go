package sio

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// aged returns a log of events that were emitted so many seconds ago, and a
// socket that left so many seconds ago.
func aged(t *testing.T, most int64, left int, ages ...int) *packetLog {
	t.Helper()
	l := newPacketLog(Recovery{Window: 2 * time.Minute, MaxBytes: most}, 25*time.Second, 20*time.Second)
	now := time.Now().UnixMilli()
	var offset [offsetLen]byte
	for _, age := range ages {
		l.append(&rooms.Broadcast{Message: newMessage(nil, false), Size: 1}, "/", offset[:])
		l.entries[len(l.entries)-1].at = now - int64(age)*1000
	}
	l.save(&savedSocket{name: "/", pid: "p"})
	l.saved["p"].until = now + l.window.Milliseconds() - int64(left)*1000
	return l
}

// An idle client's last event may be long gone from the log: what followed was
// not for it, or it would have had it.
func TestRecoveryOfAnIdleClientWithAnOldOffset(t *testing.T) {
	l := aged(t, 1<<20, 100, 9000, 8000, 7000, 90, 80)
	if l.first != 4 {
		t.Fatalf("the first event kept is %d, want 4", l.first)
	}
	var offset [offsetLen]byte
	l.write(offset[:], 1)
	old := string(offset[:])
	s, from := l.claim("/", "p", &old)
	if s == nil || from != 1 {
		t.Fatalf("claim = %v, %d, want the socket, from 1", s, from)
	}
	if missed, ok := l.missed(s, from); !ok || len(missed) != 2 {
		t.Errorf("missed = %d events, %t, want 2", len(missed), ok)
	}
}

func TestRecoveryOfWhatItsBytesCost(t *testing.T) {
	for _, test := range []struct {
		name string
		left int
		ages []int
		want bool
	}{
		{"it may lack what was dropped", 10, []int{70, 60, 50, 5}, false},
		{"what was dropped had been received before it left", 10, []int{100, 90, 80, 5}, true},
	} {
		l := aged(t, entryOverhead*2, test.left, test.ages...)
		var offset [offsetLen]byte
		l.write(offset[:], 1)
		first := string(offset[:])
		// The ages were not known when the events were dropped.
		l.cutAt = time.Now().UnixMilli() - int64(test.ages[1])*1000
		if s, _ := l.claim("/", "p", &first); (s != nil) != test.want || l.counts.Lost != int64(b2i(!test.want)) {
			t.Errorf("%s: claimed %t, lost %d, want %t", test.name, s != nil, l.counts.Lost, test.want)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
