package sio_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
	"github.com/sioedge/sioedge/wsframe"
)

// The answers of many come in the order of arrival, with all their arguments;
// a second answer of one client is not counted.
func TestEdge27AnswersInTheirOrder(t *testing.T) {
	p := newParty(t, 4)
	got := make(chan answers, 1)
	// ends when all have answered
	go func() {
		all, err := p.ns.All().EmitAck(within(patience), "ask", []byte{1})
		got <- answers{all, err}
	}()
	const one = `{"_placeholder":true,"num":0}`
	sent := map[int][]string{
		2: {`43%s["c",2]`}, 0: {`43%s[]`}, 3: {`461-%s[` + one + `]`, "<0102>"}, 1: {`43%s[null]`, `43%s["again"]`},
	}
	for _, i := range []int{2, 0, 3, 1} {
		c := p.clients[i]
		id := c.question("ask")
		c.expect("<01>")
		for _, packet := range sent[i] {
			c.send(strings.Replace(packet, "%s", id, 1))
		}
		c.quiet("") // it has arrived
	}
	a := take(t, got)
	var text []string
	for _, args := range a.all {
		text = append(text, fmt.Sprint(args.Len(), " ", string(args.Raw(0)), " ", args.Binary()))
	}
	if want := []string{`2 "c" []`, `0  []`, "1 " + one + " [[1 2]]", `1 null []`}; a.err != nil || !slices.Equal(text, want) {
		t.Errorf("EmitAck = %q, %v, want %q", text, a.err, want)
	}
}

// What Sockets returns is a moment: who leaves later is a value that does
// nothing, and what is asked of the others is as of now.
func TestEdge49ASnapshotOfSockets(t *testing.T) {
	p := newParty(t, 3)
	for i, s := range p.sockets {
		s.SetData(i)
		s.Join("r", fmt.Sprint("own ", i))
	}
	p.sockets[2].Leave("r")
	found := p.ns.To("r").Sockets()
	if len(found) != 2 || !slices.Contains(found, p.sockets[0]) || !slices.Contains(found, p.sockets[1]) {
		t.Fatalf("Sockets() = %v, want a and b", found)
	}
	p.clients[0].send("41")
	eventually(t, "the end of a", p.sockets[0].Gone)
	p.sockets[1].SetData("new")
	for _, s := range found {
		err, want := s.Emit("x"), error(nil)
		if s == p.sockets[0] {
			want = sio.ErrClosed
		}
		if err != want || s.Connected() != (want == nil) {
			t.Errorf("of socket %s Emit = %v and Connected() = %v, want %v", s.ID(), err, s.Connected(), want)
		}
		if want == nil && (s.Data() != "new" || !slices.Equal(s.Rooms(), []string{s.ID(), "r", "own 1"}) || s.Handshake().URL() == "") {
			t.Errorf("b has the data %v, the rooms %v and came with %q", s.Data(), s.Rooms(), s.Handshake().URL())
		}
	}
	p.clients[1].expect(`42["x"]`)
	if found := p.ns.To("r").Sockets(); len(found) != 1 || found[0] != p.sockets[1] {
		t.Errorf("Sockets() later = %v, want b", found)
	}
}

// Who leaves is no recipient of its own last broadcasts: its client has been
// told, or has said it.
func TestEdge45WhoLeavesHearsNothing(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) {
			if n := len(ns.To("r").Sockets()); n != 1 && s.Data() == true {
				t.Errorf("in OnDisconnecting %d sockets of the room can be addressed, want the other one", n)
			}
			if err := ns.To("r").Emit("bye", s.Data()); err != nil {
				t.Error(err)
			}
		})
		echo(srv.Of("/a"))
	})
	a, b := srv.join("40"), srv.join("40")
	for range 2 {
		s := take(t, joined)
		s.SetData(s.ID() == a.id)
		s.Join("r")
	}
	a.join("40/a,")
	a.send("41")
	b.expect(`42["bye",true]`)
	a.quiet("/a,")
}

// Many clients that make one namespace of a pattern at once make one; when they
// leave it is forgotten, however often.
func TestOneInstanceHoweverManyMakeIt(t *testing.T) {
	const n, rounds = 12, 10
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) {
		joined = sockets(srv.Of("/x/:id"))
		echo(srv.Of("/x/:id"))
		srv.Of("/x/:id").Use(func(s sio.Socket) error {
			if s.Param("id") == "refused" {
				return &sio.Error{Message: "no"}
			}
			return nil
		})
		echo(srv.Of("/"))
	})
	var clients []*client
	for range n {
		clients = append(clients, srv.join("40"))
	}
	for round := range rounds {
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() { c.send("40/x/1,", "40/x/refused,") })
		}
		wg.Wait()
		for _, c := range clients {
			got := []string{c.next(), c.next()}
			slices.Sort(got)
			if !strings.HasPrefix(got[0], `40/x/1,{"sid":`) || got[1] != `44/x/refused,{"message":"no"}` {
				t.Fatalf("received %q, want one accepted and one refused", got)
			}
		}
		s := take(t, joined)
		for range n - 1 {
			take(t, joined)
		}
		if err := s.Broadcast().Emit("round", round); err != nil {
			t.Fatal(err)
		}
		if err := srv.Of("/x/:id").Instance("/x/1").Emit("end"); err != nil {
			t.Fatal(err)
		}
		heard := 0
		for _, c := range clients {
			for packet := c.next(); packet != `42/x/1,["end"]`; packet = c.next() {
				heard++
			}
		}
		if heard != n-1 {
			t.Errorf("a broadcast reached %d others, want %d in one instance", heard, n-1)
		}
		for _, c := range clients {
			c.send("41/x/1,")
		}
		eventually(t, "the end of the instance", func() bool { return srv.Held()["patterns' namespaces"] == 0 })
	}
}

