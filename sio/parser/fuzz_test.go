package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

// again encodes a parsed packet from its parts.
func again(p *Packet) []byte {
	n := string(p.Namespace)
	b := AppendHead(nil, p.Type, p.Attachments, n, p.ID, p.HasID)
	return append(b, p.Data...)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		``, `0`, `0/admin,{"token":"123"}`, `0{"sid":"a","pid":"b"}`, `1/admin,`, `2["foo",1,{"a":[]}]`, `2/admin,13["b\u0061r"]`, `312[]`,
		`4/a,"str"`, `4{"message":"x"}`, `51-["b",{"_placeholder":true,"num":0}]`, `61-/admin,15[{"_placeholder":true,"num":0}]`, `2["connect"]`,
		`52-["e",{"_placeholder":true,"num":1},[{"x":{"_placeholder":true,"num":0}}]]`, `511-["a"]`, `2[1,2]`, `2/,["a"]`, `200012["a"] `,
	} {
		f.Add([]byte(s))
	}
	var used Packet
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p Packet
		err := Parse(msg, Limits{}, &p)
		if errUsed := Parse(msg, Limits{}, &used); fmt.Sprint(err) != fmt.Sprint(errUsed) {
			t.Fatalf("Parse(%q) = %v into a used packet, want %v", msg, errUsed, err)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == 0 || e.Text == "" {
				t.Fatalf("Parse(%q) = %#v, want an *Error with a kind and a text", msg, err)
			}
			return
		}
		if show(&p) != show(&used) {
			t.Fatalf("Parse(%q) = %s into a used packet, want %s", msg, show(&used), show(&p))
		}
		var q Packet
		if err := Parse(again(&p), Limits{}, &q); err != nil || show(&q) != show(&p) {
			t.Fatalf("Parse(%q) = %s, %v, want what Parse(%q) = %s", again(&p), show(&q), err, msg, show(&p))
		}
		checkSplit(t, &p)
	})
}

// checkSplit compares the arguments with what encoding/json makes of the payload.
func checkSplit(t *testing.T, p *Packet) {
	if p.Data != nil && !json.Valid(p.Data) {
		t.Fatalf("payload %q, want valid JSON", p.Data)
	}
	if p.Type != Event && p.Type != Ack {
		return
	}
	var want []json.RawMessage
	if err := json.Unmarshal(p.Data, &want); err != nil {
		t.Fatal(err)
	}
	if p.Type == Event {
		want = want[1:]
	}
	if len(want) != len(p.Args) {
		t.Fatalf("arguments of %q = %q, want %d", p.Data, p.Args, len(want))
	}
	for i := range want {
		if !bytes.Equal(p.Args[i], want[i]) {
			t.Fatalf("argument %d of %q = %q, want %q", i, p.Data, p.Args[i], want[i])
		}
	}
}

// attach makes every other string within v an attachment.
func attach(v any, n *int) any {
	switch v := v.(type) {
	case string:
		if *n++; *n%2 == 0 && *n < 20 {
			return value.Binary(v)
		}
	case []any:
		for i := range v {
			v[i] = attach(v[i], n)
		}
	case map[string]any:
		for k := range v {
			v[k] = attach(v[k], n)
		}
	}
	return v
}

func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{`null`, `-1.25e+10 `, `""`, `"\"\\\/\b\f\n\r\t"`, `"é€😀"`, `[]`, `{"a":{"b":[{}]}}`, "\t\r\n [ 1 , { \"a\" : null } ] \n", `"\ud83d\ude00\ud83d"`} {
		f.Add("event", []byte(s))
	}
	f.Add("b", []byte(`["a","b",{"c":"d","e":["f",{"g":"h"},1e300,-0.0]},"<\u2028>"]`))
	f.Add("c", []byte(`"\\u2028>"`)) // a backslash, and then text
	f.Fuzz(func(t *testing.T, event string, raw []byte) {
		var v any
		if json.Unmarshal(raw, &v) != nil || bytes.Contains(raw, []byte("holder")) || bytes.Contains(raw, []byte(`\u00`)) {
			return
		}
		plain, _, err := value.AppendArgs(nil, []any{v}, 0)
		want, errWant := json.Marshal([]any{v})
		if err != nil || errWant != nil || !sameJSON(plain, want) {
			t.Fatalf("AppendArgs(%q) = %s, %v, want %s, %v", raw, plain, err, want, errWant)
		}
		v = attach(v, new(int))
		msg, attachments, err := defaults.AppendEvent(nil, "/n", 7, true, event, []any{v})
		if value.Reserved(event) != errors.Is(err, value.ErrReserved) || err != nil && !errors.Is(err, value.ErrReserved) {
			t.Fatalf("AppendEvent(%q, %v) = %v", event, v, err)
		}
		if err != nil {
			return
		}
		var a Assembler
		var p Packet
		done, err := a.Text(msg, Limits{MaxDepth: value.MaxDepth}, &p)
		for _, b := range attachments {
			done, err = a.Binary(b, &p)
		}
		if !done || err != nil || string(p.Event) != string([]rune(event)) || p.ID != 7 || len(p.Args) != 1 {
			t.Fatalf("assembling %q = %s, %v, want the event %q", msg, show(&p), err, event)
		}
		var got any
		if err := value.Decode(p.Args[0], p.Buffers, &got); err != nil || !reflect.DeepEqual(got, v) {
			t.Fatalf("Decode(%q) = %#v, %v, want %#v", p.Args[0], got, err, v)
		}
	})
}

// sameJSON compares our text with encoding/json's, which escapes more.
func sameJSON(got, want []byte) bool {
	s := strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(string(want))
	return string(got) == s
}
