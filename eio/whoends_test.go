package eio

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// The states of a session, as the table in the package comment has them.
var phases = []string{"polling", "waiting", "probing", "upgraded", "closing", "closed"}

// A stage is a session in one of them: a had its first requests, poll its poll, and ws
// is its WebSocket, complete or not.
type stage struct {
	srv         *Server
	sim         *loop.Sim
	s           Session
	reason      Reason
	messages    int
	a, poll, ws *loop.Peer
	query       string
}

func newStage(t *testing.T, phase string) *stage {
	x := &stage{reason: "-"}
	x.srv, x.sim = newSim(t, &hooks{
		open:    func(s Session, _ *http1.Request) { x.s = s },
		message: func(Session, []byte, bool) { x.messages++ },
		close:   func(_ Session, r Reason) { x.reason = r },
	}, Options{}, loop.Options{})
	x.a, x.poll, x.ws = x.sim.Connect(0), x.sim.Connect(0), x.sim.Connect(0)
	x.a.Send(getRequest("EIO=4&transport=polling"))
	x.query = "EIO=4&transport=polling&sid=" + x.s.ID()
	switch phase {
	case "waiting":
		x.poll.Send(getRequest(x.query))
	case "probing", "upgraded":
		x.ws.Send(x.upgrade())
		x.ws.Send(textFrame("2probe"))
		if phase == "upgraded" {
			x.ws.Send(textFrame("5"))
		}
	case "closing":
		x.s.Close()
		x.sim.Turn()
	case "closed":
		x.s.Cut()
	}
	if got := x.phase(); got != phase {
		t.Fatalf("the session is %s, want %s", got, phase)
	}
	x.reason = "-"
	for _, p := range []*loop.Peer{x.a, x.poll, x.ws} {
		p.Received()
	}
	return x
}

func (x *stage) upgrade() []byte {
	return wsRequest(strings.Replace(x.query, "polling", "websocket", 1))
}

// phase returns which the session is in.
func (x *stage) phase() string {
	r := x.s.at()
	if r == nil {
		return "closed"
	}
	e := x.s.sh.peekExt(x.s.slot)
	switch {
	case r.is(closing):
		return "closing"
	case r.is(overWS):
		return "upgraded"
	case e.probing.Valid():
		return "probing"
	case e.polled():
		return "waiting"
	}
	return "polling"
}

// short returns what a connection received, in short.
func short(p *loop.Peer) string {
	b := string(p.Received())
	if head, body, ok := strings.Cut(b, "\r\n\r\n"); ok {
		status := strings.Fields(head)[1]
		if status == "101" {
			return strings.TrimSpace("101 " + frames(body))
		}
		if i := strings.Index(body, `"message":"`); i >= 0 {
			body = strings.TrimSuffix(body[i+len(`"message":"`):], `"}`)
		}
		return strings.TrimSpace(status + " " + strings.ReplaceAll(body, "\x1e", ","))
	}
	return frames(b)
}

// frames returns short frames of a server: their text, or "close".
func frames(b string) string {
	var all []string
	for len(b) >= 2 {
		n := 2 + int(b[1])
		if b[0] == 0x88 {
			all = append(all, "close")
		} else {
			all = append(all, b[2:n])
		}
		b = b[n:]
	}
	return strings.Join(all, ",")
}

