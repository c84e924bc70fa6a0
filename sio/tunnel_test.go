package sio_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// upgrade makes a session at home a WebSocket's, through the other server.
func (x *strays) upgrade(p *poller, meanwhile func()) *client {
	x.home.t.Helper()
	p.srv = x.away
	return p.upgrade(meanwhile)
}

// joinUpgraded joins at home with a WebSocket through the other server.
func (x *strays) joinUpgraded() (*client, sio.Socket) {
	x.home.t.Helper()
	p, s := x.join()
	c := x.upgrade(p, func() {})
	eventually(x.home.t, "the end of the upgrade", func() bool { return s.Transport() == "websocket" })
	return c, s
}

// wantTunnels compares what the other server counts, once nothing moves.
func (x *strays) wantTunnels(open, done, failed int64) {
	t := x.home.t
	t.Helper()
	eventually(t, fmt.Sprintf("%d tunnels open", open), func() bool { return x.away.Stats().Tunnels == open })
	if st := x.away.Stats(); st.Tunnelled != done || st.TunnelFailed != failed {
		t.Errorf("Tunnelled = %d, TunnelFailed = %d, want %d and %d", st.Tunnelled, st.TunnelFailed, done, failed)
	}
}

// wantRefused asks the other server for an upgrade, which is refused like a
// session that is unknown.
func (x *strays) wantRefused(p *poller, reason string) {
	t := x.home.t
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, strings.Replace(p.url, "transport=polling", "transport=websocket", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	resp, err := p.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		t.Fatal("the upgrade was answered with 101, want a refusal")
	}
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || string(b) != "Session ID unknown" || resp.Header.Get(eio.ReasonHeader) != reason {
		t.Errorf("the upgrade = %d %q, reason %q, want 400, that the session is unknown, and %q", resp.StatusCode, b, resp.Header.Get(eio.ReasonHeader), reason)
	}
}

// A session that upgrades through another server goes on there, with nothing
// lost around it, and ends as any other.
func TestTunnelledDialogue(t *testing.T) {
	o := sio.Options{Engine: eio.Options{MaxPayload: 4 << 20}, Loop: loop.Options{Loops: 2}}
	x := newStrays(t, o)
	p, s := x.join()
	p.send(`421["echo",0]`)
	p.expect("431[0]")
	c := x.upgrade(p, func() {
		if err := s.Emit("during", 1); err != nil {
			t.Error(err)
		}
	})
	if err := s.Emit("behind", 2); err != nil {
		t.Error(err)
	}
	c.expect(`42["during",1]`, `42["behind",2]`)
	if got := s.Transport(); got != "websocket" {
		t.Errorf("Transport() = %q, want websocket", got)
	}
	text := strings.Repeat("text ", 200_000)
	c.send(`421["echo","` + text + `"]`)
	c.expect(`431["` + text + `"]`)
	packet := "<" + hex.EncodeToString(bytes.Repeat([]byte{0, 1, 2, 255}, 250_000)) + ">"
	placeholder := `{"_placeholder":true,"num":0}`
	c.send(`451-2["echo",`+placeholder+`]`, packet)
	c.expect(`461-2[`+placeholder+`]`, packet)
	for i := range 1000 {
		c.send(fmt.Sprintf(`42%d["echo",%d]`, i, i))
	}
	for i := range 1000 {
		c.expect(fmt.Sprintf(`43%d[%d]`, i, i))
	}
	x.wantTunnels(1, 1, 0)
	c.send("41")
	c.send("1")
	if r := take(t, x.left); r != "client namespace disconnect" {
		t.Errorf("the reason is %q, want that the client left", r)
	}
	c.expect("close -", "FIN")
	x.wantTunnels(0, 1, 0)
}

