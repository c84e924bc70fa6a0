package sio_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// An event that nobody handles is ignored, with its acknowledgement and its
// attachments.
func TestEdge19EventsThatNobodyHandles(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := srv.join("40")
	c.send(`42["unknown"]`, `421["unknown",{}]`, `451-2["unknown",{"_placeholder":true,"num":0}]`, "<01>", `423["Echo"]`, `424[""]`)
	c.quiet("")
	select {
	case got := <-srv.log.new:
		t.Errorf("OnError got %q, want nothing", got)
	default:
	}
	// A fallback gets them, and only them.
	srv.Of("/").HandleAny(func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Event()) })
	c.play(say(`425["unknown"]`).hear(`435["unknown"]`), say(`426["echo",1]`).hear(`436[1]`))
}

// Names that mean something to Node's emitter on the server alone are free.
func TestEdge21NamesThatAreNotReserved(t *testing.T) {
	p := newParty(t, 1)
	for _, event := range []string{"connection", "error", "message", "open", "close", "", "__proto__", "constructor", "0"} {
		for _, to := range []sio.Emitter{p.sockets[0], p.ns, p.sockets[0].Volatile()} {
			if err := to.Emit(event, 1); err != nil {
				t.Errorf("Emit(%q) = %v", event, err)
			}
			p.clients[0].expect(fmt.Sprintf(`42[%q,1]`, event))
		}
		name := fmt.Sprintf(`42[%q]`, event)
		p.clients[0].send(name) // nobody handles it
	}
	p.clients[0].quiet("")
	for _, event := range []string{"connect", "disconnecting"} {
		if _, err := p.sockets[0].EmitAck(within(patience), event); err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("EmitAck(%s) = %v, want an error about a reserved name", event, err)
		}
	}
}

// Inline handlers of several namespaces see the events of one connection in the
// order of arrival; of one namespace, so do all handlers.
func TestEdge22OrderBetweenNamespaces(t *testing.T) {
	st := newStage(t, sio.Options{})
	var seen []string
	for _, name := range []string{"/", "/a", "/b"} {
		st.Of(name).HandleInline("n", func(s sio.Socket, m *sio.Msg) error {
			seen = append(seen, s.Name()+" "+string(m.Raw(0)))
			return nil
		})
	}
	x := st.enter(0)
	x.send("40/a,", "40/b,")
	var packets, want []string
	for i := range 300 {
		name := []string{"/", "/a", "/b"}[i*7%3]
		packets = append(packets, fmt.Sprintf(`42%s,["n",%d]`, name, i))
		want = append(want, fmt.Sprintf("%s %d", name, i))
	}
	x.send(packets...)
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("seen %v, want %v", seen, want)
	}
}

// A client's event called error is an event like any other, and an error of ours
// is not one.
func TestEdge23ErrorsAreNotEvents(t *testing.T) {
	seen := make(chan string, 10)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		sio.On(srv.Of("/"), "error", func(_ sio.Socket, text string) error { seen <- text; return nil })
		srv.Of("/").Handle("fails", func(sio.Socket, *sio.Msg) error { return fmt.Errorf("ours") })
	})
	c := srv.join("40")
	c.send(`42["error","theirs"]`, `42["fails"]`)
	if got := take(t, srv.log.new); got != "fails: ours" {
		t.Errorf("OnError got %q, want ours alone", got)
	}
	c.quiet("")
	if got := take(t, seen); got != "theirs" || len(seen) > 0 || len(srv.log.new) > 0 {
		t.Errorf("the handler got %q and %d more, OnError %d more; want theirs alone", got, len(seen), len(srv.log.new))
	}
}

// What a client sends before it knows that its socket is disconnected is dropped,
// and its other namespaces go on.
func TestEdge54EventsAfterTheDisconnect(t *testing.T) {
	for _, packet := range []string{`42["echo"]`, `427["fence"]`, "430[]", "41", `451-["echo",{"_placeholder":true,"num":0}]` + " <01>"} {
		var joined chan sio.Socket
		srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
			echo(srv.Of("/"))
			echo(srv.Of("/a"))
			joined = sockets(srv.Of("/"))
		})
		c := srv.join("40/a,")
		c.join("40")
		take(t, joined).Disconnect(sio.DisconnectOptions{})
		c.expect("41")
		c.send(strings.Fields(packet)...)
		c.quiet("/a,")
		if st := srv.Stats(); st.Violations != 0 || st.Drops.Crossed != 1 {
			t.Errorf("after %s Stats() = %+v, want one that crossed", packet, st)
		}
		c.join("40")
		take(t, joined)
		c.quiet("")
		c.send("41", "41") // it ends by itself: nothing can cross that
		c.ended("close -")
	}
}

