package parser

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// show writes a packet as the tables below do: type, namespace, id, event,
// arguments or payload, attachments.
func show(p *Packet) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%v %s", p.Type, p.Namespace)
	if p.HasID {
		fmt.Fprintf(&s, " id=%d", p.ID)
	}
	if p.Type == Event {
		fmt.Fprintf(&s, " event=%s", p.Event)
	}
	if p.Type == Event || p.Type == Ack {
		fmt.Fprintf(&s, " args=%s", p.Args)
	} else if p.Data != nil {
		fmt.Fprintf(&s, " data=%s", p.Data)
	}
	if p.Attachments > 0 {
		fmt.Fprintf(&s, " +%d", p.Attachments)
	}
	return s.String()
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ msg, want string }{
		{`0`, `CONNECT /`},
		{`0{"token":"123"}`, `CONNECT / data={"token":"123"}`},
		{`0/admin`, `CONNECT /admin`},
		{`0/admin,`, `CONNECT /admin`},
		{`0/admin,{"token":"123"}`, `CONNECT /admin data={"token":"123"}`},
		{`0/`, `CONNECT /`},
		{`0/,`, `CONNECT /`},
		{`0/chat?x=1&y=2,{}`, `CONNECT /chat?x=1&y=2 data={}`},
		{`012{}`, `CONNECT / id=12 data={}`},
		{`1`, `DISCONNECT /`},
		{`1/admin,`, `DISCONNECT /admin`},
		{`2["foo"]`, `EVENT / event=foo args=[]`},
		{`2/admin,["bar"]`, `EVENT /admin event=bar args=[]`},
		{`2/admin,13["foo"]`, `EVENT /admin id=13 event=foo args=[]`},
		{`20["a"]`, `EVENT / id=0 event=a args=[]`},
		{`200012["echo",5]`, `EVENT / id=12 event=echo args=[5]`},
		{`2999999999999999["a"]`, `EVENT / id=999999999999999 event=a args=[]`},
		{`2/,["echo",1]`, `EVENT / event=echo args=[1]`},
		{`2[1,2]`, `EVENT / event=1 args=[2]`},
		{`2[-1.5e3,null]`, `EVENT / event=-1.5e3 args=[null]`},
		{`2[""]`, `EVENT / event= args=[]`},
		{`2["error","x"]`, `EVENT / event=error args=["x"]`},
		{`2["__proto__",{"a":[1,{}]},[],"é€😀"]`, `EVENT / event=__proto__ args=[{"a":[1,{}]} [] "é€😀"]`},
		{`2["a\u0062\n\ud83d\ude00\/\ud800"]`, "EVENT / event=ab\n😀/\ufffd args=[]"},
		{"2[ \"a\" ,\t1\r\n, {} ] \n", `EVENT / event=a args=[1 {}]`},
		{`2["a",{"_placeholder":true,"num":7}]`, `EVENT / event=a args=[{"_placeholder":true,"num":7}]`},
		{`312[]`, `ACK / id=12 args=[]`},
		{`3[]`, `ACK / args=[]`},
		{`3[ ]`, `ACK / args=[]`},
		{`3/admin,13["bar",1]`, `ACK /admin id=13 args=["bar" 1]`},
		{`3["connect"]`, `ACK / args=["connect"]`},
		{`4`, `CONNECT_ERROR /`},
		{`4{"message":"x"}`, `CONNECT_ERROR / data={"message":"x"}`},
		{`4/a,"str"`, `CONNECT_ERROR /a data="str"`},
		{`51-["baz",{"_placeholder":true,"num":0}]`, `EVENT / event=baz args=[{"_placeholder":true,"num":0}] +1`},
		{`52-["e",{"_placeholder":true,"num":1},{"num":1.0,"_placeholder":true}]`,
			`EVENT / event=e args=[{"_placeholder":true,"num":1} {"num":1.0,"_placeholder":true}] +2`},
		{`51-["no placeholder",{"_placeholder":false,"num":9},{"num":9}]`,
			`EVENT / event=no placeholder args=[{"_placeholder":false,"num":9} {"num":9}] +1`},
		{`61-/admin,15["bar",{"_placeholder":true,"num":0}]`, `ACK /admin id=15 args=["bar" {"_placeholder":true,"num":0}] +1`},
		{`510-["a"]`, `EVENT / event=a args=[] +10`},
		{`50001-["a"]`, `EVENT / event=a args=[] +1`},
	} {
		var p Packet
		if err := Parse([]byte(tt.msg), Limits{}, &p); err != nil || show(&p) != tt.want {
			t.Errorf("Parse(%s) = %s, %v, want %s", tt.msg, show(&p), err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 128) + strings.Repeat("]", 128)
	for _, tt := range []struct {
		kind Kind
		text string
		msgs []string
	}{
		{UnknownType, "unknown packet type 9", []string{`9`}},
		{UnknownType, "unknown packet type 7", []string{`7["a"]`}},
		{UnknownType, "unknown packet type NaN", []string{``, `abc`, `-1`, ` 2["a"]`}},
		{InvalidPayload, "invalid payload", []string{
			`2`, `2{}`, `2[]`, `2[ ]`, `2[null]`, `2[{}]`, `2[["a"]]`, `2[true]`, `2["a"`, `2["a",`, `2["a",]`, `2[,"a"]`,
			`2["echo",5]x`, `2["echo",5]]`, `2["a" "b"]`, `2"a"`, `2["a",01]`, `2["a",{"b"}]`, "2[\"a\n\"]",
			`2["connect"]`, `2["connect_error"]`, `2["disconnect"]`, `2["disconnecting"]`, `2["newListener"]`,
			`2["removeListener"]`, `2["conn\u0065ct"]`,
			`2abc["x"]`, `2-1["x"]`, `21.5["x"]`, `2/["echo",5]`, `2 ["echo",5]`, `2/admin`, `21234567890123456["a"]`,
			`3`, `3{}`, `3"a"`, `312`, `3[1`, `0[]`, `0"s"`, `0null`, `0{`, `0{}x`, `0{"a":1,}`, `1{}`, `1[]`, `1x`, `1/admin,{}`,
			`4[]`, `41.5`, `4null`, `2["a",` + deep + `]`, `3[` + deep + `]`,
		}},
		{IllegalAttachments, "Illegal attachments", []string{
			`50-["a"]`, `5-["a"]`, `5["a"]`, `51.5-["a"]`, `51`, `5`, `6-[]`, `5 1-["a"]`, `51e0-["a"]`, `5-1-["a"]`}},
		{IllegalAttachments, "illegal attachments", []string{
			`51-["a",{"_placeholder":true,"num":1}]`, `51-["a",{"_placeholder":true,"num":-1}]`,
			`51-["a",{"_placeholder":true,"num":0.5}]`, `51-["a",{"_placeholder":true,"num":"0"}]`,
			`51-["a",{"_placeholder":true}]`, `61-[[{"x":{"_placeholder":true,"num":1e9}}]]`,
			`51-["a",{"_placeholde\u0072":true,"num":3}]`,
			`51-["a"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 5) + `]`}},
		{TooManyAttachments, "too many attachments", []string{`511-["a"]`, `599999999999999999999999-["a"]`}},
		{TooLarge, "too many arguments", []string{`3[0` + strings.Repeat(",0", 4096) + `]`}},
	} {
		for _, msg := range tt.msgs {
			var p Packet
			err := Parse([]byte(msg), Limits{}, &p)
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.kind || e.Text != tt.text {
				t.Errorf("Parse(%.60s) = %s, %v, want kind %d %q", msg, show(&p), err, tt.kind, tt.text)
			}
		}
	}
}

func TestLimitsAreExact(t *testing.T) {
	nest := func(n int) string { return "3" + strings.Repeat("[", n) + strings.Repeat("]", n) }
	list := func(n int) string { return `2["a"` + strings.Repeat(",0", n) + "]" }
	for _, tt := range []struct {
		msg    string
		limits Limits
		ok     bool
	}{
		{nest(128), Limits{}, true},
		{nest(129), Limits{}, false},
		{nest(3), Limits{MaxDepth: 3}, true},
		{nest(4), Limits{MaxDepth: 3}, false},
		{`0{"a":{"b":{}}}`, Limits{MaxDepth: 3}, true},
		{`0{"a":{"b":{"c":[]}}}`, Limits{MaxDepth: 3}, false},
		{`51-["a",[{"_placeholder":true,"num":0}]]`, Limits{MaxDepth: 3}, true},
		{`51-["a",[{"_placeholder":true,"num":1}]]`, Limits{MaxDepth: 3}, false},
		{list(4096), Limits{}, true},
		{list(4097), Limits{}, false},
		{list(2), Limits{MaxArgs: 2}, true},
		{list(3), Limits{MaxArgs: 2}, false},
		{`512-["a"]`, Limits{MaxAttachments: 12}, true},
		{`513-["a"]`, Limits{MaxAttachments: 12}, false},
	} {
		if err := Parse([]byte(tt.msg), tt.limits, new(Packet)); (err == nil) != tt.ok {
			t.Errorf("Parse(%.40s, %+v) = %v, want ok %v", tt.msg, tt.limits, err, tt.ok)
		}
	}
}

// A Packet is used again and again: nothing of a former message may show.
func TestParseIntoUsedPacket(t *testing.T) {
	msgs := []string{
		`2/admin,13["a\u0062",1,{},[]]`, `0`, `51-["b",{"_placeholder":true,"num":0}]`, `3[]`, `2x`, `2["c"]`, `1`,
		`3/x,7[` + strings.Repeat("1,", 500) + `1]`, `4"no"`, `2["` + strings.Repeat(`\n`, 2000) + `"]`, `2["d",1]`,
	}
	var used Packet
	for range 2 {
		for _, m := range msgs {
			var fresh Packet
			errFresh, errUsed := Parse([]byte(m), Limits{}, &fresh), Parse([]byte(m), Limits{}, &used)
			if !reflect.DeepEqual(errFresh, errUsed) {
				t.Fatalf("Parse(%.40s) = %v into a used packet, want %v", m, errUsed, errFresh)
			}
			if errFresh == nil && show(&used) != show(&fresh) {
				t.Errorf("Parse(%.40s) = %.80s into a used packet, want %.80s", m, show(&used), show(&fresh))
			}
			for _, view := range used.Args[len(used.Args):cap(used.Args)] {
				if view != nil {
					t.Errorf("after Parse(%.40s) the packet still refers to %q of a former message", m, view)
				}
			}
		}
	}
	if cap(used.Args) > 64 {
		t.Errorf("capacity of Args after a large packet and a small one = %d, want at most 64", cap(used.Args))
	}
}

func TestViewsCannotBeAppendedOver(t *testing.T) {
	msg := []byte(`2/a,["e",1,2]`)
	var p Packet
	if err := Parse(msg, Limits{}, &p); err != nil {
		t.Fatal(err)
	}
	for _, view := range append(p.Args, p.Namespace, p.Event, p.Data) {
		_ = append(view, 'X')
	}
	if string(msg) != `2/a,["e",1,2]` {
		t.Errorf("message after appending to its views = %s, want it unchanged", msg)
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, m := range []string{
		`2["chat message",{"room":"r1","text":"hello there, 60 bytes or so"}]`,
		`2/admin,13["a\u0062c",1,2,3,4,5,6,7,8]`,
		`3/admin,13["seen"]`,
		`0/admin,{"token":"123"}`,
		`1`,
	} {
		var p Packet
		msg := []byte(m)
		Parse(msg, Limits{}, &p)
		if n := testing.AllocsPerRun(100, func() { Parse(msg, Limits{}, &p) }); n != 0 {
			t.Errorf("allocations of Parse(%s) = %v, want 0", m, n)
		}
	}
}

func TestTypeString(t *testing.T) {
	if got := fmt.Sprint(Connect, BinaryAck, Type(9)); got != "CONNECT BINARY_ACK 9" {
		t.Errorf("names of types = %s, want CONNECT BINARY_ACK 9", got)
	}
}

func BenchmarkParse(b *testing.B) {
	msg := []byte(`2["chat message",{"room":"r1","text":"hello there, 60 bytes or so"}]`)
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(msg, Limits{}, &p); err != nil {
			b.Fatal(err)
		}
	}
}
