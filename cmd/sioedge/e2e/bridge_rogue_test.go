//go:build interop

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/wsframe"
)

// A rogueLink is one end of a link, for what no package would send.
type rogueLink struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader

	reading bool
	dead    bool // answers no ping
	mu      sync.Mutex
	silent  bool   // works nothing off
	batches uint64 // of the edge, that were worked off
	socks   []uint64
	conns   []uint64
	let     int // of socks, that were let in by admit
	events  int
	ending  string // code of what the edge said last
	code    int    // of its close; 0: none yet
	closed  chan struct{}
}

// knock asks for a link, and returns what comes of it: the status, and if that is 101 the
// link, from which nothing was read.
func knock(t *testing.T, addr, target, key string, fields ...string) (int, *rogueLink) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	request := "GET " + target + " HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if key != "" {
		request += "Authorization: Bearer " + key + "\r\n"
	}
	if len(fields) == 0 {
		fields = []string{"Sec-WebSocket-Protocol: " + wire.Subprotocol}
	}
	for _, f := range fields {
		request += f + "\r\n"
	}
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	l := &rogueLink{t: t, conn: c, in: bufio.NewReader(c), closed: make(chan struct{})}
	t.Cleanup(func() {
		_ = c.Close()
		if l.reading {
			<-l.closed
		}
	})
	res, err := http.ReadResponse(l.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, l
}

// linkTo opens a link, and says hello.
func linkTo(t *testing.T, addr, name, key string, h *wire.Hello) *rogueLink {
	t.Helper()
	status, l := knock(t, addr, "/bridge?name="+name, key)
	if status != 101 {
		t.Fatalf("a link is answered with %d", status)
	}
	if h != nil {
		l.batch(wire.AppendHello(nil, h))
	}
	return l
}

// rogueHello is what a process says first that has the handlers of a namespace.
func rogueHello(uid, nsp string) *wire.Hello {
	return &wire.Hello{Version: wire.Version, UID: uid, Window: 1 << 20, Namespaces: []string{nsp}, Package: "0", SocketIO: "4"}
}

// frame sends a frame. What it cannot write since the link has ended is not said.
func (l *rogueLink) frame(op wsframe.Op, payload []byte) bool {
	_ = l.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := l.conn.Write(wsframe.AppendMaskedFrame(nil, op, payload, [4]byte{1, 2, 3, 4}))
	return err == nil
}

// batch sends messages.
func (l *rogueLink) batch(messages ...[]byte) bool {
	l.mu.Lock()
	b := wire.AppendBatch(nil, l.batches, len(messages))
	l.mu.Unlock()
	for _, m := range messages {
		b = append(b, m...)
	}
	return l.frame(wsframe.Binary, b)
}

// read works off what comes until the link ends.
func (l *rogueLink) read() {
	l.reading = true
	go func() { // ends with the link
		defer close(l.closed)
		for {
			op, payload, err := l.next()
			if err != nil {
				return
			}
			switch op {
			case wsframe.Ping:
				if !l.dead {
					l.frame(wsframe.Pong, payload)
				}
			case wsframe.Close:
				l.mu.Lock()
				if len(payload) >= 2 {
					l.code = int(payload[0])<<8 | int(payload[1])
				}
				l.mu.Unlock()
				_ = l.conn.Close()
				return
			case wsframe.Binary:
				l.take(payload)
				if !l.silent {
					l.batch() // says what was worked off
				}
			}
		}
	}()
}

// next reads a frame.
func (l *rogueLink) next() (wsframe.Op, []byte, error) {
	head := make([]byte, 0, wsframe.MaxHeader)
	for {
		b, err := l.in.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		head = append(head, b)
		h, n, err := wsframe.ParseHeader(head)
		if err != nil {
			return 0, nil, err
		}
		if n == 0 {
			continue
		}
		payload := make([]byte, h.Length)
		_, err = io.ReadFull(l.in, payload)
		return h.Op, payload, err
	}
}

// take notes what a batch says.
func (l *rogueLink) take(b []byte) {
	_, r, err := wire.ParseBatch(b, wire.Edge)
	if err != nil {
		l.t.Errorf("the edge says %x: %v", b, err)
		return
	}
	counted := r.Len() > 0
	var m wire.Message
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		ok, err := r.Next(&m)
		if err != nil {
			l.t.Errorf("the edge says %x: %v", b, err)
		}
		if !ok {
			break
		}
		switch m.Kind {
		case wire.KindWelcome:
			counted = false
		case wire.KindConnection:
			l.conns = append(l.conns, m.Conn)
		case wire.KindSocket:
			l.socks = append(l.socks, m.Sock)
		case wire.KindEvent:
			l.events++
		case wire.KindEnding:
			l.ending = string(m.Code)
		}
	}
	if counted && !l.silent {
		l.batches++
	}
}

// ends waits for the end of the link, and returns how the edge ends it.
func (l *rogueLink) ends() string {
	l.t.Helper()
	select {
	case <-l.closed:
	case <-time.After(patience):
		l.t.Fatal("the edge does not end the link")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.code, " ", l.ending)
}

// admit lets in all that want to, and greets them.
func (l *rogueLink) admit() {
	l.mu.Lock()
	all := l.socks[l.let:]
	l.let = len(l.socks)
	l.mu.Unlock()
	for _, s := range all {
		l.batch(wire.AppendAccept(nil, s), wire.AppendEmit(nil, s, 0, wire.None, []byte(`["hello"]`), nil))
	}
}

// sockets waits until it was given so many.
func (l *rogueLink) sockets(n int) []uint64 {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("that a process is given %d sockets", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.socks) >= n
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]uint64{}, l.socks...)
}
