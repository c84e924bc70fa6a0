package config

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// masked stands for what nobody may see.
const masked = "********"

// credentials are what may be in a URL: a user with a password, and passwords in its
// parameters.
var credentials = regexp.MustCompile(`://.*@|([?&][a-z_]*(?:password|secret|token)=)[^&]*`)

// Mask returns a text without the passwords that are in it if it is a URL.
func Mask(text string) string {
	return credentials.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "://") {
			return "://" + masked + "@"
		}
		name, _, _ := strings.Cut(m, "=")
		return name + "=" + masked
	})
}

// Print writes the settings as a file of settings, with secrets masked, and what set
// each that is not a default beside it. onlySet leaves the defaults out.
func (l *Loaded) Print(w io.Writer, onlySet bool) error {
	p := printer{l, onlySet}
	n := p.group(reflect.ValueOf(l.Settings), "", "")
	if n == nil {
		return nil
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return err
	}
	return e.Close()
}

type printer struct {
	l       *Loaded
	onlySet bool
}

// group returns the node of a group, nil if nothing in it is to be seen.
func (p *printer) group(v reflect.Value, path, pattern string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("koanf")
		p.add(n, name, p.node(v.Field(i), join(path, name), join(pattern, name)))
	}
	if len(n.Content) == 0 {
		return nil
	}
	return n
}

// add adds what is called name to a group.
func (p *printer) add(n *yaml.Node, name string, v *yaml.Node) {
	if v == nil {
		return
	}
	key := &yaml.Node{}
	key.SetString(name)
	if v.Kind != yaml.ScalarNode && v.Style != yaml.FlowStyle { // beside the name, or it would be below
		key.LineComment, v.LineComment = v.LineComment, ""
	}
	n.Content = append(n.Content, key, v)
}

// node returns the node of a value, nil if it is not to be seen.
func (p *printer) node(v reflect.Value, path, pattern string) *yaml.Node {
	if group(v.Type()) {
		return p.group(v, path, pattern)
	}
	k := keys.paths[pattern]
	inside := strings.ContainsAny(path, "[")
	place, at, _ := p.l.where(path)
	set := at == path && !inside
	if p.onlySet && k != nil {
		switch {
		case !inside && !set, inside && p.l.lower[path] == "" && p.asDefault(v, k):
			return nil
		}
	}
	n := p.value(v, path, pattern, k)
	if n != nil && set {
		n.LineComment = place
	}
	return n
}

// asDefault says whether a value in a list is what it would be without being set.
func (p *printer) asDefault(v reflect.Value, k *Key) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	text := text(v)
	return text == k.Default || k.Default == "" && v.IsZero()
}

// value returns the node of a value that is no group.
func (p *printer) value(v reflect.Value, path, pattern string, k *Key) *yaml.Node {
	switch {
	case v.Kind() == reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range slices.Sorted(maps.Keys(mapOf(v))) {
			e := v.MapIndex(reflect.ValueOf(name))
			if sub := p.node(e, join(path, name), join(pattern, "*")); sub != nil {
				p.add(n, name, sub)
			} else {
				p.add(n, name, &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle})
			}
		}
		if len(n.Content) == 0 {
			if p.onlySet {
				return nil
			}
			n.Style = yaml.FlowStyle
		}
		return n
	case v.Kind() == reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			at := fmt.Sprintf("%s[%d]", path, i)
			if group(v.Type().Elem()) {
				n.Content = append(n.Content, p.group(v.Index(i), at, pattern+"[]"))
			} else {
				n.Content = append(n.Content, p.scalar(v.Index(i), k))
			}
		}
		if !group(v.Type().Elem()) || v.Len() == 0 {
			n.Style = yaml.FlowStyle
		}
		return n
	}
	return p.scalar(v, k)
}

// scalar returns the node of a text, a number or the like.
func (p *printer) scalar(v reflect.Value, k *Key) *yaml.Node {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	s := text(v)
	if v.Kind() != reflect.String {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	}
	if s = strings.ReplaceAll(Mask(s), "${", "$${"); k.Secret && s != "" {
		s = masked
	}
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// mapOf returns the names of a map whose elements may be of any type.
func mapOf(v reflect.Value) map[string]bool {
	names := map[string]bool{}
	for _, k := range v.MapKeys() {
		names[k.String()] = true
	}
	return names
}

// text writes a value as it is written in a file.
func text(v reflect.Value) string {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return duration(x)
	case Size:
		return x.String()
	case netip.Prefix:
		return x.String()
	default:
		return fmt.Sprint(x)
	}
}
