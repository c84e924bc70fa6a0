package sio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// kinds are the clients that a gate sees.
var gateKinds = map[string]siotest.Options{
	"websocket": {}, "polling": {Polling: true}, "msgpack": {MessagePack: true}, "Socket.IO 2": {V2: true},
}

// gatedServer has a handler that says what it is called for, and a gate.
func gatedServer(t *testing.T, gates ...func(sio.Socket, sio.Inbound) sio.Verdict) (*siotest.Server, *sio.Namespace) {
	o := sio.Options{Parser: sio.EitherParser}
	o.Engine.AllowEIO3 = true
	srv := siotest.New(t, o)
	ns := srv.Of("/")
	for _, g := range gates {
		ns.Gate(g)
	}
	ns.HandleAny(func(s sio.Socket, m *sio.Msg) error {
		var n int
		if err := m.Decode(&n); err != nil {
			return err
		}
		_ = m.Ack("handled")
		return s.Emit("handled", m.Event(), n)
	})
	return srv, ns
}

func eachGateKind(t *testing.T, f func(t *testing.T, o siotest.Options)) {
	for name, o := range gateKinds {
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
}

func TestGateVerdicts(t *testing.T) {
	eachGateKind(t, func(t *testing.T, o siotest.Options) {
		srv, _ := gatedServer(t, func(_ sio.Socket, in sio.Inbound) sio.Verdict {
			switch string(in.Event) {
			case "drop":
				return sio.Drop
			case "nack":
				return sio.Nack(&sio.Error{Message: "rate limit", Data: map[string]int{"code": 429}})
			case "internal":
				return sio.Nack(errors.New("not for clients"))
			case "close":
				return sio.Close(4029, "rate limit")
			}
			return sio.Pass
		})
		c := srv.ConnectWith("/", o)
		c.Emit("pass", 1)
		c.Emit("drop", 2)
		c.Emit("nack", 3)
		c.Emit("pass", 4)
		if got, want := fmt.Sprint(c.Received()), `["handled" "pass", 1 "handled" "pass", 4]`; got != want {
			t.Errorf("handled: %s, want %s", got, want)
		}
		for event, want := range map[string]string{"pass": `"handled"`, "internal": `{"error":"internal error"}`,
			"nack": `{"data":{"code":429},"error":"rate limit"}`} {
			if got := c.EmitAck(event, 5).Args().String(); got != want {
				t.Errorf("%s is answered %s, want %s", event, got, want)
			}
		}
		if c.Start("drop", 6).Done() {
			t.Error("what was dropped was answered")
		}
		if got := srv.Stats().Drops.Gated; got != 5 {
			t.Errorf("%d were stopped by a gate, want 5", got)
		}
		c.Received()
		c.Emit("close", 7)
		d := c.ExpectDisconnect()
		if want := uint16(4029); !o.Polling && (d.Code != want || d.Text != "rate limit") {
			t.Errorf("closed with %d %q, want %d", d.Code, d.Text, want)
		}
		if d.Reason != siotest.TransportClose {
			t.Errorf("the client sees %q", d.Reason)
		}
		c.ExpectNothing()
	})
}

// What a client sends behind a delayed event waits, in order, in all namespaces of the
// connection, and the heartbeat goes on.
func TestGateDelays(t *testing.T) {
	eachGateKind(t, func(t *testing.T, o siotest.Options) {
		const d = time.Hour // many times what a client may be silent
		srv, _ := gatedServer(t, func(_ sio.Socket, in sio.Inbound) sio.Verdict {
			if string(in.Event) == "slow" {
				return sio.Delay(d)
			}
			return sio.Pass
		})
		other := srv.Of("/other")
		other.Handle("hello", func(s sio.Socket, m *sio.Msg) error { return m.Ack() })
		c := srv.ConnectWith("/", o)
		o.On = c
		b := srv.ConnectWith("/other", o)
		bystander := srv.Connect("/")
		c.Emit("slow", 1)
		c.Emit("quick", 2)
		ack := b.Start("hello")
		c.Emit("slow", 3)
		c.Emit("quick", 4)
		if got, want := fmt.Sprint(c.Received()), `["handled" "slow", 1]`; got != want || ack.Done() {
			t.Fatalf("handled at once: %s, want %s", got, want)
		}
		bystander.EmitAck("quick", 1).Args() // others do not wait
		srv.Advance(d - time.Minute)
		if c.ExpectNothing(); ack.Done() {
			t.Fatal("what came behind the event was handled too early")
		}
		srv.Advance(time.Minute)
		if got, want := fmt.Sprint(c.Received()), `["handled" "quick", 2 "handled" "slow", 3]`; got != want || !ack.Done() {
			t.Fatalf("handled after the delay: %s, want %s", got, want)
		}
		srv.Advance(d)
		c.Expect("handled")
		if n := srv.Stats().Engine.Delays; n != 2 || !c.Connected() {
			t.Errorf("%d delays, want 2; %s", n, c)
		}
		srv.Advance(d) // the heartbeat has gone on as before
		c.EmitAck("quick", 5).Args()
		if st := srv.Stats(); st.Drops.Gated != 0 || st.Engine.Closed.PingTimeout != 0 {
			t.Errorf("dropped %d, ping timeouts %d", st.Drops.Gated, st.Engine.Closed.PingTimeout)
		}
		bystander.Received()
	})
}

// A client that has gone while it was delayed is noticed as soon as it is read from.
func TestGateDelaysWhoGoes(t *testing.T) {
	srv, _ := gatedServer(t, func(sio.Socket, sio.Inbound) sio.Verdict { return sio.Delay(time.Minute) })
	for _, o := range gateKinds {
		c := srv.ConnectWith("/", o)
		c.Emit("last", 1)
		c.Emit("later", 2)
		c.Drop()
	}
	srv.Advance(10 * time.Minute)
	if st := srv.Stats(); st.Engine.Open.Sum() != 0 || st.Engine.Accounts != 0 {
		t.Errorf("%d sessions and %d accounts are left", st.Engine.Open.Sum(), st.Engine.Accounts)
	}
}

// A gate sees how many bytes came, over whatever, with all that belongs to them.
func TestGateCountsBytes(t *testing.T) {
	var saw []string
	srv, _ := gatedServer(t, func(_ sio.Socket, in sio.Inbound) sio.Verdict {
		saw = append(saw, fmt.Sprintf("%s ack=%v wants=%v %d", in.Event, in.Ack, in.WantsAck, in.Bytes))
		return sio.Drop
	})
	c := srv.Dial(siotest.Options{})
	c.Send("40", `42["a",1]`, `427["a",1]`, `42["a",                1]`, `43["x"]`,
		`451-8["b",{"_placeholder":true,"num":0}]`, "<0102030405>",
		`452-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "<01>", "<0203>", `42["c"]`)
	want := []string{
		"a ack=false wants=false 8", "a ack=false wants=true 9", "a ack=false wants=false 24", " ack=true wants=false 6",
		"b ack=false wants=true 44", "b ack=false wants=false 71", "c ack=false wants=false 6",
	}
	if !slices.Equal(saw, want) {
		t.Errorf("the gate saw\n%s\nwant\n%s", strings.Join(saw, "\n"), strings.Join(want, "\n"))
	}
	saw = nil
	p := srv.ConnectWith("/", siotest.Options{Polling: true})
	p.Emit("b", []byte("12345"))
	if want := "b ack=false wants=false 43"; len(saw) != 1 || saw[0] != want {
		t.Errorf("over polling the gate saw %q, want %q", saw, want)
	}
	saw = nil
	m := srv.ConnectWith("/", siotest.Options{MessagePack: true})
	m.Emit("b", make([]byte, 1000))
	var n int
	if len(saw) != 1 {
		t.Fatalf("of MessagePack the gate saw %q", saw)
	}
	if _, err := fmt.Sscanf(saw[0], "b ack=false wants=false %d", &n); err != nil || n < 1000 || n > 1100 {
		t.Errorf("of MessagePack the gate saw %q, want a little more than 1000 bytes", saw)
	}
}

func TestGateSeesAcknowledgements(t *testing.T) {
	let := true
	srv, ns := gatedServer(t, func(_ sio.Socket, in sio.Inbound) sio.Verdict {
		if in.Ack && !let {
			return sio.Drop
		}
		return sio.Pass
	})
	answers := make(chan string, 1)
	ns.Handle("ask", func(s sio.Socket, m *sio.Msg) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a, err := s.EmitAck(ctx, "?")
		answers <- fmt.Sprint(string(a.Raw(0)), " ", err)
		return nil
	})
	c := srv.Connect("/")
	c.Answer("?", func(siotest.Args) []any { return []any{"yes"} })
	for _, x := range []struct {
		let  bool
		want string
	}{{true, `"yes" <nil>`}, {false, " context deadline exceeded"}, {true, `"yes" <nil>`}} {
		let = x.let
		c.Emit("ask")
		srv.Advance(time.Second)
		if got := <-answers; got != x.want {
			t.Errorf("with acknowledgements let through %v: %s, want %s", x.let, got, x.want)
		}
	}
}

func TestGatePanics(t *testing.T) {
	srv, _ := gatedServer(t, func(sio.Socket, sio.Inbound) sio.Verdict { panic("a mistake") })
	c := srv.Connect("/")
	if got := c.EmitAck("x", 1).Args().String(); got != `{"error":"internal error"}` {
		t.Errorf("answered %s", got)
	}
	var p *sio.PanicError
	if err := srv.ExpectError("x"); !errors.As(err, &p) || p.Value != "a mistake" {
		t.Errorf("reported: %v", err)
	}
	c.ExpectNothing()

	srv, _ = gatedServer(t, func(sio.Socket, sio.Inbound) sio.Verdict { return sio.Close(1, "no such code") })
	c = srv.Connect("/")
	c.Emit("x", 1)
	if err := srv.ExpectError("x"); !strings.Contains(err.Error(), "close code 1") {
		t.Errorf("reported: %v", err)
	}
	if d := c.ExpectDisconnect(); d.Code != 0 {
		t.Errorf("closed with %d", d.Code)
	}
}

// The first gate that does not let pass decides, and those behind it are not asked.
func TestSeveralGates(t *testing.T) {
	var asked []string
	gate := func(name string, verdicts map[string]sio.Verdict) func(sio.Socket, sio.Inbound) sio.Verdict {
		return func(_ sio.Socket, in sio.Inbound) sio.Verdict {
			asked = append(asked, name)
			return verdicts[string(in.Event)]
		}
	}
	srv, ns := gatedServer(t,
		gate("1", map[string]sio.Verdict{"a": sio.Drop, "c": sio.Delay(time.Minute), "d": sio.Delay(time.Minute)}),
		gate("2", map[string]sio.Verdict{"a": sio.Close(4029, ""), "b": sio.Nack(nil), "c": sio.Delay(time.Second), "d": sio.Drop}))
	ns.HandleInline("e", func(s sio.Socket, m *sio.Msg) error { return m.Ack("inline") })
	c := srv.Connect("/")
	for _, x := range []struct{ event, asked string }{{"a", "1"}, {"b", "12"}, {"e", "12"}, {"d", "12"}} {
		asked = nil
		c.Start(x.event, 1)
		if got := strings.Join(asked, ""); got != x.asked {
			t.Errorf("of %s gates %s were asked, want %s", x.event, got, x.asked)
		}
	}
	c.ExpectNothing()
	ack := c.Start("e", 1) // behind d, which was dropped and has it wait all the same
	srv.Advance(59 * time.Second)
	if ack.Done() {
		t.Error("the delay of the first gate is over too early")
	}
	srv.Advance(time.Second)
	ack.Args()
	c.Emit("c", 1)
	ack = c.Start("e", 1)
	srv.Advance(59 * time.Second)
	if ack.Done() {
		t.Error("the longest delay does not count")
	}
	srv.Advance(time.Second)
	ack.Args()
	c.Received()
}
