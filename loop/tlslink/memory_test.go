package tlslink

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"github.com/sioedge/sioedge/loop"
)

// What is known of crypto/tls beyond its documentation. It is known of Go 1.26; another
// version that this fails with needs a look at memory.go and link.go.
func TestWhatIsKnownOfCryptoTLS(t *testing.T) {
	if rawInput == 0 || handInput == 0 {
		t.Fatalf("%s: a tls.Conn has no rawInput or hand that is a bytes.Buffer: connections keep what records have come in", runtime.Version())
	}
	config := serverConfig(t)
	o := newOpener(t, config)
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		messages := [][]byte{[]byte("x"), noise(16 << 10), noise(100), noise(50_000), []byte("y")}
		h := &hooks{data: func(c loop.Conn, b []byte) int {
			c.Write(b)
			return len(b)
		}}
		var k *Link
		h.open = func(c loop.Conn) { k = c.Link().(*Link) }
		empty := func(when string) {
			raw, hand := k.field(rawInput), k.field(handInput)
			if raw.Cap() != 0 || hand.Cap() != 0 || k.out != nil || k.shake != nil || k.lent {
				t.Errorf("%x, %s: %d and %d bytes are kept", v, when, raw.Cap(), hand.Cap())
			}
		}
		// What came before an error that is temporary is not lost: pieces of one byte.
		pump(t, h, o, 1000, 0, func(w *simWire) {
			cc := clientConfig()
			cc.MaxVersion = v
			c := tls.Client(w, cc)
			for _, m := range messages {
				go func() { _, _ = c.Write(m) }()
				got := make([]byte, len(m))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, m) {
					t.Errorf("%x: %v", v, err)
					return
				}
			}
		})
		empty("in the end")
	}
}

// With a tls.Conn of which nothing is known all works, and only takes more memory.
func TestWithoutWhatIsKnown(t *testing.T) {
	raw, hand := rawInput, handInput
	rawInput, handInput = 0, 0
	defer func() { rawInput, handInput = raw, hand }()
	TestInPieces(t)
	TestOverSockets(t)
}

// Messages cost no allocations once the handshake is done.
func TestWriteAllocatesNothing(t *testing.T) {
	p := make([]byte, 64)
	n := make(chan float64, 1)
	h := &hooks{data: func(c loop.Conn, b []byte) int {
		k := c.Link().(*Link)
		n <- testing.AllocsPerRun(100, func() { // which the socket has room for
			if m, err := k.Write(k.sock, p); m != len(p) || err != nil {
				t.Error(m, err)
			}
		})
		return len(b)
	}}
	_, a := listen(t, h, newOpener(t, serverConfig(t)), loop.Options{Loops: 1})
	c := tls.Client(dial(t, a), clientConfig())
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n := <-n; n >= 1 && !raced { // with the race detector, pools lose what they have
		t.Errorf("a message allocates %v times", n)
	}
}

var _ net.Conn = (*wire)(nil)

// What a connection has beside its tls.Conn fits a small size of the allocator's.
func TestLinkIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Link{}); n > 96 {
		t.Errorf("a Link has %d bytes, want at most 96", n)
	}
}
