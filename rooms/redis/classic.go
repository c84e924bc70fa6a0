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
}

// Start begins.
func (c *classic) Start(h rooms.Host) error {
	p := c.o.Prefix
	c.broadcasts, c.queries, c.responses = p+"#", p+"-request#", p+"-response#"
	c.own = wire.EscapeGlob(p) + "#*#" + h.Node() + strings.Repeat("?", 16) + "#"
	c.start(h, h.Node()+newID(2), c.receive)
	if !c.o.Patterns {
		c.b.subs.add(pattern, c.own)
	}
	return nil
}

// Open subscribes to a namespace. To its responses it does when something is
// asked.
func (c *classic) Open(ns string) {
	if c.o.Patterns {
		c.b.subs.add(pattern, wire.BroadcastPattern(c.o.Prefix, ns))
	} else {
		c.subscribe(wire.BroadcastChannel(c.o.Prefix, ns))
	}
	c.subscribe(wire.RequestChannel(c.o.Prefix, ns))
	c.opened(ns)
}

// Drop unsubscribes from a namespace.
func (c *classic) Drop(ns string) {
	p := c.o.Prefix
	c.dropped(ns, wire.BroadcastPattern(p, ns), wire.BroadcastChannel(p, ns), wire.RequestChannel(p, ns),
		wire.ResponseChannel(p, ns), wire.OwnResponseChannel(p, ns, c.uid))
}

// Occupied subscribes to a room.
func (c *classic) Occupied(ns, room string) {
	if !c.o.Patterns && !c.isOwn(room) {
		c.occupied(ns, wire.RoomChannel(c.o.Prefix, ns, room))
	}
}

// Vacated unsubscribes from a room, after a while.
func (c *classic) Vacated(ns, room string) { c.vacated(ns, wire.RoomChannel(c.o.Prefix, ns, room)) }

// receive handles what comes from Redis. It is called on the connection's
// goroutine: what may wait goes on one of its own.
func (c *classic) receive(channel string, payload []byte) {
	switch {
	case strings.HasPrefix(channel, c.broadcasts):
		c.broadcast(payload)
	case strings.HasPrefix(channel, c.queries):
		r, err := wire.ParseRequest(payload)
		if err != nil {
			c.b.malformed.Add(1)
			return
		}
		if r.UID != c.uid || r.UID == "" {
			c.requested(strings.TrimSuffix(channel[len(c.queries):], "#"), r)
		}
	case strings.HasPrefix(channel, c.responses):
		r, err := wire.ParseResponse(payload)
		if err != nil {
			c.b.malformed.Add(1)
			return
		}
		c.responded(r)
	}
}

func (c *classic) broadcast(payload []byte) {
	m, err := wire.ParseBroadcast(payload)
	switch {
	case err != nil:
		c.b.malformed.Add(1)
	case m.UID == c.uid:
		c.discarded.Add(1)
	default:
		c.host.Deliver(targetOf(m.Namespace, m.Options), eventOf(m.Packet, m.Options.Flags))
	}
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
		// ends when this server has answered; of broadcasts, at their time-out
		go c.query(ns, t, r)
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
	// ends when it is known whose the socket is
	go func() {
		if r.Type == wire.RequestDisconnect && c.isOwn(r.SID) || len(c.host.Members(t)) > 0 {
			c.respond(ns, r, wire.Response{})
		}
	}()
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
		ctx, cancel := context.WithTimeout(c.b.ctx, time.Duration(max(r.Options.Flags.Timeout, 1))*time.Millisecond)
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
		c.o.Logger.Warn("redis: an answer could not be encoded", "error", err)
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
		c.discarded.Add(1)
		return
	}
	switch {
	case r.HasType && r.Type == wire.ResponseClientCount:
		q.server(r.UID, r.Count, nil)
	case r.HasType && r.Type == wire.ResponseAck:
		q.client(r.UID, valueOf(r.Value))
	case r.HasType:
		q.server(r.UID, 0, valueOf(r.Value))
	case r.Sockets != nil:
		q.server(r.UID, 0, membersOf(r.Sockets))
	default:
		q.server(r.UID, 0, r.Rooms)
	}
}

// request asks the other servers of a namespace.
func (c *classic) request(ctx context.Context, ns string, r wire.Request, each func(any)) error {
	p := c.o.Prefix
	shared, own := wire.ResponseChannel(p, ns), wire.OwnResponseChannel(p, ns, c.uid)
	c.subscribe(shared)
	c.subscribe(own)
	for _, channel := range []string{shared, own} {
		if err := c.b.subs.await(ctx, channel); err != nil {
			return &rooms.IncompleteError{Cause: err}
		}
	}
	r.UID, r.ID = c.uid, newID(6)
	return c.ask(ctx, ns, wire.RequestChannel(p, ns), r.ID, func() error { return c.send(ns, r) }, each)
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
		c.o.Logger.Warn("redis: a request could not be encoded", "error", err)
	}
}

// Emit publishes an event.
func (c *classic) Emit(t rooms.Target, e rooms.Event) {
	m := wire.Broadcast{UID: c.uid, Namespace: t.Namespace, Packet: packetOf(e), Options: optionsOf(t, e)}
	payload, err := wire.AppendBroadcast(nil, &m)
	if err != nil {
		c.o.Logger.Warn("redis: an event could not be encoded", "error", err)
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
func (c *classic) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, answer func(rooms.Value)) error {
	ctx, cancel := deadline(ctx, ackTimeout)
	defer cancel()
	r := wire.Request{Type: wire.RequestBroadcast, Namespace: t.Namespace, Packet: packetOf(e), Options: optionsOf(t, e)}
	r.Options.Flags.Timeout, r.Options.Flags.HasTimeout = milliseconds(ctx), true
	return c.request(ctx, t.Namespace, r, func(v any) { answer(v.(rooms.Value)) })
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
	err = c.request(ctx, t.Namespace, r, func(v any) {
		if more, ok := v.([]rooms.Member); ok {
			all = append(all, more...)
		}
	})
	return all, err
}

// RoomNames asks for rooms.
func (c *classic) RoomNames(ctx context.Context, ns string) (all []string, err error) {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	err = c.request(ctx, ns, wire.Request{Type: wire.RequestRooms}, func(v any) {
		if more, ok := v.([]string); ok {
			all = append(all, more...)
		}
	})
	return all, err
}

// ServerSideAsk asks servers.
func (c *classic) ServerSideAsk(ctx context.Context, ns string, e rooms.Event) (all []rooms.Value, err error) {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	err = c.request(ctx, ns, wire.Request{Type: wire.RequestServerSideEmit, Packet: packetOf(e)}, func(v any) {
		if value, ok := v.(rooms.Value); ok {
			all = append(all, value)
		}
	})
	return all, err
}
