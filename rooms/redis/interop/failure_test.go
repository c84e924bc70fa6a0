//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// A failing is a classic cluster of which parts fail: two servers of Node, one
// of ours here and one in another process, with a client each that comes back.
type failing struct {
	*cluster
	redis          *redisServer
	n0, n1, g0, g1 *peer
	here           *ours // g0
	node           nodeOptions
	process        ourOptions
}

func newFailing(t *testing.T) *failing {
	f := &failing{cluster: &cluster{t: t}, redis: startRedis(t)}
	f.browser = startClients(t)
	f.node = nodeOptions{Kind: "classic", Redis: f.redis.addr, Prefix: "failing", Name: "n0"}
	f.n0 = node(t, f.node)
	// Who comes back later is to be found where it was.
	_, port, _ := net.SplitHostPort(freeAddr(t))
	f.node.Name = "n1"
	f.node.Port, _ = strconv.Atoi(port)
	f.n1 = node(t, f.node)
	o := ourOptions{Name: "g0", Redis: f.redis.addr, Options: redis.Options{Prefix: "failing", Timeout: 2 * time.Second}}
	f.g0, f.here = ourServer(t, o)
	o.Name, o.Addr = "g1", freeAddr(t)
	f.process = o
	f.g1 = ourProcess(t, o)
	f.servers = []*peer{f.n0, f.n1, f.g0, f.g1}
	allReady(append(f.servers, f.browser)...)
	for _, s := range f.servers {
		f.enter(t, command{Name: s.name, NS: "/", URL: s.url, Again: true}, s)
	}
	f.settle(t)
	return f
}

// A talk is servers that emit all the time.
type talk struct {
	cl    *cluster
	ended chan struct{}
	wg    sync.WaitGroup
	sent  map[string]int
	notes map[string][]string
}

// talk has the servers emit until hush. A server that has been killed does it in
// vain.
func (cl *cluster) talk(t *testing.T) *talk {
	k := &talk{cl: cl, ended: make(chan struct{}), sent: map[string]int{}, notes: map[string][]string{}}
	var mu sync.Mutex
	for _, s := range cl.servers {
		k.wg.Add(1)
		// ends at hush
		go func() {
			defer k.wg.Done()
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-k.ended:
					mu.Lock()
					k.sent[s.name] = i
					mu.Unlock()
					return
				case <-ticker.C:
					s.send(command{Op: "emit", NS: "/", Event: "tick", Args: []any{s.name, i}})
				}
			}
		}()
	}
	k.flows(t, cl.servers...)
	return k
}

// flows waits until the clients of servers go on receiving what these emit.
func (k *talk) flows(t *testing.T, servers ...*peer) {
	t.Helper()
	for _, s := range servers {
		tally := func() (n int) {
			k.cl.browser.do(t, command{Op: "tally", Name: s.name, Args: []any{"tick", s.name}}, &n)
			return n
		}
		const more = 10
		before := tally()
		eventually(t, "local delivery at "+s.name, func() bool { return tally() >= before+more })
	}
}

// hush ends the talk, waits until messages cross in all directions, and checks
// that nobody received anything twice or in another order, and that complete
// pairs of servers miss nothing.
func (k *talk) hush(t *testing.T, complete func(from, to string) bool) {
	t.Helper()
	close(k.ended)
	k.wg.Wait()
	for _, s := range k.cl.servers {
		eventually(t, "what "+s.name+" emits reaching everybody", func() bool {
			noted, late := k.cl.fence(t, s, 500)
			for name, list := range noted {
				k.notes[name] = append(k.notes[name], list...)
			}
			return len(late) == 0
		})
	}
	for name, list := range k.notes {
		next := map[string]int{}
		for _, text := range list {
			var entry [3]any
			if err := json.Unmarshal([]byte(text), &entry); err != nil || entry[0] != "tick" {
				continue // it was disconnected, or has connected
			}
			from, i := entry[1].(string), int(entry[2].(float64))
			switch {
			case i < next[from]:
				t.Errorf("%s received %d of %s again, or late", name, i, from)
			case i > next[from] && complete(from, name):
				t.Errorf("%s received %d of %s, want %d first", name, i, from, next[from])
			}
			next[from] = i + 1
		}
		for from, n := range k.sent {
			if next[from] != n && complete(from, name) {
				t.Errorf("%s received %d of %s, want %d", name, next[from], from, n)
			}
		}
	}
}

// among says that messages between these servers are complete, and to their own
// clients always.
func among(names ...string) func(from, to string) bool {
	return func(from, to string) bool {
		return slices.Contains(names, from) && slices.Contains(names, to)
	}
}

// atHome says that messages to servers' own clients are complete.
func atHome(names ...string) func(from, to string) bool {
	return func(from, to string) bool { return from == to && slices.Contains(names, from) }
}

// ask has g0 fetch the sockets, within a time.
func (f *failing) ask(d time.Duration) ([]sio.RemoteSocket, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f.here.srv.Of("/").All().FetchSockets(ctx)
}

// asking is ask on a goroutine; it returns when the others have been asked.
func (f *failing) asking(t *testing.T) func() ([]sio.RemoteSocket, error) {
	t.Helper()
	before := f.here.srv.Cluster().Requests
	var got []sio.RemoteSocket
	var err error
	done := make(chan struct{})
	// ends when the others have answered, or patience does
	go func() {
		got, err = f.ask(patience)
		close(done)
	}()
	eventually(t, "asking", func() bool { return f.here.srv.Cluster().Requests > before })
	return func() ([]sio.RemoteSocket, error) {
		<-done
		return got, err
	}
}

