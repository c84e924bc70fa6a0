package sio_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// heap returns the bytes of live objects.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What waits for slow handlers is bounded for all namespaces of a connection
// together, as it is held and not as it is sent: events of many small arguments
// take twenty times their bytes. The rest waits, and comes.
func TestBudgetOfWaitingEvents(t *testing.T) {
	const namespaces, each, bound = 16, 40, 4 << 20
	gate := make(chan struct{})
	var handled atomic.Int64
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		for i := range namespaces {
			srv.Of(fmt.Sprintf("/%d", i)).Handle("many", func(_ sio.Socket, m *sio.Msg) error {
				<-gate
				handled.Add(int64(m.Len()))
				return nil
			})
		}
	})
	c := srv.dial()
	var packets []string
	for i := range namespaces {
		c.join(fmt.Sprintf("40/%d,", i))
	}
	for range each {
		for i := range namespaces {
			packets = append(packets, fmt.Sprintf(`42/%d,["many"%s]`, i, strings.Repeat(",1", 4000)))
		}
	}
	before := heap()
	sent := make(chan struct{})
	// ends when everything is sent
	go func() { defer close(sent); c.send(packets...) }()
	eventually(t, "a pause", func() bool { return srv.Stats().Engine.Pauses > 0 })
	time.Sleep(50 * time.Millisecond) // nothing more may come, which cannot be waited for
	held := srv.Stats().Engine.Held
	if held < bound/2 || held > bound/2+bound/8 {
		t.Errorf("%d bytes are counted, want half of %d and one event more", held, bound)
	}
	// The server's and the client's buffers are in it.
	if grown := heap() - before; grown > bound {
		t.Errorf("%d bytes are held and %d counted, want at most %d", grown, held, bound)
	}
	close(gate)
	<-sent
	eventually(t, "all events", func() bool { return handled.Load() == namespaces*each*4000 })
	eventually(t, "nothing held", func() bool { return srv.Stats().Engine.Held == 0 })
	if n := srv.Stats().Engine.Budget; n != 0 {
		t.Errorf("%d connections were closed for their budget, want none", n)
	}
}

// A client that has gone, or stays, leaves nothing behind while handlers do
// nothing, once its time is over.
func TestEventsOfGoneClientsAreForgotten(t *testing.T) {
	for _, gone := range []bool{true, false} {
		t.Run(fmt.Sprint("gone ", gone), func(t *testing.T) { testForgotten(t, gone) })
	}
}

func testForgotten(t *testing.T, gone bool) {
	gate := make(chan struct{})
	var handled atomic.Int64
	srv := serve(t, sio.Options{Engine: eio.Options{PingInterval: time.Second, PingTimeout: 100 * time.Millisecond}}, func(srv *sio.Server) {
		srv.Of("/").Handle("slow", func(sio.Socket, *sio.Msg) error { handled.Add(1); <-gate; return nil })
	})
	c := srv.join("40")
	// ends when everything is sent, or the connection is cut
	go func() {
		for range 100 {
			if _, err := c.conn.Write(appendPacket(nil, `42["slow","`+strings.Repeat("x", 100_000)+`"]`)); err != nil {
				return
			}
		}
	}()
	eventually(t, "a pause", func() bool { return srv.Stats().Engine.Pauses > 0 })
	if gone {
		c.conn.Close()
	}
	eventually(t, "the one being handled alone", func() bool { return srv.Stats().Engine.Held < 200_000 })
	if n := srv.Stats().Engine.Stuck; !gone && n != 1 {
		t.Errorf("Stats() counts %d that waited for too long, want 1", n)
	}
	close(gate)
	eventually(t, "nothing held", func() bool { return srv.Stats().Engine.Held == 0 })
	if n := handled.Load(); n != 1 {
		t.Errorf("%d events were handled, want the first alone", n)
	}
}

