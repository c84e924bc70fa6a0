package eio

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// A world is clients of a server, which may become another server on the way.
type world struct {
	t     testing.TB
	o     Options
	srv   *Server
	sim   *loop.Sim
	s     Session
	peers []*loop.Peer
	keys  []handle.Key // of their connections
	ended []bool       // of peers
	out   []string     // what everybody has seen
	seat  *seat        // of a whole server that moves; nil: its session does
}

const frozenClients = 3

func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, o: o}
	w.o.Node = NewNode()
	w.o.AllowEIO3 = true
	w.o.HeadTimeout, w.o.IdleTimeout = time.Hour, time.Hour
	w.begin()
	return w
}

func (w *world) Open(s Session, _ *http1.Request) {
	w.s = s
	w.out = append(w.out, "open")
	s.SetUser(7)
}

func (w *world) Message(s Session, b []byte, binary bool) {
	if s.User() != 7 {
		w.t.Errorf("User() = %d, want 7", s.User())
	}
	if len(b) > 40 {
		b = fmt.Appendf(nil, "%s (%d bytes)", b[:10], len(b))
	}
	w.out = append(w.out, fmt.Sprintf("message %s %t", b, binary))
	switch string(b) {
	case "pause":
		s.PauseRead()
	case "delay":
		s.PauseReadFor(time.Minute)
	}
}

func (w *world) Close(_ Session, r Reason) { w.out = append(w.out, "close "+string(r)) }

// begin makes a server and its connections.
func (w *world) begin() {
	w.srv, w.sim = newSim(w.t, w, w.o, loop.Options{})
	w.sim.Advance(time.Duration(len(w.o.IDKey)) * 777 * time.Millisecond) // a loop's clock is its own
	w.connect()
}

// connect makes the connections of the clients.
func (w *world) connect() {
	w.peers, w.keys, w.ended = nil, nil, nil
	for range frozenClients {
		w.connectOne()
		https := w.srv.shards[0].https
		w.keys = append(w.keys, https[len(https)-1].conn.Key())
	}
}

func (w *world) connectOne() {
	w.peers, w.ended = append(w.peers, w.sim.Connect(0)), append(w.ended, false)
}

// move freezes the session and has it go on elsewhere.
func (w *world) move() error {
	st, err := w.s.Snapshot()
	if err != nil {
		return err
	}
	wire, err := json.Marshal(st) // it is data
	if err != nil {
		w.t.Fatal(err)
	}
	st = new(SessionState)
	if err := json.Unmarshal(wire, st); err != nil {
		w.t.Fatal(err)
	}
	w.o.IDKey = w.srv.IDKey()
	old := w.keys
	w.begin()
	before := w.s.Ref()
	w.s, err = w.srv.Restore(w.sim.Engine().Loops()[0], st, func(k handle.Key) loop.Conn {
		for i := range old {
			if old[i] == k {
				return w.sim.Engine().Loops()[0].Conn(w.keys[i])
			}
		}
		return loop.Conn{}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.s.Ref() != before {
		w.t.Errorf("the session is %x now, and was %x", w.s.Ref(), before)
	}
	return nil
}

// look notes what the clients have received.
func (w *world) look() {
	w.sim.Turn()
	for i, p := range w.peers {
		b := string(p.Received())
		if strings.HasPrefix(b, "HTTP/") {
			if b = strings.ReplaceAll(b, "\r\n", "|"); w.s.sh != nil {
				b = strings.ReplaceAll(b, w.s.ID(), "SID")
			}
		} else {
			b = hex.EncodeToString([]byte(b))
		}
		if b != "" {
			w.out = append(w.out, fmt.Sprintf("%d %.900q", i, b))
		}
		if p.Closed() && !w.ended[i] {
			w.ended[i] = true
			w.out = append(w.out, fmt.Sprintf("%d ends", i))
		}
	}
}

func (w *world) get(i int, more string) {
	w.peers[i].Send(getRequest("EIO=4&transport=polling&sid=" + w.s.ID() + more))
}

func (w *world) post(i int, body string) {
	w.peers[i].Send(postRequest("EIO=4&transport=polling&sid="+w.s.ID(), body))
}

func (w *world) send(text string) { w.s.Send(AppendText(nil, []byte(text))) }

// do does something within a step.
func (w *world) do(f func()) {
	w.sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) { f() }))
	w.sim.Turn()
}

