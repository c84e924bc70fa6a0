package value

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// A TokenKind is what a Token is, in the terms of notepack.io, which gives some
// extensions of type 0 a meaning.
type TokenKind byte

// The kinds of tokens.
const (
	BadToken    TokenKind = iota // malformed, or cut short
	AbsentToken                  // undefined: an extension of type 0 and one byte
	NilToken
	BoolToken      // N is 0 or 1
	SignedToken    // N is the int64
	UnsignedToken  // N is the uint64, too large for an int64
	FloatToken     // N is the float64's bits
	TextToken      // Data is the text
	BinaryToken    // Data is the bytes; also an extension of type 0 with a length
	DateToken      // N is an int64, ms since 1970: an extension of type 0 and eight bytes
	ExtensionToken // N is the type, an int8, and Data the bytes
	ArrayToken     // N elements follow
	MapToken       // N keys and values follow
)

// A Token is a MessagePack value, or the head of an array or a map.
type Token struct {
	Kind TokenKind
	N    uint64
	Data []byte
}

// NextToken reads the token that b begins with, and returns what follows.
func NextToken(b []byte) (t Token, rest []byte) {
	if overlong(b) {
		return Token{}, nil
	}
	var err error
	switch msgp.NextType(b) {
	case msgp.InvalidType:
		return Token{}, nil
	case msgp.StrType:
		t.Kind = TextToken
		t.Data, rest, err = msgp.ReadStringZC(b)
	case msgp.BinType:
		t.Kind = BinaryToken
		t.Data, rest, err = msgp.ReadBytesZC(b)
	case msgp.NilType:
		t.Kind = NilToken
		rest, err = msgp.ReadNilBytes(b)
	case msgp.BoolType:
		var v bool
		v, rest, err = msgp.ReadBoolBytes(b)
		t.Kind = BoolToken
		if v {
			t.N = 1
		}
	case msgp.ArrayType:
		var n uint32
		n, rest, err = msgp.ReadArrayHeaderBytes(b)
		t = Token{Kind: ArrayToken, N: uint64(n)}
	case msgp.MapType:
		var n uint32
		n, rest, err = msgp.ReadMapHeaderBytes(b)
		t = Token{Kind: MapToken, N: uint64(n)}
	case msgp.IntType:
		var v int64
		v, rest, err = msgp.ReadInt64Bytes(b)
		t = Token{Kind: SignedToken, N: uint64(v)}
	case msgp.UintType:
		t.N, rest, err = msgp.ReadUint64Bytes(b)
		t.Kind = SignedToken
		if t.N > math.MaxInt64 {
			t.Kind = UnsignedToken
		}
	case msgp.Float32Type, msgp.Float64Type:
		var v float64
		v, rest, err = msgp.ReadFloat64Bytes(b)
		t = Token{Kind: FloatToken, N: math.Float64bits(v)}
	default:
		return nextExtension(b)
	}
	if err != nil {
		return Token{}, nil
	}
	t.Data = t.Data[:len(t.Data):len(t.Data)]
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
func nextExtension(b []byte) (t Token, rest []byte) {
	rest, err := msgp.Skip(b)
	if err != nil {
		return Token{}, nil
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
		return Token{Kind: BinaryToken, Data: data}, rest
	case typ == 0 && len(data) == 1:
		return Token{Kind: AbsentToken}, rest
	case typ == 0 && len(data) == 8:
		return Token{Kind: DateToken, N: binary.BigEndian.Uint64(data)}, rest
	}
	return Token{ExtensionToken, uint64(typ), data}, rest
}

// isTimestamp tells whether t is a timestamp of the MessagePack specification.
func (t Token) isTimestamp() bool {
	if t.Kind != ExtensionToken || int8(t.N) != -1 {
		return false
	}
	return len(t.Data) == 4 || len(t.Data) == 8 || len(t.Data) == 12
}

// timestamp returns the ms since 1970 that a JavaScript date makes of t, a
// timestamp, or false if it cannot be one.
func (t Token) timestamp() (ms int64, ok bool) {
	var seconds, nanos float64
	switch b := t.Data; len(b) {
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

func (t Token) float() float64 { return math.Float64frombits(t.N) }

// Elements is how many elements follow t as the head of an array.
func (t Token) Elements() uint64 {
	if t.Kind != ArrayToken {
		return 0
	}
	return t.N
}

// Absent tells whether t means that a member of a packet is not there.
func (t Token) Absent() bool { return t.Kind == AbsentToken || t.Kind == NilToken }

// IsKey tells whether t may be a map's key. JavaScript writes texts; encoders
// of other languages leave integers as they are.
func (t Token) IsKey() bool {
	return t.Kind == TextToken && utf8.Valid(t.Data) || t.Kind == SignedToken || t.Kind == UnsignedToken
}

// MaxExact is the largest integer up to which JavaScript's numbers are exact.
const MaxExact = 1<<53 - 1

// AppendNumber appends the number t as JSON. It returns false for what has
// none, not a number and the infinities.
func (t Token) AppendNumber(dst []byte) ([]byte, bool) {
	switch t.Kind {
	case SignedToken:
		return strconv.AppendInt(dst, int64(t.N), 10), true
	case UnsignedToken:
		return strconv.AppendUint(dst, t.N, 10), true
	}
	f := t.float()
	if f == 0 {
		f = 0 // JSON.stringify knows no negative zero
	}
	out, err := appendFloat(dst, f, 64)
	return out, err == nil
}

// number returns the value of t if that is a finite number.
func (t Token) number() (f float64, ok bool) {
	switch t.Kind {
	case SignedToken:
		return float64(int64(t.N)), true
	case UnsignedToken:
		return float64(t.N), true
	case FloatToken:
		f = t.float()
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return 0, false
}

// Integer returns t as an integer that is not negative, also one written as a
// floating point number.
func (t Token) Integer() (n uint64, ok bool) {
	switch t.Kind {
	case SignedToken:
		return t.N, int64(t.N) >= 0
	case UnsignedToken:
		return t.N, true
	case FloatToken:
		f := t.float()
		if f >= 0 && f <= MaxExact && f == math.Trunc(f) {
			return uint64(f), true
		}
	}
	return 0, false
}
