package redis

import (
	"context"
	"strings"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// receive handles what comes from Redis. It is called on the connection's
// goroutine: what may wait goes on one of its own.
func (c *classic) receive(pattern, channel string, payload []byte) {
	switch {
	case strings.HasPrefix(channel, c.broadcasts):
		c.broadcast(pattern, channel, payload)
	case pattern != "": // it is not ours
		c.discards.unwanted.Add(1)
	case strings.HasPrefix(channel, c.queries):
		r, err := wire.ParseRequest(payload)
		if err != nil {
			c.b.malformed.Add(1)
			return
		}
		if r.UID != "" && c.isMine(r.UID, channel, payload) {
			c.discards.own.Add(1)
			c.spareOwn(channel, payload)
			return
		}
		c.in.request(&r)
		c.cover(channel, payload)
		c.requested(c.namespaceOf(channel), r)
	case strings.HasPrefix(channel, c.responses):
		r, err := wire.ParseResponse(payload)
		if err != nil {
			c.b.malformed.Add(1)
			return
		}
		c.responded(r)
	}
}

// namespaceOf returns that of a channel of questions.
func (c *classic) namespaceOf(channel string) string {
	return strings.TrimSuffix(channel[len(c.queries):], "#")
}

func (c *classic) broadcast(pattern, channel string, payload []byte) {
	m, err := wire.ParseBroadcast(payload)
	switch {
	case err != nil:
		c.b.malformed.Add(1)
	case c.isMine(m.UID, channel, payload):
		c.discards.own.Add(1)
	case !c.mayCome(pattern, &m):
		c.discards.unwanted.Add(1)
	default:
		c.in.events.Add(1)
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
		c.answer(func(given func()) { c.query(ns, t, r, given) }) // of broadcasts, until their time-out
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
	c.answer(func(func()) {
		if r.Type == wire.RequestDisconnect && c.isOwn(r.SID) || len(c.host.Members(t)) > 0 {
			c.respond(ns, r, wire.Response{})
		}
	})
}

// query answers what has to be looked up. Given is called when sockets have what is theirs.
func (c *classic) query(ns string, t rooms.Target, r wire.Request, given func()) {
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
		if answer.CountOnly = r.CountOnly; r.CountOnly {
			answer.Count = c.host.Count(t)
		} else {
			answer.Sockets = infosOf(c.host.Members(t))
		}
	case wire.RequestBroadcast:
		ctx, cancel := context.WithTimeout(c.b.ctx, timeoutOf(r.Options.Flags))
		defer cancel()
		c.host.DeliverAck(ctx, t, eventOf(r.Packet, r.Options.Flags), func(clients int) {
			given()
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
	c.respondAs(c.me(), ns, r, answer)
}

func (c *classic) respondAs(uid, ns string, r wire.Request, answer wire.Response) {
	answer.RequestID, answer.UID = r.ID, uid
	payload, err := wire.AppendResponse(nil, &answer)
	if err != nil {
		c.unwritten("an answer", err)
		return
	}
	channel := wire.ResponseChannel(c.o.Prefix, ns)
	if r.UID != "" && (c.peers.has(r.UID) || c.o.OwnResponses && r.Type != wire.RequestServerSideEmit) {
		channel = wire.OwnResponseChannel(c.o.Prefix, ns, r.UID)
	}
	c.out.answers.Add(1)
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
	case r.CountOnly:
		ok = q.server(r.UID, 0, answer{kind: aTotal, total: r.Count})
	case r.Rooms != nil:
		ok = q.server(r.UID, 0, answer{kind: aNames, names: r.Rooms})
	}
	if !ok {
		c.b.malformed.Add(1)
		return
	}
	c.in.answers.Add(1)
}
