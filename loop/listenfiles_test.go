package loop

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Connections that wait in a listener's backlog when its engine gives it away are
// served by the one that takes it over.
func TestListenersAreHandedOver(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, loops := range []int{2, 1} {
			addr, path := "127.0.0.1:0", filepath.Join(t.TempDir(), "s")
			if network == "unix" {
				addr = "unix:" + path
			}
			old, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			a, err := old.Listen(addr)
			if err != nil {
				t.Fatal(err)
			}
			var clients []net.Conn
			for range 50 { // nobody accepts: old does not run
				clients = append(clients, dial(t, a))
			}
			files, err := old.ListenerFiles()
			if err != nil {
				t.Fatal(err)
			}
			var labelled atomic.Int32
			e, err := New(&hooks{data: echo, open: func(c Conn) { labelled.Add(int32(c.Listener())) }}, Options{Loops: loops, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			o := ListenOptions{Label: 2}
			for _, f := range files {
				if f.Addr != address(a) {
					t.Errorf("a file's address is %s, want %s", f.Addr, address(a))
				}
				o.Files = append(o.Files, f.File)
			}
			if got, err := e.ListenWith("", o); err != nil || got.String() != a.String() {
				t.Fatalf("ListenWith() = %v, %v, want %v", got, err, a)
			}
			for _, f := range files {
				_ = f.File.Close()
			}
			_ = old.Shutdown(t.Context())
			run(t, e)
			for _, c := range append(clients, dial(t, a)) {
				roundTrip(t, c)
			}
			if n := labelled.Load(); n != 2*51 {
				t.Errorf("labels sum up to %d, want %d", n, 2*51)
			}
			if network == "unix" {
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("the path is gone: %v", err)
				}
			}
		}
	}
}

// A listener that a running engine gives away is served by both, until it stops.
func TestARunningEngineGivesItsListenersAway(t *testing.T) {
	var first, second atomic.Int32
	h := func(n *atomic.Int32) Handler {
		return &hooks{data: echo, open: func(Conn) { n.Add(1) }}
	}
	old, a := start(t, h(&first), Options{Loops: 2}, "127.0.0.1:0")
	roundTrip(t, dial(t, a))
	files, err := old.ListenerFiles()
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(h(&second), Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var o ListenOptions
	for _, f := range files {
		o.Files = append(o.Files, f.File)
	}
	if _, err := e.ListenWith("", o); err != nil {
		t.Fatal(err)
	}
	if err := old.StopAccepting(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := first.Load()
	var clients []net.Conn
	for range 20 {
		clients = append(clients, dial(t, a)) // waits until e runs
	}
	run(t, e)
	for _, c := range clients {
		roundTrip(t, c)
	}
	if first.Load() != before || second.Load() != 20 {
		t.Errorf("%d and %d were accepted, want %d and 20", first.Load(), second.Load(), before)
	}
	for _, f := range o.Files {
		_ = f.Close()
	}
}

func TestOnlyListeningSocketsAreTakenOver(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Shutdown(t.Context()) }()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if a, err := e.ListenWith("", ListenOptions{Files: []*os.File{f}}); err == nil {
		t.Errorf("ListenWith(%s) = %v, want an error", f.Name(), a)
	}
}

// Engines that listen, give away, take over twice, fail to, refuse and end leave no
// descriptor behind.
func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(all)
	}
	round := func() {
		path := filepath.Join(t.TempDir(), "s")
		old, err := New(&hooks{data: echo}, Options{Loops: 2, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(&hooks{data: echo}, Options{Loops: 2, MaxOpening: 1, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		var o ListenOptions
		a, err := old.Listen("127.0.0.1:0")
		if err == nil {
			_, err = old.Listen("unix:" + path)
		}
		if err != nil {
			t.Fatal(err)
		}
		files, err := old.ListenerFiles()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			o.Files = append(o.Files, f.File)
		}
		o.Opener = opens(func(Conn) {})
		for range 2 {
			if _, err := e.ListenWith("", o); err != nil {
				t.Fatal(err)
			}
		}
		bad, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		o.Files = append(o.Files, bad)
		if _, err := e.ListenWith("", o); err == nil {
			t.Error("a file that does not listen is taken over")
		}
		for _, f := range o.Files {
			_ = f.Close()
		}
		_ = old.Shutdown(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(t.Context()) }()
		for range 5 {
			c, err := net.Dial("tcp", a.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
		}
		eventually(t, "all but one are refused", func() bool { return e.Stats().Openings.Full == 4 })
		_ = e.Shutdown(t.Context())
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
	round() // what the process needs for itself
	before := count()
	for range 3 {
		round()
	}
	eventually(t, "as many descriptors as before", func() bool { return count() <= before })
}
