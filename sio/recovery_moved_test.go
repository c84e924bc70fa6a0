package sio_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/tlslink"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// newRecoverer returns a client of a succession, which has joined a room.
func (x *succession) newRecoverer() *recoverer {
	x.t.Helper()
	r := &recoverer{srv: x.srv, client: &client{t: x.t}}
	r.connect()
	r.sid = r.recoveredAs
	r.takes(1)
	return r
}

// recovering begins a succession whose clients can come back, to a room.
func recovering(t *testing.T, left chan string) *succession {
	return recoveringWith(t, left, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
}

func recoveringWith(t *testing.T, left chan string, o sio.Options, setup ...func(*sio.Server)) *succession {
	return begin(t, o, func(srv *sio.Server) {
		for _, f := range setup {
			f(srv)
		}
		ns := srv.Of("/")
		ns.OnConnect(func(s sio.Socket) error {
			if s.Recovered() {
				return nil
			}
			s.Join("room")
			s.SetData("mine")
			return s.Emit("hello", 0)
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
}

// back has a client come back to the server of that moment, and returns what it has had
// since.
func (x *succession) back(r *recoverer) []string {
	x.t.Helper()
	r.srv, r.events = x.srv, nil
	r.connect()
	if r.recoveredAs != r.sid {
		x.t.Fatalf("it is a new one: %+v", x.srv.Recoveries())
	}
	return r.events
}

func (x *succession) emit(event string) {
	x.t.Helper()
	if err := x.srv.Of("/").To("room").Emit(event, 1); err != nil {
		x.t.Fatal(err)
	}
}

// serves waits until the server of that moment serves so many sockets.
func (x *succession) serves(sockets int) {
	x.t.Helper()
	eventually(x.t, "serving", func() bool { return len(x.srv.Of("/").All().Sockets()) == sockets })
}

// Clients that are away while servers take over from each other, ten times, and those that
// are there and lose their connections afterwards, at any time, miss nothing and get nothing
// twice.
func TestRecoveryGoesOnInSuccessors(t *testing.T) {
	left := make(chan string, 100)
	x := recovering(t, left)
	away, there, idle := x.newRecoverer(), x.newRecoverer(), x.newRecoverer()
	x.emit("had")
	for _, r := range []*recoverer{away, there, idle} {
		r.takes(1)
	}
	away.cut()
	gone(t, left, away.sid)
	var want []string
	for i := range 10 {
		event := fmt.Sprint("e", i)
		x.emit(event)
		want = append(want, event+" 1")
		x.next()
		x.serves(2)
		there.takes(1)
		switch i {
		case 3, 7: // it has had all, and is a recovered one the next time
			there.cut()
			gone(t, left, there.sid)
			x.emit("now")
			want = append(want, "now 1")
			if got := x.back(there); !slices.Equal(got, []string{"now 1"}) {
				t.Fatalf("after %d handovers it has missed %q", i+1, got)
			}
		}
	}
	if got := x.back(away); !slices.Equal(got, want) {
		t.Errorf("who was away has missed %q, want %q", got, want)
	}
	idle.events = nil
	idle.takes(4)
	idle.cut()
	gone(t, left, idle.sid)
	if got := x.back(idle); !slices.Equal(got, want[4:]) {
		t.Errorf("who has had four of them has missed %q, want %q", got, want[4:])
	}
	if s := x.srv.Of("/").To("room").Sockets(); len(s) != 3 || s[0].Data() != "mine" {
		t.Errorf("%d sockets have what they had", len(s))
	}
	x.emit("last")
	for _, r := range []*recoverer{away, there, idle} {
		r.events = nil
		r.takes(1)
		if r.events[0] != "last 1" {
			t.Errorf("then it gets %q", r.events)
		}
		r.cut()
	}
	if r := x.srv.Recoveries(); r.Recovered != 4 || r.Lost+r.Unknown+r.Alien != 0 {
		t.Errorf("Recoveries = %+v", r)
	}
}

// What has been proven to have been received goes along: an idle client, whose last event is
// long gone from the log, is what it was.
func TestWhatIsProvenGoesAlong(t *testing.T) {
	left := make(chan string, 10)
	x := recoveringWith(t, left, sio.Options{
		Engine: eio.Options{PingInterval: 200 * time.Millisecond}, Recovery: sio.Recovery{Window: time.Minute, MaxBytes: 40_000},
	})
	idle, other := x.newRecoverer(), x.newRecoverer()
	offset := idle.offset
	others := func(n int) {
		for range n {
			if err := x.srv.Of("/").To(other.sid).Emit("other", strings.Repeat("x", 300)); err != nil {
				t.Fatal(err)
			}
		}
	}
	others(30)
	last := x.srv.LastPlace()
	for x.srv.Of("/").To(idle.sid).Sockets()[0].Proven() < last {
		if p := idle.next(); p != "2" {
			t.Fatalf("received %s, want a ping", p)
		}
		idle.send("3")
	}
	x.next()
	others(30)
	idle.cut()
	gone(t, left, idle.sid)
	if r := x.srv.Recoveries(); r.Dropped < 10 || r.Dropped > 40 {
		t.Fatalf("%d events were dropped, want some of those before", r.Dropped)
	}
	if idle.offset != offset {
		t.Fatal("it has had an event")
	}
	if got := x.back(idle); len(got) > 0 {
		t.Errorf("it has missed %q", got)
	}
	idle.cut()
	other.cut()
}

// encrypted returns what a server listens with, and a client connects by.
func encrypted(t *testing.T) (*tls.Config, func(addr string) *client) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"here"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, func(addr string) *client {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "here"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := &client{t: t, conn: conn}
		nonce := [16]byte{1, 2, 3}
		c.write(wsframe.AppendClientHandshake(nil, "here", "/socket.io/?EIO=4&transport=websocket", nonce))
		for {
			if n, err := wsframe.CheckAccept(c.in, nonce); err != nil {
				t.Fatal(err)
			} else if n > 0 {
				c.in = c.in[n:]
				break
			}
			c.more()
		}
		c.open = c.next()
		return c
	}
}

// Clients with TLS in the process stay with it. Those who come to the successor afterwards
// are what they were, unless the old process has sent them what the other does not know of.
func TestWhoStaysIsRecoveredInTheSuccessor(t *testing.T) {
	left := make(chan string, 10)
	config, dial := encrypted(t)
	var addr net.Addr
	x := recoveringWith(t, left, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, func(srv *sio.Server) {
		if addr != nil {
			return // a successor
		}
		var err error
		if addr, err = srv.ListenWith("tcp://127.0.0.1:0", loop.ListenOptions{Opener: tlslink.New(tlslink.Options{Config: func() *tls.Config { return config }})}); err != nil {
			t.Fatal(err)
		}
	})
	stays := func() *recoverer {
		r := &recoverer{srv: x.srv, client: &client{t: t}}
		r.connectBy(dial(addr.String()))
		r.sid = r.recoveredAs
		r.takes(1)
		return r
	}
	quiet, served := stays(), stays()
	plain := x.newRecoverer()
	x.emit("had")
	for _, r := range []*recoverer{quiet, served, plain} {
		r.takes(1)
	}
	old, wasServed := x.srv, x.served
	mine, others := socketpair(t)
	done := x.handOver(context.Background(), mine, sio.HandoverOptions{})
	srv, err := x.heir(others)
	if err != nil {
		t.Fatal(err)
	}
	x.take(srv, x.srv.addr)
	x.serve()
	if got := take(t, done); got.err != nil || got.h.Sessions != 1 || got.h.Stays.TLS != 2 {
		t.Fatalf("Handover = %+v, %v", got.h, got.err)
	}
	if err := old.Of("/").To(served.sid).Emit("here", 1); err != nil {
		t.Logf("Emit of the old one: %v", err)
	} else {
		served.takes(1)
	}
	x.emit("missed")
	plain.takes(1)
	quiet.cut()
	gone(t, left, quiet.sid)
	if got := x.back(quiet); !slices.Equal(got, []string{"missed 1"}) {
		t.Errorf("who stayed has missed %q", got)
	}
	if slices.Contains(served.events, "here 1") {
		served.cut()
		gone(t, left, served.sid)
		served.srv = x.srv
		served.connect()
		if served.recoveredAs == served.sid {
			t.Error("who was sent something by the old process is what it was, and misses what the successor has sent")
		}
	}
	for _, r := range []*recoverer{quiet, served, plain} {
		r.cut()
	}
	x.end(old, wasServed)
}

// A movableBook is a book whose place another one can take.
type movableBook struct{ *book }

func (b movableBook) Offer() ([]byte, error)               { return []byte("book"), nil }
func (b movableBook) Back()                                { b.hold(false) }
func (b movableBook) Inherit([]byte) error                 { b.hold(true); return nil }
func (b movableBook) Follow(context.Context, []byte) error { return nil }

func (b movableBook) Mark(context.Context) (place []byte, err error) {
	for marked := false; !marked; {
		b.set(func() {
			if marked = b.read == len(b.l.lines); marked {
				b.held, place = true, fmt.Append(nil, b.read)
			}
		})
	}
	return place, nil
}

func (b movableBook) Gone(context.Context, bool) error {
	b.set(func() { b.closing = true })
	<-b.done
	return nil
}

func (b movableBook) Succeed(place []byte) error {
	at, err := strconv.Atoi(string(place))
	b.set(func() { b.read, b.held = at, false })
	return err
}

// In a cluster's log, too, a client that comes back has missed nothing, also of what was for
// it alone, before handovers and behind them.
func TestRecoveryFromAClustersLogGoesOnInSuccessors(t *testing.T) {
	l := newLedger()
	left := make(chan string, 10)
	o := sio.Options{Recovery: sio.Recovery{Window: time.Minute, Patience: time.Minute}, Adapter: movableBook{l.book()}}
	x := recoveringWith(t, left, o)
	r := x.newRecoverer()
	var want []string
	said := 0
	say := func() {
		t.Helper()
		said++
		if err := x.srv.Of("/").To(r.sid).Sockets()[0].Emit("direct", said); err != nil {
			t.Fatal(err)
		}
		x.emit(fmt.Sprint("all", said))
		want = append(want, fmt.Sprint("direct ", said), fmt.Sprintf("all%d 1", said))
	}
	say()
	r.takes(2)
	offset := r.offset
	for range 3 {
		x.o.Adapter = movableBook{l.book()}
		say()
		x.next()
		x.serves(1)
		say()
	}
	r.events = nil
	r.takes(12)
	if !slices.Equal(r.events, want[2:]) {
		t.Errorf("it has had %q, want %q", r.events, want[2:])
	}
	r.cut()
	gone(t, left, r.sid)
	r.offset = offset // nothing of that has arrived
	x.emit("away")
	want = append(want, "away 1")
	r.takes(len(want[2:]) - len(x.back(r))) // what was not in the log yet when it came
	if !slices.Equal(r.events, want[2:]) {
		t.Errorf("it has missed %q, want %q", r.events, want[2:])
	}
	r.cut()
}
