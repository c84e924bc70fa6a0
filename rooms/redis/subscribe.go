package redis

import (
	"context"
	"errors"
	"slices"
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
	line   *line // the connection that it belongs to
	wanted bool
	until  time.Time // if not wanted: when it may end
	after  time.Time // when it may be asked for again
	moves  int       // from node to node, since it was ready
	sent   bool      // on this connection
	ready  bool      // confirmed on this connection
}

// A line is a connection for subscriptions: the only one, or that to a node of a
// Redis Cluster.
type line struct {
	// Immutable.
	node string // address; "" is the only one, or what no node has
	wake chan struct{}

	// Guarded by subscriptions.mu.
	changed map[string]struct{} // to be looked at
	due     int                 // subscriptions that have been asked for, and are not confirmed
}

// subscriptions are those of a broker, by channel or pattern.
type subscriptions struct {
	first *line // that of no node; immutable

	mu    sync.Mutex
	all   map[string]*subscription
	lines map[string]*line // by node
	slots []string         // the nodes of a Redis Cluster, by slot; nil without one
	moved chan struct{}    // closed when something has been confirmed
	live  bool             // there is a connection, or it is known which there must be
	ready int              // subscriptions in place
	due   int              // wanted, and not in place
}

func (s *subscriptions) init() {
	s.moved = make(chan struct{})
	s.all, s.lines = map[string]*subscription{}, map[string]*line{}
	s.first = s.line("")
}

// line returns the line of a node. s.mu is held.
func (s *subscriptions) line(node string) *line {
	l := s.lines[node]
	if l == nil {
		l = &line{node: node, wake: make(chan struct{}, 1), changed: map[string]struct{}{}}
		s.lines[node] = l
	}
	return l
}

// count adds n times what a subscription counts for. It is called before and after
// each change, with s.mu held.
func (s *subscriptions) count(sub *subscription, n int) {
	switch {
	case sub.ready:
		s.ready += n
		return
	case sub.wanted:
		s.due += n
	}
	if sub.sent {
		sub.line.due += n
	}
}

// add says that a subscription is wanted.
func (s *subscriptions) add(k kind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[name]
	if sub == nil {
		sub = &subscription{kind: k, line: s.line(s.place(name))}
		s.all[name] = sub
	}
	s.count(sub, -1)
	sub.wanted = true
	s.count(sub, 1)
	if !sub.sent {
		s.touch(sub, name)
	}
}

// drop says that a subscription is not wanted any more. It stays for a while, as
// rooms come and go.
func (s *subscriptions) drop(name string, linger time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.all[name]; sub != nil && sub.wanted {
		s.count(sub, -1)
		sub.wanted, sub.until = false, time.Now().Add(linger)
		s.count(sub, 1)
		s.touch(sub, name)
	}
}

// touch has a subscription looked at. It is called with s.mu held.
func (s *subscriptions) touch(sub *subscription, name string) {
	sub.line.changed[name] = struct{}{}
	sub.line.poke()
}

// poke wakes who keeps the line.
func (l *line) poke() {
	select {
	case l.wake <- struct{}{}:
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

// inPlace returns how many subscriptions are in place, and whether that is all.
func (s *subscriptions) inPlace() (n int, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready, s.live && s.due == 0
}

// unconfirmed tells whether something was asked for on a line that Redis has not
// confirmed.
func (s *subscriptions) unconfirmed(l *line) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.due > 0
}

// confirm notes what Redis says about a subscription of a line. It may end one by
// itself, when the channel moves to another node: then it is lost.
func (s *subscriptions) confirm(l *line, e rueidis.PubSubSubscription) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[e.Channel]
	if sub == nil || sub.line != l {
		return false
	}
	s.count(sub, -1)
	switch e.Kind {
	case "subscribe", "psubscribe", "ssubscribe":
		sub.ready, sub.moves = true, 0
	default:
		lost = sub.ready && sub.wanted
		sub.ready = false
		if sub.sent {
			sub.sent = false
			s.touch(sub, e.Channel)
		}
	}
	s.count(sub, 1)
	close(s.moved)
	s.moved = make(chan struct{})
	return lost
}

// isReady tells whether a subscription is in place.
func (s *subscriptions) isReady(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[name]
	return sub != nil && sub.ready
}

// reset says that a line has a new connection, or none.
func (s *subscriptions) reset(l *line, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.live = live
	}
	for name, sub := range s.all {
		if sub.line == l {
			s.count(sub, -1)
			sub.sent, sub.ready = false, false
			s.count(sub, 1)
			s.touch(sub, name)
		}
	}
}

