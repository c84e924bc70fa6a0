package tlslink

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

func TestInPieces(t *testing.T) {
	o := newOpener(t, serverConfig(t))
	n := int64(0)
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range [][2]int{{0, 0}, {1, 0}, {0, 3}, {7, 100}, {1400, 1400}, {20_000, 20_000}} {
			want := noise(40_000)
			if cut[0] == 1 || cut[1] == 3 {
				want = want[:2000]
			}
			config := clientConfig()
			config.MaxVersion = v
			var reason error
			h := &hooks{data: echo, close: func(_ loop.Conn, err error) { reason = err }}
			pump(t, h, o, cut[0], cut[1], func(w *simWire) {
				c := tls.Client(w, config)
				go func() {
					_, _ = c.Write(want)
					_ = c.CloseWrite()
				}()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("version %x, cut %v: %d bytes came back, %v, want %d", v, cut, len(got), err, len(want))
				}
			})
			if reason != io.EOF {
				t.Errorf("version %x, cut %v: closed for %v, want io.EOF", v, cut, reason)
			}
			n++
		}
	}
	if st := o.Stats(); st.Done != n || st.TLS12 != n/2 || st.Times.Count() != n || st.Failed != [Reasons]int64{} || st.Broken != [Reasons]int64{} {
		t.Errorf("Stats() = %+v, want %d done", st, n)
	}
}

// The handler closes: what it wrote and close_notify come, however slowly the peer
// takes them, also when it has ended before.
func TestEnds(t *testing.T) {
	o := newOpener(t, serverConfig(t))
	bye := noise(5_000)
	for _, out := range []int{0, 1, 1000} {
		for _, first := range []bool{true, false} { // the client has ended its direction
			h := &hooks{data: func(c loop.Conn, b []byte) int {
				c.WriteShared(bye)
				c.Close()
				return len(b)
			}}
			pump(t, h, o, 3, out, func(w *simWire) {
				c := tls.Client(w, clientConfig())
				_, _ = c.Write([]byte("x"))
				if first {
					_ = c.CloseWrite()
				}
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, bye) {
					t.Errorf("%d at a time: %d bytes, %v, want %d and the end", out, len(got), err, len(bye))
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if len(w.in) > 0 {
					t.Errorf("%d bytes are behind close_notify", len(w.in))
				}
			})
		}
	}
}

// listen starts an engine behind o.
func listen(t testing.TB, h loop.Handler, o loop.Opener, lo loop.Options) (*loop.Engine, net.Addr) {
	t.Helper()
	lo.Logger = quiet
	e, err := loop.New(h, lo)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.ListenWith("127.0.0.1:0", loop.ListenOptions{Opener: o})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	// ends with the engine
	go func() { ended <- e.Run(context.Background()) }()
	t.Cleanup(func() {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Shutdown(cut)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e, a
}

func dial(t testing.TB, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Over sockets: much in both directions at once, with moves between loops, short
// buffers, and sessions that are resumed.
func TestOverSockets(t *testing.T) {
	var pieces atomic.Int64
	h := &hooks{data: func(c loop.Conn, b []byte) int {
		c.Write(b)
		if pieces.Add(1)%5 == 0 {
			c.Move(c.Loop().Engine().Loops()[1-c.Loop().Index()])
		}
		return len(b)
	}}
	o := newOpener(t, serverConfig(t))
	e, a := listen(t, h, o, loop.Options{Loops: 2, SendBuffer: 4 << 10, SoftOutbound: 32 << 10, LingerTimeout: time.Minute, OpeningTimeout: time.Minute})
	config := clientConfig()
	var wg sync.WaitGroup
	for round := range 2 {
		for i := range 8 {
			c := tls.Client(dial(t, a), config)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				want := noise(512<<10 + i + round)
				go func() { _, _ = c.Write(want); _ = c.CloseWrite() }()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes came back, %v, want %d", len(got), err, len(want))
				}
			}()
		}
		wg.Wait()
	}
	if st, ls := o.Stats(), e.Stats(); st.Resumed == 0 || st.Done != 16 || ls.Openings.Opened != 16 || ls.Panics != 0 {
		t.Errorf("Stats() = %+v, want 16 done and some of them resumed; the engine's are %+v", st, ls)
	}
}

// A client says all that it has to say, and ends its direction, before anybody has
// looked at it.
func TestClientThatEndsAtOnce(t *testing.T) {
	o := newOpener(t, serverConfig(t))
	_, a := listen(t, &hooks{data: echo}, o, loop.Options{Loops: 1})
	for range 20 {
		raw := dial(t, a)
		c := tls.Client(raw, clientConfig())
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		_ = raw.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
			t.Fatalf("ReadAll() = %q, %v, want hello", got, err)
		}
	}
}

// What a handler asks its connection.
func TestWhatALinkKnows(t *testing.T) {
	ca := newAuthority(t)
	config := serverConfig(t)
	config.ClientCAs, config.ClientAuth, config.NextProtos = ca.pool(), tls.RequireAndVerifyClientCert, []string{"http/1.1"}
	var s tls.ConnectionState
	secure := false
	h := &hooks{open: func(c loop.Conn) {
		k := c.Link()
		secure = k.(interface{ Secure() bool }).Secure()
		s = k.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState()
	}, data: echo}
	pump(t, h, newOpener(t, config), 0, 0, func(w *simWire) {
		cc := clientConfig()
		cc.Certificates, cc.NextProtos = []tls.Certificate{ca.sign(t, "alice")}, []string{"h2", "http/1.1"}
		c := tls.Client(w, cc)
		_, _ = c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
	if !secure || s.ServerName != "localhost" || s.NegotiatedProtocol != "http/1.1" || len(s.VerifiedChains) != 1 || s.PeerCertificates[0].Subject.CommonName != "alice" {
		t.Errorf("ConnectionState() = %+v", s)
	}
}
