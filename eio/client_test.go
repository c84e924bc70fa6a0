package eio

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// forwardedFor is a Via that believes whoever says something.
func forwardedFor(v Via, r *http1.Request) Via {
	text := string(r.Get("X-Client"))
	if a, err := netip.ParseAddrPort(text); err == nil {
		v.Client = a
	} else if a, err := netip.ParseAddr(text); err == nil {
		v.Client = netip.AddrPortFrom(a, 0)
	} else if text != "" {
		v.Client = netip.AddrPort{} // nonsense
	}
	if host := r.Get("X-Host"); host != nil {
		v.Host = host
	}
	switch string(r.Get("X-Proto")) {
	case "https":
		v.Secure = true
	case "http":
		v.Secure = false
	}
	return v
}

// from adds the field that forwardedFor looks at to a request.
func from(request []byte, client string) []byte {
	return bytes.Replace(request, []byte("\r\n\r\n"), []byte("\r\nX-Client: "+client+"\r\n\r\n"), 1)
}

// TestVia: what the function says of a request is the address of its session's
// client from then on, over all that comes on other connections or from other clients,
// until they say something else.
func TestVia(t *testing.T) {
	var now Session
	var atOpen, refused netip.AddrPort
	asked := 0
	seen := make(chan string, 1)
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now, atOpen = s, s.RemoteAddr() }}, Options{
		Via:               func(p Via, r *http1.Request) Via { asked++; return forwardedFor(p, r) },
		OnConnectionError: func(e ConnectionError) { refused = e.RemoteAddr },
		Route: func(path string) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.RemoteAddr })
		},
	}, loop.Options{})
	a, b, w := sim.Connect(0), sim.Connect(0), sim.Connect(0)
	step := func(p *loop.Peer, request []byte, want string) {
		t.Helper()
		p.Send(request)
		p.Received()
		if got := now.RemoteAddr().String(); got != want {
			t.Errorf("RemoteAddr() = %s, want %s", got, want)
		}
	}
	step(a, from(getRequest("EIO=4&transport=polling"), "203.0.113.1:5"), "203.0.113.1:5")
	if atOpen != now.RemoteAddr() {
		t.Errorf("at Open it was %v", atOpen)
	}
	query := "EIO=4&transport=polling&sid=" + now.ID()
	step(b, from(postRequest(query, "4x"), "203.0.113.2"), "203.0.113.2:0")
	step(b, from(getRequest(query), "[2001:db8::1]:7"), "[2001:db8::1]:7")
	step(a, postRequest(query, "4x"), "192.0.2.1:1")
	b.Close()
	now.SetUser(1)
	if !now.Valid() {
		// The poll's connection went away, and the session with it, as always.
		if n := len(srv.shards[0].clients); n != 0 {
			t.Errorf("%d addresses are kept for nobody", n)
		}
	}
	step(a, from(getRequest("EIO=4&transport=polling"), "203.0.113.1:5"), "203.0.113.1:5")
	query = "EIO=4&transport=websocket&sid=" + now.ID()
	step(w, from(wsRequest(query), "203.0.113.9:9"), "203.0.113.1:5") // it may come to nothing
	step(w, textFrame("2probe"), "203.0.113.1:5")
	step(w, textFrame("5"), "203.0.113.9:9")
	if n := len(srv.shards[0].clients); n != 1 {
		t.Errorf("%d addresses are kept, want 1", n)
	}
	w.Close()
	v := sim.Connect(0)
	step(v, wsRequest("EIO=4&transport=websocket"), fmt.Sprintf("192.0.2.1:%d", 4))
	if n := len(srv.shards[0].clients); n != 0 {
		t.Errorf("%d addresses are kept of clients that have none of their own", n)
	}
	before := asked
	a.Send(from(getRequest("transport=none"), "203.0.113.4:4"))
	if refused.String() != "203.0.113.4:4" {
		t.Errorf("the refused one was %v", refused)
	}
	a.Send(from([]byte("GET /route HTTP/1.1\r\nHost: h\r\n\r\n"), "203.0.113.5:5"))
	if got := <-seen; got != "203.0.113.5:5" {
		t.Errorf("net/http's request is from %s", got)
	}
	if asked-before != 2 {
		t.Errorf("asked %d times about two requests", asked-before)
	}
	waitFor(t, sim, func() bool { return len(a.Received()) > 0 })
	for _, p := range []*loop.Peer{a, v} {
		p.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestViaIsNotBelievedBlindly: of an answer that is no address, or a strange
// one, nothing is kept but an address.
func TestViaIsNotBelievedBlindly(t *testing.T) {
	zone := "fe80::1%" + strings.Repeat("z", 1000)
	for client, want := range map[string]string{
		"nonsense": "192.0.2.1:1", "": "192.0.2.1:1", "192.0.2.1:1": "192.0.2.1:1",
		"::ffff:203.0.113.7": "203.0.113.7:0", zone: "[fe80::1]:0", "[" + zone + "]:1": "[fe80::1]:1",
	} {
		for transport, request := range map[string][]byte{"polling": getRequest("EIO=4&transport=polling"), "websocket": wsRequest("EIO=4&transport=websocket")} {
			var now Session
			srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{Via: forwardedFor}, loop.Options{})
			p := sim.Connect(0)
			p.Send(from(request, client))
			if got := now.RemoteAddr().String(); got != want {
				t.Errorf("%s from %.30q: RemoteAddr() = %s, want %s", transport, client, got, want)
			}
			p.Close()
			sim.Advance(2 * time.Minute)
			checkEmpty(t, srv, sim.Engine())
			if n := len(srv.shards[0].clients); n != 0 {
				t.Errorf("%d addresses are left", n)
			}
		}
	}
}

// TestGuestsOfAProxy: behind a proxy each client has its own share of sessions that
// have joined nothing, whatever connection it comes on.
func TestGuestsOfAProxy(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{Via: forwardedFor, MaxSessionsPerIP: 2}, loop.Options{})
	p := sim.Connect(0)
	for i, want := range map[int]string{1: "503", 2: "503"} {
		for range 3 {
			p.Send(from(getRequest("EIO=4&transport=polling"), fmt.Sprintf("203.0.113.%d:1", i)))
		}
		got := statuses(p.Received())
		if len(got) != 3 || got[0] != "200" || got[1] != "200" || got[2] != want {
			t.Errorf("client %d got %v, want two sessions and %s", i, got, want)
		}
		p = sim.Connect(0) // a refusal ends the connection
	}
	sim.Advance(10 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
