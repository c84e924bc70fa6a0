package sio_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A step of a dialogue: packets to send, and those that must come then.
type step struct {
	send []string
	want []string
}

func say(packets ...string) step           { return step{send: packets} }
func hear(packets ...string) step          { return step{want: packets} }
func (x step) hear(packets ...string) step { x.want = packets; return x }

func (c *client) play(dialogue ...step) {
	c.t.Helper()
	for _, x := range dialogue {
		if len(x.send) > 0 {
			c.send(x.send...)
		}
		c.expect(x.want...)
	}
}

// dialogues registers what the dialogues of the protocol document assume.
func dialogues(srv *sio.Server) {
	for _, name := range []string{"/", "/chat", "/a", "/b"} {
		echo(srv.Of(name))
	}
	srv.Of("/mw").Use(func(sio.Socket) error {
		return &sio.Error{Message: "not authorized", Data: map[string]any{"code": 401, "x": []string{"y"}}}
	})
	srv.Of("/").Handle("leave", func(s sio.Socket, m *sio.Msg) error {
		var closing bool
		if err := m.Decode(&closing); err != nil {
			return err
		}
		s.Disconnect(sio.DisconnectOptions{Conn: closing})
		return nil
	})
}

// Socket.IO protocol 5 as it is seen on a WebSocket.
func TestDialogues(t *testing.T) {
	srv := serve(t, sio.Options{}, dialogues)
	placeholder := func(n int) string { return fmt.Sprintf(`{"_placeholder":true,"num":%d}`, n) }
	for _, d := range []struct {
		name  string
		steps []step
	}{
		{"1 events, acknowledgements, binary, leaving", []step{
			say("40").hear(`40{"sid":"$sid"}`),
			say(`42["echo",1]`).hear(`42["echo",1]`),
			say(`4217["echo","a"]`).hear(`4317["a"]`),
			say(`451-18["echo",`+placeholder(0)+`]`, "<010203>").hear(`461-18[`+placeholder(0)+`]`, "<010203>"),
			say("41"), say(`42["echo",1]`).hear("close -", "FIN"),
		}},
		{"2 refusals leave the connection open", []step{
			say("40/unknown,").hear(`44/unknown,{"message":"Invalid namespace"}`),
			say("40/mw,").hear(`44/mw,{"message":"not authorized","data":{"code":401,"x":["y"]}}`),
			say("40").hear(`40{"sid":"$sid"}`),
		}},
		{"3 joining again gives another id", []step{
			say("40/chat,").hear(`40/chat,{"sid":"$sid"}`), say("41/chat,"), say("40/chat,").hear(`40/chat,{"sid":"$sid"}`),
		}},
		{"4 a second CONNECT is a violation", []step{
			say("40/chat,").hear(`40/chat,{"sid":"$sid"}`), say("40/chat").hear("close -", "FIN"),
		}},
		{"4 of whoever has used it", []step{
			say("40").hear(`40{"sid":"$sid"}`), say("40/chat,").hear(`40/chat,{"sid":"$sid"}`), say(`42/chat,["echo"]`).hear(`42/chat,["echo"]`),
			say("40/chat").hear("close -", "FIN"),
		}},
		{"4 but not of who gave up before the answer", []step{
			say("40").hear(`40{"sid":"$sid"}`), say("40/chat,", "40/chat,").hear(`40/chat,{"sid":"$sid"}`, `40/chat,{"sid":"$sid"}`),
			say(`42/chat,["echo"]`).hear(`42/chat,["echo"]`), say(`42["echo"]`).hear(`42["echo"]`),
		}},
		{"5 an event first", []step{say(`42["echo",1]`).hear("close -", "FIN")}},
		{"5 DISCONNECT first", []step{say("41").hear("close -", "FIN")}},
		{"5 ACK first", []step{say("43[]").hear("close -", "FIN")}},
		{"6 acknowledgement ids are numbers", []step{
			say("40").hear(`40{"sid":"$sid"}`), say(`4200012["echo",5]`).hear(`4312[5]`), say(`420["echo",5]`).hear(`430[5]`),
			say(`42999999999999999["echo"]`).hear(`43999999999999999[]`),
		}},
		{"7 placeholders in another order", []step{
			say("40").hear(`40{"sid":"$sid"}`),
			say(`452-["echo",`+placeholder(1)+","+placeholder(0)+"]", "<01>", "<02>").
				hear(`452-["echo",`+placeholder(0)+","+placeholder(1)+"]", "<02>", "<01>"),
		}},
		{"7 placeholders repeated, attachments left over", []step{
			say("40").hear(`40{"sid":"$sid"}`),
			say(`452-["echo",`+placeholder(0)+","+placeholder(0)+"]", "<01>", "<02>").
				hear(`452-["echo",`+placeholder(0)+","+placeholder(1)+"]", "<01>", "<01>"),
		}},
		{"8 the name of the root", []step{
			say("40/,").hear(`40{"sid":"$sid"}`), say(`42/,["echo",1]`).hear(`42["echo",1]`),
		}},
		{"8 a name without a comma", []step{say("40/chat").hear(`40/chat,{"sid":"$sid"}`), say(`42/chat,["echo"]`).hear(`42/chat,["echo"]`)}},
		{"8 a slash alone", []step{say("40/").hear(`40{"sid":"$sid"}`)}},
		{"9 the server leaves all namespaces", []step{
			say("40").hear(`40{"sid":"$sid"}`), say("40/a,").hear(`40/a,{"sid":"$sid"}`), say("40/b,").hear(`40/b,{"sid":"$sid"}`),
			say(`42["leave",true]`).hear("41", "41/a,", "41/b,", "close -", "FIN"),
		}},
		{"9 in the order of joining", []step{
			say("40/b,").hear(`40/b,{"sid":"$sid"}`), say("40").hear(`40{"sid":"$sid"}`), say("40/a,").hear(`40/a,{"sid":"$sid"}`),
			say(`42["leave",true]`).hear("41/b,", "41", "41/a,", "close -", "FIN"),
		}},
		{"a query is part of the name", []step{say("40/chat?x=1,").hear(`44/chat?x=1,{"message":"Invalid namespace"}`)}},
		{"an unknown namespace without a comma", []step{say("40/unknown").hear(`44/unknown,{"message":"Invalid namespace"}`)}},
		{"events of ordinary names", []step{
			say("40").hear(`40{"sid":"$sid"}`),
			say(`42["error","x"]`, `42["connection"]`, `42["message"]`, `42["__proto__"]`, `42[1,2]`, `421["echo"]`).hear(`431[]`),
		}},
		{"acknowledgements that nobody waits for", []step{
			say("40").hear(`40{"sid":"$sid"}`), say("43[]", "439[]", "4312345[1]", `421["echo"]`).hear(`431[]`),
		}},
		{"a placeholder in a plain event is data", []step{
			say("40").hear(`40{"sid":"$sid"}`), say(`421["echo",` + placeholder(0) + `]`).hear(`431[` + placeholder(0) + `]`),
		}},
		{"pongs between a packet and its attachments", []step{
			say("40").hear(`40{"sid":"$sid"}`), say(`451-1["echo",`+placeholder(0)+`]`, "3", "<07>").hear(`461-1[`+placeholder(0)+`]`, "<07>"),
		}},
		{"binary within an argument", []step{
			say("40").hear(`40{"sid":"$sid"}`), say(`451-1["echo",{"a":[`+placeholder(0)+`]}]`, "<>").hear(`461-1[{"a":[`+placeholder(0)+`]}]`, "<>"),
		}},
		{"two attachments and an id, as the compliance suite sends them", []step{
			say("40").hear(`40{"sid":"$sid"}`),
			say(`452-789["echo",`+placeholder(0)+","+placeholder(1)+`]`, "<010203>", "<040506>").
				hear(`462-789[`+placeholder(0)+","+placeholder(1)+`]`, "<010203>", "<040506>"),
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			c := srv.dial()
			c.t = t
			c.play(d.steps...)
		})
	}
}

