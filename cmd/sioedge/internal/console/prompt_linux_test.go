package console

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
)

// openTerminal returns both ends of a pseudo terminal: what a person has, and what a
// program has.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// A person types at a terminal: lines are edited, done again, and completed; what the
// server sends shows, and obeys nobody; the terminal is left as it was.
func TestPrompt(t *testing.T) {
	target, err := ioclient.ParseTarget(listen(t))
	if err != nil {
		t.Fatal(err)
	}
	person, program := openTerminal(t)
	before, err := term.GetState(int(program.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	screen := &page{}
	// ends with the terminal
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := person.Read(b)
			_, _ = screen.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	p, err := NewPrompt(program, program)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Client: ioclient.Options{Target: target, Transports: []string{ioclient.WebSocket}},
		Print: &Printer{Out: p, Err: p, Colors: true, Cut: true}, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	// ends with the person's wish
	go func() { ended <- c.RunPrompt(p) }()
	typed := func(keys, shows string, times int) {
		t.Helper()
		if _, err := person.WriteString(keys); err != nil {
			t.Fatal(err)
		}
		for late := time.Now().Add(patience); strings.Count(screen.String(), shows) < times; time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("after %q there is no %q in\n%q", keys, shows, screen.String())
			}
		}
	}
	typed("", "connected as", 1)
	typed("emit say\r", `"a\u009b2J\u202e" <3 bytes>`, 1)
	typed("\x1b[A\r", `"a\u009b2J\u202e" <3 bytes>`, 2)
	typed("pi\t\r", "pong after", 1)
	typed("bogus\r", `there is no command "bogus"`, 1)
	typed("ask echo 12\r", "\x1b[36m=\x1b[0m / echo", 1)
	typed("of /other\r", "/other> ", 1)
	typed("ask echo 13\r", "/other echo", 1)
	typed("\x04", "", 0)
	if err := <-ended; err != nil {
		t.Errorf("RunPrompt = %v", err)
	}
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	c.Close(ctx)
	p.Restore()
	if after, err := term.GetState(int(program.Fd())); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the terminal was left as %v, %v, it was %v", after, err, before)
	}
	if all := screen.String(); strings.Contains(all, "\x1b]") || strings.Contains(all, "\u009b") || strings.Contains(all, "\u202e") {
		t.Errorf("the server's sequences are in %q", all)
	}
}