// next returns what is to be subscribed to and unsubscribed from on a line, by
// kind, and marks it as such.
func (s *subscriptions) next(l *line, now time.Time) (add, drop [3][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range l.changed {
		sub := s.all[name]
		switch {
		case sub == nil || sub.line != l:
		case sub.wanted && !sub.sent:
			if now.Before(sub.after) {
				continue // and look again
			}
			s.count(sub, -1)
			sub.sent = true
			s.count(sub, 1)
			add[sub.kind] = append(add[sub.kind], name)
		case sub.wanted:
		case !sub.sent:
			s.forget(sub, name)
		case now.Before(sub.until):
			continue // and look again
		default:
			drop[sub.kind] = append(drop[sub.kind], name)
			s.forget(sub, name)
		}
		delete(l.changed, name)
	}
	return add, drop
}

// forget ends a subscription. s.mu is held.
func (s *subscriptions) forget(sub *subscription, name string) {
	s.count(sub, -1)
	delete(s.all, name)
}

// subscribeAll keeps the subscriptions in place.
func (b *broker) subscribeAll(client rueidis.Client, perNode bool) {
	if perNode {
		b.subscribeNodes(client)
	} else {
		b.hold(b.subs.first, func() rueidis.Client { return client })
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
		b.subs.reset(l, false)
		if b.ctx.Err() != nil {
			return
		}
		b.reconnects.Add(1)
		b.health.set(b.log, receiving, err)
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

// tick is how often subscriptions are looked at without a reason.
const tick = 250 * time.Millisecond

// subscribeOn keeps the subscriptions of a line in place on one connection, until
// that fails or the broker is closed.
func (b *broker) subscribeOn(client rueidis.Client, l *line) error {
	conn, release := client.Dedicate()
	defer release()
	gone := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: b.message,
		OnSubscription: func(e rueidis.PubSubSubscription) {
			if b.subs.confirm(l, e) {
				b.reconnects.Add(1)
				b.health.set(b.log, receiving, errMoved)
			}
		},
	})
	if err := b.ping(conn); err != nil {
		return err
	}
	b.subs.reset(l, true)
	return b.keep(conn, l, gone)
}

// keep subscribes and unsubscribes as things change, and watches over the
// confirmations.
func (b *broker) keep(conn rueidis.CoreClient, l *line, gone <-chan error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	missing := time.Time{} // since when some are not confirmed
	for {
		add, drop := b.subs.next(l, time.Now())
		if err := b.subscribe(conn, l, subscribeCommands(conn.B(), add, drop)); err != nil {
			return err
		}
		if _, all := b.subs.inPlace(); all {
			b.health.set(b.log, receiving, nil)
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
		}
	}
}

// subscribe sends commands, some at a time. The error is that of the connection:
// what a node of a Redis Cluster refuses is for another, or for later.
func (b *broker) subscribe(conn rueidis.CoreClient, l *line, all []change) error {
	for part := range slices.Chunk(all, maxBatch) {
		commands := make([]rueidis.Completed, len(part))
		for i := range part {
			commands[i] = part[i].command
		}
		ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
		results := conn.DoMulti(ctx, commands...)
		cancel()
		for i, r := range results {
			err := r.Error()
			if refusal, ok := rueidis.IsRedisErr(err); ok && l.node != "" {
				b.refused(l, part[i].name, refusal)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// A change is a command to subscribe or to unsubscribe; name is the channel's if
// it is sharded.
type change struct {
	command rueidis.Completed
	name    string
}

// subscribeCommands returns the commands for changes: names by the hundred, but
// sharded channels one by one, since they may be of several slots.
func subscribeCommands(builder rueidis.Builder, add, drop [3][]string) (all []change) {
	const most = 500
	for _, how := range []struct {
		names [3][]string
		words [3]string
	}{
		{add, [3]string{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"}},
		{drop, [3]string{"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"}},
	} {
		for k, names := range how.names {
			size := most
			if kind(k) == sharded {
				size = 1
			}
			for ; len(names) > 0; names = names[min(size, len(names)):] {
				all = append(all, change{subscribeCommand(builder, how.words[k], names[:min(size, len(names))]), names[0]})
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

func (b *broker) message(m rueidis.PubSubMessage) {
	b.received.Add(1)
	b.receive(m.Channel, []byte(m.Message))
}

func (b *broker) ping(conn rueidis.CoreClient) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	return conn.Do(ctx, conn.B().Ping().Build()).Error()
}