// A dialogue is what clients and a program do.
type dialogue struct {
	o     Options
	steps []func(w *world)
}

// dialogues are all that a session can be in.
func dialogues() map[string]dialogue {
	key := [4]byte{1, 2, 3, 4}
	fragment := func(op wsframe.Op, fin bool, data string) []byte {
		b := wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte(data), key)
		b[0] = byte(op)
		if fin {
			b[0] |= 0x80
		}
		return b
	}
	long := textFrame("4" + strings.Repeat("long ", 1000))
	var z wsframe.Compressor
	deflated, _ := z.AppendFrame(nil, wsframe.Text, []byte("4"+strings.Repeat("small ", 2000)))
	h, n, _ := wsframe.ParseHeader(deflated)
	masked := wsframe.AppendMaskedFrame(nil, wsframe.Text, deflated[n:n+int(h.Length)], key)
	masked[0] |= 0x40
	offer := []byte(strings.Replace(string(wsRequest("EIO=4&transport=websocket")), "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1))
	open := func(w *world) { w.peers[0].Send(getRequest("EIO=4&transport=polling")) }
	wait := func(d time.Duration) func(w *world) { return func(w *world) { w.sim.Advance(d) } }
	return map[string]dialogue{
		"polling": {steps: []func(w *world){open,
			func(w *world) { w.send("one"); w.s.SendPrepared(Prepare([]byte("two"), true), true) },
			func(w *world) { w.get(0, "") },
			func(w *world) { w.get(1, "") },
			func(w *world) { w.do(func() { w.send("three") }) },
			func(w *world) { w.get(1, "") },
			wait(25 * time.Second), wait(time.Second),
			func(w *world) { w.post(0, "3") },
			func(w *world) { w.post(0, "4x\x1e4y") },
			func(w *world) { w.get(1, "") },
			wait(24 * time.Second), wait(2 * time.Second), wait(10 * time.Second), wait(9 * time.Second), wait(2 * time.Second),
		}},
		"a client that never comes": {o: Options{PingTimeout: 5 * time.Second}, steps: []func(w *world){open, wait(8 * time.Second), wait(3 * time.Second)}},
		"Engine.IO 3": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(getRequest("EIO=3&transport=polling")) },
			func(w *world) { w.s.SendPrepared(Prepare([]byte{1, 2}, true), true) },
			func(w *world) { w.peers[0].Send(getRequest("EIO=3&transport=polling&sid=" + w.s.ID())) },
			func(w *world) {
				w.peers[0].Send(postRequest("EIO=3&transport=polling&sid="+w.s.ID(), "1:2"))
			},
			wait(40 * time.Second), wait(6 * time.Second),
		}},
		"JSONP": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(getRequest("EIO=3&transport=polling&j=3")) },
			func(w *world) { w.peers[0].Send(getRequest("EIO=3&transport=polling&j=4&sid=" + w.s.ID())) },
			func(w *world) { w.do(func() { w.send("x") }) },
			func(w *world) {
				w.peers[1].Send(postRequest("EIO=3&transport=polling&j=4&sid="+w.s.ID(), "d=2%3A4y"))
			},
		}},
		"upgrade": {steps: []func(w *world){open,
			func(w *world) { w.get(0, "") },
			func(w *world) {
				w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID()))
			},
			func(w *world) { w.peers[2].Send(textFrame("2probe")[:8]) },
			func(w *world) { w.peers[2].Send(textFrame("2probe")[8:]) },
			wait(60 * time.Millisecond), wait(60 * time.Millisecond),
			func(w *world) { w.send("waits") },
			func(w *world) { w.peers[2].Send(textFrame("5")) },
			func(w *world) { w.do(func() { w.send("later") }) },
			func(w *world) { w.peers[2].Send(textFrame("4here")) },
			wait(26 * time.Second), wait(21 * time.Second),
		}},
		"an upgrade that comes to nothing": {steps: []func(w *world){open,
			func(w *world) {
				w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID()))
			},
			wait(6 * time.Second), wait(6 * time.Second),
			func(w *world) { w.send("x") },
			func(w *world) { w.get(0, "") },
		}},
		"WebSocket": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket")) },
			func(w *world) { w.do(func() { w.send("hello") }) },
			func(w *world) { w.peers[0].Send(fragment(wsframe.Text, false, "4on")) },
			func(w *world) { w.peers[0].Send(fragment(wsframe.Ping, true, "p")) },
			func(w *world) { w.peers[0].Send(fragment(wsframe.Continuation, false, "e me")) },
			func(w *world) { w.peers[0].Send(fragment(wsframe.Continuation, true, "ssage")) },
			func(w *world) { w.peers[0].Send(long[:1001]) },
			func(w *world) { w.peers[0].Send(long[1001:3333]) },
			func(w *world) { w.peers[0].Send(long[3333:]) },
			wait(20 * time.Second), wait(6 * time.Second),
			func(w *world) { w.peers[0].Send(textFrame("3")) },
			wait(20 * time.Second), wait(6 * time.Second), wait(19 * time.Second), wait(2 * time.Second),
		}},
		"compressed": {o: Options{Compression: &Compression{Threshold: 100}}, steps: []func(w *world){
			func(w *world) { w.peers[0].Send(offer) },
			func(w *world) { w.peers[0].Send(masked[:20]) },
			func(w *world) { w.peers[0].Send(masked[20:30]) },
			func(w *world) { w.peers[0].Send(masked[30:]) },
			func(w *world) { w.do(func() { w.send(strings.Repeat("x", 300)) }) },
			func(w *world) {
				w.do(func() { w.s.SendPrepared(Prepare([]byte(strings.Repeat("y", 300)), false), false) })
			},
		}},
		"paused": {steps: []func(w *world){open,
			func(w *world) { w.get(0, "") },
			func(w *world) { w.s.PauseRead() },
			func(w *world) { w.post(1, "4x") },
			wait(time.Minute),
			func(w *world) { w.do(w.s.ResumeRead) },
			func(w *world) { w.post(1, "4one\x1e4pause\x1e4two\x1ebAQI=\x1e4three") },
			func(w *world) { w.get(0, "") },
			func(w *world) { w.do(w.s.ResumeRead) },
			func(w *world) { w.post(1, "4last") },
		}},
		"a paused WebSocket": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket")) },
			func(w *world) { w.do(w.s.PauseRead) },
			wait(time.Minute),
			func(w *world) { w.do(w.s.ResumeRead); w.peers[0].Send(textFrame("4x")) },
		}},
		"delayed": {steps: []func(w *world){open,
			func(w *world) { w.get(0, "") },
			func(w *world) { w.post(1, "4one\x1e4delay\x1e4two") },
			wait(50 * time.Second),
			func(w *world) { w.get(0, "") },
			wait(11 * time.Second),
			func(w *world) { w.post(1, "3\x1e4last") },
		}},
		"a delayed WebSocket": {steps: []func(w *world){
			func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket")) },
			func(w *world) { w.peers[0].Send(textFrame("4delay")) },
			wait(50 * time.Second), wait(11 * time.Second),
			func(w *world) { w.peers[0].Send(textFrame("4x")) },
			wait(19 * time.Second), wait(2 * time.Second),
		}},
		"closed": {steps: []func(w *world){open,
			func(w *world) { w.send("bye") },
			func(w *world) { w.do(w.s.Close) },
			wait(20 * time.Second),
			func(w *world) { w.get(0, "") },
			func(w *world) { w.get(0, "") },
		}},
		"closed, and nobody comes": {steps: []func(w *world){open, func(w *world) { w.do(w.s.Close) }, wait(20 * time.Second), wait(11 * time.Second)}},
		"closed in an upgrade": {steps: []func(w *world){open,
			func(w *world) {
				w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID()))
			},
			func(w *world) { w.peers[2].Send(textFrame("2probe")) },
			func(w *world) { w.do(func() { w.send("bye"); w.s.Close() }) },
			wait(25 * time.Second),
			func(w *world) { w.peers[2].Send(textFrame("5")) },
		}},
		"closed in an upgrade that comes to nothing": {steps: []func(w *world){open,
			func(w *world) {
				w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID()))
			},
			func(w *world) { w.do(func() { w.send("bye"); w.s.Close() }) },
			wait(25 * time.Second),
			func(w *world) { w.peers[2].Close() },
			func(w *world) { w.get(0, "") },
			wait(6 * time.Second),
		}},
		"nobody asks for what waits": {o: Options{MaxQueue: 1000}, steps: []func(w *world){open,
			func(w *world) { w.get(0, "") },
			func(w *world) { w.do(func() { w.send(strings.Repeat("x", 3000)) }) },
			func(w *world) { w.do(func() { w.send(strings.Repeat("x", 3000)) }) },
			wait(6 * time.Second), wait(5 * time.Second),
		}},
		"behind a proxy": {o: Options{Via: forwardedFor}, steps: []func(w *world){
			func(w *world) {
				w.peers[0].Send(from(getRequest("EIO=4&transport=polling"), "203.0.113.1:5\r\nX-Proto: https"))
			},
			func(w *world) { w.out = append(w.out, w.s.RemoteAddr().String(), fmt.Sprint(w.s.Secure())) },
			func(w *world) {
				w.peers[1].Send(from(wsRequest("EIO=4&transport=websocket&sid="+w.s.ID()), "203.0.113.2:5"))
			},
			func(w *world) { w.peers[1].Send(textFrame("5")) },
			func(w *world) { w.out = append(w.out, w.s.RemoteAddr().String(), fmt.Sprint(w.s.Secure())) },
		}},
	}
}

