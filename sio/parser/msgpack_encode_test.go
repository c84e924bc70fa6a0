package parser

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

// What Node's server sends, byte for byte, but for keys that are undefined there.
func TestAppendMsgpackPackets(t *testing.T) {
	must := func(out []byte, err error) []byte {
		if err != nil {
			t.Error(err)
		}
		return out
	}
	data := map[string]any{"code": 401, "key": b2}
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{must(toMsgpack(nil, AppendConnect(nil, "/", "abc", ""), nil)), `83 'type' 00 'data' 81 'sid' 'abc' 'nsp' '/'`},
		{must(toMsgpack(nil, AppendConnect(nil, "/a", "abc", "def"), nil)), `83 'type' 00 'data' 82 'sid' 'abc' 'pid' 'def' 'nsp' '/a'`},
		{must(toMsgpack(nil, AppendConnect(nil, "", "", ""), nil)), `82 'type' 00 'nsp' '/'`},
		{must(toMsgpack(nil, AppendDisconnect(nil, "/"), nil)), `82 'type' 01 'nsp' '/'`},
		{must(toMsgpack([]byte("x"), AppendDisconnect(nil, "/admin"), nil)), `78 82 'type' 01 'nsp' '/admin'`},
		{must(appendMsgpackConnectError(nil, "/", "Not_authorized", nil)), `83 'type' 04 'nsp' '/' 'data' 81 'message' 'Not_authorized'`},
		{must(appendMsgpackConnectError(nil, "/a", "x", data)),
			`83 'type' 04 'nsp' '/a' 'data' 82 'message' 'x' 'data' 82 'code' cd0191 'key' 'AgI='`},
		{must(appendMsgpackEvent(nil, "/", 0, false, "foo", nil)), `83 'type' 02 'data' 91 'foo' 'nsp' '/'`},
		{must(appendMsgpackEvent(nil, "/", 0, false, "b", []any{[]byte{1, 2, 3, 4}})), `83 'type' 02 'data' 92 'b' c40401020304 'nsp' '/'`},
		{must(appendMsgpackEvent(nil, "/a", 300, true, "foo", []any{1})), `84 'type' 02 'data' 92 'foo' 01 'id' cd012c 'nsp' '/a'`},
		{must(appendMsgpackAck(nil, "/", 5, []any{"x"})), `84 'id' 05 'type' 03 'data' 91 'x' 'nsp' '/'`},
		{must(appendMsgpackAck([]byte("x"), "", 0, nil)), `78 84 'id' 00 'type' 03 'data' 90 'nsp' '/'`},
	} {
		if want := wire(tt.want); !bytes.Equal(tt.got, want) {
			t.Errorf("packet = %x, want %x (%s)", tt.got, want, tt.want)
		}
	}
}

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
		got, err := appendMsgpackAck(nil, "/", 1, []any{"x", tt.arg, "y"})
		want := wire(`84 'id' 01 'type' 03 'data' 93 'x' ` + tt.want + ` 'y' 'nsp' '/'`)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("appendMsgpackAck(%#v) = %x, %v, want %x", tt.arg, got, err, want)
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
			asJSON, attachments, errJSON := defaults.AppendAckArgs(nil, []any{v})
			msg, err := appendMsgpackAck(nil, "/", 1, []any{v})
			if err != nil || errJSON != nil {
				t.Fatalf("encoding %T = %v, as JSON %v", v, err, errJSON)
			}
			var packet Packet
			if err := ParseMsgpack(msg, Limits{MaxArgs: 1 << 20}, &packet); err != nil {
				t.Fatalf("ParseMsgpack(%.100x) of %T = %v", msg, v, err)
			}
			var want any
			errJSON = Decode(asJSON, attachments, &want)
			if got, _ := decodeAny(packet.Data); errJSON != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%T reaches clients as %.200v, with JSON as %.200v, %v", v, got, want, errJSON)
			}
		}
	}
}

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
		out, err := appendMsgpackEvent(dst, "/", 0, false, "e", []any{1, b1, bad})
		var e *EncodeError
		if !errors.As(err, &e) || e.Arg != 2 || e.Unwrap() == nil || string(out) != "kept" {
			t.Errorf("appendMsgpackEvent(%T) = %s, %v, want an error of argument 2", bad, out, err)
		}
		_, _, errJSON := defaults.AppendArgs(nil, "e", []any{1, b1, bad})
		if fmt.Sprint(err) != fmt.Sprint(errJSON) {
			t.Errorf("appendMsgpackEvent(%T) = %v, want AppendArgs's %v", bad, err, errJSON)
		}
	}
	if out, err := appendMsgpackEvent([]byte("x"), "/", 0, false, "disconnect", nil); !errors.Is(err, ErrReserved) || string(out) != "x" {
		t.Errorf("appendMsgpackEvent(disconnect) = %s, %v, want ErrReserved", out, err)
	}
	if out, err := appendMsgpackConnectError([]byte("x"), "/", "m", func() {}); err == nil || string(out) != "x" {
		t.Errorf("appendMsgpackConnectError(func) = %s, %v, want an error", out, err)
	}
	if out, err := AppendMsgpackPacket([]byte("x"), &Packet{Type: Event, Data: []byte(`["a",`)}); err == nil || string(out) != "x" {
		t.Errorf("AppendMsgpackPacket of a cut payload = %s, %v, want an error", out, err)
	}
}

// A packet made for the one parser reaches clients of the other.
func TestAppendMsgpackPacket(t *testing.T) {
	for _, tt := range []struct {
		text        string
		attachments [][]byte
		want        string
	}{
		{`2["foo"]`, nil, `83 'type' 02 'data' 91 'foo' 'nsp' '/'`},
		{`52-/a,7["e",{"_placeholder":true,"num":1},[{"x":{"num":0.0,"_placeholder":true}}]]`, [][]byte{b1, b2},
			`84 'type' 02 'data' 93 'e' c4020202 91 81 'x' c40101 'id' 07 'nsp' '/a'`},
		{`61-5[{"_placeholder":true,"num":0}]`, [][]byte{b1}, `84 'id' 05 'type' 03 'data' 91 c40101 'nsp' '/'`},
		{`0{"sid":"abc"}`, nil, `83 'type' 00 'data' 81 'sid' 'abc' 'nsp' '/'`}, {`0/a,`, nil, `82 'type' 00 'nsp' '/a'`},
		{`1`, nil, `82 'type' 01 'nsp' '/'`}, {`4/a,"no"`, nil, `83 'type' 04 'nsp' '/a' 'data' 'no'`},
	} {
		var a Assembler
		var p Packet
		if _, err := a.Text([]byte(tt.text), Limits{}, &p); err != nil {
			t.Fatal(err)
		}
		for _, b := range tt.attachments {
			if _, err := a.Binary(b, &p); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // then from MessagePack
			got, err := AppendMsgpackPacket([]byte("x"), &p)
			if want := wire("78 " + tt.want); err != nil || !bytes.Equal(got, want) {
				t.Errorf("AppendMsgpackPacket(%s) = %x, %v, want %x", tt.text, got, err, want)
			}
			if err := ParseMsgpack(got[1:], Limits{}, &p); err != nil {
				t.Errorf("ParseMsgpack(%x) = %v", got[1:], err)
			}
		}
	}
}
