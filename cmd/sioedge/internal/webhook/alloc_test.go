package webhook

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// An event that waits for the request before it takes no allocation of its own but for the
// socket's id, which sio makes a text of, and no goroutine.
func TestWaitingEventsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	inWorld(t, func(own *config.Backend) { onlyEvents(own); own.MaxBatch = 4096 }, func(w *world) {
		answered := make(chan struct{})
		w.app.answer = func(*request, *http.Request) (*http.Response, error) { <-answered; return respond(204, ""), nil }
		var m *sio.Msg
		w.Of("/kept").HandleAny(func(_ sio.Socket, x *sio.Msg) error { m = x; return nil })
		c := w.Connect("/kept")
		c.Emit("chat message", map[string]any{"room": "r1"}, 42)
		s, e := c.Socket(), action.Entry{Namespace: "/kept", User: "u7", Params: []string{"id"}}
		id := testing.AllocsPerRun(100, func() { _ = s.ID() })
		event := func() {
			if err := w.b.Event(s, m, e, action.EventOptions{}); err != nil {
				t.Error(err)
			}
		}
		event()
		synctest.Wait() // the request is under way, whose goroutine allocates
		for range 500 {
			event() // the lists grow
		}
		if n := testing.AllocsPerRun(100, event); n > id {
			t.Errorf("an event takes %v allocations, the id alone %v", n, id)
		}
		close(answered)
	})
}
