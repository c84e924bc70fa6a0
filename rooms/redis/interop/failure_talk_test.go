//go:build interop

package interop

import (
	"encoding/json"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

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

// An allowance says how many of the messages from a server to another one may be
// missing.
type allowance func(from, to string) int

// some is how many may be missing of messages that nobody answers for.
const some = math.MaxInt

// among says that messages between these servers are complete.
func among(names ...string) allowance {
	return func(from, to string) int {
		if slices.Contains(names, from) && slices.Contains(names, to) {
			return 0
		}
		return some
	}
}

// atHome says that messages to servers' own clients are complete.
func atHome(names ...string) allowance {
	return func(from, to string) int {
		if from == to && slices.Contains(names, from) {
			return 0
		}
		return some
	}
}

// hush ends the talk, waits until messages cross in all directions, and checks
// that nobody received anything twice or in another order, or misses more than
// all the allowances say.
func (k *talk) hush(t *testing.T, all ...allowance) {
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
		got := k.received(t, name, list)
		for from, n := range k.sent {
			most := some
			for _, a := range all {
				most = min(most, a(from, name))
			}
			if missing := n - len(got[from]); missing > most {
				t.Errorf("%s misses %d of %d messages of %s, want at most %d: it received %v", name, missing, n, from, most, runs(got[from]))
			}
		}
	}
}

// received returns the numbers of the messages that a client has noted, by
// server. They must increase.
func (k *talk) received(t *testing.T, name string, list []string) map[string][]int {
	t.Helper()
	got := map[string][]int{}
	for _, text := range list {
		var entry [3]any
		if err := json.Unmarshal([]byte(text), &entry); err != nil || entry[0] == "$twice" {
			t.Errorf("%s noted %s, %v", name, text, err)
		}
		if entry[0] != "tick" {
			continue // it was disconnected, or has connected
		}
		from, i := entry[1].(string), int(entry[2].(float64))
		if before := got[from]; len(before) > 0 && i <= before[len(before)-1] {
			t.Errorf("%s received %d of %s again, or late", name, i, from)
			continue
		}
		got[from] = append(got[from], i)
	}
	return got
}

// runs returns increasing numbers as their first and last ones.
func runs(numbers []int) (all [][2]int) {
	for _, n := range numbers {
		if last := len(all) - 1; last >= 0 && all[last][1] == n-1 {
			all[last][1] = n
		} else {
			all = append(all, [2]int{n, n})
		}
	}
	return all
}
