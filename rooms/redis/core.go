package redis

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	began  time.Time
	hello  chan struct{}
	news   chan struct{}

	peers    peers
	echo     echo
	saying   atomic.Int32 // heartbeats that have not been sent yet, or lost
	seekers  seekers
	requests requests

	asked, incomplete, refused atomic.Int64
	discards                   discards
	out, in                    messageCounts
	questions                  questions
	lag                        atomic.Int64 // ns: of the last heartbeat of this server that has come back

	answering chan struct{}                     // has one for each goroutine that answers
	ungiven   atomic.Int64                      // of these: sockets have not got yet what is theirs
	otherwise func(t topic, refusal error) bool // what broker.otherwise is

	// topics are those of a namespace that is open. It is called with mu held.
	topics func(namespace string) []topic
	// counted is that of a namespace by which servers are counted.
	counted func(namespace string) topic
	passes  func(channel string, payload []byte) bool // what gate.passes is
	spare   func(channel string, payload []byte)      // what gate.spare is

	move     moving
	standIns standIns
	sent     sent
	silent   atomic.Bool            // nothing is said of this server: another process does that
	alias    atomic.Pointer[string] // in place of uid, which is another process'; nil: there is none

	mu     sync.Mutex
	open   map[string]*opened // the namespaces that are here
	unseen bool               // what is counted is not subscribed to yet
}

// discards count what was received for nobody; see rooms.Discards.
type discards struct{ own, unwanted, late atomic.Int64 }

// An opened namespace has been opened so many times more than dropped: what a
// pattern and an instance of it are called may be the same.
type opened struct {
	times int
	told  bool // the others may be told: it has been subscribed to
}

func newCore(o Options) *core {
	return &core{
		o: o, hello: make(chan struct{}, 1), news: make(chan struct{}, 1), answering: make(chan struct{}, maxAnswers),
		open: map[string]*opened{}, requests: requests{byID: map[string]*request{}},
	}
}

// start connects, in the background. Receive gets what comes on all channels
// but that of heartbeats.
func (c *core) start(h rooms.Host, uid string, receive func(pattern, channel string, payload []byte)) {
	c.host, c.uid, c.began = h, uid, time.Now()
	heartbeats, marks := c.heartbeats(), c.o.Prefix+markInfix
	c.b = newBroker(&c.o, func(pattern, channel string, payload []byte) {
		switch {
		case strings.HasPrefix(channel, marks): // of a handover that is over, or another server's
			c.heardParting(payload)
		case channel != heartbeats.name:
			receive(pattern, channel, payload)
		case pattern == "":
			c.receiveHeartbeat(payload)
		}
	})
	c.b.keys, c.b.otherwise, c.b.together = c.keys, c.otherwise, c.together
	c.b.subs.add(heartbeats)
	c.startMoving()
	c.b.run(c.shards)
	c.b.ended.Add(1)
	// ends when the broker is closed
	go c.keepHeartbeats()
}

// channel returns the topic of a channel.
func (c *core) channel(name string) topic {
	if c.shards {
		return topic{sharded, name}
	}
	return topic{exact, name}
}

// me returns who this server is in what it publishes.
func (c *core) me() string {
	if alias := c.alias.Load(); alias != nil {
		return *alias
	}
	return c.uid
}

// publish queues a message.
func (c *core) publish(channel string, payload []byte) {
	c.sent.note(channel, payload)
	c.b.queue.put(command{channel: channel, payload: payload, sharded: c.shards})
}

// Close tells the others that this server leaves, and ends.
func (c *core) Close(ctx context.Context) error {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	c.sendHeartbeat(false, true)
	if c.silent.Load() {
		c.standIns.flush()
	}
	return c.b.shut(ctx)
}

// Open counts a namespace, and subscribes to it if it is the first of its name.
func (c *core) Open(ns string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.open[ns]
	if x == nil {
		x = &opened{}
		c.open[ns] = x
		for _, t := range c.topics(ns) {
			if !c.unseen || t != c.counted(ns) {
				c.b.subs.add(t)
			}
		}
	}
	x.times++
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Drop counts it out.
func (c *core) Drop(ns string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.open[ns]
	if x == nil {
		return
	}
	if x.times--; x.times == 0 {
		delete(c.open, ns)
		for _, t := range c.topics(ns) {
			if !c.unseen || t != c.counted(ns) {
				c.b.subs.drop(t)
			}
		}
	}
}

// has tells whether a namespace is open.
func (c *core) has(ns string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[ns] != nil
}

// maxAnswers bounds what other servers may have asked for that is not answered yet.
const maxAnswers = 16 << 10

// answer runs what may wait, on a goroutine of its own, unless there are too many. F may
// say sooner than it returns that sockets have what they are given by it.
func (c *core) answer(f func(given func())) {
	select {
	case c.answering <- struct{}{}:
	default:
		c.refused.Add(1)
		c.b.notices.Warn("redis: questions of other servers are not answered, since too many are being answered", "most", maxAnswers)
		return
	}
	c.ungiven.Add(1)
	given := sync.OnceFunc(func() { c.ungiven.Add(-1) })
	// ends when f has returned: what waits in it has a deadline
	go func() {
		defer func() { <-c.answering }()
		defer given()
		defer c.b.confine("a question of another server")
		f(given)
	}()
}

// isOwn tells whether a room looks like a socket's own of this server.
func (c *core) isOwn(room string) bool {
	const idLength = 20
	node := c.host.Node()
	return len(room) == idLength && strings.HasPrefix(room, node)
}

// Peer returns the server whose ids begin with node.
func (c *core) Peer(node string) (rooms.Peer, bool) { return c.peers.node(node) }

// Status says how the adapter is.
func (c *core) Status() rooms.Status {
	n, _, parked := c.b.subs.inPlace()
	up, since, reason := c.b.health.get()
	if other, ok := c.peers.elder(c.host.Node(), c.uid, c.began); ok {
		up, reason = false, fmt.Sprintf("%q, which began earlier, has the same node name %q", other.Name, other.Node)
	}
	waiting, size := c.b.waiting()
	losses := c.b.queue.losses()
	discards := rooms.Discards{Own: c.discards.own.Load(), Unwanted: c.discards.unwanted.Load(), Late: c.discards.late.Load()}
	return rooms.Status{
		Up: up, Since: since, Reason: reason, Peers: c.peers.list(),
		Sent: c.b.queue.sent.Load(), Received: c.b.received.Load(), Malformed: c.b.malformed.Load(), Reconnects: c.b.reconnects.Load(),
		Discarded: discards.Sum(), Discards: discards, Lost: losses.Sum(), Losses: losses,
		Waiting: waiting, WaitingBytes: int64(size), Subscriptions: n, Parked: parked,
		Refused: c.refused.Load(), Answering: len(c.answering),
		Out: c.out.messages(), In: c.in.messages(), Questions: c.questions.counts(), Lag: time.Duration(c.lag.Load()),
		Requests: c.asked.Load(), Pending: c.requests.pending(), Incomplete: c.incomplete.Load(),
	}
}

// unwritten counts a message that has no form on the wire. Clients may have a part in
// that, so it is logged as often as other mistakes of theirs.
func (c *core) unwritten(what string, err error) {
	c.b.queue.unwritten.Add(1)
	c.b.notices.Warn("redis: "+what+" could not be encoded", "error", err)
}

// OwnRooms says that sockets' own rooms need not be told.
func (c *core) OwnRooms() bool { return false }

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
