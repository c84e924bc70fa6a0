package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// A server of a cluster in one process.
type server struct {
	p   *Presence
	bus *bustest.Adapter
	url string
	end func()
}

func startServer(t *testing.T, bus *bustest.Bus) *server {
	t.Helper()
	s := &server{bus: bus.Adapter()}
	srv, err := sio.New(sio.Options{Adapter: s.bus, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.p = New(srv, userOf, Options{Cluster: true, Heartbeat: 50 * time.Millisecond, Lost: 3 * time.Second})
	ns := srv.Of("/r/:id")
	register(ns)
	s.p.Guard(ns, func() config.Presence { return config.Presence{Enabled: true, Debounce: 300 * time.Millisecond} })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// ends with end
	go func() { done <- srv.Serve(ctx) }()
	web := httptest.NewServer(srv)
	s.url = web.URL
	s.end = sync.OnceFunc(func() { s.p.Close(context.Background()); cancel(); <-done; web.CloseClientConnections(); web.Close() })
	t.Cleanup(s.end)
	return s
}

// A poller is a client in the room x of the namespace /r/1.
type poller struct {
	*bustest.Poller
	t *testing.T
}

func dial(t *testing.T, s *server, user string) *poller {
	t.Helper()
	c := &poller{bustest.Poll(t, s.url), t}
	c.Send(fmt.Sprintf(`40/r/1,{"user":%q}`, user))
	c.Await(`40/r/1,`)
	c.Send(`42/r/1,0["join","x"]`)
	c.Await(`43/r/1,0`)
	return c
}

func (c *poller) awaitNote(event, user string) {
	c.t.Helper()
	c.Await(fmt.Sprintf(`42/r/1,["%s",{"room":"x","user":"%s"}]`, event, user))
}

func (c *poller) list() (all []Member) {
	c.t.Helper()
	c.Send(`42/r/1,7["presence:get","x"]`)
	var answers []Answer
	if err := json.Unmarshal([]byte(c.Await(`43/r/1,7`)[len(`43/r/1,7`):]), &answers); err != nil {
		c.t.Fatal(err)
	}
	return answers[0].Members
}

// Three servers: who comes on one is told of on all; one that is cut off is forgotten
// and taken in again, one that ends is silent for those who go elsewhere.
func TestPresenceOverServers(t *testing.T) {
	bus := bustest.New()
	var s [3]*server
	var c [3]*poller
	for i := range s {
		s[i] = startServer(t, bus)
		c[i] = dial(t, s[i], fmt.Sprint("u", i))
	}
	for i, x := range c {
		for j := i; j < len(c); j++ {
			x.awaitNote(Join, fmt.Sprint("u", j))
		}
	}
	want := []Member{{"u0", 1, 1}, {"u1", 1, 1}, {"u2", 1, 1}}
	for i, x := range c {
		if got := x.list(); !slices.Equal(got, want) {
			t.Errorf("server %d lists %v, want %v", i, got, want)
		}
		got, err := s[i].p.List(context.Background(), "/r/1", "x")
		slices.SortFunc(got, func(a, b Member) int { return strings.Compare(a.User, b.User) })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("List on server %d = %v, %v, want %v", i, got, err, want)
		}
	}
	s[2].bus.Cut(true)
	c[0].awaitNote(Leave, "u2")
	c[1].awaitNote(Leave, "u2")
	s[2].bus.Cut(false)
	c[0].awaitNote(Join, "u2")
	c[1].awaitNote(Join, "u2")

	again := dial(t, s[1], "u2")
	s[2].end()
	for _, x := range []*poller{c[0], c[1], again} {
		for end := time.Now().Add(20 * time.Second); !slices.Equal(x.list(), want); {
			if time.Now().After(end) {
				t.Fatalf("the list is %v, want %v", x.list(), want)
			}
		}
		for _, p := range x.Rest() {
			if strings.Contains(p, `"u2"`) {
				t.Errorf("who went to another server is told of: %s", p)
			}
		}
	}
	for i := range 2 {
		if st := s[i].p.Stats(); st.Failed != 0 || st.Links.Malformed != 0 || st.Strays != 0 {
			t.Errorf("Stats of server %d = %+v", i, st)
		}
	}
}

// What a member costs, told by go test -v.
func TestBytesPerMember(t *testing.T) {
	for _, cluster := range []bool{false, true} {
		for _, shape := range []struct {
			name     string
			of, most int // members of a room
		}{{"rooms of one", 1, 260}, {"rooms of five", 5, 150}, {"rooms of a thousand", 1000, 165}} {
			const n = 100_000
			users, rooms := make([]string, n), make([]string, n/shape.of)
			for i := range users {
				users[i] = fmt.Sprintf("user-%08d", i)
			}
			for i := range rooms {
				rooms[i] = fmt.Sprintf("campaign:%08d", i)
			}
			before := heapInUse()
			v := newView("me", 1, cluster, testLimits)
			for i, user := range users {
				v.join(nil, place{"/campaigns", rooms[i/shape.of]}, user, false)
			}
			if cluster {
				v.flush(time.Unix(1, 0))
			}
			v.out = nil
			each := (heapInUse() - before) / n
			t.Logf("cluster %v, %s: %d B a member", cluster, shape.name, each)
			if most := shape.most; int(each) > most {
				t.Errorf("cluster %v, %s: %d B a member, want %d at most", cluster, shape.name, each, most)
			}
			runtime.KeepAlive(v)
			runtime.KeepAlive(users)
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
