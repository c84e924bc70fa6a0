package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// A register is an adapter that knows servers.
type register struct {
	mu    sync.Mutex
	known map[string]rooms.Peer
	asked []string
	down  bool
}

func (r *register) Peer(node string) (rooms.Peer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.known[node]
	return p, ok
}

func (r *register) Seek(ctx context.Context, node string) {
	r.mu.Lock()
	r.asked = append(r.asked, node)
	r.mu.Unlock()
	for ctx.Err() == nil {
		if _, ok := r.Peer(node); ok {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *register) Status() rooms.Status { return rooms.Status{Up: !r.down} }

func (r *register) learn(p rooms.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[p.Node] = p
}

func (r *register) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

func newTestSearches() (*searches, *register) {
	r := &register{known: map[string]rooms.Peer{}}
	return newSearches(), r
}

// All that wait for a server that has just started go on when it is heard of.
func TestSearchFindsWhoHasJustStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestSearches()
		found := make(chan error, 20)
		for i := range cap(found) {
			// ends when the search has
			go func() { found <- s.find(t.Context(), r, "late", fmt.Sprint("client ", i)) }()
		}
		time.Sleep(time.Second)
		if len(found) > 0 {
			t.Fatalf("a search ended with %v before anything was heard", <-found)
		}
		r.learn(rooms.Peer{Node: "late", Addr: "http://h", Token: "t"})
		for range cap(found) {
			if err := <-found; err != nil {
				t.Errorf("find = %v, want nil", err)
			}
		}
		if n := r.times(); n != 1 {
			t.Errorf("the others were asked %d times, want once", n)
		}
	})
}

// A forged id costs one question, however often it comes, and many forged ones
// a bounded number; who is known is not sought.
func TestSearchForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestSearches()
		r.learn(rooms.Peer{Node: "home", Addr: "http://h", Token: "t"})
		r.learn(rooms.Peer{Node: "mute", Token: "t"})
		r.learn(rooms.Peer{Node: "nope", Addr: "http://h"})
		for node, want := range map[string]error{"home": nil, "mute": eio.ErrNoNode, "nope": eio.ErrNoNode} {
			if err := s.find(t.Context(), r, node, "c"); !errors.Is(err, want) {
				t.Errorf("find %s = %v, want %v", node, err, want)
			}
		}
		begun := time.Now()
		for range 1000 {
			if err := s.find(t.Context(), r, "none", "c"); !errors.Is(err, eio.ErrNoNode) {
				t.Fatalf("find of nobody = %v, want %v", err, eio.ErrNoNode)
			}
		}
		if d, n := time.Since(begun), r.times(); d > searchFor+time.Second || n != 1 {
			t.Errorf("1000 requests for nobody took %v and %d questions, want %v and 1", d, n, searchFor)
		}
		time.Sleep(2 * searchAgain)
		if _ = s.find(t.Context(), r, "none", "c"); r.times() != 2 {
			t.Errorf("much later, the others were asked %d times, want 2", r.times())
		}

		time.Sleep(2 * searchAgain)
		before, ended := r.times(), make(chan error, 5000)
		for i := range cap(ended) {
			// ends when the search has
			go func() { ended <- s.find(t.Context(), r, fmt.Sprintf("%04d", i), fmt.Sprint(i%100)) }()
		}
		refused := 0
		for range cap(ended) {
			if err := <-ended; errors.Is(err, errManySought) {
				refused++
			} else if !errors.Is(err, eio.ErrNoNode) {
				t.Errorf("find = %v, want %v or %v", err, eio.ErrNoNode, errManySought)
			}
		}
		if n := r.times() - before; n != maxSearches || refused != cap(ended)-maxSearches {
			t.Errorf("%d forged nodes: the others were asked %d times, and %d refused; want %d and the rest", cap(ended), n, refused, maxSearches)
		}
		if n := s.waiting.inUse(); n != 0 {
			t.Errorf("%d requests wait for nothing", n)
		}
	})
}

// When the cluster is not connected nobody knows who is there.
func TestSearchWithoutACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newTestSearches()
		r.down = true
		if err := s.find(t.Context(), r, "node", "c"); !errors.Is(err, errClusterOff) {
			t.Errorf("find = %v, want %v", err, errClusterOff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.find(ctx, r, "other", "c"); !errors.Is(err, context.Canceled) {
			t.Errorf("find for who has gone = %v, want %v", err, context.Canceled)
		}
		time.Sleep(2 * searchFor)
	})
}
