package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

const (
	mostFile  = 1 << 20 // bytes of the file of settings
	mostNodes = 100_000 // values in it, those of aliases as often as they are used
	mostDepth = 32      // groups and lists in each other
	mostNames = 256     // bytes of a name

	defaultDebounce = 5 * time.Second // of presence, where it is enabled
)

// A reader makes a tree of values of a file. What is wrong is in faults, what means
// nothing in unknown; the tree has the rest.
type reader struct {
	name    string // of the file
	x       expander
	places  map[string]string // path: file:line
	faults  []error
	unknown []error
	nodes   int
	stop    bool // one fault has been of the file as a whole
}

// yamlLine is how the parser says where something is wrong.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// read parses a file.
func (r *reader) read(text []byte) map[string]any {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return map[string]any{} // nothing but comments
	case err != nil:
		r.broken(err)
		return nil
	}
	if err := d.Decode(&more); err == nil {
		r.faults = append(r.faults, &Placed{Place: r.at(&more), Err: errors.New("a second document begins; only one is read")})
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.broken(err)
		return nil
	}
	v, _ := r.value(doc.Content[0], reflect.TypeFor[Settings](), "", "", 0)
	tree, _ := v.(map[string]any)
	if tree == nil {
		tree = map[string]any{}
	}
	return tree
}

// Declarations returns the namespaces of a text that is a file of settings by itself,
// called name in the error, which has all that is wrong with it.
func Declarations(name string, text []byte) ([]Namespace, error) {
	r := &reader{name: name, places: map[string]string{}}
	tree := r.read(text)
	if faults := append(r.faults, r.unknown...); len(faults) > 0 {
		return nil, joined(faults)
	}
	l := &Loaded{tree: koanf.New("."), lower: r.places}
	if err := l.settle(defaults(""), map[string]any{"namespaces": tree["namespaces"]}); err != nil {
		return nil, err
	}
	return l.Namespaces, nil
}

// broken notes what the parser says.
func (r *reader) broken(err error) {
	text, place := err.Error(), r.name
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if m[1] != "" {
			place += ":" + m[1]
		}
	}
	r.faults = append(r.faults, &Placed{Place: place, Err: errors.New(text)})
}

// at is the place of a node.
func (r *reader) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", r.name, n.Line) }

func (r *reader) fault(n *yaml.Node, path string, err error) {
	r.faults = append(r.faults, &Placed{r.at(n), path, err})
}

// value returns what a node is, if it is of type t. pattern is the path in the table.
// Nothing at all (null) is what is not set.
func (r *reader) value(n *yaml.Node, t reflect.Type, path, pattern string, depth int) (v any, ok bool) {
	if !r.count(n, path, depth) {
		return nil, false
	}
	if n.Kind == yaml.AliasNode {
		return r.value(n.Alias, t, path, pattern, depth+1)
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return nil, false
	}
	if _, again := r.places[path]; !again {
		r.places[path] = r.at(n)
	}
	switch {
	case group(t):
		return r.group(n, t, path, pattern, depth)
	case t.Kind() == reflect.Map:
		return r.names(n, t, path, pattern, depth)
	case t.Kind() == reflect.Slice:
		return r.list(n, t, path, pattern, depth)
	case n.Kind != yaml.ScalarNode:
		r.fault(n, path, fmt.Errorf("want %s", expected(t)))
		return nil, false
	}
	return r.scalar(n, t, path, keys.paths[pattern])
}

// count says whether there may be one value more, so deep.
func (r *reader) count(n *yaml.Node, path string, depth int) bool {
	r.nodes++
	if !r.stop && (depth > mostDepth || r.nodes > mostNodes) {
		r.stop = true
		r.fault(n, path, errors.New("is nested too deeply, or there is too much in the file with what its aliases stand for"))
	}
	return !r.stop
}

// text returns the text of a value, with what stands for ${…} in it.
func (r *reader) text(n *yaml.Node, path string) (string, bool) {
	if !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.ShortTag()) {
		r.fault(n, path, fmt.Errorf("has a tag that means nothing here, %.40q", n.Tag))
		return "", false
	}
	text, err := r.x.expand(n.Value)
	if err != nil {
		r.fault(n, path, err)
	}
	return text, err == nil
}

// scalar returns what a text is.
func (r *reader) scalar(n *yaml.Node, t reflect.Type, path string, k *Key) (any, bool) {
	text, ok := r.text(n, path)
	if !ok {
		return nil, false
	}
	v, err := k.value(t, text, n.Value)
	if err != nil {
		r.fault(n, path, err)
	}
	return v, err == nil
}

