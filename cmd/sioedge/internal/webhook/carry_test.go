package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// hold has the backend hold, as a handover that has ten seconds for it does.
func (w *world) hold() error {
	ctx, done := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer done()
	if err := w.b.Hold(ctx); err != nil {
		return err
	}
	return w.b.Still(ctx)
}

// succeed has another backend, of the same server, go on where this one is held.
func (w *world) succeed(change func(own *config.Backend)) (old *Backend) {
	w.t.Helper()
	data, err := w.b.Export()
	if err != nil {
		w.t.Fatal(err)
	}
	own := *w.b.own.Load()
	if change != nil {
		change(&own)
	}
	old = w.b
	if w.b, err = New(w.Server.Server, "main", own, Options{Node: "edge-1", Logger: slog.New(slog.NewTextHandler(w.log, nil))}); err != nil {
		w.t.Fatal(err)
	}
	w.swap()
	if err := w.b.Import(data); err != nil {
		w.t.Fatal(err)
	}
	w.b.Taken()
	w.b.Release()
	return old
}

// handOver is hold and succeed.
func (w *world) handOver(change func(own *config.Backend)) (old *Backend) {
	w.t.Helper()
	if err := w.hold(); err != nil {
		w.t.Fatal(err)
	}
	return w.succeed(change)
}

// What waits when the server's clients are handed over is told by the successor: each item
// once, in order, by the id and in the request that it had, after the pause that was left;
// acknowledgements reach who waits for them, and who has told something learns of it.
func TestWhatWaitsIsToldByTheSuccessor(t *testing.T) {
	for _, lanes := range []int{4, 3} { // as many, or others
		inWorld(t, onlyEvents, func(w *world) {
			down := func(*request, *http.Request) (*http.Response, error) { return nil, errors.New("refused") }
			w.app.set(down)
			c, d := w.Connect("/"), w.Connect("/")
			c.Emit("one", 1, []byte{7})
			synctest.Wait()
			w.b.Tell(action.Disconnect, action.Peer{Lane: action.LaneOf(c.Socket().Conn()), ID: "kept-1", SID: "s", Done: func(bool) { w.t.Error("the one that goes says what has become of it") }}, nil)
			synctest.Wait() // the first try has failed
			before := w.app.got()
			if len(before) == 0 || len(before[0].items) != 1 {
				t.Fatalf("before, %d requests were made", len(before))
			}
			two := c.EmitAck("two", 2)
			d.Emit("three")
			synctest.Wait()
			if err := w.hold(); err != nil {
				t.Fatal(err)
			}
			four := d.EmitAck("four") // is queued while nothing is told
			synctest.Wait()
			before = append(before, w.app.got()...)
			w.app.set(func(r *request, _ *http.Request) (*http.Response, error) {
				return results(r, func(x *told) string { return fmt.Sprintf(`,"ack":[%q]`, "ack of "+x.Ev) }), nil
			})
			time.Sleep(5 * time.Second)
			if n := len(w.app.got()); n > 0 {
				t.Errorf("%d requests were made while it holds", n)
			}
			w.succeed(func(own *config.Backend) { own.Lanes = lanes })
			done := make(chan bool, 1)
			w.b.Tell(action.Disconnect, action.Peer{Lane: 1, ID: "kept-1", SID: "s", Done: func(taken bool) { done <- taken }}, nil)
			if !<-done {
				t.Error("what was told to the one that went is lost")
			}
			synctest.Wait()
			time.Sleep(time.Minute)
			for name, a := range map[string]*siotest.Ack{"two": two, "four": four} {
				var text string
				if a.Decode(&text); text != "ack of "+name {
					t.Errorf("%s is acknowledged with %q", name, text)
				}
			}
			ids := map[string]string{}
			for _, r := range before {
				for _, x := range r.items {
					ids[x.ID] = x.Ev + x.Type
				}
			}
			order := map[string][]string{}
			again := 0
			for _, r := range w.app.got() {
				for _, x := range r.items {
					order[x.SID] = append(order[x.SID], x.Ev+x.Reason)
					if ids[x.ID] == x.Ev+x.Type {
						again++
					}
				}
				if lanes == 4 && len(r.items) == 1 && r.items[0].Ev == "one" && r.id != before[0].id {
					t.Errorf("the request has the id %s, and had %s", r.id, before[0].id)
				}
			}
			if got := order[c.ID()]; !slices.Equal(got, []string{"one", "two"}) {
				t.Errorf("of the first client it tells %q", got)
			}
			if got := order[d.ID()]; !slices.Equal(got, []string{"three", "four"}) {
				t.Errorf("of the second client it tells %q", got)
			}
			if len(order["s"]) != 1 || again < 1 {
				t.Errorf("what is kept is told %d times; %d items have the ids that they had", len(order["s"]), again)
			}
			s := w.counts()
			if s.Lost != ([action.Kinds][lossCount]int64{}) {
				t.Errorf("lost are %v", s.Lost)
			}
		})
	}
}

