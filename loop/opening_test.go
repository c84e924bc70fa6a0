package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// preface is an Opener that reads a line like PROXY v1's: "PROXY addr:port\r\n".
type preface struct {
	mu    sync.Mutex
	ended []string
	next  Opener
}

func (p *preface) Begin(Conn) Opening { return p }

func (p *preface) Data(c Conn, b []byte) int {
	if !strings.HasPrefix("PROXY ", string(b[:min(len(b), 6)])) {
		c.Refuse("it has no preface", []byte("no\r\n"))
		return len(b)
	}
	line, _, ok := strings.Cut(string(b), "\r\n")
	if !ok {
		return 0
	}
	addr, err := netip.ParseAddrPort(strings.TrimPrefix(line, "PROXY "))
	if err != nil {
		c.Refuse("its preface is no address", []byte("no\r\n"))
		return len(b)
	}
	c.Opened(Opened{Addr: addr, Next: p.next})
	return len(line) + 2
}

func (p *preface) End(_ Conn, err error) {
	p.mu.Lock()
	p.ended = append(p.ended, err.Error())
	p.mu.Unlock()
}

func TestOpenerReadsAPrefaceAtEverySplit(t *testing.T) {
	for _, addr := range []string{"198.51.100.7:81", "[2001:db8::1]:82"} {
		wire := "PROXY " + addr + "\r\nhello\nworld\n"
		for cut := range len(wire) + 1 {
			var got []string
			s := newSim(&hooks{
				open: func(c Conn) { got = append(got, fmt.Sprint(c.RemoteAddr(), " ", c.Listener())) },
				data: func(c Conn, b []byte) int {
					n := bytes.LastIndexByte(b, '\n') + 1
					got = append(got, string(b[:n]))
					return n
				},
			}, Options{})
			s.Listen(ListenOptions{Opener: &preface{}, Label: 3})
			p := s.Connect(0)
			p.Send([]byte(wire[:cut]))
			p.Send([]byte(wire[cut:]))
			if len(got) < 2 || got[0] != addr+" 3" || strings.Join(got[1:], "") != "hello\nworld\n" {
				t.Fatalf("cut at %d: got %q", cut, got)
			}
			if st := s.e.Stats(); st.Openings != (Openings{Opened: 1}) || st.Open != 1 {
				t.Fatalf("Stats() = %+v, want one opened", st)
			}
			s.Advance(time.Hour) // no deadline is left
			if p.Closed() {
				t.Fatal("it was closed after it was open")
			}
			p.Close()
			if l := s.e.loops[0]; len(l.addrs) != 0 || len(l.openings) != 0 {
				t.Fatal("something is left of it")
			}
			checkGauges(t, s.Engine())
		}
	}
}

func TestOpenerRefuses(t *testing.T) {
	opened := 0
	for _, x := range []struct {
		name  string
		do    func(s *Sim, p *Peer)
		says  string
		want  Openings
		cause string // of the log line; none if it is empty
	}{
		{"garbage", func(_ *Sim, p *Peer) { p.Send([]byte("GET / HTTP/1.1\r\n\r\n")) }, "no\r\n", Openings{Refused: 1}, "it has no preface"},
		{"silence", func(s *Sim, _ *Peer) { s.Advance(time.Minute) }, "", Openings{Late: 1}, "OpeningTimeout"},
		{"a dribble", func(s *Sim, p *Peer) {
			p.Send([]byte("PROXY "))
			for range 100 {
				p.Send([]byte("x"))
				s.Advance(time.Second)
			}
		}, "", Openings{Late: 1}, "OpeningTimeout"},
		{"a flood", func(_ *Sim, p *Peer) { p.Send([]byte("PROXY " + strings.Repeat("x", 2000))) }, "", Openings{TooLong: 1}, "OpeningBytes"},
		{"an end", func(_ *Sim, p *Peer) { p.Send([]byte("PRO")); p.CloseWrite() }, "", Openings{Ended: 1}, ""},
		{"a reset", func(_ *Sim, p *Peer) { p.Reset() }, "", Openings{Ended: 1}, ""},
		{"a shutdown", func(s *Sim, _ *Peer) { s.e.drain(); s.Turn() }, "", Openings{Ended: 1}, ""},
	} {
		var log bytes.Buffer
		s := NewSim(&hooks{open: func(Conn) { opened++ }}, Options{Loops: 1, OpeningBytes: 1000, OpeningTimeout: 20 * time.Second, Logger: logTo(&log)})
		o := &preface{}
		s.Listen(ListenOptions{Opener: o})
		p := s.Connect(0)
		x.do(s, p)
		if got := string(p.Received()); got != x.says || !p.Closed() || len(o.ended) != 1 || opened != 0 {
			t.Errorf("%s: answered %q, closed %v, ended by %q, %d opened", x.name, got, p.Closed(), o.ended, opened)
		}
		if st := s.e.Stats(); st.Openings != x.want {
			t.Errorf("%s: counted %+v, want %+v", x.name, st.Openings, x.want)
		}
		if line := log.String(); (x.cause == "") != (line == "") || !strings.Contains(line, x.cause) {
			t.Errorf("%s: logged %q, want %q", x.name, line, x.cause)
		}
		s.Advance(time.Minute)
		checkGauges(t, s.Engine())
		if n := s.e.opening.Load(); n != 0 {
			t.Errorf("%s: %d are opening, want 0", x.name, n)
		}
	}
}

