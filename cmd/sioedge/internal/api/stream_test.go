package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// A stream is a request whose body goes on.
type stream struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	body *bufio.Reader // of the answer, once that has begun
}

// open begins a request.
func (a *app) open(path, key string) *stream {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.in.URL, "http://"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	s := &stream{t: a.t, conn: conn, in: bufio.NewReader(conn)}
	s.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n", path, key))
	return s
}

func (s *stream) raw(text string) {
	if _, err := io.WriteString(s.conn, text); err != nil {
		s.t.Errorf("writing: %v", err)
	}
}

// send sends a piece of the body.
func (s *stream) send(text string) { s.raw(fmt.Sprintf("%x\r\n%s\r\n", len(text), text)) }

func (s *stream) line(text string) { s.send(text + "\n") }

// end ends the body.
func (s *stream) end(text string) {
	s.send(text)
	s.raw("0\r\n\r\n")
}

func (s *stream) cut() { _ = s.conn.Close() }

// next returns the next line of the answer, "" at its end.
func (s *stream) next() string {
	s.t.Helper()
	if s.body == nil {
		res, err := http.ReadResponse(s.in, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != wire.NDJSON {
			s.t.Fatalf("the answer is %s of %s", res.Status, kind)
		}
		s.body = bufio.NewReader(res.Body)
	}
	line, err := s.body.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (s *stream) wants(want string) {
	s.t.Helper()
	if got := s.next(); got != want {
		s.t.Errorf("the result is %s, want %s", got, want)
	}
}

// Each line is answered before the next one is sent; one that is wrong is one error.
func TestStream(t *testing.T) {
	a := start(t, nil, func(o *Options) { o.MaxBody = 40_000 })
	c := a.connect("/", "", "{}", "r")
	s := a.open("/api/stream", testKey)
	s.line(`{"id":1,"emit":{"to":["r"],"ev":"a"}}`)
	s.wants(`{"id":1,"result":{}}`)
	c.gets(`["a"]`)
	s.line("  ") // is nothing
	s.send(`{"emit":{"e`)
	s.send("v\":\"b\"}}\r\n{\"id\":\"x\",\"emit\":{\"ev\":\"c\",\"args\":[1.0]}}\n{")
	s.wants(`{"result":{}}`)
	s.wants(`{"id":"x","result":{}}`)
	c.gets(`["b"]`)
	c.gets(`["c",1.0]`)
	s.line("")
	s.wants(`{"error":{"code":"malformed","message":"is no JSON"}}`)
	s.line(`{"emit":{"ev":"x","nsp":"/nowhere"}}`)
	s.wants(`{"error":{"code":"unknown_namespace","message":"is a namespace that no client can join","field":"emit.nsp"}}`)
	s.line(`{"emit":{"ev":"` + strings.Repeat("x", 3*40_000) + `"}}`)
	s.wants(`{"error":{"code":"too_long","message":"a line has more than 40000 bytes (api.max_body)"}}`)
	long := strings.Repeat("y", 30_000) // longer than what is read at one time
	s.line(`{"emit":{"ev":"long","args":["` + long + `"]}}`)
	s.wants(`{"result":{}}`)
	c.gets(`["long","` + long)
	s.line(strings.Repeat("[", 20_000))
	s.wants(`{"error":{"code":"malformed","message":"is no JSON"}}`)
	s.line(strings.Repeat("[", 2000) + strings.Repeat("]", 2000))
	s.wants(`{"error":{"code":"too_deep","message":"is nested too deep"}}`)
	s.end(`{"id":9,"emit":{"ev":"last"}}`) // without an end of the line
	s.wants(`{"id":9,"result":{}}`)
	s.wants("")
	c.gets(`["last"]`)
	if st := a.api.Stats(); st.Commands != 10 || st.Wrong != 5 {
		t.Errorf("%d commands are counted, %d wrong ones, want 10 and 5", st.Commands, st.Wrong)
	}
}

// A slowWriter is an answer whose reader takes a piece when the test says so.
type slowWriter struct {
	header http.Header
	piece  chan string
	taken  chan struct{}
}

func (w *slowWriter) Header() http.Header              { return w.header }
func (w *slowWriter) WriteHeader(int)                  {}
func (w *slowWriter) Flush()                           {}
func (w *slowWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *slowWriter) SetWriteDeadline(time.Time) error { return nil }
func (w *slowWriter) EnableFullDuplex() error          { return nil }
func (w *slowWriter) Write(p []byte) (int, error) {
	w.piece <- string(p)
	<-w.taken
	return len(p), nil
}

// A lineSource is a body of so many bytes of short lines, and counts those that were read.
type lineSource struct {
	*strings.Reader
	read atomic.Int64
}

func (l *lineSource) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.read.Add(int64(n))
	return n, err
}

func (l *lineSource) Close() error { return nil }

// Who does not read its results is not read from: what waits does not grow.
func TestStreamWhoseReaderIsSlow(t *testing.T) {
	a := start(t, nil, nil)
	const (
		line   = "{}\n"
		result = `{"error":{"code":"missing","message":"has no command"}}` + "\n" // is longer
		lines  = 40_000
	)
	body := &lineSource{Reader: strings.NewReader(strings.Repeat(line, lines))}
	w := &slowWriter{header: http.Header{}, piece: make(chan string), taken: make(chan struct{})}
	c := &call{a: a.api, s: a.api.settings.Load(), w: w, r: &http.Request{Body: body, Header: http.Header{}}}
	done := make(chan error, 1)
	// ends with the body
	go func() { done <- c.stream() }()
	for answered := 0; answered < lines; {
		p := <-w.piece
		answered += strings.Count(p, result)
		if len(p)%len(result) != 0 || len(p) >= lineBytes+len(result) {
			t.Fatalf("a piece has %d bytes", len(p))
		}
		if n := body.read.Load(); n > int64(answered*len(line)+lineBytes) {
			t.Fatalf("%d bytes are read when %d lines are answered", n, answered)
		}
		w.taken <- struct{}{}
	}
	if err := <-done; err != nil || c.status != http.StatusOK {
		t.Errorf("it ends with %v, %d", err, c.status)
	}
}

// A stream ends when the server stops, behind the command that it is at.
func TestStreamOfAServerThatStops(t *testing.T) {
	a := start(t, nil, nil)
	s := a.open("/api/stream", testKey)
	s.line(`{"emit":{"ev":"a"}}`)
	s.wants(`{"result":{}}`)
	a.api.Stop()
	s.wants(`{"error":{"code":"stopping","message":"the server stops: go on elsewhere, or again"}}`)
	s.wants("")
	eventually(t, "nothing of it is left", func() bool { return a.api.Stats().Streams == 0 })
}

// Lines are found wherever the text is cut.
func TestLines(t *testing.T) {
	text := "one\n\n two \r\n" + strings.Repeat("3", 70) + "\n" + strings.Repeat("4", 71) + "\nfive\n" + strings.Repeat("6", 200) + "\nseven"
	const want = "[one][][two][" + "3333333333333333333333333333333333333333333333333333333333333333333333" + "][long][five][long][seven]EOF"
	for cut := range len(text) {
		waits := 0
		l := &lineReader{r: bufio.NewReaderSize(io.MultiReader(strings.NewReader(text[:cut]), strings.NewReader(text[cut:])), 16), most: 69, wait: func() error { waits++; return nil }}
		var got strings.Builder
		for {
			line, err := l.next()
			if errors.Is(err, errLong) {
				got.WriteString("[long]")
				continue
			}
			if err != nil {
				got.WriteString(err.Error())
				break
			}
			fmt.Fprintf(&got, "[%s]", bytes.TrimSpace(line))
		}
		if got.String() != want {
			t.Fatalf("cut at %d: %s, want %s", cut, got.String(), want)
		}
		if waits == 0 {
			t.Errorf("cut at %d: it was never about to wait", cut)
		}
	}
}
