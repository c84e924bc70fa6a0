package tlslink

import "bytes"

const (
	headerLen = 5        // of a record: RFC 8446, 5.1
	maxPlain  = 16 << 10 // bytes of a record's content
	maxRecord = headerLen + maxPlain + 2048
)

// Types of records, and alerts (RFC 8446, 5.1 and 6).
const (
	typeHandshake = 22

	alertUnexpected = 10
	alertOverflow   = 22
	alertVersion    = 70
)

// alert returns a fatal alert, as it is before there are keys.
func alert(what byte) []byte { return []byte{21, 3, 1, 0, 2, 2, what} }

// plainAnswer is net/http's.
const plainAnswer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// methods are beginnings of HTTP requests, as long as the head of a record.
var methods = []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET", "TRACE", "CONNE", "PRI *"}

// first looks at what a connection begins with: it returns the length of the first
// record when that is there; 0 when more is to come; and what is wrong with it, with what
// to answer.
func first(b []byte) (n int, wrong Reason, answer []byte) {
	head := b[:min(len(b), headerLen)]
	if b[0] != typeHandshake {
		for _, m := range methods {
			if bytes.HasPrefix([]byte(m), head) {
				if len(head) < headerLen {
					return 0, none, nil
				}
				return 0, PlainHTTP, []byte(plainAnswer)
			}
		}
		switch { // SSL 2: a length, and client-hello
		case b[0]&0x80 != 0 && len(b) < 3:
			return 0, none, nil
		case b[0]&0x80 != 0 && b[2] == 1:
			return 0, Version, alert(alertVersion)
		}
		return 0, Garbage, alert(alertUnexpected)
	}
	if len(head) > 1 && head[1] != 3 { // the versions of TLS, and of SSL 3, are 3.x
		return 0, Garbage, alert(alertVersion)
	}
	if len(head) < headerLen {
		return 0, none, nil
	}
	switch size := int(head[3])<<8 | int(head[4]); {
	case size == 0:
		return 0, Garbage, alert(alertUnexpected)
	case size > maxPlain:
		return 0, Oversized, alert(alertOverflow)
	case len(b) > headerLen && b[headerLen] != 1: // client_hello
		return 0, Garbage, alert(alertUnexpected)
	case len(b) >= headerLen+size:
		return headerLen + size, none, nil
	}
	return 0, none, nil
}
