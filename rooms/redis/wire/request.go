package wire

import "github.com/sioedge/sioedge/rooms/value"

// A RequestType says what the servers of a classic cluster are asked for.
type RequestType uint8

// The types of requests and responses.
const (
	// RequestSockets asks for the ids of the sockets in Rooms; only servers of
	// version 7 and older send it.
	RequestSockets RequestType = iota
	// RequestRooms asks for the names of all rooms.
	RequestRooms
	// RequestJoin has the sockets that Options mean join Rooms.
	RequestJoin
	// RequestLeave has them leave Rooms.
	RequestLeave
	// RequestDisconnect disconnects them, and their connections if Close.
	RequestDisconnect
	// RequestFetch asks for descriptions of them, or how many they are if CountOnly.
	RequestFetch
	// RequestServerSideEmit is an event for the servers: Packet.
	RequestServerSideEmit
	// RequestBroadcast is an event for clients, to be acknowledged: Packet.
	RequestBroadcast
	// ResponseClientCount is a response to RequestBroadcast: to how many clients
	// the event went.
	ResponseClientCount
	// ResponseAck is another: what a client acknowledged with.
	ResponseAck
)

// A Request asks the servers of a classic cluster for something.
type Request struct {
	Type RequestType
	// UID is the asking server's; emitters leave it out, or are [EmitterUID].
	UID string
	// ID is what responses name, "" if none is wanted.
	ID string
	// SID is the one socket meant, in requests to join, leave and disconnect of
	// servers of version 7 and older, and Room what it joins or leaves. They have
	// no Options.
	SID, Room string
	Options   Options
	Rooms     []string
	Close     bool
	// CountOnly is of RequestFetch: a number will do. Servers of Node, which do not
	// look at it, answer with the sockets.
	CountOnly bool
	// Packet is an event and its arguments, of RequestServerSideEmit and
	// RequestBroadcast. The former loses what its bytes are: it arrives with
	// {"type":"Buffer","data":[…]} in their place.
	Packet Packet
	// Namespace is the packet's, of RequestBroadcast.
	Namespace string
}

// ParseRequest parses a request in JSON or MessagePack.
func ParseRequest(b []byte) (r Request, err error) {
	v, err := view(b, '{')
	if err != nil {
		return Request{}, err
	}
	var f [11]value.View
	if !v.Object(f[:], "uid", "requestId", "type", "opts", "rooms", "close", "data", "packet", "sid", "room", "countOnly") {
		return Request{}, errShape
	}
	t, ok := f[2].Integer()
	if !ok || t > uint64(RequestBroadcast) {
		return Request{}, errType
	}
	r.Type = RequestType(t)
	if err = setText(&r.UID, f[0]); err == nil {
		err = setText(&r.ID, f[1])
	}
	if err == nil {
		err = r.set(f[3], f[4], f[5], f[6], f[7], f[8], f[9])
	}
	if err != nil {
		return Request{}, err
	}
	if r.Type == RequestFetch {
		r.CountOnly, _ = f[10].Bool()
	}
	return r, nil
}

// set takes the members that depend on the type.
func (r *Request) set(opts, list, closing, data, packet, sid, room value.View) (err error) {
	switch r.Type {
	case RequestSockets:
		r.Rooms, _, err = rooms(list)
	case RequestJoin, RequestLeave:
		if opts.Missing() {
			return r.setLegacy(sid, room)
		}
		if err = setOptions(&r.Options, opts); err == nil {
			r.Rooms, _, err = rooms(list)
		}
	case RequestDisconnect:
		r.Close, _ = closing.Bool()
		if opts.Missing() {
			return r.setLegacy(sid, value.View{})
		}
		err = setOptions(&r.Options, opts)
	case RequestFetch:
		err = setOptions(&r.Options, opts)
	case RequestServerSideEmit:
		err = setEvent(&r.Packet, data, false)
	case RequestBroadcast:
		if err = setOptions(&r.Options, opts); err == nil {
			err = setPacket(&r.Packet, &r.Namespace, packet)
		}
	}
	if r.Type != RequestBroadcast {
		r.Options.Flags = Flags{} // no other request has any
	}
	return err
}

func (r *Request) setLegacy(sid, room value.View) error {
	if err := setText(&r.SID, sid); err != nil || r.SID == "" {
		return errShape
	}
	if text, ok := room.Text(); ok {
		r.Room = string(text)
	} else if digits, ok := room.AppendNumber(nil); ok {
		r.Room = string(digits)
	}
	return nil
}

// AppendRequest appends r as redis-adapter does: in JSON, or a RequestBroadcast
// in MessagePack. The error is as with [AppendBroadcast].
func AppendRequest(dst []byte, r *Request) ([]byte, error) {
	w := writer{b: dst, packed: r.Type == RequestBroadcast}
	w.object(3 + one(r.UID != "") + one(r.ID != "")) // counts in MessagePack only
	w.optional("uid", r.UID)
	w.optional("requestId", r.ID)
	w.key("type")
	w.number(uint64(r.Type))
	switch {
	case r.SID != "" && r.hasTargets():
		w.optional("sid", r.SID)
		if r.Type != RequestDisconnect {
			w.key("room")
			w.text(r.Room)
		}
	case r.hasTargets() || r.Type == RequestFetch:
		w.key("opts")
		w.object(2)
		w.rooms("rooms", r.Options.Rooms)
		w.rooms("except", r.Options.Except)
		w.endObject()
	}
	switch r.Type {
	case RequestSockets:
		w.rooms("rooms", r.Rooms)
	case RequestJoin, RequestLeave:
		if r.SID == "" {
			w.rooms("rooms", r.Rooms)
		}
	case RequestDisconnect:
		w.key("close")
		w.bool(r.Close)
	case RequestFetch:
		w.flag("countOnly", r.CountOnly)
	case RequestServerSideEmit:
		w.key("data")
		w.json(r.Packet.Data, r.Packet.Attachments)
	case RequestBroadcast:
		w.key("packet")
		w.packet(&r.Packet, namespaceOf(r.Namespace))
		w.key("opts")
		w.options(&r.Options)
	}
	w.endObject()
	return w.done(dst)
}

// hasTargets tells whether r is about sockets, once named by their id.
func (r *Request) hasTargets() bool {
	return r.Type == RequestJoin || r.Type == RequestLeave || r.Type == RequestDisconnect
}
