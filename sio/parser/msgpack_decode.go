package parser

import (
	"math"
	"unicode/utf8"
)

// DecodeMsgpack decodes one argument (raw is MessagePack) into dst, a pointer,
// as [Decode] does with the same value as JSON: bytes are what attachments are
// there, and a date is the text of its time, which a [time.Time] understands.
// Nothing that dst receives shares memory with raw. The error is that of
// encoding/json, or an *[Error] of kind InvalidPayload if raw is not one valid
// value.
func DecodeMsgpack(raw []byte, dst any) error {
	if t, rest := nextToken(raw); t.kind != badToken && len(rest) == 0 && t.setScalar(dst) {
		return nil
	}
	if !validMsgpack(raw) {
		return errPayload
	}
	if d, ok := dst.(*any); ok && d != nil && *d == nil { // else it may hold a pointer to decode into
		*d, _ = decodeAny(raw)
		return nil
	}
	e := unpacker{encoder: encoder{b: make([]byte, 0, len(raw)+len(raw)/2)}}
	e.msgpack(raw)
	return Decode(e.b, e.attachments, dst)
}

// setScalar decodes the most frequent cases: a whole argument that is no array
// and no map, into what it fits exactly. It returns false for what it leaves to
// encoding/json.
func (t token) setScalar(dst any) bool {
	switch d := dst.(type) {
	case *string:
		if t.kind == textToken && d != nil && utf8.Valid(t.data) {
			*d = string(t.data)
			return true
		}
	case *bool:
		if t.kind == boolToken && d != nil {
			*d = t.n == 1
			return true
		}
	case *int:
		if t.kind == signedToken && d != nil && int64(int(t.n)) == int64(t.n) {
			*d = int(t.n)
			return true
		}
	case *int64:
		if t.kind == signedToken && d != nil {
			*d = int64(t.n)
			return true
		}
	case *float64:
		if f, ok := t.number(); ok && d != nil {
			*d = f
			return true
		}
	case *[]byte, *Binary:
		return t.kind == binaryToken && setBytes(dst, t.data)
	}
	return false
}

// number returns the value of t if that is a finite number.
func (t token) number() (f float64, ok bool) {
	switch t.kind {
	case signedToken:
		return float64(int64(t.n)), true
	case unsignedToken:
		return float64(t.n), true
	case floatToken:
		f = t.float()
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return 0, false
}

// decodeAny returns what [Decode] into an empty any makes of the valid value
// that b begins with, and what follows it.
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
