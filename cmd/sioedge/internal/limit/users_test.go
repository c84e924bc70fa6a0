package limit

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// crowd is a server whose clients enter as the user of their auth.
func crowd(t *testing.T, perUser, most int, o sio.Options) (*siotest.Server, *Limiter) {
	t.Helper()
	srv := siotest.New(t, o)
	x, err := New(config.Limits{MaxConnsPerUser: perUser}, Options{Now: srv.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for name, most := range map[string]int{"/": 0, "/other": 0, "/few/:id": most} {
		ns := srv.Of(name)
		enter := func(s sio.Socket) error { return x.Enter(s, s.Data().(string), most) }
		ns.Use(func(s sio.Socket) error {
			var auth map[string]string
			if err := s.Auth(&auth); err != nil {
				return err
			}
			s.SetData(auth["user"])
			return enter(s)
		})
		ns.OnConnect(func(s sio.Socket) error {
			if s.Recovered() {
				return enter(s)
			}
			return nil
		})
	}
	return srv, x
}

func auth(user string) map[string]string { return map[string]string{"user": user} }

func as(user string) siotest.Options { return siotest.Options{Auth: auth(user)} }

func mustRefuse(t *testing.T, srv *siotest.Server, ns string, o siotest.Options) {
	t.Helper()
	_, err := srv.Try(ns, o)
	var e *siotest.ConnectError
	if !errors.As(err, &e) || e.Message != "too many connections" || string(e.Data) != `{"code":429}` {
		t.Errorf("one more of %v in %s: %v, want too many connections", o.Auth, ns, err)
	}
}

func TestEnterCountsConnections(t *testing.T) {
	srv, x := crowd(t, 3, 2, sio.Options{})
	var all []*siotest.Client
	for range 3 {
		all = append(all, srv.ConnectWith("/", as("ann")))
	}
	mustRefuse(t, srv, "/", as("ann"))
	mustRefuse(t, srv, "/other", as("ann"))
	srv.ConnectWith("/", as("bob"))
	for range 10 {
		srv.ConnectWith("/", as("")) // nobody
	}
	for i, c := range all { // one connection, several namespaces
		srv.ConnectWith("/other", siotest.Options{Auth: auth("ann"), On: c})
		if i < 2 {
			srv.ConnectWith("/few/1", siotest.Options{Auth: auth("ann"), On: c})
			srv.ConnectWith("/few/2", siotest.Options{Auth: auth("ann"), On: c})
		}
	}
	mustRefuse(t, srv, "/few/3", siotest.Options{Auth: auth("ann"), On: all[2]})
	if st := x.Stats(); st.Users != 2 || st.NamespaceUsers != 1 || st.Seats != 3 {
		t.Errorf("counted %+v, want 2 and 1 refused, 3 seats", st)
	}
	all[0].Drop()
	srv.ConnectWith("/few/3", as("ann"))
	mustRefuse(t, srv, "/", as("ann"))
	if err := x.Reload(config.Limits{MaxConnsPerUser: 4}); err != nil {
		t.Fatal(err)
	}
	srv.ConnectWith("/", as("ann"))
	mustRefuse(t, srv, "/", as("ann"))
}

// Each kind of end of a connection gives the place back, and leaving a namespace is none.
func TestEnterIsUndone(t *testing.T) {
	srv, x := crowd(t, 1, 0, sio.Options{})
	for i, end := range []func(c *siotest.Client){
		(*siotest.Client).Drop, (*siotest.Client).Disconnect,
		func(c *siotest.Client) { c.Socket().CloseConn() },
		func(c *siotest.Client) { c.Stall(true); srv.Advance(time.Minute) },
	} {
		for _, o := range []siotest.Options{as("ann"), {Auth: auth("ann"), Polling: true}} {
			c := srv.ConnectWith("/", o)
			mustRefuse(t, srv, "/", as("ann"))
			end(c)
			srv.Advance(time.Minute)
			if n := x.Stats().Seats; n != 0 {
				t.Fatalf("end %d: %d seats are left", i, n)
			}
		}
	}
	c := srv.ConnectWith("/", as("ann"))
	o := srv.ConnectWith("/other", siotest.Options{Auth: auth("ann"), On: c})
	c.Disconnect()
	mustRefuse(t, srv, "/", as("ann"))
	o.Disconnect()
	srv.ConnectWith("/", as("ann")).Drop()
	if len(x.users.taken) != 0 {
		t.Errorf("something is left: %v", x.users.taken)
	}
}

// A client that comes back is one connection, not two.
func TestEnterWithRecovery(t *testing.T) {
	srv, x := crowd(t, 1, 0, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	c := srv.ConnectWith("/", as("ann"))
	if err := srv.Of("/").Emit("so that it knows where it was"); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	for range 3 {
		if err := c.Reconnect(); err != nil || !c.Recovered() {
			t.Fatalf("coming back: %v, recovered %v", err, c.Recovered())
		}
		if n := x.Stats().Seats; n != 1 {
			t.Errorf("%d seats, want 1", n)
		}
		mustRefuse(t, srv, "/", as("ann"))
	}
	c.Drop()
	if n := x.Stats().Seats; n != 0 {
		t.Errorf("%d seats are left", n)
	}
}

func TestEnterWithoutBounds(t *testing.T) {
	srv, x := crowd(t, 0, 0, sio.Options{})
	for i := range 20 {
		srv.ConnectWith("/", as(fmt.Sprint("user", i%2)))
	}
	if len(x.users.taken) != 0 {
		t.Errorf("without a bound there is %v", x.users.taken)
	}
	s := srv.ConnectWith("/", as("x"))
	gone := s.Socket()
	s.Drop()
	if err := x.Reload(config.Limits{MaxConnsPerUser: 1}); err != nil {
		t.Fatal(err)
	}
	if err := x.Enter(gone, "x", 0); !errors.Is(err, sio.ErrClosed) || len(x.users.taken) != 0 {
		t.Errorf("a socket that has gone: %v, and there is %v", err, x.users.taken)
	}
	long := strings.Repeat("u", 100_000)
	srv.ConnectWith("/", as(long))
	mustRefuse(t, srv, "/", as(long))
	if b, _ := json.Marshal(errTooMany.Data); string(b) != `{"code":429}` {
		t.Errorf("data is %s", b)
	}
}
