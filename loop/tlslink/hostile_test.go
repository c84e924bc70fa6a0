package tlslink

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// hello returns the first record of a client.
func hello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	w := &simWire{toSim: make(chan []byte, 1), end: true}
	w.came.L = &w.mu
	_ = tls.Client(w, c).Handshake()
	return <-w.toSim
}

// What is no handshake is ended, counted by what it was, and answered.
func TestHostileHandshakes(t *testing.T) {
	good := hello(t, clientConfig())
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], to)
		return b
	}
	tls10 := clientConfig()
	tls10.MinVersion, tls10.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	h2 := clientConfig()
	h2.NextProtos = []string{"h2"}
	cbc := clientConfig()
	cbc.MaxVersion, cbc.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}
	alertOf := func(what byte) string { return string([]byte{21, 3}) + "?" + string([]byte{0, 2, 2, what}) }
	for _, x := range []struct {
		name   string
		sent   []byte
		want   Reason
		answer string
	}{
		{"plain HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), PlainHTTP, plainAnswer},
		{"another request", []byte("OPTIONS * HTTP/1.1\r\n\r\n"), PlainHTTP, plainAnswer},
		{"SSH", []byte("SSH-2.0-OpenSSH\r\n"), Garbage, alertOf(alertUnexpected)},
		{"nulls", make([]byte, 20_000), Garbage, alertOf(alertUnexpected)},
		{"SSL 2", []byte("\x80\x2e\x01\x00\x02\x00\x15\x00\x00"), Version, alertOf(alertVersion)},
		{"a version of 4", change(1, 4), Garbage, alertOf(alertVersion)},
		{"nothing in a record", change(3, 0, 0), Garbage, alertOf(alertUnexpected)},
		{"a record that is too long", change(3, 0x40, 1), Oversized, alertOf(alertOverflow)},
		{"no client_hello", change(5, 2), Garbage, alertOf(alertUnexpected)},
		{"a client_hello that is too short", []byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), Garbage, alertOf(50)},
		{"a client_hello that goes on for ever", []byte("\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00"), Oversized, "*"},
		{"TLS 1.1", hello(t, tls10), Version, alertOf(alertVersion)},
		{"HTTP/2 alone", hello(t, h2), Mismatch, alertOf(120)},
		{"no cipher", hello(t, cbc), Mismatch, alertOf(40)},
		{"data instead of its Finished", append(bytes.Clone(good), []byte("\x17\x03\x03\x00\x05hello")...), Garbage, "*"},
		{"an alert of nobody instead of its Finished", append(bytes.Clone(good), []byte("\x15\x03\x03\x00\x02\x02\x30")...), Garbage, "*"},
		{"one after the other", append(bytes.Clone(good), good...), Garbage, "*"},
	} {
		config := serverConfig(t)
		config.NextProtos = []string{"http/1.1"}
		for _, cut := range []int{0, 1} {
			if cut == 1 && len(x.sent) > 3000 {
				continue
			}
			o := newOpener(t, config)
			pump(t, &hooks{}, o, cut, 0, func(w *simWire) {
				w.toSim <- x.sent
				got, err := io.ReadAll(w)
				if err != nil || !like(string(got), x.answer) {
					t.Errorf("%s: answered %q, %v, want %q", x.name, got, err, x.answer)
				}
			})
			idle(t, o)
			want := [Reasons]int64{}
			want[x.want] = 1
			if st := o.Stats(); st.Failed != want || st.Done != 0 || st.Running != 0 || st.Waiting != 0 {
				t.Errorf("%s, cut %d: counted %v, want %s", x.name, cut, st.Failed, x.want)
			}
		}
	}
}

// like compares a text with one in which a question mark is any byte and a star all.
func like(s, want string) bool {
	if want == "*" {
		return len(s) > 0
	}
	if len(s) != len(want) {
		return false
	}
	for i := range s {
		if want[i] != '?' && s[i] != want[i] {
			return false
		}
	}
	return true
}

