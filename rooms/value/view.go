package value

import (
	"math"
	"strconv"

	"github.com/tinylib/msgp/msgp"
)

// A View is one valid value of a message between servers, as JSON or as
// MessagePack, so that code reading a message that comes in either is written
// once. The zero View is a value that is not there, which undefined counts as.
// A View shares the memory of the message, unless that was not UTF-8.
//
// MessagePack is read as servers in JavaScript write it, in the dialects of
// notepack.io 2 and 3 and of @msgpack/msgpack. To what [AppendJSONFromMsgpack]
// knows that adds timestamps, and texts that are not UTF-8 are no error.
type View struct {
	raw    []byte
	packed bool
	marked bool // the message has objects that as JSON look like placeholders
}

// ViewJSON returns b, one JSON value, as a View. Arrays and objects may be
// nested as deep as depth says, at most 10,000. Bytes that are not UTF-8 become
// U+FFFD. The error is [ErrSyntax].
func ViewJSON(b []byte, depth int) (View, error) {
	b = validText(b)
	start := SkipSpace(b, 0)
	end := Skip(b, start, depth)
	if end < 0 || SkipSpace(b, end) != len(b) {
		return View{}, ErrSyntax
	}
	return View{raw: b[start:end:end]}, nil
}

// ViewMsgpack is [ViewJSON] for MessagePack.
func ViewMsgpack(b []byte, depth int) (View, error) {
	s := Scanner{peer: true}
	if rest, ok := s.Skip(b, depth); !ok || len(rest) > 0 {
		return View{}, ErrSyntax
	}
	return View{raw: b[:len(b):len(b)], packed: true, marked: s.Marked}.orMissing(), nil
}

// orMissing returns the zero View for undefined.
func (v View) orMissing() View {
	if t, _ := NextToken(v.raw); t.Kind == AbsentToken {
		return View{}
	}
	return v
}

// Missing tells whether v is not there.
func (v View) Missing() bool { return v.raw == nil }

// Null tells whether v is null.
func (v View) Null() bool {
	return len(v.raw) > 0 && (v.packed && v.raw[0] == 0xc0 || !v.packed && v.raw[0] == 'n')
}

// Object puts the members of v that have the names into their places in into,
// and the zero View for those it lacks. Of a member that is there twice the
// last one counts. It returns false if v is no object.
func (v View) Object(into []View, names ...string) bool {
	clear(into)
	if v.packed {
		return v.objectMsgpack(into, names)
	}
	if v.Missing() || v.raw[0] != '{' {
		return false
	}
	eachMember(v.raw, 0, MaxDepth, func(key []byte, at int) int {
		end := Skip(v.raw, at, MaxDepth)
		name, _ := Unquote(nil, key)
		for i := range names {
			if names[i] == string(name) {
				into[i] = View{raw: v.raw[at:end:end]}
			}
		}
		return end
	})
	return true
}

func (v View) objectMsgpack(into []View, names []string) bool {
	head, b := NextToken(v.raw)
	if head.Kind != MapToken {
		return false
	}
	for range head.N {
		key, value := NextToken(b)
		b, _ = msgp.Skip(value)
		for i := range names {
			if key.Kind == TextToken && names[i] == string(key.Data) {
				end := len(value) - len(b)
				into[i] = View{value[:end:end], true, v.marked}.orMissing()
			}
		}
	}
	return true
}

// Elements calls f for the elements of v until it returns false. It returns
// false if v is no array.
func (v View) Elements(f func(View) bool) bool {
	if v.packed {
		head, b := NextToken(v.raw)
		for range head.Elements() {
			value := b
			b, _ = msgp.Skip(value)
			end := len(value) - len(b)
			if !f(View{value[:end:end], true, v.marked}.orMissing()) {
				break
			}
		}
		return head.Kind == ArrayToken
	}
	if v.Missing() || v.raw[0] != '[' {
		return false
	}
	eachElement(v.raw, 0, MaxDepth, func(_, at int) int {
		end := Skip(v.raw, at, MaxDepth)
		if !f(View{raw: v.raw[at:end:end]}) {
			return -1
		}
		return end
	})
	return true
}

// Text returns the text that v is.
func (v View) Text() (text []byte, ok bool) {
	if v.packed {
		t, _ := NextToken(v.raw)
		return validText(t.Data), t.Kind == TextToken
	}
	if v.Missing() || v.raw[0] != '"' {
		return nil, false
	}
	text, _ = Unquote(nil, v.raw)
	return text, true
}

// Bool returns the boolean that v is.
func (v View) Bool() (is, ok bool) {
	if v.packed {
		return v.raw[0] == 0xc3, v.raw[0] == 0xc2 || v.raw[0] == 0xc3
	}
	return string(v.raw) == "true", string(v.raw) == "true" || string(v.raw) == "false"
}

// Number returns the number that v is, if it is finite.
func (v View) Number() (f float64, ok bool) {
	if v.packed {
		t, _ := NextToken(v.raw)
		return t.number()
	}
	if v.Missing() || v.raw[0] != '-' && !isDigit(v.raw[0]) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v.raw), 64)
	return f, err == nil
}

// Integer returns the number that v is, if it is an integer from 0 to 2^53-1.
func (v View) Integer() (n uint64, ok bool) {
	f, ok := v.Number()
	if !ok || f < 0 || f > MaxExact || f != math.Trunc(f) {
		return 0, false
	}
	return uint64(f), true
}

// AppendNumber appends the number that v is as JavaScript makes a text of it,
// but with all digits of an integer of 64 bits. It returns false if v is no
// number, or not finite.
func (v View) AppendNumber(dst []byte) (out []byte, ok bool) {
	f, ok := v.Number()
	if !ok {
		return dst, false
	}
	if v.packed {
		t, _ := NextToken(v.raw)
		return t.AppendNumber(dst)
	}
	if i, err := strconv.ParseInt(string(v.raw), 10, 64); err == nil {
		return strconv.AppendInt(dst, i, 10), true
	}
	if u, err := strconv.ParseUint(string(v.raw), 10, 64); err == nil {
		return strconv.AppendUint(dst, u, 10), true
	}
	return Token{Kind: FloatToken, N: math.Float64bits(f)}.AppendNumber(dst)
}

// JSON returns v as JSON, with placeholders for what is bytes in it, and the
// bytes as attachments, in the order of the text. Of a message in JSON it is the
// text as it is, which has no attachments. Dates become what JSON.stringify
// makes of them; other extensions an array of their type and bytes. A value that
// is not there is null.
//
// The error is [ErrPlaceholder]: beside bytes there is an
// object that only looks like a placeholder, which JSON cannot tell apart.
func (v View) JSON() (text []byte, attachments [][]byte, err error) {
	switch {
	case v.Missing():
		return []byte("null"), nil, nil
	case !v.packed:
		return v.raw, nil, nil
	case v.marked:
		s := Scanner{peer: true}
		if s.Skip(v.raw, MaxDepth); s.Marked && s.Bytes {
			return nil, nil, ErrPlaceholder
		}
	}
	e := unpacker{encoder{b: make([]byte, 0, 16+len(v.raw)+len(v.raw)/2)}, true}
	e.msgpack(v.raw)
	return e.b, e.attachments, nil
}
