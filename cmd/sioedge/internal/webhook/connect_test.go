package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// try connects and returns why it is refused.
func (w *world) try(o siotest.Options) (*siotest.Client, error) { return w.Try("/", o) }

// A backend lets clients in, with what it says, or refuses them.
func TestConnectIsAnswered(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			return results(r, func(x *told) string {
				if string(x.Auth) == `{"token":"bad"}` {
					return `,"error":{"message":"not allowed","data":{"code":403}}`
				}
				return `,"user":"u8","data":{"plan":"pro"},"join":["campaign:42"]`
			}), nil
		}
		c, err := w.try(siotest.Options{Auth: map[string]any{"token": "good"}})
		if err != nil || !c.Socket().In("campaign:42") {
			t.Fatalf("connected with %v", err)
		}
		_, err = w.try(siotest.Options{Auth: map[string]any{"token": "bad"}})
		var e *siotest.ConnectError
		if !errors.As(err, &e) || e.Message != "not allowed" || string(e.Data) != `{"code":403}` {
			t.Errorf("refused with %v", err)
		}
		if s := w.counts(); s.Admitted != 1 || s.Refused != 1 || s.Told[action.Connect] != 2 || s.Connects.Outcomes[Answered] != 2 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// on_error says what becomes of clients about whom the backend says nothing: at once if it
// answers with an error, else within its timeout.
func TestOnError(t *testing.T) {
	slow := func(_ *request, req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	for name, answer := range map[string]func(r *request, req *http.Request) (*http.Response, error){
		"failed":  func(*request, *http.Request) (*http.Response, error) { return respond(500, ""), nil },
		"timeout": slow,
		"garbled": func(*request, *http.Request) (*http.Response, error) { return respond(200, "{"), nil },
		"foreign": func(*request, *http.Request) (*http.Response, error) {
			r := respond(200, "<html>")
			r.Header.Set("Content-Type", "text/html")
			return r, nil
		},
	} {
		for _, mode := range []string{"close", "reject", "allow"} {
			inWorld(t, func(own *config.Backend) { own.OnError = mode }, func(w *world) {
				w.app.answer = answer
				start := time.Now()
				c, err := w.try(siotest.Options{})
				var e *siotest.ConnectError
				switch {
				case mode == "allow" && (err != nil || !c.Connected()):
					t.Errorf("%s: allow refuses: %v", name, err)
				case mode == "reject" && (!errors.As(err, &e) || e.Message != "backend unavailable" || string(e.Data) != `{"code":503}`):
					t.Errorf("%s: reject: %v", name, err)
				case mode == "close" && (!errors.As(err, &e) || e.Message != "FIN"):
					t.Errorf("%s: close lets in, or refuses: %v", name, err)
				}
				if d := time.Since(start); d > 3*time.Second+100*time.Millisecond {
					t.Errorf("%s: it took %v", name, d)
				}
				s := w.counts()
				for _, l := range Losses() {
					if want := int64(0); l.String() == name {
						if want = 1; s.Undecided[l] != want {
							t.Errorf("%s: undecided are %v", name, s.Undecided)
						}
					} else if s.Undecided[l] != 0 {
						t.Errorf("%s: undecided by %s are %d", name, l, s.Undecided[l])
					}
				}
			})
		}
	}
}

// A lane that is held up by what it has to tell holds up nobody who connects.
func TestConnectDoesNotWaitForEvents(t *testing.T) {
	inWorld(t, func(own *config.Backend) { own.Lanes = 1; own.Concurrency = 2 }, func(w *world) {
		w.app.answer = func(r *request, req *http.Request) (*http.Response, error) {
			if r.items[0].Type == "connect" {
				return respond(204, ""), nil
			}
			return nil, errors.New("down")
		}
		w.tell(action.Disconnect, 0, 0)
		start := time.Now()
		if _, err := w.try(siotest.Options{}); err != nil || time.Since(start) > 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		w.app.set(nil)
	})
}

// A breaker that is open decides at once.
func TestOpenBreakerDecidesAtOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { return nil, errors.New("down") }
		for i := range 30 {
			_, err := w.try(siotest.Options{Auth: map[string]any{"token": fmt.Sprint(i)}})
			if err == nil {
				t.Fatal("let in")
			}
		}
		if n := len(w.app.got()); n != breakerLeast {
			t.Errorf("there were %d requests", n)
		}
		s := w.counts()
		if s.Undecided[lossOf(Shut)] != 10 || s.Undecided[lossOf(Broken)] != 20 {
			t.Errorf("undecided are %v", s.Undecided)
		}
		time.Sleep(breakerOpen + time.Second)
		w.app.set(nil)
		if _, err := w.try(siotest.Options{}); err != nil {
			t.Errorf("the backend is well and refuses: %v", err)
		}
	})
}

