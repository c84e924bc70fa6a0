package eio

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestTranscripts plays the dialogues under testdata against a server without
// sockets and with a clock of its own. One line is one thing that happens:
//
//	--- title                         a new scenario: another server, other connections
//	options pingInterval=300ms …      before anything else; times, sizes, flags
//	options revision=3 …              Engine.IO 3 is allowed, and what clients speak from now on; allowEIO3: only allowed
//	given polling a                   a session, $sid from now on, is opened over polling on connection a
//	given websocket a                 … or over a WebSocket
//	given upgraded a w                … or on a and then upgraded to the WebSocket w
//	C a connect                       connection a is opened; it is also when first named
//	C a GET query                     … and sends a request to the path
//	C a POST query | body
//	C a octets query | hex            a POST of bytes
//	C a chunked query | piece | …     a POST with the body in chunks
//	C a WS query | Name: value | …    the opening handshake of a WebSocket, with further fields
//	C a head METHOD target | Name: value | …   any request head, of HTTP/1.1 unless the target is followed by another version
//	C a text data                     a masked frame; also: binary hex, ping data, pong data, close code
//	C a compressed data               a masked text frame that is compressed
//	C a raw hex, C a bytes text       bytes as they are
//	C a END, C a FIN, C a RST         the client ends its direction, or both, or resets
//	S a 200 body                      the next thing that a receives: a response, - for an empty body
//	S a field Name: value             … which has this field; "no field Name": it has not
//	                                  a body that is compressed is shown as it was
//	S a 101
//	S a text data                     … or a frame; also: binary hex, pong data, close code (or -);
//	                                  "compressed" before text and binary if it is
//	S a FIN                           the server has closed
//	S a nothing
//	A open, A message data, A binary hex, A close reason     what the handler sees, in order
//	H send data, H binary hex         what the handler does; also: prepared data, shared hex, volatile data
//	H close, H last data              … closes the session, after it has sent data in the same step; also: closeWith code reason
//	H many 17 data                    the handler sends data as often, in one step
//	H drain                           the server takes no new sessions
//	H close all                       the server stops
//	+300ms                            time passes
//
// The options origins=a,b, credentials and hint=text are of CORS; cookie=name
// and initial=data as they say; errors has the handler see what is refused, as
// "A error code context…"; headers adds X-First and X-Each to the answers that
// the hooks are for; forward=node has a way to that node.
//
// In data, \x1e and the like are bytes, and a{300} is a 300 times. $sid is the session's id: learnt when
// it is first expected, as is any other $name. $poll and $ws are the queries of
// requests with that id. Whatever is received and not expected is an error, and
// so is whatever is left of the server when all have gone.
//
// Each scenario is played twice: with what the client sends in one piece, and
// byte by byte.
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
			line := 0
			for _, scenario := range strings.Split("\n"+string(text), "\n---") {
				title, body, _ := strings.Cut(scenario, "\n")
				for _, cut := range []string{"whole", "cut"} {
					t.Run(strings.TrimSpace(title+" "+cut), func(t *testing.T) {
						p := &play{t: t, peers: map[string]*actor{}, ids: map[string]string{}, file: f, line: line, cut: cut == "cut"}
						p.perform(body)
					})
				}
				line += strings.Count(scenario, "\n") + 1
			}
		})
	}
}

func (p *play) perform(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		if line = strings.TrimRight(line, " "); line != "" && line[0] != '#' {
			p.do(line)
		}
	}
	p.end()
}

// A play is a transcript in progress.
type play struct {
	t     *testing.T
	file  string
	line  int
	cut   bool // every byte is sent by itself
	old   bool // clients speak Engine.IO 3
	o     Options
	sim   *loop.Sim
	srv   *Server
	peers map[string]*actor
	names []string
	ids   map[string]string // what the $names stand for
	now   Session           // the handler's
	seen  []string
}

// An actor is a client connection; got is what it received and nobody has
// expected yet.
type actor struct {
	peer   *loop.Peer
	got    []byte
	head   string // of the latest response
	isHead bool   // the latest request was HEAD
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
	p.o.Logger = quiet
	srv, err := NewServer(p, p.o)
	if err != nil {
		p.fail("%v", err)
	}
	srv.spread = func(d time.Duration) time.Duration { return d }
	p.srv = srv
	p.sim = loop.NewSim(srv, loop.Options{Loops: 1})
	srv.Bind(p.sim.Engine().Loops())
	srv.shards[0].deadlines.tick = 1 // so that everything happens when it is due
}

