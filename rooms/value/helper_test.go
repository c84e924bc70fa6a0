package value

import (
	"encoding/hex"
	"strings"
)

// wire draws a MessagePack message: hexadecimal bytes, and texts in single
// quotes with their head left out.
func wire(s string) []byte {
	var b []byte
	for _, f := range strings.Fields(s) {
		if text, ok := strings.CutPrefix(f, "'"); ok {
			b = AppendMsgpackText(b, strings.TrimSuffix(text, "'"))
			continue
		}
		h, err := hex.DecodeString(f)
		if err != nil {
			panic(err)
		}
		b = append(b, h...)
	}
	return b
}

// decodeMsgpack decodes one argument in MessagePack as a server does for its
// handlers: by way of JSON.
func decodeMsgpack(raw []byte, dst any) error {
	text, attachments, err := AppendJSONFromMsgpack(nil, raw, nil)
	if err != nil {
		return err
	}
	return Decode(text, attachments, dst)
}

// decodeAny is a witness: what an any holds of the valid value that b begins with,
// without the detour through JSON, and what follows it.
func decodeAny(b []byte) (v any, rest []byte) {
	t, rest := NextToken(b)
	switch t.Kind {
	case BoolToken:
		return t.N == 1, rest
	case SignedToken, UnsignedToken, FloatToken:
		if f, ok := t.number(); ok {
			return f, rest
		}
	case TextToken:
		return string(t.Data), rest
	case BinaryToken:
		return copyBinary(t.Data), rest
	case DateToken:
		if text := appendDate(nil, int64(t.N)); text[0] == '"' {
			return string(text[1 : len(text)-1]), rest
		}
	case ExtensionToken:
		return []any{float64(int8(t.N)), copyBinary(t.Data)}, rest
	case ArrayToken:
		list := make([]any, t.N)
		for i := range list {
			list[i], rest = decodeAny(rest)
		}
		return list, rest
	case MapToken:
		return decodeMembers(rest, t.N)
	}
	return nil, rest
}

func decodeMembers(b []byte, n uint64) (m map[string]any, rest []byte) {
	m = make(map[string]any, n)
	for range n {
		var key Token
		key, b = NextToken(b)
		if value, after := NextToken(b); value.Kind == AbsentToken {
			b = after
			continue
		}
		name := string(key.Data)
		if key.Kind != TextToken {
			digits, _ := key.AppendNumber(nil)
			name = string(digits)
		}
		m[name], b = decodeAny(b)
	}
	return m, b
}

func copyBinary(b []byte) Binary { return append(make(Binary, 0, len(b)), b...) }

// appendMsgpackArgs encodes arguments for clients of that parser: by way of JSON.
func appendMsgpackArgs(dst []byte, args []any) ([]byte, error) {
	text, attachments, err := AppendArgs(nil, args, 0)
	if err != nil {
		return dst, err
	}
	return AppendMsgpackFromJSON(dst, text, attachments)
}
