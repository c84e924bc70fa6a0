package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// A kind of subscription.
type kind uint8

const (
	exact   kind = iota // SUBSCRIBE
	pattern             // PSUBSCRIBE
	sharded             // SSUBSCRIBE
)

// A subscription is one that is wanted, or was until a moment ago.
type subscription struct {
	kind   kind
	wanted bool
	until  time.Time // if not wanted: when it may end
	sent   bool      // on this connection
	ready  bool      // confirmed on this connection
}

// subscriptions are those of a broker, by channel or pattern.
type subscriptions struct {
	wake chan struct{}

	mu      sync.Mutex
	all     map[string]*subscription
	changed map[string]struct{} // to be looked at
	moved   chan struct{}       // closed when something has been confirmed
	live    bool                // there is a connection
}

func (s *subscriptions) init() {
	s.wake, s.moved = make(chan struct{}, 1), make(chan struct{})
	s.all, s.changed = map[string]*subscription{}, map[string]struct{}{}
}

// add says that a subscription is wanted.
func (s *subscriptions) add(k kind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[name]
	if sub == nil {
		sub = &subscription{kind: k}
		s.all[name] = sub
	}
	sub.wanted = true
	if !sub.sent {
		s.touch(name)
	}
}

// drop says that a subscription is not wanted any more. It stays for a while, as
// rooms come and go.
func (s *subscriptions) drop(name string, linger time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.all[name]; sub != nil && sub.wanted {
		sub.wanted, sub.until = false, time.Now().Add(linger)
		s.touch(name)
	}
}

// touch is called with s.mu held.
func (s *subscriptions) touch(name string) {
	s.changed[name] = struct{}{}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await returns when a subscription is in place.
func (s *subscriptions) await(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		sub, moved := s.all[name], s.moved
		ready := sub != nil && sub.ready
		s.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count returns how many subscriptions are in place, and whether that is all.
func (s *subscriptions) count() (n int, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = s.live
	for _, sub := range s.all {
		if sub.ready {
			n++
		} else if sub.wanted {
			all = false
		}
	}
	return n, all
}

// confirm notes what Redis says about a subscription. It may end one by itself,
// when the channel moves to another node.
func (s *subscriptions) confirm(e rueidis.PubSubSubscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[e.Channel]
	if sub == nil {
		return
	}
	switch e.Kind {
	case "subscribe", "psubscribe", "ssubscribe":
		sub.ready = true
	default:
		sub.ready = false
		if sub.sent {
			sub.sent = false
			s.touch(e.Channel)
		}
	}
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *subscriptions) get(name string) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name]
}

// ready tells whether a subscription is in place.
func (s *subscriptions) ready(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[name]
	return sub != nil && sub.ready
}

// lose says that a subscription has ended by itself.
func (s *subscriptions) lose(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.ready = false
}

// reset says that there is a new connection, or none.
func (s *subscriptions) reset(live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
	for name, sub := range s.all {
		sub.sent, sub.ready = false, false
		s.touch(name)
	}
}

