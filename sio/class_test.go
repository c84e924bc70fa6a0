package sio_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// bySymbol conflates by the first argument.
func bySymbol(a sio.Args) sio.Class {
	var symbol string
	_ = a.Decode(&symbol)
	return sio.Class{Policy: sio.Conflate, Key: symbol}
}

// small has little wait for a client.
func small(o sio.Options) sio.Options {
	o.Loop.SoftOutbound, o.Engine.MaxQueue = 4000, 4000
	o.Loop.SlowAfter, o.Engine.SlowAfter = time.Hour, time.Hour
	o.Engine.PingInterval, o.Engine.PingTimeout = time.Hour, time.Hour
	o.AllowEIO3 = true
	return o
}

// every is a client of each kind.
var every = map[string]siotest.Options{
	"WebSocket": {}, "polling": {Polling: true}, "MessagePack": {MessagePack: true}, "polling MessagePack": {Polling: true, MessagePack: true},
	"Socket.IO 2": {V2: true},
}

// stalled connects a client that takes nothing any more.
func stalled(srv *siotest.Server, o siotest.Options) *siotest.Client {
	c := srv.ConnectWith("/", o)
	if o.Polling {
		c.Settle() // a poll waits, and is answered
		_ = c.Socket().Emit("plug")
		c.Settle()
		c.Received()
	}
	c.Stall(true)
	if o.Polling { // it has asked once more
		_ = c.Socket().Emit("plug")
		srv.Advance(0)
	}
	return c
}

// Of a market board, a client that takes nothing for a while gets the latest price of
// each symbol, and all that is no price; one that keeps up gets everything.
func TestASlowReaderOfAMarketBoardSeesTheLatestPrices(t *testing.T) {
	for name, o := range every {
		for _, recovery := range []time.Duration{0, time.Minute} {
			opts := small(sio.Options{Recovery: sio.Recovery{Window: recovery}})
			if strings.Contains(name, "MessagePack") {
				opts.Parser = sio.EitherParser
			}
			srv := siotest.New(t, opts)
			srv.Of("/").SetClass("price", bySymbol)
			slow, fast := stalled(srv, o), srv.Connect("/")
			for price := range 30 {
				for symbol := range 5 {
					_ = srv.Of("/").Emit("price", fmt.Sprint(symbol), price, []byte{byte(price)})
				}
				if price%10 == 0 {
					_ = slow.Socket().Emit("price", "own", price)
					_ = srv.Of("/").Emit("news", price)
				}
				srv.Advance(time.Millisecond)
			}
			slow.Stall(false)
			heard := boardOf(t, slow.Received())
			most := 1
			if recovery > 0 {
				most = 2
			}
			for symbol, prices := range heard {
				last, n := 29, most
				switch symbol {
				case "own":
					last = 20
				case "news":
					last, n = 20, 3
				}
				if len(prices) > n || prices[len(prices)-1] != last || !slices.IsSorted(prices) {
					t.Errorf("%s, recovery %v: %s is %v, want at most %d up to %d", name, recovery, symbol, prices, n, last)
				}
			}
			if len(heard) != 7 || len(heard["news"]) != 3 {
				t.Errorf("%s, recovery %v: %v, want 5 symbols, its own, and 3 news", name, recovery, heard)
			}
			if got := boardOf(t, fast.Received()); len(got["0"]) != 30 || len(got["4"]) != 30 {
				t.Errorf("%s: who keeps up has %v", name, got)
			}
			st := srv.Stats()
			sum := int64(0)
			for _, prices := range heard {
				sum += int64(len(prices))
			}
			if want := 5*30 + 3 + 3 - sum; st.Loop.Dropped.Conflated != want || st.Namespaces[0].Dropped != want {
				t.Errorf("%s, recovery %v: %d conflated, %d of the namespace, want %d", name, recovery, st.Loop.Dropped.Conflated, st.Namespaces[0].Dropped, want)
			}
		}
	}
}

// boardOf returns the prices by symbol, and the news, in the order of their coming.
func boardOf(t *testing.T, all []*siotest.Event) (board map[string][]int) {
	t.Helper()
	board = map[string][]int{}
	for _, e := range all {
		var symbol string
		var price int
		switch e.Name {
		case "news":
			symbol = "news"
			_ = siotestDecode(t, e, &price)
		case "price":
			if data := siotestDecode(t, e, &symbol, &price); symbol != "own" && (len(data) != 1 || data[0][0] != byte(price)) {
				t.Errorf("%v has the attachment %v", e, data)
			}
		default:
			continue
		}
		board[symbol] = append(board[symbol], price)
	}
	return board
}

