package webhook

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A bare server is one of the test, which writes what it likes.
type bare struct {
	t     *testing.T
	l     net.Listener
	conns atomic.Int64
}

// serveBare calls f with each connection, and its number.
func serveBare(t *testing.T, f func(c net.Conn, r *bufio.Reader, n int64)) *bare {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &bare{t: t, l: l}
	// ends with the test
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := s.conns.Add(1)
			// ends with the connection
			go func() { defer c.Close(); f(c, bufio.NewReader(c), n) }()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return s
}

// wire returns one to the server.
func (s *bare) wire(timeout time.Duration) *wire {
	s.t.Helper()
	own := settings()
	own.URL, own.Timeout = "http://"+s.l.Addr().String()+"/hook?x=1", timeout
	w, err := newWire(&own)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(w.close)
	return w
}

// take reads a request, and returns its body.
func take(r *bufio.Reader) (*http.Request, []byte, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(req.Body)
	return req, body, err
}

func postTo(w *wire, body string) answer {
	return w.post(context.Background(), &parcel{id: "01J", kind: "event", mime: "application/json", body: []byte(body), trace: "00-trace"}, time.Hour)
}

// What a request is, and what the fields are that net/http's would have.
func TestStraightRequest(t *testing.T) {
	got := make(chan string, 2)
	s := serveBare(t, func(c net.Conn, r *bufio.Reader, _ int64) {
		for {
			req, body, err := take(r)
			if err != nil {
				return
			}
			got <- fmt.Sprint(req.Method, req.RequestURI, req.Proto, req.Host == c.LocalAddr().String(), req.UserAgent(), req.Header.Get("Content-Type"), req.Header.Get("Webhook-Id"),
				req.Header.Get("Webhook-Signature")[:3], len(req.Header.Get("Webhook-Timestamp")), req.Header.Get("Traceparent"), req.ContentLength, string(body), len(req.Header))
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	w := s.wire(10 * time.Second)
	for range 2 {
		if a := postTo(w, "{}"); a.outcome != Answered {
			t.Fatalf("%v: %s", a.outcome, a.why)
		}
	}
	for range 2 {
		if g, want := <-got, "POST/hook?x=1HTTP/1.1truesioedgeapplication/json01Jv1,10 00-trace2{}7"; strings.ReplaceAll(g, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("the request is %s, want %s", g, want)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if a := w.post(context.Background(), &parcel{mime: "x", trace: "a\r\nb: c"}, time.Hour); a.outcome != Answered {
		t.Errorf("%v", a.outcome)
	} else if g := <-got; strings.Contains(g, "b: c") {
		t.Errorf("a field within a field is sent: %s", g)
	}
}

// Whatever comes instead of an answer, around one or too much of it has its outcome, and a
// connection that is not as it should be behind an answer is not used again.
func TestStraightAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	const chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, x := range map[string]struct {
		says  string
		want  Outcome
		again bool // the connection is used again
	}{
		"an answer":                 {ok, Answered, true},
		"interim answers":           {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, Answered, true},
		"many interim answers":      {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9) + ok, Broken, false},
		"another protocol":          {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Broken, false},
		"chunks":                    {chunked + "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", Answered, true},
		"chunks with a trailer":     {chunked + "2\r\n{}\r\n0\r\nX: y\r\n\r\n", Answered, true},
		"chunks that are none":      {chunked + "zz\r\n", Broken, false},
		"a trailer without an end":  {chunked + "2\r\n{}\r\n0\r\n" + strings.Repeat("X: y\r\n", 20000), Broken, false},
		"something behind":          {ok + "garbage", Answered, false},
		"an answer to nothing":      {ok + ok, Answered, false},
		"the end is announced":      {strings.Replace(ok, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1), Answered, false},
		"HTTP/1.0":                  {strings.Replace(ok, "HTTP/1.1", "HTTP/1.0", 1), Answered, false},
		"a long head":               {strings.Replace(ok, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", headMost)+"\r\n\r\n", 1), Broken, false},
		"a head of many fields":     {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20000), Broken, false},
		"garbage":                   {"SSH-2.0-x\r\n", Broken, false},
		"two lengths":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", Broken, false},
		"an error with a long body": {"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000), Failed, false},
		"an error with a short one": {"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n" + strings.Repeat("x", 10), Failed, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveBare(t, func(c net.Conn, r *bufio.Reader, _ int64) {
				for {
					if _, _, err := take(r); err != nil {
						return
					}
					if _, err := io.WriteString(c, x.says); err != nil {
						return
					}
				}
			})
			w := s.wire(10 * time.Second)
			if strings.Contains(name, "end") || x.want == Broken {
				w = s.wire(time.Second)
			}
			for range 2 {
				if a := postTo(w, "{}"); a.outcome != x.want {
					t.Errorf("the answer is %v (%s), want %v", a.outcome, a.why, x.want)
				}
			}
			if n, want := s.conns.Load(), map[bool]int64{true: 1, false: 2}[x.again]; n != want {
				t.Errorf("two requests took %d connections, want %d", n, want)
			}
		})
	}
}

// A connection that was kept, and on which nothing comes, is replaced once; one that is new
// is not, and no request is made again of which something was answered.
func TestStraightAgain(t *testing.T) {
	const ok = "HTTP/1.1 204 No Content\r\n\r\n"
	for name, x := range map[string]struct {
		first, second string // what the first connection says to its first and second request
		outcomes      string
		requests      int64
	}{
		"the second is cut":           {ok, "", "[ok ok]", 3},
		"the second is cut in answer": {ok, "HTTP/1.1 200", "[ok broken]", 2},
		"the first is cut":            {"", "", "[broken ok]", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			s := serveBare(t, func(c net.Conn, r *bufio.Reader, n int64) {
				for i := 0; ; i++ {
					if _, _, err := take(r); err != nil {
						return
					}
					requests.Add(1)
					says := ok
					if n == 1 {
						says = [...]string{x.first, x.second, ""}[min(i, 2)]
					}
					io.WriteString(c, says)
					if says != ok {
						return
					}
				}
			})
			w := s.wire(10 * time.Second)
			var got []Outcome
			for range 2 {
				got = append(got, postTo(w, "{}").outcome)
			}
			if fmt.Sprint(got) != x.outcomes || requests.Load() != x.requests {
				t.Errorf("%v by %d requests, want %v by %d", got, requests.Load(), x.outcomes, x.requests)
			}
		})
	}
}

// What is larger than kernels keep may be answered before it was read: it goes by net/http.
// A smaller one is answered early, too.
func TestStraightEarlyAnswers(t *testing.T) {
	s := serveBare(t, func(c net.Conn, r *bufio.Reader, _ int64) {
		if _, err := r.Peek(1); err == nil {
			io.WriteString(c, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, r)
		}
	})
	for _, n := range []int{10, straightMost, straightMost + 1, 8 << 20} {
		if a := postTo(s.wire(10*time.Second), strings.Repeat("x", n)); a.status != 413 {
			t.Errorf("%d bytes: %v, %d", n, a.outcome, a.status)
		}
	}
}

// The end of a backend ends requests that are under way, and its time-out those that take
// too long.
func TestStraightEnds(t *testing.T) {
	began := make(chan bool, 2)
	s := serveBare(t, func(c net.Conn, r *bufio.Reader, _ int64) {
		_, _, _ = take(r)
		began <- true
		_, _ = r.ReadByte()
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan answer, 1)
	w := s.wire(time.Hour)
	// ends with its context
	go func() { done <- w.post(ctx, &parcel{body: []byte("{}")}, time.Hour) }()
	<-began
	cancel()
	if a := <-done; a.outcome != Broken {
		t.Errorf("at the end it is %v: %s", a.outcome, a.why)
	}
	if a := w.post(ctx, &parcel{body: []byte("{}")}, time.Hour); a.outcome == Answered {
		t.Errorf("behind the end it is %v", a.outcome)
	}
	if a := postTo(s.wire(50*time.Millisecond), "{}"); a.outcome != TimedOut {
		t.Errorf("in the end it is %v: %s", a.outcome, a.why)
	}
}

// Connections that nobody uses are closed after a while; not more are kept than may be.
func TestStraightIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		s := &straight{most: 2, dial: func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			open.Add(1)
			// ends with the connection
			go func() { _, _ = io.Copy(io.Discard, there); open.Add(-1) }()
			return here, nil
		}}
		var lines []*line
		for range 3 {
			l, err := s.take(t.Context(), time.Now().Add(time.Hour), true)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, l)
		}
		for i, l := range lines {
			if s.keep(l) != (i < 2) {
				t.Errorf("the connection %d is kept, or not", i)
			}
		}
		lines[2].close()
		time.Sleep(idleTime - time.Second)
		if synctest.Wait(); open.Load() != 2 {
			t.Errorf("%d are open, want 2", open.Load())
		}
		time.Sleep(2 * time.Second)
		if synctest.Wait(); open.Load() != 0 || len(s.idle) != 0 || s.reaps {
			t.Errorf("%d are open, want none", open.Load())
		}
		l, _ := s.take(t.Context(), time.Now().Add(time.Hour), true)
		s.keep(l)
		s.close()
		if synctest.Wait(); open.Load() != 0 {
			t.Errorf("%d are open behind the end", open.Load())
		}
		time.Sleep(2 * idleTime)
	})
}

