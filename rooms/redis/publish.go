package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
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

// key is what decides which node of a Redis Cluster gets the command.
func (c *command) key() string {
	if c.words != nil {
		return c.words[1]
	}
	return c.channel
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

// build returns the command; spread says that there are many nodes, each of which
// publishes what belongs to its slots, so that the messages of a channel are in
// order.
func (c *command) build(b rueidis.Builder, spread bool) rueidis.Completed {
	switch {
	case c.words != nil:
		return b.Arbitrary(c.words[0]).Keys(c.words[1]).Args(c.words[2:]...).Build()
	case c.sharded:
		return b.Spublish().Channel(c.channel).Message(rueidis.BinaryString(c.payload)).Build()
	}
	if spread {
		return b.Arbitrary("PUBLISH").Keys(c.channel).Args(rueidis.BinaryString(c.payload)).Build()
	}
	return b.Publish().Channel(c.channel).Message(rueidis.BinaryString(c.payload)).Build()
}

// counts say what became of commands; see rooms.Losses.
type counts struct{ sent, full, failed, refused, left, unwritten atomic.Int64 }

func (c *counts) losses() rooms.Losses {
	return rooms.Losses{
		Full: c.full.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(), Left: c.left.Load(), Unwritten: c.unwritten.Load(),
	}
}

// A queue holds commands until they are sent. What would make it larger than most
// bytes is lost, and counted: nobody waits for Redis.
type queue struct {
	*counts
	most int
	over func() // is told that something did not fit
	wake chan struct{}

	mu       sync.Mutex
	commands []command
	last     string // key of the last that was queued
	bytes    int
	busy     bool // some have been taken and are on their way
	closed   bool
	taken    uint64 // commands, since it began
	ended    uint64 // of these, how many have been sent, or lost
}

func (q *queue) init(most int, c *counts, over func()) {
	q.most, q.counts, q.over, q.wake = most, c, over, make(chan struct{}, 1)
}

func (q *queue) put(c command) {
	n := c.size()
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		q.left.Add(1)
		c.ended()
		return
	}
	fits := q.bytes+n <= q.most || len(q.commands) == 0
	if fits {
		q.last = c.key()
		q.commands = append(q.commands, c)
		q.bytes += n
	}
	q.mu.Unlock()
	if !fits {
		q.full.Add(1)
		q.over()
		c.ended()
		return
	}
	q.poke()
}

// poke wakes who sends.
func (q *queue) poke() {
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
	q.taken += uint64(n)
	return batch
}

// next returns the key of the next command, or that of the last there was.
func (q *queue) next() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.commands) > 0 {
		return q.commands[0].key()
	}
	return q.last
}

// waiting returns how many commands are queued, and their bytes.
func (q *queue) waiting() (n, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.commands), q.bytes
}

// empty tells whether nothing is queued, nor on its way.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.commands) == 0 && !q.busy
}

// rest says that what was taken is not on its way any more.
func (q *queue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy, q.ended = false, q.taken
}

// newest returns the number of the last command that was queued.
func (q *queue) newest() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken + uint64(len(q.commands))
}

// passed tells whether the command of a number, and all before it, have been sent, or lost.
func (q *queue) passed(n uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended >= n
}

// drop loses what is queued, and what will be.
func (q *queue) drop() {
	q.mu.Lock()
	lost := q.commands
	q.commands, q.bytes, q.closed = nil, 0, true
	q.mu.Unlock()
	q.left.Add(int64(len(lost)))
	for i := range lost {
		lost[i].ended()
	}
}

// publishAll sends what is queued, a batch at a time, on one connection of its own,
// so that the order is kept. With channels on many nodes there is an order for each
// node.
func (b *broker) publishAll(client rueidis.Client, spread bool) {
	defer b.ended.Done()
	if spread {
		b.distribute(client)
		return
	}
	for wait := firstPause; b.ctx.Err() == nil; wait = b.pause(wait) {
		began := time.Now()
		err := b.publishOn(client)
		if b.ctx.Err() != nil {
			return
		}
		b.held.begin()
		b.health.set(sending, err)
		if time.Since(began) > lastPause {
			wait = firstPause
		}
	}
}

// publishOn sends on one connection until that fails, which is the error, or the
// broker is closed.
func (b *broker) publishOn(client rueidis.Client) error {
	at := b.master(client) // before: it is not a later one's
	conn, release := client.Dedicate()
	defer release()
	if err := b.reached(client, conn); err != nil {
		return err
	}
	b.health.set(sending, nil)
	b.back.tell()
	return b.publishVia(conn, &b.queue, false, func() error { return b.stays(client, at) })
}

// publishVia sends until the connection fails, or is not the right one any more,
// which is the error, or the broker is closed. What was on its way at a failure may
// have been sent or not: it is not sent twice.
func (b *broker) publishVia(conn rueidis.CoreClient, q *queue, spread bool, stays func() error) error {
	alive := stays
	if !spread {
		alive = func() error { return errors.Join(stays(), b.ping(conn)) }
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return nil
		case <-ticker.C:
			if err := stays(); err != nil {
				return err
			}
			continue
		case <-q.wake:
		}
		for {
			if err := b.awaitOthers(alive); err != nil {
				q.poke()
				return err
			}
			batch := q.take()
			if len(batch) == 0 {
				break
			}
			if err := b.send(conn, q, batch, spread); err != nil {
				q.poke() // there may be more
				return err
			}
		}
	}
}

// send returns the error of a connection that failed; errors of commands are
// logged.
func (b *broker) send(conn rueidis.CoreClient, q *queue, batch []command, spread bool) (failed error) {
	defer q.rest()
	commands := make([]rueidis.Completed, len(batch))
	for i := range batch {
		commands[i] = batch[i].build(conn.B(), spread)
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	defer cancel()
	for i, r := range conn.DoMulti(ctx, commands...) {
		err := r.Error()
		batch[i].ended()
		switch {
		case err == nil || rueidis.IsRedisNil(err):
			q.sent.Add(1)
			continue
		case r.NonRedisError() != nil:
			failed = err
			q.failed.Add(1)
		default:
			q.refused.Add(1)
			b.notices.Warn("redis: a message was refused", "channel", batch[i].channel, "error", err)
		}
	}
	return failed
}
