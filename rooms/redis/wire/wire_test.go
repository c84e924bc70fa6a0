package wire

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

// pack draws MessagePack as the JSON of it; bytes are "<bin 0102>", and what is
// "<raw c0>" stands for itself.
func pack(t testing.TB, text string) []byte {
	b, err := value.AppendMsgpackFromJSON(nil, []byte(text), nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, mark := range []string{"<bin ", "<raw "} {
		for {
			before, rest, ok := strings.Cut(string(b), mark)
			if !ok {
				break
			}
			digits, after, _ := strings.Cut(rest, ">")
			value, err := hex.DecodeString(digits)
			if err != nil || len(digits) > 20 {
				t.Fatalf("%s: %q", text, digits)
			}
			if mark == "<bin " {
				value = append([]byte{0xc4, byte(len(value))}, value...)
			}
			b = append(append([]byte(before[:len(before)-1]), value...), after...) // less the head of the text
		}
	}
	return b
}

func show(p *Packet) string { return fmt.Sprintf("%s %x", p.Data, p.Attachments) }

// Emitters in other languages are not as orderly as Node's.
func TestParseBroadcastOfOtherPrograms(t *testing.T) {
	for _, tt := range []struct{ name, msg, packet, namespace, rooms, except string }{
		{"in another order", `["emitter",{"nsp":"/a","data":["e"],"type":2},{"except":["x"],"rooms":["r"]}]`, `["e"] []`, "/a", "[r]", "[x]"},
		{"no namespace", `["emitter",{"type":2,"data":["e",1]},{"rooms":[],"flags":{}}]`, `["e",1] []`, "/", "[]", "[]"},
		{"nothing in the options", `["emitter",{"type":2,"data":["e"]},{}]`, `["e"] []`, "/", "[]", "[]"},
		{"rooms that are an empty text, or null", `["emitter",{"type":2,"data":["e"]},{"rooms":"","except":null,"flags":null}]`, `["e"] []`, "/", "[]", "[]"},
		{"a binary event", `["emitter",{"type":5,"data":["e","<bin 0102>"]},{}]`, `["e",{"_placeholder":true,"num":0}] [0102]`, "/", "[]", "[]"},
		{"bytes as text", `["emitter",{"type":2,"data":["e","<raw a2ff41>"]},{}]`, `["e","�A"] []`, "/", "[]", "[]"},
		{"more behind the options", `["emitter",{"type":2,"data":["e"]},{},5]`, `["e"] []`, "/", "[]", "[]"},
		{"numbers for rooms", `["u",{"type":2,"data":["e"]},{"rooms":[42,1.5,-7,1e21,9007199254740993],"except":["42"]}]`, `["e"] []`, "/", "[42 1.5 -7 1e+21 9007199254740993]", "[42]"},
		{"rooms that are nothing", `["u",{"type":2,"data":["e"]},{"rooms":[null,"a",true],"except":[null]}]`, `["e"] []`, "/", "[a]", "[]"},
		{"a name that is a number", `["u",{"type":2,"data":[7,"x"]},{}]`, `[7,"x"] []`, "/", "[]", "[]"},
		{"a key twice", `["u",{"type":2,"data":["e"],"data":["f"]},{"rooms":["a"],"rooms":["b"]}]`, `["f"] []`, "/", "[b]", "[]"},
		{"no one it is from", `[null,{"type":2,"data":["e"]},{}]`, `["e"] []`, "/", "[]", "[]"},
		{"what looks like a placeholder", `["u",{"type":2,"data":["e",{"_placeholder":true,"num":0}]},{}]`, `["e",{"_placeholder":true,"num":0}] []`, "/", "[]", "[]"},
	} {
		forms := [][]byte{pack(t, tt.msg)}
		if !strings.Contains(tt.msg, "<") {
			forms = append(forms, []byte(tt.msg), []byte(strings.ReplaceAll(tt.msg, ",", " ,\n")))
		}
		for _, b := range forms {
			m, err := ParseBroadcast(b)
			m.Packet.Data = []byte(strings.ReplaceAll(string(m.Packet.Data), " ,\n", ","))
			if err != nil || show(&m.Packet) != tt.packet || m.Namespace != tt.namespace || fmt.Sprint(m.Options.Rooms) != tt.rooms || fmt.Sprint(m.Options.Except) != tt.except {
				t.Errorf("%s: ParseBroadcast(%q) = %+v, %v, want %s %s %s %s", tt.name, b, m, err, tt.packet, tt.namespace, tt.rooms, tt.except)
			}
		}
	}
}

func TestParseBroadcastRefuses(t *testing.T) {
	deep := strings.Repeat("[", 998) + strings.Repeat("]", 998)
	for _, tt := range []struct {
		msg  string
		want error
	}{
		{`5`, errShape}, {`{}`, errShape}, {`[]`, errShape}, {`["u",{"type":2,"data":["e"]}]`, errShape}, {`[5,{"type":2,"data":["e"]},{}]`, errText},
		{`["u",null,{}]`, errPacket}, {`["u",{"data":["e"]},{}]`, errPacket}, {`["u",{"type":3,"data":["e"]},{}]`, errPacket}, {`["u",{"type":"2","data":["e"]},{}]`, errPacket},
		{`["u",{"type":2,"data":["e"],"id":-1},{}]`, errPacket}, {`["u",{"type":2,"data":["e"],"id":"1"},{}]`, errPacket},
		{`["u",{"type":2,"data":["e"],"nsp":null},{}]`, errText}, {`["u",{"type":2,"data":["e"],"nsp":""},{}]`, errText}, {`["u",{"type":2,"data":["e"],"nsp":5},{}]`, errText},
		{`["u",{"type":2},{}]`, errEvent}, {`["u",{"type":2,"data":[]},{}]`, errEvent}, {`["u",{"type":2,"data":"e"},{}]`, errEvent}, {`["u",{"type":2,"data":[null]},{}]`, errEvent},
		{`["u",{"type":2,"data":["disconnect"]},{}]`, errEvent}, {`["u",{"type":2,"data":["connect",1]},{}]`, errEvent},
		{`["u",{"type":2,"data":["e"]},null]`, errOptions}, {`["u",{"type":2,"data":["e"]},[]]`, errOptions},
		{`["u",{"type":2,"data":["e"]},{"rooms":"ab"}]`, errRooms}, {`["u",{"type":2,"data":["e"]},{"except":{}}]`, errRooms}, {`["u",{"type":2,"data":["e"]},{"rooms":7}]`, errRooms},
		{`["u",{"type":2,"data":["e"]},{"rooms":[null]}]`, errNobody}, {`["u",{"type":2,"data":["e"]},{"rooms":[[],{}]}]`, errNobody},
		{`["u",{"type":2,"data":["e",` + deep + `]},{}]`, errSyntax},
	} {
		for _, b := range [][]byte{pack(t, tt.msg), []byte(tt.msg)} {
			want := tt.want
			if b[0] != '[' && len(b) > 0 && string(b) == tt.msg {
				want = errSyntax // MessagePack that is none
				if tt.msg == "5" {
					want = errShape
				}
			}
			if m, err := ParseBroadcast(b); err != want || !reflect.DeepEqual(m, Broadcast{}) {
				t.Errorf("ParseBroadcast(%.80q) = %+v, %v, want %v", b, m, err, want)
			}
		}
	}
	packed := func(s string) []byte { return pack(t, s) }
	for b, want := range map[string]error{
		"": errSyntax, "[": errSyntax, "\xc1": errSyntax, "\xdd\xff\xff\xff\xff": errSyntax, "\xdf\xff\xff\xff\xff": errSyntax, "\xdb\xff\xff\xff\xff": errSyntax,
		strings.Repeat("\x91", 100000): errSyntax, strings.Repeat("[", 100000): errSyntax,
		string(packed(`["u",{"type":2,"data":["e","<bin 01>",{"_placeholder":true}]},{}]`)): errAmbiguous,
	} {
		if m, err := ParseBroadcast([]byte(b)); err != want {
			t.Errorf("ParseBroadcast(%.40q) = %+v, %v, want %v", b, m, err, want)
		}
	}
}

func TestFlagsAreWhatTheSenderChained(t *testing.T) {
	for flags, want := range map[string]Flags{
		`{}`:                              {},
		`{"volatile":true,"x":[1]}`:       {Volatile: true},
		`{"volatile":false}`:              {},
		`{"compress":true}`:               {Compress: true, HasCompress: true},
		`{"compress":false}`:              {HasCompress: true},
		`{"compress":null,"timeout":"5"}`: {},
		`{"timeout":0}`:                   {HasTimeout: true},
		`{"timeout":800.7,"expectSingleResponse":true}`: {Timeout: 800, HasTimeout: true, SingleResponse: true},
		`{"timeout":-5}`:   {HasTimeout: true},
		`{"timeout":1e18}`: {Timeout: 1<<31 - 1, HasTimeout: true},
		`5`:                {},
	} {
		msg := `["u",{"type":2,"data":["e"]},{"flags":` + flags + `}]`
		for _, b := range [][]byte{pack(t, msg), []byte(msg)} {
			if m, err := ParseBroadcast(b); err != nil || m.Options.Flags != want {
				t.Errorf("ParseBroadcast(%q) has flags %+v, %v, want %+v", b, m.Options.Flags, err, want)
			}
		}
	}
}

// What the dialects of MessagePack have beyond JSON, as clients get it.
func TestDialects(t *testing.T) {
	for raw, want := range map[string]string{
		"d40000":             `["e",null]`,
		"c0":                 `["e",null]`,
		"d7ff1d5353006553f1": "", // cut
		"d6ff6553f100":       `["e","2023-11-14T22:13:20.000Z"]`,
		"81a178d40000":       `["e",{}]`,
		"81a178c0":           `["e",{"x":null}]`,
		"c702000102":         `["e",{"_placeholder":true,"num":0}]`,
		"cb7ff8000000000000": `["e",null]`,
		"cb7ff0000000000000": `["e",null]`,
		"d5050102":           `["e",[5,{"_placeholder":true,"num":0}]]`,
	} {
		b, _ := hex.DecodeString(raw)
		msg := append(append(append([]byte{0x93, 0xa1, 'u', 0x82}, "\xa4type\x02\xa4data\x92\xa1e"...), b...), 0x80)
		m, err := ParseBroadcast(msg)
		if want == "" != (err != nil) || string(m.Packet.Data) != want {
			t.Errorf("ParseBroadcast of an event with %s = %s, %v, want %s", raw, m.Packet.Data, err, want)
		}
	}
}

func TestInvalidUTF8ReachesNoClient(t *testing.T) {
	for _, b := range []string{"[\"u\",{\"type\":2,\"data\":[\"e\xff\",{\"k\xff\":1}]},{\"rooms\":[\"\xff\"]}]", "\x93\xa1u\x82\xa4type\x02\xa4data\x92\xa2e\xff\x81\xa2k\xff\x01\x81\xa5rooms\x91\xa1\xff"} {
		m, err := ParseBroadcast([]byte(b))
		if err != nil || string(m.Packet.Data) != `["e�",{"k�":1}]` || m.Options.Rooms[0] != "�" {
			t.Errorf("ParseBroadcast(%q) = %s, %q, %v, want U+FFFD for what is not UTF-8", b, m.Packet.Data, m.Options.Rooms, err)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for text, want := range map[string]error{
		`{}`: errType, `{"type":8}`: errType, `{"type":"1"}`: errType, `{"type":-1}`: errType, `{"type":1.5}`: errType, `[]`: errSyntax,
		`{"type":2,"rooms":["a"]}`: errShape, `{"type":2,"sid":5,"room":"a"}`: errShape, `{"type":4,"close":true}`: errShape, `{"type":5}`: errOptions,
		`{"type":2,"opts":null,"rooms":["a"]}`: errOptions, `{"type":2,"opts":{"rooms":[null]},"rooms":["a"]}`: errNobody, `{"type":3,"opts":{},"rooms":"a"}`: errRooms,
		`{"type":6}`: errEvent, `{"type":6,"data":[]}`: errEvent, `{"type":7,"opts":{}}`: errPacket, `{"type":7,"packet":{"type":2,"data":["e"]}}`: errOptions,
		`{"type":1,"uid":{}}`: errText, `{"type":1,"requestId":5}`: errText, `{"type":1`: errSyntax,
	} {
		if r, err := ParseRequest([]byte(text)); err != want || !reflect.DeepEqual(r, Request{}) {
			t.Errorf("ParseRequest(%s) = %+v, %v, want %v", text, r, err, want)
		}
	}
	for text, want := range map[string]error{
		`{"type":7}`: errType, `{"type":8}`: errCount, `{"type":8,"clientCount":-1}`: errCount, `{"type":8,"clientCount":4294967296}`: errCount, `{"type":null}`: errType,
		`{"sockets":{}}`: errSockets, `{"sockets":["a",{"id":"b"}]}`: errSockets, `{"sockets":[5]}`: errSockets, `{"sockets":[{}]}`: errText, `{"rooms":5}`: errRooms,
	} {
		if r, err := ParseResponse([]byte(text)); err != want || !reflect.DeepEqual(r, Response{}) {
			t.Errorf("ParseResponse(%s) = %+v, %v, want %v", text, r, err, want)
		}
	}
	for text, want := range map[string]error{
		`{}`: errType, `{"type":0}`: errType, `{"type":14}`: errType, `{"type":3}`: errShape, `{"type":3,"data":{}}`: errOptions, `{"type":3,"data":{"opts":{}}}`: errPacket,
		`{"type":8,"data":{"sockets":["a"]}}`: errSockets, `{"type":9,"data":{"packet":{}}}`: errEvent, `{"type":11,"data":{}}`: errCount, `{"type":2,"uid":5}`: errText,
		`{"type":3,"data":{"opts":{},"packet":{"type":2,"data":["disconnect"]}}}`: errEvent,
	} {
		if m, err := ParseMessage([]byte(text)); err != want || !reflect.DeepEqual(m, Message{}) {
			t.Errorf("ParseMessage(%s) = %+v, %v, want %v", text, m, err, want)
		}
	}
	for _, fields := range [][]string{{}, {"uid"}, {"type", "3"}, {"type", "x"}, {"type", "0"}, {"type", "300"}, {"type", "3", "data", "{"}, {"type", "3", "data", "!"}, {"type", "3", "data", "wA=="}} {
		if m, err := ParseEntry(entry(fields...)); err == nil {
			t.Errorf("ParseEntry(%q) = %+v, want an error", fields, m)
		}
	}
	for _, value := range []string{"", "!", "gA==", "wA==", "g6NzaWSheKNwaWShcKVyb29tcwU="} {
		if s, err := ParseSession([]byte(value)); err == nil {
			t.Errorf("ParseSession(%q) = %+v, want an error", value, s)
		}
	}
}

const file = `["file",{"_placeholder":true,"num":0}]`

// What we write that no vector has.
func TestAppendBeyondTheVectors(t *testing.T) {
	packet := Packet{Data: []byte(file), Attachments: [][]byte{{1, 2}}}
	value := Value{Data: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{3}}}
	plain := Packet{Data: []byte(`["e"]`)}
	for _, tt := range []struct {
		name   string
		append func(dst []byte) ([]byte, error)
		want   string
	}{
		{"a server-side event with bytes", func(dst []byte) ([]byte, error) {
			return AppendRequest(dst, &Request{Type: RequestServerSideEmit, UID: "u", Packet: packet})
		}, `{"uid":"u","type":6,"data":["file",{"type":"Buffer","data":[1,2]}]}`},
		{"its answer with bytes", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{Type: RequestServerSideEmit, HasType: true, RequestID: "r", Value: value})
		}, `{"type":6,"requestId":"r","data":[{"type":"Buffer","data":[3]}]}`},
		{"its answer without a value", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{Type: RequestServerSideEmit, HasType: true, RequestID: "r"})
		}, `{"type":6,"requestId":"r"}`},
		{"an acknowledgement without a value", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{Type: ResponseAck, HasType: true, RequestID: "r"})
		}, "\x82\xa4type\x09\xa9requestId\xa1r"},
		{"an acknowledgement that says who", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{Type: ResponseAck, HasType: true, RequestID: "r", UID: "u", Value: Value{Data: []byte("1")}})
		}, "\x84\xa4type\x09\xa9requestId\xa1r\xa6packet\x01\xa3uid\xa1u"},
		{"a list that says who", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{RequestID: "r", UID: "u", Rooms: []string{}})
		}, `{"requestId":"r","rooms":[],"uid":"u"}`},
		{"no sockets", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{RequestID: "r", Sockets: []SocketInfo{}})
		}, `{"requestId":"r","sockets":[]}`},
		{"a socket without a handshake", func(dst []byte) ([]byte, error) {
			return AppendResponse(dst, &Response{RequestID: "r", Sockets: []SocketInfo{{ID: "s"}}})
		}, `{"requestId":"r","sockets":[{"id":"s","rooms":[]}]}`},
		{"an acknowledged event of no namespace", func(dst []byte) ([]byte, error) {
			return AppendRequest(dst, &Request{Type: RequestBroadcast, ID: "r", Packet: plain})
		}, "\x84\xa9requestId\xa1r\xa4type\x07\xa6packet\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1/\xa4opts\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80"},
		{"a heartbeat", func(dst []byte) ([]byte, error) {
			return AppendMessage(dst, &Message{Type: Heartbeat, UID: "u", Namespace: "/"}, Sharded)
		}, `{"type":2,"uid":"u","nsp":"/"}`},
		{"a packed heartbeat", func(dst []byte) ([]byte, error) {
			return AppendMessage(dst, &Message{Type: AdapterClose, UID: "u", Namespace: "/"}, Packed)
		}, "\x83\xa4type\x0d\xa3uid\xa1u\xa3nsp\xa1/"},
		{"no answer", func(dst []byte) ([]byte, error) {
			return AppendMessage(dst, &Message{Type: ServerSideEmitResponse, UID: "u", Namespace: "/", RequestID: "r"}, Sharded)
		}, `{"type":10,"data":{"requestId":"r"},"uid":"u","nsp":"/"}`},
		{"names that need escapes", func(dst []byte) ([]byte, error) {
			return AppendMessage(dst, &Message{Type: SocketsJoin, UID: "\"", Namespace: "/\u2028", Rooms: []string{"a\n\\", "\xff"}}, Sharded)
		}, "{\"type\":4,\"data\":{\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}},\"rooms\":[\"a\\n\\\\\",\"�\"]},\"uid\":\"\\\"\",\"nsp\":\"/\u2028\"}"},
	} {
		got, err := tt.append([]byte("x"))
		if err != nil || string(got) != "x"+tt.want {
			t.Errorf("%s = %q, %v, want x%q", tt.name, got, err, tt.want)
		}
	}
}

