package sio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

func TestEdge67EmitsReachTheSocketsOfAllServers(t *testing.T) {
	p := newPair(t, sio.Options{}, nil)
	a, b := p.clients[0], p.clients[1]
	p.sockets[1].Join("r")
	p.sockets[0].Join("r", "q")
	eventually(t, "joining", func() bool { return len(p.sockets[1].Rooms()) == 2 && len(p.sockets[0].Rooms()) == 3 })
	for _, test := range []struct {
		name string
		to   sio.Emitter
		want string
	}{
		{"the namespace", p.ns[0], "ab"},
		{"a room", p.ns[0].To("r"), "ab"},
		{"a room of the sender's server", p.ns[0].To("q"), "a"},
		{"a room but another", p.ns[1].To("r").Except("q"), "b"},
		{"an id of the other server", p.ns[0].To(p.sockets[1].ID()), "b"},
		{"but an id of the other server", p.ns[0].Except(p.sockets[1].ID()), "a"},
		{"all but the sender", p.sockets[0].Broadcast(), "b"},
		{"this server alone", p.ns[0].All().Local(), "a"},
		{"a socket", p.sockets[0], "a"},
		{"nobody", p.ns[0].To("nobody"), ""},
		{"volatile", p.ns[0].All().Volatile(), "ab"},
	} {
		a.quiet("")
		b.quiet("")
		if err := test.to.Emit("x", []byte{1, 2}, "é"); err != nil {
			t.Fatal(err)
		}
		if err := p.ns[0].Emit("end"); err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, c := range p.clients {
			for packet := c.next(); packet != `42["end"]`; packet = c.next() {
				if packet != `451-["x",{"_placeholder":true,"num":0},"é"]` || c.next() != "<0102>" {
					t.Errorf("%s: received %s", test.name, packet)
				}
				got += string(rune('a' + i))
			}
		}
		if got != test.want {
			t.Errorf("%s: it reached %q, want %q", test.name, got, test.want)
		}
	}
}

func TestEdge69OperatorsReachTheSocketsOfAllServers(t *testing.T) {
	p := newPair(t, sio.Options{}, nil)
	p.ns[0].All().Join("r", "s")
	eventually(t, "joining on the other server", func() bool { return slices.Contains(p.sockets[1].Rooms(), "s") })
	p.ns[1].To("r").Except(p.sockets[1].ID()).Leave("s")
	eventually(t, "leaving on the other server", func() bool { return !slices.Contains(p.sockets[0].Rooms(), "s") })
	if got := p.sockets[1].Rooms(); !slices.Contains(got, "s") {
		t.Errorf("Rooms of who was excepted = %q, want s among them", got)
	}
	p.ns[0].To("s").Disconnect(sio.DisconnectOptions{Conn: true})
	p.clients[1].ended("41", "close -")
	p.clients[0].quiet("")
}

func TestClusterAcknowledgementsAreTakenAsTheyCome(t *testing.T) {
	p := newPair(t, sio.Options{}, nil)
	came, over := make(chan string), make(chan string, 1)
	go func() {
		asked, err := p.ns[0].All().EmitAckEach(within(patience), func(a sio.Args) { came <- fmt.Sprint(values(a)) }, "q")
		over <- fmt.Sprint(asked, err)
	}()
	id := func(packet string) string { return strings.TrimSuffix(strings.TrimPrefix(packet, "42"), `["q"]`) }
	here, there := id(p.clients[0].next()), id(p.clients[1].next())
	p.clients[1].send("43" + there + `["b"]`)
	if got := take(t, came); got != "[b]" {
		t.Errorf("the first answer is %s, want that of the other server, [b]", got)
	}
	p.clients[0].send("43" + here + `["a"]`)
	if got := take(t, came); got != "[a]" {
		t.Errorf("the second answer is %s, want [a]", got)
	}
	if got := take(t, over); got != "2 <nil>" {
		t.Errorf("EmitAckEach = %s, want 2 clients that were asked, on both servers", got)
	}
}

