package eio

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

// TestStopEndsEverySession: CloseAll tells the clients, in the way of each
// transport, also of one that is upgrading, which loses what waited; nothing of
// the server is left then, and its loops end.
func TestStopEndsEverySession(t *testing.T) {
	reasons := make(chan Reason, 5)
	m, addr := start(t, &hooks{
		message: func(s Session, data []byte, _ bool) { s.Send(AppendText(nil, data)) },
		close:   func(_ Session, r Reason) { reasons <- r },
	}, Options{CloseTimeout: 30 * time.Millisecond}, 2)
	handshake := func(w *wire, sid string) {
		w.must(wsRequest("EIO=4&transport=websocket&sid="+sid), 101)
		w.text("2probe")
		w.expect("3probe")
	}
	plain, upgraded, upgrading := dial(t, addr), dial(t, addr), dial(t, addr)
	plain.must(wsRequest("EIO=4&transport=websocket"), 101)
	if m, err := plain.message(); err != nil || !strings.HasPrefix(string(m.Data), "0{") {
		t.Fatalf("message = %q, %v, want the open packet", m.Data, err)
	}
	polls, silent, idle := dial(t, addr), dial(t, addr), dial(t, addr)
	sid := idle.open()
	handshake(upgraded, sid)
	upgraded.text("5")
	upgraded.text("4x")
	upgraded.expect("4x")
	sid = idle.open()
	handshake(upgrading, sid)
	idle.must(postRequest("EIO=4&transport=polling&sid="+sid, "4discarded"), 200)
	silent.open()
	query := "EIO=4&transport=polling&sid=" + polls.open()
	if _, err := polls.Write(append(getRequest(query), getRequest(query)...)); err != nil { // the second one waits
		t.Fatal(err)
	}
	idle.must(postRequest(query, "4answered"), 200)
	if got := polls.must(nil, 200); got != "4answered" {
		t.Fatalf("poll = %q, want 4answered", got)
	}
	for _, sh := range m.shards {
		sh.loop.Ask(func() { m.CloseAll(sh.loop) })
	}
	for range cap(reasons) {
		if r := <-reasons; r != ForcedClose {
			t.Errorf("closed for %q, want %q", r, ForcedClose)
		}
	}
	polls.must(nil, 503) // the poll that waits
	for name, w := range map[string]*wire{"plain": plain, "upgraded": upgraded, "upgrading": upgrading} {
		if m, err := w.message(); err != nil || m.Op != wsframe.Close || m.Code != 1005 {
			t.Errorf("%s: message = %d %q, %v, want a close frame without a code", name, m.Op, m.Data, err)
		}
		if _, err := w.message(); err != io.EOF {
			t.Errorf("%s: behind the close frame: %v, want the end", name, err)
		}
	}
	eventually(t, "what waited for a last poll is gone", func() bool {
		n := 0
		for _, sh := range m.shards {
			sh.loop.Ask(func() { n += sh.sessions.Len() })
		}
		return n == 0
	})
}

// TestStopLetsAnswersFinish: requests that are being answered when the engine
// shuts down are, and their connections end behind it; those that wait for the
// next one end at once.
func TestStopLetsAnswersFinish(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 1)
	cut := make(chan bool, 1)
	srv, err := NewServer(&hooks{}, Options{Logger: quiet, Route: func(string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-release
			cut <- r.Context().Err() != nil
			_, _ = io.WriteString(w, "done")
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := loop.New(srv, loop.Options{Loops: 1, Logger: quiet})
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
	busy, uploads, idle := dial(t, a.String()), dial(t, a.String()), dial(t, a.String())
	sid := idle.open()
	if _, err := busy.Write([]byte("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-asked
	body := postRequest("EIO=4&transport=polling&sid="+sid, "4whole")
	if _, err := uploads.Write(body[:len(body)-3]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the body is being received", func() bool {
		n := 0
		e.Loops()[0].Ask(func() {
			for _, h := range srv.shards[0].https {
				if h != nil && h.state.receives() {
					n++
				}
			}
		})
		return n == 1
	})
	down := make(chan error, 1)
	// ends when all connections have
	go func() { down <- e.Shutdown(context.Background()) }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection: %v, want the end", err)
	}
	if _, err := uploads.Write(body[len(body)-3:]); err != nil {
		t.Fatal(err)
	}
	uploads.must(nil, 200)
	close(release)
	if got := busy.must(nil, 200); got != "done" || <-cut {
		t.Errorf("the answer is %q, or was cut, want done", got)
	}
	for name, w := range map[string]*wire{"busy": busy, "uploads": uploads} {
		if _, err := w.r.ReadByte(); err != io.EOF {
			t.Errorf("%s: behind the answer: %v, want the end", name, err)
		}
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	if err := <-ran; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// TestStopEndsWhatComesOfAFunction: a request that an application's function lets go on
// while the engine shuts down may have become a poll that waits, or a WebSocket; these
// end as others have.
func TestStopEndsWhatComesOfAFunction(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 2)
	wait := func(r *http.Request) {
		if r.Header.Get("X-Client") != "" {
			asked <- struct{}{}
			<-release
		}
	}
	srv, err := NewServer(&hooks{}, Options{Logger: quiet,
		Middleware:   func(_ http.ResponseWriter, r *http.Request) bool { wait(r); return true },
		AllowRequest: func(*http.Request) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := loop.New(srv, loop.Options{Loops: 1, Logger: quiet})
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
	poll, socket, idle := dial(t, a.String()), dial(t, a.String()), dial(t, a.String())
	query := "EIO=4&transport=polling&sid=" + idle.open()
	for w, b := range map[*wire][]byte{poll: getRequest(query), socket: wsRequest("EIO=4&transport=websocket")} {
		if _, err := w.Write(from(b, "x")); err != nil {
			t.Fatal(err)
		}
		<-asked
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	down := make(chan error, 1)
	// ends when all connections have
	go func() { down <- e.Shutdown(ctx) }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection: %v, want the end", err)
	}
	close(release)
	poll.must(nil, 503)
	if _, err := io.ReadAll(socket.Conn); err != nil {
		t.Errorf("the WebSocket: %v, want the end", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	if err := <-ran; err != nil {
		t.Errorf("Run() = %v", err)
	}
}
