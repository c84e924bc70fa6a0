package wire

import "github.com/sioedge/sioedge/rooms/value"

// A MessageType is what a [Message] is about.
type MessageType uint8

// The types of messages; the comments name the fields that they have.
const (
	InitialHeartbeat       MessageType = iota + 1 // a server is new; all answer with a Heartbeat
	Heartbeat                                     // a server is there
	BroadcastMessage                              // Packet, Options; with a RequestID it is to be acknowledged
	SocketsJoin                                   // Options, Rooms
	SocketsLeave                                  // Options, Rooms
	DisconnectSockets                             // Options, Close
	FetchSockets                                  // Options, RequestID, CountOnly
	FetchSocketsResponse                          // RequestID, Sockets; or, if CountOnly, Count
	ServerSideEmit                                // Packet; with a RequestID it is to be answered
	ServerSideEmitResponse                        // RequestID, Value
	BroadcastClientCount                          // RequestID, Count
	BroadcastAck                                  // RequestID, Value
	AdapterClose                                  // a server is gone
)

// A Message is what servers with the sharded adapter, or that of streams, send
// to each other. It is {type, data, uid, nsp}.
type Message struct {
	Type MessageType
	// UID is the sender's, in its namespace, or [EmitterUID].
	UID       string
	Namespace string

	// RequestID is "" if the message neither is a request nor answers one.
	RequestID string
	Packet    Packet
	Options   Options
	Rooms     []string
	Close     bool
	Sockets   []SocketInfo
	Count     int
	Value     Value // absent if the client, or the server, had no argument
	CountOnly bool  // as of [Request] and [Response]
}

// A Form is how a message is written.
type Form uint8

// The forms.
const (
	// Sharded is that of the sharded adapter: JSON, but MessagePack if there are
	// bytes in the message.
	Sharded Form = iota
	// Packed is that in which the streams adapter publishes: MessagePack.
	Packed
)

// ParseMessage parses a message in JSON or MessagePack.
func ParseMessage(b []byte) (m Message, err error) {
	v, err := view(b, '{')
	if err != nil {
		return Message{}, err
	}
	var f [4]value.View
	if !v.Object(f[:], "type", "data", "uid", "nsp") {
		return Message{}, errShape
	}
	t, ok := f[0].Integer()
	if !ok || t < uint64(InitialHeartbeat) || t > uint64(AdapterClose) {
		return Message{}, errType
	}
	m.Type = MessageType(t)
	if err = setText(&m.UID, f[2]); err == nil {
		err = setText(&m.Namespace, f[3])
	}
	if err == nil {
		err = m.setData(f[1])
	}
	if err != nil {
		return Message{}, err
	}
	return m, nil
}

// Response tells whether m answers a request: of one server, for one.
func (m *Message) Response() bool {
	switch m.Type {
	case FetchSocketsResponse, ServerSideEmitResponse, BroadcastClientCount, BroadcastAck:
		return true
	}
	return false
}

// hasData tells whether messages of m's type have any.
func (m *Message) hasData() bool { return m.Type > Heartbeat && m.Type < AdapterClose }

// setData takes the data, whose members depend on the type.
func (m *Message) setData(v value.View) error {
	if !m.hasData() {
		return nil
	}
	var f [8]value.View
	if !v.Object(f[:], "packet", "requestId", "opts", "rooms", "close", "sockets", "clientCount", "countOnly") {
		return errShape
	}
	packet, requestID, opts := f[0], f[1], f[2]
	var err error
	switch m.Type {
	case SocketsJoin, SocketsLeave, DisconnectSockets:
	default:
		err = setText(&m.RequestID, requestID)
	}
	if err == nil && m.Type >= BroadcastMessage && m.Type <= FetchSockets {
		err = setOptions(&m.Options, opts)
	}
	if err != nil {
		return err
	}
	switch m.Type {
	case BroadcastMessage:
		err = setPacket(&m.Packet, nil, packet)
	case SocketsJoin, SocketsLeave:
		m.Rooms, _, err = rooms(f[3])
	case DisconnectSockets:
		m.Close, _ = f[4].Bool()
	case FetchSockets:
		m.CountOnly, _ = f[7].Bool()
	case FetchSocketsResponse:
		if m.CountOnly = f[5].Missing() && !f[6].Missing(); m.CountOnly {
			return setCount(&m.Count, f[6])
		}
		var ids []string
		if m.Sockets, ids, err = sockets(f[5]); err == nil && ids != nil {
			err = errSockets
		}
	case ServerSideEmit:
		err = setEvent(&m.Packet, packet, false)
	case ServerSideEmitResponse, BroadcastAck:
		err = setValue(&m.Value, packet)
	case BroadcastClientCount:
		err = setCount(&m.Count, f[6])
	}
	return err
}

// hasBytes tells whether there are bytes anywhere in m.
func (m *Message) hasBytes() bool {
	for i := range m.Sockets {
		if len(m.Sockets[i].Data.Attachments) > 0 {
			return true
		}
	}
	return len(m.Packet.Attachments) > 0 || len(m.Value.Attachments) > 0
}

// AppendMessage appends m as the adapter with that form does. A value that is
// absent is left out. The error is for JSON in m that is not valid, or names an
// attachment that there is not; dst is then returned as it was.
func AppendMessage(dst []byte, m *Message, form Form) ([]byte, error) {
	w := writer{b: dst, packed: form == Packed || m.hasBytes()}
	w.object(3 + one(m.hasData()))
	w.key("type")
	w.number(uint64(m.Type))
	if m.hasData() {
		w.key("data")
		w.data(m)
	}
	w.key("uid")
	w.text(m.UID)
	w.key("nsp")
	w.text(m.Namespace)
	w.endObject()
	return w.done(dst)
}

// data writes the data of a message that has any.
func (w *writer) data(m *Message) {
	hasID := m.RequestID != ""
	switch m.Type {
	case BroadcastMessage:
		w.object(2 + one(hasID))
		w.key("packet")
		w.packet(&m.Packet, "")
		w.optional("requestId", m.RequestID)
		w.key("opts")
		w.options(&m.Options)
	case SocketsJoin, SocketsLeave:
		w.object(2)
		w.key("opts")
		w.options(&m.Options)
		w.rooms("rooms", m.Rooms)
	case DisconnectSockets:
		w.object(2)
		w.key("opts")
		w.options(&m.Options)
		w.key("close")
		w.bool(m.Close)
	case FetchSockets:
		w.object(1 + one(hasID) + one(m.CountOnly))
		w.key("opts")
		w.options(&m.Options)
		w.optional("requestId", m.RequestID)
		w.flag("countOnly", m.CountOnly)
	case FetchSocketsResponse:
		w.object(1 + one(hasID))
		w.optional("requestId", m.RequestID)
		if m.CountOnly {
			w.key("clientCount")
			w.number(uint64(max(m.Count, 0)))
			break
		}
		w.key("sockets")
		w.sockets(m.Sockets)
	case ServerSideEmit:
		w.object(1 + one(hasID))
		w.optional("requestId", m.RequestID)
		w.key("packet")
		w.json(m.Packet.Data, m.Packet.Attachments)
	case ServerSideEmitResponse, BroadcastAck:
		w.object(one(hasID) + one(m.Value.Data != nil))
		w.optional("requestId", m.RequestID)
		w.value("packet", &m.Value)
	case BroadcastClientCount:
		w.object(1 + one(hasID))
		w.optional("requestId", m.RequestID)
		w.key("clientCount")
		w.number(uint64(max(m.Count, 0)))
	}
	w.endObject()
}