func TestAppendErrors(t *testing.T) {
	for _, bad := range []Packet{{}, {Data: []byte(`["e"`)}, {Data: []byte(file), Attachments: [][]byte{}}, {Data: []byte(strings.Replace(file, "0", "1", 1)), Attachments: [][]byte{{1}}}} {
		lone := bad.Attachments != nil && len(bad.Attachments) == 0 // data like any other
		out, err := AppendBroadcast([]byte("x"), &Broadcast{Packet: bad})
		if (err == nil) != lone || err != nil && string(out) != "x" {
			t.Errorf("AppendBroadcast(%s) = %q, %v, want an error", show(&bad), out, err)
		}
		out, err = AppendRequest([]byte("x"), &Request{Type: RequestServerSideEmit, Packet: bad})
		if (err == nil) != lone || err != nil && string(out) != "x" {
			t.Errorf("AppendRequest(%s) = %q, %v, want an error", show(&bad), out, err)
		}
		for _, form := range []Form{Sharded, Packed} {
			out, err = AppendMessage([]byte("x"), &Message{Type: BroadcastMessage, Packet: bad}, form)
			if (err == nil) != lone || err != nil && string(out) != "x" {
				t.Errorf("AppendMessage(%s) = %q, %v, want an error", show(&bad), out, err)
			}
		}
		fields, err := AppendEntry([]string{"x"}, &Message{Type: BroadcastMessage, Packet: bad})
		if (err == nil) != lone || err != nil && len(fields) != 1 {
			t.Errorf("AppendEntry(%s) = %q, %v, want an error", show(&bad), fields, err)
		}
	}
	if out, err := AppendResponse([]byte("x"), &Response{Type: RequestFetch, HasType: true}); err == nil || string(out) != "x" {
		t.Errorf("AppendResponse of a type that has no response = %q, %v, want an error", out, err)
	}
	if out, err := AppendSession([]byte("x"), &Session{Data: Value{Data: []byte("{")}}); err == nil || string(out) != "x" {
		t.Errorf("AppendSession of bad data = %q, %v, want an error", out, err)
	}
}

