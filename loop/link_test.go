package loop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"
)

// frames is a link like TLS: the bytes travel in frames of their own (a length
// of two bytes, then the bytes, each changed), which it buffers whole. A frame of
// no bytes is the end; one of 'K' alone has to be answered by the reader by 'k'
// before it writes on.
type frames struct {
	in, plain, out []byte
	ended, asked   bool // the peer has said its end; a write waits for 'k'
	shut, closed   bool
	most           int // bytes of a frame
}

const flip = 0x5a

func frame(p []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(p)))
	for _, c := range p {
		b = append(b, c^flip)
	}
	return b
}

func (k *frames) Read(s Socket, p []byte) (int, error) {
	for len(k.plain) == 0 && !k.ended {
		if len(k.in) >= 2 {
			if n := int(binary.BigEndian.Uint16(k.in)); len(k.in) >= 2+n {
				k.take(s, k.in[2:2+n])
				k.in = k.in[2+n:]
				continue
			}
		}
		var b [700]byte
		n, err := s.Read(b[:])
		if err == io.EOF {
			return 0, io.ErrUnexpectedEOF // without a proper end
		}
		if err != nil {
			return 0, err
		}
		k.in = append(k.in, b[:n]...)
	}
	if len(k.plain) == 0 {
		return 0, io.EOF
	}
	n := copy(p, k.plain)
	k.plain = k.plain[n:]
	return n, nil
}

func (k *frames) take(s Socket, b []byte) {
	p := frame(b)[2:]
	switch {
	case len(p) == 0:
		k.ended = true
	case len(p) == 1 && p[0] == 'K': // a read that has to write
		k.out = append(k.out, frame([]byte("k"))...)
		_ = k.Flush(s)
	case len(p) == 1 && p[0] == 'k':
		k.asked = false
	default:
		k.plain = append(k.plain, p...)
	}
}

func (k *frames) Write(s Socket, p []byte) (int, error) {
	if k.asked { // a write that has to read
		return 0, ErrAgain
	}
	if err := k.Flush(s); err != nil {
		return 0, err
	}
	n := min(len(p), k.most)
	k.out = append(k.out, frame(p[:n])...)
	if err := k.Flush(s); err != nil && err != ErrAgain {
		return 0, err
	}
	return n, nil
}

func (k *frames) Flush(s Socket) error {
	n, err := s.Write(k.out)
	k.out = k.out[n:]
	return err
}

func (k *frames) CloseWrite(s Socket) error {
	if !k.shut {
		k.shut = true
		k.out = append(k.out, 0, 0)
	}
	return k.Flush(s)
}

func (k *frames) Pending() bool {
	n := 0
	if len(k.in) >= 2 {
		n = 2 + int(binary.BigEndian.Uint16(k.in))
	}
	return len(k.plain) > 0 || n > 0 && len(k.in) >= n
}
func (k *frames) Blocked() bool { return len(k.out) > 0 }
func (k *frames) Close()        { k.closed = true }

// framed is an opener that puts frames on each connection.
type framed struct{ last *frames }

func (f *framed) Begin(c Conn) Opening {
	f.last = &frames{most: 1000}
	c.Opened(Opened{Link: f.last})
	return nil
}

// unframe returns what is in frames, and whether their end is.
func unframe(t *testing.T, b []byte) (p []byte, end bool) {
	t.Helper()
	for len(b) > 0 {
		if end || len(b) < 2 {
			t.Fatalf("%d bytes are no frame, or behind the end", len(b))
		}
		n := int(binary.BigEndian.Uint16(b))
		p = append(p, frame(b[2 : 2+n])[2:]...)
		end = n == 0
		b = b[2+n:]
	}
	return p, end
}

func framedSim(h Handler, o Options) (*Sim, *framed) {
	s, f := newSim(h, o), &framed{}
	s.Listen(ListenOptions{Opener: f, Label: 7})
	return s, f
}

func TestLinkAtEverySplit(t *testing.T) {
	wire := append(append(frame([]byte("one\ntw")), frame([]byte("o\n"))...), frame([]byte("K"))...)
	wire = append(append(wire, frame([]byte("three\n"))...), 0, 0)
	for cut := range len(wire) + 1 {
		var reason error
		s, f := framedSim(&hooks{data: lines, close: func(_ Conn, err error) { reason = err }}, Options{})
		p := s.Connect(0)
		p.Send(wire[:cut])
		p.Send(wire[cut:])
		got, end := unframe(t, p.Received())
		if got = bytes.Replace(got, []byte("k"), nil, 1); string(got) != "one\ntwo\nthree\n" || !end {
			t.Fatalf("cut at %d: got %q, ended %v, want the three lines and the end", cut, got, end)
		}
		p.Close()
		s.Advance(time.Minute)
		if reason != io.EOF || !f.last.closed || !p.closed {
			t.Fatalf("cut at %d: closed for %v, link closed %v, want io.EOF and true", cut, reason, f.last.closed)
		}
		checkGauges(t, s.Engine())
	}
}