func TestManyOpenings(t *testing.T) {
	var log bytes.Buffer
	s := NewSim(&hooks{}, Options{Loops: 2, MaxOpening: 3, Logger: logTo(&log)})
	s.Listen(ListenOptions{Opener: &preface{}})
	var peers []*Peer
	for i := range 5 {
		peers = append(peers, s.Connect(i%2))
	}
	if st := s.e.Stats(); st.Openings != (Openings{Now: 3, Full: 2}) || !peers[4].Closed() || peers[2].Closed() {
		t.Errorf("counted %+v, want 3 now and 2 too many", st.Openings)
	}
	if n := strings.Count(log.String(), "MaxOpening"); n != 1 {
		t.Errorf("%d lines name MaxOpening, want 1", n)
	}
	peers[0].Send([]byte("PROXY 192.0.2.1:1\r\n"))
	if s.Connect(0).Closed() {
		t.Error("a place that has become free is not used")
	}
	_ = s.Engine().Shutdown(t.Context())
	checkGauges(t, s.Engine())
}

func TestOpenerThatPanics(t *testing.T) {
	s := newSim(&hooks{}, Options{})
	s.Listen(ListenOptions{Opener: panics{}})
	p := s.Connect(0)
	p.Send([]byte("x"))
	if st := s.e.Stats(); !p.Closed() || st.Panics != 1 || st.Openings.Ended != 1 {
		t.Errorf("Stats() = %+v, closed %v", st, p.Closed())
	}
	checkGauges(t, s.Engine())
}

type panics struct{}

func (p panics) Begin(Conn) Opening  { return p }
func (panics) Data(Conn, []byte) int { panic("data") }
func (panics) End(Conn, error)       {}

// handshakes works on goroutines: it sends a challenge, and opens who answers.
type handshakes struct {
	wg  sync.WaitGroup
	max chan struct{} // bounds how many work
}

func (h *handshakes) Begin(c Conn) Opening {
	c.Write([]byte("hi?"))
	return h
}

func (h *handshakes) Data(c Conn, b []byte) int {
	if len(b) < 3 {
		return 0
	}
	answer, rest := string(b[:3]), bytes.Clone(b[3:])
	c.HoldData(true) // what comes meanwhile waits
	h.wg.Add(1)
	// ends when it has posted what came of it
	go func() {
		defer h.wg.Done()
		h.max <- struct{}{}
		defer func() { <-h.max }()
		c.Loop().Post(TaskFunc(func(*Loop) {
			c.HoldData(false)
			if answer != "hi!" {
				c.Refuse("its handshake is wrong", []byte("bye"))
				return
			}
			c.Opened(Opened{Input: rest})
		}))
	}()
	return len(b)
}

func (h *handshakes) End(Conn, error) {}

func TestOpenerOnGoroutines(t *testing.T) {
	h := &handshakes{max: make(chan struct{}, 2)}
	e, err := New(&hooks{data: echo}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.ListenWith("127.0.0.1:0", ListenOptions{Opener: h})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	var wg sync.WaitGroup
	for i := range 40 {
		c := dial(t, a)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if got := must(readUpTo(c, 3)); got != "hi?" {
				t.Errorf("challenge %q", got)
			}
			switch i % 4 {
			case 0: // goes in the middle
				_, _ = c.Write([]byte("hi!"))
				_ = c.Close()
			case 1:
				_, _ = c.Write([]byte("no!"))
				if got := must(readUpTo(c, 4)); got != "bye" {
					t.Errorf("refused with %q, want bye", got)
				}
			default:
				_, _ = c.Write([]byte("hi!on"))
				_, _ = c.Write([]byte("e"))
				if got := must(readUpTo(c, 3)); got != "one" {
					t.Errorf("echo %q, want one", got)
				}
				_ = c.Close()
			}
		}()
	}
	wg.Wait()
	h.wg.Wait()
	eventually(t, "all have ended", func() bool { return e.live.Load() == 0 })
	if st := e.Stats().Openings; st.Now != 0 || st.Refused != 10 || st.Opened+st.Ended != 30 || e.opening.Load() != 0 {
		t.Errorf("counted %+v, want 10 refused of 40", st)
	}
}

func readUpTo(c net.Conn, n int) (string, error) {
	b := make([]byte, n)
	m, err := io.ReadFull(c, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(b[:m]), err
}

func must(s string, err error) string {
	if err != nil {
		return err.Error()
	}
	return s
}