func TestBytesOfSocketsTravel(t *testing.T) {
	m := Message{Type: FetchSocketsResponse, UID: "u", Namespace: "/", RequestID: "r", Sockets: []SocketInfo{
		{ID: "a", Handshake: []byte(`{"auth":{}}`), Rooms: []string{"a"}, Data: Value{Data: []byte(`{}`)}},
		{ID: "b", Handshake: []byte(`{}`), Rooms: []string{"b"}, Data: Value{Data: []byte(`{"k":{"_placeholder":true,"num":0}}`), Attachments: [][]byte{{1, 2}}}},
	}}
	b, err := AppendMessage(nil, &m, Sharded)
	if err != nil || b[0] != 0x84 {
		t.Fatalf("AppendMessage = %q, %v, want MessagePack", b, err)
	}
	if got, err := ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("ParseMessage(%q) = %+v, %v, want %+v", b, got, err, m)
	}
	b = pack(t, `{"type":8,"data":{"requestId":"r","sockets":[{"id":"a","handshake":{"auth":"<bin 0709>"},"rooms":[]}]},"uid":"u","nsp":"/"}`)
	got, err := ParseMessage(b)
	if want := `{"auth":{"type":"Buffer","data":[7,9]}}`; err != nil || string(got.Sockets[0].Handshake) != want {
		t.Errorf("ParseMessage(%q) = %+v, %v, want the handshake %s", b, got, err, want)
	}
}

