package redis

import (
	"context"
	"strings"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// classic is the adapter of createAdapter. Where that subscribes to a pattern
// for each namespace, it subscribes to the channels of rooms that have members
// here, and to one pattern for the sockets' own rooms, whose names begin with
// the node's: every publisher uses the room's channel if there is exactly one
// room.
type classic struct {
	*core
	broadcasts, queries, responses string // beginnings of channels
	own                            string // pattern of the sockets' own rooms

	way way // guarded by mu
}

// Redis sends a message once for each subscription that it matches, and names
// collide: the pattern of /a matches what is for /a#b. So a message has one way,
// by what it says itself: that of sockets' own rooms, with Patterns that of all; or
// the channel's own. What comes by another one is discarded.

// A way is which patterns there are. They are tried in this order, since Redis
// lets a user have patterns only that its access list has word for word.
type way uint8

const (
	ownPattern        way = iota // what is for sockets of this server
	namespacePatterns            // one for each namespace, as Node's servers have
	onePattern                   // all
)

// Start begins.
func (c *classic) Start(h rooms.Host) error {
	p := c.o.Prefix
	c.broadcasts, c.queries, c.responses = p+"#", p+"-request#", p+"-response#"
	c.own = wire.EscapeGlob(p) + "#*#" + wire.EscapeGlob(h.Node()) + strings.Repeat("?", 20-len(h.Node())) + "#"
	c.core.topics, c.core.otherwise = c.topics, c.otherwise
	c.core.counted = func(ns string) topic { return topic{exact, wire.RequestChannel(p, ns)} }
	c.core.passes, c.core.spare = c.passes, c.spare
	if c.o.Patterns {
		c.way = namespacePatterns
	}
	c.start(h, h.Node()+newID(2), c.receive)
	if !c.o.Patterns {
		c.b.subs.add(topic{pattern, c.own})
	}
	return nil
}

// topics are those of a namespace. Its responses are subscribed to when something is
// asked. c.mu is held.
func (c *classic) topics(ns string) []topic {
	all := []topic{{exact, wire.RequestChannel(c.o.Prefix, ns)}}
	if !c.o.Patterns {
		all = append(all, topic{exact, wire.BroadcastChannel(c.o.Prefix, ns)})
	}
	if c.way == namespacePatterns {
		all = append(all, c.pattern(ns))
	}
	return all
}

// pattern returns that by which messages for a namespace come, if they have to come
// by one. c.mu is held.
func (c *classic) pattern(ns string) topic {
	switch c.way {
	case ownPattern:
		return topic{pattern, c.own}
	case namespacePatterns:
		return topic{pattern, wire.BroadcastPattern(c.o.Prefix, ns)}
	}
	return topic{pattern, wire.EscapeGlob(c.o.Prefix) + "#*"}
}

// otherwise goes on to the next way if a pattern was refused.
func (c *classic) otherwise(t topic, refusal error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.kind != pattern || c.way == onePattern {
		return false
	}
	for ns := range c.open {
		if c.way == namespacePatterns {
			c.b.subs.drop(c.pattern(ns))
		}
	}
	if c.way == ownPattern {
		c.b.subs.drop(topic{pattern, c.own})
	}
	c.way++
	instead := c.pattern("/")
	if c.way == onePattern {
		c.b.subs.add(instead)
	} else {
		for ns := range c.open {
			c.b.subs.add(c.pattern(ns))
		}
	}
	c.b.notices.Warn("redis: a pattern may not be subscribed to; this server is sent more than it needs instead", "pattern", t.name, "instead", instead.name, "error", refusal)
	return true
}

// Occupied subscribes to a room.
func (c *classic) Occupied(ns, room string) {
	if !c.o.Patterns && !c.isOwn(room) {
		c.b.subs.add(topic{exact, wire.RoomChannel(c.o.Prefix, ns, room)})
	}
}

// Vacated unsubscribes from a room, after a while.
func (c *classic) Vacated(ns, room string) {
	if !c.o.Patterns && !c.isOwn(room) {
		c.b.subs.drop(topic{exact, wire.RoomChannel(c.o.Prefix, ns, room)})
	}
}

// Await waits for the subscriptions of rooms.
func (c *classic) Await(ctx context.Context, ns string, names []string) error {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	for _, name := range names {
		if err := c.await(ctx, ns, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *classic) await(ctx context.Context, ns, room string) error {
	if !c.o.Patterns && !c.isOwn(room) {
		return c.b.subs.await(ctx, topic{exact, wire.RoomChannel(c.o.Prefix, ns, room)})
	}
	for {
		c.mu.Lock()
		t := c.pattern(ns)
		c.mu.Unlock()
		err := c.b.subs.await(ctx, t)
		c.mu.Lock()
		same := t == c.pattern(ns)
		c.mu.Unlock()
		if err == nil || same || ctx.Err() != nil {
			return err
		}
	}
}
