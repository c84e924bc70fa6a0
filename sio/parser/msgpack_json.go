package parser

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
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
// The error is an *[Error] of kind InvalidPayload if raw is not one valid value,
// and dst and attachments are then returned as they were. Of a packet that
// [ParseMsgpack] took, all values are valid.
func AppendJSONFromMsgpack(dst, raw []byte, attachments [][]byte) (out []byte, all [][]byte, err error) {
	if !validMsgpack(raw) {
		return dst, attachments, errPayload
	}
	e := unpacker{encoder: encoder{b: dst, attachments: attachments}}
	e.msgpack(raw)
	return e.b, e.attachments, nil
}

// An unpacker appends MessagePack as JSON.
type unpacker struct {
	encoder
	peer bool // as in scanner
}

// msgpack appends the valid value that b begins with and returns what follows.
func (e *unpacker) msgpack(b []byte) (rest []byte) {
	t, rest := nextToken(b)
	switch t.kind {
	case absentToken, nilToken:
		e.b = append(e.b, "null"...)
	case boolToken:
		e.b = strconv.AppendBool(e.b, t.n == 1)
	case signedToken, unsignedToken, floatToken:
		var ok bool
		if e.b, ok = t.appendNumber(e.b); !ok {
			e.b = append(e.b, "null"...)
		}
	case textToken:
		e.b = appendText(e.b, e.text(t))
	case binaryToken:
		e.bytes(t.data)
	case dateToken:
		e.b = appendDate(e.b, int64(t.n))
	case extensionToken:
		if e.peer && t.isTimestamp() {
			e.timestamp(t)
			break
		}
		e.b = append(strconv.AppendInt(append(e.b, '['), int64(int8(t.n)), 10), ',')
		e.bytes(t.data)
		e.b = append(e.b, ']')
	case arrayToken:
		e.b = append(e.b, '[')
		for i := range t.n {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			rest = e.msgpack(rest)
		}
		e.b = append(e.b, ']')
	case mapToken:
		return e.msgpackMembers(rest, t.n)
	}
	return rest
}

// text returns the text of t, which of a client is known to be UTF-8.
func (e *unpacker) text(t token) []byte {
	if e.peer {
		return validText(t.data)
	}
	return t.data
}

// validText returns text, with U+FFFD for each byte that is not UTF-8.
func validText(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return []byte(string(bytes.Runes(text)))
}

func (e *unpacker) timestamp(t token) {
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
		var key token
		key, b = nextToken(b)
		if value, after := nextToken(b); value.kind == absentToken {
			b = after
			continue
		}
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		if key.kind == textToken {
			key.data = e.text(key)
		}
		e.b = append(key.appendKey(e.b), ':')
		b = e.msgpack(b)
	}
	e.b = append(e.b, '}')
	return b
}

// appendKey appends the key of a map as a JSON string.
func (t token) appendKey(dst []byte) []byte {
	if t.kind == textToken {
		return appendText(dst, t.data)
	}
	dst, _ = t.appendNumber(append(dst, '"'))
	return append(dst, '"')
}

// appendText is appendString for valid UTF-8.
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

// AppendMsgpackFromJSON appends the JSON value text as MessagePack, with the
// attachments in place of its placeholders; without attachments a placeholder is
// data like any other. Numbers are written as notepack.io does.
//
// The error is an *[Error], of kind InvalidPayload if text is not JSON, and
// IllegalAttachments for a placeholder that names no attachment or one named
// more than four times; dst is then returned as it was.
func AppendMsgpackFromJSON(dst, text []byte, attachments [][]byte) ([]byte, error) {
	p := packer{text: text, attachments: attachments, b: dst}
	if len(attachments) > 0 {
		p.uses = make([]uint8, len(attachments))
	}
	end := p.value(skipSpace(text, 0), maxDepth)
	if p.err != nil {
		return dst, p.err
	}
	if end < 0 || skipSpace(text, end) != len(text) {
		return dst, errPayload
	}
	return p.b, nil
}

// A packer appends JSON as MessagePack.
type packer struct {
	text        []byte
	attachments [][]byte
	uses        []uint8 // how often each was named; see maxUses
	b           []byte
	unescaped   []byte
	err         error
}

