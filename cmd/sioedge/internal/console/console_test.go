package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/sio"
)

const patience = 20 * time.Second

// listen starts a server and returns its URL. Its events: echo is answered with what came
// or sent back, ask has the server ask question and answers with what it is told, say
// emits its arguments as an event, bye disconnects, list answers with rooms.
func listen(t *testing.T) string {
	t.Helper()
	srv, err := sio.New(sio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/closed").Use(func(sio.Socket) error { return &sio.Error{Message: "keep\x1b[2J out", Data: "why"} })
	for _, ns := range []*sio.Namespace{srv.Of("/"), srv.Of("/other")} {
		ns.Handle("echo", func(s sio.Socket, m *sio.Msg) error {
			if m.WantsAck() {
				return m.Ack(m.Args)
			}
			return s.Emit("echo", m.Args)
		})
		ns.Handle("ask", func(s sio.Socket, m *sio.Msg) error {
			ctx, done := context.WithTimeout(context.Background(), patience)
			defer done()
			a, err := s.EmitAck(ctx, "question", 1)
			if err != nil {
				return err
			}
			return m.Ack(a)
		})
		ns.Handle("say", func(s sio.Socket, m *sio.Msg) error { return s.Emit("\x1b]0;t\x07", "a\u009b2J\u202e", []byte("xyz")) })
		ns.Handle("bye", func(s sio.Socket, _ *sio.Msg) error { return s.Disconnect(sio.DisconnectOptions{}) })
		ns.Handle("list", func(_ sio.Socket, m *sio.Msg) error { return m.Ack([]string{"r1"}) })
	}
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		_ = srv.Shutdown(ctx)
		<-served
	})
	return "http://" + addr.String()
}

// A page is what has been written, by any goroutine.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// script runs a script and returns what it has written.
func script(t *testing.T, url string, asJSON bool, s Script) (out, errs string, err error) {
	t.Helper()
	target, err := ioclient.ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	var o, e page
	c, err := New(Options{Client: ioclient.Options{Target: target, FailFirst: true, Transports: []string{ioclient.WebSocket}},
		Print: &Printer{Out: &o, Err: &e, JSON: asJSON}, Timeout: patience, Script: true, Bound: map[string]string{"rooms": "list"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	err = c.RunScript(ctx, s)
	c.Close(ctx)
	return o.String(), e.String(), err
}

var took = regexp.MustCompile(`(echo|ask|list|after) [0-9.]+(µs|ms|s)`)

func TestScript(t *testing.T) {
	url := listen(t)
	for _, c := range []struct {
		name, nsp string
		lines     string
		s         Script
		want      string // on standard output, with T for durations
		err       error
	}{
		{"an answer", "", `ask echo "hi" word 1.50 {"a": [1]}`, Script{}, `= / echo T "hi" "word" 1.50 {"a":[1]}`, nil},
		{"an event", "/other", "# nothing\n\nemit echo x", Script{Once: true}, `< /other echo "x"`, nil},
		{"escapes", "", "emit say", Script{Once: true}, `< / "\x1b]0;t\a" "a\u009b2J\u202e" <3 bytes>`, nil},
		{"rooms", "", "rooms", Script{}, `= / list T ["r1"]`, nil},
		{"another namespace", "", "of /other\nask echo 1\nleave\nask echo 2", Script{}, "= /other echo T 1\n= / echo T 2", nil},
		{"automatic answers", "", "ack on yes 2\nask ask", Script{}, "< / question 1  (asks: answer 0 …)\n= / ask T \"yes\" 2", nil},
		{"filters", "", "on other\nemit echo 1\nask echo 2\non\nemit echo 3\nask echo 4\noff echo\nemit echo 5\nask echo 6", Script{},
			"= / echo T 2\n< / echo 3\n= / echo T 4\n= / echo T 6", nil},
		{"a ping", "", "ping", Script{}, "* pong after T", nil},
		{"quit", "", "quit\nask echo 1", Script{}, "", nil},
		{"what is waited for", "", "", Script{Once: true, For: 50 * time.Millisecond}, "", ErrNoAnswer},
		{"staying", "", "", Script{For: 50 * time.Millisecond}, "", nil},
		{"a refusal", "/closed", "emit echo 1", Script{}, "", ErrRefused},
		{"a later refusal", "", "of /closed", Script{}, "", ErrRefused},
		{"a mistake", "", "emit\nask echo 1", Script{}, "", errAny},
		{"no command", "", "emits x", Script{}, "", errAny},
		{"sent away", "", "emit bye", Script{For: -1}, "", ErrGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.Input = strings.NewReader(c.lines)
			out, errs, err := script(t, url+c.nsp, false, c.s)
			out = strings.TrimSpace(took.ReplaceAllString(out, "$1 T"))
			if out != c.want || !(errors.Is(err, c.err) || c.err == errAny && err != nil) {
				t.Errorf("%v, wrote\n%s\nwant %v\n%s\nand to standard error\n%s", err, out, c.err, c.want, errs)
			}
			if strings.ContainsRune(out+errs, 0x1b) {
				t.Errorf("an escape sequence is in %q", out+errs)
			}
		})
	}
}

var errAny = errors.New("any")

func TestScriptInJSON(t *testing.T) {
	out, errs, err := script(t, listen(t), true, Script{Lines: []string{"emit say", "ask echo 1", "ping", "bogus"}})
	if err == nil || errs != "" {
		t.Errorf("%v, standard error has %s", err, errs)
	}
	var types []string
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var r record
		if err := d.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		types = append(types, r.Type)
		switch r.Type {
		case "event":
			if r.Event != "\x1b]0;t\x07" || len(r.Args) != 2 || len(r.Attachments) != 1 || string(r.Attachments[0]) != "xyz" || r.Time == 0 {
				t.Errorf("event: %+v", r)
			}
		case "ack":
			if r.Event != "echo" || r.Ms == nil || len(r.Args) != 1 {
				t.Errorf("ack: %+v", r)
			}
		}
	}
	if got := strings.Join(types, " "); got != "open connect event ack pong disconnect" {
		t.Errorf("%s", got)
	}
	if strings.ContainsAny(out, "\x1b\x07\u009b\u202e") {
		t.Errorf("%q", out)
	}
}

// A script whose server is not there fails at once; one whose server goes away says so.
func TestScriptWithoutServer(t *testing.T) {
	_, _, err := script(t, "http://127.0.0.1:1", false, Script{For: -1})
	if !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
}

func TestComplete(t *testing.T) {
	c := Console{o: Options{Bound: map[string]string{"rooms": "list", "enter": "join"}}, events: []string{"chat", "cat", "dog"}}
	for line, want := range map[string]string{"e": "emit enter", "emit c": "emit chat,emit cat", "info c": "", "emit c x": "", "roo": "rooms", "x": ""} {
		sep := " "
		if strings.Contains(line, " ") {
			sep = ","
		}
		if got := strings.Join(c.Complete(line), sep); got != want {
			t.Errorf("Complete(%q) = %q, want %q", line, got, want)
		}
	}
	if got := common([]string{"emit chat", "emit cat"}); got != "emit c" {
		t.Errorf("common = %q", got)
	}
}

func TestBindings(t *testing.T) {
	c := Console{}
	for line, ok := range map[string]bool{"bind join subscribe": true, "bind rooms list": true, "bind emit x": false, "bind a": false, `bind "a b" x`: false} {
		if err := c.Do(line); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
	if c.o.Bound["join"] != "subscribe" || c.o.Bound["rooms"] != "list" || len(c.o.Bound) != 2 {
		t.Errorf("%v", c.o.Bound)
	}
}