// Numbered events with acknowledgements go on over handovers, one after the other and at any
// moment, under an application that takes its time: each is told once and in order, and each
// client has one answer to each.
func TestEventsUnderHandovers(t *testing.T) {
	for seed := range uint64(8) {
		inWorld(t, func(own *config.Backend) {
			onlyEvents(own)
			own.MaxBatch = 1 + int(seed)*5
			own.Lanes = 1 + int(seed%4)
		}, func(w *world) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			var mu sync.Mutex
			seen, order := map[string]int{}, map[string][]string{}
			w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
				mu.Lock()
				d := time.Duration(rnd.IntN(400)) * time.Millisecond
				for _, x := range r.items {
					seen[x.ID]++
					order[x.SID] = append(order[x.SID], x.Ev)
				}
				mu.Unlock()
				time.Sleep(d)
				return results(r, func(x *told) string { return fmt.Sprintf(`,"ack":[%q]`, x.Ev) }), nil
			}
			var clients []*siotest.Client
			for range 3 {
				clients = append(clients, w.Connect("/"))
			}
			const events = 120
			acks := map[*siotest.Client][]*siotest.Ack{}
			for i := range events {
				for _, c := range clients {
					acks[c] = append(acks[c], c.EmitAck(fmt.Sprintf("%04d", i)))
				}
				time.Sleep(50 * time.Millisecond)
				if i%17 == int(seed) {
					w.handOver(nil)
				}
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for id, n := range seen {
				if n != 1 {
					t.Errorf("seed %d: %s is told %d times", seed, id, n)
				}
			}
			for _, c := range clients {
				if got := order[c.ID()]; len(got) != events || !slices.IsSorted(got) {
					t.Errorf("seed %d: %d are told of a client, in this order: %v", seed, len(got), got)
				}
				for i, a := range acks[c] {
					if got := a.Args().String(); got != fmt.Sprintf(`"%04d"`, i) {
						t.Errorf("seed %d: event %d is acknowledged with %s", seed, i, got)
					}
				}
			}
		})
	}
}

// What is under way when it begins to hold is waited for, and what is answered is done.
// What would take too long is given up: without an answer it is told again, by the same id,
// but for what a client waits for.
func TestWhatIsUnderWayIsWaitedFor(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.Timeout = time.Minute }, func(w *world) {
		release := make(chan struct{})
		w.app.set(func(r *request, req *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return results(r, func(x *told) string { return `,"ack":["yes"],"emit":[{"ev":"done"}]` }), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		})
		c := w.Connect("/")
		a := c.EmitAck("in time")
		synctest.Wait()
		time.AfterFunc(3*time.Second, func() { close(release) })
		begin := time.Now()
		if err := w.hold(); err != nil || time.Since(begin) != 3*time.Second {
			t.Fatalf("it holds after %v, %v", time.Since(begin), err)
		}
		var yes string
		if a.Decode(&yes); yes != "yes" {
			t.Errorf("the acknowledgement is %q", yes)
		}
		c.Expect("done")
		release = make(chan struct{})
		w.succeed(nil)
		w.app.got()

		lost := c.EmitAck("asks")
		c2 := w.Connect("/")
		for w.b.lane(c2.Socket().Conn()) == w.b.lane(c.Socket().Conn()) {
			c2 = w.Connect("/")
		}
		c2.Emit("tells")
		synctest.Wait()
		begin = time.Now()
		if err := w.hold(); err != nil || time.Since(begin) != 8*time.Second {
			t.Fatalf("it holds after %v, %v", time.Since(begin), err)
		}
		if n := w.counts().Lost[action.Event][lossOf(Broken)]; n != 1 || lost.Done() {
			t.Errorf("%d are lost, acknowledged: %t", n, lost.Done())
		}
		first := w.app.got()
		close(release)
		w.succeed(nil)
		c.Emit("more")
		time.Sleep(time.Minute)
		synctest.Wait()
		var told, ids []string
		for _, r := range append(first, w.app.got()...) {
			for _, x := range r.items {
				if x.Ev == "tells" {
					ids = append(ids, x.ID)
				}
				told = append(told, x.Ev+x.Type)
			}
		}
		if len(ids) != 2 || ids[0] != ids[1] || !slices.Contains(told, "lost") {
			t.Errorf("told are %q, one of them by the ids %q", told, ids)
		}
	})
}

