package value

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDecodeMsgpack(t *testing.T) {
	type file struct {
		Name string    `json:"name"`
		Data []byte    `json:"data"`
		At   time.Time `json:"at"`
		Any  any       `json:"any"`
	}
	at := time.UnixMilli(1577836800123).UTC()
	const date = `d7000000016f5e66e87b`
	var nothing any
	for _, tt := range []struct {
		raw  string
		into any
		want any
	}{
		{`'é'`, new(string), "é"}, {`a0`, new(string), ""}, {`'x'`, new(any), any("x")}, {`'x'`, new(color), color("x")}, {`'x'`, new(*string), ptrTo("x")},
		{`05`, new(int), 5}, {`ff`, new(int), -1}, {`cc80`, new(int), 128}, {`cb4008000000000000`, new(int), 3}, {`05`, new(int8), int8(5)},
		{`d3ffffffff00000000`, new(int64), int64(-1 << 32)}, {`cfffffffffffffffff`, new(uint64), uint64(math.MaxUint64)},
		{`05`, new(float64), 5.0}, {`ca3f000000`, new(float64), 0.5}, {`cfffffffffffffffff`, new(float64), math.Ldexp(1, 64)}, {`05`, new(any), any(5.0)},
		{`c3`, new(bool), true}, {`c2`, new(any), any(false)}, {`c0`, new(any), nothing}, {`d40000`, new(any), nothing}, {`c0`, new(string), ""},
		{`cb7ff8000000000000`, new(float64), 0.0}, {`cb7ff0000000000000`, new(any), nothing}, {`92 cbfff0000000000000 01`, new([]any), []any{nil, 1.0}},
		{`c4020102`, new([]byte), []byte{1, 2}}, {`c4020102`, new(Binary), Binary{1, 2}}, {`c4020102`, new(octets), octets{1, 2}}, {`c400`, new([]byte), []byte{}},
		{`c4020102`, new(any), any(Binary{1, 2})}, {`c702000102`, new(any), any(Binary{1, 2})}, {`c70000`, new([]byte), []byte{}}, {`c0`, new([]byte), []byte(nil)},
		{`c4020102`, new(string), "AQI="}, {`c4020102`, new(*[]byte), ptrTo([]byte{1, 2})}, {`92 c40101 c0`, new([][]byte), [][]byte{{1}, nil}},
		{`d6050a0b0c0d`, new(any), any([]any{5.0, Binary{10, 11, 12, 13}})}, {`d5ff0a0b`, new([]any), []any{-1.0, Binary{10, 11}}},
		{`c703070a0b0c`, new([]any), []any{7.0, Binary{10, 11, 12}}}, {`d6000a0b0c0d`, new(any), any([]any{0.0, Binary{10, 11, 12, 13}})},
		{date, new(any), any("2020-01-01T00:00:00.123Z")}, {date, new(string), "2020-01-01T00:00:00.123Z"}, {date, new(time.Time), at},
		{`83 'name' 'n' 'data' c40101 'any' c40102`, new(file), file{Name: "n", Data: b1, Any: Binary{2}}},
		{`82 'NAME' 'n' 'at' ` + date, new(*file), &file{Name: "n", At: at}},
		{`93 81 'a' c40101 91 c40102 81 'a' d40000`, new(any), any([]any{map[string]any{"a": Binary{1}}, []any{Binary{2}}, map[string]any{}})},
		{`84 01 'a' ff 'b' cfffffffffffffffff 'c' 'x"' 'd'`, new(any), any(map[string]any{"1": "a", "-1": "b", "18446744073709551615": "c", `x"`: "d"})},
		{`81 0a c40101`, new(map[int]any), map[int]any{10: Binary{1}}}, {`82 'a' 01 'a' 02`, new(any), any(map[string]any{"a": 2.0})},
		{`92 01 a16e`, new(json.RawMessage), json.RawMessage(`[1,"n"]`)}, {`81 '_placeholder' c3`, new(any), any(map[string]any{"_placeholder": true})},
	} {
		err := decodeMsgpack(wire(tt.raw), tt.into)
		if got := reflect.ValueOf(tt.into).Elem().Interface(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("decodeMsgpack(%s) into %T = %#v, %v, want %#v", tt.raw, tt.into, got, err, tt.want)
		}
	}
}

func ptrTo[T any](v T) *T { return &v }

func TestDecodeMsgpackIntoWhatTheCallerPut(t *testing.T) {
	var inner struct{ Data any }
	var dst any = &inner
	if err := decodeMsgpack(wire(`81 'Data' c40101`), &dst); err != nil || !reflect.DeepEqual(inner.Data, Binary(b1)) {
		t.Errorf("decodeMsgpack into a pointer within an any = %#v, %v, want the bytes behind that pointer", inner, err)
	}
	kept := "kept"
	if err := decodeMsgpack(wire(`c0`), &kept); err != nil || kept != "kept" {
		t.Errorf("decodeMsgpack(nil) into a string = %q, %v, want it as it was", kept, err)
	}
}

