package wire

import (
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/sioedge/sioedge/rooms/value"
)

// A writer appends a message, as JSON or as MessagePack, where objects and lists
// say in front how many members they have.
type writer struct {
	b      []byte
	packed bool
	err    error // the first one
}

// done returns what was written behind dst, or dst and an error.
func (w *writer) done(dst []byte) ([]byte, error) {
	if w.err != nil {
		return dst, w.err
	}
	return w.b, nil
}

func (w *writer) object(members int) {
	if w.packed {
		w.b = msgp.AppendMapHeader(w.b, uint32(members))
		return
	}
	w.b = append(w.b, '{')
}

func (w *writer) endObject() {
	if !w.packed {
		w.b = append(w.b, '}')
	}
}

// key begins a member.
func (w *writer) key(name string) {
	if w.packed {
		w.b = msgp.AppendString(w.b, name)
		return
	}
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *writer) text(s string) {
	if w.packed {
		w.b = value.AppendMsgpackText(w.b, s)
		return
	}
	w.b = value.AppendJSONText(w.b, s)
}

func (w *writer) number(n uint64) {
	if w.packed {
		w.b = msgp.AppendUint64(w.b, n)
		return
	}
	w.b = strconv.AppendUint(w.b, n, 10)
}

func (w *writer) bool(is bool) {
	if w.packed {
		w.b = msgp.AppendBool(w.b, is)
		return
	}
	w.b = strconv.AppendBool(w.b, is)
}

// list writes n elements, each by a call of f.
func (w *writer) list(n int, f func(i int)) {
	if w.packed {
		w.b = msgp.AppendArrayHeader(w.b, uint32(n))
		for i := range n {
			f(i)
		}
		return
	}
	w.b = append(w.b, '[')
	for i := range n {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		f(i)
	}
	w.b = append(w.b, ']')
}

func (w *writer) texts(list []string) {
	w.list(len(list), func(i int) { w.text(list[i]) })
}

// json writes a value that is JSON with placeholders. In JSON attachments become
// what JSON.stringify makes of a Buffer.
func (w *writer) json(text []byte, attachments [][]byte) {
	var err error
	switch {
	case w.packed:
		w.b, err = value.AppendMsgpackFromJSON(w.b, text, attachments)
	default:
		w.b, err = value.AppendJSONWithBuffers(w.b, text, attachments)
	}
	if w.err == nil {
		w.err = err
	}
}

// packet writes {type, data, id, nsp}, without namespace if that is "".
func (w *writer) packet(p *Packet, namespace string) {
	if len(p.Data) == 0 {
		w.err = errNoEvent
		return
	}
	w.object(2 + one(p.HasID) + one(namespace != ""))
	w.key("type")
	w.number(eventPacket)
	w.key("data")
	w.json(p.Data, p.Attachments)
	if p.HasID {
		w.key("id")
		w.number(p.ID)
	}
	if namespace != "" {
		w.key("nsp")
		w.text(namespace)
	}
	w.endObject()
}

// rooms writes a member that is a list of rooms.
func (w *writer) rooms(name string, list []string) {
	w.key(name)
	w.texts(list)
}

// options writes {rooms, except, flags}.
func (w *writer) options(o *Options) {
	w.object(3)
	w.rooms("rooms", o.Rooms)
	w.rooms("except", o.Except)
	w.flags(&o.Flags)
	w.endObject()
}

// flags writes the member. In JavaScript their order is that of the calls; this
// is the one in which they come where servers set them by themselves.
func (w *writer) flags(f *Flags) {
	w.key("flags")
	w.object(one(f.Volatile) + one(f.HasCompress) + one(f.SingleResponse) + one(f.HasTimeout))
	if f.Volatile {
		w.key("volatile")
		w.bool(true)
	}
	if f.HasCompress {
		w.key("compress")
		w.bool(f.Compress)
	}
	if f.SingleResponse {
		w.key("expectSingleResponse")
		w.bool(true)
	}
	if f.HasTimeout {
		w.key("timeout")
		w.number(uint64(max(f.Timeout, 0)))
	}
	w.endObject()
}

// sockets writes the descriptions of sockets.
func (w *writer) sockets(list []SocketInfo) {
	w.list(len(list), func(i int) {
		s := &list[i]
		w.object(2 + one(s.Handshake != nil) + one(s.Data.Data != nil))
		w.key("id")
		w.text(s.ID)
		if s.Handshake != nil {
			w.key("handshake")
			w.json(s.Handshake, nil)
		}
		w.rooms("rooms", s.Rooms)
		w.value("data", &s.Data)
		w.endObject()
	})
}

// value writes a member, unless there is none.
func (w *writer) value(name string, v *Value) {
	if v.Data != nil {
		w.key(name)
		w.json(v.Data, v.Attachments)
	}
}

// optional writes a member that is a text, unless it is "".
func (w *writer) optional(name, text string) {
	if text != "" {
		w.key(name)
		w.text(text)
	}
}

// flag writes a member that is true, unless it is false.
func (w *writer) flag(name string, is bool) {
	if is {
		w.key(name)
		w.bool(is)
	}
}

// one is how many members an optional one adds.
func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
