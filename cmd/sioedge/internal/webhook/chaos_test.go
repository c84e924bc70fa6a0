package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// misbehave answers by chance as no application should.
func misbehave(r *request, req *http.Request, how int) (resp *http.Response, err error, took bool) {
	ok := func() *http.Response {
		return results(r, func(x *told) string { return fmt.Sprintf(`,"emit":[{"ev":"got","args":[%q]}]`, x.Ev) })
	}
	switch how % 16 {
	case 0:
		return respond(500, "oops"), nil, false
	case 1:
		return nil, errors.New("reset"), false
	case 2: // it has everything, and is gone before it answers
		return nil, io.ErrUnexpectedEOF, true
	case 3: // likewise, within the answer
		x := ok()
		x.Body = io.NopCloser(io.MultiReader(io.LimitReader(x.Body, 20), broken{}))
		return x, nil, true
	case 4:
		x := respond(200, "<html>")
		x.Header.Set("Content-Type", "text/html")
		return x, nil, false
	case 5:
		return respond(200, `{"results":[{"id":`), nil, true
	case 6:
		return respond(200, strings.Repeat(" ", 10<<20)), nil, true
	case 7:
		return respond(200, `{"results":[{"id":"nobody","ack":[1]},{"id":7},{"id":"`+r.items[0].ID+`","actions":[{"op":"fly"}]}]}`), nil, true
	case 8:
		x := respond(302, "")
		x.Header.Set("Location", "http://169.254.169.254/latest/meta-data")
		return x, nil, false
	case 9: // slow
		select {
		case <-time.After(time.Duration(how/16%6) * time.Second):
			return ok(), nil, true
		case <-req.Context().Done():
			return nil, req.Context().Err(), true
		}
	case 10:
		x := respond(503, "")
		x.Header.Set("Retry-After", "2")
		return x, nil, false
	}
	return ok(), nil, true
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("reset") }

// Whatever an application does, and restarts among it, each event is told or counted as
// lost, with one id over all tries, and those of a socket are in order.
func TestNothingIsLostUncounted(t *testing.T) {
	for seed := range uint64(12) {
		inWorld(t, func(own *config.Backend) { onlyEvents(own); own.MaxBatch = 1 + int(seed)*3; own.Lanes = 3 }, func(w *world) {
			var mu sync.Mutex
			rnd := rand.New(rand.NewPCG(seed, 1))
			tookBy := map[string][]string{} // by socket: names, each once
			ids := map[string]string{}
			down := false
			w.app.answer = func(r *request, req *http.Request) (*http.Response, error) {
				mu.Lock()
				off, how := down, rnd.IntN(1000)
				mu.Unlock()
				if off {
					return nil, errors.New("refused")
				}
				resp, err, took := misbehave(r, req, how)
				mu.Lock()
				defer mu.Unlock()
				for _, x := range r.items {
					if x.Type == "lost" {
						continue
					}
					name := x.SID + " " + x.Ev + x.Reason
					if old, ok := ids[x.ID]; ok && old != name {
						t.Errorf("the id %s is of %s and of %s", x.ID, old, name)
					}
					if _, ok := ids[x.ID]; !ok && took {
						tookBy[x.SID] = append(tookBy[x.SID], x.Ev+x.ID)
					}
					if took {
						ids[x.ID] = name
					}
				}
				return resp, err
			}
			var clients []*siotest.Client
			for range 4 {
				clients = append(clients, w.Connect("/"))
			}
			const events, kept = 150, 30
			done := make(chan bool, kept)
			for i := range events {
				for _, c := range clients {
					c.Emit(fmt.Sprintf("%04d", i))
				}
				if i%5 == 0 {
					w.b.Tell(action.Disconnect, action.Peer{Lane: uint64(i), ID: fmt.Sprintf("kept%04d", i), SID: fmt.Sprint("lane", i%3), Done: func(taken bool) { done <- taken }}, nil)
				}
				if i%50 == 20 {
					mu.Lock()
					down = !down // it restarts
					mu.Unlock()
				}
				time.Sleep(20 * time.Millisecond)
			}
			mu.Lock()
			down = false
			mu.Unlock()
			for range kept {
				if !<-done {
					t.Error("something that is kept is lost")
				}
			}
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
			defer cancel()
			if err := w.b.Close(ctx); err != nil {
				t.Error(err)
			}
			s := w.counts()
			lost := int64(0)
			for _, n := range s.Lost[action.Event] {
				lost += n
			}
			if s.Told[action.Event]+lost != events*4 || s.Told[action.Disconnect] != kept || s.Panics != 0 {
				t.Errorf("seed %d: %d told and %d lost of %d; %d kept are told of %d", seed, s.Told[action.Event], lost, events*4, s.Told[action.Disconnect], kept)
			}
			took := 0
			for sid, got := range tookBy {
				if !slices.IsSorted(got) {
					t.Errorf("seed %d: those of %s are not in order: %v", seed, sid, got)
				}
				if strings.HasPrefix(sid, "lane") {
					continue
				}
				took += len(got)
			}
			if int64(took) < s.Told[action.Event] {
				t.Errorf("seed %d: %d were taken, %d counted as told", seed, took, s.Told[action.Event])
			}
			if s.Others.Outcomes[Redirected] == 0 || s.Others.Outcomes[Garbled] == 0 || s.Others.Outcomes[Foreign] == 0 {
				t.Logf("seed %d: some ways to misbehave did not occur: %v", seed, s.Others.Outcomes)
			}
		})
	}
}

