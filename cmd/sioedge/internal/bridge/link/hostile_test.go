package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// masked returns a frame as a client sends it.
func masked(op ws.OpCode, fin bool, p []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, p)))
}

func TestWhatBreaksTheProtocolEndsTheSession(t *testing.T) {
	batch := func(ack uint64, messages ...[]byte) []byte {
		return masked(ws.OpBinary, true, append(wire.AppendBatch(nil, ack, len(messages)), bytes.Join(messages, nil)...))
	}
	data := wire.AppendData(nil, 1, []byte("{}"))
	claim := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<40)
	for _, c := range []struct {
		name   string
		send   []byte
		status ws.StatusCode
	}{
		{"garbage", masked(ws.OpBinary, true, []byte("\xc1garbage")), ws.StatusInvalidFramePayloadData},
		{"an empty message", masked(ws.OpBinary, true, nil), ws.StatusInvalidFramePayloadData},
		{"more messages than bytes", masked(ws.OpBinary, true, []byte{0xdd, 0xff, 0xff, 0xff, 0xff, 0}), ws.StatusInvalidFramePayloadData},
		{"a text message", masked(ws.OpText, true, []byte("[0]")), ws.StatusUnsupportedData},
		{"a frame that is not masked", ws.MustCompileFrame(ws.NewBinaryFrame([]byte{0x91, 0})), ws.StatusProtocolError},
		{"reserved bits", append([]byte{0xc2}, batch(0, data)[1:]...), ws.StatusProtocolError},
		{"an opcode that nobody knows", append([]byte{0x83}, batch(0, data)[1:]...), ws.StatusProtocolError},
		{"a continuation of nothing", masked(ws.OpContinuation, true, nil), ws.StatusProtocolError},
		{"a message within a message", append(masked(ws.OpBinary, false, nil), batch(0, data)...), ws.StatusProtocolError},
		{"a ping in fragments", masked(ws.OpPing, false, nil), ws.StatusProtocolError},
		{"a long ping", masked(ws.OpPing, true, make([]byte, 126)), ws.StatusProtocolError},
		{"a length with its highest bit", append(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<63), 0, 0, 0, 0), ws.StatusProtocolError},
		{"a close frame with a wrong code", masked(ws.OpClose, true, []byte{0, 1}), ws.StatusProtocolError},
		{"a message that is too long", masked(ws.OpBinary, true, make([]byte, 100_001)), ws.StatusMessageTooBig},
		{"a message that is said to be long", append(claim, 0, 0, 0, 0), ws.StatusMessageTooBig},
		{"fragments that are too long", append(masked(ws.OpBinary, false, make([]byte, 60_000)), masked(ws.OpContinuation, true, make([]byte, 60_000))...), ws.StatusMessageTooBig},
		{"more worked off than was sent", batch(1), ws.StatusPolicyViolation},
		{"far more worked off", batch(1 << 52), ws.StatusPolicyViolation},
		{"a message of the edge's", batch(0, wire.AppendDrained(nil)), ws.StatusPolicyViolation},
		{"a second hello", masked(ws.OpBinary, true, helloOf("p", "", 0, 1)), ws.StatusPolicyViolation},
		{"a member that is missing", batch(0, []byte{0x91, byte(wire.KindAccept)}), ws.StatusPolicyViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, Options{MaxMessage: 100_000, Grace: time.Hour})
			p, w := e.connect(helloOf("p", "", 0, 1<<20))
			// What is as it should be is handled before.
			if _, err := p.Write(append(batch(0, data), c.send...)); err != nil {
				t.Fatal(err)
			}
			if code, status, _ := p.farewell(t); code != wire.CodeProtocol || status != c.status {
				t.Errorf("the end: %q, %d, want %d", code, status, c.status)
			}
			if why := e.hub.endedBy(t, 1); !strings.HasPrefix(why, wire.CodeProtocol) || len(e.hub.got) != 1 {
				t.Errorf("it ended: %s, after %v", why, e.hub.got)
			}
			if tot := e.Totals(); tot.Broken != 1 || !strings.Contains(e.log.String(), "breaks the protocol") || !strings.Contains(e.log.String(), "bridges.") {
				t.Errorf("counted: %+v, logged: %s", tot, e.log)
			}
			if _, w := e.connect(helloOf("p", w.Session, 0, 1<<20)); w.Resumed {
				t.Error("the session goes on")
			}
		})
	}
}

