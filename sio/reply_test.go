package sio_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// The acknowledgement of an event is answered after its handler, inline or not, has
// returned, by whoever has the Reply, and by nobody else.
func TestReply(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	var replies []sio.Reply
	take := func(s sio.Socket, m *sio.Msg) error {
		replies = append(replies, m.Reply())
		if again := m.Reply(); again.Wanted() {
			t.Error("a second Reply is wanted")
		}
		return m.Ack("not this")
	}
	ns.UseEvent(func(next sio.Handler) sio.Handler {
		return func(s sio.Socket, m *sio.Msg) error {
			m, err := m.With(m.Args)
			if err != nil {
				return err
			}
			return next(s, m)
		}
	})
	ns.HandleInline("inline", take)
	ns.Handle("goroutine", take)
	ns.HandleInline("later", func(s sio.Socket, m *sio.Msg) error { return m.Later(take) })
	ns.HandleInline("acked", func(s sio.Socket, m *sio.Msg) error {
		if err := m.Ack("first"); err != nil || m.Reply().Wanted() {
			t.Errorf("Ack = %v, and a Reply is wanted: %t", err, m.Reply().Wanted())
		}
		return nil
	})
	c := srv.Connect("/")
	for i, event := range []string{"inline", "goroutine", "later"} {
		ack := c.Start(event, i)
		srv.Settle()
		r := replies[i]
		if err := r.Ack(func() {}); !r.Wanted() || err == nil {
			t.Errorf("%s: it is wanted: %t, and a function is encoded: %v", event, r.Wanted(), err)
		}
		if err := r.Ack(event, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(ack.Await()), fmt.Sprintf(`"%s", {"_placeholder":true,"num":0} (1 attachments)`, event); got != want {
			t.Errorf("%s: it is acknowledged with %s, want %s", event, got, want)
		}
	}
	if got := c.Start("acked").Await().String(); got != `"first"` {
		t.Errorf("it is acknowledged with %s", got)
	}
	c.Emit("inline")
	if r := replies[len(replies)-1]; r.Wanted() || r.Ack("x") != nil {
		t.Error("there is a Reply to an event that wants none")
	}
	ack := c.Start("inline")
	srv.Settle()
	c.Drop()
	srv.Settle()
	if err := replies[len(replies)-1].Ack("too late"); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("Ack for a client that has left = %v", err)
	}
	_ = ack
}

// What an inline handler has returned from is no message any more.
func TestReplyOfAnInlineMessageThatIsOver(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	var kept *sio.Msg
	srv.Of("/").HandleInline("e", func(_ sio.Socket, m *sio.Msg) error { kept = m; return nil })
	c := srv.Connect("/")
	c.Start("e")
	srv.Settle()
	if r := kept.Reply(); r.Wanted() || r.Ack(1) != nil {
		t.Error("a message that is over has a Reply")
	}
}

// Many goroutines answer, while clients come and go.
func TestRepliesFromGoroutines(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").HandleInline("double", func(_ sio.Socket, m *sio.Msg) error {
			var n int
			if err := m.Decode(&n); err != nil {
				return err
			}
			r := m.Reply()
			go r.Ack(2 * n) // ends at once
			return nil
		})
	})
	var all sync.WaitGroup
	for range 4 {
		c := srv.join("40")
		all.Go(func() {
			for i := range 50 {
				c.send(fmt.Sprintf(`42%d["double",%d]`, i, i))
				c.expect(fmt.Sprintf(`43%d[%d]`, i, 2*i))
			}
		})
	}
	all.Wait()
}

// A Reply to another server is sent once, however often it is called.
func TestReplyToAServer(t *testing.T) {
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		srv.Of("/").HandleServerSide("ask", func(m *sio.Msg) error {
			r := m.Reply()
			go func() { _, _ = r.Ack("one"), r.Ack("two") }()
			return m.Ack("not this")
		})
	})
	for range 3 {
		answers, err := p.servers[0].Of("/").ServerSideAsk(within(patience), "ask")
		if err != nil || len(answers) != 1 || string(answers[0].Raw(0)) != `"one"` {
			t.Errorf("ServerSideAsk = %v, %v", answers, err)
		}
	}
}

// Whoever keeps the number of an event, and no more, can answer it, in a client's own
// protocol and parser. What no event has had is sent too, and what wants no answer, or
// comes from a server, has no number.
func TestReplyByNumber(t *testing.T) {
	o := old()
	o.Parser = sio.EitherParser
	var got []string
	srv := simulate(t, o, func(srv *sio.Server) {
		srv.Of("/").HandleInline("echo", func(s sio.Socket, m *sio.Msg) error {
			id, ok := m.Reply().ID()
			got = append(got, fmt.Sprint(id, ok))
			if !ok {
				return nil
			}
			return s.ReplyTo(id).Ack(string(m.Raw(0)), []byte{1})
		})
		srv.Of("/").HandleInline("any", func(s sio.Socket, _ *sio.Msg) error {
			return errors.Join(s.ReplyTo(1<<53).Ack(), s.ReplyTo(7).Ack("twice"), s.ReplyTo(7).Ack("twice"))
		})
	})
	for c, bytes := range map[*client]string{srv.join("40"): "<01>", srv.joinOld(): "<0401>"} {
		c.send(`420["echo",1]`, `4218["echo","a"]`, `42["echo"]`, `42["any"]`)
		c.expect(`461-0["1",{"_placeholder":true,"num":0}]`, bytes, `461-18["\"a\"",{"_placeholder":true,"num":0}]`, bytes,
			`439007199254740992[]`, `437["twice"]`, `437["twice"]`)
	}
	c := srv.dial()
	c.send(pack(packedConnect))
	c.next()
	c.send(pack(packedEcho))
	if text := c.next(); !strings.Contains(text, "a26964"+"05") || !strings.Contains(text, "92a3227822c40101") {
		t.Errorf("a client with MessagePack is sent %s", text)
	}
	if got, want := strings.Join(got, ", "), "0 true, 18 true, 0 false, 0 true, 18 true, 0 false, 5 true"; got != want {
		t.Errorf("the numbers are %s, want %s", got, want)
	}
	if id, ok := (sio.Reply{}).ID(); ok || id != 0 {
		t.Errorf("ID of no Reply = %d, %t", id, ok)
	}
}

// What a server asks has no number, and a client that has left is answered by nobody.
func TestReplyByNumberIsOfClientsThatAreThere(t *testing.T) {
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		srv.Of("/").HandleServerSide("ask", func(m *sio.Msg) error {
			r := m.Reply()
			id, ok := r.ID()
			return r.Ack(fmt.Sprint(id, ok))
		})
	})
	answers, err := p.servers[0].Of("/").ServerSideAsk(within(patience), "ask")
	if err != nil || len(answers) != 1 || string(answers[0].Raw(0)) != `"0 false"` {
		t.Errorf("ServerSideAsk = %v, %v", answers, err)
	}
	srv := siotest.New(t, sio.Options{})
	srv.Of("/")
	c := srv.Connect("/")
	s, _ := srv.Of("/").Lookup(c.ID())
	c.Drop()
	srv.Settle()
	if err := s.ReplyTo(1).Ack("too late"); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("Ack for a client that has left = %v", err)
	}
}
