package redis

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

// Messages are counted by what they are, when they are to be sent and when they have been
// understood.
func TestMessagesAreCountedByKind(t *testing.T) {
	for _, a := range offline(t, &fake{node: "nod0"}) {
		before := a.Status().Out
		all, e := rooms.Target{Namespace: "/"}, rooms.Event{Data: []byte(`["e"]`)}
		for range 2 {
			a.Emit(all, e)
		}
		a.Join(all, []string{"r"})
		a.Leave(all, []string{"r"})
		a.Disconnect(all, false)
		a.ServerSideEmit("/", e)
		const p = `{"_placeholder":true,"num":0}`
		a.ServerSideEmit("/", rooms.Event{Data: []byte(`["e",` + strings.Repeat(p+",", 4) + p + `]`), Attachments: [][]byte{{1}}}) // it has no form
		got := a.Status().Out
		got.Heartbeats = before.Heartbeats
		if want := (rooms.Messages{Events: 2, Changes: 3, ServerSide: 1, Heartbeats: before.Heartbeats}); got != want {
			t.Errorf("%T: %+v sent, want %+v", a, got, want)
		}

		c := coreOf(a)
		var payloads [][2]string // channel and payload
		switch a.(type) {
		case *classic:
			for _, fields := range []string{`"type":2,"opts":{},"rooms":["r"]`, `"type":3,"opts":{},"rooms":["r"]`, `"type":4,"opts":{}`, `"type":5,"opts":{},"requestId":"q"`, `"type":1,"requestId":"q"`, `"type":6,"data":["e"]`} {
				payloads = append(payloads, [2]string{"p-request#/#", `{"uid":"u",` + fields + `}`})
			}
			payloads = append(payloads, [2]string{"p#/#", `["u",{"type":2,"data":["e"],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`},
				[2]string{"p#/#", fmt.Sprintf(`[%q,{"type":2,"data":["e"],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`, c.uid)},
				[2]string{"p-response#/#", `{"requestId":"names","uid":"u","rooms":[]}`},
				[2]string{"p-response#/#", `{"requestId":"names","uid":"u","type":9,"packet":1}`})
		default:
			for _, fields := range []string{`"type":4,"data":{"opts":{},"rooms":["r"]}`, `"type":5,"data":{"opts":{},"rooms":["r"]}`, `"type":6,"data":{"opts":{},"close":true}`,
				`"type":7,"data":{"opts":{},"requestId":"q"}`, `"type":7,"data":{"opts":{},"requestId":"q"}`, `"type":9,"data":{"packet":["e"]}`, `"type":3,"data":{"packet":{"type":2,"data":["e"]},"opts":{}}`,
				`"type":8,"data":{"requestId":"members","sockets":[]}`, `"type":12,"data":{"requestId":"members","packet":1}`} {
				payloads = append(payloads, [2]string{"p#/#", `{"uid":"u","nsp":"/",` + fields + `}`})
			}
			payloads = append(payloads, [2]string{"p#/#", fmt.Sprintf(`{"type":3,"uid":%q,"nsp":"/","data":{"packet":{"type":2,"data":["e"]},"opts":{}}}`, c.uid)})
		}
		_ = waiting(c)
		for _, p := range payloads {
			pattern := ""
			if x, ok := a.(*classic); ok && x.o.Patterns && p[0] == "p#/#" {
				pattern = x.pattern("/").name
			}
			receive(a, pattern, p[0], []byte(p[1]))
		}
		receive(a, "", c.heartbeats().name, []byte(`{"uid":"u","node":"nodu"}`))
		if s := a.Status(); s.In != (rooms.Messages{Events: 1, Changes: 3, ServerSide: 1, Questions: 2, Answers: 1, Heartbeats: 1}) || s.Lag != 0 {
			t.Errorf("%T: %+v received, %d malformed, want one event, three changes, one for servers, two questions, an answer and a heartbeat", a, s.In, s.Malformed)
		}
		receive(a, "", c.heartbeats().name, fmt.Appendf(nil, `{"uid":%q,"node":"nod0"}`, c.uid))
		if s := a.Status(); s.In.Heartbeats != 1 || s.Lag <= 0 {
			t.Errorf("%T: %+v received and a lag of %s, want nothing of its own but a lag", a, s.In, s.Lag)
		}
	}
}

// Questions are counted by what was asked for, and by what became of them.
func TestQuestionsAreCounted(t *testing.T) {
	for _, a := range offline(t, &fake{node: "nod0"}) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // so that nobody can be asked
		all := rooms.Target{Namespace: "/"}
		_, _ = a.Members(ctx, all)
		_, _ = a.(rooms.Counter).Count(ctx, all)
		_, _ = a.RoomNames(ctx, "/")
		_, _ = a.ServerSideAsk(ctx, "/", rooms.Event{Data: []byte(`["e"]`)})
		_ = a.EmitAck(ctx, all, rooms.Event{Data: []byte(`["e"]`)}, func(int) {}, func(rooms.Value) {})
		want := rooms.Questions{Acks: rooms.Asked{Failed: 1}, ServerSide: rooms.Asked{Failed: 1}, Members: rooms.Asked{Failed: 2}, Rooms: rooms.Asked{Failed: 1}}
		if _, ok := a.(*classic); !ok { // rooms are those of sockets
			want.Members.Failed, want.Rooms.Failed = 3, 0
		}
		if got := a.Status().Questions; got != want {
			t.Errorf("%T: %+v, want %+v", a, got, want)
		}
	}
}

// The answers of each server are heard, whatever its name begins with, and none of those that
// say that there is nothing.
func TestAnswersOfAllNamesAreHeard(t *testing.T) {
	for _, first := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		heard := 0
		r := newRequest(aMembers, func(answer) { heard++ })
		for _, uid := range []string{string(first) + "Z7Dxy", strangers + newUID()} {
			if !r.server(uid, 0, answer{kind: aMembers}) {
				t.Errorf("the answer of %q is none", uid)
			}
		}
		if heard != 1 {
			t.Errorf("of a server whose name begins with %q, and one who has nothing, %d answers are heard", first, heard)
		}
	}
}
