package sio_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
	"github.com/sioedge/sioedge/wsframe"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// A server is one for raw clients.
type server struct {
	*sio.Server
	t    testing.TB
	addr string          // on loopback
	kit  *siotest.Server // or without a network
	log  *errorLog
}

// An errorLog gathers what handlers returned.
type errorLog struct {
	mu   sync.Mutex
	seen []string
	new  chan string
}

func (l *errorLog) add(_ sio.Socket, event string, err error) {
	line, _, _ := strings.Cut(event+": "+err.Error(), "\n")
	l.mu.Lock()
	l.seen = append(l.seen, line)
	l.mu.Unlock()
	select {
	case l.new <- line:
	default:
	}
}

// serve starts a server. At the end of the test it is shut down, and nothing may
// be left of its clients.
func serve(t testing.TB, o sio.Options, register func(srv *sio.Server)) *server {
	t.Helper()
	log := &errorLog{new: make(chan string, 64)}
	if o.OnError == nil && o.Logger == nil {
		o.OnError = log.add
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Loop.Loops == 0 {
		o.Loop.Loops = 2
	}
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	register(srv)
	_, at, _ := strings.Cut(o.Advertise, "http://")
	addr, err := srv.Listen(cmp.Or(at, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server has been shut down
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := srv.Engine().Stats().Panics; n > 0 {
			t.Errorf("%d panics on the loops", n)
		}
		wantNothingHeld(t, srv.Held())
	})
	return &server{srv, t, addr.String(), nil, log}
}

// simulate is serve without a network. When send returns, what a client sends has
// been handled, or waits for the test.
func simulate(t testing.TB, o sio.Options, register func(srv *sio.Server)) *server {
	t.Helper()
	log := &errorLog{new: make(chan string, 64)}
	if o.OnError == nil && o.Logger == nil {
		o.OnError = log.add
	}
	if o.Loop.Loops == 0 {
		o.Loop.Loops = 2
	}
	var kit *siotest.Server
	t.Cleanup(func() { wantNothingHeld(t, kit.Held()) })
	kit = siotest.New(t, o)
	register(kit.Server)
	return &server{kit.Server, t, "", kit, log}
}

func loops(n int) loop.Options { return loop.Options{Loops: n} }

func wantNothingHeld(t testing.TB, held map[string]int) {
	t.Helper()
	for what, n := range held {
		if n != 0 {
			t.Errorf("%d %s are left, want none", n, what)
		}
	}
}

// echo registers the handlers that most dialogues need: echo, and fence, which
// is answered behind all that was handled before.
func echo(ns *sio.Namespace) {
	ns.Handle("echo", func(s sio.Socket, m *sio.Msg) error {
		if m.WantsAck() {
			return m.Ack(values(m.Args)...)
		}
		return s.Emit("echo", values(m.Args)...)
	})
	ns.Handle("fence", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
}

// values decodes arguments as they come.
func values(a sio.Args) []any {
	all, dst := make([]any, a.Len()), make([]any, a.Len())
	for i := range all {
		dst[i] = &all[i]
	}
	if err := a.Decode(dst...); err != nil {
		return []any{err.Error()}
	}
	return all
}

// sockets reports those that connect to ns.
func sockets(ns *sio.Namespace) chan sio.Socket {
	c := make(chan sio.Socket, 1024)
	ns.OnConnect(func(s sio.Socket) error { c <- s; return nil })
	return c
}

// take receives from c, which must not take long.
func take[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came, want a %T", *new(T))
		panic("unreachable")
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// A client is a WebSocket client that speaks in packets: text as it is, binary
// as <hex>, the end as "close 1000", "close -" without a code, and "FIN".
type client struct {
	t     testing.TB
	conn  net.Conn
	in    []byte
	raw   *siotest.Conn // in place of conn, of
	kit   *siotest.Server
	early []string // packets that came before the WebSocket did
	open  string   // the open packet
	id    string   // of the last socket that was accepted

	inflater   wsframe.Inflater
	compressed bool // the last packet was
}

// dial opens a session over WebSocket.
func (srv *server) dial() *client { return srv.dialQuery("EIO=4&transport=websocket") }

func (srv *server) dialQuery(query string) *client {
	srv.t.Helper()
	c := srv.handshake(query)
	c.open = c.next()
	return c
}

// handshake opens a WebSocket.
func (srv *server) handshake(query string) *client { return srv.handshakeWith(query, "") }

// handshakeWith opens a WebSocket with further fields in the request.
func (srv *server) handshakeWith(query, fields string) *client {
	srv.t.Helper()
	if srv.kit != nil {
		return srv.simulated(query, fields)
	}
	conn, err := net.Dial("tcp", srv.addr)
	if err != nil {
		srv.t.Fatal(err)
	}
	srv.t.Cleanup(func() { conn.Close() })
	c := &client{t: srv.t, conn: conn}
	nonce := [16]byte{1, 2, 3}
	head := wsframe.AppendClientHandshake(nil, srv.addr, "/socket.io/?"+query, nonce)
	c.write(append(append(head[:len(head)-2:len(head)], fields...), "\r\n"...))
	for {
		n, err := wsframe.CheckAccept(c.in, nonce)
		if err != nil {
			srv.t.Fatalf("handshake: %v; the answer is %q", err, c.in)
		}
		if n > 0 {
			c.in = c.in[n:]
			return c
		}
		if !c.more() {
			srv.t.Fatalf("handshake: the connection ended after %q", c.in)
		}
	}
}

// simulated is handshakeWith without a network.
func (srv *server) simulated(query, fields string) *client {
	srv.t.Helper()
	o := siotest.Options{Header: http.Header{}}
	values, err := url.ParseQuery(query)
	if err != nil {
		srv.t.Fatal(err)
	}
	o.Query, o.V2 = values, values.Get("EIO") == "3"
	for field := range strings.SplitSeq(strings.TrimSuffix(fields, "\r\n"), "\r\n") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			o.Header.Add(name, value)
		}
	}
	return &client{t: srv.t, kit: srv.kit, raw: srv.kit.Dial(o)}
}

// join opens a session and sends the packet of a CONNECT, which is accepted.
func (srv *server) join(packet string) *client {
	srv.t.Helper()
	c := srv.dial()
	c.join(packet)
	return c
}

func (c *client) join(packet string) {
	c.t.Helper()
	c.send(packet)
	prefix, _, _ := strings.Cut(packet, "{")
	c.expect(prefix + `{"sid":"$sid"}`)
}

func (c *client) write(b []byte) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(b); err != nil {
		c.t.Logf("write: %v", err)
	}
}