func TestStraightOrNot(t *testing.T) {
	for url, want := range map[string]bool{"http://a": true, "http://A.example:81/x": true, "http://[::1]:80": true, "unix:/s:/x": true, "https://a": false, "http://ä.example": false, "http://[fe80::1%25eth0]": false} {
		own := settings()
		own.URL = url
		w, err := newWire(&own)
		if err != nil {
			t.Fatal(err)
		}
		if (w.direct != nil) != want {
			t.Errorf("%s goes straight: %v", url, !want)
		}
		w.close()
	}
}

// Heads and bodies of answers may be anything.
func FuzzStraightAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := 0
		s := &straight{most: 1}
		l := &line{s: s, conn: recorded{r: bytes.NewReader(b)}, left: headMost, whole: true, stop: func() bool { return true }}
		l.r = bufio.NewReaderSize(l, connBuffer)
		resp, err := l.answer()
		if err != nil {
			return
		}
		if resp.StatusCode < 200 {
			t.Errorf("an answer %d", resp.StatusCode)
		}
		l.left = 1 << 20
		resp.Body = &answerBody{resp.Body, l, resp.Body == http.NoBody, resp.Close}
		if a := read(resp, 1<<20); len(a.body) > 1<<20 {
			t.Errorf("%d bytes", len(a.body))
		}
		_ = resp.Body.Close()
		if kept = len(s.idle); kept > 0 && l.r.Buffered() > 0 {
			t.Error("a connection is kept on which there is something still")
		}
		s.close()
	})
}

// A recorded connection has said what it will.
type recorded struct {
	net.Conn
	r io.Reader
}

func (c recorded) Read(p []byte) (int, error) { return c.r.Read(p) }
func (recorded) Close() error                 { return nil }
