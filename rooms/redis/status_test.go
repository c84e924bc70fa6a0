package redis

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

// Each way in which messages are lost is counted by itself.
func TestLossesAreToldApart(t *testing.T) {
	for _, a := range offline(t, &fake{node: "nod0"}) {
		before := a.Status()
		big := append(append([]byte(`["e","`), bytes.Repeat([]byte("x"), 600<<10)...), `"]`...)
		for range 3 { // of which one fits
			a.Emit(rooms.Target{Namespace: "/"}, rooms.Event{Data: big})
		}
		const p = `{"_placeholder":true,"num":0}`
		a.ServerSideEmit("/", rooms.Event{Data: []byte(`["e",` + strings.Repeat(p+",", 4) + p + `]`), Attachments: [][]byte{{1}}})
		s := a.Status()
		if want := (rooms.Losses{Full: 2, Unwritten: 1}); s.Losses != want || s.Lost != 3 || s.WaitingBytes-before.WaitingBytes < 600<<10 || s.Waiting == 0 {
			t.Errorf("%T: %+v, want %+v, and one message that waits", a, s, want)
		}
		_ = a.Close(context.Background())
		s = a.Status()
		if s.Losses.Left == 0 || s.Lost != s.Losses.Sum() || s.Waiting != 0 || s.WaitingBytes != 0 {
			t.Errorf("%T: %+v after Close, want what waited counted as left", a, s)
		}
	}
}

// And each way in which what is received is for nobody.
func TestDiscardsAreToldApart(t *testing.T) {
	for _, a := range offline(t, &fake{node: "nod0"}) {
		c := coreOf(a)
		var want rooms.Discards
		switch a.(type) {
		case *classic:
			receive(a, "", "p#/#", fmt.Appendf(nil, `[%q,{"type":2,"data":["e"],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`, c.uid))
			receive(a, "", "p-request#/#", fmt.Appendf(nil, `{"uid":%q,"requestId":"r","type":1}`, c.uid))
			receive(a, "other*", "p#/#", []byte(`["u",{"type":2,"data":["e"],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`))
			receive(a, "", "p-response#/#", []byte(`{"requestId":"over","rooms":[]}`))
			want = rooms.Discards{Own: 2, Unwanted: 1, Late: 1}
		default:
			receive(a, "", "p#/#", fmt.Appendf(nil, `{"type":3,"uid":%q,"nsp":"/","data":{"packet":{"type":2,"data":["e"]},"opts":{}}}`, c.uid))
			receive(a, "", "p#/#", []byte(`{"type":10,"uid":"u","nsp":"/","data":{"requestId":"over","packet":1}}`))
			want = rooms.Discards{Own: 1, Late: 1}
		}
		if s := a.Status(); s.Discards != want || s.Discarded != want.Sum() {
			t.Errorf("%T: %+v, want %+v", a, s.Discards, want)
		}
	}
}

// What a server did not answer stays with it from one heartbeat to the next.
func TestUnansweredRequestsAreCountedByServer(t *testing.T) {
	var p peers
	p.note(heartbeat{UID: "a", Node: "aaaa"})
	p.note(heartbeat{UID: "b", Node: "bbbb"})
	r := newRequest(aValue, func(answer) {})
	r.named, r.expected = map[string]string{"a": "a", "b": "b", "gone": "gone"}, 3
	r.server("a", 0, answer{kind: aValue})
	for range 2 {
		p.unanswered(r.silent())
		p.note(heartbeat{UID: "b", Node: "bbbb"})
	}
	got := map[string]int64{}
	for _, x := range p.list() {
		got[x.Node] = x.Unanswered
	}
	if want := map[string]int64{"aaaa": 0, "bbbb": 2}; !reflect.DeepEqual(got, want) {
		t.Errorf("unanswered %v, want %v", got, want)
	}
}
