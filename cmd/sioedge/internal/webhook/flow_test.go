package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio/siotest"
)

// An event goes as it came, and what is answered is done.
func TestEventIsToldAndAnswered(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			return results(r, func(x *told) string {
				return `,"ack":[{"ok":true,"id":991}],"emit":[{"ev":"thanks","args":[1]}],
				"actions":[{"op":"join","rooms":["r2"]},{"op":"data","set":{"seen":991}},{"op":"emit","to":["r2"],"ev":"said","args":[{"text":"hi"}]}]`
			}), nil
		}
		c := w.Connect("/")
		a := c.EmitAck("chat message", json.RawMessage(`{"room":"r1","text":"hi"}`), "two")
		var answer struct{ ID int }
		a.Await()
		if a.Decode(&answer); answer.ID != 991 {
			t.Errorf("the acknowledgement is %v", a.Args())
		}
		c.Await("thanks")
		c.Await("said")
		all := w.app.got()
		if len(all) != 1 || len(all[0].items) != 1 || all[0].node != "edge-1" {
			t.Fatalf("there are requests %+v", all)
		}
		x := all[0].items[0]
		if x.Type != "event" || x.Ev != "chat message" || x.SID != c.ID() || x.User != "u7" || x.Nsp != "/" || !x.Ack || len(x.Args) != 2 || string(x.Args[0]) != `{"room":"r1","text":"hi"}` {
			t.Errorf("the item is %+v", x)
		}
		if len(x.ID) != 26 || x.Time != time.Now().UnixMilli() {
			t.Errorf("the item has the id %q and the time %d", x.ID, x.Time)
		}
		if !c.Socket().In("r2") {
			t.Error("the client has not joined")
		}
		c.EmitAck("again").Await()
		if x := w.app.got()[0].items[0]; string(x.Data) != `{"seen":991}` {
			t.Errorf("the next event has the data %s", x.Data)
		}
		if s := w.counts(); s.Told[action.Event] != 2 || s.Others.Outcomes[Answered] != 2 || s.Unacknowledged != 0 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// What comes while a request is under way leaves in the next one, in order.
func TestBatchesBuildUp(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { <-answered; return respond(204, ""), nil }
		c := w.Connect("/")
		var want []string
		for i := range 300 {
			c.Emit(fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
			synctest.Wait()
		}
		if n := len(w.app.got()[0].items); n != 1 {
			t.Errorf("the first request has %d events", n)
		}
		close(answered)
		synctest.Wait()
		all := w.app.got()
		if len(all) != 2 || len(all[0].items) != 256 || len(all[1].items) != 43 {
			t.Errorf("there are %d more requests", len(all))
		}
		if got := said(all); !slices.Equal(got, want[1:]) {
			t.Errorf("the events are %v", got)
		}
	})
}

// A request is no larger than max_batch_bytes unless a single event is.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.MaxBatchBytes = 4096 }, func(w *world) {
		sizes := []int64{}
		answered := make(chan struct{})
		w.app.answer = func(_ *request, req *http.Request) (*http.Response, error) {
			<-answered
			sizes = append(sizes, req.ContentLength)
			return respond(204, ""), nil
		}
		c := w.Connect("/")
		var want []string
		for i, n := range []int{10, 1000, 1000, 1000, 1000, 6000, 10, 10, 3000} {
			c.Emit(fmt.Sprint(i), strings.Repeat("x", n))
			want = append(want, fmt.Sprint(i))
		}
		close(answered)
		synctest.Wait()
		if got := said(w.app.got()); !slices.Equal(got, want) {
			t.Errorf("the events are %v", got)
		}
		large := slices.DeleteFunc(slices.Clone(sizes), func(n int64) bool { return n <= 4096 })
		if len(large) != 1 || len(sizes) > 6 {
			t.Errorf("requests have %v bytes", sizes)
		}
	})
}

// What is missing from the answer is taken, and what is in it for nobody is counted.
func TestResultsThatFitNothing(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			id := r.items[0].ID
			return respond(200, `{"results":[{"id":"nobody","ack":[1]},{"id":"`+id+`","ack":["first"]},{"id":"`+id+`","ack":["second"]}]}`), nil
		}
		c := w.Connect("/")
		var got string
		if a := c.EmitAck("x"); a.Await().Len() != 1 {
			t.Fatal("there is no acknowledgement")
		} else if a.Decode(&got); got != "first" {
			t.Errorf("the acknowledgement is %q", got)
		}
		w.app.set(func(*request, *http.Request) (*http.Response, error) { return respond(200, `{"results":[]}`), nil })
		c.Emit("y")
		synctest.Wait()
		w.app.set(func(r *request, _ *http.Request) (*http.Response, error) {
			return results(r, func(*told) string { return `,"actions":[{"op":"fly"}],"ack":[1]` }), nil
		})
		c.EmitAck("z")
		synctest.Wait()
		if s := w.counts(); s.Unknown != 2 || s.Faulty != 1 || s.Told[action.Event] != 3 || s.Unacknowledged != 1 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// An event is sent three times at most, with the same id, and then lost, which the next
