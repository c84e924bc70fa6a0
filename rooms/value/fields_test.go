package value

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Types with every rule of encoding/json's structs. Each holds bytes somewhere,
// so that this package walks it instead of leaving it to encoding/json.

type byValue struct{ N int }

func (v byValue) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"value%d"`, v.N), nil }

type byPointer struct{ N int }

func (v *byPointer) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"pointer%d"`, v.N), nil }

type bytesByPointer []byte

func (v *bytesByPointer) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", *v), nil }

type ptrInt int

func (v *ptrInt) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"int%d"`, *v), nil }

type namedPtr *int

type marked8 byte

func (v *marked8) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "byte%d", *v), nil }

type textInt int

func (v textInt) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "<%d>", int(v)), nil }

type textString string

func (v textString) MarshalText() ([]byte, error) { return []byte("text " + v), nil }

type textKey struct{ A, B int }

func (v textKey) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d,%d", v.A, v.B), nil }

type zeroByValue struct{ N int }

func (v zeroByValue) IsZero() bool { return v.N == 7 }

type zeroByPointer struct{ N int }

func (v *zeroByPointer) IsZero() bool { return v.N == 7 }

type tags struct {
	Data    []byte `json:"data"`
	Renamed string `json:"re<n>amed"`
	//lint:ignore SA5008 how such tags are read is the test
	Dash    int    `json:"-,"`
	Skipped []byte `json:"-"`
	//lint:ignore SA5008 how such tags are read is the test
	Quote int `json:"a\"b"`
	//lint:ignore SA5008 how such tags are read is the test
	Slash   int `json:"a\\b"`
	Unicode int `json:"é名"`
	Empty   int `json:",omitempty"`
	Plain   int `yaml:"x"`
	hidden  []byte
	Omit    []byte             `json:"omit,omitempty"`
	OmitMap map[string][]byte  `json:"omitMap,omitempty"`
	OmitAny any                `json:"omitAny,omitempty"`
	OmitPtr *[]byte            `json:"omitPtr,omitempty"`
	OmitArr [0][]byte          `json:"omitArr,omitempty"`
	OmitStr struct{ B []byte } `json:"omitStr,omitempty"`
	OmitF   float64            `json:"omitF,omitempty"`
	OmitB   bool               `json:"omitB,omitempty"`
}

type zeros struct {
	Data  []byte             `json:"data,omitzero"`
	Time  time.Time          `json:"time,omitzero"`
	TimeP *time.Time         `json:"timeP,omitzero"`
	V     zeroByValue        `json:"v,omitzero"`
	VP    *zeroByValue       `json:"vp,omitzero"`
	P     zeroByPointer      `json:"p,omitzero"`
	PP    *zeroByPointer     `json:"pp,omitzero"`
	I     zeroer             `json:"i,omitzero"`
	Any   any                `json:"any,omitzero"`
	S     struct{ B []byte } `json:"s,omitzero"`
	N     int                `json:"n,omitzero,omitempty"`
	M     map[string]any     `json:"m,omitzero"`
}

type quoted struct {
	//lint:ignore SA5008 the option does not apply here
	Data []byte  `json:",string"`
	B    bool    `json:"b,string"`
	I    int8    `json:"i,string"`
	U    uint    `json:"u,string"`
	F    float64 `json:"f,string"`
	F32  float32 `json:"f32,string,omitempty"`
	S    string  `json:"s,string"`
	P    *int    `json:"p,string"`
	//lint:ignore SA5008 the option does not apply here
	PP **int       `json:"pp,string"`
	N  json.Number `json:"n,string"`
	T  textInt     `json:"t,string"`
	TS textString  `json:"ts,string"`
	//lint:ignore SA5008 the option does not apply here
	V byValue `json:"v,string"`
	//lint:ignore SA5008 the option does not apply here
	Any any `json:"any,string"`
	//lint:ignore SA5008 the option does not apply here
	Slice []int    `json:"slice,string"`
	PI    ptrInt   `json:"pi,string"`
	PIP   *ptrInt  `json:"pip,string"`
	NP    namedPtr `json:"np,string"`
}

type Base struct {
	ID   int
	Blob []byte
	Name string
}
type base struct {
	Lower []byte
	low   []byte
}
type Tagged struct {
	X []byte `json:"Name"`
}
type Deep struct{ Base }
type Number int
type number int
type Self struct {
	*Self
	Blob []byte
	N    int
}
type Wrapper struct{ Named Base }
type Stringer interface{ String() string }

type embeds struct {
	Base
	Name string // hides Base's
}
type embedsPointer struct {
	*Base
	*Deep
	Blob2 []byte
}
type embedsUnexported struct {
	base
	Number
	number
	B []byte
}
type embedsUnexportedPointer struct {
	*base
	B []byte
}
type embedsNamed struct {
	Base `json:"base"`
	*Deep
}
type embedsConflict struct {
	Base
	Other  struct{ Blob []byte } `json:"ID"` // tagged and higher
	Tagged                       // its tag wins over Base.Name
}
type embedsTaggedFirst struct { // the same in the other order
	Tagged
	Base
}
type conflictA struct {
	Same []byte
	Tie  []byte `json:"tie"`
	Deep
}
type ConflictB struct {
	Same []byte
	Tie2 []byte `json:"tie"`
	Blob []byte `json:"blob"`
}
type embedsBoth struct { // Same and tie vanish
	conflictA
	*ConflictB // by pointer, which keeps vet from seeing the tie
	Keep       any
}
type left struct{ Base }
type right struct{ Base }
type diamond struct { // Base twice at one depth: gone
	left
	right
	Keep []byte
}
type hiddenByTie struct { // the tie at depth one hides Deep.Base.Blob at depth two
	conflictA
	Other
}
type Other struct{ ID []byte }
type embedsTime struct { // MarshalJSON is promoted
	time.Time
	B []byte
}
type embedsInterface struct {
	Stringer
	B []byte
}
type methods struct {
	V    byValue
	VP   *byValue
	P    byPointer
	PP   *byPointer
	H    hexes
	BP   bytesByPointer
	List []byPointer
	Arr  [1]byPointer
	Map  map[string]byPointer
	Any  any
	Raw  json.RawMessage
	M    json.Marshaler
	Bits []bits8
	Mark []marked8
}
type bits8 byte

type maps struct {
	S map[string][]byte
	I map[int][]byte
	U map[uint8]any
	T map[textKey][]byte
	P map[*textKey]any
	X map[textString]any
	N map[textInt]any
	C map[color]*Base
	E map[string][]byte
	Z map[string]any
}

func fieldCases() []any {
	now := time.Unix(1700000000, 5).UTC()
	seven, i := 7, 5
	pi := &i
	blob := []byte{0xfe, 0xff}
	b := Base{1, blob, "n<&>"}
	_ = tags{hidden: nil}
	return []any{
		tags{}, tags{Data: blob, Renamed: "x", OmitAny: blob, OmitPtr: &blob, Omit: blob, OmitMap: map[string][]byte{"k": blob}, OmitF: 1e-9},
		tags{Omit: []byte{}, OmitMap: map[string][]byte{}, OmitAny: []any{}, Skipped: blob},
		zeros{}, zeros{V: zeroByValue{7}, P: zeroByPointer{7}, VP: &zeroByValue{7}, PP: &zeroByPointer{7}, I: zeroByValue{7}},
		zeros{Data: []byte{}, Time: now, TimeP: &now, V: zeroByValue{1}, P: zeroByPointer{1}, VP: &zeroByValue{}, PP: &zeroByPointer{},
			I: (*zeroByPointer)(nil), Any: 0, S: struct{ B []byte }{blob}, N: seven, M: map[string]any{}},
		quoted{N: "1"}, quoted{blob, true, -3, 4, 1e21, 0.5, `a"<é`, pi, &pi, "12", 3, "x", byValue{1}, "any", []int{1}, 8, new(ptrInt), pi},
		b, embeds{b, "outer"}, embedsPointer{}, embedsPointer{&b, &Deep{b}, blob}, embedsPointer{Deep: &Deep{b}},
		embedsUnexported{base{blob, nil}, 3, 4, blob}, embedsUnexportedPointer{}, embedsUnexportedPointer{&base{Lower: blob}, nil},
		embedsNamed{b, &Deep{b}}, embedsNamed{}, embedsConflict{b, struct{ Blob []byte }{blob}, Tagged{blob}}, embedsTaggedFirst{Tagged{blob}, b},
		embedsBoth{conflictA{blob, blob, Deep{b}}, &ConflictB{blob, blob, blob}, b}, diamond{left{b}, right{b}, blob},
		hiddenByTie{conflictA{blob, blob, Deep{b}}, Other{blob}}, Self{&Self{nil, blob, 1}, nil, 2}, Wrapper{b},
		embedsTime{now, blob}, embedsInterface{nil, blob}, embedsInterface{now, blob},
		methods{}, methods{byValue{1}, &byValue{2}, byPointer{3}, &byPointer{4}, hexes{5}, bytesByPointer{6}, []byPointer{{7}},
			[1]byPointer{{8}}, map[string]byPointer{"k": {9}}, []any{byPointer{10}, &byPointer{11}, bytesByPointer{12}},
			json.RawMessage("{ \"a\" : 1 }"), &byPointer{13}, []bits8{1, 2}, []marked8{3, 4}},
		maps{}, maps{S: map[string][]byte{"b<": blob, "a": nil}, I: map[int][]byte{10: blob, 9: blob, -1: blob}, U: map[uint8]any{200: 1, 3: blob},
			T: map[textKey][]byte{{1, 2}: blob, {0, 9}: blob}, P: map[*textKey]any{nil: blob, {5, 6}: 1}},
		maps{X: map[textString]any{"k": blob}, N: map[textInt]any{1: blob}, C: map[color]*Base{"red": &b, "blue": nil}, E: map[string][]byte{},
			Z: map[string]any{"x": b, "a": &b, "é\n": nil}},
	}
}