// TestWhoMayEndWhat goes through the table of the package comment: in each state of a
// session, what each that may do something to it leads to. A cell is what the client
// gets, on any connection; why its session was closed, if it was; and the state then, if
// that is another.
func TestWhoMayEndWhat(t *testing.T) {
	var other *loop.Peer
	for _, row := range []struct {
		name string
		do   func(x *stage)
		want [6]string // by phase
	}{
		{"Session.Send", func(x *stage) {
			x.s.Loop().Post(loop.TaskFunc(func(*loop.Loop) { x.s.Send(AppendText(nil, []byte("x"))) }))
		},
			[6]string{"", "poll 200 4x > polling", "", "ws 4x", "", ""}},
		{"Session.Close", func(x *stage) { x.s.Close() },
			[6]string{"! forced close > closing", "poll 200 1 ! forced close > closed", "! forced close > closing", "ws close ! forced close > closed", "", ""}},
		{"Session.Cut", func(x *stage) { x.s.Cut() },
			[6]string{"! transport error > closed", "poll 200 1 ! transport error > closed", "ws close ! transport error > closed", "ws end ! transport error > closed", "", ""}},
		{"Server.CloseSome", func(x *stage) { x.srv.CloseAll(x.s.Loop()) },
			[6]string{"! forced close > closed", "poll 503 ! forced close > closed", "ws close ! forced close > closed", "ws close ! forced close > closed", "", ""}},
		{"a poll", func(x *stage) { other.Send(getRequest(x.query)) },
			[6]string{"> waiting", "poll 200 1 other 400 ! transport error > closed", "", "other 400 Bad request", "other 200 6,1 > closed", "other 400 Session ID unknown"}},
		{"a post", func(x *stage) { other.Send(postRequest(x.query, "4x")) },
			[6]string{"other 200 ok +1", "other 200 ok +1", "other 200 ok +1", "other 400 Bad request", "other 200 ok", "other 400 Session ID unknown"}},
		{"a post of a close packet", func(x *stage) { other.Send(postRequest(x.query, "1")) },
			[6]string{"other 200 ok ! transport close > closed", "poll 200 6 other 200 ok ! transport close > closed", "ws close other 200 ok ! transport close > closed", "other 400 Bad request", "other 200 ok", "other 400 Session ID unknown"}},
		{"an upgrade", func(x *stage) { other.Send(x.upgrade()) },
			[6]string{"other 101 > probing", "other 101 > probing", "other 101 close", "other 101 close", "other 101 close", "other 400 Session ID unknown"}},
		{"the end of the upgrade", func(x *stage) { x.ws.Send(textFrame("5")) },
			[6]string{"-", "-", "> upgraded", "", "-", "-"}},
		{"a close frame", func(x *stage) { x.ws.Send([]byte{0x88, 0x80, 0, 0, 0, 0}) },
			[6]string{"-", "-", "ws close > polling", "ws close ! transport close > closed", "-", "-"}},
		{"the end of the WebSocket's connection", func(x *stage) { x.ws.Close() },
			[6]string{"-", "-", "ws end > polling", "ws end ! transport close > closed", "-", "-"}},
		{"the end of the poll's connection", func(x *stage) { x.poll.Close() },
			[6]string{"-", "poll end ! transport error > closed", "-", "-", "-", "-"}},
		{"the end of any other connection", func(x *stage) { x.a.Close() },
			[6]string{"a end", "a end", "a end", "a end", "a end", "a end"}},
		{"silence", func(x *stage) { x.sim.Advance(50 * time.Second) },
			[6]string{"! ping timeout > closed", "poll 200 2 ! ping timeout > closed", "ws close ! ping timeout > closed", "ws 2,close ! ping timeout > closed", "> closed", ""}},
	} {
		for i, phase := range phases {
			if row.want[i] == "-" { // there is no such thing
				continue
			}
			x := newStage(t, phase)
			other = x.sim.Connect(0)
			quiet := row.name == "silence" // its connections time out as well
			row.do(x)
			x.sim.Turn()
			got := ""
			for _, p := range []struct {
				name string
				of   *loop.Peer
			}{{"a", x.a}, {"poll", x.poll}, {"ws", x.ws}, {"other", other}} {
				if b := short(p.of); b != "" && !(quiet && strings.HasPrefix(b, "408")) {
					got += " " + p.name + " " + b
				} else if p.of.Closed() && !quiet {
					got += " " + p.name + " end"
				}
			}
			if x.messages > 0 {
				got += fmt.Sprintf(" +%d", x.messages)
			}
			if x.reason != "-" {
				got += " ! " + string(x.reason)
			}
			if now := x.phase(); now != phase {
				got += " > " + now
			}
			if got = strings.TrimSpace(got); got != row.want[i] {
				t.Errorf("%s while %s: %q, want %q", row.name, phase, got, row.want[i])
			}
			for _, p := range []*loop.Peer{x.a, x.poll, x.ws, other} {
				p.Close()
			}
			x.sim.Advance(2 * time.Minute)
			checkEmpty(t, x.srv, x.sim.Engine())
		}
	}
}
