package value

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Skip returns the index after the JSON value that begins at b[i], or -1
// if none does, by RFC 8259 (like [json.Valid], it does not look at UTF-8).
// depth is how many arrays and objects may be open at once within the value.
func Skip(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; c {
	case '"':
		return skipString(b, i+1)
	case '{':
		return skipObject(b, i+1, depth-1)
	case '[':
		return skipArray(b, i+1, depth-1)
	case 't':
		return skipLiteral(b, i, "true")
	case 'f':
		return skipLiteral(b, i, "false")
	case 'n':
		return skipLiteral(b, i, "null")
	default:
		if c == '-' || isDigit(c) {
			return skipNumber(b, i)
		}
		return -1
	}
}

// SkipSpace returns the index of the first byte from b[i] on that is no white space.
func SkipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func skipLiteral(b []byte, i int, s string) int {
	if len(b)-i < len(s) || string(b[i:i+len(s)]) != s {
		return -1
	}
	return i + len(s)
}

// skipObject continues after the opening brace.
func skipObject(b []byte, i, depth int) int {
	if depth < 0 {
		return -1
	}
	if i = SkipSpace(b, i); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i = SkipSpace(b, i); i >= len(b) || b[i] != '"' {
			return -1
		}
		if i = skipString(b, i+1); i < 0 {
			return -1
		}
		if i = SkipSpace(b, i); i >= len(b) || b[i] != ':' {
			return -1
		}
		if i = Skip(b, SkipSpace(b, i+1), depth); i < 0 {
			return -1
		}
		if i = SkipSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i++
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

// skipArray continues after the opening bracket.
func skipArray(b []byte, i, depth int) int {
	if depth < 0 {
		return -1
	}
	if i = SkipSpace(b, i); i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = Skip(b, SkipSpace(b, i), depth); i < 0 {
			return -1
		}
		if i = SkipSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i++
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

// skipNumber takes -? (0 | [1-9][0-9]*) (.[0-9]+)? ([eE][+-]?[0-9]+)?.
func skipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = skipDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits takes one digit or more.
func skipDigits(b []byte, i int) int {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// skipString continues after the opening quote.
func skipString(b []byte, i int) int {
	for {
		i = skipPlain(b, i)
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i = skipEscape(b, i+1); i < 0 {
				return -1
			}
		default: // a control character
			return -1
		}
	}
}

// skipPlain returns the index of the next quote, backslash or control
// character, eight bytes at a time: chat texts are long compared to all else.
func skipPlain(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		// A byte's high bit is set below when it is zero, or less than 32. A
		// borrow may set it in a byte above such a one, never in one below.
		quote, slash := w^ones*'"', w^ones*'\\'
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
		i++
	}
	return i
}

// skipEscape continues after the backslash.
func skipEscape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if _, ok := hex4(b, i+1); ok {
			return i + 5
		}
	}
	return -1
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if len(b)-i < 4 {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// Unquote returns the text of a valid JSON string: a view within raw if nothing
// is escaped, otherwise appended to dst. Half a surrogate pair becomes U+FFFD.
func Unquote(dst, raw []byte) (text []byte, escaped bool) {
	raw = raw[1 : len(raw)-1 : len(raw)-1]
	i := skipPlain(raw, 0)
	if i == len(raw) {
		return raw, false
	}
	for i < len(raw) {
		dst = append(dst, raw[:i]...)
		dst, raw = appendUnescaped(dst, raw[i:])
		i = skipPlain(raw, 0)
	}
	return append(dst, raw...), true
}

// appendUnescaped takes the escape sequence that raw begins with, or both of a
// surrogate pair, and returns what follows.
func appendUnescaped(dst, raw []byte) (out, rest []byte) {
	switch c := raw[1]; c {
	case 'b':
		return append(dst, '\b'), raw[2:]
	case 'f':
		return append(dst, '\f'), raw[2:]
	case 'n':
		return append(dst, '\n'), raw[2:]
	case 'r':
		return append(dst, '\r'), raw[2:]
	case 't':
		return append(dst, '\t'), raw[2:]
	case 'u':
		r, _ := hex4(raw, 2)
		raw = raw[6:]
		if utf16.IsSurrogate(r) {
			low := rune(0)
			if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				low, _ = hex4(raw, 2)
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				raw = raw[6:]
			}
		}
		return utf8.AppendRune(dst, r), raw
	default: // quote, backslash, slash
		return append(dst, c), raw[2:]
	}
}

func isDigit(c byte) bool { return c-'0' <= 9 }
