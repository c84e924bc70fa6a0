package value

import (
	"bytes"
	"strconv"
)

// A resolver replaces the placeholders within a JSON value, or only checks
// them. An object is a placeholder if its member "_placeholder" is true,
// whatever else it has, as for socket.io-parser.
type resolver struct {
	b     []byte
	texts []string // what stands for attachment i; nil: only check
	out   []byte   // b[:from] with the replacements made so far
	from  int
	found bool
	err   error
	uses  []uint8 // how often each attachment was named
}

// maxUses is how often one attachment may be named. Encoders name each once;
// without a bound a small packet could ask for one large attachment thousands
// of times, each a copy.
const maxUses = 4

func newResolver(b []byte, attachments int) *resolver {
	return &resolver{b: b, uses: make([]uint8, attachments)}
}

// CheckPlaceholders reports placeholders in the valid JSON b that name none of
// n attachments.
func CheckPlaceholders(b []byte, n, depth int) error {
	r := newResolver(b, n)
	r.value(0, depth)
	return r.err
}

// value resolves the value at b[i] and returns the index after it. It returns
// -1 if there is none, or after a bad placeholder with err set.
func (r *resolver) value(i, depth int) int {
	if i >= len(r.b) {
		return -1
	}
	switch r.b[i] {
	case '[':
		return eachElement(r.b, i, depth, func(_, at int) int { return r.value(at, depth-1) })
	case '{':
		return r.object(i, depth)
	}
	return Skip(r.b, i, depth)
}

func (r *resolver) object(i, depth int) int {
	done, from := len(r.out), r.from
	var p placeholder
	end := eachMember(r.b, i, depth, func(key []byte, at int) int {
		end := r.value(at, depth-1)
		p.member(key, r.b, at, end)
		return end
	})
	if end < 0 || !p.marked {
		return end
	}
	n, ok := p.number(len(r.uses))
	if !ok || r.uses[n] == maxUses {
		r.err = ErrPlaceholder
		return -1
	}
	r.uses[n]++
	r.found = true
	if r.texts != nil { // what was replaced within goes with it
		r.out = append(append(r.out[:done], r.b[from:i]...), r.texts[n]...)
		r.from = end
	}
	return end
}

// A placeholder gathers what makes an object one.
type placeholder struct {
	marked bool
	num    []byte
}

// member notes a member of the object: its key as JSON, its value b[at:end].
func (p *placeholder) member(key, b []byte, at, end int) {
	if end < 0 {
		return
	}
	if bytes.IndexByte(key, '\\') >= 0 {
		name, _ := Unquote(nil, key)
		key = AppendJSONText(nil, string(name))
	}
	switch string(key) {
	case `"_placeholder"`:
		p.marked = string(b[at:end]) == "true"
	case `"num"`:
		p.num = b[at:end]
	}
}

// number returns which of n attachments the placeholder names. Some encoders
// write every number with a fraction, so 1.0 is taken for 1.
func (p *placeholder) number(n int) (i int, ok bool) {
	f, err := strconv.ParseFloat(string(p.num), 64)
	if err != nil || !(f >= 0 && f < float64(n)) || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}

// placeholderAt returns which of n attachments the value at b[i] names, if it
// is a placeholder.
func placeholderAt(b []byte, i, n int) (num int, ok bool) {
	if i >= len(b) || b[i] != '{' {
		return 0, false
	}
	var p placeholder
	end := eachMember(b, i, MaxDepth, func(key []byte, at int) int {
		end := Skip(b, at, MaxDepth-1)
		p.member(key, b, at, end)
		return end
	})
	if end < 0 || !p.marked {
		return 0, false
	}
	return p.number(n)
}

// eachMember calls f for each member of the object at b[i], with the key as
// JSON and where its value begins; f returns where that ends, or -1 to stop.
// It returns the index after the object, or -1 if f or the syntax says so.
func eachMember(b []byte, i, depth int, f func(key []byte, at int) int) int {
	if depth <= 0 {
		return -1
	}
	if i = SkipSpace(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return -1
		}
		start := i
		if i = skipString(b, i+1); i < 0 {
			return -1
		}
		key := b[start:i]
		if i = SkipSpace(b, i); i >= len(b) || b[i] != ':' {
			return -1
		}
		if i = f(key, SkipSpace(b, i+1)); i < 0 {
			return -1
		}
		if i = SkipSpace(b, i); i >= len(b) || b[i] != ',' {
			return closing(b, i, '}')
		}
		i = SkipSpace(b, i+1)
	}
}

// eachElement calls f for each element of the array at b[i], with its number
// and where it begins. Otherwise it is like eachMember.
func eachElement(b []byte, i, depth int, f func(n, at int) int) int {
	if depth <= 0 {
		return -1
	}
	if i = SkipSpace(b, i+1); i < len(b) && b[i] == ']' {
		return i + 1
	}
	for n := 0; ; n++ {
		if i = f(n, i); i < 0 {
			return -1
		}
		if i = SkipSpace(b, i); i >= len(b) || b[i] != ',' {
			return closing(b, i, ']')
		}
		i = SkipSpace(b, i+1)
	}
}

func closing(b []byte, i int, c byte) int {
	if i >= len(b) || b[i] != c {
		return -1
	}
	return i + 1
}

// AppendJSONWithBuffers appends the JSON value text with its attachments in
// place of their placeholders, each as JSON.stringify writes a Buffer of Node:
// {"type":"Buffer","data":[1,2]}. The errors are those of
// [AppendMsgpackFromJSON]; dst is then returned as it was.
func AppendJSONWithBuffers(dst, text []byte, attachments [][]byte) ([]byte, error) {
	var texts []string
	for _, a := range attachments {
		b := append(make([]byte, 0, 32+4*len(a)), `{"type":"Buffer","data":[`...)
		for i, c := range a {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(c), 10)
		}
		texts = append(texts, string(append(b, `]}`...)))
	}
	return AppendJSONReplaced(dst, text, texts)
}

// AppendJSONReplaced appends the JSON value text with texts[i] in place of each
// placeholder of attachment i, of which there are as many as texts. The errors are
// those of [AppendMsgpackFromJSON]; dst is then returned as it was.
func AppendJSONReplaced(dst, text []byte, texts []string) ([]byte, error) {
	if len(texts) == 0 { // a placeholder is data like any other
		if end := Skip(text, SkipSpace(text, 0), MaxDepth); end < 0 || SkipSpace(text, end) != len(text) {
			return dst, ErrSyntax
		}
		return append(dst, text...), nil
	}
	r := newResolver(text, len(texts))
	r.texts = texts
	end := r.value(SkipSpace(text, 0), MaxDepth)
	switch {
	case r.err != nil:
		return dst, r.err
	case end < 0 || SkipSpace(text, end) != len(text):
		return dst, ErrSyntax
	}
	return append(append(dst, r.out...), text[r.from:]...), nil
}
