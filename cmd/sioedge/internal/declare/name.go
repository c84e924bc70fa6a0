package declare

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
)

const (
	maxNamespace  = 1 << 10 // as sio has it for names that clients ask for
	maxExpression = 256
)

// A name is that of a declared namespace: a pattern, as of sio.Server.Of.
type name struct {
	text   string
	params []string // in their order; a last *rest among them
	shape  string   // the same for two that have the same names
}

// parseName checks what sio.Server.Of would panic for, and what no client can join.
func parseName(text string) (n name, err error) {
	n.text = text
	switch {
	case text == "":
		return n, errors.New("is missing: / is the namespace that clients join if they say nothing")
	case text[0] != '/':
		return n, fmt.Errorf("does not begin with a slash: /%s", text)
	case len(text) > maxNamespace:
		return n, fmt.Errorf("has more than %d bytes", maxNamespace)
	case strings.ContainsAny(text, ",#?"):
		return n, errors.New("has a comma, a # or a ?, with which a name ends on the wire")
	case peerlink.Owns(text):
		return n, errors.New("is where servers speak to each other")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !isSeen(c) }):
		return n, errText
	}
	parts := strings.Split(text[1:], "/")
	for i, part := range parts {
		if part == "" || part[0] != ':' && part[0] != '*' {
			continue
		}
		param := part[1:]
		switch {
		case part[0] == '*' && i < len(parts)-1:
			err = fmt.Errorf("goes on behind %s, which takes all that follows", part)
		case !isWord(param):
			err = fmt.Errorf("has a parameter that is not of letters, digits, - and _: %s", part)
		case param == "user" || param == "claims" || param == "args":
			err = fmt.Errorf("has a parameter called %s, which means something else in templates", param)
		case slices.Contains(n.params, param):
			err = fmt.Errorf("has two parameters called %s", param)
		}
		if err != nil {
			return n, err
		}
		n.params = append(n.params, param)
		parts[i] = part[:1]
	}
	n.shape = "/" + strings.Join(parts, "/")
	return n, nil
}

// parseConstraint compiles an expression that all of a parameter's value must match.
func parseConstraint(expr string) (*regexp.Regexp, error) {
	switch {
	case expr == "":
		return nil, errEmpty
	case len(expr) > maxExpression:
		return nil, fmt.Errorf("has more than %d bytes", maxExpression)
	}
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err // by itself: it may not end the group below
	}
	return regexp.Compile(`\A(?:` + expr + `)\z`)
}

// lets tells whether the values of a name's parameters are ones that may be: those that
// have an expression match it, and none is longer than a value of a template.
func (r *rules) lets(param func(i int) string) bool {
	for i, expr := range r.constraints {
		if v := param(i); expr != nil && (len(v) > maxValue || !expr.MatchString(v)) {
			return false
		}
	}
	return true
}