func TestLinkWithABacklog(t *testing.T) {
	for _, limit := range []int{1, 7, 1500} {
		var conn Conn
		drained := 0
		s, _ := framedSim(&hooks{open: func(c Conn) { conn = c }, drained: func(Conn) { drained++ }}, Options{SoftOutbound: 4000})
		p := s.Connect(0)
		p.Stall(true)
		want := noise(20_000)
		for i := 0; i < len(want); i += 500 {
			conn.WriteShared(want[i : i+500])
			s.Turn()
		}
		if !conn.Slow() {
			t.Fatal("a connection with 20000 bytes queued is not slow")
		}
		p.Limit(limit)
		p.Stall(false)
		if got, _ := unframe(t, p.Received()); !bytes.Equal(got, want) || drained == 0 || conn.Slow() {
			t.Fatalf("limit %d: %d bytes came, want %d as they were; drained %d times", limit, len(got), len(want), drained)
		}
		conn.Write([]byte("bye"))
		conn.Close()
		s.Turn()
		if got, end := unframe(t, p.Received()); string(got) != "bye" || !end || !p.Closed() {
			t.Fatalf("the end is %q, %v, want bye and the end before the socket is shut", got, end)
		}
		s.Advance(time.Minute)
		checkGauges(t, s.Engine())
	}
}

func TestLinkWhosePeerTakesNothingIsSlow(t *testing.T) {
	var reason error
	var conn Conn
	s, _ := framedSim(&hooks{open: func(c Conn) { conn = c }, close: func(_ Conn, err error) { reason = err }},
		Options{SoftOutbound: 4000, SlowAfter: time.Second})
	s.Connect(0).Stall(true)
	conn.WriteShared(noise(20_000))
	s.Advance(10 * time.Second)
	if reason != ErrSlowPeer {
		t.Errorf("closed for %v, want ErrSlowPeer", reason)
	}
	checkGauges(t, s.Engine())
}

// What a link has taken and the socket has not is sent when there is room, on
// whatever loop, though nothing is queued any more.
func TestLinkSendsWhatItKeeps(t *testing.T) {
	for _, moves := range []bool{false, true} {
		var conn Conn
		s, _ := framedSim(&hooks{open: func(c Conn) { conn = c }}, Options{Loops: 2})
		p := s.Connect(0)
		p.Stall(true)
		conn.Write([]byte("hello"))
		s.Turn()
		if moves {
			conn.Move(s.e.loops[1])
			s.Turn()
		}
		p.Stall(false)
		if got, _ := unframe(t, p.Received()); string(got) != "hello" {
			t.Errorf("moves %v: got %q, want hello", moves, got)
		}
		p.Close()
		s.Advance(time.Minute)
		checkGauges(t, s.Engine())
	}
}

// The peer ends its direction while our end waits for room.
func TestLinkWhoseEndIsBlocked(t *testing.T) {
	for _, first := range []bool{true, false} { // the peer ends before we do
		var conn Conn
		s, f := framedSim(&hooks{open: func(c Conn) { conn = c }}, Options{})
		p := s.Connect(0)
		p.Stall(true)
		conn.Write([]byte("bye"))
		s.Turn()
		if !first {
			conn.Close()
			s.Turn()
		}
		p.Send([]byte{0, 0})
		if p.Closed() || f.last.closed {
			t.Fatalf("peer first %v: the link has ended with its output", first)
		}
		p.Take(2)
		p.Stall(false)
		if got, end := unframe(t, p.Received()); string(got) != "bye" || !end || !p.closed || !f.last.closed {
			t.Errorf("peer first %v: got %q, ended %v, closed %v, want bye and all of it", first, got, end, p.closed)
		}
		checkGauges(t, s.Engine())
	}
}

// opens is an Opener of a function.
type opens func(c Conn)

func (f opens) Begin(c Conn) Opening      { f(c); return f }
func (f opens) Data(_ Conn, b []byte) int { return 0 }
func (f opens) End(Conn, error)           {}

