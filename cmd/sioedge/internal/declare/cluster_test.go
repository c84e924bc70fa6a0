package declare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/sio"
)

// A line is a server's end of a bus, on which what others emit to a room arrives when the
// test says so.
type line struct {
	*bustest.Adapter
	awaited chan string     // a room that is waited for
	arrives chan error      // what Await returns; closed: nil at once
	slow    map[string]bool // by room; the others arrive at once
}

func (l *line) Await(ctx context.Context, _ string, names []string) error {
	if !l.slow[names[0]] {
		return nil
	}
	l.awaited <- names[0]
	select {
	case err := <-l.arrives:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waits returns the room that is waited for.
func (l *line) waits(t *testing.T) string {
	t.Helper()
	select {
	case room := <-l.awaited:
		return room
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is waited for")
		return ""
	}
}

// answers has what is waited for arrive, or fail.
func (l *line) answers(t *testing.T, err error) {
	t.Helper()
	select {
	case l.arrives <- err:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody waits any more")
	}
}

// A node is a server of a cluster in this process.
type node struct {
	*sio.Server
	router *Router
	line   *line
	url    string
}

func startNode(t *testing.T, bus *bustest.Bus, list ...config.Namespace) *node {
	t.Helper()
	n := &node{line: &line{bus.Adapter(), make(chan string), make(chan error), map[string]bool{"trend:42:slow": true}}}
	quiet := slog.New(slog.DiscardHandler)
	a := newAuthority(t, jwtSettings, quiet, true)
	o := sio.Options{Adapter: n.line, Logger: quiet}
	a.Options(&o)
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Server = srv
	a.Register(srv)
	p := presence.New(srv, userOf(a), presence.Options{Cluster: true, Heartbeat: 50 * time.Millisecond, Logger: quiet})
	n.router = New(srv, Parts{Authority: a, Presence: p, Cluster: true, Logger: quiet})
	if err := n.router.Apply(compile(t, list...)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// ends with the test
	go func() { done <- srv.Serve(ctx) }()
	web := httptest.NewServer(srv)
	n.url = web.URL
	t.Cleanup(sync.OnceFunc(func() {
		p.Close(ctx)
		cancel()
		<-done
		_ = a.Close(context.Background())
		web.CloseClientConnections()
		web.Close()
	}))
	return n
}

func userOf(a *identity.Authority) func(s sio.Socket) string {
	return func(s sio.Socket) string {
		if id := a.Of(s); id != nil {
			return id.User
		}
		return ""
	}
}

// A poller is a client in one namespace.
type poller struct {
	*bustest.Poller
	t         *testing.T
	namespace string
}

// ask returns a client that has asked for a namespace.
func (n *node) ask(t *testing.T, namespace, token string) *poller {
	t.Helper()
	c := &poller{bustest.Poll(t, n.url), t, namespace}
	c.Send(fmt.Sprintf(`40%s,{"token":%q}`, namespace, token))
	return c
}

// dial returns a client that is in a namespace.
func (n *node) dial(t *testing.T, namespace, token string) *poller {
	t.Helper()
	c := n.ask(t, namespace, token)
	c.Await(`40` + namespace + `,`)
	return c
}

// emit sends events, in one payload.
func (c *poller) emit(events ...string) {
	c.t.Helper()
	var b []string
	for _, e := range events {
		id := e[:strings.IndexByte(e, '[')]
		b = append(b, "42"+c.namespace+","+id+e[len(id):])
	}
	c.Send(strings.Join(b, "\x1e"))
}

// hears waits for an event.
func (c *poller) hears(event string) { c.t.Helper(); c.Await("42" + c.namespace + "," + event) }

// answered waits for an answer.
func (c *poller) answered(id int, want string) {
	c.t.Helper()
	prefix := fmt.Sprintf("43%s,%d", c.namespace, id)
	if got := c.Await(prefix)[len(prefix):]; got != "["+want+"]" {
		c.t.Errorf("answer %d: %s, want [%s]", id, got, want)
	}
}

// What users asked for in vain: subscribe to /campaigns/42/trends with a permission, and
// see who else is there, over several servers.
func TestOverServers(t *testing.T) {
	d := trends
	d.Presence = config.Presence{Enabled: true}
	d.Limits = config.NamespaceLimits{}
	bus := bustest.New()
	var n [3]*node
	for i := range n {
		n[i] = startNode(t, bus, d)
	}
	may := claimed{"scope": "campaign:42:read"}
	ann := n[0].dial(t, campaign, token(time.Now(), "ann", may))
	ann.emit(`1["subscribe","trend:42:eur"]`)
	ann.answered(1, `{"ok":true,"room":"trend:42:eur"}`)

	// A backend publishes on another server, where nobody is, and on one where somebody is.
	ns := func(i int) *sio.Namespace { return n[i].Of("/campaigns/:id/trends") }
	if err := ns(2).Instance(campaign).To("trend:42:eur").Emit("trend", 1); err != nil {
		t.Fatal(err)
	}
	ann.hears(`["trend",1]`)
	bob := n[1].dial(t, campaign, token(time.Now(), "bob", may))
	if err := ns(1).Instance(campaign).To("trend:42:eur").Emit("trend", 2); err != nil {
		t.Fatal(err)
	}
	ann.hears(`["trend",2]`)

	// Who is there, in a room that both are in, on two servers.
	ann.hears(`["presence:join",{"room":"campaign:42","user":"bob"}]`)
	bob.emit(`2["subscribe","trend:42:eur"]`)
	ann.hears(`["presence:join",{"room":"trend:42:eur","user":"bob"}]`)
	bob.answered(2, `{"ok":true,"room":"trend:42:eur"}`)
	bob.emit(`3["presence:get","trend:42:eur"]`)
	if got := bob.Await("43" + campaign + ",3"); !strings.Contains(got, `"ann"`) || !strings.Contains(got, `"bob"`) {
		t.Errorf("who is there: %s", got)
	}
	bob.emit(`4["cursor",{"x":1}]`)
	ann.hears(`["cursor",{"x":1}]`)
	bob.answered(4, `{"ok":true}`)
	bob.emit(`5["subscribe","trend:7:eur"]`)
	bob.answered(5, `{"error":"forbidden","data":{"code":403}}`)
}

// Who is told that it has joined hears what other servers emit, and its further events
// have waited for that.
func TestAJoinIsAnsweredWhenOthersReachIt(t *testing.T) {
	d := trends
	d.Limits = config.NamespaceLimits{}
	n := startNode(t, bustest.New(), d)
	may := claimed{"scope": "campaign:42:read"}
	ann := n.dial(t, campaign, token(time.Now(), "ann", may))
	ann.emit(`1["subscribe","trend:42:slow"]`, `2["debug"]`)
	if room := n.line.waits(t); room != "trend:42:slow" {
		t.Fatalf("waits for %q", room)
	}
	if ann.Has("43") {
		t.Errorf("answered before: %q", ann.Rest())
	}
	n.line.answers(t, nil)
	ann.answered(1, `{"ok":true,"room":"trend:42:slow"}`)
	ann.answered(2, `{"ok":true}`)

	ann.emit(`3["unsubscribe","trend:42:slow"]`, `4["subscribe","trend:42:slow"]`)
	n.line.waits(t)
	n.line.answers(t, errors.New("nobody answers"))
	ann.answered(3, `{"ok":true}`)
	ann.answered(4, `{"error":"unavailable","data":{"code":503}}`)
	ns := n.Of("/campaigns/:id/trends")
	if got := ns.Instance(campaign).To("trend:42:slow").Count(); got != 0 {
		t.Errorf("%d are in a room that none could join", got)
	}
	if st := n.router.Stats(); len(st.Refused) != 1 || st.Refused[0].Reason != "unavailable" {
		t.Errorf("stats %+v", st)
	}
}

// A token that another namespace of the connection has brought counts for a join that
// waits.
func TestAJoinThatWaitsIsJudgedByTheTokenOfNow(t *testing.T) {
	d := trends
	d.Limits, d.Events = config.NamespaceLimits{}, map[string]config.Event{"subscribe": {Action: "join", Room: "{args.0}"}}
	n := startNode(t, bustest.New(), d, config.Namespace{Pattern: "/side"})
	scope := claimed{"scope": "campaign:42:read", "rooms": []string{"trend:42:*"}}
	ann := n.dial(t, campaign, token(time.Now(), "ann", scope))
	ann.Send(`40/side,`)
	ann.Await(`40/side,`)
	ann.emit(`1["subscribe","trend:42:slow"]`)
	n.line.waits(t)
	ann.Send(fmt.Sprintf(`42/side,2["auth:refresh",%q]`, token(time.Now(), "ann", claimed{"scope": "campaign:42:read"})))
	ann.Await(`43/side,2[{"expires"`)
	n.line.answers(t, nil)
	ann.answered(1, `{"error":"forbidden","data":{"code":403}}`)
	if got := n.Of("/campaigns/:id/trends").Instance(campaign).To("trend:42:slow").Count(); got != 0 {
		t.Errorf("%d are in a room that the new token does not allow", got)
	}
}

// A client is told that it is in the namespace when what others emit to its rooms
// arrives; if it does not, its connection ends, so that it comes back. Where it is sent
// what there was, its events wait instead.
func TestTheRoomsOfConnectingAreAwaited(t *testing.T) {
	d := config.Namespace{Pattern: "/c/:id", Auth: "required", JoinOnConnect: []string{"trend:42:slow"}, Events: map[string]config.Event{"x": {Action: "drop"}}}
	kept := d
	kept.Pattern, kept.History = "/kept", config.History{Size: 5, ReplayOnJoin: 5}
	n := startNode(t, bustest.New(), d, kept)
	now := time.Now()
	ann := n.ask(t, "/c/1", token(now, "ann", nil))
	n.line.waits(t)
	if ann.Has("40") {
		t.Errorf("told before: %q", ann.Rest())
	}
	n.line.answers(t, nil)
	ann.Await("40/c/1,")

	bob := n.ask(t, "/c/1", token(now, "bob", nil))
	n.line.waits(t)
	n.line.answers(t, errors.New("nobody answers"))
	for p := range bob.Coming() { // until it ends
		if strings.HasPrefix(p, "40") {
			t.Errorf("bob got %q", p)
		}
	}

	if err := n.Of("/kept").To("trend:42:slow").Emit("news", 1); err != nil {
		t.Fatal(err)
	}
	eve := n.ask(t, "/kept", token(now, "eve", nil))
	eve.Await("40/kept,")
	n.line.waits(t) // before others are asked what they have
	n.line.answers(t, nil)
	eve.hears(`["news",1]`)
	eve.emit(`1["x"]`)
	n.line.waits(t)
	if eve.Has("43") {
		t.Errorf("answered before: %q", eve.Rest())
	}
	n.line.answers(t, nil)
	eve.answered(1, `{"ok":true}`)
}