func TestChannels(t *testing.T) {
	if got, want := BroadcastPattern("a*b", `/x?[1]\`), `a\*b#/x\?\[1\]\\#*`; got != want {
		t.Errorf("BroadcastPattern = %s, want %s", got, want)
	}
	for room, want := range map[string][3]string{ // of modes 0, 1, 2
		"r":                    {"p#/#r#", "p#/#r#", "p#/#"},
		"12345678901234567890": {"p#/#", "p#/#12345678901234567890#", "p#/#"},
		"éééééééééééééééééééé":    {"p#/#", "p#/#éééééééééééééééééééé#", "p#/#"},
		"😀😀😀😀😀😀😀😀😀😀":              {"p#/#", "p#/#😀😀😀😀😀😀😀😀😀😀#", "p#/#"},
		"😀2345678901234567890123": {"p#/#😀2345678901234567890123#", "p#/#😀2345678901234567890123#", "p#/#"},
	} {
		m := Message{Type: BroadcastMessage, Namespace: "/", Options: Options{Rooms: []string{room}}}
		for _, mode := range []ShardedMode{Dynamic, DynamicPrivate, Static} {
			if got := ShardedTarget("p", mode, &m); got != want[mode] {
				t.Errorf("ShardedTarget(%q, mode %d) = %s, want %s", room, mode, got, want[mode])
			}
		}
		m.RequestID = "x"
		if got := ShardedTarget("p", DynamicPrivate, &m); got != "p#/#" {
			t.Errorf("ShardedTarget of a request = %s, want p#/#", got)
		}
	}
}

// The numbers are Node's, for the hash of the streams adapter.
func TestStreamNames(t *testing.T) {
	for _, tt := range []struct {
		namespace string
		count     int
		want      string
	}{
		{"/", 1, "s"}, {"/", 0, "s"}, {"/", 4, "s-3"}, {"/chat", 4, "s-3"}, {"/admin", 4, "s-0"}, {"/news", 4, "s-2"}, {"/users", 4, "s-1"},
		{"/campaigns/1/trends", 4, "s--1"}, {"/campaigns/1/trends", 7, "s--3"}, {"", 4, "s-0"}, {"/😀é", 1000, "s-279"}, {"/😀😀😀😀😀", 1000, "s--194"},
	} {
		if got := StreamName("s", tt.count, tt.namespace); got != tt.want {
			t.Errorf("StreamName(%q, %d) = %s, want %s", tt.namespace, tt.count, got, tt.want)
		}
	}
}
