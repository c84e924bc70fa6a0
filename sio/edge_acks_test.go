package sio_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

func within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// An answer is what EmitAck returned.
type answer struct {
	args sio.Args
	err  error
}

func ask(s sio.Socket, ctx context.Context, event string, args ...any) chan answer {
	c := make(chan answer, 1)
	// ends when the client has answered
	go func() {
		a, err := s.EmitAck(ctx, event, args...)
		c <- answer{a, err}
	}()
	return c
}

var ackID = regexp.MustCompile(`^4[25](?:\d+-)?(?:/[^,]*,)?(\d+)\[`)

// question receives an event that wants an answer, and returns its id.
func (c *client) question(event string) (id string) {
	c.t.Helper()
	p := c.next()
	m := ackID.FindStringSubmatch(p)
	if m == nil || !strings.Contains(p, `["`+event+`"`) {
		c.t.Fatalf("received %s, want %s with an acknowledgement id", p, event)
	}
	return m[1]
}

func TestEdge25And26AnswersOfAClient(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)

	got := ask(s, within(patience), "ask", 1, []byte{1})
	c.expect(`451-0["ask",1,{"_placeholder":true,"num":0}]`, "<01>")
	c.send(`461-0["a",{"_placeholder":true,"num":0}]`, "<0203>")
	a := take(t, got)
	var text string
	var data []byte
	if err := errors.Join(a.err, a.args.Decode(&text, &data)); err != nil || text != "a" || string(data) != "\x02\x03" {
		t.Errorf("EmitAck = %q, % x, %v, want a, 02 03", text, data, err)
	}

	got = ask(s, within(50*time.Millisecond), "ask")
	id := c.question("ask")
	if a := take(t, got); !errors.Is(a.err, context.DeadlineExceeded) {
		t.Errorf("EmitAck = %v, want %v", a.err, context.DeadlineExceeded)
	}
	c.send("43" + id + "[]") // late
	c.quiet("")
	if n := srv.Held()["extensions"]; n > 1 { // that of the inbox may be there still
		t.Errorf("%d extensions are held", n)
	}

	if _, err := s.EmitAck(context.Background(), "ask", func() {}); err == nil {
		t.Error("EmitAck of a function = nil, want an error")
	}
	for what, end := range map[string]func(c *client, s sio.Socket){
		"the client leaves":      func(c *client, _ sio.Socket) { c.send("41") },
		"the client disappears":  func(c *client, _ sio.Socket) { c.conn.Close() },
		"the server disconnects": func(_ *client, s sio.Socket) { s.Disconnect(sio.DisconnectOptions{}) },
	} {
		c := srv.join("40")
		s := take(t, joined)
		got := ask(s, context.Background(), "ask")
		c.question("ask")
		end(c, s)
		if a := take(t, got); a.err != sio.ErrClosed {
			t.Errorf("%s: EmitAck = %v, want %v", what, a.err, sio.ErrClosed)
		}
		if _, err := s.EmitAck(context.Background(), "ask"); err != sio.ErrClosed {
			t.Errorf("%s: EmitAck afterwards = %v, want %v", what, err, sio.ErrClosed)
		}
	}
}

// A handler may wait for an answer of its own client, whose other events wait.
func TestAHandlerAsks(t *testing.T) {
	seen := make(chan string, 10)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		sio.OnAck(ns, "ask me", func(s sio.Socket, _ any) (string, error) {
			name, err := sio.Ask[string](within(patience), s, "who?", 1)
			seen <- "asked"
			return "hello " + name, err
		})
		ns.Handle("next", func(sio.Socket, *sio.Msg) error { seen <- "next"; return nil })
	})
	c := srv.join("40")
	c.send(`421["ask me"]`, `42["next"]`)
	id := c.question("who?")
	c.send("43" + id + `["Ann"]`)
	c.expect(`431["hello Ann"]`)
	if a, b := take(t, seen), take(t, seen); a != "asked" || b != "next" {
		t.Errorf("seen %s, %s, want asked, next", a, b)
	}

	c.send(`422["ask me"]`)
	id = c.question("who?")
	c.send("43" + id + `[5]`) // no string
	c.expect(`432[{"error":"internal error"}]`)
}