// group returns the settings of a group. A value in its place is that of the setting
// that stands for the others.
func (r *reader) group(n *yaml.Node, t reflect.Type, path, pattern string, depth int) (any, bool) {
	tree := map[string]any{}
	if strings.ContainsAny(pattern, "[*") { // the other defaults are below all sources
		keys.fill(tree, t, pattern)
	}
	short := shortOf(t)
	switch {
	case n.Kind == yaml.ScalarNode && short != "":
		delete(tree, "debounce")
		f, _ := fieldOf(t, short)
		v, ok := r.value(n, f, join(path, short), join(pattern, short), depth+1)
		tree[short] = v
		unnoticed(tree, pattern)
		return tree, ok
	case n.Kind != yaml.MappingNode:
		r.fault(n, path, fmt.Errorf("want %s", expected(t)))
		return nil, false
	}
	if pattern == "namespaces[].presence" {
		tree["enabled"] = true // unless it says no
		delete(tree, "debounce")
	}
	for _, e := range r.entries(n, path, depth) {
		f, ok := fieldOf(t, e.name)
		if !ok {
			err := errors.New("there is no such setting")
			if m := meant(e.name, t); m != "" {
				err = fmt.Errorf("there is no such setting; did you mean %s?", m)
			}
			r.unknown = append(r.unknown, &Placed{r.at(e.key), join(path, e.name), err})
			continue
		}
		// A setting is where its name is.
		r.places[join(path, e.name)] = r.at(e.key)
		if v, ok := r.value(e.value, f, join(path, e.name), join(pattern, e.name), depth+1); ok {
			tree[e.name] = v
		}
	}
	unnoticed(tree, pattern)
	return tree, true
}

// unnoticed sets the debounce of presence that has none of its own.
func unnoticed(tree map[string]any, pattern string) {
	if pattern == "namespaces[].presence" && tree["enabled"] == true && tree["debounce"] == nil {
		tree["debounce"] = defaultDebounce
	}
}

// names returns what is in a group of free names.
func (r *reader) names(n *yaml.Node, t reflect.Type, path, pattern string, depth int) (any, bool) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, fmt.Errorf("want %s", expected(t)))
		return nil, false
	}
	tree := map[string]any{}
	for _, e := range r.entries(n, path, depth) {
		p := join(path, e.name)
		r.places[p] = r.at(e.key)
		v, ok := r.value(e.value, t.Elem(), p, join(pattern, "*"), depth+1)
		if e.value.ShortTag() == "!!null" {
			r.fault(e.key, p, fmt.Errorf("want %s", expected(t.Elem())))
		}
		if ok {
			tree[e.name] = v
		}
	}
	return tree, true
}

// list returns a list. A value in its place is a list of one, or several with commas
// between them where they can have none.
func (r *reader) list(n *yaml.Node, t reflect.Type, path, pattern string, depth int) (any, bool) {
	all := []any{}
	k := keys.paths[pattern]
	switch {
	case n.Kind == yaml.SequenceNode:
		for i, e := range n.Content {
			p := fmt.Sprintf("%s[%d]", path, i)
			if v, ok := r.element(e, t.Elem(), p, pattern, depth+1); ok {
				all = append(all, v)
			}
		}
	case n.Kind != yaml.ScalarNode:
		r.fault(n, path, fmt.Errorf("want %s", expected(t)))
		return nil, false
	case group(t.Elem()):
		if v, ok := r.element(n, t.Elem(), path+"[0]", pattern, depth+1); ok {
			all = append(all, v)
		}
	case k.Commas:
		text, _ := r.text(n, path)
		for _, one := range split(text) {
			written := one
			if text != n.Value {
				written = n.Value
			}
			v, err := k.value(t.Elem(), one, written)
			if err != nil {
				r.fault(n, path, err)
			}
			all = append(all, v)
		}
	default:
		if v, ok := r.scalar(n, t.Elem(), path, k); ok {
			all = append(all, v)
		}
	}
	return all, true
}

// element returns an element of a list, which cannot be nothing.
func (r *reader) element(n *yaml.Node, t reflect.Type, path, pattern string, depth int) (any, bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		r.fault(n, path, fmt.Errorf("want %s", expected(t)))
		return nil, false
	}
	if group(t) {
		pattern += "[]"
	}
	return r.value(n, t, path, pattern, depth)
}

// split returns what is between the commas of a text.
func split(text string) (all []string) {
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// An entry is a name with its value.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries returns what a group has, each name once: those that are merged in (<<) only
// where the group has none of its own.
func (r *reader) entries(n *yaml.Node, path string, depth int) (all []entry) {
	seen := map[string]bool{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			merged = append(merged, value)
		case key.Kind != yaml.ScalarNode || len(key.Value) > mostNames:
			r.fault(key, path, fmt.Errorf("a name is a text of at most %d bytes", mostNames))
		case seen[key.Value]:
			r.fault(key, join(path, key.Value), errors.New("is there twice"))
		default:
			seen[key.Value] = true
			all = append(all, entry{key.Value, key, value})
		}
	}
	for _, m := range merged {
		all = r.merge(m, path, depth+1, seen, all)
	}
	return all
}

// merge adds the entries of a group, or of groups in a list, that are not seen yet.
func (r *reader) merge(m *yaml.Node, path string, depth int, seen map[string]bool, all []entry) []entry {
	if !r.count(m, path, depth) {
		return all
	}
	switch m.Kind {
	case yaml.AliasNode:
		return r.merge(m.Alias, path, depth+1, seen, all)
	case yaml.SequenceNode:
		for _, e := range m.Content {
			all = r.merge(e, path, depth+1, seen, all)
		}
	case yaml.MappingNode:
		for _, e := range r.entries(m, path, depth+1) {
			if !seen[e.name] {
				seen[e.name] = true
				all = append(all, e)
			}
			r.nodes++
		}
	default:
		r.fault(m, path, errors.New("<< wants a group of settings"))
	}
	return all
}

// fieldOf returns the type of the setting of a group that has this name.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("koanf") == name {
			return f.Type, true
		}
	}
	return nil, false
}
