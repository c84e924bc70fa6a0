package loop

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/passing"
)

// through sends the states of a frozen engine's connections over s as another process
// would get them, and the end.
func through(s *passing.Stream, f *Frozen) error {
	var mu sync.Mutex
	var failed error
	f.Each(func(l *Loop) {
		for c := range l.Conns() {
			st, err := c.State()
			if err == nil {
				var body bytes.Buffer
				err = errors.Join(gob.NewEncoder(&body).Encode(st), s.Send(1, uint8(l.Index()), body.Bytes(), st.FD))
			}
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		}
	})
	return errors.Join(failed, s.Send(2, 0, nil), s.Flush())
}

// attachAll attaches what through sends to an engine that does not run, and returns how
// many connections those are, with how many pieces of output.
func attachAll(t *testing.T, s *passing.Stream, e *Engine) (n, pieces int) {
	t.Helper()
	for ; ; n++ {
		r, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == 2 {
			return n, pieces
		}
		var st ConnState
		if err := gob.NewDecoder(bytes.NewReader(r.Body)).Decode(&st); err != nil || len(r.Files) != 1 {
			t.Fatalf("a record with %d descriptors: %v", len(r.Files), err)
		}
		st.FD = r.Files[0]
		pieces += len(st.Output)
		if c, err := e.loops[r.Lane].Attach(st, nil); err != nil || c.Key() != st.Key {
			t.Fatalf("Attach() = %v, %v, want %v", c, err, st.Key)
		}
	}
}

// aStream returns the ends of a Stream.
func aStream(t *testing.T) (from, to *passing.Stream) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*passing.Stream
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ends[i] = passing.New(c.(*net.UnixConn))
		_ = ends[i].SetDeadline(time.Now().Add(60 * time.Second))
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends[0], ends[1]
}

// Connections in the middle of everything go from one engine to the next, as often as one
// likes, while their clients write and read: by copies of their descriptors, over a Stream.
// Nothing is lost, doubled or out of order, and nobody notices that descriptors are closed.
func TestConnectionsGoThroughAStream(t *testing.T) {
	const busy, slow, rounds = 20, 40, 5
	var mu sync.Mutex
	opened, ended := 0, 0
	block := noise(400 << 10)
	h := &hooks{
		open: func(c Conn) { mu.Lock(); opened++; mu.Unlock(); c.WriteShared(block) },
		data: lines,
		close: func(_ Conn, err error) {
			mu.Lock()
			defer mu.Unlock()
			if ended++; err != io.EOF {
				t.Errorf("a connection has ended: %v", err)
			}
		},
	}
	o := Options{Loops: 2, SoftOutbound: 4 << 20, UserTimeout: -1, LingerTimeout: time.Minute, Logger: quiet}
	e, a := start(t, h, o, "127.0.0.1:0")
	var wg sync.WaitGroup
	finish := make(chan struct{})
	for i := range busy + slow {
		c := dial(t, a)
		if i < busy {
			wg.Go(func() { converse(t, c, i, block, finish) })
			continue
		}
		_, _ = c.Write([]byte("a line\nhalf of "))
		wg.Go(func() { // reads nothing until the end
			<-finish
			_, _ = c.Write([]byte("another\n"))
			_ = c.(*net.TCPConn).CloseWrite()
			want := append(bytes.Clone(block), "a line\nhalf of another\n"...)
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("client %d: %d bytes, %v, want %d as they were", i, len(got), err, len(want))
			}
		})
	}
	eventually(t, "all are open", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return opened == busy+slow && e.Stats().BytesIn > 15*slow
	})
	for range rounds {
		next, n, pieces := e.to(t, h, o)
		if n != busy+slow || pieces < slow {
			t.Fatalf("%d connections went, with %d pieces of output, want %d with some", n, pieces, busy+slow)
		}
		if s := e.Stats(); s.Open != 0 || s.Moved != int64(n) {
			t.Errorf("%d connections went, and Stats() = %d open, %d moved", n, s.Open, s.Moved)
		}
		e = next
		eventually(t, "clients are served", func() bool { return e.Stats().BytesIn > 1000 })
	}
	close(finish)
	wg.Wait()
	eventually(t, "all have ended", func() bool { mu.Lock(); defer mu.Unlock(); return ended == busy+slow })
}

