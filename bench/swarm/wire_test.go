package swarm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// splits calls f with b cut at every position.
func splits(b []byte, f func(head, tail []byte)) {
	for i := range len(b) + 1 {
		f(b[:i], b[i:])
	}
}

func serverFrame(first byte, p []byte) []byte {
	b := []byte{first}
	switch n := len(p); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, p...)
}

func TestParseFrame(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want frame
		n    int
		bad  bool
	}{
		{name: "empty", b: nil},
		{name: "one byte tells nothing", b: []byte{0x81}},
		{name: "short text", b: []byte{0x81, 5, 'h'}, want: frame{true, opText, 5}, n: 2},
		{name: "first fragment", b: []byte{0x01, 0}, want: frame{false, opText, 0}, n: 2},
		{name: "16-bit length", b: []byte{0x82, 126, 1, 2}, want: frame{true, opBinary, 258}, n: 4},
		{name: "16-bit length cut", b: []byte{0x82, 126, 1}},
		{name: "64-bit length", b: []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, want: frame{true, opBinary, 65536}, n: 10},
		{name: "64-bit length cut", b: []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0}},
		{name: "length beyond all reason", b: []byte{0x82, 127, 0xff, 0, 0, 0, 0, 1, 0, 0}, bad: true},
		{name: "masked by the server", b: []byte{0x81, 0x85}, bad: true},
		{name: "reserved bit", b: []byte{0xc1, 5}, bad: true},
		{name: "reserved opcode", b: []byte{0x83, 5}, bad: true},
		{name: "fragmented ping", b: []byte{0x09, 5}, bad: true},
		{name: "long close", b: []byte{0x88, 126, 0, 126}, bad: true},
	} {
		f, n, err := parseFrame(c.b)
		if c.bad != (err != nil) {
			t.Errorf("%s: parseFrame(% x) = %v, want an error: %v", c.name, c.b, err, c.bad)
		}
		if n != c.n || (n > 0 && f != c.want) {
			t.Errorf("%s: parseFrame(% x) = %+v, %d, want %+v, %d", c.name, c.b, f, n, c.want, c.n)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte{0x81, 126, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, n, err := parseFrame(b)
		if n > len(b) || (n > 0 && err != nil) {
			t.Fatalf("parseFrame(% x) = %d, %v, more than there is", b, n, err)
		}
		splits(b[:min(len(b), 16)], func(head, _ []byte) {
			if _, k, early := parseFrame(head); k > 0 && k != n || early != nil && err == nil {
				t.Fatalf("parseFrame(% x) = %d, %v, whole it is %d, %v", head, k, early, n, err)
			}
		})
	})
}

func TestAppendMasked(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 9, 125, 126, 65535, 65536} {
		p := bytes.Repeat([]byte("abcdefghijk"), size/11+1)[:size]
		b := appendMasked(nil, opText, 0x04030201, p)
		if b[0] != 0x81 || b[1]&0x80 == 0 {
			t.Fatalf("appendMasked(%d B) begins % x, want a final masked text frame", size, b[:2])
		}
		b[1] &^= 0x80
		_, n, err := parseFrame(b)
		if err != nil || n == 0 {
			t.Fatalf("parseFrame(appendMasked(%d B)) = %d, %v", size, n, err)
		}
		if !bytes.Equal(b[n:n+4], []byte{1, 2, 3, 4}) {
			t.Fatalf("key = % x, want 01 02 03 04", b[n:n+4])
		}
		got := b[n+4:]
		for i := range got {
			got[i] ^= b[n : n+4][i&3]
		}
		if !bytes.Equal(got, p) {
			t.Fatalf("appendMasked(%d B) unmasked differs", size)
		}
	}
}

// The example of RFC 6455, 1.3.
func TestAcceptFor(t *testing.T) {
	if got, want := acceptFor("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("acceptFor = %q, want %q", got, want)
	}
}

func TestParseUpgrade(t *testing.T) {
	good := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-accept:  abc \r\n\r\n"
	splits([]byte(good+"rest"), func(head, _ []byte) {
		want := len(good)
		if len(head) < want {
			want = 0
		}
		if n, err := parseUpgrade(head, "abc"); n != want || err != nil {
			t.Fatalf("parseUpgrade(%q) = %d, %v, want %d", head, n, err, want)
		}
	})
	for _, bad := range []string{
		"HTTP/1.1 503 Busy\r\n\r\n",
		"HTTP/1.0 101 Switching Protocols\r\nSec-WebSocket-Accept: abc\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abcd\r\n\r\n",
		strings.Repeat("x", 17<<10),
	} {
		if n, err := parseUpgrade([]byte(bad), "abc"); err == nil {
			t.Errorf("parseUpgrade(%.60q) = %d, nil, want an error", bad, n)
		}
	}
}