// A broadcast reaches clients at home, elsewhere and in tunnels once.
func TestTunnelledBroadcast(t *testing.T) {
	x := newStrays(t, sio.Options{})
	here := x.home.join("40")
	far := x.away.join("40")
	c, _ := x.joinUpgraded()
	d, _ := x.joinUpgraded()
	for i := range 100 {
		if err := x.home.Of("/").Emit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*client{here, far, c, d} {
		for i := range 100 {
			c.expect(fmt.Sprintf(`42["n",%d]`, i))
		}
		c.quiet("")
	}
	x.wantTunnels(2, 2, 0)
}

func TestTunnelledOldClient(t *testing.T) {
	x := newStrays(t, sio.Options{Engine: eio.Options{AllowEIO3: true}})
	p := x.poll("EIO=3&transport=polling")
	s := take(t, x.joined)
	p.get() // that it is in "/"
	c := x.away.handshake("EIO=3&transport=websocket&sid=" + p.sid)
	c.send("2probe")
	c.expect("3probe")
	c.send("5", "2")
	c.expect("3")
	if err := s.Emit("b", []byte{1}); err != nil {
		t.Fatal(err)
	}
	c.expect(`451-["b",{"_placeholder":true,"num":0}]`, "<0401>")
	x.wantTunnels(1, 1, 0)
}

// The probe may come in one segment with the request.
func TestTunnelledProbeBehindTheRequest(t *testing.T) {
	x := newStrays(t, sio.Options{})
	p, s := x.join()
	get := p.pending()
	eventually(t, "the poll", s.Writable)
	conn, err := net.Dial("tcp", x.away.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &client{t: t, conn: conn}
	nonce := [16]byte{1, 2, 3}
	head := wsframe.AppendClientHandshake(nil, x.away.addr, "/socket.io/?EIO=4&transport=websocket&sid="+p.sid, nonce)
	c.write(appendPacket(head, "2probe"))
	if got := take(t, get); got != "6" {
		t.Errorf("the poll = %q, want 6", got)
	}
	for n := 0; n == 0; {
		if n, err = wsframe.CheckAccept(c.in, nonce); err != nil || n == 0 && !c.more() {
			t.Fatalf("handshake: %v; the answer is %q", err, c.in)
		}
		c.in = c.in[n:]
	}
	c.expect("3probe")
	c.send("5", `421["echo",1]`)
	c.expect("431[1]")
}

// What the session's server is asked is what the client asked, but for what is
// about one connection; compression is between the two.
func TestTunnelledHandshake(t *testing.T) {
	seen := make(chan *http.Request, 10)
	o := compressing
	o.Middleware = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Upgrade") != "" && r.Header.Get(eio.ForwardedHeader) != "" {
			seen <- r
		}
		return true
	}
	x := newStrays(t, sio.Options{Engine: o})
	p, s := x.join()
	get := p.pending()
	eventually(t, "the poll", s.Writable)
	c := x.away.handshakeWith("EIO=4&transport=websocket&sid="+p.sid,
		"Sec-WebSocket-Extensions: permessage-deflate\r\nCookie: a=b\r\nX-Forwarded-For: 192.0.2.1\r\nKeep-Alive: timeout=1\r\n")
	r := take(t, seen)
	for name, want := range map[string]string{"Connection": "[Upgrade]", "Upgrade": "[websocket]", "Sec-Websocket-Version": "[13]", "Cookie": "[a=b]",
		"X-Forwarded-For": "[192.0.2.1, 127.0.0.1]", "Sec-Websocket-Extensions": "[permessage-deflate]", "Keep-Alive": "[]"} {
		if got := fmt.Sprint(r.Header[name]); got != want {
			t.Errorf("the session's server is sent %s %s, want %s", name, got, want)
		}
	}
	c.send("2probe")
	c.expect("3probe")
	take(t, get)
	c.send("5")
	long := strings.Repeat("long ", 1000)
	if err := s.Emit("long", long); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["long","` + long + `"]`)
	if !c.compressed {
		t.Error("a long message is not compressed, want what was agreed on")
	}
}

// Without a session's id a WebSocket is where it comes.
func TestTunnelsAreForSessionsOnly(t *testing.T) {
	x := newStrays(t, sio.Options{})
	c := x.away.join("40")
	c.send(`421["echo",1]`)
	c.expect("431[1]")
	x.wantTunnels(0, 0, 0)
}

// A refusal of the session's server is the client's answer; what cannot be
// passed on has the client go on polling.
func TestTunnelRefusals(t *testing.T) {
	told := make(chan string, 10)
	x := newStrays(t, sio.Options{MaxTunnels: 1, Engine: eio.Options{OnConnectionError: func(e eio.ConnectionError) {
		told <- fmt.Sprint(e.Code, " ", e.Context.Name, " ", e.Context.SID)
	}}})
	node := x.home.Node()
	p, s := x.join()
	q, _ := x.join()
	gone := *q
	gone.url = strings.Replace(q.url, q.sid, node+strings.Repeat("A", eio.IDLen-len(node)), 1)
	gone.sid = node + strings.Repeat("A", eio.IDLen-len(node))
	before := x.away.Stats().Forwarded
	x.wantRefused(&gone, "")
	if got, want := take(t, told), "1  "+gone.sid; got != want {
		t.Errorf("the session's server was told %q, want %q", got, want)
	}
	if n := x.away.Stats().Forwarded - before; n != 1 {
		t.Errorf("Forwarded grew by %d, want 1", n)
	}
	x.wantTunnels(0, 0, 0)

	c := x.upgrade(q, func() {})
	x.wantRefused(p, "too many WebSockets are being passed on")
	if got, want := take(t, told), "1 FOREIGN_UPGRADE "+p.sid; got != want {
		t.Errorf("OnConnectionError was told %q, want %q", got, want)
	}
	p.send(`421["echo","still polling"]`)
	p.expect(`431["still polling"]`)
	c.send("1")
	c.expect("close -", "FIN")
	x.wantTunnels(0, 1, 1)
	x.at.reached("http://127.0.0.1:1")
	x.wantRefused(p, "node "+node+" cannot be reached")
	x.at.reached("-")
	x.wantRefused(p, "the session is of node "+node+", which cannot be asked")
	x.at.reached("")
	x.wantTunnels(0, 1, 3)
	c = x.upgrade(p, func() { // there is room again, and nothing has hurt the session
		if err := s.Emit("n", 1); err != nil {
			t.Error(err)
		}
	})
	c.expect(`42["n",1]`)
}

// Whoever of the three ends, the others learn of it at once.
func TestTunnelEnds(t *testing.T) {
	shutdown := func(t *testing.T, srv *server, meanwhile func()) {
		done := make(chan error)
		// ends when the server has
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- srv.Shutdown(ctx)
		}()
		meanwhile()
		if err := take(t, done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
	t.Run("the client", func(t *testing.T) {
		x := newStrays(t, sio.Options{})
		c, _ := x.joinUpgraded()
		c.conn.Close()
		if r := take(t, x.left); r != eio.TransportClose {
			t.Errorf("the reason is %q, want %q", r, eio.TransportClose)
		}
		x.wantTunnels(0, 1, 0)
	})
	t.Run("the server that passes on", func(t *testing.T) {
		x := newStrays(t, sio.Options{})
		c, _ := x.joinUpgraded()
		shutdown(t, x.away, func() { c.ended("close -") })
		if r := take(t, x.left); r != eio.TransportClose {
			t.Errorf("the reason is %q, want %q", r, eio.TransportClose)
		}
		x.wantTunnels(0, 1, 0)
	})
	t.Run("the session's server", func(t *testing.T) {
		x := newStrays(t, sio.Options{})
		c, _ := x.joinUpgraded()
		shutdown(t, x.home, func() { c.ended("close -") })
		x.wantTunnels(0, 1, 0)
	})
	t.Run("the session, by its heartbeat", func(t *testing.T) {
		x := newStrays(t, sio.Options{Engine: eio.Options{PingInterval: 2 * time.Second, PingTimeout: 50 * time.Millisecond}})
		p, _ := x.join() // its first ping comes when it has upgraded
		get := p.pending()
		c := x.away.handshake("EIO=4&transport=websocket&sid=" + p.sid)
		c.send("2probe")
		c.expect("3probe")
		take(t, get)
		c.send("5")
		c.ended("2", "close -")
		if r := take(t, x.left); r != eio.PingTimeout {
			t.Errorf("the reason is %q, want %q", r, eio.PingTimeout)
		}
		x.wantTunnels(0, 1, 0)
	})
}

// A client in a tunnel that does not read is its server's business: the one that
// passes on holds a bounded number of bytes for it, and what was sent before the
// server gave up arrives in order.
func TestTunnelToAClientThatDoesNotRead(t *testing.T) {
	x := newStrays(t, sio.Options{Loop: loop.Options{Loops: 1, MaxOutbound: 64 << 10, SendBuffer: 32 << 10}})
	c, s := x.joinUpgraded()
	block, most := strings.Repeat("x", 8000), int64(0)
	sent := 0
	for len(x.left) == 0 {
		_ = s.Emit("n", sent, block) // of a socket that has left: an error
		sent++
		most = max(most, x.away.Engine().Stats().Queued)
		if sent%8 == 0 {
			s.Connected() // asks the loop, which has sent then
		}
		if sent > 100_000 {
			t.Fatal("the client was not given up")
		}
	}
	if r := take(t, x.left); r != eio.TransportError {
		t.Errorf("the reason is %q, want %q", r, eio.TransportError)
	}
	if most > 64<<10 {
		t.Errorf("%d bytes were queued for the client where they pass, want at most %d", most, 64<<10)
	}
	n := 0
	for p := c.next(); p != "FIN"; p = c.next() {
		if want := fmt.Sprintf(`42["n",%d,"%s"]`, n, block); p != want {
			t.Fatalf("received %.40q, want %.40q", p, want)
		}
		n++
	}
	if n == 0 {
		t.Error("nothing was received, want what was sent before the server gave up")
	}
	x.wantTunnels(0, 1, 0)
}
