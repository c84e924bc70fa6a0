package loop

import (
	"bytes"
	"runtime"
	"testing"
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What is carried is not copied again for each piece that comes, nor for each
// that is taken.
func TestCarriedBytesAreCopiedAFewTimes(t *testing.T) {
	const size = 60_000
	all := make([]byte, size)
	for i := range all {
		all[i] = byte(i % 251)
	}
	var got []byte
	take, hold := 0, false
	var conn Conn
	s := newSim(&hooks{
		open: func(c Conn) { conn = c },
		data: func(c Conn, b []byte) int {
			n := min(take, len(b))
			got = append(got, b[:n]...)
			if n > 0 && hold {
				c.HoldData(true)
				c.HoldData(false) // as if an answer had come at once
			}
			return n
		},
	}, Options{})
	for _, how := range []string{"held", "not taken", "paused"} {
		p := s.Connect(0)
		got, take, hold = make([]byte, 0, size), 0, true
		if how == "held" {
			conn.HoldData(true)
		}
		if n := allocated(func() {
			for i := range all {
				p.Send(all[i : i+1])
			}
		}); n > 10*size {
			t.Errorf("%s: %d bytes were allocated to carry %d that came one by one", how, n, size)
		}
		if e := s.e.loops[0].exts[conn.record().ext]; cap(e.carry) > 2*size {
			t.Errorf("%s: %d bytes are held for %d", how, cap(e.carry), size)
		}
		take = 10
		if n := allocated(func() {
			if how == "held" {
				conn.HoldData(false)
			} else {
				conn.Redeliver()
			}
			for len(got) < size && how != "paused" {
				s.Turn()
				conn.Redeliver()
			}
			if how == "paused" {
				for len(got) < size {
					conn.PauseRead()
					conn.ResumeRead()
					s.Turn()
				}
			}
		}); n > 10*size {
			t.Errorf("%s: %d bytes were allocated to take %d in pieces of 10", how, n, size)
		}
		if !bytes.Equal(got, all) {
			t.Errorf("%s: something else was taken than was sent", how)
		}
		p.Close()
	}
	checkGauges(t, s.e)
}

// What has been taken of a long piece is not kept for what is left of it.
func TestCarriedRestIsOfItsOwnSize(t *testing.T) {
	take := 0
	var conn Conn
	s := newSim(&hooks{
		open: func(c Conn) { conn = c },
		data: func(_ Conn, b []byte) int { return min(take, len(b)) },
	}, Options{})
	p := s.Connect(0)
	for range 40 {
		p.Send(make([]byte, 1000))
	}
	take = 39_000
	conn.Redeliver()
	s.Turn()
	if e := s.e.loops[0].exts[conn.record().ext]; len(e.carry) != 1000 || cap(e.carry) > 2000 {
		t.Errorf("%d bytes are held for %d, want about 1000 for 1000", cap(e.carry), len(e.carry))
	}
}
