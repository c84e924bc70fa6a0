//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
)

// Ten namespaces with parameters have 10,000 rooms with members at one server.
// What is said in them does not reach the other server, by Redis' own count.
func TestClusterRoomsReachOnlyServersThatHaveThem(t *testing.T) {
	t.Parallel()
	const namespaces, crowd, each = 10, 10, 100 // sockets of a namespace, rooms of a socket
	r := startRedis(t)
	cl := &cluster{t: t, browser: startClients(t)}
	cl.browser.ready()
	for _, name := range []string{"a", "b", "c"} {
		p, _ := ourServer(t, ourOptions{Name: name, Redis: r.addr, Options: redis.Options{}})
		p.ready()
		cl.servers = append(cl.servers, p)
	}
	a, b, c := cl.servers[0], cl.servers[1], cl.servers[2]
	var list []any
	for i := range namespaces {
		list = append(list, fmt.Sprintf("/ns%d/x", i))
	}
	ids := map[string][]string{}
	cl.browser.do(t, command{Op: "crowd", URL: a.url, Names: list, Count: crowd}, &ids)
	for ns, members := range ids {
		for i, id := range members {
			var rooms []any
			for j := range each {
				rooms = append(rooms, fmt.Sprintf("room %d of %d", j, i))
			}
			a.do(t, command{Op: "put", NS: ns, SID: id, Names: rooms}, nil)
			cl.clients = append(cl.clients, &client{name: fmt.Sprintf("%s %d", ns, i), ns: ns, id: id, home: a, rooms: rooms})
		}
		cl.connect(t, b, "b in "+ns, ns, "room of b")
	}
	status := func(p *peer) (s rooms.Status) {
		p.do(t, command{Op: "status"}, &s)
		return s
	}
	eventually(t, "subscribing", func() bool { return status(a).Subscriptions > namespaces*crowd*each && status(b).Up })
	if answer, err := r.ask("PUBSUB NUMPAT"); err != nil || !strings.HasPrefix(answer, ":3\r\n") {
		t.Errorf("PUBSUB NUMPAT = %q, %v, want one pattern a server", answer, err)
	}
	eventually(t, "reaching everybody", func() bool { _, late := cl.fence(t, c, 500); return len(late) == 0 })
	cl.received(t, c)

	const said = 2000
	payload := strings.Repeat("x", 2000)
	bytes, received := r.sentBytes(), status(b).Received
	for i := range said {
		x := cl.clients[i%len(cl.clients)]
		if x.home == b {
			continue
		}
		c.do(t, command{Op: "emit", NS: x.ns, Event: "e", Rooms: []any{x.rooms[i%each]}, Args: []any{payload}}, nil)
	}
	noted := cl.received(t, c)
	bytes, received = r.sentBytes()-bytes, status(b).Received-received
	n := 0
	for _, list := range noted {
		n += len(list)
	}
	if once := int64(n * len(payload)); n < said*8/10 || bytes < once || bytes > once*3/2 {
		t.Errorf("Redis sent %d bytes for %d messages of %d, want them once", bytes, n, len(payload))
	}
	if received > said/10 {
		t.Errorf("the server without these rooms received %d messages, want no more than heartbeats", received)
	}
}
