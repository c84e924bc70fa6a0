package redis

import (
	"context"
	"strings"
	"time"

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

// receive handles what comes from Redis. It is called on the connection's
// goroutine: what may wait goes on one of its own.
func (c *classic) receive(pattern, channel string, payload []byte) {
	switch {
	case strings.HasPrefix(channel, c.broadcasts):
		c.broadcast(pattern, payload)
	case pattern != "": // it is not ours
		c.discards.unwanted.Add(1)
	case strings.HasPrefix(channel, c.queries):
		r, err := wire.ParseRequest(payload)
		if err != nil {
			c.b.malformed.Add(1)
			return
		}
		if r.UID == c.uid && r.UID != "" {
			c.discards.own.Add(1)
			return
		}
		c.requested(strings.TrimSuffix(channel[len(c.queries):], "#"), r)
	case strings.HasPrefix(channel, c.responses):
		r, err := wire.ParseResponse(payload)
		if err != nil {
			c.b.malformed.Add(1)
			return
		}
		c.responded(r)
	}
}

func (c *classic) broadcast(pattern string, payload []byte) {
	m, err := wire.ParseBroadcast(payload)
	switch {
	case err != nil:
		c.b.malformed.Add(1)
	case m.UID == c.uid:
		c.discards.own.Add(1)
	case !c.mayCome(pattern, &m):
		c.discards.unwanted.Add(1)
	default:
		c.host.Deliver(targetOf(m.Namespace, m.Options), eventOf(m.Packet, m.Options.Flags))
	}
}

// mayCome tells whether a message has come by the way that it has.
func (c *classic) mayCome(by string, m *wire.Broadcast) bool {
	if !c.o.Patterns && (len(m.Options.Rooms) != 1 || !c.isOwn(m.Options.Rooms[0])) {
		return by == ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return by == c.pattern(m.Namespace).name
}

// requested does what another server, or an emitter, asks for.
func (c *classic) requested(ns string, r wire.Request) {
	t := targetOf(ns, r.Options)
	switch r.Type {
	case wire.RequestJoin, wire.RequestLeave, wire.RequestDisconnect:
		c.command(ns, t, r)
	case wire.RequestServerSideEmit:
		var answer func(rooms.Value)
		if r.ID != "" {
			answer = func(v rooms.Value) {
				c.respond(ns, r, wire.Response{Type: r.Type, HasType: true, Value: wire.Value(v)})
			}
		}
		c.host.ServerSide(ns, eventOf(r.Packet, wire.Flags{}), answer)
	default:
		c.answer(func() { c.query(ns, t, r) }) // of broadcasts, until their time-out
	}
}

// command does something to sockets. Servers of version 7 name a single one, and
// wait for an answer of its server.
func (c *classic) command(ns string, t rooms.Target, r wire.Request) {
	names := r.Rooms
	if r.SID != "" {
		t.Rooms, names = []string{r.SID}, []string{r.Room}
	}
	switch r.Type {
	case wire.RequestJoin:
		c.host.Join(t, names)
	case wire.RequestLeave:
		c.host.Leave(t, names)
	default:
		c.host.Disconnect(t, r.Close)
	}
	if r.SID == "" || r.ID == "" {
		return
	}
	c.answer(func() {
		if r.Type == wire.RequestDisconnect && c.isOwn(r.SID) || len(c.host.Members(t)) > 0 {
			c.respond(ns, r, wire.Response{})
		}
	})
}

// query answers what has to be looked up.
func (c *classic) query(ns string, t rooms.Target, r wire.Request) {
	var answer wire.Response
	switch r.Type {
	case wire.RequestSockets:
		answer.SIDs = []string{}
		for _, m := range c.host.Members(rooms.Target{Namespace: ns, Rooms: r.Rooms}) {
			answer.SIDs = append(answer.SIDs, m.ID)
		}
	case wire.RequestRooms:
		answer.Rooms = append([]string{}, c.host.RoomNames(ns)...)
	case wire.RequestFetch:
		answer.Sockets = infosOf(c.host.Members(t))
	case wire.RequestBroadcast:
		ctx, cancel := context.WithTimeout(c.b.ctx, timeoutOf(r.Options.Flags))
		defer cancel()
		c.host.DeliverAck(ctx, t, eventOf(r.Packet, r.Options.Flags), func(clients int) {
			c.respond(ns, r, wire.Response{Type: wire.ResponseClientCount, HasType: true, Count: clients})
		}, func(v rooms.Value) {
			c.respond(ns, r, wire.Response{Type: wire.ResponseAck, HasType: true, Value: wire.Value(v)})
		})
		return
	}
	c.respond(ns, r, answer)
}

// respond publishes a response. Node's servers expect that to an event between
// servers on the shared channel.
func (c *classic) respond(ns string, r wire.Request, answer wire.Response) {
	answer.RequestID, answer.UID = r.ID, c.uid
	payload, err := wire.AppendResponse(nil, &answer)
	if err != nil {
		c.unwritten("an answer", err)
		return
	}
	channel := wire.ResponseChannel(c.o.Prefix, ns)
	if r.UID != "" && (c.peers.has(r.UID) || c.o.OwnResponses && r.Type != wire.RequestServerSideEmit) {
		channel = wire.OwnResponseChannel(c.o.Prefix, ns, r.UID)
	}
	c.publish(channel, payload)
}

// responded hands a response to who waits for it.
func (c *classic) responded(r wire.Response) {
	q := c.requests.get(r.RequestID)
	if q == nil {
		c.discards.late.Add(1)
		return
	}
	ok := false
	switch {
	case r.HasType && r.Type == wire.ResponseClientCount:
		ok = q.server(r.UID, r.Count, answer{kind: aCount})
	case r.HasType && r.Type == wire.ResponseAck:
		ok = q.client(r.UID, valueOf(r.Value))
	case r.HasType:
		ok = q.server(r.UID, 0, answer{kind: aValue, value: valueOf(r.Value)})
	case r.Sockets != nil:
		ok = q.server(r.UID, 0, answer{kind: aMembers, members: membersOf(r.Sockets)})
	case r.Rooms != nil:
		ok = q.server(r.UID, 0, answer{kind: aNames, names: r.Rooms})
	}
	if !ok {
		c.b.malformed.Add(1)
	}
}

// request asks the other servers of a namespace for answers of a kind.
func (c *classic) request(ctx context.Context, ns string, r wire.Request, want answerKind, each func(answer)) error {
	p := c.o.Prefix
	for _, name := range []string{wire.ResponseChannel(p, ns), wire.OwnResponseChannel(p, ns, c.uid)} {
		t := topic{exact, name}
		c.b.subs.add(t)
		defer c.b.subs.drop(t)
		if err := c.b.subs.await(ctx, t); err != nil {
			return c.unasked(ns, err)
		}
	}
	r.UID, r.ID = c.uid, newID(6)
	return c.ask(ctx, ns, topic{exact, wire.RequestChannel(p, ns)}, r.ID, func() error { return c.send(ns, r) }, newRequest(want, each))
}

// send publishes a request.
func (c *classic) send(ns string, r wire.Request) error {
	if r.UID = c.uid; c.uid == wire.EmitterUID && r.Type != wire.RequestServerSideEmit {
		r.UID = "" // who emits is no server; only in this is it named
	}
	payload, err := wire.AppendRequest(nil, &r)
	if err == nil {
		c.publish(wire.RequestChannel(c.o.Prefix, ns), payload)
	}
	return err
}

// tell is send where nobody can be told of an error.
func (c *classic) tell(ns string, r wire.Request) {
	if err := c.send(ns, r); err != nil {
		c.unwritten("a request", err)
	}
}

// Emit publishes an event.
func (c *classic) Emit(t rooms.Target, e rooms.Event) {
	m := wire.Broadcast{UID: c.uid, Namespace: t.Namespace, Packet: packetOf(e), Options: optionsOf(t, e)}
	payload, err := wire.AppendBroadcast(nil, &m)
	if err != nil {
		c.unwritten("an event", err)
		return
	}
	c.publish(wire.BroadcastTarget(c.o.Prefix, t.Namespace, &m.Options), payload)
}

// Join publishes a request.
func (c *classic) Join(t rooms.Target, names []string) {
	c.tell(t.Namespace, wire.Request{Type: wire.RequestJoin, Options: optionsOf(t, rooms.Event{}), Rooms: names})
}

// Leave publishes a request.
func (c *classic) Leave(t rooms.Target, names []string) {
	c.tell(t.Namespace, wire.Request{Type: wire.RequestLeave, Options: optionsOf(t, rooms.Event{}), Rooms: names})
}

// Disconnect publishes a request.
func (c *classic) Disconnect(t rooms.Target, closing bool) {
	c.tell(t.Namespace, wire.Request{Type: wire.RequestDisconnect, Options: optionsOf(t, rooms.Event{}), Close: closing})
}

// ServerSideEmit publishes an event for servers.
func (c *classic) ServerSideEmit(ns string, e rooms.Event) {
	c.tell(ns, wire.Request{Type: wire.RequestServerSideEmit, Packet: packetOf(e)})
}

// ackTimeout is how long acknowledgements are waited for where nobody says.
const ackTimeout = 10 * time.Second

// EmitAck publishes an event to be acknowledged.
func (c *classic) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, each func(rooms.Value)) error {
	ctx, cancel := deadline(ctx, ackTimeout)
	defer cancel()
	r := wire.Request{Type: wire.RequestBroadcast, Namespace: t.Namespace, Packet: packetOf(e), Options: optionsOf(t, e)}
	r.Options.Flags.Timeout, r.Options.Flags.HasTimeout = milliseconds(ctx), true
	return c.request(ctx, t.Namespace, r, aCount, func(a answer) { each(a.value) })
}

// milliseconds returns how long ctx, which has a deadline, will last.
func milliseconds(ctx context.Context) int64 {
	end, _ := ctx.Deadline()
	return max(time.Until(end).Milliseconds(), 1)
}

// Members asks for sockets.
func (c *classic) Members(ctx context.Context, t rooms.Target) (all []rooms.Member, err error) {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	r := wire.Request{Type: wire.RequestFetch, Options: optionsOf(t, rooms.Event{})}
	err = c.request(ctx, t.Namespace, r, aMembers, func(a answer) { all = append(all, a.members...) })
	return all, err
}

// RoomNames asks for rooms.
func (c *classic) RoomNames(ctx context.Context, ns string) (all []string, err error) {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	err = c.request(ctx, ns, wire.Request{Type: wire.RequestRooms}, aNames, func(a answer) { all = append(all, a.names...) })
	return all, err
}

// ServerSideAsk asks servers.
func (c *classic) ServerSideAsk(ctx context.Context, ns string, e rooms.Event) (all []rooms.Value, err error) {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	r := wire.Request{Type: wire.RequestServerSideEmit, Packet: packetOf(e)}
	err = c.request(ctx, ns, r, aValue, func(a answer) { all = append(all, a.value) })
	return all, err
}
