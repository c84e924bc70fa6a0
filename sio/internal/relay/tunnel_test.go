package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

func newTestTunnels(t *testing.T, o Options) *tunnels {
	o.Logger, o.MaxForwards = slog.New(slog.DiscardHandler), 1
	f := newForwards(o)
	t.Cleanup(f.links.close)
	return newTunnels(f, o)
}

func (t *tunnels) counts() [4]int64 {
	return [4]int64{int64(t.places.inUse()), t.open.Load(), t.done.Load(), t.failed.Load()}
}

// upgradeRequest is what a client asks.
func upgradeRequest(ctx context.Context) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4", nil).WithContext(ctx)
	r.Header = http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"x"}}
	return r
}

// switchingServer answers with 101 and "hello" in one piece, then echoes.
func switchingServer(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "x" {
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "refused")
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	_, _ = io.Copy(conn, conn)
}

// What comes behind the head is not lost, over TLS either; the deadline is for
// the answer alone, and an end that is told twice counts once.
func TestTunnelOverEveryScheme(t *testing.T) {
	for _, s := range []*httptest.Server{httptest.NewServer(proves("token", switchingServer)), httptest.NewTLSServer(proves("token", switchingServer))} {
		defer s.Close()
		tu := newTestTunnels(t, Options{MaxTunnels: 1})
		tu.forwards.links.tls = s.Client().Transport.(*http.Transport).TLSClientConfig
		to := tunnelTo{tu, rooms.Peer{Node: "node", Addr: s.URL, Token: "token"}}
		ctx, cancel := context.WithCancel(context.Background())
		resp, err := to.RoundTrip(upgradeRequest(ctx))
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: RoundTrip = %v, %v, want 101", s.URL, resp, err)
		}
		cancel() // as when RoundTrip has returned
		conn := resp.Body.(io.ReadWriteCloser)
		for range 2 {
			b := make([]byte, 5)
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
				t.Errorf("%s: received %q, %v, want hello", s.URL, b, err)
			}
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Errorf("%s: Write = %v", s.URL, err)
			}
		}
		if got, want := tu.counts(), [4]int64{1, 1, 1, 0}; got != want {
			t.Errorf("%s: under way, open, done, failed = %v, want %v", s.URL, got, want)
		}
		if _, err := to.RoundTrip(upgradeRequest(context.Background())); !errors.Is(err, errManyTunnels) {
			t.Errorf("%s: one more = %v, want %v", s.URL, err, errManyTunnels)
		}
		_ = conn.Close()
		_ = conn.Close()
		if got, want := tu.counts(), [4]int64{0, 0, 1, 1}; got != want {
			t.Errorf("%s: under way, open, done, failed = %v, want %v", s.URL, got, want)
		}
	}
}

// A refusal is for the client, but for what is about one connection.
func TestTunnelThatIsRefused(t *testing.T) {
	s := httptest.NewServer(proves("token", switchingServer))
	defer s.Close()
	tu := newTestTunnels(t, Options{MaxTunnels: 1})
	r := upgradeRequest(context.Background())
	r.Header.Set("Sec-Websocket-Key", "another")
	resp, err := tunnelTo{tu, rooms.Peer{Node: "node", Addr: s.URL, Token: "token"}}.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusTeapot || string(body) != "refused" || resp.Header.Get("X-Hop") != "" {
		t.Errorf("RoundTrip = %d %q %v, want %d, refused, and no X-Hop", resp.StatusCode, body, resp.Header, http.StatusTeapot)
	}
	if got, want := tu.counts(), [4]int64{}; got != want || tu.forwards.done.Load() != 1 {
		t.Errorf("under way, open, done, failed = %v and %d forwarded, want %v and 1", got, tu.forwards.done.Load(), want)
	}
}

// A server that does not answer, one that is not there, and a client that does
// not wait leave nothing behind.
func TestTunnelToAServerThatFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		addr     string
		ctx      context.Context
		deadline time.Duration
		want     string // "" is any
		failed   int64
	}{
		{"http://" + l.Addr().String(), context.Background(), 20 * time.Millisecond, "node node does not answer", 1},
		{"http://127.0.0.1:1", context.Background(), time.Minute, "node node cannot be reached", 1},
		{"no address", context.Background(), time.Minute, "node node cannot be reached", 1},
		{"http://" + l.Addr().String(), gone, time.Minute, "", 0},
	} {
		tu := newTestTunnels(t, Options{MaxTunnels: 1})
		tu.deadline = c.deadline
		_, err := tunnelTo{tu, rooms.Peer{Node: "node", Addr: c.addr, Token: "token"}}.RoundTrip(upgradeRequest(c.ctx))
		if err == nil || c.want != "" && err.Error() != c.want {
			t.Errorf("RoundTrip to %s = %v, want %s", c.addr, err, c.want)
		}
		if got, want := tu.counts(), [4]int64{0, 0, 0, c.failed}; got != want {
			t.Errorf("%s: under way, open, done, failed = %v, want %v", c.addr, got, want)
		}
	}
}
