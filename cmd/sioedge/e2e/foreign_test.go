//go:build interop

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
)

const nodeKey = "0123456789abcdefghijklmn"

// A nodeServer is a server of Node in the same cluster, which does commands.
type nodeServer struct {
	t   *testing.T
	url string
	in  io.Writer
	out *bufio.Scanner
}

// startNode starts one with an adapter, and ends it with the test.
func startNode(t *testing.T, redis, kind string) *nodeServer {
	t.Helper()
	o, _ := json.Marshal(map[string]any{"kind": kind, "name": "n", "redis": redis, "prefix": "socket.io", "mode": "dynamic"})
	cmd := exec.Command("node", "server.mjs", string(o))
	cmd.Dir, cmd.Stderr = "../../../rooms/redis/interop", os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	n := &nodeServer{t: t, in: in, out: bufio.NewScanner(out)}
	n.answer(&n.url)
	return n
}

// do has it do a command.
func (n *nodeServer) do(dst any, command map[string]any) {
	n.t.Helper()
	b, _ := json.Marshal(command)
	if _, err := n.in.Write(append(b, '\n')); err != nil {
		n.t.Fatal(err)
	}
	n.answer(dst)
}

func (n *nodeServer) answer(dst any) {
	n.t.Helper()
	var x struct {
		OK    json.RawMessage
		Error string
	}
	if !n.out.Scan() || json.Unmarshal(n.out.Bytes(), &x) != nil || x.Error != "" {
		n.t.Fatalf("the server of Node says %s", n.out.Bytes())
	}
	if dst != nil {
		if err := json.Unmarshal(x.OK, dst); err != nil {
			n.t.Fatal(err)
		}
	}
}

// join connects a client to a server, as somebody, and returns its id.
func join(t *testing.T, url, auth string) (c *bustest.Poller, id string) {
	t.Helper()
	c = bustest.Poll(t, url)
	c.Send("40" + auth)
	var x struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.Await("40{"), "40")), &x); err != nil {
		t.Fatal(err)
	}
	return c, x.SID
}

// says asks the API of a server.
func (e *edge) says(dst any, method, path, body string) {
	e.t.Helper()
	r, err := http.NewRequest(method, "http://"+e.api+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", nodeKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusOK {
		err = json.Unmarshal(b, dst)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		e.t.Fatalf("%s %s %s is answered %d %s, %v", method, path, body, res.StatusCode, b, err)
	}
}

// unnamed stands for servers that did not answer and are not known by name.
const unnamed = "one without a name"

// sids are all that a query has, in pages, in order; and who was silent.
func (e *edge) sids(query string, limit int) (ids, silent []string) {
	e.t.Helper()
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		var page wire.Sockets
		e.says(&page, "POST", "/api/sockets/query", fmt.Sprintf(`{%s"limit":%d,"cursor":%q}`, query, limit, cursor))
		for _, s := range page.Sockets {
			ids = append(ids, s.SID)
		}
		if page.Partial != nil {
			if silent = append(silent, page.Partial.Missing...); page.Partial.Unnamed > 0 {
				silent = append(silent, unnamed)
			}
		}
		if cursor = page.Cursor; n > 50 {
			e.t.Fatal("there is no last page")
		}
	}
	slices.Sort(ids)
	slices.Sort(silent)
	return ids, slices.Compact(silent)
}

// withAPI starts servers of a cluster, with the API.
func withAPI(t *testing.T, scheme string, n int) (all []*edge, redis string) {
	t.Helper()
	redis = startRedis(t)
	for range n {
		all = append(all, start(t, write(t, "loops: 1\n"), "--adapter", scheme+"://"+redis, "--internal-listen", "127.0.0.1:0", "--api-key", nodeKey))
	}
	for _, e := range all {
		eventually(t, "the servers know each other", func() bool {
			var x wire.Nodes
			e.says(&x, "GET", "/api/nodes", "")
			return len(x.Nodes) == n
		})
	}
	return all, redis
}

