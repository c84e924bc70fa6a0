package value

import (
	"cmp"
	"errors"
	"fmt"
)

// Reserved tells whether event is a name that neither side may send, because
// it means something to Node's emitter or to the protocol.
func Reserved(event string) bool {
	switch event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// ErrReserved is returned, wrapped, for an event that has a [Reserved] name.
var ErrReserved = errors.New("reserved event name")

// ErrTooManyAttachments is returned for arguments that hold more byte slices than
// they may: JavaScript clients refuse such a packet and disconnect, unless they
// have been told otherwise.
var ErrTooManyAttachments = errors.New("value: too many attachments")

// An EncodeError tells which argument of an event or acknowledgement has no
// JSON form. Arg counts from 0 and does not count the event's name.
type EncodeError struct {
	Arg int
	Err error // the cause
}

// Error names the argument and the cause.
func (e *EncodeError) Error() string { return fmt.Sprintf("value: argument %d: %v", e.Arg, e.Err) }

// Unwrap returns e.Err.
func (e *EncodeError) Unwrap() error { return e.Err }

// DefaultMaxAttachments is how many attachments a packet may have unless both sides
// agree on more: as in socket.io-parser since 4.2.6 (maxAttachments).
const DefaultMaxAttachments = 10

// AppendEvent appends the JSON array of an event's name and its arguments, encoded
// as encoding/json does but without escaping <, > and &.
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
// Most is how many attachments there may be; 0 means 10.
//
// The error is an *[EncodeError] for the first bad argument, or wraps
// [ErrReserved], or is [ErrTooManyAttachments]; dst is then returned as it was.
func AppendEvent(dst []byte, event string, args []any, most int) (out []byte, attachments [][]byte, err error) {
	if Reserved(event) {
		return dst, nil, fmt.Errorf("value: %q is a %w", event, ErrReserved)
	}
	out = AppendJSONText(append(dst, '['), event)
	return appendArgs(dst, out, true, args, most)
}

// AppendArgs appends the JSON array of the arguments of an acknowledgement. All
// else is as with [AppendEvent].
func AppendArgs(dst []byte, args []any, most int) (out []byte, attachments [][]byte, err error) {
	return appendArgs(dst, append(dst, '['), false, args, most)
}

func appendArgs(dst, out []byte, comma bool, args []any, most int) ([]byte, [][]byte, error) {
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
	if len(e.attachments) > cmp.Or(most, DefaultMaxAttachments) {
		return dst, nil, ErrTooManyAttachments
	}
	e.b = append(e.b, ']')
	if len(e.attachments) > 0 {
		neutralise(e.b[len(dst):], len(dst), e.places)
	}
	return e.b, e.attachments, nil
}
