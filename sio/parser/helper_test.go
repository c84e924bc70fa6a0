package parser

import "github.com/sioedge/sioedge/rooms/value"

// defaults are the limits that are meant by zero.
var defaults Limits

// toMsgpack appends the packet that is text and attachments in JSON as MessagePack,
// as a server does for clients of that parser.
func toMsgpack(dst, text []byte, attachments [][]byte) ([]byte, error) {
	var p Packet
	if err := Parse(text, Limits{MaxAttachments: 1 << 20, MaxDepth: 1 << 20, MaxArgs: 1 << 30}, &p); err != nil {
		return dst, err
	}
	p.Buffers = attachments
	return AppendMsgpackPacket(dst, &p)
}

func appendMsgpackEvent(dst []byte, namespace string, id uint64, hasID bool, event string, args []any) ([]byte, error) {
	text, attachments, err := defaults.AppendEvent(nil, namespace, id, hasID, event, args)
	if err != nil {
		return dst, err
	}
	return toMsgpack(dst, text, attachments)
}

func appendMsgpackAck(dst []byte, namespace string, id uint64, args []any) ([]byte, error) {
	text, attachments, err := defaults.AppendAck(nil, namespace, id, args)
	if err != nil {
		return dst, err
	}
	return toMsgpack(dst, text, attachments)
}

func appendMsgpackConnectError(dst []byte, namespace, message string, data any) ([]byte, error) {
	text, err := AppendConnectError(nil, namespace, message, data)
	if err != nil {
		return dst, err
	}
	return toMsgpack(dst, text, nil)
}

// decodeMsgpack decodes one argument in MessagePack as a server does for its
// handlers: by way of JSON.
func decodeMsgpack(raw []byte, dst any) error {
	text, attachments, err := value.AppendJSONFromMsgpack(nil, raw, nil)
	if err != nil {
		return err
	}
	return value.Decode(text, attachments, dst)
}
