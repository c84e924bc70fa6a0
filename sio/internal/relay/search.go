package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// searches are for servers that the adapter does not know: one that has just
// started may not have heard of the others, nor they of it. The others are asked
// once for each, whoever waits for the answer, and not again for a while if there is
// none: an id can be forged, and name anybody.
type searches struct {
	// Immutable after newSearches.
	patience time.Duration // how long an answer may take
	again    time.Duration // how long it is remembered that there was none
	most     int           // nodes that are sought at a time

	mu      sync.Mutex
	waiting *shares
	all     map[string]*search
}

// A search is for one server.
type search struct {
	done  chan struct{}
	ended time.Time // guarded by searches.mu; zero: it goes on
}

const (
	searchFor    = 3 * time.Second // as long as servers may be silent
	searchAgain  = 10 * time.Second
	maxSearches  = 64
	maxSearchers = 1024 // requests that wait
)

var (
	errManySought = errors.New("too many unknown nodes are being sought")
	errClusterOff = errors.New("the cluster is not connected")
)

func newSearches() *searches {
	return &searches{patience: searchFor, again: searchAgain, most: maxSearches,
		waiting: newShares(maxSearchers), all: map[string]*search{}}
}

// find returns when a server is known that can be asked. It returns eio.ErrNoNode
// when there is none, and another error when that is not certain.
func (s *searches) find(ctx context.Context, a Cluster, node, client string) error {
	if peer, ok := a.Peer(node); ok {
		return reachable(peer)
	}
	if !s.waiting.take(client, node) {
		return errManySought
	}
	defer s.waiting.give(client, node)
	x, err := s.join(a, node)
	if err != nil {
		return err
	}
	select {
	case <-x.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if peer, ok := a.Peer(node); ok {
		return reachable(peer)
	}
	if !a.Status().Up {
		return errClusterOff
	}
	return eio.ErrNoNode
}

// reachable tells whether a server can be asked.
func reachable(peer rooms.Peer) error {
	if peer.Addr == "" || peer.Token == "" {
		return eio.ErrNoNode
	}
	return nil
}

// join returns the search for a node, which is begun unless there was one a moment
// ago.
func (s *searches) join(a Cluster, node string) (*search, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, sought := time.Now(), 0
	for name, x := range s.all {
		switch {
		case x.ended.IsZero():
			sought++
		case now.Sub(x.ended) > s.again:
			delete(s.all, name)
		}
	}
	if x := s.all[node]; x != nil {
		return x, nil
	}
	if sought >= s.most {
		return nil, errManySought
	}
	x := &search{done: make(chan struct{})}
	s.all[node] = x
	// ends after patience
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.patience)
		defer cancel()
		a.Seek(ctx, node)
		s.mu.Lock()
		x.ended = time.Now()
		s.mu.Unlock()
		close(x.done)
	}()
	return x, nil
}
