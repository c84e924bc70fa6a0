package eio

import "unicode/utf8"

// validText returns text as UTF-8: itself if it is, else a copy with U+FFFD for
// what is not, as many as Node's decoder puts there (WHATWG Encoding, "UTF-8
// decoder": one for the longest start of a character). A body may hold any bytes;
// what came over a WebSocket has been checked. Once it is in, text is passed on as
// it is, and invalid text would make others' clients fail.
func validText(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/2)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			n = startOfRune(text)
		}
		out = utf8.AppendRune(out, r)
		text = text[n:]
	}
	return out
}

// startOfRune returns how many bytes at the start of text, which is not valid
// there, could begin a character; at least one.
func startOfRune(text []byte) (n int) {
	first, low, high, more := text[0], byte(0x80), byte(0xbf), 0
	switch {
	case first >= 0xc2 && first <= 0xdf:
		more = 1
	case first >= 0xe0 && first <= 0xef:
		more = 2
	case first >= 0xf0 && first <= 0xf4:
		more = 3
	}
	switch first { // the second byte of these is bounded: no overlong forms, no surrogates
	case 0xe0:
		low = 0xa0
	case 0xed:
		high = 0x9f
	case 0xf0:
		low = 0x90
	case 0xf4:
		high = 0x8f
	}
	for n = 1; n <= more && n < len(text) && text[n] >= low && text[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}