// What clients leave behind that did not have to wait is handled, before their
// disconnect handlers, as long as it is not too much of all together.
func TestEventsThatClientsLeaveBehindAreBounded(t *testing.T) {
	const each, size, clients, bound = 10, 20_000, 5, 500_000
	log := &lines{}
	gate := make(chan struct{})
	var handled, left, late atomic.Int64
	srv := serve(t, sio.Options{MaxLeftBehind: bound, Logger: log.logger()}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.Handle("slow", func(sio.Socket, *sio.Msg) error { handled.Add(1); <-gate; return nil })
		ns.HandleInline("sent", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) {
			left.Add(1)
			late.Store(handled.Load())
		})
	})
	for i := range clients {
		c := srv.join("40")
		before := handled.Load()
		for j := range each {
			c.send(`42["slow","` + strings.Repeat("x", size) + `"]`)
			if j == 0 {
				eventually(t, "the first event", func() bool { return handled.Load() == before+1 })
			}
		}
		c.send("2") // a mistake, which ends the session behind what was sent
		c.ended("close -")
		eventually(t, "its end", func() bool { return srv.Stats().Engine.Held > 0 && srv.Engine().Stats().Open == 0 })
		if n := srv.Stats().Engine.Held; n > bound+(clients*(size+8<<10)*2) {
			t.Fatalf("%d bytes are held after %d clients, want at most %d that wait, and what is being handled", n, i+1, bound)
		}
	}
	// 9 wait of each: two clients' fit.
	if n := srv.Stats().Drops.Unhandled; n != (clients-2)*(each-1) {
		t.Errorf("Stats().Drops.Unhandled = %d, want what 3 of %d clients left behind", n, clients)
	}
	if !strings.Contains(log.String(), "--max-left-behind") {
		t.Errorf("the log does not name the flag: %s", log.String())
	}
	close(gate)
	eventually(t, "all disconnect handlers", func() bool { return left.Load() == clients })
	if n := handled.Load(); n != 2*each+clients-2 || late.Load() != n {
		t.Errorf("%d events were handled, %d before the last disconnect handler; want %d", n, late.Load(), 2*each+clients-2)
	}
	eventually(t, "nothing held", func() bool { return srv.Stats().Engine.Held == 0 })
	// There is room again.
	c := srv.join("40")
	c.send(`42["slow",1]`, `42["slow",1]`, `42["slow",1]`, "2")
	c.ended("close -")
	eventually(t, "the last events", func() bool { return handled.Load() == 2*each+clients-2+3 })
}

