package config

import (
	"reflect"
	"strings"
)

// schema knows each key by its path, and by its flag.
type schema struct {
	paths map[string]*Key
	flags []*Key // in the order of the table
	types map[string]reflect.Type
}

var keys = newSchema()

func newSchema() *schema {
	s := &schema{map[string]*Key{}, nil, map[string]reflect.Type{}}
	for i := range sections {
		for j := range sections[i].Keys {
			k := &sections[i].Keys[j]
			s.paths[k.Path] = k
			if k.Flag != "" {
				s.flags = append(s.flags, k)
			}
		}
	}
	s.learn(reflect.TypeFor[Settings](), "")
	return s
}

// learn notes the types of all that is below a path.
func (s *schema) learn(t reflect.Type, path string) {
	s.types[path] = t
	switch {
	case group(t):
		for i := range t.NumField() {
			f := t.Field(i)
			s.learn(f.Type, join(path, f.Tag.Get("koanf")))
		}
	case t.Kind() == reflect.Map:
		s.learn(t.Elem(), join(path, "*"))
	case t.Kind() == reflect.Slice && group(t.Elem()):
		s.learn(t.Elem(), path+"[]")
	}
}

// group says whether a type is of groups of settings, and no value itself.
func group(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != prefixType }

// join returns the path of what is called name in a group.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// shortOf returns the name of the setting that stands for its whole group when there
// is a value in place of the group; empty: there is none.
func shortOf(t reflect.Type) string {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("short") != "" {
			return f.Tag.Get("koanf")
		}
	}
	return ""
}

// Sections returns the table of all keys, in the order of the reference. It must not
// be changed.
func Sections() []Section { return sections }

// Keys returns all keys, in the order of the reference. They must not be changed.
func Keys() (all []*Key) {
	for i := range sections {
		for j := range sections[i].Keys {
			all = append(all, &sections[i].Keys[j])
		}
	}
	return all
}

// Type names what the key's values are, as the reference does.
func (k *Key) Type() string {
	t := keys.types[k.Path]
	many := t.Kind() == reflect.Slice || t.Kind() == reflect.Map && group(t.Elem())
	if many {
		t = t.Elem()
	}
	name := "text"
	switch {
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Bool:
		name = "bool"
	case t == sizeType:
		name = "size"
	case t == durationType:
		name = "duration"
	case t == prefixType:
		name = "network"
	case many && group(t) && (shortOf(t) == "" || keys.types[k.Path].Kind() == reflect.Map):
		name = "group"
	case t.Kind() == reflect.Int:
		name = "number"
	}
	if many {
		name += "s"
	}
	return name
}

// children returns the names of the settings of a group.
func children(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("koanf"))
	}
	return names
}

// meant returns what a name that is no setting of a group was probably meant to be,
// empty for nothing that is known.
func meant(name string, t reflect.Type) string {
	if len(name) > 64 {
		return ""
	}
	if best := Nearest(strings.ToLower(name), children(t)); best != "" {
		return best
	}
	dashed := strings.ReplaceAll(name, "_", "-")
	for _, k := range Keys() {
		last := k.Path[strings.LastIndex(k.Path, ".")+1:]
		if k.Path != "" && !strings.ContainsAny(k.Path, "*[") && (k.Flag == dashed || last == name) {
			return k.Path
		}
	}
	return ""
}

// Nearest returns the one of names that somebody probably meant who wrote another; "" if
// it is like none.
func Nearest(name string, names []string) string {
	return nearest(name, names, max(len(name)/3, 1)+1)
}

// nearest returns the first of names that takes the fewest changes, and fewer than some.
func nearest(name string, names []string, than int) (best string) {
	if len(name) > 64 {
		return ""
	}
	for _, x := range names {
		if d := distance(name, x); d < than {
			best, than = x, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken away, replaced or swapped with
// their neighbour to make one text of the other.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
