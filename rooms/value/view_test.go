package value

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

// What servers in JavaScript write for values beyond JSON: notepack.io 3.0.1,
// 2.2.0 and @msgpack/msgpack 2.8.0; and what JSON.stringify made of what they
// read.
func TestViewOfDialects(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{`d7ff1d5353006553f100`, `"2023-11-14T22:13:20.123Z"`}, {`d6ff6553f100`, `"2023-11-14T22:13:20.000Z"`}, {`c70cff1dcd6500fffffffffffffffe`, `"1969-12-31T23:59:58.500Z"`},
		{`d7000000018bcfe5687b`, `"2023-11-14T22:13:20.123Z"`}, {`d6ffffffffff`, `"2106-02-07T06:28:15.000Z"`}, {`d7ff0000000000000000`, `"1970-01-01T00:00:00.000Z"`},
		{`d7fffffffffc00000000`, `"1970-01-01T00:00:01.073Z"`}, {`c70cff00000000000007dba8218000`, `"+275760-09-13T00:00:00.000Z"`}, {`c70cff00000000000007dba8218001`, `null`},
		{`c70cff000f4240fffffffffffffffd`, `"1969-12-31T23:59:57.001Z"`}, {`c70cff0007a120ffffffffffffffff`, `"1969-12-31T23:59:59.001Z"`},
		{`c70cff000000007fffffffffffffff`, `null`}, {`c70cff000000008000000000000000`, `null`}, {`c80008ff1d5353006553f100`, `"2023-11-14T22:13:20.123Z"`},
		{`d5ff0a0b`, `[-1,{"_placeholder":true,"num":0}]`}, {`d6fe0a0b0c0d`, `[-2,{"_placeholder":true,"num":0}]`}, {`d5000102`, `[0,{"_placeholder":true,"num":0}]`},
		{`d40000`, `null`}, {`82 'a' d40000 'b' c0`, `{"b":null}`}, {`c702000102`, `{"_placeholder":true,"num":0}`}, {`c4020102`, `{"_placeholder":true,"num":0}`},
		{`93 cb7ff8000000000000 cb7ff0000000000000 cbfff0000000000000`, `[null,null,null]`}, {`cf35c9adc5dea00000`, `3875820019684212736`}, {`cb444b1ae4d6e2ef50`, `1e+21`},
		{`cf0020000000000000`, `9007199254740992`}, {`cb4340000000000000`, `9007199254740992`}, {`a3ff41fe`, `"�A�"`}, {`81 a1ff 01`, `{"�":1}`}, {`82 05 01 ff 02`, `{"5":1,"-1":2}`},
		{`92 81 '_placeholder' c3 d6ff6553f100`, `[{"_placeholder":true},"2023-11-14T22:13:20.000Z"]`}, {`92 81 '_placeholder' c2 c400`, `[{"_placeholder":false},{"_placeholder":true,"num":0}]`},
	} {
		v, err := ViewMsgpack(wire(tt.raw), MaxDepth)
		if err != nil {
			t.Errorf("ViewMsgpack(%s) = %v, want no error", tt.raw, err)
			continue
		}
		text, attachments, err := v.JSON()
		if err != nil || string(text) != tt.want || len(attachments) != strings.Count(tt.want, `"num"`) {
			t.Errorf("JSON of %s = %s, %x, %v, want %s", tt.raw, text, attachments, err, tt.want)
		}
	}
	v, err := ViewMsgpack(wire(`93 81 '_placeholder' c3 c400 81 'x' 01`), MaxDepth)
	if _, _, errJSON := v.JSON(); err != nil || errJSON != ErrPlaceholder {
		t.Errorf("JSON of bytes beside what looks like a placeholder = %v, %v, want %v", err, errJSON, ErrPlaceholder)
	}
	v.Elements(func(e View) bool { // each by itself is clear
		if _, _, err := e.JSON(); err != nil {
			t.Errorf("JSON of an element = %v, want no error", err)
		}
		return true
	})
}

// Clients' messages are read as before: a timestamp is an extension there, and
// texts are UTF-8.
func TestDialectsOfPeersAreNotThoseOfClients(t *testing.T) {
	text, _, err := AppendJSONFromMsgpack(nil, wire(`d6ff6553f100`), nil)
	if want := `[-1,{"_placeholder":true,"num":0}]`; err != nil || string(text) != want {
		t.Errorf("AppendJSONFromMsgpack of a timestamp = %s, %v, want %s", text, err, want)
	}
	if text, _, err := AppendJSONFromMsgpack(nil, wire(`a1ff`), nil); err == nil {
		t.Errorf("AppendJSONFromMsgpack of a text that is not UTF-8 = %s, want an error", text)
	}
}