// converse is a client that has each of its lines echoed before it says the next one.
func converse(t *testing.T, c net.Conn, i int, greeting []byte, finish <-chan struct{}) {
	got := make([]byte, len(greeting))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, greeting) {
		t.Errorf("client %d was greeted by something else: %v", i, err)
		return
	}
	for n := 0; ; n++ {
		select {
		case <-finish:
			_ = c.(*net.TCPConn).CloseWrite()
			if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
				t.Errorf("client %d, behind its last line: %d bytes, %v", i, len(rest), err)
			}
			return
		default:
		}
		line := fmt.Appendf(nil, "client %d says %d\n", i, n)
		for _, b := range line { // byte by byte
			_, _ = c.Write([]byte{b})
		}
		if _, err := io.ReadFull(c, got[:len(line)]); err != nil || !bytes.Equal(got[:len(line)], line) {
			t.Errorf("client %d: %q, %v, want %q", i, got[:len(line)], err, line)
			return
		}
	}
}

// to has all go to another engine, which runs when it returns, and returns how many
// connections went with how many pieces of output.
func (e *Engine) to(t *testing.T, h Handler, o Options) (next *Engine, n, pieces int) {
	t.Helper()
	next, err := New(h, o)
	if err != nil {
		t.Fatal(err)
	}
	files, err := e.ListenerFiles()
	if err != nil {
		t.Fatal(err)
	}
	var lo ListenOptions
	for _, f := range files {
		lo.Files = append(lo.Files, f.File)
	}
	if _, err := next.ListenWith("", lo); err != nil {
		t.Fatal(err)
	}
	for _, f := range lo.Files {
		_ = f.Close()
	}
	quieten(t, e, true)
	f := frozen(t, e)
	from, to := aStream(t)
	sent := make(chan error, 1)
	go func() { sent <- through(from, f) }()
	n, pieces = attachAll(t, to, next)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	f.Each(func(l *Loop) {
		for c := range l.Conns() {
			c.Forget()
		}
	})
	f.Thaw()
	_ = e.StopAccepting(t.Context())
	quieten(t, e, false)
	run(t, next)
	return next, n, pieces
}

// State changes nothing: asked again and again, it is the same, and the connection goes on
// as if it had not been asked. What is shared has the same memory in all states.
func TestStateChangesNothing(t *testing.T) {
	block := noise(200_000)
	conns := make(chan Conn, 2)
	e, a := start(t, &hooks{open: func(c Conn) {
		c.Write([]byte("own "))
		c.WriteShared(block)
		c.Write([]byte(" end\n"))
		conns <- c
	}, data: lines}, Options{Loops: 1, SendBuffer: 4 << 10}, "127.0.0.1:0")
	clients := []net.Conn{dial(t, a), dial(t, a)}
	memory := map[*byte]bool{}
	for _, c := range clients {
		conn := <-conns
		_, _ = c.Write([]byte("half"))
		eventually(t, "it has come", func() bool {
			var s ConnState
			conn.Loop().Ask(func() { s, _ = conn.State() })
			return len(s.Input) > 0
		})
		var first, second ConnState
		f := frozen(t, e)
		f.Each(func(*Loop) {
			first, _ = conn.State()
			second, _ = conn.State()
		})
		if a, b := fmt.Sprint(first), fmt.Sprint(second); a != b || first.FD < 0 || string(first.Input) != "half" {
			t.Errorf("State() = %.200s and then %.200s", a, b)
		}
		for i, p := range first.Output {
			if &p[0] != &second.Output[i][0] {
				t.Errorf("piece %d is another memory at the second time", i)
			}
			if len(p) > 1000 {
				memory[&p[:cap(p)][cap(p)-1]] = true
			}
		}
		f.Thaw()
	}
	if len(memory) != 1 {
		t.Errorf("what is shared is in %d pieces of memory, want 1", len(memory))
	}
	for _, c := range clients {
		_, _ = c.Write([]byte(" a line\n"))
		want := append(append([]byte("own "), block...), " end\nhalf a line\n"...)
		if got := readN(t, c, len(want)); !bytes.Equal(got, want) {
			t.Error("something else came than was written")
		}
	}
}

