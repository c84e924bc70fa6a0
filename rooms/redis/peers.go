package redis

import (
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
	beatEvery = time.Second
	deadAfter = 3 * time.Second
)

// A beat is a heartbeat, as JSON. Servers of Node do not see it.
type beat struct {
	UID  string     `json:"uid"`
	Node string     `json:"node"`
	Name string     `json:"name"`
	Addr string     `json:"addr,omitempty"`
	Load rooms.Load `json:"load"`
	// Namespaces are those that are open there; none if these are too many to say.
	Namespaces []string `json:"nsps,omitempty"`

	Hello bool `json:"hello,omitempty"` // asks for everybody's
	Bye   bool `json:"bye,omitempty"`
}

// beatChannel is where heartbeats are published.
func beatChannel(prefix string) string { return prefix + "-sioedge#" }

// peers are the other servers of this kind.
type peers struct {
	mu    sync.Mutex
	known map[string]*peer // by uid
}

// A peer is one of them.
type peer struct {
	rooms.Peer
	namespaces []string // as far as it says
}

// heard notes a heartbeat.
func (p *peers) heard(b beat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Bye {
		delete(p.known, b.UID)
		return
	}
	if p.known == nil {
		p.known = map[string]*peer{}
	}
	p.known[b.UID] = &peer{rooms.Peer{Node: b.Node, Name: b.Name, Addr: b.Addr, Seen: time.Now(), Load: b.Load}, b.Namespaces}
}

// sweep forgets who has not been heard of since up, when hearing began.
func (p *peers) sweep(now, up time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, peer := range p.known {
		if now.Sub(peer.Seen) > deadAfter && now.Sub(up) > deadAfter {
			delete(p.known, uid)
		}
	}
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

// node returns the peer whose ids begin with node.
func (p *peers) node(node string) (rooms.Peer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.known {
		if peer.Node == node {
			return peer.Peer, true
		}
	}
	return rooms.Peer{}, false
}

func (p *peers) list() []rooms.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []rooms.Peer
	for _, peer := range p.known {
		all = append(all, peer.Peer)
	}
	slices.SortFunc(all, func(a, b rooms.Peer) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// beat publishes a heartbeat.
func (c *core) beat(hello, bye bool) {
	b := beat{UID: c.uid, Node: c.host.Node(), Name: c.o.Name, Addr: c.host.Advertise(), Hello: hello, Bye: bye}
	if !bye {
		b.Load, b.Namespaces = c.host.Load(), c.namespaces()
	}
	payload, err := json.Marshal(b)
	if err != nil {
		return // nothing in it can fail
	}
	c.b.queue.put(command{channel: beatChannel(c.o.Prefix), payload: payload, sharded: c.shards})
}

// maxNames bounds the names of namespaces in a heartbeat, in bytes.
const maxNames = 4 << 10

// namespaces returns the names of those that are open, none if they are too long
// for a heartbeat.
func (c *core) namespaces() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for name := range c.open {
		if n += len(name); n > maxNames {
			return nil
		}
		all = append(all, name)
	}
	return all
}

// opened notes that a namespace is open, and has the others told.
func (c *core) opened(namespace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) == 0 {
		c.open = map[string]struct{}{}
	}
	c.open[namespace] = struct{}{}
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// beats publishes heartbeats and forgets the dead, until the broker is closed.
func (c *core) beats() {
	defer c.b.ended.Done()
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	var soon <-chan time.Time
	for {
		select {
		case <-c.b.ctx.Done():
			return
		case <-c.news:
			if soon == nil {
				soon = time.After(beatEvery / 20) // many are opened together
			}
			continue
		case <-soon:
			soon = nil
		case <-ticker.C:
		case <-c.hello:
		}
		if !c.b.stuck(beatChannel(c.o.Prefix)) { // else we are cut off, or busy enough to be seen
			c.beat(false, false)
		}
		if up, since, _ := c.b.health.get(); up { // else nobody can be heard, and nobody is known to be gone
			c.peers.sweep(time.Now(), since)
		}
	}
}

// heardBeat handles a heartbeat.
func (c *core) heardBeat(payload []byte) {
	var b beat
	if json.Unmarshal(payload, &b) != nil || b.UID == "" {
		c.b.malformed.Add(1)
		return
	}
	if b.UID == c.uid {
		return
	}
	c.peers.heard(b)
	if b.Hello {
		select {
		case c.hello <- struct{}{}:
		default:
		}
	}
}
