package sio_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// mount puts a server below /socket.io/ of a server of net/http, whose other
// paths are answered "other".
func mount(t *testing.T, o sio.Options, register func(*sio.Server)) (*server, *httptest.Server) {
	srv := serve(t, o, register)
	srv.AwaitRunning()
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "other") })
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return &server{Server: srv.Server, t: t, addr: h.Listener.Addr().String(), log: srv.log}, h
}

func TestMountedWebSocket(t *testing.T) {
	srv, _ := mount(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.join("40")
	c.send(`42["echo","a"]`)
	c.expect(`42["echo","a"]`)
	eventually(t, "one open connection in the engine", func() bool { return srv.Engine().Stats().Open == 1 })
}

// A request that net/http has read with a part of its body, or with what comes
// behind it, is taken over whole.
func TestMountedRequests(t *testing.T) {
	const open = `0{"sid":"`
	for _, c := range []struct {
		name, method, head, body string
		parts                    int
	}{
		{"a body that has come", "POST", "Content-Length: 17", `42["echo","late"]`, 1},
		{"a body that comes later", "POST", "Content-Length: 17", `42["echo","late"]`, 2},
		{"a body in chunks", "POST", "Transfer-Encoding: chunked", "8\r\n42[\"echo\r\n9\r\n\",\"late\"]\r\n0\r\n\r\n", 1},
		{"a body in chunks that come later", "POST", "Transfer-Encoding: chunked", "8\r\n42[\"echo\r\n9\r\n\",\"late\"]\r\n0\r\n\r\n", 3},
		{"a body that waits to be asked for", "POST", "Expect: 100-continue\r\nContent-Length: 17", `42["echo","late"]`, 0},
		{"a large body", "POST", "Content-Length: 100017", `42["echo","late` + strings.Repeat("x", 100_000) + `"]`, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, h := mount(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
			get := func(query string) string {
				t.Helper()
				r, err := h.Client().Get(h.URL + "/socket.io/?EIO=4&transport=polling" + query)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Body.Close()
				b, _ := io.ReadAll(r.Body)
				if r.StatusCode != 200 {
					t.Fatalf("GET = %d %q, want 200", r.StatusCode, b)
				}
				return string(b)
			}
			first := get("")
			if !strings.HasPrefix(first, open) {
				t.Fatalf("the first answer is %q, want an open packet", first)
			}
			sid := "&sid=" + first[len(open):][:20]
			r, err := h.Client().Post(h.URL+"/socket.io/?EIO=4&transport=polling"+sid, "text/plain", strings.NewReader("40"))
			if err != nil || r.StatusCode != 200 {
				t.Fatalf("POST = %v, %v, want 200", r, err)
			}
			r.Body.Close()
			get(sid)

			conn, err := net.Dial("tcp", srv.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			head := fmt.Sprintf("%s /socket.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", c.method, sid, c.head)
			br := bufio.NewReader(conn)
			switch {
			case c.parts == 0:
				io.WriteString(conn, head)
				if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
					t.Fatalf("the answer is %q, want 100", line)
				}
				br.ReadString('\n')
				io.WriteString(conn, c.body)
			case c.parts == 1:
				io.WriteString(conn, head+c.body)
			default:
				io.WriteString(conn, head)
				for i := range c.parts {
					srv.roundTrip() // time in which what was sent arrives
					io.WriteString(conn, c.body[i*len(c.body)/c.parts:(i+1)*len(c.body)/c.parts])
				}
			}
			answer, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 || string(b) != "ok" || !answer.Close {
				t.Errorf("answer = %d %q, closes %t; want 200 ok, and the end", answer.StatusCode, b, answer.Close)
			}
			if got := get(sid); !strings.HasPrefix(got, `42["echo","late`) {
				t.Errorf("the next poll = %.50q, want the echo", got)
			}
		})
	}
}

// roundTrip asks every loop something.
func (srv *server) roundTrip() { srv.Of("/").All().Sockets() }

// What else is asked for on a connection that was taken over is for Handler; so
// without one, it has to go elsewhere.
func TestMountedKeepAlive(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.Handler
		want    string
		taken   int64
	}{
		{"without a handler each request comes anew", nil, "other", 3},
		{"with one the connection stays", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ours") }), "ours", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, h := mount(t, sio.Options{Handler: c.handler}, func(srv *sio.Server) { srv.Of("/") })
			for range 3 {
				r, err := h.Client().Get(h.URL + "/socket.io/?EIO=4&transport=polling")
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
			r, err := h.Client().Get(h.URL + "/page")
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(r.Body); string(b) != c.want {
				t.Errorf("GET /page = %q, want %q", b, c.want)
			}
			r.Body.Close()
			h.Client().CloseIdleConnections()
			eventually(t, fmt.Sprintf("the end of %d connections that were taken over", c.taken), func() bool {
				s := srv.Engine().Stats() // of each loop as of its last step
				return s.Open == 0 && s.Closed == c.taken
			})
		})
	}
}