// Fragments, with control frames between, are one message.
func TestFragments(t *testing.T) {
	e := newEdge(t, Options{Timeout: time.Hour})
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	b := wire.AppendData(wire.AppendBatch(nil, 0, 1), 1, []byte("whole"))
	var all []byte
	for i, x := range b {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpBinary
		}
		all = append(all, masked(op, i == len(b)-1, []byte{x})...)
		all = append(all, masked(ws.OpPing, true, []byte{byte(i)})...)
	}
	// The ack of what is behind in the same bytes is not waited for.
	all = append(all, masked(ws.OpBinary, true, b)...)
	all = append(all, masked(ws.OpBinary, true, wire.AppendBatch(nil, 0, 0))...)
	if _, err := p.Write(all); err != nil {
		t.Fatal(err)
	}
	_ = p.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		got, err := p.batch()
		if err != nil {
			t.Fatal(err)
		}
		if ack, _, _ := messages(got); ack == 2 {
			break
		}
	}
	if fmt.Sprint(e.hub.got) != "[whole whole]" {
		t.Errorf("handled: %v", e.hub.got)
	}
}

func TestWrongCountsEndTheSession(t *testing.T) {
	for _, c := range []struct {
		name     string
		received uint64
	}{{"more than was sent", 3}, {"fewer than were worked off", 0}} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, Options{Grace: time.Hour})
			p, w := e.connect(helloOf("p", "", 0, 1<<20))
			s := e.hub.session(t)
			for i := range 2 {
				event(s, i, false, "[]")
				if _, err := p.batch(); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.write(ws.OpBinary, wire.AppendBatch(nil, 1, 0)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "one worked off", func() bool { return e.hub.is(func() bool { return len(e.hub.worked) == 1 }) })
			q, err := dial(e.addr)
			if err != nil {
				t.Fatal(err)
			}
			if err := q.write(ws.OpBinary, helloOf("p", w.Session, c.received, 1<<20)); err != nil {
				t.Fatal(err)
			}
			if code, status, _ := q.farewell(t); code != wire.CodeProtocol || status != ws.StatusPolicyViolation {
				t.Errorf("the end: %q, %d", code, status)
			}
			if why := e.hub.endedBy(t, 1); why != wire.CodeProtocol || fmt.Sprint(e.hub.unworked) != "[1]" || e.Totals().Broken != 1 {
				t.Errorf("it ended: %s, %v came back", why, e.hub.unworked)
			}
		})
	}
}

func TestHelloIsWrong(t *testing.T) {
	hello := helloOf("p", "", 0, 1)
	other := wire.AppendHello(wire.AppendBatch(nil, 0, 1), &wire.Hello{Version: 2, UID: "p", Window: 1})
	for _, c := range []struct {
		name string
		send []byte
		code string
	}{
		{"none", masked(ws.OpBinary, true, wire.AppendBatch(nil, 0, 0)), wire.CodeProtocol},
		{"garbage", masked(ws.OpBinary, true, []byte("{}")), wire.CodeProtocol},
		{"another message", masked(ws.OpBinary, true, wire.AppendDraining(wire.AppendBatch(nil, 0, 1))), wire.CodeProtocol},
		{"more behind it", masked(ws.OpBinary, true, append(append([]byte{0x93}, hello[1:]...), 0x91, byte(wire.KindDraining))), wire.CodeProtocol},
		{"another version", masked(ws.OpBinary, true, other), wire.CodeProtocol},
		{"too long", masked(ws.OpBinary, true, make([]byte, maxHello+1)), wire.CodeProtocol},
		{"the handler refuses it", masked(ws.OpBinary, true, helloOf("unwanted", "", 0, 1)), wire.CodeUnknown},
		{"the handler has an error", masked(ws.OpBinary, true, helloOf("wrong", "", 0, 1)), wire.CodeProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, Options{})
			e.hub.onNew = func(_ *Session, h *wire.Hello) error {
				switch h.UID {
				case "unwanted":
					return &Refusal{wire.CodeUnknown, "no such bridge"}
				case "wrong":
					return errors.New("namespaces are not as they should be")
				}
				return nil
			}
			p, err := dial(e.addr)
			if err != nil {
				t.Fatal(err)
			}
			// ends when all is written, or the connection is closed
			go func() { _, _ = p.Write(c.send) }()
			if code, _, _ := p.farewell(t); code != c.code {
				t.Errorf("the end: %q", code)
			}
			if tot := e.Totals(); tot.Refused != 1 || tot.Sessions != 0 {
				t.Errorf("counted: %+v", tot)
			}
		})
	}
}

