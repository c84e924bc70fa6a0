package sio_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// old are the options of a server for clients of Socket.IO 2 too.
func old() sio.Options { return sio.Options{Engine: eio.Options{AllowEIO3: true}} }

// dialOld opens a session of a client of Socket.IO 2, whose id is c.id then; the
// server's first packets are still to come.
func (srv *server) dialOld() *client {
	srv.t.Helper()
	c := srv.dialQuery("EIO=3&transport=websocket&foo=root&bar=1")
	if !c.like(c.open, `0{"sid":"$sid","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`) {
		srv.t.Fatalf("the open packet is %s", c.open)
	}
	return c
}

// joinOld is dialOld with the root joined.
func (srv *server) joinOld() *client {
	srv.t.Helper()
	c := srv.dialOld()
	c.expect("40")
	return c
}

// Socket.IO protocol 4 as it is seen on a WebSocket.
func TestOldDialogues(t *testing.T) {
	srv := simulate(t, old(), dialogues)
	placeholder := `{"_placeholder":true,"num":0}`
	for _, d := range []struct {
		name  string
		steps []step
	}{
		{"events, acknowledgements, binary", []step{
			say(`42["echo",1]`).hear(`42["echo",1]`), say(`4217["echo","a"]`).hear(`4317["a"]`),
			say(`451-18["echo",`+placeholder+`]`, "<04010203>").hear(`461-18[`+placeholder+`]`, "<04010203>"),
			say(`451-["echo",`+placeholder+`]`, "b4AQID").hear(`451-["echo",`+placeholder+`]`, "<04010203>"),
		}},
		{"its pings", []step{say("2").hear("3"), say("2probe").hear("3")}},
		{"an explicit CONNECT to the root is nothing", []step{say("40", "40/", "40/?x=1,", `42["echo",1]`).hear(`42["echo",1]`)}},
		{"other namespaces, with a query or without", []step{
			say("40/chat,").hear("40/chat,"), say("40/a?token=abc&x=1%202,").hear("40/a,"),
			say(`42/a?token=abc,["echo",1]`).hear(`42/a,["echo",1]`), say(`42/chat,5["echo"]`).hear("43/chat,5[]"),
			say("41/a?token=abc", "40/a?token=new,").hear("40/a,"),
		}},
		{"an unknown namespace", []step{
			say("40/unknown?x=1,").hear(`44/unknown,{"message":"Invalid namespace"}`), say(`42["echo",1]`).hear(`42["echo",1]`),
		}},
		{"refused with data, which is all that is said", []step{
			say("40/mw,").hear(`44/mw,{"code":401,"x":["y"]}`), say(`42["echo",1]`).hear(`42["echo",1]`),
		}},
		{"a second CONNECT to another namespace", []step{say("40/chat,").hear("40/chat,"), say(`42/chat,["x"]`, "40/chat?x=1,").hear("close -", "FIN")}},
		{"leaving, and the root joined again", []step{say("41", "40").hear("40"), say(`421["echo"]`).hear("431[]")}},
		{"an event to a namespace that was left", []step{say("41", `42["echo",1]`).hear("close -", "FIN")}},
		{"the server leaves all namespaces", []step{
			say("40/a,").hear("40/a,"), say("40/b,").hear("40/b,"), say(`42["leave",true]`).hear("41", "41/a,", "41/b,", "close -", "FIN"),
		}},
		{"its pong is an error", []step{say("3").hear("close -", "FIN")}},
	} {
		t.Run(d.name, func(t *testing.T) {
			c := srv.joinOld()
			c.t = t
			c.play(d.steps...)
		})
	}
}

