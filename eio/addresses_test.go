package eio

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// is429 tells whether a request was refused for its address.
func is429(b []byte) bool {
	return bytes.HasPrefix(b, []byte("HTTP/1.1 429 ")) && bytes.Contains(b, []byte("\r\nRetry-After: 5\r\n")) && bytes.Contains(b, []byte("\r\nConnection: close\r\n"))
}

// counted returns for how many addresses something is counted.
func (g *perAddress) counted() (n int) {
	for i := range g.shards {
		n += len(g.shards[i].of)
	}
	return n
}

func checkNoAddresses(t *testing.T, srv *Server) {
	t.Helper()
	for name, g := range map[string]*perAddress{"peers": srv.peers, "overs": srv.overs, "owners": srv.owners} {
		if n := g.counted(); n != 0 {
			t.Errorf("%d addresses are left in %s", n, name)
		}
	}
	for _, sh := range srv.shards {
		if sh.peers != nil || sh.owners != nil || sh.reserved.IsValid() {
			t.Errorf("a loop still knows %d connections and %d sessions", len(sh.peers), len(sh.owners))
		}
	}
}

func TestMaxConnsPerIP(t *testing.T) {
	var log bytes.Buffer
	srv, sim := newSim(t, &hooks{}, Options{MaxConnsPerIP: 3}, loop.Options{})
	srv.notice = newNotice(&log)
	ws, poll := wsRequest("EIO=4&transport=websocket"), getRequest("EIO=4&transport=polling")
	open := sim.Connect(0)
	open.Send(ws)
	idle := []*loop.Peer{sim.Connect(0), sim.Connect(0)} // connections, without a word
	for _, request := range [][]byte{ws, poll, []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")} {
		p := sim.Connect(0)
		if p.Send(request); !is429(p.Received()) || !p.Closed() {
			t.Errorf("%.30q on one connection too many is not refused", request)
		}
	}
	var waiting []*loop.Peer
	for range 5 {
		waiting = append(waiting, sim.Connect(0))
	}
	for i, p := range waiting {
		if p.Closed() != (i >= 3) {
			t.Errorf("connection %d too many: closed %v", i, p.Closed())
		}
	}
	sim.Advance(11 * time.Second) // HeadTimeout
	for i, p := range append(waiting, idle...) {
		if !p.Closed() {
			t.Errorf("connection %d without a request is still there", i)
		}
	}
	for _, want := range []string{"--max-conns-per-ip", "192.0.2.1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s: %s", want, &log)
		}
	}
	if n := srv.Stats().PerIPConns; n != 5 {
		t.Errorf("%d were counted, want 3 answers and 2 cut", n)
	}
	second, third := sim.Connect(0), sim.Connect(0)
	second.Send(ws)
	third.Send(ws)
	if b := second.Received(); !bytes.HasPrefix(b, []byte("HTTP/1.1 101")) {
		t.Errorf("with room again: %q", b)
	}
	p := sim.Connect(0)
	if p.Send(ws); !is429(p.Received()) {
		t.Error("a fourth WebSocket is not refused")
	}
	open.Close()
	p = sim.Connect(0)
	if p.Send(ws); !bytes.HasPrefix(p.Received(), []byte("HTTP/1.1 101")) {
		t.Error("with the place of one that has gone it is refused")
	}
	for _, p := range []*loop.Peer{p, second, third} {
		p.Close()
	}
	sim.Advance(time.Minute)
	checkNoAddresses(t, srv)
}

// Sessions of one address are bounded too, of whatever transport, and behind a proxy they
// alone.
func TestMaxConnsPerIPBehindAProxy(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{MaxConnsPerIP: 2, Via: forwardedFor, PingInterval: time.Hour}, loop.Options{Loops: 2})
	ws, poll := wsRequest("EIO=4&transport=websocket"), getRequest("EIO=4&transport=polling")
	pool := []*loop.Peer{sim.Connect(0), sim.Connect(1)}
	try := func(p *loop.Peer, request []byte, client string) string {
		p.Send(from(request, client))
		return fmt.Sprint(statuses(p.Received()))
	}
	for i, c := range []struct {
		client, want string
	}{
		{"203.0.113.1", "[200]"}, {"203.0.113.1", "[200]"}, {"203.0.113.1", "[429]"}, {"203.0.113.2", "[200]"},
		{"2001:db8:1:1::1", "[200]"}, {"2001:db8:1:1:ffff::2", "[200]"}, {"2001:db8:1:1::3", "[429]"}, {"2001:db8:1:2::1", "[200]"},
	} {
		p := pool[i%2]
		if p.Closed() {
			p = sim.Connect(i % 2)
			pool[i%2] = p
		}
		if got := try(p, poll, c.client); got != c.want {
			t.Errorf("session %d, of %s: %s, want %s", i, c.client, got, c.want)
		}
	}
	var all []*loop.Peer
	for i := range 10 { // WebSockets through the proxy are many connections of its address
		p := sim.Connect(i % 2)
		all = append(all, p)
		if got := try(p, ws, fmt.Sprint("198.51.100.", i)); got != "[101]" {
			t.Errorf("WebSocket %d: %s", i, got)
		}
	}
	if st := srv.Stats(); st.PerIPSessions != 2 || st.PerIPConns != 0 {
		t.Errorf("counted %d sessions and %d connections, want 2 and 0", st.PerIPSessions, st.PerIPConns)
	}
	direct := []*loop.Peer{sim.Connect(0), sim.Connect(1), sim.Connect(0)} // clients of their own
	for i, want := range []string{"[101]", "[101]", "[429]"} {
		direct[i].Send(ws)
		if got := fmt.Sprint(statuses(direct[i].Received())); got != want {
			t.Errorf("direct client %d: %s, want %s", i, got, want)
		}
	}
	for _, p := range append(append(all, direct...), pool...) {
		p.Close()
	}
	sim.Advance(3 * time.Hour)
	checkNoAddresses(t, srv)
}

// Another node's connections are not refused, and a session that is not opened after all
// gives its place back.
func TestMaxConnsPerIPExceptions(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{MaxConnsPerIP: 1, MaxSessionsPerIP: 16,
		Proven: func(_ *http1.Request, claim []byte) bool { return string(claim) == "yes" }}, loop.Options{})
	first := sim.Connect(0)
	request := bytes.Replace(getRequest("EIO=4&transport=polling&sid=x"), []byte("\r\n\r\n"), []byte("\r\n"+ForwardedHeader+": yes\r\n\r\n"), 1)
	for range 5 {
		p := sim.Connect(0)
		if p.Send(request); fmt.Sprint(statuses(p.Received())) != "[400]" { // it is heard, and there is no such session
			t.Error("another node's request was refused for its address")
		}
		q := sim.Connect(0)
		if q.Send(bytes.Replace(request, []byte("yes"), []byte("no!"), 1)); !is429(q.Received()) {
			t.Error("a forged request was not refused")
		}
	}
	p := sim.Connect(0)
	if p.Send(getRequest("EIO=4&transport=polling")); !is429(p.Received()) {
		t.Error("a client's request was not refused")
	}
	first.Send([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")) // without a key
	if got := fmt.Sprint(statuses(first.Received())); got != "[400]" {
		t.Errorf("a bad handshake: %s", got)
	}
	sim.Advance(time.Hour)
	checkNoAddresses(t, srv)
	for _, text := range []string{"", "::ffff:192.0.2.1", "fe80::1%eth0"} {
		a, _ := netip.ParseAddr(text)
		if n := network(a.Unmap()); n.IsValid() != (text != "") || n.Zone() != "" {
			t.Errorf("%q is counted as %v", text, n)
		}
	}
}