func siotestDecode(t *testing.T, e *siotest.Event, dst ...any) [][]byte {
	t.Helper()
	if err := e.Decode(dst...); err != nil {
		t.Fatalf("%v: %v", e, err)
	}
	return e.Binary()
}

// Whoever emits whatever in whatever way, and clients that stop and go on: what a
// client was sent it has received, or it was counted as dropped.
func TestEmittedIsReceivedOrDropped(t *testing.T) {
	seeds := uint64(40)
	if raceEnabled {
		seeds = 5
	}
	for name, o := range every {
		for seed := range seeds {
			emitted(t, name, o, rand.New(rand.NewPCG(seed, 11)))
		}
	}
}

func emitted(t *testing.T, name string, o siotest.Options, r *rand.Rand) {
	opts := small(sio.Options{})
	if r.IntN(3) == 0 {
		opts.Recovery.Window = time.Minute
	}
	if o.MessagePack {
		opts.Parser = sio.EitherParser
	}
	srv := siotest.New(t, opts)
	ns := srv.Of("/")
	ns.SetClass("conflate", bySymbol)
	ns.SetClass("oldest", func(sio.Args) sio.Class { return sio.Class{Policy: sio.DropOldest} })
	ns.SetClass("new", func(sio.Args) sio.Class { return sio.Class{Policy: sio.DropNew} })
	events := []string{"conflate", "oldest", "new", "firm"}
	var clients []*siotest.Client
	for range 3 {
		c := srv.ConnectWith("/", o)
		c.Socket().Join("room")
		clients = append(clients, c)
	}
	sent := 0
	for range 60 {
		for range r.IntN(8) {
			event, to, n := events[r.IntN(4)], []sio.BroadcastOperator{ns.All(), ns.To("room"), ns.Except("none")}[r.IntN(3)], 3
			if r.IntN(3) == 0 {
				to, n = clients[r.IntN(3)].Socket().Self(), 1
			}
			args := []any{fmt.Sprint(r.IntN(3)), sent, strings.Repeat("x", r.IntN(400))}
			if r.IntN(4) == 0 {
				args = append(args, []byte("binary"))
			}
			if err := to.Emit(event, args...); err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		srv.Advance(time.Millisecond)
		clients[r.IntN(3)].Stall(r.IntN(3) > 0)
	}
	got := 0
	for _, c := range clients {
		c.Stall(false)
		last := map[string]int{}
		for _, e := range c.Received() {
			got++
			var key string
			var n int
			siotestDecode(t, e, &key, &n)
			if e.Name == "conflate" {
				key = e.Name + key
			} else {
				key = ""
			}
			if n < last[key] {
				t.Errorf("%s: %s %d comes behind %d", name, e.Name, n, last[key])
			}
			last[key] = n
		}
	}
	st := srv.Stats()
	if dropped := st.Namespaces[0].Dropped; int(dropped)+got != sent || st.Loop.Dropped.Sum() != dropped || int(st.Namespaces[0].Emits) != sent {
		t.Errorf("%s: of %d %d were received, %d dropped; Stats %+v, Emits %d", name, sent, got, dropped, st.Loop.Dropped, st.Namespaces[0].Emits)
	}
}

// What an operator says goes before what the namespace says, and that before the
// option; acknowledgements, and events that want one, are never dropped.
func TestWhoSaysTheClass(t *testing.T) {
	opts := small(sio.Options{QueuePolicy: sio.Conflate})
	srv := siotest.New(t, opts)
	ns := srv.Of("/")
	ns.SetClass("kept", func(sio.Args) sio.Class { return sio.Class{Policy: sio.CloseSlow} })
	ns.SetClass("gone", func(sio.Args) sio.Class { return sio.Class{Policy: sio.CloseSlow} })
	ns.SetClass("gone", nil)
	ns.HandleInline("ask", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(1) })
	c := stalled(srv, siotest.Options{})
	s := c.Socket()
	for i := range 4 {
		_ = ns.Emit("default", i)
		_ = ns.Emit("kept", i)
		_ = ns.Emit("gone", i)
		_ = s.Emit("kept", "own")
		_ = s.Self().Class(sio.Class{Policy: sio.Conflate, Key: "a"}).Emit("kept", "self")
		_ = ns.All().Class(sio.Class{}).Emit("default", "firm")
		s.EmitAckFunc(time.Hour, func(sio.Args, error) {}, "default", "asked")
		c.Start("ask")
		srv.Advance(0)
	}
	c.Stall(false)
	n := map[string]int{}
	for _, e := range c.Received() {
		n[e.String()]++
	}
	want := map[string]int{`"default" 3`: 1, `"gone" 3`: 1, `"kept" "own"`: 4, `"kept" "self"`: 1, `"default" "firm"`: 4, `"default" "asked"`: 4}
	for i := range 4 {
		want[fmt.Sprintf(`"kept" %d`, i)] = 1
	}
	for k, v := range want {
		if n[k] != v {
			t.Errorf("%s came %d times, want %d; all are %v", k, n[k], v, n)
		}
	}
	if len(n) != len(want) {
		t.Errorf("received %v, want %v", n, want)
	}
}

