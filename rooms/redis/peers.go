package redis

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// Servers of this kind tell each other that they are there, once a second, and
// are taken for dead after three: less than a request waits.
const (
	heartbeatEvery = time.Second
	deadAfter      = 3 * time.Second
	// heartbeatGap is how often one may say something between: who asks, and namespaces
	// that come, may be many, and all servers hear each time.
	heartbeatGap = heartbeatEvery / 4
)

// A heartbeat says that a server is there, as JSON. Servers of Node do not see it.
type heartbeat struct {
	UID  string `json:"uid"`
	Node string `json:"node"`
	Name string `json:"name"`
	Addr string `json:"addr,omitempty"`
	// Token is what the server's proofs are derived of: rooms.Host.Token.
	Token string     `json:"token,omitempty"`
	Load  rooms.Load `json:"load"`
	// Namespaces are those that are open there; none if these are too many to say.
	Namespaces []string `json:"nsps,omitempty"`

	Hello bool `json:"hello,omitempty"` // asks for everybody's
	Bye   bool `json:"bye,omitempty"`
	// Began is when the server did, in Unix ms: of two with one name, the first keeps
	// it.
	Began int64 `json:"began,omitempty"`
	// Sent is when this was queued, in ns since the sender began: for itself.
	Sent int64 `json:"sent,omitempty"`
}

// heartbeats is where heartbeats are published: no namespace is called so, and who may
// have all that begins with the prefix may have it.
func (c *core) heartbeats() topic { return c.channel(c.o.Prefix + "#sioedge#") }

// maxPeers bounds the servers that are known by name.
const maxPeers = 4096

// peers are the other servers of this kind.
type peers struct {
	mu    sync.Mutex
	known map[string]*peer // by uid
	gone
	news moment // somebody has come, or left
}

// A peer is one of them.
type peer struct {
	rooms.Peer
	namespaces []string // as far as it says
	began      int64
}

// note takes down what a heartbeat says.
func (p *peers) note(b heartbeat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Bye {
		delete(p.known, b.UID)
		p.leave(b.Node, b.UID, time.Now())
		p.news.come()
		return
	}
	if p.hasLeft(b.Node, b.UID) {
		return
	}
	if p.known == nil {
		p.known = map[string]*peer{}
	}
	before := p.known[b.UID]
	if before == nil {
		if len(p.known) >= maxPeers {
			return
		}
		p.back(b.Node)
		p.news.come()
	}
	now := &peer{rooms.Peer{Node: b.Node, Name: b.Name, Addr: b.Addr, Token: b.Token, Seen: time.Now(), Load: b.Load}, b.Namespaces, b.Began}
	if before != nil {
		now.Unanswered = before.Unanswered
	}
	p.known[b.UID] = now
}

// unanswered counts a request that servers did not answer.
func (p *peers) unanswered(uids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, uid := range uids {
		if x := p.known[uid]; x != nil {
			x.Unanswered++
		}
	}
}

// sweep forgets who has not been heard of since up, when hearing began.
func (p *peers) sweep(now, up time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, peer := range p.known {
		if now.Sub(peer.Seen) > deadAfter && now.Sub(up) > deadAfter {
			delete(p.known, uid)
			p.silence(peer.Peer)
		}
	}
	p.gone.sweep(now)
}

// alive returns the names of those that are there, by uid.
func (p *peers) alive() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make(map[string]string, len(p.known))
	for uid, peer := range p.known {
		names[uid] = peer.Name
	}
	return names
}

// having is alive, of those that say that they have a namespace.
func (p *peers) having(namespace string) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := map[string]string{}
	for uid, peer := range p.known {
		if slices.Contains(peer.namespaces, namespace) {
			names[uid] = peer.Name
		}
	}
	return names
}

func (p *peers) has(uid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[uid] != nil
}

// node returns the peer whose ids begin with node, the first that began if there
// are several; if there is none, that which was there and has not said that it leaves.
func (p *peers) node(node string) (rooms.Peer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(node)
}

// find is node with p.mu held.
func (p *peers) find(node string) (rooms.Peer, bool) {
	if _, first := p.first(node); first != nil {
		return first.Peer, true
	}
	peer, ok := p.silent[node]
	return peer, ok
}

// first returns the peer with a name that began first. p.mu is held.
func (p *peers) first(node string) (uid string, first *peer) {
	for id, x := range p.known {
		if x.Node == node && (first == nil || x.began < first.began || x.began == first.began && id < uid) {
			uid, first = id, x
		}
	}
	return uid, first
}

// elder returns the peer with a server's name that began before it.
func (p *peers) elder(node, uid string, began time.Time) (rooms.Peer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, first := p.first(node)
	at := began.UnixMilli()
	if first == nil || first.began > at || first.began == at && id > uid {
		return rooms.Peer{}, false
	}
	return first.Peer, true
}

// count returns how many are known.
func (p *peers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known)
}

