package sio_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

func TestADeadlineIsKeptMovedAndTakenAway(t *testing.T) {
	st := newStage(t, sio.Options{})
	due := make(chan string, 16)
	say := func(what string) func(sio.Socket) { return func(sio.Socket) { due <- what } }
	x := st.enter(0)
	at := st.Now()
	x.s.ExpireAt(at.Add(10*time.Second), say("first"))
	st.sim.Advance(9 * time.Second)
	x.s.ExpireAt(at.Add(15*time.Second), say("moved"))
	st.sim.Advance(5990 * time.Millisecond)
	if len(due) > 0 {
		t.Fatalf("%s is due, want nothing yet", take(t, due))
	}
	st.sim.Advance(10 * time.Millisecond)
	if got := take(t, due); got != "moved" {
		t.Fatalf("%s is due, want the deadline as it was moved", got)
	}

	x.s.ExpireAt(st.Now().Add(time.Second), say("cancelled"))
	x.s.ExpireAt(time.Time{}, nil)
	x.s.ExpireAt(st.Now().Add(time.Second), say("once"))
	x.s.ExpireAt(time.Time{}, say("never"))
	st.sim.Advance(5 * time.Second)
	for i, past := range []time.Time{st.Now(), st.Now().Add(-time.Hour), time.Unix(0, 0), time.Unix(-1<<60, 0)} {
		x.s.ExpireAt(past, say(fmt.Sprint("past ", i)))
		st.sim.Turn()
		if got, want := take(t, due), fmt.Sprint("past ", i); got != want {
			t.Errorf("%s is due, want %s", got, want)
		}
	}
	x.s.ExpireAt(time.Unix(1<<62, 0), say("in the age of the stars"))
	st.sim.Advance(5 * time.Second)
	if n := st.Deadlines(); n != 1 || len(due) > 0 {
		t.Errorf("%d deadlines are kept and %d functions called, want the one that is far off kept", n, len(due))
	}
	x.peer.Close()
	if n := st.Deadlines(); n != 0 {
		t.Errorf("%d entries are left of a socket that has gone, want none", n)
	}
	x.s.ExpireAt(st.Now(), say("after the end"))
	st.sim.Turn()
	if len(due) > 0 {
		t.Errorf("%s is due, want nothing of a socket that has gone", take(t, due))
	}
}

// The connection is closed, and its client told why.
func TestADeadlineWithoutAFunctionCloses(t *testing.T) {
	st := newStage(t, sio.Options{})
	why := make(chan sio.Reason, 4)
	st.ns.OnDisconnect(func(_ sio.Socket, r sio.Reason) { why <- r })
	x := st.enter(0)
	x.s.ExpireAt(st.Now().Add(time.Second), nil)
	st.sim.Advance(time.Second)
	x.expect("<1131" + fmt.Sprintf("%x", "expired") + ">")
	if got := take(t, why); got != "forced close" || !x.peer.Closed() {
		t.Errorf("the socket leaves for %q, want a forced close", got)
	}
}

// Deadlines come in the order of their time, wherever they are moved to.
func TestDeadlinesOfManySocketsComeInOrder(t *testing.T) {
	st := newStage(t, sio.Options{})
	const n = 300
	var all []*extra
	for range n {
		all = append(all, st.enter(0))
	}
	at := st.Now()
	due := make(chan int, 2*n)
	for i, x := range all {
		x.s.ExpireAt(at.Add(time.Duration(1+i*7%n)*10*time.Millisecond), func(sio.Socket) { due <- -1 })
	}
	for i, x := range all {
		switch {
		case i%3 == 0:
			x.s.ExpireAt(time.Time{}, nil)
		case i%3 == 1:
			x.peer.Close()
		default:
			x.s.ExpireAt(at.Add(time.Duration(n-i)*10*time.Millisecond), func(sio.Socket) { due <- i })
		}
	}
	st.sim.Turn()
	if got := st.Deadlines(); got != n/3 {
		t.Fatalf("%d deadlines are kept, want %d", got, n/3)
	}
	for i := n - 1; i >= 0; i-- {
		st.sim.Advance(10 * time.Millisecond)
		if i%3 != 2 {
			continue
		}
		if got := take(t, due); got != i {
			t.Fatalf("deadline %d is due, want %d", got, i)
		}
	}
	if len(due) > 0 || st.Deadlines() != 0 {
		t.Errorf("%d deadlines too many, %d entries left", len(due), st.Deadlines())
	}
}

// What is past by the machine's clock is past, though the loop's has stood still.
func TestADeadlineIsOfTheWallClock(t *testing.T) {
	st := newStage(t, sio.Options{})
	var jump atomic.Int64
	real := st.Now
	began := real()
	st.SetWall(func() time.Time { return began.Add(st.sim.Now() + time.Duration(jump.Load())) })
	due := make(chan bool, 1)
	x := st.enter(0)
	x.s.ExpireAt(began.Add(time.Hour), func(sio.Socket) { due <- true })
	st.sim.Advance(time.Second)
	jump.Store(int64(2 * time.Hour)) // the machine slept
	st.sim.Advance(time.Second)
	take(t, due)
	x.s.ExpireAt(st.Now().Add(time.Second), func(sio.Socket) { due <- true })
	st.sim.Turn()
	jump.Store(0) // the clock was set back
	st.sim.Advance(10 * time.Second)
	if len(due) > 0 {
		t.Error("the deadline is due although the clock was set back")
	}
}

