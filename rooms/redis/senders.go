package redis

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/redis/rueidis"
)

// Each node of a Redis Cluster gets what is for it from a sender of its own: one
// that is dead, or hangs, holds nobody up but who is on it. Where it is not known
// which node has what, there is one sender for all.

// A sender has what is queued for a node.
type sender struct {
	queue
	failed error // guarded by senders.mu
}

// senders are those of a broker.
type senders struct {
	mu  sync.Mutex
	all map[string]*sender // by node
}

// list returns them.
func (s *senders) list() []*sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.all))
}

// sent notes how a sender is; the broker is as all of them are.
func (b *broker) sent(x *sender, err error) {
	s := &b.senders
	s.mu.Lock()
	defer s.mu.Unlock()
	x.failed = err
	for _, other := range s.all {
		if err == nil {
			err = other.failed
		}
	}
	b.health.set(sending, err)
}

// distribute gives what is queued to senders, until the broker is closed. A slot
// that has moved is left to the sender that it had as long as that has something:
// it is redirected, and all of a channel is in order.
func (b *broker) distribute(client rueidis.Client) {
	had := map[int]*sender{} // by slot
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.queue.wake:
		}
		for batch := b.queue.take(); len(batch) > 0; batch = b.queue.take() {
			for _, c := range batch {
				slot := keySlot(c.key())
				x := had[slot]
				if x == nil || x.empty() {
					x = b.sender(client, b.subs.nodeOf(slot))
					had[slot] = x
				}
				x.put(c)
			}
			b.queue.rest()
		}
	}
}

// sender returns the one for a node.
func (b *broker) sender(client rueidis.Client, node string) *sender {
	s := &b.senders
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[node]
	if x == nil {
		x = &sender{}
		x.queue.init(b.queue.most, b.queue.counts, b.queue.over)
		if s.all == nil {
			s.all = map[string]*sender{}
		}
		s.all[node] = x
		b.ended.Add(1)
		// ends when the broker is closed
		go b.runSender(client, x)
	}
	return x
}

// runSender sends until the broker is closed. When that fails, it waits until the
// node, or who has its slots now, answers.
func (b *broker) runSender(client rueidis.Client, x *sender) {
	defer b.ended.Done()
	b.sent(x, nil)
	for {
		err := b.publishVia(client, &x.queue, true, func() error { return nil })
		for wait := firstPause; err != nil && b.ctx.Err() == nil; err = b.probe(client, x) {
			b.sent(x, err)
			b.subs.first.poke() // the nodes may be others
			wait = b.pause(wait)
		}
		if b.ctx.Err() != nil {
			return
		}
		b.sent(x, nil)
	}
}

// probe asks the node of what is queued next, or of what was last, whether it is
// there.
func (b *broker) probe(client rueidis.Client, x *sender) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary("EXISTS").Keys(x.next()).Build()).Error()
}

// drop loses what is queued.
func (b *broker) drop() {
	b.queue.drop()
	for _, x := range b.senders.list() {
		x.drop()
	}
}

// waiting returns how many commands are queued, and their bytes.
func (b *broker) waiting() (n, size int) {
	n, size = b.queue.waiting()
	for _, x := range b.senders.list() {
		m, more := x.waiting()
		n, size = n+m, size+more
	}
	return n, size
}

// idle tells whether all that was queued has been sent, or lost.
func (b *broker) idle() bool {
	// First that from which the others get theirs.
	return b.queue.empty() && !slices.ContainsFunc(b.senders.list(), func(x *sender) bool { return !x.empty() })
}
