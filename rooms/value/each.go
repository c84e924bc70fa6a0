package value

import "bytes"

// EachMember calls f for the members of a valid JSON object, whatever white space is
// around it, with the name as JSON and the value, both views of b, until f returns
// false. It does nothing for another value.
func EachMember(b []byte, f func(name, value []byte) bool) {
	i := SkipSpace(b, 0)
	if i == len(b) || b[i] != '{' {
		return
	}
	eachMember(b, i, MaxDepth, func(name []byte, at int) int {
		end := Skip(b, at, MaxDepth)
		if end < 0 || !f(name, b[at:end]) {
			return -1
		}
		return end
	})
}

// EachElement is EachMember for the elements of an array, with their numbers.
func EachElement(b []byte, f func(n int, value []byte) bool) {
	i := SkipSpace(b, 0)
	if i == len(b) || b[i] != '[' {
		return
	}
	eachElement(b, i, MaxDepth, func(n, at int) int {
		end := Skip(b, at, MaxDepth)
		if end < 0 || !f(n, b[at:end]) {
			return -1
		}
		return end
	})
}

// mostEscaped is how many bytes of JSON one of a text can be.
const mostEscaped = len(`\u0000`)

// Says tells whether a valid JSON string is that of a text.
func Says(quoted []byte, text string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == text
	}
	if len(quoted) > mostEscaped*len(text)+2 {
		return false
	}
	var few [64]byte
	said, _ := Unquote(few[:0], quoted)
	return string(said) == text
}
