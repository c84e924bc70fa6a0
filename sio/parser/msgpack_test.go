package parser

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

// wire draws a MessagePack message: hexadecimal bytes, and texts in single
// quotes with their head left out.
func wire(s string) []byte {
	var b []byte
	for _, f := range strings.Fields(s) {
		if text, ok := strings.CutPrefix(f, "'"); ok {
			b = value.AppendMsgpackText(b, strings.TrimSuffix(text, "'"))
			continue
		}
		h, err := hex.DecodeString(f)
		if err != nil {
			panic(err)
		}
		b = append(b, h...)
	}
	return b
}

// inJSON returns p with its payload as JSON.
func inJSON(p *Packet) *Packet {
	q := *p
	q.Args = nil
	for _, a := range p.Args {
		text, _, err := value.AppendJSONFromMsgpack(nil, a, nil)
		if err != nil {
			text = []byte(err.Error())
		}
		q.Args = append(q.Args, text)
	}
	if p.Data != nil {
		q.Data, _, _ = value.AppendJSONFromMsgpack(nil, p.Data, nil)
	}
	return &q
}

func showMsgpack(p *Packet) string { return show(inJSON(p)) }

func TestParseMsgpack(t *testing.T) {
	for _, tt := range []struct{ msg, want string }{
		// What npm's parser and clients send.
		{`83 'type' 00 'data' d40000 'nsp' '/'`, `CONNECT /`},
		{`83 'type' 00 'data' 81 'token' '123' 'nsp' '/admin'`, `CONNECT /admin data={"token":"123"}`},
		{`83 'type' 00 'data' 82 'sid' 'abc' 'pid' d40000 'nsp' '/'`, `CONNECT / data={"sid":"abc"}`},
		{`83 'type' 02 'data' 91 'foo' 'nsp' '/'`, `EVENT / event=foo args=[]`},
		{`85 'type' 02 'data' 91 'foo' 'options' 81 'compress' c3 'id' 00 'nsp' '/'`, `EVENT / id=0 event=foo args=[]`},
		{`84 'id' 05 'type' 03 'data' 91 'x' 'nsp' '/'`, `ACK / id=5 args=["x"]`},
		{`83 'type' 02 'data' 92 'b' c40401020304 'nsp' '/'`, `EVENT / event=b args=[{"_placeholder":true,"num":0}]`},
		{`82 'type' 01 'nsp' '/'`, `DISCONNECT /`},
		{`83 'type' 04 'nsp' '/' 'data' 81 'message' 'no'`, `CONNECT_ERROR / data={"message":"no"}`},
		{`83 'type' 04 'nsp' '/' 'data' 'no'`, `CONNECT_ERROR / data="no"`},
		// The order of keys, keys twice, keys of others.
		{`83 'nsp' '/a' 'data' 93 'e' 01 90 'type' 02`, `EVENT /a event=e args=[1 []]`},
		{`83 'data' 92 'connect' 01 'nsp' '/' 'type' 03`, `ACK / args=["connect" 1]`},
		{`85 'data' 93 'e' 01 02 'type' 00 'data' 92 'f' 03 'nsp' '/' 'type' 02`, `EVENT / event=f args=[3]`},
		{`85 'id' 05 'type' 02 'data' 91 'f' 'id' d40000 'nsp' '/'`, `EVENT / event=f args=[]`},
		{`84 05 90 'type' 02 'data' 91 'f' 'nsp' '/'`, `EVENT / event=f args=[]`},
		// Other encoders: heads longer than they must be, nil for what is absent.
		{`df00000004 d90474797065 cd0002 'data' dd00000001 da0001 66 'id' d30000000000000007 d903 6e7370 db00000001 2f`, `EVENT / id=7 event=f args=[]`},
		{`84 'type' cb4000000000000000 'data' 91 'f' 'id' ca40e00000 'nsp' '/'`, `EVENT / id=7 event=f args=[]`},
		{`83 'type' 00 'data' c0 'nsp' '/'`, `CONNECT /`},
		{`84 'type' 01 'data' c0 'id' c0 'nsp' '/'`, `DISCONNECT /`},
		{`84 'type' 02 'data' 91 'f' 'id' cf001fffffffffffff 'nsp' '/'`, `EVENT / id=9007199254740991 event=f args=[]`},
		// Names.
		{`83 'type' 02 'data' 92 01 02 'nsp' '/'`, `EVENT / event=1 args=[2]`},
		{`83 'type' 02 'data' 91 cbc097700000000000 'nsp' '/'`, `EVENT / event=-1500 args=[]`},
		{`83 'type' 02 'data' 91 cb8000000000000000 'nsp' '/'`, `EVENT / event=0 args=[]`},
		{`83 'type' 02 'data' 91 cb444b1ae4d6e2ef50 'nsp' '/'`, `EVENT / event=1e+21 args=[]`},
		{`83 'type' 02 'data' 91 cfffffffffffffffff 'nsp' '/'`, `EVENT / event=18446744073709551615 args=[]`},
		{`83 'type' 02 'data' 91 a0 'nsp' '/'`, `EVENT / event= args=[]`},
		{`83 'type' 02 'data' 91 'é€😀' 'nsp' '/é?x=1'`, `EVENT /é?x=1 event=é€😀 args=[]`},
		// What looks like a placeholder is data where there are no bytes.
		{`83 'type' 02 'data' 92 'e' 81 '_placeholder' c3 'nsp' '/'`, `EVENT / event=e args=[{"_placeholder":true}]`},
		{`83 'type' 02 'data' 93 'e' 81 '_placeholder' c2 c400 'nsp' '/'`, `EVENT / event=e args=[{"_placeholder":false} {"_placeholder":true,"num":0}]`},
	} {
		var p Packet
		err := ParseMsgpack(wire(tt.msg), Limits{}, &p)
		if err != nil || showMsgpack(&p) != tt.want || p.Encoding != MessagePack {
			t.Errorf("ParseMsgpack(%s) = %s, %v, encoding %d, want %s", tt.msg, showMsgpack(&p), err, p.Encoding, tt.want)
		}
	}
}

