package eio

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// tries has so many new sessions asked for a second, for d, with a lag that is a function
// of the time, and returns how many were admitted in each second.
func (a *acceptance) tries(from *int64, d time.Duration, perSecond int64, lag func(now int64) int64) (admitted []int) {
	end := *from + d.Milliseconds()
	for n := int64(0); *from < end; n++ {
		if n%perSecond == 0 {
			admitted = append(admitted, 0)
		}
		at := *from + n%perSecond*1000/perSecond
		if a.admit(at, lag(at)) {
			admitted[len(admitted)-1]++
		}
		if n%perSecond == perSecond-1 {
			*from += 1000
		}
	}
	return admitted
}

func always(lag int64) func(int64) int64 { return func(int64) int64 { return lag } }

func TestAcceptance(t *testing.T) {
	t.Run("on time there is no bound", func(t *testing.T) {
		var a acceptance
		now := int64(12345)
		for i, n := range a.tries(&now, 5*time.Second, 10_000, always(lateAfter-1)) {
			if n != 10_000 {
				t.Errorf("second %d: %d of 10000", i, n)
			}
		}
	})
	t.Run("a moment of lag is none", func(t *testing.T) {
		var a acceptance
		now := int64(12345)
		n := a.tries(&now, time.Second, 10_000, func(at int64) int64 {
			if at%1000 < 400 {
				return farBehind - 1
			}
			return 0
		})
		if n[0] != 10_000 {
			t.Errorf("%d of 10000", n[0])
		}
	})
	t.Run("late for long, down to the least, and up again", func(t *testing.T) {
		var a acceptance
		now := int64(12000)
		a.tries(&now, time.Second, 1000, always(0))
		late := a.tries(&now, 10*time.Second, 1000, always(lateAfter))
		for i := 1; i < len(late); i++ {
			if late[i] > late[i-1] || late[i] < leastRate-1 {
				t.Errorf("while it is late: %v a second", late)
			}
		}
		if last := late[len(late)-1]; last > leastRate+1 {
			t.Errorf("in the end %d a second, want %d", last, leastRate)
		}
		calm := a.tries(&now, 20*time.Second, 1000, always(0))
		for i := 1; i < len(calm); i++ {
			if calm[i] < calm[i-1] {
				t.Errorf("on time again: %v a second", calm)
			}
		}
		if calm[0] < leastRate || calm[19] != 1000 || a.bound != 0 {
			t.Errorf("on time again: %v a second, and a bound of %v", calm, a.bound)
		}
	})
	t.Run("a turn of several windows counts as what it was", func(t *testing.T) {
		var a acceptance
		now := int64(12000)
		for range 4 { // 4000 a second, and the clock stands still in between
			for range 4000 {
				if !a.admit(now, 0) {
					t.Fatal("refused on time")
				}
			}
			now += 1000
		}
		if a.admit(now, farBehind); a.bound != 2000 {
			t.Errorf("a bound of %v a second, want half of 4000", a.bound)
		}
	})
	t.Run("stuck", func(t *testing.T) {
		var a acceptance
		now := int64(12000)
		if n := a.tries(&now, time.Second, 10_000, always(1000)); n[0] > firstRate {
			t.Errorf("%d of 10000 were admitted", n[0])
		}
		now += 3600_000
		if n := a.tries(&now, time.Second, 1000, always(0)); n[0] != 1000 {
			t.Errorf("after an hour %d of 1000", n[0])
		}
	})
	t.Run("few are never refused", func(t *testing.T) {
		var a acceptance
		now := int64(12000)
		if n := a.tries(&now, 10*time.Second, leastRate/2, always(100_000)); n[0] != leastRate/2 || n[9] != leastRate/2 {
			t.Errorf("%v a second of %d", n, leastRate/2)
		}
	})
}

func TestPace(t *testing.T) {
	var p pace
	for i, c := range []struct {
		at   int64 // ms
		want int
	}{{0, 3}, {333, 0}, {334, 1}, {1000, 2}, {1000, 0}, {100_000, 3}, {100_001, 0}} {
		n := 0
		for range 10 {
			if p.take(c.at, 3) {
				n++
			}
		}
		if n != c.want {
			t.Errorf("step %d, at %d ms: %d, want %d", i, c.at, n, c.want)
		}
	}
	p = pace{}
	for i, c := range []struct {
		at   int64
		want bool
	}{{0, true}, {999, false}, {1000, true}, {1999, false}, {60_000, true}, {60_001, false}} {
		if got := p.take(c.at, 1); got != c.want {
			t.Errorf("one a second, step %d: %v", i, got)
		}
	}
}

