package sio_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// heads are the packets that a raw client has received, each up to its data.
func heads(c *siotest.Conn) (all []string) {
	for _, p := range c.Received() {
		if strings.HasPrefix(p, "4") {
			head, _, _ := strings.Cut(p, "{")
			all = append(all, head)
		}
	}
	return all
}

// Sockets of one connection have one Conn, which they still have when they have left,
// and every way to a Socket leads to the same value.
func TestConnNamesTheConnection(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	seen, left := map[string]sio.Socket{}, map[string]sio.Socket{}
	for _, name := range []string{"/", "/a", "/b/:id"} {
		ns := srv.Of(name)
		ns.OnConnect(func(s sio.Socket) error { seen[s.Name()] = s; return nil })
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left[s.Name()] = s })
	}
	other := srv.Connect("/").Socket()
	c := srv.Dial(siotest.Options{})
	c.Send("40", "40/a,", "40/b/1,")
	conn := seen["/"].Conn()
	for name, s := range seen {
		if s.Conn() != conn || s.Conn() == other.Conn() {
			t.Errorf("%s is on %v, want %v, and not %v", name, s.Conn(), conn, other.Conn())
		}
		if found, ok := s.Namespace().Lookup(s.ID()); !ok || found != s {
			t.Errorf("Lookup finds %v, want %v", found, s)
		}
		if all := s.Namespace().To(s.ID()).Sockets(); len(all) != 1 || all[0] != s {
			t.Errorf("Sockets are %v, want %v", all, s)
		}
		if own, ok := s.Self().Socket(); !ok || own != s {
			t.Errorf("Self is %v, want %v", own, s)
		}
	}
	c.Send("41/a,")
	if left["/a"] != seen["/a"] || len(left) != 1 {
		t.Errorf("%v have left, want that of /a", left)
	}
	c.Drop()
	for name, s := range left {
		if s != seen[name] || s.Conn() != conn {
			t.Errorf("in OnDisconnect of %s there is %v on %v, want %v on %v", name, s, s.Conn(), seen[name], conn)
		}
	}
	if len(left) != 3 {
		t.Errorf("%v have left, want three", left)
	}
	if text := fmt.Sprint(conn); text == "" || strings.Trim(text, "0123456789abcdef") != "" {
		t.Errorf("a Conn is called %q", text)
	}
}

// What one namespace stores with the connection the others find, until it has ended;
// and its disconnect handlers still do.
func TestConnKeys(t *testing.T) {
	for _, keep := range []sio.KeepHandshake{sio.KeepUntilJoined, sio.KeepAlways, sio.KeepForFirst} {
		srv := siotest.New(t, sio.Options{KeepHandshake: keep})
		name, age, failure := sio.NewConnKey[string](), sio.NewConnKey[int](), sio.NewConnKey[error]()
		var ended, left []string
		name.OnEnd(func(n string) { ended = append(ended, n) })
		failure.OnEnd(func(err error) { ended = append(ended, fmt.Sprint(err)) })
		var first, second sio.Socket
		srv.Of("/").Use(func(s sio.Socket) error {
			first = s
			return errors.Join(name.Set(s, "Ann"), age.Set(s, 7), failure.Set(s, nil))
		})
		look := func(s sio.Socket) string {
			n, ok := name.Get(s)
			a, _ := age.Get(s)
			err, there := failure.Get(s)
			return fmt.Sprint(s.Name(), " ", n, ok, a, err, there, s.Handshake().Query().Get("q"))
		}
		srv.Of("/a").Use(func(s sio.Socket) error { second = s; return nil })
		for _, n := range []string{"/", "/a"} {
			srv.Of(n).OnDisconnect(func(s sio.Socket, _ sio.Reason) {
				n, _ := name.Get(s)
				left = append(left, s.Name()+n)
				if s == second && !errors.Is(name.Set(s, "late"), sio.ErrClosed) {
					t.Error("a connection that has ended takes a value")
				}
			})
		}
		srv.Of("/").OnConnect(func(sio.Socket) error { return nil })
		stranger := srv.Connect("/a")
		if n, ok := name.Get(second); n != "" || ok {
			t.Errorf("another connection has the name %q", n)
		}
		stranger.Drop()
		left = nil

		c := srv.Dial(siotest.Options{Query: map[string][]string{"q": {"1"}}})
		c.Send("40")
		c.Send("40/a,")
		if got := heads(c); !slices.Equal(got, []string{"40", "40/a,"}) {
			t.Fatalf("received %q", got)
		}
		q := "1"
		if keep != sio.KeepAlways {
			q = ""
		}
		if got, want := look(second), "/a Anntrue 7 <nil> true"+q; got != want {
			t.Errorf("KeepHandshake %v: a further namespace has %q, want %q", keep, got, want)
		}
		age.Delete(first)
		if _, ok := age.Get(second); ok {
			t.Error("the age is there after Delete")
		}
		c.Send("41")
		if n, _ := name.Get(second); n != "Ann" {
			t.Error("the name has gone with the socket that it was set of")
		}
		if err := name.Set(second, "Bob"); err != nil {
			t.Error(err)
		}
		c.Drop()
		if want := []string{"/Ann", "/aBob"}; !slices.Equal(left, want) {
			t.Errorf("in OnDisconnect there were %q, want %q", left, want)
		}
		if slices.Sort(ended); !slices.Equal(ended, []string{"<nil>", "Bob"}) {
			t.Errorf("OnEnd was called with %q, want nil and Bob", ended)
		}
		for _, s := range []sio.Socket{first, second} {
			if n, ok := name.Get(s); ok || !errors.Is(name.Set(s, "x"), sio.ErrClosed) {
				t.Errorf("of a connection that has ended there is %q", n)
			}
		}
		wantNothingHeld(t, srv.Held())
	}
}

