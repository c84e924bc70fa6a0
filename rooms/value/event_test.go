package value

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	b1 = []byte{1}
	b2 = []byte{2, 2}
	b3 = []byte{3, 3, 3}
)

type color string
type octets []byte
type hexes []byte

func (h hexes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(h)), nil }

func TestAppendArgsValues(t *testing.T) {
	var nilBytes []byte
	var nilMap map[string]any
	for _, tt := range []struct {
		arg  any
		want string
	}{
		{nil, `null`}, {true, `true`}, {"", `""`}, {`a"b\c/<>&`, `"a\"b\\c/<>&"`},
		{"\b\f\n\r\t\x00\x1f\x7f", `"\b\f\n\r\t\u0000\u001f` + "\x7f\""},
		{"é€😀\u2028", "\"é€😀\u2028\""}, {"a\xffb\xc3", `"a` + "\ufffdb\ufffd\""},
		{-1, `-1`}, {int8(-8), `-8`}, {int16(5), `5`}, {int32(7), `7`}, {int64(math.MinInt64), `-9223372036854775808`},
		{uint(1), `1`}, {uint8(8), `8`}, {uint16(5), `5`}, {uint32(7), `7`}, {uint64(math.MaxUint64), `18446744073709551615`},
		{1.5, `1.5`}, {100.0, `100`}, {1e21, `1e+21`}, {1e20, `100000000000000000000`}, {1e-6, `0.000001`}, {1e-7, `1e-7`},
		{1.5e-10, `1.5e-10`}, {float32(0.1), `0.1`}, {float32(1e21), `1e+21`}, {0.30000000000000004, `0.30000000000000004`},
		{[]string{"a", "<"}, `["a","<"]`}, {[]string(nil), `null`}, {[]any{}, `[]`}, {[]any(nil), `null`},
		{map[string]any{"b": 1, "a": []any{nil, "x"}}, `{"a":[null,"x"],"b":1}`}, {nilMap, `null`}, {nilBytes, `null`},
		{json.RawMessage(` {"x" : [1]} `), ` {"x" : [1]} `}, {json.RawMessage(nil), `null`}, {json.Number("1e3"), `1e3`},
		{struct{}{}, `{}`}, {struct{ A int }{1}, `{"A":1}`}, {color("red"), `"red"`}, {map[int]bool{2: true}, `{"2":true}`},
		{[]int{1, 2}, `[1,2]`}, {[3]byte{1, 2, 3}, `[1,2,3]`}, {hexes{0xab}, `"ab"`}, {(*int)(nil), `null`},
		{errors.New("x"), `{}`}, {time.Second, `1000000000`}, {"<" + strings.Repeat("x", 100), `"<` + strings.Repeat("x", 100) + `"`},
	} {
		out, attachments, err := AppendArgs([]byte("43"), []any{tt.arg}, 0)
		if string(out) != "43["+tt.want+"]" || attachments != nil || err != nil {
			t.Errorf("AppendArgs(%#v) = %s, %v, %v, want 43[%s]", tt.arg, out, attachments, err, tt.want)
		}
	}
}

