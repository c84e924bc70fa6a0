package redis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/loop/notice"
)

// A broker is what the adapters need of Redis: it publishes what it is given, in
// order, and keeps subscriptions in place. Nothing that it is told blocks; it
// connects in the background, again and again.
type broker struct {
	// Immutable after run.
	o       rueidis.ClientOption
	timeout time.Duration
	receive func(pattern, channel string, payload []byte) // pattern is "" if it came by the channel's own subscription
	keys    bool                                          // there are commands for keys, which a Redis Cluster has on many nodes
	log     *slog.Logger
	notices *notice.Log
	// otherwise is told of a topic that Redis does not let us have, and says whether
	// there is another way; together tells whether the others are subscribed again.
	// Each may be nil.
	otherwise func(t topic, refusal error) bool
	together  func() bool
	ctx       context.Context // done when the broker is closed
	close     context.CancelFunc
	ended     sync.WaitGroup

	client    atomic.Pointer[rueidis.Client]
	connected chan struct{} // closed when client is set
	queue     queue
	senders   senders // each with a part of it; none without a Redis Cluster
	subs      subscriptions

	health health
	back   signal // a connection has succeeded
	gate   gate
	pin    pin // the node of a Redis Cluster, for what is not sharded
	held   holdback

	received, malformed, reconnects atomic.Int64
}

// A signal wakes whoever waits for it.
type signal struct {
	mu sync.Mutex
	c  chan struct{}
}

// next is closed by the next tell.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
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
	log *slog.Logger // nil: nobody is told

	mu     sync.Mutex
	up     bool
	since  time.Time
	failed [2]error // by part; nil: it is well
	said   string   // why it is down, as it was logged last
	next   time.Time
}

// set says how a part is. That it is down is logged at once, if it has never been
// up too, and again when there is another reason, but not all the time.
func (h *health) set(p part, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed[p] = err
	up, now := h.failed == [2]error{}, time.Now()
	changed := up != h.up
	if changed {
		h.up, h.since = up, now
	}
	switch {
	case h.log == nil:
	case changed && up:
		h.said = ""
		h.log.Info("redis: connected, all subscriptions in place")
	case err != nil && h.said != err.Error() && (h.said == "" || now.After(h.next)):
		h.said, h.next = err.Error(), now.Add(notice.Every)
		h.log.Warn("redis: down; local clients are served as before", "error", err)
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
func newBroker(o *Options, receive func(pattern, channel string, payload []byte)) *broker {
	client := o.Client
	client.DisableCache = true
	client.ConnWriteTimeout = cmp.Or(client.ConnWriteTimeout, o.Timeout)
	// Who hangs is noticed: Sentinels too, of which the next is asked then.
	if client.Sentinel.Dialer.Timeout == 0 {
		client.Sentinel.Dialer.Timeout = min(o.Timeout, rueidis.DefaultDialTimeout)
	}
	client.Sentinel.Dialer.KeepAlive = cmp.Or(client.Sentinel.Dialer.KeepAlive, rueidis.DefaultTCPKeepAlive)
	client.Sentinel.TopologyRefreshInterval = cmp.Or(client.Sentinel.TopologyRefreshInterval, lastPause)
	b := &broker{
		o: client, timeout: o.Timeout, receive: receive, log: o.Logger, notices: notice.New(o.Logger, 0), connected: make(chan struct{}),
	}
	b.ctx, b.close = context.WithCancel(context.Background())
	b.queue.init(o.MaxQueue, &counts{}, func() {
		b.notices.Warn("redis: too much waits to be published; messages for other servers are lost", "most", o.MaxQueue, "option", "Options.MaxQueue")
	})
	b.subs.init(o.MaxSubscriptions, o.Linger)
	b.subs.over = func(t topic) {
		b.notices.Warn("redis: too many subscriptions; what is sent to some rooms does not arrive", "channel", t.name, "most", o.MaxSubscriptions, "flag", "--adapter-max-subscriptions")
	}
	b.health.log, b.health.since, b.health.failed = o.Logger, time.Now(), [2]error{errNotYet, errNotYet}
	b.held.begin()
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
		b.health.set(sending, err)
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

// pause waits and returns how long to wait the next time. It is shorter if another
// connection succeeds meanwhile.
func (b *broker) pause(wait time.Duration) time.Duration {
	back := b.back.next()
	select {
	case <-time.After(firstPause):
	case <-b.ctx.Done():
		return wait
	}
	select {
	case <-time.After(wait - firstPause):
	case <-back:
		return firstPause
	case <-b.ctx.Done():
	}
	return min(2*wait, lastPause)
}

// shut ends the broker. What is queued may be sent until ctx is done, unless Redis
// is down; what could not be is lost.
func (b *broker) shut(ctx context.Context) error {
	for !b.idle() && ctx.Err() == nil && b.ctx.Err() == nil {
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

// subscribers returns how many connections are subscribed to a channel. That is
// asked where our own subscriptions are: while a master is replaced, there may be
// two. Each node of a Redis Cluster knows its own: that which has the channel, if
// that is sharded.
func (b *broker) subscribers(ctx context.Context, t topic) (n int, err error) {
	client, err := b.get(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	what := "NUMSUB"
	if t.kind == sharded {
		what = "SHARDNUMSUB"
	}
	if client.Mode() != rueidis.ClientModeCluster {
		if conn := b.subs.at(b.subs.first); conn != nil {
			if n, err = numSub(ctx, conn, what, t.name); err == nil {
				return n, nil
			}
		}
		return numSub(ctx, client, what, t.name)
	}
	nodes := client.Nodes()
	if t.kind == sharded {
		if at := b.subs.home(t); nodes[at] != nil {
			nodes = map[string]rueidis.Client{at: nodes[at]}
		}
	}
	for _, node := range nodes {
		some, err := numSub(ctx, node, what, t.name)
		if err != nil {
			return 0, err
		}
		n += some
	}
	return n, nil
}

// numSub asks one node.
func numSub(ctx context.Context, node rueidis.CoreClient, what, channel string) (int, error) {
	answer, err := node.Do(ctx, node.B().Arbitrary("PUBSUB", what, channel).Build()).ToArray()
	if err != nil || len(answer) != 2 {
		return 0, err
	}
	n, err := answer[1].AsInt64()
	return int(n), err
}