// describe says what a View is.
func describe(v View) string {
	var b strings.Builder
	if v.Missing() {
		b.WriteString("missing ")
	}
	if v.Null() {
		b.WriteString("null ")
	}
	if text, ok := v.Text(); ok {
		fmt.Fprintf(&b, "text %q ", text)
	}
	if is, ok := v.Bool(); ok {
		fmt.Fprintf(&b, "bool %v ", is)
	}
	if f, ok := v.Number(); ok {
		digits, ok := v.AppendNumber(nil)
		fmt.Fprintf(&b, "number %v %s %v ", f, digits, ok)
	}
	if n, ok := v.Integer(); ok {
		fmt.Fprintf(&b, "integer %d ", n)
	}
	if v.Elements(func(e View) bool { b.WriteString("(" + describe(e) + ") "); return true }) {
		b.WriteString("array ")
	}
	var f [2]View
	if v.Object(f[:], "a", "b") {
		b.WriteString("object " + describe(f[0]) + "/ " + describe(f[1]))
	}
	return b.String()
}

func TestViewIsTheSameInBothEncodings(t *testing.T) {
	for text, want := range map[string]string{
		`null`: `null `, `true`: `bool true `, `false`: `bool false `, `"a\né"`: `text "a\né" `, `""`: `text "" `, `5`: `number 5 5 true integer 5 `,
		`-1`: `number -1 -1 true `, `1.50`: `number 1.5 1.5 true `, `1e2`: `number 100 100 true integer 100 `, `9007199254740991`: `number 9.007199254740991e+15 9007199254740991 true integer 9007199254740991 `,
		`9007199254740993`: `number 9.007199254740992e+15 9007199254740993 true `, `18446744073709551615`: `number 1.8446744073709552e+19 18446744073709551615 true `, `-0`: `number 0 0 true integer 0 `,
		`1e400`: ``, `[]`: `array `, `[1,null]`: `(number 1 1 true integer 1 ) (null ) array `, `{}`: `object missing / missing `,
		`{"b":null,"c":1}`: `object missing / null `, `{"a":1,"a":"x"}`: `object text "x" / missing `, `{"\u0061":[{}]}`: `object (object missing / missing ) array / missing `,
	} {
		v, err := ViewJSON([]byte(" "+text+"\n"), MaxDepth)
		if got := strings.ReplaceAll(describe(v), "number -0", "number 0"); err != nil || got != want {
			t.Errorf("ViewJSON(%s) is %s, %v, want %s", text, got, err, want)
		}
		b, err := AppendMsgpackFromJSON(nil, []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err = ViewMsgpack(b, MaxDepth)
		if got := describe(v); err != nil || got != want {
			t.Errorf("ViewMsgpack(%x), that is %s, is %s, %v, want %s", b, text, got, err, want)
		}
	}
	for raw, want := range map[string]string{
		`d40000`: `missing `, `82 'a' d40000 'b' 01`: `object missing / number 1 1 true integer 1 `, `92 d40000 01`: `(missing ) (number 1 1 true integer 1 ) array `,
		`cb7ff8000000000000`: ``, `c40161`: ``, `81 c40161 01`: ``, `d7000000000000000000`: ``, `82 'a' 01 'a' d40000`: `object missing / missing `,
	} {
		v, err := ViewMsgpack(wire(raw), MaxDepth)
		if raw == `81 c40161 01` {
			if err == nil {
				t.Errorf("ViewMsgpack(%s) = %s, want an error", raw, describe(v))
			}
			continue
		}
		if got := describe(v); err != nil || got != want {
			t.Errorf("ViewMsgpack(%s) is %s, %v, want %s", raw, got, err, want)
		}
	}
	if text, attachments, err := (View{}).JSON(); string(text) != "null" || attachments != nil || err != nil {
		t.Errorf("JSON of what is missing = %s, %v, %v, want null", text, attachments, err)
	}
	if got := describe(View{}); got != "missing " {
		t.Errorf("the zero View is %s, want missing", got)
	}
}

func TestViewLimitsNesting(t *testing.T) {
	for depth, ok := range map[int]bool{9: false, 10: true, 11: true} {
		_, errJSON := ViewJSON([]byte(strings.Repeat("[", 10)+strings.Repeat("]", 10)), depth)
		_, err := ViewMsgpack(wire(strings.Repeat("91 ", 9)+"90"), depth)
		if (errJSON == nil) != ok || (err == nil) != ok {
			t.Errorf("ViewJSON, ViewMsgpack of ten arrays, depth %d = %v, %v, want ok %v", depth, errJSON, err, ok)
		}
	}
	for _, bad := range []string{``, ` `, `1 2`, `[1`, `{"a"}`, `nul`, "\"\n\""} {
		if v, err := ViewJSON([]byte(bad), MaxDepth); err != ErrSyntax || !v.Missing() {
			t.Errorf("ViewJSON(%q) = %s, %v, want an error", bad, describe(v), err)
		}
	}
	for _, bad := range []string{``, `c1`, `91`, `01 01`, `c6ffffffff`, `dfffffffff`, `d4`, `c70cff00`} {
		if v, err := ViewMsgpack(wire(bad), MaxDepth); err != ErrSyntax || !v.Missing() {
			t.Errorf("ViewMsgpack(%s) = %s, %v, want an error", bad, describe(v), err)
		}
	}
}

func TestViewElementsStops(t *testing.T) {
	for _, msgpack := range []bool{false, true} {
		v, err := ViewJSON([]byte(`[1,2,3]`), MaxDepth)
		if msgpack {
			v, err = ViewMsgpack(wire(`93 01 02 03`), MaxDepth)
		}
		n := 0
		if ok := v.Elements(func(View) bool { n++; return n < 2 }); err != nil || !ok || n != 2 {
			t.Errorf("Elements until the second = %v after %d, %v, want true after 2", ok, n, err)
		}
	}
}

func TestAppendJSONWithBuffers(t *testing.T) {
	const p0, p1 = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{`[1]`, 0, `[1]`}, {p0, 0, p0}, {p0, 1, `{"type":"Buffer","data":[1]}`}, {`[` + p1 + `,{"x":` + p0 + `}]`, 2, `[{"type":"Buffer","data":[2,2]},{"x":{"type":"Buffer","data":[1]}}]`},
		{` [ ` + p0 + ` ] `, 1, ` [ {"type":"Buffer","data":[1]} ] `}, {`5`, 2, `5`},
	} {
		got, err := AppendJSONWithBuffers([]byte("x"), []byte(tt.text), [][]byte{b1, b2}[:tt.n])
		if err != nil || string(got) != "x"+tt.want {
			t.Errorf("AppendJSONWithBuffers(%s) = %s, %v, want x%s", tt.text, got, err, tt.want)
		}
	}
	for text, want := range map[string]error{``: ErrSyntax, `[`: ErrSyntax, `1 2`: ErrSyntax, p1: ErrPlaceholder, `[` + p0 + `] 5`: ErrSyntax} {
		got, err := AppendJSONWithBuffers([]byte("x"), []byte(text), [][]byte{b1})
		if err != want || string(got) != "x" {
			t.Errorf("AppendJSONWithBuffers(%s) = %s, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{``, `[`, `1 2`} {
		if got, err := AppendJSONWithBuffers([]byte("x"), []byte(text), nil); err != ErrSyntax || string(got) != "x" {
			t.Errorf("AppendJSONWithBuffers(%q, no attachments) = %s, %v, want an error", text, got, err)
		}
	}
}

// A value reaches another server the same, whatever it was encoded as.
func FuzzView(f *testing.F) {
	for _, s := range []string{
		`dc0013 'e' c0 c2 c3 7f ff cc80 cd0100 ce00010000 cf0000000100000000 d080 d1ff00 d2ffff0000 d3ffffffff00000000 ca3f000000 cb3fe0000000000000 82 'k' c403010203 05 d7000000016f5e66e87b dc0002 d40000 c70401aabbccdd d90161`,
		`d6ff6553f100`, `c70cff1dcd6500fffffffffffffffe`, `a1ff`, `81 a1ff c40101`, `92 81 '_placeholder' c3 c400`, `93 cb7ff8000000000000 d40000 c702000102`,
	} {
		f.Add(wire(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		v, err := ViewMsgpack(b, 100)
		if err != nil {
			return
		}
		text, attachments, err := v.JSON()
		if err != nil {
			return
		}
		asJSON, err := ViewJSON(text, MaxDepth)
		if err != nil || !bytes.Equal(b, before) {
			t.Fatalf("ViewJSON(%q) of %x = %v, want no error", text, before, err)
		}
		describe(v)
		describe(asJSON)
		again, err := AppendMsgpackFromJSON(nil, text, attachments)
		if err != nil {
			t.Fatalf("AppendMsgpackFromJSON(%q) of %x = %v, want no error", text, b, err)
		}
		w, err := ViewMsgpack(again, 200)
		if err != nil {
			t.Fatalf("ViewMsgpack(%x) of %x = %v, want no error", again, b, err)
		}
		text2, attachments2, err := w.JSON()
		if err != nil || !bytes.Equal(text, text2) || len(attachments) != len(attachments2) {
			t.Fatalf("%x as JSON, MessagePack and JSON = %q, %v, want %q", b, text2, err, text)
		}
		if f, ok := asJSON.Number(); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			t.Fatalf("Number of %q = %v, want a finite one", text, f)
		}
	})
}
