//go:build interop

package interop

import (
	"net"
	"strconv"
	"strings"
	"testing"
)

// Behind HAProxy two servers of Node are replaced by this one's, one at a time, under
// traffic: who is on a WebSocket loses nothing while it is connected, all the way, and
// when the last of Node has gone all ways to connect work, without stickiness.
func TestDeployMigration(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	port := func(addr string) int {
		_, p, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(p)
		return n
	}
	addrs := []string{freeAddr(t), freeAddr(t)}
	old := make([]*peer, len(addrs))
	for i, addr := range addrs {
		old[i] = node(t, nodeOptions{Kind: "classic", Name: "node", Redis: r.addr, Prefix: "socket.io", Port: port(addr)})
	}
	allReady(old...)
	url := haproxy(t, addrs...)
	tr := newTraffic(t, emitterOf(t, "redis://"+r.addr))
	tr.open(url, "websocket", "old", 6)
	tr.begin()
	tr.pass(50)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for i, addr := range addrs {
		old[i].kill()
		tr.pass(20)
		launch(t, "sioedge", addr, path, "serve", "--demo", "--listen", addr, "--advertise", "http://"+addr, "--adapter", "redis://"+r.addr,
			"--ping-interval", "1s", "--ping-timeout", "1s", "--recovery", "0", "--log-format", "text")
		tr.pass(50)
	}
	for mode := range modes {
		tr.open(url, mode, mode, 4)
	}
	tr.pass(100)
	all := tr.rest()
	summary(t, all)
	for name, a := range all {
		if a.connects > 1 && !strings.HasPrefix(name, "old") {
			t.Errorf("%s, who came when all was done, connected %d times: %s", name, a.connects, a.story())
		}
	}
}
