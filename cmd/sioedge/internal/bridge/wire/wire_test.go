package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

var update = flag.Bool("update", false, "write vectors.jsonl")

const vectorsFile = "../vectors.jsonl"

// A vector is a line of vectors.jsonl: a batch with one message, or none.
type vector struct {
	Name string          `json:"name"`
	From string          `json:"from"`
	Hex  string          `json:"hex"`
	JSON json.RawMessage `json:"json"`
	// Other means that the bytes are not those that are written for it, but are read.
	Other bool `json:"other,omitempty"`
}

var (
	words   = []string{"lobby", "ünï"}
	picture = []byte{0, 1, 254, 255}
	target  = Target{Nsp: "/chat", Rooms: []string{"r1", "r2"}, Except: []string{"r3"}}
	state   = State{Rooms: words, Data: []byte(`{"n":1}`), Taken: true}
	setting = Settings{Window: 4 << 20, MaxMessage: 16 << 20, MaxData: 65536, Timeout: 15000, Grace: 5000, Takeover: 10000, Data: "drain", Recovery: 120000, Has: HasAll}
)

func welcome(resumed bool) *Welcome {
	w := &Welcome{Version: 1, Edge: "edge-1", Session: "s_1", Resumed: resumed, Settings: setting, Server: "v1.2.3"}
	if resumed {
		w.Received = 300
	}
	return w
}

func handshake() *Handshake {
	return &Handshake{
		ID: "Yb3x_0", Address: "2001:db8::1", Port: 50123, Headers: []Header{{"host", "example.com"}, {"cookie", "a=1; b=2"}},
		URL: "/socket.io/?EIO=4&transport=polling", Secure: true, Issued: 1764485408123, Transport: "polling", Protocol: 4,
	}
}

