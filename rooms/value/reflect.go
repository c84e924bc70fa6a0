package value

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var (
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// A plan is how values of one type are encoded.
type plan struct {
	shape shape
	// addressable says that the type encodes itself through a pointer, which
	// encoding/json uses only where it can take the value's address.
	addressable bool
	fields      []field // of a structure
}

type shape byte

const (
	foreign shape = iota // left to encoding/json: holds no bytes, or encodes itself
	boolean
	integer
	unsigned
	float32s
	float64s
	text
	byteSlice
	pointer // to something that may hold bytes, as all that follow
	dynamic
	slice
	array
	mapping
	structure
)

var plans sync.Map // reflect.Type → *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{shape: shapeOf(t)}
	if t.Kind() != reflect.Pointer {
		p.addressable = encodesItself(reflect.PointerTo(t))
	}
	if p.shape == structure {
		p.fields = fieldsOf(t)
	}
	plans.Store(t, p)
	return p
}

func encodesItself(t reflect.Type) bool {
	return t.Implements(marshalerType) || t.Implements(textMarshalerType)
}

func shapeOf(t reflect.Type) shape {
	if encodesItself(t) || t == reflect.TypeFor[json.Number]() {
		return foreign
	}
	if s := scalar(t.Kind()); s != foreign {
		return s
	}
	if !mayHoldBytes(t, map[reflect.Type]bool{}) {
		return foreign
	}
	switch t.Kind() {
	case reflect.Pointer:
		return pointer
	case reflect.Interface:
		return dynamic
	case reflect.Slice:
		if isByteSlice(t) {
			return byteSlice
		}
		return slice
	case reflect.Array:
		return array
	case reflect.Map:
		return mapping
	default:
		return structure
	}
}

func scalar(k reflect.Kind) shape {
	switch k {
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return unsigned
	case reflect.Float32:
		return float32s
	case reflect.Float64:
		return float64s
	case reflect.String:
		return text
	}
	return foreign
}

// isByteSlice tells whether encoding/json would write t as base64.
func isByteSlice(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !encodesItself(reflect.PointerTo(t.Elem()))
}

// mayHoldBytes tells whether a byte slice may be met within a t. Types in seen
// are being answered further up. A result is kept for the whole type only: one
// that relies on seen says nothing about the part by itself.
func mayHoldBytes(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || encodesItself(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Slice:
		return isByteSlice(t) || mayHoldBytes(t.Elem(), seen)
	case reflect.Pointer, reflect.Array:
		return mayHoldBytes(t.Elem(), seen)
	case reflect.Map:
		k := scalar(t.Key().Kind())
		keys := k == text || k == integer || k == unsigned || t.Key().Implements(textMarshalerType)
		return keys && mayHoldBytes(t.Elem(), seen)
	case reflect.Struct:
		return slices.ContainsFunc(fieldsOf(t), func(f field) bool { return mayHoldBytes(f.typ, seen) })
	}
	return false
}

// value appends v, as encoding/json would but for byte slices.
func (e *encoder) value(v reflect.Value) error {
	p := planOf(v.Type())
	if p.shape == foreign || p.addressable && v.CanAddr() {
		return e.foreign(v)
	}
	switch p.shape {
	case boolean:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case integer:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	case unsigned:
		e.b = strconv.AppendUint(e.b, v.Uint(), 10)
	case text:
		e.b = AppendJSONText(e.b, v.String())
	case float32s, float64s:
		var err error
		e.b, err = appendFloat(e.b, v.Float(), v.Type().Bits())
		return err
	case byteSlice:
		e.bytes(v.Bytes())
	default:
		return e.container(v, p)
	}
	return nil
}

// foreign leaves v to encoding/json. The address is passed where there is one,
// since methods with pointer receivers count only then.
func (e *encoder) foreign(v reflect.Value) error {
	if v.CanAddr() {
		v = v.Addr()
	}
	return e.json(v.Interface())
}

func (e *encoder) container(v reflect.Value, p *plan) (err error) {
	if p.shape != array && p.shape != structure && v.IsNil() {
		e.b = append(e.b, "null"...)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	switch p.shape {
	case pointer:
		err = e.value(v.Elem())
	case dynamic:
		err = e.any(v.Interface())
	case slice, array:
		err = e.list(v)
	case mapping:
		err = e.mapping(v)
	default:
		err = e.structure(v, p.fields)
	}
	e.depth--
	return err
}

func (e *encoder) list(v reflect.Value) error {
	e.b = append(e.b, '[')
	for i := range v.Len() {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	e.b = append(e.b, ']')
	return nil
}

func (e *encoder) mapping(v reflect.Value) error {
	type member struct {
		key   string
		value reflect.Value
	}
	members := make([]member, 0, v.Len())
	for r := v.MapRange(); r.Next(); {
		key, err := keyText(r.Key())
		if err != nil {
			return err
		}
		members = append(members, member{key, r.Value()})
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	e.b = append(e.b, '{')
	for i, m := range members {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = append(AppendJSONText(e.b, m.key), ':')
		if err := e.value(m.value); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// keyText returns a map's key as a member's name. A string is itself even if
// its type has a text form, which is encoding/json's rule.
func keyText(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if m, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		b, err := m.MarshalText()
		return string(b), err
	}
	if k.CanInt() {
		return strconv.FormatInt(k.Int(), 10), nil
	}
	return strconv.FormatUint(k.Uint(), 10), nil
}

func (e *encoder) structure(v reflect.Value, fields []field) error {
	e.b = append(e.b, '{')
	first := true
	for i := range fields {
		f := &fields[i]
		fv, ok := fieldByIndex(v, f.index)
		if !ok || f.omitEmpty && isEmpty(fv) || f.isZero != nil && f.isZero(fv) {
			continue
		}
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		e.b = append(e.b, f.key...)
		err := error(nil)
		if f.quoted != nil {
			err = e.quoted(fv, f.quoted)
		} else {
			err = e.value(fv)
		}
		if err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// quoted appends a field with the "string" option: by encoding/json, as the
// only field of a structure made for that, whose braces and name are then cut.
func (e *encoder) quoted(v reflect.Value, wrapper reflect.Type) error {
	w := reflect.New(wrapper).Elem()
	w.Field(0).Set(v)
	start := len(e.b)
	x := w.Interface()
	if v.CanAddr() {
		x = w.Addr().Interface()
	}
	if err := e.json(x); err != nil {
		return err
	}
	e.b = append(e.b[:start], e.b[start+len(`{"F":`):len(e.b)-1]...)
	return nil
}
