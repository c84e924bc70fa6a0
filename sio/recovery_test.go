package sio_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A recoverer is a client as far as recovery goes: it remembers what the
// JavaScript client does.
type recoverer struct {
	*client
	srv         *server
	sid, pid    string
	offset      string // of the last event with one; sent if not empty
	noOffset    bool   // pretend that there was none
	events      []string
	recoveredAs string // sid in the answer
}

// connect sends the CONNECT and takes what comes up to its answer.
func (r *recoverer) connect() {
	r.t.Helper()
	r.connectBy(r.srv.dial())
}

// connectBy is connect over a connection.
func (r *recoverer) connectBy(c *client) {
	r.t.Helper()
	r.client = c
	auth := ""
	if r.pid != "" {
		auth = fmt.Sprintf(`{"pid":%q`, r.pid)
		if r.offset != "" {
			auth += fmt.Sprintf(`,"offset":%q`, r.offset)
		}
		auth += "}"
	}
	r.send("40" + auth)
	for {
		p := r.next()
		if rest, ok := strings.CutPrefix(p, "40"); ok {
			var answer struct{ SID, PID string }
			if err := json.Unmarshal([]byte(rest), &answer); err != nil || answer.PID == "" {
				r.t.Fatalf("CONNECT was answered %s", p)
			}
			r.recoveredAs, r.pid = answer.SID, answer.PID
			return
		}
		r.take(p)
	}
}

// take notes an event without its offset, which becomes the client's.
func (r *recoverer) take(p string) {
	r.t.Helper()
	var args []any
	rest, ok := strings.CutPrefix(p, "42")
	if !ok || json.Unmarshal([]byte(rest), &args) != nil {
		r.t.Fatalf("received %s, want an event", p)
	}
	if s, ok := args[len(args)-1].(string); ok && len(args) > 1 {
		if !r.noOffset {
			r.offset = s
		}
		args = args[:len(args)-1]
	}
	r.events = append(r.events, strings.TrimSpace(fmt.Sprintln(args...)))
}

// takes receives n events.
func (r *recoverer) takes(n int) {
	r.t.Helper()
	for range n {
		r.take(r.next())
	}
}

func (r *recoverer) cut() { r.conn.Close() }