func TestDecodeMsgpackErrors(t *testing.T) {
	for _, raw := range []string{``, `c1`, `a1`, `05 05`, `91`, `a1ff`, `81 a1ff 00`, `81 c0 00`, `dfffffffff`, `ddffffffff 00`, `c6ffffffff`, `c9ffffffff00`, `dbffffffff`, `c67fffffff00`,
		`81 'x'`, `d4`, strings.Repeat("91 ", 100000) + "c0"} {
		for _, dst := range []any{new(any), new(string), new(int), new([]byte), new(map[string]any)} {
			if err := decodeMsgpack(wire(raw), dst); err != ErrSyntax {
				t.Errorf("decodeMsgpack(%.40s) into %T = %v, want invalid payload", raw, dst, err)
			}
		}
	}
	for _, dst := range []any{nil, 5, (*[]byte)(nil), (*Binary)(nil), (*any)(nil), (*string)(nil), (*int)(nil), (*int64)(nil), (*bool)(nil), (*float64)(nil)} {
		for _, raw := range []string{`c40101`, `'x'`, `05`, `c3`} {
			var e *json.InvalidUnmarshalError
			if err := decodeMsgpack(wire(raw), dst); !errors.As(err, &e) {
				t.Errorf("decodeMsgpack(%s) into %T = %v, want an InvalidUnmarshalError", raw, dst, err)
			}
		}
	}
	for raw, dst := range map[string]any{`c40101`: new(int), `'x'`: new(int), `05`: new(string), `cb3fe0000000000000`: new(int), `cfffffffffffffffff`: new(int64), `90`: new(bool)} {
		var e *json.UnmarshalTypeError
		if err := decodeMsgpack(wire(raw), dst); !errors.As(err, &e) {
			t.Errorf("decodeMsgpack(%s) into %T = %v, want an UnmarshalTypeError", raw, dst, err)
		}
	}
}

