package value

import (
	"bytes"
	"slices"
)

// neutralise takes the mark from the objects in the payload b that receivers
// would take for placeholders and that are none of ours, which begin at places,
// counted from base before b: true becomes null. Anybody can send such an object
// as data, where there are no attachments; relayed beside some it would stand for
// one of them, or for one that is not there, on which clients disconnect. Where it
// came from as part of a packet with attachments, it names one of those.
func neutralise(b []byte, base int, places []int) {
	mark := []byte("_placeholder")
	if bytes.Count(b, mark) == len(places) && !bytes.Contains(b, []byte(`\u`)) {
		return // no other, nor one that is hidden by escapes
	}
	n := neutraliser{b, base, places}
	eachElement(b, 0, MaxDepth, func(_, at int) int { return n.value(at) })
}

type neutraliser struct {
	b      []byte
	base   int
	places []int
}

// value looks at the value at b[i] and returns the index after it. The depth of
// valid JSON was bounded when it was appended.
func (n *neutraliser) value(i int) int {
	switch n.b[i] {
	case '[':
		return eachElement(n.b, i, MaxDepth, func(_, at int) int { return n.value(at) })
	case '{':
		_, own := slices.BinarySearch(n.places, n.base+i)
		return eachMember(n.b, i, MaxDepth, func(key []byte, at int) int {
			end := n.value(at)
			if !own && string(n.b[at:end]) == "true" && isMark(key) {
				copy(n.b[at:end], "null")
			}
			return end
		})
	}
	return Skip(n.b, i, MaxDepth)
}

// isMark tells whether a key, as JSON, is that of a placeholder's mark.
func isMark(key []byte) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key) == `"_placeholder"`
	}
	name, _ := Unquote(nil, key)
	return string(name) == "_placeholder"
}
