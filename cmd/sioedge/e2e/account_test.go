//go:build interop

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

const underIllBackend = `
eio3: true
log: { level: debug }
auth: webhook
webhook: { url: $BACKEND, secret: $HOOK, timeout: 2s, lanes: 4, max_batch: 8, ack_errors: true, on_error: $ONERROR, events: "connect,event" }
namespaces:
  - pattern: /
    auth: $AUTH
`

// marked are options of a client whose token, cookie and query are secrets. The token
// begins with the user.
func marked(kind, user string) options {
	o := bearer(kind, user+" "+mark)
	o.headers = map[string]string{"Cookie": "session=" + mark, "Authorization": "Basic " + mark}
	if o.query == nil {
		o.query = map[string]string{"access_token": user + " " + mark, "key": mark}
	}
	return o
}

// What clients number reaches a backend that does all that it must not, in order, under one
// id each, or is counted as lost; and they are told by acknowledgements what became of it.
func TestBackendMisbehaves(t *testing.T) {
	t.Parallel()
	r := newRogue(t, uint64(time.Now().UnixNano()))
	e := start(t, write(t, underIllBackend, "$BACKEND", r.url(), "$HOOK", rogueSecret, "$ONERROR", "close", "$AUTH", "required"))
	x := &agents{t: t}
	const numbers = 150 // of each client
	var all []*numbered
	for i, kind := range []string{"4", "4", "4", "3", "3", "2"} {
		user := fmt.Sprint("u", i)
		all = append(all, &numbered{client: x.enter(kind, e.url, "/", marked(kind, user)), user: user, acks: map[int]string{}})
	}
	r.ill.Store(true)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.count(numbers) })
	}
	for range 2 { // in between it is away
		time.Sleep(2 * time.Second)
		r.close()
		time.Sleep(time.Second)
		r.open()
	}
	wg.Wait()
	r.ill.Store(false)
	for _, name := range []string{"end", "after the end"} { // what was lost is told behind the first
		for _, c := range all {
			c.emit(name, 0)
		}
		for _, c := range all {
			eventually(t, name+" of "+c.user, func() bool { return r.has(func(x *seen) bool { return x.taken && x.User == c.user && x.Ev == name }) })
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	missing, doubtful := 0, 0
	for _, c := range all {
		m, d := r.account(c)
		missing, doubtful = missing+m, doubtful+d
	}
	t.Logf("%d lost of %d, faults %v", missing, numbers*len(all), r.faults)
	if lost := r.lost["event"]; lost < missing || lost > missing+doubtful {
		t.Errorf("%d events did not come (and %d may have been heard of too late), but it was told of %d that are lost", missing, doubtful, lost)
	}
	for kind, n := range r.lost {
		if kind != "event" {
			t.Errorf("%d of %s are said to be lost", n, kind)
		}
	}
}

// has tells whether the backend was told of something.
func (r *rogue) has(ok func(x *seen) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.told {
		if ok(&r.told[i]) {
			return true
		}
	}
	return false
}

// A numbered client is one that numbers its events.
type numbered struct {
	*client
	user string
	n    int

	mu   sync.Mutex
	acks map[int]string // what those that ask for it were acknowledged with; "": nothing
	wg   sync.WaitGroup
}

// count sends n events; each tenth asks for an acknowledgement.
func (c *numbered) count(n int) {
	for ; c.n < n; c.n++ {
		i := c.n
		args := []any{i, mark + strings.Repeat("x", 20)}
		if i%10 != 0 {
			if _, err := c.a.do("emit", map[string]any{"c": c.name, "event": "n", "args": args}); err != nil {
				c.a.t.Error(err)
			}
		} else {
			// Goes in order: the agent reads its lines so.
			asked := make(chan struct{})
			c.wg.Go(func() {
				close(asked)
				got, err := c.a.do("ask", map[string]any{"c": c.name, "event": "n", "args": args, "wait": 25_000})
				if err != nil && !strings.Contains(err.Error(), "no acknowledgement") {
					c.a.t.Error(err)
				}
				c.mu.Lock()
				c.acks[i] = string(got)
				c.mu.Unlock()
			})
			<-asked
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.wg.Wait()
}

// account checks what came of a client's events. Missing are those that no request had
// which counts as taken.
func (r *rogue) account(c *numbered) (missing, doubtful int) {
	ids, took, acked, last := map[int]string{}, map[int]bool{}, map[int]bool{}, -1
	for _, x := range r.told {
		if x.Type != "event" || x.User != c.user || x.Ev != "n" {
			continue
		}
		var n int
		if err := json.Unmarshal(x.Args[0], &n); err != nil {
			r.t.Fatalf("%s: %v", x.Args, err)
		}
		id, again := ids[n]
		switch {
		case again && id != x.ID:
			r.t.Errorf("event %d of %s has the ids %s and %s", n, c.user, id, x.ID)
		case !again && n < last:
			r.t.Errorf("event %d of %s comes after %d", n, c.user, last)
		}
		ids[n], last = x.ID, max(last, n)
		took[n] = took[n] || r.taken[x.ID]
		acked[n] = acked[n] || r.answered[x.ID]
	}
	for n := range c.n {
		if r.doubtful[ids[n]] {
			doubtful++
		} else if !took[n] {
			missing++
		}
		if n%10 == 0 && !r.doubtful[ids[n]] {
			r.checkAck(c, n, took[n], acked[n])
		}
	}
	return missing, doubtful
}

// checkAck compares what a client was acknowledged with to what the backend did.
func (r *rogue) checkAck(c *numbered, n int, took, answered bool) {
	got := c.acks[n]
	isError := strings.HasPrefix(got, `[{"$error":{"code":503,`)
	switch want := fmt.Sprintf(`[%d,"%s"]`, n, mark); {
	case answered && got != want:
		r.t.Errorf("event %d of %s is acknowledged with %q, want %s", n, c.user, got, want)
	case !answered && got == "" && took: // it was answered without an acknowledgement
	case !answered && !isError:
		r.t.Errorf("event %d of %s, which the backend has not answered (taken: %v), is acknowledged with %q", n, c.user, took, got)
	}
}

// While the backend is away, who connects sees what the settings say; when it is there
// again, all is as it should be.
func TestBackendIsDown(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "reject", "allow"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRogue(t, 1)
			r.close()
			e := start(t, write(t, underIllBackend, "$BACKEND", r.url(), "$HOOK", rogueSecret, "$ONERROR", how, "$AUTH", map[bool]string{true: "optional", false: "required"}[how == "allow"]))
			x := &agents{t: t}
			o := marked("4", "ann")
			o.recover = true
			c := x.dial("4", e.url, "/", o)
			switch how {
			case "close":
				if end := c.disconnected(); end.Code != 4503 || end.Text != "backend unavailable" {
					t.Errorf("it ends with %+v", end)
				}
			case "reject":
				c.refused("backend unavailable", `{"code":503}`)
			case "allow":
				c.connected()
				if got := c.ask("n", 1); !strings.Contains(got, `"$error"`) || !strings.Contains(got, "unreachable") {
					t.Errorf("its event is acknowledged with %s", got)
				}
			}
			for i := range 30 { // so that nobody asks it any more
				x.dial("4", e.url, "/", marked("4", fmt.Sprint("u", i)))
			}
			e.said("webhook: the breaker")
			r.open()
			if how == "reject" { // a client does not come back by itself
				c.op("open", nil)
			}
			eventually(t, "it is let in by the backend", func() bool {
				if r.has(func(x *seen) bool { return x.Type == "connect" && x.taken }) {
					return true
				}
				if how == "reject" {
					c.op("open", nil)
				}
				if how == "allow" {
					x.dial("4", e.url, "/", marked("4", "ann"))
				}
				time.Sleep(100 * time.Millisecond)
				return false
			})
			if how != "allow" {
				c.await("its connection", func(s *sight) bool { return s.On == "connect" })
			}
			if got := c.ask("n", 2); !strings.HasPrefix(got, "2,") {
				t.Errorf("its event is acknowledged with %s", got)
			}
		})
	}
}
