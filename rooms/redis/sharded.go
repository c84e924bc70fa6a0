package redis

import (
	"cmp"
	"context"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// A shardedAdapter is the adapter of createShardedAdapter: channels that a Redis Cluster
// keeps on the node of their slot.
type shardedAdapter struct {
	family
	prefix string // of all channels
}

// Start begins.
func (s *shardedAdapter) Start(h rooms.Host) error {
	s.shards, s.prefix = true, s.o.Prefix+"#"
	s.send = func(m *wire.Message) { s.put(wire.ShardedTarget(s.o.Prefix, s.o.Mode, m), m) }
	s.form = wire.Sharded
	s.topics = s.mainTopics
	s.counts()
	s.start(h, newUID(), s.receive)
	return nil
}

// OwnRooms tells whether sockets' own rooms have channels too.
func (s *shardedAdapter) OwnRooms() bool { return s.o.Mode == DynamicPrivate }

// room returns the channel of a room, "" if it has none.
func (s *shardedAdapter) room(ns, room string) string {
	m := wire.Message{Type: wire.BroadcastMessage, Namespace: ns, Options: wire.Options{Rooms: []string{room}}}
	if channel := wire.ShardedTarget(s.o.Prefix, s.o.Mode, &m); channel != s.main(ns) {
		return channel
	}
	return ""
}

// Occupied subscribes to a room.
func (s *shardedAdapter) Occupied(ns, room string) {
	if channel := s.room(ns, room); channel != "" {
		s.b.subs.add(s.channel(channel))
	}
}

// Vacated unsubscribes from a room, after a while.
func (s *shardedAdapter) Vacated(ns, room string) {
	if channel := s.room(ns, room); channel != "" {
		s.b.subs.drop(s.channel(channel))
	}
}

// Await waits for the subscriptions of rooms.
func (s *shardedAdapter) Await(ctx context.Context, ns string, names []string) error {
	ctx, cancel := deadline(ctx, s.o.Timeout)
	defer cancel()
	for _, name := range names {
		if err := s.b.subs.await(ctx, s.channel(cmp.Or(s.room(ns, name), s.main(ns)))); err != nil {
			return err
		}
	}
	return nil
}