func TestParseMsgpackRefuses(t *testing.T) {
	around := func(value string) string { return `83 'type' 02 'data' 92 'e' ` + value + ` 'nsp' '/'` }
	for _, tt := range []struct {
		kind Kind
		text string
		msgs []string
	}{
		{UnknownType, "invalid packet type", []string{
			``, `c0`, `05`, `90`, `'type'`, `c1`, `80`, `82 'data' 91 'e' 'nsp' '/'`, `81 'nsp' '/'`, `83 'type' 05 'data' 91 'e' 'nsp' '/'`,
			`82 'type' ff 'nsp' '/'`, `82 'type' '1' 'nsp' '/'`, `82 'type' c0 'nsp' '/'`, `82 'type' cb3ff8000000000000 'nsp' '/'`,
			`82 'type' cb7ff8000000000000 'nsp' '/'`, `82 'type' cfffffffffffffffff 'nsp' '/'`, `81 'type'`, `de00`,
		}},
		{InvalidPayload, "invalid namespace", []string{
			`81 'type' 01`, `82 'type' 01 'nsp' c0`, `82 'type' 01 'nsp' 05`, `82 'type' 01 'nsp' a0`, `82 'type' 01 'nsp' 'admin'`,
			`82 'type' 01 'nsp' '/a,b'`, `82 'type' 01 'nsp' a22fff`, `82 'type' 01 'nsp' c4012f`, `82 'type' 01 'nsp' a2`,
		}},
		{InvalidPayload, "invalid packet id", []string{
			`84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' ff`, `84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' '1'`,
			`84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' cb3fe0000000000000`, `84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' cf0020000000000000`,
			`84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' cb4340000000000000`, `84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' cfffffffffffffffff`,
			`84 'type' 02 'data' 91 'e' 'nsp' '/' 'id' c3`, `84 'type' 02 'data' 91 'e' 'nsp' '/' 'id'`,
		}},
		{InvalidPayload, "invalid payload", []string{
			`83 'type' 00 'data' 90 'nsp' '/'`, `83 'type' 00 'data' 'x' 'nsp' '/'`, `83 'type' 01 'data' 80 'nsp' '/'`,
			`83 'type' 01 'data' 90 'nsp' '/'`, `82 'type' 02 'nsp' '/'`, `83 'type' 02 'data' c0 'nsp' '/'`, `83 'type' 02 'data' 90 'nsp' '/'`,
			`83 'type' 02 'data' 80 'nsp' '/'`, `83 'type' 02 'data' 'e' 'nsp' '/'`, `82 'type' 03 'nsp' '/'`, `83 'type' 03 'data' 05 'nsp' '/'`,
			`82 'type' 04 'nsp' '/'`, `83 'type' 04 'data' 90 'nsp' '/'`, `83 'type' 04 'data' c0 'nsp' '/'`, `83 'type' 03 'data' c40100 'nsp' '/'`,
			`83 'type' 02 'data' 91 c0 'nsp' '/'`, `83 'type' 02 'data' 91 c3 'nsp' '/'`, `83 'type' 02 'data' 91 80 'nsp' '/'`,
			`83 'type' 02 'data' 91 90 'nsp' '/'`, `83 'type' 02 'data' 91 c40165 'nsp' '/'`, `83 'type' 02 'data' 91 cb7ff8000000000000 'nsp' '/'`,
			`83 'type' 02 'data' 91 d40000 'nsp' '/'`,
			`83 'type' 02 'data' 91 'connect' 'nsp' '/'`, `83 'type' 02 'data' 91 'connect_error' 'nsp' '/'`,
			`83 'type' 02 'data' 91 'disconnect' 'nsp' '/'`, `83 'type' 02 'data' 91 'disconnecting' 'nsp' '/'`,
			`83 'type' 02 'data' 91 'newListener' 'nsp' '/'`, `83 'type' 02 'data' 91 'removeListener' 'nsp' '/'`,
			`82 'type' 01 'nsp' '/' 00`, `82 'type' 01 'nsp' '/' c0`, `83 'type' 01 'nsp' '/'`, `83 'type' 01 'nsp' '/' 'x'`,
			`83 'type' 01 'nsp' '/' 'x' c1`, `83 'type' 01 'nsp' '/' a1ff 00`, `83 'type' 01 'nsp' '/' c0 00`, `83 'type' 01 'nsp' '/' 'x' dfffffffff`,
			`83 'type' 02 'nsp' '/' 'data' ddffffffff 'e'`,
			around(`c1`), around(`a1ff`), around(`a3eda080`), around(`81 a1ff 00`), around(`81 c0 00`), around(`81 c3 00`),
			around(`81 cb3ff0000000000000 00`), around(`81 c40161 00`), around(`81 d40000 00`), around(`81 90 00`), around(strings.Repeat("91 ", 128) + "c0"),
			around(strings.Repeat("81 00 ", 128) + "c0"), `83 'type' 01 'nsp' '/' 'x' ` + strings.Repeat("91 ", 100000), strings.Repeat("81 'x' ", 100000),
		}},
		{IllegalAttachments, "illegal attachments", []string{
			`83 'type' 02 'data' 93 'e' 81 '_placeholder' c3 c400 'nsp' '/'`,
			`83 'type' 02 'data' 93 'e' d6050a0b0c0d 91 81 '_placeholder' c3 'nsp' '/'`,
			`83 'type' 02 'data' 92 'e' 82 'x' c70000 '_placeholder' c3 'nsp' '/'`,
		}},
		{TooLarge, "too many arguments", []string{`83 'type' 03 'data' dc1001` + strings.Repeat(" 00", 4097) + ` 'nsp' '/'`}},
	} {
		for _, msg := range tt.msgs {
			var p Packet
			err := ParseMsgpack(wire(msg), Limits{}, &p)
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.kind || e.Text != tt.text {
				t.Errorf("ParseMsgpack(%.80s) = %s, %v, want kind %d %q", msg, showMsgpack(&p), err, tt.kind, tt.text)
			}
		}
	}
}