// request says. The events behind it wait.
func TestEventsAreTriedAgain(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		fails := 5
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			if fails--; fails >= 0 {
				return respond(503, ""), nil
			}
			return respond(204, ""), nil
		}
		c := w.Connect("/")
		start := time.Now()
		c.Emit("lost")
		synctest.Wait()
		c.Emit("late")
		time.Sleep(time.Minute)
		synctest.Wait()
		all := w.app.got()
		if got, want := said(all), []string{"lost", "lost", "lost", "late", "", "late", "", "late", ""}; !slices.Equal(got, want) {
			t.Fatalf("the events are %q, want %q", got, want)
		}
		for i := 1; i < 3; i++ {
			if all[i].id != all[0].id || all[i].items[0].ID != all[0].items[0].ID {
				t.Errorf("try %d has other ids", i)
			}
		}
		if all[3].id == all[0].id {
			t.Error("another request has the same id")
		}
		report := all[5].items[1]
		if report.Type != "lost" || report.Counts["event"] != 1 || report.Since != start.UnixMilli() {
			t.Errorf("what was lost is told as %+v", report)
		}
		if s := w.counts(); s.Told[action.Event] != 1 || s.Lost[action.Event][lossOf(Busy)] != 1 {
			t.Errorf("told %v, lost %v", s.Told, s.Lost)
		}
	})
}

// A request that is sent again has its id as long as the same is in it.
func TestRequestsHaveAnID(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		c := w.Connect("/")
		n := 0
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			switch n++; n {
			case 1: // what comes meanwhile shares the next request
				time.Sleep(time.Second)
			case 2, 3:
				return respond(503, ""), nil
			}
			return respond(204, ""), nil
		}
		c.Emit("first")
		synctest.Wait()
		c.Emit("a")
		c.EmitAck("asks") // and is not tried again
		c.Emit("b")
		time.Sleep(time.Minute)
		synctest.Wait()
		all := w.app.got()[1:]
		if got, want := said(all[:3]), []string{"a", "asks", "b", "a", "b", "a", "b"}; !slices.Equal(got, want) {
			t.Fatalf("the events are %q, want %q", got, want)
		}
		if all[0].id == all[1].id || all[1].id != all[2].id {
			t.Errorf("the ids are %q, %q and %q", all[0].id, all[1].id, all[2].id)
		}
	})
}

// An event whose client waits has one try. With ack_errors the client hears of it.
func TestEventsWithAcknowledgementHaveOneTry(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.AckErrors = true }, func(w *world) {
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { return respond(503, ""), nil }
		c := w.Connect("/")
		a := c.EmitAck("x")
		var got noAnswer
		a.Await()
		if a.Decode(&got); got.Error.Code != 503 || got.Error.Reason != "busy" {
			t.Errorf("the acknowledgement is %v", a.Args())
		}
		if n := len(w.app.got()); n != 1 {
			t.Errorf("there were %d tries", n)
		}
		if s := w.counts(); s.Unacknowledged != 1 || s.Lost[action.Event][lossOf(Busy)] != 1 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// An acknowledgement that a rule wants soon is given up by then.
func TestAcknowledgementsThatAreTooLate(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.AckErrors = true }, func(w *world) {
		w.app.answer = func(_ *request, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		c := w.Connect("/")
		start := time.Now()
		a := c.EmitAck("soon")
		var got noAnswer
		a.Await()
		if a.Decode(&got); got.Error.Reason != "timeout" || time.Since(start) != time.Second {
			t.Errorf("after %v the acknowledgement is %v", time.Since(start), a.Args())
		}
		c.EmitAck("whenever")
		synctest.Wait()
		b := c.EmitAck("soon") // waits behind it
		b.Await()
		if b.Decode(&got); got.Error.Reason != "late" || time.Since(start) > 4*time.Second+lookEvery {
			t.Errorf("after %v the acknowledgement is %v", time.Since(start), b.Args())
		}
		if got := said(w.app.got()); slices.Index(got, "soon") != 0 || slices.Contains(got[1:], "soon") {
			t.Errorf("sent were %q, one of them too late", got)
		}
	})
}