// Answers are given again to who brings the same, as long as they say and the settings
// allow; nobody else gets them.
func TestAnswersAreKept(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		n := 0
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			n++
			return results(r, func(x *told) string {
				return fmt.Sprintf(`,"cache_ttl":60,"data":{"n":%d},"join":["r%d"],"emit":[{"ev":"hello","args":[%d]}]`, n, n, n)
			}), nil
		}
		asked := func(o siotest.Options) bool {
			before := n
			if _, err := w.try(o); err != nil {
				t.Error(err)
			}
			return n > before
		}
		token := func(name string) siotest.Options { return siotest.Options{Auth: map[string]any{"token": name}} }
		header := func(name, value string) siotest.Options {
			return siotest.Options{Header: http.Header{name: {value}}}
		}
		for i, x := range []struct {
			o    siotest.Options
			want bool
		}{
			{token("tok3n"), true}, {token("tok3n"), false}, {token("other"), true}, {siotest.Options{}, true}, {siotest.Options{}, true},
			{header("Cookie", "a=1"), true}, {header("Cookie", "a=1"), false}, {header("Cookie", "a=2"), true}, {header("Authorization", "a=1"), true},
			{siotest.Options{Auth: map[string]any{"token": "tok3n"}, Header: http.Header{"Cookie": {"a=1"}}}, true},
			{siotest.Options{Auth: map[string]any{"token": "tok3n", "room": 2}}, true},
			{siotest.Options{Auth: map[string]any{"token": "tok3n"}, Header: http.Header{"User-Agent": {"x"}}}, false},
		} {
			if asked(x.o) != x.want {
				t.Errorf("%d: asked is %v", i, !x.want)
			}
		}
		time.Sleep(time.Minute)
		if !asked(token("tok3n")) {
			t.Error("an answer is given again after cache_ttl")
		}
		if w.b.Forget(); !asked(token("tok3n")) {
			t.Error("an answer is given again that was to be forgotten")
		}
		if s := w.counts(); s.CacheHits != 3 || s.CacheEntries != 1 {
			t.Errorf("%d hits, %d entries", s.CacheHits, s.CacheEntries)
		}
	})
}

// Who brings the same while the backend is asked waits for that answer.
func TestAnswersAreShared(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return results(r, func(x *told) string { return `,"cache_ttl":60` }), nil
		}
		c := w.ConnectWith("/", siotest.Options{Auth: map[string]any{"token": "first"}}) // from here on it is known that answers may be shared
		w.app.got()
		done := make(chan error, 20)
		for range 20 {
			go func() {
				_, err := w.b.Connect(c.Socket(), action.Entry{Namespace: "/x", User: "same", Claims: []byte(`{"a":1}`)})
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		n := 0
		for _, r := range w.app.got() {
			n += len(r.items)
		}
		if n != 1 {
			t.Errorf("%d of 20 that bring the same were asked about", n)
		}
	})
}

// Answers that are kept are bounded, in number and bytes.
func TestAnswersAreBounded(t *testing.T) {
	c, now := newCache(8), time.Now()
	for i := range 100 {
		r := &action.Result{Data: []byte(strings.Repeat("x", 100*i))}
		c.put(sum{byte(i)}, r, time.Minute+time.Duration(i), 0, now)
		n, _, _ := c.count()
		if n > 8 || c.bytes > 8*bytesPerAnswer || c.bytes < 0 {
			t.Fatalf("there are %d answers of %d bytes", n, c.bytes)
		}
	}
	if c.resize(2); len(c.m) > 2 {
		t.Error("a smaller bound keeps more")
	}
	if c.forget(); c.bytes != 0 {
		t.Errorf("%d bytes are left of none", c.bytes)
	}
}

