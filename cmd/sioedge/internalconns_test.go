package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
)

// fakeListener hands out connections that a test makes.
type fakeListener struct {
	next chan net.Conn
	done chan struct{}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *fakeListener) Close() error   { close(l.done); return nil }
func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{} }

// fakeConn is one end of a pipe with an address.
type fakeConn struct {
	net.Conn
	from string
}

func (c *fakeConn) RemoteAddr() net.Addr {
	if c.from == "" {
		return &net.UnixAddr{Net: "unix"}
	}
	a, _ := net.ResolveTCPAddr("tcp", net.JoinHostPort(c.from, "1"))
	return a
}

// boundsOf returns a listener of four connections whose callers are simulated.
func boundsOf(t *testing.T) (b *bounded, come func(from string) (peer net.Conn), accepted chan *bounding, log *bytes.Buffer) {
	t.Helper()
	ln, log := &fakeListener{make(chan net.Conn), make(chan struct{})}, new(bytes.Buffer)
	limits := internalBounds
	limits.conns = 4
	b = limits.listener(ln, slog.New(slog.NewTextHandler(log, nil)))
	accepted = make(chan *bounding, 20)
	ended := make(chan struct{})
	// ends with the listener
	go func() {
		defer close(ended)
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			accepted <- c.(*bounding)
		}
	}()
	t.Cleanup(func() { _ = b.Close(); <-ended })
	return b, func(from string) net.Conn {
		ours, theirs := net.Pipe()
		ln.next <- &fakeConn{ours, from}
		return theirs
	}, accepted, log
}

// ended tells whether the server has closed a connection: it waits for it.
func ended(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return err == io.EOF
}

// At the bound of all connections the one that has had no request for longest gives way,
// and while all have one, others wait; who has gone leaves its place, once.
func TestInternalListenerBoundsConnections(t *testing.T) {
	b, come, accepted, _ := boundsOf(t)
	var peers []net.Conn
	var conns []*bounding
	for range 4 {
		peers = append(peers, come("127.0.0.1"))
		conns = append(conns, <-accepted)
	}
	conns[0].become(http.StateActive)
	conns[1].become(http.StateActive)
	conns[1].become(http.StateIdle) // has been idle for the shortest
	come("10.0.0.1")
	conns = append(conns, <-accepted)
	if !ended(peers[2]) {
		t.Error("the longest idle one has not given way")
	}
	for _, i := range []int{0, 1, 3, 4} {
		conns[i].become(http.StateActive)
	}
	come("10.0.0.2")
	select {
	case <-accepted:
		t.Error("one too many is accepted")
	default:
	}
	_ = conns[0].Close()
	_ = conns[0].Close()
	late := <-accepted
	b.mu.Lock()
	if b.open != 4 || b.gaveWay != 1 || b.refused != 0 {
		t.Errorf("%d are open, %d gave way, %d are refused, want 4, 1, 0", b.open, b.gaveWay, b.refused)
	}
	b.mu.Unlock()
	come("10.0.0.3") // waits until the one that came last has no request
	late.become(http.StateActive)
	late.become(http.StateIdle)
	last := <-accepted
	for _, c := range append(conns, late, last) {
		_ = c.Close()
	}
	if b.open != 0 || len(b.peers) != 0 || b.idle.Len() != 0 {
		t.Errorf("in the end %d are open, of %d addresses, %d idle", b.open, len(b.peers), b.idle.Len())
	}
}

// One address has half of the connections, beyond which its own longest idle one gives way;
// if none is idle, it is refused, and others are not.
func TestInternalListenerBoundsAnAddress(t *testing.T) {
	b, come, accepted, log := boundsOf(t)
	first := come("2001:db8::1")
	one := <-accepted
	come("2001:db8::2") // of the same network
	two := <-accepted
	come("2001:db8::3")
	three := <-accepted
	if !ended(first) || b.open != 2 {
		t.Errorf("its own longest idle one has not given way: %d are open", b.open)
	}
	_ = one.Close()
	two.become(http.StateActive)
	three.become(http.StateActive)
	if !ended(come("2001:db8::4")) {
		t.Error("it is not refused")
	}
	come("10.0.0.1")
	<-accepted
	come("")
	<-accepted
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != 4 || b.gaveWay != 1 || b.refused != 1 {
		t.Errorf("%d are open, %d gave way, %d are refused, want 4, 1, 1", b.open, b.gaveWay, b.refused)
	}
	if s := log.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, "address=2001:db8::") {
		t.Errorf("the log is\n%s", s)
	}
}

// A connection that is no HTTP's any more leaves its place to others, once, and does not give
// way to them.
func TestInternalListenerForgetsWhatIsTakenOver(t *testing.T) {
	b, come, accepted, _ := boundsOf(t)
	link := come("10.0.0.1")
	taken := <-accepted
	taken.become(http.StateActive)
	taken.become(http.StateHijacked)
	for i := range 5 {
		come("10.0.0." + string(rune('2'+i)))
		(<-accepted).become(http.StateIdle)
	}
	b.mu.Lock()
	if b.open != 4 || b.gaveWay != 1 || len(b.peers) != 4 {
		t.Errorf("%d are open of %d addresses, %d gave way; want 4, 4, 1", b.open, len(b.peers), b.gaveWay)
	}
	b.mu.Unlock()
	go func() { _, _ = taken.Write([]byte("x")) }() // ends when that is read
	if n, err := link.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("who took it over cannot write: %v", err)
	}
	_ = taken.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != 4 {
		t.Errorf("%d are open when it has ended, want 4", b.open)
	}
}

// While a listener is paused who comes waits in its socket, and is accepted afterwards, by
// this process or by another that has the socket.
func TestAPausedListenerAcceptsNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := internalBounds.listener(ln, slog.New(slog.DiscardHandler))
	accepted, ended := make(chan string, 10), make(chan error, 1)
	// ends with the listener
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c.RemoteAddr().String()
			_ = c.Close()
		}
	}()
	come := func() string {
		t.Helper()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.LocalAddr().String()
	}
	if first := come(); <-accepted != first {
		t.Error("another one is accepted")
	}
	b.pause(true)
	other, err := listen.Copy(ln, "copy")
	if err != nil {
		t.Fatal(err)
	}
	successor, err := net.FileListener(other)
	_ = other.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	second := come()
	c, err := successor.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != second {
		t.Errorf("the other process accepts %s, want %s", got, second)
	}
	_ = c.Close()
	third := come()
	b.pause(false)
	if got := <-accepted; got != third {
		t.Errorf("%s is accepted behind the pause, want %s", got, third)
	}
	b.pause(true)
	_ = b.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a paused listener that is closed says %v", err)
	}
}
