package value

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// An encoder appends values as JSON to b and gathers their byte slices. What
// it does not do by itself it leaves to encoding/json, a whole value at a time.
type encoder struct {
	b           []byte
	attachments [][]byte
	places      []int // in b, of their placeholders
	depth       int
	spread      bool // the last argument stood for none
}

var (
	errTooDeep     = errors.New("nested too deep, or cyclic")
	errInvalidJSON = errors.New("invalid JSON")
	errInvalidUTF8 = errors.New("invalid UTF-8 in JSON")
)

// maxEncodeDepth ends the encoding of cyclic values, far beyond what a peer
// with the default limits would accept.
const maxEncodeDepth = 1000

func (e *encoder) enter() error {
	if e.depth++; e.depth > maxEncodeDepth {
		return errTooDeep
	}
	return nil
}

// any appends v. The cases are what applications send most; all else goes
// through reflection.
func (e *encoder) any(v any) error {
	var err error
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, "null"...)
	case string:
		e.b = AppendJSONText(e.b, v)
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case int:
		e.b = strconv.AppendInt(e.b, int64(v), 10)
	case int32:
		e.b = strconv.AppendInt(e.b, int64(v), 10)
	case int64:
		e.b = strconv.AppendInt(e.b, v, 10)
	case uint:
		e.b = strconv.AppendUint(e.b, uint64(v), 10)
	case uint32:
		e.b = strconv.AppendUint(e.b, uint64(v), 10)
	case uint64:
		e.b = strconv.AppendUint(e.b, v, 10)
	case float32:
		e.b, err = appendFloat(e.b, float64(v), 32)
	case float64:
		e.b, err = appendFloat(e.b, v, 64)
	case []byte:
		e.bytes(v)
	case Binary:
		e.bytes(v)
	case json.RawMessage:
		err = e.raw(v)
	case []string:
		e.strings(v)
	case []any:
		err = e.anys(v)
	case map[string]any:
		err = e.object(v)
	case Verbatim:
		err = e.verbatim(v)
	default:
		err = e.value(reflect.ValueOf(v))
	}
	return err
}

// bytes appends a placeholder and keeps p as an attachment.
func (e *encoder) bytes(p []byte) {
	if p == nil {
		e.b = append(e.b, "null"...)
		return
	}
	e.placeholder(len(e.attachments))
	e.attachments = append(e.attachments, p)
}

// placeholder appends that of attachment n.
func (e *encoder) placeholder(n int) {
	e.places = append(e.places, len(e.b))
	e.b = append(e.b, `{"_placeholder":true,"num":`...)
	e.b = append(strconv.AppendInt(e.b, int64(n), 10), '}')
}

// raw appends JSON as it is. Text that is not UTF-8 would make the receiver
// fail the connection.
func (e *encoder) raw(m json.RawMessage) error {
	if m == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	end := Skip(m, SkipSpace(m, 0), MaxDepth)
	if end < 0 || SkipSpace(m, end) != len(m) {
		return errInvalidJSON
	}
	if !utf8.Valid(m) {
		return errInvalidUTF8
	}
	e.b = append(e.b, m...)
	return nil
}

func (e *encoder) strings(list []string) {
	if list == nil {
		e.b = append(e.b, "null"...)
		return
	}
	e.b = append(e.b, '[')
	for i, s := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = AppendJSONText(e.b, s)
	}
	e.b = append(e.b, ']')
}

func (e *encoder) anys(list []any) error {
	if list == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.b = append(e.b, '[')
	for i, v := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if err := e.any(v); err != nil {
			return err
		}
	}
	e.b = append(e.b, ']')
	e.depth--
	return nil
}

func (e *encoder) object(m map[string]any) error {
	if m == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	var few [8]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.b = append(e.b, '{')
	for i, k := range keys {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = append(AppendJSONText(e.b, k), ':')
		if err := e.any(m[k]); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	e.depth--
	return nil
}

// json appends what encoding/json makes of v.
func (e *encoder) json(v any) (err error) {
	e.b, err = AppendJSON(e.b, v)
	return err
}

// A sink is a json.Encoder that appends to b; Marshal would allocate its result
// and has no way to leave <, > and & alone.
type sink struct {
	b   []byte
	enc *json.Encoder
}

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

var sinks = sync.Pool{New: func() any {
	s := new(sink)
	s.enc = json.NewEncoder(s)
	s.enc.SetEscapeHTML(false)
	return s
}}

// AppendJSON appends v as encoding/json encodes it, but without escaping <, >
// and &. Byte slices become base64: it is for payloads that take no attachments,
// such as the string or object with which protocol 4 refuses a CONNECT. On an
// error dst is returned as it was.
func AppendJSON(dst []byte, v any) ([]byte, error) {
	s := sinks.Get().(*sink)
	s.b = dst
	err := s.enc.Encode(v)
	out := s.b
	s.b = nil
	sinks.Put(s)
	if err != nil {
		return dst, err
	}
	out = out[:len(out)-1] // the newline
	if !utf8.Valid(out[len(dst):]) {
		return dst, errInvalidUTF8 // from a Marshaler
	}
	return out, nil
}

// AppendJSONText appends s as a JSON string. It escapes what JSON.stringify does
// and nothing else. Bytes that are not UTF-8 become U+FFFD.
func AppendJSONText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	// Copying first lets the Scanner look at eight bytes at a time.
	dst = append(dst, '"')
	start := len(dst)
	dst = append(dst, s...)
	if i := skipPlain(dst, start); i < len(dst) {
		dst = appendEscaped(dst[:i], s[i-start:])
	}
	return append(dst, '"')
}

func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
}

func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// appendFloat appends f, of the given bits, as JavaScript writes numbers:
// with an exponent only below 1e-6 and from 1e21 on (ECMA-262, Number::toString).
func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, &json.UnsupportedValueError{Value: reflect.ValueOf(f), Str: strconv.FormatFloat(f, 'g', -1, bits)}
	}
	small, large := 1e-6, 1e21
	if bits == 32 {
		small, large = float64(float32(small)), float64(float32(large))
	}
	if a := math.Abs(f); a == 0 || small <= a && a < large {
		return strconv.AppendFloat(dst, f, 'f', -1, bits), nil
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	if n := len(dst); dst[n-2] == '0' && dst[n-3] == '-' { // 1e-07 → 1e-7
		dst = append(dst[:n-2], dst[n-1])
	}
	return dst, nil
}
