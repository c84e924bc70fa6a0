package parser

import (
	"strconv"

	"github.com/sioedge/sioedge/rooms/value"
)

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
	dst = value.AppendJSONText(append(dst, `{"sid":`...), sid)
	if pid != "" {
		dst = value.AppendJSONText(append(dst, `,"pid":`...), pid)
	}
	return append(dst, '}')
}

// AppendConnectError appends the refusal of a CONNECT: message, and data unless
// nil. Bytes in data become base64, since a CONNECT_ERROR takes no attachments.
// An error is what encoding/json says about data; dst is then returned as it was.
func AppendConnectError(dst []byte, namespace, message string, data any) ([]byte, error) {
	out := AppendHead(dst, ConnectError, 0, namespace, 0, false)
	out = value.AppendJSONText(append(out, `{"message":`...), message)
	if data != nil {
		var err error
		if out, err = value.AppendJSON(append(out, `,"data":`...), data); err != nil {
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
// [value.AppendEvent] for what they are and for the errors.
func (l Limits) AppendEvent(dst []byte, namespace string, id uint64, hasID bool, event string, args []any) (out []byte, attachments [][]byte, err error) {
	out = AppendHead(dst, Event, 0, namespace, id, hasID)
	if out, attachments, err = value.AppendEvent(out, event, args, l.MaxAttachments); err != nil {
		return dst, nil, err
	}
	return announce(out, len(dst), BinaryEvent, len(attachments)), attachments, nil
}

// AppendAck appends a whole acknowledgement, as [Limits.AppendEvent] does an event.
func (l Limits) AppendAck(dst []byte, namespace string, id uint64, args []any) (out []byte, attachments [][]byte, err error) {
	out = AppendHead(dst, Ack, 0, namespace, id, true)
	if out, attachments, err = value.AppendArgs(out, args, l.MaxAttachments); err != nil {
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