// A handover that is called off has done nothing.
func TestAHandoverThatIsCalledOff(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.set(func(*request, *http.Request) (*http.Response, error) { return nil, errors.New("refused") })
		c := w.Connect("/")
		c.Emit("1")
		synctest.Wait()
		if err := w.hold(); err != nil {
			t.Fatal(err)
		}
		c.Emit("2")
		if _, err := w.b.Export(); err != nil {
			t.Fatal(err)
		}
		w.app.set(nil)
		w.app.got()
		w.b.Release()
		time.Sleep(time.Minute)
		if got := said(w.app.got()); !slices.Equal(got, []string{"1", "2"}) || w.counts().Lost != ([action.Kinds][lossCount]int64{}) {
			t.Errorf("told are %q", got)
		}
		w.app.set(func(_ *request, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		c.Emit("3")
		ctx, done := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
		defer done()
		if err := w.b.Hold(ctx); err != nil { // it is given up in time
			t.Errorf("Hold = %v", err)
		}
		ended, end := context.WithCancel(w.t.Context())
		w.b.Release()
		time.Sleep(2 * time.Second)
		end()
		if err := w.b.Hold(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Hold of a context that is done = %v", err)
		}
		w.app.set(nil)
		w.b.Release()
		time.Sleep(time.Minute)
	})
}

// Who waits since a lane is full does not any more; where it goes on the lane is full still,
// so that clients wait.
func TestAFullLaneIsFullInTheSuccessor(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.Queue, own.MaxBatchBytes, own.Lanes = 64<<10, 4<<10, 1 }, func(w *world) {
		w.app.set(func(*request, *http.Request) (*http.Response, error) { return nil, errors.New("refused") })
		c := w.Connect("/")
		n := 0
		for ; w.counts().PausedNow == 0; n++ {
			c.Start(fmt.Sprintf("%04d", n), strings.Repeat("x", 1<<10))
		}
		if err := w.hold(); err != nil {
			t.Fatal(err)
		}
		if s := w.counts(); s.PausedNow != 0 || s.Queued <= 8<<10 {
			t.Errorf("%d wait for room, and %d bytes wait", s.PausedNow, s.Queued)
		}
		queued := w.counts().Queued
		w.succeed(nil)
		if s := w.counts(); s.Queued < queued*9/10 {
			t.Errorf("%d bytes wait of %d", s.Queued, queued)
		}
		c.Start(fmt.Sprintf("%04d", n), "more")
		if s := w.counts(); s.PausedNow != 1 {
			t.Errorf("%d wait for room", s.PausedNow)
		}
		w.app.set(nil)
		w.app.got()
		time.Sleep(time.Minute)
		w.Settle()
		if got := said(w.app.got()); len(got) != n+1 || !slices.IsSorted(got) {
			t.Errorf("%d are told of %d: %v", len(got), n+1, got)
		}
	})
}