// value appends the value at text[i] and returns the index after it, or -1 if
// there is none, or after a bad placeholder with err set.
func (p *packer) value(i, depth int) (end int) {
	if i >= len(p.text) {
		return -1
	}
	switch p.text[i] {
	case '[':
		return p.array(i, depth)
	case '{':
		return p.object(i, depth)
	}
	if end = skipValue(p.text, i, depth); end < 0 {
		return -1
	}
	switch raw := p.text[i:end]; raw[0] {
	case '"':
		p.string(raw)
	case 'n':
		p.b = msgp.AppendNil(p.b)
	case 't', 'f':
		p.b = msgp.AppendBool(p.b, raw[0] == 't')
	default:
		p.b = appendMsgpackNumber(p.b, string(raw))
	}
	return end
}

func (p *packer) string(raw []byte) {
	text, escaped := unquote(p.unescaped[:0], raw)
	if escaped {
		p.unescaped = text
	}
	if utf8.Valid(text) {
		p.b = msgp.AppendStringFromBytes(p.b, text)
	} else {
		p.b = appendMsgpackString(p.b, string(text))
	}
}

func (p *packer) array(i, depth int) (end int) {
	at, n := len(p.b), uint32(0)
	p.b = append(p.b, 0)
	end = eachElement(p.text, i, depth, func(_, i int) int {
		n++
		return p.value(i, depth-1)
	})
	var head [5]byte
	p.setHead(at, msgp.AppendArrayHeader(head[:0], n))
	return end
}

func (p *packer) object(i, depth int) (end int) {
	at, n := len(p.b), uint32(0)
	p.b = append(p.b, 0)
	var found placeholder
	end = eachMember(p.text, i, depth, func(key []byte, i int) int {
		n++
		p.string(key)
		end := p.value(i, depth-1)
		if len(p.attachments) > 0 {
			found.member(key, p.text, i, end)
		}
		return end
	})
	if end >= 0 && found.marked {
		p.b = p.b[:at]
		return p.attachment(&found, end)
	}
	var head [5]byte
	p.setHead(at, msgp.AppendMapHeader(head[:0], n))
	return end
}

// setHead puts the head of an array or map, which depends on what is in it, in
// place of the byte kept for it. Most fit.
func (p *packer) setHead(at int, head []byte) {
	p.b = slices.Replace(p.b, at, at+1, head...)
}

// attachment appends what a placeholder that ends at end stands for.
func (p *packer) attachment(found *placeholder, end int) int {
	n, ok := found.number(len(p.attachments))
	if !ok || p.uses[n] == maxUses {
		p.err = errPlaceholder
		return -1
	}
	p.uses[n]++
	p.b = msgp.AppendBytes(p.b, p.attachments[n])
	return end
}

// appendMsgpackNumber appends the JSON number text. Integers of up to 64 bits
// stay exact, all else is read as JavaScript does: 1e999 is an infinity.
func appendMsgpackNumber(dst []byte, text string) []byte {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return appendMsgpackInt(dst, i)
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return msgp.AppendUint64(dst, u)
	}
	f, _ := strconv.ParseFloat(text, 64)
	return appendMsgpackFloat(dst, f)
}

// appendMsgpackInt appends i in its smallest form, unsigned if it is not
// negative, as notepack.io does and msgp.AppendInt64 does not.
func appendMsgpackInt(dst []byte, i int64) []byte {
	if i >= 0 {
		return msgp.AppendUint64(dst, uint64(i))
	}
	return msgp.AppendInt64(dst, i)
}

// appendMsgpackFloat appends f as JavaScript sees it, where an integer is one
// however it was calculated. From 2^64 on notepack.io has no form for integers
// (it writes a wrong one), so they stay as they are.
func appendMsgpackFloat(dst []byte, f float64) []byte {
	switch {
	case f != math.Trunc(f) || f < -1<<63 || f >= 1<<64: // not a number, too
		return msgp.AppendFloat64(dst, f)
	case f < 0:
		return msgp.AppendInt64(dst, int64(f))
	}
	return msgp.AppendUint64(dst, uint64(f))
}

// appendMsgpackString appends s as text. Bytes that are not UTF-8 become U+FFFD.
func appendMsgpackString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return msgp.AppendString(dst, s)
}