// What ends the whole connection (protocol 5, and socket.io-parser 4.2.7).
func TestBadPacketsCloseTheConnection(t *testing.T) {
	reasons := make(chan sio.Reason, 1)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		dialogues(srv)
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
	})
	one := `{"_placeholder":true,"num":0}`
	for _, bad := range [][]string{
		{"4"}, {"49"}, {"47"}, {"4abc"}, {"4-1"},
		{"42{}"}, {"42[]"}, {"42[null]"}, {"42[{}]"}, {`42["a"`}, {`42["echo",5]x`}, {"42"},
		{`42["connect"]`}, {`42["connect_error"]`}, {`42["disconnect"]`}, {`42["disconnecting"]`},
		{`42["newListener"]`}, {`42["removeListener"]`}, {`42["\u0063onnect"]`},
		{`42abc["x"]`}, {`42-1["x"]`}, {`421.5["x"]`}, {`42/["echo",5]`}, {`42 ["echo",5]`}, {`421e3["echo",5]`},
		{`4299999999999999999999["echo"]`},
		{"43{}"}, {`43"x"`}, {"40[]"}, {`40"s"`}, {"40null"}, {"40{"}, {"41{}"}, {"41[]"},
		{`450-["a"]`}, {`45-["a"]`}, {`45["a"]`}, {`451.5-["a"]`}, {`45 1-["a"]`}, {`4511-["a"]`},
		{`451-["a",{"_placeholder":true,"num":1}]`, "<01>"}, {`451-["a",{"_placeholder":true,"num":"0"}]`, "<01>"},
		{"<01>"}, {"<>"}, {"bAQID"},
		{`451-["a",` + one + `]`, `42["a"]`}, {`451-["a",` + one + `]`, "41"},
		{`44{"message":"x"}`}, {`44"x"`}, {`42["x"]`, "40"}, {`42/unknown,["x"]`}, {"41/unknown,"}, {"43/unknown,1[]"},
		{"41/chat,", "41/chat,"}, {"41/chat,", `42/chat,["echo"]`},
		{`42["a",` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "]"},
	} {
		c := srv.dial()
		c.join("40")
		c.join("40/chat,")
		c.send(bad...)
		if got := c.next(); got != "close -" {
			t.Fatalf("after %q received %s, want a close frame without a code", bad, got)
		}
		if r := take(t, reasons); r != eio.ForcedClose {
			t.Errorf("after %q the reason is %q, want %q", bad, r, eio.ForcedClose)
		}
		c.ended()
	}
}

