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
	UID   string     `json:"uid"`
	Node  string     `json:"node"`
	Name  string     `json:"name"`
	Addr  string     `json:"addr,omitempty"`
	Load  rooms.Load `json:"load"`
	Hello bool       `json:"hello,omitempty"` // asks for everybody's
	Bye   bool       `json:"bye,omitempty"`
}

// beatChannel is where heartbeats are published.
func beatChannel(prefix string) string { return prefix + "-sioedge#" }

// peers are the other servers of this kind.
type peers struct {
	mu    sync.Mutex
	known map[string]*rooms.Peer // by uid
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
		p.known = map[string]*rooms.Peer{}
	}
	p.known[b.UID] = &rooms.Peer{Node: b.Node, Name: b.Name, Addr: b.Addr, Seen: time.Now(), Load: b.Load}
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
			return *peer, true
		}
	}
	return rooms.Peer{}, false
}

func (p *peers) list() []rooms.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []rooms.Peer
	for _, peer := range p.known {
		all = append(all, *peer)
	}
	slices.SortFunc(all, func(a, b rooms.Peer) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// beat publishes a heartbeat.
func (c *core) beat(hello, bye bool) {
	b := beat{UID: c.uid, Node: c.host.Node(), Name: c.o.Name, Addr: c.host.Advertise(), Hello: hello, Bye: bye}
	if !bye {
		b.Load = c.host.Load()
	}
	payload, err := json.Marshal(b)
	if err != nil {
		return // nothing in it can fail
	}
	c.b.queue.put(command{channel: beatChannel(c.o.Prefix), payload: payload, sharded: c.shards})
}

// beats publishes heartbeats and forgets the dead, until the broker is closed.
func (c *core) beats() {
	defer c.b.ended.Done()
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-c.b.ctx.Done():
			return
		case <-ticker.C:
		case <-c.hello:
		}
		if c.b.queue.waiting() == 0 { // else we are cut off, or busy enough to be seen
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