func TestMsgpackLimitsAreExact(t *testing.T) {
	list := func(typ string, n int) string {
		return fmt.Sprintf(`83 'type' %s 'data' dc%04x 'e'%s 'nsp' '/'`, typ, n, strings.Repeat(" 00", n-1))
	}
	nest := func(n int) string { return `83 'nsp' '/' 'type' 03 'data' ` + strings.Repeat("91 ", n-1) + "90" }
	for _, tt := range []struct {
		msg    string
		limits Limits
		ok     bool
	}{
		{nest(128), Limits{}, true},
		{nest(129), Limits{}, false},
		{nest(3), Limits{MaxDepth: 3}, true},
		{nest(4), Limits{MaxDepth: 3}, false},
		{`83 'type' 00 'nsp' '/' 'data' 81 'a' 81 'b' 80`, Limits{MaxDepth: 3}, true},
		{`83 'type' 00 'nsp' '/' 'data' 81 'a' 81 'b' 81 'c' 90`, Limits{MaxDepth: 3}, false},
		{`83 'type' 01 'nsp' '/' 'x' 81 'a' 90`, Limits{MaxDepth: 2}, true},
		{`83 'type' 01 'nsp' '/' 'x' 81 'a' 91 90`, Limits{MaxDepth: 2}, false},
		{list("02", 4097), Limits{}, true},
		{list("02", 4098), Limits{}, false},
		{list("03", 4096), Limits{}, true},
		{list("03", 4097), Limits{}, false},
		{list("02", 3), Limits{MaxArgs: 2}, true},
		{list("02", 4), Limits{MaxArgs: 2}, false},
		{list("03", 2), Limits{MaxArgs: 2}, true},
		{list("03", 3), Limits{MaxArgs: 2}, false},
	} {
		if err := ParseMsgpack(wire(tt.msg), tt.limits, new(Packet)); (err == nil) != tt.ok {
			t.Errorf("ParseMsgpack(%.60s, %+v) = %v, want ok %v", tt.msg, tt.limits, err, tt.ok)
		}
	}
}

