package loop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	mathbig "math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Here crypto/tls is driven through the seams as they are: a handshake on a
// goroutine behind an Opener, then the loop itself, over a net.Conn whose Read says
// that there is nothing now.

// tlsOpener is an Opener that runs TLS handshakes, as many at a time as slots has
// room for.
type tlsOpener struct {
	config *tls.Config
	slots  chan struct{}
	wg     sync.WaitGroup
}

func newTLSOpener(t testing.TB) *tlsOpener {
	o := &tlsOpener{config: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}, slots: make(chan struct{}, 4)}
	t.Cleanup(o.wg.Wait) // no goroutine stays
	return o
}

func (o *tlsOpener) Begin(c Conn) Opening {
	w := &tlsWire{c: c}
	w.came.L = &w.mu
	k := &tlsLink{wire: w, tc: tls.Server(w, o.config)}
	w.shaking = true
	o.wg.Add(1)
	// ends with the handshake, which ends with the connection
	go func() {
		defer o.wg.Done()
		o.slots <- struct{}{}
		defer func() { <-o.slots }()
		err := k.tc.Handshake()
		c.Loop().Post(TaskFunc(func(*Loop) {
			w.shaking = false
			if err != nil {
				c.Refuse("its TLS handshake failed", nil)
				return
			}
			c.Opened(Opened{Link: k})
		}))
	}()
	return w
}

// tlsWire is the net.Conn below a tls.Conn.
type tlsWire struct {
	c       Conn
	shaking bool // on a goroutine, which reads and posts what it writes

	mu   sync.Mutex
	came sync.Cond
	in   []byte // came while shaking
	gone bool   // while shaking

	// On the loop.
	s   Socket
	dry bool   // it had nothing more, in this call
	out []byte // that the socket has not taken
}

func (w *tlsWire) Data(c Conn, b []byte) int {
	c.PauseRead() // until the handshake wants more
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in = append(w.in, b...)
	w.came.Signal()
	return len(b)
}

func (w *tlsWire) End(Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	w.came.Signal()
}

// notNow is what the tls.Conn survives.
type notNow struct{ error }

func (notNow) Timeout() bool   { return true }
func (notNow) Temporary() bool { return true }

var errNotNow = &notNow{ErrAgain}

func (w *tlsWire) Read(p []byte) (int, error) {
	if w.shaking {
		w.mu.Lock()
		defer w.mu.Unlock()
		for len(w.in) == 0 && !w.gone {
			w.c.Loop().Post(TaskFunc(func(*Loop) { w.c.ResumeRead() }))
			w.came.Wait()
		}
		if w.gone {
			return 0, net.ErrClosed
		}
	}
	if len(w.in) > 0 {
		n := copy(p, w.in)
		w.in = w.in[n:]
		return n, nil
	}
	if w.dry {
		return 0, errNotNow
	}
	n, err := w.s.Read(p)
	w.dry = n < len(p)
	if err == ErrAgain {
		return 0, errNotNow
	}
	return n, err
}

func (w *tlsWire) Write(p []byte) (int, error) {
	if w.shaking {
		p = bytes.Clone(p)
		w.c.Loop().Post(TaskFunc(func(*Loop) { w.c.Write(p) }))
	} else {
		w.out = append(w.out, p...)
	}
	return len(p), nil
}

func (w *tlsWire) flush(s Socket) error {
	n, err := s.Write(w.out)
	if w.out = w.out[n:]; len(w.out) == 0 {
		w.out = nil
	}
	return err
}

func (*tlsWire) Close() error                     { return nil }
func (*tlsWire) LocalAddr() net.Addr              { return nil }
func (*tlsWire) RemoteAddr() net.Addr             { return nil }
func (*tlsWire) SetDeadline(time.Time) error      { return nil }
func (*tlsWire) SetReadDeadline(time.Time) error  { return nil }
func (*tlsWire) SetWriteDeadline(time.Time) error { return nil }

// tlsLink is the Link of a tls.Conn.
type tlsLink struct {
	tc   *tls.Conn
	wire *tlsWire
	full bool  // the last Read filled what it was given
	err  error // Read is to return
	shut bool
}

