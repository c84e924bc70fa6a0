package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sioedge/sioedge/rooms/value"
)

// Tokens are read by what stands in them and not by reflection: a name is compared
// letter for letter, and one that comes twice is an error (RFC 7519, section 4, leaves
// open which counts, and so two programs may read two tokens).

const (
	maxDepth   = 16  // of JSON in a token
	maxMembers = 256 // of one object in it
)

var (
	errNoObject = errors.New("is not a JSON object")
	errJSON     = errors.New("is not valid JSON")
	errDepth    = fmt.Errorf("is nested more than %d deep", maxDepth)
	errMembers  = fmt.Errorf("has an object with more than %d members", maxMembers)
)

// checkObject tells what is wrong with b as an object of a token: all other functions
// here are for JSON that has passed it.
func checkObject(b []byte) error {
	if err := checkDepth(b); err != nil {
		return err
	}
	if !json.Valid(b) || !utf8.Valid(b) {
		return errJSON
	}
	if i := value.SkipSpace(b, 0); b[i] != '{' {
		return errNoObject
	}
	return checkUnique(b)
}

// checkDepth bounds brackets within brackets, in whatever b is.
func checkDepth(b []byte) error {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return errDepth
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// checkUnique looks for names that come twice in one object, at any depth.
func checkUnique(b []byte) error {
	var names [8][]byte // of most objects: more go into a map
	var more map[string]bool
	n, object := 0, b[value.SkipSpace(b, 0)] == '{'
	return each(b, func(name, value []byte) error {
		if object {
			if n == maxMembers {
				return errMembers
			}
			twice := more[string(name)]
			for _, x := range names[:min(n, len(names))] {
				twice = twice || bytes.Equal(x, name)
			}
			if twice {
				return fmt.Errorf("has %q twice", name)
			}
			if n < len(names) {
				names[n] = name
			} else {
				if more == nil {
					more = map[string]bool{}
				}
				more[string(name)] = true
			}
			n++
		}
		if c := value[0]; c == '{' || c == '[' {
			return checkUnique(value)
		}
		return nil
	})
}

// each calls f for each member of an object, or with nil for each item of an array; the
// values are views, and so are names without escapes. It does nothing for any other
// value.
func each(b []byte, f func(name, value []byte) error) (err error) {
	value.EachMember(b, func(quoted, v []byte) bool {
		name, _ := value.Unquote(nil, quoted)
		err = f(name, v)
		return err == nil
	})
	value.EachElement(b, func(_ int, v []byte) bool {
		err = f(nil, v)
		return err == nil
	})
	return err
}

// text decodes a string.
func text(b []byte) string {
	s, _ := value.Unquote(nil, b)
	return string(s)
}

// isText tells whether a value is a string.
func isText(b []byte) bool { return len(b) > 0 && b[0] == '"' }

// member returns a member of an object, nil if there is none.
func member(b []byte, name string) (found []byte) {
	value.EachMember(b, func(quoted, v []byte) bool {
		if value.Says(quoted, name) {
			found = v
		}
		return true
	})
	return found
}