func TestBadPacketsCloseThePollingSession(t *testing.T) {
	srv := serve(t, sio.Options{}, dialogues)
	for _, bad := range []string{"4abc", `42["x"]`, "41", `42/unknown,["x"]`, "40\x1e42[\"x\"]\x1e40"} {
		p := srv.poll()
		if status, answer := p.post(bad); status != 200 || answer != "ok" {
			t.Errorf("POST of %q = %d %q, want 200 ok", bad, status, answer)
		}
		_, body := p.get()
		if !strings.HasSuffix(body, "}") && body != "6\x1e1" {
			t.Fatalf("after %q GET = %q, want what was queued or the close", bad, body)
		}
		if body != "6\x1e1" { // the answer to the CONNECT was first
			p.wantGet(200, "6\x1e1")
		}
		if status, body := p.get(); status != 400 || !strings.Contains(body, `"code":1`) {
			t.Errorf("after %q and the close, GET = %d %q, want 400 and code 1", bad, status, body)
		}
	}
}

// The packets of an upgrade's end, an error of the transport, and sizes.
func TestDialogue10ClosingFrames(t *testing.T) {
	srv := serve(t, sio.Options{Engine: eio.Options{MaxPayload: 1000}}, dialogues)
	for _, d := range []struct {
		name  string
		bytes string
		want  string
	}{
		{"too large", string(appendPacket(nil, "4"+strings.Repeat("x", 1000))), "close 1009"},
		{"not UTF-8", string(appendPacket(nil, "42\xff\xfe")), "close 1007"},
		{"unmasked", "\x81\x0240", "close 1002"},
		{"close 1000", "\x88\x82\x00\x00\x00\x00\x03\xe8", "close 1000"},
		{"close without a code", "\x88\x80\x00\x00\x00\x00", "close -"},
	} {
		c := srv.join("40")
		c.write([]byte(d.bytes))
		if got := c.next(); got != d.want {
			t.Errorf("%s: received %s, want %s", d.name, got, d.want)
		}
		c.ended()
	}
}

