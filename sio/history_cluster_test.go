package sio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A server that has had no members of a room asks the others what it has missed.
func TestJoinReplayOfWhatOtherServersHave(t *testing.T) {
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) { srv.Of("/").KeepHistory(sio.History{Size: 100}) })
	p.sparse = true
	emit := func(i int, events ...string) {
		t.Helper()
		for _, event := range events {
			must(t, p.ns[i].To("r").Emit(event, []byte(event)))
		}
	}
	want := func(i int, events ...string) {
		t.Helper()
		for _, event := range events {
			p.clients[i].expect(fmt.Sprintf(`451-["%s",{"_placeholder":true,"num":0}]`, event), fmt.Sprintf("<%x>", event))
		}
		p.clients[i].quiet("")
	}
	ctx := within(patience)
	must(t, p.sockets[0].JoinReplayWait(ctx, []string{"r"}, 10))
	emit(0, "a", "b", "c")
	must(t, p.ns[0].To("r").Local().Emit("local"))
	p.clients[0].next()
	p.clients[0].next()
	p.clients[0].next()
	p.clients[0].next()
	p.clients[0].next()
	p.clients[0].next()
	p.clients[0].expect(`42["local"]`)

	must(t, p.sockets[1].JoinReplayWait(ctx, []string{"r"}, 2))
	emit(0, "d")
	want(1, "b", "c", "d")
	want(0, "d")

	// What comes while nobody is there it asks for again, and has nothing twice.
	p.sockets[1].Leave("r")
	eventually(t, "leaving", func() bool { return !p.stops[1].knows("/ r") })
	emit(0, "e", "f")
	want(0, "e", "f")
	p.sockets[1].JoinReplay([]string{"r"}, 100)
	eventually(t, "joining", func() bool { return slices.Contains(p.sockets[1].Rooms(), "r") })
	emit(1, "g")
	want(1, "a", "b", "c", "d", "e", "f", "g")
	want(0, "g")
	p.sockets[1].Leave("r")

	// Nobody else has the room: it has what it has.
	p.sockets[0].Leave("r")
	eventually(t, "leaving", func() bool { return !p.stops[0].knows("/ r") && !p.stops[1].knows("/ r") })
	p.silent = []string{p.servers[0].Node()}
	must(t, p.sockets[1].JoinReplayWait(ctx, []string{"r"}, 2))
	want(1, "f", "g")
	all, err := p.ns[1].History(ctx, "/", "r")
	if err != nil || len(all) != 7 || all[6].Name != "g" || string(all[6].Args.Binary()[0]) != "g" || time.Since(all[0].Time).Abs() > time.Minute {
		t.Errorf("History = %v, %v", all, err)
	}
	if h := p.servers[1].Stats().History; h.Asked != 3 || h.Merged < 5 || h.Events != 7 {
		t.Errorf("Stats: %+v", h)
	}
}

// Leaving a room that is joined when the others have answered calls it off.
func TestJoinReplayIsCalledOff(t *testing.T) {
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) { srv.Of("/").KeepHistory(sio.History{Size: 100}) })
	release := make(chan struct{})
	p.add(&liar{Host: p.stops[1].host, node: "slow", answer: func() string { <-release; return "" }})
	done := make(chan error, 1)
	go func() { done <- p.sockets[0].JoinReplayWait(within(patience), []string{"r", "s"}, 2) }()
	eventually(t, "expecting", func() bool { return p.stops[0].knows("/ r") })
	p.sockets[0].Leave("r")
	p.sockets[0].Join("s")
	must(t, p.ns[0].To("r").Emit("r"))
	must(t, p.ns[0].To("s").Emit("s"))
	if got := p.sockets[0].Rooms(); len(got) != 1 {
		t.Errorf("it is in %q before the others have answered", got)
	}
	close(release)
	if err := take(t, done); err == nil {
		t.Error("JoinReplayWait of a room that was left meanwhile: nil")
	}
	p.clients[0].expect(`42["s"]`)
	p.clients[0].quiet("")
	eventually(t, "forgetting r", func() bool { return !p.stops[0].knows("/ r") && p.stops[0].knows("/ s") })
}

// A liar is a server that answers questions as it likes.
type liar struct {
	rooms.Host
	node   string
	answer func() string
}

func (l *liar) Node() string                      { return l.node }
func (l *liar) Deliver(rooms.Target, rooms.Event) {}
func (l *liar) Load() rooms.Load                  { return rooms.Load{} }
func (l *liar) ServerSide(_ string, e rooms.Event, answer func(rooms.Value)) {
	go func() {
		if text := l.answer(); answer != nil {
			answer(rooms.Value{Data: []byte(text)})
		}
	}()
}

// add puts another server on the bus.
func (b *bus) add(h rooms.Host) {
	s := b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.host = h
}

// What other servers answer may be anything.
func TestHistoryOfLiars(t *testing.T) {
	say := func(v any) string {
		text, _ := json.Marshal(v)
		b, _ := json.Marshal(string(text))
		return string(b)
	}
	one := func(text string, more ...string) string {
		return fmt.Sprintf(`{"rooms":[{"room":"r","stale":0,"events":[{"age":1,"text":%q%s}]}]}`, text, strings.Join(more, ""))
	}
	str := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for name, answer := range map[string]string{
		"nothing":             ``,
		"null":                `null`,
		"a number":            `7`,
		"no JSON within":      `"{"`,
		"a list":              say([]int{1}),
		"another room":        str(`{"rooms":[{"room":"q","events":[{"text":"[\"x\"]"}]}]}`),
		"two rooms":           str(`{"rooms":[{"room":"r"},{"room":"r"}]}`),
		"no event":            str(one(`{}`)),
		"no name":             str(one(`[]`)),
		"a reserved name":     str(one(`["disconnect"]`)),
		"a namespace":         str(one(`/x,["e"]`)),
		"an id":               str(one(`1["e"]`)),
		"text behind it":      str(one(`["e"] 1`)),
		"an open placeholder": str(one(`["e",{"_placeholder":true,"num":1}]`, `,"bin":["YQ=="]`)),
		"more than are kept":  str(`{"rooms":[{"room":"r","events":[` + strings.Repeat(`{"text":"[\"x\"]"},`, 5) + `{"text":"[\"x\"]"}]}]}`),
		"too deep":            str(one("[" + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "]")),
		"from the future":     str(`{"rooms":[{"room":"r","stale":-1,"events":[]}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			p := &bus{}
			var joined chan sio.Socket
			var ns *sio.Namespace
			stop := p.stop()
			srv := serve(t, sio.Options{Adapter: stop}, func(srv *sio.Server) {
				ns = srv.Of("/")
				joined = sockets(ns)
				ns.KeepHistory(sio.History{Size: 5})
			})
			p.add(&liar{Host: stop.host, node: "liar", answer: func() string { return answer }})
			p.add(&liar{Host: stop.host, node: "honest", answer: func() string { return str(one(`["e"]`, `,"except":["nobody"]`)) }})
			c := srv.dial()
			c.send("40")
			c.next()
			s := take(t, joined)
			must(t, s.JoinReplayWait(context.Background(), []string{"r"}, 9))
			must(t, s.Emit("end"))
			c.expect(`42["e"]`, `42["end"]`)
		})
	}
}
