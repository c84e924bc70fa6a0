package eio

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// headOf returns the header of the answer to a handshake, without the frames
// behind it.
func headOf(t *testing.T, peer *loop.Peer) http.Header {
	t.Helper()
	b := peer.Received()
	head := string(b[:len(b)-len(upgraded(t, b))])
	header := http.Header{}
	for line := range strings.SplitSeq(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			header.Add(name, value)
		}
	}
	return header
}

// TestHooksSetCookies: InitialHeaders may set several cookies, beside the
// server's own, with the first answer of a session and no other; Headers is
// called once for each answer.
func TestHooksSetCookies(t *testing.T) {
	n := 0
	srv, sim := newSim(t, &hooks{}, Options{
		Cookie: &http.Cookie{Name: "sticky", Path: "/engine.io/", SameSite: http.SameSiteStrictMode},
		InitialHeaders: func(h http.Header, _ *http1.Request) {
			h.Add("Set-Cookie", "a=1; Path=/")
			h.Add("Set-Cookie", "b=2")
		},
		Headers: func(h http.Header, _ *http1.Request) {
			n++
			h.Set("X-Count", fmt.Sprint(n))
		},
	}, loop.Options{})
	check := func(what string, h http.Header, count string, cookies ...string) {
		t.Helper()
		if got := h["Set-Cookie"]; !slices.Equal(got, cookies) || h.Get("X-Count") != count {
			t.Errorf("%s has the cookies %q and X-Count %q, want %q and %s", what, got, h.Get("X-Count"), cookies, count)
		}
	}
	c, w, u := sim.Connect(0), sim.Connect(0), sim.Connect(0)
	c.Send(getRequest("EIO=4&transport=polling"))
	r := answers(t, sim, c, 1)[0]
	_, rest, _ := strings.Cut(bodyOf(r), `"sid":"`)
	sid := rest[:IDLen]
	check("the first answer", r.Header, "1", "a=1; Path=/", "b=2", "sticky="+sid+"; Path=/engine.io/; HttpOnly; SameSite=Strict")
	c.Send(postRequest("EIO=4&transport=polling&sid="+sid, "4x"))
	check("that to a post", answers(t, sim, c, 1)[0].Header, "2")
	c.Send(getRequest("EIO=4&transport=polling&sid=" + sid))
	u.Send(wsRequest("EIO=4&transport=websocket&sid=" + sid))
	check("that to an upgrade", headOf(t, u), "4")
	u.Send(textFrame("2probe"))
	sim.Advance(100 * time.Millisecond)
	check("that to a poll, asked for before the upgrade", answers(t, sim, c, 1)[0].Header, "3")
	w.Send(wsRequest("EIO=4&transport=websocket"))
	check("the first one of a WebSocket", headOf(t, w), "5", "a=1; Path=/", "b=2")
	for _, p := range []*loop.Peer{c, w, u} {
		p.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestMiddlewareOfNetHTTP runs middlewares of net/http as the documentation of
// Options has it: in their order, over polling and WebSocket, with what they set
// in the answer, and with the answer of one that ends the request.
func TestMiddlewareOfNetHTTP(t *testing.T) {
	called := func(name string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("X-Order", name)
			if r.URL.Query().Get("stop") == name {
				http.Error(w, "stopped by "+name, http.StatusBadRequest)
				return
			}
			w.Header().Set("X-Frame-Options", "SAMEORIGIN")
			http.SetCookie(w, &http.Cookie{Name: name, Value: "1"})
			next.ServeHTTP(w, r)
		})
	}
	wrap := func(next http.Handler) http.Handler { return called("outer", called("inner", next)) }
	opened := 0
	srv, sim := newSim(t, &hooks{open: func(Session, *http1.Request) { opened++ }}, Options{
		Middleware: func(w http.ResponseWriter, r *http.Request) (next bool) {
			wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { next = true })).ServeHTTP(w, r)
			return next
		},
	}, loop.Options{})
	check := func(what string, h http.Header, names ...string) {
		t.Helper()
		var cookies []string
		for _, name := range names {
			cookies = append(cookies, name+"=1")
		}
		if got := h["X-Order"]; !slices.Equal(got, []string{"outer", "inner"}[:max(len(names), 1)]) {
			t.Errorf("%s went through %q", what, got)
		}
		if got := h["Set-Cookie"]; !slices.Equal(got, cookies) {
			t.Errorf("%s has the cookies %q, want %q", what, got, cookies)
		}
		if got := h.Get("X-Frame-Options"); (got == "SAMEORIGIN") != (len(names) > 0) {
			t.Errorf("%s has X-Frame-Options %q", what, got)
		}
	}
	c, w := sim.Connect(0), sim.Connect(0)
	c.Send(getRequest("EIO=4&transport=polling"))
	r := answers(t, sim, c, 1)[0]
	check("the first answer", r.Header, "outer", "inner")
	_, rest, _ := strings.Cut(bodyOf(r), `"sid":"`)
	c.Send(postRequest("EIO=4&transport=polling&sid="+rest[:IDLen], "4x"))
	check("that to a post", answers(t, sim, c, 1)[0].Header, "outer", "inner")
	w.Send(wsRequest("EIO=4&transport=websocket"))
	waitFor(t, sim, func() bool { return opened == 2 })
	check("the handshake of a WebSocket", headOf(t, w), "outer", "inner")
	c.Send(getRequest("EIO=4&transport=polling&stop=outer"))
	if r = answers(t, sim, c, 1)[0]; r.StatusCode != 400 || bodyOf(r) != "stopped by outer\n" {
		t.Errorf("a request that the first one stops is answered %d, want 400 and what it says", r.StatusCode)
	}
	check("what the first one stops", r.Header)
	stopped := sim.Connect(0)
	stopped.Send(wsRequest("EIO=4&transport=websocket&stop=inner"))
	if r = answers(t, sim, stopped, 1)[0]; r.StatusCode != 400 || bodyOf(r) != "stopped by inner\n" || !stopped.Closed() {
		t.Errorf("a handshake that the second one stops is answered %d, closed %t, want 400 and the end", r.StatusCode, stopped.Closed())
	}
	if opened != 2 {
		t.Errorf("%d sessions were opened, want 2", opened)
	}
	for _, p := range []*loop.Peer{c, w, stopped} {
		p.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