// What an opener has written is sent as it is, and what comes meanwhile is the
// link's; pauses and the tag are the opener's own.
func TestWhatAnOpenerWritesDoesNotGoThroughTheLink(t *testing.T) {
	var got, tag = "", uint32(9)
	s := newSim(&hooks{open: func(c Conn) { tag = c.Tag() }, data: func(c Conn, b []byte) int {
		got += string(b)
		c.Write(b)
		return len(b)
	}}, Options{SoftOutbound: 1000})
	raw := noise(5000)
	s.Listen(ListenOptions{Opener: opens(func(c Conn) {
		c.SetTag(7)
		c.PauseRead()
		c.HoldData(true)
		c.Write(raw)
		c.Opened(Opened{Link: &frames{most: 1000}})
	})})
	p := stalledPeer(s)
	p.Send(frame([]byte("hello")))
	for range 4 {
		p.Take(1000)
	}
	if got != "" || tag != 9 {
		t.Fatalf("it is open before what the opener wrote is sent: %q", got)
	}
	p.Take(5000)
	b := p.Received()
	if !bytes.Equal(b[:5000], raw) {
		t.Fatal("what the opener wrote has not come as it was")
	}
	if back, _ := unframe(t, b[5000:]); got != "hello" || string(back) != "hello" || tag != 0 {
		t.Errorf("data %q, answer %q, tag %d, want hello, hello and 0", got, back, tag)
	}
	p.Close()
	s.Advance(time.Minute)
	checkGauges(t, s.Engine())
}

func TestOpenerThatLeavesInputOfItsLink(t *testing.T) {
	var k frames
	opened := 0
	s := newSim(&hooks{open: func(Conn) { opened++ }}, Options{})
	s.Listen(ListenOptions{Opener: leaves{&k}})
	p := s.Connect(0)
	p.Send([]byte("abc"))
	if !p.Closed() || !k.closed || opened != 0 {
		t.Errorf("closed %v, link closed %v, %d opened, want both closed and none", p.Closed(), k.closed, opened)
	}
	checkGauges(t, s.Engine())
}

// stalledPeer is Sim.Connect of a peer that has taken nothing yet.
func stalledPeer(s *Sim) (p *Peer) {
	s.e.loops[0].Post(TaskFunc(func(*Loop) { p = s.Connect(0); p.stalled = true }))
	s.Turn()
	return p
}

type leaves struct{ k *frames }

func (o leaves) Begin(Conn) Opening { return o }
func (o leaves) Data(c Conn, b []byte) int {
	if !c.Opened(Opened{Link: o.k}) || c.Opened(Opened{}) {
		panic("Opened is true once")
	}
	return 1
}
func (leaves) End(Conn, error) {}

// A write that waits for input does not ask for room, which would be there all
// the time, and goes on when the input has come.
func TestLinkWhoseWriteWantsInput(t *testing.T) {
	var conn Conn
	s, f := framedSim(&hooks{open: func(c Conn) { conn = c }}, Options{})
	p := s.Connect(0)
	f.last.asked = true
	conn.Write([]byte("later"))
	s.Turn()
	if got := p.Received(); len(got) > 0 || p.want&wantWrite != 0 {
		t.Fatalf("%q was sent, and room is asked for: %v", got, p.want&wantWrite != 0)
	}
	p.Send(frame([]byte("k")))
	p.Send(frame([]byte("x")))
	if got, _ := unframe(t, p.Received()); string(got) != "later" {
		t.Errorf("%q was sent, want later", got)
	}
}

// What a link keeps readable comes though its socket has nothing more.
func TestLinkKeepsInputWhileReadingIsPaused(t *testing.T) {
	var got []byte
	var conn Conn
	s, _ := framedSim(&hooks{open: func(c Conn) { conn = c }, data: func(c Conn, b []byte) int {
		got = append(got, b...)
		c.PauseRead()
		return len(b)
	}}, Options{ReadBuffer: 8})
	p := s.Connect(0)
	want := noise(300)
	p.Send(frame(want))
	for range 100 {
		conn.ResumeRead()
		s.Turn()
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came", len(got), len(want))
	}
}

func TestLinkThatFails(t *testing.T) {
	var reason error
	s, _ := framedSim(&hooks{close: func(_ Conn, err error) { reason = err }}, Options{})
	p := s.Connect(0)
	p.Send([]byte{0, 9, 1}) // half a frame
	p.CloseWrite()
	if reason != io.ErrUnexpectedEOF || !p.closed {
		t.Errorf("closed for %v, want io.ErrUnexpectedEOF", reason)
	}
	if st := s.e.Stats(); st.Closes.Failed != 1 {
		t.Errorf("Stats() = %+v, want one failed", st)
	}
	f := &framed{}
	s.Listen(ListenOptions{Opener: f})
	p = s.Connect(0)
	f.last.most = -1 // panics
	s.e.loops[0].Ask(func() { s.e.loops[0].conn(1).Write([]byte("x")) })
	s.Turn()
	if !p.closed || s.e.Stats().Panics != 1 {
		t.Errorf("a link has panicked: closed %v, %d panics, want true and 1", p.closed, s.e.Stats().Panics)
	}
	checkGauges(t, s.Engine())
}

