package listen

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// seen is a server that tells the addresses of those who connect.
type seen struct {
	srv   *sio.Server
	addrs chan string
}

// serverOf returns a server that serves until the test ends, once listen has opened what
// it listens on.
func serverOf(t *testing.T, log *slog.Logger, listen func(*sio.Server)) seen {
	t.Helper()
	s := seen{addrs: make(chan string, 100)}
	srv, err := sio.New(sio.Options{Logger: log, Engine: eio.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	s.srv = srv
	srv.Of("/").OnConnect(func(k sio.Socket) error { s.addrs <- k.Handshake().Address().String(); return nil })
	listen(srv)
	done := make(chan error, 1)
	// ends with Shutdown
	go func() { done <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		<-done
	})
	return s
}

// open opens one address.
func open(t *testing.T, srv *sio.Server, text string, o Options) net.Addr {
	t.Helper()
	l, err := config.ParseListen(text)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := Open(srv, l, o)
	if err != nil || len(addrs) != 1 {
		t.Fatalf("Open(%s) = %v, %v", text, addrs, err)
	}
	return addrs[0]
}

// connect joins the main namespace, after a preface, and returns the client's end.
func connect(t *testing.T, a net.Addr, preface string) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "%sGET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", preface)
	_, _ = c.Write([]byte("\x81\x82\x00\x00\x00\x0040"))
	return c
}

// shortPath returns a path that a socket can have.
func shortPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// A text can be written and read by several goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

func logTo(w *text) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

var discard = slog.New(slog.DiscardHandler)

// Of a preface the address is that of the client, be it of one version or the other, over
// TCP or a Unix socket.
func TestOpenWithPreface(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	var p Preface
	o := Options{Trusted: trusted, Preface: &p, Logger: discard}
	var plain, line, binary, path net.Addr
	s := serverOf(t, discard, func(srv *sio.Server) {
		plain = open(t, srv, "127.0.0.1:0", o)
		line = open(t, srv, "tcp://127.0.0.1:0?proxy=v1", o)
		binary = open(t, srv, "tcp://127.0.0.1:0?proxy=v2", o)
		path = open(t, srv, "unix:"+shortPath(t)+"?proxy=any&mode=0600", o)
	})
	v1, v2 := "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x08\xc0\x00\x02\x01\x12\x67\x01\xbb"
	for _, x := range []struct {
		to            net.Addr
		preface, want string
	}{{line, v1, "203.0.113.7:4711"}, {binary, v2, "203.0.113.8:4711"}, {path, v1, "203.0.113.7:4711"}, {path, v2, "203.0.113.8:4711"}, {path, "PROXY UNKNOWN\r\n", "invalid AddrPort"}} {
		connect(t, x.to, x.preface)
		if got := <-s.addrs; got != x.want {
			t.Errorf("%q at %v: %s, want %s", x.preface, x.to, got, x.want)
		}
	}
	c := connect(t, plain, "")
	if got := <-s.addrs; got != c.LocalAddr().String() {
		t.Errorf("without a preface: %s, want %s", got, c.LocalAddr())
	}
	for _, to := range []net.Addr{line, binary} {
		answer := make([]byte, 12)
		if _, err := connect(t, to, "").Read(answer); string(answer) != "HTTP/1.1 403" {
			t.Errorf("without the preface that is asked for: %q, %v", answer, err)
		}
	}
	if st, want := p.Stats(), (PrefaceStats{V1: 3, V2: 2, Local: 1, None: 2}); st != want {
		t.Errorf("counted %+v, want %+v", st, want)
	}
}

