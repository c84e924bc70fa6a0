package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A place in the cluster goes from one process to another: see rooms.Movable. In the eyes
// of the others it is one server that goes on: the heir has its uid, and says nothing of
// itself before it is the one. When the process that goes has something to do still, it
// takes another uid, and heartbeats are the heir's.
//
//	what is split                 how
//	what is published             gate.go: a marker on each connection
//	streams                       streams.go: by the entry up to which they have been read
//	questions, answers to them    standin.go: each process gives one, with something in it or not
//	what this server has itself   answers, to who has asked; nothing else is delivered
//	published
//
// moving is what an adapter knows of that.
type moving struct {
	// Immutable after start.
	stranger string // who gives answers with nothing in them: nobody
	heir     *offer // what this server has begun with; nil: by itself
	how      string
	age      int

	load  atomic.Pointer[rooms.Load] // what the server said last
	still atomic.Bool                // it need not be able to say more
	word  atomic.Pointer[string]     // the last one of the process that goes
	left  atomic.Int64               // Unix ns: when that came; 0: not yet
	gone  signal                     // it has

	mu     sync.Mutex
	id     string // of the channels of markers
	secret string
	n      uint64
	marks  []topic
	stage  stage
	topics map[topic]struct{} // that are subscribed to on behalf of an offer
}

// A stage is how far a handover is.
type stage uint8

const (
	settled  stage = iota // this server has its place
	heirs                 // it has not got it yet
	parting               // Mark has been called
	departed              // Gone has
)

// markInfix is, behind the prefix, what the names of markers' channels begin with. No
// namespace is called so: servers of Node do not see them.
const markInfix = "#sioedge#mark#"

var (
	errStage     = errors.New("redis: this is not what a handover does next")
	errNotThere  = errors.New("redis: the process that goes is not subscribed at the same server of Redis")
	errLine      = errors.New("redis: a connection has come since that has no marker")
	errNotWell   = errors.New("redis: not connected")
	errTooMany   = errors.New("redis: there are more subscriptions than there may be: Options.MaxSubscriptions")
	errNoChannel = errors.New("redis: no channel for a marker is at a node of the Redis Cluster")
)

// startMoving prepares for a handover, and begins as an heir if there is an offer. The
// broker does not run yet.
func (c *core) startMoving() {
	x := &c.move
	x.stranger, c.standIns.ended = strangers+newUID(), c.b.ctx
	g := &c.b.gate
	g.most, g.passes, g.spare, g.wrong = mostKept, c.passes, c.spare, func() { c.b.malformed.Add(1) }
	if x.heir == nil {
		return
	}
	x.stage, x.age = heirs, x.heir.Age+1
	c.uid, c.began = x.heir.UID, time.Unix(0, x.heir.Began)
	c.unseen, c.b.pin.want = true, x.heir.At
	c.silent.Store(true)
	c.peers.inherit(x.heir.Peers, time.Now())
	g.attend("", nil)
	c.hear(x.heir)
}

// Offer says what there is to hear; see rooms.Movable.
func (c *core) Offer() ([]byte, error) {
	x := &c.move
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage != settled {
		return nil, errStage
	}
	if x.id == "" {
		x.id = newID(16)
	}
	if err := c.placeMarks(); err != nil {
		return nil, err
	}
	x.secret = newID(32)
	o := &offer{
		How: x.how, UID: c.uid, Node: c.host.Node(), Began: c.began.UnixNano(), Age: x.age, Secret: x.secret, At: c.b.pin.where(),
		Peers: c.peers.offered(time.Now()), topics: c.b.subs.offered(func(t topic) bool {
			return t == c.heartbeats() || strings.HasPrefix(t.name, c.o.Prefix+markInfix)
		}),
	}
	for _, t := range x.marks {
		o.Marks = append(o.Marks, t.name)
	}
	c.mu.Lock()
	for ns := range c.open {
		o.Namespaces = append(o.Namespaces, ns)
	}
	c.mu.Unlock()
	return o.encode()
}

// placeMarks has a channel for a marker on each line that is in use. x.mu is held.
func (c *core) placeMarks() error {
	x, s := &c.move, &c.b.subs
	used := s.used()
	keep := x.marks[:0]
	for _, t := range x.marks {
		if l := s.lineOf(t); slices.Contains(used, l) && !slices.ContainsFunc(keep, func(k topic) bool { return s.lineOf(k) == l }) {
			keep = append(keep, t)
		} else {
			s.drop(t)
		}
	}
	x.marks = keep
	for _, l := range used {
		if slices.ContainsFunc(x.marks, func(t topic) bool { return s.lineOf(t) == l }) {
			continue
		}
		t, ok := c.markOn(l)
		if !ok {
			return errNoChannel
		}
		s.add(t)
		x.marks = append(x.marks, t)
	}
	return nil
}

// mostTries bounds how many names are tried for a node: each is as likely as it has slots.
const mostTries = 1 << 17

// markOn returns a channel for a marker that is on a line. x.mu is held.
func (c *core) markOn(l *line) (t topic, ok bool) {
	place := c.b.subs.places()
	for i := range mostTries {
		t = c.channel(c.o.Prefix + markInfix + c.move.id + "#" + strconv.Itoa(i) + "#")
		if place(t.name) == l.node {
			return t, true
		}
	}
	return topic{}, false
}

// marked tells whether there is a marker for each line that is in use. x.mu is held.
func (c *core) marked() bool {
	for _, l := range c.b.subs.used() {
		if !slices.ContainsFunc(c.move.marks, func(t topic) bool { return c.b.subs.lineOf(t) == l }) {
			return false
		}
	}
	return true
}