// Events of other servers are of the namespace's class, by one question for each on
// each server, with a log of the cluster and without.
func TestEventsOfOtherServersHaveTheClass(t *testing.T) {
	const events = 1500
	plain, log := &bus{}, newLedger()
	for name, x := range map[string]struct {
		adapter func() rooms.Adapter
		window  time.Duration
	}{
		"bus":               {func() rooms.Adapter { return plain.stop() }, 0},
		"bus with recovery": {func() rooms.Adapter { return plain.stop() }, time.Minute},
		"log":               {func() rooms.Adapter { return log.book() }, time.Minute},
	} {
		plain.stops = nil
		var asked [2]atomic.Int64
		var srvs [2]*server
		for i := range srvs {
			o := sio.Options{Adapter: x.adapter(), Recovery: sio.Recovery{Window: x.window}, Loop: loop.Options{SoftOutbound: 4000}}
			srvs[i] = serve(t, o, func(srv *sio.Server) {
				srv.Of("/").SetClass("price", func(a sio.Args) sio.Class { asked[i].Add(1); return bySymbol(a) })
			})
		}
		c := srvs[0].dial()
		c.send("40")
		if got := c.next(); !strings.HasPrefix(got, "40{") {
			t.Fatalf("%s: the answer to CONNECT is %s", name, got)
		}
		pad := strings.Repeat("x", 16<<10)
		for i := range events { // more than the kernel keeps
			if err := srvs[1].Of("/").Emit("price", "A", i, pad); err != nil {
				t.Fatal(err)
			}
		}
		_ = srvs[1].Of("/").Emit("end")
		eventually(t, "both servers have all events", func() bool {
			return asked[0].Load() == events && asked[1].Load() == events && srvs[0].Stats().Namespaces[0].Emits == events+1
		})
		got, last := 0, -1
		for {
			p := c.next()
			if strings.HasPrefix(p, `42["end"`) {
				break
			}
			n := 0
			if _, err := fmt.Sscanf(p, `42["price","A",%d,`, &n); err != nil || n <= last {
				t.Fatalf("%s: %.40s comes behind %d", name, p, last)
			}
			got, last = got+1, n
		}
		dropped := srvs[0].Stats().Namespaces[0].Dropped
		if dropped == 0 || int(dropped)+got != events || last != events-1 {
			t.Errorf("%s: of %d events %d came, up to %d, and %d were dropped", name, events, got, last, dropped)
		}
	}
}

func TestInstancesAndEventsAreClassesOfTheirOwn(t *testing.T) {
	srv := siotest.New(t, small(sio.Options{QueuePolicy: sio.Conflate}))
	ns := srv.Of("/board/:id")
	one := srv.ConnectWith("/board/1", siotest.Options{})
	two := srv.ConnectWith("/board/2", siotest.Options{On: one})
	one.Stall(true)
	for i := range 3 {
		_ = ns.Emit("a", i)
		_ = ns.Emit("b", i)
		srv.Advance(0)
	}
	one.Stall(false)
	for _, c := range []*siotest.Client{one, two} {
		if got := fmt.Sprint(c.Received()); got != `["a" 2 "b" 2]` {
			t.Errorf("%v received %v", c, got)
		}
	}
}

// A class that cannot be had does no harm: the event is one of the option's.
func TestAClassThatPanicsIsTold(t *testing.T) {
	var told []string
	o := small(sio.Options{OnError: func(_ sio.Socket, event string, err error) { told = append(told, fmt.Sprint(event, ": ", err)) }})
	srv := siotest.New(t, o)
	srv.Of("/").SetClass("price", func(sio.Args) sio.Class { panic("oh") })
	srv.Of("/").SetClass("odd", func(sio.Args) sio.Class { return sio.Class{Policy: 99} })
	c := stalled(srv, siotest.Options{})
	for i := range 3 {
		_ = srv.Of("/").Emit("price", i)
		_ = c.Socket().Emit("odd", i)
	}
	c.Stall(false)
	if got := len(c.Received()); got != 6 || len(told) != 3 || !strings.Contains(told[0], "price: ") || srv.Stats().Panics != 3 {
		t.Errorf("%d events came, OnError was told %q, want 6, and 3 panics", got, told)
	}
}

