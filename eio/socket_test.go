package eio

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// moves counts the connections that leave a loop for another.
type moves struct {
	*Server
	n atomic.Int64
}

func (m *moves) Close(c loop.Conn, err error) {
	if err == loop.ErrMoved {
		m.n.Add(1)
	}
	m.Server.Close(c, err)
}

// start runs a server on loops with sockets until the test ends, and then
// checks that nothing is left of it; so the test ends its sessions before.
func start(t *testing.T, h Handler, o Options, loops int) (m *moves, addr string) {
	t.Helper()
	o.Logger = quiet
	srv, err := NewServer(h, o)
	if err != nil {
		t.Fatal(err)
	}
	m = &moves{Server: srv}
	e, err := loop.New(m, loop.Options{Loops: loops, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	srv.Bind(e.Loops())
	a, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	// ends with the engine
	go func() { ran <- e.Run(context.Background()) }()
	e.Loops()[0].Ask(func() {}) // until it runs
	t.Cleanup(func() {
		eventually(t, "all sessions are closed", func() bool {
			n := 0
			for _, l := range e.Loops() {
				l.Ask(func() { n += srv.Count(l) })
			}
			return n == 0
		})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown() = %v", err)
		}
		if err := <-ran; err != nil {
			t.Errorf("Run() = %v", err)
		}
		checkEmpty(t, srv, e)
	})
	return m, a.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// A wire is a client's connection.
type wire struct {
	t *testing.T
	net.Conn
	r      *bufio.Reader
	frames wsframe.Reader
	buf    []byte
}

func dial(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return &wire{t: t, Conn: c, r: bufio.NewReader(c), frames: wsframe.Reader{Client: true}}
}

// roundTrip sends a request and returns the answer.
func (w *wire) roundTrip(request []byte) (status int, body string, err error) {
	if _, err = w.Write(request); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return 0, "", err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, "", nil
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// must is roundTrip, which has to succeed.
func (w *wire) must(request []byte, want int) (body string) {
	w.t.Helper()
	status, body, err := w.roundTrip(request)
	if err != nil || status != want {
		w.t.Fatalf("answer = %d %q, %v, want %d", status, body, err, want)
	}
	return body
}

// open opens a session over polling and returns its id.
func (w *wire) open() string {
	w.t.Helper()
	_, rest, _ := strings.Cut(w.must(getRequest("EIO=4&transport=polling"), 200), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	return sid
}

// message returns the next WebSocket message.
func (w *wire) message() (m wsframe.Message, err error) {
	for {
		m, n, err := w.frames.Next(w.buf)
		if m.Data = bytes.Clone(m.Data); m.Op != 0 || err != nil {
			w.buf = w.buf[n:]
			return m, err
		}
		b := make([]byte, 4096)
		k, err := w.r.Read(b)
		if err != nil {
			return m, err
		}
		w.buf = append(w.buf[n:], b[:k]...)
	}
}

func (w *wire) text(data string) {
	if _, err := w.Write(textFrame(data)); err != nil {
		w.t.Error(err)
	}
}

// expect is message, which has to be this text.
func (w *wire) expect(want string) {
	w.t.Helper()
	if m, err := w.message(); err != nil || m.Op != wsframe.Text || string(m.Data) != want {
		w.t.Fatalf("message = %d %q, %v, want %q", m.Op, m.Data, err, want)
	}
}

// TestRequestsOnAnyLoop sends requests of two sessions, which live on different
// loops, over connections of both: each connection is moved to where the
// session is, with what is pipelined on it.
func TestRequestsOnAnyLoop(t *testing.T) {
	var mu sync.Mutex
	got := map[string][]string{}
	h := &hooks{message: func(s Session, data []byte, _ bool) {
		mu.Lock()
		defer mu.Unlock()
		got[s.ID()] = append(got[s.ID()], string(data))
		s.Send(AppendText(nil, []byte("answer to "), data))
	}}
	m, addr := start(t, h, Options{}, 2)
	wires := make([]*wire, 16)
	for i := range wires {
		wires[i] = dial(t, addr)
	}
	byLoop := map[uint64]string{}
	var spare []string
	for _, w := range wires {
		sid := w.open()
		ref, ok := m.ids.Parse([]byte(sid))
		if !ok {
			t.Fatalf("Parse(%q) = false", sid)
		}
		if byLoop[ref>>56] == "" {
			byLoop[ref>>56] = sid
		} else {
			spare = append(spare, sid)
		}
	}
	if len(byLoop) != 2 {
		t.Fatalf("16 connections came to %d loops, want 2", len(byLoop))
	}
	for i, w := range wires {
		for loop := range uint64(2) {
			query := "EIO=4&transport=polling&sid=" + byLoop[loop]
			text := fmt.Sprintf("%d over %d", loop, i)
			// Both in one segment: the second has to move with the first.
			if _, err := w.Write(append(postRequest(query, "4"+text), getRequest(query)...)); err != nil {
				t.Fatal(err)
			}
			if body := w.must(nil, 200); body != "ok" {
				t.Errorf("POST = %q, want ok", body)
			}
			if body := w.must(nil, 200); body != "4answer to "+text {
				t.Errorf("GET = %q, want %q", body, "4answer to "+text)
			}
		}
	}
	for loop, sid := range byLoop {
		mu.Lock()
		if len(got[sid]) != len(wires) {
			t.Errorf("loop %d received %q, want one of each connection", loop, got[sid])
		}
		mu.Unlock()
		spare = append(spare, sid)
	}
	if n := m.n.Load(); n < int64(len(wires)) {
		t.Errorf("%d moves, want at least one of each of %d connections", n, len(wires))
	}
	for _, sid := range spare {
		wires[0].must(postRequest("EIO=4&transport=polling&sid="+sid, "1"), 200)
	}
}

// count has a session send numbered messages, a few with each turn of the loop,
// and notes the numbers that it receives.
type count struct {
	mu       sync.Mutex
	received []string
	closed   chan Reason
}

const messages = 50

func (h *count) Open(s Session, _ *http1.Request) {
	var send func(i int)
	send = func(i int) {
		for end := min(i+3, messages); i < end; i++ {
			s.Send(AppendText(nil, fmt.Append(nil, i)))
		}
		if i == messages || !s.Valid() {
			return
		}
		// ends when it has posted
		time.AfterFunc(300*time.Microsecond, func() {
			s.Loop().Post(loop.TaskFunc(func(*loop.Loop) { send(i) }))
		})
	}
	send(0)
}

func (h *count) Message(_ Session, data []byte, _ bool) {
	h.mu.Lock()
	h.received = append(h.received, string(data))
	h.mu.Unlock()
}

func (h *count) Close(_ Session, r Reason) { h.closed <- r }

// TestNothingIsLostByAnUpgrade sends 50 numbered messages each way while the
// client upgrades, as the official client does it: it stops polling after the
// probe is answered, and ends the upgrade when its poll has returned.
func TestNothingIsLostByAnUpgrade(t *testing.T) {
	for round := range 8 {
		h := &count{closed: make(chan Reason, 1)}
		_, addr := start(t, h, Options{}, 2)
		polls, posts, ws := dial(t, addr), dial(t, addr), dial(t, addr)
		query := "EIO=4&transport=polling&sid=" + polls.open()
		var got []string
		pause, paused := make(chan struct{}), make(chan struct{})
		// ends when the upgrade asks for it, or the connection fails
		go func() {
			defer close(paused)
			for {
				select {
				case <-pause:
					return
				default:
				}
				status, body, err := polls.roundTrip(getRequest(query))
				if err != nil || status != 200 {
					t.Errorf("poll = %d %q, %v", status, body, err)
					return
				}
				for p := range strings.SplitSeq(body, "\x1e") {
					if p[0] == '4' {
						got = append(got, p[1:])
					}
				}
			}
		}()
		sent := 0
		for ; sent < 5*round; sent++ {
			posts.must(postRequest(query, fmt.Sprint("4", sent)), 200)
		}
		ws.must(wsRequest(strings.Replace(query, "polling", "websocket", 1)), 101)
		ws.text("2probe")
		ws.expect("3probe")
		posts.must(postRequest(query, fmt.Sprint("4", sent)), 200)
		sent++
		close(pause)
		<-paused
		ws.text("5")
		for ; sent < messages; sent++ {
			ws.text(fmt.Sprint("4", sent))
		}
		for len(got) < messages {
			m, err := ws.message()
			if err != nil || len(m.Data) < 2 || m.Data[0] != '4' {
				t.Fatalf("message = %q, %v, after %q", m.Data, err, got)
			}
			got = append(got, string(m.Data[1:]))
		}
		eventually(t, "all is received", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.received) >= messages })
		_ = ws.Close()
		if r := <-h.closed; r != TransportClose {
			t.Errorf("closed for %q, want %q", r, TransportClose)
		}
		for i := range messages {
			if want := fmt.Sprint(i); got[i] != want || h.received[i] != want {
				t.Fatalf("round %d: message %d: the client received %q, the server %q", round, i, got[i], h.received[i])
			}
		}
	}
}

// TestAbruptUpgrades cuts the WebSocket of an upgrade at every stage, politely
// and not: the session goes on polling. Then the poll is cut, which ends it.
func TestAbruptUpgrades(t *testing.T) {
	reasons := make(chan Reason, 1)
	h := &hooks{
		message: func(s Session, data []byte, _ bool) { s.Send(AppendText(nil, data)) },
		close:   func(_ Session, r Reason) { reasons <- r },
	}
	m, addr := start(t, h, Options{}, 2)
	cut := func(w *wire, reset bool) {
		if reset {
			_ = w.Conn.(*net.TCPConn).SetLinger(0)
		}
		_ = w.Close()
	}
	for stage := range 5 {
		for _, reset := range []bool{false, true} {
			polls, posts, ws := dial(t, addr), dial(t, addr), dial(t, addr)
			query := "EIO=4&transport=polling&sid=" + polls.open()
			handshake := wsRequest(strings.Replace(query, "polling", "websocket", 1))
			switch stage {
			case 0: // in the middle of the handshake
				_, _ = ws.Write(handshake[:30])
			case 1:
				ws.must(handshake, 101)
			case 2: // in the middle of the probe
				ws.must(handshake, 101)
				_, _ = ws.Write(textFrame("2probe")[:8])
			case 3:
				ws.must(handshake, 101)
				ws.text("2probe")
			case 4:
				ws.must(handshake, 101)
				ws.text("2probe")
				ws.expect("3probe")
			}
			cut(ws, reset)
			posts.must(postRequest(query, "4still here"), 200)
			var got string
			for got == "" || got == "6" { // a poll may have been released for the upgrade
				got = polls.must(getRequest(query), 200)
			}
			if got != "4still here" {
				t.Errorf("stage %d: poll = %q, want 4still here", stage, got)
			}
			// The end of the upgrade, which may be noticed late, answers a poll with a noop:
			// only the next one waits.
			eventually(t, "the upgrade has ended", func() bool { return m.Stats().Probing == 0 })
			_, _ = polls.Write(getRequest(query))
			eventually(t, "the poll waits", func() (waits bool) {
				for _, sh := range m.shards {
					sh.loop.Ask(func() {
						for _, slot := range sh.live() {
							e := sh.peekExt(slot)
							waits = waits || e != nil && e.polled()
						}
					})
				}
				return waits
			})
			cut(polls, reset)
			if r := <-reasons; r != TransportError {
				t.Errorf("stage %d: closed for %q, want %q", stage, r, TransportError)
			}
		}
	}
}

// TestSlowClients: heads and bodies that do not come to an end, with sockets.
func TestSlowClients(t *testing.T) {
	reasons := make(chan Reason, 1)
	h := &hooks{close: func(_ Session, r Reason) { reasons <- r }}
	_, addr := start(t, h, Options{HeadTimeout: 30 * time.Millisecond, BodyTimeout: 30 * time.Millisecond}, 1)
	w := dial(t, addr)
	w.must([]byte("GET /engine.io/ HTTP"), http.StatusRequestTimeout)
	if b, err := io.ReadAll(w.r); len(b) > 0 || err != nil {
		t.Errorf("behind the answer come %q, %v, want the end", b, err)
	}
	w = dial(t, addr)
	if b, err := io.ReadAll(w.r); len(b) > 0 || err != nil {
		t.Errorf("a client that says nothing is told %q, %v, want the end", b, err)
	}
	w = dial(t, addr)
	query := "EIO=4&transport=polling&sid=" + w.open()
	request := postRequest(query, "4hello")
	w.must(request[:len(request)-1], http.StatusRequestTimeout)
	if r := <-reasons; r != TransportError {
		t.Errorf("closed for %q, want %q", r, TransportError)
	}
}
