package declare

import (
	"bytes"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// values are where a template's values come from. It is the caller's, and may be on
// its stack.
type values struct {
	socket sio.Socket
	names  []string // by which the socket has its parameters, in the order of the pattern
	params []string // their values, in place of socket
	user   string   // "": nobody
	claims claims   // nil: none
	args   [][]byte // JSON, valid
	given  []given  // what arguments were, in place of args
}

// claims are those of a client's token.
type claims interface {
	// Claim returns the text of a claim, by its path.
	Claim(path string) (string, bool)
}

// A problem is why a value cannot be where a template has it. Its text is for the
// client, if the value is of the event's arguments.
type problem string

// Error returns the text.
func (p problem) Error() string { return string(p) }

const (
	noValue     problem = "a value is missing"
	noUser      problem = "there is no user, or no such claim"
	wrongKind   problem = "a value is no text, number or boolean"
	twice       problem = "a key is there twice"
	emptyValue  problem = "a value is empty"
	longValue   problem = "a value is longer than 256 bytes"
	badChar     problem = "a value has a character that may not be there"
	badNumber   problem = "a number is not as JavaScript writes it"
	longName    problem = "a name is longer than 1 KiB"
	likeSocket  problem = "a name looks like the id of a socket"
	anyText     byte    = 0 // a * in a pattern that is expanded: no template and no value has it
	maxValue            = 256
	maxName             = 1 << 10 // as sio has it for rooms
	maxEscapes          = 6       // bytes of JSON for a byte of text
	exactDigits         = 15
)

// expand appends the name that t makes of values.
//
// Beside other text, a value has no :, / or *, nor what cannot be seen (isSeen), so
// that it changes nothing around it: the name has as many parts between colons as
// the template. Where a template is a value alone, that may have : and /, since what
// it names is judged as a whole. It is never empty, nor longer than 256 bytes. Of
// arguments, it is text, true, false, or a number that is spelled as JavaScript spells
// it; a key on the way to it is there once. The name of a room is no socket's id.
//
// The error is a problem, and dst is then as it was, with bytes behind it.
func (t *template) expand(dst []byte, v *values) ([]byte, error) {
	start := len(dst)
	for i := range t.parts {
		p := &t.parts[i]
		switch p.from {
		case fromText:
			dst = append(dst, p.text...)
		case fromAny:
			dst = append(dst, anyText)
		default:
			at := len(dst)
			out, why := p.append(dst, v)
			if why == "" {
				why = checkValue(out[at:], t.alone)
			}
			if why != "" {
				return dst[:start], why
			}
			dst = out
		}
	}
	switch name := dst[start:]; {
	case len(name) > maxName:
		return dst[:start], longName
	case t.isRoom && isSocketID(name):
		return dst[:start], likeSocket
	}
	return dst, nil
}

// append appends the value of a part as it is, or says why there is none.
func (p *part) append(dst []byte, v *values) ([]byte, problem) {
	switch p.from {
	case fromParam:
		if v.params != nil {
			return append(dst, v.params[p.index]...), ""
		}
		return append(dst, v.socket.Param(v.names[p.index])...), ""
	case fromUser:
		if v.user == "" {
			return dst, noUser
		}
		return append(dst, v.user...), ""
	case fromClaim:
		if v.claims == nil {
			return dst, noUser
		}
		text, ok := v.claims.Claim(p.text)
		if !ok {
			return dst, noUser
		}
		return append(dst, text...), ""
	}
	for _, g := range v.given {
		if g.index == p.index && slices.Equal(g.path, p.path) {
			return append(dst, g.text...), ""
		}
	}
	if p.index >= len(v.args) {
		return dst, noValue
	}
	raw, why := find(v.args[p.index], p.path)
	if why != "" {
		return dst, why
	}
	return appendScalar(dst, raw)
}

// appendKey appends the key that t makes of the arguments of an event, with how long each
// value is, so that two keys differ if their values do. What a value has in it does not
// matter: it admits nobody.
func (t *template) appendKey(dst []byte, args [][]byte) ([]byte, problem) {
	v := values{args: args}
	for i := range t.parts {
		p := &t.parts[i]
		if p.from == fromText {
			dst = append(dst, p.text...)
			continue
		}
		at := len(dst)
		out, why := p.append(dst, &v)
		if why != "" {
			return dst, why
		}
		dst = strconv.AppendInt(append(out, ':'), int64(len(out)-at), 10)
	}
	return dst, ""
}

// checkValue says why a value may not be in a template.
func checkValue(b []byte, whole bool) problem {
	if len(b) == 0 {
		return emptyValue
	}
	if len(b) > maxValue {
		return longValue
	}
	for i := 0; i < len(b); {
		c, n := rune(b[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRune(b[i:])
		}
		if !isSeen(c) || c == '*' || !whole && (c == ':' || c == '/') {
			return badChar
		}
		i += n
	}
	return ""
}

// isFormat tells whether a character beyond ASCII is a control, a mark of direction or
// of joining, a space or an end of a line, or another that cannot be seen.
func isFormat(c rune) bool {
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Zs, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// find returns the value at a path within one of JSON. What is not on the way is
// passed over.
func find(raw []byte, path []string) ([]byte, problem) {
	for _, key := range path {
		var why problem
		switch raw[0] {
		case '{':
			raw, why = member(raw, key)
		case '[':
			raw, why = element(raw, key)
		default:
			why = noValue
		}
		if why != "" {
			return nil, why
		}
	}
	return raw, ""
}

// member returns the member of an object. A key that is there twice is refused:
// receivers of the event take the last, or the first.
func member(raw []byte, key string) (found []byte, why problem) {
	value.EachMember(raw, func(name, v []byte) bool {
		switch {
		case !value.Says(name, key):
		case found != nil:
			why = twice
			return false
		default:
			found = v
		}
		return true
	})
	if why == "" && found == nil {
		why = noValue
	}
	if why != "" {
		return nil, why
	}
	return found, ""
}

// element returns the element of an array whose number is key.
func element(raw []byte, key string) ([]byte, problem) {
	n := 0
	for _, c := range []byte(key) {
		if c < '0' || c > '9' || n > len(raw) {
			return nil, noValue
		}
		n = n*10 + int(c-'0')
	}
	var found []byte
	value.EachElement(raw, func(i int, v []byte) bool {
		if i == n {
			found = v
		}
		return i < n
	})
	if found == nil {
		return nil, noValue
	}
	return found, ""
}

// appendScalar appends the text of a value of JSON.
func appendScalar(dst, raw []byte) ([]byte, problem) {
	switch c := raw[0]; {
	case c == '"':
		if len(raw) > maxEscapes*maxValue+2 {
			return dst, longValue
		}
		if bytes.IndexByte(raw, '\\') < 0 {
			return append(dst, raw[1:len(raw)-1]...), ""
		}
		n := len(dst)
		dst = append(dst, raw...) // where the text, which is not longer, is then made
		text, _ := value.Unquote(dst[n:n:len(dst)], raw)
		return dst[:n+copy(dst[n:], text)], ""
	case c == 't', c == 'f':
		return append(dst, raw...), ""
	case c == '-' || c >= '0' && c <= '9':
		if !isPlainNumber(raw) {
			return dst, badNumber
		}
		return append(dst, raw...), ""
	}
	return dst, wrongKind
}

// isPlainNumber tells whether a number is spelled as JavaScript spells it, with so few
// digits that it is exact there: then two spellings are two numbers.
func isPlainNumber(raw []byte) bool {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	whole, part, dot := bytes.Cut(digits, []byte("."))
	switch {
	case len(whole)+len(part) > exactDigits, bytes.ContainsAny(raw, "eE"):
		return false
	case !dot:
		return string(raw) != "-0"
	}
	return part[len(part)-1] != '0' && !(string(whole) == "0" && bytes.HasPrefix(part, []byte("000000")))
}
