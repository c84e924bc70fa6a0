package sio_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// Over polling a volatile event needs a poll that waits.
func TestEdge35VolatileOverPolling(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	p := srv.joinPolling()
	s := take(t, joined)
	for _, to := range []sio.Emitter{s.Volatile(), srv.Of("/").All().Volatile()} {
		if err := to.Emit("dropped", []byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := s.Emit("kept"); err != nil {
			t.Fatal(err)
		}
		s.Rooms()
		if err := to.Emit("dropped"); err != nil { // no poll, and something queued
			t.Fatal(err)
		}
		s.Rooms()
		p.wantGet(200, `42["kept"]`)
		get := p.pending()
		eventually(t, "the poll", s.Writable)
		if err := to.Emit("now", []byte{1}); err != nil {
			t.Fatal(err)
		}
		if got, want := take(t, get), `451-["now",{"_placeholder":true,"num":0}]`+"\x1ebAQ=="; got != want {
			t.Errorf("the poll = %q, want %q", got, want)
		}
	}
}

func TestEdge60LargestMessage(t *testing.T) {
	srv := serve(t, sio.Options{Engine: eio.Options{MaxPayload: 1000}}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.join("40")
	const head, tail = `421["echo","`, `"]`
	full := head + strings.Repeat("x", 1000-len(head)-len(tail)) + tail
	c.send(full)
	if got := c.next(); len(got) != len(full)-len(`"echo",`) {
		t.Errorf("the answer to %d bytes is %q", len(full), got)
	}
	c.send(full + " ")
	c.ended("close 1009")
}

func TestEdge62NeverPolling(t *testing.T) {
	reasons := make(chan sio.Reason, 1)
	srv := serve(t, sio.Options{Engine: eio.Options{PingInterval: 2 * time.Second, PingTimeout: 50 * time.Millisecond}},
		func(srv *sio.Server) {
			srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
		})
	p := srv.poll()
	p.send("40")
	if r := take(t, reasons); r != eio.PingTimeout {
		t.Errorf("the reason is %q, want %q", r, eio.PingTimeout)
	}
	if status, body := p.get(); status != 400 || !strings.Contains(body, `"code":1`) {
		t.Errorf("GET = %d %q, want 400 and code 1", status, body)
	}
}

// The answer to a CONNECT without middlewares is given at once, so that what
// the client sends behind it without waiting is not before the answer.
func TestEventsRightBehindConnect(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	srv.dial().play(say("40", `421["echo",1]`).hear(`40{"sid":"$sid"}`, `431[1]`))
	p := srv.poll()
	p.send("40", `421["echo",1]`)
	p.expect(`40{"sid":"$sid"}`, `431[1]`)
}

// What the server emits, letter for letter.
func TestEncodings(t *testing.T) {
	var root, admin chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		root, admin = sockets(srv.Of("/")), sockets(srv.Of("/admin"))
	})
	c := srv.join("40")
	c.join("40/admin,")
	r, a := take(t, root), take(t, admin)
	one := func(n int) string { return fmt.Sprintf(`{"_placeholder":true,"num":%d}`, n) }
	type nested struct {
		X []sio.Binary `json:"x"`
		Y []byte       `json:"y"`
		Z string       `json:"z,omitempty"`
	}
	var nothing *nested
	for _, x := range []struct {
		to   sio.Emitter
		args []any
		want []string
	}{
		{r, nil, []string{`42["foo"]`}},
		{a, []any{"bar"}, []string{`42/admin,["foo","bar"]`}},
		{r, []any{1, -2.5, true, nil, nothing, "é\"\n"}, []string{`42["foo",1,-2.5,true,null,null,"é\"\n"]`}},
		{r, []any{[]int{1}, map[string]any{"b": 1, "a": []string{}}}, []string{`42["foo",[1],{"a":[],"b":1}]`}},
		{r, []any{[]byte{}}, []string{`451-["foo",` + one(0) + `]`, "<>"}},
		{srv.Of("/").All(), []any{nested{[]sio.Binary{{1}}, []byte{2}, ""}, []byte{3}},
			[]string{`453-["foo",{"x":[` + one(0) + `],"y":` + one(1) + `},` + one(2) + `]`, "<01>", "<02>", "<03>"}},
		{a.Volatile(), []any{[]byte{4}}, []string{`451-/admin,["foo",` + one(0) + `]`, "<04>"}},
	} {
		if err := x.to.Emit("foo", x.args...); err != nil {
			t.Errorf("Emit(%v) = %v", x.args, err)
			continue
		}
		c.expect(x.want...)
	}
}
