package wire

import (
	"errors"

	"github.com/sioedge/sioedge/rooms/value"
)

// EmitterUID is who a message is from that no server sent.
const EmitterUID = "emitter"

// maxDepth is how deep the arrays and objects of a message may be nested.
// Packets of clients stay far below.
const maxDepth = 1000

// The event and its predecessor with attachments, of old emitters.
const (
	eventPacket       = 2
	binaryEventPacket = 5
)

var (
	errSyntax    = errors.New("wire: neither JSON nor MessagePack")
	errShape     = errors.New("wire: not a message")
	errType      = errors.New("wire: unknown type")
	errText      = errors.New("wire: an id or a name is no text")
	errPacket    = errors.New("wire: not an event's packet")
	errEvent     = errors.New("wire: not an event and its arguments")
	errAmbiguous = errors.New("wire: a placeholder among bytes")
	errOptions   = errors.New("wire: no options")
	errRooms     = errors.New("wire: rooms are no list")
	errNobody    = errors.New("wire: only rooms that nobody can be in")
	errSockets   = errors.New("wire: sockets are no list of sockets")
	errCount     = errors.New("wire: not a count")
	errNoEvent   = errors.New("wire: a packet without an event")
)

// A Packet is an event: Data is the JSON text of [event, ...args], with
// placeholders for the attachments.
type Packet struct {
	Data        []byte
	Attachments [][]byte
	// ID is the acknowledgement id, if HasID: only entries of streams have one,
	// for what a server with connection state recovery sent to one socket.
	ID    uint64
	HasID bool
}

// A Value is one value, such as the argument of an acknowledgement: Data is JSON,
// with placeholders for the Attachments, or nil if there is none, not even null.
type Value struct {
	Data        []byte
	Attachments [][]byte
}

// Options say who gets an event, or what a request is about.
type Options struct {
	// Rooms are those whose members are meant, all of the namespace if there are
	// none; and Except those whose members are not. A room that is a number in
	// JavaScript is its decimal text.
	Rooms, Except []string
	Flags         Flags
}

// Flags are what the sender chained before emit.
type Flags struct {
	Volatile bool
	// Compress is what the sender asked for, if HasCompress.
	Compress, HasCompress bool
	// SingleResponse is set if one client is expected to acknowledge.
	SingleResponse bool
	// Timeout is how long, in ms, acknowledgements are waited for, if HasTimeout.
	Timeout    int64
	HasTimeout bool
}

// A SocketInfo describes a socket to another server: its ID, Rooms and Data. Its
// Handshake is JSON, nil if there is none.
type SocketInfo struct {
	ID        string
	Handshake []byte
	Rooms     []string
	Data      Value
}

// view returns a message whose JSON begins with open.
func view(b []byte, open byte) (value.View, error) {
	parse := value.ViewMsgpack
	if len(b) > 0 && b[0] == open {
		parse = value.ViewJSON
	}
	v, err := parse(b, maxDepth)
	if err != nil {
		return v, errSyntax
	}
	return v, nil
}

// setText puts the text v into s, "" if there is none.
func setText(s *string, v value.View) error {
	if v.Missing() || v.Null() {
		*s = ""
		return nil
	}
	text, ok := v.Text()
	if !ok {
		return errText
	}
	switch string(text) { // those of most messages cost nothing
	case "/":
		*s = "/"
	case EmitterUID:
		*s = EmitterUID
	default:
		*s = string(text)
	}
	return nil
}

// setPacket takes {type, data, nsp, id}. namespace may be nil.
func setPacket(p *Packet, namespace *string, v value.View) error {
	var f [4]value.View
	if !v.Object(f[:], "type", "data", "nsp", "id") {
		return errPacket
	}
	if t, ok := f[0].Integer(); !ok || t != eventPacket && t != binaryEventPacket {
		return errPacket
	}
	if namespace != nil {
		*namespace = "/"
		if !f[2].Missing() {
			if text, ok := f[2].Text(); !ok || len(text) == 0 {
				return errText // "" is not "/": Node has no such namespace
			} else if string(text) != "/" {
				*namespace = string(text)
			}
		}
	}
	if !f[3].Missing() && !f[3].Null() {
		if p.ID, p.HasID = f[3].Integer(); !p.HasID {
			return errPacket
		}
	}
	return setEvent(p, f[1], true)
}

