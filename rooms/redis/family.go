package redis

import (
	"context"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// A family is what the sharded adapter and that of streams have in common: their
// messages, and a channel for each server's responses.
type family struct {
	*core
	send func(m *wire.Message) // publishes a message for all servers
	form wire.Form             // in which messages are published
}

// main returns the channel of a namespace on which all servers are.
func (f *family) main(ns string) string { return wire.BroadcastChannel(f.o.Prefix, ns) }

// own returns the channel of a namespace on which a server gets responses.
func (f *family) own(ns, uid string) string { return wire.RoomChannel(f.o.Prefix, ns, uid) }

// counts says by which channels servers are counted, and what of a handover is of this
// family.
func (f *family) counts() {
	f.core.counted = func(ns string) topic { return f.channel(f.main(ns)) }
	f.core.passes, f.core.spare = f.passes, f.spare
}

func (f *family) mainTopics(ns string) []topic { return []topic{f.channel(f.main(ns))} }

// put publishes a message.
func (f *family) put(channel string, m *wire.Message) {
	payload, err := wire.AppendMessage(nil, m, f.form)
	if err != nil {
		f.unwritten("a message", err)
		return
	}
	f.out.message(m)
	f.publish(channel, payload)
}

// receive handles what was published: for all servers, or for this one. A message
// says itself which; a room may be called as the server is.
func (f *family) receive(_, channel string, payload []byte) {
	m, err := wire.ParseMessage(payload)
	switch {
	case err != nil:
		f.b.malformed.Add(1)
	case m.Response():
		f.responded(m)
	default:
		f.handle(m, channel, payload)
	}
}

// handle acts on a message that is for all servers, unless this one has published it.
func (f *family) handle(m wire.Message, channel string, payload []byte) {
	if f.isMine(m.UID, channel, payload) {
		f.discards.own.Add(1)
		f.spareOwn(channel, payload)
		return
	}
	f.cover(channel, payload)
	f.act(m)
}

// act acts on a message of another server.
func (f *family) act(m wire.Message) {
	f.in.message(&m)
	t := targetOf(m.Namespace, m.Options)
	switch m.Type {
	case wire.BroadcastMessage:
		if m.RequestID != "" {
			f.answer(func(given func()) { f.poll(t, m, given) }) // until all clients have answered, or the time-out
			return
		}
		f.host.Deliver(t, eventOf(m.Packet, m.Options.Flags))
	case wire.SocketsJoin:
		f.host.Join(t, m.Rooms)
	case wire.SocketsLeave:
		f.host.Leave(t, m.Rooms)
	case wire.DisconnectSockets:
		f.host.Disconnect(t, m.Close)
	case wire.FetchSockets:
		f.answer(func(func()) {
			answer := wire.Message{Type: wire.FetchSocketsResponse, CountOnly: m.CountOnly}
			if m.CountOnly {
				answer.Count = f.host.Count(t)
			} else {
				answer.Sockets = infosOf(f.host.Members(t))
			}
			f.respond(m, answer)
		})
	case wire.ServerSideEmit:
		var answer func(rooms.Value)
		if m.RequestID != "" {
			answer = func(v rooms.Value) {
				f.respond(m, wire.Message{Type: wire.ServerSideEmitResponse, Value: wire.Value(v)})
			}
		}
		f.host.ServerSide(m.Namespace, eventOf(m.Packet, wire.Flags{}), answer)
	}
}

// poll delivers an event to be acknowledged. Given is called when sockets have it.
func (f *family) poll(t rooms.Target, m wire.Message, given func()) {
	ctx, cancel := context.WithTimeout(f.b.ctx, timeoutOf(m.Options.Flags))
	defer cancel()
	f.host.DeliverAck(ctx, t, eventOf(m.Packet, m.Options.Flags), func(clients int) {
		given()
		f.respond(m, wire.Message{Type: wire.BroadcastClientCount, Count: clients})
	}, func(v rooms.Value) {
		f.respond(m, wire.Message{Type: wire.BroadcastAck, Value: wire.Value(v)})
	})
}

func (f *family) respond(to, answer wire.Message) { f.respondAs(f.me(), to, answer) }

func (f *family) respondAs(uid string, to, answer wire.Message) {
	answer.UID, answer.Namespace, answer.RequestID = uid, to.Namespace, to.RequestID
	f.put(f.own(to.Namespace, to.UID), &answer)
}

// responded hands a response to who waits for it.
func (f *family) responded(m wire.Message) {
	q := f.requests.get(m.RequestID)
	if q == nil {
		f.discards.late.Add(1)
		return
	}
	ok := false
	switch m.Type {
	case wire.BroadcastClientCount:
		ok = q.server(m.UID, m.Count, answer{kind: aCount})
	case wire.BroadcastAck:
		ok = q.client(m.UID, valueOf(m.Value))
	case wire.ServerSideEmitResponse:
		ok = q.server(m.UID, 0, answer{kind: aValue, value: valueOf(m.Value)})
	case wire.FetchSocketsResponse:
		a := answer{kind: aMembers, members: membersOf(m.Sockets)}
		if m.CountOnly {
			a = answer{kind: aTotal, total: m.Count}
		}
		ok = q.server(m.UID, 0, a)
	}
	if !ok {
		f.b.malformed.Add(1)
		return
	}
	f.in.message(&m)
}

// request asks the other servers of a namespace for answers of a kind.
func (f *family) request(ctx context.Context, m *wire.Message, want answerKind, each func(answer)) error {
	me := f.me()
	own := f.channel(f.own(m.Namespace, me))
	f.b.subs.add(own)
	defer f.b.subs.drop(own)
	if err := f.b.subs.await(ctx, own); err != nil {
		return f.unasked(m.Namespace, want, err)
	}
	m.UID, m.RequestID = me, newUID()
	return f.ask(ctx, m.Namespace, f.channel(f.main(m.Namespace)), m.RequestID, func() error { f.send(m); return nil }, newRequest(want, each))
}

// newUID returns 16 hexadecimal characters.
func newUID() string {
	const digits = "0123456789abcdef"
	raw := []byte(newID(16))
	for i, c := range raw {
		raw[i] = digits[c%16]
	}
	return string(raw)
}

func (f *family) message(t wire.MessageType, target rooms.Target, e rooms.Event) *wire.Message {
	return &wire.Message{Type: t, UID: f.me(), Namespace: target.Namespace, Options: optionsOf(target, e)}
}

// Emit publishes an event.
func (f *family) Emit(t rooms.Target, e rooms.Event) {
	m := f.message(wire.BroadcastMessage, t, e)
	m.Packet = packetOf(e)
	f.send(m)
}

// Join publishes a request.
func (f *family) Join(t rooms.Target, names []string) {
	m := f.message(wire.SocketsJoin, t, rooms.Event{})
	m.Rooms = names
	f.send(m)
}

// Leave publishes a request.
func (f *family) Leave(t rooms.Target, names []string) {
	m := f.message(wire.SocketsLeave, t, rooms.Event{})
	m.Rooms = names
	f.send(m)
}

// Disconnect publishes a request.
func (f *family) Disconnect(t rooms.Target, closing bool) {
	m := f.message(wire.DisconnectSockets, t, rooms.Event{})
	m.Close = closing
	f.send(m)
}

// ServerSideEmit publishes an event for servers.
func (f *family) ServerSideEmit(ns string, e rooms.Event) {
	f.send(&wire.Message{Type: wire.ServerSideEmit, UID: f.me(), Namespace: ns, Packet: packetOf(e)})
}

// EmitAck publishes an event to be acknowledged.
func (f *family) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, asked func(int), each func(rooms.Value)) error {
	ctx, cancel := deadline(ctx, ackTimeout)
	defer cancel()
	m := f.message(wire.BroadcastMessage, t, e)
	m.Packet = packetOf(e)
	m.Options.Flags.Timeout, m.Options.Flags.HasTimeout = milliseconds(ctx), true
	return f.request(ctx, m, aCount, ofClients(asked, each))
}

