package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
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

func TestAppendMsgpackErrors(t *testing.T) {
	list := []any{nil}
	list[0] = list
	object := map[string]any{}
	object["x"] = object
	for _, bad := range []any{
		math.NaN(), math.Inf(1), float32(math.Inf(-1)), func() {}, list, object, []any{math.NaN()}, map[string]any{"x": make(chan int)},
		struct{ F any }{math.NaN()}, json.RawMessage(`{`), json.RawMessage(``), json.RawMessage("\"\xff\""), json.Number("x"),
	} {
		dst := []byte("kept")
		out, err := appendMsgpackEvent(dst, "/", 0, false, "e", []any{1, b1, bad})
		var e *value.EncodeError
		if !errors.As(err, &e) || e.Arg != 2 || e.Unwrap() == nil || string(out) != "kept" {
			t.Errorf("appendMsgpackEvent(%T) = %s, %v, want an error of argument 2", bad, out, err)
		}
		_, _, errJSON := value.AppendEvent(nil, "e", []any{1, b1, bad}, 0)
		if fmt.Sprint(err) != fmt.Sprint(errJSON) {
			t.Errorf("appendMsgpackEvent(%T) = %v, want AppendEvent's %v", bad, err, errJSON)
		}
	}
	if out, err := appendMsgpackEvent([]byte("x"), "/", 0, false, "disconnect", nil); !errors.Is(err, value.ErrReserved) || string(out) != "x" {
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