// Clients that want in are asked about while events are held; who would be decided about too
// late is decided about at once, as if the backend had not answered.
func TestClientsThatWantInMeanwhile(t *testing.T) {
	inWorld(t, func(own *config.Backend) {
		own.Events, own.Timeout, own.OnError = []string{"connect"}, time.Hour, "reject"
	}, func(w *world) {
		release := make(chan struct{})
		w.app.set(func(r *request, req *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return respond(204, ""), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		})
		w.Patience = time.Hour
		for in, d := range map[bool]time.Duration{true: time.Second, false: time.Hour} {
			release = make(chan struct{})
			entered := make(chan error, 1)
			go func() { // ends when it is in, or not
				_, err := w.Try("/", siotest.Options{})
				entered <- err
			}()
			synctest.Wait()
			time.AfterFunc(d, func() { close(release) })
			if err := w.b.Hold(deadlineIn(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if err := <-entered; err == nil != in || time.Since(begin) > 8*time.Second {
				t.Errorf("a client that is answered after %v: %v, after %v", d, err, time.Since(begin))
			}
			if err := w.b.Still(deadlineIn(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			w.succeed(nil)
		}
	})
}

func deadlineIn(d time.Duration) context.Context {
	ctx, done := context.WithTimeout(context.Background(), d)
	time.AfterFunc(d, done)
	return ctx
}

// What a client has sent that stays with the server that goes is that server's; what others
// have sent is the successor's, also if they have left. Nothing is both's.
func TestWhatStays(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.set(func(*request, *http.Request) (*http.Response, error) { return nil, errors.New("refused") })
		here, left, goes := w.Connect("/"), w.Connect("/"), w.Connect("/")
		for name, c := range map[string]*siotest.Client{"here": here, "left": left, "goes": goes} {
			c.Emit(name)
		}
		w.tell(action.Disconnect, 1, 1)
		synctest.Wait()
		left.Drop()
		if err := w.hold(); err != nil {
			t.Fatal(err)
		}
		data, err := w.b.Export()
		if err != nil {
			t.Fatal(err)
		}
		old := w.b
		goes.Drop() // is forgotten
		w.app.set(nil)
		w.app.got()
		old.Moved()
		time.Sleep(time.Minute)
		if got := said(w.app.got()); !slices.Equal(got, []string{"here"}) || old.Stats().Queued != 0 {
			t.Errorf("the one that goes tells of %q, and %d bytes wait", got, old.Stats().Queued)
		}
		if old.Stats().Lost != ([action.Kinds][lossCount]int64{}) {
			t.Errorf("it has lost %v", old.Stats().Lost)
		}
		if w.b, err = New(w.Server.Server, "main", *old.own.Load(), Options{Node: "edge-1"}); err != nil {
			t.Fatal(err)
		}
		w.swap()
		here.Drop() // is not there
		if err := w.b.Import(data); err != nil {
			t.Fatal(err)
		}
		w.b.Taken()
		w.b.Release()
		time.Sleep(time.Minute)
		got := said(w.app.got())
		if slices.Sort(got); !slices.Equal(got, []string{"", "left"}) {
			t.Errorf("the successor tells of %q", got)
		}
		_ = old.Close(w.t.Context())
	})
}

// Losses that are to be told, and a breaker that is open, go along.
func TestLossesAndTheBreakerGoAlong(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.set(func(*request, *http.Request) (*http.Response, error) { return respond(500, ""), nil })
		c := w.Connect("/")
		c.EmitAck("lost")
		synctest.Wait()
		w.b.breaker.trip()
		opened := w.counts().Opened
		w.handOver(nil)
		if s := w.counts(); s.Breaker != Open || s.Opened != opened || opened == 0 {
			t.Errorf("the breaker is %v, and was opened %d times of %d", s.Breaker, s.Opened, opened)
		}
		c.Emit("more")
		w.app.set(nil)
		w.app.got()
		time.Sleep(time.Minute)
		lost := 0
		for _, r := range w.app.got() {
			for _, x := range r.items {
				lost += x.Counts["event"]
			}
		}
		if lost == 0 {
			t.Error("the successor does not tell that something was lost")
		}
	})
}

// What was written in another form is told as it was; where requests are of one kind now,
// each item is one by itself.
func TestTheSuccessorHasOtherSettings(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.set(func(*request, *http.Request) (*http.Response, error) { return nil, errors.New("refused") })
		c := w.Connect("/")
		for range 3 {
			c.Emit("x")
		}
		w.b.Tell(action.Disconnect, action.Peer{Lane: action.LaneOf(c.Socket().Conn()), SID: "s"}, nil)
		synctest.Wait()
		w.app.set(nil)
		w.app.got()
		w.handOver(func(own *config.Backend) { own.Format, own.URL = "cloudevents", "http://app.test/{type}" })
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, r := range w.app.got() {
			if r.header.Get("Content-Type") != "application/json" || len(r.items) != 1 || r.url != "http://app.test/"+r.items[0].Type {
				t.Errorf("%s is told %d items, the first of %s", r.url, len(r.items), r.items[0].Type)
			}
		}
		if s := w.counts(); s.Told[action.Event] != 3 || s.Told[action.Disconnect] != 1 {
			t.Errorf("%d and %d are told", s.Told[action.Event], s.Told[action.Disconnect])
		}
	})
}