// Who comes back has a new connection, without the values of the old one.
func TestConnKeysOfWhoRecovers(t *testing.T) {
	srv := siotest.New(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	name, own := sio.NewConnKey[string](), sio.NewKey[string]()
	ended := 0
	name.OnEnd(func(string) { ended++ })
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		if s.Recovered() {
			return nil
		}
		return errors.Join(name.Set(s, "Ann"), own.Set(s, "own"))
	})
	c := srv.Connect("/")
	before := c.Socket()
	if err := before.Emit("an offset"); err != nil {
		t.Fatal(err)
	}
	c.Expect("an offset")
	c.Drop()
	if srv.Held()["connections' values"] != 0 || ended != 1 {
		t.Errorf("of a client that is away there are %d values, and %d have ended", srv.Held()["connections' values"], ended)
	}
	if err := c.Reconnect(); err != nil || !c.Recovered() {
		t.Fatalf("it is not recovered: %v", err)
	}
	s := c.Socket()
	if s.Conn() == before.Conn() {
		t.Error("the new connection has the name of the old one")
	}
	if n, ok := name.Get(s); ok {
		t.Errorf("the new connection has the name %q", n)
	}
	if v, _ := own.Get(s); v != "own" {
		t.Errorf("the value of the socket's own is %q", v)
	}
	if name.Set(s, "Bob"); name.Set(before, "x") == nil {
		t.Error("the old connection takes a value")
	}
	if n, _ := name.Get(s); n != "Bob" {
		t.Errorf("the name is %q", n)
	}
}

// Values are set and asked for by many while connections end: nothing stays, OnEnd is
// called with each value that Set has taken last, and none is taken after that.
func TestConnKeysWhileConnectionsEnd(t *testing.T) {
	var mu sync.Mutex
	last, ended := map[sio.Conn]int{}, map[int]sio.Conn{}
	key := sio.NewConnKey[int]()
	joined := make(chan sio.Socket, 200)
	srv := serve(t, sio.Options{Loop: loops(2)}, func(srv *sio.Server) {
		for _, name := range []string{"/", "/a"} {
			srv.Of(name).OnConnect(func(s sio.Socket) error { joined <- s; return nil })
			srv.Of(name).OnDisconnect(func(s sio.Socket, _ sio.Reason) { key.Get(s); s.Conn() })
		}
	})
	key.OnEnd(func(n int) { mu.Lock(); ended[n] = sio.Conn{}; mu.Unlock() })
	var wg sync.WaitGroup
	for i := range 20 {
		c := srv.dial()
		c.send("40", "40/a,")
		a, b := take(t, joined), take(t, joined)
		for g, s := range []sio.Socket{a, b, a} {
			wg.Go(func() {
				for j := 0; ; j++ {
					n := i<<24 | g<<20 | j
					if key.Set(s, n) != nil {
						break
					}
					mu.Lock()
					last[s.Conn()]++
					mu.Unlock()
					if _, ok := key.Get(s); !ok && !s.Gone() {
						continue // it is ending
					}
				}
			})
		}
		wg.Go(func() { c.conn.Close() })
	}
	wg.Wait()
	eventually(t, "the end of all values", func() bool { return srv.Held()["connections' values"] == 0 })
	mu.Lock()
	defer mu.Unlock()
	if len(ended) != len(last) {
		t.Errorf("OnEnd was called of %d connections, want of the %d that had a value", len(ended), len(last))
	}
}