// Clients that stall, wherever, hold no slot: with one slot somebody else gets through,
// and they are ended in time, with their goroutines.
func TestStalledHandshakes(t *testing.T) {
	config := serverConfig(t)
	o := New(Options{Config: func() *tls.Config { return config }, Handshakes: 1, Logger: quiet})
	good := hello(t, clientConfig())
	s := loop.NewSim(&hooks{data: echo}, loop.Options{Loops: 1, Logger: quiet})
	posted := make(chan struct{}, 1)
	s.Share(func() {
		select {
		case posted <- struct{}{}:
		default:
		}
	})
	s.Listen(loop.ListenOptions{Opener: o})
	var peers []*loop.Peer
	const each = 20
	for range each {
		for _, b := range [][]byte{nil, []byte("GE"), good[:3], good[:len(good)-1], good} {
			p := s.Connect(0)
			if b != nil {
				p.Send(b)
			}
			peers = append(peers, p)
		}
	}
	// All that can be said to those that said hello is said.
	for answered := 0; answered < each; {
		select {
		case <-posted:
			s.Turn()
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d were answered: %+v", answered, each, o.Stats())
		}
		answered = 0
		for i, p := range peers {
			if i%5 == 4 && p.Count() > 0 {
				answered++
			}
		}
	}
	if st := o.Stats(); st.Running != each || st.Waiting != 0 {
		t.Errorf("Stats() = %+v, want %d goroutines, one for each whose hello is there", st, each)
	}
	s.Advance(time.Minute)
	idle(t, o)
	s.Turn()
	if st := o.Stats(); st.Failed[Timeout] != 5*each || st.Done != 0 {
		t.Errorf("Stats() = %+v, want %d late", st, 5*each)
	}
	if st := s.Engine().Stats().Openings; st.Late != 5*each || st.Now != 0 {
		t.Errorf("the loop counted %+v", st)
	}
}

// Clients that leave in the middle are counted as that.
func TestHandshakesThatAreLeft(t *testing.T) {
	o := newOpener(t, serverConfig(t))
	good := hello(t, clientConfig())
	for _, b := range [][]byte{nil, good[:100], good} {
		pump(t, &hooks{}, o, 0, 0, func(w *simWire) {
			if b != nil {
				w.toSim <- b
			}
			if len(b) == len(good) {
				_, _ = w.Read(make([]byte, 1))
			}
		})
	}
	idle(t, o)
	if st := o.Stats(); st.Failed[Left] != 3 {
		t.Errorf("Stats() = %+v, want 3 left", st)
	}
}

// A panic, or an error, of a callback of the configuration ends the handshake.
func TestCallbacks(t *testing.T) {
	for _, x := range []struct {
		f    func(*tls.ClientHelloInfo) (*tls.Config, error)
		want Reason
	}{
		{func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("on purpose") }, Internal},
		{func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.Conn.RemoteAddr().String() != "192.0.2.1:1" {
				panic("from " + h.Conn.RemoteAddr().String())
			}
			return nil, ErrNoServerName
		}, NoServerName},
		{func(*tls.ClientHelloInfo) (*tls.Config, error) { return new(tls.Config), nil }, NoServerName},
	} {
		o := newOpener(t, &tls.Config{GetConfigForClient: x.f})
		pump(t, &hooks{}, o, 0, 0, func(w *simWire) {
			if err := tls.Client(w, clientConfig()).Handshake(); err == nil {
				t.Error("a handshake was done")
			}
		})
		if st := o.Stats(); st.Failed[x.want] != 1 {
			t.Errorf("counted %v, want %s", st.Failed, x.want)
		}
	}
}

// Certificates of clients that are missing, or of somebody else.
func TestClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	config := serverConfig(t)
	config.ClientCAs, config.ClientAuth = ca.pool(), tls.RequireAndVerifyClientCert
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for want, certs := range map[Reason][]tls.Certificate{NoCertificate: nil, BadCertificate: {newAuthority(t).sign(t, "mallory")}} {
			o := newOpener(t, config)
			pump(t, &hooks{data: echo}, o, 0, 0, func(w *simWire) {
				cc := clientConfig()
				cc.MaxVersion = v
				cc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if certs == nil {
						return new(tls.Certificate), nil
					}
					return &certs[0], nil
				}
				c := tls.Client(w, cc)
				_, _ = c.Write([]byte("x"))
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					t.Errorf("%s: was served", want)
				}
			})
			if st := o.Stats(); st.Failed[want] != 1 || st.Done != 0 {
				t.Errorf("%s: Stats() = %+v", want, st)
			}
		}
	}
}

const keyUpdate = "\x18\x00\x00\x01\x01" // update_requested, RFC 8446, 4.6.3

