package listen

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// managed returns what hears what the process says of itself from now on.
func managed(t *testing.T) (next func() string) {
	t.Helper()
	path := shortPath(t)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		b := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestManager(t *testing.T) {
	next := managed(t)
	s := serverOf(t, discard, func(*sio.Server) {})
	m := NewManager(s.srv.Engine(), discard)
	m.Ready()
	m.Reloading()
	m.Stopping(30 * time.Second)
	for _, want := range []string{"READY=1", `RELOADING=1\nMONOTONIC_USEC=[1-9]\d+`, `STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000`} {
		if got := next(); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("it is told %q, want %s", got, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan bool)
	// ends with cancel
	go func() { m.Run(ctx, func() string { return "3 connections" }); close(done) }()
	if got := next(); got != "STATUS=3 connections" {
		t.Errorf("it is told %q", got)
	}
	cancel()
	<-done
}

// While a loop hangs the watchdog hears nothing, and is told who; afterwards it does
// again.
func TestWatchdog(t *testing.T) {
	next := managed(t)
	t.Setenv("WATCHDOG_USEC", "400000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	s := serverOf(t, discard, func(*sio.Server) {})
	e := s.srv.Engine()
	m := NewManager(e, discard)
	calm := func() string { return "calm" }
	until := func(want string) {
		t.Helper()
		m.look(calm, false)
		for got := next(); got != want; got = next() { // a loaded machine may have been late before
			if strings.HasPrefix(got, "STATUS=loops") {
				m.look(calm, false)
			}
		}
	}
	until("WATCHDOG=1")
	hold, held := make(chan bool), make(chan bool)
	e.Loops()[0].Post(task(func() { close(held); <-hold }))
	<-held
	for range 3 {
		m.look(calm, true)
	}
	got := next()
	for ; !strings.HasPrefix(got, "STATUS=loops that do not come: "); got = next() {
		if got == "WATCHDOG=1" {
			t.Fatal("of a loop that hangs the watchdog is told that all is well")
		}
	}
	m.tell("mark")
	if got := next(); got != "mark" {
		t.Errorf("and then it is told %q", got)
	}
	close(hold)
	until("WATCHDOG=1")
}

type task func()

func (f task) Run(*loop.Loop) { f() }

// Of a process that another one has taken over from systemd hears that, and no more.
func TestManagerHasASuccessor(t *testing.T) {
	next := managed(t)
	s := serverOf(t, discard, func(*sio.Server) {})
	m := NewManager(s.srv.Engine(), discard)
	other := NewManager(s.srv.Engine(), discard)
	m.Succeeded(4711)
	m.Ready()
	m.Stopping(time.Second)
	m.Run(context.Background(), func() string { return "busy" }) // ends
	other.Silence()
	other.Ready()
	other = NewManager(s.srv.Engine(), discard)
	other.tell("mark")
	for _, want := range []string{"MAINPID=4711", "mark"} {
		if got := next(); got != want {
			t.Errorf("it is told %q, want %s", got, want)
		}
	}
}

// Another process's watchdog is not served, and where nobody is told nothing is done.
func TestNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m := NewManager(nil, discard)
	m.Ready()
	m.Reloading()
	m.Stopping(0)
	m.Run(context.Background(), nil)
	next := managed(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	t.Setenv("WATCHDOG_PID", "1")
	if m := NewManager(nil, discard); m.watchdog != 0 {
		t.Errorf("the watchdog of another process is served every %v", m.watchdog)
	} else if m.Ready(); next() != "READY=1" {
		t.Error("it is not told")
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	t.Setenv("WATCHDOG_PID", "")
	var log text
	if NewManager(nil, logTo(&log)); !strings.Contains(log.String(), "watchdog") {
		t.Errorf("the log is %q", log.String())
	}
	t.Setenv("NOTIFY_SOCKET", "/nonexistent")
	if NewManager(nil, logTo(&log)).Ready(); !strings.Contains(log.String(), "could not be told") {
		t.Errorf("the log is %q", log.String())
	}
}
