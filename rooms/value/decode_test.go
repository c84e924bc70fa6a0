package value

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeBytesAnywhere(t *testing.T) {
	type file struct {
		Name string
		Data []byte
		Meta any
		Rest map[string]any
	}
	attachments := [][]byte{{0xfb, 0xff}, {}, []byte("two")}
	b0, empty, two := Binary(attachments[0]), Binary(attachments[1]), Binary(attachments[2])
	const p0, p1, p2 = `{"_placeholder":true,"num":0}`, `{"num":1.0,"_placeholder":true}`, ` { "x":[1,{"y":{}}], "_placeholder" : true , "num":2 } `
	ptr := func(v any) any {
		p := reflect.New(reflect.TypeOf(v))
		p.Elem().Set(reflect.ValueOf(v))
		return p.Interface()
	}
	for _, tt := range []struct {
		raw  string
		into any // pointer
		want any
	}{
		{p0, new([]byte), []byte(b0)}, {p0, new(Binary), b0}, {p0, new(any), any(b0)}, {p0, new(octets), octets(b0)},
		{p1, new([]byte), []byte{}}, {p1, new(any), any(empty)}, {p2, new(any), any(two)}, {p2, new(*[]byte), ptr([]byte(two))},
		{p0, new(string), "+/8="}, {p0, new(json.RawMessage), json.RawMessage(`"+/8="`)},
		{`[` + p2 + `,` + p0 + `,` + p2 + `]`, new([]any), []any{two, b0, two}},
		{`[` + p2 + `,` + p0 + `]`, new([][]byte), [][]byte{two, []byte(b0)}},
		{`[` + p2 + `,` + p0 + `]`, new([1]any), [1]any{two}},
		{`[[` + p0 + `],{"a":` + p1 + `},"+/8="]`, new(any), any([]any{[]any{b0}, map[string]any{"a": empty}, "+/8="})},
		{`{"Name":"n","data":` + p0 + `,"META":{"k":[` + p1 + `]},"Rest":{"é":` + p2 + `,"z":1},"none":` + p0 + `}`, new(file),
			file{"n", b0, map[string]any{"k": []any{empty}}, map[string]any{"é": two, "z": 1.0}}},
		{`[{"x":[` + p1 + `,` + p2 + `],"_placeholder":true,"num":0},"after"]`, new(any), any([]any{b0, "after"})},
		{`[` + p0 + `,` + p0 + `,` + p0 + `,` + p0 + `]`, new([]any), []any{b0, b0, b0, b0}},
		{`{"a":` + p0 + `,"a":"x"}`, new(map[string]any), map[string]any{"a": "x"}},
		{`{"a":"x","a":` + p0 + `}`, new(map[string]any), map[string]any{"a": b0}},
		{`{"1":` + p0 + `}`, new(map[int]any), map[int]any{1: b0}},
		{`{"k":` + p0 + `}`, new(map[color]any), map[color]any{"k": b0}},
		{`{"\u006b\ud800":` + p0 + `}`, new(map[string]any), map[string]any{"k\ufffd": b0}},
		{`{"x":{"Meta":` + p0 + `}}`, new(map[string]file), map[string]file{"x": {Meta: b0}}},
		{`{"x":{"Meta":` + p0 + `}}`, new(map[string]*file), map[string]*file{"x": {Meta: b0}}},
		{`{"_placeholder":false,"num":9}`, new(any), any(map[string]any{"_placeholder": false, "num": 9.0})},
		{`{"_placeholder":true,"_placeholder":1,"num":9}`, new(any), any(map[string]any{"_placeholder": 1.0, "num": 9.0})},
		{`{"_placeh\u006flder":true,"num":0}`, new(any), any(b0)},
		{`"plain"`, new(any), any("plain")}, {`null`, new([]byte), []byte(nil)}, {` 5 `, new(int), 5},
	} {
		err := Decode([]byte(tt.raw), attachments, tt.into)
		if got := reflect.ValueOf(tt.into).Elem().Interface(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Decode(%s) into %T = %#v, %v, want %#v", tt.raw, tt.into, got, err, tt.want)
		}
	}
}

func TestDecodeIntoWhatTheCallerPut(t *testing.T) {
	var inner struct{ Data any }
	var dst any = &inner
	raw := []byte(`{"Data":{"_placeholder":true,"num":0}}`)
	if err := Decode(raw, [][]byte{b1}, &dst); err != nil || !reflect.DeepEqual(inner.Data, Binary(b1)) {
		t.Errorf("Decode into a pointer within an any = %#v, %v, want the bytes behind that pointer", inner, err)
	}
	var data []byte
	dst = &data
	if err := Decode([]byte(`{"_placeholder":true,"num":0}`), [][]byte{b1}, &dst); err != nil || string(data) != string(b1) {
		t.Errorf("Decode into a *[]byte within an any = %v, %v, want %v", data, err, b1)
	}
}