func TestHandshakeIsWrong(t *testing.T) {
	e := newEdge(t, Options{})
	for _, c := range []struct {
		name, method string
		header       map[string]string
		detail       string
	}{
		{"plain HTTP", "GET", nil, "WebSocket"},
		{"POST", "POST", map[string]string{"Upgrade": "websocket"}, "WebSocket"},
		{"no subprotocol", "GET", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}, wire.Subprotocol},
		{"another subprotocol", "GET", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": "sioedge-bridge.2, x"}, wire.Subprotocol},
	} {
		req, err := http.NewRequest(c.method, "http://"+e.addr+"/bridge", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 400 || res.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(body), c.detail) {
			t.Errorf("%s: %d, %s", c.name, res.StatusCode, body)
		}
	}
	if n := e.Totals().Refused; n != 4 {
		t.Errorf("%d are counted", n)
	}
}

// Who dials and says nothing, or a bit now and then, is let go.
func TestSlowHello(t *testing.T) {
	e := newEdge(t, Options{Timeout: 100 * time.Millisecond})
	silent, err := dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	// ends with the connection
	go func() {
		for _, b := range masked(ws.OpBinary, true, make([]byte, 1<<16)) {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for _, p := range []*peer{silent, slow} {
		_ = p.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := p.batch(); err == nil || isTimeout(err) {
			t.Errorf("it is not let go: %v", err)
		}
		_ = p.Close()
	}
	if n := e.Totals().Refused; n != 2 {
		t.Errorf("%d are counted", n)
	}
}

// A process that stands still, with its connection open, is let go in time, and its items
// come back; one that answers pings and says nothing else is not.
func TestStandingStill(t *testing.T) {
	e := newEdge(t, Options{Timeout: 2 * time.Second, Grace: 10 * time.Millisecond})
	still, _ := e.connect(helloOf("still", "", 0, 1<<20))
	s := e.hub.session(t)
	event(s, "kept", false, "[]")
	alive, _ := e.connect(helloOf("alive", "", 0, 1<<20))
	// ends with the connection
	go func() {
		for {
			if _, err := alive.batch(); err != nil {
				return
			}
		}
	}()
	if why := e.hub.endedBy(t, 1); why != Absent || !s.Over() || fmt.Sprint(e.hub.unworked) != "[kept]" {
		t.Errorf("it ended: %s, %v came back", why, e.hub.unworked)
	}
	if tot := e.Totals(); tot.Hung != 1 || tot.Cut != 1 || !strings.Contains(e.log.String(), "bridges.*.timeout") {
		t.Errorf("counted: %+v, logged: %s", tot, e.log)
	}
	if len(e.hub.sessions) != 2 || e.hub.sessions[1].Over() {
		t.Error("the process that answers pings is let go")
	}
	_ = still.Close()
}

// A message that comes a byte now and then, in a frame or in many, is not waited for.
func TestTrickle(t *testing.T) {
	for name, b := range map[string][]byte{
		"in one frame": masked(ws.OpBinary, true, make([]byte, 1<<16)),
		"in fragments": append(masked(ws.OpBinary, false, []byte{0x91}), bytes.Repeat(masked(ws.OpContinuation, false, []byte{0}), 1<<14)...),
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Options{Timeout: 200 * time.Millisecond, Grace: 10 * time.Millisecond})
			p, _ := e.connect(helloOf("p", "", 0, 1<<20))
			// ends with the connection
			go func() {
				for _, x := range b {
					if _, err := p.Write([]byte{x}); err != nil {
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
			if why := e.hub.endedBy(t, 1); why != Absent || e.Totals().Hung != 1 {
				t.Errorf("it ended: %s, %+v", why, e.Totals())
			}
		})
	}
}

// A process that never reads, but sends, is let go: what is written to it stands still.
func TestProcessThatNeverReads(t *testing.T) {
	e := newEdge(t, Options{Timeout: 300 * time.Millisecond, Grace: 10 * time.Millisecond, Window: 64 << 10, Queue: 64 << 10})
	// One batch may be under way whatever its size, and this one is more than the kernel takes.
	long, n := make([]byte, 32<<20), 0
	e.hub.onNew = func(s *Session, _ *wire.Hello) error {
		s.Put("long", false, func(dst []byte) []byte { return wire.AppendEvent(dst, 1, wire.None, long, nil) })
		for event(s, nil, false, "[]") && n < 100_000 {
			n++
		}
		return nil
	}
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	// ends with the connection
	go func() {
		for p.write(ws.OpPing, nil) == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if why := e.hub.endedBy(t, 1); why != Absent || fmt.Sprint(e.hub.unworked) != "[long]" {
		t.Errorf("it ended: %s, %v came back", why, e.hub.unworked)
	}
	if tot := e.Totals(); tot.Hung != 1 || n == 100_000 {
		t.Errorf("counted: %+v; behind a message that fills the queue there was room for %d", tot, n)
	}
}

// A process that sends more than its window lets it, without a look at what it is told,
// breaks the protocol.
func TestProcessIgnoresItsWindow(t *testing.T) {
	e := newEdge(t, Options{Timeout: time.Minute, Grace: time.Hour, Window: 64 << 10, MaxMessage: 64 << 10})
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	event(s, nil, false, string(make([]byte, 32<<20))) // so that it cannot be told
	eventually(t, "a batch under way", func() bool { return s.Stats().Unacked > 0 })
	b := wire.AppendData(wire.AppendBatch(nil, 0, 1), 1, make([]byte, 60_000))
	n := 0
	for p.write(ws.OpBinary, b) == nil {
		if n++; n > 1000 {
			t.Fatal("it may send what it will")
		}
	}
	if why := e.hub.endedBy(t, 1); !strings.Contains(why, "window") {
		t.Errorf("it ended: %s", why)
	}
}

// An error of the handler ends the session.
func TestHandlerRefusesAMessage(t *testing.T) {
	e := newEdge(t, Options{Grace: time.Hour})
	e.hub.onMessage = func(*Session, *wire.Message) error { return errors.New("json is not as it should be") }
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	if err := p.write(ws.OpBinary, wire.AppendData(wire.AppendBatch(nil, 0, 1), 1, nil)); err != nil {
		t.Fatal(err)
	}
	if err := p.write(ws.OpBinary, wire.AppendData(wire.AppendBatch(nil, 0, 1), 1, []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	if code, status, _ := p.farewell(t); code != wire.CodeProtocol || status != ws.StatusPolicyViolation {
		t.Errorf("the end: %q, %d", code, status)
	}
	if why := e.hub.endedBy(t, 1); !strings.Contains(why, "json") {
		t.Errorf("it ended: %s", why)
	}
}

// A process that does not ack has so many batches under way at most, however short.
func TestShortBatchesAreBounded(t *testing.T) {
	var o outbox
	taken := 0
	for i := range 3 * maxBatches {
		o.put(i, func(dst []byte) []byte { return wire.AppendDrained(dst) })
		if b, _ := o.take(1 << 30); b != nil {
			o.wrote()
			taken++
		}
	}
	if taken != maxBatches || len(o.batches()) > maxBatches+1 {
		t.Errorf("%d are under way of %d", taken, len(o.batches()))
	}
	items, ok := o.ack(maxBatches, nil)
	if !ok || len(items) != maxBatches {
		t.Fatalf("%d are worked off", len(items))
	}
	for {
		b, _ := o.take(1 << 30)
		if b == nil {
			break
		}
		items = append(items, b.items...)
		o.wrote()
	}
	for i, x := range items {
		if x != i {
			t.Fatalf("item %v is number %d", x, i)
		}
	}
	if len(items) != 3*maxBatches {
		t.Errorf("%d items of %d", len(items), 3*maxBatches)
	}
}

// What a header claims is not allocated before it comes.
func TestClaimedLengthIsNotAllocated(t *testing.T) {
	claim := append(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<30), 0, 0, 0, 0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if _, err := over(bytes.NewReader(claim)).message(1 << 30); err == nil {
			t.Error("it is whole")
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 10; n > 4*chunk {
		t.Errorf("%d bytes are allocated", n)
	}
}

// over returns a connection that reads from r.
func over(r io.Reader) *conn {
	here, _ := net.Pipe()
	return &conn{Conn: here, o: &Options{Timeout: time.Hour}, r: bufio.NewReader(r), wakes: make(chan struct{}, 1)}
}

// Whatever comes is read the same in pieces as whole, within the bound, without a panic.
func FuzzMessages(f *testing.F) {
	f.Add(masked(ws.OpBinary, true, []byte("hello")))
	f.Add(append(masked(ws.OpBinary, false, make([]byte, 200)), masked(ws.OpContinuation, true, make([]byte, 300))...))
	f.Add(append(masked(ws.OpPing, true, []byte("x")), masked(ws.OpClose, true, []byte{3, 232})...))
	f.Add(masked(ws.OpText, true, nil))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1000
		read := func(r io.Reader) (all []string) {
			for c := over(r); ; {
				m, err := c.message(most)
				if err != nil {
					return append(all, err.Error())
				}
				if len(m) > most {
					t.Fatalf("a message has %d bytes", len(m))
				}
				all = append(all, string(m))
			}
		}
		whole, pieces := read(bytes.NewReader(b)), read(oneByOne{bytes.NewReader(b)})
		if fmt.Sprintf("%q", whole) != fmt.Sprintf("%q", pieces) {
			t.Fatalf("whole %q, in pieces %q", whole, pieces)
		}
	})
}

type oneByOne struct{ io.Reader }

func (r oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }
