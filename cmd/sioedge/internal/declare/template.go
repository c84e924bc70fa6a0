package declare

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A template is text with values in braces, of a room, a permission, a key:
//
//	campaign:{id}              a parameter of the namespace's pattern
//	user:{user}                who the client is
//	org:{claims.org.id}        a claim of its token
//	trend:{args.0.symbol}      an argument of the event, or what is in it
//
// It is compiled once. What a value may be is said at expand: none changes what
// stands around it. Immutable.
type template struct {
	text   string // as it was declared
	parts  []part
	fixed  bool // there is nothing but text
	alone  bool // it is one value
	isRoom bool // it makes names of rooms

	once  sync.Once
	names *regexp.Regexp // those that it can make
}

// A part of a template is text, or where a value comes from.
type part struct {
	from  source
	text  string   // the text; the name of the parameter or claim, without "claims."
	index int      // of the parameter in the pattern, of the argument
	path  []string // to the value in the argument
}

// A source is where a part comes from.
type source uint8

const (
	fromText source = iota
	fromParam
	fromUser
	fromClaim
	fromArg
	fromAny // the * of a pattern: any text
)

// What a template may have, by what it is for.
type allowed uint8

const (
	mayUser allowed = 1 << iota // the user, and claims
	mayArgs
	mayAny // *
	isRoom // what it makes is the name of a room
	isKey  // what it makes admits nobody: values need nothing between them
)

const (
	// maxTemplate bounds a template, in bytes, and maxPath how deep in an argument a
	// value may be.
	maxTemplate = 256
	maxPath     = 8
)

var (
	errNoUser   = errors.New("nobody has a user or claims where auth is none")
	errNoArgs   = errors.New("there are no arguments here")
	errNoAny    = errors.New("a * may be in patterns of allow alone")
	errBraces   = errors.New("a brace is not closed, or not opened")
	errEmpty    = errors.New("is empty")
	errLong     = fmt.Errorf("has more than %d bytes", maxTemplate)
	errText     = errors.New("has a control character, or one that cannot be seen")
	errBeside   = errors.New("two values need a : or a / between them, or others have the same name")
	errSocketID = errors.New("looks like the id of a socket, which is a room of its own")
)

// parseTemplate compiles a template over the parameters of a pattern.
func parseTemplate(text string, params []string, may allowed) (*template, error) {
	t := &template{text: text}
	switch {
	case text == "":
		return nil, errEmpty
	case len(text) > maxTemplate:
		return nil, errLong
	}
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}*")
		if open < 0 {
			open = len(rest)
		}
		if open > 0 {
			t.parts = append(t.parts, part{text: rest[:open]})
			if rest = rest[open:]; rest == "" {
				break
			}
		}
		p, n, err := parsePart(rest, params, may)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, p)
		rest = rest[n:]
	}
	t.fixed = !slices.ContainsFunc(t.parts, func(p part) bool { return p.from != fromText })
	t.alone, t.isRoom = len(t.parts) == 1 && !t.fixed, may&isRoom != 0
	return t, t.check(may)
}

// parsePart compiles the value or the * that text begins with, and returns its length.
func parsePart(text string, params []string, may allowed) (p part, n int, err error) {
	if text[0] == '*' {
		if may&mayAny == 0 {
			return p, 0, errNoAny
		}
		return part{from: fromAny}, 1, nil
	}
	end := strings.IndexAny(text[1:], "{}") + 1
	if text[0] == '}' || end == 0 || text[end] == '{' {
		return p, 0, errBraces
	}
	p, err = parseValue(text[1:end], params, may)
	return p, end + 1, err
}

// parseValue compiles what is between the braces of a value.
func parseValue(name string, params []string, may allowed) (p part, err error) {
	words := strings.Split(name, ".")
	switch {
	case name == "user":
		p, err = part{from: fromUser}, may.user()
	case words[0] == "claims" && len(words) > 1:
		p, err = part{from: fromClaim, text: name[len("claims."):]}, may.user()
	case words[0] == "args" && len(words) > 1:
		p, err = argument(words[1:], may)
	case slices.Contains(params, name):
		p = part{from: fromParam, text: name, index: slices.Index(params, name)}
	default:
		err = fmt.Errorf("{%s} is no parameter of the pattern, nor user, claims.NAME or args.N", name)
	}
	if err == nil && p.from != fromParam && slices.ContainsFunc(words, func(w string) bool { return !isWord(w) }) {
		err = fmt.Errorf("{%s} has something else than letters, digits, - and _ between its dots", name)
	}
	return p, err
}

func (may allowed) user() error {
	if may&mayUser == 0 {
		return errNoUser
	}
	return nil
}

// argument compiles the number of an argument and the path in it.
func argument(words []string, may allowed) (part, error) {
	if may&mayArgs == 0 {
		return part{}, errNoArgs
	}
	n, err := strconv.ParseUint(words[0], 10, 8)
	if err != nil || strconv.FormatUint(n, 10) != words[0] {
		return part{}, fmt.Errorf("{args.%s} is not the number of an argument, from 0 to 255", words[0])
	}
	if len(words)-1 > maxPath {
		return part{}, fmt.Errorf("{args.%s} goes more than %d deep", strings.Join(words, "."), maxPath)
	}
	return part{from: fromArg, index: int(n), path: words[1:]}, nil
}

// isWord tells whether w is a name that can be in a template: of letters, digits, -
// and _.
func isWord(w string) bool {
	return w != "" && !strings.ContainsFunc(w, func(c rune) bool { return c > 0x7f || !isIDByte(byte(c)) })
}

// check tells what a template cannot be, once it has its parts.
func (t *template) check(may allowed) error {
	apart := true // nothing before, or a : or / since the last value
	for _, p := range t.parts {
		switch p.from {
		case fromText:
			for _, c := range p.text {
				if !isSeen(c) {
					return errText
				}
			}
			apart = apart || strings.ContainsAny(p.text, ":/")
		case fromAny:
		default:
			if !apart && may&isKey == 0 {
				return errBeside
			}
			apart = false
		}
	}
	if t.fixed && t.isRoom && isSocketID([]byte(t.text)) {
		return errSocketID
	}
	return nil
}

// has tells whether a template has a value of a kind.
func (t *template) has(from source) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.from == from })
}

// isSeen tells whether a character may be in a name: one that has a form of its own.
// Controls, marks that turn the direction of writing, and what else cannot be seen
// may not: two names would look the same.
func isSeen(c rune) bool {
	return c >= 0x20 && c < 0x7f || c >= 0xa0 && c != utf8.RuneError && !isFormat(c)
}

// isSocketID tells whether a name looks like a socket's id, which is a room in which
// events for that socket alone are sent: 20 characters, of which one of Socket.IO 2
// has them behind its namespace and a #.
func isSocketID(name []byte) bool {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '#' {
			name = name[i+1:]
			break
		}
	}
	if len(name) != 20 {
		return false
	}
	for _, c := range name {
		if !isIDByte(c) {
			return false
		}
	}
	return true
}

func isIDByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