// A client may be refused, or disconnected while it is admitted, and sends its
// DISCONNECT before it knows.
func TestPacketsThatCrossARefusal(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/mw").Use(func(sio.Socket) error { return &sio.Error{Message: "no"} })
		srv.Of("/kick").Use(func(s sio.Socket) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	})
	c := srv.join("40")
	for _, name := range []string{"/mw", "/kick"} {
		c.send("40" + name + ",")
		if p := c.next(); !strings.HasPrefix(p, "44"+name) {
			t.Fatalf("received %s, want a refusal", p)
		}
		c.send("41" + name + ",")
		c.quiet("")
	}
	if st := srv.Stats(); st.Violations != 0 || st.Drops.Crossed != 2 {
		t.Errorf("Stats() = %+v, want two that crossed", st)
	}
}

// What is remembered of what the server ended is bounded, in number and in time.
func TestCrossingsAreBounded(t *testing.T) {
	st := newStage(t, sio.Options{})
	st.Of("/:n").HandleInline("kick", func(s sio.Socket, _ *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	end := func(x *extra, i int) {
		name := fmt.Sprintf("/%d,", i)
		x.send("40"+name, "42"+name+`["kick"]`)
		if got := x.received(); len(got) != 2 || got[1] != "41"+name {
			t.Fatalf("received %q, want the end of %s", got, name)
		}
	}
	x := st.enter(0)
	for i := range 17 {
		end(x, i)
	}
	x.send(`42/1,["late"]`, `42/16,["late"]`)
	x.expect()
	x.send(`42/0,["late"]`) // the oldest
	x.expect("<>")          // the close
	x.peer.Close()

	x = st.enter(0)
	end(x, 1)
	st.sim.Advance(26 * time.Second) // the ping comes within 25 s and a turn of the wheel
	x.expect("2")
	x.send("3")
	if held := st.Held()["crossings"]; held != 1 {
		t.Errorf("%d sessions have something that may cross, want 1", held)
	}
	x.send(`42/1,["late"]`)
	x.expect()
	st.sim.Advance(5 * time.Second)
	if held := st.Held()["crossings"]; held != 0 {
		t.Errorf("%d sessions have something that may cross afterwards, want none", held)
	}
	x.send(`42/1,["late"]`)
	x.expect("<>")
}

// What is remembered is charged to the session, as long as it is; it ends no
// connection that has no room for it.
func TestCrossingsAreCharged(t *testing.T) {
	st := newStage(t, sio.Options{KeepHandshake: sio.KeepAlways})
	st.Of("/:n").HandleInline("kick", func(s sio.Socket, _ *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	name := func(i int) string { return "/" + strings.Repeat("x", 900) + fmt.Sprint(i) + "," }
	end := func(x *extra, i int) {
		t.Helper()
		x.send("40"+name(i), "42"+name(i)+`["kick"]`)
		if got := x.received(); len(got) != 2 {
			t.Fatalf("received %q, want the end of a namespace", got)
		}
	}
	held := func() int64 { return st.Stats().Engine.Held }
	x := st.enter(0)
	for i := range 20 {
		end(x, i)
	}
	all := held()
	if all < 16*900 || all > 17*1100 {
		t.Errorf("%d bytes are charged for 16 names of 900", all)
	}
	x.send("40" + name(19)) // it is back: nothing of what was before can come
	x.received()
	if got := held(); got >= all-900 || got < 15*900 {
		t.Errorf("%d bytes are charged for 15 of them", got)
	}
	for range 4 {
		st.sim.Advance(10 * time.Second)
		x.send("3")
		x.received()
	}
	if got := held(); got != 0 {
		t.Errorf("%d bytes are charged for what is over", got)
	}
	end(x, 1)
	x.peer.Close()
	st.sim.Turn()
	if got := held(); got != 0 {
		t.Errorf("%d bytes are charged for who has gone", got)
	}

}

// Who has no room for it in its budget is not ended for that.
func TestCrossingsForWhoHasNoRoom(t *testing.T) {
	const budget = 300_000
	st := newStage(t, sio.Options{KeepHandshake: sio.KeepAlways, Engine: eio.Options{ConnBudget: budget, MaxPayload: 10_000}})
	kick := func(s sio.Socket, _ *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil }
	st.Of("/:n").HandleInline("kick", kick)
	st.Of("/").HandleInline("kick", kick)
	x := st.enter(0)
	for i, room := 0, budget; room > 60; room = budget - int(st.Stats().Engine.Held) {
		n := 4500
		if room < 9000 {
			n = room - 60
		}
		x.send(fmt.Sprintf(`40/%d,{"a":"%s"}`, i, strings.Repeat("a", n-len(`{"a":""}`))))
		if got := x.received(); len(got) != 1 {
			t.Fatalf("with room for %d bytes received %q", room, got)
		}
		i++
	}
	x.send(`42["kick"]`)
	x.expect("41")
	x.send(`42/0,["nothing"]`)
	x.expect()
	if st := st.Stats(); st.Engine.Budget != 0 || st.Violations != 0 {
		t.Errorf("Stats() = %+v, want none closed", st)
	}
}

// No more than ten attachments, to the number, either way.
func TestEdge61Attachments(t *testing.T) {
	packet := func(n int) []string {
		all, args := []string{""}, []string{}
		for i := range n {
			args = append(args, fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i))
			all = append(all, fmt.Sprintf("<%02x>", i))
		}
		all[0] = fmt.Sprintf(`45%d-1["echo",%s]`, n, strings.Join(args, ","))
		return all
	}
	for _, x := range []struct{ limit, most int }{{0, 10}, {3, 3}, {1, 1}} {
		srv := simulate(t, sio.Options{Limits: parser.Limits{MaxAttachments: x.limit}}, func(srv *sio.Server) { echo(srv.Of("/")) })
		c := srv.join("40")
		sent := packet(x.most)
		c.send(sent...)
		c.expect(append([]string{strings.Replace(strings.Replace(sent[0], "45", "46", 1), `"echo",`, "", 1)}, sent[1:]...)...)
		c.send(packet(x.most + 1)[0]) // refused at once, without its attachments
		c.ended("close -")
		if n := srv.Stats().BadPackets; n != 1 {
			t.Errorf("Stats().BadPackets = %d with a limit of %d, want 1", n, x.limit)
		}
	}
}

// A handler is called once for an event, however often its client has left and
// come again.
func TestNoEventIsDoubledByComingAgain(t *testing.T) {
	seen := make(chan string, 100)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/").Handle("x", func(s sio.Socket, _ *sio.Msg) error { seen <- s.ID(); return s.Emit("once") })
	})
	c := srv.dial()
	for range 5 {
		c.join("40")
		c.send(`42["x"]`)
		c.quiet("", `42["once"]`)
		if id := take(t, seen); id != c.id || len(seen) > 0 {
			t.Errorf("the handler was called for %s and %d more, want for %s alone", id, len(seen), c.id)
		}
		c.send("41")
	}
}

// Messages almost as large as they may be, as text and as bytes, both ways and
// over both transports.
func TestLargeMessages(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	text := strings.Repeat("äöü 😀", 80_000)
	data := make([]byte, 700_000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	bytes := "<" + hex.EncodeToString(data) + ">"
	const placeholder = `{"_placeholder":true,"num":0}`
	for name, c := range map[string]interface {
		send(packets ...string)
		next() string
	}{
		"WebSocket": srv.join("40"), "polling": srv.joinPolling(),
	} {
		for _, x := range []struct{ sent, want []string }{
			{[]string{`421["echo","` + text + `"]`}, []string{`431["` + text + `"]`}},
			{[]string{`451-2["echo",` + placeholder + `]`, bytes}, []string{`461-2[` + placeholder + `]`, bytes}},
		} {
			c.send(x.sent...)
			for _, want := range x.want {
				if got := c.next(); got != want {
					t.Fatalf("over %s received %.60s… (%d bytes), want %.60s… (%d)", name, got, len(got), want, len(want))
				}
			}
		}
	}
}