// Each bound of Limits is the application's, and what passes it is counted.
func TestLimitsOfPackets(t *testing.T) {
	const one = `{"_placeholder":true,"num":0}`
	for name, x := range map[string]struct {
		limits   parser.Limits
		fits     []string
		answered string
		exceeds  []string
	}{
		"depth":     {parser.Limits{MaxDepth: 3}, []string{`421["echo",[[]]]`}, `431[[[]]]`, []string{`421["echo",[[[]]]]`}},
		"arguments": {parser.Limits{MaxArgs: 2}, []string{`421["echo",1,2]`}, `431[1,2]`, []string{`421["echo",1,2,3]`}},
		"bytes that wait for attachments": {
			parser.Limits{MaxAttachmentBytes: 60}, []string{`451-1["echo",{"a":[` + one + `]}]`, "<" + strings.Repeat("00", 8) + ">"},
			`461-1[{"a":[` + one + `]}]`, []string{`451-1["echo",{"a":[` + one + `]}]`, "<" + strings.Repeat("00", 60) + ">"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := simulate(t, sio.Options{Limits: x.limits}, func(srv *sio.Server) { echo(srv.Of("/")) })
			c := srv.join("40")
			c.send(x.fits...)
			c.expect(x.answered)
			if len(x.fits) > 1 {
				c.expect(x.fits[1:]...)
			}
			if n := srv.Stats().BadPackets; n != 0 {
				t.Errorf("Stats().BadPackets = %d for what fits, want 0", n)
			}
			c.send(x.exceeds...)
			c.ended("close -")
			if n := srv.Stats().BadPackets; n != 1 {
				t.Errorf("Stats().BadPackets = %d, want 1", n)
			}
		})
	}
}

// A message in more fragments than are allowed ends the connection; in as many
// it is an event.
func TestFragments(t *testing.T) {
	srv := serve(t, sio.Options{Engine: eio.Options{MaxFragments: 4}}, func(srv *sio.Server) { echo(srv.Of("/")) })
	fragments := func(n int) (b []byte) {
		packet := `421["echo"]`
		for i := range n {
			part, op := packet[i:i+1], wsframe.Continuation
			if i == 0 {
				op = wsframe.Text
			}
			if i == n-1 {
				part = packet[i:]
			}
			at := len(b)
			b = wsframe.AppendMaskedFrame(b, op, []byte(part), [4]byte{1, 2, 3, 4})
			if i < n-1 {
				b[at] &^= 0x80 // FIN
			}
		}
		return b
	}
	c := srv.join("40")
	c.write(fragments(4))
	c.expect("431[]")
	c.write(fragments(5))
	c.ended("close 1008")
	if n := srv.Stats().Engine.Frames; n != 1 {
		t.Errorf("Stats().Engine.Frames = %d, want 1", n)
	}
}

// A client that goes through the names of a pattern gets as far as the bound of
// its connection, and all clients together as far as that of the server.
func TestEdge66MaxInstancesHostile(t *testing.T) {
	const each, most = 8, 20
	srv := simulate(t, sio.Options{MaxNamespaces: each, MaxInstances: most, Loop: loop.Options{Loops: 2}}, func(srv *sio.Server) { echo(srv.Of("/x/:id")) })
	accepted := 0
	for i := range 4 {
		c := srv.dial()
		for j := range 50 {
			c.send(fmt.Sprintf("40/x/%d-%d,", i, j))
			switch p := c.next(); {
			case strings.HasPrefix(p, "40/x/"):
				accepted++
			case p != fmt.Sprintf(`44/x/%d-%d,{"message":"too many namespaces"}`, i, j):
				t.Fatalf("received %s, want a namespace or a refusal", p)
			}
		}
	}
	st := srv.Stats()
	if live := srv.Held()["patterns' namespaces"]; accepted != most || live != most || st.Drops.Namespaces != 200-most || st.Refused != 200-most {
		t.Errorf("%d accepted, %d live, %d refused; want %d, %d, %d", accepted, live, st.Drops.Namespaces, most, most, 200-most)
	}
}

// The port is free when Shutdown has returned, with clients there until then.
func TestShutdownFreesThePort(t *testing.T) {
	srv := serve(t, sio.Options{Loop: loop.Options{LingerTimeout: 10 * time.Millisecond}}, func(srv *sio.Server) { srv.Of("/") })
	c, p := srv.join("40"), srv.joinPolling()
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Fatal(err)
	}
	c.ended("close -")
	if _, _, err := p.do("GET", ""); err == nil {
		t.Error("a request is still answered")
	}
	again, err := sio.New(sio.Options{Loop: loops(1), ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Shutdown(within(patience))
	if _, err := again.Listen(srv.addr); err != nil {
		t.Errorf("Listen(%s) after Shutdown = %v, want the port", srv.addr, err)
	}
}
