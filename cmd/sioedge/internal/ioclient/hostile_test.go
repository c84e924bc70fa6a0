package ioclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// opened is what a server says first.
const opened = `0{"sid":"e1","upgrades":[],"pingInterval":25000,"pingTimeout":20000}`

// A server that answers the first polls like this has its session not opened, or ended,
// and what it said is told. The client holds little meanwhile.
func TestHostilePolling(t *testing.T) {
	endless := func(w http.ResponseWriter, what string) {
		for {
			if _, err := io.WriteString(w, strings.Repeat(what, 1000)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		first func(w http.ResponseWriter) // the answer that opens a session; nil: opened
		then  func(w http.ResponseWriter) // the answer to the next poll
		want  string                      // part of the error
	}{
		"endless open":   {first: func(w http.ResponseWriter) { endless(w, "0") }, want: "over 100000 bytes"},
		"endless header": {first: func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, want: "headers exceeded"},
		"not found":      {first: func(w http.ResponseWriter) { http.Error(w, "\x1b[2Jnothing", 404) }, want: "404 Not Found: \x1b[2Jnothing"},
		"a redirect":     {first: func(w http.ResponseWriter) { w.Header().Set("Location", "http://elsewhere/"); w.WriteHeader(302) }, want: "302 Found: it sends to http://elsewhere/"},
		"an error of Engine": {first: func(w http.ResponseWriter) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"code":5,"message":"Unsupported protocol version"}`)
		}, want: "400 Bad Request: Unsupported protocol version"},
		"endless refusal": {first: func(w http.ResponseWriter) { w.WriteHeader(500); endless(w, "x") }, want: "500 Internal Server Error"},
		"not Engine.IO":   {first: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }, want: "not what an Engine.IO server says first"},
		"no id":           {first: func(w http.ResponseWriter) { _, _ = io.WriteString(w, `0{"pingInterval":1,"pingTimeout":1}`) }, want: "makes no sense"},
		"a heartbeat of years": {first: func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `0{"sid":"a","pingInterval":9e17,"pingTimeout":9e17}`)
		}, want: ""},
		"negative heartbeats": {first: func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `0{"sid":"a","pingInterval":-5,"pingTimeout":1}`)
		}, want: "makes no sense"},
		"long id": {first: func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `0{"sid":"`+strings.Repeat("a", 2000)+`","pingInterval":1,"pingTimeout":1}`)
		}, want: "makes no sense"},
		"endless packet":  {then: func(w http.ResponseWriter) { endless(w, "4") }, want: "over 100000 bytes"},
		"endless packets": {then: func(w http.ResponseWriter) { endless(w, "6\x1e") }, want: "over 100000 bytes"},
		"empty answer":    {then: func(w http.ResponseWriter) {}, want: "empty"},
		"not base64":      {then: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "b!!") }, want: "base64"},
		"not UTF-8":       {then: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "4\xff") }, want: "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					_, _ = io.WriteString(w, "ok")
				case r.URL.Query().Get("sid") != "":
					c.then(w)
				case c.first != nil:
					c.first(w)
				default:
					_, _ = io.WriteString(w, opened)
				}
			}))
			defer srv.Close()
			run := connect(t, srv.URL, Options{Transports: []string{Polling}, MaxMessage: 100_000, Attempts: -1})
			var err error
			select {
			case err = <-run.ended:
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run = %v, want %s", err, c.want)
			}
		})
	}
}

// A server that opens a WebSocket with a head without end, or with the wrong key.
func TestHostileHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w io.Writer) error
		want   string
	}{
		"endless head": {func(w io.Writer) error {
			_, err := io.WriteString(w, "HTTP/1.1 101 Switching\r\n")
			for err == nil {
				_, err = io.WriteString(w, "X: "+strings.Repeat("y", 1000)+"\r\n")
			}
			return err
		}, "endless"},
		"wrong key": {func(w io.Writer) error {
			_, err := io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n")
			return err
		}, "wrong or missing Sec-WebSocket-Accept"},
		"a refusal": {func(w io.Writer) error {
			_, err := io.WriteString(w, "HTTP/1.1 403 Forbidden\r\nContent-Length: 34\r\n\r\n"+`{"code":4,"message":"\u001b[2J!!"}`)
			return err
		}, "403 Forbidden: \x1b[2J!!"},
		"endless refusal": {func(w io.Writer) error {
			_, err := io.WriteString(w, "HTTP/1.1 503 Slow\r\n\r\n")
			for err == nil {
				_, err = io.WriteString(w, strings.Repeat("y", 1000))
			}
			return err
		}, "503"},
		"silence": {func(io.Writer) error { time.Sleep(patience); return nil }, "no session within 500ms"},
		"nothing": {func(io.Writer) error { return nil }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			// ends with the client's connection
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				head := make([]byte, 4096)
				if _, err := conn.Read(head); err == nil && name != "silence" {
					_ = c.answer(conn)
				} else {
					_, _ = io.Copy(io.Discard, conn)
				}
			}()
			run := connect(t, "http://"+l.Addr().String(), Options{Transports: []string{WebSocket}, OpenTimeout: 500 * time.Millisecond, Attempts: -1})
			select {
			case err = <-run.ended:
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run = %v, want %s", err, c.want)
			}
		})
	}
}

// What waits for a server that reads nothing is bounded, and who sends is told.
func TestServerThatReadsNothing(t *testing.T) {
	s := openScene(t, Options{MaxQueue: 1 << 20})
	big := bytes.Repeat([]byte("x"), 64<<10)
	var err error
	sent := 0
	for ; err == nil && sent < 1000; sent++ {
		err = s.c.Emit("/", "big", big)
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("after %d × 64 KiB: %v, want %v", sent, err, ErrFull)
	}
}

// Who asks for answers without reading them gets no memory for it.
func TestFloodOfHeartbeats(t *testing.T) {
	s := openScene(t, Options{})
	flood := bytes.Repeat([]byte{0x81, 1, '2', 0x89, 1, 'p'}, 10_000)
	before := memory()
	_ = s.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for range 100 {
		if _, err := s.conn.Write(flood); err != nil {
			break // the client does not read while it cannot answer
		}
	}
	if grown := memory() - before; grown > 8<<20 {
		t.Errorf("%d bytes more in use", grown)
	}
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a server asks to be acknowledged is remembered for so many.
func TestAskedIsBounded(t *testing.T) {
	s := openScene(t, Options{})
	for i := range maxAsked + 1 {
		if err := s.step("S", fmt.Sprintf(`42%d["q"]`, i)); err != nil {
			t.Fatal(err)
		}
		s.c.await(Arrived)
	}
	if err := s.c.Answer("/", 0); err != ErrNotAsked {
		t.Errorf("the oldest: %v", err)
	}
	if err := s.c.Answer("/", maxAsked); err != nil {
		t.Errorf("the latest: %v", err)
	}
}

// The cookies of a server are few, and go back to it.
func TestCookies(t *testing.T) {
	var jar cookies
	for i := range 100 {
		jar.take(&http.Response{Header: http.Header{"Set-Cookie": {fmt.Sprintf("a%d=%d; Domain=elsewhere", i, i), "lb=" + fmt.Sprint(i), "big=" + strings.Repeat("x", 5000)}}})
	}
	got := jar.header(http.Header{"Cookie": {"own=1"}}).Get("Cookie")
	if len(jar.set) != maxCookies || !strings.HasPrefix(got, "own=1; ") || !strings.Contains(got, "lb=99") || strings.Contains(got, "big") {
		t.Errorf("%d cookies: %s", len(jar.set), got)
	}
}

// openScene has a client connected to a server of the test.
func openScene(t *testing.T, o Options) *scene {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &scene{t: t, l: l, answers: make(chan string, 10)}
	o.Transports = []string{WebSocket}
	s.c = connect(t, "http://"+l.Addr().String(), o)
	for _, step := range [][2]string{{"open", "/socket.io/?EIO=4&transport=websocket"}, {"S", opened}, {"C", "40"}, {"S", `40{"sid":"s1"}`}} {
		if err := s.step(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	s.c.await(Connected)
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// The client gives a server up that does not send heartbeats.
func TestSilence(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			_, _ = io.WriteString(w, "ok")
		case r.URL.Query().Get("sid") == "":
			_, _ = io.WriteString(w, `0{"sid":"e1","upgrades":[],"pingInterval":100,"pingTimeout":100}`+"\x1e"+`40{"sid":"s"}`)
		default:
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	c := connect(t, srv.URL, Options{Transports: []string{Polling}, Attempts: -1})
	if n := c.await(Disconnected); n.Reason != reasonHeartbeat {
		t.Errorf("%+v", n)
	}
	ctx, done := context.WithTimeout(t.Context(), time.Second)
	defer done()
	if _, err := c.Ping(ctx); err != ErrNoSession {
		t.Errorf("Ping = %v", err)
	}
}
