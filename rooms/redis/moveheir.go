package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The side of the heir.

// Inherit has the server begin in the place of another process; see rooms.Movable.
func (c *core) Inherit(p []byte) error {
	o, err := parseOffer(p)
	switch {
	case err != nil:
		return err
	case o.How != c.move.how:
		return fmt.Errorf("redis: this process is in its cluster by %s, and the other by %s", c.move.how, o.How)
	case c.b != nil:
		return errStage
	}
	c.move.heir = o
	return nil
}

// hear subscribes to what an offer names, as far as that is not counted as long as that is
// not to be seen. x.mu is held, or nobody else is there.
func (c *core) hear(o *offer) {
	x := &c.move
	if x.topics == nil {
		x.topics = map[topic]struct{}{}
	}
	counted := map[topic]struct{}{}
	if c.unseen {
		for _, ns := range o.Namespaces {
			counted[c.counted(ns)] = struct{}{}
		}
	}
	add := func(t topic) {
		if _, later := counted[t]; later {
			return
		}
		if _, ok := x.topics[t]; !ok {
			x.topics[t] = struct{}{}
			c.b.subs.add(t)
		}
	}
	for _, t := range o.topics {
		add(t)
	}
	for _, name := range o.Marks {
		add(c.channel(name))
	}
}

// see subscribes to what is counted, too: from now on this process is a server to those who
// ask.
func (c *core) see() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unseen {
		c.unseen = false
		for ns := range c.open {
			c.b.subs.add(c.counted(ns))
		}
	}
}

// Follow returns when this server hears what the other hears; see rooms.Movable.
func (c *core) Follow(ctx context.Context, p []byte) (err error) {
	defer c.calledOff("following", &err)
	o, err := parseOffer(p)
	if err != nil {
		return err
	}
	x := &c.move
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage != heirs || o.UID != c.uid || o.How != x.how {
		return errStage
	}
	x.marks = nil
	for _, name := range o.Marks {
		if !strings.HasPrefix(name, c.o.Prefix+markInfix) {
			return errOffer
		}
		x.marks = append(x.marks, c.channel(name))
	}
	x.secret = o.Secret
	c.see()
	c.hear(o)
	if err := c.b.inPlace(ctx); err != nil {
		return err
	}
	if c.b.subs.parkedOf(x.topics) {
		return errTooMany
	}
	c.b.gate.attend(o.Secret, x.marks)
	if err := c.hears(ctx); err != nil {
		return err
	}
	if ok, _ := c.b.subs.settled(); !ok { // before the gate would have noticed
		return errLost
	}
	return nil
}

// inPlace waits until all subscriptions are, as far as Redis lets us have them.
func (b *broker) inPlace(ctx context.Context) error {
	for ; ; time.Sleep(time.Millisecond) {
		if ok, _ := b.subs.settled(); ok {
			break
		}
		if _, _, reason := b.health.get(); ctx.Err() != nil {
			return fmt.Errorf("redis: not everything is subscribed to: %w: %s", ctx.Err(), reason)
		}
	}
	return nil
}

// hears waits until the process that goes is subscribed where this one is: at each server
// of Redis, there are two at the channel of a marker. x.mu is held.
func (c *core) hears(ctx context.Context) error {
	what := "NUMSUB"
	if c.shards {
		what = "SHARDNUMSUB"
	}
	if !c.marked() {
		return errLine
	}
	for _, t := range c.move.marks {
		if err := c.b.subs.await(ctx, t); err != nil {
			return err
		}
		for ; ; time.Sleep(time.Millisecond) {
			conn := c.b.subs.at(c.b.subs.lineOf(t))
			if conn == nil {
				return errLost
			}
			n, err := numSub(ctx, conn, what, t.name)
			if err == nil && n > 1 {
				break
			}
			if ctx.Err() != nil {
				return errors.Join(errNotThere, err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Succeed begins to take part; see rooms.Movable.
func (c *core) Succeed(p []byte) error {
	_, err := c.succeed(p)
	return err
}

func (c *core) succeed(p []byte) (at place, err error) {
	defer c.calledOff("succeeding", &err)
	if at, err = parsePlace(p); err != nil {
		return at, err
	}
	x := &c.move
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage != heirs || at.Secret != x.secret {
		return at, errStage
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.o.Timeout)
	defer cancel()
	if err := c.b.gate.split(ctx, at.N, func() error { return nil }); err != nil {
		return at, err
	}
	word := partingWord(x.secret)
	x.word.Store(&word)
	x.stage, x.secret = settled, ""
	c.silent.Store(false)
	c.b.gate.open(c.receiveKept)
	for t := range x.topics {
		c.b.subs.drop(t)
	}
	x.topics, x.marks = nil, nil
	select {
	case c.news <- struct{}{}: // a heartbeat, soon
	default:
	}
	return at, nil
}