func TestAppendEventBytesAnywhere(t *testing.T) {
	type inner struct {
		Data octets `json:"data"`
	}
	p := b1
	pp := &p
	for _, tt := range []struct {
		arg  any
		want string // with # for placeholders, in order
		n    int
	}{
		{b1, `#`, 1}, {Binary(b1), `#`, 1}, {octets(b1), `#`, 1}, {bytesByPointer(b1), `#`, 1}, {&[]bytesByPointer{b1}, `["01"]`, 0}, {pp, `#`, 1}, {&pp, `#`, 1}, {[]byte{}, `#`, 1},
		{[]any{b1, []any{b2}, map[string]any{"k": b3}}, `[#,[#],{"k":#}]`, 3},
		{map[string]any{"b": b1, "a": b2, "c": "x"}, `{"a":#,"b":#,"c":"x"}`, 2},
		{map[string][]byte{"b": b1, "a": b2}, `{"a":#,"b":#}`, 2},
		{map[int]any{10: b1, 9: nil}, `{"10":#,"9":null}`, 1},
		{[][]byte{b1, nil, b2}, `[#,null,#]`, 2}, {[2]Binary{b1, b2}, `[#,#]`, 2},
		{inner{b1}, `{"data":#}`, 1}, {&inner{b1}, `{"data":#}`, 1}, {[]inner{{b1}, {b2}}, `[{"data":#},{"data":#}]`, 2},
		{map[string]*inner{"x": {b1}, "y": nil}, `{"x":{"data":#},"y":null}`, 1},
		{[]any{inner{b1}, hexes{1}, "x"}, `[{"data":#},"01","x"]`, 1},
		{struct{ V any }{struct{ W any }{b1}}, `{"V":{"W":#}}`, 1},
		{struct {
			E error
			S fmt.Stringer
		}{}, `{"E":null,"S":null}`, 0},
	} {
		want := tt.want
		for i := range tt.n {
			want = strings.Replace(want, "#", fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i), 1)
		}
		out, attachments, err := AppendEvent(nil, "e", []any{tt.arg}, 0)
		if string(out) != `["e",`+want+"]" || len(attachments) != tt.n || err != nil {
			t.Errorf("AppendEvent(%#v) = %s, %v, %v, want %s and %d attachments", tt.arg, out, attachments, err, want, tt.n)
		}
	}
	_, attachments, _ := AppendEvent(nil, "e", []any{b3}, 0)
	if &attachments[0][0] != &b3[0] {
		t.Error("AppendEvent copied a byte slice, want the argument's own memory")
	}
}

type badMarshaler struct{ out string }

func (b badMarshaler) MarshalJSON() ([]byte, error) { return []byte(b.out), nil }

func TestAppendEventErrors(t *testing.T) {
	type node struct {
		Data []byte
		Next *node
	}
	cycle := &node{}
	cycle.Next = cycle
	list := []any{nil}
	list[0] = list
	object := map[string]any{}
	object["x"] = object
	for _, bad := range []any{
		math.NaN(), math.Inf(1), float32(math.Inf(-1)), func() {}, make(chan int), complex(1, 2), cycle, list, object,
		[]any{math.NaN()}, map[string]any{"x": math.Inf(1)}, struct{ F float64 }{math.NaN()}, struct{ F any }{math.NaN()},
		map[bool][]byte{}, map[any]any{}, struct{ C []chan []byte }{make([]chan []byte, 1)},
		json.RawMessage(`{`), json.RawMessage(``), json.RawMessage(`1 2`), json.RawMessage("\"\xff\""),
		badMarshaler{`{`}, badMarshaler{"\"\xff\""}, json.Number("x"), struct {
			B []byte
			M badMarshaler
		}{},
	} {
		dst := []byte("kept")
		out, attachments, err := AppendEvent(dst, "e", []any{1, b1, bad}, 0)
		var e *EncodeError
		if !errors.As(err, &e) || e.Arg != 2 || e.Unwrap() == nil || string(out) != "kept" || attachments != nil {
			t.Errorf("AppendEvent(%T) = %s, %v, %v, want an error of argument 2", bad, out, attachments, err)
		}
	}
	for _, event := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		out, _, err := AppendEvent([]byte("4"), event, nil, 0)
		if !errors.Is(err, ErrReserved) || string(out) != "4" || !strings.Contains(err.Error(), `"`+event+`" is a reserved event name`) {
			t.Errorf("AppendEvent(%s) = %s, %v, want ErrReserved", event, out, err)
		}
	}
	eleven := bytes.SplitAfter(bytes.Repeat([]byte("x"), 10), nil)
	for len(eleven) < 11 {
		eleven = append(eleven, b1)
	}
	if _, _, err := AppendEvent(nil, "e", []any{eleven[:10]}, 0); err != nil {
		t.Errorf("AppendEvent(10 attachments) = %v, want nil", err)
	}
	if _, _, err := AppendEvent(nil, "e", []any{eleven}, 0); err != ErrTooManyAttachments {
		t.Errorf("AppendEvent(11 attachments) = %v, want ErrTooManyAttachments", err)
	}
	if _, _, err := AppendArgs(nil, []any{func() {}}, 0); err == nil || err.Error() != "value: argument 0: json: unsupported type: func()" {
		t.Errorf("AppendArgs(func) = %v, want the argument and the cause", err)
	}
}

