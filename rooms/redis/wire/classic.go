package wire

import "github.com/sioedge/sioedge/rooms/value"

// A Broadcast is an event for the clients of a classic cluster. It is
// [uid, packet, options]; see [BroadcastTarget] for where it is published.
type Broadcast struct {
	// UID is the server's, in its namespace, or [EmitterUID].
	UID       string
	Namespace string
	Packet    Packet
	Options   Options
}

// ParseBroadcast parses a broadcast in MessagePack, or in JSON, which servers
// with another parser write. A packet that names no namespace is one of "/". An
// event with a name that clients refuse is an error.
func ParseBroadcast(b []byte) (m Broadcast, err error) {
	v, err := view(b, '[')
	if err != nil {
		return Broadcast{}, err
	}
	var f [3]value.View
	n := 0
	v.Elements(func(e value.View) bool {
		f[n] = e
		n++
		return n < len(f)
	})
	if n < len(f) {
		return Broadcast{}, errShape
	}
	if err = setText(&m.UID, f[0]); err == nil {
		err = setPacket(&m.Packet, &m.Namespace, f[1])
	}
	if err == nil {
		err = setOptions(&m.Options, f[2])
	}
	if err != nil {
		return Broadcast{}, err
	}
	return m, nil
}

// AppendBroadcast appends m in MessagePack, byte for byte as redis-adapter
// does, or redis-emitter if that is who it is from; a namespace "" is "/". The
// error is for a packet whose Data is not valid JSON, or names an attachment
// that there is not; dst is then returned as it was.
func AppendBroadcast(dst []byte, m *Broadcast) ([]byte, error) {
	w := writer{b: dst, packed: true}
	w.b = append(w.b, 0x93) // an array of three
	w.text(m.UID)
	w.packet(&m.Packet, namespaceOf(m.Namespace))
	if m.UID != EmitterUID {
		w.options(&m.Options)
		return w.done(dst)
	}
	w.object(3)
	w.rooms("rooms", m.Options.Rooms)
	w.flags(&m.Options.Flags)
	w.rooms("except", m.Options.Except)
	w.endObject()
	return w.done(dst)
}

// namespaceOf returns the name that a namespace has on the wire.
func namespaceOf(name string) string {
	if name == "" {
		return "/"
	}
	return name
}
