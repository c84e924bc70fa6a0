package sio_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

func TestMsgWithOtherArguments(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.UseEvent(func(next sio.Handler) sio.Handler {
			return func(s sio.Socket, m *sio.Msg) error {
				if m.Len() == 0 {
					return next(s, m)
				}
				other, err := m.With([]byte{1}, map[string]any{"was": m.Raw(0)})
				if err != nil {
					return err
				}
				if _, err := m.With(func() {}); err == nil {
					t.Error("With(a function) has no error, want one")
				}
				return next(s, other)
			}
		})
		echo(ns)
	})
	c := srv.join("40")
	c.send(`427["echo","a"]`)
	c.expect(`461-7[{"_placeholder":true,"num":0},{"was":"a"}]`, "<01>")
	c.send(`42["echo","a"]`)
	c.expect(`451-["echo",{"_placeholder":true,"num":0},{"was":"a"}]`, "<01>")
}

// A wrapper gives an event another context, which goes with it through others; the
// arguments and the acknowledgement stay its own.
func TestMsgWithContext(t *testing.T) {
	type name struct{}
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.UseEvent(func(next sio.Handler) sio.Handler {
			return func(s sio.Socket, m *sio.Msg) error {
				if m.Context() != s.Context() {
					t.Error("Context is not the socket's before WithContext")
				}
				m2, err := m.WithContext(context.WithValue(m.Context(), name{}, m.Event())).With("other", m.Raw(0))
				if err != nil {
					return err
				}
				return next(s, m2)
			}
		})
		h := func(s sio.Socket, m *sio.Msg) error { return m.Ack(m.Context().Value(name{}), m.Args, m.WantsAck()) }
		ns.Handle("ask", h)
		ns.HandleInline("inline", h)
	})
	c := srv.join("40")
	c.send(`421["ask",1]`)
	c.expect(`431["ask","other",1,true]`)
	c.send(`422["inline",2]`)
	c.expect(`432["inline","other",2,true]`)
}

// relay registers events that pass on what they get.
func relay(ns *sio.Namespace) {
	echo(ns)
	ns.HandleAny(func(s sio.Socket, m *sio.Msg) error {
		if m.WantsAck() {
			return m.Ack(m.Args)
		}
		return s.Broadcast().Emit(m.Event(), m)
	})
	ns.HandleInline("beside", func(s sio.Socket, m *sio.Msg) error {
		return s.Broadcast().Emit("beside", []byte{0xff}, m.From(1), "own", m.Args, []any{m.Args})
	})
	sio.OnAck(ns, "typed", func(_ sio.Socket, v any) (sio.Args, error) { return sio.Args{}, nil })
}

// Arguments are passed on as they came, attachments included, without being
// decoded: to clients of either parser.
func TestArgumentsArePassedOn(t *testing.T) {
	srv := simulate(t, sio.Options{Parser: sio.EitherParser}, func(srv *sio.Server) { relay(srv.Of("/")) })
	a, b := srv.join("40"), srv.join("40")
	packing := srv.dial()
	packing.send(packed("0"))
	packing.next()
	ph := func(n int) string { return fmt.Sprintf(`{"_placeholder":true,"num":%d}`, n) }
	for _, x := range []struct {
		name           string
		sent, received []string
	}{
		{"no arguments", []string{`42["e"]`}, []string{`42["e"]`}},
		{"spaces and numbers", []string{`42["e", 1.50 ,{"a" : [1e3,null]},"\u00e9"]`}, []string{`42["e",1.50,{"a" : [1e3,null]},"\u00e9"]`}},
		{"an attachment", []string{`451-["e",` + ph(0) + `]`, "<01>"}, []string{`451-["e",` + ph(0) + `]`, "<01>"}},
		{"within values", []string{`452-["e",{"b":[` + ph(1) + `],"a":` + ph(0) + `}]`, "<01>", "<02>"},
			[]string{`452-["e",{"b":[` + ph(0) + `],"a":` + ph(1) + `}]`, "<02>", "<01>"}},
		{"named twice", []string{`451-["e",` + ph(0) + `,` + ph(0) + `]`, "<01>"}, []string{`451-["e",` + ph(0) + `,` + ph(0) + `]`, "<01>"}},
		{"left over", []string{`452-["e",` + ph(1) + `]`, "<01>", "<02>"}, []string{`451-["e",` + ph(0) + `]`, "<02>"}},
		{"what only looks like one", []string{`42["e",` + ph(9) + `]`}, []string{`42["e",` + ph(9) + `]`}},
		{"that beside others", []string{`42["beside",` + ph(9) + `]`},
			[]string{`451-["beside",` + ph(0) + `,"own",{"_placeholder":null,"num":9},[[{"_placeholder":null,"num":9}]]]`, "<ff>"}},
		{"beside others", []string{`452-["beside",` + ph(1) + `,[` + ph(0) + `]]`, "<01>", "<02>"},
			[]string{`456-["beside",` + ph(0) + `,[` + ph(1) + `],"own",` + ph(2) + `,[` + ph(3) + `],[[` + ph(4) + `,[` + ph(5) + `]]]]`,
				"<ff>", "<01>", "<02>", "<01>", "<02>", "<01>"}},
		{"nothing beside others", []string{`42["beside"]`}, []string{`451-["beside",` + ph(0) + `,"own",[[]]]`, "<ff>"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			a.send(x.sent...)
			b.expect(x.received...)
			want := packed(x.received[0][1:])
			if len(x.received) > 1 {
				want = packedWith(t, x.received)
			}
			packing.expect(want)
		})
	}
	a.send(`451-7["ask",{"deep":`+ph(0)+`}]`, "<01>")
	a.expect(`461-7[{"deep":`+ph(0)+`}]`, "<01>")
	a.send(`428["typed"]`)
	a.expect("438[]")
	packing.send(packedWith(t, []string{`451-["e",[` + ph(0) + `],1]`, "<0a>"}))
	a.expect(`451-["e",[`+ph(0)+`],1]`, "<0a>")
}

