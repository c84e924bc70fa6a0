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
	subs      subscriptions

	health health

	received, malformed, reconnects atomic.Int64
}

// A health is whether all is well, and since when.
type health struct {
	mu     sync.Mutex
	up     bool
	since  time.Time
	reason string
}

func (h *health) set(log *slog.Logger, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	up := err == nil
	if !up {
		h.reason = err.Error()
	}
	if up == h.up && !h.since.IsZero() {
		return
	}
	h.up, h.since = up, time.Now()
	if up {
		h.reason = ""
		log.Info("redis: connected, all subscriptions in place")
	} else {
		log.Warn("redis: down; local clients are served as before", "error", err)
	}
}

func (h *health) get() (up bool, since time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up, h.since, h.reason
}

// notYet is why a broker is not up that has not tried, or not finished.
const notYet = "not connected yet"

var errClosed = errors.New("redis: closed")

// newBroker returns a broker that has not begun: run begins.
func newBroker(o rueidis.ClientOption, timeout time.Duration, most int, log *slog.Logger, receive func(string, []byte)) *broker {
	o.DisableCache = true
	o.ConnWriteTimeout = timeout
	b := &broker{o: o, timeout: timeout, receive: receive, log: log, connected: make(chan struct{})}
	b.ctx, b.close = context.WithCancel(context.Background())
	b.queue.init(most)
	b.subs.init()
	b.health.since, b.health.reason = time.Now(), notYet
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
		b.health.set(b.log, err)
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
	for !b.queue.empty() && ctx.Err() == nil {
		if up, _, reason := b.health.get(); !up && reason != notYet {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.close()
	b.queue.drop()
	done := make(chan struct{})
	// ends when the broker's goroutines have
	go func() { b.ended.Wait(); close(done) }()
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
// of a Redis Cluster knows its own.
func (b *broker) subscribers(ctx context.Context, channel string, shards bool) (n int, err error) {
	client, err := b.get(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	nodes := []rueidis.Client{client}
	if client.Mode() == rueidis.ClientModeCluster {
		nodes = nodes[:0]
		for _, node := range client.Nodes() {
			nodes = append(nodes, node)
		}
	}
	what := "NUMSUB"
	if shards {
		what = "SHARDNUMSUB"
	}
	for _, node := range nodes {
		answer, err := node.Do(ctx, node.B().Arbitrary("PUBSUB", what, channel).Build()).ToArray()
		if err != nil {
			return 0, err
		}
		if len(answer) == 2 {
			count, err := answer[1].AsInt64()
			if err != nil {
				return 0, err
			}
			n += int(count)
		}
	}
	return n, nil
}
