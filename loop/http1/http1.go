// Package http1 is a codec for HTTP/1.0 and HTTP/1.1 as an origin server needs
// it: request heads are parsed in place, request bodies are read in pieces and
// responses are appended to a slice. It does no I/O, starts no goroutine and
// reads no clock.
//
//	n, err := Parse(b, &r)      // 0, nil: read more and parse again
//	b = b[n:]
//	body.Reset(&r, limit)
//	for {
//		data, n, done, err := body.Next(b)
//		…                   // n == 0 and not done: read more
//	}
//	out = AppendResponse(out, 200, fields, answer)
//
// It is stricter than most servers, because every leniency in finding the end
// of a message is a way to smuggle a request past a proxy: only CRLF ends a
// line, a message has one length or one transfer coding, a request of HTTP/1.1
// has one Host. What is refused is refused with an *Error, which carries the
// status to answer before the connection is closed.
//
// The rules are those of RFC 9110 and RFC 9112; where a section decides
// something it is named there.
package http1

// MaxHead and MaxFields are what Limits mean by zero.
const (
	MaxHead   = 32 << 10
	MaxFields = 256
)

// Limits bound a request head.
type Limits struct {
	// Head is the largest request head in bytes, from the first byte of the request
	// line to the end of the empty line. A larger one is refused with 431. Zero
	// means 32 KiB. Node: --max-http-header-size.
	Head int
	// Fields is the largest number of fields in a head. One with more is refused
	// with 431. Zero means 256. Node: maxHeadersCount.
	Fields int
}

// An Error is a request that must not be served: Status is the code to answer,
// after which the connection must be closed, because where the next request
// starts is unknown. Reason says why, for logs at debug level, not for the peer.
type Error struct {
	Status int
	Reason string
}

// Error returns the reason prefixed with the name of the package.
func (e *Error) Error() string { return "http1: " + e.Reason }

func bad(reason string) error { return &Error{400, reason} }

// A Field is one header field. In a Request both Name and Value are views of the
// parsed bytes, the value without the white space around it.
type Field struct {
	Name  []byte `cbor:"1,keyasint,omitempty"`
	Value []byte `cbor:"2,keyasint,omitempty"`
}

// Valid reports whether f may be written: the name is a token and the value has
// no control characters but HTAB and no white space at its ends (RFC 9110, 5.5).
func (f Field) Valid() bool {
	if !isToken(f.Name) || !isText(f.Value) {
		return false
	}
	return len(f.Value) == len(trim(f.Value))
}
