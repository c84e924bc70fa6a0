package webhook

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A backend that does not answer has clients wait: they are not read from, what is kept is
// bounded, and when it answers all events are told, in order and once.
func TestBlockedBackendPausesClients(t *testing.T) {
	const clients, events, queue = 3, 300, 64 << 10
	o := sio.Options{MaxHTTPBufferSize: 16 << 10}
	o.Engine.ConnBudget = 512 << 10
	inWorldOf(t, o, func(own *config.Backend) {
		onlyEvents(own)
		own.Queue, own.MaxBatchBytes, own.Lanes, own.Timeout = queue, 8<<10, 2, 1<<40
	}, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { <-answered; return respond(204, ""), nil }
		var all []*siotest.Client
		for range clients {
			all = append(all, w.Connect("/"))
		}
		payload := strings.Repeat("x", 4<<10)
		for i := range events {
			for _, c := range all {
				c.Start(fmt.Sprint(i), payload)
			}
		}
		s, e := w.counts(), w.Stats().Engine
		if s.Queued > queue || s.PausedNow != clients || s.Lost[action.Event] != [lossCount]int64{} {
			t.Errorf("%d bytes wait of %d, %d clients", s.Queued, queue, s.PausedNow)
		}
		if e.Pauses < clients || e.Held > clients*(512<<10) {
			t.Errorf("clients were not read from %d times, and %d bytes are kept of them", e.Pauses, e.Held)
		}
		if !strings.Contains(w.log.String(), "backends.main.queue") {
			t.Errorf("the log does not say why:\n%s", w.log)
		}
		close(answered)
		synctest.Wait()
		w.Settle()
		bySID := map[string][]string{}
		ids := map[string]bool{}
		for w.counts().Told[action.Event] < clients*events {
			w.Settle()
			synctest.Wait()
		}
		for _, r := range w.app.got() {
			for _, x := range r.items {
				bySID[x.SID] = append(bySID[x.SID], x.Ev)
				ids[x.ID] = true
			}
		}
		var want []string
		for i := range events {
			want = append(want, fmt.Sprint(i))
		}
		for _, c := range all {
			if got := bySID[c.ID()]; !slices.Equal(got, want) {
				t.Errorf("told are %v", got)
			}
		}
		if len(ids) != clients*events || w.counts().Paused == 0 {
			t.Errorf("there are %d ids", len(ids))
		}
	})
}

// A lane that is stuck with what it cannot tell does not take the room of the others.
func TestALaneHasItsShare(t *testing.T) {
	inWorld(t, func(own *config.Backend) {
		onlyEvents(own)
		own.Queue, own.MaxBatchBytes = 64<<10, 1<<10
	}, func(w *world) {
		var stuck string
		answered := make(chan struct{})
		w.app.answer = func(r *request, _ *http.Request) (*http.Response, error) {
			if r.items[0].SID == stuck {
				<-answered
			}
			return respond(204, ""), nil
		}
		a, b := w.Connect("/"), w.Connect("/")
		for w.b.lane(a.Socket().Conn()) == w.b.lane(b.Socket().Conn()) {
			b = w.Connect("/")
		}
		stuck = a.ID()
		for range 30 {
			a.Start("x", strings.Repeat("x", 1<<10))
		}
		for range 30 {
			b.Start("x", strings.Repeat("x", 1<<10))
			synctest.Wait()
		}
		if s := w.counts(); s.Told[action.Event] != 30 || s.Queued > 16<<10 {
			t.Errorf("%d of another lane were told, %d bytes wait", s.Told[action.Event], s.Queued)
		}
		close(answered)
		for w.counts().Told[action.Event] < 60 {
			w.Settle()
			synctest.Wait()
		}
	})
}

// Closing wakes who waits for room.
func TestCloseWakesWhoWaits(t *testing.T) {
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.Queue, own.MaxBatchBytes = 16<<10, 1<<10 }, func(w *world) {
		w.app.answer = func(_ *request, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		c := w.Connect("/")
		for range 30 {
			c.Start("x", strings.Repeat("x", 1<<10))
		}
		if n := w.counts().PausedNow; n != 1 {
			t.Fatalf("%d wait", n)
		}
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		if err := w.b.Close(ctx); err == nil || !strings.Contains(err.Error(), "was not told of") {
			t.Errorf("closed with %v", err)
		}
		w.Settle()
		s := w.counts()
		if s.PausedNow != 0 || s.Told[action.Event] != 0 || s.Lost[action.Event][Stopped]+s.Lost[action.Event][lossOf(Broken)]+s.Lost[action.Event][lossOf(TimedOut)] != 30 {
			t.Errorf("%d wait, lost are %v", s.PausedNow, s.Lost[action.Event])
		}
	})
}
