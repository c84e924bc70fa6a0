package redis

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// A command is something to be sent to Redis: PUBLISH, SPUBLISH, or the words of
// another one.
type command struct {
	channel string
	payload []byte
	sharded bool
	words   []string // in place of all that; the key is the second
	done    func()   // is called when it has been sent, or is lost; nil: nobody is told
}

func (c *command) size() int {
	n := len(c.channel) + len(c.payload)
	for _, w := range c.words {
		n += len(w)
	}
	return n
}

func (c *command) ended() {
	if c.done != nil {
		c.done()
	}
}

func (c *command) build(b rueidis.Builder) rueidis.Completed {
	switch {
	case c.words != nil:
		return b.Arbitrary(c.words[0]).Keys(c.words[1]).Args(c.words[2:]...).Build()
	case c.sharded:
		return b.Spublish().Channel(c.channel).Message(rueidis.BinaryString(c.payload)).Build()
	}
	return b.Publish().Channel(c.channel).Message(rueidis.BinaryString(c.payload)).Build()
}

// A queue holds commands until they are sent. What would make it larger than most
// bytes is lost, and counted: nobody waits for Redis.
type queue struct {
	most int
	wake chan struct{}

	sent, lost atomic.Int64

	mu       sync.Mutex
	commands []command
	bytes    int
	busy     bool // some have been taken and are on their way
}

func (q *queue) init(most int) { q.most, q.wake = most, make(chan struct{}, 1) }

func (q *queue) put(c command) {
	n := c.size()
	q.mu.Lock()
	fits := q.bytes+n <= q.most || len(q.commands) == 0
	if fits {
		q.commands = append(q.commands, c)
		q.bytes += n
	}
	q.mu.Unlock()
	if !fits {
		q.lost.Add(1)
		c.ended()
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// maxBatch bounds the commands that are on their way at once.
const maxBatch = 256

// take returns the next commands; it marks the queue as busy if there are any.
func (q *queue) take() []command {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.commands), maxBatch)
	batch := q.commands[:n:n]
	if q.commands = q.commands[n:]; len(q.commands) == 0 {
		q.commands = nil
	}
	for i := range batch {
		q.bytes -= batch[i].size()
	}
	q.busy = n > 0
	return batch
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.commands)
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.commands) == 0 && !q.busy
}

// drop loses what is queued.
func (q *queue) drop() {
	q.mu.Lock()
	lost := q.commands
	q.commands, q.bytes = nil, 0
	q.mu.Unlock()
	q.lost.Add(int64(len(lost)))
	for i := range lost {
		lost[i].ended()
	}
}

// publishAll sends what is queued, a batch at a time. On one connection of its
// own, so that the order is kept; with channels on many nodes there is an order
// for each.
func (b *broker) publishAll(client rueidis.Client, spread bool) {
	defer b.ended.Done()
	for b.ctx.Err() == nil {
		if spread {
			b.publishVia(client)
			continue
		}
		conn, release := client.Dedicate()
		if err := b.ping(conn); err != nil {
			b.health.set(b.log, err)
			b.pause(lastPause / 4)
		} else {
			b.publishVia(conn)
		}
		release()
	}
}

// publishVia sends until the connection fails or the broker is closed. What was
// on its way at a failure may have been sent or not: it is not sent twice.
func (b *broker) publishVia(conn rueidis.CoreClient) {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.queue.wake:
		}
		for batch := b.queue.take(); len(batch) > 0; batch = b.queue.take() {
			if err := b.send(conn, batch); err != nil && b.ctx.Err() == nil {
				b.health.set(b.log, err)
				select {
				case b.queue.wake <- struct{}{}: // there may be more
				default:
				}
				return
			}
		}
	}
}

// send returns the error of a connection that failed; errors of commands are
// logged.
func (b *broker) send(conn rueidis.CoreClient, batch []command) (failed error) {
	commands := make([]rueidis.Completed, len(batch))
	for i := range batch {
		commands[i] = batch[i].build(conn.B())
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	defer cancel()
	for i, r := range conn.DoMulti(ctx, commands...) {
		err := r.Error()
		batch[i].ended()
		switch {
		case err == nil || rueidis.IsRedisNil(err):
			b.queue.sent.Add(1)
			continue
		case r.NonRedisError() != nil:
			failed = err
		default:
			b.log.Warn("redis: a message was refused", "channel", batch[i].channel, "error", err)
		}
		b.queue.lost.Add(1)
	}
	b.queue.mu.Lock()
	b.queue.busy = false
	b.queue.mu.Unlock()
	return failed
}