// imported is a backend as data that has some of everything.
func imported() carriedBackend {
	item := carriedItem{Text: []byte(`{"id":"abc","type":"event"}`), IDLen: 3, Kind: "event", Since: 1, Asks: true, Reply: 4, Attachments: [][]byte{{1}}}
	return carriedBackend{
		Forms: []carriedForm{{Node: `"n"`, Source: `"/nodes/n"`}, {Node: `"n"`, Source: `"s"`, Cloud: true}},
		Lanes: [][]carriedPack{{{Kind: "event", ID: "i", Tries: 2, After: time.Second, Items: []carriedItem{item, item}}}, {}, {}, {{Form: 1, Kind: "disconnect", Items: []carriedItem{{Text: item.Text, IDLen: 3, Kind: "disconnect", Waited: true}}}}},
		Lost:  []carriedLoss{{"event", 3}}, Since: 5, LastID: 7, Ill: true, Opened: 2,
	}
}

// What cannot be is refused, and nothing of it is there.
func TestHostileBackends(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		for name, change := range map[string]func(x *carriedBackend, p *carriedPack, it *carriedItem){
			"a form that there is not": func(_ *carriedBackend, p *carriedPack, _ *carriedItem) { p.Form = 2 },
			"a form before the first":  func(_ *carriedBackend, p *carriedPack, _ *carriedItem) { p.Form = -1 },
			"a node that is no text":   func(x *carriedBackend, _ *carriedPack, _ *carriedItem) { x.Forms[0].Node = `"n","x":{` },
			"a kind that there is not": func(_ *carriedBackend, p *carriedPack, _ *carriedItem) { p.Kind = "x" },
			"another one":              func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.Kind = "" },
			"a question":               func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.Kind = "connect" },
			"an item that is no JSON":  func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.Text = []byte(`{"id":"abc"`) },
			"two items": func(_ *carriedBackend, _ *carriedPack, it *carriedItem) {
				it.Text = []byte(`{"id":"abc"},{"id":"abc"}`)
			},
			"no item":                   func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.Text = nil },
			"an id beyond the item":     func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.IDLen = 100 },
			"an id that ends elsewhere": func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.IDLen = 2 },
			"an id of a negative size":  func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.IDLen = -1 },
			"tries below nothing":       func(_ *carriedBackend, p *carriedPack, _ *carriedItem) { p.Tries = -1 },
			"losses below nothing":      func(x *carriedBackend, _ *carriedPack, _ *carriedItem) { x.Lost[0].N = -1 },
			"a loss of no kind":         func(_ *carriedBackend, _ *carriedPack, it *carriedItem) { it.Lost = []carriedLoss{{"x", 1}} },
		} {
			x := imported()
			change(&x, &x.Lanes[0][0], &x.Lanes[0][0].Items[1])
			data, err := carried.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			if w.b.Import(data) == nil {
				t.Errorf("%s is taken", name)
			}
			w.b.carried = restored{}
		}
		data, _ := carried.Marshal(imported())
		if err := w.b.Import(data); err != nil {
			t.Errorf("what is right is refused: %v", err)
		}
		w.b.carried = restored{}
		for n := range data {
			if w.b.Import(data[:n]) == nil {
				t.Errorf("%d bytes of %d are taken", n, len(data))
			}
		}
	})
}

// Whatever comes is refused, or can be told and handed over again.
func FuzzImport(f *testing.F) {
	data, _ := carried.Marshal(imported())
	f.Add(data)
	f.Add([]byte{0xa0})
	srv := siotest.New(f, sio.Options{})
	own := settings()
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := New(srv.Server, "main", own, Options{Node: "edge-1", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if b.Import(data) != nil {
			return
		}
		b.halt.begin(false)
		b.Taken()
		for i := range b.lanes {
			for _, x := range b.lanes[i].queue {
				if p := x.parcel(); !json.Valid(p.body) && len(x.items) > 0 && x.bytes == 0 {
					t.Errorf("a request is no JSON: %s", p.body)
				}
				x.unwrap()
			}
		}
		again, err := b.Export()
		if err != nil {
			t.Fatal(err)
		}
		c, _ := New(srv.Server, "main", own, Options{Node: "edge-1", Logger: slog.New(slog.DiscardHandler)})
		if err := c.Import(again); err != nil {
			t.Errorf("what was exported again is refused: %v", err)
		}
	})
}
