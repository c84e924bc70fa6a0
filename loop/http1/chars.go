package http1

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Classes of bytes, bits of class[c].
const (
	tokenChar = 1 << iota // RFC 9110, 5.6.2
	hostChar              // RFC 3986, 3.2.2 and the port
	hexChar
)

var class = func() (t [256]uint8) {
	mark := func(chars string, bit uint8) {
		for i := range len(chars) {
			t[chars[i]] |= bit
		}
	}
	const digits, hexLetters = "0123456789", "abcdefABCDEF"
	const alnum = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark(alnum+"!#$%&'*+-.^_`|~", tokenChar)
	mark(alnum+"-._~!$&'()*+,;=%:[]", hostChar)
	mark(digits+hexLetters, hexChar)
	return t
}()

func isToken(b []byte) bool {
	for _, c := range b {
		if class[c]&tokenChar == 0 {
			return false
		}
	}
	return len(b) > 0
}

// isText reports whether b has no control characters but HTAB. Bytes from 0x80
// up are allowed: RFC 9110, 5.5 calls them obs-text.
func isText(b []byte) bool { return textLen(b) == len(b) }

// textLen returns the length of the text at the start of b, which ends before
// the first control character but HTAB.
//
// It looks at eight bytes at a time because it sees nearly every byte of a head.
func textLen(b []byte) int {
	i := 0
	for i+8 <= len(b) {
		hits := controls(binary.LittleEndian.Uint64(b[i:]))
		if hits == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(hits) / 8
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
			break
		}
	}
	return i
}

// controls sets the high bit of the first byte of x that is below 0x20 or 0x7f,
// and none if there is no such byte. What it sets above the first means nothing:
// a subtraction borrows from the next byte only at a byte that is a hit.
func controls(x uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	del := x ^ 0x7f*ones
	return ((x-0x20*ones)&^x | (del-ones)&^del) & high
}

// trim returns b without the spaces and tabs around it.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b[:len(b):len(b)]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares letters of ASCII in any case and everything else exactly.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c != s[i] && lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

// nextElement returns the first element of a comma-separated list and what
// follows it. An element may be empty (RFC 9110, 5.6.1).
func nextElement(list []byte) (element, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// unescape decodes application/x-www-form-urlencoded text as URLSearchParams
// does: what is not an escape stays as it is, and bytes that are not UTF-8
// become U+FFFD.
func unescape(s string) string {
	plain := utf8.ValidString(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] != '+' && s[i] != '%'
	}
	if plain {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && class[s[i+1]]&class[s[i+2]]&hexChar != 0:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	if utf8.Valid(out) {
		return string(out)
	}
	return string([]rune(string(out)))
}