func TestEdge27To31AnswersOfMany(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	ns := srv.Of("/")
	var clients []*client
	for range 6 {
		clients = append(clients, srv.join("40"))
		take(t, joined).Join("room")
	}
	emit := func(ctx context.Context, to sio.BroadcastOperator) chan answers {
		c := make(chan answers, 1)
		// ends when all have answered
		go func() {
			all, err := to.EmitAck(ctx, "ask", 1)
			c <- answers{all, err}
		}()
		return c
	}

	got := emit(within(patience), ns.To("room"))
	var ids []string
	for i, c := range clients {
		ids = append(ids, c.question("ask"))
		switch i {
		case 0:
			c.send("43" + ids[i] + "[]") // an empty answer is one
		case 1:
			c.send("43"+ids[i]+`["first","second"]`, "43"+ids[i]+`["again"]`)
		default:
			c.send("43" + ids[i] + fmt.Sprintf(`[%d]`, i))
		}
		if ids[i] != ids[0] {
			t.Errorf("acknowledgement ids are %s and %s, want one for all", ids[0], ids[i])
		}
	}
	a := take(t, got)
	if a.err != nil || len(a.all) != 6 {
		t.Errorf("EmitAck = %d answers, %v, want 6", len(a.all), a.err)
	}

	// One does not answer: the others' answers come with the error.
	got = emit(within(300*time.Millisecond), ns.To("room").Except(clients[5].id))
	for i, c := range clients[:5] {
		if id := c.question("ask"); i > 0 {
			c.send("43" + id + `["in time"]`)
		} else {
			ids[0] = id
		}
	}
	if a = take(t, got); !errors.Is(a.err, context.DeadlineExceeded) || len(a.all) != 4 {
		t.Errorf("EmitAck = %d answers, %v, want 4 and %v", len(a.all), a.err, context.DeadlineExceeded)
	}
	clients[0].send("43" + ids[0] + `["late"]`)
	clients[0].quiet("")
	clients[5].quiet("")

	// Nobody is there.
	if all, err := ns.To("empty").EmitAck(within(patience), "ask"); err != nil || len(all) != 0 {
		t.Errorf("EmitAck to nobody = %v, %v, want nothing at once", all, err)
	}
	if _, err := ns.To("room").EmitAck(within(patience), "connect"); err == nil {
		t.Error("EmitAck of a reserved event = nil, want an error")
	}

	// Who leaves is not waited for.
	got = emit(within(patience), ns.All())
	for i, c := range clients {
		id := c.question("ask")
		if i%2 == 0 {
			c.send("41")
		} else {
			c.send("43" + id + `["here"]`)
		}
	}
	if a = take(t, got); a.err != nil || len(a.all) != 3 {
		t.Errorf("EmitAck = %d answers, %v, want 3", len(a.all), a.err)
	}
}

type answers struct {
	all []sio.Args
	err error
}

// A question to one socket by its id, and the same with a sender left out.
func TestEdge32OneOfMany(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	a, b := srv.join("40"), srv.join("40")
	sa := take(t, joined)
	take(t, joined)
	got := make(chan answers, 2)
	// ends when the answer has come
	go func() {
		all, err := srv.Of("/").To(b.id).EmitAck(within(patience), "ask")
		got <- answers{all, err}
	}()
	b.send("43" + b.question("ask") + "[]")
	if x := take(t, got); x.err != nil || len(x.all) != 1 {
		t.Errorf("EmitAck = %d answers, %v, want 1", len(x.all), x.err)
	}
	// ends when the answer has come
	go func() {
		all, err := sa.Broadcast().EmitAck(within(patience), "ask")
		got <- answers{all, err}
	}()
	b.send("43" + b.question("ask") + "[]")
	if x := take(t, got); x.err != nil || len(x.all) != 1 {
		t.Errorf("EmitAck = %d answers, %v, want 1", len(x.all), x.err)
	}
	a.quiet("")
}

// Ids of acknowledgements are counted by namespace.
func TestAcknowledgementIDs(t *testing.T) {
	var root, chat chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		root, chat = sockets(srv.Of("/")), sockets(srv.Of("/chat"))
	})
	c := srv.join("40")
	c.join("40/chat,")
	r, ch := take(t, root), take(t, chat)
	for i, s := range []sio.Socket{r, ch, r, ch, ch} {
		got := ask(s, within(patience), "ask")
		id := c.question("ask")
		if want := fmt.Sprint([]int{0, 0, 1, 1, 2}[i]); id != want {
			t.Errorf("question %d has id %s, want %s", i, id, want)
		}
		if s == r {
			c.send("43" + id + "[]")
		} else {
			c.send("43/chat," + id + "[]")
		}
		if a := take(t, got); a.err != nil {
			t.Error(a.err)
		}
	}
}

// After the end of the server nothing hangs.
func TestAskingAServerThatHasEnded(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	got := ask(s, context.Background(), "ask")
	c.question("ask")
	// ends when the client has seen the end
	go c.ended("close -")
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Fatal(err)
	}
	if a := take(t, got); a.err != sio.ErrClosed {
		t.Errorf("EmitAck = %v, want %v", a.err, sio.ErrClosed)
	}
	if _, err := s.EmitAck(context.Background(), "ask"); err != sio.ErrClosed {
		t.Errorf("EmitAck = %v, want %v", err, sio.ErrClosed)
	}
	if all, err := srv.Of("/").All().EmitAck(context.Background(), "ask"); err != nil || len(all) > 0 {
		t.Errorf("EmitAck = %v, %v, want nothing", all, err)
	}
}
