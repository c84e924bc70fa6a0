package redis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// subscribeAll keeps the subscriptions in place.
func (b *broker) subscribeAll(client rueidis.Client, perNode bool) {
	if perNode {
		b.subscribeNodes(client)
	} else {
		b.hold(b.subs.first, func() rueidis.Client { return b.pin.of(client) })
	}
}

// hold keeps those of a line in place, on connections that client gives, which is
// nil if there is nobody to connect to.
func (b *broker) hold(l *line, client func() rueidis.Client) {
	defer b.ended.Done()
	for wait := firstPause; b.ctx.Err() == nil; wait = b.pause(wait) {
		if !b.subs.needed(b.ctx, l) {
			return
		}
		began, err := time.Now(), errNoNode
		if c := client(); c != nil {
			err = b.subscribeOn(c, l)
		}
		b.subs.reset(l, nil)
		if b.ctx.Err() != nil {
			return
		}
		b.gate.fail(err)
		if l.node == "" { // else a node of many is, which holds nobody up that is on others
			b.held.begin()
		}
		b.reconnects.Add(1)
		b.health.set(receiving, err)
		b.subs.first.poke() // the nodes may be others
		if time.Since(began) > lastPause {
			wait = firstPause
		}
	}
}

var (
	errUnconfirmed = errors.New("redis: subscriptions were not confirmed")
	errLost        = errors.New("redis: connection lost")
)

// subscribeOn keeps the subscriptions of a line in place on one connection, until
// that fails or the broker is closed.
func (b *broker) subscribeOn(client rueidis.Client, l *line) error {
	at := b.master(client) // before: it is not a later one's
	conn, release := client.Dedicate()
	defer release()
	gone := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { b.message(l, m) },
		OnSubscription: func(e rueidis.PubSubSubscription) {
			if b.subs.confirm(l, e) {
				b.reconnects.Add(1)
				b.gate.fail(errMoved)
				b.health.set(receiving, errMoved)
			}
			l.poke() // that may be all
		},
	})
	if err := b.reached(client, conn); err != nil {
		return err
	}
	b.subs.reset(l, conn)
	b.back.tell()
	return b.keep(conn, l, gone, func() error { return b.stays(client, at) })
}

// keep subscribes and unsubscribes as things change, and watches over the
// confirmations. Stays tells whether the connection is still the right one.
func (b *broker) keep(conn rueidis.CoreClient, l *line, gone <-chan error, stays func() error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	missing := time.Time{} // since when some are not confirmed
	for {
		for more := true; more; {
			var changes []change
			changes, more = b.subs.next(l, time.Now())
			if err := b.subscribe(conn, l, changes); err != nil {
				return err
			}
		}
		if ok, refusal := b.subs.settled(); ok {
			b.health.set(receiving, refusal)

		}
		switch {
		case !b.subs.unconfirmed(l):
			missing = time.Time{}
		case missing.IsZero():
			missing = time.Now()
		case time.Since(missing) > b.timeout:
			return errUnconfirmed
		}
		select {
		case <-b.ctx.Done():
			return nil
		case err := <-gone:
			if err == nil {
				err = errLost
			}
			return err
		case <-l.wake:
		case <-ticker.C:
			if err := stays(); err != nil {
				return err
			}
		}
	}
}

// subscribe sends commands, some at a time. The error is that of the connection:
// what Redis refuses is for another node, or for later.
func (b *broker) subscribe(conn rueidis.CoreClient, l *line, all []change) error {
	for part := range slices.Chunk(all, maxBatch) {
		commands := make([]rueidis.Completed, len(part))
		for i := range part {
			commands[i] = part[i].build(conn.B())
		}
		ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
		results := conn.DoMulti(ctx, commands...)
		cancel()
		for i, r := range results {
			err := r.Error()
			switch refusal, ok := rueidis.IsRedisErr(err); {
			case err == nil:
			case ok && strings.HasPrefix(refusal.Error(), "NOPERM"):
				b.forbidden(l, part[i], refusal)
			case ok && l.node != "":
				b.refused(l, part[i].topics[0], refusal)
			default:
				return err
			}
		}
	}
	return nil
}

// forbidden handles that the user we are may not have some topics. The adapter may
// have another way.
func (b *broker) forbidden(l *line, c change, refusal error) {
	if !c.begin {
		return // it was not ours then
	}
	first := b.subs.refuse(l, c.topics, refusal)
	if first == nil {
		return
	}
	if b.otherwise != nil && b.otherwise(c.topics[0], refusal) {
		return
	}
	b.notices.Warn("redis: a channel may not be subscribed to; its messages do not arrive", "channel", c.topics[0].name, "error", refusal)
}

func (b *broker) message(l *line, m rueidis.PubSubMessage) {
	b.received.Add(1)
	defer b.confine("a message")
	if b.gate.on.Load() && b.gate.takes(l, m) {
		return
	}
	b.receive(m.Pattern, m.Channel, []byte(m.Message))
}

// confine keeps a panic from ending the process: nobody else can recover on the
// goroutine of a connection.
func (b *broker) confine(what string) {
	if v := recover(); v != nil {
		b.malformed.Add(1)
		b.notices.Warn("redis: a panic was confined", "at", what, "panic", v)
	}
}

func (b *broker) ping(conn rueidis.CoreClient) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	return conn.Do(ctx, conn.B().Ping().Build()).Error()
}