// Many who connect at one time share requests.
func TestConnectsAreBatched(t *testing.T) {
	inWorld(t, func(own *config.Backend) { own.Concurrency = 4 }, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			<-answered
			return respond(204, ""), nil
		}
		w.Of("/other")
		s := w.Connect("/other").Socket()
		done := make(chan error, 100)
		for range 100 {
			go func() { _, err := w.b.Connect(s, action.Entry{Namespace: "/"}); done <- err }()
		}
		synctest.Wait()
		close(answered)
		for range 100 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := len(w.app.got()); n > 4 {
			t.Errorf("100 clients took %d requests", n)
		}
	})
}

// Nobody is asked about a client that has left before it was its turn.
func TestConnectOfWhoHasLeft(t *testing.T) {
	inWorld(t, func(own *config.Backend) { own.Lanes = 1 }, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { <-answered; return respond(204, ""), nil }
		w.Of("/other")
		first, second := w.Connect("/other"), w.Connect("/other")
		var done [2]chan error
		for i, c := range []*siotest.Client{first, second} {
			s := c.Socket()
			done[i] = make(chan error)
			go func() {
				_, err := w.b.Connect(s, action.Entry{Namespace: "/other", User: fmt.Sprint(i)})
				done[i] <- err
			}()
			synctest.Wait()
		}
		second.Disconnect()
		close(answered)
		if a, b := <-done[0], <-done[1]; a != nil || !errors.Is(b, sio.ErrClosed) {
			t.Errorf("connected with %v and %v", a, b)
		}
		synctest.Wait() // who was asked about is counted behind the answer
		if s := w.counts(); len(w.app.got()) != 1 || s.Lost[action.Connect][Left] != 1 || s.Undecided != [lossCount]int64{} {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// A backend says whether a client may go on with a new token. If it does not answer, the
// connection is left alone whatever on_error says.
func TestRefreshIsAnswered(t *testing.T) {
	for _, onError := range []string{"close", "reject", "allow"} {
		inWorld(t, func(own *config.Backend) { onlyEvents(own); own.OnError = onError }, func(w *world) {
			w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
				x := r.items[0]
				if x.Type != "refresh" || x.User != "u7" || string(x.Claims) != `{"sub":"u7"}` {
					t.Errorf("it is told %+v", x)
				}
				switch string(x.Token) {
				case `"bad"`:
					return results(r, func(*told) string { return `,"error":{"message":"no","data":{"code":401}}` }), nil
				case `"down"`:
					return respond(500, ""), nil
				}
				return results(r, func(*told) string { return `,"user":"u7","expireAt":4102444800` }), nil
			}
			c := w.Connect("/")
			ask := func(token string) (*action.Result, error) {
				return w.b.Refresh(c.Socket(), action.Entry{Namespace: "/", User: "u7", Claims: []byte(`{"sub":"u7"}`)}, []byte(`"`+token+`"`))
			}
			if r, err := ask("good"); err != nil || r.ExpireAt != 4102444800 {
				t.Errorf("%+v, %v", r, err)
			}
			var e *sio.Error
			if _, err := ask("bad"); !errors.As(err, &e) || e.Message != "no" {
				t.Errorf("%v", err)
			}
			if _, err := ask("down"); !errors.As(err, &e) || e.Message != "backend unavailable" {
				t.Errorf("%v", err)
			}
			if n := len(w.app.got()); n != 3 || !c.Connected() {
				t.Errorf("%d requests, connected: %v", n, c.Connected())
			}
			synctest.Wait() // who asked is answered first
			if lost := w.counts().Lost[action.Refresh]; lost[lossOf(Failed)] != 1 {
				t.Errorf("lost are %v", lost)
			}
		})
	}
}