func TestClusterAcknowledgements(t *testing.T) {
	p := newPair(t, sio.Options{}, nil)
	answers := make(chan []string, 1)
	ask := func(to sio.BroadcastOperator, ctx context.Context) {
		all, err := to.EmitAck(ctx, "q")
		var got []string
		for _, a := range all {
			got = append(got, fmt.Sprint(values(a)))
		}
		slices.Sort(got)
		if err != nil {
			got = append(got, err.Error())
		}
		answers <- got
	}
	reply := func(c *client, arg string, attachment ...string) {
		packet := c.next()
		id := strings.TrimSuffix(strings.TrimPrefix(packet, "42"), `["q"]`)
		c.send(append([]string{strings.Replace(arg, "#", id, 1)}, attachment...)...)
	}
	go ask(p.ns[0].All(), context.Background())
	reply(p.clients[0], `43#["a",1]`)
	reply(p.clients[1], `461-#[{"_placeholder":true,"num":0}]`, "<0aff>")
	if got, want := take(t, answers), []string{"[[10 255]]", "[a 1]"}; !slices.Equal(got, want) {
		t.Errorf("EmitAck = %q, want %q", got, want)
	}

	go ask(p.ns[0].To("nobody"), context.Background())
	if got := take(t, answers); got != nil {
		t.Errorf("EmitAck to nobody = %q, want nothing", got)
	}

	ctx, cancel := context.WithCancel(context.Background())
	go ask(p.ns[0].All(), ctx)
	reply(p.clients[1], `43#["b"]`)
	p.clients[0].next() // and no answer
	p.clients[1].quiet("")
	cancel()
	if got := take(t, answers); !slices.Equal(got, []string{"[b]", "context canceled"}) && !slices.Equal(got, []string{"context canceled"}) {
		t.Errorf("EmitAck = %q, want what came and the error", got)
	}

	p.silent = []string{p.servers[1].Node()}
	go ask(p.ns[0].All(), context.Background())
	reply(p.clients[0], `43#["a"]`)
	if got := take(t, answers); len(got) != 2 || got[0] != "[a]" || !strings.Contains(got[1], p.servers[1].Node()) {
		t.Errorf("EmitAck with a server that does not answer = %q, want [a] and its name", got)
	}
}

func TestClusterFetchSockets(t *testing.T) {
	p := newPair(t, sio.Options{KeepHandshake: sio.KeepAlways}, nil)
	p.sockets[1].Join("r")
	p.sockets[1].SetData(map[string]any{"user": "bob"})
	p.sockets[0].SetData("alice")
	ctx := within(patience)
	all, err := p.ns[0].All().FetchSockets(ctx)
	if err != nil || len(all) != 2 || all[0].ID() != p.sockets[0].ID() || all[1].ID() != p.sockets[1].ID() {
		t.Fatalf("FetchSockets = %v, %v, want both sockets, our own first", all, err)
	}
	var auth struct{ Token string }
	var data struct{ User string }
	far := all[1]
	if err := errors.Join(far.Auth(&auth), far.Data(&data)); err != nil || auth.Token != "t" || data.User != "bob" {
		t.Errorf("Auth and Data = %v, %v, %v, want t and bob", auth, data, err)
	}
	if got, want := far.Rooms(), []string{far.ID(), "r"}; !slices.Equal(got, want) {
		t.Errorf("Rooms = %q, want %q", got, want)
	}
	h := far.Handshake()
	if h.Query().Get("EIO") != "4" || h.Header().Get("Upgrade") != "websocket" || !h.Address().Addr().IsLoopback() || time.Since(h.Issued()) > patience ||
		!strings.HasPrefix(h.URL(), "/socket.io/?") {
		t.Errorf("Handshake = %+v, want that of the request", h)
	}

	if some, err := p.ns[0].All().FetchForeign(ctx); err != nil || len(some) != 0 {
		t.Errorf("FetchForeign = %v, %v, want nothing of servers of this module", some, err)
	}
	if some, err := p.ns[0].To("r").FetchSockets(ctx); err != nil || len(some) != 1 || some[0].ID() != far.ID() {
		t.Errorf("FetchSockets of r = %v, %v, want the one", some, err)
	}
	if names, err := p.ns[0].All().FetchRooms(ctx); err != nil || len(names) != 3 || !slices.Contains(names, "r") {
		t.Errorf("FetchRooms = %q, %v, want r and both ids", names, err)
	}
	far.Join("via")
	far.Leave("r")
	if err := far.Emit("hello", 1); err != nil {
		t.Fatal(err)
	}
	p.clients[1].expect(`42["hello",1]`)
	if got, want := p.sockets[1].Rooms(), []string{far.ID(), "via"}; !slices.Equal(got, want) {
		t.Errorf("Rooms = %q, want %q", got, want)
	}
	answer := make(chan any, 1)
	go func() {
		a, err := far.EmitAck(ctx, "q")
		answer <- fmt.Sprint(values(a), err)
	}()
	p.clients[1].send(strings.Replace(p.clients[1].next(), `42`, `43`, 1))
	if got := take(t, answer); got != "[q] <nil>" {
		t.Errorf("EmitAck = %v, want [q]", got)
	}
	far.Disconnect(sio.DisconnectOptions{})
	p.clients[1].expect("41")
	if _, err := far.EmitAck(ctx, "q"); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("EmitAck of who has left: %v, want ErrClosed", err)
	}
	p.silent = []string{p.servers[1].Node()}
	var incomplete *rooms.IncompleteError
	if some, err := p.ns[0].All().FetchSockets(ctx); !errors.As(err, &incomplete) || len(some) != 1 {
		t.Errorf("FetchSockets = %v, %v, want our own and who is missing", some, err)
	}
}

