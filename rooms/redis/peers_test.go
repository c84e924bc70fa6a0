package redis

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// listen subscribes to where servers are asked, as one of Node does that is not
// going to answer.
func listen(t *testing.T, addr string, c *core, channel string) {
	t.Helper()
	o := Options{Timeout: patience, Logger: slog.New(slog.DiscardHandler)}.withDefaults(addr)
	b := newBroker(&o, func(string, string, []byte) {})
	b.subs.add(c.channel(channel))
	b.run(c.shards)
	t.Cleanup(func() { _ = b.shut(context.Background()) })
	if err := b.subs.await(context.Background(), c.channel(channel)); err != nil {
		t.Fatal(err)
	}
}

// Who does not answer is named only if it was asked: a server without the
// namespace is not missing where one of Node is.
func TestServersThatWereNotAskedAreNotMissing(t *testing.T) {
	addr := server(t)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			prefix := strings.ReplaceAll(kind, " ", "")
			hosts, adapters := join(t, kind, addr, 4, Options{Prefix: prefix})
			for _, a := range adapters[:3] {
				a.Open("/x")
			}
			a := coreOf(adapters[0])
			eventually(t, "hearing who has it", func() bool { return len(a.peers.having("/x")) == 2 })
			channel := wire.BroadcastChannel(prefix, "/x")
			if strings.HasPrefix(kind, "classic") {
				channel = wire.RequestChannel(prefix, "/x")
			}
			listen(t, addr, a, channel)
			eventually(t, "everybody listening", func() bool {
				n, err := a.others(context.Background(), a.channel(channel))
				return err == nil && n == 3 // nod1, nod2, Node's
			})
			hosts[2].hang = make(chan struct{})
			t.Cleanup(func() { close(hosts[2].hang) })
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			members, err := adapters[0].Members(ctx, rooms.Target{Namespace: "/x"})
			var e *rooms.IncompleteError
			if !errors.As(err, &e) || len(members) != 1 || strings.Join(e.Missing, ",") != "nod2" || e.Unnamed != 1 {
				t.Errorf("Members = %v, %#v, want those of nod1, nod2 missing and one without a name", members, err)
			}
		})
	}
}

// Who is asked often who it is answers no more often than some times a second: all
// servers hear each answer, and any client can have one asked, with a forged id.
func TestAnswersToHelloAreBounded(t *testing.T) {
	_, adapters := join(t, "classic", server(t), 2, Options{})
	a, b := coreOf(adapters[0]), coreOf(adapters[1])
	for range 3 { // what the start has to say has been said
		time.Sleep(heartbeatEvery / 2)
	}
	payload, err := json.Marshal(heartbeat{UID: "0", Node: "askr", Hello: true})
	if err != nil {
		t.Fatal(err)
	}
	began, before := time.Now(), b.b.received.Load()
	for time.Since(began) < heartbeatEvery {
		a.receiveHeartbeat(payload)
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * heartbeatGap)
	took := time.Since(began)
	most := int64(2 * (took/heartbeatEvery + took/heartbeatGap + 2)) // of both servers, who hear themselves
	if got := b.b.received.Load() - before; got > most || got < 4 {
		t.Errorf("%d heartbeats in %v, want at most %d", got, took, most)
	}
}

// A heartbeat that is longer than any can be is none: thousands may be remembered.
func TestLongHeartbeats(t *testing.T) {
	for _, a := range offline(t, &fake{node: "node"}) {
		c := coreOf(a)
		long, _ := json.Marshal(heartbeat{UID: "1", Node: "long", Addr: strings.Repeat("x", maxHeartbeat)})
		c.receiveHeartbeat(long)
		most := heartbeat{UID: "2", Node: "most", Namespaces: []string{strings.Repeat("<", maxNames)}}
		fits, _ := json.Marshal(most)
		c.receiveHeartbeat(fits)
		if _, known := c.Peer("long"); known || c.b.malformed.Load() != 1 {
			t.Errorf("%T: a heartbeat of %d bytes was taken for one", a, len(long))
		}
		if _, known := c.Peer("most"); !known {
			t.Errorf("%T: a heartbeat of %d bytes was not taken for one", a, len(fits))
		}
	}
}
