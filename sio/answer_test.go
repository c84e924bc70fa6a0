package sio_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// What an inline handler acknowledges goes past the loop's mailbox, and all the same behind
// what was emitted before: to the socket, to its room, by other goroutines.
func TestAnswersGoInOrder(t *testing.T) {
	for name, o := range map[string]sio.Options{
		"alone":    {},
		"recovery": {Recovery: sio.Recovery{Window: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, o)
			x := st.enter(0)
			x.s.Join("room")
			must := func(err error) {
				if err != nil {
					t.Error(err)
				}
			}
			on := func(event string, f func(s sio.Socket, m *sio.Msg)) {
				st.ns.HandleInline(event, func(s sio.Socket, m *sio.Msg) error { f(s, m); return nil })
			}
			on("before", func(s sio.Socket, m *sio.Msg) { must(s.Emit("a")); must(m.Ack(1)); must(s.Emit("b")) })
			on("behind", func(s sio.Socket, m *sio.Msg) { must(m.Ack(2)); must(s.Emit("a")) })
			on("room", func(_ sio.Socket, m *sio.Msg) {
				must(st.ns.To("room").Emit("a"))
				must(m.Ack(3))
				must(st.ns.To("room").Emit("b"))
			})
			on("others", func(s sio.Socket, m *sio.Msg) {
				done := make(chan error)
				go func() { done <- s.Emit("a") }()
				must(<-done)
				must(m.Ack(4))
			})
			on("twice", func(_ sio.Socket, m *sio.Msg) { must(m.Ack(5)); must(m.Ack(6)) })
			on("nested", func(s sio.Socket, m *sio.Msg) { must(m.Ack(marshals(func() { must(m.Ack("inner")) }))) })
			on("gone", func(s sio.Socket, m *sio.Msg) { s.Disconnect(sio.DisconnectOptions{}); must(m.Ack(8)) })
			x.received()
			for i, event := range []string{"before", "behind", "room", "others", "twice", "nested"} {
				x.send(`42` + string(rune('0'+i)) + `["` + event + `"]`)
			}
			strip := func(all []string) (plain []string) { // of offsets
				for _, p := range all {
					var list []any
					if len(p) > 2 && p[:2] == "42" && json.Unmarshal([]byte(p[2:]), &list) == nil {
						p = `42["` + list[0].(string) + `"]`
					}
					plain = append(plain, p)
				}
				return plain
			}
			want := []string{
				`42["a"]`, `430[1]`, `42["b"]`,
				`431[2]`, `42["a"]`,
				`42["a"]`, `432[3]`, `42["b"]`,
				`42["a"]`, `433[4]`,
				`434[5]`, `435["inner"]`,
			}
			if got := strip(x.received()); !slices.Equal(got, want) {
				t.Errorf("received %q, want %q", got, want)
			}
			x.send(`427["gone"]`)
			if got := strip(x.received()); !slices.Equal(got, []string{`437[8]`, `41`}) && !slices.Equal(got, []string{`41`}) {
				t.Errorf("one that leaves received %q", got)
			}
		})
	}
}

// marshals is a value that does something when it is encoded.
type marshals func()

func (f marshals) MarshalJSON() ([]byte, error) { f(); return []byte(`"outer"`), nil }

// An acknowledgement of an inline handler allocates nothing, and is no message to the loop.
func TestAnswersCostLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the pools lose buffers on purpose under the race detector")
	}
	st, all := emitStage(t, false)
	var mail int64
	st.ns.HandleInline("ask", func(_ sio.Socket, m *sio.Msg) error { return m.Ack("text") })
	st.ns.HandleInline("look", func(_ sio.Socket, m *sio.Msg) error {
		err := m.Ack("text")
		mail = st.Engine().Stats().Mail
		return err
	})
	peer := all[0].peer
	peer.Discard(true)
	peer.Send(appendPacket(nil, `421["look","text"]`))
	packet := appendPacket(nil, `421["ask","text"]`)
	n := testing.AllocsPerRun(500, func() { peer.Send(packet) })
	if n > 0 || mail > 0 {
		t.Errorf("an answer takes %.0f allocations and %d messages, want none", n, mail)
	}
}
