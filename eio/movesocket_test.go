package eio

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// A site is a server with sockets, whose clients another takes over.
type site struct {
	t    *testing.T
	o    Options
	srv  *Server
	e    *loop.Engine
	addr string
	ran  chan error
}

const siteLoops = 2

// echoes answers each message, and wants to hear of no end.
func echoes(t *testing.T) Handler {
	return &hooks{
		message: func(s Session, b []byte, binary bool) {
			if s.User() != 7 {
				t.Errorf("User() = %d", s.User())
			}
			s.Send(AppendText(nil, append([]byte("echo "), b...)))
		},
		open: func(s Session, _ *http1.Request) { s.SetUser(7) },
	}
}

// newSite makes a server that does not run yet.
func newSite(t *testing.T, o Options, l loop.ListenOptions) *site {
	t.Helper()
	o.Logger = quiet
	srv, err := NewServer(echoes(t), o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := loop.New(srv, loop.Options{Loops: siteLoops, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	srv.Bind(e.Loops())
	a, err := e.ListenWith("127.0.0.1:0", l)
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, o: o, srv: srv, e: e, addr: a.String(), ran: make(chan error, 1)}
}

func (s *site) run() {
	// ends with the engine
	go func() { s.ran <- s.e.Run(context.Background()) }()
	s.e.Loops()[0].Ask(func() {}) // until it does
}

// end ends the sessions, and the server.
func (s *site) end() {
	s.t.Helper()
	for _, l := range s.e.Loops() {
		l.Ask(func() { s.srv.CloseAll(l) })
	}
	s.stop()
}

// stop ends the server, of which nothing may be left.
func (s *site) stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(s.e.Shutdown(ctx), <-s.ran); err != nil {
		s.t.Error(err)
	}
	if n := s.srv.sessions.Load(); n != 0 {
		s.t.Errorf("%d sessions are left", n)
	}
}

// A lane is what goes from a loop to another, as it is written down, with descriptors.
type lane struct {
	travel
	fds []int
}

// handOver has another server take over all there is, and ends this one.
func (s *site) handOver() *site {
	t := s.t
	t.Helper()
	o := s.o
	o.IDKey = s.srv.IDKey()
	next := newSite(t, o, loop.ListenOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := s.e.Quiet(ctx, true); err != nil {
		t.Fatal(err)
	}
	f, err := s.e.Freeze(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Thaw()
	var lanes [siteLoops]lane
	f.Each(func(l *loop.Loop) { lanes[l.Index()].load(t, s.srv, l) })
	var wg sync.WaitGroup
	for i := range lanes {
		// ends when the loop has everything
		wg.Go(func() { lanes[i].unload(t, next.srv, next.e.Loops()[i]) })
	}
	wg.Wait()
	f.Each(func(l *loop.Loop) { s.srv.Forget(l) })
	next.run()
	f.Thaw()
	if err := s.e.Quiet(ctx, false); err != nil {
		t.Error(err)
	}
	return next
}

func (x *lane) load(t *testing.T, srv *Server, l *loop.Loop) {
	x.table = srv.ExportTable(l)
	var err error
	x.stays, err = srv.Export(l, func(st *ConnState) error {
		fd, err := syscall.Dup(st.FD)
		x.fds = append(x.fds, fd)
		x.conns = append(x.conns, packed(t, st))
		return err
	}, func(s Session, st *SessionState) error {
		x.sessions = append(x.sessions, packed(t, st))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (x *lane) unload(t *testing.T, srv *Server, l *loop.Loop) {
	if err := srv.ImportTable(l, x.table); err != nil {
		t.Error(err)
	}
	for i, b := range x.conns {
		st := unpacked[ConnState](t, b)
		st.FD = x.fds[i]
		if err := srv.ImportConn(l, st); err != nil {
			t.Error(err)
		}
	}
	for _, b := range x.sessions {
		if _, err := srv.Import(l, unpacked[SessionState](t, b)); err != nil {
			t.Error(err)
		}
	}
}

// A rawClient writes what it wants, in pieces.
type rawClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *rawClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	x := &rawClient{t, c, bufio.NewReader(c)}
	x.send([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	x.answer() // it has been accepted
	return x
}

func (c *rawClient) send(b []byte) {
	if _, err := c.Write(b); err != nil {
		c.t.Error(err)
	}
}

// answer reads an answer of HTTP, and returns its body.
func (c *rawClient) answer() string {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Errorf("an answer: %v", err)
		return ""
	}
	if r.StatusCode == http.StatusSwitchingProtocols {
		return "101"
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	return string(b)
}

// frame reads a frame, and returns what is in it.
func (c *rawClient) frame() string {
	c.t.Helper()
	b, err := c.r.Peek(2)
	if err != nil {
		c.t.Errorf("a frame: %v", err)
		return ""
	}
	n := int(b[1]) // they are short
	b = make([]byte, 2+n)
	_, err = io.ReadFull(c.r, b)
	if err != nil || n > 125 {
		c.t.Errorf("a frame of %d: %v", n, err)
	}
	return string(b[2:])
}

func (c *rawClient) want(what, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// openPoll opens a session over polling, and returns its id.
func (c *rawClient) openPoll() string {
	c.t.Helper()
	c.send(getRequest("EIO=4&transport=polling"))
	_, id, _ := strings.Cut(c.answer(), `"sid":"`)
	return id[:IDLen]
}

// TestClientsGoFromEngineToEngine: a client that is taken over between each two things
// that it does sees nothing of it.
func TestClientsGoFromEngineToEngine(t *testing.T) {
	s := newSite(t, Options{Node: NewNode(), MaxConnsPerIP: 100}, loop.ListenOptions{})
	s.run()
	next := func() {
		old := s
		s = s.handOver()
		old.stop()
	}
	ws := dialRaw(t, s.addr)
	ws.send(wsRequest("EIO=4&transport=websocket"))
	ws.want("handshake", ws.answer(), "101")
	ws.want("open packet", ws.frame()[:1], "0")
	a, b := dialRaw(t, s.addr), dialRaw(t, s.addr)
	id := a.openPoll()
	next()

	// A message in pieces, and a post.
	frame := textFrame("4in pieces")
	ws.send(frame[:5])
	poll, post := getRequest("EIO=4&transport=polling&sid="+id), postRequest("EIO=4&transport=polling&sid="+id, "4one\x1e4two")
	a.send(poll[:30])
	b.send(post[:len(post)-3])
	next()
	ws.send(frame[5:])
	a.send(poll[30:])
	next()
	ws.want("echo", ws.frame(), "4echo in pieces")
	b.send(post[len(post)-3:])
	next()
	b.want("post", b.answer(), "ok")
	next()
	got := a.answer()
	if got == "4echo one" { // it was sent before the rest had come
		a.send(poll)
		got += "\x1e" + a.answer()
	}
	a.want("poll", got, "4echo one\x1e4echo two")

	// An upgrade.
	a.send(poll)
	up := dialRaw(t, s.addr)
	hello := wsRequest("EIO=4&transport=websocket&sid=" + id)
	up.send(hello[:50])
	next()
	up.send(hello[50:])
	next()
	up.want("handshake", up.answer(), "101")
	up.send(textFrame("2probe")[:7])
	next()
	up.send(textFrame("2probe")[7:])
	next()
	up.want("probe", up.frame(), "3probe")
	a.want("poll", a.answer(), "6")
	next()
	b.send(postRequest("EIO=4&transport=polling&sid="+id, "4behind the probe"))
	b.want("post", b.answer(), "ok")
	next()
	up.send(textFrame("5"))
	next()
	up.want("what waited", up.frame(), "4echo behind the probe")
	up.send(textFrame("4upgraded"))
	next()
	up.want("echo", up.frame(), "4echo upgraded")
	for _, c := range []*rawClient{ws, a, b, up} {
		_ = c.Close()
	}
	s.end()
}

// TestNothingIsLostUnderTraffic: while servers take each other's place, each message of
// each client comes once, in order, in both directions.
func TestNothingIsLostUnderTraffic(t *testing.T) {
	const clients, messages, least = 12, 400, 3
	s := newSite(t, Options{Node: NewNode()}, loop.ListenOptions{})
	s.run()
	var busy atomic.Int64
	var wg, open sync.WaitGroup
	for i := range clients {
		busy.Add(1)
		open.Add(1)
		client := (*traffic).webSocket
		if i%2 == 1 {
			client = (*traffic).polling
		}
		x := &traffic{t: t, addr: s.addr, open: open.Done, rnd: rand.New(rand.NewPCG(uint64(i), 1)), n: messages}
		// ends when it has all its echoes
		wg.Go(func() { defer busy.Add(-1); client(x) })
	}
	open.Wait()
	for n := 0; n < least || busy.Load() > 0; n++ {
		old := s
		s = s.handOver()
		old.stop()
	}
	wg.Wait()
	s.end()
}

// A traffic is a client that wants an echo of each of n messages.
type traffic struct {
	t    *testing.T
	addr string
	open func() // it has all its connections
	rnd  *rand.Rand
	n    int
}

// webSocket sends frames in pieces, as many as there are.
func (x *traffic) webSocket() {
	c := dialRaw(x.t, x.addr)
	defer c.Close()
	c.send(wsRequest("EIO=4&transport=websocket"))
	c.want("handshake", c.answer(), "101")
	c.frame()
	x.open()
	var b []byte
	for i := range x.n {
		b = append(b, wsframe.AppendMaskedFrame(nil, wsframe.Text, fmt.Appendf(nil, "4%d", i), testKey)...)
	}
	// ends when all is sent
	go func() {
		for len(b) > 0 {
			n := min(1+x.rnd.IntN(40), len(b))
			if _, err := c.Write(b[:n]); err != nil {
				x.t.Error(err)
				return
			}
			b = b[n:]
		}
	}()
	for i := range x.n {
		c.want("echo", c.frame(), fmt.Sprintf("4echo %d", i))
	}
}

// polling posts some messages at a time, on one connection, and polls on another.
func (x *traffic) polling() {
	polls, posts := dialRaw(x.t, x.addr), dialRaw(x.t, x.addr)
	defer polls.Close()
	defer posts.Close()
	query := "EIO=4&transport=polling&sid=" + polls.openPoll()
	x.open()
	var wg sync.WaitGroup
	defer wg.Wait() // before they are closed
	// ends when all is sent
	wg.Go(func() {
		for i := 0; i < x.n; {
			var body []string
			for range min(1+x.rnd.IntN(20), x.n-i) {
				body = append(body, fmt.Sprintf("4%d", i))
				i++
			}
			b := postRequest(query, strings.Join(body, "\x1e"))
			at := x.rnd.IntN(len(b))
			posts.send(b[:at])
			posts.send(b[at:])
			posts.want("post", posts.answer(), "ok")
		}
	})
	for i := 0; i < x.n; {
		polls.send(getRequest(query))
		for _, p := range strings.Split(polls.answer(), "\x1e") {
			if !strings.HasPrefix(p, "4") {
				polls.want("packet", p, "6 or 2")
				return
			}
			polls.want("echo", p, fmt.Sprintf("4echo %d", i))
			i++
		}
	}
}

// TestAnEngineGoesOnWhenItIsNotTakenOver: what Export has done is nothing that a client
// would notice, if nobody takes it.
func TestAnEngineGoesOnWhenItIsNotTakenOver(t *testing.T) {
	s := newSite(t, Options{Node: NewNode()}, loop.ListenOptions{})
	s.run()
	ws, a := dialRaw(t, s.addr), dialRaw(t, s.addr)
	ws.send(wsRequest("EIO=4&transport=websocket"))
	ws.want("handshake", ws.answer(), "101")
	ws.frame()
	id := a.openPoll()
	a.send(getRequest("EIO=4&transport=polling&sid=" + id))
	for range 3 {
		f, err := s.e.Freeze(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var lanes [siteLoops]lane
		f.Each(func(l *loop.Loop) { lanes[l.Index()].load(t, s.srv, l) })
		for i := range lanes {
			for _, fd := range lanes[i].fds {
				_ = syscall.Close(fd)
			}
		}
		f.Thaw()
		ws.send(textFrame("4x"))
		ws.want("echo", ws.frame(), "4echo x")
	}
	b := dialRaw(t, s.addr)
	b.send(postRequest("EIO=4&transport=polling&sid="+id, "4y"))
	b.want("post", b.answer(), "ok")
	a.want("poll", a.answer(), "4echo y")
	for _, c := range []*rawClient{ws, a, b} {
		_ = c.Close()
	}
	s.end()
}

// A shy opener opens nothing.
type shy struct{}

func (s shy) Begin(loop.Conn) loop.Opening { return s }
func (shy) Data(loop.Conn, []byte) int     { return 0 }
func (shy) End(loop.Conn, error)           {}

// TestConnectionsThatAreNotOpenYetStay: they are counted.
func TestConnectionsThatAreNotOpenYetStay(t *testing.T) {
	s := newSite(t, Options{}, loop.ListenOptions{Opener: shy{}})
	s.run()
	for range 3 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "they are there", func() bool { return s.e.Stats().Openings.Now == 3 })
	f, err := s.e.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lanes [siteLoops]lane
	f.Each(func(l *loop.Loop) { lanes[l.Index()].load(t, s.srv, l) })
	f.Thaw()
	n := 0
	for i := range lanes {
		if n += lanes[i].stays.Opening; len(lanes[i].conns) != 0 {
			t.Errorf("%d connections go", len(lanes[i].conns))
		}
	}
	if n != 3 {
		t.Errorf("%d are not open, want 3", n)
	}
	s.stop()
}

// TestWhatIsEncryptedIsServedOn: by the server that has it, while another has the rest.
func TestWhatIsEncryptedIsServedOn(t *testing.T) {
	s := newSite(t, Options{Node: NewNode()}, loop.ListenOptions{Opener: &encrypted{}})
	s.run()
	ws, a := dialRaw(t, s.addr), dialRaw(t, s.addr)
	ws.send(wsRequest("EIO=4&transport=websocket"))
	ws.want("handshake", ws.answer(), "101")
	ws.frame()
	id := a.openPoll()
	poll := getRequest("EIO=4&transport=polling&sid=" + id)
	a.send(poll)
	eventually(t, "the poll waits", func() bool { return s.srv.Stats().Polls == 1 })
	old := s
	s = s.handOver()
	ws.send(textFrame("4x"))
	ws.want("echo", ws.frame(), "4echo x")
	a.want("poll", a.answer(), "6")
	if _, err := a.r.ReadByte(); err != io.EOF {
		t.Errorf("behind the noop comes %v", err)
	}
	c := dialRaw(t, s.addr)
	c.send(bytes.Clone(postRequest("EIO=4&transport=polling&sid="+id, "4y")))
	c.want("post", c.answer(), "ok")
	c.send(poll)
	c.want("poll", c.answer(), "4echo y")
	_ = ws.Close()
	_ = a.Close()
	_ = c.Close()
	old.stop()
	s.end()
}

// TestWhoComesWithoutASessionIsCutOff: on the first step of the loop.
func TestWhoComesWithoutASessionIsCutOff(t *testing.T) {
	s := newSite(t, Options{Node: NewNode()}, loop.ListenOptions{})
	s.run()
	ws := dialRaw(t, s.addr)
	ws.send(wsRequest("EIO=4&transport=websocket"))
	ws.want("handshake", ws.answer(), "101")
	ws.frame()
	f, err := s.e.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lanes [siteLoops]lane
	f.Each(func(l *loop.Loop) { lanes[l.Index()].load(t, s.srv, l) })
	next := newSite(t, s.o, loop.ListenOptions{})
	for i := range lanes {
		lanes[i].sessions = nil
		lanes[i].unload(t, next.srv, next.e.Loops()[i])
	}
	f.Each(func(l *loop.Loop) { s.srv.Forget(l) })
	f.Thaw()
	next.run()
	if b, err := ws.r.ReadByte(); err == nil {
		t.Errorf("received %x", b)
	}
	_ = ws.Close()
	s.stop()
	next.stop()
}
