package proxyproto

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// records is a Handler that notes who has come and what.
type records struct{ got []string }

func (r *records) Open(c loop.Conn) { r.got = append(r.got, c.RemoteAddr().String()) }
func (r *records) Data(_ loop.Conn, b []byte) int {
	r.got = append(r.got, string(b))
	return len(b)
}
func (r *records) Drained(loop.Conn)      {}
func (r *records) Close(loop.Conn, error) {}

func everybody(netip.Addr) bool { return true }

// simOf returns a simulated engine whose connections go through o.
func simOf(o *Opener, log io.Writer) (*loop.Sim, *records) {
	r := &records{}
	s := loop.NewSim(r, loop.Options{Loops: 1, OpeningTimeout: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))})
	s.Listen(loop.ListenOptions{Opener: o})
	return s, r
}

// A preface may come in any pieces, with anything behind it.
func TestOpener(t *testing.T) {
	for _, x := range []struct{ wire, want string }{
		{"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", "203.0.113.7:4711"},
		{"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 443\r\n", "203.0.113.7:4711"},
		{binaryPreface(1, 0x21, []byte(six)...), "[2001:db8::1]:4711"},
		{"PROXY UNKNOWN\r\n", "192.0.2.1:1"},
		{binaryPreface(0, 0), "192.0.2.1:1"},
		{binaryPreface(1, 0x31, make([]byte, 216)...), "192.0.2.1:1"},
	} {
		wire := x.wire + "hello"
		for cut := range len(wire) + 1 {
			o := New(Options{Trusted: everybody})
			s, r := simOf(o, io.Discard)
			p := s.Connect(0)
			p.Send([]byte(wire[:cut]))
			p.Send([]byte(wire[cut:]))
			if len(r.got) < 2 || r.got[0] != x.want || strings.Join(r.got[1:], "") != "hello" {
				t.Fatalf("%q cut at %d: the handler has %q", x.wire, cut, r.got)
			}
			if st := o.Stats(); st.V1+st.V2 != 1 || st != (Stats{V1: st.V1, V2: st.V2, Local: st.Local}) {
				t.Fatalf("%q: counted %+v", x.wire, st)
			}
		}
	}
}

