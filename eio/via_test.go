package eio

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// encrypted is a Link that changes nothing, and says that it does.
type encrypted struct{ plain bool }

func (*encrypted) Read(s loop.Socket, p []byte) (int, error) { return s.Read(p) }
func (*encrypted) Write(s loop.Socket, p []byte) (int, error) {
	n, err := s.Write(p)
	if n > 0 {
		err = nil
	}
	return n, err
}
func (*encrypted) Flush(loop.Socket) error      { return nil }
func (*encrypted) CloseWrite(loop.Socket) error { return nil }
func (*encrypted) Pending() bool                { return false }
func (*encrypted) Blocked() bool                { return false }
func (*encrypted) Close()                       {}
func (e *encrypted) Secure() bool               { return !e.plain }
func (*encrypted) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{ServerName: "a.example"}
}

// Begin is that of an Opener of such connections.
func (e *encrypted) Begin(c loop.Conn) loop.Opening {
	c.Opened(loop.Opened{Link: e})
	return e
}
func (*encrypted) Data(loop.Conn, []byte) int { return 0 }
func (*encrypted) End(loop.Conn, error)       {}

// with adds fields to a request.
func with(request []byte, fields string) []byte {
	return bytes.Replace(request, []byte("\r\n\r\n"), []byte("\r\n"+fields+"\r\n\r\n"), 1)
}

// TestSecure: a session is what its connection is, unless Via says something else, and
// so is a request that a handler is given.
func TestSecure(t *testing.T) {
	for _, x := range []struct {
		name   string
		opener loop.Opener
		via    func(Via, *http1.Request) Via
		field  string
		want   string // secure, of a handler's request, its TLS
	}{
		{"plain", nil, nil, "X-Proto: https", "false false none"},
		{"TLS", &encrypted{}, nil, "X-Proto: http", "true true a.example"},
		{"a link that is not", &encrypted{plain: true}, nil, "X-Proto: https", "false false a.example"},
		{"by https to a proxy", nil, forwardedFor, "X-Proto: https", "true true none"},
		{"by TLS from a proxy, and http to it", &encrypted{}, forwardedFor, "X-Proto: http", "false false a.example"},
		{"by TLS from a proxy that does not say", &encrypted{}, forwardedFor, "X-Other: 1", "true true a.example"},
	} {
		for _, transport := range []string{"polling", "websocket"} {
			var now Session
			seen := make(chan string, 1)
			_, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{Via: x.via,
				Route: func(path string) http.Handler {
					return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						name := "none"
						if r.TLS != nil {
							name = r.TLS.ServerName
						}
						seen <- fmt.Sprint(IsSecure(r), " ", name)
					})
				}}, loop.Options{})
			if x.opener != nil {
				sim.Listen(loop.ListenOptions{Opener: x.opener})
			}
			p := sim.Connect(0)
			p.Send(with([]byte("GET /r HTTP/1.1\r\nHost: h\r\n\r\n"), x.field))
			handler := <-seen
			sim.Turn()
			p = sim.Connect(0)
			if transport == "polling" {
				p.Send(with(getRequest("EIO=4&transport=polling"), x.field))
			} else {
				p.Send(with(wsRequest("EIO=4&transport=websocket"), x.field))
			}
			if got := fmt.Sprint(now.Secure(), " ", handler); got != x.want {
				t.Errorf("%s, %s: %s, want %s", x.name, transport, got, x.want)
			}
			p.Close()
		}
	}
	if (Session{}).Secure() {
		t.Error("no session is secure")
	}
}

// TestViaHost: the host that a proxy was asked for is the one that origins are compared
// with, and that handlers see; one that cannot be a host is none.
func TestViaHost(t *testing.T) {
	seen := make(chan string, 1)
	_, sim := newSim(t, &hooks{}, Options{Via: forwardedFor, CORS: &CORS{}, Middleware: func(_ http.ResponseWriter, r *http.Request) bool {
		seen <- r.Host
		return true
	}}, loop.Options{})
	for _, x := range []struct {
		fields string
		status string
		host   string
	}{
		{"Origin: https://a.example", "403", ""},
		{"Origin: https://a.example\r\nX-Host: a.example", "200", "a.example"},
		{"Origin: https://a.example\r\nX-Host: a.example:443", "200", "a.example:443"},
		{"Origin: https://a.example\r\nX-Host: b.example", "403", ""},
		{"Origin: https://a.example\r\nX-Host: ", "403", ""},
		{"X-Host: a/b", "200", "h"},
		{"X-Host: a b", "200", "h"},
	} {
		p := sim.Connect(0)
		p.Send(with([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"), x.fields))
		if x.host != "" {
			if got := <-seen; got != x.host {
				t.Errorf("%q: the host is %s, want %s", x.fields, got, x.host)
			}
			sim.Turn()
		}
		var answer strings.Builder
		for end := time.Now().Add(20 * time.Second); answer.Len() == 0 && time.Now().Before(end); runtime.Gosched() { // the middleware's goroutine posts
			sim.Turn()
			answer.Write(p.Received())
		}
		if got := answer.String(); len(got) < 12 || got[9:12] != x.status {
			t.Errorf("%q: %.100q, want %s", x.fields, got, x.status)
		}
	}
}
