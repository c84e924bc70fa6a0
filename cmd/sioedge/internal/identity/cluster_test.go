package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

var _ Keeper = rooms.Keeper(nil)

// A node is a server of a cluster, with what a test needs of it.
type node struct {
	*Authority
	srv  *sio.Server
	link *peerlink.Link
	stop func()
}

// startNode starts a server that has an adapter.
func startNode(t *testing.T, adapter rooms.Adapter, o Options) *node {
	t.Helper()
	srv, err := sio.New(sio.Options{Adapter: adapter, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	o.Cluster = true
	n := &node{Authority: authority(t, withGrace(0), o), srv: srv, link: peerlink.New(srv, nil)}
	n.Register(srv)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// ends with the test, or with stop
	go func() { done <- srv.Serve(ctx) }()
	n.stop = sync.OnceFunc(func() {
		_ = n.Close(context.Background())
		cancel()
		<-done
	})
	t.Cleanup(n.stop)
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// knows tells whether a token of a user is revoked at a server.
func (n *node) knows(user string) bool {
	return n.revoked.has(&Identity{User: user, issued: time.Now().Unix() - 10, grants: noGrants}, time.Now())
}

func TestRevocationsReachAllServers(t *testing.T) {
	bus := bustest.New()
	cut := bus.Adapter()
	a, b := startNode(t, bus.Adapter(), Options{}), startNode(t, cut, Options{})
	if err := a.Revoke(t.Context(), Revocation{User: "u1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other's revocation", func() bool { return b.knows("u1") })
	// Who comes later asks: for more than is said at one time.
	for i := range 2*page + 10 {
		b.revoked.add(must(Revocation{JTI: fmt.Sprintf("t%04d", i)}.checked(time.Now(), time.Hour)), time.Now())
	}
	late := startNode(t, bus.Adapter(), Options{})
	eventually(t, "all that was revoked before", func() bool { return late.Stats().Revocations == 2*page+11 && late.knows("u1") })
	// And who was cut off asks again.
	cut.Cut(true)
	if err := a.Revoke(t.Context(), Revocation{User: "u2"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third's revocation", func() bool { return late.knows("u2") })
	if b.knows("u2") {
		t.Fatal("who is cut off knows it")
	}
	cut.Cut(false)
	if err := b.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !b.knows("u2") {
		t.Error("who was cut off does not know it")
	}
}

// What other servers say is looked at.
func TestHostileServers(t *testing.T) {
	bus := bustest.New()
	a, b := startNode(t, bus.Adapter(), Options{}), startNode(t, bus.Adapter(), Options{})
	many := make([]Revocation, page+1)
	for i := range many {
		many[i].JTI = fmt.Sprint(i)
	}
	far := time.Now().AddDate(100, 0, 0)
	bad := []any{
		"x", 7, nil, set{"user": "u"}, []any{1}, []any{"u"}, []any{set{"user": 7}}, []any{set{"user": "u", "until": "tomorrow"}}, many,
		[]Revocation{{}}, []Revocation{{User: strings.Repeat("u", 300)}}, []Revocation{{User: "a\nb"}}, []Revocation{{JTI: "t", User: "u"}},
		[]Revocation{{User: "u", Until: far}}, []Revocation{{User: "u", Before: far}}, []Revocation{{JTI: strings.Repeat("t", 1000)}},
	}
	for _, body := range bad {
		if err := a.link.Emit(topicRevoke, body); err != nil {
			t.Fatal(err)
		}
	}
	over := Revocation{User: "over", Until: time.Now().Add(-time.Hour)}
	if err := a.link.Emit(topicRevoke, []Revocation{over, {User: "a\nb"}, {User: "good"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is good among it", func() bool { return b.knows("good") })
	if n := b.Stats(); n.Revocations != 1 || n.Peers.Malformed < int64(len(bad)-1) {
		t.Errorf("Stats = %+v", n)
	}
	for _, body := range []any{"x", 7, []int{1}} {
		if answers, _ := a.link.Ask(timed(t, 50*time.Millisecond), topicAsk, body); len(answers) > 0 {
			t.Errorf("%v is answered %s", body, answers)
		}
	}
	// One that answers nonsense does not keep others from being heard.
	for _, answer := range []any{"x", []any{set{"user": 7}}, many, []Revocation{{User: "told"}, {User: "a\nb"}}} {
		a.link.Handle(topicAsk, func(string, json.RawMessage) (any, error) { return answer, nil })
		if err := b.catchUp(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !b.knows("told") {
		t.Error("what it says that is good is not heard")
	}
	auth := withGrace(0)
	auth.MaxRevocations = 3
	if err := b.Reload(auth, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.link.Emit(topicRevoke, many[:page]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "being full", func() bool { return b.Stats().RevocationsFull > 0 })
	if n := b.Stats().Revocations; n > 3 {
		t.Errorf("%d are in force", n)
	}
}

func timed(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A box keeps values in memory.
type box struct {
	mu     sync.Mutex
	values [][]byte
	err    error
}

func (b *box) KeepValue(_ context.Context, set string, value []byte, until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values = append(b.values, value)
	return b.err
}

func (b *box) KeptValues(context.Context, string, int) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.values, b.err
}

func TestHostileKeepers(t *testing.T) {
	k := &box{}
	for _, s := range []string{"", "x", "{}", "[]", `{"user":7}`, `{"user":"a\nb"}`, `{"jti":"` + strings.Repeat("t", 2000) + `"}`, `{"user":"u1"}`} {
		k.values = append(k.values, []byte(s))
	}
	var log said
	bus := bustest.New()
	a := startNode(t, bus.Adapter(), Options{Keeper: k, Logger: log.logger()})
	eventually(t, "what is good among it", func() bool { return a.knows("u1") })
	if !strings.Contains(log.String(), "what is kept is no revocation") {
		t.Errorf("the log says %s", log.String())
	}
	k.mu.Lock()
	k.err = errors.New("the store is away")
	k.mu.Unlock()
	if err := a.Revoke(t.Context(), Revocation{User: "u2"}); !errors.Is(err, k.err) || !a.knows("u2") {
		t.Errorf("Revoke = %v, in force: %t", err, a.knows("u2"))
	}
	if err := a.catchUp(t.Context()); !errors.Is(err, k.err) {
		t.Errorf("catchUp = %v", err)
	}
}

// Revocations are in force again when all servers have been started anew.
func TestRevocationsOutliveAllServers(t *testing.T) {
	addr := redisServer(t)
	start := func() *node {
		x := redis.PubSub(addr, redis.Options{Prefix: "p", Logger: slog.New(slog.DiscardHandler)})
		return startNode(t, x, Options{Keeper: x.(rooms.Keeper)})
	}
	a, b := start(), start()
	eventually(t, "a cluster of two", func() bool { return len(a.srv.Cluster().Peers) == 1 && len(b.srv.Cluster().Peers) == 1 })
	eventually(t, "a revocation there", func() bool {
		if err := a.Revoke(t.Context(), Revocation{User: "u1"}); err != nil {
			t.Fatal(err)
		}
		return b.knows("u1")
	})
	a.stop()
	b.stop()
	c := start()
	eventually(t, "the revocation", func() bool { return c.knows("u1") })
}

// redisServer starts a Redis of the test's own.
func redisServer(t *testing.T) (addr string) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server")
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "redis-server", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}