// secretly runs a client of TLS 1.3 whose records f makes itself.
func secretly(t *testing.T, h loop.Handler, o *Opener, out int, f func(w *simWire, c *tls.Conn, seal func(p []byte, kind byte, update bool) []byte)) {
	t.Helper()
	var log bytes.Buffer
	config := clientConfig()
	config.KeyLogWriter, config.MinVersion = &log, tls.VersionTLS13
	pump(t, h, o, 0, out, func(w *simWire) {
		c := tls.Client(w, config)
		if err := c.Handshake(); err != nil {
			t.Error(err)
			return
		}
		if c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			return // this machine's cipher is another
		}
		f(w, c, sealer(log.String()))
	})
}

// Records behind the handshake that carry nothing end the connection, and are counted.
func TestFloods(t *testing.T) {
	again := hello(t, clientConfig())[headerLen:]
	type sealing = func(p []byte, kind byte, update bool) []byte
	for _, x := range []struct {
		name string
		want Reason
		all  func(seal sealing) (b []byte)
	}{
		{"key updates", Flood, func(seal sealing) (b []byte) {
			for range 100 {
				b = append(b, seal([]byte(keyUpdate), 22, true)...)
			}
			return b
		}},
		{"key updates, with something in between", Flood, func(seal sealing) (b []byte) {
			for range 2 * maxPosts {
				b = append(append(b, seal([]byte(keyUpdate), 22, true)...), seal([]byte("x"), 23, false)...)
			}
			return b
		}},
		{"empty records", Flood, func(seal sealing) (b []byte) {
			for range 100 {
				b = append(b, seal(nil, 23, false)...)
			}
			return b
		}},
		{"alerts that mean nothing", Flood, func(seal sealing) (b []byte) {
			for range 100 {
				b = append(b, seal([]byte{1, 90}, 21, false)...) // user_canceled
			}
			return b
		}},
		{"a long message behind the handshake", Flood, func(seal sealing) (b []byte) {
			b = seal([]byte("\x18\x00\xff\x00"), 22, false)
			for range 10 {
				b = append(b, seal(make([]byte, 1000), 22, false)...)
			}
			return b
		}},
		{"another handshake", Renegotiation, func(seal sealing) []byte { return seal(again, 22, false) }},
		{"a certificate", Renegotiation, func(seal sealing) []byte { return seal([]byte("\x0b\x00\x00\x04\x00\x00\x00\x00"), 22, false) }},
		{"an alert", Alert, func(seal sealing) []byte { return seal([]byte{2, 48}, 21, false) }},
		{"a record of nobody", Garbage, func(sealing) []byte { return append([]byte("\x17\x03\x03\x00\x20"), make([]byte, 32)...) }},
		{"a record that is too long", Oversized, func(sealing) []byte { return []byte("\x17\x03\x03\xff\xff") }},
		{"half a record", Truncated, func(sealing) []byte { return []byte("\x17\x03\x03\x00\x20") }},
	} {
		o := newOpener(t, serverConfig(t))
		var reason error
		opened := make(chan struct{})
		h := &hooks{open: func(loop.Conn) { close(opened) }, close: func(_ loop.Conn, err error) { reason = err }}
		secretly(t, h, o, 0, func(w *simWire, c *tls.Conn, seal func([]byte, byte, bool) []byte) {
			<-opened // the server is done with the handshake behind its client
			w.toSim <- x.all(seal)
			if x.want != Truncated {
				_, _ = io.ReadAll(c) // until it is ended
			}
		})
		want := [Reasons]int64{}
		want[x.want] = 1
		if st := o.Stats(); st.Done == 1 && (st.Broken != want || reason == nil || reason == io.EOF) {
			t.Errorf("%s: counted %v, closed for %v, want %s", x.name, st.Broken, reason, x.want)
		}
	}
}

// Who asks for answers and does not read them is ended, before much is kept.
func TestAnswersThatAreNotRead(t *testing.T) {
	o := newOpener(t, serverConfig(t))
	kept := 0
	h := &hooks{data: func(c loop.Conn, b []byte) int {
		kept = max(kept, len(c.Link().(*Link).out))
		c.Link().(*Link).posts = 0 // as if a minute had passed
		return len(b)
	}}
	secretly(t, h, o, 4096, func(w *simWire, c *tls.Conn, seal func([]byte, byte, bool) []byte) {
		for range 400 {
			var b []byte
			for range 100 {
				b = append(append(b, seal([]byte(keyUpdate), 22, true)...), seal([]byte("x"), 23, false)...)
			}
			w.toSim <- b
			w.mu.Lock()
			end := w.end
			w.mu.Unlock()
			if end {
				return
			}
		}
	})
	if kept > maxKept {
		t.Errorf("%d bytes were kept, want at most %d", kept, maxKept)
	}
}