// send sends packets, in one segment.
func (c *client) send(packets ...string) {
	c.t.Helper()
	if c.raw != nil {
		c.raw.Start(packets...)
		return
	}
	var b []byte
	for _, p := range packets {
		b = appendPacket(b, p)
	}
	c.write(b)
}

func appendPacket(b []byte, p string) []byte {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	if data, ok := binary(p); ok {
		return wsframe.AppendMaskedFrame(b, wsframe.Binary, data, key)
	}
	return wsframe.AppendMaskedFrame(b, wsframe.Text, []byte(p), key)
}

// binary returns the bytes that <hex> stands for.
func binary(p string) ([]byte, bool) {
	if !strings.HasPrefix(p, "<") {
		return nil, false
	}
	b, err := hex.DecodeString(strings.Trim(p, "<>"))
	return b, err == nil
}

func (c *client) more() bool {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 32<<10)
	n, err := c.conn.Read(buf)
	c.in = append(c.in, buf[:n]...)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatalf("received nothing more; unread is %q", c.in)
	}
	return n > 0
}

// next returns the next packet.
func (c *client) next() string {
	c.t.Helper()
	if len(c.early) > 0 {
		p := c.early[0]
		c.early = c.early[1:]
		return p
	}
	if c.raw != nil {
		c.kit.Until("another packet", func() bool { c.early = c.raw.Received(); return len(c.early) > 0 })
		return c.next()
	}
	for {
		h, n, err := wsframe.ParseHeader(c.in)
		if err != nil {
			c.t.Fatalf("received % x: %v", c.in, err)
		}
		if n > 0 && len(c.in) >= n+int(h.Length) {
			data := c.in[n : n+int(h.Length)]
			c.in = c.in[n+int(h.Length):]
			if c.compressed = h.RSV != 0; c.compressed {
				if data, err = c.inflater.Append(nil, data, 1<<24); err != nil {
					c.t.Fatalf("received what cannot be inflated: %v", err)
				}
			}
			switch {
			case h.Op == wsframe.Text:
				return string(data)
			case h.Op == wsframe.Binary:
				return "<" + hex.EncodeToString(data) + ">"
			case h.Op == wsframe.Close && len(data) == 0:
				return "close -"
			case h.Op == wsframe.Close:
				return fmt.Sprint("close ", int(data[0])<<8|int(data[1]))
			}
			return fmt.Sprintf("frame %x %x", h.Op, data)
		}
		if !c.more() {
			c.conn.Close()
			return "FIN"
		}
	}
}

// expect receives packets like those wanted, where $sid is any id.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); !c.like(got, w) {
			c.t.Fatalf("received %s, want %s", got, w)
		}
	}
}

func (c *client) like(got, want string) bool {
	id, ok := match(got, want)
	if id != "" {
		c.id = id
	}
	return ok
}

// match compares packets; $sid in want is any id, which is returned.
func match(got, want string) (id string, ok bool) {
	if !strings.Contains(want, "$sid") {
		return "", got == want
	}
	re := strings.ReplaceAll(regexp.QuoteMeta(want), `\$sid`, `([A-Za-z0-9_-]{20})`)
	m := regexp.MustCompile("^" + re + "$").FindStringSubmatch(got)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// quiet asserts that nothing was sent to the client up to now, but for more.
func (c *client) quiet(nsp string, more ...string) {
	c.t.Helper()
	c.send("42" + nsp + `77["fence"]`)
	c.expect(append(slices.Clone(more), "43"+nsp+"77[]")...)
}

// ended asserts that the connection is closed, after packets.
func (c *client) ended(packets ...string) {
	c.t.Helper()
	c.expect(append(slices.Clone(packets), "FIN")...)
}
