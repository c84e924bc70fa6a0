package action

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/rooms/value"
)

// A reader goes through JSON once. What is no JSON ends it; what is JSON and not what it
// should be is a fault, of which the first is kept, and is passed over.
type reader struct {
	b     []byte
	i     int
	path  []byte // of the value at b[i]
	base  int    // in path, from where on faults name members
	fault *FieldError
	err   *FieldError // b is no JSON: i is at its end
	l     Limits
}

var (
	errSyntax = errors.New("is no JSON")
	errObject = errors.New("is to be an object")
	errList   = errors.New("is to be a list")
	errText   = errors.New("is to be a text")
	errBool   = errors.New("is to be true or false")
	errTexts  = errors.New("is to be a list of texts, not null: without it, everybody is addressed")
)

// wrong notes a fault of the value at hand, unless there is one already.
func (r *reader) wrong(code Code, err error) {
	if r.fault == nil {
		r.fault = &FieldError{strings.TrimPrefix(string(r.path[r.base:]), "."), code, err}
	}
}

// syntax ends the reading.
func (r *reader) syntax() {
	if r.err == nil {
		r.err = &FieldError{strings.TrimPrefix(string(r.path), "."), Malformed, errSyntax}
	}
	r.i = len(r.b)
}

// peek returns the first byte of the next value, 0 if there is none.
func (r *reader) peek() byte {
	if r.i = value.SkipSpace(r.b, r.i); r.i == len(r.b) {
		return 0
	}
	return r.b[r.i]
}

// took passes over a punctuation mark, if it is the next.
func (r *reader) took(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.i++
	return true
}

// skip passes over a value, and returns it, with whether it was nested no deeper than
// depth; deeper is a fault.
func (r *reader) skip(depth int) (raw []byte, ok bool) {
	r.peek()
	start := r.i
	end := value.Skip(r.b, start, depth)
	if ok = end >= 0; !ok {
		if end = value.Skip(r.b, start, value.MaxDepth); end < 0 {
			r.syntax()
			return nil, false
		}
		r.wrong(TooDeep, fmt.Errorf("is nested deeper than %d", depth))
	}
	r.i = end
	return r.b[start:end:end], ok
}

// ignore passes over a value that nobody wants.
func (r *reader) ignore() { r.skip(value.MaxDepth) }

// absent passes over null, which is as if the member were not there.
func (r *reader) absent() bool {
	if r.peek() != 'n' {
		return false
	}
	r.ignore()
	return true
}

// refuse passes over a value of the wrong type.
func (r *reader) refuse(err error) {
	r.wrong(WrongType, err)
	r.ignore()
}

// within reads a value whose name or number is added to the path, behind a mark.
func (r *reader) within(mark byte, name []byte, read func()) {
	n := len(r.path)
	r.path = append(append(r.path, mark), name[:min(len(name), maxPathName)]...)
	read()
	r.path = r.path[:n]
}

const maxPathName = 64

// object reads the members of an object. Read reads the value of the one that has a
// name; false is that it does not know it.
func (r *reader) object(read func(name []byte) bool) {
	if r.peek() != '{' {
		r.refuse(errObject)
		return
	}
	r.i++
	if r.took('}') {
		return
	}
	for r.err == nil {
		quoted, _ := r.skip(1)
		if len(quoted) == 0 || quoted[0] != '"' || !r.took(':') {
			r.syntax()
			return
		}
		name, _ := value.Unquote(nil, quoted)
		r.within('.', name, func() {
			if !read(name) {
				r.ignore()
			}
		})
		if !r.took(',') {
			r.closes('}')
			return
		}
	}
}

// list reads the elements of a list, and returns how many there are; of more than most,
// a fault, the others are passed over.
func (r *reader) list(most int, read func(n int)) (n int) {
	if r.peek() != '[' {
		r.refuse(errList)
		return 0
	}
	r.i++
	if r.took(']') {
		return 0
	}
	var few [24]byte
	for n = 0; r.err == nil; {
		if n < most {
			r.within('[', append(strconv.AppendInt(few[:0], int64(n), 10), ']'), func() { read(n) })
		} else {
			r.wrong(TooMany, fmt.Errorf("has more than %d elements", most))
			r.ignore()
		}
		n++
		if !r.took(',') {
			r.closes(']')
			break
		}
	}
	return n
}

func (r *reader) closes(c byte) {
	if !r.took(c) {
		r.syntax()
	}
}

// text reads a text of so many bytes at most.
func (r *reader) text(most int) string {
	if r.peek() != '"' {
		r.refuse(errText)
		return ""
	}
	quoted, _ := r.skip(1)
	if len(quoted) == 0 {
		return ""
	}
	if text := r.unquote(quoted, most); len(text) <= most {
		return string(text)
	}
	r.wrong(TooLong, fmt.Errorf("is longer than %d bytes", most))
	return ""
}

// unquote returns a text, or one that is too long if it must be.
func (r *reader) unquote(quoted []byte, most int) []byte {
	if len(quoted) > (most+1)*len(`\u0000`)+len(`""`) {
		return quoted
	}
	text, _ := value.Unquote(nil, quoted)
	return text
}

// texts reads a list of texts, each of one byte at least.
func (r *reader) texts(most, long int) []string {
	all := []string{}
	r.list(most, func(int) {
		text := r.text(long)
		if text == "" {
			r.wrong(Malformed, errors.New("is empty"))
		}
		all = append(all, text)
	})
	return all
}

// names is texts of a list of rooms.
func (r *reader) names() []string { return r.texts(r.l.Rooms, MaxRoomName) }

// boolean reads true or false.
func (r *reader) boolean() (v bool) {
	raw, _ := r.skip(1)
	switch string(raw) {
	case "true":
		return true
	case "false":
	default:
		r.wrong(WrongType, errBool)
	}
	return false
}

// number reads one from 0 to most, with a fraction or without.
func (r *reader) number(most float64) float64 {
	c := r.peek()
	raw, _ := r.skip(1)
	if c != '-' && (c < '0' || c > '9') {
		r.wrong(WrongType, errors.New("is to be a number"))
		return 0
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(f >= 0 && f <= most) {
		r.wrong(Malformed, fmt.Errorf("is to be from 0 to %.0f", most))
		return 0
	}
	return f
}

// whole is number without a fraction other than 0.
func (r *reader) whole(most float64) int64 {
	f := r.number(most)
	if f != float64(int64(f)) {
		r.wrong(Malformed, errors.New("is no whole number"))
		return 0
	}
	return int64(f)
}

// base64 reads a list of bytes in base64, of either alphabet, padded or not.
func (r *reader) base64() (all [][]byte) {
	r.list(r.l.Attachments, func(int) {
		if r.peek() != '"' {
			r.refuse(errText)
			return
		}
		quoted, _ := r.skip(1)
		if len(quoted) == 0 {
			return
		}
		text, _ := value.Unquote(nil, quoted)
		text = bytes.TrimRight(text, "=")
		encoding := base64.RawStdEncoding
		if bytes.ContainsAny(text, "-_") {
			encoding = base64.RawURLEncoding
		}
		b, err := encoding.DecodeString(string(text))
		if err != nil || bytes.ContainsAny(text, "\r\n") {
			r.wrong(Malformed, errors.New("is no base64"))
		}
		all = append(all, b)
	})
	return all
}

// argsText reads a list of arguments and returns it as it is.
func (r *reader) argsText() []byte {
	r.peek()
	start := r.i
	r.list(MaxArgs, func(int) { r.skip(r.l.Depth - 1) })
	if r.err != nil {
		return nil
	}
	return r.b[start:r.i:r.i]
}