func (k *tlsLink) Read(s Socket, p []byte) (n int, err error) {
	k.wire.s, k.wire.dry = s, false
	for n < len(p) && k.err == nil {
		m, err := k.tc.Read(p[n:])
		n += m
		if errors.Is(err, error(errNotNow)) {
			break
		}
		k.err = err
	}
	if len(k.wire.out) > 0 { // an alert, or a key update that was asked for
		if err := k.wire.flush(s); err != nil && err != ErrAgain {
			k.err = errors.Join(k.err, err)
		}
	}
	k.full = n == len(p)
	switch {
	case n > 0:
		return n, nil
	case k.err != nil:
		return 0, k.err
	}
	return 0, ErrAgain
}

func (k *tlsLink) Write(s Socket, p []byte) (int, error) {
	if err := k.wire.flush(s); err != nil {
		return 0, err
	}
	n, err := k.tc.Write(p[:min(len(p), 16<<10)])
	if err != nil {
		return 0, err
	}
	if err := k.wire.flush(s); err != nil && err != ErrAgain {
		return 0, err
	}
	return n, nil
}

func (k *tlsLink) CloseWrite(s Socket) error {
	if !k.shut {
		k.shut = true
		if err := k.tc.CloseWrite(); err != nil {
			return err
		}
	}
	return k.wire.flush(s)
}

func (k *tlsLink) Flush(s Socket) error { return k.wire.flush(s) }
func (k *tlsLink) Pending() bool        { return k.full || k.err != nil }
func (k *tlsLink) Blocked() bool        { return len(k.wire.out) > 0 }
func (k *tlsLink) Close()               {}

// certificate returns one for localhost.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: mathbig.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func clientConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8), ServerName: "localhost"}
}

// listenTLS starts an engine behind o.
func listenTLS(t *testing.T, h Handler, o Opener, lo Options) (*Engine, net.Addr) {
	t.Helper()
	lo.Logger = quiet
	e, err := New(h, lo)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.ListenWith("127.0.0.1:0", ListenOptions{Opener: o})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	return e, a
}

// simWire is a client's net.Conn to a Sim, whose goroutine turns in pump.
type simWire struct {
	tlsWire // for what it does not do
	toSim   chan []byte
	mu      sync.Mutex
	came    sync.Cond
	in      []byte
	end     bool
}

func (w *simWire) Write(p []byte) (int, error) { w.toSim <- bytes.Clone(p); return len(p), nil }
func (w *simWire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.in) == 0 && !w.end {
		w.came.Wait()
	}
	n := copy(p, w.in)
	if w.in = w.in[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// pump carries bytes between a Sim and a client on a goroutine: in pieces of in
// bytes to the Sim, and of out bytes, each after a full stop, to the client; 0 for
// all at once.
func pump(t *testing.T, h Handler, o Options, op Opener, in, out int, client func(w *simWire)) *Sim {
	t.Helper()
	s := newSim(h, o)
	posted := make(chan struct{}, 1)
	s.Share(func() {
		select {
		case posted <- struct{}{}:
		default:
		}
	})
	s.Listen(ListenOptions{Opener: op})
	p := s.Connect(0)
	w := &simWire{toSim: make(chan []byte)}
	w.came.L = &w.mu
	done := make(chan struct{})
	// ends with the client
	go func() { defer close(done); client(w) }()
	p.Stall(out > 0)
	for open := true; open; {
		select {
		case b := <-w.toSim:
			for piece := range chunks(b, in) {
				p.Send(piece)
			}
		case <-posted:
			s.Turn()
		case <-done:
			open = false
		}
		for more := true; more; {
			p.Take(out)
			got := p.Received()
			w.mu.Lock()
			w.in, w.end = append(w.in, got...), p.Closed()
			w.mu.Unlock()
			w.came.Signal()
			more = len(got) > 0 && out > 0
		}
	}
	p.Close()
	s.Advance(time.Minute)
	checkGauges(t, s.Engine())
	if n := s.e.live.Load(); n != 0 {
		t.Errorf("%d are live, want 0", n)
	}
	return s
}

// chunks yields pieces of n bytes of b; 0 is all at once.
func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for n > 0 && len(b) > n && yield(b[:n]) {
			b = b[n:]
		}
		yield(b)
	}
}