// A client that does not trust the certificate says so.
func TestClientThatDoesNotTrust(t *testing.T) {
	o := newOpener(t, serverConfig(t))
	pump(t, &hooks{}, o, 0, 0, func(w *simWire) {
		c := tls.Client(w, &tls.Config{ServerName: "localhost", RootCAs: newAuthority(t).pool()})
		if c.Handshake() == nil {
			t.Error("it does")
		}
		_, _ = io.ReadAll(w)
	})
	if st := o.Stats(); st.Failed[Alert] != 1 {
		t.Errorf("Stats() = %+v", st)
	}
}

// A new handshake in TLS 1.2 is refused, and counted.
func TestRenegotiation(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl here")
	}
	closed := make(chan error, 1)
	o := newOpener(t, serverConfig(t))
	h := &hooks{data: echo, close: func(_ loop.Conn, err error) { closed <- err }}
	_, a := listen(t, h, o, loop.Options{Loops: 1, OpeningTimeout: time.Minute})
	cmd := exec.Command(openssl, "s_client", "-tls1_2", "-legacy_renegotiation", "-connect", a.String())
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "---") {
	}
	_, _ = io.WriteString(in, "R\n")
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("the connection is there still")
	}
	if st := o.Stats(); st.TLS12 != 1 || st.Broken[Renegotiation] != 1 {
		t.Errorf("Stats() = %+v", st)
	}
}

// sealer returns what makes records of a client, and then updates its key, from what it
// has logged.
func sealer(log string) func(p []byte, kind byte, update bool) []byte {
	_, line, _ := strings.Cut(log, "CLIENT_TRAFFIC_SECRET_0 ")
	_, text, _ := strings.Cut(line, " ")
	secret, err := hex.DecodeString(strings.TrimSpace(strings.SplitN(text, "\n", 2)[0]))
	if err != nil {
		panic(err)
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
		head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(p)+17))
		b := gcm.Seal(head, nonce, append(bytes.Clone(p), kind), head)
		if update {
			secret, seq = expand("traffic upd", 32), 0
		}
		return b
	}
}

// FuzzHello changes a byte, cuts and goes on with anything: handshakes end, and nothing
// is left of them.
func FuzzHello(f *testing.F) {
	config := serverConfig(f)
	good := hello(f, clientConfig())
	f.Add(0, byte(0), 0, []byte("x"))
	f.Add(5, byte(2), 10, []byte(nil))
	f.Add(43, byte(255), 300, good)
	f.Fuzz(func(t *testing.T, at int, to byte, cut int, more []byte) {
		b := bytes.Clone(good)
		b[uint(at)%uint(len(b))] ^= to
		cut = int(uint(cut) % uint(len(b)))
		o := newOpener(t, config)
		s := loop.NewSim(&hooks{}, loop.Options{Loops: 1, Logger: quiet})
		s.Share(func() {})
		s.Listen(loop.ListenOptions{Opener: o})
		p := s.Connect(0)
		p.Send(b[:cut])
		p.Send(b[cut:])
		s.Turn()
		p.Send(more)
		s.Advance(time.Minute)
		idle(t, o)
		s.Turn()
		if st := s.Engine().Stats(); st.Open != 0 || st.Openings.Now != 0 || st.Panics != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// FuzzFirst: what is looked at in front of a handshake says the same of pieces as of the
// whole.
func FuzzFirst(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1"), 2)
	f.Add(hello(f, clientConfig()), 4)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if len(b) == 0 {
			return
		}
		n, wrong, answer := first(b)
		if n < 0 || n > len(b) || wrong != none && (n != 0 || len(answer) == 0) {
			t.Fatalf("first(% x) = %d, %s, %q", b, n, wrong, answer)
		}
		cut = 1 + int(uint(cut)%uint(len(b)))
		if m, early, _ := first(b[:cut]); early != none && early != wrong && wrong != Version || m != 0 && m != n {
			t.Errorf("first(% x) = %d, %s, but %d, %s of its first %d bytes", b, n, wrong, m, early, cut)
		}
	})
}
