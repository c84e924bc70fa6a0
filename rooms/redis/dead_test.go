package redis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// Nobody waits for a Redis that is not there: what was to be sent is bounded, and
// what is too much is counted.
func TestEdge71ADeadRedisHoldsNobodyUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for kind, adapter := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := adapter(l.Addr().String(), Options{Logger: slog.New(slog.DiscardHandler), Timeout: 100 * time.Millisecond, MaxQueue: 2000})
			if err := a.Start(&fake{node: "nod0"}); err != nil {
				t.Fatal(err)
			}
			a.Open("/")
			a.Occupied("/", "r")
			all := rooms.Target{Namespace: "/"}
			for range 100 {
				a.Emit(all, rooms.Event{Data: []byte(`["e"]`)})
			}
			var incomplete *rooms.IncompleteError
			if members, err := a.Members(context.Background(), all); !errors.As(err, &incomplete) || len(members) != 0 {
				t.Errorf("Members = %v, %v, want nobody and an IncompleteError", members, err)
			}
			if s := a.Status(); s.Up || s.Reason == "" || s.Lost == 0 || s.Waiting == 0 || s.Waiting >= 100 {
				t.Errorf("Status() = %+v, want it down, with a reason, and some messages waiting, others lost", s)
			}
			if err := a.Close(context.Background()); err != nil {
				t.Errorf("Close with messages that cannot be sent: %v", err)
			}
			if s := a.Status(); s.Waiting != 0 || s.Lost < 100 {
				t.Errorf("Status() after Close = %+v, want nothing waiting, and all lost", s)
			}
		})
	}
}

// A connection that has not noticed yet does not hide that another one has: a
// server that is down stays so until Redis answers.
func TestStatusStaysDownWhileRedisHangs(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			addr := server(t)
			o := Options{Timeout: 100 * time.Millisecond}
			o.Client.Dialer.KeepAlive = 2 * tick // later than what is looked at at ticks
			_, adapters := join(t, kind, addr, 1, o)
			a := adapters[0]
			if err := control(t, addr)("CLIENT", "PAUSE", "1000000", "ALL").Error(); err != nil {
				t.Fatal(err)
			}
			a.Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: []byte(`["e"]`)})
			eventually(t, "noticing that it cannot send", func() bool { return !a.Status().Up })
			eventually(t, "noticing that it cannot receive", func() bool {
				s := a.Status()
				if s.Up || s.Reason == "" {
					t.Fatalf("Status() = %+v, want it down, with a reason", s)
				}
				return s.Reconnects > 0
			})
			if s := a.Status(); s.Lost == 0 && s.Waiting == 0 {
				t.Errorf("Status() = %+v, want that what was on its way is lost, or waits", s)
			}
		})
	}
}