// A connection without a value takes nothing for that.
func TestConnectionsWithoutValuesTakeNothing(t *testing.T) {
	st := newStage(t, sio.Options{})
	key := sio.NewConnKey[*int]()
	x := st.enter(0)
	for what, f := range map[string]func(){"Get": func() { key.Get(x.s) }, "Delete": func() { key.Delete(x.s) }, "zero": func() { sio.ConnKey[int]{}.Get(x.s) }} {
		if f(); st.Held()["connections' values"] != 0 {
			t.Errorf("after %s a value is held", what)
		}
	}
	if err := key.Set(x.s, new(int)); err != nil || st.Held()["connections' values"] != 1 {
		t.Errorf("Set = %v, and %d are held", err, st.Held()["connections' values"])
	}
	if n := testing.AllocsPerRun(100, func() { key.Get(x.s); x.s.Conn() }); n != 0 {
		t.Errorf("Get takes %v allocations", n)
	}
	if key.Delete(x.s); st.Held()["connections' values"] != 0 {
		t.Error("after Delete a value is held")
	}
	defer func() {
		if recover() == nil {
			t.Error("Set of a ConnKey that NewConnKey has not made did not panic")
		}
	}()
	_ = sio.ConnKey[int]{}.Set(x.s, 1)
}

// A function of OnEnd that panics is a line in the log, and ends nothing else.
func TestOnEndThatPanics(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	bad, good := sio.NewConnKey[int](), sio.NewConnKey[int]()
	ended := 0
	bad.OnEnd(func(int) { panic("of the program's") })
	good.OnEnd(func(int) { ended++ })
	srv.Of("/").OnConnect(func(s sio.Socket) error { return errors.Join(bad.Set(s, 1), good.Set(s, 2)) })
	srv.Connect("/").Drop()
	if srv.Connect("/"); ended != 1 {
		t.Errorf("OnEnd of the other value was called %d times, want once", ended)
	}
}

// With KeepForFirst the request goes behind the first namespace that looks at it; who
// comes later has the address, its own auth, and no line in the log.
func TestKeepForFirst(t *testing.T) {
	var seen []string
	srv := siotest.New(t, sio.Options{KeepHandshake: sio.KeepForFirst})
	look := func(s sio.Socket) error {
		var given struct{ V string }
		if err := s.Auth(&given); err != nil {
			return err
		}
		auth := given.V
		h := s.Handshake()
		seen = append(seen, fmt.Sprint(s.Name(), h.Query().Get("q"), h.Header().Get("Cookie"), auth, " ", h.Address().IsValid()))
		if auth == "refuse" {
			return &sio.Error{Message: "refused"}
		}
		return nil
	}
	srv.Of("/plain")
	srv.Of("/a").Use(look)
	srv.Of("/b").OnConnect(look)
	srv.Of("/c").Use(look)
	c := srv.Dial(siotest.Options{Query: map[string][]string{"q": {"1"}}, Header: map[string][]string{"Cookie": {"c=2"}}})
	for _, packet := range []string{"40/plain,", `40/a,{"v":"refuse"}`, `40/b,{"v":"B"}`, `40/c,{"v":"C"}`} {
		c.Send(packet)
	}
	address := strings.HasSuffix(seen[0], "true") // a simulation's clients need not have one
	want := []string{"/a1c=2refuse", "/b1c=2B", "/cC"}
	for i := range want {
		want[i] += fmt.Sprint(" ", address)
	}
	if !slices.Equal(seen, want) {
		t.Errorf("seen were %q, want %q", seen, want)
	}
	if h := srv.Held(); h["handshakes"] != 0 || h["details"] != 0 {
		t.Errorf("held are %v, want no request", h)
	}
}
