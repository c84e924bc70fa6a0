package parser

import (
	"errors"
	"fmt"
	"strconv"
)

// Binary is bytes that travel as an attachment. A []byte does too; the name
// serves to tell them apart after [Decode] into an any, which yields Binary.
type Binary []byte

// ErrReserved is returned, wrapped, for an event that has a [Reserved] name.
var ErrReserved = errors.New("reserved event name")

// ErrTooManyAttachments is returned for arguments that hold more byte slices than
// Limits.MaxAttachments, by default 10: JavaScript clients refuse such a packet and
// disconnect, unless they have been told otherwise.
var ErrTooManyAttachments = errors.New("parser: too many attachments")

// An EncodeError tells which argument of an event or acknowledgement has no
// JSON form. Arg counts from 0 and does not count the event's name.
type EncodeError struct {
	Arg int
	Err error // the cause
}

// Error names the argument and the cause.
func (e *EncodeError) Error() string { return fmt.Sprintf("parser: argument %d: %v", e.Arg, e.Err) }

// Unwrap returns e.Err.
func (e *EncodeError) Unwrap() error { return e.Err }

// AppendHead appends what precedes the payload: type, number of attachments,
// namespace and acknowledgement id, as in "51-/admin,13". Event and Ack become
// their binary types if attachments > 0. A namespace "" or "/" is left out;
// any other must begin with a slash and hold no comma.
func AppendHead(dst []byte, t Type, attachments int, namespace string, id uint64, hasID bool) []byte {
	if attachments > 0 {
		switch t {
		case Event:
			t = BinaryEvent
		case Ack:
			t = BinaryAck
		}
	}
	dst = append(dst, '0'+byte(t))
	if t.binary() {
		dst = append(strconv.AppendInt(dst, int64(attachments), 10), '-')
	}
	if namespace != "" && namespace != "/" {
		dst = append(append(dst, namespace...), ',')
	}
	if hasID {
		dst = strconv.AppendUint(dst, id, 10)
	}
	return dst
}

// AppendConnect appends the server's answer to a CONNECT: the socket's id and,
// unless empty, the private id for connection state recovery. Without sid there
// is no payload, as clients of Socket.IO protocol 4 expect.
func AppendConnect(dst []byte, namespace, sid, pid string) []byte {
	dst = AppendHead(dst, Connect, 0, namespace, 0, false)
	if sid == "" {
		return dst
	}
	dst = appendString(append(dst, `{"sid":`...), sid)
	if pid != "" {
		dst = appendString(append(dst, `,"pid":`...), pid)
	}
	return append(dst, '}')
}

// AppendConnectError appends the refusal of a CONNECT: message, and data unless
// nil. Bytes in data become base64, since a CONNECT_ERROR takes no attachments.
// An error is what encoding/json says about data; dst is then returned as it was.
func AppendConnectError(dst []byte, namespace, message string, data any) ([]byte, error) {
	out := AppendHead(dst, ConnectError, 0, namespace, 0, false)
	out = appendString(append(out, `{"message":`...), message)
	if data != nil {
		var err error
		if out, err = AppendJSON(append(out, `,"data":`...), data); err != nil {
			return dst, err
		}
	}
	return append(out, '}'), nil
}

// AppendDisconnect appends a DISCONNECT from namespace.
func AppendDisconnect(dst []byte, namespace string) []byte {
	return AppendHead(dst, Disconnect, 0, namespace, 0, false)
}

// AppendEvent appends a whole event: head and payload. The attachments must
// follow as binary messages with nothing of that connection in between; see
// [Limits.AppendArgs] for what they are and for the errors.
func (l Limits) AppendEvent(dst []byte, namespace string, id uint64, hasID bool, event string, args []any) (out []byte, attachments [][]byte, err error) {
	out = AppendHead(dst, Event, 0, namespace, id, hasID)
	if out, attachments, err = l.AppendArgs(out, event, args); err != nil {
		return dst, nil, err
	}
	return announce(out, len(dst), BinaryEvent, len(attachments)), attachments, nil
}

// AppendAck appends a whole acknowledgement, as [Limits.AppendEvent] does an event.
func (l Limits) AppendAck(dst []byte, namespace string, id uint64, args []any) (out []byte, attachments [][]byte, err error) {
	out = AppendHead(dst, Ack, 0, namespace, id, true)
	if out, attachments, err = l.AppendAckArgs(out, args); err != nil {
		return dst, nil, err
	}
	return announce(out, len(dst), BinaryAck, len(attachments)), attachments, nil
}

// announce turns the packet at b[at:] into one of type t with n attachments.
// How many there are is known only after the arguments are encoded; moving
// them is cheaper than looking for bytes twice, and most packets have none.
func announce(b []byte, at int, t Type, n int) []byte {
	if n == 0 {
		return b
	}
	var head [8]byte
	h := append(strconv.AppendInt(append(head[:0], '0'+byte(t)), int64(n), 10), '-')
	end := len(b)
	b = append(b, h[1:]...)
	copy(b[at+len(h):], b[at+1:end])
	copy(b[at:], h)
	return b
}

// AppendArgs appends the payload of an event: the JSON array of its name and
// arguments, encoded as encoding/json does but without escaping <, > and &.
//
// Byte slices (of any named type without a JSON form of its own), in an argument
// or anywhere within one, become placeholders and are returned as attachments,
// in the order of the text; maps are in the order of their sorted keys, a nil
// slice is null. The attachments are the arguments' own memory: it may change
// only after they are sent. A [json.RawMessage] argument is validated and
// copied as it is. What only looks like a placeholder, in a value that somebody
// else made, has null for its mark beside attachments: receivers would take it for
// one of theirs, or disconnect.
//
// The error is an *[EncodeError] for the first bad argument, or wraps
// [ErrReserved], or is [ErrTooManyAttachments]; dst is then returned as it was.
func (l Limits) AppendArgs(dst []byte, event string, args []any) (out []byte, attachments [][]byte, err error) {
	if Reserved(event) {
		return dst, nil, fmt.Errorf("parser: %q is a %w", event, ErrReserved)
	}
	out = appendString(append(dst, '['), event)
	return l.appendArgs(dst, out, true, args)
}

// AppendAckArgs appends the payload of an acknowledgement: the JSON array of
// its arguments. All else is as with [Limits.AppendArgs].
func (l Limits) AppendAckArgs(dst []byte, args []any) (out []byte, attachments [][]byte, err error) {
	return l.appendArgs(dst, append(dst, '['), false, args)
}

func (l Limits) appendArgs(dst, out []byte, comma bool, args []any) ([]byte, [][]byte, error) {
	e := encoder{b: out}
	for i, a := range args {
		before := len(e.b)
		if comma {
			e.b = append(e.b, ',')
		}
		if err := e.any(a); err != nil {
			return dst, nil, &EncodeError{i, err}
		}
		if e.spread {
			e.b, e.spread = e.b[:before], false
		} else {
			comma = true
		}
	}
	if len(e.attachments) > l.withDefaults().MaxAttachments {
		return dst, nil, ErrTooManyAttachments
	}
	e.b = append(e.b, ']')
	if len(e.attachments) > 0 {
		neutralise(e.b[len(dst):], len(dst), e.places)
	}
	return e.b, e.attachments, nil
}