// Whatever is no preface of a proxy that is trusted is refused, counted by its reason,
// and in the log.
func TestOpenerRefuses(t *testing.T) {
	inside := func(a netip.Addr) bool { return netip.MustParsePrefix("192.0.2.0/24").Contains(a) }
	good := "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"
	for _, x := range []struct {
		name string
		o    Options
		do   func(s *loop.Sim, p *loop.Peer)
		want Stats
		log  string
	}{
		{"a stranger", Options{Trusted: func(netip.Addr) bool { return false }, Hint: ": --trust-proxy"}, send(good), Stats{Untrusted: 1}, "it is no proxy whose preface is believed: --trust-proxy"},
		{"nobody is trusted", Options{}, send(good), Stats{Untrusted: 1}, "it is no proxy"},
		{"HTTP", Options{Trusted: inside}, send("GET / HTTP/1.1\r\n\r\n"), Stats{None: 1}, "it has no preface"},
		{"TLS", Options{Trusted: inside}, send("\x16\x03\x01\x02\x00\x01\x00"), Stats{None: 1}, "it has no preface"},
		{"the other version", Options{Trusted: inside, Version: 2}, send(good), Stats{Version: 1}, "other version"},
		{"the other version, in binary", Options{Trusted: inside, Version: 1}, send("\r\n"), Stats{Version: 1}, "other version"},
		{"a long line", Options{Trusted: inside}, send("PROXY " + strings.Repeat("x", 102)), Stats{TooLong: 1}, "too long"},
		{"many fields", Options{Trusted: inside}, send(binaryPreface(1, 0x11, make([]byte, maxRest+1)...)[:16]), Stats{TooLong: 1}, "too long"},
		{"nonsense", Options{Trusted: inside}, send("PROXY TCP4 a b c d\r\n"), Stats{Malformed: 1}, "malformed"},
		{"a wrong checksum", Options{Trusted: inside}, send(summed(binaryPreface(1, 0x11, []byte(four)...), "", 7)), Stats{Checksum: 1}, "wrong checksum"},
		{"silence", Options{Trusted: inside}, func(s *loop.Sim, _ *loop.Peer) { s.Advance(time.Minute) }, Stats{Late: 1}, "OpeningTimeout"},
		{"a dribble", Options{Trusted: inside}, func(s *loop.Sim, p *loop.Peer) {
			for i := range 30 {
				p.Send([]byte(good[i : i+1]))
				s.Advance(time.Second)
			}
		}, Stats{Late: 1}, "OpeningTimeout"},
		{"an end", Options{Trusted: inside}, func(_ *loop.Sim, p *loop.Peer) { p.Send([]byte(good[:20])); p.CloseWrite() }, Stats{Ended: 1}, ""},
		{"a balancer's look", Options{Trusted: inside}, func(_ *loop.Sim, p *loop.Peer) { p.Close() }, Stats{Ended: 1}, ""},
	} {
		var log bytes.Buffer
		o := New(x.o)
		s, r := simOf(o, &log)
		p := s.Connect(0)
		x.do(s, p)
		if len(r.got) > 0 || o.Stats() != x.want || !p.Closed() {
			t.Errorf("%s: the handler has %q, counted %+v, want %+v, closed: %v", x.name, r.got, o.Stats(), x.want, p.Closed())
		}
		if (x.log == "") != (log.Len() == 0) || !strings.Contains(log.String(), x.log) {
			t.Errorf("%s: the log is %q", x.name, log.String())
		}
		answer := string(p.Received())
		if refused := x.want.Ended+x.want.Late == 0; refused != (answer == string(refusal)) || !refused && answer != "" {
			t.Errorf("%s: it was told %q", x.name, answer)
		}
	}
}

func send(wire string) func(*loop.Sim, *loop.Peer) {
	return func(_ *loop.Sim, p *loop.Peer) { p.Send([]byte(wire)) }
}

// The answer is whole.
func TestRefusalIsHTTP(t *testing.T) {
	_, body, _ := strings.Cut(string(refusal), "\r\n\r\n")
	if len(body) != 32 || !strings.Contains(string(refusal), "Content-Length: 32\r\n") {
		t.Errorf("the body %q has %d bytes", body, len(body))
	}
}

// What is behind the preface is the next opener's, which sees the client's address.
func TestNextOpener(t *testing.T) {
	behind := &second{}
	o := New(Options{Trusted: everybody, Next: behind})
	s, r := simOf(o, io.Discard)
	p := s.Connect(0)
	p.Send([]byte("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\nsecret\nhello"))
	if behind.from != "203.0.113.7:4711" || strings.Join(r.got, " ") != "203.0.113.7:4711 hello" {
		t.Errorf("the next opener was given %q, the handler %q", behind.from, r.got)
	}
	p = s.Connect(0)
	p.Send([]byte("GET / HTTP/1.1\r\n\r\n"))
	if got := p.Received(); len(got) > 0 {
		t.Errorf("where another protocol is spoken, it was told %q", got)
	}
}

// second is an Opener that reads a line.
type second struct{ from string }

func (o *second) Begin(c loop.Conn) loop.Opening { o.from = c.RemoteAddr().String(); return o }
func (o *second) Data(c loop.Conn, b []byte) int {
	n := bytes.IndexByte(b, '\n') + 1
	if n > 0 {
		c.Opened(loop.Opened{})
	}
	return n
}
func (o *second) End(loop.Conn, error) {}

func TestStatsAdd(t *testing.T) {
	one := Stats{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	sum := one
	sum.Add(one)
	if want := (Stats{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}); sum != want {
		t.Errorf("Add makes %+v, want %+v", sum, want)
	}
}
