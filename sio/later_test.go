package sio_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A handler that goes on later has the event, and what comes behind it waits, inline
// events too; then they are inline again.
func TestLater(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	var log []string
	gate := make(chan bool, 1)
	var kept *sio.Msg
	ns := srv.Of("/")
	ns.HandleInline("later", func(s sio.Socket, m *sio.Msg) error {
		kept = m
		log = append(log, "before")
		err := m.Later(func(s sio.Socket, m *sio.Msg) error {
			<-gate
			var text string
			if err := m.Decode(&text); err != nil {
				return err
			}
			log = append(log, fmt.Sprint("later ", m.Event(), " ", text, " ", string(m.Binary()[0]), m.WantsAck()))
			return m.Ack(text)
		})
		if m.Ack("not this") != nil || err != nil {
			t.Errorf("Later = %v", err)
		}
		log = append(log, "after")
		return nil
	})
	ns.HandleInline("inline", func(s sio.Socket, m *sio.Msg) error { log = append(log, "inline"); return nil })
	ns.Handle("event", func(s sio.Socket, m *sio.Msg) error { log = append(log, "event"); return nil })
	c := srv.Connect("/")
	ack := c.Start("later", "hello", []byte("bytes"))
	c.Start("inline")
	c.Start("event")
	c.Start("inline")
	if want := []string{"before", "after"}; !slices.Equal(log, want) {
		t.Errorf("before it goes on: %q, want %q", log, want)
	}
	if err := kept.Later(nil); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("Later after the handler has returned = %v", err)
	}
	gate <- true
	if got := ack.Await().String(); got != `"hello"` {
		t.Errorf("it is acknowledged with %s", got)
	}
	srv.Settle()
	c.Emit("inline")
	if want := []string{"before", "after", "later later hello bytestrue", "inline", "event", "inline", "inline"}; !slices.Equal(log, want) {
		t.Errorf("%q, want %q", log, want)
	}
}

// What an event is acknowledged with before Later counts; its errors and panics go
// where those of handlers go.
func TestLaterErrors(t *testing.T) {
	var failed []string
	srv := siotest.New(t, sio.Options{OnError: func(_ sio.Socket, event string, err error) { failed = append(failed, event+" "+err.Error()) }})
	ns := srv.Of("/")
	ns.HandleInline("acked", func(s sio.Socket, m *sio.Msg) error {
		return errors.Join(m.Ack(1), m.Later(func(s sio.Socket, m *sio.Msg) error { return m.Ack(2) }))
	})
	ns.HandleInline("fails", func(s sio.Socket, m *sio.Msg) error {
		return m.Later(func(sio.Socket, *sio.Msg) error { return errors.New("no") })
	})
	ns.HandleInline("panics", func(s sio.Socket, m *sio.Msg) error {
		return m.Later(func(sio.Socket, *sio.Msg) error { panic("oh") })
	})
	ns.HandleInline("typed", func(s sio.Socket, m *sio.Msg) error {
		return m.Later(sio.TypedAck(func(s sio.Socket, n int) (int, error) { return 2 * n, nil }))
	})
	c := srv.Connect("/")
	if got := siotest.Ask[int](c, "acked"); got != 1 {
		t.Errorf("it is acknowledged with %d", got)
	}
	if got := siotest.Ask[int](c, "typed", 21); got != 42 {
		t.Errorf("it is acknowledged with %d", got)
	}
	c.Emit("fails")
	c.Emit("panics")
	if len(failed) != 2 || failed[0] != "fails no" || !strings.HasPrefix(failed[1], "panics ") || !strings.Contains(failed[1], "oh") {
		t.Errorf("OnError got %q", failed)
	}
}

// On the goroutine there is nothing to put off, and a wrapper's event goes on with the
// arguments that the wrapper gave it.
func TestLaterElsewhere(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	later := func(s sio.Socket, m *sio.Msg) error {
		order := "before "
		err := m.Later(func(s sio.Socket, m *sio.Msg) error {
			order += "h "
			if m.Event() == "fails" {
				return errors.New("no")
			}
			return m.Ack(string(m.Raw(0)))
		})
		if order += "after"; m.Event() == "goroutine" && order != "before h after" || m.Event() == "inline" && order != "before after" {
			t.Errorf("%s: %s", m.Event(), order)
		}
		return err
	}
	ns.UseEvent(func(next sio.Handler) sio.Handler {
		return func(s sio.Socket, m *sio.Msg) error {
			m, err := m.With("wrapped")
			if err != nil {
				return err
			}
			return next(s, m.WithContext(s.Context()))
		}
	})
	ns.Handle("goroutine", later)
	ns.HandleInline("inline", later)
	ns.Handle("fails", later)
	c := srv.Connect("/")
	for _, event := range []string{"goroutine", "inline"} {
		if got := siotest.Ask[string](c, event, 1); got != `"wrapped"` {
			t.Errorf("%s is acknowledged with %s", event, got)
		}
	}
	if c.Emit("fails"); srv.ExpectError("fails").Error() != "no" {
		t.Error("the error of h is not that of the handler")
	}
}

// What goes on later is charged to the client as any event that waits is.
func TestLaterIsCharged(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	gate := make(chan bool)
	done := 0
	var errs []error
	ns.HandleInline("later", func(s sio.Socket, m *sio.Msg) error {
		errs = append(errs, m.Later(func(sio.Socket, *sio.Msg) error { <-gate; done++; return nil }))
		return nil
	})
	c := srv.Connect("/")
	c.Start("later", strings.Repeat("x", 100_000))
	if held := srv.Stats().Engine.Held; held < 100_000 {
		t.Errorf("%d bytes are held, want those of the event", held)
	}
	gate <- true
	srv.Settle()
	if held := srv.Stats().Engine.Held; held != 0 || done != 1 || errs[0] != nil {
		t.Errorf("%d bytes are held of %d handled events (%v)", held, done, errs)
	}
}

// Events without a handler of their own can be handled on the loop, by names that may
// be kept, without an allocation.
func TestHandleAnyInline(t *testing.T) {
	st := newStage(t, sio.Options{})
	var names []string
	st.ns.HandleAnyInline(func(s sio.Socket, m *sio.Msg) error {
		if len(names) < 4 {
			names = append(names, m.Event())
		}
		return nil
	})
	st.ns.HandleInline("own", func(sio.Socket, *sio.Msg) error { return nil })
	x := st.enter(0)
	for _, event := range []string{"a", "own", "bb", "a", "c"} {
		x.send(`42["` + event + `",1]`)
	}
	if want := []string{"a", "bb", "a", "c"}; !slices.Equal(names, want) {
		t.Errorf("handled were %q, want %q", names, want)
	}
	if st.Inboxes() != 0 {
		t.Error("a goroutine was used")
	}
	st.ns.UseEvent(func(next sio.Handler) sio.Handler { return next })
	x.send(`42["d"]`)
	if st.Inboxes() != 0 {
		t.Error("with a wrapper a goroutine was used")
	}
}
