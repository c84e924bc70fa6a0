package identity

import (
	"encoding/base64"
	"sync"

	"github.com/sioedge/sioedge/rooms/value"
)

// A scratch is memory that judging one token needs and the next one can have: what comes
// of it, but for the views in a judgement, has none of it. The zero value is ready for
// use.
type scratch struct {
	text   []byte // of a part, or of what is signed
	parts  []byte // decoded, one behind the other
	sum    []byte
	claims object
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// mostScratch is what may be kept, in bytes: it is enough for tokens of 8 KiB.
const mostScratch = 16 << 10

// done gives a scratch back: whoever has views of it is done too.
func (s *scratch) done() {
	if cap(s.text)+cap(s.parts) > mostScratch {
		return
	}
	clear(s.claims)
	s.text, s.parts, s.sum, s.claims = s.text[:0], s.parts[:0], s.sum[:0], s.claims[:0]
	scratches.Put(s)
}

var strict = base64.RawURLEncoding.Strict()

// decode decodes a part of a token.
func (s *scratch) decode(part string) ([]byte, error) {
	from := len(s.parts)
	s.text = append(s.text[:0], part...)
	all, err := strict.AppendDecode(s.parts, s.text)
	if err != nil {
		return nil, err
	}
	s.parts = all
	return all[from:len(all):len(all)], nil
}

// object decodes a part of a token that is a JSON object.
func (s *scratch) object(what, part string) ([]byte, *Refusal) {
	b, err := s.decode(part)
	if err != nil {
		return nil, refuse(Malformed, "", "the %s is not base64url", what)
	}
	if len(b) == 0 {
		return nil, refuse(Malformed, "", "the %s is empty", what)
	}
	if err := checkObject(b); err != nil {
		return nil, refuse(Malformed, "", "the %s %v", what, err)
	}
	return b, nil
}

// An object is the members of a JSON object, found in one walk through it.
type object []struct{ name, value []byte }

// read replaces what is in o by the members of an object, which are views of b.
func (o object) read(b []byte) object {
	o = o[:0]
	value.EachMember(b, func(quoted, v []byte) bool {
		name, _ := value.Unquote(nil, quoted)
		o = append(o, struct{ name, value []byte }{name, v})
		return true
	})
	return o
}

// member returns a member of an object, nil if there is none.
func (o object) member(name string) []byte {
	for i := range o {
		if string(o[i].name) == name {
			return o[i].value
		}
	}
	return nil
}

// lookUp returns the value of a claim, nil if there is none. Path is the claim's name,
// or, where there is no claim of that name, has dots between a name and what is in it:
// names may have dots of their own, as those that are URLs do.
func (o object) lookUp(path string) []byte {
	if v := o.member(path); v != nil {
		return v
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if v := o.member(path[:i]); v != nil {
			if x := object(nil).read(v).lookUp(path[i+1:]); x != nil {
				return x
			}
		}
	}
	return nil
}
