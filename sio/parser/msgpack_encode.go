package parser

import (
	"github.com/tinylib/msgp/msgp"

	"github.com/sioedge/sioedge/rooms/value"
)

// An envelope is a packet without its payload. The order of the keys is the one
// in which Node's server sets them; receivers must not care.
type envelope struct {
	t         Type
	namespace string
	id        uint64
	hasID     bool
	hasData   bool
}

// begin appends what precedes the payload.
func (v *envelope) begin(dst []byte) []byte {
	members := uint32(2)
	if v.hasID {
		members++
	}
	if v.hasData {
		members++
	}
	dst = msgp.AppendMapHeader(dst, members)
	if v.t == Ack {
		dst = v.appendID(dst)
	}
	dst = append(append(dst, "\xa4type"...), byte(v.t))
	if v.t == ConnectError {
		dst = v.appendNamespace(dst)
	}
	if v.hasData {
		dst = append(dst, "\xa4data"...)
	}
	return dst
}

// end appends what follows the payload.
func (v *envelope) end(dst []byte) []byte {
	if v.t != Ack {
		dst = v.appendID(dst)
	}
	if v.t != ConnectError {
		dst = v.appendNamespace(dst)
	}
	return dst
}

func (v *envelope) appendID(dst []byte) []byte {
	if !v.hasID {
		return dst
	}
	return msgp.AppendUint64(append(dst, "\xa2id"...), v.id)
}

func (v *envelope) appendNamespace(dst []byte) []byte {
	name := v.namespace
	if name == "" {
		name = "/"
	}
	return msgp.AppendString(append(dst, "\xa3nsp"...), name)
}

// AppendMsgpackPacket appends p, whose payload may have either encoding, as one
// binary message: how a packet made or received as JSON, with its Buffers,
// reaches clients of the other parser. The error is that of
// [value.AppendMsgpackFromJSON]; dst is then returned as it was.
func AppendMsgpackPacket(dst []byte, p *Packet) ([]byte, error) {
	v := envelope{p.Type, string(p.Namespace), p.ID, p.HasID, p.Data != nil}
	out := v.begin(dst)
	switch {
	case p.Data == nil:
	case p.Encoding == MessagePack:
		out = append(out, p.Data...)
	default:
		var err error
		if out, err = value.AppendMsgpackFromJSON(out, p.Data, p.Buffers); err != nil {
			return dst, err
		}
	}
	return v.end(out), nil
}