// Refusals of the root leave the connection open.
func TestEdge65OldRefusals(t *testing.T) {
	for _, x := range []struct {
		err  error
		want string
	}{
		{&sio.Error{Message: `root "denied"`}, `44"root \"denied\""`},
		{&sio.Error{Message: "dropped", Data: map[string]int{"why": 1}}, `44{"why":1}`},
		{&sio.Error{Message: "dropped", Data: "text"}, `44"text"`},
		{&sio.Error{Message: "no JSON", Data: func() {}}, `44"no JSON"`},
		{errors.New("secret"), `44"internal error"`},
	} {
		srv := simulate(t, old(), func(srv *sio.Server) {
			srv.Of("/").Use(func(s sio.Socket) error {
				var auth any
				if err := s.Auth(&auth); err != nil || auth != nil {
					t.Errorf("Auth() = %v, %v, want nothing", auth, err)
				}
				return x.err
			})
			echo(srv.Of("/chat"))
			srv.Of("/gone").Use(func(s sio.Socket) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
		})
		c := srv.dialOld()
		c.play(hear(x.want), say("40/chat,").hear("40/chat,"), say(`42/chat,1["echo"]`).hear("43/chat,1[]"),
			say("40").hear(x.want), say("40/gone,").hear(`44/gone,"disconnected"`))
	}
}

func TestOldWithoutARoot(t *testing.T) {
	srv := simulate(t, old(), func(srv *sio.Server) { echo(srv.Of("/chat")) })
	srv.dialOld().play(hear(`44{"message":"Invalid namespace"}`), say("40/chat,").hear("40/chat,"))
}

// The query of a namespace is the auth, and among the parameters of the handshake.
func TestEdge65OldQuery(t *testing.T) {
	kept := old()
	kept.KeepHandshake = sio.KeepAlways
	var joined, inRoot chan sio.Socket
	srv := simulate(t, kept, func(srv *sio.Server) {
		inRoot = sockets(srv.Of("/"))
		joined = sockets(srv.Of("/chat"))
	})
	c := srv.joinOld()
	root := take(t, inRoot)
	var auth map[string]string
	if err := root.Auth(&auth); err != nil || auth != nil {
		t.Errorf("Auth() of the root = %v, %v, want nothing", auth, err)
	}
	c.play(say("40/chat?token=abc&x=1%202&x=3&bar=2&%zz=1,").hear("40/chat,"))
	s := take(t, joined)
	var raw json.RawMessage
	if err := s.Auth(&raw); err != nil || string(raw) != `{"bar":"2","token":"abc","x":"3"}` {
		t.Errorf("Auth() = %s, %v, want the query as strings", raw, err)
	}
	q := s.Handshake().Query()
	if q.Get("foo") != "root" || q.Get("bar") != "2" || q.Get("token") != "abc" || !slices.Equal(q["x"], []string{"1 2", "3"}) {
		t.Errorf("Query() = %v, want those of the URL and of the namespace, which go first", q)
	}
	if q := root.Handshake().Query(); q.Get("bar") != "1" || q.Has("token") {
		t.Errorf("Query() of the root = %v, want those of the URL", q)
	}
	if s.Handshake().URL() != root.Handshake().URL() {
		t.Errorf("URL = %q, want %q", s.Handshake().URL(), root.Handshake().URL())
	}
}

// The ids are those that the client makes by itself, and rooms like any other id.
func TestEdge65OldIDs(t *testing.T) {
	var roots, chats chan sio.Socket
	srv := simulate(t, old(), func(srv *sio.Server) {
		roots, chats = sockets(srv.Of("/")), sockets(srv.Of("/chat"))
		echo(srv.Of("/"))
		echo(srv.Of("/chat"))
	})
	a := srv.joinOld()
	rootA := take(t, roots)
	a.play(say("40/chat,").hear("40/chat,"))
	chatA := take(t, chats)
	b := srv.joinOld()
	rootB := take(t, roots)
	n := srv.join("40")
	rootN := take(t, roots)

	for _, x := range []struct{ got, want string }{
		{rootA.ID(), a.id}, {chatA.ID(), "/chat#" + a.id}, {rootB.ID(), b.id}, {rootN.ID(), n.id},
	} {
		if x.got != x.want {
			t.Errorf("ID() = %q, want %q", x.got, x.want)
		}
	}
	rootA.Join("r", a.id)
	if got, want := rootA.Rooms(), []string{a.id, "r"}; !slices.Equal(got, want) {
		t.Errorf("Rooms() = %q, want %q", got, want)
	}
	rootA.Leave(a.id)
	srv.Of("/").To("r").Leave(a.id)
	if got, want := chatA.Rooms(), []string{"/chat#" + a.id}; !slices.Equal(got, want) {
		t.Errorf("Rooms() = %q, want %q", got, want)
	}
	root := srv.Of("/")
	for event, to := range map[string]sio.BroadcastOperator{
		"to":     root.To(a.id),
		"except": root.Except(a.id, n.id),
		"both":   root.To(a.id, b.id, n.id).Except(b.id),
		"mine":   rootA.To(a.id, b.id),
		"others": rootB.Broadcast(),
	} {
		var got []string
		for _, s := range to.Sockets() {
			got = append(got, s.ID())
		}
		want := map[string][]string{"to": {a.id}, "except": {b.id}, "both": {a.id, n.id}, "mine": {b.id}, "others": {a.id, n.id}}[event]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("Sockets() of %s = %q, want %q", event, got, want)
		}
		if err := to.Emit(event); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client{a, b, n} {
			if slices.Contains(want, c.id) {
				c.expect(`42["` + event + `"]`)
			}
		}
	}
	a.quiet("")
	b.quiet("")
	n.quiet("")
	if err := srv.Of("/chat").To("/chat#" + a.id).Emit("chat"); err != nil {
		t.Fatal(err)
	}
	a.expect(`42/chat,["chat"]`)
	a.quiet("/chat,")

	a.play(say("41/chat"), say("40/chat,").hear("40/chat,"))
	if s := take(t, chats); s == chatA || s.ID() != chatA.ID() && !chatA.Gone() {
		t.Errorf("the socket that joined again is %v with id %q, want another one", s, s.ID())
	}
}

// A middleware knows the id, but is not yet in its room.
func TestOldIDsInMiddleware(t *testing.T) {
	rooms := make(chan []string, 1)
	srv := simulate(t, old(), func(srv *sio.Server) {
		srv.Of("/").Use(func(s sio.Socket) error {
			rooms <- append(s.Rooms(), "id "+s.ID())
			return srv.Of("/").To(s.ID()).Emit("early")
		})
		echo(srv.Of("/"))
	})
	c := srv.joinOld()
	if got, want := take(t, rooms), []string{"id " + c.id}; !slices.Equal(got, want) {
		t.Errorf("in a middleware: %q, want %q", got, want)
	}
	c.quiet("")
}