func TestTLSInPieces(t *testing.T) {
	o := newTLSOpener(t)
	want := noise(20_000)
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range [][2]int{{0, 0}, {1, 0}, {0, 3}, {7, 100}, {1400, 1400}} {
			config := clientConfig()
			config.MaxVersion = v
			var reason error
			h := &hooks{data: echo, close: func(_ Conn, err error) { reason = err }}
			pump(t, h, Options{}, o, cut[0], cut[1], func(w *simWire) {
				c := tls.Client(w, config)
				go func() {
					_, _ = c.Write(want)
					_ = c.CloseWrite()
				}()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("version %x, cut %v: %d bytes came back, %v, want %d", v, cut, len(got), err, len(want))
				}
			})
			if reason != io.EOF {
				t.Errorf("version %x, cut %v: closed for %v, want io.EOF", v, cut, reason)
			}
		}
	}
}

// The handler closes: what it wrote and close_notify come, however slowly the peer
// takes them, also when it has ended before.
func TestTLSEnds(t *testing.T) {
	o := newTLSOpener(t)
	bye := noise(5_000)
	for _, out := range []int{0, 1, 1000} {
		for _, first := range []bool{true, false} { // the client has ended its direction
			h := &hooks{data: func(c Conn, b []byte) int {
				c.WriteShared(bye)
				c.Close()
				return len(b)
			}}
			pump(t, h, Options{}, o, 3, out, func(w *simWire) {
				c := tls.Client(w, clientConfig())
				_, _ = c.Write([]byte("x"))
				if first {
					_ = c.CloseWrite()
				}
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, bye) {
					t.Errorf("%d at a time: %d bytes, %v, want %d and the end", out, len(got), err, len(bye))
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if len(w.in) > 0 {
					t.Errorf("%d bytes are behind close_notify", len(w.in))
				}
			})
		}
	}
}

// A key update that asks for one has a read write, behind output that is blocked.
func TestTLSKeyUpdate(t *testing.T) {
	for _, out := range []int{0, 3, 100} {
		var log bytes.Buffer
		config := clientConfig()
		config.KeyLogWriter, config.MinVersion = &log, tls.VersionTLS13
		large := noise(20_000)
		h := &hooks{data: func(c Conn, b []byte) int {
			c.Write(b)
			c.WriteShared(large)
			return len(b)
		}}
		pump(t, h, Options{}, newTLSOpener(t), 0, out, func(w *simWire) {
			c := tls.Client(w, config)
			if err := c.Handshake(); err != nil {
				t.Error(err)
				return
			}
			seal := sealer(t, log.String(), c.ConnectionState().CipherSuite)
			const keyUpdate = "\x18\x00\x00\x01\x01" // update_requested, RFC 8446, 4.6.3
			for _, x := range []string{"one", "two", "three"} {
				_, _ = w.Write(append(seal([]byte(x), 23, false), seal([]byte(keyUpdate), 22, true)...))
				b := make([]byte, len(x)+len(large))
				if _, err := io.ReadFull(c, b); err != nil || string(b[:len(x)]) != x || !bytes.Equal(b[len(x):], large) {
					t.Errorf("%d at a time, %s: %.10q, %v", out, x, b, err)
					return
				}
			}
		})
	}
}