func TestStamp(t *testing.T) {
	want := stamp{run: 0xfedc, publisher: 7, room: 0xffff, seq: 0xdeadbeef, at: 1_732_176_969_123_456_789}
	b := appendStamp(nil, want)
	if len(b) != stampSize {
		t.Fatalf("appendStamp is %d B, want %d", len(b), stampSize)
	}
	if got, ok := parseStamp(b); !ok || got != want {
		t.Errorf("parseStamp(%s) = %+v, %v, want %+v", b, got, ok, want)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] = 'X'
		if got, ok := parseStamp(damaged); ok {
			t.Errorf("parseStamp(%s) = %+v, want damage noticed", damaged, got)
		}
		if _, ok := parseStamp(b[:i]); ok {
			t.Errorf("parseStamp(%s) accepts %d B", b[:i], i)
		}
	}
}

func testWire(nsp string, size int) *wire {
	return newWire(Config{URL: "ws://127.0.0.1:1/", Namespace: nsp, Size: size}, 42)
}

func TestMessageHasTheSizeAskedFor(t *testing.T) {
	for _, nsp := range []string{"/", "/chat"} {
		for _, size := range []int{64, 512, 100_000} {
			w := testWire(nsp, size)
			s := stamp{publisher: 1, room: 2, seq: 3, at: 4, run: 42}
			publish := string(w.appendPublish(nil, "room", s))
			_, payload, ok := strings.Cut(publish, `["publish","room",`)
			if !ok {
				t.Fatalf("appendPublish = %.60q", publish)
			}
			msg := []byte(string(w.msg[:len(w.msg)-1]) + payload)
			if len(msg) != size {
				t.Errorf("msg packet for size %d in %s is %d B", size, nsp, len(msg))
			}
			if got, ok := w.parseMsg(msg); !ok || got != s {
				t.Errorf("parseMsg(%.80q) = %+v, %v, want %+v", msg, got, ok, s)
			}
			if echo := w.appendEcho(nil, s); len(echo) != size {
				t.Errorf("echo of size %d in %s is %d B", size, nsp, len(echo))
			}
		}
	}
}

func TestParseMsgRefuses(t *testing.T) {
	w := testWire("/", 64)
	good := append(w.appendPayload(bytes.Clone(w.msg), stamp{}, len(w.msg)+2), `"]`...)
	if _, ok := w.parseMsg(good); !ok {
		t.Fatalf("parseMsg(%q) refused", good)
	}
	other := testWire("/", 64)
	other.run = 43
	withOffset := append(bytes.Clone(good[:len(good)-1]), `,"~abcd-------1"]`...)
	if _, ok := w.parseMsg(withOffset); !ok {
		t.Errorf("parseMsg(%q) refused", withOffset)
	}
	if _, ok := other.parseMsg(good); ok {
		t.Error("parseMsg accepts a message of another run")
	}
	for _, bad := range [][]byte{good[:63], append(bytes.Clone(good), 'x'), append(bytes.Clone(good[:63]), 'x')} {
		if _, ok := w.parseMsg(bad); ok {
			t.Errorf("parseMsg(%q) accepted", bad)
		}
	}
}

func TestParseAck(t *testing.T) {
	for _, c := range []struct {
		nsp, packet string
		id          uint32
		args        string
		ok          bool
	}{
		{"/", `430[true]`, 0, `[true]`, true},
		{"/", `4312["a[b]"]`, 12, `["a[b]"]`, true},
		{"/chat", `43/chat,7[]`, 7, `[]`, true},
		{"/", `43[1]`, 0, ``, false},
		{"/", `43`, 0, ``, false},
		{"/", `4399999999999[]`, 0, ``, false},
		{"/", `431[`, 0, ``, false},
	} {
		id, args, ok := testWire(c.nsp, 64).parseAck([]byte(c.packet))
		if ok != c.ok || (ok && (id != c.id || string(args) != c.args)) {
			t.Errorf("parseAck(%s) = %d, %s, %v, want %d, %s, %v", c.packet, id, args, ok, c.id, c.args, c.ok)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	w := testWire("/", 64)
	p := append(w.appendPayload(bytes.Clone(w.msg), stamp{}, len(w.msg)+2), `"]`...)
	l := newLedger(1)
	seq := uint32(0)
	if n := testing.AllocsPerRun(100, func() {
		if s, ok := w.parseMsg(p); !ok || s.seq != 0 {
			t.Fatal("parseMsg failed")
		}
		l.observe(0, seq)
		seq++
	}); n != 0 {
		t.Errorf("reading a message allocates %v times, want 0", n)
	}
}