func TestMountedHeaderOfMiddleware(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(s sio.Socket) error {
			return s.Emit("user", s.Handshake().Header().Get("X-User"), s.Handshake().URL())
		})
	})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-User", "ann\r\nX-Admin: yes")
		srv.ServeHTTP(w, r)
	}))
	defer h.Close()
	c := (&server{Server: srv.Server, t: t, addr: h.Listener.Addr().String(), log: srv.log}).join("40")
	c.expect(`42["user","ann  X-Admin: yes","/socket.io/?EIO=4&transport=websocket"]`)
}

func TestMountRefusals(t *testing.T) {
	running := serve(t, sio.Options{}, func(srv *sio.Server) { srv.Of("/") })
	idle, err := sio.New(sio.Options{Loop: loops(1), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Shutdown(context.Background())
	get := func(h *httptest.Server) (*http.Response, string) {
		t.Helper()
		r, err := h.Client().Get(h.URL + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r, string(b)
	}
	for _, c := range []struct {
		name   string
		srv    http.Handler
		start  func(h *httptest.Server)
		status int
		says   string
	}{
		{"TLS", running, func(h *httptest.Server) { h.StartTLS() }, 501, "TLS"},
		{"HTTP/2", running, func(h *httptest.Server) { h.EnableHTTP2 = true; h.StartTLS() }, 505, "HTTP/2.0"},
		{"no loops", idle, func(h *httptest.Server) { h.Start() }, 503, "not running"},
		{"a connection of another kind", running, func(h *httptest.Server) {
			h.Listener = wrapped{h.Listener}
			h.Start()
		}, 501, "sio_test.wrappedConn"},
		{"a writer that gives nothing away", http.TimeoutHandler(running, patience, ""), func(h *httptest.Server) { h.Start() }, 501, "not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := httptest.NewUnstartedServer(c.srv)
			c.start(h)
			defer h.Close()
			r, body := get(h)
			if r.StatusCode != c.status || !strings.Contains(body, c.says) || (c.status == 503) != (r.Header.Get("Retry-After") != "") {
				t.Errorf("answer = %d %q %v, want %d with %q", r.StatusCode, body, r.Header, c.status, c.says)
			}
		})
	}
}

// A wrapped listener's connections are not net's own.
type wrapped struct{ net.Listener }

type wrappedConn struct{ net.Conn }

func (l wrapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return wrappedConn{c}, err
}

// Adopt takes a connection from anywhere, with what was read of it.
func TestAdopt(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { srv.Of("/") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /socket.io/?EIO=4&transport=pol")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	read := make([]byte, 100)
	n, _ := conn.Read(read)
	if err := srv.Adopt(conn, read[:n]); err != nil {
		t.Fatal(err)
	}
	clear(read)
	io.WriteString(c, "ling HTTP/1.1\r\nHost: h\r\n\r\n")
	c.SetDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(r.Body); !bytes.HasPrefix(b, []byte(`0{"sid":"`)) {
		t.Errorf("answer = %q, want an open packet", b)
	}
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	if err := srv.Adopt(pipe, nil); err == nil || errors.Is(err, loop.ErrClosed) {
		t.Errorf("Adopt(a pipe) = %v, want an error about its kind", err)
	}
}
