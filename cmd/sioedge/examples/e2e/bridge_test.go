//go:build interop

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
)

// said keeps what a program prints, and who reads it may write to it.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A guest is somebody in the chat. What comes is kept by the client's goroutine.
type guest struct {
	t  *testing.T
	c  *ioclient.Client
	mu sync.Mutex

	lost  []string // why connections ended
	heard []string // texts of messages
}

// enter has somebody come into the room tea.
func enter(t *testing.T, edge, nick string) *guest {
	t.Helper()
	target, err := ioclient.ParseTarget("http://" + edge + "/chat")
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t}
	auth, _ := json.Marshal(map[string]string{"nick": nick, "room": "tea"})
	g.c, err = ioclient.New(ioclient.Options{Target: target, Auth: auth, Notify: g.note})
	if err != nil {
		t.Fatal(err)
	}
	// ends with the test
	go func() { _ = g.c.Run() }()
	t.Cleanup(func() { g.c.Close(context.Background()) })
	if answer := g.ask("join", map[string]string{"nick": nick, "room": "tea"}); !strings.Contains(answer, `"room":"tea"`) {
		t.Fatalf("%s joins: %s", nick, answer)
	}
	return g
}

func (g *guest) note(n ioclient.Notice) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case n.Kind == ioclient.Disconnected:
		g.lost = append(g.lost, n.Reason)
	case n.Kind == ioclient.Arrived && n.Event == "message":
		var entry struct{ Text string }
		_ = json.Unmarshal(n.Args[0], &entry)
		g.heard = append(g.heard, entry.Text)
	}
}

// ask returns the answer to an event.
func (g *guest) ask(event string, arg any) string {
	g.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	a, err := g.c.Ask(ctx, "/chat", event, arg)
	if err != nil || len(a.Args) == 0 {
		g.t.Fatalf("%s is answered %s, %v", event, a.Args, err)
	}
	return string(a.Args[0])
}

func (g *guest) says(text string) {
	g.t.Helper()
	if answer := g.ask("message", map[string]string{"room": "tea", "text": text, "key": text}); !strings.Contains(answer, `"id"`) {
		g.t.Errorf("%q is answered %s", text, answer)
	}
}

// hears waits until these are all the messages that came, in this order.
func (g *guest) hears(want ...string) {
	g.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		g.mu.Lock()
		heard, lost := fmt.Sprint(g.heard), fmt.Sprint(g.lost)
		g.mu.Unlock()
		if heard == fmt.Sprint(want) && lost == "[]" {
			return
		}
		if time.Now().After(end) || lost != "[]" {
			g.t.Fatalf("heard %s, want %v; connections that were lost: %s", heard, want, lost)
		}
	}
}

var processLine = regexp.MustCompile(`(?m)^process (\d+): http`)

// processes waits until so many have been started, and returns the numbers of all.
func processes(t *testing.T, out *said, n int) []int {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var pids []int
		for _, m := range processLine.FindAllStringSubmatch(out.String(), -1) {
			pid, _ := strconv.Atoi(m[1])
			pids = append(pids, pid)
		}
		if len(pids) >= n {
			return pids
		}
		if time.Now().After(end) {
			t.Fatalf("%d processes have started, want %d:\n%s", len(pids), n, out)
		}
	}
}

// free returns addresses where nobody listens.
func free(t *testing.T, n int) (places []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		places = append(places, l.Addr().String())
	}
	return places
}

// What run says to try: processes of the application stop and are killed while two people
// talk, who notice nothing.
func TestBridge(t *testing.T) {
	sioedge, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	places := free(t, 4)
	port := func(i int) string { _, p, _ := net.SplitHostPort(places[i]); return p }
	out := &said{}
	cmd := exec.Command("../bridge/run")
	cmd.Env = append(os.Environ(), "SIOEDGE="+sioedge, "EDGE="+places[0], "INTERNAL="+places[1], "LISTEN_1="+port(2), "LISTEN_2="+port(3))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("run said:\n%s", out)
		}
	})
	pids := processes(t, out, 2)
	ada, bob := enter(t, places[0], "Ada"), enter(t, places[0], "Bob")
	ada.says("hello")
	bob.hears("hello")
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(pids[i], signal)
		ada.says(signal.String())
		bob.says("after " + signal.String())
		processes(t, out, 3+i) // the one that was started in its place
	}
	bob.hears("hello", "terminated", "killed")
	ada.hears("after terminated", "after killed")
	if answer := ada.ask("join", map[string]string{"nick": "Ada", "room": "tea"}); !strings.Contains(answer, `"count":2`) || strings.Count(answer, `"key"`) != 5 {
		t.Errorf("after all the room is %s", answer)
	}
}