func (p *peers) list() []rooms.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []rooms.Peer
	for _, peer := range p.known {
		shown := peer.Peer
		shown.Token = ""
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b rooms.Peer) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// sendHeartbeat publishes a heartbeat, unless another process does.
func (c *core) sendHeartbeat(hello, bye bool) {
	if c.silent.Load() {
		return
	}
	b := heartbeat{UID: c.uid, Node: c.host.Node(), Name: c.o.Name, Addr: c.host.Advertise(), Token: c.host.Token(), Hello: hello, Bye: bye, Began: c.began.UnixMilli(), Sent: int64(time.Since(c.began))}
	if !bye {
		b.Load, b.Namespaces = c.load(), c.namespaces()
	}
	payload, err := json.Marshal(b)
	if err != nil || c.silent.Load() { // nothing in it can fail
		return
	}
	c.out.heartbeats.Add(1)
	c.saying.Add(1)
	c.b.queue.put(command{channel: c.heartbeats().name, payload: payload, sharded: c.shards, done: func() { c.saying.Add(-1) }})
}

// An echo is this server's own heartbeats, as they come back to it. As long as they do
// not, nothing is known of others from their silence: what carries the heartbeats may
// hang, and not be known to.
type echo struct {
	mu          sync.Mutex
	since, last time.Time
}

// maxGap is how far apart two heartbeats come that are heard one after the other.
const maxGap = 2 * heartbeatEvery

// heard notes that one has come.
func (e *echo) heard(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.last) > maxGap {
		e.since = now
	}
	e.last = now
}

// hearing tells since when they come, and whether they still do.
func (e *echo) hearing(now time.Time) (since time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.since, now.Sub(e.last) <= maxGap
}

// sweepPeers forgets who is dead, if that can be known: this server is connected, has
// been for as long as the others may be held back, and hears itself.
func (c *core) sweepPeers() {
	now := time.Now()
	up, since, _ := c.b.health.get()
	heard, ok := c.echo.hearing(now)
	if !up || !ok {
		return
	}
	if since = since.Add(mostHeld); heard.After(since) {
		since = heard
	}
	c.peers.sweep(now, since)
}

// maxNames bounds the names of namespaces in a heartbeat, in bytes.
const maxNames = 4 << 10

// namespaces returns the names of those that are open, and have been subscribed
// to: who asks them expects an answer of us. There are none if they are too long
// for a heartbeat.
func (c *core) namespaces() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for name, x := range c.open {
		if x.told = x.told || c.listens(name); !x.told {
			continue
		}
		if n += len(name); n > maxNames {
			return nil
		}
		all = append(all, name)
	}
	return all
}

// listens tells whether all of a namespace is subscribed to. c.mu is held.
func (c *core) listens(ns string) bool {
	for _, t := range c.topics(ns) {
		if !c.b.subs.isReady(t) {
			return false
		}
	}
	return true
}

// together tells whether as many servers of this kind are subscribed as there are.
func (c *core) together() bool {
	ctx, cancel := context.WithTimeout(c.b.ctx, c.o.Timeout)
	defer cancel()
	n, err := c.b.subscribers(ctx, c.heartbeats())
	return err == nil && n > c.peers.count()
}

// keepHeartbeats publishes heartbeats and forgets the dead, until the broker is
// closed. The others are asked for theirs when these can be heard, so that who
// begins knows all at once.
func (c *core) keepHeartbeats() {
	defer c.b.ended.Done()
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	heard := make(chan struct{})
	// ends when heartbeats can be heard, or the broker is closed
	go func() {
		defer close(heard)
		for c.b.subs.await(c.b.ctx, c.heartbeats()) != nil && c.b.ctx.Err() == nil {
			time.Sleep(tick) // it was refused
		}
	}()
	hello := (<-chan struct{})(heard)
	var soon <-chan time.Time
	var next time.Time // when something may be said between
	for {
		says := false
		select {
		case <-c.b.ctx.Done():
			return
		case <-hello:
			hello, says = nil, true
		case <-c.news:
			if soon == nil {
				soon = time.After(max(heartbeatEvery/20, time.Until(next))) // many are opened together
			}
			continue
		case <-c.hello:
			if soon == nil {
				soon = time.After(time.Until(next))
			}
			continue
		case <-soon:
			soon, next = nil, time.Now().Add(heartbeatGap)
		case <-ticker.C:
		}
		if says || c.saying.Load() == 0 { // else the last one still waits
			c.sendHeartbeat(says, false)
		}
		c.sweepPeers()
	}
}

// maxHeartbeat bounds a heartbeat, in bytes: more than one has whose names are as long as
// they may be, and each character escaped.
const maxHeartbeat = 64 << 10

// receiveHeartbeat handles a heartbeat.
func (c *core) receiveHeartbeat(payload []byte) {
	var b heartbeat
	if len(payload) > maxHeartbeat || json.Unmarshal(payload, &b) != nil || b.UID == "" {
		c.b.malformed.Add(1)
		return
	}
	if b.UID == c.uid {
		c.echo.heard(time.Now())
		c.lag.Store(max(int64(time.Since(c.began))-b.Sent, 1))
		return
	}
	c.in.heartbeats.Add(1)
	c.peers.note(b)
	if b.Node == c.host.Node() && !b.Bye {
		c.b.notices.Warn("redis: two servers have the same node name, so that their clients' ids may be the same; the one that began later is not to be in the cluster",
			"node", b.Node, "other", b.Name, "address", b.Addr)
	}
	if b.Hello {
		select {
		case c.hello <- struct{}{}:
		default:
		}
	}
}