func TestEdge68ServersTalkToEachOther(t *testing.T) {
	heard := make(chan string, 10)
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		srv.Of("/").HandleServerSide("news", func(m *sio.Msg) error {
			heard <- fmt.Sprint(i, values(m.Args), m.WantsAck())
			return m.Ack(i, "ignored")
		})
		srv.Of("/").HandleServerSide("mute", func(m *sio.Msg) error { return nil })
	})
	if err := p.ns[0].ServerSideEmit("news", "x", []byte{7}); err != nil {
		t.Fatal(err)
	}
	if got := take(t, heard); got != "1 [x [7]] false" {
		t.Errorf("heard %q, want it on the other server, without an answer wanted", got)
	}
	answers, err := p.ns[1].ServerSideAsk(within(patience), "news")
	if err != nil || len(answers) != 1 || fmt.Sprint(values(answers[0])) != "[0]" {
		t.Errorf("ServerSideAsk = %v, %v, want 0", answers, err)
	}
	if got := take(t, heard); got != "0 [] true" {
		t.Errorf("heard %q, want it with an answer wanted", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := p.ns[1].ServerSideAsk(ctx, "mute"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ServerSideAsk without an answer: %v, want the deadline", err)
	}
	for _, reserved := range []string{"connect", "connection", "new_namespace"} {
		if err := p.ns[0].ServerSideEmit(reserved); err == nil {
			t.Errorf("ServerSideEmit(%q) has no error, want one", reserved)
		}
	}
	if answers, err := p.ns[0].All().Local().ServerSideAsk(within(patience), "news"); len(answers) != 0 || err != nil {
		t.Errorf("ServerSideAsk alone = %v, %v, want no answers", answers, err)
	}
}

func TestClusterIsToldOfNamespacesAndRooms(t *testing.T) {
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) {
		echo(srv.Of("/c/:id"))
		srv.Of("/c/:id").OnConnect(func(s sio.Socket) error { s.Join("r"); return nil })
	})
	s := p.stops[0]
	if !s.knows("/") || !s.knows("/c/:id") || s.knows("/c/1") {
		t.Error("it does not know / and the pattern alone")
	}
	c := p.clients[0]
	own := "/ " + p.sockets[0].ID()
	eventually(t, "the socket's own room", func() bool { return s.knows(own) })
	if p.stops[1].knows("/ " + p.sockets[1].ID()) {
		t.Error("the other server's adapter knows the socket's own room, and did not want to")
	}
	c.join("40/c/1,")
	p.clients[1].join("40/c/1,")
	p.clients[1].join("40/c/2,")
	eventually(t, "the room", func() bool { return s.knows("/c/1") && s.knows("/c/1 r") })

	pattern := p.servers[0].Of("/c/:id")
	for _, e := range []struct {
		to   sio.Emitter
		want []string
	}{
		{pattern.Instance("/c/2"), []string{"/c/2"}}, // which is only on the other server
		{pattern, []string{"/c/1", "/c/2"}},
	} {
		if err := e.to.Emit("x"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range e.want {
			name, _, _ := strings.Cut(strings.TrimPrefix(p.clients[1].next(), "42"), ",")
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, e.want) {
			t.Errorf("it reached %q, want %q", got, e.want)
		}
	}
	c.expect(`42/c/1,["x"]`)
	c.send("41/c/1,")
	eventually(t, "the end of the instance", func() bool { return !s.knows("/c/1") && !s.knows("/c/1 r") })
	c.send("41")
	eventually(t, "the end of the socket's room", func() bool { return !s.knows(own) })
}

