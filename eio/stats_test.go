package eio

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// numbers calls f with each number in v.
func numbers(v reflect.Value, f func(n reflect.Value)) {
	switch v.Kind() {
	case reflect.Int64:
		f(v)
	case reflect.Array:
		for i := range v.Len() {
			numbers(v.Index(i), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			numbers(v.Field(i), f)
		}
	}
}

// TestStatsAreAdded: of no field.
func TestStatsAreAdded(t *testing.T) {
	var a Stats
	var c CompressionStats
	for _, v := range []reflect.Value{reflect.ValueOf(&a).Elem(), reflect.ValueOf(&c).Elem()} {
		n := int64(0)
		numbers(v, func(x reflect.Value) { n++; x.SetInt(n) })
	}
	sum, csum := a, c
	sum.Add(a)
	csum.Add(c)
	if sum.Largest != a.Largest {
		t.Errorf("the largest queue of two loops is %d, want %d", sum.Largest, a.Largest)
	}
	sum.Largest *= 2 // all others are added
	for _, v := range []reflect.Value{reflect.ValueOf(sum), reflect.ValueOf(csum)} {
		n := int64(0)
		numbers(v, func(x reflect.Value) {
			if n++; x.Int() != 2*n {
				t.Errorf("number %d of %v is %d after Add, want %d", n, v.Type(), x.Int(), 2*n)
			}
		})
	}
}

// TestStatsSayWhatThereIs: gauges go up and down with what they count.
func TestStatsSayWhatThereIs(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{AllowEIO3: true, MaxQueue: 1 << 20}, loop.Options{})
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	a, b, w, x := sim.Connect(0), sim.Connect(0), sim.Connect(0), sim.Connect(0)
	x.Send(wsRequest("EIO=3&transport=websocket"))
	a.Send(getRequest("EIO=4&transport=polling"))
	a.Received()
	s := now
	check("open", srv.Stats().Open, Sessions{Polling: 1, WebSocket3: 1})
	query := "EIO=4&transport=polling&sid=" + s.ID()
	s.Send(AppendText(nil, make([]byte, 1000)))
	s.SendPrepared(Prepare(make([]byte, 2000), true), false)
	st := srv.Stats()
	if st.Queued < 3000 || st.Queued > 4000 || st.Entries != 2 {
		t.Errorf("%d bytes in %d places wait, want 3000 and a little in 2", st.Queued, st.Entries)
	}
	a.Send(getRequest(query))
	st = srv.Stats()
	check("after the poll", [2]int64{st.Queued, st.Entries}, [2]int64{})
	a.Send(getRequest(query))
	b.Send(postRequest(query, "4abc")[:len(postRequest(query, "4abc"))-2])
	st = srv.Stats()
	check("a poll and a body", [2]int64{st.Polls, st.Bodies}, [2]int64{1, 1})
	if st.BodyBytes == 0 || st.BodyBytes > 100 || st.Held < st.BodyBytes {
		t.Errorf("of the body %d bytes are kept, and in all %d, want a few", st.BodyBytes, st.Held)
	}
	s.PauseRead()
	b.Send([]byte("bc"))
	st = srv.Stats()
	check("not acknowledged", [2]int64{st.Unacked, st.Bodies}, [2]int64{1, 0})
	s.ResumeRead()
	w.Send(wsRequest("EIO=4&transport=websocket&sid=" + s.ID()))
	check("upgrading", srv.Stats().Probing, int64(1))
	w.Send(textFrame("2probe"))
	sim.Advance(150 * time.Millisecond)
	w.Send(textFrame("5"))
	st = srv.Stats()
	check("upgraded", [3]int64{st.Probing, st.Probed, st.Upgraded}, [3]int64{0, 1, 1})
	check("open after", st.Open, Sessions{WebSocket: 1, WebSocket3: 1})
	w.Send([]byte{0xff, 0xff})
	for _, bad := range []string{"x", "4" + strings.Repeat("x", 2_000_000)} { // no packet; too large
		c := sim.Connect(0)
		c.Send(wsRequest("EIO=4&transport=websocket"))
		c.Send(textFrame(bad))
		c.Close()
	}
	x.Reset()
	st = srv.Stats()
	check("closed", st.Closed, Closes{TransportClose: 1, TransportError: 2, ParseError: 1})
	check("frames", [2]int64{st.Frames, st.Oversize}, [2]int64{2, 1})
	for _, p := range []*loop.Peer{a, b, w, x} {
		p.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestStatsWhileLoopsComeAndGo: at no moment of a server's life do Stats wait for a loop
// that will not come, or touch what is another goroutine's; of a loop that is stuck they
// are what they were.
func TestStatsWhileLoopsComeAndGo(t *testing.T) {
	srv, err := NewServer(&hooks{}, Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if st := srv.Stats(); st != (Stats{}) {
		t.Errorf("before Bind: %+v", st)
	}
	e, err := loop.New(srv, loop.Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	srv.Bind(e.Loops())
	_ = srv.Stats()
	a, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, asked := make(chan struct{}), make(chan struct{})
	// ends when stop is closed
	go func() {
		defer close(asked)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = srv.Stats(), srv.CompressionStats()
			}
		}
	}()
	ran := make(chan error, 1)
	// ends with the engine
	go func() { ran <- e.Run(context.Background()) }()
	for range 6 {
		dial(t, a.String()).open()
	}
	eventually(t, "all are counted", func() bool { return srv.Stats().Open.Polling == 6 })
	stuck, release := make(chan struct{}), make(chan struct{})
	e.Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) { close(stuck); <-release }))
	<-stuck
	if st := srv.Stats(); st.Opened.Polling != 6 {
		t.Errorf("while a loop is stuck %d sessions were opened, want 6", st.Opened.Polling)
	}
	close(release)
	for _, l := range e.Loops() {
		l.Ask(func() { srv.CloseAll(l) })
	}
	if err := e.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	if err := <-ran; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if st := srv.Stats(); st.Closed.ForcedClose != 6 || st.Open.Sum() != 0 {
		t.Errorf("afterwards: %+v", st)
	}
	close(stop)
	<-asked
}
