//go:build interop

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// bridgeKey opens the internal listener to applications.
const bridgeKey = "0123456789abcdefghijklmnop"

// bridgePackage is where the npm package is.
func bridgePackage(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../internal/bridge/npm")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A program is a process of Node that is asked by lines of JSON, and says what it finds
// wrong. It ends with the test.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.Writer
	done chan struct{} // closed when it has ended

	mu      sync.Mutex
	uid     string // of an application, once it has said so
	next    int
	answers map[int]chan answer
	wrong   []string
}

func startProgram(t *testing.T, script string, options any) *program {
	t.Helper()
	arg, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, name: script, done: make(chan struct{}), answers: map[int]chan answer{}}
	p.cmd = exec.Command("node", script, string(arg))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// ends with the process
	go p.read(bufio.NewScanner(out))
	t.Cleanup(func() {
		_ = in.Close()
		select {
		case <-p.done:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			t.Errorf("%s does not end", script)
			<-p.done
		}
		for _, text := range p.found() {
			t.Error(text)
		}
	})
	return p
}

func (p *program) read(lines *bufio.Scanner) {
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			UID, Problem string
			ID           int
			answer
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line.Problem = fmt.Sprintf("%s says %s", p.name, lines.Text())
		}
		p.mu.Lock()
		switch {
		case line.Problem != "":
			p.wrong = append(p.wrong, line.Problem)
		case line.UID != "":
			p.uid = line.UID
		default:
			p.answers[line.ID] <- line.answer
			delete(p.answers, line.ID)
		}
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	close(p.done)
}

// found returns what it has found wrong since the last time.
func (p *program) found() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.wrong
	p.wrong = nil
	return all
}

// ask asks it, and decodes its answer into result.
func (p *program) ask(op string, args map[string]any, result any) {
	p.t.Helper()
	p.mu.Lock()
	p.next++
	id, came := p.next, make(chan answer, 1)
	p.answers[id] = came
	p.mu.Unlock()
	what := map[string]any{"id": id, "op": op}
	for k, v := range args {
		what[k] = v
	}
	line, err := json.Marshal(what)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("%s %s: %v", p.name, op, err)
	}
	select {
	case a := <-came:
		if a.Error != "" {
			p.t.Fatalf("%s %s: %s", p.name, op, a.Error)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				p.t.Fatalf("%s %s: %v", p.name, op, err)
			}
		}
	case <-p.done:
		p.t.Fatalf("%s has ended, and does not answer %s", p.name, op)
	case <-time.After(3 * patience):
		p.t.Fatalf("%s does not answer %s", p.name, op)
	}
}

// number is ask for what is answered by a number.
func (p *program) number(op string, args map[string]any) (n int) {
	p.t.Helper()
	p.ask(op, args, &n)
	return n
}

// id waits for the name that the process of an application has.
func (p *program) id() string {
	p.t.Helper()
	eventually(p.t, p.name+" has started, which", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.uid != ""
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.uid
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ended waits for the end of the process, which a signal has asked for.
func (p *program) ended() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
}

// A passage is between applications and an edge: it passes connections on, and may cut
// them, or let them stand still.
type passage struct {
	ln      net.Listener
	to      string
	cutting atomic.Int64 // mean of the bytes after which a connection is cut; 0: it is not
	still   atomic.Bool
	cuts    atomic.Int64
	open    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func startPassage(t *testing.T, to string) *passage {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &passage{ln: ln, to: to, conns: map[net.Conn]bool{}}
	p.open.Go(func() { // ends with the test
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.open.Go(func() { p.pass(c) }) // ends with the connection
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.still.Store(false)
		p.cut()
		p.open.Wait()
	})
	return p
}

func (p *passage) url() string { return "http://" + p.ln.Addr().String() }

// cut ends all connections.
func (p *passage) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *passage) pass(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return // the edge is away
	}
	defer to.Close()
	p.mu.Lock()
	p.conns[c], p.conns[to] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		delete(p.conns, to)
		p.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, c) }) // ends with the connection
	p.copy(c, to)
	both.Wait()
}

// copy passes bytes on until one side ends, or it is to be cut: in the middle of a message
// as well as between two.
func (p *passage) copy(dst, src net.Conn) {
	defer dst.Close()
	defer src.Close()
	b := make([]byte, 16<<10)
	left := -1
	for {
		for p.still.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		n, err := src.Read(b)
		mean := int(p.cutting.Load())
		switch {
		case mean == 0:
			left = -1
		case left < 0:
			left = rand.IntN(2 * mean)
		}
		cut := left >= 0 && n > left
		if cut {
			n = left
			p.cuts.Add(1)
		} else if left >= 0 {
			left -= n
		}
		if _, werr := dst.Write(b[:n]); werr != nil || err != nil || cut {
			return
		}
	}
}
