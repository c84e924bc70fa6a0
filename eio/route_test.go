package eio

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// routeServer is a simulation whose server answers below /r/ with testRoute.
func routeServer(t *testing.T) (*Server, *loop.Sim) {
	return newSim(t, &hooks{}, Options{Route: testRoute}, loop.Options{})
}

// answers reads n responses that the peer receives; their handlers run on
// goroutines. methods are those of the requests, GET if there are none left.
func answers(t *testing.T, sim *loop.Sim, c *loop.Peer, n int, methods ...string) (all []*http.Response) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		sim.Turn()
		got = append(got, c.Received()...)
		all = all[:0]
		r := bufio.NewReader(bytes.NewReader(got))
		for len(all) < n {
			req := &http.Request{Method: "GET"}
			if len(all) < len(methods) {
				req.Method = methods[len(all)]
			}
			resp, err := http.ReadResponse(r, req)
			if err != nil {
				break
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				break
			}
			resp.Body = io.NopCloser(bytes.NewReader(body))
			all = append(all, resp)
		}
		rest, _ := io.ReadAll(r)
		switch {
		case len(all) == n && len(rest) == 0:
			return all
		case len(all) == n:
			t.Fatalf("received %q, want %d answers and nothing behind them", got, n)
		case time.Now().After(end):
			t.Fatalf("received %q, want %d answers", got, n)
		}
	}
}