// complete waits until all are there again, for g0 and in all directions.
func (f *failing) complete(t *testing.T) {
	t.Helper()
	for _, c := range f.clients { // its id may be another one now
		eventually(t, c.name+" being connected", func() bool {
			var id string
			f.browser.do(t, command{Op: "id", Name: c.name}, &id)
			c.id = id
			return id != ""
		})
	}
	f.settle(t)
	eventually(t, "all being there", func() bool {
		all, err := f.ask(patience)
		s := f.here.srv.Cluster()
		return err == nil && len(all) == len(f.clients) && s.Up && len(s.Peers) == 1
	})
}

// partial checks the result of a request that some did not answer.
func partial(t *testing.T, all []sio.RemoteSocket, err error, sockets int, missing []string, unnamed int, cause error) {
	t.Helper()
	var e *rooms.IncompleteError
	if !errors.As(err, &e) || len(all) != sockets || !slices.Equal(e.Missing, missing) || e.Unnamed != unnamed || !errors.Is(e.Cause, cause) {
		t.Errorf("FetchSockets = %d sockets, %#v, want %d, and %q and %d others missing because of %v", len(all), err, sockets, missing, unnamed, cause)
	}
}

func TestClusterFailures(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	// Each begins with what the one before has left whole.
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a server of Node hangs", f.testNodeHangs},
		{"a server of ours hangs", f.testOursHangs},
		{"a server of Node is killed", f.testNodeIsKilled},
		{"a server of ours is killed", f.testOursIsKilled},
		{"Redis hangs", func(t *testing.T) { f.withoutRedis(t, f.redis.stop, f.redis.resume) }},
		{"Redis is killed and started again", func(t *testing.T) { f.withoutRedis(t, f.redis.kill, f.redis.start) }},
	} {
		if !t.Run(test.name, test.run) {
			return
		}
	}
}

func (f *failing) testNodeHangs(t *testing.T) {
	k := f.talk(t)
	f.n1.stop()
	all, err := f.ask(2 * time.Second)
	partial(t, all, err, 3, nil, 1, context.DeadlineExceeded)
	k.flows(t, f.n0, f.g0, f.g1)
	f.n1.resume()
	k.hush(t, among("n0", "n1", "g0", "g1")) // what waited for it is there
	f.complete(t)
}

func (f *failing) testOursHangs(t *testing.T) {
	k := f.talk(t)
	f.g1.stop()
	all, err := f.ask(patience)
	partial(t, all, err, 3, []string{"g1"}, 0, nil)
	k.flows(t, f.n0, f.n1, f.g0)
	f.g1.resume()
	k.hush(t, func(from, to string) bool { return among("n0", "n1", "g0")(from, to) || atHome("g1")(from, to) })
	f.complete(t)
}

func (f *failing) testNodeIsKilled(t *testing.T) {
	k := f.talk(t)
	f.n1.stop()
	answered := f.asking(t)
	f.n1.kill()
	all, err := answered()
	partial(t, all, err, 3, nil, 1, nil)
	k.flows(t, f.n0, f.g0, f.g1)
	f.returns(t, k, &f.n1, node(f.t, f.node))
}

func (f *failing) testOursIsKilled(t *testing.T) {
	k := f.talk(t)
	f.g1.stop()
	answered := f.asking(t)
	f.g1.kill()
	all, err := answered()
	partial(t, all, err, 3, []string{"g1"}, 0, nil)
	k.flows(t, f.n0, f.n1, f.g0)
	f.returns(t, k, &f.g1, ourProcess(f.t, f.process))
}

// returns ends a talk during which a server was killed, which is there again as
// another process.
func (f *failing) returns(t *testing.T, k *talk, who **peer, again *peer) {
	t.Helper()
	again.ready()
	old := *who
	*who = again
	f.servers[slices.Index(f.servers, old)] = again
	for _, c := range f.clients {
		if c.home == old {
			c.home = again
		}
	}
	rest := []string{"n0", "n1", "g0", "g1"}
	k.hush(t, among(slices.DeleteFunc(rest, func(name string) bool { return name == old.name })...))
	f.complete(t)
}

// withoutRedis has Redis fail while all talk: servers serve their own clients as
// before, and find each other again. What our server had to say was sent or is
// counted as lost.
func (f *failing) withoutRedis(t *testing.T, fail, restore func()) {
	t.Helper()
	before := f.here.srv.Cluster()
	k := f.talk(t)
	fail()
	k.flows(t, f.servers...)
	eventually(t, "noticing", func() bool { return !f.here.srv.Cluster().Up })
	k.flows(t, f.servers...)
	if s := f.here.srv.Cluster(); s.Reason == "" {
		t.Errorf("Status = %+v, want a reason why it is down", s)
	}
	if _, err := f.ask(100 * time.Millisecond); err == nil {
		t.Errorf("FetchSockets without Redis = nil error, want that the others are missing")
	}
	restore()
	k.hush(t, atHome("n0", "n1", "g0", "g1"))
	f.complete(t)
	after := f.here.srv.Cluster()
	if n := after.Sent + after.Lost - before.Sent - before.Lost; n < int64(k.sent["g0"]) {
		t.Errorf("%d messages were sent or lost, want all of %d", n, k.sent["g0"])
	}
	if after.Reconnects == before.Reconnects {
		t.Errorf("Status().Reconnects = %d as before", after.Reconnects)
	}
}
