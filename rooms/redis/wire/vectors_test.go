package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

// A vector is a command that servers and emitters on npm's packages sent to
// Redis: a message published, an entry added, a session set, or none of these.
type vector struct {
	Proto, Step, Cmd, Channel, Args    string
	Encoding, Payload, Hex, Decoded    string
	stream, uid, nsp, typ, data, value string
	message                            []byte
}

func vectors(t testing.TB) []*vector {
	f, err := os.Open("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []*vector
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		v := new(vector)
		if err := json.Unmarshal(lines.Bytes(), v); err != nil {
			t.Fatal(err)
		}
		v.message = []byte(v.Payload)
		if v.Hex != "" {
			if v.message, err = hex.DecodeString(v.Hex); err != nil {
				t.Fatal(err)
			}
		}
		switch words := strings.SplitN(v.Args, " ", 13); v.Cmd {
		case "XADD": // name MAXLEN ~ 10000 * uid U nsp N type T data D
			v.stream, v.uid, v.nsp, v.typ = words[0], words[6], words[8], words[10]
			if len(words) == 13 {
				v.data = words[12]
			}
		case "SET": // key value PX ms
			v.value = words[1]
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (v *vector) fields() []string {
	fields := []string{"uid", v.uid, "nsp", v.nsp, "type", v.typ}
	if v.data != "" {
		fields = append(fields, "data", v.data)
	}
	return fields
}

// entry returns the fields of an entry, each followed by its value, as a map.
func entry(fields ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		m[fields[i]] = fields[i+1]
	}
	return m
}

// A codec parses one kind of message: to what it means, in the shape that it has
// on the wire, and to what it is encoded as again.
type codec func(b []byte) (meaning any, parsed any, again []byte, err error)

// kind returns the codec of a published message.
func (v *vector) kind() (name string, c codec) {
	switch {
	case !strings.HasPrefix(v.Proto, "classic") && !strings.HasPrefix(v.Proto, "redis-emitter"):
		form := Sharded
		if strings.HasPrefix(v.Proto, "streams") {
			form = Packed
		}
		return "message", messageCodec(form)
	case strings.Contains(v.Channel, "-request#"):
		return "request", func(b []byte) (any, any, []byte, error) {
			r, err := ParseRequest(b)
			if err != nil {
				return nil, nil, nil, err
			}
			again, err := AppendRequest(nil, &r)
			return requestMeaning(&r), r, again, err
		}
	case strings.Contains(v.Channel, "-response#"):
		return "response", func(b []byte) (any, any, []byte, error) {
			r, err := ParseResponse(b)
			if err != nil {
				return nil, nil, nil, err
			}
			again, err := AppendResponse(nil, &r)
			return responseMeaning(&r), r, again, err
		}
	}
	return "broadcast", func(b []byte) (any, any, []byte, error) {
		m, err := ParseBroadcast(b)
		if err != nil {
			return nil, nil, nil, err
		}
		again, err := AppendBroadcast(nil, &m)
		return []any{m.UID, packetMeaning(&m.Packet, m.Namespace), optionsMeaning(&m.Options, true)}, m, again, err
	}
}

func messageCodec(form Form) codec {
	return func(b []byte) (any, any, []byte, error) {
		m, err := ParseMessage(b)
		if err != nil {
			return nil, nil, nil, err
		}
		again, err := AppendMessage(nil, &m, form)
		return messageMeaning(&m), m, again, err
	}
}

// valueMeaning returns the value that is text, with bytes as the vectors' notes
// have them.
func valueMeaning(text []byte, attachments [][]byte) any {
	var v any
	if err := value.Decode(text, attachments, &v); err != nil {
		return err
	}
	return noted(v)
}

func noted(v any) any {
	switch v := v.(type) {
	case value.Binary:
		return fmt.Sprintf("<bin %x>", []byte(v))
	case []any:
		for i := range v {
			v[i] = noted(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = noted(v[k])
		}
	}
	return v
}

func texts(list []string) []any {
	out := []any{}
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

func packetMeaning(p *Packet, namespace string) any {
	m := map[string]any{"type": 2.0, "data": valueMeaning(p.Data, p.Attachments)}
	if namespace != "" {
		m["nsp"] = namespace
	}
	if p.HasID {
		m["id"] = float64(p.ID)
	}
	return m
}

func optionsMeaning(o *Options, flagged bool) any {
	m := map[string]any{"rooms": texts(o.Rooms), "except": texts(o.Except)}
	if !flagged {
		return m
	}
	flags := map[string]any{}
	if o.Flags.Volatile {
		flags["volatile"] = true
	}
	if o.Flags.HasCompress {
		flags["compress"] = o.Flags.Compress
	}
	if o.Flags.SingleResponse {
		flags["expectSingleResponse"] = true
	}
	if o.Flags.HasTimeout {
		flags["timeout"] = float64(o.Flags.Timeout)
	}
	m["flags"] = flags
	return m
}

func socketsMeaning(list []SocketInfo) any {
	out := []any{}
	for i := range list {
		s := &list[i]
		out = append(out, map[string]any{"id": s.ID, "rooms": texts(s.Rooms),
			"handshake": valueMeaning(s.Handshake, nil), "data": valueMeaning(s.Data.Data, s.Data.Attachments)})
	}
	return out
}

func requestMeaning(r *Request) any {
	m := map[string]any{"type": float64(r.Type)}
	if r.UID != "" {
		m["uid"] = r.UID
	}
	if r.ID != "" {
		m["requestId"] = r.ID
	}
	if r.SID != "" {
		m["sid"] = r.SID
	} else if r.Type >= RequestJoin && r.Type != RequestServerSideEmit {
		m["opts"] = optionsMeaning(&r.Options, r.Type == RequestBroadcast)
	}
	switch r.Type {
	case RequestSockets:
		m["rooms"] = texts(r.Rooms)
	case RequestJoin, RequestLeave:
		if r.SID != "" {
			m["room"] = r.Room
		} else {
			m["rooms"] = texts(r.Rooms)
		}
	case RequestDisconnect:
		m["close"] = r.Close
	case RequestServerSideEmit:
		m["data"] = valueMeaning(r.Packet.Data, r.Packet.Attachments)
	case RequestBroadcast:
		m["packet"] = packetMeaning(&r.Packet, r.Namespace)
	}
	return m
}

func responseMeaning(r *Response) any {
	m := map[string]any{"requestId": r.RequestID}
	if r.HasType {
		m["type"] = float64(r.Type)
	}
	if r.UID != "" {
		m["uid"] = r.UID
	}
	switch {
	case r.Sockets != nil:
		m["sockets"] = socketsMeaning(r.Sockets)
	case r.SIDs != nil:
		m["sockets"] = texts(r.SIDs)
	case r.Rooms != nil:
		m["rooms"] = texts(r.Rooms)
	case r.Type == ResponseClientCount:
		m["clientCount"] = float64(r.Count)
	case r.Value.Data != nil:
		m[map[RequestType]string{RequestServerSideEmit: "data", ResponseAck: "packet"}[r.Type]] = valueMeaning(r.Value.Data, r.Value.Attachments)
	}
	return m
}

func messageMeaning(m *Message) any {
	out := map[string]any{"type": float64(m.Type), "uid": m.UID, "nsp": m.Namespace}
	if data := dataMeaning(m); data != nil {
		out["data"] = data
	}
	return out
}

func dataMeaning(m *Message) any {
	data := map[string]any{}
	if m.RequestID != "" {
		data["requestId"] = m.RequestID
	}
	if m.Type >= BroadcastMessage && m.Type <= FetchSockets {
		data["opts"] = optionsMeaning(&m.Options, true)
	}
	switch m.Type {
	case BroadcastMessage:
		data["packet"] = packetMeaning(&m.Packet, "")
	case SocketsJoin, SocketsLeave:
		data["rooms"] = texts(m.Rooms)
	case DisconnectSockets:
		data["close"] = m.Close
	case FetchSockets:
	case FetchSocketsResponse:
		data["sockets"] = socketsMeaning(m.Sockets)
	case ServerSideEmit:
		data["packet"] = valueMeaning(m.Packet.Data, m.Packet.Attachments)
	case ServerSideEmitResponse, BroadcastAck:
		if m.Value.Data != nil {
			data["packet"] = valueMeaning(m.Value.Data, m.Value.Attachments)
		}
	case BroadcastClientCount:
		data["clientCount"] = float64(m.Count)
	default:
		return nil
	}
	return data
}

// want returns the meaning that the vectors have of a message, given as JSON. A
// room that is a number is its text here; and the notes have nothing of an
// ArrayBuffer.
func (v *vector) want(t *testing.T, note string) any {
	var want any
	if err := json.Unmarshal([]byte(note), &want); err != nil {
		t.Fatalf("%s: %v", note, err)
	}
	if v.Step == "numeric room" {
		note = strings.Replace(note, `"rooms":[42]`, `"rooms":["42"]`, 1)
	}
	if v.Proto == "classic-7.2.0" && v.Step == "binary" {
		note = strings.Replace(note, `{"u":{}}`, `{"u":"<bin ff00>"}`, 1)
	}
	want = nil
	if err := json.Unmarshal([]byte(note), &want); err != nil {
		t.Fatalf("%s: %v", note, err)
	}
	return want
}

// oneWay says why a message is encoded in another way than it came in.
func (v *vector) oneWay() string {
	classic := strings.HasPrefix(v.Proto, "classic")
	switch {
	case v.Step == "numeric room":
		return "rooms that are numbers are texts here"
	case classic && v.Step == "types":
		return "dates are texts here, and what is no number is null"
	case v.Proto == "classic-7.2.0" && v.Step == "binary":
		return "notepack 2 writes an ArrayBuffer as an extension"
	}
	return ""
}

func TestVectorsAreDecodedAndEncodedAgain(t *testing.T) {
	var kinds = map[string]int{}
	again, other := 0, 0
	for _, v := range vectors(t) {
		var got, want any
		var out, in string
		var err error
		switch {
		case v.Encoding != "":
			name, c := v.kind()
			kinds[name]++
			note := v.Decoded
			if v.Encoding == "json" {
				note = v.Payload
			}
			var b []byte
			got, _, b, err = c(v.message)
			want, out, in = v.want(t, note), string(b), string(v.message)
		case v.Cmd == "XADD":
			kinds["entry"]++
			got, want, out, err = v.entry(t)
			in = strings.Join(v.fields(), " ")
		case v.Cmd == "SET":
			kinds["session"]++
			got, want, out, err = v.session()
			in = v.value
		default:
			other++
			continue
		}
		if err != nil || want != nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s, %s: decoding %.300q = %v, %v, want %v", v.Proto, v.Step, in, got, err, want)
			continue
		}
		switch reason := v.oneWay(); {
		case reason == "" && out != in:
			t.Errorf("%s, %s: encoding again gives\n%.300q, want\n%.300q", v.Proto, v.Step, out, in)
		case reason != "" && out == in:
			t.Errorf("%s, %s: encoding again gives the same, though %s", v.Proto, v.Step, reason)
		case reason == "":
			again++
		}
	}
	if want := map[string]int{"broadcast": 41, "request": 49, "response": 44, "message": 150, "entry": 96, "session": 1}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("decoded %v, want %v", kinds, want)
	}
	if again != 368 || other != 217 {
		t.Errorf("%d encoded again, %d without a message, want 368 and 217", again, other)
	}
}

// entry decodes and encodes an entry. What is base64 has no note.
func (v *vector) entry(t *testing.T) (got, want any, out string, err error) {
	m, err := ParseEntry(entry(v.fields()...))
	if err != nil {
		return nil, nil, "", err
	}
	note := fmt.Sprintf(`{"uid":%q,"nsp":%q,"type":%s}`, v.uid, v.nsp, v.typ)
	if strings.HasPrefix(v.data, "{") {
		note = fmt.Sprintf(`{"uid":%q,"nsp":%q,"type":%s,"data":%s}`, v.uid, v.nsp, v.typ, v.data)
	}
	got, want = messageMeaning(&m), v.want(t, note)
	if v.data != "" && v.data[0] != '{' {
		if !m.hasBytes() {
			return nil, nil, "", fmt.Errorf("no bytes in %v", m)
		}
		want = nil
	}
	fields, err := AppendEntry(nil, &m)
	return got, want, strings.Join(fields, " "), err
}

func (v *vector) session() (got, want any, out string, err error) {
	s, err := ParseSession([]byte(v.value))
	if err != nil {
		return nil, nil, "", err
	}
	b, err := AppendSession(nil, &s)
	got = []any{s.SID, s.PID, s.Rooms, valueMeaning(s.Data.Data, s.Data.Attachments)}
	want = []any{"v1hrDpBaqv4oJF94AAAA", "zHrO_QyNVBakYw5QAAAB", []string{"v1hrDpBaqv4oJF94AAAA", "room1"}, map[string]any{"user": map[string]any{"n": "bob"}}}
	return got, want, string(b), err
}

// Where the packages published, added and subscribed is where we would.
func TestVectorsGoWhereOursWould(t *testing.T) {
	modes := map[string]ShardedMode{"sharded-static-8.3.0": Static, "sharded-dynamic-8.3.0": Dynamic, "sharded-dynamic-private-8.3.0": DynamicPrivate}
	checked := 0
	for _, v := range vectors(t) {
		var want []string
		_, c := v.kind()
		switch _, parsed, _, _ := c(v.message); m := parsed.(type) {
		case Broadcast:
			want = []string{BroadcastTarget("socket.io", m.Namespace, &m.Options)}
		case Request:
			want = []string{RequestChannel("socket.io", "/")}
		case Response:
			uid := strings.TrimSuffix(strings.TrimPrefix(v.Channel, ResponseChannel("socket.io", "/")), "#")
			want = []string{ResponseChannel("socket.io", "/"), OwnResponseChannel("socket.io", "/", uid)}
		case Message:
			uid := strings.TrimSuffix(strings.TrimPrefix(v.Channel, BroadcastChannel("socket.io", m.Namespace)), "#")
			switch m.Type {
			case FetchSocketsResponse, ServerSideEmitResponse, BroadcastClientCount, BroadcastAck:
				if len(uid) != 16 {
					t.Errorf("%s is of %q, want a server", v.Channel, uid)
				}
				want = []string{RoomChannel("socket.io", m.Namespace, uid)}
			default:
				want = []string{ShardedTarget("socket.io", modes[v.Proto], &m)}
			}
			if strings.HasPrefix(v.Proto, "streams") && m.Durable() {
				t.Errorf("Durable(%v) = true, want false for what was published", m)
			}
		}
		got := v.Channel
		if v.Cmd == "XADD" {
			count := 1
			if strings.HasSuffix(v.Proto, "streamCount4") {
				count = 4
			}
			got, want = v.stream, []string{StreamName("socket.io", count, v.nsp)}
			m, _ := ParseEntry(entry(v.fields()...))
			if !m.Durable() && v.Proto != "streams-0.2.2" {
				t.Errorf("Durable(%v) = false, want true for what was added", m)
			}
		}
		if v.Cmd == "PSUBSCRIBE" {
			got, want = v.Args, []string{BroadcastPattern("socket.io", "/"), BroadcastPattern("socket.io", "/chat"), BroadcastPattern("socket.io", "/dyn-1")}
		}
		if got == "" {
			continue
		}
		checked++
		ok := false
		for _, w := range want {
			ok = ok || got == w
		}
		if !ok {
			t.Errorf("%s, %s: %s %s, want %v", v.Proto, v.Step, v.Cmd, got, want)
		}
	}
	if checked != 395 {
		t.Errorf("checked %d vectors, want 395", checked)
	}
}

// A message cut anywhere, or with something behind it, is none.
func TestVectorsCutAnywhere(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range vectors(t) {
		if v.Encoding == "" {
			continue
		}
		name, c := v.kind()
		if key := name + v.Step + v.Encoding + strconv.Itoa(len(v.message)); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		for i := range v.message {
			if got, _, _, err := c(v.message[:i:i]); err == nil {
				t.Errorf("%s, %s: the first %d of %d bytes = %v, want an error", v.Proto, v.Step, i, len(v.message), got)
			}
		}
		for _, tail := range []string{"\x00", "x", "{}", "\xc0", "\x93"} {
			b := append(bytes.Clone(v.message), tail...)
			if got, _, _, err := c(b); err == nil {
				t.Errorf("%s, %s: a message and %q = %v, want an error", v.Proto, v.Step, tail, got)
			}
		}
	}
}

func TestEntriesAndSessionsCutAnywhere(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Cmd == "XADD" && v.data != "" {
			fields := v.fields()
			for i := range v.data {
				fields[7] = v.data[:i]
				if m, err := ParseEntry(entry(fields...)); err == nil {
					t.Errorf("ParseEntry(%q) = %v, want an error", fields, m)
				}
			}
		}
		for i := range v.value {
			if s, err := ParseSession([]byte(v.value[:i])); err == nil {
				t.Errorf("ParseSession(%q) = %v, want an error", v.value[:i], s)
			}
		}
	}
}
