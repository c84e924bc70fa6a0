package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// offline returns the adapters of all kinds as they are when started, but not
// connected to anything; what they publish stays in the queue.
func offline(t testing.TB, h rooms.Host) (all []rooms.Adapter) {
	t.Helper()
	o := Options{Prefix: "p", MaxQueue: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
	o.Client.InitAddress = []string{"127.0.0.1:1"}
	o.Client.Dialer.Timeout = 1 // nobody is there
	for kind := range kinds {
		a := kinds[kind]("127.0.0.1:1", o)
		if err := a.Start(h); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close(context.Background()) })
		a.Open("/")
		all = append(all, a)
	}
	return all
}

// wants are the answers that can be waited for, by the id of their request.
var wants = map[string]answerKind{"members": aMembers, "names": aNames, "value": aValue, "count": aCount, "total": aTotal}

// waiting has requests wait for answers of a server called "peer" and one without a
// name; each notes what was answered.
func waiting(c *core) map[string]*[]answer {
	got := map[string]*[]answer{}
	for id, want := range wants {
		var all []answer
		r := newRequest(want, func(a answer) { all = append(all, a) })
		r.named, r.expected = map[string]string{"peer": "peer"}, 2
		c.requests.mu.Lock()
		c.requests.byID[id] = r
		c.requests.mu.Unlock()
		got[id] = &all
	}
	return got
}

// take gives an adapter what comes from Redis.
func receive(a rooms.Adapter, pattern, channel string, payload []byte) {
	b := coreOf(a).b
	b.receive(pattern, channel, payload)
}

// An answer of another shape than was asked for is malformed, and is not taken for
// an answer.
func TestAnswersOfAnotherShape(t *testing.T) {
	values := []string{
		`"type":8,"clientCount":1`, `"type":9,"packet":1`, `"type":6,"data":1`, `"sockets":[{"id":"a","handshake":{},"rooms":[],"data":{}}]`,
		`"sockets":["a"]`, `"sockets":[]`, `"rooms":["r"]`, `"rooms":{}`, `"type":8,"clientCount":-1`, `"type":8,"clientCount":1e99`, `"type":"8"`, `"type":null`,
		`"sockets":[1]`, `"sockets":null`, ``, `"x":0,"clientCount":7`, `"x":0,"clientCount":-7`, `"x":0,"clientCount":4294967296`,
	}
	for _, a := range offline(t, &fake{node: "nod0"}) {
		c := coreOf(a)
		for id, want := range wants {
			for _, value := range values {
				got := waiting(c)
				uid := "peer"
				var payload []byte
				if _, ok := a.(*classic); ok {
					payload = fmt.Appendf(nil, `{"requestId":%q,"uid":%q,%s}`, id, uid, value)
				} else {
					for _, typ := range []wire.MessageType{wire.FetchSocketsResponse, wire.ServerSideEmitResponse, wire.BroadcastClientCount, wire.BroadcastAck} {
						_, fields, _ := strings.Cut(value, ",")
						payload = fmt.Appendf(nil, `{"type":%d,"uid":%q,"nsp":"/","data":{"requestId":%q,"packet":1,%s}}`, typ, uid, id, fields)
						receive(a, "", "p#/#"+c.uid+"#", payload)
					}
				}
				receive(a, "", "p-response#/#", payload)
				receive(a, "", "p-response#/#", payload) // who is known answers once
				n := 0
				for _, answer := range *got[id] {
					if !answer.is(want) && (want != aCount || answer.kind != aValue) {
						t.Errorf("%T: an answer of kind %d to %s", a, answer.kind, id)
					}
					if want != aCount {
						n++
					}
				}
				if n > 1 {
					t.Errorf("%T: %d answers of one server to %s", a, n, id)
				}
			}
		}
		if c.b.malformed.Load() == 0 {
			t.Errorf("%T: nothing is counted as malformed", a)
		}
	}
}

