package value

import "unicode/utf8"

// Verbatim is implemented by arguments that are passed on as they were received:
// as an argument of [AppendEvent] and its kind, it stands for all of them. The texts
// are JSON, whose placeholders name the attachments.
type Verbatim interface {
	Verbatim() (args, attachments [][]byte)
}

// verbatim appends the arguments that v stands for: as several, or within an
// argument as an array of them. Their placeholders are numbered anew; attachments
// that none of them names are left out.
func (e *encoder) verbatim(v Verbatim) error {
	args, attachments := v.Verbatim()
	list := e.depth > 0
	if list {
		e.b = append(e.b, '[')
	}
	numbers := make([]int, len(attachments)) // in the new packet, and one; 0: none yet
	for i, arg := range args {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if err := e.passOn(arg, attachments, numbers); err != nil {
			return err
		}
	}
	if list {
		e.b = append(e.b, ']')
	}
	e.spread = !list && len(args) == 0
	return nil
}

// passOn appends one of them.
func (e *encoder) passOn(arg []byte, attachments [][]byte, numbers []int) error {
	if len(attachments) == 0 {
		return e.raw(arg)
	}
	if !utf8.Valid(arg) {
		return errInvalidUTF8
	}
	p := passer{encoder: encoder{b: e.b, attachments: e.attachments, places: e.places}, raw: arg, from: attachments, numbers: numbers}
	end := p.value(SkipSpace(arg, 0), MaxDepth)
	if end < 0 || SkipSpace(arg, end) != len(arg) {
		return errInvalidJSON
	}
	e.b, e.attachments, e.places = append(p.b, arg[p.copied:]...), p.attachments, p.places
	return nil
}

// A passer copies JSON with other placeholders.
type passer struct {
	encoder
	raw     []byte
	copied  int // raw[:copied] has been
	from    [][]byte
	numbers []int
}

func (p *passer) value(i, depth int) int {
	if i >= len(p.raw) {
		return -1
	}
	switch p.raw[i] {
	case '[':
		return eachElement(p.raw, i, depth, func(_, at int) int { return p.value(at, depth-1) })
	case '{':
		if n, ok := placeholderAt(p.raw, i, len(p.from)); ok {
			p.b = append(p.b, p.raw[p.copied:i]...)
			p.copied = Skip(p.raw, i, depth)
			p.place(n)
			return p.copied
		}
		return eachMember(p.raw, i, depth, func(_ []byte, at int) int { return p.value(at, depth-1) })
	}
	return Skip(p.raw, i, depth)
}

// place appends the placeholder of an attachment.
func (p *passer) place(n int) {
	if p.numbers[n] == 0 {
		p.attachments = append(p.attachments, p.from[n])
		p.numbers[n] = len(p.attachments)
	}
	p.placeholder(p.numbers[n] - 1)
}
