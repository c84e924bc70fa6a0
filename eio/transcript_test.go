package eio

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// TestTranscripts plays the dialogues under testdata against a server without
// sockets and with a clock of its own. One line is one thing that happens:
//
//	options pingInterval=300ms …      before anything else; times, sizes, flags
//	C a GET query                     connection a (opened when first named) sends a request to the path
//	C a POST query | body
//	C a WS query                      … or the opening handshake of a WebSocket
//	C a head METHOD target | Name: value | …   any request head
//	C a text data                     a masked frame; also: binary hex, ping data, close code
//	C a raw hex, C a bytes text       bytes as they are
//	C a FIN                           the client closes the connection
//	S a 200 body                      the next thing that a receives: a response, - for an empty body
//	S a 101
//	S a text data                     … or a frame; also: binary hex, pong data, close code (or -)
//	S a FIN                           the server has closed
//	S a nothing
//	A open, A message data, A binary hex, A close reason     what the handler sees, in order
//	H send data, H binary hex, H close, H volatile data      what the handler does
//	+300ms                            time passes
//
// In data, \x1e and the like are bytes, and $sid is the session's id: learnt
// when it is first expected. Whatever is received and not expected is an error.
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			p := &play{t: t, peers: map[string]*actor{}, file: f}
			for i, line := range strings.Split(string(text), "\n") {
				p.line = i + 1
				if line = strings.TrimRight(line, " "); line != "" && line[0] != '#' {
					p.do(line)
				}
			}
			p.end()
		})
	}
}

// A play is a transcript in progress.
type play struct {
	t     *testing.T
	file  string
	line  int
	o     Options
	sim   *loop.Sim
	srv   *Server
	peers map[string]*actor
	names []string
	sid   string
	now   Session // the handler's
	seen  []string
}

// An actor is a client connection; got is what it received and nobody has
// expected yet.
type actor struct {
	peer *loop.Peer
	got  []byte
}

func (p *play) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

func (p *play) Open(s Session, _ *http1.Request) { p.now = s; p.seen = append(p.seen, "open") }
func (p *play) Close(_ Session, r Reason)        { p.seen = append(p.seen, "close "+string(r)) }
func (p *play) Message(_ Session, data []byte, binary bool) {
	if binary {
		p.seen = append(p.seen, "binary "+hex.EncodeToString(data))
		return
	}
	p.seen = append(p.seen, "message "+string(data))
}

func (p *play) start() {
	if p.srv != nil {
		return
	}
	srv, err := NewServer(p, p.o)
	if err != nil {
		p.fail("%v", err)
	}
	srv.spread = func(d time.Duration) time.Duration { return d }
	p.srv = srv
	p.sim = loop.NewSim(srv, loop.Options{Loops: 1})
	srv.Bind(p.sim.Engine().Loops())
}

func (p *play) do(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	rest = p.unescape(strings.TrimLeft(rest, " "))
	switch {
	case verb == "options":
		p.options(rest)
		return
	case line[0] == '+':
		d, err := time.ParseDuration(line[1:])
		if err != nil {
			p.fail("%v", err)
		}
		p.start()
		p.sim.Advance(d)
		return
	}
	p.start()
	who, rest, _ := strings.Cut(rest, " ")
	switch verb {
	case "C":
		p.client(p.actor(who), strings.TrimLeft(rest, " "))
	case "S":
		p.expect(who, strings.TrimLeft(rest, " "))
	case "A":
		want := strings.TrimRight(who+" "+rest, " ")
		if len(p.seen) == 0 || p.seen[0] != want {
			p.fail("handler saw %q, want %q", p.seen, want)
		}
		p.seen = p.seen[1:]
	case "H":
		p.handler(who, rest)
	default:
		p.fail("unknown line %q", line)
	}
}

func (p *play) options(rest string) {
	for _, kv := range strings.Fields(rest) {
		k, v, _ := strings.Cut(kv, "=")
		d, _ := time.ParseDuration(v)
		n, _ := strconv.Atoi(v)
		switch k {
		case "pingInterval":
			p.o.PingInterval = d
		case "pingTimeout":
			p.o.PingTimeout = d
		case "upgradeTimeout":
			p.o.UpgradeTimeout = d
		case "headTimeout":
			p.o.HeadTimeout = d
		case "bodyTimeout":
			p.o.BodyTimeout = d
		case "idleTimeout":
			p.o.IdleTimeout = d
		case "maxPayload":
			p.o.MaxPayload = n
		case "maxQueue":
			p.o.MaxQueue = n
		case "noUpgrades":
			p.o.NoUpgrades = true
		case "transports":
			p.o.Transports = strings.Split(v, ",")
		case "path":
			p.o.Path = v
		default:
			p.fail("unknown option %s", k)
		}
	}
}

func (p *play) actor(name string) *actor {
	a := p.peers[name]
	if a == nil {
		a = &actor{peer: p.sim.Connect(0)}
		p.peers[name] = a
		p.names = append(p.names, name)
	}
	return a
}

