//go:build interop

// Package interop joins servers of Node and of this project to one cluster
// through a real Redis, with the npm client at each. make cluster installs what
// that needs.
package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A command is what a server, an emitter or the clients are told, as a line of
// JSON.
type command struct {
	ID       int    `json:"id"`
	Op       string `json:"op"`
	NS       string `json:"ns,omitempty"`
	From     string `json:"from,omitempty"` // the id of the socket that broadcasts
	SID      string `json:"sid,omitempty"`
	Rooms    []any  `json:"rooms,omitempty"` // strings and, for Node, numbers
	Except   []any  `json:"except,omitempty"`
	Volatile bool   `json:"volatile,omitempty"`
	Plain    bool   `json:"plain,omitempty"` // compress(false)
	Local    bool   `json:"local,omitempty"`
	Event    string `json:"event,omitempty"`
	Args     []any  `json:"args,omitempty"`
	Count    int    `json:"count,omitempty"` // so many, with their number behind the arguments
	Names    []any  `json:"names,omitempty"`
	Close    bool   `json:"close,omitempty"`
	What     string `json:"what,omitempty"`
	Timeout  int    `json:"timeout,omitempty"` // ms

	// For the clients.
	Name    string   `json:"name,omitempty"`
	URL     string   `json:"url,omitempty"`
	Share   string   `json:"share,omitempty"`
	Again   bool     `json:"again,omitempty"`
	Clients []string `json:"clients,omitempty"`
	Number  int      `json:"number,omitempty"`

	// For traffic.mjs.
	Transports []string `json:"transports,omitempty"`
	Every      int      `json:"every,omitempty"` // ms
	Origin     string   `json:"origin,omitempty"`
}

// bytes are binary in a command or an answer.
type bytes []byte

// MarshalJSON writes them as {"$b": hex}.
func (b bytes) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `{"$b":"%x"}`, []byte(b)), nil }

// undefined is no value at all.
var undefined = map[string]any{"$u": true}

// An answer to a command.
type answer struct {
	ID    int             `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error string          `json:"error"`
}

// decode decodes it into dst, unless nil.
func (a answer) decode(dst any) error {
	switch {
	case a.Error != "":
		return errors.New(a.Error)
	case dst == nil:
		return nil
	}
	return json.Unmarshal(a.OK, dst)
}

// A peer is something that does commands: a process, or a server of this one.
type peer struct {
	t    testing.TB
	name string
	url  string
	cmd  *exec.Cmd // nil if there is no process
	in   io.WriteCloser

	begun chan answer // gets the first

	writing sync.Mutex // held while a command is written: answers are read meanwhile

	mu      sync.Mutex
	last    int
	pending map[int]chan answer
	ended   bool
}

// maxLine bounds a line: what all clients received is in one.
const maxLine = 64 << 20

var errEnded = errors.New("the peer has ended")

// listen begins to read the answers of a peer.
func (p *peer) listen(out io.Reader) {
	p.begun = make(chan answer, 1)
	p.pending = map[int]chan answer{0: p.begun}
	// ends with the peer
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var a answer
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				a = answer{Error: fmt.Sprintf("%v: %s", err, lines.Text())}
			}
			p.mu.Lock()
			if c := p.pending[a.ID]; c != nil {
				c <- a
			}
			delete(p.pending, a.ID)
			p.mu.Unlock()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		for id, c := range p.pending {
			c <- answer{Error: errEnded.Error()}
			delete(p.pending, id)
		}
	}()
}

// allReady waits until the peers are ready, and know their URLs.
func allReady(peers ...*peer) {
	for _, p := range peers {
		p.t.Helper()
		p.ready()
	}
}

// ready waits for what a peer says first, its URL.
func (p *peer) ready() {
	p.t.Helper()
	a := p.wait(p.begun)
	if a.Error != "" {
		p.t.Fatalf("%s: %s", p.name, a.Error)
	}
	_ = json.Unmarshal(a.OK, &p.url) // null if it has none
}

func (p *peer) wait(c <-chan answer) answer {
	select {
	case a := <-c:
		return a
	case <-time.After(patience):
		return answer{Error: "no answer"}
	}
}

// send gives a command and returns where the answer will be.
func (p *peer) send(c command) <-chan answer {
	p.writing.Lock()
	defer p.writing.Unlock()
	ch := make(chan answer, 1)
	p.mu.Lock()
	p.last++
	c.ID = p.last
	ended := p.ended
	p.pending[c.ID] = ch
	p.mu.Unlock()
	line, err := json.Marshal(c)
	if err == nil && ended {
		err = errEnded
	}
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	if err == nil {
		return ch
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending[c.ID] == ch { // else it has an answer: that the peer has ended
		delete(p.pending, c.ID)
		ch <- answer{Error: err.Error()}
	}
	return ch
}

// try gives a command and decodes the answer into dst, unless nil.
func (p *peer) try(c command, dst any) error {
	if err := p.wait(p.send(c)).decode(dst); err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, c.Op, err)
	}
	return nil
}

// do is try where it must not fail.
func (p *peer) do(t testing.TB, c command, dst any) {
	t.Helper()
	if err := p.try(c, dst); err != nil {
		t.Fatal(err)
	}
}

// startProcess starts a process that does commands, once it is ready; the test's
// end ends it.
func startProcess(t testing.TB, name string, env []string, words ...string) *peer {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, name: name, cmd: cmd, in: in}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.listen(out)
	return p
}

// kill ends a process without a word. It may be dead already.
func (p *peer) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *peer) stop()   { stop(p.t, p.cmd) }
func (p *peer) resume() { signal(p.t, p.cmd, syscall.SIGCONT) }

// node starts a server of Node, or an emitter.
func node(t testing.TB, o nodeOptions) *peer {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return startProcess(t, o.Name, nil, "node", "server.mjs", string(text))
}

// nodeOptions are the argument of server.mjs.
type nodeOptions struct {
	Kind         string `json:"kind"`
	Name         string `json:"name"`
	Redis        string `json:"redis"`
	Prefix       string `json:"prefix"`
	OwnResponses bool   `json:"ownResponses"`
	Mode         string `json:"mode,omitempty"`
	Port         int    `json:"port,omitempty"`
}