// What is kept is told until the backend has it, in order, and its teller hears of it.
func TestKeptKindsAreToldInTheEnd(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		var down atomic.Bool
		down.Store(true)
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return respond(204, ""), nil
		}
		var done []<-chan bool
		for i := range 5 {
			done = append(done, w.tell(action.Disconnect, 1, i))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		tries := len(w.app.got())
		if tries < 25 || tries > 70 {
			t.Errorf("there were %d tries in five minutes", tries)
		}
		down.Store(false)
		time.Sleep(maxPause)
		synctest.Wait()
		var ids []string
		for _, r := range w.app.got() {
			for _, x := range r.items {
				ids = append(ids, x.ID)
			}
		}
		if want := []string{"disconnect-0", "disconnect-1", "disconnect-2", "disconnect-3", "disconnect-4"}; !slices.Equal(ids, want) {
			t.Errorf("told are %v", ids)
		}
		for i, ch := range done {
			if taken := <-ch; !taken {
				t.Errorf("%d is not taken", i)
			}
		}
	})
}

// After retry_for what is kept is lost as well, and told as such.
func TestKeptKindsAreLostInTheEnd(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		var down atomic.Bool
		down.Store(true)
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			if down.Load() {
				return respond(401, ""), nil
			}
			return respond(204, ""), nil
		}
		done := w.tell(action.Room, 1, 0)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		select {
		case taken := <-done:
			if taken {
				t.Error("it was taken")
			}
		default:
			t.Error("it is tried for more than ten minutes")
		}
		w.app.got()
		down.Store(false)
		w.tell(action.Connected, 1, 1)
		synctest.Wait()
		all := w.app.got()
		if len(all) != 1 || len(all[0].items) != 2 || all[0].items[1].Counts["room"] != 1 {
			t.Errorf("told is %+v", all)
		}
		if s := w.counts(); s.Lost[action.Room][TooOld] != 1 || s.Others.Outcomes[Denied] == 0 {
			t.Errorf("the counts are %+v", s)
		}
		if log := w.log.String(); !strings.Contains(log, "denied") || !strings.Contains(log, "backends.main") || !strings.Contains(log, "status=401") {
			t.Errorf("the log is\n%s", log)
		}
	})
}

// What the queue has no room for is lost and told.
func TestKeptKindsAreBounded(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.Queue = 16 << 10 }, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { <-answered; return respond(204, ""), nil }
		lost := 0
		for i := range 200 {
			select {
			case taken := <-w.tell(action.Disconnect, uint64(i), i):
				if !taken {
					lost++
				}
			default:
			}
		}
		if lost < 100 || lost > 190 {
			t.Errorf("%d of 200 are lost", lost)
		}
		close(answered)
		synctest.Wait()
		n, reported := 0, 0
		for _, r := range w.app.got() {
			for _, x := range r.items {
				if x.Type == "lost" {
					reported += x.Counts["disconnect"]
				} else {
					n++
				}
			}
		}
		if n+lost != 200 || reported > lost {
			t.Errorf("%d were told, %d lost, %d of them told as such", n, lost, reported)
		}
	})
}

// One item that the application chokes on does not take those beside it along.
func TestPoisonIsFoundOut(t *testing.T) {
	for _, status := range []int{400, 413, 422} {
		inWorld(t, onlyEvents, func(w *world) {
			answered := make(chan struct{})
			w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
				<-answered
				for _, x := range r.items {
					if x.Ev == "poison" {
						return respond(status, ""), nil
					}
				}
				return results(r, func(x *told) string { return `,"ack":["` + x.Ev + `"]` }), nil
			}
			c := w.Connect("/")
			var acks []*siotest.Ack
			for i := range 100 {
				name := fmt.Sprint(i)
				if i == 70 {
					name = "poison"
				}
				acks = append(acks, c.EmitAck(name))
			}
			close(answered)
			synctest.Wait()
			for i, a := range acks {
				if i == 70 {
					continue
				}
				var got string
				a.Await()
				if a.Decode(&got); got != fmt.Sprint(i) {
					t.Errorf("%d was answered %q", i, got)
				}
			}
			if acks[70].Done() {
				t.Error("the poison was acknowledged")
			}
			if s := w.counts(); s.Told[action.Event] != 99 || s.Lost[action.Event][lossOf(Refused)] != 1 || s.Others.Outcomes[Refused] > 9 || s.Breaker != Closed {
				t.Errorf("the counts are %+v", s)
			}
		})
	}
}

// Retry-After is how long a lane waits, within bounds.
func TestRetryAfterIsHonoured(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		var at []time.Time
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			at = append(at, time.Now())
			r := respond(429, "")
			r.Header.Set("Retry-After", []string{"20", "86400", "0"}[len(at)-1])
			return r, nil
		}
		w.Connect("/").Emit("x")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(at) != 3 || at[1].Sub(at[0]) != 20*time.Second || at[2].Sub(at[1]) != maxRetryAfter {
			t.Errorf("the tries were at %v", at)
		}
	})
}