// setEvent takes [event, ...args]. Clients disconnect at the sight of a reserved
// name, so events for them may have none.
func setEvent(p *Packet, v value.View, forClients bool) (err error) {
	ok := false
	v.Elements(func(name value.View) bool {
		var text []byte
		if text, ok = name.Text(); ok {
			ok = !forClients || !value.Reserved(string(text))
		} else {
			_, ok = name.Number()
		}
		return false
	})
	if !ok {
		return errEvent
	}
	if p.Data, p.Attachments, err = v.JSON(); err != nil {
		return errAmbiguous
	}
	return nil
}

func setValue(to *Value, v value.View) (err error) {
	if v.Missing() {
		return nil
	}
	if to.Data, to.Attachments, err = v.JSON(); err != nil {
		return errAmbiguous
	}
	return nil
}

// setOptions takes {rooms, except, flags}.
func setOptions(o *Options, v value.View) (err error) {
	var f [3]value.View
	if !v.Object(f[:], "rooms", "except", "flags") {
		return errOptions
	}
	var n int
	if o.Rooms, n, err = rooms(f[0]); err != nil {
		return err
	}
	if n > 0 && len(o.Rooms) == 0 {
		return errNobody // an empty list would be everybody
	}
	if o.Except, _, err = rooms(f[1]); err != nil {
		return err
	}
	setFlags(&o.Flags, f[2])
	return nil
}

// rooms returns the rooms of a list, and of how many elements. What is missing,
// null or an empty text, which some emitters write, is an empty list. Elements
// that are no text and no number are what a JavaScript program joins by mistake,
// as to(undefined): nobody here is in such a room.
func rooms(v value.View) (list []string, n int, err error) {
	if text, ok := v.Text(); v.Missing() || v.Null() || ok && len(text) == 0 {
		return nil, 0, nil
	}
	ok := v.Elements(func(room value.View) bool {
		n++
		if text, ok := room.Text(); ok {
			list = append(list, string(text))
		} else if digits, ok := room.AppendNumber(nil); ok {
			list = append(list, string(digits))
		}
		return true
	})
	if !ok {
		return nil, 0, errRooms
	}
	return list, n, nil
}

// maxTimeout is the longest time that JavaScript's timers know, in ms.
const maxTimeout = 1<<31 - 1

// setFlags takes {volatile, compress, expectSingleResponse, timeout}.
func setFlags(to *Flags, v value.View) {
	var f [4]value.View
	v.Object(f[:], "volatile", "compress", "expectSingleResponse", "timeout")
	to.Volatile, _ = f[0].Bool()
	to.Compress, to.HasCompress = f[1].Bool()
	to.SingleResponse, _ = f[2].Bool()
	if ms, ok := f[3].Number(); ok {
		to.Timeout, to.HasTimeout = int64(min(max(ms, 0), maxTimeout)), true
	}
}

// sockets returns the sockets of a list: objects, or the ids alone.
func sockets(v value.View) (list []SocketInfo, ids []string, err error) {
	ok := v.Elements(func(e value.View) bool {
		if id, ok := e.Text(); ok {
			ids = append(ids, string(id))
			return true
		}
		var s SocketInfo
		if err = setSocket(&s, e); err == nil {
			list = append(list, s)
		}
		return err == nil
	})
	if !ok || len(list) > 0 && len(ids) > 0 {
		return nil, nil, errSockets
	}
	if list == nil && ids == nil {
		list = []SocketInfo{}
	}
	return list, ids, err
}

func setSocket(s *SocketInfo, v value.View) (err error) {
	var f [4]value.View
	if !v.Object(f[:], "id", "handshake", "rooms", "data") {
		return errSockets
	}
	id, ok := f[0].Text()
	if !ok {
		return errText
	}
	s.ID = string(id)
	if s.Rooms, _, err = rooms(f[2]); err != nil {
		return err
	}
	var handshake Value
	if err := setValue(&handshake, f[1]); err != nil {
		return err
	}
	s.Handshake = handshake.Data
	if len(handshake.Attachments) > 0 { // of a client that speaks MessagePack, in auth
		if s.Handshake, err = value.AppendJSONWithBuffers(nil, handshake.Data, handshake.Attachments); err != nil {
			return err
		}
	}
	return setValue(&s.Data, f[3])
}

// setCount takes how many clients there are.
func setCount(n *int, v value.View) error {
	u, ok := v.Integer()
	if !ok || u > 1<<31-1 {
		return errCount
	}
	*n = int(u)
	return nil
}
