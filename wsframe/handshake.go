package wsframe

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
)

// keyLen is the length of a key as sent: 16 bytes in base64.
const keyLen = 24

// guid is appended to the key before hashing: RFC 6455, 1.3.
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AcceptKey returns the value of Sec-WebSocket-Accept that answers a value of
// Sec-WebSocket-Key.
func AcceptKey(key []byte) string { return string(AppendAcceptKey(nil, key)) }

// AppendAcceptKey appends what AcceptKey returns to dst.
func AppendAcceptKey(dst, key []byte) []byte {
	var room [keyLen + len(guid)]byte
	sum := sha1.Sum(append(append(room[:0], key...), guid...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// An UpgradeError is an opening handshake that must be refused: answer Status
// with Body as text/html and Connection: close, and with a field
// "Sec-WebSocket-Version: 13, 8" if VersionHeader. The texts are those of Node.
type UpgradeError struct {
	Status        int
	Body          string
	VersionHeader bool
}

// Error returns the body prefixed with the name of the package.
func (e *UpgradeError) Error() string { return "wsframe: " + e.Body }

// CheckUpgrade checks the fields of an opening handshake: RFC 6455, 4.2.1. get
// returns the value of a field by its name in any case, nil if there is none.
// The method, the HTTP version and the Connection field are the caller's to
// check. It returns nil if the handshake may be accepted.
func CheckUpgrade(get func(name string) []byte) *UpgradeError {
	if !bytes.EqualFold(get("Upgrade"), []byte("websocket")) {
		return &UpgradeError{Status: 400, Body: "Invalid Upgrade header"}
	}
	if !validKey(get("Sec-WebSocket-Key")) {
		return &UpgradeError{Status: 400, Body: "Missing or invalid Sec-WebSocket-Key header"}
	}
	// 8 is the last draft; its frames are those of 13, and Node accepts it.
	if v := string(get("Sec-WebSocket-Version")); v != "13" && v != "8" {
		return &UpgradeError{Status: 400, Body: "Missing or invalid Sec-WebSocket-Version header", VersionHeader: true}
	}
	if list := get("Sec-WebSocket-Protocol"); list != nil {
		if _, ok := FirstProtocol(list); !ok {
			return &UpgradeError{Status: 400, Body: "Invalid Sec-WebSocket-Protocol header"}
		}
	}
	return nil
}

// validKey reports whether key looks like 16 bytes in base64. Like Node it does
// not mind bits set beyond the 16 bytes.
func validKey(key []byte) bool {
	if len(key) != keyLen || key[keyLen-2] != '=' || key[keyLen-1] != '=' {
		return false
	}
	for _, c := range key[:keyLen-2] {
		if !alphanumeric(c) && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// FirstProtocol returns the first of the subprotocols offered in a value of
// Sec-WebSocket-Protocol, a view of list; it is the one that Node selects. It
// reports false unless list is one or more tokens separated by commas. That they
// differ from each other is not checked.
func FirstProtocol(list []byte) (first []byte, ok bool) {
	for rest, more := list, true; more; {
		var token []byte
		token, rest, more = bytes.Cut(rest, []byte(","))
		token = bytes.Trim(token, " \t")
		if !isToken(token) {
			return nil, false
		}
		if first == nil {
			first = token
		}
	}
	return first, true
}

// isToken reports whether b is a token: RFC 9110, 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if !alphanumeric(c) && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

// AppendUpgrade appends the head of the response that accepts a handshake, with
// its fields in Node's order. key is the value of Sec-WebSocket-Key, protocol the
// subprotocol to select, nil for none. extra, if not nil, appends further fields,
// each with its CRLF; that they are valid is the caller's to check.
func AppendUpgrade(dst, key, protocol []byte, extra func(dst []byte) []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = AppendAcceptKey(dst, key)
	dst = append(dst, "\r\n"...)
	if protocol != nil {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		dst = append(dst, protocol...)
		dst = append(dst, "\r\n"...)
	}
	if extra != nil {
		dst = extra(dst)
	}
	return append(dst, "\r\n"...)
}

// AppendClientHandshake appends the request with which a client opens a
// connection. host is the value of Host, target the path and query, nonce 16
// random bytes.
func AppendClientHandshake(dst []byte, host, target string, nonce [16]byte) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	dst = base64.StdEncoding.AppendEncode(dst, nonce[:])
	return append(dst, "\r\n\r\n"...)
}

// CheckAccept checks the response to AppendClientHandshake with the same nonce
// at the start of b and returns the length of its head; frames may follow. It
// returns 0 and a nil error when the head is incomplete.
func CheckAccept(b []byte, nonce [16]byte) (n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 16<<10 {
			return 0, errors.New("wsframe: endless response to the handshake")
		}
		return 0, nil
	}
	status, fields, _ := bytes.Cut(b[:end], []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 101 ")) {
		return 0, fmt.Errorf("wsframe: handshake answered with %q", status)
	}
	var key [keyLen]byte
	base64.StdEncoding.Encode(key[:], nonce[:])
	want := AcceptKey(key[:])
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")) && string(bytes.Trim(value, " \t")) == want {
			return end + 4, nil
		}
	}
	return 0, errors.New("wsframe: wrong or missing Sec-WebSocket-Accept")
}