// Gone is gone: nothing is tried again.
func TestGone(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { return respond(410, ""), nil }
		w.Connect("/").Emit("x")
		done := w.tell(action.Disconnect, 1, 0)
		synctest.Wait()
		if <-done {
			t.Error("it is taken")
		}
		time.Sleep(time.Minute)
		tries := map[string]int{}
		for _, r := range w.app.got() {
			for _, x := range r.items {
				if tries[x.ID]++; tries[x.ID] > 1 {
					t.Errorf("%s is tried again", x.Type)
				}
			}
		}
	})
}

// A breaker that is open has events wait, without a request and without a loss, until one
// that tries finds the backend well.
func TestBreakerHasEventsWait(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.Lanes = 64; own.Concurrency = 64 }, func(w *world) {
		var down atomic.Bool
		down.Store(true)
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return respond(204, ""), nil
		}
		var clients []*siotest.Client
		for range 40 {
			clients = append(clients, w.Connect("/"))
		}
		for _, c := range clients {
			c.Emit("first")
		}
		synctest.Wait()
		if s := w.counts(); s.Breaker != Open || s.Opened != 1 {
			t.Fatalf("the breaker is %v after %d requests", s.Breaker, len(w.app.got()))
		}
		w.app.got()
		for _, c := range clients {
			c.Emit("second")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.app.got()); n < 10 || n > 40 {
			t.Errorf("there were %d requests in a minute", n)
		}
		down.Store(false)
		time.Sleep(2 * breakerOpen)
		synctest.Wait()
		s := w.counts()
		if s.Breaker != Closed || s.Told[action.Event] != 80 {
			t.Errorf("the breaker is %v, told are %d, lost %v", s.Breaker, s.Told[action.Event], s.Lost[action.Event])
		}
	})
}

// A result of an event may say what one of a connect does; it refuses nothing.
func TestEventResultsHaveMembersOfConnect(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			return results(r, func(*told) string {
				return `,"data":{"plan":"pro"},"join":["r1"],"emit":[{"to":["r1"],"ev":"hello"}],"error":{"message":"no"},"ack":[1]`
			}), nil
		}
		c := w.Connect("/")
		c.EmitAck("x").Await()
		c.Await("hello") // follows the acknowledgement
		if data, ok := c.Socket().Data().(json.RawMessage); !ok || string(data) != `{"plan":"pro"}` || !c.Socket().In("r1") {
			t.Errorf("the data is %v", c.Socket().Data())
		}
		if s := w.counts(); s.Undone != 1 || !strings.Contains(w.log.String(), "error is for connect alone") {
			t.Errorf("undone are %d\n%s", s.Undone, w.log)
		}
	})
}

// An answer for a socket that has left is counted; what it says to others is done.
func TestAnswerForWhoHasLeft(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			<-answered
			return results(r, func(*told) string {
				return `,"ack":[1],"actions":[{"op":"emit","to":["lobby"],"ev":"said"},{"op":"disconnect","close":true}]`
			}), nil
		}
		other := w.Connect("/")
		other.Socket().Join("lobby")
		c := w.Connect("/")
		c.EmitAck("say")
		c.Disconnect()
		close(answered)
		other.Await("said")
		synctest.Wait()
		if s := w.counts(); s.LeftAlready != 1 || s.Undone != 0 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// An acknowledgement goes before the disconnection behind it.
func TestAckBeforeDisconnect(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			return results(r, func(*told) string {
				return `,"ack":["bye"],"actions":[{"op":"disconnect","code":4403,"reason":"banned","close":true}]`
			}), nil
		}
		c := w.Connect("/")
		a := c.EmitAck("x")
		a.Await()
		if d := c.AwaitDisconnect(); d.Code != 4403 || d.Text != "banned" {
			t.Errorf("disconnected by %+v", d)
		}
	})
}

// What waits when the backend is closed is told while there is time, and lost after that.
func TestClose(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		w.app.answer = func(_ *request, req *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Second):
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			return respond(204, ""), nil
		}
		c := w.Connect("/")
		c.Emit("a")
		done := w.tell(action.Disconnect, action.LaneOf(c.Socket().Conn()), 0)
		if err := w.b.Close(w.t.Context()); err != nil || !<-done {
			t.Errorf("closed with %v", err)
		}
		c.Emit("b")
		if <-w.tell(action.Disconnect, 1, 1) {
			t.Error("something is taken by a backend that was closed")
		}
		if s := w.counts(); s.Told[action.Event] != 1 || s.Lost[action.Event][Stopped] != 1 {
			t.Errorf("the counts are %+v", s)
		}
	})
}