func recoverers(t *testing.T, o sio.Options, register func(ns *sio.Namespace)) (*server, func() *recoverer, *sio.Namespace) {
	var ns *sio.Namespace
	if o.Recovery.Window == 0 {
		o.Recovery.Window = time.Minute
	}
	srv := serve(t, o, func(srv *sio.Server) {
		ns = srv.Of("/")
		ns.HandleInline("fence", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
		register(ns)
	})
	return srv, func() *recoverer {
		r := &recoverer{srv: srv}
		r.client = &client{t: t}
		r.connect()
		r.sid = r.recoveredAs
		return r
	}, ns
}

// gone waits until the server has noticed that a socket has left.
func gone(t *testing.T, left <-chan string, id string) {
	t.Helper()
	select {
	case got := <-left:
		if got != id {
			t.Fatalf("%s left, want %s", got, id)
		}
	case <-time.After(patience):
		t.Fatal("nobody left")
	}
}

// The dialogue of recovery (Socket.IO protocol 5 with connectionStateRecovery).
func TestRecoveryDialogue(t *testing.T) {
	left := make(chan string, 8)
	recovered := make(chan bool, 8)
	srv, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.Use(func(s sio.Socket) error { return nil })
		ns.OnConnect(func(s sio.Socket) error {
			recovered <- s.Recovered()
			if !s.Recovered() {
				s.Join("r1")
				s.SetData("kept")
			} else if s.Data() != "kept" {
				t.Errorf("Data = %v, want kept", s.Data())
			}
			return s.Emit("hello")
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	r.takes(1)
	if <-recovered {
		t.Error("Recovered of a new socket = true")
	}
	ns.To("r1").Emit("b", 2)
	ns.Emit("c")
	r.takes(2)
	ns.All().Volatile().Emit("v", 1)
	if p := r.next(); p != `42["v",1]` {
		t.Fatalf("received %s, want the volatile event without an offset", p)
	}
	ns.All().Volatile().Emit("v") // for the client, even a name is an offset
	if p, want := r.next(), fmt.Sprintf(`42["v",%q]`, r.offset); p != want {
		t.Fatalf("received %s, want %s: the offset that the client has", p, want)
	}
	r.cut()
	gone(t, left, r.sid)
	ns.To("r1").Emit("missed1", 1)
	ns.To("r2").Emit("not mine")
	ns.To(r.sid).Emit("direct")
	ns.To("r1").Except("r1").Emit("excluded")
	ns.Emit("all", []byte{1, 2})
	ns.All().Volatile().Emit("volatile")
	r.events = nil
	offset := r.offset
	r.client = srv.dial()
	r.send(fmt.Sprintf(`40{"pid":%q,"offset":%q,"token":"t"}`, r.pid, offset))
	r.takes(2)
	if p := r.next(); !strings.HasPrefix(p, `451-["all",{"_placeholder":true,"num":0},"~`) {
		t.Errorf("received %s, want the binary event", p)
	}
	if p := r.next(); p != "<0102>" {
		t.Errorf("received %s, want its attachment", p)
	}
	r.expect(fmt.Sprintf(`40{"sid":%q,"pid":%q}`, r.sid, r.pid))
	if got := fmt.Sprint(r.events); got != "[missed1 1 direct]" {
		t.Errorf("missed events = %s", got)
	}
	if !<-recovered {
		t.Error("Recovered of a recovered socket = false")
	}
	r.takes(1) // hello
	// The id is a room, also now that it is not that of the socket's place.
	ns.To(r.sid).Emit("private")
	ns.To("r1").Except(r.sid).Emit("others")
	r.events = nil
	r.takes(1)
	if got := fmt.Sprint(r.events); got != "[private]" {
		t.Errorf("events after the recovery = %s", got)
	}
	if got := srv.Recoveries(); got.Recovered != 1 || got.Replayed != 3 {
		t.Errorf("Recoveries = %+v", got)
	}
}

func TestEdge13RecoveryIsGivenOnce(t *testing.T) {
	left := make(chan string, 8)
	_, dial, _ := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	r.cut()
	gone(t, left, r.sid)
	thief := *r
	r.connect()
	if r.recoveredAs != r.sid {
		t.Errorf("recovered as %s, want %s", r.recoveredAs, r.sid)
	}
	// Who comes with the same pid takes the socket over if its owner does not
	// answer: there is never a second of the same id.
	thief.connect()
	gone(t, left, r.sid)
	if thief.recoveredAs != r.sid {
		t.Errorf("taken over as %s, want %s", thief.recoveredAs, r.sid)
	}
	r.expect("2")
	r.ended("close -")
}

// A private id takes nothing away from a client that is there.
func TestRecoveryTakesNothingFromWhoIsThere(t *testing.T) {
	srv, dial, ns := recoverers(t, sio.Options{}, func(*sio.Namespace) {})
	srv.Of("/other")
	r := dial()
	thief := *r
	thief.client = srv.dial()
	thief.send(fmt.Sprintf(`40{"pid":%q}`, r.pid))
	r.expect("2")
	r.send("3")
	if p := thief.next(); !strings.HasPrefix(p, "40{") || strings.Contains(p, r.sid) {
		t.Errorf("the thief received %s, want a new session", p)
	}
	thief.send(fmt.Sprintf(`40/other,{"pid":%q}`, r.pid)) // which it is not of
	if p := thief.next(); !strings.HasPrefix(p, "40/other,{") || strings.Contains(p, r.sid) {
		t.Errorf("the thief received %s, want a new session", p)
	}
	ns.To(r.sid).Emit("mine", 1)
	r.takes(1)
	if got := srv.Recoveries(); got.Alive != 1 || got.Alien != 1 || got.Recovered != 0 {
		t.Errorf("Recoveries = %+v, want one alive and one alien", got)
	}
}

// Whoever comes back must be who it was, and can do no harm if it is not.
func TestRecoveryAsksForTheSameClient(t *testing.T) {
	left := make(chan string, 8)
	srv, dial, _ := recoverers(t, sio.Options{Recovery: sio.Recovery{
		Identity: func(s sio.Socket) string {
			var auth struct{ Token string }
			if err := s.Auth(&auth); err != nil || auth.Token == "panic" {
				panic("no identity")
			}
			return auth.Token
		},
	}, OnError: func(sio.Socket, string, error) {}}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	come := func(token string) (*client, string) {
		c := srv.dial()
		c.send(fmt.Sprintf(`40{"pid":%q,"token":%q}`, r.pid, token))
		var answer struct{ SID string }
		if p := c.next(); json.Unmarshal([]byte(strings.TrimPrefix(p, "40")), &answer) != nil || answer.SID == "" {
			t.Fatalf("received %s, want the answer to CONNECT", p)
		}
		return c, answer.SID
	}
	r.client = srv.dial()
	r.send(`40{"token":"alice"}`)
	var answer struct{ SID, PID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(r.next(), "40")), &answer); err != nil {
		t.Fatal(err)
	}
	r.sid, r.pid = answer.SID, answer.PID
	for _, token := range []string{"bob", "", "panic"} {
		if _, sid := come(token); sid == r.sid {
			t.Errorf("%q took the socket over of a client that is there", token)
		}
	}
	r.cut()
	gone(t, left, r.sid)
	for _, token := range []string{"bob", "", "panic"} {
		if _, sid := come(token); sid == r.sid {
			t.Errorf("%q was recovered", token)
		}
	}
	if _, sid := come("alice"); sid != r.sid {
		t.Errorf("alice was not recovered after others had tried; %+v", srv.Recoveries())
	}
	if got := srv.Recoveries(); got.Alien != 6 || got.Recovered != 1 {
		t.Errorf("Recoveries = %+v", got)
	}
}

// What only a middleware finds out counts too: who is somebody else is a new client, and
// the other one comes back all the same.
func TestRecoveryAsksMiddlewaresForTheSameClient(t *testing.T) {
	left := make(chan string, 8)
	asked := make(chan string, 16)
	srv, dial, _ := recoverers(t, sio.Options{Recovery: sio.Recovery{RunMiddlewares: true}}, func(ns *sio.Namespace) {
		ns.Use(func(s sio.Socket) error {
			var auth struct{ Who string }
			if err := s.Auth(&auth); err != nil {
				return err
			}
			same := s.Identify(auth.Who)
			asked <- fmt.Sprintln(auth.Who, s.Recovered(), same)
			if !same && s.Data() == nil || same && s.Recovered() != (s.Data() != nil) {
				t.Errorf("%s: data is %v", auth.Who, s.Data())
			}
			if same {
				s.SetData("of " + auth.Who)
			}
			return nil
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	r.client.send("41")
	gone(t, left, r.sid)
	<-asked
	come := func(who, pid string, want ...string) (c *client, sid, newPID string) {
		t.Helper()
		c = srv.dial()
		c.send(fmt.Sprintf(`40{"pid":%q,"who":%q}`, pid, who))
		var answer struct{ SID, PID string }
		if p := c.next(); json.Unmarshal([]byte(strings.TrimPrefix(p, "40")), &answer) != nil || answer.SID == "" {
			t.Fatalf("received %s, want the answer to CONNECT", p)
		}
		for _, w := range want {
			if got := strings.TrimSuffix(<-asked, "\n"); got != w {
				t.Errorf("the middleware saw %s, want %s", got, w)
			}
		}
		return c, answer.SID, answer.PID
	}
	c, sid, pid := come("ann", "none", "ann false true")
	c.conn.Close()
	gone(t, left, sid)
	for _, other := range []string{"bob", ""} {
		if _, got, _ := come(other, pid, other+" true false", other+" false true"); got == sid {
			t.Errorf("%q was recovered", other)
		}
	}
	if _, got, _ := come("ann", pid, "ann true true"); got != sid {
		t.Errorf("ann was not recovered after others had tried; %+v", srv.Recoveries())
	}
	if got := srv.Recoveries(); got.Alien != 2 || got.Recovered != 1 {
		t.Errorf("Recoveries = %+v", got)
	}
}

func TestRecoveryWithoutAnOffset(t *testing.T) {
	left := make(chan string, 8)
	_, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	ns.Emit("before anybody came")
	r := dial()
	r.cut()
	gone(t, left, r.sid)
	ns.Emit("missed", 1)
	r.connect()
	if got := fmt.Sprint(r.events); got != "[missed 1]" || r.recoveredAs != r.sid {
		t.Errorf("events = %s as %s, want [missed 1] as %s", got, r.recoveredAs, r.sid)
	}
}

// A client takes the last argument of any event for an offset if it is a string.
func TestRecoveryAfterAVolatileEventThatEndsInAString(t *testing.T) {
	left := make(chan string, 8)
	_, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	ns.Emit("a", 1)
	r.takes(1)
	ns.All().Volatile().Emit("typing", "bob")
	r.takes(1)
	r.cut()
	gone(t, left, r.sid)
	ns.Emit("b", 2)
	r.connect()
	if got := fmt.Sprint(r.events); got != "[a 1 typing bob b 2]" || r.recoveredAs != r.sid {
		t.Errorf("events = %s as %s, want all as %s", got, r.recoveredAs, r.sid)
	}
}

func TestRecoveryThatCannotBe(t *testing.T) {
	left := make(chan string, 8)
	srv, dial, ns := recoverers(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute, MaxBytes: 4000}}, func(ns *sio.Namespace) {
		ns.HandleInline("leave", func(s sio.Socket, _ *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	for name, lose := range map[string]func(r *recoverer){
		"an offset that is none":          func(r *recoverer) { r.cut(); r.offset = "zzz" },
		"an offset of the future":         func(r *recoverer) { r.cut(); r.offset = r.offset[:5] + "zzzzzzzz" },
		"a pid that nobody has":           func(r *recoverer) { r.cut(); r.pid = strings.Repeat("a", 20) },
		"a pid of another kind":           func(r *recoverer) { r.cut(); r.pid = "x" },
		"the client had left":             func(r *recoverer) { r.send("41") },
		"the server had disconnected it":  func(r *recoverer) { r.send(`42["leave"]`) },
		"the events are not kept anymore": func(r *recoverer) { r.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			r := dial()
			r.t, r.srv = t, &server{Server: srv.Server, t: t, addr: srv.addr}
			ns.Emit("a")
			r.takes(1)
			lose(r)
			gone(t, left, r.sid)
			if strings.Contains(name, "events") {
				for range 10 {
					ns.Emit("long", strings.Repeat("x", 500))
				}
			}
			r.connect()
			if r.recoveredAs == r.sid {
				t.Errorf("recovered, want a new socket")
			}
			r.cut()
			gone(t, left, r.recoveredAs)
		})
	}
}

func TestRecoveryWindowEnds(t *testing.T) {
	left := make(chan string, 8)
	srv, dial, ns := recoverers(t, sio.Options{Recovery: sio.Recovery{Window: 20 * time.Millisecond}}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	r.cut()
	gone(t, left, r.sid)
	time.Sleep(60 * time.Millisecond)
	ns.Emit("late")
	r.connect()
	if r.recoveredAs == r.sid || srv.Recoveries().Unknown != 1 {
		t.Errorf("recovered as %s with %+v, want a new socket", r.recoveredAs, srv.Recoveries())
	}
}

// Middlewares run for a recovered socket only if asked for, and may refuse it.
func TestRecoveryThroughMiddlewares(t *testing.T) {
	left := make(chan string, 8)
	admit := make(chan bool, 8)
	_, dial, ns := recoverers(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute, RunMiddlewares: true}}, func(ns *sio.Namespace) {
		ns.Use(func(s sio.Socket) error {
			if s.Recovered() && !<-admit {
				return &sio.Error{Message: "banned"}
			}
			return nil
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	r.cut()
	gone(t, left, r.sid)
	ns.Emit("missed", 1)
	admit <- true
	r.connect()
	if got := fmt.Sprint(r.events); got != "[missed 1]" || r.recoveredAs != r.sid {
		t.Errorf("events = %s as %s, want [missed 1] as %s", got, r.recoveredAs, r.sid)
	}
	r.cut()
	gone(t, left, r.sid)
	admit <- false
	c := r.srv.dial()
	c.send(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, r.pid, r.offset))
	c.expect(`44{"message":"banned"}`)
}

// With recovery, events end in an offset; neither volatile ones do nor those that
// ask for an answer, which have none to be recovered by.
func TestRecoveryOffsets(t *testing.T) {
	var joined chan sio.Socket
	_, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) { joined = sockets(ns) })
	r := dial()
	s := take(t, joined)
	s.Join("r1")
	answered := make(chan error, 1)
	for _, x := range []struct {
		emit func() error
		want string
	}{
		{func() error { return s.Emit("a", 1) }, `^42\["a",1,"[^"]+"\]$`},
		{func() error { return ns.To("r1").Emit("b", 2) }, `^42\["b",2,"[^"]+"\]$`},
		{func() error { return ns.Emit("c") }, `^42\["c","[^"]+"\]$`},
		{func() error { return s.Volatile().Emit("v", 1) }, `^42\["v",1\]$`},
		{func() error {
			// ends with the answer
			go func() { _, err := s.EmitAck(within(patience), "ackd"); answered <- err }()
			return nil
		}, `^42\d+\["ackd"\]$`},
	} {
		if err := x.emit(); err != nil {
			t.Fatal(err)
		}
		got := r.next()
		if !regexp.MustCompile(x.want).MatchString(got) {
			t.Errorf("received %s, want %s", got, x.want)
		}
		if m := regexp.MustCompile(`^42(\d+)`).FindStringSubmatch(got); m != nil {
			r.send("43" + m[1] + "[]")
		}
	}
	if err := take(t, answered); err != nil {
		t.Errorf("EmitAck = %v", err)
	}
}

// EmitOffset returns the offset that clients get, where they get one.
func TestEmitOffset(t *testing.T) {
	var joined chan sio.Socket
	_, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) { joined = sockets(ns) })
	r := dial()
	s := take(t, joined)
	s.Join("r1")
	last := ""
	for _, x := range []struct {
		name string
		to   sio.BroadcastOperator
	}{{"all", ns.All()}, {"a room", ns.To("r1")}, {"a socket", s.Self()}, {"a socket, by its id", ns.To(s.ID())}, {"a room without somebody", ns.To("r1").Except("r2")}} {
		offset, err := x.to.EmitOffset("x", "text")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.next(), fmt.Sprintf(`42["x","text",%q]`, offset); got != want {
			t.Errorf("%s: received %s, want %s", x.name, got, want)
		}
		if offset <= last {
			t.Errorf("%s: offset %q is not behind %q", x.name, offset, last)
		}
		last = offset
	}
	for name, to := range map[string]sio.BroadcastOperator{"volatile": ns.To("r1").Volatile(), "nobody": ns.To()} {
		if offset, err := to.EmitOffset("x", 1); offset != "" || err != nil {
			t.Errorf("%s: EmitOffset = %q, %v", name, offset, err)
		}
	}
	if _, err := ns.All().EmitOffset("connect"); err == nil {
		t.Error("EmitOffset of a reserved name is no error")
	}
	plain := serve(t, sio.Options{}, func(*sio.Server) {})
	plain.dial().send("40") // it serves
	if offset, err := plain.Of("/").All().EmitOffset("x"); offset != "" || err != nil {
		t.Errorf("EmitOffset without recovery = %q, %v", offset, err)
	}
}

// An id is the same for the socket's life and afterwards, also of who was
// recovered, and of a client of Socket.IO 2.
func TestIDsStayTrue(t *testing.T) {
	left := make(chan sio.Socket, 10)
	var now chan sio.Socket
	srv, dial, _ := recoverers(t, sio.Options{Engine: eio.Options{AllowEIO3: true}}, func(ns *sio.Namespace) {
		now = sockets(ns)
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s })
	})
	r := dial()
	first := take(t, now)
	r.cut()
	if s := take(t, left); s != first || s.ID() != r.sid {
		t.Errorf("who left is %s, want %s", s.ID(), r.sid)
	}
	r.connect()
	again := take(t, now)
	if again.ID() != r.sid || !again.Recovered() || again == first {
		t.Fatalf("who came back is %s, want %s as another value", again.ID(), r.sid)
	}
	others := again.Broadcast()
	r.send("41")
	if s := take(t, left); s != again || s.ID() != r.sid {
		t.Errorf("who left is %s, want %s", s.ID(), r.sid)
	}
	eventually(t, "the end", again.Gone)
	if first.ID() != r.sid || again.ID() != r.sid {
		t.Errorf("afterwards the ids are %s and %s, want %s", first.ID(), again.ID(), r.sid)
	}
	if err := others.Emit("x"); err != nil {
		t.Error(err)
	}

	old := srv.dialOld()
	old.next()
	s := take(t, now)
	if s.ID() != old.id {
		t.Errorf("ID() = %s, want what the client calls itself, %s", s.ID(), old.id)
	}
	old.conn.Close()
	take(t, left)
	eventually(t, "the end", s.Gone)
	if s.ID() != old.id {
		t.Errorf("afterwards ID() = %s, want %s", s.ID(), old.id)
	}
}

// An operator that was narrowed to nothing does nothing to who is away, and a
// socket's own one that leaves the socket out neither.
func TestNarrowedToNothingWhileAway(t *testing.T) {
	left := make(chan string, 10)
	_, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnConnect(func(s sio.Socket) error { s.Join("r"); return nil })
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	s := ns.All().Sockets()[0]
	r.cut()
	gone(t, left, r.sid)
	ns.To().Disconnect(sio.DisconnectOptions{Conn: true})
	ns.To().Leave("r")
	s.Self().Except("r").Disconnect(sio.DisconnectOptions{Conn: true})
	r.connect()
	if r.recoveredAs != r.sid {
		t.Errorf("who was away came back as %s, want %s", r.recoveredAs, r.sid)
	}
	eventually(t, "joining", func() bool { return len(ns.To("r").Sockets()) == 1 })
	r.cut()
	gone(t, left, r.sid)
	s.Self().Except("other").Disconnect(sio.DisconnectOptions{Conn: true})
	r.connect()
	if r.recoveredAs == r.sid {
		t.Error("who was disconnected while away came back")
	}
}
