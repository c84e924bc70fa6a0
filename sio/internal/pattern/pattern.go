// Package pattern has the names of namespaces with parameters: /campaigns/:id/trends.
package pattern

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Pattern is the name of a namespace with parameters, in segments between
// slashes:
//
//	/campaigns/:id/trends    :id is any one segment
//	/public/*rest            *rest is everything behind, slashes included; last only
//
// A parameter matches at least one character. Its value is percent-decoded; a
// name in which it is not spelled in the one way that a value has, see decode, is
// not matched.
type Pattern struct {
	text     string // as it was parsed
	segments []segment
}

type segment struct {
	kind kind
	text string // the literal, or the parameter's name
}

// The kinds of segments, in the order of precedence.
type kind uint8

const (
	literal kind = iota
	parameter
	wildcard
)

// Parse returns the pattern that text is, nil for a name without parameters. It
// panics if text is no pattern, which is a mistake of the program's.
func Parse(text string) *Pattern {
	p := &Pattern{text: text}
	names := map[string]bool{}
	plain := true
	parts := strings.Split(strings.TrimPrefix(text, "/"), "/")
	for i, part := range parts {
		s := segment{literal, part}
		if part != "" && (part[0] == ':' || part[0] == '*') {
			s = segment{parameter, part[1:]}
			if part[0] == '*' {
				s.kind = wildcard
			}
			plain = false
			switch {
			case s.text == "":
				panic(fmt.Sprintf("sio: namespace %s has a parameter without a name", text))
			case names[s.text]:
				panic(fmt.Sprintf("sio: namespace %s has two parameters called %s", text, s.text))
			case s.kind == wildcard && i < len(parts)-1:
				panic(fmt.Sprintf("sio: namespace %s goes on behind *%s", text, s.text))
			}
			names[s.text] = true
		}
		p.segments = append(p.segments, s)
	}
	if plain {
		return nil
	}
	return p
}

// A Param is a parameter's Name, and its Value in the name of a live namespace.
type Param struct{ Name, Value string }

// Value returns the value of the parameter of a name, "" if there is none.
func Value(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Match returns the parameters of name in the order of the pattern, and whether it
// has the name.
func (p *Pattern) Match(name string) (params []Param, ok bool) {
	rest, ok := strings.CutPrefix(name, "/")
	if !ok {
		return nil, false
	}
	for i, s := range p.segments {
		if s.kind == wildcard {
			if rest == "" {
				return nil, false
			}
			value, ok := decode(rest)
			return append(params, Param{s.text, value}), ok
		}
		var part string
		var more bool
		part, rest, more = strings.Cut(rest, "/")
		switch {
		case more != (i < len(p.segments)-1), part == "" && s.kind == parameter, s.kind == literal && part != s.text:
			return nil, false
		case s.kind == parameter:
			value, ok := decode(part)
			if !ok {
				return nil, false
			}
			params = append(params, Param{s.text, value})
		}
	}
	return params, true
}

// decode returns the value of a parameter, or of several segments. It is false
// for what is not the one spelling of a value: escaped is what cannot stand in a
// path of an IRI by itself, in capital letters, and nothing else; a slash, a
// backslash and control characters are in no value, and no segment is "." or "..".
func decode(s string) (value string, ok bool) {
	value, err := url.PathUnescape(s)
	if err != nil || !utf8.ValidString(value) || encode(value) != s {
		return "", false
	}
	for part := range strings.SplitSeq(value, "/") {
		if part == "." || part == ".." {
			return "", false
		}
	}
	return value, !strings.ContainsFunc(value, func(c rune) bool { return c == '\\' || unicode.IsControl(c) })
}

// encode is the spelling that decode takes. A slash is one between segments.
func encode(value string) string {
	const plain = "-._~!$&'()*+;=:@/" // with letters and digits: ipchar but for the comma
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		if c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Compare orders patterns by precedence: at the first segment where their kinds
// differ, a literal goes before a parameter and that before a wildcard. For
// two that match the same name, one is always before the other, or they are
// alike but for the names of parameters.
func (p *Pattern) Compare(q *Pattern) int {
	for i := range min(len(p.segments), len(q.segments)) {
		if c := cmp.Compare(p.segments[i].kind, q.segments[i].kind); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(p.segments), len(q.segments)) // no name matches both; any order will do
}

// Alike tells whether p and q match the same names.
func (p *Pattern) Alike(q *Pattern) bool {
	if len(p.segments) != len(q.segments) {
		return false
	}
	for i, s := range p.segments {
		if t := q.segments[i]; s.kind != t.kind || s.kind == literal && s.text != t.text {
			return false
		}
	}
	return true
}
