package value

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
)

// Decode decodes one argument (raw is JSON) into dst, a pointer, as
// [json.Unmarshal] does. Placeholders within raw stand for the attachments of
// the packet: a byte slice anywhere in dst receives the bytes, an any receives
// them as [Binary], and a type that decodes itself, or a string, their base64
// text. Without attachments a placeholder is data like any other.
//
// Nothing that dst receives shares memory with raw or attachments. The error is
// that of encoding/json, or [ErrPlaceholder] for a
// placeholder that names no attachment or one named more than four times.
func Decode(raw []byte, attachments [][]byte, dst any) error {
	if len(attachments) == 0 {
		return json.Unmarshal(raw, dst)
	}
	r := newResolver(raw, len(attachments))
	start := SkipSpace(raw, 0)
	if end := r.value(start, MaxDepth); r.err != nil {
		return r.err
	} else if end < 0 || !r.found {
		return json.Unmarshal(raw, dst) // which knows what to say about bad JSON
	} else if n, ok := placeholderAt(raw, start, len(attachments)); ok && SkipSpace(raw, end) == len(raw) {
		if setBytes(dst, attachments[n]) {
			return nil
		}
	}
	return decodeResolved(raw, attachments, r.uses, dst)
}

// setBytes decodes the most frequent case, a whole argument of bytes, without
// the detour through base64. It returns false for what it leaves to that.
func setBytes(dst any, data []byte) bool {
	data = append(make([]byte, 0, len(data)), data...)
	switch d := dst.(type) {
	case *[]byte:
		if d != nil {
			*d = data
			return true
		}
	case *Binary:
		if d != nil {
			*d = data
			return true
		}
	case *any:
		if d != nil && *d == nil { // else it may hold a pointer to decode into
			*d = Binary(data)
			return true
		}
	}
	return false
}

// decodeResolved lets encoding/json decode a copy of raw in which base64 stands
// for the attachments, which are used so often each, and then puts Binary where that text met an any.
func decodeResolved(raw []byte, attachments [][]byte, uses []uint8, dst any) error {
	r := newResolver(raw, len(attachments))
	size := len(raw)
	for i, a := range attachments {
		text := ""
		if uses[i] > 0 { // others are in other arguments
			text = `"` + base64.StdEncoding.EncodeToString(a) + `"`
		}
		r.texts = append(r.texts, text)
		size += int(uses[i]) * len(text)
	}
	r.out = make([]byte, 0, size)
	r.value(SkipSpace(raw, 0), MaxDepth)
	resolved := append(r.out, raw[r.from:]...)
	if err := json.Unmarshal(resolved, dst); err != nil {
		return err
	}
	l := lifter{raw, attachments, r.texts}
	l.value(SkipSpace(raw, 0), reflect.ValueOf(dst))
	return nil
}

// A lifter walks a decoded value along its JSON, and replaces base64 text by
// Binary where a placeholder was decoded into an any.
type lifter struct {
	raw         []byte
	attachments [][]byte
	texts       []string // in quotes
}

var unmarshalerType = reflect.TypeFor[json.Unmarshaler]()

// value lifts v, decoded from the valid JSON at raw[i], and returns the index
// after that.
func (l *lifter) value(i int, v reflect.Value) int {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return Skip(l.raw, i, MaxDepth)
		}
		if v.Kind() == reflect.Interface && v.Elem().Kind() == reflect.String {
			l.lift(i, v)
			return Skip(l.raw, i, MaxDepth)
		}
		v = v.Elem()
	}
	own := reflect.PointerTo(v.Type()).Implements(unmarshalerType)
	switch c := l.raw[i]; {
	case c == '{' && !own && v.Kind() == reflect.Map:
		return l.intoMap(i, v)
	case c == '{' && !own && v.Kind() == reflect.Struct:
		return l.intoStruct(i, v)
	case c == '[' && !own && (v.Kind() == reflect.Slice || v.Kind() == reflect.Array):
		return eachElement(l.raw, i, MaxDepth, func(n, at int) int {
			if n >= v.Len() { // encoding/json drops what an array has no room for
				return Skip(l.raw, at, MaxDepth)
			}
			return l.value(at, v.Index(n))
		})
	}
	return Skip(l.raw, i, MaxDepth)
}

// lift replaces the string in the interface v if it is the text of the
// placeholder at raw[i].
func (l *lifter) lift(i int, v reflect.Value) {
	n, ok := placeholderAt(l.raw, i, len(l.attachments))
	if !ok || v.NumMethod() > 0 {
		return
	}
	if text := l.texts[n]; v.Elem().String() == text[1:len(text)-1] {
		v.Set(reflect.ValueOf(Binary(append([]byte{}, l.attachments[n]...))))
	}
}

func (l *lifter) intoStruct(i int, v reflect.Value) int {
	fields := fieldsOf(v.Type())
	return eachMember(l.raw, i, MaxDepth, func(key []byte, at int) int {
		name, _ := Unquote(nil, key)
		if f := findField(fields, name); f != nil {
			if field, ok := fieldByIndex(v, f.index); ok {
				return l.value(at, field)
			}
		}
		return Skip(l.raw, at, MaxDepth)
	})
}

// findField returns the field that encoding/json decodes a member into.
func findField(fields []field, name []byte) *field {
	for i := range fields {
		if fields[i].name == string(name) {
			return &fields[i]
		}
	}
	for i := range fields {
		if bytes.EqualFold([]byte(fields[i].name), name) {
			return &fields[i]
		}
	}
	return nil
}

func (l *lifter) intoMap(i int, v reflect.Value) int {
	return eachMember(l.raw, i, MaxDepth, func(key []byte, at int) int {
		k, ok := mapKey(v.Type().Key(), key)
		if !ok || !v.MapIndex(k).IsValid() {
			return Skip(l.raw, at, MaxDepth)
		}
		elem := reflect.New(v.Type().Elem()).Elem() // a map's own cannot be set
		elem.Set(v.MapIndex(k))
		end := l.value(at, elem)
		v.SetMapIndex(k, elem)
		return end
	})
}

// mapKey decodes a member's key for a map with keys of type t.
func mapKey(t reflect.Type, key []byte) (k reflect.Value, ok bool) {
	if t == reflect.TypeFor[string]() {
		name, _ := Unquote(nil, key)
		return reflect.ValueOf(string(name)), true
	}
	// The rules are encoding/json's: let it make a map of that one key.
	one := reflect.New(reflect.MapOf(t, reflect.TypeFor[struct{}]()))
	object := append(append([]byte{'{'}, key...), ":{}}"...)
	if json.Unmarshal(object, one.Interface()) != nil || one.Elem().Len() != 1 {
		return k, false
	}
	return one.Elem().MapKeys()[0], true
}