// inBase64 puts base64 for the placeholders in out, as encoding/json writes bytes.
func inBase64(out []byte, attachments [][]byte) string {
	s := string(out)
	for i, a := range attachments {
		text := `"` + base64.StdEncoding.EncodeToString(a) + `"`
		s = strings.Replace(s, fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i), text, 1)
	}
	return s
}

func withEncodingJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestStructsFollowEncodingJSON(t *testing.T) {
	for _, v := range fieldCases() {
		p := reflect.New(reflect.TypeOf(v))
		p.Elem().Set(reflect.ValueOf(v))
		for _, v := range []any{v, p.Interface(), []any{v}, map[string]any{"v": p.Interface()}} {
			out, attachments, err := AppendArgs(nil, []any{v}, 0)
			got, want := inBase64(out, attachments), "["+withEncodingJSON(t, v)+"]"
			if got != want || err != nil {
				t.Errorf("AppendAckArgs(%T %+v)\n  = %s, %v,\nwant %s", v, v, got, err, want)
			}
		}
	}
}

func TestStructsAreWalked(t *testing.T) {
	for _, v := range fieldCases() {
		if s := planOf(reflect.TypeOf(v)).shape; s != structure && reflect.TypeOf(v) != reflect.TypeFor[embedsTime]() {
			t.Errorf("shape of %T = %v, want structure: the differential test would prove nothing", v, s)
		}
	}
}

// The fields that decoding looks bytes up in are the ones it decodes into.
func TestStructsDecodeLikeEncodingJSON(t *testing.T) {
	for _, v := range fieldCases() {
		out, attachments, err := AppendArgs(nil, []any{v}, 0)
		if err != nil {
			t.Fatal(err)
		}
		raw := out[1 : len(out)-1]
		got, want := reflect.New(reflect.TypeOf(v)), reflect.New(reflect.TypeOf(v))
		errGot, errWant := Decode(raw, attachments, got.Interface()), json.Unmarshal([]byte(inBase64(raw, attachments)), want.Interface())
		if fmt.Sprint(errGot) != fmt.Sprint(errWant) {
			t.Errorf("Decode(%s) into %T = %v, want %v", raw, v, errGot, errWant)
		}
		if errWant != nil {
			continue
		}
		// Encoded again both are the same, since Binary is base64 to encoding/json.
		if g, w := withEncodingJSON(t, got.Interface()), withEncodingJSON(t, want.Interface()); g != w {
			t.Errorf("Decode(%s) = %s, want %s", raw, g, w)
		}
	}
}
