package wire

import "github.com/sioedge/sioedge/rooms/value"

// A Response answers a [Request]. Those to RequestServerSideEmit and
// RequestBroadcast have a type; all others have none, and of Sockets, SIDs and
// Rooms what was asked for, or nothing if that was to do something.
type Response struct {
	Type    RequestType // if HasType: 6, 8 or 9
	HasType bool
	// RequestID is the request's ID.
	RequestID string
	// UID is the answering server's, if it says so: those of redis-adapter do not.
	UID string
	// Sockets and Rooms are nil if there is no such list, even an empty one. An
	// empty list of ids is in Sockets.
	Sockets []SocketInfo
	SIDs    []string // the answer to RequestSockets
	Rooms   []string
	// Count is how many clients will acknowledge, of ResponseClientCount; or, of an
	// answer to RequestFetch that is CountOnly, how many sockets there are.
	Count     int
	CountOnly bool
	// Value is the acknowledgement of ResponseAck, or the answer to
	// RequestServerSideEmit, whose bytes arrive as {"type":"Buffer","data":[…]}.
	Value Value
}

// ParseResponse parses a response in JSON or MessagePack.
func ParseResponse(b []byte) (r Response, err error) {
	v, err := view(b, '{')
	if err != nil {
		return Response{}, err
	}
	var f [8]value.View
	if !v.Object(f[:], "type", "requestId", "uid", "sockets", "rooms", "clientCount", "data", "packet") {
		return Response{}, errShape
	}
	if err = setText(&r.RequestID, f[1]); err == nil {
		err = setText(&r.UID, f[2])
	}
	if err == nil && f[0].Missing() {
		err = r.setLists(f[3], f[4], f[5])
	} else if err == nil {
		err = r.setTyped(f[0], f[5], f[6], f[7])
	}
	if err != nil {
		return Response{}, err
	}
	return r, nil
}

func (r *Response) setLists(list, names, count value.View) (err error) {
	switch {
	case !list.Missing():
		r.Sockets, r.SIDs, err = sockets(list)
	case !names.Missing():
		if r.Rooms, _, err = rooms(names); r.Rooms == nil {
			r.Rooms = []string{}
		}
	case !count.Missing():
		r.CountOnly, err = true, setCount(&r.Count, count)
	}
	return err
}

func (r *Response) setTyped(typ, count, data, packet value.View) error {
	t, ok := typ.Integer()
	r.HasType = true
	switch {
	case !ok:
	case t == uint64(RequestServerSideEmit):
		r.Type = RequestServerSideEmit
		return setValue(&r.Value, data)
	case t == uint64(ResponseClientCount):
		r.Type = ResponseClientCount
		return setCount(&r.Count, count)
	case t == uint64(ResponseAck):
		r.Type = ResponseAck
		return setValue(&r.Value, packet)
	}
	return errType
}

// AppendResponse appends r as redis-adapter does: in JSON, or a ResponseAck in
// MessagePack. A Type that responses do not have, or JSON that is none, is an
// error; dst is then returned as it was.
func AppendResponse(dst []byte, r *Response) ([]byte, error) {
	w := writer{b: dst, packed: r.HasType && r.Type == ResponseAck}
	w.object(2 + one(r.UID != "") + one(r.Value.Data != nil)) // counts in MessagePack only
	if r.HasType {
		w.key("type")
		w.number(uint64(r.Type))
	}
	w.key("requestId")
	w.text(r.RequestID)
	switch {
	case !r.HasType && r.SIDs != nil:
		w.rooms("sockets", r.SIDs)
	case !r.HasType && r.Sockets != nil:
		w.key("sockets")
		w.sockets(r.Sockets)
	case !r.HasType && r.Rooms != nil:
		w.rooms("rooms", r.Rooms)
	case !r.HasType && !r.CountOnly:
	case r.Type == RequestServerSideEmit:
		w.value("data", &r.Value)
	case r.CountOnly || r.Type == ResponseClientCount:
		w.key("clientCount")
		w.number(uint64(max(r.Count, 0)))
	case r.Type == ResponseAck:
		w.value("packet", &r.Value)
	default:
		return dst, errType
	}
	w.optional("uid", r.UID)
	w.endObject()
	return w.done(dst)
}
