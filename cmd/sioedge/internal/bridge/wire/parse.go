package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// A Reader goes through the messages of a batch.
type Reader struct {
	from Side
	left int
	b    []byte
}

// ParseBatch parses the head of a batch that a side has sent. The Reader and what it reads
// are views of b. The error is an *Error.
func ParseBatch(b []byte, from Side) (ack uint64, r Reader, err error) {
	p := parser{b: b}
	n, err := p.array()
	if err != nil {
		return 0, Reader{}, err
	}
	if n == 0 {
		return 0, Reader{}, p.fail("is empty")
	}
	p.member = "ack"
	if ack, err = p.number(); err != nil {
		return 0, Reader{}, err
	}
	if n == 1 && len(p.b) > 0 {
		p.member = ""
		return 0, Reader{}, p.fail("has bytes behind it")
	}
	return ack, Reader{from, n - 1, p.b}, nil
}

// Len returns how many messages are left, with those that this side does not know.
func (r *Reader) Len() int { return r.left }

// Next parses the next message of a kind that is known into m, and is false if there is
// none. The error is an *Error, and nothing can be read behind it.
func (r *Reader) Next(m *Message) (ok bool, err error) {
	for r.left > 0 && !ok {
		p := parser{b: r.b}
		if ok, err = p.message(m, r.from); err != nil {
			r.left = 0
			return false, err
		}
		r.left--
		r.b = p.b
		if r.left == 0 && len(r.b) > 0 {
			return false, &Error{What: "has bytes behind it"}
		}
	}
	return ok, nil
}

// A parser has what is left of a batch, and where it is for its errors.
type parser struct {
	b      []byte
	kind   Kind
	member string
}

func (p *parser) fail(what string) error { return &Error{p.kind, p.member, what} }

// message parses one message. It is false for a kind that is not known.
func (p *parser) message(m *Message, from Side) (known bool, err error) {
	p.member = "message"
	n, err := p.array()
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, p.fail("is empty")
	}
	kind, err := p.number()
	if err != nil {
		return false, err
	}
	n--
	if kind >= uint64(len(layouts)) || layouts[kind].name == "" {
		return false, p.skip(n)
	}
	p.kind, p.member = Kind(kind), ""
	if p.kind.Side() != from {
		return false, p.fail("is not of this side")
	}
	*m = Message{Kind: p.kind, ID: None}
	for _, f := range layouts[kind].fields {
		p.member = f.member.name()
		switch {
		case f.member == mBins:
			m.Bins, err = p.bins(n)
			n = 0
		case n == 0 && f.needed:
			return false, p.fail("is missing")
		case n == 0:
		default:
			n--
			if f.needed || !p.null() {
				err = p.read(f.member, m)
			}
		}
		if err != nil {
			return false, err
		}
	}
	p.member = "further members"
	return true, p.skip(n)
}

// null takes a nil, if there is one.
func (p *parser) null() bool {
	if !msgp.IsNil(p.b) {
		return false
	}
	p.b = p.b[1:]
	return true
}

// number takes a whole number, zero or greater, that JavaScript can count to.
func (p *parser) number() (uint64, error) {
	n, b, err := msgp.ReadUint64Bytes(p.b)
	if err != nil || n > maxNumber {
		return 0, p.fail("is no number from 0 to 2^53-1")
	}
	p.b = b
	return n, nil
}

func (p *parser) bool() (bool, error) {
	v, b, err := msgp.ReadBoolBytes(p.b)
	if err != nil {
		return false, p.fail("is no boolean")
	}
	p.b = b
	return v, nil
}

// text takes a text, as a view.
func (p *parser) text() ([]byte, error) {
	t, b, err := msgp.ReadStringZC(p.b)
	if err != nil {
		return nil, p.fail("is no text")
	}
	if !utf8.Valid(t) {
		return nil, p.fail("is not UTF-8")
	}
	p.b = b
	return t[:len(t):len(t)], nil
}

func (p *parser) string() (string, error) {
	t, err := p.text()
	return string(t), err
}

// cloned takes a text and copies it. It is not nil.
func (p *parser) cloned() ([]byte, error) {
	t, err := p.text()
	return append([]byte{}, t...), err
}

// bin takes binary data, as a view.
func (p *parser) bin() ([]byte, error) {
	t, b, err := msgp.ReadBytesZC(p.b)
	if err != nil {
		return nil, p.fail("is not binary")
	}
	p.b = b
	return t[:len(t):len(t)], nil
}

// array takes the head of an array whose elements may all be there.
func (p *parser) array() (n int, err error) {
	sz, b, err := msgp.ReadArrayHeaderBytes(p.b)
	if err != nil {
		return 0, p.fail("is no array")
	}
	if uint64(sz) > uint64(len(b)) {
		return 0, p.fail("has fewer bytes than elements")
	}
	p.b = b
	return int(sz), nil
}

// texts takes an array of texts, as a view.
func (p *parser) texts() (Texts, error) {
	n, err := p.array()
	raw := p.b
	for range n {
		if _, err = p.text(); err != nil {
			return Texts{}, err
		}
	}
	return Texts{n, raw[:len(raw)-len(p.b)]}, err
}

// strings takes an array of texts. It is not nil.
func (p *parser) strings() ([]string, error) {
	t, err := p.texts()
	return t.Strings(), err
}

// bins takes n binary values, as a view.
func (p *parser) bins(n int) (Bins, error) {
	raw := p.b
	for range n {
		if _, err := p.bin(); err != nil {
			return Bins{}, err
		}
	}
	return Bins{n, raw[:len(raw)-len(p.b)]}, nil
}

// each takes a map, calling f behind each name whose value is not nil. F takes the value,
// or is false for a name that it does not know.
func (p *parser) each(f func(name []byte) (known bool, err error)) error {
	in := p.member
	sz, b, err := msgp.ReadMapHeaderBytes(p.b)
	if err != nil {
		return p.fail("is no map")
	}
	if 2*uint64(sz) > uint64(len(b)) {
		return p.fail("has fewer bytes than members")
	}
	p.b = b
	for range sz {
		p.member = in + "'s names"
		name, err := p.text()
		if err != nil {
			return err
		}
		p.member = in + "." + strings.ToValidUTF8(string(name[:min(len(name), 32)]), "")
		if p.null() {
			continue
		}
		known, err := f(name)
		if err == nil && !known {
			err = p.skip(1)
		}
		if err != nil {
			return err
		}
	}
	p.member = in
	return nil
}

// skip takes n values of any kind.
func (p *parser) skip(n int) error {
	for range n {
		b, ok := skip(p.b, maxDepth)
		if !ok {
			return p.fail("is broken, or nested too deep")
		}
		p.b = b
	}
	return nil
}

func skip(b []byte, depth int) (rest []byte, ok bool) {
	var n uint32
	var err error
	switch msgp.NextType(b) {
	case msgp.ArrayType:
		n, b, err = msgp.ReadArrayHeaderBytes(b)
	case msgp.MapType:
		n, b, err = msgp.ReadMapHeaderBytes(b)
		if uint64(n)*2 > uint64(len(b)) {
			return nil, false
		}
		n *= 2
	default:
		b, err = msgp.Skip(b)
		return b, err == nil
	}
	if err != nil || depth == 0 || uint64(n) > uint64(len(b)) {
		return nil, false
	}
	for range n {
		if b, ok = skip(b, depth-1); !ok {
			return nil, false
		}
	}
	return b, true
}