// A server on whose loop everything takes time, as long as its clock.
func slowServer(t *testing.T, o Options, open time.Duration) (*Server, *loop.Sim, *time.Duration) {
	var sim *loop.Sim
	stuck := new(time.Duration)
	h := &hooks{
		open:    func(Session, *http1.Request) { sim.Work(open) },
		message: func(Session, []byte, bool) { sim.Work(*stuck) },
	}
	srv, s := newSim(t, h, o, loop.Options{})
	sim = s
	return srv, sim, stuck
}

// come has n clients ask for a session over a WebSocket, one each interval, and returns
// how many were given one; the others must have been refused before the upgrade.
func come(t *testing.T, sim *loop.Sim, n int, every time.Duration) (opened int) {
	t.Helper()
	for i := range n {
		next := sim.Now() + every
		p := sim.Connect(0)
		if i%10 == 0 {
			p.Send(getRequest("EIO=4&transport=polling"))
		} else {
			p.Send(wsRequest("EIO=4&transport=websocket"))
		}
		switch got := p.Received(); {
		case bytes.HasPrefix(got, []byte("HTTP/1.1 503 ")) && bytes.Contains(got, []byte("\r\nRetry-After: 5\r\n")) && bytes.Contains(got, []byte("\r\nConnection: close\r\n")) && p.Closed():
		case bytes.HasPrefix(got, []byte("HTTP/1.1 101 ")), bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")):
			opened++
		default:
			t.Fatalf("the request for a session is answered %q", got)
		}
		if left := next - sim.Now(); left > 0 {
			sim.Advance(left)
		}
	}
	return opened
}

func TestAHealthyServerRefusesNobody(t *testing.T) {
	srv, sim, _ := slowServer(t, Options{}, 80*time.Microsecond)
	if n := come(t, sim, 10_000, 100*time.Microsecond); n != 10_000 || srv.Stats().Late != 0 {
		t.Errorf("%d of 10000 were let in, %d were refused", n, srv.Stats().Late)
	}
}

func TestALateServerRefusesNewSessions(t *testing.T) {
	srv, sim, stuck := slowServer(t, Options{PingInterval: time.Hour}, 0)
	old := sim.Connect(0)
	old.Send(getRequest("EIO=4&transport=polling"))
	_, rest, _ := strings.Cut(string(old.Received()), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	use := func() {
		t.Helper()
		old.Send(getRequest("EIO=4&transport=polling&sid=" + sid))
		old.Received()
		other := sim.Connect(0)
		other.Send(postRequest("EIO=4&transport=polling&sid="+sid, "4hello"))
		if got := other.Received(); !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) {
			t.Fatalf("a post of an open session is answered %q", got)
		}
		other.Close()
	}
	*stuck = time.Second
	use()
	*stuck = 0
	n := come(t, sim, 1000, time.Millisecond)
	if st := srv.Stats(); n > 2*firstRate || n < leastRate || st.Late != int64(1000-n) {
		t.Errorf("behind a second in which nothing was done %d of 1000 were let in, and %d refused", n, st.Late)
	}
	other := sim.Connect(0)
	other.Send(postRequest("EIO=4&transport=polling&sid="+sid, "4hello"))
	if got := other.Received(); !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) {
		t.Errorf("a post of an open session is answered %q", got)
	}

	// All that come again get in.
	for left, round := 1000-n, 0; left > 0; round++ {
		if round == 60 {
			t.Fatalf("after a minute there are still %d who were refused", left)
		}
		began := sim.Now()
		left -= come(t, sim, left, time.Millisecond)
		if left := time.Second - (sim.Now() - began); left > 0 {
			sim.Advance(left)
		}
	}
	if n := come(t, sim, 1000, time.Millisecond); n != 1000 && srv.shards[0].acceptance.bound > 0 {
		sim.Advance(10 * time.Second)
		if n := come(t, sim, 1000, time.Millisecond); n != 1000 {
			t.Errorf("%d of 1000 were let in when all was well again", n)
		}
	}
}

func TestAcceptRate(t *testing.T) {
	for rate, want := range map[int]string{50: "[50 50 50]", -1: "[200 200 200]", 1_000_000: "[200 200 200]"} {
		srv, sim, stuck := slowServer(t, Options{AcceptRate: rate}, 0)
		p := sim.Connect(0)
		p.Send(wsRequest("EIO=4&transport=websocket"))
		*stuck = time.Minute // which does not matter here
		p.Send(textFrame("4x"))
		sim.Advance(time.Second)
		var got []int
		for range 3 {
			got = append(got, come(t, sim, 200, 0))
			sim.Advance(time.Second)
		}
		if st := srv.Stats(); fmt.Sprint(got) != want || st.Late != 0 || rate == 50 && st.TooMany != 450 {
			t.Errorf("with AcceptRate %d: %v, want %s; %d refused", rate, got, want, st.TooMany)
		}
	}
	if _, err := NewServer(&hooks{}, Options{AcceptRate: 1_000_001}); err == nil {
		t.Error("a rate of more than a million is no error")
	}
}
