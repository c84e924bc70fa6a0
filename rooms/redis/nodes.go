package redis

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// Each node of a Redis Cluster has the sharded channels of its slots. There is a
// line to each that has some of ours. Which that is need not be known exactly:
// a node that does not have a channel says who does.

var (
	errMoved  = errors.New("redis: a channel has moved to another node")
	errNoNode = errors.New("redis: no node has some of the channels")
)

// subscribeNodes keeps sharded channels in place on the nodes of a Redis Cluster,
// until the broker is closed.
func (b *broker) subscribeNodes(client rueidis.Client) {
	defer b.ended.Done()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	held := map[*line]bool{b.subs.first: true}
	for {
		if _, all, _ := b.subs.inPlace(); !all {
			b.lookUp(client)
		}
		for _, l := range b.subs.allLines() {
			if held[l] {
				continue
			}
			held[l] = true
			b.ended.Add(1)
			// ends when the broker is closed
			go b.hold(l, func() rueidis.Client { return b.node(client, l) })
		}
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		case <-b.subs.first.wake:
		}
	}
}

// lookUp asks which node has which slots, and gives channels to them.
func (b *broker) lookUp(client rueidis.Client) {
	err := errNoNode
	for addr, node := range client.Nodes() {
		var slots []string
		if slots, err = b.slotsOf(addr, node); err == nil {
			if !b.subs.assign(slots) {
				err = errNoNode
			}
			break
		}
	}
	if err != nil && b.ctx.Err() == nil {
		b.health.set(receiving, err)
	}
}

// slotCount is how many slots a Redis Cluster has.
const slotCount = 1 << 14

// slotsOf returns the addresses of the nodes that have the slots, as one of them
// knows it; "" where there is none.
func (b *broker) slotsOf(addr string, node rueidis.Client) ([]string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, min(b.timeout, time.Second))
	defer cancel()
	ranges, err := node.Do(ctx, node.B().Arbitrary("CLUSTER", "SLOTS").Build()).ToArray()
	if err != nil {
		return nil, err
	}
	slots := make([]string, slotCount)
	for _, r := range ranges {
		from, to, master := parseRange(r)
		if master == "" {
			continue
		}
		for i := max(from, 0); i <= min(to, slotCount-1); i++ {
			slots[i] = complete(master, addr)
		}
	}
	return slots, nil
}

// parseRange parses an element of the answer to CLUSTER SLOTS. Master is "" if it
// is not known.
func parseRange(r rueidis.RedisMessage) (from, to int64, master string) {
	fields, err := r.ToArray()
	if err != nil || len(fields) < 3 {
		return 0, 0, ""
	}
	node, err := fields[2].ToArray()
	if err != nil || len(node) < 2 {
		return 0, 0, ""
	}
	host, _ := node[0].ToString() // none: that which was asked
	port, err := node[1].AsInt64()
	from, err1 := fields[0].AsInt64()
	to, err2 := fields[1].AsInt64()
	if err := errors.Join(err, err1, err2); err != nil || host == "?" {
		return 0, 0, ""
	}
	return from, to, net.JoinHostPort(host, strconv.FormatInt(port, 10))
}

// complete returns an address as a node at another one says it: without a host,
// that is the same.
func complete(addr, at string) string {
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
		host, _, _ = net.SplitHostPort(at)
		return net.JoinHostPort(host, port)
	}
	return addr
}

// node returns a client for the node of a line, nil if there is none.
func (b *broker) node(client rueidis.Client, l *line) rueidis.Client {
	if c := client.Nodes()[l.node]; c != nil {
		return c
	}
	// A command for a key of the node has the client learn of it.
	if name := b.subs.any(l); name != "" {
		ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
		defer cancel()
		_ = client.Do(ctx, client.B().Arbitrary("EXISTS").Keys(name).Build()).Error()
	}
	return client.Nodes()[l.node]
}

// refused handles that a node does not take a channel.
func (b *broker) refused(l *line, t topic, err *rueidis.RedisError) {
	to, moved := err.IsMoved()
	if !b.subs.refused(l, t, complete(to, l.node), time.Now()) {
		return
	}
	if moved {
		b.subs.first.poke() // there may be a new line
	} else {
		b.health.set(receiving, err)
	}
}

// refused notes that a node does not take a channel, but another one does, if
// that is not "". It is false if it does not matter.
func (s *subscriptions) refused(l *line, t topic, to string, now time.Time) bool {
	s.lock()
	defer s.mu.Unlock()
	x := s.all[t]
	if x == nil || x.line != l {
		return false
	}
	s.count(x, -1)
	x.sent, x.ready = false, false
	// While a slot moves, each of two nodes may say that the other has it.
	x.moves++
	wait := to == "" || x.moves > 2
	if to != "" {
		s.slots[keySlot(t.name)] = to
		x.line = s.line(to)
	}
	s.count(x, 1)
	if wait {
		s.later.put(t, now)
	} else {
		s.touch(x)
	}
	return true
}

// place returns the node that a channel belongs to, as far as that is known. s.mu
// is held.
func (s *subscriptions) place(name string) string {
	if s.slots == nil {
		return ""
	}
	return s.slots[keySlot(name)]
}

// nodeOf returns the node that has a slot, as far as that is known.
func (s *subscriptions) nodeOf(slot int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		return ""
	}
	return s.slots[slot]
}

// home returns the node at which a subscription is in place, "" if it is not.
func (s *subscriptions) home(t topic) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.all[t]; x != nil && x.ready {
		return x.line.node
	}
	return ""
}

// assign gives channels to the nodes that have their slots, but for those that
// are in place. It is false if no node has some.
func (s *subscriptions) assign(slots []string) (all bool) {
	s.lock()
	defer s.mu.Unlock()
	s.slots, s.live, all = slots, true, true
	for _, x := range s.all {
		to := s.place(x.name)
		if !x.ready && x.line.node != to {
			s.count(x, -1)
			x.sent, x.line = false, s.line(to)
			s.count(x, 1)
			s.touch(x)
		}
		all = all && (x.ready || to != "")
	}
	return all
}

// allLines returns the lines of nodes that there are.
func (s *subscriptions) allLines() (all []*line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		all = append(all, l)
	}
	return all
}

// any returns one of the channels of a line, "" if there is none.
func (s *subscriptions) any(l *line) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, x := range s.all {
		if x.line == l {
			return t.name
		}
	}
	return ""
}

// needed waits until there is something for a line. It is false if ctx was done
// before. That of no node is needed always.
func (s *subscriptions) needed(ctx context.Context, l *line) bool {
	for l.node != "" && s.any(l) == "" {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// keySlot returns the slot of a key or channel: CRC16/XMODEM of it, or of what is
// in its first braces.
func keySlot(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1:][:n]
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % slotCount)
}

// A pin is the node of a Redis Cluster at which everything is subscribed to that is not
// sharded. What is published comes to all nodes, but to each in an order of its own.
type pin struct {
	mu       sync.Mutex
	want, at string
}

// of returns the client for that node, another one each time that it is not there.
func (p *pin) of(client rueidis.Client) rueidis.Client {
	if client.Mode() != rueidis.ClientModeCluster {
		return client
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	nodes := client.Nodes()
	if c := nodes[p.want]; c != nil {
		p.at, p.want = p.want, ""
		return c
	}
	for addr, c := range nodes {
		p.at = addr
		return c
	}
	return client
}

func (p *pin) where() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}
