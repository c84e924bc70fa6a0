package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// takesOver returns an engine that has what files are of.
func takesOver(t *testing.T, files []ListenerFile, o Options) *Engine {
	t.Helper()
	o.Logger = quiet
	e, err := New(&hooks{data: echo}, o)
	if err != nil {
		t.Fatal(err)
	}
	var lo ListenOptions
	for _, f := range files {
		lo.Files, lo.OwnPath = append(lo.Files, f.File), f.OwnPath
	}
	if _, err := e.ListenWith(files[0].Asked, lo); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		_ = f.File.Close()
	}
	return e
}

// Each loop gets the listener that the loop of its number had, however often.
func TestListenersGoToTheSameLoops(t *testing.T) {
	e, err := New(&hooks{data: echo}, Options{Loops: 4, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inodes := func(e *Engine) (all []uint64) {
		for _, l := range e.loops {
			for _, ls := range l.listeners {
				var st unix.Stat_t
				if err := unix.Fstat(ls.fd, &st); err != nil {
					t.Fatal(err)
				}
				all = append(all, st.Ino)
			}
		}
		return all
	}
	want := inodes(e)
	for range 3 {
		run(t, e)
		files, err := e.ListenerFiles()
		if err != nil {
			t.Fatal(err)
		}
		if f := files[0]; f.Asked != "127.0.0.1:0" || f.Addr != address(a) || f.OwnPath {
			t.Errorf("a file is %+v, want that port 0 was asked for, and %v is", f, a)
		}
		next := takesOver(t, files, Options{Loops: 4})
		if got := inodes(next); !slices.Equal(got, want) || len(want) != 4 && sharedPorts {
			t.Errorf("the loops have the listeners %v, want %v", got, want)
		}
		_ = e.StopAccepting(t.Context())
		e = next
	}
	run(t, e)
	roundTrip(t, dial(t, a))
}

// The path of a unix socket is removed by the last that has it, once that has run, and not
// by one that has failed.
func TestAPathGoesAlong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	is := func() bool { _, err := os.Lstat(path); return err == nil }
	old, a := start(t, &hooks{data: echo}, Options{Loops: 2}, "unix:"+path+"?mode=0600")
	give := func(e *Engine) []ListenerFile {
		files, err := e.ListenerFiles()
		if err != nil || len(files) != 1 || !files[0].OwnPath || files[0].Asked != "unix:"+path+"?mode=0600" {
			t.Fatalf("ListenerFiles() = %+v, %v, want one with a path", files, err)
		}
		return files
	}
	failed := takesOver(t, give(old), Options{Loops: 1})
	_ = failed.Shutdown(t.Context())
	if !is() {
		t.Fatal("one that has never run has removed the path")
	}
	roundTrip(t, dial(t, a))
	next := takesOver(t, give(old), Options{Loops: 2})
	_ = old.StopAccepting(t.Context())
	run(t, next)
	roundTrip(t, dial(t, a))
	last := takesOver(t, give(next), Options{Loops: 1})
	_ = next.StopAccepting(t.Context())
	if !is() {
		t.Fatal("one that has given it away has removed the path")
	}
	run(t, last)
	roundTrip(t, dial(t, a))
	_ = last.StopAccepting(t.Context())
	if is() {
		t.Error("the path is there, and nobody listens")
	}
}

// A path that somebody else has bound again is not given away, nor removed.
func TestAPathThatIsAnothersStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	e, _ := start(t, &hooks{}, Options{Loops: 1}, "unix:"+path)
	_ = os.Remove(path)
	start(t, &hooks{}, Options{Loops: 1}, "unix:"+path)
	files, err := e.ListenerFiles()
	if err != nil || files[0].OwnPath {
		t.Errorf("ListenerFiles() = %+v, %v, want that the path is not the engine's", files, err)
	}
	_ = files[0].File.Close()
	e.KeepListeners()
	_ = e.StopAccepting(t.Context())
	if _, err := os.Lstat(path); err != nil {
		t.Error("another's path is removed")
	}
}

// When nobody has taken its listeners over, an engine stops as if it had never given them
// away: who waits is served, and its path removed.
func TestListenersThatAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, addr := range []string{"127.0.0.1:0", "unix:" + path} {
		e, a := start(t, &hooks{data: echo}, Options{Loops: 2}, addr)
		files, err := e.ListenerFiles()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			_ = f.File.Close()
		}
		quieten(t, e, true)
		var clients []net.Conn
		for range 20 { // nobody accepts them
			clients = append(clients, dial(t, a))
		}
		e.KeepListeners()
		if err := e.StopAccepting(t.Context()); err != nil {
			t.Fatal(err)
		}
		quieten(t, e, false)
		for _, c := range clients {
			roundTrip(t, c)
		}
		if _, err := net.Dial(a.Network(), a.String()); err == nil {
			t.Error("somebody listens")
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the path is there")
		}
	}
}

// Clients that come all the time while listeners go from one engine to the next are all
// served: no one is reset, nor waits for an engine that has gone.
func TestNobodyIsLostWhileListenersGo(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		e, a := start(t, &hooks{data: echo}, Options{Loops: 2}, addr)
		var stop atomic.Bool
		var served atomic.Int64
		var left sync.WaitGroup
		for range 4 {
			left.Go(func() {
				for b := make([]byte, 4); !stop.Load(); served.Add(1) {
					c, err := net.Dial(a.Network(), a.String())
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(60 * time.Second))
					_, werr := c.Write([]byte("ping"))
					_, rerr := io.ReadFull(c, b)
					if err := errors.Join(werr, rerr, c.Close()); err != nil {
						t.Errorf("a client after %d: %v", served.Load(), err)
						return
					}
				}
			})
		}
		for range 5 {
			at := served.Load()
			eventually(t, "clients are served", func() bool { return served.Load() > at+20 || t.Failed() })
			files, err := e.ListenerFiles()
			if err != nil {
				t.Fatal(err)
			}
			next := takesOver(t, files, Options{Loops: 2})
			quieten(t, e, true)
			// Those that are open stay, and are served on.
			_ = e.StopAccepting(t.Context())
			quieten(t, e, false)
			run(t, next)
			e = next
		}
		stop.Store(true)
		left.Wait()
	}
}