// The official suite for Socket.IO 5: its server, its checks.
func TestComplianceSuite(t *testing.T) {
	srv := serve(t, sio.Options{
		Engine:         eio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: patience}, // the suite's is 200 ms
		ConnectTimeout: time.Second,
	}, func(srv *sio.Server) {
		sayAuth := func(s sio.Socket) error {
			auth := map[string]any{}
			if err := s.Auth(&auth); err != nil {
				return err
			}
			return s.Emit("auth", auth)
		}
		root := srv.Of("/")
		root.OnConnect(sayAuth)
		root.Handle("message", func(s sio.Socket, m *sio.Msg) error { return s.Emit("message-back", values(m.Args)...) })
		root.Handle("message-with-ack", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(values(m.Args)...) })
		srv.Of("/custom").OnConnect(sayAuth)
	})
	one, two := `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	t.Run("connects, with auth", func(t *testing.T) {
		srv.dial().play(say("40").hear(`40{"sid":"$sid"}`, `42["auth",{}]`))
		srv.dial().play(say(`40{"token":"123"}`).hear(`40{"sid":"$sid"}`, `42["auth",{"token":"123"}]`))
		srv.dial().play(say("40/custom,").hear(`40/custom,{"sid":"$sid"}`, `42/custom,["auth",{}]`))
		srv.dial().play(say(`40/custom,{"token":"abc"}`).hear(`40/custom,{"sid":"$sid"}`, `42/custom,["auth",{"token":"abc"}]`))
		srv.dial().play(say("40/random").hear(`44/random,{"message":"Invalid namespace"}`))
	})
	t.Run("closes without CONNECT", func(t *testing.T) {
		c := srv.dial()
		c.expect("2")
		for c.send("3"); ; c.send("3") { // what keeps a connection alive is not enough
			if p := c.next(); p != "2" {
				if p != "close -" {
					t.Errorf("received %s, want a ping or the close", p)
				}
				break
			}
		}
		c.ended()
		srv.dial().play(say("4abc").hear("close -", "FIN"))
	})
	t.Run("leaving keeps the connection", func(t *testing.T) {
		srv.dial().play(say("40").hear(`40{"sid":"$sid"}`, `42["auth",{}]`), say("41").hear("2"))
		srv.dial().play(say("40").hear(`40{"sid":"$sid"}`, `42["auth",{}]`), say("40/custom,").hear(`40/custom,{"sid":"$sid"}`, `42/custom,["auth",{}]`),
			say("41/custom", `42["message","hi"]`).hear(`42["message-back","hi"]`))
	})
	t.Run("messages", func(t *testing.T) {
		srv.dial().play(say("40").hear(`40{"sid":"$sid"}`, `42["auth",{}]`),
			say(`42["message",1,"2",{"3":[true]}]`).hear(`42["message-back",1,"2",{"3":[true]}]`),
			say(`452-["message",`+one+","+two+"]", "<010203>", "<040506>").hear(`452-["message-back",`+one+","+two+"]", "<010203>", "<040506>"),
			say(`42456["message-with-ack",1,"2",{"3":[false]}]`).hear(`43456[1,"2",{"3":[false]}]`),
			say(`452-789["message-with-ack",`+one+","+two+"]", "<010203>", "<040506>").hear("462-789["+one+","+two+"]", "<010203>", "<040506>"))
	})
	t.Run("closes upon bad packets", func(t *testing.T) {
		for _, bad := range []string{"4abc", "42{}", `42abc["message-with-ack",1]`} {
			srv.dial().play(say("40").hear(`40{"sid":"$sid"}`, `42["auth",{}]`), say(bad).hear("close -", "FIN"))
		}
	})
}
