package ioclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/wsframe"
)

// A script under testdata is a conversation by WebSocket, a line a step:
//
//	open TARGET    the client opens a WebSocket, for this target
//	C TEXT         the client sends a text message
//	CB HEX         the client sends a binary message
//	S TEXT         the server sends one
//	SB HEX         the server sends a binary one
//	S raw HEX      the server sends bytes
//	close N TEXT   the server closes with that code
//	ended          the client has ended the connection
//	N NOTICE       Options.Notify is told, as told says
//	do CALL        the program calls a method
//	answer TEXT    what Ask returns
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			playTranscript(t, string(b))
		})
	}
}

// A scene is a transcript that is played.
type scene struct {
	t       *testing.T
	l       net.Listener
	c       *running
	conn    net.Conn
	in      *bufio.Reader
	reader  wsframe.Reader
	buf     []byte
	answers chan string
}

func playTranscript(t *testing.T, script string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := &scene{t: t, l: l, answers: make(chan string, 10)}
	s.c = connect(t, "http://"+l.Addr().String()+"/", Options{Transports: []string{WebSocket}, Auth: json.RawMessage(`{"token":"x"}`),
		MaxMessage: 1000, Backoff: Backoff{Min: time.Millisecond}})
	for i, line := range strings.Split(script, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := s.step(verb, strings.TrimSpace(rest)); err != nil {
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func (s *scene) step(verb, rest string) error {
	switch verb {
	case "open":
		return s.open(rest)
	case "C", "CB":
		return s.expect(verb == "CB", rest)
	case "S":
		if raw, ok := strings.CutPrefix(rest, "raw "); ok {
			return s.send(raw)
		}
		_, err := s.conn.Write(wsframe.AppendFrame(nil, wsframe.Text, []byte(rest)))
		return err
	case "SB":
		b, err := hex.DecodeString(rest)
		if err == nil {
			_, err = s.conn.Write(wsframe.AppendFrame(nil, wsframe.Binary, b))
		}
		return err
	case "close":
		code, text, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(code)
		if err == nil {
			_, err = s.conn.Write(wsframe.AppendClose(nil, uint16(n), text))
		}
		return err
	case "ended":
		return s.ended()
	case "N":
		return s.notice(rest)
	case "do":
		return s.do(rest)
	case "answer":
		select {
		case got := <-s.answers:
			if got != rest {
				return fmt.Errorf("got %s", got)
			}
			return nil
		case <-time.After(patience):
			return context.DeadlineExceeded
		}
	}
	return fmt.Errorf("there is no %q", verb)
}

func (s *scene) send(text string) error {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err == nil {
		_, err = s.conn.Write(b)
	}
	return err
}

func (s *scene) open(target string) (err error) {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.conn, err = s.l.Accept(); err != nil {
		return err
	}
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	s.in = bufio.NewReader(s.conn)
	s.reader, s.buf = wsframe.Reader{}, nil
	r, err := http.ReadRequest(s.in)
	if err != nil {
		return err
	}
	if r.RequestURI != target {
		return fmt.Errorf("it asked for %s", r.RequestURI)
	}
	get := func(name string) []byte {
		if r.Header.Values(name) == nil {
			return nil
		}
		return []byte(r.Header.Get(name))
	}
	if bad := wsframe.CheckUpgrade(get); bad != nil {
		return bad
	}
	_, err = s.conn.Write(wsframe.AppendUpgrade(nil, get("Sec-WebSocket-Key"), nil, nil))
	return err
}

// next returns the next message of the client.
func (s *scene) next() (wsframe.Message, error) {
	for {
		m, n, err := s.reader.Next(s.buf)
		s.buf = s.buf[n:]
		if err != nil || m.Op != 0 {
			return m, err
		}
		more := make([]byte, 4096)
		k, err := s.in.Read(more)
		if err != nil {
			return m, err
		}
		s.buf = append(bytes.Clone(s.buf), more[:k]...)
	}
}

func (s *scene) expect(binary bool, want string) error {
	m, err := s.next()
	if err != nil {
		return err
	}
	got := string(m.Data)
	if binary {
		got = hex.EncodeToString(m.Data)
	}
	if got != want || binary != (m.Op == wsframe.Binary) {
		return fmt.Errorf("it sent %d %s", m.Op, got)
	}
	return nil
}

// ended expects the end of the connection, and maybe a close frame before it.
func (s *scene) ended() error {
	for {
		m, err := s.next()
		if err != nil {
			return nil
		}
		if m.Op != wsframe.Close {
			return fmt.Errorf("it sent %q", m.Data)
		}
	}
}

func (s *scene) notice(want string) error {
	select {
	case n := <-s.c.notices:
		if got := told(n); got != want {
			return fmt.Errorf("it told %s", got)
		}
		return nil
	case <-time.After(patience):
		return context.DeadlineExceeded
	}
}

// told is a notice as text.
func told(n Notice) string {
	text := string(n.Kind)
	add := func(format string, some bool, arg any) {
		if some {
			text += fmt.Sprintf(" "+format, arg)
		}
	}
	add("%s", n.Namespace != "", n.Namespace)
	add("%s", n.SID != "", n.SID)
	add("recovered%.0v", n.Recovered, "")
	add("%s", n.Event != "", n.Event)
	for _, a := range n.Args {
		add("%s", true, a)
	}
	for _, a := range n.Attachments {
		add("<%x>", true, a)
	}
	add("asks=%d", n.Asks, n.ID)
	add("%s", n.Reason != "", n.Reason)
	add("%d", n.Code != 0, n.Code)
	add("%s", n.Message != "", n.Message)
	add("%s", n.Data != nil, n.Data)
	add("attempt=%d", n.Attempt != 0, n.Attempt)
	return text
}

// do calls a method: emit, ask, answer, of, leave, disconnect or reconnect.
func (s *scene) do(call string) error {
	words := strings.Fields(call)
	args := []any{}
	for _, w := range words[min(3, len(words)):] {
		if b, err := hex.DecodeString(strings.TrimPrefix(w, "hex:")); err == nil && strings.HasPrefix(w, "hex:") {
			args = append(args, b)
		} else {
			args = append(args, json.RawMessage(w))
		}
	}
	switch words[0] {
	case "emit":
		return s.c.Emit(words[1], words[2], args...)
	case "ask":
		// ends with the answer
		go func() {
			a, err := s.c.Ask(s.t.Context(), words[1], words[2], args...)
			s.answers <- strings.TrimSpace(fmt.Sprintf("%s %s", bytes.Join(texts(a.Args), []byte(" ")), errorText(err)))
		}()
		return s.asked(words[1])
	case "answer":
		id, err := strconv.ParseUint(words[2], 10, 64)
		if err != nil {
			return err
		}
		return s.c.Answer(words[1], id, args...)
	case "of":
		return s.c.Of(words[1])
	case "leave":
		return s.c.Leave(s.t.Context(), words[1])
	case "disconnect":
		s.c.Disconnect(s.t.Context())
	case "reconnect":
		s.c.Reconnect()
	default:
		return fmt.Errorf("there is no %q", words[0])
	}
	return nil
}

// asked waits until one more acknowledgement is waited for.
func (s *scene) asked(space string) error {
	for range 1000 {
		for _, n := range s.c.Info().Namespaces {
			if n.Name == space && n.Pending > 0 {
				return nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return context.DeadlineExceeded
}

func texts(args []json.RawMessage) (all [][]byte) {
	for _, a := range args {
		all = append(all, a)
	}
	return all
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return "error: " + err.Error()
}
