package redis

import (
	"context"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// request asks the other servers of a namespace for answers of a kind.
func (c *classic) request(ctx context.Context, ns string, r wire.Request, want answerKind, each func(answer)) error {
	p := c.o.Prefix
	me := c.me()
	for _, name := range []string{wire.ResponseChannel(p, ns), wire.OwnResponseChannel(p, ns, me)} {
		t := topic{exact, name}
		c.b.subs.add(t)
		defer c.b.subs.drop(t)
		if err := c.b.subs.await(ctx, t); err != nil {
			return c.unasked(ns, want, err)
		}
	}
	r.UID, r.ID = me, newID(6)
	return c.ask(ctx, ns, topic{exact, wire.RequestChannel(p, ns)}, r.ID, func() error { return c.send(ns, r) }, newRequest(want, each))
}

// send publishes a request.
func (c *classic) send(ns string, r wire.Request) error {
	if r.UID == "" {
		r.UID = c.me()
	}
	if r.UID == wire.EmitterUID && r.Type != wire.RequestServerSideEmit {
		r.UID = "" // who emits is no server; only in this is it named
	}
	payload, err := wire.AppendRequest(nil, &r)
	if err == nil {
		c.out.request(&r)
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
	m := wire.Broadcast{UID: c.me(), Namespace: t.Namespace, Packet: packetOf(e), Options: optionsOf(t, e)}
	payload, err := wire.AppendBroadcast(nil, &m)
	if err != nil {
		c.unwritten("an event", err)
		return
	}
	c.out.events.Add(1)
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
func (c *classic) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, asked func(int), each func(rooms.Value)) error {
	ctx, cancel := deadline(ctx, ackTimeout)
	defer cancel()
	r := wire.Request{Type: wire.RequestBroadcast, Namespace: t.Namespace, Packet: packetOf(e), Options: optionsOf(t, e)}
	r.Options.Flags.Timeout, r.Options.Flags.HasTimeout = milliseconds(ctx), true
	return c.request(ctx, t.Namespace, r, aCount, ofClients(asked, each))
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

// Count asks for numbers; servers of Node give sockets.
func (c *classic) Count(ctx context.Context, t rooms.Target) (n int, err error) {
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	r := wire.Request{Type: wire.RequestFetch, Options: optionsOf(t, rooms.Event{}), CountOnly: true}
	err = c.request(ctx, t.Namespace, r, aTotal, func(a answer) { n += a.total + len(a.members) })
	return n, err
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
