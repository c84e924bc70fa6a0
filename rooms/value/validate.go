package value

import "unicode/utf8"

// A Scanner validates values in MessagePack and notes what is in them.
type Scanner struct {
	// Most is how many values there may be that as JSON are attachments; 0: any
	// number.
	Most int

	Bytes  bool // there is such a value
	Many   bool // there are more of them than Most
	Marked bool // there is an object that as JSON would look like a placeholder

	found int  // values that as JSON are attachments
	peer  bool // the values are a server's: texts need not be UTF-8, and there are timestamps
}

// Skip returns what follows the value that b begins with, or false if there is
// no valid one. depth is how many arrays and maps may be open within it at once.
func (s *Scanner) Skip(b []byte, depth int) (rest []byte, ok bool) {
	t, rest := NextToken(b)
	switch t.Kind {
	case BadToken:
		return nil, false
	case TextToken:
		return rest, s.peer || utf8.Valid(t.Data)
	case BinaryToken:
		return rest, s.attachment()
	case ExtensionToken:
		return rest, s.peer && t.isTimestamp() || s.attachment()
	case ArrayToken:
		return s.elements(rest, t.N, depth-1)
	case MapToken:
		return s.members(rest, t.N, depth-1)
	}
	return rest, true
}

// attachment notes bytes. It is false if that is too much.
func (s *Scanner) attachment() bool {
	s.Bytes = true
	s.found++
	s.Many = s.Most > 0 && s.found > s.Most
	return !s.Many
}

func (s *Scanner) elements(b []byte, n uint64, depth int) (rest []byte, ok bool) {
	if depth < 0 {
		return nil, false
	}
	for range n {
		if b, ok = s.Skip(b, depth); !ok {
			return nil, false
		}
	}
	return b, true
}

func (s *Scanner) members(b []byte, n uint64, depth int) (rest []byte, ok bool) {
	if depth < 0 {
		return nil, false
	}
	for range n {
		var key Token
		if key, b = NextToken(b); !key.IsKey() && !(s.peer && key.Kind == TextToken) {
			return nil, false
		}
		if string(key.Data) == "_placeholder" {
			value, _ := NextToken(b)
			s.Marked = s.Marked || value.Kind == BoolToken && value.N == 1
		}
		if b, ok = s.Skip(b, depth); !ok {
			return nil, false
		}
	}
	return b, true
}

// validMsgpack tells whether raw is one valid value.
func validMsgpack(raw []byte) bool {
	rest, ok := new(Scanner).Skip(raw, MaxDepth)
	return ok && len(rest) == 0
}
