package value

import (
	"bytes"
	"encoding/json"
	"errors"
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
	end := Skip(b, SkipSpace(b, 0), depth)
	return end >= 0 && SkipSpace(b, end) == len(b)
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
		got, want := valid(b, MaxDepth), json.Valid(b)
		if got != want {
			t.Fatalf("valid(%q) = %v, want %v", b, got, want)
		}
		r := newResolver(b, 2)
		if end := r.value(SkipSpace(b, 0), MaxDepth); r.err == nil && (end >= 0 && SkipSpace(b, end) == len(b)) != want {
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
			got, _ := Unquote(nil, b)
			if string([]rune(string(got))) != want { // a view keeps invalid UTF-8
				t.Fatalf("Unquote(%q) = %q, want %q", b, got, want)
			}
		}
	})
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

// Handlers get the values that are in the message, whatever they have it decoded
// into.
func FuzzDecodeMsgpack(f *testing.F) {
	for _, s := range []string{`c0`, `d40000`, `05`, `cb3ff8000000000000`, `cfffffffffffffffff`, `'x'`, `c40101`, `d7000000016f5e66e87b`, `d5ff0a0b`,
		`82 'a' c40101 'Bytes' c40102`, `84 'Next' 91 80 'M' 81 'x' c40101 'K' 81 05 c70100ff 'Any' d40000`, `93 01 'x' 92 c3 cb7ff8000000000000`, `c1`, `91`} {
		f.Add(wire(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(raw, []byte("_placeholder")) {
			return // ambiguous as JSON; package parser refuses it
		}
		var got any
		err := decodeMsgpack(raw, &got)
		if valid := validMsgpack(raw); !valid || err != nil {
			if valid || err != ErrSyntax {
				t.Fatalf("decodeMsgpack(%x) = %v, and it is valid: %v", raw, err, valid)
			}
			return
		}
		if want, _ := decodeAny(raw); !reflect.DeepEqual(got, want) {
			t.Fatalf("decodeMsgpack(%x) = %v, want %v", raw, got, want)
		}
	})
}

func FuzzMsgpackFromJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`[{"_placeholder":true,"num":1},{"a":{"num":0.0,"_placeholder":true}},1e999,-0.0,18446744073709551616]`))
	f.Add([]byte(`[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,{"a":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, attachments := range [][][]byte{nil, {b1, b2}} {
			raw, err := AppendMsgpackFromJSON([]byte("x"), text, attachments)
			if errors.Is(err, ErrPlaceholder) && attachments != nil {
				continue
			}
			if (err == nil) != json.Valid(text) {
				t.Fatalf("AppendMsgpackFromJSON(%q) = %v, want valid %v", text, err, json.Valid(text))
			}
			if err != nil {
				continue
			}
			back, buffers, err := AppendJSONFromMsgpack(nil, raw[1:], nil)
			if err != nil {
				t.Fatalf("AppendJSONFromMsgpack(%x) from %q = %v", raw[1:], text, err)
			}
			var got, want any
			errWant := Decode(text, attachments, &want)
			if errWant != nil { // a number that has no float64
				continue
			}
			if attachments != nil && bytes.Contains(text, []byte("placeh")) || bytes.Contains(text, []byte(`\u`)) {
				buffers = attachments // in another order, or objects that only look like placeholders
				continue
			}
			if err := Decode(back, buffers, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q by way of %x = %q, %v, %v, want %v", text, raw[1:], back, got, err, want)
			}
			again, err := AppendMsgpackFromJSON([]byte("x"), back, buffers)
			if err != nil || !bytes.Equal(again, raw) {
				t.Fatalf("AppendMsgpackFromJSON(%q) = %x, %v, want %x as from %q", back, again, err, raw, text)
			}
		}
	})
}
