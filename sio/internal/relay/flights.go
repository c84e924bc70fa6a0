package relay

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// flights are the polls that wait at other servers on behalf of clients here. A
// server that stops has them answered: a poll that is cut is the end of its session,
// and what it was just answered with would be lost.
type flights struct {
	mu       sync.Mutex
	all      map[*http.Request]rooms.Peer
	draining bool
}

// begin notes a poll, and tells whether the server stops.
func (f *flights) begin(r *http.Request, peer rooms.Peer) (draining bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodGet {
		f.all[r] = peer
	}
	return f.draining
}

func (f *flights) end(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, r)
}

// drain returns the polls that wait. Those that come from now on are told that the
// server stops.
func (f *flights) drain() map[*http.Request]rooms.Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = true
	return maps.Clone(f.all)
}

const (
	landFor   = 2 * time.Second       // for the others to answer
	landEvery = 20 * time.Millisecond // those that came meanwhile are released
	landers   = 16                    // goroutines that release
)

// land has the other servers answer the polls that wait with them, and waits until
// nothing is being forwarded, for a while.
func (f *forwards) land(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, landFor)
	defer cancel()
	for {
		waiting := f.flights.drain()
		if f.places.inUse() == 0 {
			return
		}
		requests := slices.Collect(maps.Keys(waiting))
		var wg sync.WaitGroup
		for i := range min(landers, len(requests)) {
			wg.Go(func() {
				for k := i; k < len(requests); k += landers {
					f.release(ctx, requests[k], waiting[requests[k]])
				}
			})
		}
		wg.Wait()
		select {
		case <-time.After(landEvery):
		case <-ctx.Done():
			return
		}
	}
}

// release asks a server to answer a poll that waits. If it cannot be asked, the poll
// will be cut.
func (f *forwards) release(ctx context.Context, r *http.Request, peer rooms.Peer) {
	l, err := f.links.to(peer)
	if err != nil {
		return
	}
	out := l.outgoing(ctx, r)
	out.Header.Set(eio.ReleaseHeader, "1")
	if resp, err := l.transport.RoundTrip(out); err == nil {
		_ = resp.Body.Close()
	}
}