// Over real sockets, with moves between loops while both directions are busy.
func TestLinkOverSocketsMoves(t *testing.T) {
	moves := 0
	h := &hooks{data: func(c Conn, b []byte) int {
		c.Write(b)
		if moves++; moves%3 == 0 {
			if l := c.Loop(); !c.Move(l.Engine().Loops()[1-l.Index()]) {
				panic("it does not move")
			}
		}
		return len(b)
	}}
	e, err := New(h, Options{Loops: 2, Logger: quiet, SoftOutbound: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.ListenWith("127.0.0.1:0", ListenOptions{Opener: shared1000{}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	c := dial(t, a)
	want := noise(1 << 20)
	go func() {
		for i := 0; i < len(want); i += 1 << 10 {
			if _, err := c.Write(frame(want[i : i+1<<10])); err != nil {
				return
			}
		}
		_, _ = c.Write([]byte{0, 0})
	}()
	wire, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, end := unframe(t, wire); !bytes.Equal(got, want) || !end {
		t.Errorf("%d bytes came back, ended %v, want %d and the end", len(got), end, len(want))
	}
}

// shared1000 is framed without a memory, for several loops.
type shared1000 struct{}

func (shared1000) Begin(c Conn) Opening {
	c.Opened(Opened{Link: &frames{most: 1000}})
	return nil
}

// mux is a handler of connections that carry streams: a byte names the stream,
// the next how many bytes follow, which are its; none is its end. Other
// connections are the streams, and go to h.
type mux struct {
	h       hooks
	streams map[byte]*stream
	outer   Conn
}

type stream struct {
	m           *mux
	id          byte
	c           Conn
	in          []byte
	read, write bool
	ended, shut bool
	closed      bool
	room        int
}

func (m *mux) Open(c Conn) {
	if c.Listener() == 9 {
		m.h.Open(c)
	} else {
		m.outer = c
	}
}

func (m *mux) Data(c Conn, b []byte) (n int) {
	if c != m.outer {
		return m.h.Data(c, b)
	}
	for len(b)-n >= 2 && len(b)-n >= 2+int(b[n+1]) {
		id, p := b[n], b[n+2:n+2+int(b[n+1])]
		n += 2 + len(p)
		s := m.streams[id]
		if s == nil {
			s = &stream{m: m, id: id, room: 1 << 30}
			m.streams[id] = s
			if !c.Loop().OpenStream(s, netip.MustParseAddrPort("192.0.2.9:9"), 9) {
				panic("no stream")
			}
		}
		s.in = append(s.in, p...)
		s.ended = s.ended || len(p) == 0
		if s.read {
			s.c.Ready()
		}
	}
	return n
}

func (m *mux) Drained(c Conn)          { m.h.Drained(c) }
func (m *mux) Close(c Conn, err error) { m.h.Close(c, err) }

func (s *stream) Want(c Conn, read, write bool) {
	s.c, s.read, s.write = c, read, write
	if read && (len(s.in) > 0 || s.ended) || write && s.room > 0 {
		c.Ready()
	}
}
func (s *stream) Read(_ Socket, p []byte) (int, error) {
	n := copy(p, s.in)
	s.in = s.in[n:]
	switch {
	case n > 0:
		return n, nil
	case s.ended:
		return 0, io.EOF
	}
	return 0, ErrAgain
}
func (s *stream) Write(_ Socket, p []byte) (int, error) {
	n := min(len(p), 200, s.room)
	if n == 0 {
		return 0, ErrAgain
	}
	s.room -= n
	s.m.outer.Write(append([]byte{s.id, byte(n)}, p[:n]...))
	return n, nil
}
func (s *stream) CloseWrite(Socket) error {
	s.shut = true
	s.m.outer.Write([]byte{s.id, 0})
	return nil
}
func (s *stream) Flush(Socket) error         { return nil }
func (s *stream) Pending() bool              { return len(s.in) > 0 || s.ended }
func (s *stream) Blocked() bool              { return false }
func (s *stream) Close()                     { s.closed = true; delete(s.m.streams, s.id) }
func (s *stream) Unacknowledged() int        { return 0 }
func (s *stream) Ended() (reset, ended bool) { return false, s.ended }
func (s *stream) more(n int)                 { s.room += n; s.c.Ready() }

// demux takes what came of streams apart.
func demux(t *testing.T, b []byte) (got map[byte]string, ended map[byte]bool) {
	got, ended = map[byte]string{}, map[byte]bool{}
	for len(b) > 0 {
		n := int(b[1])
		if ended[b[0]] {
			t.Fatalf("stream %d has something behind its end", b[0])
		}
		got[b[0]] += string(b[2 : 2+n])
		ended[b[0]] = n == 0
		b = b[2+n:]
	}
	return got, ended
}

func TestStreamsWithinAConnection(t *testing.T) {
	wire := []byte("\x01\x05one\ntwo"[:2+5] + "\x02\x04abc\n" + "\x01\x03wo\n" + "\x01\x00" + "\x02\x02d\n" + "\x02\x00")
	for cut := range len(wire) + 1 {
		reasons := fmt.Sprint()
		m := &mux{streams: map[byte]*stream{}, h: hooks{data: lines, close: func(c Conn, err error) {
			if c.RemoteAddr().Port() == 9 && !c.Move(c.Loop()) {
				reasons += err.Error() + " "
			}
		}}}
		s := newSim(m, Options{})
		p := s.Connect(0)
		p.Send(wire[:cut])
		p.Send(wire[cut:])
		got, ended := demux(t, p.Received())
		if got[1] != "one\ntwo\n" || got[2] != "abc\nd\n" || !ended[1] || !ended[2] {
			t.Fatalf("cut at %d: got %q, ended %v", cut, got, ended)
		}
		if reasons != "EOF EOF " || len(m.streams) != 0 {
			t.Fatalf("cut at %d: streams ended by %q, %d are left", cut, reasons, len(m.streams))
		}
		p.Close()
		checkGauges(t, s.Engine())
		if n := s.e.live.Load(); n != 0 {
			t.Fatalf("%d are live", n)
		}
	}
}

func TestAStreamWithABacklog(t *testing.T) {
	var conn Conn
	var reason error
	m := &mux{streams: map[byte]*stream{}, h: hooks{open: func(c Conn) { conn = c }, close: func(c Conn, err error) {
		if c == conn {
			reason = err
		}
	}}}
	s := newSim(m, Options{SoftOutbound: 1000, SlowAfter: time.Second, Loops: 2})
	p := s.Connect(0)
	p.Send([]byte("\x05\x01x"))
	st := m.streams[5]
	st.room = 0
	want := noise(5000)
	conn.Write(want)
	s.Turn()
	if !conn.Slow() || conn.Move(s.e.loops[1]) {
		t.Fatal("a stream with a backlog is not slow, or moves")
	}
	for range 5 {
		st.more(1000)
		s.Turn()
	}
	if got, _ := demux(t, p.Received()); got[5] != string(want) || conn.Slow() {
		t.Fatalf("%d of %d bytes came, slow %v", len(got[5]), len(want), conn.Slow())
	}
	st.room = 0
	conn.Write(want)
	s.Advance(10 * time.Second)
	if !errors.Is(reason, ErrSlowPeer) || !st.closed {
		t.Errorf("closed for %v, want ErrSlowPeer", reason)
	}
	checkStreams(t, s)
}

func checkStreams(t *testing.T, s *Sim) {
	t.Helper()
	_ = s.Engine().Shutdown(t.Context())
	checkGauges(t, s.Engine())
	if n := s.e.live.Load(); n != 0 {
		t.Errorf("%d are live, want 0", n)
	}
}

// A stream that ends waits for its peer's end for LingerTimeout, as a socket.
func TestAStreamLingers(t *testing.T) {
	m := &mux{streams: map[byte]*stream{}, h: hooks{data: func(c Conn, b []byte) int { c.Write(b); c.Close(); return len(b) }}}
	s := newSim(m, Options{})
	p := s.Connect(0)
	p.Send([]byte("\x03\x02hi\x04\x02ho"))
	if got, ended := demux(t, p.Received()); got[3] != "hi" || !ended[3] || got[4] != "ho" || len(m.streams) != 2 {
		t.Fatalf("got %q, ended %v, %d streams, want both answered and lingering", got, ended, len(m.streams))
	}
	p.Send([]byte("\x03\x00"))
	if len(m.streams) != 1 {
		t.Errorf("%d streams are left, want that which has not ended", len(m.streams))
	}
	s.Advance(time.Minute)
	if len(m.streams) != 0 {
		t.Errorf("%d streams are left after LingerTimeout", len(m.streams))
	}
	checkStreams(t, s)
}