// Attachments that are waited for have a bound in bytes and in time.
func TestBudgetOfAttachments(t *testing.T) {
	head := `459-["a"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 4) + `]`
	attachment := "<" + strings.Repeat("00", 900_000) + ">"
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) }) // whose BodyTimeout no busy machine passes
	c := srv.join("40")
	// ends when everything is sent, or the connection is cut
	go func() {
		for _, p := range []string{head, attachment, attachment, attachment, attachment, attachment} {
			if _, err := c.conn.Write(appendPacket(nil, p)); err != nil {
				return
			}
		}
	}()
	c.ended("close 1009")
	if st := srv.Stats(); st.Engine.Budget != 1 || st.Engine.Held != 0 {
		t.Errorf("Stats() = %+v, want one closed for its budget and nothing held", st.Engine)
	}
	srv = serve(t, sio.Options{Engine: eio.Options{BodyTimeout: 200 * time.Millisecond}}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c = srv.join("40")
	c.send(head, "<00>")
	c.ended("close -")
	if st := srv.Stats(); st.Unfinished != 1 || st.Engine.Held != 0 {
		t.Errorf("Stats() = %+v, want one that did not finish and nothing held", st)
	}
}

// An attachment that takes a slow link longer is waited for, as long as it comes.
func TestAttachmentOnASlowLink(t *testing.T) {
	srv := serve(t, sio.Options{Engine: eio.Options{BodyTimeout: 100 * time.Millisecond}}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.join("40")
	event, attachment := `451-["echo",{"_placeholder":true,"num":0}]`, "<"+strings.Repeat("07", 1000)+">"
	all := appendPacket(appendPacket(nil, event), attachment)
	c.write(all[:500])
	time.Sleep(300 * time.Millisecond)
	c.write(all[500:])
	c.expect(event, attachment)
	if n := srv.Stats().Unfinished; n != 0 {
		t.Errorf("Stats().Unfinished = %d, want none", n)
	}
}

// What clients bring when they join is bounded for all namespaces of a
// connection together, and given back when they leave.
func TestBudgetOfAuth(t *testing.T) {
	srv := serve(t, sio.Options{KeepHandshake: sio.KeepAlways}, func(srv *sio.Server) {
		srv.Of("/")
		for i := range 100 {
			srv.Of(fmt.Sprintf("/%d", i))
		}
	})
	auth := `{"token":"` + strings.Repeat("x", 900_000) + `"}`
	c := srv.dial()
	for i := range 20 { // one after the other, any number
		c.send(fmt.Sprintf("40/%d,%s", i, auth))
		c.expect(fmt.Sprintf(`40/%d,{"sid":"$sid"}`, i))
		c.send(fmt.Sprintf("41/%d,", i))
	}
	for i := range 4 {
		c.send(fmt.Sprintf("40/%d,%s", i, auth))
		c.expect(fmt.Sprintf(`40/%d,{"sid":"$sid"}`, i))
	}
	if n := srv.Stats().Engine.Held; n < 4*900_000 || n > 4<<20 {
		t.Errorf("%d bytes are held, want those of four", n)
	}
	c.send("40/4," + auth)
	c.ended("close 1009")
	if st := srv.Stats().Engine; st.Budget != 1 || st.Held != 0 {
		t.Errorf("Stats() = %+v, want one closed for its budget and nothing held", st)
	}
}

func TestNamesOfNamespacesAreBounded(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { srv.Of("/*any") })
	c := srv.dial()
	name := "/" + strings.Repeat("n", 1023)
	c.send("40" + name + ",")
	c.expect("40" + name + `,{"sid":"$sid"}`)
	c.send("40" + name + "n,")
	c.ended("close -")
	if n := srv.Stats().BadPackets; n != 1 {
		t.Errorf("Stats().BadPackets = %d, want 1", n)
	}
}

// A client that comes and goes as fast as it can waits for the handlers that are
// called for it.
func TestBudgetOfComingAndGoing(t *testing.T) {
	const times, most = 3000, (2<<20)/(4<<10) + 1
	for name, register := range map[string]func(ns *sio.Namespace, slow func()){
		"a middleware":  func(ns *sio.Namespace, slow func()) { ns.Use(func(sio.Socket) error { slow(); return nil }) },
		"connect":       func(ns *sio.Namespace, slow func()) { ns.OnConnect(func(sio.Socket) error { slow(); return nil }) },
		"disconnect":    func(ns *sio.Namespace, slow func()) { ns.OnDisconnect(func(sio.Socket, sio.Reason) { slow() }) },
		"disconnecting": func(ns *sio.Namespace, slow func()) { ns.OnDisconnecting(func(sio.Socket, sio.Reason) { slow() }) },
	} {
		t.Run(name, func(t *testing.T) {
			gate := make(chan struct{})
			var called atomic.Int64
			srv := serve(t, sio.Options{}, func(srv *sio.Server) {
				register(srv.Of("/x"), func() { called.Add(1); <-gate })
				echo(srv.Of("/"))
			})
			c := srv.join("40")
			sent := make(chan struct{})
			// ends when everything is sent
			go func() {
				defer close(sent)
				var b []byte
				for range times {
					b = appendPacket(appendPacket(b, "40/x,"), "41/x,")
				}
				c.write(b)
			}()
			eventually(t, "a pause", func() bool { return srv.Stats().Engine.Pauses > 0 })
			time.Sleep(20 * time.Millisecond) // no more may be called, which cannot be waited for
			if n := called.Load(); n > most {
				t.Errorf("%d handlers have been called, want at most %d", n, most)
			}
			close(gate)
			<-sent
			eventually(t, "all of them", func() bool { return called.Load() == times })
			eventually(t, "nothing held", func() bool { return srv.Stats().Engine.Held == 0 })
			if n := srv.Stats().Engine.Budget; n != 0 {
				t.Errorf("%d connections were closed for their budget, want none", n)
			}
			c.conn.Close()
		})
	}
}

// A client whose budget does not allow for the end of a socket that it replaces
// leaves nothing behind, and does not get the other.
func TestNothingIsLeftOfWhoCannotBeReplaced(t *testing.T) {
	srv := serve(t, sio.Options{KeepHandshake: sio.KeepAlways}, func(srv *sio.Server) {
		srv.Of("/")
		srv.Of("/x").OnDisconnect(func(sio.Socket, sio.Reason) {})
		for i := range 10 {
			srv.Of(fmt.Sprintf("/%d", i))
		}
	})
	c := srv.join("40")
	c.join("40/x,")
	c.fill(2 << 10) // less than handlers take
	c.send("40/x,")
	c.ended("close 1009")
	if st := srv.Stats().Engine; st.Budget != 1 {
		t.Fatalf("Stats() = %+v, want one closed for its budget", st)
	}
	srv.holdsNothing(t)
}

// fill joins /0 to /9, and brings so much that this is left of the budget.
func (c *client) fill(left int) {
	c.t.Helper()
	const frame = len(`{"t":""}`)
	due := 4<<20 - left
	for i := range 10 {
		n := min(900_000, due)
		if i > 3 {
			n = min(100_000, due)
		}
		due -= n
		c.send(fmt.Sprintf(`40/%d,{"t":"%s"}`, i, strings.Repeat("x", n-frame)))
		for !strings.HasPrefix(c.next(), fmt.Sprintf("40/%d,", i)) {
			continue
		}
	}
	if due != 0 {
		c.t.Fatalf("%d bytes too few were brought", due)
	}
}

func (srv *server) holdsNothing(t *testing.T) {
	t.Helper()
	eventually(t, "nothing held", func() bool {
		for _, n := range srv.Held() {
			if n != 0 {
				return false
			}
		}
		return true
	})
}

// Nor does one whose budget does not allow for its recovery.
func TestNothingIsLeftOfWhoCannotBeRecovered(t *testing.T) {
	srv := serve(t, sio.Options{KeepHandshake: sio.KeepAlways, Recovery: sio.Recovery{Window: time.Minute}}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(sio.Socket) error { return nil })
		for i := range 10 {
			srv.Of(fmt.Sprintf("/%d", i))
		}
	})
	r := &recoverer{srv: srv, client: &client{t: t}}
	r.connect()
	r.cut()
	eventually(t, "its end", func() bool { return srv.Recoveries().Away == 1 })
	c := srv.dial()
	c.fill(2 << 10)
	c.send(fmt.Sprintf(`40{"pid":%q}`, r.pid))
	c.ended("close 1009")
	if st := srv.Stats().Engine; st.Budget != 1 || srv.Recoveries().Recovered != 1 {
		t.Fatalf("Stats() = %+v, want one closed for its budget", st)
	}
	srv.holdsNothing(t)
}

// asked is a cluster's log that does not answer before the gate is open.
type asked struct {
	*book
	n    atomic.Int64
	gate chan struct{}
}

func (a *asked) Take(context.Context, string) (s rooms.Session, ok bool, err error) {
	a.n.Add(1)
	<-a.gate
	return s, false, nil
}

// So does one that asks for a session as fast as it can, and goes again.
func TestBudgetOfComingBack(t *testing.T) {
	const times, most = 3000, (2<<20)/(4<<10) + 1
	log := &asked{book: newLedger().book(), gate: make(chan struct{})}
	srv := serve(t, sio.Options{Adapter: log, Recovery: sio.Recovery{Window: time.Minute}}, func(srv *sio.Server) {
		srv.Of("/x")
		echo(srv.Of("/"))
	})
	c := srv.dial()
	sent := make(chan struct{})
	// ends when everything is sent
	go func() {
		defer close(sent)
		var b []byte
		for range times {
			b = appendPacket(appendPacket(b, `40/x,{"pid":"another's"}`), "41/x,")
		}
		c.write(b)
	}()
	eventually(t, "many questions", func() bool { return log.n.Load() >= most-1 })
	time.Sleep(20 * time.Millisecond) // no more may come, which cannot be waited for
	if n := log.n.Load(); n > most {
		t.Errorf("%d sessions are asked for, want at most %d", n, most)
	}
	close(log.gate)
	<-sent
	eventually(t, "all of them", func() bool { return log.n.Load() == times })
	eventually(t, "nothing held", func() bool { return srv.Stats().Engine.Held == 0 })
	if n := srv.Stats().Engine.Budget; n != 0 {
		t.Errorf("%d connections were closed for their budget, want none", n)
	}
}

// counted is a cluster's log that counts the events that are read of it.
type counted struct {
	*book
	n atomic.Int64
}

func (c *counted) Missed(ctx context.Context, ns, pattern string, from, to rooms.Place, each func(rooms.Entry) bool) (bool, error) {
	return c.book.Missed(ctx, ns, pattern, from, to, func(e rooms.Entry) bool {
		c.n.Add(1)
		return each(e)
	})
}

// Of what a client has missed no more is gathered than it may be sent.
func TestNoMoreIsGatheredThanMayBeSent(t *testing.T) {
	const events, size, bound = 2000, 2000, 1 << 20
	log := &counted{book: newLedger().book()}
	o := sio.Options{Adapter: log, Recovery: sio.Recovery{Window: time.Minute}, Loop: loop.Options{MaxOutbound: bound, SoftOutbound: 64 << 10}}
	srv, join, ns := recoverers(t, o, func(*sio.Namespace) {})
	r := join()
	r.cut()
	eventually(t, "its end", func() bool { return len(ns.All().Sockets()) == 0 })
	for range events {
		if err := ns.Emit("large", strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	r.connect()
	if n := srv.Recoveries(); r.recoveredAs == r.sid || n.TooLarge != 1 || n.Lost != 0 {
		t.Errorf("Recoveries() = %+v, want one that is too large", n)
	}
	if n := log.n.Load(); n < bound/size/2 || n > bound/size {
		t.Errorf("%d events were read for it, want those of %d bytes", n, bound)
	}
}
