package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A sink is a log that can be held up.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// lines returns the lines about connections.
func (s *sink) lines(t *testing.T) (all []map[string]any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := range strings.Lines(s.text.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.HasPrefix(fmt.Sprint(m["msg"]), "connection: ") {
			all = append(all, m)
		}
	}
	return all
}

func start(t *testing.T, waiting int) (*siotest.Server, *Journal, *sink) {
	t.Helper()
	to := new(sink)
	kit := siotest.New(t, sio.Options{KeepHandshake: sio.KeepAlways})
	kit.Of("/").OnConnect(func(sio.Socket) error { return nil })
	kit.Of("/two").OnConnect(func(sio.Socket) error { return nil })
	j := newJournal(kit.Server, slog.New(slog.NewJSONHandler(to, nil)), waiting)
	t.Cleanup(j.Close)
	return kit, j, to
}

// All of a connection is written, of a client whatever it says, and nothing when no part
// of the connections is to be.
func TestJournal(t *testing.T) {
	kit, j, to := start(t, waiting)
	join := func(agent string) *siotest.Client {
		o := siotest.Options{Header: map[string][]string{"User-Agent": {agent}}}
		c := kit.ConnectWith("/", o)
		return c
	}
	join("quiet").Drop()
	j.Apply(1)
	c := join("evil \u202e\" " + strings.Repeat("x", 2000))
	c.Drop()
	j.Apply(0)
	join("quiet again").Drop()
	j.Close()
	j.Apply(1) // is nothing any more
	all := to.lines(t)
	if len(all) != 2 {
		t.Fatalf("%d lines: %v", len(all), all)
	}
	in, out := all[0], all[1]
	if in["msg"] != "connection: a namespace is entered" || in["namespace"] != "/" || in["transport"] == "" || in["sid"] == "" || in["recovered"] != false || in["conn"] != out["conn"] {
		t.Errorf("who enters is %v", in)
	}
	if agent := fmt.Sprint(in["user-agent"]); !strings.HasPrefix(agent, "evil") || len(agent) > 300 {
		t.Errorf("its program is %q", agent)
	}
	if out["msg"] != "connection: a namespace is left" || out["reason"] == "" || out["sid"] != in["sid"] {
		t.Errorf("who leaves is %v", out)
	}
}

// Of names as they come, such a part is chosen; a connection always or never.
func TestChosen(t *testing.T) {
	j := &Journal{}
	for _, share := range []float64{0, 0.001, 0.1, 0.5, 1} {
		j.below.Store(below(share))
		n := 0
		const all = 100_000
		for i := range all {
			conn := fmt.Sprintf("%x", uint64(i%4)<<56|1<<32|uint64(i/4))
			if j.chosen(conn) {
				n++
			}
			if j.chosen(conn) != j.chosen(strings.Clone(conn)) {
				t.Fatalf("%s is chosen at one time and not at another", conn)
			}
		}
		if got := float64(n) / all; got < share*0.8 || got > share*1.2+1e-5 {
			t.Errorf("of %g, %g are chosen", share, got)
		}
	}
}

// Loops do not wait for a log that does not take anything: what is too much is counted.
func TestSlowLog(t *testing.T) {
	const waiting = 10
	kit, j, to := start(t, waiting)
	j.Apply(1)
	to.mu.Lock() // takes nothing
	for range waiting {
		kit.Connect("/").Drop()
	}
	to.mu.Unlock()
	j.Close()
	to.mu.Lock()
	lost := strings.Contains(to.text.String(), `lines about connections are not in the log`)
	to.mu.Unlock()
	if n := len(to.lines(t)); n < waiting || n > waiting+2 || !lost {
		t.Errorf("%d lines are written, and that some are lost: %t", n, lost)
	}
}

// A file that was moved goes on as a new one; one that cannot be opened again stays.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	var other bytes.Buffer
	f, err := Open(path, &other)
	if err != nil {
		t.Fatal(err)
	}
	write := func(s string) {
		t.Helper()
		if n, err := f.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	is := func(name, want string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != want {
			t.Errorf("%s has %q, %v, want %q", name, b, err, want)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("the file is %v, %v", st, err)
	}
	write("a\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("b\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("c\n")
	is("log.1", "a\nb\n")
	is("log", "c\n")
	if err := errors.Join(os.Rename(path, path+".2"), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil {
		t.Error("a directory is opened as a file")
	}
	write("d\n")
	is("log.2", "c\nd\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	write("e\n")
	if other.String() != "e\n" {
		t.Errorf("what cannot be written is %q", other.String())
	}
	if _, err := Open(path, &other); err == nil {
		t.Error("a directory is opened as a file")
	}
}

// Two processes write to one file, while the one takes over from the other: no line is lost
// or cut by the other's.
func TestTwoProcessesWriteToOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var both sync.WaitGroup
	for _, word := range []string{"before", "behind"} {
		f, err := Open(path, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		both.Go(func() { // ends with its lines
			for i := range 1000 {
				if _, err := fmt.Fprintf(f, "%s %d %s\n", word, i, strings.Repeat("x", i)); err != nil {
					t.Error(err)
				}
			}
			_ = f.Close()
		})
	}
	both.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for line := range strings.Lines(string(text)) {
		word, _, _ := strings.Cut(line, " ")
		if i := next[word]; line != fmt.Sprintf("%s %d %s\n", word, i, strings.Repeat("x", i)) {
			t.Fatalf("line %d of %s is %q", i, word, line)
		}
		next[word]++
	}
	if next["before"] != 1000 || next["behind"] != 1000 {
		t.Errorf("there are %v", next)
	}
}
