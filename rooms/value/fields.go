package value

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// A field is a member that encoding/json writes for a struct.
type field struct {
	name      string
	key       string // the name in quotes, and the colon
	index     []int  // the way to it, through embedded structs
	typ       reflect.Type
	omitEmpty bool
	isZero    func(reflect.Value) bool // nil without the omitzero option
	quoted    reflect.Type             // nil without the string option; see encoder.quoted
}

var structs sync.Map // reflect.Type → []field

// fieldsOf returns the fields of struct type t by encoding/json's rules: Go's
// rules for promotion, in which a name given by a tag wins over one that is not.
func fieldsOf(t reflect.Type) []field {
	if f, ok := structs.Load(t); ok {
		return f.([]field)
	}
	s := fieldSearch{byName: map[string]*candidate{}}
	s.run(t)
	var fields []field
	for _, c := range s.byName {
		if !c.ambiguous {
			fields = append(fields, c.field)
		}
	}
	slices.SortFunc(fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	structs.Store(t, fields)
	return fields
}

// A candidate is the best field found so far for its name. When two are
// equally good neither counts, yet both hide what lies deeper.
type candidate struct {
	field
	tagged    bool
	ambiguous bool
}

// A fieldSearch goes through embedded structs level by level, so that fields
// are met in order of their depth.
type fieldSearch struct {
	byName map[string]*candidate
	next   []embedded           // the next level
	times  map[reflect.Type]int // how often each type is embedded there
}

type embedded struct {
	typ   reflect.Type
	index []int
}

func (s *fieldSearch) run(t reflect.Type) {
	done := map[reflect.Type]bool{}
	s.next = []embedded{{typ: t}}
	s.times = map[reflect.Type]int{}
	for len(s.next) > 0 {
		level, times := s.next, s.times
		s.next, s.times = nil, map[reflect.Type]int{}
		for _, at := range level {
			if done[at.typ] {
				continue
			}
			done[at.typ] = true
			for i := range at.typ.NumField() {
				s.visit(at, i, times[at.typ] > 1)
			}
		}
	}
}

// visit takes field i of an embedded struct; twice says that the struct's type
// is embedded more than once at this level, so that its fields are ambiguous.
func (s *fieldSearch) visit(at embedded, i int, twice bool) {
	sf := at.typ.Field(i)
	tag := sf.Tag.Get("json")
	if tag == "-" || !visible(sf) {
		return
	}
	name, options, _ := strings.Cut(tag, ",")
	if !validName(name) {
		name = ""
	}
	index := append(slices.Clone(at.index), i)
	inner := sf.Type
	if inner.Kind() == reflect.Pointer {
		inner = inner.Elem()
	}
	if name == "" && sf.Anonymous && inner.Kind() == reflect.Struct {
		if s.times[inner]++; s.times[inner] == 1 {
			s.next = append(s.next, embedded{inner, index})
		}
		return
	}
	c := &candidate{tagged: name != "", ambiguous: twice}
	c.field = makeField(cmp.Or(name, sf.Name), sf, index, strings.Split(options, ","))
	s.offer(c)
}

// visible tells whether sf may have a member, or promote some.
func visible(sf reflect.StructField) bool {
	if sf.IsExported() {
		return true
	}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return sf.Anonymous && t.Kind() == reflect.Struct
}

func (s *fieldSearch) offer(c *candidate) {
	best := s.byName[c.name]
	switch {
	case best == nil:
		s.byName[c.name] = c
	case len(best.index) < len(c.index) || best.tagged && !c.tagged:
	case c.tagged && !best.tagged:
		s.byName[c.name] = c
	default:
		best.ambiguous = true
	}
}

func makeField(name string, sf reflect.StructField, index []int, options []string) field {
	f := field{name: name, key: `"` + name + `":`, index: index, typ: sf.Type}
	f.omitEmpty = slices.Contains(options, "omitempty")
	if slices.Contains(options, "omitzero") {
		f.isZero = zeroTest(sf.Type)
	}
	if slices.Contains(options, "string") {
		t := sf.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if scalar(t.Kind()) != foreign { // whether it applies, encoding/json decides
			f.quoted = reflect.StructOf([]reflect.StructField{{Name: "F", Type: sf.Type, Tag: `json:",string"`}})
		}
	}
	return f
}

// validName tells whether a tag's name is one that encoding/json accepts.
func validName(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return s != ""
}

// fieldByIndex is v.FieldByIndex, but false where an embedded pointer is nil.
func fieldByIndex(v reflect.Value, index []int) (reflect.Value, bool) {
	for n, i := range index {
		if n > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, true
}

// isEmpty is what the omitempty option asks.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Interface, reflect.Pointer:
		return v.IsNil()
	}
	return scalar(v.Kind()) != foreign && v.IsZero()
}

type zeroer interface{ IsZero() bool }

// zeroTest returns what the omitzero option asks of a field of type t: its own
// IsZero method if there is one, by value or by pointer.
func zeroTest(t reflect.Type) func(reflect.Value) bool {
	zeroerType := reflect.TypeFor[zeroer]()
	nilable := t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer
	switch {
	case t.Implements(zeroerType):
		return func(v reflect.Value) bool {
			if nilable && (v.IsNil() || v.Elem().Kind() == reflect.Pointer && v.Elem().IsNil()) {
				return true
			}
			return v.Interface().(zeroer).IsZero()
		}
	case reflect.PointerTo(t).Implements(zeroerType):
		return func(v reflect.Value) bool {
			if !v.CanAddr() {
				box := reflect.New(t).Elem()
				box.Set(v)
				v = box
			}
			return v.Addr().Interface().(zeroer).IsZero()
		}
	}
	return reflect.Value.IsZero
}
