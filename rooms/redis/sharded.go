package redis

import (
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
	s.main = func(ns string) string { return wire.BroadcastChannel(s.o.Prefix, ns) }
	s.send = func(m *wire.Message) { s.put(wire.ShardedTarget(s.o.Prefix, s.o.Mode, m), m) }
	s.reply = func(uid string, m *wire.Message) { s.put(wire.RoomChannel(s.o.Prefix, m.Namespace, uid), m) }
	s.form = wire.Sharded
	s.start(h, newUID(), s.receive)
	return nil
}

// Open subscribes to a namespace.
func (s *shardedAdapter) Open(ns string) {
	s.subscribe(s.main(ns))
	s.opened(ns)
}

// Drop unsubscribes from a namespace.
func (s *shardedAdapter) Drop(ns string) {
	s.dropped(ns, s.main(ns), wire.RoomChannel(s.o.Prefix, ns, s.uid))
}

// WantsOwnRooms tells whether sockets' own rooms have channels too.
func (s *shardedAdapter) WantsOwnRooms() bool { return s.o.Mode == DynamicPrivate }

// channel returns the channel of a room, "" if it has none.
func (s *shardedAdapter) channel(ns, room string) string {
	m := wire.Message{Type: wire.BroadcastMessage, Namespace: ns, Options: wire.Options{Rooms: []string{room}}}
	if channel := wire.ShardedTarget(s.o.Prefix, s.o.Mode, &m); channel != s.main(ns) {
		return channel
	}
	return ""
}

// Occupied subscribes to a room.
func (s *shardedAdapter) Occupied(ns, room string) {
	if channel := s.channel(ns, room); channel != "" {
		s.occupied(ns, channel)
	}
}

// Vacated unsubscribes from a room, after a while.
func (s *shardedAdapter) Vacated(ns, room string) {
	if channel := s.channel(ns, room); channel != "" {
		s.vacated(ns, channel)
	}
}