// sealer returns what makes a record of the client's, and then updates its key.
func sealer(t *testing.T, log string, suite uint16) func(p []byte, kind byte, update bool) []byte {
	if suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("this machine's cipher is another")
	}
	_, line, _ := strings.Cut(log, "CLIENT_TRAFFIC_SECRET_0 ")
	_, text, _ := strings.Cut(line, " ")
	secret, err := hex.DecodeString(strings.TrimSpace(strings.SplitN(text, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	expand := func(label string, n int) []byte { // RFC 8446, 7.1
		info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(len("tls13 "+label)))
		b, err := hkdf.Expand(sha256.New, secret, string(append(append(info, "tls13 "+label...), 0)), n)
		if err != nil {
			panic(err)
		}
		return b
	}
	seq := uint64(0)
	return func(p []byte, kind byte, update bool) []byte {
		block, _ := aes.NewCipher(expand("key", 16))
		gcm, _ := cipher.NewGCM(block)
		nonce := expand("iv", 12)
		for i := range 8 {
			nonce[4+i] ^= byte(seq >> (56 - 8*i))
		}
		seq++
		head := []byte{23, 3, 3, 0, byte(len(p) + 17)}
		b := gcm.Seal(head, nonce, append(bytes.Clone(p), kind), head)
		if update {
			secret, seq = expand("traffic upd", 32), 0
		}
		return b
	}
}

// Over sockets: much in both directions at once, with moves between loops, short
// buffers, and sessions that are resumed.
func TestTLSOverSockets(t *testing.T) {
	var pieces atomic.Int64
	h := &hooks{data: func(c Conn, b []byte) int {
		c.Write(b)
		if pieces.Add(1)%5 == 0 {
			c.Move(c.Loop().Engine().Loops()[1-c.Loop().Index()])
		}
		return len(b)
	}}
	e, a := listenTLS(t, h, newTLSOpener(t), Options{Loops: 2, SendBuffer: 4 << 10, SoftOutbound: 32 << 10, LingerTimeout: time.Minute})
	config := clientConfig()
	var wg sync.WaitGroup
	resumed := 0
	for round := range 2 {
		for i := range 8 {
			c := tls.Client(dial(t, a), config)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			if c.ConnectionState().DidResume {
				resumed++
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				want := noise(512<<10 + i + round)
				go func() { _, _ = c.Write(want); _ = c.CloseWrite() }()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes came back, %v, want %d", len(got), err, len(want))
				}
			}()
		}
		wg.Wait()
	}
	if st := e.Stats(); resumed == 0 || st.Openings.Opened != 16 || st.Panics != 0 {
		t.Errorf("%d sessions were resumed, Stats() = %+v, want some and 16 opened", resumed, st)
	}
}

// A client says all that it has to say, and ends its direction, before anybody has
// looked at it.
func TestTLSClientThatEndsAtOnce(t *testing.T) {
	o := newTLSOpener(t)
	_, a := listenTLS(t, &hooks{data: echo}, o, Options{Loops: 1})
	for range 20 {
		raw := dial(t, a)
		c := tls.Client(raw, clientConfig())
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		_ = raw.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
			t.Fatalf("ReadAll() = %q, %v, want hello", got, err)
		}
	}
}

// A preface, and then TLS.
func TestTLSBehindAPreface(t *testing.T) {
	var from, version string
	h := &hooks{open: func(c Conn) {
		from = c.RemoteAddr().String()
		version = tls.VersionName(c.Link().(*tlsLink).tc.ConnectionState().Version)
	}, data: echo}
	for _, cut := range []int{1, 0} {
		pump(t, h, Options{}, &preface{next: newTLSOpener(t)}, cut, 0, func(w *simWire) {
			w.toSim <- []byte("PROXY 198.51.100.7:81\r\n")
			c := tls.Client(w, clientConfig())
			_, _ = c.Write([]byte("hello"))
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Error(err)
			}
		})
		if from != "198.51.100.7:81" || version != "TLS 1.3" {
			t.Errorf("opened from %s with %s", from, version)
		}
	}
}

func TestTLSThatIsNone(t *testing.T) {
	s := pump(t, &hooks{}, Options{}, newTLSOpener(t), 0, 0, func(w *simWire) {
		w.toSim <- []byte("\x16\x03\x01\x00\x05hello")
		if got, err := io.ReadAll(w); err != nil || len(got) == 0 || got[0] != 21 {
			t.Errorf("answered % x, %v, want an alert", got, err)
		}
	})
	if st := s.e.Stats().Openings; st.Refused != 1 {
		t.Errorf("counted %+v, want one refused", st)
	}
	// Those that stay in the middle are ended, and so are their goroutines.
	s = newSim(&hooks{}, Options{})
	s.Share(func() {})
	o := newTLSOpener(t)
	s.Listen(ListenOptions{Opener: o})
	for range 20 {
		s.Connect(0).Send([]byte("\x16\x03\x01"))
	}
	s.Advance(time.Minute)
	o.wg.Wait()
	s.Turn()
	if st := s.e.Stats().Openings; st.Late != 20 || st.Now != 0 {
		t.Errorf("counted %+v, want 20 late", st)
	}
	checkGauges(t, s.Engine())
}