// What is forgotten is not heard of by its poller any more, though its open file lives on;
// an engine that shuts down is done when the last is forgotten.
func TestForget(t *testing.T) {
	conns := make(chan Conn, 3)
	e, a := start(t, &hooks{
		open:  func(c Conn) { c.Write(noise(1 << 20)); conns <- c },
		close: func(Conn, error) { t.Error("Close was called of what is forgotten") },
	}, Options{Loops: 1, SendBuffer: 4 << 10, SoftOutbound: 1000}, "127.0.0.1:0")
	var clients []net.Conn
	var open []Conn
	for range 3 {
		clients = append(clients, dial(t, a))
		open = append(open, <-conns)
	}
	var copies []int
	e.loops[0].Ask(func() {
		open[1].PauseRead()
		for _, c := range open {
			fd, err := unix.FcntlInt(uintptr(c.record().fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
			}
			copies = append(copies, fd)
			c.Forget()
			c.Forget() // it is stale
			c.Write([]byte("x"))
			if _, err := c.State(); !errors.Is(err, ErrStays) {
				t.Errorf("State() = %v of what is forgotten, want ErrStays", err)
			}
		}
	})
	for _, c := range clients {
		_, _ = c.Write([]byte("somebody there?"))
	}
	noSpin(t, e)
	if s := e.Stats(); s.Open != 0 || s.Queued != 0 || s.Moved != 3 || s.Closed != 0 {
		t.Errorf("Stats() = %+v, want that three moved", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	for i, c := range clients { // who is not reset, and has no end
		f := os.NewFile(uintptr(copies[i]), "")
		nc, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if got := string(readN(t, nc, 15)); got != "somebody there?" {
			t.Errorf("%q came by the copy", got)
		}
		go func() { _, _ = nc.Write([]byte("yes")); _ = nc.Close() }()
		if b, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(b, []byte("yes")) {
			t.Errorf("client %d: %d bytes, %v, want an answer by the copy", i, len(b), err)
		}
	}
}

// One that was forgotten while the engine shuts down is not waited for.
func TestForgetWhileDraining(t *testing.T) {
	conns := make(chan Conn, 1)
	h := &finisher{asked: make(chan Conn, 1)}
	h.open = func(c Conn) { c.SetTag(1); conns <- c }
	e, a := start(t, h, Options{Loops: 1}, "127.0.0.1:0")
	dial(t, a)
	c := <-conns
	done := make(chan error, 1)
	go func() { done <- e.Shutdown(context.Background()) }()
	<-h.asked
	c.Loop().Ask(func() { c.Forget() })
	if err := <-done; err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
}

// A connection that ends stays, and its engine sends what is queued for it.
func TestWhatEndsStays(t *testing.T) {
	last := noise(1 << 20)
	conns := make(chan Conn, 1)
	e, a := start(t, &hooks{open: func(c Conn) { conns <- c }}, Options{Loops: 1, SendBuffer: 4 << 10, LingerTimeout: time.Minute}, "127.0.0.1:0")
	c := dial(t, a)
	conn := <-conns
	e.loops[0].Ask(func() {
		conn.WriteShared(last)
		conn.Close()
		if _, err := conn.State(); !errors.Is(err, ErrStays) {
			t.Errorf("State() = %v of what is being closed, want ErrStays", err)
		}
		conn.Forget()
		if !conn.Valid() {
			t.Error("what is being closed was forgotten")
		}
	})
	f := frozen(t, e)
	f.Each(func(l *Loop) {
		for c := range l.Conns() {
			t.Errorf("%v is among those that are open", c)
		}
	})
	f.Thaw()
	if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, last) {
		t.Errorf("%d bytes came, want the %d that were queued", len(b), len(last))
	}
}

// Conns are those that are open, in their order; each may go meanwhile.
func TestConns(t *testing.T) {
	conns := make(chan Conn, 10)
	e, a := start(t, &hooks{open: func(c Conn) { conns <- c }}, Options{Loops: 1}, "127.0.0.1:0")
	var open []Conn
	for range 10 {
		dial(t, a)
		open = append(open, <-conns)
	}
	l := e.loops[0]
	l.Ask(func() {
		open[3].Forget()
		n := 0
		for c := range l.Conns() {
			if n++; c == open[3] {
				t.Error("one is yielded that was forgotten")
			}
			if c == open[5] {
				c.Forget()
			}
			if c == open[8] {
				break
			}
		}
		if n != 8 {
			t.Errorf("%d were yielded, want 8", n)
		}
		last := uint32(0)
		for c := range l.Conns() {
			if c.Key().Slot <= last || !c.Valid() {
				t.Errorf("%v is yielded behind slot %d", c, last)
			}
			last = c.Key().Slot
		}
	})
}

// Whether a peer that owes an answer has taken something is known in the other engine too.
func TestTakingGoesAlong(t *testing.T) {
	for _, takes := range []bool{true, false} {
		conns := make(chan Conn, 1)
		e, a := start(t, &hooks{open: func(c Conn) { c.WriteShared(noise(4 << 20)); conns <- c }}, Options{Loops: 1, SendBuffer: 4 << 10}, "127.0.0.1:0")
		c := dial(t, a)
		conn := <-conns
		l := e.loops[0]
		taken := func() (n int64) {
			l.Ask(func() {
				r := conn.record()
				n = l.exts[r.ext].sent - int64(l.unacknowledged(r))
			})
			return n
		}
		eventually(t, "its buffers are full", func() bool {
			n := 0
			l.Ask(func() { n = l.unacknowledged(conn.record()) })
			return n > 0 && taken() > 0
		})
		before := int64(-1)
		eventually(t, "it takes nothing more", func() bool { n := taken(); same := n == before; before = n; return same })
		l.Ask(func() { conn.Taking() }) // the question
		before = taken()
		if takes {
			readN(t, c, 2<<20)
			eventually(t, "some is taken", func() bool { return taken() > before })
		}
		quieten(t, e, true)
		var s ConnState
		l.Ask(func() { s, _ = conn.Detach() })
		if s.Taking <= 0 {
			t.Fatalf("Detach() = %d of Taking, want some", s.Taking)
		}
		next, err := New(&hooks{}, Options{Loops: 1, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		moved, err := next.loops[0].Attach(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if takes && !moved.Taking() {
			t.Error("a peer that has taken something is said not to have")
		}
		if takes && moved.Taking() {
			t.Error("a peer that takes nothing more is said to")
		}
		if !takes && moved.Taking() {
			t.Error("a peer that has taken nothing is said to have")
		}
		run(t, next)
		_ = c.Close()
		next.loops[0].Ask(func() { moved.Abort() })
	}
}

// What is attached before the engine runs is served when it does, and its time begins then.
func TestAttachedBeforeRun(t *testing.T) {
	const n = 500
	block := noise(1000)
	drained, data := make(chan int, n), make(chan string, n)
	var once sync.Once
	e, err := New(&hooks{
		open:    func(Conn) { t.Error("Open was called") },
		drained: func(c Conn) { drained <- int(c.Tag()) },
		data:    func(c Conn, b []byte) int { data <- string(b); return len(b) },
	}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var peers []net.Conn
	var states []ConnState
	for i := range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(fds[1], true); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fds[0]), "")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		t.Cleanup(func() { _ = c.Close() })
		peers = append(peers, c)
		states = append(states, ConnState{
			FD: fds[1], Key: handle.Key{Slot: uint32(1 + i/2), Gen: 3}, Tag: uint32(i),
			Input: []byte("carried"), Output: [][]byte{block}, Await: true,
		})
	}
	e.base = e.base.Add(-time.Hour) // it was made long ago
	var timer Timer
	fired := make(chan struct{})
	e.loops[0].Schedule(&timer, time.Minute, func() { once.Do(func() { close(fired) }) })
	if allocs := testing.AllocsPerRun(1, func() {
		for i, s := range states {
			if _, err := e.loops[i%2].Attach(s, nil); err != nil && s.FD >= 0 {
				t.Error(err)
			}
			states[i].FD = -1 // the second run has nothing to attach
		}
	}); allocs > 20*n {
		t.Errorf("%v allocations", allocs)
	}
	e.base = e.base.Add(-time.Hour)
	run(t, e)
	for i, c := range peers {
		if got := readN(t, c, len(block)); !bytes.Equal(got, block) {
			t.Fatalf("peer %d got something else than what was queued", i)
		}
		if s := <-data; s != "carried" {
			t.Fatalf("Data was called with %q", s)
		}
		<-drained
	}
	e.loops[0].Ask(func() {
		if left := e.loops[0].Left(&timer); left <= 0 || left > time.Minute {
			t.Errorf("%v are left of a minute that began with Run", left)
		}
		e.loops[0].Schedule(&timer, 0, timer.f)
	})
	<-fired
}

// A state from another process may say anything.
func TestAttachOfWhatIsNoConnection(t *testing.T) {
	e := idleEngine(t, 1)
	l := e.loops[0]
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0) // which block
	if err != nil {
		t.Fatal(err)
	}
	key := handle.Key{Slot: 1, Gen: 1}
	for name, s := range map[string]ConnState{
		"no descriptor":                   {FD: -1, Key: key},
		"a descriptor that there is not":  {FD: 1 << 20, Key: key},
		"a file":                          {FD: int(file.Fd()), Key: key},
		"a socket that is no stream":      {FD: fds[0], Key: key},
		"more begun than there is":        {FD: pair[0], Key: key, Output: [][]byte{[]byte("ab"), []byte("c")}, Begun: 3},
		"something begun, and nothing":    {FD: pair[0], Key: key, Begun: 1},
		"less than nothing begun":         {FD: pair[0], Key: key, Output: [][]byte{[]byte("ab")}, Begun: -1},
		"a slot that there is not":        {FD: pair[0], Key: handle.Key{Slot: handle.MaxSlot + 1, Gen: 1}},
		"a generation that there is not":  {FD: pair[0], Key: handle.Key{Slot: 1, Gen: handle.MaxGen + 1}},
		"slot zero with a generation":     {FD: pair[0], Key: handle.Key{Gen: 1}},
		"a slot in generation zero":       {FD: pair[0], Key: handle.Key{Slot: 1}},
		"a slot at the end of all things": {FD: pair[0], Key: handle.Key{Slot: 1<<32 - 1, Gen: 1<<32 - 1}},
	} {
		l.Ask(func() {
			if c, err := l.Attach(s, nil); err == nil || c != (Conn{}) {
				t.Errorf("%s: Attach() = %v, %v, want an error", name, c, err)
			}
		})
	}
	if n := e.live.Load(); n != 0 {
		t.Errorf("%d connections live", n)
	}
	// One that is odd in what it need not be is a connection.
	l.Ask(func() {
		s := ConnState{FD: pair[0], Key: key, Output: [][]byte{[]byte("a"), nil, {}, []byte("b")}, Begun: 1, Quiet: -time.Hour, Taking: -1}
		if _, err := l.Attach(s, nil); err != nil {
			t.Error(err)
		}
	})
	f := os.NewFile(uintptr(pair[1]), "")
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if got := string(readN(t, c, 2)); got != "ab" {
		t.Errorf("%q came, want what was queued", got)
	}
	l.Ask(func() {}) // it does not wait for input
	_ = c.Close()
	closeFD(int32(fds[0]))
	closeFD(int32(fds[1]))
}
