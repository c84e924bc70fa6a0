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

func TestAppendMsgpackValues(t *testing.T) {
	long := strings.Repeat("x", 32)
	var nilMap map[string]any
	now := time.Date(2020, 1, 1, 0, 0, 0, 123, time.FixedZone("", 3600))
	for _, tt := range []struct {
		arg  any
		want string
	}{
		{nil, `c0`}, {true, `c3`}, {false, `c2`}, {"", `a0`}, {"é", `'é'`}, {"a\xff\xfe", "'a\ufffd\ufffd'"}, {long, `d920 ` + fmt.Sprintf("%x", long)},
		{0, `00`}, {127, `7f`}, {128, `cc80`}, {255, `ccff`}, {256, `cd0100`}, {65536, `ce00010000`}, {int64(1) << 32, `cf0000000100000000`},
		{int32(-1), `ff`}, {-32, `e0`}, {-33, `d0df`}, {-128, `d080`}, {-129, `d1ff7f`}, {-32769, `d2ffff7fff`}, {int64(math.MinInt64), `d38000000000000000`},
		{int8(5), `05`}, {uint16(500), `cd01f4`}, {uint(200), `ccc8`}, {uint32(70000), `ce00011170`}, {uint64(math.MaxUint64), `cfffffffffffffffff`},
		{1.5, `cb3ff8000000000000`}, {1.0, `01`}, {-3.0, `fd`}, {math.Copysign(0, -1), `00`}, {math.Ldexp(1, 53), `cf0020000000000000`},
		{math.Ldexp(1, 63), `cf80000000000000c0` /* as a float64 the same */}, {-math.Ldexp(1, 63), `d38000000000000000`}, {math.Ldexp(1, 64), `cb43f0000000000000`},
		{-math.Ldexp(1, 64), `cbc3f0000000000000`}, {1e300, `cb7e37e43c8800759c`}, {float32(0.1), `cb3fb999999999999a`}, {float32(2), `02`},
		{[]byte{}, `c400`}, {[]byte(nil), `c0`}, {Binary(b2), `c4020202`}, {octets(b2), `c4020202`}, {&b2, `c4020202`}, {(*[]byte)(nil), `c0`}, {(*int)(nil), `c0`},
		{[]string{"a"}, `91 'a'`}, {[]string(nil), `c0`}, {[]any{1, []any{}}, `92 01 90`}, {[]any(nil), `c0`}, {nilMap, `c0`},
		{map[string]any{"b": b1, "a": nil}, `82 'a' c0 'b' c40101`}, {map[int]bool{2: true}, `81 '2' c3`}, {[]int{1, -1}, `92 01 ff`},
		{struct {
			B []byte `json:"b"`
			N *int   `json:",omitempty"`
			P *int
		}{B: b1}, `82 'b' c40101 'P' c0`},
		{json.RawMessage(` {"x" : [1.50,"\u00e9\n",{"_placeholder":true}]} `), `81 'x' 93 cb3ff8000000000000 a3c3a90a 81 '_placeholder' c3`},
		{json.RawMessage(nil), `c0`}, {json.Number("1e3"), `cd03e8`}, {json.RawMessage("1e999"), `cb7ff0000000000000`},
		{now, `d923 ` + fmt.Sprintf("%x", "2020-01-01T00:00:00.000000123+01:00")}, {hexes{0xab}, `'ab'`},
		{[]struct{ A []byte }{{b1}, {b2}}, `92 81 'A' c40101 81 'A' c4020202`},
	} {
		got, err := appendMsgpackArgs(nil, []any{"x", tt.arg, "y"})
		want := wire(`93 'x' ` + tt.want + ` 'y'`)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("appendMsgpackArgs(%#v) = %x, %v, want %x", tt.arg, got, err, want)
		}
	}
}

// Whatever an argument is, receivers get the same with either parser.
func TestMsgpackArgumentsAreJSONs(t *testing.T) {
	many := make([]any, 70000)
	for i := range many {
		many[i] = struct{ N int }{i}
	}
	wide := map[string]any{}
	for i := range 40 {
		wide[fmt.Sprint(i)] = []int{i}
	}
	values := append(fieldCases(), many, [][]any{many[:20], many[:16], many[:15]}, wide, []any{wide, struct{ W any }{wide}}, map[string]map[string]any{"w": wide},
		strings.Repeat("é", 200), strings.Repeat("y", 70000), bytes.Repeat(b1, 300), bytes.Repeat(b1, 70000), errors.New("x"), [3]byte{1, 2, 3})
	for _, v := range values {
		p := reflect.New(reflect.TypeOf(v))
		p.Elem().Set(reflect.ValueOf(v))
		for _, v := range []any{v, p.Interface(), []any{v}, map[string]any{"v": v}} {
			asJSON, attachments, errJSON := AppendArgs(nil, []any{v}, 0)
			msg, err := appendMsgpackArgs(nil, []any{v})
			if err != nil || errJSON != nil {
				t.Fatalf("encoding %T = %v, as JSON %v", v, err, errJSON)
			}
			if !validMsgpack(msg) {
				t.Fatalf("%.100x of %T is not valid", msg, v)
			}
			var want any
			errJSON = Decode(asJSON, attachments, &want)
			if got, _ := decodeAny(msg); errJSON != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%T reaches clients as %.200v, with JSON as %.200v, %v", v, got, want, errJSON)
			}
		}
	}
}

// What has no form as JSON has none as MessagePack, by way of it.
func TestAppendMsgpackErrors(t *testing.T) {
	list := []any{nil}
	list[0] = list
	object := map[string]any{}
	object["x"] = object
	for _, bad := range []any{
		math.NaN(), math.Inf(1), float32(math.Inf(-1)), func() {}, list, object, []any{math.NaN()}, map[string]any{"x": make(chan int)},
		struct{ F any }{math.NaN()}, json.RawMessage(`{`), json.RawMessage(``), json.RawMessage("\"\xff\""), badMarshaler{`{`}, json.Number("x"),
	} {
		dst := []byte("kept")
		out, err := appendMsgpackArgs(dst, []any{1, b1, bad})
		var e *EncodeError
		if !errors.As(err, &e) || e.Arg != 2 || e.Unwrap() == nil || string(out) != "kept" {
			t.Errorf("appendMsgpackArgs(%T) = %s, %v, want an error of argument 2", bad, out, err)
		}
	}
}
