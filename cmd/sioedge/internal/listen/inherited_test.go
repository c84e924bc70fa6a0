package listen

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// noted returns what addresses are to the process that takes over.
func noted(t *testing.T, a Addresses) *Inherited {
	t.Helper()
	note, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseInherited(note)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func parsed(t *testing.T, text string) config.Listen {
	t.Helper()
	l, err := config.ParseListen(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// An address is found by what the settings call it, whatever its options, each as often
// as it was there; those that are not asked for are left.
func TestAddressesOfTheProcessBefore(t *testing.T) {
	h := noted(t, Addresses{
		Public: []Bound{
			{As("127.0.0.1:0"), []string{"tcp://127.0.0.1:1001"}},
			{As("tls://:443?proxy=v1"), []string{"tcp://[::]:443"}},
			{As("tcp://127.0.0.1:0"), []string{"tcp://127.0.0.1:1002"}},
			{As("systemd:web"), []string{"tcp://0.0.0.0:80", "unix:/run/web"}},
			{As("unix:/run/s?mode=0660"), []string{"unix:/run/s"}},
			{As(":7"), []string{"tcp://[::]:7"}},
			{As(":8"), []string{"tcp://[::]:8"}},
		},
		Internal: Bound{As("unix:/run/api"), []string{"unix:/run/api"}},
		Handover: "/run/h",
	})
	for _, x := range []struct {
		as   string
		want []string
	}{
		{":443", []string{"tcp://[::]:443"}}, {":443", nil},
		{"127.0.0.1:0", []string{"tcp://127.0.0.1:1001"}}, {"127.0.0.1:0?proxy=v2", []string{"tcp://127.0.0.1:1002"}}, {"127.0.0.1:0", nil},
		{"systemd:web?tls=true", []string{"tcp://0.0.0.0:80", "unix:/run/web"}}, {"systemd:", nil}, {"127.0.0.1:443", nil}, {"[::]:7", []string{"tcp://[::]:7"}}, {"unix:/run/other", nil},
	} {
		if got := h.take(parsed(t, x.as)); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s is at %v, want %v", x.as, got, x.want)
		}
	}
	at, paths := h.Left()
	if want := []string{"unix:/run/s", "tcp://[::]:8"}; !reflect.DeepEqual(at, want) || !reflect.DeepEqual(paths, []string{"/run/s"}) {
		t.Errorf("left are %v, and the paths %v", at, paths)
	}
	if !h.Internal("unix:/run/api?mode=0600") || h.Internal("unix:/run/s") || h.Internal("") || h.Handover() != "/run/h" {
		t.Error("the internal listener, or the handover's socket, is another")
	}
}

// A socket that systemd has made is not removed, also by a path.
func TestPathsOfSystemdAreNotOurs(t *testing.T) {
	h := noted(t, Addresses{Public: []Bound{{As("systemd:web"), []string{"unix:/run/web"}}}})
	if at, paths := h.Left(); len(at) != 1 || len(paths) != 0 {
		t.Errorf("left are %v, and the paths %v", at, paths)
	}
}

func TestNothingIsInheritedOfNobody(t *testing.T) {
	var h *Inherited
	at, paths := h.Left()
	if h.take(parsed(t, ":1")) != nil || at != nil || paths != nil || h.Internal(":1") || h.Handover() != "" {
		t.Error("there is something of nobody")
	}
	if noted(t, Addresses{}).Internal("systemd:x") {
		t.Error("a process without an internal listener has one")
	}
	for _, bad := range []string{"", "7", `{"public":7}`, `{"public":[{"at":[7]}]}`} {
		if h, err := ParseInherited([]byte(bad)); err == nil {
			t.Errorf("%q is %v", bad, h)
		}
	}
}

// What Open returns leads the next process to the same place.
func TestWhereItListensIsKnownByItsName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if len(path) > 100 {
		t.Skip("the path is too long here")
	}
	var addrs [2]net.Addr
	serverOf(t, discard, func(srv *sio.Server) {
		addrs[0] = open(t, srv, "127.0.0.1:0", Options{Logger: discard})
		addrs[1] = open(t, srv, "unix:"+path, Options{Logger: discard})
	})
	if got, want := At(addrs[:]...), []string{"tcp://" + addrs[0].String(), "unix:" + path}; !reflect.DeepEqual(got, want) {
		t.Errorf("At = %v, want %v", got, want)
	}
}

// The next process has the socket of the internal listener: who waits there is its, and
// the path is removed by the last.
func TestAnInternalListenerGoesAlong(t *testing.T) {
	for _, addr := range []string{"unix:" + filepath.Join(t.TempDir(), "s"), "127.0.0.1:0"} {
		old, err := Internal(addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial(old.Addr().Network(), old.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f, err := Copy(old, "internal")
		if err != nil {
			t.Fatal(err)
		}
		if f.Name() != "internal" {
			t.Errorf("its name is %s", f.Name())
		}
		Leave(old)
		_ = old.Close()
		ln, err := InternalOf(f, addr)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(60 * time.Second))
		got, err := ln.Accept()
		if err != nil {
			t.Fatalf("%s: who waits is not there: %v", addr, err)
		}
		_ = got.Close()
		_ = ln.Close()
		if l := parsed(t, addr); l.Network == "unix" {
			if _, err := os.Lstat(l.Address); !os.IsNotExist(err) {
				t.Errorf("the path is still there: %v", err)
			}
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if ln, err := InternalOf(null, ":1"); err == nil {
		t.Errorf("%s listens", ln.Addr())
	}
}
