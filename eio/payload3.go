package eio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// The packets of Engine.IO 3 are those of 4 but for binary messages, which have
// the type in front: as a byte where bytes can be sent, as a digit before the
// base64 where not. Their payloads differ altogether:
//
//	text    6:4hello2:4€              the length in UTF-16 units, as JavaScript counts
//	binary  00 06 ff 34 68 65 …       0 for text or 1 for binary; the length in bytes, a digit a byte; ff
//	        01 05 ff 04 01 02 03 04
const (
	typedMessage = message - '0' // the type byte of a binary message
	encodedText3 = "b4"          // before a binary message in base64
	textMark     = 0             // before a text packet of a binary payload
	binaryMark   = 1
	lengthEnd    = 0xff
)

// maxDigits bounds a packet's length as it is written: no payload is as long.
const maxDigits = 12

// units returns the length of s as JavaScript counts it, in UTF-16 units.
func units(s []byte) int {
	n := utf8.RuneCount(s)
	if n == len(s) {
		return n
	}
	for at := 0; at < len(s); {
		r, size := utf8.DecodeRune(s[at:])
		at += size
		if r > 0xffff {
			n++
		}
	}
	return n
}

// appendPayload3 appends the text payload of the messages in frames to dst, with
// binary as base64.
func appendPayload3(dst, frames []byte) []byte {
	for len(frames) > 0 {
		h, p, n := cutFrame(frames)
		frames = frames[n:]
		if h.Op == wsframe.Binary {
			dst = strconv.AppendInt(dst, int64(len(encodedText3)+base64.StdEncoding.EncodedLen(len(p))), 10)
			dst = append(append(dst, ':'), encodedText3...)
			dst = base64.StdEncoding.AppendEncode(dst, p)
			continue
		}
		dst = strconv.AppendInt(dst, int64(units(p)), 10)
		dst = append(append(dst, ':'), p...)
	}
	return dst
}

// appendBinaryPayload3 appends the binary payload of the messages in frames to
// dst.
func appendBinaryPayload3(dst, frames []byte) []byte {
	for len(frames) > 0 {
		h, p, n := cutFrame(frames)
		frames = frames[n:]
		if h.Op == wsframe.Binary {
			dst = append(appendLength3(append(dst, binaryMark), len(p)+1), typedMessage)
		} else {
			dst = appendLength3(append(dst, textMark), len(p))
		}
		dst = append(dst, p...)
	}
	return dst
}

func appendLength3(dst []byte, n int) []byte {
	at := len(dst)
	dst = strconv.AppendInt(dst, int64(n), 10)
	for i := at; i < len(dst); i++ {
		dst[i] -= '0'
	}
	return append(dst, lengthEnd)
}

// cutPacket3 splits the first packet off a text payload. It is not ok if there
// is none as long as it says. An empty packet is for the caller to skip.
func cutPacket3(payload []byte) (packet, rest []byte, ok bool) {
	i := bytes.IndexByte(payload[:min(len(payload), maxDigits+1)], ':')
	if i < 1 {
		return nil, nil, false
	}
	n := 0
	for _, c := range payload[:i] {
		if c < '0' || c > '9' {
			return nil, nil, false // Node takes 1.0 and 1e0 too
		}
		n = n*10 + int(c-'0')
	}
	b := payload[i+1:]
	at := 0
	for n > 0 && at < len(b) {
		if b[at] < utf8.RuneSelf {
			n, at = n-1, at+1
			continue
		}
		r, size := utf8.DecodeRune(b[at:])
		n--
		if r > 0xffff {
			n--
		}
		at += size
	}
	return b[:at], b[at:], n == 0 // it is not when it would end within a character
}

// cutBinaryPacket3 splits the first packet off a binary payload. It is not ok if
// there is none as long as it says.
func cutBinaryPacket3(payload []byte) (packet, rest []byte, binary, ok bool) {
	i := bytes.IndexByte(payload[:min(len(payload), maxDigits+2)], lengthEnd)
	if i < 2 || payload[0] > binaryMark {
		return nil, nil, false, false
	}
	n := 0
	for _, d := range payload[1:i] {
		if d > 9 {
			return nil, nil, false, false
		}
		n = n*10 + int(d)
	}
	b := payload[i+1:]
	if n > len(b) {
		return nil, nil, false, false
	}
	return b[:n], b[n:], payload[0] == binaryMark, true
}

// hasBinary tells whether a message in frames is binary.
func hasBinary(frames []byte) bool {
	for len(frames) > 0 {
		h, _, n := cutFrame(frames)
		if h.Op == wsframe.Binary {
			return true
		}
		frames = frames[n:]
	}
	return false
}

// withTypes returns frames with the type byte before each binary message, as a
// WebSocket of Engine.IO 3 has them.
func withTypes(frames []byte) []byte {
	return eachBinary(frames, func(dst, p []byte) []byte {
		dst = wsframe.AppendHeader(dst, wsframe.Header{Fin: true, Op: wsframe.Binary, Length: int64(len(p)) + 1})
		return append(append(dst, typedMessage), p...)
	})
}

// appendCallback appends a payload to dst as JavaScript that calls the client's
// function of that name: JSONP.
func appendCallback(dst []byte, name string, payload []byte) []byte {
	js, err := json.Marshal(string(payload)) // it escapes what JavaScript would take for the end of a line
	if err != nil {
		panic("eio: a string has no JSON: " + err.Error())
	}
	dst = append(append(dst, name...), '(')
	return append(append(dst, js...), ");"...)
}

// callbackName returns the name of the function that a client with the index j
// has its answers given to. Anything but digits is left out, as it would be run.
func callbackName(j string) string {
	return "___eio[" + strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, j) + "]"
}

// callbackBody returns the payload in a body of a JSONP client, the field d of a
// form. It is false if there is none. Browsers change the ends of lines in a
// form, so the client writes \n for one, and \\n for a backslash and an n.
func callbackBody(form []byte) (payload []byte, ok bool) {
	d, ok := (&http1.Request{RawQuery: form}).Query("d")
	if !ok {
		return nil, false
	}
	const kept = "\\\\n"
	var b []byte
	for i := 0; i < len(d); {
		switch {
		case strings.HasPrefix(d[i:], kept):
			b, i = append(b, `\n`...), i+len(kept)
		case strings.HasPrefix(d[i:], `\n`):
			b, i = append(b, '\n'), i+len(`\n`)
		default:
			b, i = append(b, d[i]), i+1
		}
	}
	return b, true
}
