package declare

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// A pattern is a template of allow: what its own asterisks stand for may be any text,
// none included. Values are literal: a * in one has been refused.
type pattern struct{ *template }

// parsePattern compiles one over the parameters of a namespace's pattern.
func parsePattern(text string, params []string, may allowed) (*pattern, error) {
	t, err := parseTemplate(text, params, may|mayAny)
	if err != nil {
		return nil, err
	}
	return &pattern{t}, nil
}

// match tells whether a name is one of the pattern's, with these values. A pattern
// whose values cannot be there has no names.
func (p *pattern) match(name []byte, v *values) bool {
	if p.fixed {
		return string(name) == p.text
	}
	var buf [maxValue]byte
	expanded, err := p.expand(buf[:0], v)
	return err == nil && matches(expanded, name)
}

// parse tells whether a template can have made a name, with whatever values, and which
// those of arguments were. What is between two values tells where each ends, since it
// has a : or a /, which they have not.
func (t *template) parse(name string) (given []given, ok bool) {
	found := t.expr().FindStringSubmatch(name)
	if found == nil {
		return nil, false
	}
	for i, p := range slices.DeleteFunc(slices.Clone(t.parts), func(p part) bool { return p.from == fromText }) {
		if p.from == fromArg {
			given = append(given, givenValue(p, found[i+1]))
		}
	}
	return given, true
}

// expr is the expression of the names that a template can make.
func (t *template) expr() *regexp.Regexp {
	t.once.Do(func() {
		var b strings.Builder
		b.WriteString(`\A`)
		for _, p := range t.parts {
			switch {
			case p.from == fromText:
				b.WriteString(regexp.QuoteMeta(p.text))
			case t.alone:
				b.WriteString(`(.+)`)
			default:
				b.WriteString(`([^:/*]+)`)
			}
		}
		t.names = regexp.MustCompile(b.String() + `\z`)
	})
	return t.names
}

// A given is what an argument was that a room's name was made of.
type given struct {
	index int
	path  []string
	text  string
}

func givenValue(p part, text string) given { return given{p.index, p.path, text} }

// matches tells whether name is what pattern makes, in which anyText stands for any
// text. Each text between two of them is looked for once, where it comes first: if
// the rest can be found at all, it can behind that. So it takes no longer than to
// look for each.
func matches(pattern, name []byte) bool {
	first := bytes.IndexByte(pattern, anyText)
	if first < 0 {
		return bytes.Equal(pattern, name)
	}
	last := bytes.LastIndexByte(pattern, anyText)
	head, tail := pattern[:first], pattern[last+1:]
	if len(name) < len(head)+len(tail) || !bytes.HasPrefix(name, head) || !bytes.HasSuffix(name, tail) {
		return false
	}
	name = name[len(head) : len(name)-len(tail)]
	for middle := pattern[first:last]; len(middle) > 0; {
		var text []byte
		text, middle = cutAny(middle[1:])
		i := bytes.Index(name, text)
		if i < 0 {
			return false
		}
		name = name[i+len(text):]
	}
	return true
}

// cutAny returns what is before the next anyText, and the rest from there.
func cutAny(b []byte) (text, rest []byte) {
	if i := bytes.IndexByte(b, anyText); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}