// FuzzReceive gives all adapters whatever may come, on all kinds of channels.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		`["u",{"type":2,"data":["e",1],"nsp":"/"},{"rooms":["r"],"except":[],"flags":{}}]`,
		`{"uid":"u","requestId":"r","type":1}`, `{"uid":"u","type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}`,
		`{"uid":"u","requestId":"r","type":7,"packet":{"type":2,"data":["ask"],"nsp":"/"},"opts":{"rooms":[],"flags":{"timeout":18446744073709551615}}}`,
		`{"uid":"u","requestId":"r","type":4,"sid":"nod0aaaaaaaaaaaaaaaa","close":true}`, `{"uid":"u","requestId":"r","type":6,"data":["e",1]}`,
		`{"uid":"u","requestId":"r","type":0,"rooms":[]}`, `{"uid":"u","requestId":"r","type":5,"opts":{}}`,
		`{"requestId":"members","uid":"peer","type":8,"clientCount":3}`, `{"requestId":"count","type":9,"packet":[1]}`, `{"requestId":"names","sockets":[]}`,
		`{"requestId":"value","type":6,"data":{"a":1}}`, `{"requestId":"names","rooms":["a"]}`,
		`{"type":7,"uid":"u","nsp":"/","data":{"requestId":"r","opts":{}}}`, `{"type":8,"uid":"peer","nsp":"/","data":{"requestId":"members","sockets":[{"id":"a","handshake":{},"rooms":[],"data":{}}]}}`,
		`{"type":10,"uid":"peer","nsp":"/","data":{"requestId":"members","packet":1}}`, `{"type":11,"uid":"peer","nsp":"/","data":{"requestId":"value","clientCount":1}}`,
		`{"type":12,"uid":"peer","nsp":"/","data":{"requestId":"names","packet":1}}`, `{"type":9,"uid":"u","nsp":"/","data":{"requestId":"r","packet":["e"]}}`,
		`{"type":3,"uid":"u","nsp":"/","data":{"requestId":"r","packet":{"type":2,"data":["e"]},"opts":{"flags":{"timeout":-1}}}}`,
		`{"uid":"x","node":"nod0","name":"n","nsps":["/"],"began":1}`, `{"uid":"x","bye":true}`, `{"uid":1}`, `null`, `[]`, ``,
	} {
		for by := range uint8(6) {
			f.Add(by, s)
		}
	}
	all := offline(f, &fake{node: "nod0"})
	f.Fuzz(func(t *testing.T, by uint8, payload string) {
		for _, a := range all {
			c := coreOf(a)
			waiting(c)
			channels := []string{"p#/#", "p-request#/#", "p-response#/#", c.heartbeats().name, "p#/#" + c.uid + "#", payload}
			pattern := ""
			if by >= 128 {
				pattern = "p#*"
			}
			receive(a, pattern, channels[int(by)%len(channels)], []byte(payload))
			if s, ok := a.(*streams); ok {
				fields := map[string]string{"uid": "u", "nsp": "/", "type": fmt.Sprint(by), "data": payload, "n": payload}
				s.entry("p", 1, rueidis.XRangeEntry{ID: payload, FieldValues: fields})
				missedEntry(1, rueidis.XRangeEntry{ID: payload, FieldValues: fields}, "/", "")
			}
			_ = a.Status()
			c.b.queue.drop()
			c.peers.mu.Lock()
			clear(c.peers.known)
			c.peers.mu.Unlock()
		}
	})
}

// What others ask is answered by so many goroutines and no more; the rest is
// refused and counted.
func TestQuestionsAreBounded(t *testing.T) {
	host := &fake{node: "nod0", hang: make(chan struct{})}
	all := offline(t, host)
	for _, a := range all {
		c := coreOf(a)
		c.answering = make(chan struct{}, 2)
		question := []byte(`{"uid":"u","requestId":"r","type":5,"opts":{}}`)
		channel := "p-request#/#"
		if _, ok := a.(*classic); !ok {
			question, channel = []byte(`{"type":7,"uid":"u","nsp":"/","data":{"requestId":"r","opts":{}}}`), "p#/#"
		}
		for range 10 {
			receive(a, "", channel, question)
		}
		if got := a.Status().Refused; got != 8 {
			t.Errorf("%T: %d questions are refused, want 8", a, got)
		}
	}
	close(host.hang)
	for _, a := range all {
		eventually(t, "answering", func() bool { return len(coreOf(a).answering) == 0 })
	}
}

// A bomb is a host that panics.
type bomb struct{ fake }

func (*bomb) Deliver(rooms.Target, rooms.Event) { panic("Deliver") }
func (*bomb) Join(rooms.Target, []string)       { panic("Join") }

// A panic while something is handled that came from Redis costs that alone.
func TestPanicsAreConfined(t *testing.T) {
	for _, a := range offline(t, &bomb{fake{node: "nod0"}}) {
		c := coreOf(a)
		c.b.message(c.b.subs.first, rueidis.PubSubMessage{Channel: "p#/#", Message: `["u",{"type":2,"data":["e",1],"nsp":"/"},{"rooms":["r"]}]`})
		c.b.message(c.b.subs.first, rueidis.PubSubMessage{Channel: "p#/#", Message: `{"type":4,"uid":"u","nsp":"/","data":{"opts":{},"rooms":["x"]}}`})
		if c.b.malformed.Load() == 0 {
			t.Errorf("%T: it is not counted", a)
		}
	}
}

// Of two servers with one node name the one that began first keeps it, and both say
// so.
func TestTwoServersOfOneName(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var logs [2]said
			var adapters []rooms.Adapter
			for i := range logs {
				o := Options{Prefix: kind, Logger: logs[i].logger()}
				_, a := begin(t, kind, addr, "same", o)
				eventually(t, "beginning", func() bool { n, all, _ := coreOf(a).b.subs.inPlace(); return all && n > 0 })
				adapters = append(adapters, a)
			}
			eventually(t, "noticing", func() bool {
				s := adapters[1].Status()
				return !s.Up && strings.Contains(s.Reason, "same node name")
			})
			eventually(t, "hearing of it", func() bool { return len(adapters[0].Status().Peers) == 1 })
			if s := adapters[0].Status(); !s.Up {
				t.Errorf("Status of the first = %+v, want it up", s)
			}
			for i := range logs {
				eventually(t, "a line", func() bool { return strings.Contains(logs[i].String(), "same node name") })
			}
			if p, ok := adapters[0].Peer("same"); !ok || p.Node != "same" {
				t.Errorf("Peer = %v, %t", p, ok)
			}
			_ = adapters[0].Close(context.Background())
			eventually(t, "being the only one", func() bool { return adapters[1].Status().Up })
		})
	}
}
