package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var jsonSeeds = []string{
	``, ` `, `null`, `true`, `fals`, `nul`, `0`, `-0`, `00`, `-`, `1.`, `.5`, `1.5e`, `1e+5`, `1E-5`, `+1`, `1e5.5`, `-1.25e+10 `,
	`""`, `"a`, `"\`, `"\u12"`, `"\u12aF"`, `"\x"`, `"\"\\\/\b\f\n\r\t"`, "\"\x1f\"", "\"\x7f\xff\"", `"12345678"`, `"1234567\"`,
	"\"12345678\n\"", `"é€😀"`, `[]`, `[ ]`, `[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[]]`, `[[[]]]`, `{}`, `{ }`, `{"a":1}`,
	`{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":{"b":[{}]}}`, "\t\r\n [ 1 , { \"a\" : null } ] \n", "\u00a01", "\v1",
	"[\x001]", `{"_placeholder":true,"num":0}`, `truex`, `{"a":1}x`, `"\ud83d\ude00\ud83d"`,
}

func valid(b []byte, depth int) bool {
	end := skipValue(b, skipSpace(b, 0), depth)
	return end >= 0 && skipSpace(b, end) == len(b)
}

// depthOf is how deep b nests, by encoding/json.
func depthOf(t *testing.T, b []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(b))
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		deepest = max(deepest, depth)
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(strings.Repeat("[", 10000) + strings.Repeat("]", 10000)))
	f.Add([]byte(strings.Repeat("[", 10001) + strings.Repeat("]", 10001)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, want := valid(b, maxDepth), json.Valid(b)
		if got != want {
			t.Fatalf("valid(%q) = %v, want %v", b, got, want)
		}
		r := newResolver(b, 2)
		if end := r.value(skipSpace(b, 0), maxDepth); r.err == nil && (end >= 0 && skipSpace(b, end) == len(b)) != want {
			t.Fatalf("resolver's verdict on %q = %d, want valid %v", b, end, want)
		}
		if !want {
			return
		}
		if d := depthOf(t, b); !valid(b, d) || d > 0 && valid(b, d-1) {
			t.Fatalf("valid(%q, %d) = %v, with one less %v, want true, false", b, d, valid(b, d), valid(b, d-1))
		}
		if b = bytes.TrimSpace(b); b[0] == '"' {
			var want string
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			got, _ := unquote(nil, b)
			if string([]rune(string(got))) != want { // a view keeps invalid UTF-8
				t.Fatalf("unquote(%q) = %q, want %q", b, got, want)
			}
		}
	})
}

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

func FuzzDecode(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`[{"a":{"_placeholder":true,"num":1},"Any":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		type all struct {
			A     any `json:"a"`
			Any   any
			Bytes []byte
			Next  []*all
			M     map[string]any
			K     map[int]any
		}
		for _, dst := range []any{new(any), new([]any), new([]byte), new(map[string]any), new(all), new([]all), new(string)} {
			fresh := reflect.New(reflect.TypeOf(dst).Elem()).Interface()
			err := Decode(raw, [][]byte{b1, b2}, dst)
			if errJSON := json.Unmarshal(raw, fresh); bytes.Contains(raw, []byte("holder")) || bytes.Contains(raw, []byte(`\`)) {
				continue
			} else if (err == nil) != (errJSON == nil) || !reflect.DeepEqual(dst, fresh) {
				t.Fatalf("Decode(%q) into %T = %v, %v, want %v, %v", raw, dst, dst, err, fresh, errJSON)
			}
		}
	})
}

// attach makes every other string within v an attachment.
func attach(v any, n *int) any {
	switch v := v.(type) {
	case string:
		if *n++; *n%2 == 0 && *n < 20 {
			return Binary(v)
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
	for _, s := range jsonSeeds {
		f.Add("event", []byte(s))
	}
	f.Add("b", []byte(`["a","b",{"c":"d","e":["f",{"g":"h"},1e300,-0.0]},"<\u2028>"]`))
	f.Add("c", []byte(`"\\u2028>"`)) // a backslash, and then text
	f.Fuzz(func(t *testing.T, event string, raw []byte) {
		var v any
		if json.Unmarshal(raw, &v) != nil || bytes.Contains(raw, []byte("holder")) || bytes.Contains(raw, []byte(`\u00`)) {
			return
		}
		plain, _, err := defaults.AppendAckArgs(nil, []any{v})
		want, errWant := json.Marshal([]any{v})
		if err != nil || errWant != nil || !sameJSON(plain, want) {
			t.Fatalf("AppendAckArgs(%q) = %s, %v, want %s, %v", raw, plain, err, want, errWant)
		}
		v = attach(v, new(int))
		msg, attachments, err := defaults.AppendEvent(nil, "/n", 7, true, event, []any{v})
		if Reserved(event) != errors.Is(err, ErrReserved) || err != nil && !errors.Is(err, ErrReserved) {
			t.Fatalf("AppendEvent(%q, %v) = %v", event, v, err)
		}
		if err != nil {
			return
		}
		var a Assembler
		var p Packet
		done, err := a.Text(msg, Limits{MaxDepth: maxDepth}, &p)
		for _, b := range attachments {
			done, err = a.Binary(b, &p)
		}
		if !done || err != nil || string(p.Event) != string([]rune(event)) || p.ID != 7 || len(p.Args) != 1 {
			t.Fatalf("assembling %q = %s, %v, want the event %q", msg, show(&p), err, event)
		}
		var got any
		if err := Decode(p.Args[0], p.Buffers, &got); err != nil || !reflect.DeepEqual(got, v) {
			t.Fatalf("Decode(%q) = %#v, %v, want %#v", p.Args[0], got, err, v)
		}
	})
}

// sameJSON compares our text with encoding/json's, which escapes more.
func sameJSON(got, want []byte) bool {
	s := strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(string(want))
	return string(got) == s
}