// everything has each kind of value in it.
const everything = `86 'type' 02 'data' dc0013 'e' c0 c2 c3 7f ff cc80 cd0100 ce00010000 cf0000000100000000 d080 d1ff00 d2ffff0000
	d3ffffffff00000000 ca3f000000 cb3fe0000000000000 82 'k' c403010203 05 d7000000016f5e66e87b dc0002 d40000 c70401aabbccdd d90161
	'options' 81 'compress' c3 'id' cd0100 'nsp' '/a' 'x' c90000000200aabb`

func TestParseMsgpackCutAnywhere(t *testing.T) {
	msg := wire(everything)
	var p Packet
	if err := ParseMsgpack(msg, Limits{}, &p); err != nil {
		t.Fatal(err)
	}
	for i := range msg {
		if err := ParseMsgpack(msg[:i:i], Limits{}, &p); err == nil {
			t.Errorf("ParseMsgpack of the first %d of %d bytes = %s, want an error", i, len(msg), showMsgpack(&p))
		}
	}
	for i := range 256 {
		if err := ParseMsgpack(append(msg, byte(i)), Limits{}, &p); err == nil {
			t.Errorf("ParseMsgpack of a packet and byte %#x = %s, want an error", i, showMsgpack(&p))
		}
	}
}

func TestParseMsgpackIntoUsedPacket(t *testing.T) {
	msgs := [][]byte{
		wire(everything), wire(`82 'type' 01 'nsp' '/'`), wire(`83 'type' 02 'data' 92 05 'x' 'nsp' '/'`), wire(`90`), []byte(`2/x,3["a",1,2,3]`),
		wire(`85 'data' 93 'e' 01 02 'type' 02 'data' 92 'f' 03 'nsp' '/'`), []byte(`2["\u0041"]`), wire(`84 'id' 05 'type' 03 'data' 90 'nsp' '/b'`),
		wire(`83 'type' 03 'data' dc0200` + strings.Repeat(" c0", 512) + ` 'nsp' '/'`), wire(`83 'type' 02 'data' 92 'e' 'x' 'nsp' '/'`),
	}
	parse := func(m []byte, p *Packet) (string, error) {
		if len(m) > 0 && m[0] == '2' {
			err := Parse(m, Limits{}, p)
			return show(p), err
		}
		err := ParseMsgpack(m, Limits{}, p)
		return showMsgpack(p), err
	}
	var used Packet
	for range 2 {
		for _, m := range msgs {
			want, errWant := parse(m, new(Packet))
			got, err := parse(m, &used)
			if !reflect.DeepEqual(err, errWant) || err == nil && got != want {
				t.Errorf("parsing %x = %.80s, %v into a used packet, want %.80s, %v", m, got, err, want, errWant)
			}
			for _, view := range used.Args[len(used.Args):cap(used.Args)] {
				if view != nil {
					t.Errorf("after parsing %x the packet still refers to %x of a former message", m, view)
				}
			}
		}
	}
}

