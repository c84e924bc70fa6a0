package parser

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// A kind is what a token is, in the terms of notepack.io, which gives some
// extensions of type 0 a meaning.
type kind byte

const (
	badToken    kind = iota // malformed, or cut short
	absentToken             // undefined: an extension of type 0 and one byte
	nilToken
	boolToken      // n is 0 or 1
	signedToken    // n is the int64
	unsignedToken  // n is the uint64, too large for an int64
	floatToken     // n is the float64's bits
	textToken      // data is the text
	binaryToken    // data is the bytes; also an extension of type 0 with a length
	dateToken      // n is an int64, ms since 1970: an extension of type 0 and eight bytes
	extensionToken // n is the type, an int8, and data the bytes
	arrayToken     // n elements follow
	mapToken       // n keys and values follow
)

// A token is a MessagePack value, or the head of an array or a map.
type token struct {
	kind kind
	n    uint64
	data []byte
}

// nextToken reads the token that b begins with, and returns what follows.
func nextToken(b []byte) (t token, rest []byte) {
	if overlong(b) {
		return token{}, nil
	}
	var err error
	switch msgp.NextType(b) {
	case msgp.InvalidType:
		return token{}, nil
	case msgp.StrType:
		t.kind = textToken
		t.data, rest, err = msgp.ReadStringZC(b)
	case msgp.BinType:
		t.kind = binaryToken
		t.data, rest, err = msgp.ReadBytesZC(b)
	case msgp.NilType:
		t.kind = nilToken
		rest, err = msgp.ReadNilBytes(b)
	case msgp.BoolType:
		var v bool
		v, rest, err = msgp.ReadBoolBytes(b)
		t.kind = boolToken
		if v {
			t.n = 1
		}
	case msgp.ArrayType:
		var n uint32
		n, rest, err = msgp.ReadArrayHeaderBytes(b)
		t = token{kind: arrayToken, n: uint64(n)}
	case msgp.MapType:
		var n uint32
		n, rest, err = msgp.ReadMapHeaderBytes(b)
		t = token{kind: mapToken, n: uint64(n)}
	case msgp.IntType:
		var v int64
		v, rest, err = msgp.ReadInt64Bytes(b)
		t = token{kind: signedToken, n: uint64(v)}
	case msgp.UintType:
		t.n, rest, err = msgp.ReadUint64Bytes(b)
		t.kind = signedToken
		if t.n > math.MaxInt64 {
			t.kind = unsignedToken
		}
	case msgp.Float32Type, msgp.Float64Type:
		var v float64
		v, rest, err = msgp.ReadFloat64Bytes(b)
		t = token{kind: floatToken, n: math.Float64bits(v)}
	default:
		return nextExtension(b)
	}
	if err != nil {
		return token{}, nil
	}
	t.data = t.data[:len(t.data):len(t.data)]
	return t, rest
}

// overlong tells whether b begins with a text, bytes or an extension whose
// length, of 32 bits, is more than there is. The readers of msgp would take such
// a length for a negative one where an int has 32 bits, and panic.
func overlong(b []byte) bool {
	if len(b) < 5 {
		return false
	}
	switch b[0] {
	case 0xc6, 0xc9, 0xdb: // bin 32, ext 32, str 32
		return uint64(binary.BigEndian.Uint32(b[1:])) > uint64(len(b))
	}
	return false
}

// nextExtension reads an extension. The types in use are notepack's, so msgp's
// own readers, which give others a meaning, are of no use.
func nextExtension(b []byte) (t token, rest []byte) {
	rest, err := msgp.Skip(b)
	if err != nil {
		return token{}, nil
	}
	at, fixed := 2, true
	switch b[0] {
	case 0xc7: // ext 8
		at, fixed = 3, false
	case 0xc8: // ext 16
		at, fixed = 4, false
	case 0xc9: // ext 32
		at, fixed = 6, false
	}
	end := len(b) - len(rest)
	typ, data := int8(b[at-1]), b[at:end:end]
	switch {
	case typ == 0 && !fixed:
		return token{kind: binaryToken, data: data}, rest
	case typ == 0 && len(data) == 1:
		return token{kind: absentToken}, rest
	case typ == 0 && len(data) == 8:
		return token{kind: dateToken, n: binary.BigEndian.Uint64(data)}, rest
	}
	return token{extensionToken, uint64(typ), data}, rest
}