// Members asks for sockets.
func (f *family) Members(ctx context.Context, t rooms.Target) (all []rooms.Member, err error) {
	ctx, cancel := deadline(ctx, f.o.Timeout)
	defer cancel()
	err = f.request(ctx, f.message(wire.FetchSockets, t, rooms.Event{}), aMembers, func(a answer) { all = append(all, a.members...) })
	return all, err
}

// Count asks for numbers; servers of Node give sockets.
func (f *family) Count(ctx context.Context, t rooms.Target) (n int, err error) {
	ctx, cancel := deadline(ctx, f.o.Timeout)
	defer cancel()
	m := f.message(wire.FetchSockets, t, rooms.Event{})
	m.CountOnly = true
	err = f.request(ctx, m, aTotal, func(a answer) { n += a.total + len(a.members) })
	return n, err
}

// RoomNames asks for sockets, since there is no message for rooms alone.
func (f *family) RoomNames(ctx context.Context, ns string) (all []string, err error) {
	members, err := f.Members(ctx, rooms.Target{Namespace: ns})
	for _, m := range members {
		all = append(all, m.Rooms...)
	}
	return all, err
}

// ServerSideAsk asks servers.
func (f *family) ServerSideAsk(ctx context.Context, ns string, e rooms.Event) (all []rooms.Value, err error) {
	ctx, cancel := deadline(ctx, f.o.Timeout)
	defer cancel()
	m := &wire.Message{Type: wire.ServerSideEmit, Namespace: ns, Packet: packetOf(e)}
	err = f.request(ctx, m, aValue, func(a answer) { all = append(all, a.value) })
	return all, err
}
