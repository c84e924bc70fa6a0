package http1

// semantics collects the fields that decide how the request is framed and what
// becomes of its connection.
type semantics struct {
	hosts, lengths, codings int
	host, length, coding    []byte
	closes, keeps, upgrades bool // options of the Connection fields
	hasUpgrade              bool
	expect100, expectsOther bool
}

// note takes in one field. It first looks at the length of the name because it
// is called for every field and nearly all are none of these.
func (s *semantics) note(f Field) {
	switch len(f.Name) {
	case len("host"):
		if equalFold(f.Name, "host") {
			s.hosts++
			s.host = f.Value
		}
	case len("expect"):
		if equalFold(f.Name, "expect") {
			known := equalFold(f.Value, "100-continue")
			s.expect100 = s.expect100 || known
			s.expectsOther = s.expectsOther || !known
		}
	case len("upgrade"):
		if equalFold(f.Name, "upgrade") {
			s.hasUpgrade = s.hasUpgrade || len(f.Value) > 0
		}
	case len("connection"):
		if equalFold(f.Name, "connection") {
			s.noteConnection(f.Value)
		}
	case len("content-length"):
		if equalFold(f.Name, "content-length") {
			s.lengths++
			s.length = f.Value
		}
	case len("transfer-encoding"):
		if equalFold(f.Name, "transfer-encoding") {
			s.codings++
			s.coding = f.Value
		}
	}
}

func (s *semantics) noteConnection(list []byte) {
	for len(list) > 0 {
		var option []byte
		option, list = nextElement(list)
		s.closes = s.closes || equalFold(option, "close")
		s.keeps = s.keeps || equalFold(option, "keep-alive")
		s.upgrades = s.upgrades || equalFold(option, "upgrade")
	}
}

// apply checks what was noted and sets the fields of r that follow from it.
func (s *semantics) apply(r *Request) error {
	// RFC 9112, 3.2: one Host in HTTP/1.1, and never two.
	if s.hosts > 1 || s.hosts == 0 && r.Minor == 1 {
		return bad("not exactly one Host")
	}
	if !isHost(s.host) {
		return bad("malformed Host")
	}
	if r.Host == nil {
		r.Host = s.host
	}
	if err := s.applyFraming(r); err != nil {
		return err
	}
	if r.Minor == 0 {
		r.KeepAlive = s.keeps && !s.closes
		return nil
	}
	if s.expectsOther {
		return &Error{417, "unknown expectation"}
	}
	r.KeepAlive = !s.closes
	r.Expect100 = s.expect100
	r.Upgrade = s.upgrades && s.hasUpgrade
	return nil
}

// applyFraming decides how long the body is: RFC 9112, 6.
func (s *semantics) applyFraming(r *Request) error {
	if s.codings > 0 {
		switch {
		case s.lengths > 0:
			return bad("both Transfer-Encoding and Content-Length")
		case s.codings > 1 || r.Minor == 0:
			return bad("misplaced Transfer-Encoding")
		case equalFold(s.coding, "chunked"):
			r.Chunked = true
			return nil
		case chunkedLast(s.coding):
			return &Error{501, "unknown transfer coding"}
		}
		return bad("last transfer coding is not chunked") // RFC 9112, 6.3
	}
	if s.lengths == 0 {
		return nil
	}
	// 18 digits: more than any limit, and int64 cannot overflow.
	if s.lengths > 1 || len(s.length) == 0 || len(s.length) > 18 {
		return bad("malformed Content-Length")
	}
	var n int64
	for _, c := range s.length {
		if c < '0' || c > '9' {
			return bad("malformed Content-Length")
		}
		n = n*10 + int64(c-'0')
	}
	r.ContentLength = n
	return nil
}

func chunkedLast(list []byte) bool {
	var last []byte
	for len(list) > 0 {
		last, list = nextElement(list)
	}
	return equalFold(last, "chunked")
}
