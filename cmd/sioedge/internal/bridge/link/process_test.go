package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// A hub is a Handler that writes down what it is told.
type hub struct {
	mu       sync.Mutex
	sessions []*Session
	got      []string // data of messages
	worked   []any
	ended    []string // why
	unworked []any
	rooms    int
	busy     int // calls of one session's turn under way
	overlap  bool

	// Immutable while it is used.
	onNew     func(s *Session, h *wire.Hello) error
	onMessage func(s *Session, m *wire.Message) error
}

// turn checks that a session's calls come one at a time.
func (h *hub) turn() func() {
	h.mu.Lock()
	h.busy++
	h.overlap = h.overlap || h.busy > 1
	h.mu.Unlock()
	return func() {
		h.mu.Lock()
		h.busy--
		h.mu.Unlock()
	}
}

func (h *hub) New(s *Session, hello *wire.Hello) error {
	defer h.turn()()
	if h.onNew != nil {
		if err := h.onNew(s, hello); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions = append(h.sessions, s)
	return nil
}

func (h *hub) Message(s *Session, m *wire.Message) error {
	defer h.turn()()
	if h.onMessage != nil {
		return h.onMessage(s, m)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, string(m.Data))
	return nil
}

func (h *hub) Worked(s *Session, items []any) {
	defer h.turn()()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.worked = append(h.worked, items...)
}

func (h *hub) Room(*Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rooms++
}

func (h *hub) Ended(s *Session, why string, unworked []any) {
	defer h.turn()()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = append(h.ended, why)
	h.unworked = append(h.unworked, unworked...)
}

// is tells whether f is so, with the lock held.
func (h *hub) is(f func() bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f()
}

func (h *hub) session(t *testing.T) *Session {
	t.Helper()
	eventually(t, "a session", func() bool { return h.is(func() bool { return len(h.sessions) > 0 }) })
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[len(h.sessions)-1]
}

// endedBy waits until the n-th session is over, and returns why it is.
func (h *hub) endedBy(t *testing.T, n int) string {
	t.Helper()
	eventually(t, "an end", func() bool { return h.is(func() bool { return len(h.ended) >= n }) })
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended[n-1]
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// An edge is sessions behind a real listener.
type edge struct {
	*Sessions
	t    *testing.T
	hub  *hub
	addr string
	log  *logged
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newEdge returns one that is gone, with all its goroutines, at the end of the test.
func newEdge(t *testing.T, o Options) *edge {
	e := &edge{t: t, hub: &hub{}, log: &logged{}}
	o.Logger = slog.New(slog.NewTextHandler(e.log, nil))
	e.Sessions = NewSessions(o)
	var served sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		defer served.Done()
		e.Serve(w, r, e.hub)
	}))
	e.addr = srv.Listener.Addr().String()
	t.Cleanup(func() {
		e.mu.Lock()
		for _, s := range e.all {
			go s.Close(wire.CodeDraining, "the test is over")
		}
		e.mu.Unlock()
		srv.Close()
		served.Wait()
		eventually(t, "no sessions", func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return len(e.all) == 0
		})
		if e.hub.is(func() bool { return e.hub.overlap }) {
			t.Error("two calls of one session overlapped")
		}
	})
	return e
}

// A peer is a process's connection.
type peer struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*peer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, br, _, err := ws.Dialer{Protocols: []string{wire.Subprotocol}}.Dial(ctx, "ws://"+addr+"/bridge")
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReader(c)
	}
	return &peer{c, br}, nil
}

func (p *peer) write(op ws.OpCode, b []byte) error {
	return ws.WriteFrame(p, ws.MaskFrame(ws.NewFrame(op, true, b)))
}

// batch reads the next one, answering pings. The error is a *goodbye or the connection's.
func (p *peer) batch() ([]byte, error) {
	for {
		h, err := ws.ReadHeader(p.r)
		if err != nil {
			return nil, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.r, payload); err != nil {
			return nil, err
		}
		switch h.OpCode {
		case ws.OpPing:
			if err := p.write(ws.OpPong, payload); err != nil {
				return nil, err
			}
		case ws.OpClose:
			status, _ := ws.ParseCloseFrameData(payload)
			return nil, &goodbye{status}
		case ws.OpBinary:
			return payload, nil
		}
	}
}

// messages parses a batch of the edge.
func messages(b []byte) (ack uint64, all []wire.Message, err error) {
	ack, r, err := wire.ParseBatch(b, wire.Edge)
	for err == nil {
		var m wire.Message
		var ok bool
		if ok, err = r.Next(&m); !ok {
			break
		}
		all = append(all, m)
	}
	return ack, all, err
}

func helloOf(uid, resume string, received uint64, window int) []byte {
	return wire.AppendHello(wire.AppendBatch(nil, 0, 1), &wire.Hello{Version: 1, UID: uid, Resume: resume, Received: received, Window: uint64(window), Namespaces: []string{"/"}})
}

