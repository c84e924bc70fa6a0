package sio

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
)

// A pattern is the name of a namespace with parameters, in segments between
// slashes:
//
//	/campaigns/:id/trends    :id is any one segment
//	/public/*rest            *rest is everything behind, slashes included; last only
//
// A parameter matches at least one character. Its value is percent-decoded
// where that is possible.
type pattern struct {
	text     string
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

// parsePattern returns nil for a name without parameters. It panics if text is
// no pattern, which is a mistake of the program's.
func parsePattern(text string) *pattern {
	p := &pattern{text: text}
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

// A param is a parameter's value in the name of a live namespace.
type param struct{ name, value string }

// match returns the parameters of name, and whether the pattern has it.
func (p *pattern) match(name string) (params []param, ok bool) {
	rest, ok := strings.CutPrefix(name, "/")
	if !ok {
		return nil, false
	}
	for i, s := range p.segments {
		if s.kind == wildcard {
			if rest == "" {
				return nil, false
			}
			return append(params, param{s.text, unescape(rest)}), true
		}
		var part string
		var more bool
		part, rest, more = strings.Cut(rest, "/")
		switch {
		case more != (i < len(p.segments)-1), part == "" && s.kind == parameter, s.kind == literal && part != s.text:
			return nil, false
		case s.kind == parameter:
			params = append(params, param{s.text, unescape(part)})
		}
	}
	return params, true
}

func unescape(s string) string {
	if v, err := url.PathUnescape(s); err == nil {
		return v
	}
	return s
}

// compare orders patterns by precedence: at the first segment where their kinds
// differ, a literal goes before a parameter and that before a wildcard. For
// two that match the same name, one is always before the other, or they are
// alike but for the names of parameters.
func (p *pattern) compare(q *pattern) int {
	for i := range min(len(p.segments), len(q.segments)) {
		if c := cmp.Compare(p.segments[i].kind, q.segments[i].kind); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(p.segments), len(q.segments)) // no name matches both; any order will do
}

// alike tells whether p and q match the same names.
func (p *pattern) alike(q *pattern) bool {
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