// A client that was slow and comes back gets what is behind the last event that it
// has: what was dropped before that does not come again, and nothing else is missing.
func TestWhatWasDroppedIsNotMissed(t *testing.T) {
	srv := siotest.New(t, small(sio.Options{Recovery: sio.Recovery{Window: time.Minute}}))
	ns := srv.Of("/")
	ns.SetClass("price", bySymbol)
	c := srv.Connect("/")
	_ = ns.Emit("firm", 0)
	c.Settle()
	c.Stall(true)
	for i := 1; i <= 9; i++ {
		_ = ns.Emit("price", "A", i)
		_ = ns.Emit("firm", i)
		srv.Advance(0)
	}
	c.Stall(false)
	c.Settle()
	c.Drop()
	_ = ns.Emit("price", "A", 10)
	if err := c.Reconnect(); err != nil || !c.Recovered() {
		t.Fatalf("recovered %v, %v", c.Recovered(), err)
	}
	var firm, prices []int
	for _, e := range c.Received() {
		var symbol string
		var n int
		if e.Name == "firm" {
			siotestDecode(t, e, &n)
			firm = append(firm, n)
		} else {
			siotestDecode(t, e, &symbol, &n)
			prices = append(prices, n)
		}
	}
	if fmt.Sprint(firm) != "[0 1 2 3 4 5 6 7 8 9]" || fmt.Sprint(prices) != "[1 9 10]" {
		t.Errorf("firm %v, prices %v; want all of them, and those that were not dropped", firm, prices)
	}

	// One whose connection is lost with all that waits gets what it has not had.
	c.Stall(true)
	for i := 11; i <= 15; i++ {
		_ = ns.Emit("price", "A", i)
		_ = ns.Emit("firm", i)
		srv.Advance(0)
	}
	c.Drop()
	if err := c.Reconnect(); err != nil || !c.Recovered() {
		t.Fatalf("recovered %v, %v", c.Recovered(), err)
	}
	n := 0
	for _, e := range c.Received() {
		if e.Name == "firm" {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d events came that may not be dropped, want 5", n)
	}
}

// The hard bound, and pings, still end who takes nothing.
func TestWhoTakesNothingOfAMarketBoardIsEndedByAPing(t *testing.T) {
	o := small(sio.Options{QueuePolicy: sio.DropOldest})
	o.Engine = eio.Options{PingInterval: 5 * time.Second, PingTimeout: 4 * time.Second, MaxQueue: 4000, SlowAfter: time.Second}
	o.Loop.SlowAfter, o.Loop.SoftOutbound = time.Second, 8000 // an answer to a poll, once begun, is not dropped
	for _, polling := range []bool{false, true} {
		srv := siotest.New(t, o)
		var why sio.Reason
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { why = r })
		c := srv.ConnectWith("/", siotest.Options{Polling: polling})
		s := c.Socket()
		c.Stall(true)
		for range 4 {
			for range 100 {
				_ = srv.Of("/").Emit("news", strings.Repeat("x", 200))
			}
			srv.Advance(time.Second)
		}
		if s.Gone() {
			t.Errorf("polling %v: closed before a ping was due", polling)
		}
		srv.Advance(30 * time.Second)
		if why != eio.PingTimeout {
			t.Errorf("polling %v: disconnected for %q, want %q", polling, why, eio.PingTimeout)
		}
	}
}

// An event with a class costs as much for each who keeps up as one without, whether it
// is sent alone or with others of one step.
func TestAClassAllocatesNothingForItsRecipients(t *testing.T) {
	if raceEnabled {
		t.Skip("the pools lose buffers on purpose under the race detector")
	}
	cost := func(clients, burst int, class sio.Class) float64 {
		st := newStage(t, sio.Options{Loop: loop.Options{Loops: 1}})
		for range clients {
			st.enter(0).peer.Discard(true)
		}
		to := st.ns.All().Class(class)
		return testing.AllocsPerRun(100, func() {
			for range burst {
				_ = to.Emit("price", "A", 1)
			}
			st.sim.Turn()
		})
	}
	for _, burst := range []int{1, 5} {
		conflated := sio.Class{Policy: sio.Conflate, Key: "A"}
		plain, few, many := cost(100, burst, sio.Class{}), cost(10, burst, conflated), cost(100, burst, conflated)
		if many > few || many > plain+float64(12*burst) {
			t.Errorf("%d in a step: %v allocations for 100, %v for 10, %v without a class", burst, many, few, plain)
		}
	}
}