func (p *play) client(a *actor, rest string) {
	verb, arg, _ := strings.Cut(rest, " ")
	path := p.srv.o.Path
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	frame := func(op wsframe.Op, data []byte) {
		b := wsframe.AppendHeader(nil, wsframe.Header{Fin: true, Op: op, Masked: true, Mask: key, Length: int64(len(data))})
		data = bytes.Clone(data)
		wsframe.Mask(data, key, 0)
		a.peer.Send(append(b, data...))
	}
	switch verb {
	case "GET":
		a.peer.Send(fmt.Appendf(nil, "GET %s?%s HTTP/1.1\r\nHost: h\r\n\r\n", path, arg))
	case "POST":
		query, body, _ := strings.Cut(arg, " | ")
		a.peer.Send(fmt.Appendf(nil, "POST %s?%s HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", path, query, len(body), body))
	case "WS":
		a.peer.Send(fmt.Appendf(nil, "GET %s?%s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, arg))
	case "head":
		a.peer.Send([]byte(strings.Replace(strings.ReplaceAll(arg, " | ", "\r\n"), "\r\n", " HTTP/1.1\r\n", 1) + "\r\n\r\n"))
	case "text":
		frame(wsframe.Text, []byte(arg))
	case "binary":
		frame(wsframe.Binary, p.hex(arg))
	case "ping":
		frame(wsframe.Ping, []byte(arg))
	case "close":
		var body []byte
		if code, err := strconv.Atoi(arg); err == nil {
			body = []byte{byte(code >> 8), byte(code)}
		}
		frame(wsframe.Close, body)
	case "raw":
		a.peer.Send(p.hex(arg))
	case "bytes":
		a.peer.Send([]byte(arg))
	case "FIN":
		a.peer.Close()
	default:
		p.fail("unknown action %q", verb)
	}
	p.sim.Turn()
}

func (p *play) handler(verb, arg string) {
	p.sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) {
		switch verb {
		case "send":
			p.now.Send(AppendText(nil, []byte(arg)))
		case "volatile":
			if p.now.Writable() {
				p.now.Send(AppendText(nil, []byte(arg)))
			}
		case "binary":
			p.now.Send(AppendBinary(nil, p.hex(arg)))
		case "prepared":
			p.now.SendPrepared(Prepare([]byte(arg), false), true)
		case "close":
			p.now.Close()
		default:
			p.fail("unknown action of the handler %q", verb)
		}
	}))
	p.sim.Turn()
}

// expect takes the next response or frame of what the actor received.
func (p *play) expect(who, want string) {
	p.t.Helper()
	p.sim.Turn()
	a := p.peers[who]
	if a == nil {
		p.fail("no connection %s", who)
	}
	a.got = append(a.got, a.peer.Received()...)
	var got string
	switch {
	case len(a.got) == 0 && a.peer.Closed():
		got = "FIN"
	case len(a.got) == 0:
		got = "nothing"
	case bytes.HasPrefix(a.got, []byte("HTTP/1.1 ")):
		got = p.response(a)
	default:
		got = p.frame(a)
	}
	if p.sid == "" && strings.Contains(want, "$sid") {
		p.sid = learn(got, want)
	}
	if want = strings.ReplaceAll(want, "$sid", p.sid); got != want {
		p.fail("%s received %q, want %q", who, got, want)
	}
}

// learn returns what stands in got where want has $sid.
func learn(got, want string) string {
	re := strings.ReplaceAll(regexp.QuoteMeta(want), `\$sid`, `([A-Za-z0-9_-]{20})`)
	if m := regexp.MustCompile("^" + re + "$").FindStringSubmatch(got); m != nil {
		return m[1]
	}
	return "?"
}

func (p *play) response(a *actor) string {
	head, body, ok := bytes.Cut(a.got, []byte("\r\n\r\n"))
	if !ok {
		p.fail("incomplete response %q", a.got)
	}
	status := strings.Fields(string(head))[1]
	length := 0
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		k, v, _ := strings.Cut(line, ": ")
		if http.CanonicalHeaderKey(k) == "Content-Length" {
			length, _ = strconv.Atoi(v)
		}
	}
	if length > len(body) {
		p.fail("incomplete body %q", body)
	}
	a.got = body[length:]
	if status == "101" {
		return status
	}
	if length == 0 {
		return status + " -"
	}
	return status + " " + string(body[:length])
}

func (p *play) frame(a *actor) string {
	h, n, err := wsframe.ParseHeader(a.got)
	if err != nil || n == 0 || len(a.got) < n+int(h.Length) {
		p.fail("not a frame: % x (%v)", a.got, err)
	}
	data := a.got[n : n+int(h.Length)]
	a.got = a.got[n+int(h.Length):]
	switch h.Op {
	case wsframe.Text:
		return "text " + string(data)
	case wsframe.Binary:
		return "binary " + hex.EncodeToString(data)
	case wsframe.Pong:
		return "pong " + string(data)
	case wsframe.Close:
		if len(data) == 0 {
			return "close -"
		}
		return fmt.Sprintf("close %d", int(data[0])<<8|int(data[1]))
	}
	return fmt.Sprintf("frame %d %x", h.Op, data)
}

func (p *play) hex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		p.fail("%v", err)
	}
	return b
}

var escapes = regexp.MustCompile(`\\x[0-9a-f]{2}`)

func (p *play) unescape(s string) string {
	if p.sid != "" && p.sid != "?" {
		s = strings.ReplaceAll(s, "$sid", p.sid)
	}
	return escapes.ReplaceAllStringFunc(s, func(e string) string { b, _ := hex.DecodeString(e[2:]); return string(b) })
}

// end checks that nothing happened that the transcript does not tell.
func (p *play) end() {
	p.sim.Turn()
	for _, name := range p.names {
		a := p.peers[name]
		if got := append(a.got, a.peer.Received()...); len(got) > 0 {
			p.fail("%s also received %q", name, got)
		}
	}
	if len(p.seen) > 0 {
		p.fail("the handler also saw %q", p.seen)
	}
}