func (p *play) do(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	if verb != "S" {
		rest = p.unescape(rest)
	}
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
	case "given":
		p.given(who, strings.Fields(rest))
	case "C":
		p.client(p.actor(who), strings.TrimLeft(rest, " "))
	case "S":
		p.expect(who, strings.TrimLeft(rest, " "))
	case "A":
		want := strings.TrimRight(who+" "+rest, " ")
		if len(p.seen) == 0 || strings.TrimRight(p.seen[0], " ") != want {
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
		case "maxFields":
			p.o.MaxHeaderFields = n
		case "maxHead":
			p.o.MaxHeaderBytes = n
		case "maxPayload":
			p.o.MaxPayload = n
		case "maxQueue":
			p.o.MaxQueue = n
		case "maxQueueHard":
			p.o.MaxQueueHard = n
		case "slowAfter":
			p.o.SlowAfter = d
		case "closeTimeout":
			p.o.CloseTimeout = d
		case "maxFragments":
			p.o.MaxFragments = n
		case "compression": // with its threshold
			p.o.Compression = &Compression{Threshold: n}
		case "maxInflated":
			p.o.Compression.MaxInflated = n
		case "serverWindow":
			p.o.Compression.ServerMaxWindowBits = n
		case "clientWindow":
			p.o.Compression.ClientMaxWindowBits = n
		case "preparedOnly":
			p.o.Compression.PreparedOnly = true
		case "httpCompression": // with its threshold, or off
			p.o.HTTPCompression = &HTTPCompression{Threshold: n, Off: v == "off"}
		case "revision":
			p.o.AllowEIO3, p.old = true, v == "3"
		case "allowEIO3":
			p.o.AllowEIO3 = true
		case "noUpgrades":
			p.o.NoUpgrades = true
		case "origins":
			p.cors().Origins = strings.Split(v, ",")
		case "own": // host only
			p.cors()
		case "credentials":
			p.cors().Credentials = true
		case "hint":
			p.cors().Hint = v
		case "allowed":
			p.cors().AllowedHeaders = strings.Split(v, ",")
		case "exposed":
			p.cors().ExposedHeaders = strings.Split(v, ",")
		case "methods":
			p.cors().Methods = strings.Split(v, ",")
		case "maxAge":
			p.cors().MaxAge = d
		case "cookie":
			p.o.Cookie = &http.Cookie{Name: v}
		case "initial":
			p.o.InitialPacket = []byte(v)
		case "headers":
			p.o.InitialHeaders = func(h http.Header, r *http1.Request) { h.Set("X-First", string(r.Target[:5])); h.Set("Upgrade", "no") }
			p.o.Headers = func(h http.Header, r *http1.Request) { h.Set("X-Each", string(r.Method)); h.Set("Bad", "a\r\nb") }
		case "forward": // requests for the sessions of a node
			p.o.Forward = func(n Node) http.Handler {
				if string(n) != v {
					return nil
				}
				return testRoute("/r/text")
			}
		case "errors":
			p.o.OnConnectionError = p.refused
		case "transports":
			p.o.Transports = strings.Split(v, ",")
		case "path":
			p.o.Path = v
		default:
			p.fail("unknown option %s", k)
		}
	}
}

func (p *play) cors() *CORS {
	if p.o.CORS == nil {
		p.o.CORS = &CORS{Origins: []string{}}
	}
	return p.o.CORS
}

func (p *play) refused(e ConnectionError) {
	c := e.Context
	words := []string{"error", strconv.Itoa(e.Code), c.Name, c.Transport, c.SID, c.Method, c.Origin, c.Protocol}
	p.seen = append(p.seen, strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " "))
	if len(e.Request.Path) == 0 || e.Message == "" {
		p.fail("an error without its request or its message: %+v", e)
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

var (
	escapes = regexp.MustCompile(`\\x[0-9a-f]{2}`)
	names   = regexp.MustCompile(`\$[a-z]+`)

	repeated = regexp.MustCompile(`[a-z0-9]\{\d+\}`)
)

func (p *play) unescape(s string) string {
	s = strings.ReplaceAll(s, "$poll", p.revision()+"&transport=polling&sid=$sid")
	s = strings.ReplaceAll(s, "$ws", p.revision()+"&transport=websocket&sid=$sid")
	for name, id := range p.ids {
		s = strings.ReplaceAll(s, name, id)
	}
	s = repeated.ReplaceAllStringFunc(s, func(e string) string {
		n, _ := strconv.Atoi(e[2 : len(e)-1])
		return strings.Repeat(e[:1], n)
	})
	return escapes.ReplaceAllStringFunc(s, func(e string) string { b, _ := hex.DecodeString(e[2:]); return string(b) })
}

func (p *play) revision() string {
	if p.old {
		return "EIO=3"
	}
	return "EIO=4"
}

// end checks that nothing happened that the transcript does not tell, and that
// nothing is left of it when everybody has gone.
func (p *play) end() {
	if p.srv == nil {
		return // only a remark
	}
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
	for _, name := range p.names {
		p.peers[name].peer.Close()
	}
	p.sim.Advance(p.srv.o.PingInterval + p.srv.o.PingTimeout + p.srv.o.CloseTimeout + time.Minute)
	checkEmpty(p.t, p.srv, p.sim.Engine())
}
