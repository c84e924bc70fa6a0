package parser

import (
	"fmt"
	"math"
	"slices"

	"github.com/tinylib/msgp/msgp"
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

// AppendMsgpackConnect appends the server's answer to a CONNECT, as
// [AppendConnect] does.
func AppendMsgpackConnect(dst []byte, namespace, sid, pid string) []byte {
	v := envelope{t: Connect, namespace: namespace, hasData: sid != ""}
	dst = v.begin(dst)
	if sid != "" {
		members := uint32(1)
		if pid != "" {
			members++
		}
		dst = msgp.AppendMapHeader(dst, members)
		dst = appendMsgpackString(append(dst, "\xa3sid"...), sid)
		if pid != "" {
			dst = appendMsgpackString(append(dst, "\xa3pid"...), pid)
		}
	}
	return v.end(dst)
}

// AppendMsgpackConnectError appends the refusal of a CONNECT: message, and data
// unless nil. Bytes in data stay bytes. An error is what [AppendMsgpackEvent]
// would wrap for data; dst is then returned as it was.
func AppendMsgpackConnectError(dst []byte, namespace, message string, data any) ([]byte, error) {
	v := envelope{t: ConnectError, namespace: namespace, hasData: true}
	members := uint32(1)
	if data != nil {
		members++
	}
	e := msgpackEncoder{encoder{b: msgp.AppendMapHeader(v.begin(dst), members)}}
	e.b = appendMsgpackString(append(e.b, "\xa7message"...), message)
	if data != nil {
		e.b = append(e.b, "\xa4data"...)
		if err := e.value(data); err != nil {
			return dst, err
		}
	}
	return v.end(e.b), nil
}

// AppendMsgpackDisconnect appends a DISCONNECT from namespace.
func AppendMsgpackDisconnect(dst []byte, namespace string) []byte {
	v := envelope{t: Disconnect, namespace: namespace}
	return v.end(v.begin(dst))
}

// AppendMsgpackEvent appends a whole event, which is one binary message.
//
// The arguments have the form that [AppendArgs] gives them, so that receivers
// get the same values with either parser: fields and members by the rules of
// encoding/json, its errors for what has no JSON form, and a [json.RawMessage]
// is the value it says. Byte slices are binary data in place, of any number, a
// nil slice is nil. A [time.Time] is the text that encoding/json makes of it
// and not notepack.io's date: the type that clients see should depend neither on
// their parser nor on whether the event was translated from JSON on its way.
//
// The error is an *[EncodeError] for the first bad argument, or wraps
// [ErrReserved]; dst is then returned as it was.
func AppendMsgpackEvent(dst []byte, namespace string, id uint64, hasID bool, event string, args []any) ([]byte, error) {
	if Reserved(event) {
		return dst, fmt.Errorf("parser: %q is a %w", event, ErrReserved)
	}
	v := envelope{Event, namespace, id, hasID, true}
	out := msgp.AppendArrayHeader(v.begin(dst), uint32(len(args)+1))
	return v.endArgs(dst, appendMsgpackString(out, event), args)
}

// AppendMsgpackAck appends a whole acknowledgement, as [AppendMsgpackEvent]
// does an event.
func AppendMsgpackAck(dst []byte, namespace string, id uint64, args []any) ([]byte, error) {
	v := envelope{Ack, namespace, id, true, true}
	return v.endArgs(dst, msgp.AppendArrayHeader(v.begin(dst), uint32(len(args))), args)
}

func (v *envelope) endArgs(dst, out []byte, args []any) ([]byte, error) {
	e := msgpackEncoder{encoder{b: out}}
	for i, a := range args {
		if err := e.value(a); err != nil {
			return dst, &EncodeError{i, err}
		}
	}
	return v.end(e.b), nil
}

// AppendMsgpackPacket appends p, whose payload may have either encoding, as one
// binary message: how a packet made or received as JSON, with its Buffers,
// reaches clients of the other parser. The error is that of
// [AppendMsgpackFromJSON]; dst is then returned as it was.
func AppendMsgpackPacket(dst []byte, p *Packet) ([]byte, error) {
	v := envelope{p.Type, string(p.Namespace), p.ID, p.HasID, p.Data != nil}
	out := v.begin(dst)
	switch {
	case p.Data == nil:
	case p.Encoding == MessagePack:
		out = append(out, p.Data...)
	default:
		var err error
		if out, err = AppendMsgpackFromJSON(out, p.Data, p.Buffers); err != nil {
			return dst, err
		}
	}
	return v.end(out), nil
}

// A msgpackEncoder appends values as MessagePack. What it does not do by itself
// it has the encoder write as JSON, and translates that: there is one place
// where the rules for structures, maps and types that encode themselves are.
type msgpackEncoder struct {
	encoder
}

func (e *msgpackEncoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.b = msgp.AppendNil(e.b)
	case string:
		e.b = appendMsgpackString(e.b, v)
	case bool:
		e.b = msgp.AppendBool(e.b, v)
	case int:
		e.b = appendMsgpackInt(e.b, int64(v))
	case int32:
		e.b = appendMsgpackInt(e.b, int64(v))
	case int64:
		e.b = appendMsgpackInt(e.b, v)
	case uint:
		e.b = msgp.AppendUint64(e.b, uint64(v))
	case uint32:
		e.b = msgp.AppendUint64(e.b, uint64(v))
	case uint64:
		e.b = msgp.AppendUint64(e.b, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return e.viaJSON(v) // which has the error for it
		}
		e.b = appendMsgpackFloat(e.b, v)
	case []byte:
		e.binary(v)
	case Binary:
		e.binary(v)
	case []string:
		e.texts(v)
	case []any:
		return e.list(v)
	case map[string]any:
		return e.members(v)
	default:
		return e.viaJSON(v)
	}
	return nil
}

func (e *msgpackEncoder) binary(p []byte) {
	if p == nil {
		e.b = msgp.AppendNil(e.b)
		return
	}
	e.b = msgp.AppendBytes(e.b, p)
}

func (e *msgpackEncoder) texts(list []string) {
	if list == nil {
		e.b = msgp.AppendNil(e.b)
		return
	}
	e.b = msgp.AppendArrayHeader(e.b, uint32(len(list)))
	for _, s := range list {
		e.b = appendMsgpackString(e.b, s)
	}
}

func (e *msgpackEncoder) list(list []any) error {
	if list == nil {
		e.b = msgp.AppendNil(e.b)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.b = msgp.AppendArrayHeader(e.b, uint32(len(list)))
	for _, v := range list {
		if err := e.value(v); err != nil {
			return err
		}
	}
	e.depth--
	return nil
}

func (e *msgpackEncoder) members(m map[string]any) error {
	if m == nil {
		e.b = msgp.AppendNil(e.b)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	var few [8]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.b = msgp.AppendMapHeader(e.b, uint32(len(keys)))
	for _, k := range keys {
		e.b = appendMsgpackString(e.b, k)
		if err := e.value(m[k]); err != nil {
			return err
		}
	}
	e.depth--
	return nil
}

// viaJSON appends v by way of JSON, which for that time stands behind what is
// in b already.
func (e *msgpackEncoder) viaJSON(v any) error {
	start := len(e.b)
	err := e.any(v)
	if err == nil {
		end := len(e.b)
		e.b, err = AppendMsgpackFromJSON(e.b, e.b[start:end], e.attachments)
		if err == nil {
			e.b = slices.Delete(e.b, start, end)
		}
	}
	e.attachments = nil
	return err
}
