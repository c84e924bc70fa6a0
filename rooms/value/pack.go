package value

import (
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// AppendMsgpackFromJSON appends the JSON value text as MessagePack, with the
// attachments in place of its placeholders; without attachments a placeholder is
// data like any other. Numbers are written as notepack.io does.
//
// The error is [ErrSyntax] if text is not JSON, and [ErrPlaceholder] for a placeholder that names no attachment or one named
// more than four times; dst is then returned as it was.
func AppendMsgpackFromJSON(dst, text []byte, attachments [][]byte) ([]byte, error) {
	p := packer{text: text, attachments: attachments, b: dst}
	if len(attachments) > 0 {
		p.uses = make([]uint8, len(attachments))
	}
	end := p.value(SkipSpace(text, 0), MaxDepth)
	if p.err != nil {
		return dst, p.err
	}
	if end < 0 || SkipSpace(text, end) != len(text) {
		return dst, ErrSyntax
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
	if end = Skip(p.text, i, depth); end < 0 {
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
	text, escaped := Unquote(p.unescaped[:0], raw)
	if escaped {
		p.unescaped = text
	}
	if utf8.Valid(text) {
		p.b = msgp.AppendStringFromBytes(p.b, text)
	} else {
		p.b = AppendMsgpackText(p.b, string(text))
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
		p.err = ErrPlaceholder
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

// AppendMsgpackText appends s as text. Bytes that are not UTF-8 become U+FFFD.
func AppendMsgpackText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return msgp.AppendString(dst, s)
}