func bodyOf(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func TestRoute(t *testing.T) {
	for _, c := range []struct {
		name, request string
		status        int
		body          string
		fields        string // "Name: value" each; "Name:" is absent
		end           bool
	}{
		{"the request as net/http gives it, and the header as it was at the first byte", "GET /r/text?a=b HTTP/1.1\r\nHost: example\r\n\r\n",
			200, "hello", "X-Method: GET HTTP/1.1 example a=b|Content-Type: text/plain; charset=utf-8|Content-Length: 5|X-Late:|Connection:", false},
		{"HTTP/1.0", "GET /r/text HTTP/1.0\r\n\r\n", 200, "hello", "X-Method: GET HTTP/1.0|Connection: close", true},
		{"HEAD has the length of the body it does not get", "HEAD /r/text HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", "Content-Length: 5", false},
		{"HEAD keeps the length that the handler gives", "HEAD /r/length HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", "Content-Length: 12345|Transfer-Encoding:|X-Bad:", false},
		{"GET does not", "GET /r/length HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", "Content-Length: 0|Transfer-Encoding:|X-Bad:", false},
		{"HEAD without a body and a length says nothing of it", "HEAD /r/close HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", "Content-Length:|Connection: close", true},
		{"a body of known length", "POST /r/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 202, "abc", "Content-Type: text/echo", false},
		{"a body in chunks", "POST /r/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 202, "abc", "", false},
		{"an empty body", "POST /r/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 202, "", "Content-Length: 0", false},
		{"a body that is too large", "POST /r/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", 413, "", "Connection: close", true},
		{"no content, and no interim answers", "GET /r/none HTTP/1.1\r\nHost: h\r\n\r\n", 204, "", "Content-Length:|Connection:", false},
		{"the handler closes", "GET /r/close HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", "Connection: close", true},
		{"a panic", "GET /r/panic HTTP/1.1\r\nHost: h\r\n\r\n", 500, "", "Content-Length: 0|Connection:", false},
		{"a status that is none", "GET /r/status HTTP/1.1\r\nHost: h\r\n\r\n", 500, "", "", false},
		{"nobody", "GET /r/nobody HTTP/1.1\r\nHost: h\r\n\r\n", 404, "", "Content-Length: 0|Connection:", false},
		{"a target that is no URL", "GET /r/text?%zz HTTP/1.1\r\nHost: h\r\n\r\n", 200, "hello", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, sim := routeServer(t)
			peer := sim.Connect(0)
			peer.Send([]byte(c.request))
			method, _, _ := strings.Cut(c.request, " ")
			r := answers(t, sim, peer, 1, method)[0]
			if body := bodyOf(r); r.StatusCode != c.status || body != c.body {
				t.Errorf("answer = %d %q, want %d %q", r.StatusCode, body, c.status, c.body)
			}
			for _, field := range strings.Split(c.fields, "|") {
				name, want, _ := strings.Cut(field, ":")
				if name == "" {
					continue
				}
				got := strings.Join(r.Header[http.CanonicalHeaderKey(name)], ", ")
				if name == "Connection" && r.Close {
					got = "close" // ReadResponse takes it out
				}
				if got != strings.TrimPrefix(want, " ") {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if peer.Closed() != c.end {
				t.Errorf("closed: %t, want %t", peer.Closed(), c.end)
			}
			peer.Close()
			sim.Advance(time.Minute)
			checkEmpty(t, srv, sim.Engine())
		})
	}
}

// TestRoutePipelined sends requests in one segment, of which some are answered
// by handlers on goroutines, and some by the loop.
func TestRoutePipelined(t *testing.T) {
	_, sim := routeServer(t)
	c := sim.Connect(0)
	var request, want bytes.Buffer
	var methods []string
	for i := range 30 {
		switch i % 3 {
		case 0:
			methods = append(methods, "POST")
			fmt.Fprintf(&request, "POST /r/echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%d", len(fmt.Sprint(i)), i)
			fmt.Fprintf(&want, "202 %d\n", i)
		case 1:
			methods = append(methods, "HEAD")
			request.WriteString("HEAD /r/text HTTP/1.1\r\nHost: h\r\n\r\n")
			want.WriteString("200 \n")
		case 2:
			methods = append(methods, "GET")
			request.WriteString("GET /nobody HTTP/1.1\r\nHost: h\r\n\r\n")
			want.WriteString("404 \n")
		}
	}
	c.Send(request.Bytes())
	var got bytes.Buffer
	for _, r := range answers(t, sim, c, 30, methods...) {
		fmt.Fprintf(&got, "%d %s\n", r.StatusCode, bodyOf(r))
	}
	if got.String() != want.String() {
		t.Errorf("answers = %q, want %q", got.String(), want.String())
	}
}

// TestRouteAborted: a handler that aborts, and clients that do not wait.
func TestRouteAborted(t *testing.T) {
	release := make(chan struct{})
	finished := make(chan struct{}, 2)
	srv, sim := newSim(t, &hooks{}, Options{Route: func(path string) http.Handler {
		if path == "/abort" {
			return testRoute("/r/abort")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-release
			w.Header().Set("Connection", "close")
			finished <- struct{}{}
		})
	}, BodyTimeout: time.Second}, loop.Options{})
	c := sim.Connect(0)
	c.Send([]byte("GET /abort HTTP/1.1\r\nHost: h\r\n\r\n"))
	for end := time.Now().Add(20 * time.Second); !c.Closed(); time.Sleep(time.Millisecond) {
		if sim.Turn(); time.Now().After(end) {
			t.Fatal("the connection of a handler that aborts is open")
		}
	}
	if got := c.Received(); len(got) > 0 {
		t.Errorf("a handler that aborts answers %q, want nothing", got)
	}
	gone, stays := sim.Connect(0), sim.Connect(0)
	for _, c := range []*loop.Peer{gone, stays} {
		c.Send([]byte("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nxGET /slow HTTP/1.1\r\n"))
	}
	sim.Advance(time.Minute) // a handler has no deadline
	gone.Close()
	next := sim.Connect(0) // on the record of the one that has gone
	close(release)
	<-finished
	<-finished
	if r := answers(t, sim, stays, 1)[0]; r.StatusCode != 200 {
		t.Errorf("answer = %d, want 200", r.StatusCode)
	}
	if got := append(gone.Received(), next.Received()...); len(got) > 0 {
		t.Errorf("others received %q, want nothing", got)
	}
	stays.Close()
	next.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
