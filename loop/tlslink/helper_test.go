package tlslink

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

var quiet = slog.New(slog.DiscardHandler)

// hooks is a Handler made of functions.
type hooks struct {
	open  func(c loop.Conn)
	data  func(c loop.Conn, b []byte) int
	close func(c loop.Conn, err error)
}

func (h *hooks) Open(c loop.Conn) {
	if h.open != nil {
		h.open(c)
	}
}

func (h *hooks) Data(c loop.Conn, b []byte) int {
	if h.data != nil {
		return h.data(c, b)
	}
	return len(b)
}

func (*hooks) Drained(loop.Conn) {}

func (h *hooks) Close(c loop.Conn, err error) {
	if h.close != nil {
		h.close(c, err)
	}
}

func echo(c loop.Conn, b []byte) int {
	c.Write(b)
	return len(b)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) sign(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, of, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// serverConfig is that of a server named localhost.
func serverConfig(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{newAuthority(t).sign(t, "localhost")}, DynamicRecordSizingDisabled: true}
}

func newOpener(t testing.TB, c *tls.Config) *Opener {
	return New(Options{Config: func() *tls.Config { return c }, Handshakes: 4, Logger: quiet})
}

func clientConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8), ServerName: "localhost"}
}

// idle waits until no goroutine of a handshake is left.
func idle(t testing.TB, o *Opener) {
	t.Helper()
	for until := time.Now().Add(time.Minute); o.Stats().Running > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("handshakes still run")
		}
	}
}

// simWire is a client's net.Conn to a Sim, whose goroutine turns in pump.
type simWire struct {
	net.Conn // for what it does not do
	toSim    chan []byte
	mu       sync.Mutex
	came     sync.Cond
	in       []byte
	end      bool
}

func (w *simWire) Write(p []byte) (int, error)    { w.toSim <- bytes.Clone(p); return len(p), nil }
func (w *simWire) Close() error                   { return nil }
func (*simWire) SetDeadline(time.Time) error      { return nil }
func (*simWire) SetReadDeadline(time.Time) error  { return nil }
func (*simWire) SetWriteDeadline(time.Time) error { return nil }

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
func pump(t *testing.T, h loop.Handler, op loop.Opener, in, out int, client func(w *simWire)) *loop.Sim {
	t.Helper()
	return pumpWith(t, h, op, loop.Options{Loops: 1, Logger: quiet}, in, out, client)
}

func pumpWith(t *testing.T, h loop.Handler, op loop.Opener, lo loop.Options, in, out int, client func(w *simWire)) *loop.Sim {
	t.Helper()
	s := loop.NewSim(h, lo)
	posted := make(chan struct{}, 1)
	s.Share(func() {
		select {
		case posted <- struct{}{}:
		default:
		}
	})
	s.Listen(loop.ListenOptions{Opener: op})
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
	if st := s.Engine().Stats(); st.Open != 0 || st.Openings.Now != 0 || st.Queued != 0 || st.Panics != 0 {
		t.Errorf("in the end: %+v", st)
	}
	return s
}

// chunks yields pieces of n bytes of b; 0 is all at once.
func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for n > 0 && len(b) > n {
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
		yield(b)
	}
}

// noise returns n bytes that do not repeat soon.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
