//go:build interop

package interop

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A standing is a kind of cluster of which parts fail, and what it stands.
type standing struct {
	kind  string // the name of one of kinds
	alone bool   // servers of Node serve their own clients without Redis too
	keeps bool   // Redis keeps what it was given until all have read it
}

var standings = []standing{
	{kind: "classic", alone: true},
	{kind: "sharded, dynamic"},
	{kind: "streams", keeps: true},
}

// A failing is a cluster of which parts fail: two servers of Node, one of ours
// here and one in another process, with a client each that comes back.
type failing struct {
	*cluster
	standing
	redis          *redisServer
	n0, n1, g0, g1 *peer
	here           *ours                   // g0
	again          map[string]func() *peer // start n1 and g1 where they were
}

func newFailing(t *testing.T, s standing) *failing {
	f := &failing{cluster: &cluster{t: t}, standing: s}
	if s.keeps {
		f.redis = startRedis(t, "--appendonly", "yes", "--appendfsync", "no")
	} else {
		f.redis = startRedis(t)
	}
	f.browser = startClients(t)
	k, prefix := kindOf(s.kind), "failing"
	o := k.node
	o.Redis, o.Prefix, o.Name = f.redis.addr, prefix, "n0"
	f.n0 = node(t, o)
	// Who comes back later is to be found where it was.
	_, port, _ := net.SplitHostPort(freeAddr(t))
	o.Name = "n1"
	o.Port, _ = strconv.Atoi(port)
	const timeout = 2 * time.Second
	ours := k.options("g1", f.redis.addr, freeAddr(t), prefix, timeout)
	f.again = map[string]func() *peer{
		"n1": func() *peer { return node(t, o) },
		"g1": func() *peer { return k.process(t, ours) },
	}
	f.n1, f.g1 = f.again["n1"](), f.again["g1"]()
	f.g0, f.here = ourServer(t, k.options("g0", f.redis.addr, "", prefix, timeout))
	f.servers = []*peer{f.n0, f.n1, f.g0, f.g1}
	allReady(append(f.servers, f.browser)...)
	for _, s := range f.servers {
		f.enter(t, command{Name: s.name, NS: "/", URL: s.url, Again: true}, s, "all")
	}
	f.complete(t)
	return f
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
	for _, c := range f.clients { // its id may be another one now, and in no room
		eventually(t, c.name+" being connected", func() bool {
			var id string
			f.browser.do(t, command{Op: "id", Name: c.name}, &id)
			c.id = id
			return id != "" && c.home.try(command{Op: "put", NS: "/", SID: id, Names: c.rooms}, nil) == nil
		})
	}
	f.settle(t)
	eventually(t, "all being there", func() bool {
		all, err := f.ask(patience)
		for _, s := range f.status(t) {
			if !s.Up || len(s.Peers) != 1 {
				return false
			}
		}
		return err == nil && len(all) == len(f.clients)
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

// status returns how servers of ours say that they are, by name.
func (f *failing) status(t *testing.T) map[string]rooms.Status {
	t.Helper()
	all := map[string]rooms.Status{}
	for _, p := range []*peer{f.g0, f.g1} {
		var s rooms.Status
		p.do(t, command{Op: "status"}, &s)
		all[p.name] = s
	}
	return all
}

// counted says that of the messages of servers none is missing but those that
// they have counted as lost since before; servers of Node count none.
func (f *failing) counted(t *testing.T, before map[string]rooms.Status, names ...string) allowance {
	return func(from, _ string) int {
		if !slices.Contains(names, from) {
			return some
		}
		return int(f.status(t)[from].Lost - before[from].Lost)
	}
}

func TestClusterFailures(t *testing.T) {
	t.Parallel()
	for _, s := range standings {
		t.Run(s.kind, func(t *testing.T) {
			t.Parallel()
			newFailing(t, s).test(t)
		})
	}
}

// test has one part fail after the other. Each begins with what the one before
// has left whole.
func (f *failing) test(t *testing.T) {
	type step struct {
		name string
		run  func(t *testing.T)
	}
	steps := []step{
		{"a server of Node hangs", f.testNodeHangs},
		{"a server of ours hangs", f.testOursHangs},
		{"a server of Node is killed", f.testNodeIsKilled},
		{"a server of ours is killed", f.testOursIsKilled},
		{"Redis hangs", f.testRedisHangs},
		{"Redis is killed and started again", f.testRedisForgets},
	}
	if f.keeps {
		steps = append(steps, step{"Redis is killed and started again with what it had", f.testRedisRemembers},
			step{"Redis is started again while a server of ours hangs", f.testReaderIsLate})
	}
	for _, test := range steps {
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
	before := f.status(t)
	k := f.talk(t)
	f.g1.stop()
	all, err := f.ask(patience)
	partial(t, all, err, 3, []string{"g1"}, 0, nil)
	k.flows(t, f.n0, f.n1, f.g0)
	f.g1.resume()
	whole := []allowance{among("n0", "n1", "g0"), atHome("g1")}
	if f.keeps {
		whole = append(whole, f.counted(t, before, "n0", "n1", "g0", "g1"))
	}
	k.hush(t, whole...)
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
	f.returns(t, k, &f.n1)
}

func (f *failing) testOursIsKilled(t *testing.T) {
	k := f.talk(t)
	f.g1.stop()
	answered := f.asking(t)
	f.g1.kill()
	all, err := answered()
	partial(t, all, err, 3, []string{"g1"}, 0, nil)
	k.flows(t, f.n0, f.n1, f.g0)
	f.returns(t, k, &f.g1)
}

// returns ends a talk during which a server was killed, and has another process
// take its place.
func (f *failing) returns(t *testing.T, k *talk, who **peer) {
	t.Helper()
	old := *who
	again := f.again[old.name]()
	again.ready()
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

// A Redis that hangs keeps what it keeps: servers of Node wait for it.
func (f *failing) testRedisHangs(t *testing.T) {
	f.withoutRedis(t, f.redis.stop, f.redis.resume, "n0", "n1", "g0", "g1")
}

// What nobody had read may be missing, although it was sent.
func (f *failing) testRedisForgets(t *testing.T) {
	f.withoutRedis(t, func() { f.redis.kill(); f.redis.forget() }, f.redis.start)
}

// Servers of Node may lose what was on its way, and do not count it.
func (f *failing) testRedisRemembers(t *testing.T) {
	f.withoutRedis(t, f.redis.kill, f.redis.start, "g0", "g1")
}

// A server reads what another Redis was given, that has left it to this one.
func (f *failing) testReaderIsLate(t *testing.T) {
	before := f.status(t)
	k := f.talk(t)
	f.g1.stop()
	k.flows(t, f.n0, f.n1, f.g0)
	f.redis.kill()
	f.redis.start()
	f.g1.resume()
	k.hush(t, atHome("n0", "n1", "g0", "g1"), f.counted(t, before, "g0", "g1"))
	f.complete(t)
}

// withoutRedis has Redis fail while all talk: servers serve their own clients as
// before, and find each other again. What our servers had to say was sent or is
// counted as lost; if Redis keeps it, nobody misses any other of those that are
// counted.
func (f *failing) withoutRedis(t *testing.T, fail, restore func(), counted ...string) {
	t.Helper()
	before := f.status(t)
	k := f.talk(t)
	fail()
	serving := []*peer{f.g0, f.g1}
	if f.alone {
		serving = f.servers
	}
	k.flows(t, serving...)
	eventually(t, "noticing", func() bool {
		for name, s := range f.status(t) {
			if s.Up || s.Reconnects == before[name].Reconnects || s.Lost == before[name].Lost && s.Waiting == 0 {
				return false
			}
		}
		return true
	})
	k.flows(t, serving...)
	for name, s := range f.status(t) {
		if s.Up || s.Reason == "" {
			t.Errorf("Status of %s = %+v, want it down, and a reason", name, s)
		}
	}
	if _, err := f.ask(100 * time.Millisecond); err == nil {
		t.Errorf("FetchSockets without Redis = nil error, want that the others are missing")
	}
	restore()
	whole := []allowance{atHome("n0", "n1", "g0", "g1")}
	if f.keeps {
		whole = append(whole, f.counted(t, before, counted...))
	}
	k.hush(t, whole...)
	f.complete(t)
	for name, s := range f.status(t) {
		b := before[name]
		if n := s.Sent + s.Lost - b.Sent - b.Lost; n < int64(k.sent[name]) {
			t.Errorf("%d messages of %s were sent or lost, want all of %d", n, name, k.sent[name])
		}
	}
}