// packedWith is packed for packets with attachments, as the Engine.IO messages of
// the JSON parser.
func packedWith(t *testing.T, packets []string) string {
	t.Helper()
	var p parser.Packet
	if err := parser.Parse([]byte(packets[0][1:]), parser.Limits{}, &p); err != nil {
		t.Fatal(err)
	}
	for _, b := range packets[1:] {
		data, _ := binary(b)
		p.Buffers = append(p.Buffers, data)
	}
	b, err := parser.AppendMsgpackPacket(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("<%x>", b)
}

func TestArgumentsArePassedOnBetweenServers(t *testing.T) {
	got := make(chan string, 1)
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		relay(srv.Of("/"))
		srv.Of("/").HandleServerSide("ask", func(m *sio.Msg) error { return m.Ack(m.From(1), "ignored") })
		srv.Of("/").Handle("outwards", func(_ sio.Socket, m *sio.Msg) error {
			answers, err := srv.Of("/").ServerSideAsk(within(patience), "ask", m)
			got <- fmt.Sprint(values(answers[0]), err)
			return nil
		})
	})
	p.clients[0].send(`451-["e",[{"_placeholder":true,"num":0}]]`, "<01>")
	p.clients[1].expect(`451-["e",[{"_placeholder":true,"num":0}]]`, "<01>")
	p.clients[0].send(`452-["outwards",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "<01>", "<02>")
	if s := take(t, got); s != "[[2]] <nil>" {
		t.Errorf("the other server answered %s, want [[2]]", s)
	}
}

// Limits.MaxAttachments holds for both ways.
func TestMaxAttachmentsOfWhatIsSent(t *testing.T) {
	twelve := make([]any, 12)
	for i := range twelve {
		twelve[i] = []byte{byte(i)}
	}
	for most, ok := range map[int]bool{0: false, 10: false, 11: false, 12: true, 32: true} {
		var joined chan sio.Socket
		srv := simulate(t, sio.Options{Parser: sio.EitherParser, Limits: parser.Limits{MaxAttachments: most}}, func(srv *sio.Server) {
			relay(srv.Of("/"))
			joined = sockets(srv.Of("/"))
		})
		c, packing := srv.join("40"), srv.dial()
		s := take(t, joined)
		packing.send(packed("0"))
		packing.next()
		take(t, joined)
		for name, err := range map[string]error{
			"Socket.Emit": s.Emit("x", twelve...), "Namespace.Emit": srv.Of("/").Emit("x", twelve...), "Volatile": s.Volatile().Emit("x", twelve...),
		} {
			if ok != (err == nil) || !ok && !errors.Is(err, value.ErrTooManyAttachments) {
				t.Errorf("with at most %d, %s of 12 attachments = %v", most, name, err)
			}
		}
		if !ok {
			continue
		}
		c.next()
		if p := packing.next(); !strings.HasPrefix(p, "<") || strings.Count(p, "c401") != 12 {
			t.Errorf("with at most %d the client of MessagePack received %s, want 12 byte strings", most, p)
		}
	}
}

// packed turns a packet in JSON into one in MessagePack, as <hex>.
func packed(packet string) string {
	var p parser.Packet
	if err := parser.Parse([]byte(packet), parser.Limits{}, &p); err != nil {
		return err.Error()
	}
	b, err := parser.AppendMsgpackPacket(nil, &p)
	if err != nil {
		return err.Error()
	}
	return "<" + hex.EncodeToString(b) + ">"
}
