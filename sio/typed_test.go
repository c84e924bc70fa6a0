package sio_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

type move struct {
	X    int    `json:"x"`
	Y    int    `json:"y"`
	Data []byte `json:"data,omitempty"`
}

const moved = sio.Event[move]("moved")

func TestTypedHandlers(t *testing.T) {
	seen := make(chan string, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		sio.On(ns, "move", func(_ sio.Socket, m move) error { seen <- fmt.Sprint(m); return nil })
		sio.On(ns, "text", func(_ sio.Socket, s string) error { seen <- s; return errors.New("anyway") })
		moved.On(ns, func(s sio.Socket, m move) error {
			return errors.Join(moved.Emit(s, m), moved.Emit(ns, m), moved.Emit(s.Broadcast(), m))
		})
	})
	c := srv.join("40")
	for packet, want := range map[string]string{
		`42["move",{"x":1,"y":2}]`:          "{1 2 []}",
		`42["move",{"X":1,"z":[]},"other"]`: "{1 0 []}",
		`42["move"]`:                        "{0 0 []}",
		`42["move",null]`:                   "{0 0 []}",
	} {
		c.send(packet)
		if got := take(t, seen); got != want {
			t.Errorf("%s gave %s, want %s", packet, got, want)
		}
	}
	c.send(`451-["move",{"x":1,"data":{"_placeholder":true,"num":0}}]`, "<0102>")
	if got := take(t, seen); got != "{1 0 [1 2]}" {
		t.Errorf("with an attachment it gave %s", got)
	}
	c.send(`42["text","hi"]`)
	take(t, seen)
	if got := take(t, srv.log.new); got != "text: anyway" {
		t.Errorf("OnError got %q", got)
	}
	c.send(`42["text",5]`) // no call, and no silence
	if got := take(t, srv.log.new); got != "text: sio: argument 0: json: cannot unmarshal number into Go value of type string" {
		t.Errorf("OnError got %q", got)
	}
	c.send(`42["moved",{"x":3,"y":4}]`)
	c.expect(`42["moved",{"x":3,"y":4}]`, `42["moved",{"x":3,"y":4}]`)
}

// The client that waits is always answered, and sees of an error only what is
// meant for it.
func TestTypedAcknowledgements(t *testing.T) {
	secret := errors.New("secret")
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		sio.OnAck(srv.Of("/"), "ask", func(_ sio.Socket, what string) (any, error) {
			switch what {
			case "value":
				return move{X: 1}, nil
			case "nothing":
				return nil, nil
			case "bytes":
				return []byte{1}, nil
			case "error":
				return nil, secret
			case "closed":
				return nil, sio.ErrClosed
			case "client error":
				return nil, &sio.Error{Message: "no such room"}
			case "client data":
				return nil, &sio.Error{Message: "no such room", Data: map[string]int{"code": 7}}
			case "wrapped":
				return nil, fmt.Errorf("room 5: %w", &sio.Error{Message: "no such room"})
			case "bad value":
				return math.NaN(), nil
			case "bad data":
				return nil, &sio.Error{Message: "m", Data: math.NaN()}
			}
			panic("bug")
		})
	})
	c := srv.join("40")
	for _, x := range []struct{ ask, want, reported string }{
		{`"value"`, `431[{"x":1,"y":0}]`, ""},
		{`"nothing"`, `431[null]`, ""},
		{`"error"`, `431[{"error":"internal error"}]`, "secret"},
		{`"closed"`, `431[{"error":"internal error"}]`, sio.ErrClosed.Error()},
		{`"client error"`, `431[{"error":"no such room"}]`, ""},
		{`"client data"`, `431[{"data":{"code":7},"error":"no such room"}]`, ""},
		{`"wrapped"`, `431[{"error":"no such room"}]`, "room 5: no such room"},
		{`"bad value"`, `431[{"error":"internal error"}]`, "sio: argument 0: json: unsupported value: NaN"},
		{`"bad data"`, `431[{"error":"m"}]`, "sio: argument 0: json: unsupported value: NaN"},
		{`"panic"`, `431[{"error":"internal error"}]`, "sio: panic: bug"},
		{`5`, `431[{"error":"internal error"}]`, "sio: argument 0: json: cannot unmarshal number into Go value of type string"},
	} {
		c.send(`421["ask",` + x.ask + `]`)
		c.expect(x.want)
		if x.reported != "" {
			if got, want := take(t, srv.log.new), "ask: "+x.reported; got != want {
				t.Errorf("%s: OnError got %q, want %q", x.ask, got, want)
			}
		}
	}
	c.send(`421["ask","bytes"]`)
	c.expect(`461-1[{"_placeholder":true,"num":0}]`, "<01>")
	c.send(`42["ask","value"]`, `422["ask","nothing"]`) // who does not ask is not answered
	c.expect(`432[null]`)
	select {
	case got := <-srv.log.new:
		t.Errorf("OnError got %q, want nothing more", got)
	default:
	}
}

func TestAsk(t *testing.T) {
	p := newParty(t, 1)
	type result struct {
		m   move
		err error
	}
	got := make(chan result, 1)
	for _, x := range []struct{ answer, want string }{
		{`[{"x":5}]`, "{5 0 []} <nil>"}, {`[]`, "{0 0 []} <nil>"},
		{`["text"]`, "{0 0 []} sio: argument 0: json: cannot unmarshal string into Go value of type sio_test.move"},
	} {
		// ends when the client has answered
		go func() {
			m, err := sio.Ask[move](within(patience), p.sockets[0], "where?", 1)
			got <- result{m, err}
		}()
		p.clients[0].send("43" + p.clients[0].question("where?") + x.answer)
		if r := take(t, got); fmt.Sprint(r.m, " ", r.err) != x.want {
			t.Errorf("Ask = %v, %v, want %s", r.m, r.err, x.want)
		}
	}
}