// greet says hello and returns the welcome.
func (p *peer) greet(hello []byte) (*wire.Welcome, error) {
	if err := p.write(ws.OpBinary, hello); err != nil {
		return nil, err
	}
	b, err := p.batch()
	if err != nil {
		return nil, err
	}
	_, all, err := messages(b)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || all[0].Kind != wire.KindWelcome {
		return nil, fmt.Errorf("no welcome: %v", all)
	}
	return all[0].Welcome, nil
}

// connect dials an edge and says hello.
func (e *edge) connect(hello []byte) (*peer, *wire.Welcome) {
	e.t.Helper()
	p, err := dial(e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = p.Close() })
	w, err := p.greet(hello)
	if err != nil {
		e.t.Fatal(err)
	}
	return p, w
}

// farewell reads until the end, and returns the code of [14], of the close frame, and the
// data of what came before.
func (p *peer) farewell(t *testing.T) (code string, status ws.StatusCode, before []string) {
	t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		b, err := p.batch()
		var bye *goodbye
		if errors.As(err, &bye) {
			_ = p.Close()
			return code, bye.status, before
		}
		if err != nil {
			t.Fatalf("the connection ended without a close frame: %v", err)
		}
		_, all, err := messages(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.Kind == wire.KindEnding {
				code = string(m.Code)
			} else {
				before = append(before, string(m.JSON))
			}
		}
	}
}

// A process is an application's end of a session, over connections that end.
type process struct {
	uid  string
	addr string

	mu      sync.Mutex
	session string
	got     uint64 // batches
	told    uint64
	numbers []string // of events
	queue   [][]byte // batches that were not acked
	acked   uint64
	next    int
	conn    *peer
	resumes int
	lost    error
	grow    sync.Cond
	stopped bool
}

func newProcess(uid, addr string) *process {
	p := &process{uid: uid, addr: addr}
	p.grow.L = &p.mu
	return p
}

// send sends data as a batch.
func (p *process) send(data ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := wire.AppendBatch(nil, p.got, len(data))
	for _, d := range data {
		b = wire.AppendData(b, 1, []byte(d))
	}
	p.queue = append(p.queue, b)
	p.grow.Broadcast()
}

// run connects, again and again, until it is stopped or the session is lost.
func (p *process) run() {
	for {
		p.mu.Lock()
		if p.stopped || p.lost != nil {
			p.mu.Unlock()
			return
		}
		hello := helloOf(p.uid, p.session, p.got, 64<<10)
		p.mu.Unlock()
		if c, err := dial(p.addr); err == nil {
			p.serve(c, hello)
			_ = c.Close()
		}
	}
}

func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.grow.Broadcast()
}

func (p *process) serve(c *peer, hello []byte) {
	w, err := c.greet(hello)
	if err != nil {
		return
	}
	p.mu.Lock()
	if p.session != "" && !w.Resumed {
		p.lost = errors.New("the session is not known any more")
	}
	if w.Resumed {
		p.resumes++
		p.next = int(w.Received - p.acked)
	}
	p.session, p.conn, p.told = w.Session, c, 0
	p.mu.Unlock()
	done := make(chan struct{})
	// ends with the connection
	go func() {
		defer close(done)
		p.write(c)
	}()
	err = p.read(c)
	_ = c.Close()
	p.mu.Lock()
	var bye *goodbye
	moved := errors.As(err, &bye) && bye.status == statusMoved
	if !moved && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !isOfConnection(err) {
		p.lost = err
	}
	p.conn = nil
	p.grow.Broadcast()
	p.mu.Unlock()
	<-done
}

func (p *process) read(c *peer) error {
	for {
		b, err := c.batch()
		if err != nil {
			return err
		}
		ack, all, err := messages(b)
		if err != nil {
			return err
		}
		p.mu.Lock()
		for _, m := range all {
			p.numbers = append(p.numbers, string(m.JSON))
		}
		if len(all) > 0 {
			p.got++
		}
		if ack > p.acked {
			k := int(ack - p.acked)
			if k > p.next {
				p.mu.Unlock()
				return fmt.Errorf("%d batches are acked, and %d were sent", ack, p.acked+uint64(p.next))
			}
			p.queue, p.next, p.acked = p.queue[k:], p.next-k, ack
		}
		p.grow.Broadcast()
		p.mu.Unlock()
	}
}

func (p *process) write(c *peer) {
	for {
		p.mu.Lock()
		for p.conn == c && p.next == len(p.queue) && p.told == p.got {
			p.grow.Wait()
		}
		if p.conn != c {
			p.mu.Unlock()
			return
		}
		var b []byte
		if p.next < len(p.queue) {
			b = p.queue[p.next]
			p.next++
		} else {
			p.told = p.got
			b = wire.AppendBatch(nil, p.got, 0)
		}
		p.mu.Unlock()
		if c.write(ws.OpBinary, b) != nil {
			_ = c.Close()
			return
		}
	}
}

// numbered is what a side is to have got.
func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, number(i))
	}
	return all
}

// number is a text of some length that begins with i.
func number(i int) string { return fmt.Sprintf("[%d,%q]", i, strings.Repeat("x", i*7919%701)) }

// differ returns where lists differ.
func differ(got, want []string) string {
	if slices.Equal(got, want) {
		return ""
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("at %d is %.40s, want %.40s", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("there are %d, want %d", len(got), len(want))
}