func TestClusterWithRecovery(t *testing.T) {
	p := newPair(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, nil)
	if err := p.ns[0].Emit("x"); err != nil {
		t.Fatal(err)
	}
	for _, c := range p.clients { // each with an offset of its own server
		if got := c.next(); !strings.HasPrefix(got, `42["x","~`) {
			t.Errorf("received %s, want an offset", got)
		}
	}
}

func TestUseEmit(t *testing.T) {
	var seen []string
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.UseEmit(func(next sio.EmitFunc) sio.EmitFunc {
			return func(to sio.BroadcastOperator, event string, args ...any) error {
				in, except := to.Rooms()
				_, only := to.Socket()
				seen = append(seen, fmt.Sprint(event, args, in, len(except), only))
				if event == "secret" {
					return errors.New("no")
				}
				return next(to, event, append(args, "more")...)
			}
		})
		ns.UseEmit(func(next sio.EmitFunc) sio.EmitFunc {
			return func(to sio.BroadcastOperator, event string, args ...any) error {
				return next(to, strings.ToUpper(event), args...)
			}
		})
		ns.Handle("go", func(s sio.Socket, m *sio.Msg) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, _ = s.EmitAck(ctx, "ask")
			return errors.Join(s.Emit("one", 1), s.To("r").Emit("room"), ns.Emit("all"), ns.To("r").Except("q").Emit("x"), s.Emit("secret"))
		})
	})
	c := srv.join("40")
	c.send(`42["go"]`)
	c.expect(`420["ASK","more"]`, `42["ONE",1,"more"]`, `42["ALL","more"]`)
	if got := take(t, srv.log.new); got != "go: no" {
		t.Errorf("the error is %q, want that of the wrapper", got)
	}
	want := []string{"ask[] [] 0 true", "one[1] [] 0 true", "room[] [r] 0 false", "all[] [] 0 false", "x[] [r] 1 false", "secret[] [] 0 true"}
	c.quiet("")
	if !slices.Equal(seen, want) {
		t.Errorf("the wrapper saw %q, want %q", seen, want)
	}
}

// What other servers are told of data can be more than that; here it is not shown.
func TestClusterDescribeWith(t *testing.T) {
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) {
		srv.DescribeWith(func(s sio.Socket, transport string, data json.RawMessage) json.RawMessage {
			return json.RawMessage(fmt.Sprintf(`{"data":%s,"over":%q,"id":%q}`, data, transport, s.ID()))
		})
	})
	p.sockets[0].SetData(1)
	p.sockets[1].SetData(2)
	all, err := p.ns[0].All().FetchSockets(within(patience))
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for i, want := range []string{"1", `{"data":2,"over":"websocket","id":"` + all[1].ID() + `"}`} {
		var data json.RawMessage
		if err := all[i].Data(&data); err != nil || string(data) != want {
			t.Errorf("of %d: %s, %v, want %s", i, data, err, want)
		}
	}
}