// next returns what is to be subscribed to and unsubscribed from, by kind, and
// marks it as such.
func (s *subscriptions) next(now time.Time) (add, drop [3][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.changed {
		sub := s.all[name]
		switch {
		case sub == nil:
		case sub.wanted && !sub.sent:
			sub.sent = true
			add[sub.kind] = append(add[sub.kind], name)
		case sub.wanted:
		case !sub.sent:
			delete(s.all, name)
		case now.Before(sub.until):
			continue // and look again
		default:
			drop[sub.kind] = append(drop[sub.kind], name)
			delete(s.all, name)
		}
		delete(s.changed, name)
	}
	return add, drop
}

// subscribeAll keeps the subscriptions in place.
func (b *broker) subscribeAll(client rueidis.Client, perChannel bool) {
	defer b.ended.Done()
	for wait := firstPause; b.ctx.Err() == nil; wait = b.pause(wait) {
		began := time.Now()
		var err error
		if perChannel {
			err = b.subscribeEach(client)
		} else {
			err = b.subscribeOn(client)
		}
		b.subs.reset(false)
		if b.ctx.Err() != nil {
			return
		}
		b.reconnects.Add(1)
		b.health.set(b.log, err)
		if time.Since(began) > lastPause {
			wait = firstPause
		}
	}
}

var (
	errUnconfirmed = errors.New("redis: subscriptions were not confirmed")
	errLost        = errors.New("redis: connection lost")
)

// tick is how often subscriptions are looked at without a reason.
const tick = 250 * time.Millisecond

// subscribeOn keeps the subscriptions in place on one connection, until that
// fails or the broker is closed.
func (b *broker) subscribeOn(client rueidis.Client) error {
	conn, release := client.Dedicate()
	defer release()
	gone := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage:      b.message,
		OnSubscription: b.subs.confirm,
	})
	if err := b.ping(conn); err != nil {
		return err
	}
	b.subs.reset(true)
	return b.keep(gone, func(add, drop [3][]string) error {
		for _, c := range subscribeCommands(conn.B(), add, drop) {
			ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
			err := conn.Do(ctx, c).Error()
			cancel()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// keep has change called with what is to change, and watches over the
// confirmations.
func (b *broker) keep(gone <-chan error, change func(add, drop [3][]string) error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	missing := time.Time{} // since when some are not confirmed
	for {
		add, drop := b.subs.next(time.Now())
		if err := change(add, drop); err != nil {
			return err
		}
		switch _, all := b.subs.count(); {
		case all:
			missing = time.Time{}
			b.health.set(b.log, nil)
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
		case <-b.subs.wake:
		case <-ticker.C:
		}
	}
}

// subscribeCommands returns the commands for changes: names by the hundred, but
// sharded channels one by one, since they may be of several slots.
func subscribeCommands(builder rueidis.Builder, add, drop [3][]string) (all []rueidis.Completed) {
	const most = 500
	for _, change := range []struct {
		names [3][]string
		words [3]string
	}{
		{add, [3]string{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"}},
		{drop, [3]string{"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"}},
	} {
		for k, names := range change.names {
			size := most
			if kind(k) == sharded {
				size = 1
			}
			for ; len(names) > 0; names = names[min(size, len(names)):] {
				all = append(all, subscribeCommand(builder, change.words[k], names[:min(size, len(names))]))
			}
		}
	}
	return all
}

func subscribeCommand(b rueidis.Builder, word string, names []string) rueidis.Completed {
	switch word {
	case "SUBSCRIBE":
		return b.Subscribe().Channel(names...).Build()
	case "PSUBSCRIBE":
		return b.Psubscribe().Pattern(names...).Build()
	case "SSUBSCRIBE":
		return b.Ssubscribe().Channel(names...).Build()
	case "UNSUBSCRIBE":
		return b.Unsubscribe().Channel(names...).Build()
	case "PUNSUBSCRIBE":
		return b.Punsubscribe().Pattern(names...).Build()
	}
	return b.Sunsubscribe().Channel(names...).Build()
}

// subscribeEach keeps sharded channels in place on the nodes of a Redis Cluster:
// each has a goroutine, which follows its channel when that moves.
func (b *broker) subscribeEach(client rueidis.Client) error {
	if err := b.ping(client); err != nil {
		return err
	}
	b.subs.reset(true)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	return b.keep(nil, func(add, drop [3][]string) error {
		for _, name := range add[sharded] {
			b.ended.Add(1)
			// ends when the channel is not wanted any more, or with ctx
			go b.follow(ctx, client, name, b.subs.get(name))
		}
		for _, name := range drop[sharded] {
			client.Do(ctx, client.B().Sunsubscribe().Channel(name).Build()) // ends follow
		}
		return nil
	})
}

func (b *broker) follow(ctx context.Context, client rueidis.Client, name string, sub *subscription) {
	defer b.ended.Done()
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(e rueidis.PubSubSubscription) {
		if e.Kind == "ssubscribe" {
			b.subs.confirm(e)
		}
	})
	for wait := firstPause; ; {
		err := client.Receive(hooked, client.B().Ssubscribe().Channel(name).Build(), b.message)
		if ctx.Err() != nil || b.subs.get(name) != sub {
			return
		}
		b.subs.lose(sub)
		if err != nil {
			b.health.set(b.log, err)
			wait = b.pause(wait)
		}
	}
}

func (b *broker) message(m rueidis.PubSubMessage) {
	b.received.Add(1)
	b.receive(m.Channel, []byte(m.Message))
}

func (b *broker) ping(conn rueidis.CoreClient) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	return conn.Do(ctx, conn.B().Ping().Build()).Error()
}
