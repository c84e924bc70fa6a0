package value

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSONFromMsgpack appends the MessagePack value raw as JSON, and what is
// bytes in it to attachments, as views of raw; the placeholders for them count
// from len(attachments), so that several values can share one list. The JSON is
// what a JavaScript program would write that had received raw: undefined
// becomes null, or goes if it is a member; a number that is none becomes null,
// a date the text of its time; an extension that notepack.io does not know
// becomes an array of its type and its bytes. Only integers of 64 bits keep all
// their digits.
//
// The error is [ErrSyntax] if raw is not one valid value,
// and dst and attachments are then returned as they were. Of a packet that
// package parser took, all values are valid.
func AppendJSONFromMsgpack(dst, raw []byte, attachments [][]byte) (out []byte, all [][]byte, err error) {
	if !validMsgpack(raw) {
		return dst, attachments, ErrSyntax
	}
	e := unpacker{encoder: encoder{b: dst, attachments: attachments}}
	e.msgpack(raw)
	return e.b, e.attachments, nil
}

// An unpacker appends MessagePack as JSON.
type unpacker struct {
	encoder
	peer bool // as in Scanner
}

// msgpack appends the valid value that b begins with and returns what follows.
func (e *unpacker) msgpack(b []byte) (rest []byte) {
	t, rest := NextToken(b)
	switch t.Kind {
	case AbsentToken, NilToken:
		e.b = append(e.b, "null"...)
	case BoolToken:
		e.b = strconv.AppendBool(e.b, t.N == 1)
	case SignedToken, UnsignedToken, FloatToken:
		var ok bool
		if e.b, ok = t.AppendNumber(e.b); !ok {
			e.b = append(e.b, "null"...)
		}
	case TextToken:
		e.b = appendText(e.b, e.text(t))
	case BinaryToken:
		e.bytes(t.Data)
	case DateToken:
		e.b = appendDate(e.b, int64(t.N))
	case ExtensionToken:
		if e.peer && t.isTimestamp() {
			e.timestamp(t)
			break
		}
		e.b = append(strconv.AppendInt(append(e.b, '['), int64(int8(t.N)), 10), ',')
		e.bytes(t.Data)
		e.b = append(e.b, ']')
	case ArrayToken:
		e.b = append(e.b, '[')
		for i := range t.N {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			rest = e.msgpack(rest)
		}
		e.b = append(e.b, ']')
	case MapToken:
		return e.msgpackMembers(rest, t.N)
	}
	return rest
}

// text returns the text of t, which of a client is known to be UTF-8.
func (e *unpacker) text(t Token) []byte {
	if e.peer {
		return validText(t.Data)
	}
	return t.Data
}

// validText returns text, with U+FFFD for each byte that is not UTF-8.
func validText(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return []byte(string(bytes.Runes(text)))
}

func (e *unpacker) timestamp(t Token) {
	if ms, ok := t.timestamp(); ok {
		e.b = appendDate(e.b, ms)
	} else {
		e.b = append(e.b, "null"...)
	}
}

func (e *unpacker) msgpackMembers(b []byte, n uint64) (rest []byte) {
	e.b = append(e.b, '{')
	first := true
	for range n {
		var key Token
		key, b = NextToken(b)
		if value, after := NextToken(b); value.Kind == AbsentToken {
			b = after
			continue
		}
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		if key.Kind == TextToken {
			key.Data = e.text(key)
		}
		e.b = append(key.appendKey(e.b), ':')
		b = e.msgpack(b)
	}
	e.b = append(e.b, '}')
	return b
}

// appendKey appends the key of a map as a JSON string.
func (t Token) appendKey(dst []byte) []byte {
	if t.Kind == TextToken {
		return appendText(dst, t.Data)
	}
	dst, _ = t.AppendNumber(append(dst, '"'))
	return append(dst, '"')
}

// appendText is AppendJSONText for valid UTF-8.
func appendText(dst, text []byte) []byte {
	dst = append(dst, '"')
	start := len(dst)
	dst = append(dst, text...)
	if i := skipPlain(dst, start); i < len(dst) {
		dst = appendEscaped(dst[:i], string(text[i-start:]))
	}
	return append(dst, '"')
}

// maxDate is the last ms from 1970 that a JavaScript date can be, in both
// directions (ECMA-262, "Time Values and Time Range").
const maxDate = 8_640_000_000_000_000

// appendDate appends what Date.prototype.toJSON returns.
func appendDate(dst []byte, ms int64) []byte {
	if ms < -maxDate || ms > maxDate {
		return append(dst, "null"...)
	}
	t := time.UnixMilli(ms).UTC()
	layout := "%04d"
	if y := t.Year(); y < 0 || y > 9999 {
		layout = "%+07d"
	}
	dst = fmt.Appendf(append(dst, '"'), layout, t.Year())
	return t.AppendFormat(dst, `-01-02T15:04:05.000Z"`)
}