// A broadcast reaches old clients and new ones in the same order, with bytes in
// the form of each.
func TestOldAndNewInOneRoom(t *testing.T) {
	srv := simulate(t, old(), func(srv *sio.Server) { echo(srv.Of("/")) })
	a, n := srv.joinOld(), srv.join("40")
	text := srv.dialQuery("EIO=3&transport=websocket&b64=1")
	text.expect("40")
	for i := range 50 {
		if err := srv.Of("/").Emit("n", i, []byte{1, 2}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		b, _ := json.Marshal(i)
		head := `451-["n",` + string(b) + `,{"_placeholder":true,"num":0}]`
		a.expect(head, "<040102>")
		n.expect(head, "<0102>")
		text.expect(head, "b4AQI=")
	}
}

func TestOldPolling(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, old(), func(srv *sio.Server) {
		joined = sockets(srv.Of("/"))
		echo(srv.Of("/"))
		srv.Of("/mw").Use(func(s sio.Socket) error { return &sio.Error{Message: "x", Data: map[string]int{"code": 401}} })
		srv.Of("/mw2").Use(func(s sio.Socket) error { return &sio.Error{Message: "plain"} })
	})
	p := srv.pollQuery("EIO=3&transport=polling&b64=1")
	p.wantGet(200, "2:40")
	s := take(t, joined)
	if s.ID() != p.sid {
		t.Errorf("ID() = %q, want that of the session, %q", s.ID(), p.sid)
	}
	if status, body := p.post("19:42[\"echo\",\"€\",\"😀\"]"); status != 200 || body != "ok" {
		t.Fatalf("POST = %d %q, want 200 ok", status, body)
	}
	p.wantGet(200, "19:42[\"echo\",\"€\",\"😀\"]")
	if err := s.Emit("bin", []byte{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	s.Rooms() // asks the loop, behind what was emitted
	p.wantGet(200, `41:451-["bin",{"_placeholder":true,"num":0}]10:b4AQIDBA==`)
	for _, name := range []string{"unknown", "mw", "mw2"} {
		p.post(map[string]string{"unknown": "11:40/unknown,", "mw": "6:40/mw,", "mw2": "7:40/mw2,"}[name])
		p.wantGet(200, map[string]string{
			"unknown": `42:44/unknown,{"message":"Invalid namespace"}`, "mw": `18:44/mw,{"code":401}`, "mw2": `14:44/mw2,"plain"`,
		}[name])
	}
	s.Disconnect(sio.DisconnectOptions{Conn: true})
	eventually(t, "the disconnect", func() bool { return !s.Connected() })
	p.wantGet(200, "2:41")
	p.wantGet(200, "1:61:1")
}

// With recovery on, old clients are served as before: nothing is kept for them.
func TestOldWithRecovery(t *testing.T) {
	o := old()
	o.Recovery = sio.Recovery{Window: time.Minute}
	var joined chan sio.Socket
	srv := simulate(t, o, func(srv *sio.Server) {
		joined = sockets(srv.Of("/"))
		echo(srv.Of("/"))
	})
	c := srv.joinOld()
	s := take(t, joined)
	if s.ID() != c.id || s.Recovered() {
		t.Errorf("ID() = %q, Recovered() = %v, want %q and false", s.ID(), s.Recovered(), c.id)
	}
	c.play(say(`421["echo",1]`).hear("431[1]"))
	if err := s.To("nobody").Emit("x"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Of("/").To(c.id).Emit("x"); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); !strings.HasPrefix(got, `42["x"`) {
		t.Errorf("received %s, want event x", got)
	}
	c.send(`42["echo",1]`)
	if got := c.next(); !strings.HasPrefix(got, `42["echo",1`) {
		t.Errorf("received %s, want event echo", got)
	}
}

func TestOldClientsAreRefusedUnlessAllowed(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	p := srv.poll()
	p.url = p.base + "?EIO=3&transport=polling"
	if status, body := p.get(); status != 400 || body != `{"code":5,"message":"Unsupported protocol version"}` {
		t.Errorf("GET of EIO=3 = %d %q, want 400 and code 5", status, body)
	}
}

// A socket is found by its id, and by the one that it is shown by in place of that.
func TestOldSocketIsFoundByWhatIsShown(t *testing.T) {
	srv := simulate(t, old(), dialogues)
	c := srv.joinOld()
	s, ok := srv.Of("/").Lookup(c.id)
	if !ok || s.ID() != c.id || s.PublicID() == c.id {
		t.Fatalf("Lookup(%s) = %v, %t, shown by %s", c.id, s, ok, s.PublicID())
	}
	if got, ok := srv.Of("/").Lookup(s.PublicID()); !ok || got != s {
		t.Errorf("Lookup(%s) = %v, %t", s.PublicID(), got, ok)
	}
}
