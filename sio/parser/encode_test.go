package parser

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms/value"
)

var (
	b1 = []byte{1}
	b2 = []byte{2, 2}
	b3 = []byte{3, 3, 3}
)

func TestAppendPackets(t *testing.T) {
	join := func(out []byte, attachments [][]byte, err error) string {
		return fmt.Sprintf("%s %v %v", out, attachments, err)
	}
	refuse := func(namespace, message string, data any) string {
		out, err := AppendConnectError(nil, namespace, message, data)
		return fmt.Sprintf("%s %v", out, err)
	}
	type nested struct {
		X []any     `json:"x"`
		Y []byte    `json:"y"`
		Z time.Time `json:"z"`
	}
	for _, tt := range []struct{ got, want string }{
		{string(AppendConnect(nil, "/", "abc", "")), `0{"sid":"abc"}`},
		{string(AppendConnect(nil, "/admin", "abc", "def")), `0/admin,{"sid":"abc","pid":"def"}`},
		{string(AppendConnect(nil, "", "", "")), `0`},
		{string(AppendConnect(nil, "/chat", "", "")), `0/chat,`},
		{string(AppendDisconnect(nil, "/")), `1`},
		{string(AppendDisconnect(nil, "/admin")), `1/admin,`},
		{refuse("/", "x", nil), `4{"message":"x"} <nil>`},
		{refuse("/mw", `a<"b"`, map[string]any{"code": 401, "x": []string{"y&"}}),
			`4/mw,{"message":"a<\"b\"","data":{"code":401,"x":["y&"]}} <nil>`},
		{refuse("/", "x", func() {}), ` json: unsupported type: func()`},
		{string(AppendHead(nil, Ack, 3, "/admin", 15, true)), `63-/admin,15`},
		{join(defaults.AppendEvent(nil, "/", 0, false, "foo", nil)), `2["foo"] [] <nil>`},
		{join(defaults.AppendEvent(nil, "/admin", 13, true, "foo", nil)), `2/admin,13["foo"] [] <nil>`},
		{join(defaults.AppendEvent(nil, "/", 0, true, "a", nil)), `20["a"] [] <nil>`},
		{join(defaults.AppendEvent(nil, "/", 0, false, "", []any{1})), `2["",1] [] <nil>`},
		{join(defaults.AppendAck(nil, "/", 12, nil)), `312[] [] <nil>`},
		{join(defaults.AppendAck([]byte("4"), "/admin", 15, []any{b1})), `461-/admin,15[{"_placeholder":true,"num":0}] [[1]] <nil>`},
		{join(defaults.AppendEvent([]byte("4"), "/", 7, true, "b", []any{nested{[]any{b1}, b2, time.Unix(0, 0).UTC()}, b3})),
			`453-7["b",{"x":[{"_placeholder":true,"num":0}],"y":{"_placeholder":true,"num":1},"z":"1970-01-01T00:00:00Z"},` +
				`{"_placeholder":true,"num":2}] [[1] [2 2] [3 3 3]] <nil>`},
		{join(defaults.AppendEvent(nil, "/", 0, false, "a", []any{b1, b1, b1, b1, b1, b1, b1, b1, b1, []any{b1}}))[:8], `510-["a"`},
		{join(value.AppendArgs(nil, []any{"x", nil}, 0)), `["x",null] [] <nil>`},
	} {
		if tt.got != tt.want {
			t.Errorf("packet = %s, want %s", tt.got, tt.want)
		}
	}
}

func TestAppendEventDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1024)
	args := []any{"hello there", 5, 1.5, true, nil, []string{"a"}, map[string]any{"b": "x", "a": 1.5, "c": []any{"y"}}, json.RawMessage(`{"x":1}`)}
	if n := testing.AllocsPerRun(100, func() { defaults.AppendEvent(dst, "/chat", 5, true, "chat message", args) }); n != 0 {
		t.Errorf("allocations of AppendEvent = %v, want 0", n)
	}
}

func TestAppendEventErrors(t *testing.T) {
	for _, event := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		out, _, err := defaults.AppendEvent([]byte("4"), "/", 0, false, event, nil)
		if !errors.Is(err, value.ErrReserved) || string(out) != "4" || !strings.Contains(err.Error(), `"`+event+`" is a reserved event name`) {
			t.Errorf("AppendEvent(%s) = %s, %v, want ErrReserved", event, out, err)
		}
	}
	if _, _, err := defaults.AppendAck(nil, "/", 1, []any{func() {}}); err == nil || err.Error() != "value: argument 0: json: unsupported type: func()" {
		t.Errorf("AppendAck(func) = %v, want the argument and the cause", err)
	}
	three := []any{b1, b2, b3}
	for most, want := range map[int]error{2: value.ErrTooManyAttachments, 3: nil} {
		if _, _, err := (Limits{MaxAttachments: most}).AppendAck(nil, "/", 1, three); err != want {
			t.Errorf("AppendAck(3 attachments) with at most %d = %v, want %v", most, err, want)
		}
	}
}