func TestDecodeMsgpackSharesNothing(t *testing.T) {
	raw := wire(`94 'text' c4020102 d6050a0b0c0d 81 'k' c40103`)
	var a any
	var list []any
	var text string
	var direct Binary
	for _, err := range []error{decodeMsgpack(raw, &a), decodeMsgpack(raw, &list), decodeMsgpack(raw[1:6], &text), decodeMsgpack(raw[6:10], &direct)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	clear(raw)
	want := []any{"text", Binary{1, 2}, []any{5.0, Binary{10, 11, 12, 13}}, map[string]any{"k": Binary{3}}}
	if !reflect.DeepEqual(a, any(want)) || !reflect.DeepEqual(list, want) || text != "text" || string(direct) != "\x01\x02" {
		t.Errorf("decoded values after the message was overwritten = %v, %v, %q, %v, want %v", a, list, text, direct, want)
	}
}

// What npm's notepack.io 2.2.0 wrote for the arguments of an event, as a
// JavaScript program would send it on with the JSON parser.
func TestNotepack(t *testing.T) {
	for _, tt := range []struct {
		name, data, json string
		binary           string // attachments
		oneWay           bool   // the JSON says less
	}{
		{"undefined", `a165d40000`, `["e",null]`, "", true},
		{"integers", `a165007fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000cf001fffffffffffff`,
			`["e",0,127,128,255,256,65535,65536,4294967295,4294967296,9007199254740991]`, "", false},
		{"negative integers", `a165ffe0d0dfd080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffffd3ffe0000000000001`,
			`["e",-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649,-9007199254740991]`, "", false},
		{"fractions, and -0", `a165cb3fe000000000000000cb0000000000000001`, `["e",0.5,0,5e-324]`, "", false},
		{"not a number, infinity", `a165cb7ff8000000000000cb7ff0000000000000`, `["e",null,null]`, "", true},
		{"2^53, 2^63, -2^63", `a165cf0020000000000000cf8000000000000000d38000000000000000`, `["e",9007199254740992,9223372036854775808,-9223372036854775808]`, "", false},
		{"dates", `a165d7000000016f5e66e87bd700ffffffffffffffff81a164d7000000000000000000`,
			`["e","2020-01-01T00:00:00.123Z","1969-12-31T23:59:59.999Z",{"d":"1970-01-01T00:00:00.000Z"}]`, "", true},
		{"Buffers", `a165c4020102c400`, `["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "[[1 2] []]", false},
		{"ArrayBuffers", `a165c70300010203c7010009`, `["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "[[1 2 3] [9]]", true},
		{"texts", `a165a9c3a9e282acf09f9880a0`, `["e","é€😀",""]`, "", false},
		{"objects", `a16584a161920181a162c0a175d40000a174c3a26661c2`, `["e",{"a":[1,{"b":null}],"t":true,"fa":false}]`, "", true},
	} {
		raw, n := wire(`00`+tt.data), byte(0)
		for rest := raw[1:]; len(rest) > 0; n++ {
			rest, _ = new(Scanner).Skip(rest, MaxDepth)
		}
		raw[0] = 0x90 + n
		text, attachments, err := AppendJSONFromMsgpack(nil, raw, nil)
		if tt.binary == "" {
			tt.binary = "[]"
		}
		if err != nil || string(text) != tt.json || fmt.Sprint(attachments) != tt.binary {
			t.Errorf("%s: AppendJSONFromMsgpack(%x) = %s, %v, %v, want %s, %s", tt.name, raw, text, attachments, err, tt.json, tt.binary)
		}
		back, err := AppendMsgpackFromJSON(nil, text, attachments)
		if err != nil || (string(back) == string(raw)) == tt.oneWay {
			t.Errorf("%s: AppendMsgpackFromJSON(%s) = %x, %v, want %x: %v", tt.name, text, back, err, raw, !tt.oneWay)
		}
	}
}

func TestAppendJSONFromMsgpack(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{`d7000000e677d21fdbff`, `"9999-12-31T23:59:59.999Z"`}, {`d7000000e677d21fdc00`, `"+010000-01-01T00:00:00.000Z"`},
		{`d700ffffc77590fba000`, `"0000-01-01T00:00:00.000Z"`}, {`d700ffffc77590fb9fff`, `"-000001-12-31T23:59:59.999Z"`},
		{`d700001eb208c2dc0000`, `"+275760-09-13T00:00:00.000Z"`}, {`d700001eb208c2dc0001`, `null`}, {`d7007fffffffffffffff`, `null`},
		{`d700ffe14df73d240000`, `"-271821-04-20T00:00:00.000Z"`}, {`d700ffe14df73d23ffff`, `null`}, {`d7008000000000000000`, `null`},
		{`a6225c0a00c3a9`, `"\"\\\n\u0000é"`}, {`81 a10a a10a`, `{"\n":"\n"}`}, {`82 'a' d40000 'b' 01`, `{"b":1}`}, {`83 'a' 01 'b' d40000 'c' c0`, `{"a":1,"c":null}`},
		{`cb8000000000000000`, `0`}, {`cb444b1ae4d6e2ef50`, `1e+21`}, {`ca3dcccccd`, `0.10000000149011612`}, {`d8000102030405060708090a0b0c0d0e0f10`, `[0,{"_placeholder":true,"num":2}]`},
	} {
		text, attachments, err := AppendJSONFromMsgpack([]byte("x"), wire(tt.raw), [][]byte{b1, b2})
		if err != nil || string(text) != "x"+tt.want || len(attachments) != 2+strings.Count(tt.want, "_placeholder") {
			t.Errorf("AppendJSONFromMsgpack(%s) = %s, %v, %v, want x%s behind the attachments given", tt.raw, text, attachments, err, tt.want)
		}
	}
	text, attachments, err := AppendJSONFromMsgpack([]byte("x"), wire(`92 c400`), [][]byte{b1})
	if err != ErrSyntax || string(text) != "x" || len(attachments) != 1 {
		t.Errorf("AppendJSONFromMsgpack of a cut value = %s, %v, %v, want an error and nothing appended", text, attachments, err)
	}
}

func TestAppendMsgpackFromJSONErrors(t *testing.T) {
	const p0 = `{"_placeholder":true,"num":0}`
	for text, want := range map[string]error{
		``: ErrSyntax, `[`: ErrSyntax, `{"a"}`: ErrSyntax, `1 2`: ErrSyntax, `[1,]`: ErrSyntax, strings.Repeat("[", 10001) + strings.Repeat("]", 10001): ErrSyntax,
		`{"_placeholder":true,"num":1}`: ErrPlaceholder, `[{"a":{"_placeholder":true}}]`: ErrPlaceholder, `[` + p0 + strings.Repeat(","+p0, 4) + `]`: ErrPlaceholder,
		`[` + p0 + strings.Repeat(","+p0, 3) + `]`: nil,
	} {
		out, err := AppendMsgpackFromJSON([]byte("x"), []byte(text), [][]byte{b1})
		if fmt.Sprint(err) != fmt.Sprint(want) || err != nil && string(out) != "x" {
			t.Errorf("AppendMsgpackFromJSON(%.60s) = %x, %v, want %v", text, out, err, want)
		}
	}
}