// A backend of net/http that is restarted again and again under load is told everything,
// or it is counted, over real connections.
func TestRestartsUnderLoad(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var all struct{ Events []told }
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
			return // it is ended meanwhile
		}
		mu.Lock()
		for _, x := range all.Events {
			if x.Type == "disconnect" {
				seen[x.ID] = true
			}
		}
		mu.Unlock()
		w.WriteHeader(204)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	serve := func(l net.Listener) *httptest.Server {
		srv := httptest.NewUnstartedServer(handler)
		srv.Listener.Close()
		srv.Listener = l
		srv.Start()
		return srv
	}
	srv := serve(l)
	own := settings()
	own.URL = "http://" + addr
	host := siotest.New(t, sio.Options{})
	b, err := New(host.Server, "main", own, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const restarts, each = 5, 200
	taken := make(chan bool, restarts*each)
	for i := range restarts {
		for n := range each {
			b.Tell(action.Disconnect, action.Peer{ID: fmt.Sprintf("%d-%d", i, n), Lane: uint64(n), Done: func(ok bool) { taken <- ok }}, nil)
			if n == each/2 {
				srv.CloseClientConnections()
				srv.Close()
				if l, err = net.Listen("tcp", addr); err != nil {
					t.Fatal(err)
				}
				srv = serve(l)
			}
		}
	}
	for range restarts * each {
		if !<-taken {
			t.Error("something is lost")
		}
	}
	srv.Close()
	if err := b.Close(t.Context()); err != nil || len(seen) != restarts*each {
		t.Errorf("%d of %d were told; closed with %v", len(seen), restarts*each, err)
	}
}

// A reload changes where requests go and how, and loses nothing of what waits.
func TestReload(t *testing.T) {
	inWorld(t, onlyEvents, func(w *world) {
		var down atomic.Bool
		down.Store(true)
		w.app.answer = func(*request, *http.Request) (*http.Response, error) {
			if down.Load() {
				return respond(404, ""), nil
			}
			return respond(204, ""), nil
		}
		done := w.tell(action.Disconnect, 1, 1)
		synctest.Wait()
		own := settings()
		own.URL, own.Events, own.SecretPrevious, own.Secret = "http://other.test/x", []string{"event"}, secret, "another secret, which is longer"
		if err := w.b.Reload(own); err != nil {
			t.Fatal(err)
		}
		w.swap()
		w.app.got()
		down.Store(false)
		if w.b.Hooks() != action.Event.Of() {
			t.Errorf("the hooks are %b", w.b.Hooks())
		}
		if !<-done {
			t.Error("what waited is lost")
		}
		r := w.app.got()[0]
		if r.url != own.URL || len(strings.Fields(r.header.Get("Webhook-Signature"))) != 2 {
			t.Errorf("the request went to %s with %q", r.url, r.header.Get("Webhook-Signature"))
		}
		own.Cert = "/nowhere"
		var f *config.Fault
		if err := w.b.Reload(own); !errors.As(err, &f) || f.Key != "backends.main.cert" {
			t.Errorf("a reload with a certificate that is none: %v", err)
		}
	})
}
