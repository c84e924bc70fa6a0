package pattern

import "strings"

// A Set finds the pattern that has a name among any number of them, without looking at
// those that differ from it. The zero value is empty and ready for use.
type Set[T any] struct{ root node[T] }

// A node is where patterns go on that have the same segments up to here.
type node[T any] struct {
	literals  map[string]*node[T]
	parameter *node[T]
	wildcard  *leaf[T]
	here      *leaf[T] // ends here
}

// A leaf is a pattern with what it stands for.
type leaf[T any] struct {
	p *Pattern
	v T
}

// Add adds a pattern, in place of one that is alike, with what it stands for.
func (s *Set[T]) Add(p *Pattern, v T) {
	n := &s.root
	for _, seg := range p.segments {
		if seg.kind == wildcard {
			n.wildcard = &leaf[T]{p, v}
			return
		}
		n = n.next(seg)
	}
	n.here = &leaf[T]{p, v}
}

// next returns the node behind a segment, made if it is new.
func (n *node[T]) next(seg segment) *node[T] {
	if seg.kind == parameter {
		if n.parameter == nil {
			n.parameter = &node[T]{}
		}
		return n.parameter
	}
	if n.literals == nil {
		n.literals = map[string]*node[T]{}
	}
	if n.literals[seg.text] == nil {
		n.literals[seg.text] = &node[T]{}
	}
	return n.literals[seg.text]
}

// Find returns what the pattern stands for that has a name, with the parameters as of
// Match; of several that at place nth, from 0, in the order of Compare. It is false if
// there are not so many.
func (s *Set[T]) Find(name string, nth int) (v T, params []Param, ok bool) {
	rest, ok := strings.CutPrefix(name, "/")
	if !ok {
		return v, nil, false
	}
	f := finder[T]{name: name, nth: nth}
	ok = s.root.find(&f, rest, true)
	return f.v, f.params, ok
}

// A finder is a search in a Set.
type finder[T any] struct {
	name   string
	nth    int // to pass over
	v      T
	params []Param
}

// find looks for the pattern among those behind n; rest is what of the name is left,
// unless there is no more.
func (n *node[T]) find(f *finder[T], rest string, more bool) bool {
	switch {
	case n == nil:
		return false
	case !more:
		return f.match(n.here)
	}
	part, behind, goesOn := strings.Cut(rest, "/")
	return n.literals[part].find(f, behind, goesOn) || n.parameter.find(f, behind, goesOn) || f.match(n.wildcard)
}

// match has a pattern look at the whole name; nil has none.
func (f *finder[T]) match(l *leaf[T]) bool {
	if l == nil {
		return false
	}
	params, ok := l.p.Match(f.name)
	if !ok {
		return false
	}
	if f.nth--; f.nth >= 0 {
		return false
	}
	f.v, f.params = l.v, params
	return true
}