// isTimestamp tells whether t is a timestamp of the MessagePack specification.
func (t token) isTimestamp() bool {
	if t.kind != extensionToken || int8(t.n) != -1 {
		return false
	}
	return len(t.data) == 4 || len(t.data) == 8 || len(t.data) == 12
}

// timestamp returns the ms since 1970 that a JavaScript date makes of t, a
// timestamp, or false if it cannot be one.
func (t token) timestamp() (ms int64, ok bool) {
	var seconds, nanos float64
	switch b := t.data; len(b) {
	case 4:
		seconds = float64(binary.BigEndian.Uint32(b))
	case 8:
		n := binary.BigEndian.Uint64(b)
		seconds, nanos = float64(n&(1<<34-1)), float64(n>>34)
	case 12:
		seconds, nanos = float64(int64(binary.BigEndian.Uint64(b[4:]))), float64(binary.BigEndian.Uint32(b))
	}
	f := math.Trunc(seconds*1e3 + nanos/1e6)
	if math.Abs(f) > maxDate {
		return 0, false
	}
	return int64(f), true
}

func (t token) float() float64 { return math.Float64frombits(t.n) }

// elements is how many elements follow t as the head of an array.
func (t token) elements() uint64 {
	if t.kind != arrayToken {
		return 0
	}
	return t.n
}

// isAbsent tells whether t means that a member of a packet is not there.
func (t token) isAbsent() bool { return t.kind == absentToken || t.kind == nilToken }

// isKey tells whether t may be a map's key. JavaScript writes texts; encoders
// of other languages leave integers as they are.
func (t token) isKey() bool {
	return t.kind == textToken && utf8.Valid(t.data) || t.kind == signedToken || t.kind == unsignedToken
}

// A scanner validates values and notes what is in them.
type scanner struct {
	peer   bool // they are a server's: texts need not be UTF-8, and there are timestamps
	bytes  bool // something that as JSON is an attachment
	marked bool // an object that as JSON would look like a placeholder

	most, found int  // how much of the former there may be, and is; 0: any number
	many        bool // there is more
}

// skip returns what follows the value that b begins with, or false if there is
// no valid one. depth is how many arrays and maps may be open within it at once.
func (s *scanner) skip(b []byte, depth int) (rest []byte, ok bool) {
	t, rest := nextToken(b)
	switch t.kind {
	case badToken:
		return nil, false
	case textToken:
		return rest, s.peer || utf8.Valid(t.data)
	case binaryToken:
		return rest, s.attachment()
	case extensionToken:
		return rest, s.peer && t.isTimestamp() || s.attachment()
	case arrayToken:
		return s.elements(rest, t.n, depth-1)
	case mapToken:
		return s.members(rest, t.n, depth-1)
	}
	return rest, true
}

// attachment notes bytes. It is false if that is too much.
func (s *scanner) attachment() bool {
	s.bytes = true
	s.found++
	s.many = s.most > 0 && s.found > s.most
	return !s.many
}

func (s *scanner) elements(b []byte, n uint64, depth int) (rest []byte, ok bool) {
	if depth < 0 {
		return nil, false
	}
	for range n {
		if b, ok = s.skip(b, depth); !ok {
			return nil, false
		}
	}
	return b, true
}

func (s *scanner) members(b []byte, n uint64, depth int) (rest []byte, ok bool) {
	if depth < 0 {
		return nil, false
	}
	for range n {
		var key token
		if key, b = nextToken(b); !key.isKey() && !(s.peer && key.kind == textToken) {
			return nil, false
		}
		if string(key.data) == "_placeholder" {
			value, _ := nextToken(b)
			s.marked = s.marked || value.kind == boolToken && value.n == 1
		}
		if b, ok = s.skip(b, depth); !ok {
			return nil, false
		}
	}
	return b, true
}

// validMsgpack tells whether raw is one valid value.
func validMsgpack(raw []byte) bool {
	rest, ok := new(scanner).skip(raw, maxDepth)
	return ok && len(rest) == 0
}