// TestFrozenSessionsGoOn: whenever a session is taken from one server to another, its
// client and its handler see what they would have seen.
func TestFrozenSessionsGoOn(t *testing.T) {
	for name, c := range dialogues() {
		play := func(at int) []string {
			w := newWorld(t, c.o)
			for i, step := range c.steps {
				step(w)
				w.look()
				if i == at && w.s.at() != nil {
					if err := w.move(); err != nil {
						t.Errorf("%s: step %d: %v", name, i, err)
					}
				}
			}
			if r := w.s.at(); r != nil {
				w.do(w.s.Cut)
			}
			for _, p := range w.peers {
				p.Close()
			}
			w.sim.Advance(2 * time.Minute)
			if at < 0 {
				checkEmpty(t, w.srv, w.sim.Engine())
			} else if n := w.srv.sessions.Load(); n != 0 || w.srv.shards[0].deadlines.armed != 0 || w.srv.shards[0].heldBytes.Load() != 0 {
				t.Errorf("%s: step %d: something is left", name, at)
			}
			return w.out
		}
		want := play(-1)
		for at := range c.steps {
			if got := play(at); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s, moved after step %d:\n%s\nwant\n%s", name, at, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// TestSnapshotSaysWhatItCannot: what cannot be taken over yet is an error.
func TestSnapshotSaysWhatItCannot(t *testing.T) {
	w := newWorld(t, Options{MaxQueue: 1000, MaxQueueHard: 2000})
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	b := postRequest("EIO=4&transport=polling&sid="+w.s.ID(), "4whole")
	w.peers[1].Send(b[:len(b)-2])
	if _, err := w.s.Snapshot(); !errors.Is(err, ErrBodyComes) {
		t.Errorf("with a body on its way: %v, want %v", err, ErrBodyComes)
	}
	w.peers[1].Send(b[len(b)-2:])
	if _, err := w.s.Snapshot(); err != nil {
		t.Errorf("when it has come: %v", err)
	}
	for range 3 {
		w.send(strings.Repeat("x", 1500))
	}
	if _, err := w.s.Snapshot(); !errors.Is(err, ErrOverflow) {
		t.Errorf("with too much in its queue: %v, want %v", err, ErrOverflow)
	}
	w.sim.Advance(time.Minute)
	if _, err := w.s.Snapshot(); err == nil {
		t.Error("a session that has gone has a state")
	}
}

// TestRestoreChecks: a state comes from elsewhere; one that cannot be is refused, and
// changes nothing.
func TestRestoreChecks(t *testing.T) {
	good := func() *SessionState { return &SessionState{Slot: 1, Gen: 1, Revision: 4, Pinged: -1, Proved: -1} }
	var keys []handle.Key // of three connections; on the second there is a request
	for name, spoil := range map[string]func(st *SessionState){
		"no revision":          func(st *SessionState) { st.Revision = 5 },
		"delayed for ever":     func(st *SessionState) { st.Delayed = 25 * 24 * time.Hour },
		"no slot":              func(st *SessionState) { st.Slot = 0 },
		"no generation":        func(st *SessionState) { st.Gen = 0 },
		"no WebSocket":         func(st *SessionState) { st.WebSocket = true },
		"no poll":              func(st *SessionState) { st.Poll = &ExchangeState{} },
		"no upgrade":           func(st *SessionState) { st.Probe = &ProbeState{} },
		"half a frame":         func(st *SessionState) { st.Queue = []QueueState{{Frames: []byte{0x81, 5, 'x'}}} },
		"a masked frame":       func(st *SessionState) { st.Queue = []QueueState{{Frames: textFrame("4x")}} },
		"a program for a name": func(st *SessionState) { st.Callback = "alert(1)" },
		"more than a body":     func(st *SessionState) { st.Rest = &RestState{Body: make([]byte, 1_000_001)} },
		"more than may wait": func(st *SessionState) {
			st.Queue = []QueueState{{Frames: AppendBinary(nil, make([]byte, 9<<20))}, {Frames: AppendBinary(nil, make([]byte, 9<<20))}}
		},
		"compression that is off": func(st *SessionState) { st.Inflates = true },
		"more than a message": func(st *SessionState) {
			st.Message = wsframe.ReaderState{Op: wsframe.Text, InFrame: true, Left: 1 << 40}
		},
		"a deadline in a far future": func(st *SessionState) { st.Deadline = 1 << 62 },
		"a slot in the far distance": func(st *SessionState) { st.Slot = handle.MaxSlot },
		"compressed upgrades that are off": func(st *SessionState) {
			st.Probe = &ProbeState{Conn: keys[0], Inflates: true}
		},
		"a poll on the connection of a post": func(st *SessionState) {
			st.Poll, st.Unacked = &ExchangeState{Conn: keys[0]}, &ExchangeState{Conn: keys[0]}
		},
		"an upgrade on the connection of a poll": func(st *SessionState) {
			st.Poll, st.Probe = &ExchangeState{Conn: keys[0]}, &ProbeState{Conn: keys[0]}
		},
		"a poll that waits for one that is closed": func(st *SessionState) {
			st.Closing, st.CloseLeft, st.Poll = true, time.Second, &ExchangeState{Conn: keys[0]}
		},
		"a post of one that is closed": func(st *SessionState) {
			st.Closing, st.CloseLeft, st.Unacked = true, time.Second, &ExchangeState{Conn: keys[0]}
		},
		"the connection of a request": func(st *SessionState) { st.WebSocket, st.Conn = true, keys[1] },
		"a WebSocket with a queue": func(st *SessionState) {
			st.WebSocket, st.Conn, st.Queue = true, keys[0], []QueueState{{Frames: AppendText(nil, []byte("x"))}}
		},
		"a WebSocket that is a guest": func(st *SessionState) { st.WebSocket, st.Conn, st.Guest = true, keys[0], true },
		"a WebSocket that polls": func(st *SessionState) {
			st.WebSocket, st.Conn, st.Poll = true, keys[0], &ExchangeState{Conn: keys[2]}
		},
		"a WebSocket that is not asked for what waits": func(st *SessionState) { st.WebSocket, st.Conn, st.Swamped = true, keys[0], true },
		"a WebSocket that has never polled":            func(st *SessionState) { st.WebSocket, st.Conn, st.AwaitPoll = true, keys[0], true },
		"an unknown coding": func(st *SessionState) {
			st.Poll = &ExchangeState{Conn: keys[0], Coding: "rot13"}
		},
	} {
		srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
		keys = nil
		for range 3 {
			p := sim.Connect(0)
			keys = append(keys, srv.shards[0].https[len(keys)+1].conn.Key())
			if len(keys) == 2 {
				p.Send([]byte("POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\npart"))
			}
		}
		l := sim.Engine().Loops()[0]
		st := good()
		spoil(st)
		if _, err := srv.Restore(l, st, func(k handle.Key) loop.Conn { return l.Conn(k) }); err == nil {
			t.Errorf("%s: Restore returned no error", name)
		}
		if n := srv.sessions.Load(); n != 0 || srv.shards[0].open != 0 {
			t.Errorf("%s: %d sessions", name, n)
		}
	}
	srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
	st := good()
	st.Guest, st.GuestOf = true, netip.MustParseAddr("192.0.2.9")
	s, err := srv.Restore(sim.Engine().Loops()[0], st, func(handle.Key) loop.Conn { return loop.Conn{} })
	if err != nil || !s.Valid() {
		t.Fatalf("Restore() = %v, %v", s, err)
	}
	if _, err := srv.Restore(sim.Engine().Loops()[0], good(), func(handle.Key) loop.Conn { return loop.Conn{} }); !errors.Is(err, ErrNoRoom) {
		t.Errorf("twice: %v, want %v", err, ErrNoRoom)
	}
	s.SetJoined(true)
	s.Cut()
	for i := range srv.guests.shards {
		if n := len(srv.guests.shards[i].of); n != 0 {
			t.Errorf("%d addresses of guests are left", n)
		}
	}
}

// TestRestoreGoesOn: what a session waited for that the state does not have, such as
// handlers that had to catch up, is waited for no longer: what is left of its body is
// handled, and acknowledged.
func TestRestoreGoesOn(t *testing.T) {
	for _, rest := range []*RestState{nil, {Body: []byte("4left")}} {
		var got []string
		srv, sim := newSim(t, &hooks{message: func(_ Session, b []byte, _ bool) { got = append(got, string(b)) }}, Options{}, loop.Options{})
		p := sim.Connect(0)
		l := sim.Engine().Loops()[0]
		c := srv.shards[0].https[1].conn
		st := &SessionState{Slot: 1, Gen: 1, Revision: 4, Pinged: -1, Proved: -1, Deadline: time.Second,
			Unacked: &ExchangeState{Conn: c.Key(), KeepAlive: true}, Rest: rest}
		if _, err := srv.Restore(l, st, l.Conn); err != nil {
			t.Fatal(err)
		}
		sim.Turn()
		if b := string(p.Received()); !strings.HasPrefix(b, "HTTP/1.1 200 ") || (rest != nil) != (len(got) == 1) {
			t.Errorf("with %v left the handler got %q and the client %q", rest, got, b)
		}
		p.Close()
		sim.Advance(2 * time.Minute)
	}
}

// TestRestoreWaitsNoLongerThanOptions: times of a state are those of its server, at most.
func TestRestoreWaitsNoLongerThanOptions(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
	p := sim.Connect(0)
	l := sim.Engine().Loops()[0]
	const ever = 1000 * time.Hour
	for slot, st := range []*SessionState{
		{Closing: true, CloseLeft: ever},
		{Deadline: time.Hour, Probe: &ProbeState{Conn: srv.shards[0].https[1].conn.Key(), Left: ever, Probed: true, Noop: ever}},
	} {
		st.Slot, st.Gen, st.Revision = uint32(slot)+1, 1, 4
		if _, err := srv.Restore(l, st, l.Conn); err != nil {
			t.Fatal(err)
		}
	}
	sim.Advance(31 * time.Second)
	if n := srv.sessions.Load(); n != 1 || !p.Closed() {
		t.Errorf("%d sessions, and the upgrade has ended: %t, want one and true", n, p.Closed())
	}
}

// TestGuestsAgainElsewhere: a session that joins nothing any more is counted for its
// address also when it has been restored meanwhile.
func TestGuestsAgainElsewhere(t *testing.T) {
	w := newWorld(t, Options{})
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	w.s.SetJoined(true)
	if err := w.move(); err != nil {
		t.Fatal(err)
	}
	w.s.SetJoined(false)
	n := 0
	for i := range w.srv.guests.shards {
		n += len(w.srv.guests.shards[i].of)
	}
	if n != 1 {
		t.Errorf("%d addresses have guests, want 1", n)
	}
}

// TestSnapshotOfAPollWithABody: what comes of the body, which nobody wants, is thrown away
// by the other server: it is not taken for a request behind the answer.
func TestSnapshotOfAPollWithABody(t *testing.T) {
	w := newWorld(t, Options{})
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	w.peers[1].Send([]byte("GET /engine.io/?EIO=4&transport=polling&sid=" + w.s.ID() + " HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"))
	if err := w.move(); err != nil {
		t.Fatal(err)
	}
	w.do(func() { w.send("x") })
	if b := string(w.peers[1].Received()); !strings.HasPrefix(b, "HTTP/1.1 200 ") || w.peers[1].Closed() {
		t.Errorf("the poll got %q, and the connection ended: %t", b, w.peers[1].Closed())
	}
	w.peers[1].Send([]byte("GET / HTTP"))
	w.get(1, "")
	w.do(func() { w.send("y") })
	if b := string(w.peers[1].Received()); !strings.HasSuffix(b, "\r\n\r\n4y") {
		t.Errorf("the next poll got %q", b)
	}
}