func TestMsgpackViewsCannotBeAppendedOver(t *testing.T) {
	msg := wire(everything)
	var p Packet
	if err := ParseMsgpack(msg, Limits{}, &p); err != nil {
		t.Fatal(err)
	}
	for _, view := range append(p.Args, p.Namespace, p.Event, p.Data) {
		_ = append(view, 'X')
	}
	if string(msg) != string(wire(everything)) {
		t.Errorf("message after appending to its views = %x, want it unchanged", msg)
	}
}

func TestParseMsgpackDoesNotAllocate(t *testing.T) {
	for _, m := range []string{
		`85 'type' 02 'data' 92 'chat' 82 'room' 'r1' 'text' 'hello,_there' 'options' 81 'compress' c3 'id' 00 'nsp' '/chat'`,
		`83 'type' 02 'data' 92 cb3ff8000000000000 d9023132 'nsp' '/'`, `83 'type' 02 'data' 92 'b' c40401020304 'nsp' '/'`,
		`84 'id' 05 'type' 03 'data' 91 'é' 'nsp' '/'`, `83 'type' 00 'data' d40000 'nsp' '/'`,
	} {
		msg := wire(m)
		var p Packet
		n := testing.AllocsPerRun(100, func() {
			if err := ParseMsgpack(msg, Limits{}, &p); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("ParseMsgpack(%s) allocates %v times, want none", m, n)
		}
	}
}

func BenchmarkParseMsgpack(b *testing.B) {
	msg := wire(`85 'type' 02 'data' 92 'chat' 82 'room' 'r1' 'text' '` + strings.Repeat("x", 60) + `' 'options' 81 'compress' c3 'id' 00 'nsp' '/'`)
	var p Packet
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if err := ParseMsgpack(msg, Limits{}, &p); err != nil {
			b.Fatal(err)
		}
	}
}

// Of MessagePack, each byte string becomes an attachment: as many as in JSON.
func TestMsgpackBytesAreBounded(t *testing.T) {
	packet := func(n int) []byte {
		b := []byte{0x83, 0xa4, 't', 'y', 'p', 'e', 2, 0xa3, 'n', 's', 'p', 0xa1, '/', 0xa4, 'd', 'a', 't', 'a', 0x92, 0xa1, 'e', 0xdc, byte(n >> 8), byte(n)}
		for range n {
			b = append(b, 0xc4, 0)
		}
		return b
	}
	for _, c := range []struct {
		n    int
		l    Limits
		fits bool
	}{{10, Limits{}, true}, {11, Limits{}, false}, {50_000, Limits{}, false}, {11, Limits{MaxAttachments: 11}, true}, {12, Limits{MaxAttachments: 11}, false}} {
		var p Packet
		err := ParseMsgpack(packet(c.n), c.l, &p)
		if c.fits && err != nil || !c.fits && err != errManyAttachments {
			t.Errorf("%d byte strings with %+v: %v, want them to fit: %v", c.n, c.l, err, c.fits)
		}
	}
}