func TestADeadlineHasItsTurnAmongTheHandlers(t *testing.T) {
	order := make(chan string, 16)
	goOn := make(chan struct{})
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.Use(func(s sio.Socket) error {
			s.ExpireAt(time.Now(), func(sio.Socket) { order <- "in a middleware" })
			return nil
		})
		ns.OnConnect(func(sio.Socket) error { order <- "connect"; return nil })
		ns.Handle("begin", func(s sio.Socket, m *sio.Msg) error {
			s.ExpireAt(time.Now(), func(sio.Socket) { order <- "expire"; panic("mine") })
			<-goOn
			order <- "begin"
			return m.Ack()
		})
		ns.Handle("next", func(s sio.Socket, _ *sio.Msg) error {
			order <- "next"
			s.ExpireAt(time.Now(), func(s sio.Socket) { _ = s.Disconnect(sio.DisconnectOptions{}) })
			return nil
		})
	})
	c := srv.join("40")
	wants := func(all ...string) {
		t.Helper()
		for _, want := range all {
			if got := take(t, order); got != want {
				t.Fatalf("%s has its turn, want %s", got, want)
			}
		}
	}
	wants("in a middleware", "connect")
	c.send(`421["begin"]`, `42["next"]`)
	close(goOn)
	wants("begin")
	c.expect("431[]")
	for range 2 {
		take(t, order) // either may be first: the event was there already
	}
	if line := take(t, srv.log.new); line != "expire: sio: panic: mine" {
		t.Errorf("OnError is told %q, want the panic", line)
	}
	c.expect("41")
}

// The deadline goes with a socket that is given back, and nobody gets one back
// that is past it.
func TestRecoveryKeepsDeadlines(t *testing.T) {
	var skew atomic.Int64
	var joined chan sio.Socket
	srv, connect, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		joined = sockets(ns)
		ns.Server().SetWall(func() time.Time { return time.Now().Add(time.Duration(skew.Load())) })
	})
	for name, x := range map[string]struct {
		arm   func(s sio.Socket)
		later func(s sio.Socket)
		again bool
	}{
		"with time left": {func(s sio.Socket) { s.ExpireAt(srv.Now().Add(time.Hour), nil) }, nil, true},
		"past it": {func(s sio.Socket) { s.ExpireAt(srv.Now().Add(time.Hour), nil) },
			func(sio.Socket) { skew.Add(int64(2 * time.Hour)) }, false},
		"past it before it left": {func(s sio.Socket) { s.ExpireAt(srv.Now(), func(sio.Socket) {}) }, nil, false},
		"taken away":             {func(s sio.Socket) { s.ExpireAt(srv.Now(), func(sio.Socket) {}); s.ExpireAt(time.Time{}, nil) }, nil, true},
	} {
		r := connect()
		s := take(t, joined)
		if err := ns.Emit("n", 1); err != nil {
			t.Fatal(err)
		}
		r.takes(1)
		x.arm(s)
		s.Connected() // it is armed
		r.cut()
		eventually(t, "the end of the socket", s.Gone)
		if x.later != nil {
			x.later(s)
		}
		r.connect()
		back := take(t, joined)
		if back.Recovered() != x.again || (r.recoveredAs == r.sid) != x.again {
			t.Errorf("%s: Recovered() = %v, want %v", name, back.Recovered(), x.again)
		}
		if name == "with time left" {
			skew.Add(int64(2 * time.Hour))
			if p := r.next(); p != "close 4401" {
				t.Errorf("%s: received %s, want the end", name, p)
			}
		}
		r.cut()
		eventually(t, "the end of the socket", back.Gone)
	}
}

// What a deadline takes.
func TestDeadlinesAreSmall(t *testing.T) {
	st := newStage(t, sio.Options{})
	const n = 5_000
	var all []sio.Socket
	joined := make(chan sio.Socket, 1)
	st.ns.HandleInline("me", func(s sio.Socket, _ *sio.Msg) error { joined <- s; return nil })
	for range n {
		p := st.sim.Connect(0)
		p.Discard(true)
		p.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
		p.Send(appendPacket(appendPacket(nil, "40"), `42["me"]`))
		all = append(all, take(t, joined))
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	arm := func(at time.Time) {
		for i, s := range all {
			s.ExpireAt(at, nil)
			if i%100 == 0 {
				st.sim.Turn()
			}
		}
		st.sim.Turn()
	}
	arm(time.Time{}) // what the mailbox needs
	before := heap()
	arm(st.Now().Add(time.Hour))
	if each := (float64(heap()) - float64(before)) / n; each > 64 { // less than nothing, where others have freed some
		t.Errorf("a deadline takes %.1f bytes, want about 50", each)
	} else {
		t.Logf("a deadline takes %.1f bytes", each)
	}
	runtime.KeepAlive(all)
}