// Mark splits what comes; see rooms.Movable.
func (c *core) Mark(ctx context.Context) (p []byte, err error) {
	x, err := c.mark(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(x)
}

func (c *core) mark(ctx context.Context) (_ place, err error) {
	defer c.calledOff("marking the place", &err)
	x := &c.move
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage != settled || x.secret == "" {
		return place{}, errStage
	}
	for _, t := range x.marks {
		if err := c.b.subs.await(ctx, t); err != nil {
			return place{}, err
		}
	}
	if !c.marked() {
		return place{}, errLine
	}
	x.n++
	x.stage = parting
	x.still.Store(true)
	c.sent.on.Store(true)
	marker := c.b.gate.part(x.secret, x.n, x.marks)
	for _, t := range x.marks {
		c.b.queue.put(command{channel: t.name, payload: marker, sharded: c.shards})
	}
	err = c.b.gate.split(ctx, x.n, c.well)
	if err == nil {
		err = c.done(ctx)
	}
	if err != nil {
		c.goOn()
		return place{}, err
	}
	return place{Secret: x.secret, N: x.n}, nil
}

// well is an error if nothing can be sent.
func (c *core) well() error {
	h := &c.b.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.failed[sending]; err != nil {
		return fmt.Errorf("%w: %w", errNotWell, err)
	}
	return nil
}

// done waits until all has been sent that was queued, and all given to sockets that has
// come.
func (c *core) done(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, over := range []func() bool{c.b.flushed(), func() bool { return c.ungiven.Load() == 0 }} {
		for !over() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("redis: what has come, or was to be sent, is not done with: %w", ctx.Err())
			}
		}
	}
	return nil
}

// flushed returns what tells whether all that is queued by now has been sent, or lost.
func (b *broker) flushed() func() bool {
	first := b.queue.newest()
	var rest map[*sender]uint64
	return func() bool {
		if !b.queue.passed(first) {
			return false
		}
		if rest == nil {
			rest = map[*sender]uint64{}
			for _, x := range b.senders.list() {
				rest[x] = x.newest()
			}
		}
		for x, n := range rest {
			if !x.passed(n) {
				return false
			}
		}
		return true
	}
}

// Back goes on; see rooms.Movable.
func (c *core) Back() {
	c.move.mu.Lock()
	defer c.move.mu.Unlock()
	if c.move.stage == parting {
		c.goOn()
	}
}

// goOn receives what was kept, and what comes. x.mu is held.
func (c *core) goOn() {
	if lost := c.b.gate.open(c.receiveKept); lost > 0 {
		c.discards.unwanted.Add(int64(lost))
		c.b.log.Warn("redis: more has come during a handover than is kept; it is lost", "messages", lost)
	}
	c.move.stage = settled
	c.move.still.Store(false)
	c.sent.clear()
}

func (c *core) receiveKept(k keptMessage) {
	defer c.b.confine("a message")
	c.b.receive(k.pattern, k.channel, []byte(k.payload))
}

const (
	// partingAsks is how long the process that goes waits for what it has asked.
	partingAsks = time.Second
	// partingPause is how long it waits for its last word to come back.
	partingPause = 250 * time.Millisecond
)

// Gone leaves the place to the other; see rooms.Movable.
func (c *core) Gone(ctx context.Context, stays bool) error {
	x := &c.move
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage != parting {
		return errStage
	}
	x.stage = departed
	c.silent.Store(true)
	if stays {
		other := c.host.Node() + newID(8)
		c.alias.Store(&other)
		c.sent.on.Store(false)
		c.standIns.cancel()
		c.b.gate.open(c.receiveKept)
		return nil
	}
	// Those who ask now have counted this process too: what it answers need not wait.
	began := time.Now()
	for ctx.Err() == nil && (time.Since(began) < standInPause || c.requests.pending() > 0 && time.Since(began) < partingAsks) {
		time.Sleep(time.Millisecond)
	}
	c.standIns.flush()
	c.leave(ctx)
	return c.b.shut(ctx)
}

// leave says the last word, and returns when that has come back, which is when the heir has
// it too, or after a while. x.mu is held.
func (c *core) leave(ctx context.Context) {
	x := &c.move
	word := partingWord(x.secret)
	x.word.Store(&word)
	for _, t := range x.marks {
		c.b.queue.put(command{channel: t.name, payload: []byte(word), sharded: c.shards})
	}
	came := x.gone.next()
	if x.left.Load() != 0 {
		return
	}
	select {
	case <-came:
	case <-time.After(partingPause):
	case <-ctx.Done():
	}
}

// calledOff has an operator know why there is no handover.
func (c *core) calledOff(doing string, err *error) {
	if *err != nil && c.b != nil {
		c.b.log.Warn("redis: a handover was called off", "at", doing, "error", *err)
	}
}

// isMine tells whether this process has published a message.
func (c *core) isMine(uid, channel string, payload []byte) bool {
	return uid == c.me() || uid == c.uid && c.alias.Load() != nil && c.sent.has(channel, payload)
}

// spareOwn answers questions of this server that its other process has asked.
func (c *core) spareOwn(channel string, payload []byte) {
	if c.move.heir != nil {
		c.spare(channel, payload)
	}
}

// load returns how much the server has to do. When loops stand still, it is what that was.
func (c *core) load() rooms.Load {
	if last := c.move.load.Load(); c.move.still.Load() && last != nil {
		return *last
	}
	l := c.host.Load()
	c.move.load.Store(&l)
	return l
}