// Sockets of a server of Node in the same cluster are listed and found, once, and filters
// are judged by what it tells; what is done to them is done by their ids.
func TestSocketsOfNode(t *testing.T) {
	for scheme, kind := range map[string]string{"redis": "classic", "redis+sharded": "sharded", "redis+streams": "streams"} {
		t.Run(kind, func(t *testing.T) {
			all, redis := withAPI(t, scheme, 2)
			n := startNode(t, redis, kind)
			a := all[0]
			ids := map[string]string{}
			var clients []*bustest.Poller
			for i, url := range []string{all[0].url, all[1].url, n.url, n.url, n.url} {
				auth := fmt.Sprintf(`{"name":"c%d","data":{"user":"u%d","plan":%q}}`, i, i, []string{"pro", "free"}[i%2])
				c, id := join(t, url, auth)
				ids[fmt.Sprint(i)], clients = id, append(clients, c)
				if url == n.url {
					n.do(nil, map[string]any{"op": "put", "ns": "/", "sid": id, "names": []string{"r", fmt.Sprint("r", i)}})
				}
			}
			has := func(query, who string) {
				t.Helper()
				var want []string
				for _, i := range strings.Fields(who) {
					want = append(want, ids[i])
				}
				slices.Sort(want)
				for _, limit := range []int{1, 2, 5, 100} {
					if got, silent := a.sids(query, limit); !slices.Equal(got, want) || silent != nil {
						t.Errorf("%s in pages of %d: %q, %q silent, want %q", query, limit, got, silent, want)
					}
				}
			}
			has(``, "0 1 2 3 4")
			has(`"in":["r"],`, "2 3 4")
			has(`"in":["r2","r3"],"except":["r3"],`, "2")
			has(`"user":"u3",`, "3")
			has(`"where":{"data.plan":"pro"},`, "2 4")
			has(`"ip":"10.0.0.0/8",`, "")
			has(`"ip":"127.0.0.0/8","in":["r3"],`, "3")
			var d wire.SocketDetail
			a.says(&d, "GET", "/api/sockets/"+ids["3"], "")
			if d.SID != ids["3"] || d.Node != "" || d.Nsp != "/" || d.User != "u3" || d.Handshake.Address != "127.0.0.1" || d.Handshake.Query["transport"] != "polling" || len(d.Rooms) != 2 {
				t.Errorf("a socket of Node is %+v, %+v", d, d.Handshake)
			}
			var x wire.Changed
			change := func(path, body string, want wire.Changed) {
				t.Helper()
				x = wire.Changed{}
				if a.says(&x, "POST", "/api/sockets/"+path, body); x != want {
					t.Errorf("%s %s: %+v, want %+v", path, body, x, want)
				}
			}
			change("join", `{"where":{"data.plan":"pro"},"rooms":["pros"]}`, wire.Changed{Sockets: 2})
			eventually(t, "they have joined", func() bool { got, _ := a.sids(`"in":["pros"],`, 10); return len(got) == 2 })
			has(`"in":["pros"],`, "2 4")
			change("leave", `{"user":"u4","rooms":["pros"]}`, wire.Changed{Sockets: 1})
			eventually(t, "it has left", func() bool { got, _ := a.sids(`"in":["pros"],`, 10); return len(got) == 1 })
			change("data", `{"in":["r"],"set":{"a":1}}`, wire.Changed{LeftOut: 3})
			change("disconnect", `{"in":["r2"],"close":true,"code":4403}`, wire.Changed{LeftOut: 1})
			has(`"in":["r"],`, "2 3 4")
			change("disconnect", `{"user":"u3"}`, wire.Changed{Sockets: 1})
			clients[3].Await("41")
			eventually(t, "it has gone", func() bool { got, _ := a.sids(`"in":["r"],`, 10); return len(got) == 2 })
			has(``, "0 1 2 4")
		})
	}
}

// A server that is there and does not answer is named; pages have the sockets of the
// others, and it is not waited for again and again.
func TestASilentServer(t *testing.T) {
	all, redis := withAPI(t, "redis", 3)
	n := startNode(t, redis, "classic")
	var want []string
	for _, url := range []string{all[0].url, all[0].url, all[1].url, all[1].url, n.url, n.url} {
		_, id := join(t, url, "")
		want = append(want, id)
	}
	_, lost := join(t, all[2].url, "")
	slices.Sort(want)
	var nodes wire.Nodes
	all[2].says(&nodes, "GET", "/api/nodes", "")
	node := nodes.Nodes[0].Node
	all[2].signal(syscall.SIGSTOP)
	stopped := true
	t.Cleanup(func() {
		if stopped {
			all[2].signal(syscall.SIGCONT)
		}
	})
	for i, limit := range []int{1, 2, 100} {
		begun := time.Now()
		got, silent := all[0].sids(``, limit)
		// Later its heartbeats are missed, and it has no name any more.
		if !slices.Equal(got, want) || !slices.Equal(silent, []string{node}) && (i == 0 || len(silent) == 0) {
			t.Errorf("in pages of %d: %q, want %q; %q are silent, want %q", limit, got, want, silent, node)
		}
		t.Logf("pages of %d took %v", limit, time.Since(begun))
	}
	var x wire.Changed
	if all[0].says(&x, "POST", "/api/sockets/join", `{"ip":"127.0.0.1","rooms":["all"]}`); x.Sockets != len(want) || x.Partial == nil {
		t.Errorf("joining a room is done to %+v, want %d, and one to be missing", x, len(want))
	}
	all[2].signal(syscall.SIGCONT)
	stopped = false
	want = append(want, lost)
	slices.Sort(want)
	eventually(t, "it answers again", func() bool {
		got, silent := all[0].sids(``, 3)
		return slices.Equal(got, want) && silent == nil
	})
}