// Who is not trusted cannot say who he is, and the log says what decides that.
func TestStrangersHaveNoPreface(t *testing.T) {
	var log text
	var p Preface
	var a net.Addr
	serverOf(t, logTo(&log), func(srv *sio.Server) {
		a = open(t, srv, "127.0.0.1:0?proxy=any", Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Preface: &p})
	})
	answer := make([]byte, 12)
	if _, err := connect(t, a, "PROXY TCP4 10.0.0.1 192.0.2.1 4711 443\r\n").Read(answer); string(answer) != "HTTP/1.1 403" {
		t.Errorf("a stranger is answered %q, %v", answer, err)
	}
	if st := p.Stats(); st != (PrefaceStats{Untrusted: 1}) || !strings.Contains(log.String(), "--trust-proxy") {
		t.Errorf("counted %+v, and the log is %s", st, log.String())
	}
}

// A path has its owner and permissions, and a file that an ended process has left is
// taken over.
func TestUnixSocketsHaveOwners(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	owner, uid, gid := me.Uid+":"+me.Gid, me.Uid, me.Gid
	if me.Uid == "0" {
		owner, uid, gid = "nobody:1", "65534", "1"
		if u, err := user.Lookup("nobody"); err == nil {
			uid = u.Uid
		}
	}
	for _, x := range []struct {
		query string
		mode  fs.FileMode
	}{{"?mode=0660&owner=" + owner, 0o660}, {"?owner=" + owner + "&mode=0622", 0o622}} {
		path := shortPath(t)
		left, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		left.(*net.UnixListener).SetUnlinkOnClose(false)
		_ = left.Close()
		serverOf(t, discard, func(srv *sio.Server) { open(t, srv, "unix:"+path+x.query, Options{}) })
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sys := st.Sys().(*syscall.Stat_t)
		if st.Mode().Perm() != x.mode || fmt.Sprint(sys.Uid) != uid || fmt.Sprint(sys.Gid) != gid {
			t.Errorf("%s: %v of %d:%d", x.query, st.Mode(), sys.Uid, sys.Gid)
		}
		internal := path + "i"
		ln, err := Internal("unix:"+internal+x.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if st, err = os.Stat(internal); err != nil || st.Mode().Perm() != x.mode || fmt.Sprint(st.Sys().(*syscall.Stat_t).Uid) != uid {
			t.Errorf("internal, %s: %v, %v", x.query, st.Mode(), err)
		}
	}
}

func TestOwners(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(me.Uid)
	for text, want := range map[string][2]int{"7:8": {7, 8}, "7": {7, -1}, ":8": {-1, 8}, "7:": {7, -1}, me.Username + ":8": {uid, 8}} {
		if o, err := ownerOf(text); err != nil || o.UID != want[0] || o.GID != want[1] {
			t.Errorf("ownerOf(%s) = %v, %v, want %v", text, o, err, want)
		}
	}
	if o, err := ownerOf(""); o != nil || err != nil {
		t.Errorf(`ownerOf("") = %v, %v`, o, err)
	}
	for _, text := range []string{"no-such-user-here", ":no-such-group-here", "-1", "99999999999"} {
		if o, err := ownerOf(text); err == nil || !strings.Contains(err.Error(), "owner "+text) {
			t.Errorf("ownerOf(%s) = %v, %v", text, o, err)
		}
	}
}

// What cannot be is said before anything is opened.
func TestCheck(t *testing.T) {
	some := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, x := range []struct {
		text    string
		trusted []netip.Prefix
		want    string
	}{
		{":1?proxy=v1", nil, "--trust-proxy"},
		{":1?proxy=v1", some, ""},
		{":1", nil, ""},
		{"unix:/x?proxy=any", nil, ""},
		{"systemd:x?proxy=any", nil, ""},
		{"unix:/x?owner=no-such-user-here", nil, "no-such-user-here"},
	} {
		l, err := config.ParseListen(x.text)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(l, x.trusted); (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("Check(%s, %v) = %v, want %q", x.text, x.trusted, err, x.want)
		}
	}
	srv, err := sio.New(sio.Options{Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	for text, want := range map[string]string{"tls://127.0.0.1:0": "--tls-cert", "systemd:": "has passed no sockets", "unix:/x?owner=no-such-user-here": "no-such-user-here"} {
		l, _ := config.ParseListen(text)
		if _, err := Open(srv, l, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v, want %q", text, err, want)
		}
	}
}
