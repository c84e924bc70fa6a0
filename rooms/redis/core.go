package redis

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// A core is what the adapters have in common.
type core struct {
	// Immutable after start.
	o      Options
	host   rooms.Host
	b      *broker
	uid    string // of this server, for all namespaces
	shards bool   // channels are sharded ones
	keys   bool   // there are commands for keys
	hello  chan struct{}
	news   chan struct{}

	peers    peers
	requests requests

	asked, incomplete, discarded atomic.Int64

	mu    sync.Mutex
	open  map[string]struct{}            // the namespaces that are here
	rooms map[string]map[string]struct{} // with members here, by namespace
}

func newCore(o Options) *core {
	return &core{o: o, hello: make(chan struct{}, 1), news: make(chan struct{}, 1), rooms: map[string]map[string]struct{}{}, requests: requests{byID: map[string]*request{}}}
}

// start connects, in the background. Receive gets what comes on all channels
// but that of heartbeats.
func (c *core) start(h rooms.Host, uid string, receive func(channel string, payload []byte)) {
	c.host, c.uid = h, uid
	beats := beatChannel(c.o.Prefix)
	c.b = newBroker(c.o.Client, c.o.Timeout, c.o.MaxQueue, c.o.Logger, func(channel string, payload []byte) {
		if channel == beats {
			c.heardBeat(payload)
			return
		}
		receive(channel, payload)
	})
	c.subscribe(beats)
	c.b.keys = c.keys
	c.b.run(c.shards)
	c.b.ended.Add(1)
	// ends when the broker is closed
	go func() {
		c.beat(true, false)
		c.beats()
	}()
}

// subscribe subscribes to a channel.
func (c *core) subscribe(channel string) {
	k := exact
	if c.shards {
		k = sharded
	}
	c.b.subs.add(k, channel)
}

// publish queues a message.
func (c *core) publish(channel string, payload []byte) {
	c.b.queue.put(command{channel: channel, payload: payload, sharded: c.shards})
}

// Close tells the others that this server leaves, and ends.
func (c *core) Close(ctx context.Context) error {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	c.beat(false, true)
	return c.b.shut(ctx)
}

// occupied subscribes to the channel of a room.
func (c *core) occupied(namespace, channel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooms[namespace] == nil {
		c.rooms[namespace] = map[string]struct{}{}
	}
	c.rooms[namespace][channel] = struct{}{}
	c.subscribe(channel)
}

// has tells whether a namespace is open.
func (c *core) has(ns string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.open[ns]
	return ok
}

// vacated unsubscribes from it, after a while.
func (c *core) vacated(namespace, channel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.rooms[namespace][channel]; ok {
		delete(c.rooms[namespace], channel)
		c.b.subs.drop(channel, c.o.Linger)
	}
}

// dropped unsubscribes from what is left of a namespace.
func (c *core) dropped(namespace string, channels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel := range c.rooms[namespace] {
		c.b.subs.drop(channel, c.o.Linger)
	}
	delete(c.rooms, namespace)
	delete(c.open, namespace)
	for _, channel := range channels {
		c.b.subs.drop(channel, c.o.Linger)
	}
}

// isOwn tells whether a room looks like a socket's own of this server.
func (c *core) isOwn(room string) bool {
	const idLength = 20
	node := c.host.Node()
	return len(room) == idLength && room[:len(node)] == node
}

// Peer returns the server whose ids begin with node.
func (c *core) Peer(node string) (rooms.Peer, bool) { return c.peers.node(node) }

// Status says how the adapter is.
func (c *core) Status() rooms.Status {
	n, _ := c.b.subs.inPlace()
	up, since, reason := c.b.health.get()
	return rooms.Status{
		Up: up, Since: since, Reason: reason, Peers: c.peers.list(),
		Sent: c.b.queue.sent.Load(), Received: c.b.received.Load(), Discarded: c.discarded.Load(), Malformed: c.b.malformed.Load(),
		Lost: c.b.queue.lost.Load(), Reconnects: c.b.reconnects.Load(), Waiting: c.b.waiting(), Subscriptions: n,
		Requests: c.asked.Load(), Incomplete: c.incomplete.Load(),
	}
}

// newID returns n random characters of base64url.
func newID(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)[:n]
}

// The forms that events, targets and members have here and there.

func packetOf(e rooms.Event) wire.Packet {
	return wire.Packet{Data: e.Data, Attachments: e.Attachments}
}

func eventOf(p wire.Packet, f wire.Flags) rooms.Event {
	return rooms.Event{Data: p.Data, Attachments: p.Attachments, Volatile: f.Volatile, Plain: f.HasCompress && !f.Compress}
}

func optionsOf(t rooms.Target, e rooms.Event) wire.Options {
	return wire.Options{Rooms: t.Rooms, Except: t.Except, Flags: wire.Flags{Volatile: e.Volatile, HasCompress: e.Plain}}
}

func targetOf(namespace string, o wire.Options) rooms.Target {
	return rooms.Target{Namespace: namespace, Rooms: o.Rooms, Except: o.Except}
}

func valueOf(v wire.Value) rooms.Value { return rooms.Value(v) }

func membersOf(infos []wire.SocketInfo) []rooms.Member {
	all := make([]rooms.Member, len(infos))
	for i, s := range infos {
		all[i] = rooms.Member{ID: s.ID, Handshake: s.Handshake, Rooms: s.Rooms, Data: s.Data.Data}
	}
	return all
}

func infosOf(members []rooms.Member) []wire.SocketInfo {
	all := make([]wire.SocketInfo, len(members))
	for i, m := range members {
		all[i] = wire.SocketInfo{ID: m.ID, Handshake: m.Handshake, Rooms: m.Rooms, Data: wire.Value{Data: m.Data}}
	}
	return all
}