// Only nesting is bounded, not how many lists and objects there are.
func TestAppendEventWide(t *testing.T) {
	wide := make([]any, 3*maxEncodeDepth)
	for i := range wide {
		wide[i] = []any{[]any{}, map[string]any{}, struct{ V any }{}, map[int]any{}}[i%4]
	}
	deep := any("x")
	for range maxEncodeDepth - 1 {
		deep = []any{deep}
	}
	if _, _, err := AppendEvent(nil, "e", []any{wide, deep, deep}, 0); err != nil {
		t.Errorf("AppendEvent(%d lists and objects) = %v, want nil", len(wide), err)
	}
}

// A failed value must leave nothing behind in the pooled encoder.
func TestEncodeAfterError(t *testing.T) {
	for range 3 {
		AppendJSON(nil, make(chan int))
		out, err := AppendJSON([]byte("x"), struct{ A string }{"<"})
		if string(out) != `x{"A":"<"}` || err != nil {
			t.Fatalf("AppendJSON after an error = %s, %v, want x{\"A\":\"<\"}", out, err)
		}
	}
	if out, err := AppendJSON(nil, map[string][]byte{"b": b1}); string(out) != `{"b":"AQ=="}` || err != nil {
		t.Errorf("AppendJSON(bytes) = %s, %v, want base64", out, err)
	}
}

func TestFloatsAreEncodingJSONs(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1e-6, 9.999e-7, 1e-7, 1e-9, 1e-10, 1e-99, 1e-100, 1e20, 1e21, 1e22, 1e100,
		math.MaxFloat64, math.SmallestNonzeroFloat64, 123456789.123, 5e-324, math.MaxFloat32, 1 << 53} {
		want, _ := json.Marshal([]any{f, float32(f)})
		got, _, err := AppendArgs(nil, []any{f, float32(f)}, 0)
		if string(got) != string(want) && !math.IsInf(float64(float32(f)), 0) || want == nil != (err != nil) {
			t.Errorf("AppendArgs(%g) = %s, %v, want %s", f, got, err, want)
		}
	}
}

func TestAppendEventDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1024)
	args := []any{"hello there", 5, 1.5, true, nil, []string{"a"}, map[string]any{"b": "x", "a": 1.5, "c": []any{"y"}}, json.RawMessage(`{"x":1}`)}
	if n := testing.AllocsPerRun(100, func() { AppendEvent(dst, "chat message", args, 0) }); n != 0 {
		t.Errorf("allocations of AppendEvent = %v, want 0", n)
	}
}

func TestPlansAreIndependentOfOrder(t *testing.T) {
	type b struct {
		A *struct{ B *b }
		D []byte
	}
	// Whether the anonymous struct holds bytes depends on b, and b on it:
	// neither answer may rest on a half-known other.
	anonymous := reflect.TypeFor[b]().Field(0).Type
	if s := shapeOf(reflect.TypeFor[b]()); s != structure {
		t.Errorf("shape of the type with bytes = %v, want structure", s)
	}
	if s := shapeOf(anonymous); s != pointer {
		t.Errorf("shape of the type that leads to it = %v, want pointer", s)
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	type message struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	type file struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	for _, bb := range []struct {
		name string
		args []any
	}{
		{"string", []any{"hello there, 60 bytes or so, it is what people write"}},
		{"struct", []any{message{"r1", "hello there"}}},
		{"map", []any{map[string]any{"room": "r1", "text": "hello there"}}},
		{"bytes", []any{b3}},
		{"structWithBytes", []any{&file{"x.png", b3}}},
	} {
		b.Run("args="+bb.name, func(b *testing.B) {
			dst := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := AppendEvent(dst, "chat message", bb.args, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
