package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A broker is what the adapters need of Redis: it publishes what it is given, in
// order, and keeps subscriptions in place. Nothing that it is told blocks; it
// connects in the background, again and again.
type broker struct {
	// Immutable after run.
	o       rueidis.ClientOption
	timeout time.Duration
	receive func(channel string, payload []byte)
	keys    bool // there are commands for keys, which a Redis Cluster has on many nodes
	log     *slog.Logger
	ctx     context.Context // done when the broker is closed
	close   context.CancelFunc
	ended   sync.WaitGroup

	client    atomic.Pointer[rueidis.Client]
	connected chan struct{} // closed when client is set
	queue     queue
	senders   senders // each with a part of it; none without a Redis Cluster
	subs      subscriptions

	health health

	received, malformed, reconnects atomic.Int64
}

// A part of a broker fails by itself: its connection does.
type part uint8

const (
	sending part = iota
	receiving
)

// A health is whether all parts are well, and since when. One that is does not
// hide that another is not.
type health struct {
	mu     sync.Mutex
	up     bool
	since  time.Time
	failed [2]error // by part; nil: it is well
}

// set says how a part is.
func (h *health) set(log *slog.Logger, p part, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed[p] = err
	up := h.failed == [2]error{}
	if up == h.up {
		return
	}
	h.up, h.since = up, time.Now()
	if up {
		log.Info("redis: connected, all subscriptions in place")
	} else {
		log.Warn("redis: down; local clients are served as before", "error", err)
	}
}

// get returns why it is not up too: an error, before that something has not been
// tried yet.
func (h *health) get() (up bool, since time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range h.failed {
		if err != nil && (reason == "" || reason == notYet) {
			reason = err.Error()
		}
	}
	return h.up, h.since, reason
}

// notYet is why a broker is not up that has not tried, or not finished.
const notYet = "not connected yet"

var (
	errNotYet = errors.New(notYet)
	errClosed = errors.New("redis: closed")
)

// newBroker returns a broker that has not begun: run begins.
func newBroker(o rueidis.ClientOption, timeout time.Duration, most int, log *slog.Logger, receive func(string, []byte)) *broker {
	o.DisableCache = true
	o.ConnWriteTimeout = timeout
	b := &broker{o: o, timeout: timeout, receive: receive, log: log, connected: make(chan struct{})}
	b.ctx, b.close = context.WithCancel(context.Background())
	b.queue.init(most, &counts{})
	b.subs.init()
	b.health.since, b.health.failed = time.Now(), [2]error{errNotYet, errNotYet}
	return b
}

// run connects, and then publishes and subscribes until the broker is closed.
// shards says that channels are sharded ones.
func (b *broker) run(shards bool) {
	b.ended.Add(1)
	// ends when the broker is closed
	go func() {
		defer b.ended.Done()
		client, ok := b.connect()
		if !ok {
			return
		}
		b.client.Store(&client)
		close(b.connected)
		nodes := client.Mode() == rueidis.ClientModeCluster
		b.ended.Add(2)
		// both end when the broker is closed
		go b.publishAll(client, nodes && (shards || b.keys))
		go b.subscribeAll(client, nodes && shards)
		<-b.ctx.Done()
		client.Close()
	}()
}

// connect makes the client. It is false if the broker was closed before.
func (b *broker) connect() (rueidis.Client, bool) {
	for wait := firstPause; ; wait = b.pause(wait) {
		client, err := rueidis.NewClient(b.o)
		if err == nil {
			return client, true
		}
		b.health.set(b.log, sending, err)
		if b.ctx.Err() != nil {
			return nil, false
		}
	}
}

// Pauses between attempts grow from the first to the last.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// pause waits and returns how long to wait the next time.
func (b *broker) pause(wait time.Duration) time.Duration {
	select {
	case <-time.After(wait):
	case <-b.ctx.Done():
	}
	return min(2*wait, lastPause)
}

// shut ends the broker. What is queued may be sent until ctx is done, unless Redis
// is down; what could not be is lost.
func (b *broker) shut(ctx context.Context) error {
	for !b.idle() && ctx.Err() == nil {
		if up, _, reason := b.health.get(); !up && reason != notYet {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.close()
	b.drop()
	done := make(chan struct{})
	// ends when the broker's goroutines have
	go func() {
		b.ended.Wait()
		b.drop() // what was given to senders meanwhile
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get returns the client, once there is one.
func (b *broker) get(ctx context.Context) (rueidis.Client, error) {
	select {
	case <-b.connected:
		return *b.client.Load(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.ctx.Done():
		return nil, errClosed
	}
}

// subscribers returns how many connections are subscribed to a channel. Each node
// of a Redis Cluster knows its own: that which has the channel, if that is sharded.
func (b *broker) subscribers(ctx context.Context, channel string, shards bool) (n int, err error) {
	client, err := b.get(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	nodes, what := map[string]rueidis.Client{"": client}, "NUMSUB"
	if client.Mode() == rueidis.ClientModeCluster {
		nodes = client.Nodes()
	}
	if shards {
		what = "SHARDNUMSUB"
		if at := b.subs.home(channel); nodes[at] != nil {
			nodes = map[string]rueidis.Client{at: nodes[at]}
		}
	}
	for _, node := range nodes {
		some, err := numSub(ctx, node, what, channel)
		if err != nil {
			return 0, err
		}
		n += some
	}
	return n, nil
}

// numSub asks one node.
func numSub(ctx context.Context, node rueidis.Client, what, channel string) (int, error) {
	answer, err := node.Do(ctx, node.B().Arbitrary("PUBSUB", what, channel).Build()).ToArray()
	if err != nil || len(answer) != 2 {
		return 0, err
	}
	n, err := answer[1].AsInt64()
	return int(n), err
}
