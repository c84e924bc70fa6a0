package http1

import (
	"bytes"
	"cmp"
)

// Parse parses the request head at the start of b into r and returns its length
// with the empty line that ends it. It returns 0 and a nil error when b does not
// hold the whole head yet; call it again with the same bytes and more, which
// costs one search for the end. One empty line before the request line is
// skipped and counted (RFC 9112, 2.2).
//
// The error is an *Error with status 400, 417, 431, 501 or 505. What is certain
// to fail fails before the head is complete where that is cheap to see: at the
// first byte of something that is not HTTP, at the first bare LF, and at the
// largest head. The result does not depend on how the bytes arrive.
//
// After 0 r holds nothing of use; after an error the lines that came before it,
// which say perhaps how to answer.
func (l Limits) Parse(b []byte, r *Request) (n int, err error) {
	*r = Request{Fields: r.Fields[:0], ContentLength: -1}
	most, fields := cmp.Or(l.Head, MaxHead), cmp.Or(l.Fields, MaxFields)
	start := 0
	if len(b) > 0 && b[0] == '\r' {
		if len(b) == 1 {
			return 0, nil
		}
		if b[1] != '\n' {
			return 0, bad("CR without LF")
		}
		start = 2
	}
	if start == len(b) {
		return 0, nil
	}
	if class[b[start]]&tokenChar == 0 {
		return 0, bad("not a method") // a TLS handshake, say
	}
	window := b[:min(len(b), most)]
	// The search costs a third of the time and is not needed for the usual GET,
	// of which nothing follows the head.
	if !bytes.HasSuffix(window, []byte("\r\n\r\n")) {
		end := headEnd(window, start, fields+2) // the request line, and one field too many
		if end == 0 {
			if len(b) >= most {
				_, _ = r.parse(window[start:], fields) // as far as it goes
				return 0, &Error{431, "head too long"}
			}
			return 0, nil
		}
		window = window[:end]
	}
	rest, err := r.parse(window[start:], fields)
	if err != nil {
		return 0, err
	}
	return len(window) - len(rest), nil
}

// headEnd returns the index after the empty line that ends the head which starts
// at start, or after the first LF that is not part of a CRLF, or after so many
// lines as are too many, so that parsing up to there meets that error or an earlier
// one; 0 if b has none of these.
func headEnd(b []byte, start, lines int) int {
	for i := start; ; lines-- {
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			return 0
		}
		i += k + 1
		if i < 2 || b[i-2] != '\r' || lines == 1 {
			return i
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
	}
}

// parse parses the head at the start of b, which has its empty line there or a
// line that is in error, and returns what follows it. Errors of syntax come in
// the order of the lines and before all others, so that an incomplete head with a
// bare LF fails with the same status as it would when complete.
func (r *Request) parse(b []byte, fields int) (rest []byte, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, bad("bare LF")
	}
	if err := r.parseRequestLine(b[: i-1 : i-1]); err != nil {
		return nil, err
	}
	var s semantics
	for b = b[i+1:]; ; {
		if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
			return b[2:], s.apply(r)
		}
		colon := 0
		for colon < len(b) && class[b[colon]]&tokenChar != 0 {
			colon++
		}
		// RFC 9112, 5.1 and 5.2: neither white space before the colon nor a
		// folded line, which would start with white space.
		if colon == 0 || colon == len(b) || b[colon] != ':' {
			return nil, bad("malformed field name")
		}
		value := b[colon+1:]
		k := textLen(value)
		if k+2 > len(value) || value[k] != '\r' || value[k+1] != '\n' {
			return nil, bad("control character in a field, or a line that does not end with CRLF")
		}
		f := Field{b[:colon:colon], trim(value[:k])}
		if len(r.Fields) == fields {
			return nil, &Error{431, "too many fields"}
		}
		r.Fields = append(r.Fields, f)
		s.note(f)
		b = value[k+2:]
	}
}

func (r *Request) parseRequestLine(line []byte) error {
	i := bytes.IndexByte(line, ' ')
	if i < 0 || !isToken(line[:i]) {
		return bad("malformed method")
	}
	r.Method, line = line[:i:i], line[i+1:]
	i = bytes.IndexByte(line, ' ')
	if i <= 0 {
		return bad("malformed request line")
	}
	r.Target = line[:i:i]
	switch version := line[i+1:]; {
	case string(version) == "HTTP/1.1":
		r.Minor = 1
	case string(version) == "HTTP/1.0":
		r.Minor = 0
	case isVersion(version):
		return &Error{505, "unsupported version"}
	default:
		return bad("malformed version")
	}
	if !isText(r.Target) || bytes.IndexByte(r.Target, '\t') >= 0 {
		return bad("control character in the target")
	}
	return r.splitTarget()
}

// isVersion reports whether b is HTTP/ and something like a number.
func isVersion(b []byte) bool {
	number, ok := bytes.CutPrefix(b, []byte("HTTP/"))
	for i, c := range number {
		if (c < '0' || c > '9') && (c != '.' || i == 0) {
			return false
		}
	}
	return ok && len(number) > 0
}

// splitTarget sets Path, RawQuery and, from an absolute-form target, Host.
func (r *Request) splitTarget() error {
	rest := r.Target
	switch {
	case rest[0] == '/': // origin-form: RFC 9112, 3.2.1
	case len(rest) == 1 && rest[0] == '*': // asterisk-form: RFC 9112, 3.2.4
		if string(r.Method) != "OPTIONS" {
			return bad("target * is for OPTIONS only")
		}
	default: // absolute-form: RFC 9112, 3.2.2
		i := bytes.IndexByte(rest, ':')
		if i < 0 || !equalFold(rest[:i], "http") && !equalFold(rest[:i], "https") ||
			len(rest) < i+3 || rest[i+1] != '/' || rest[i+2] != '/' {
			return bad("malformed target")
		}
		rest = rest[i+3:]
		i = bytes.IndexAny(rest, "/?")
		if i < 0 {
			i = len(rest)
		}
		r.Host, rest = rest[:i:i], rest[i:]
		if len(r.Host) == 0 || !isHost(r.Host) {
			return bad("malformed authority in the target")
		}
	}
	r.Path, r.RawQuery = rest, nil
	if i := bytes.IndexByte(rest, '?'); i >= 0 {
		r.Path, r.RawQuery = rest[:i:i], rest[i+1:]
	}
	if len(r.Path) == 0 {
		r.Path = []byte("/") // RFC 9112, 3.2.1
	}
	return nil
}

// ValidHost tells whether b, which may be empty, has only characters of a host and a port.
func ValidHost(b []byte) bool { return isHost(b) }

func isHost(b []byte) bool {
	for _, c := range b {
		if class[c]&hostChar == 0 {
			return false
		}
	}
	return true
}
