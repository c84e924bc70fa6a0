package sio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// all returns what the stop knows, sorted, and what it was told wrongly.
func (s *stop) all() (known, wrong []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known = slices.Sorted(slices.Values(s.known))
	return known, slices.Clone(s.wrong)
}

// A namespace of a pattern is no other server's business before somebody has been
// admitted to it, and none of its rooms is.
func TestInstancesAreToldOnceSomebodyIsAdmitted(t *testing.T) {
	refuse := make(chan bool, 1)
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) {
		ns := srv.Of("/u/:id")
		ns.Use(func(s sio.Socket) error {
			s.Join("early")
			if <-refuse {
				return errors.New("no")
			}
			return nil
		})
	})
	before, _ := p.stops[1].all()
	c := p.servers[1].dial()
	for i := range 50 {
		refuse <- true
		c.send(fmt.Sprintf("40/u/%d,", i))
		c.next()
		if now, _ := p.stops[1].all(); !slices.Equal(now, before) {
			t.Fatalf("the adapter knows %q after a refusal, want %q", now, before)
		}
	}
	refuse <- false
	c.send("40/u/1,")
	c.next()
	eventually(t, "telling of who was admitted", func() bool { return p.stops[1].knows("/u/1") && p.stops[1].knows("/u/1 early") })
	c.send("41/u/1,")
	eventually(t, "telling that it has gone", func() bool {
		now, _ := p.stops[1].all()
		return slices.Equal(now, before)
	})
	if _, wrong := p.stops[1].all(); wrong != nil {
		t.Errorf("the adapter was told wrongly that these had gone: %q", wrong)
	}
}

// An instance that is called as its pattern does not take the pattern with it, and
// does not keep its broadcasts for itself.
func TestAnInstanceCalledAsItsPattern(t *testing.T) {
	var tenants [2]*sio.Namespace
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		tenants[i] = srv.Of("/t/:tenant")
		echo(tenants[i])
	})
	literal, other := p.servers[1].dial(), p.servers[1].dial()
	literal.send("40/t/:tenant,")
	if got := literal.next(); got[:3] == "44/" {
		t.Skipf("refused: %s", got) // there is nothing to collide
	}
	other.send("40/t/1,")
	other.next()
	if err := tenants[0].Emit("e"); err != nil {
		t.Fatal(err)
	}
	if a, b := literal.next(), other.next(); a != `42/t/:tenant,["e"]` || b != `42/t/1,["e"]` {
		t.Errorf("received %s and %s, want the event both", a, b)
	}
	literal.send("41/t/:tenant,")
	eventually(t, "leaving", func() bool {
		known, _ := p.stops[1].all()
		n := 0
		for _, name := range known {
			if name == "/t/:tenant" {
				n++
			}
		}
		return n == 1
	})
}

func TestJoinWait(t *testing.T) {
	p := newPair(t, sio.Options{MaxRooms: 3}, nil)
	s := p.sockets[1]
	names := []string{"a", "b"}
	if err := s.JoinWait(context.Background(), names...); err != nil {
		t.Fatal(err)
	}
	names[0] = "x" // it is ours again
	if got, want := s.Rooms(), []string{s.ID(), "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("Rooms = %q, want %q", got, want)
	}
	if err := s.JoinWait(context.Background(), "a", "c", "d"); !errors.Is(err, sio.ErrTooManyRooms) {
		t.Errorf("JoinWait of more than MaxRooms = %v, want ErrTooManyRooms", err)
	}
	s.Disconnect(sio.DisconnectOptions{Conn: true})
	p.clients[1].ended("41", "close -")
	eventually(t, "leaving", func() bool { return s.Rooms() == nil })
	if err := s.JoinWait(context.Background(), "a"); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("JoinWait of who has left = %v, want ErrClosed", err)
	}
}

// Who waits is told why a room was not joined.
func TestJoinWaitSaysWhyNot(t *testing.T) {
	srv := simulate(t, sio.Options{MaxRooms: 1}, func(srv *sio.Server) {
		srv.Of("/").Handle("join", func(s sio.Socket, m *sio.Msg) error {
			ctx := context.Background()
			long := s.JoinWait(ctx, strings.Repeat("r", 1025))
			first, second := s.JoinWait(ctx, "1"), s.JoinWait(ctx, "2")
			return m.Ack(errors.Is(long, sio.ErrRoomName), first == nil, errors.Is(second, sio.ErrTooManyRooms))
		})
	})
	c := srv.join("40")
	c.send(`421["join"]`)
	c.expect(`431[true,true,true]`)
}