// written are the batches that this package writes, in the order of protocol.md.
func written() (all []vector) {
	add := func(from Side, name string, f func(dst []byte) []byte) {
		who := map[Side]string{Edge: "edge", Application: "application"}[from]
		b := f(AppendBatch(nil, 7, 1))
		all = append(all, vector{Name: name, From: who, Hex: hex.EncodeToString(b)})
	}
	edge := func(name string, f func(dst []byte) []byte) { add(Edge, name, f) }
	app := func(name string, f func(dst []byte) []byte) { add(Application, name, f) }

	all = append(all, vector{Name: "nothing but what was worked off", From: "edge", Hex: hex.EncodeToString(AppendBatch(nil, 70000, 0))})
	all = append(all, vector{Name: "the greatest number", From: "application", Hex: hex.EncodeToString(AppendBatch(nil, maxNumber, 0))})
	edge("welcome", func(d []byte) []byte { return AppendWelcome(d, welcome(false)) })
	edge("welcome, resumed", func(d []byte) []byte { return AppendWelcome(d, welcome(true)) })
	edge("connection", func(d []byte) []byte { return AppendConnection(d, 1, handshake()) })
	edge("connection of Socket.IO 2 without headers", func(d []byte) []byte {
		return AppendConnection(d, 1<<32, &Handshake{ID: "x", Address: "::1", URL: "/socket.io/", Transport: "websocket", Protocol: 3})
	})
	edge("socket", func(d []byte) []byte { return AppendSocket(d, 1, 2, "/", "sid", nil, nil, nil) })
	edge("socket with auth", func(d []byte) []byte {
		return AppendSocket(d, 1, 2, "/chat", "sid", []byte(`{"token":"abc"}`), nil, nil)
	})
	edge("socket that was there before", func(d []byte) []byte { return AppendSocket(d, 1, 2, "/", "sid", nil, &state, nil) })
	edge("socket that was there before, without data", func(d []byte) []byte {
		return AppendSocket(d, 1, 2, "/", "sid", []byte("{}"), &State{Rooms: []string{}}, nil)
	})
	edge("socket of a user", func(d []byte) []byte {
		return AppendSocket(d, 1, 2, "/", "sid", nil, nil, &Identity{"u7", []byte(`{"sub":"u7"}`)})
	})
	edge("socket of a user without claims, there before", func(d []byte) []byte {
		return AppendSocket(d, 1, 2, "/", "sid", []byte("null"), &state, &Identity{User: "u7"})
	})
	edge("event", func(d []byte) []byte { return AppendEvent(d, 2, None, []byte(`["hello"]`), nil) })
	edge("event with an acknowledgement", func(d []byte) []byte { return AppendEvent(d, 200, 0, []byte(`["hello",{"a":"é"}]`), nil) })
	edge("event with binary", func(d []byte) []byte {
		return AppendEvent(d, 65536, 300, []byte(`["up",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), [][]byte{picture, {}})
	})
	edge("event of its parts", func(d []byte) []byte {
		return AppendEventOf(d, 2, 5, []byte(`"two"`), [][]byte{[]byte("1"), []byte(`"x"`)}, nil)
	})
	edge("event of its name", func(d []byte) []byte { return AppendEventOf(d, 2, None, []byte(`"one"`), nil, [][]byte{picture}) })
	edge("event longer than 255 bytes", func(d []byte) []byte {
		return AppendEvent(d, 2, None, []byte(`["`+strings.Repeat("é", 200)+`"]`), [][]byte{bytes.Repeat([]byte{7}, 300)})
	})
	edge("answer", func(d []byte) []byte { return AppendAnswer(d, 2, 9, []byte(`["ok"]`), [][]byte{picture}) })
	edge("answer of its parts", func(d []byte) []byte {
		return AppendAnswerOf(d, 2, 9, [][]byte{[]byte("1"), []byte("2")}, nil)
	})
	edge("answer of nothing", func(d []byte) []byte { return AppendAnswerOf(d, 2, 9, nil, nil) })
	edge("left", func(d []byte) []byte { return AppendLeft(d, 2, "client namespace disconnect", false) })
	edge("left, and may come back", func(d []byte) []byte { return AppendLeft(d, 2, "transport close", true) })
	edge("connection ended", func(d []byte) []byte { return AppendConnectionEnded(d, 1, "ping timeout") })
	edge("answers", func(d []byte) []byte {
		return AppendAnswers(d, 12, false, 0, []Reply{{JSON: []byte("[1]")}, {JSON: []byte(`[{"_placeholder":true,"num":0}]`), Bins: [][]byte{picture}}})
	})
	edge("answers, the last", func(d []byte) []byte { return AppendAnswers(d, 12, true, 3, nil) })
	edge("peers", func(d []byte) []byte {
		return AppendPeers(d, []Peer{{"p-1", []string{"/", "/chat"}, false}, {"p_2", []string{}, true}})
	})
	edge("no peers", func(d []byte) []byte { return AppendPeers(d, nil) })
	edge("relayed", func(d []byte) []byte { return AppendRelayed(d, "p-1", "/chat", picture) })
	edge("upgraded", func(d []byte) []byte { return AppendUpgraded(d, 1, "websocket") })
	edge("drained", AppendDrained)
	edge("settings", func(d []byte) []byte {
		return AppendSettings(d, &Settings{Window: 1 << 20, Data: "eager", Has: HasWindow | HasData | HasRecovery})
	})
	edge("ending", func(d []byte) []byte { return AppendEnding(d, CodeDraining, "the edge stops") })

	app("hello", func(d []byte) []byte {
		return AppendHello(d, &Hello{Version: 1, UID: "p-1", Window: 4 << 20, Namespaces: []string{"/", "/chat"}, Package: "1.0.0", SocketIO: "4.8.4"})
	})
	app("hello, resuming", func(d []byte) []byte {
		return AppendHello(d, &Hello{Version: 1, UID: strings.Repeat("Z", 64), Resume: "s_1", Received: 12345678901, Window: 1, Namespaces: []string{}, Direct: true})
	})
	app("accept", func(d []byte) []byte { return AppendAccept(d, 2) })
	app("refuse", func(d []byte) []byte { return AppendRefuse(d, 2, []byte(`{"message":"no","data":null}`)) })
	app("emit", func(d []byte) []byte { return AppendEmit(d, 2, 0, None, []byte(`["hi"]`), nil) })
	app("emit that is to be answered", func(d []byte) []byte {
		return AppendEmit(d, 2, Volatile|Uncompressed, 0, []byte(`["hi",{"_placeholder":true,"num":0}]`), [][]byte{picture})
	})
	app("reply", func(d []byte) []byte { return AppendReply(d, 2, 17, []byte(`[null]`), [][]byte{picture}) })
	app("broadcast", func(d []byte) []byte {
		return AppendBroadcast(d, Target{Nsp: "/"}, Volatile, None, 0, []byte(`["all"]`), nil)
	})
	app("broadcast that is to be answered", func(d []byte) []byte {
		return AppendBroadcast(d, target, 0, 12, 5000, []byte(`["all"]`), [][]byte{picture})
	})
	app("join", func(d []byte) []byte { return AppendJoin(d, 2, words) })
	app("leave", func(d []byte) []byte { return AppendLeave(d, 2, words) })
	app("all join", func(d []byte) []byte { return AppendJoinAll(d, target, words) })
	app("all leave", func(d []byte) []byte { return AppendLeaveAll(d, target, words) })
	app("disconnect", func(d []byte) []byte { return AppendDisconnect(d, 2) })
	app("close", func(d []byte) []byte { return AppendClose(d, 1) })
	app("all are disconnected", func(d []byte) []byte { return AppendDisconnectAll(d, target, true) })
	app("data", func(d []byte) []byte { return AppendData(d, 2, []byte(`{"n":1}`)) })
	app("closed", func(d []byte) []byte { return AppendClosed(d, 2, nil) })
	app("closed with data", func(d []byte) []byte { return AppendClosed(d, 2, []byte(`{}`)) })
	app("relay", func(d []byte) []byte { return AppendRelay(d, []string{"p-1", "p_2"}, "/", picture) })
	app("relay to all", func(d []byte) []byte { return AppendRelay(d, nil, "/", nil) })
	app("draining", AppendDraining)
	app("hand over", func(d []byte) []byte { return AppendHandOver(d, 2, []byte(`{"n":1}`)) })
	app("hand over without data", func(d []byte) []byte { return AppendHandOver(d, 2, nil) })
	app("handed over", AppendHandedOver)
	app("change", func(d []byte) []byte {
		return AppendChange(d, &Change{Namespaces: words, Direct: true, HasNamespaces: true, HasDirect: true})
	})
	app("change of one thing", func(d []byte) []byte { return AppendChange(d, &Change{HasDirect: true}) })
	app("forget", func(d []byte) []byte { return AppendForget(d, 12) })

	all = append(all, vector{Name: "several messages", From: "application", Hex: hex.EncodeToString(AppendAccept(AppendJoin(AppendBatch(nil, 1, 2), 2, words), 3))})
	return all
}

// otherwise are batches that are read like others, though they are not written like this.
var otherwise = []vector{
	{Name: "longer forms than needed", From: "edge", Hex: "dd00000002cd0007dc0004cf0000000000000004d300000000000000c8c0da00055b2261225d"},
	{Name: "members and messages that nobody knows", From: "application", Hex: "9407" + "9321ccc881a178c3" + "9464c4010090c0" + "922103"},
	{Name: "nil where it may be left out", From: "application", Hex: "9207932e02c0"},
	{Name: "nil for lists, flags and times", From: "application", Hex: "92079825a12fc0c0c0c0c0a55b2261225d"},
	{Name: "nil in a map, and names that nobody knows", From: "application", Hex: "9207" + "9220" + "86" + "a776657273696f6e01" + "a3756964a170" + "a6726573756d65c0" + "a677696e646f7701" + "a16b9201" + "80" + "aa6e616d65737061636573" + "91a12f"},
}

// vectors returns the lines of the file as they are to be.
func vectors(t *testing.T) []vector {
	all := written()
	for _, v := range otherwise {
		v.Other = true
		all = append(all, v)
	}
	for i := range all {
		b, rest := readable(t, nil, unhex(t, all[i].Hex))
		if len(rest) > 0 {
			t.Fatalf("%s has bytes behind it", all[i].Name)
		}
		all[i].JSON = b
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readable appends what MessagePack says as JSON, for people. It knows all that is written,
// and keeps the order of members.
func readable(t *testing.T, dst, b []byte) (out, rest []byte) {
	t.Helper()
	var n uint32
	var v any
	var err error
	switch msgp.NextType(b) {
	case msgp.ArrayType:
		n, b, err = msgp.ReadArrayHeaderBytes(b)
		dst = append(dst, '[')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, b = readable(t, dst, b)
		}
		dst = append(dst, ']')
	case msgp.MapType:
		n, b, err = msgp.ReadMapHeaderBytes(b)
		dst = append(dst, '{')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, b = readable(t, dst, b)
			dst, b = readable(t, append(dst, ':'), b)
		}
		dst = append(dst, '}')
	case msgp.BinType:
		v, b, err = msgp.ReadBytesZC(b)
		dst = fmt.Appendf(dst, `{"$bin":"%x"}`, v)
	default:
		v, b, err = msgp.ReadIntfBytes(b)
		var j bytes.Buffer
		e := json.NewEncoder(&j)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		dst = append(dst, bytes.TrimSpace(j.Bytes())...)
	}
	if err != nil {
		t.Fatalf("%x is not MessagePack: %v", b, err)
	}
	return dst, b
}

func TestVectorsFileIsWhatIsWritten(t *testing.T) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, v := range vectors(t) {
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(vectorsFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what this package writes (go test ./cmd/sioedge/internal/bridge/wire -update)", vectorsFile)
	}
}

func side(v vector) Side {
	if v.From == "edge" {
		return Edge
	}
	return Application
}

// parsed returns the messages of a batch, and ack.
func parsed(b []byte, from Side) (ack uint64, all []Message, err error) {
	ack, r, err := ParseBatch(b, from)
	if err != nil {
		return 0, nil, err
	}
	for {
		var m Message
		ok, err := r.Next(&m)
		if err != nil || !ok {
			return ack, all, err
		}
		all = append(all, m)
	}
}

func appended(ack uint64, all []Message) []byte {
	b := AppendBatch(nil, ack, len(all))
	for i := range all {
		b = again(b, &all[i])
	}
	return b
}

func TestWhatWasReadIsWrittenTheSame(t *testing.T) {
	kinds := map[Kind]bool{}
	for _, v := range vectors(t) {
		b := unhex(t, v.Hex)
		ack, all, err := parsed(b, side(v))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		for i := range all {
			kinds[all[i].Kind] = true
		}
		if got := appended(ack, all); !v.Other && !bytes.Equal(got, b) {
			t.Errorf("%s: read %x and wrote %x", v.Name, b, got)
		}
	}
	for k := range layouts {
		if layouts[k].name != "" && !kinds[Kind(k)] {
			t.Errorf("no vector has %s", Kind(k))
		}
	}
}

func TestOtherFormsAreReadTheSame(t *testing.T) {
	want := [][]byte{
		AppendEvent(AppendBatch(nil, 7, 1), 200, None, []byte(`["a"]`), nil),
		AppendAccept(AppendAccept(AppendBatch(nil, 7, 2), 200), 3),
		AppendClosed(AppendBatch(nil, 7, 1), 2, nil),
		AppendBroadcast(AppendBatch(nil, 7, 1), Target{Nsp: "/"}, 0, None, 0, []byte(`["a"]`), nil),
		AppendHello(AppendBatch(nil, 7, 1), &Hello{Version: 1, UID: "p", Window: 1, Namespaces: []string{"/"}}),
	}
	for i, v := range otherwise {
		ack, all, err := parsed(unhex(t, v.Hex), side(v))
		if got := appended(ack, all); err != nil || !bytes.Equal(got, want[i]) {
			t.Errorf("%s: %x, %v, want %x", v.Name, got, err, want[i])
		}
	}
}

// Whatever is cut off is an error, and never a message that was longer.
func TestCutBatchesAreErrors(t *testing.T) {
	for _, v := range vectors(t) {
		b := unhex(t, v.Hex)
		for n := range min(len(b), 4096) {
			if _, _, err := parsed(b[:n:n], side(v)); err == nil {
				t.Errorf("%s: no error when cut behind %d bytes", v.Name, n)
				break
			}
		}
		if _, _, err := parsed(append(b[:len(b):len(b)], 0xc0), side(v)); err == nil {
			t.Errorf("%s: no error with a byte behind it", v.Name)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	deep := bytes.Repeat([]byte{0x91}, 1000)
	for _, c := range []struct {
		name  string
		batch string
		want  Error
	}{
		{"nothing", "", Error{0, "", "is no array"}},
		{"no array", "c0", Error{0, "", "is no array"}},
		{"an empty array", "90", Error{0, "", "is empty"}},
		{"more messages than bytes", "ddffffffff07", Error{0, "", "has fewer bytes than elements"}},
		{"ack is negative", "91ff", Error{0, "ack", "is no number from 0 to 2^53-1"}},
		{"ack is too great", "91cf0020000000000000", Error{0, "ack", "is no number from 0 to 2^53-1"}},
		{"ack is a float", "91cb3ff0000000000000", Error{0, "ack", "is no number from 0 to 2^53-1"}},
		{"a message is no array", "9207c0", Error{0, "message", "is no array"}},
		{"a message is empty", "920790", Error{0, "message", "is empty"}},
		{"a message of the other side", "92079104", Error{KindEvent, "", "is not of this side"}},
		{"a member is missing", "92079121", Error{KindAccept, "sock", "is missing"}},
		{"a number is a text", "92079221a131", Error{KindAccept, "sock", "is no number from 0 to 2^53-1"}},
		{"a needed member is nil", "92079221c0", Error{KindAccept, "sock", "is no number from 0 to 2^53-1"}},
		{"json is binary", "920793220" + "2c40178", Error{KindRefuse, "json", "is no text"}},
		{"json is not UTF-8", "92079322" + "02a1ff", Error{KindRefuse, "json", "is not UTF-8"}},
		{"json is longer than the batch", "92079322" + "02dbffffffff78", Error{KindRefuse, "json", "is no text"}},
		{"binary is text", "92079623" + "0200c0a178a178", Error{KindEmit, "bin", "is not binary"}},
		{"binary is longer than the batch", "92079623" + "0200c0a178c6ffffffff00", Error{KindEmit, "bin", "is not binary"}},
		{"more rooms than bytes", "92079326" + "02ddffffffff", Error{KindJoin, "names", "has fewer bytes than elements"}},
		{"a room is a number", "92079326" + "029101", Error{KindJoin, "names", "is no text"}},
		{"hello without uid", "92079220" + "81a776657273696f6e01", Error{KindHello, "hello", "uid is missing"}},
		{"hello with a bad uid", "92079220" + "81a3756964a12e", Error{KindHello, "hello.uid", "has other bytes than A-Za-z0-9_-"}},
		{"hello with a long uid", "92079220" + "81a3756964d941" + strings.Repeat("61", 65), Error{KindHello, "hello.uid", "has not 1 to 64 bytes"}},
		{"hello is no map", "9207922090", Error{KindHello, "hello", "is no map"}},
		{"hello has more members than bytes", "92079220dfffffffff", Error{KindHello, "hello", "has fewer bytes than members"}},
		{"hello's names are numbers", "920792208101c0", Error{KindHello, "hello's names", "is no text"}},
		{"what is not known is nested too deep", "920792" + "7f" + hex.EncodeToString(deep) + "c0", Error{0, "message", "is broken, or nested too deep"}},
		{"what is not known is a huge map", "920792" + "7f" + "dfffffffff" + "c0", Error{0, "message", "is broken, or nested too deep"}},
	} {
		_, _, err := parsed(unhex(t, c.batch), Application)
		var e *Error
		if !errors.As(err, &e) || *e != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, &c.want)
		}
	}
	many := &Hello{Version: 1, UID: "p", Window: 1, Namespaces: make([]string, maxNamespaces+1)}
	if _, _, err := parsed(AppendHello(AppendBatch(nil, 0, 1), many), Application); err == nil {
		t.Error("a hello may have any number of namespaces")
	}
}

// What lengths claim is not allocated.
func TestClaimedLengthsAllocateNothing(t *testing.T) {
	for _, h := range []string{
		"ddffffffff07", "9207ddffffffff21", "92079326" + "02ddffffffff", "92079220dfffffffff", "92079322" + "02dbffffffff78",
		"9207922081aa6e616d65737061636573ddfffffff0", "920792" + "7f" + "dfffffffff" + "c0",
	} {
		b := unhex(t, h)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			if _, _, err := parsed(b, Application); err == nil {
				t.Errorf("%s is no error", h)
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 16<<10 {
			t.Errorf("%s: %d bytes are allocated", h, n)
		}
	}
}

func TestLongTexts(t *testing.T) {
	for _, n := range []int{0, 31, 32, 255, 256, 65535, 65536, 1 << 20} {
		text := strings.Repeat("a", n)
		if !bytes.Equal(appendText(nil, text), msgp.AppendString(nil, text)) {
			t.Errorf("a text of %d bytes is not as msgp has it", n)
		}
		_, all, err := parsed(AppendRefuse(AppendBatch(nil, 1, 1), 2, []byte(text)), Application)
		if err != nil || string(all[0].JSON) != text {
			t.Errorf("a text of %d bytes is not read: %v", n, err)
		}
	}
}

// Messages that come often are read and written without an allocation.
func TestMessagesAllocateNothing(t *testing.T) {
	var b []byte
	bins := [][]byte{picture}
	payload := []byte(`["hello",1]`)
	write := func() {
		b = AppendBatch(b[:0], 7, 5)
		b = AppendEmit(b, 2, 0, None, payload, bins)
		b = AppendReply(b, 2, 7, payload, nil)
		b = AppendBroadcast(b, target, 0, None, 0, payload, bins)
		b = AppendJoin(b, 2, words)
		b = AppendRelay(b, words, "/", picture)
	}
	write()
	if n := testing.AllocsPerRun(100, write); n != 0 {
		t.Errorf("writing takes %v allocations", n)
	}
	m := &Message{}
	rooms := 0
	if n := testing.AllocsPerRun(100, func() {
		_, r, _ := ParseBatch(b, Application)
		for {
			ok, err := r.Next(m)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return
			}
			for range m.Rooms.All() {
				rooms++
			}
		}
	}); n != 0 {
		t.Errorf("reading takes %v allocations", n)
	}
	if rooms == 0 {
		t.Error("no rooms were read")
	}
}

// again appends a message that was read.
func again(b []byte, m *Message) []byte {
	bins := m.Bins.Views()
	to := Target{string(m.Nsp), m.Rooms.Strings(), m.Except.Strings()}
	names := m.Names.Strings()
	switch m.Kind {
	case KindWelcome:
		return AppendWelcome(b, m.Welcome)
	case KindConnection:
		return AppendConnection(b, m.Conn, m.Handshake)
	case KindSocket:
		return AppendSocket(b, m.Conn, m.Sock, string(m.Nsp), string(m.SID), m.Auth, m.State, m.Identity)
	case KindEvent:
		return AppendEvent(b, m.Sock, m.ID, m.JSON, bins)
	case KindAnswer:
		return AppendAnswer(b, m.Sock, m.ID, m.JSON, bins)
	case KindLeft:
		return AppendLeft(b, m.Sock, string(m.Text), m.Kept)
	case KindConnectionEnded:
		return AppendConnectionEnded(b, m.Conn, string(m.Text))
	case KindAnswers:
		return AppendAnswers(b, m.ID, m.Done, m.Count, m.Answers)
	case KindPeers:
		return AppendPeers(b, m.Peers)
	case KindRelayed:
		return AppendRelayed(b, m.UID, m.Nsp, m.Payload)
	case KindUpgraded:
		return AppendUpgraded(b, m.Conn, string(m.Text))
	case KindDrained:
		return AppendDrained(b)
	case KindSettings:
		return AppendSettings(b, m.Settings)
	case KindEnding:
		return AppendEnding(b, string(m.Code), string(m.Text))
	case KindHello:
		return AppendHello(b, m.Hello)
	case KindAccept:
		return AppendAccept(b, m.Sock)
	case KindRefuse:
		return AppendRefuse(b, m.Sock, m.JSON)
	case KindEmit:
		return AppendEmit(b, m.Sock, m.Flags, m.ID, m.JSON, bins)
	case KindReply:
		return AppendReply(b, m.Sock, m.ID, m.JSON, bins)
	case KindBroadcast:
		return AppendBroadcast(b, to, m.Flags, m.ID, m.Timeout, m.JSON, bins)
	case KindJoin:
		return AppendJoin(b, m.Sock, names)
	case KindLeave:
		return AppendLeave(b, m.Sock, names)
	case KindJoinAll:
		return AppendJoinAll(b, to, names)
	case KindLeaveAll:
		return AppendLeaveAll(b, to, names)
	case KindDisconnect:
		return AppendDisconnect(b, m.Sock)
	case KindClose:
		return AppendClose(b, m.Conn)
	case KindDisconnectAll:
		return AppendDisconnectAll(b, to, m.Close)
	case KindData:
		return AppendData(b, m.Sock, m.Data)
	case KindClosed:
		return AppendClosed(b, m.Sock, m.Data)
	case KindRelay:
		return AppendRelay(b, names, string(m.Nsp), m.Payload)
	case KindDraining:
		return AppendDraining(b)
	case KindHandOver:
		return AppendHandOver(b, m.Sock, m.Data)
	case KindHandedOver:
		return AppendHandedOver(b)
	case KindChange:
		return AppendChange(b, m.Change)
	case KindForget:
		return AppendForget(b, m.ID)
	}
	panic(fmt.Sprint("no such kind: ", m.Kind))
}

// Whatever comes is read without a panic, in views of itself; and what was read and is
// written is read the same.
func FuzzBatch(f *testing.F) {
	for _, v := range append(written(), otherwise...) {
		b := unhex(f, v.Hex)
		if len(b) < 1000 {
			f.Add(b, v.From == "edge")
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, edge bool) {
		from := Application
		if edge {
			from = Edge
		}
		ack, all, err := parsed(b, from)
		if err != nil {
			return
		}
		once := appended(ack, all)
		ack2, all2, err := parsed(once, from)
		if err != nil {
			t.Fatalf("%x is read, but what is written for it, %x, is not: %v", b, once, err)
		}
		if twice := appended(ack2, all2); ack2 != ack || !bytes.Equal(once, twice) {
			t.Fatalf("%x is written as %x, and that as %x", b, once, twice)
		}
		if !reflect.DeepEqual(plain(all), plain(all2)) {
			t.Fatalf("%x is read as %v, and what is written for it as %v", b, plain(all), plain(all2))
		}
	})
}

// plain returns messages with their lists as Go's.
func plain(all []Message) (out []any) {
	for _, m := range all {
		lists := [][]string{m.Rooms.Strings(), m.Except.Strings(), m.Names.Strings()}
		bins := m.Bins.Copies()
		m.Rooms, m.Except, m.Names, m.Bins = Texts{}, Texts{}, Texts{}, Bins{}
		if m.Hello != nil && m.Hello.Namespaces == nil {
			m.Hello.Namespaces = []string{}
		}
		if m.State != nil && m.State.Rooms == nil {
			m.State.Rooms = []string{}
		}
		if m.Welcome != nil {
			m.Welcome.Has = HasAll
			if !m.Welcome.Resumed {
				m.Welcome.Received = 0
			}
		}
		out = append(out, lists, bins, m)
	}
	return out
}
