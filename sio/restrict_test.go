package sio_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func isNumber(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// joins returns the namespace that serves a client of a name, or its error.
func joins(srv *siotest.Server, name string) string {
	c, err := srv.Try(name, siotest.Options{})
	if err != nil {
		return err.Error()
	}
	defer c.Disconnect()
	return c.Socket().Namespace().Name()
}

// A namespace of servers is none for clients, whoever else would have its names.
func TestServersOnly(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	there := srv.Of("/was/:id")
	c := srv.Connect("/was/1")
	for _, ns := range []*sio.Namespace{
		srv.Of("/literal"), srv.Of("/s/:id"), there, srv.OfFunc(func(name string, _ json.RawMessage) bool { return name == "/f" }),
	} {
		ns.ServersOnly()
	}
	srv.Of("/:a/*b")
	all := srv.OfFunc(func(string, json.RawMessage) bool { return true })
	const unknown = "connect_error: Invalid namespace"
	for name, want := range map[string]string{"/literal": unknown, "/s/1": unknown, "/was/1": unknown, "/was/2": unknown, "/f": unknown, "/s/1/2": "/:a/*b", "/g": all.Name()} {
		if got := joins(srv, name); got != want {
			t.Errorf("%s is of %s, want %s", name, got, want)
		}
		if _, can := srv.Find(name); can != (want != unknown) && name != "/was/1" {
			t.Errorf("Find(%q) is %t", name, can)
		}
	}
	if !c.Socket().Connected() {
		t.Error("who was there does not stay")
	}
}

func TestRestrict(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/c/:id").Restrict(func(name string, param func(string) string) bool {
		return isNumber(param("id")) && name == "/c/"+param("id") && param("x") == ""
	})
	srv.Of("/c/*rest")
	literal := srv.Of("/literal")
	literal.Restrict(func(string, func(string) string) bool { return false })
	srv.Of("/:any")
	f := srv.OfFunc(func(name string, _ json.RawMessage) bool { return name == "/f/x/y" })
	const unknown = "connect_error: Invalid namespace"
	for _, c := range []struct{ name, want string }{
		{"/c/42", "/c/:id"}, {"/c/x", "/c/*rest"}, {"/literal", unknown}, {"/other", "/:any"}, {"/f/x/y", f.Name()}, {"/f/x/z", unknown},
	} {
		if got := joins(srv, c.name); got != c.want {
			t.Errorf("%s is of %s, want %s", c.name, got, c.want)
		}
	}
	refused := srv.Stats().Refused
	if refused != 2 {
		t.Errorf("%d refused, want 2", refused)
	}

	// Who is there stays; who comes meets what is said now, also where others are.
	there := srv.Connect("/c/7")
	srv.Of("/c/:id").Restrict(func(string, func(string) string) bool { return false })
	f.Restrict(func(string, func(string) string) bool { return false })
	literal.Restrict(nil)
	for _, c := range []struct{ name, want string }{{"/c/7", unknown}, {"/c/8", "/c/*rest"}, {"/f/x/y", unknown}, {"/literal", "/literal"}} {
		if got := joins(srv, c.name); got != c.want {
			t.Errorf("then %s is of %s, want %s", c.name, got, c.want)
		}
	}
	if !there.Connected() {
		t.Error("who was there is not any more")
	}
}

func TestDefine(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	setup := 0
	for _, name := range []string{"/a", "b", "/c/:id"} {
		define := func() *sio.Namespace {
			return srv.Define(name, func(n *sio.Namespace) {
				setup++
				// It is not there yet.
				if got := joins(srv, "/a"); name == "/a" && got != "connect_error: Invalid namespace" {
					t.Errorf("while it is made: %s", got)
				}
				n.Use(func(sio.Socket) error { return &sio.Error{Message: "made"} })
			})
		}
		n := define()
		if define() != n || srv.Of(name) != n {
			t.Errorf("%s is another one", name)
		}
	}
	for _, name := range []string{"/a", "/b", "/c/1"} {
		if got := joins(srv, name); got != "connect_error: made" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if setup != 3 {
		t.Errorf("made %d times, want 3", setup)
	}
	inner := srv.Define("/d", func(*sio.Namespace) { srv.Of("/d") })
	if inner != srv.Of("/d") {
		t.Error("two namespaces are called /d")
	}
	for range 2 { // the second time, nothing is locked
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a pattern that has the same names is another one")
				}
			}()
			srv.Define("/c/:other", func(*sio.Namespace) {})
		}()
	}
}

func TestIn(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	n := srv.Of("/")
	var got []bool
	rooms := func(s sio.Socket, m *sio.Msg) error {
		got = append(got, m.In("a"))
		s.Join("a")
		got = append(got, m.In("a"), m.In(s.ID()), m.In("b"), s.In("a"))
		s.Leave("a")
		got = append(got, m.In("a"), s.In("a"))
		return nil
	}
	n.HandleInline("inline", rooms)
	n.Handle("handler", rooms)
	n.Handle("with", func(s sio.Socket, m *sio.Msg) error {
		with, err := m.With("x")
		if err != nil {
			return err
		}
		return rooms(s, with)
	})
	var kept *sio.Msg
	n.HandleInline("keep", func(_ sio.Socket, m *sio.Msg) error { kept = m; return nil })
	c := srv.Connect("/")
	for _, event := range []string{"inline", "handler", "with"} {
		got = nil
		c.Emit(event)
		if want := "[false true true false true false false]"; fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", event, got, want)
		}
	}
	c.Emit("keep")
	if kept.In(c.ID()) {
		t.Error("a Msg that is not valid any more answers")
	}
	s := c.Socket()
	c.Disconnect()
	if s.In("a") || s.In(s.ID()) {
		t.Error("who has left is in rooms")
	}
}

func TestInOfAnInlineHandlerAllocatesNothing(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	n := srv.Of("/")
	c := srv.Connect("/")
	c.Socket().Join("a")
	allocs := -1.0
	n.HandleInline("e", func(_ sio.Socket, m *sio.Msg) error {
		allocs = testing.AllocsPerRun(100, func() {
			if !m.In("a") || m.In("b") {
				t.Error("wrong")
			}
		})
		return nil
	})
	c.Emit("e")
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