// A type that decodes itself sees base64 and is not touched afterwards.
type selfDecoding struct{ Any any }

func (s *selfDecoding) UnmarshalJSON(b []byte) error {
	var m map[string]string
	err := json.Unmarshal(b, &m)
	s.Any = m["Any"]
	return err
}

func TestDecodeSelfDecoding(t *testing.T) {
	var dst struct {
		X selfDecoding
		P *selfDecoding
	}
	const self = `{"Any":{"_placeholder":true,"num":0}}`
	err := Decode([]byte(`{"X":`+self+`,"P":`+self+`}`), [][]byte{b1}, &dst)
	if err != nil || dst.X.Any != "AQ==" || dst.P.Any != "AQ==" {
		t.Errorf("Decode into types with UnmarshalJSON = %#v, %v, want their own result", dst, err)
	}
}

func TestDecodeWithoutAttachments(t *testing.T) {
	var got any
	err := Decode([]byte(`{"_placeholder":true,"num":0}`), nil, &got)
	if want := any(map[string]any{"_placeholder": true, "num": 0.0}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode without attachments = %#v, %v, want the object itself", got, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	const p0 = `{"_placeholder":true,"num":0}`
	for _, raw := range []string{
		`{"_placeholder":true,"num":1}`, `{"_placeholder":true,"num":-1}`, `{"_placeholder":true,"num":0.5}`, `{"_placeholder":true}`,
		`[{"a":{"_placeholder":true,"num":"0"}}]`, `{"_placeholder":true,"num":1e999}`, `{"_placeholder":true,"num":null}`,
		`[` + strings.Repeat(p0+",", 4) + p0 + `]`,
	} {
		var dst any
		if err := Decode([]byte(raw), [][]byte{b1}, &dst); err != ErrPlaceholder || err.Error() != "value: illegal attachments" {
			t.Errorf("Decode(%s) = %v, %v, want illegal attachments", raw, dst, err)
		}
	}
	for _, raw := range []string{``, `{`, `[` + p0, p0 + `x`, p0 + p0, `[` + p0 + `,]`, `{"a" ` + p0 + `}`, `{` + p0 + `}`, `{"a":` + p0 + `,}`, `[1 2]`} {
		var dst any
		var e *json.SyntaxError
		if err := Decode([]byte(raw), [][]byte{b1}, &dst); !errors.As(err, &e) {
			t.Errorf("Decode(%s) = %v, %v, want a syntax error", raw, dst, err)
		}
	}
	for _, dst := range []any{nil, 5, (*[]byte)(nil), (*Binary)(nil), (*any)(nil)} {
		var e *json.InvalidUnmarshalError
		if err := Decode([]byte(p0), [][]byte{b1}, dst); !errors.As(err, &e) {
			t.Errorf("Decode into %T = %v, want an InvalidUnmarshalError", dst, err)
		}
	}
	var e *json.UnmarshalTypeError
	if err := Decode([]byte(p0), [][]byte{b1}, new(int)); !errors.As(err, &e) {
		t.Errorf("Decode(bytes) into an int = %v, want an UnmarshalTypeError", err)
	}
}

func TestDecodeSharesNothing(t *testing.T) {
	raw, attachments := []byte(`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0},"text"]`), [][]byte{[]byte("abc")}
	var got []any
	if err := Decode(raw, attachments, &got); err != nil {
		t.Fatal(err)
	}
	var direct []byte
	if err := Decode([]byte(`{"_placeholder":true,"num":0}`), attachments, &direct); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	clear(attachments[0])
	got[0].(Binary)[0] = 'X'
	if want := []any{Binary("Xbc"), Binary("abc"), "text"}; !reflect.DeepEqual(got, want) || string(direct) != "abc" {
		t.Errorf("decoded values after the message was overwritten = %q, %q, want %q, abc", got, direct, want)
	}
}

func BenchmarkDecode(b *testing.B) {
	type file struct {
		Name string
		Data []byte
	}
	for _, bb := range []struct {
		name, raw string
		dst       func() any
	}{
		{"bytes", `{"_placeholder":true,"num":0}`, func() any { return new([]byte) }},
		{"struct", `{"name":"x.png","data":{"_placeholder":true,"num":0}}`, func() any { return new(file) }},
		{"any", `{"name":"x.png","data":{"_placeholder":true,"num":0}}`, func() any { return new(any) }},
	} {
		b.Run("into="+bb.name, func(b *testing.B) {
			raw, attachments := []byte(bb.raw), [][]byte{make([]byte, 1000)}
			b.ReportAllocs()
			for b.Loop() {
				if err := Decode(raw, attachments, bb.dst()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
