package parser

// defaults are the limits that are meant by zero.
var defaults Limits

// decodeMsgpack decodes one argument in MessagePack as a server does for its
// handlers: by way of JSON.
func decodeMsgpack(raw []byte, dst any) error {
	text, attachments, err := AppendJSONFromMsgpack(nil, raw, nil)
	if err != nil {
		return err
	}
	return Decode(text, attachments, dst)
}

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

// decodeAny is a witness: what an any holds of the valid value that b begins with,
// without the detour through JSON, and what follows it.
func decodeAny(b []byte) (v any, rest []byte) {
	t, rest := nextToken(b)
	switch t.kind {
	case boolToken:
		return t.n == 1, rest
	case signedToken, unsignedToken, floatToken:
		if f, ok := t.number(); ok {
			return f, rest
		}
	case textToken:
		return string(t.data), rest
	case binaryToken:
		return copyBinary(t.data), rest
	case dateToken:
		if text := appendDate(nil, int64(t.n)); text[0] == '"' {
			return string(text[1 : len(text)-1]), rest
		}
	case extensionToken:
		return []any{float64(int8(t.n)), copyBinary(t.data)}, rest
	case arrayToken:
		list := make([]any, t.n)
		for i := range list {
			list[i], rest = decodeAny(rest)
		}
		return list, rest
	case mapToken:
		return decodeMembers(rest, t.n)
	}
	return nil, rest
}

func decodeMembers(b []byte, n uint64) (m map[string]any, rest []byte) {
	m = make(map[string]any, n)
	for range n {
		var key token
		key, b = nextToken(b)
		if value, after := nextToken(b); value.kind == absentToken {
			b = after
			continue
		}
		name := string(key.data)
		if key.kind != textToken {
			digits, _ := key.appendNumber(nil)
			name = string(digits)
		}
		m[name], b = decodeAny(b)
	}
	return m, b
}

func copyBinary(b []byte) Binary { return append(make(Binary, 0, len(b)), b...) }
