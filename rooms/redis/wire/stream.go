package wire

import (
	"encoding/base64"
	"errors"
	"strconv"

	"github.com/sioedge/sioedge/rooms/value"
)

var (
	errBase64  = errors.New("wire: not base64")
	errSession = errors.New("wire: not a session")
)

// Durable tells whether the streams adapter adds m to the stream; it publishes
// all else, requests and responses.
func (m *Message) Durable() bool {
	switch m.Type {
	case BroadcastMessage:
		return m.RequestID == ""
	case SocketsJoin, SocketsLeave, DisconnectSockets:
		return true
	}
	return false
}

// AppendEntry appends the fields and values of m's entry in a stream: uid, nsp,
// type, and data if it has any, as JSON, or as base64 of MessagePack if there
// are bytes in it. The errors are those of [AppendMessage]; dst is then returned
// as it was.
func AppendEntry(dst []string, m *Message) ([]string, error) {
	out := append(dst, "uid", m.UID, "nsp", m.Namespace, "type", strconv.Itoa(int(m.Type)))
	if !m.hasData() {
		return out, nil
	}
	w := writer{packed: m.hasBytes()}
	w.data(m)
	switch {
	case w.err != nil:
		return dst, w.err
	case w.packed:
		return append(out, "data", base64.StdEncoding.EncodeToString(w.b)), nil
	}
	return append(out, "data", string(w.b)), nil
}

// ParseEntry parses an entry from its fields.
func ParseEntry(fields map[string]string) (Message, error) {
	data := fields["data"]
	t, err := strconv.ParseUint(fields["type"], 10, 8)
	if err != nil || t < uint64(InitialHeartbeat) || t > uint64(AdapterClose) {
		return Message{}, errType
	}
	m := Message{Type: MessageType(t), UID: fields["uid"], Namespace: fields["nsp"]}
	if !m.hasData() {
		return m, nil
	}
	var v value.View
	if len(data) > 0 && data[0] == '{' {
		v, err = value.ViewJSON([]byte(data), maxDepth)
	} else {
		var b []byte
		if b, err = base64.StdEncoding.DecodeString(data); err != nil {
			return Message{}, errBase64
		}
		v, err = value.ViewMsgpack(b, maxDepth)
	}
	if err != nil {
		return Message{}, errSyntax
	}
	if err := m.setData(v); err != nil {
		return Message{}, err
	}
	return m, nil
}

// StreamName returns the stream to which the messages of a namespace are added,
// if there are count of them with that name in common. About half of all
// namespaces have a negative number, as "socket.io--1": servers in JavaScript
// write there, but none of them reads it.
func StreamName(name string, count int, namespace string) string {
	if count <= 1 {
		return name
	}
	var hash int32
	for _, unit := range utf16Units(namespace) {
		hash = hash*31 + int32(unit)
	}
	return name + "-" + strconv.FormatInt(int64(hash)%int64(count), 10)
}

// A Session is what a server keeps of a client that is gone for a while, so that
// it may come back to another one: connection state recovery.
type Session struct {
	SID, PID string
	Rooms    []string // that of the SID included
	Data     Value    // of the socket, an object
	// Namespace, and the id of the last entry that the client is known to need no
	// more: "" in those of servers of Node, which do not look at them.
	Namespace, Since string
	// When its time is over, in ms since 1970; where its stream was when it was kept;
	// who it is; when it expires, in ms since 1970. Likewise.
	Until, At, Behind, Identity, Expires string
	// Direct is what else the server keeps, of a form of its own. With it, the value
	// is none that a server of Node takes for a session.
	Direct string
}

// AppendSession appends the value that the streams adapter sets for s: base64
// of MessagePack. The errors are as with [AppendBroadcast].
func AppendSession(dst []byte, s *Session) ([]byte, error) {
	w := writer{packed: true}
	w.object(3 + one(s.Data.Data != nil) + one(s.Namespace != "") + one(s.Since != "") + one(s.Until != "") + one(s.At != "") + one(s.Behind != "") + one(s.Identity != "") + one(s.Expires != "") + one(s.Direct != ""))
	w.key("sid")
	w.text(s.SID)
	w.key("pid")
	w.text(s.PID)
	w.rooms("rooms", s.Rooms)
	w.value("data", &s.Data)
	w.optional("nsp", s.Namespace)
	w.optional("since", s.Since)
	w.optional("until", s.Until)
	w.optional("at", s.At)
	w.optional("behind", s.Behind)
	w.optional("who", s.Identity)
	w.optional("expires", s.Expires)
	w.optional("direct", s.Direct)
	w.endObject()
	if w.err != nil {
		return dst, w.err
	}
	if s.Direct != "" {
		w.b = append([]byte{neverUsed}, w.b...)
	}
	return base64.StdEncoding.AppendEncode(dst, w.b), nil
}

// neverUsed begins no value of MessagePack.
const neverUsed = 0xc1

// ParseSession parses such a value. Nothing in the session shares its memory.
func ParseSession(text []byte) (s Session, err error) {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return Session{}, errBase64
	}
	if len(b) > 0 && b[0] == neverUsed {
		b = b[1:]
	}
	v, err := value.ViewMsgpack(b, maxDepth)
	if err != nil {
		return Session{}, errSyntax
	}
	var f [12]value.View
	if !v.Object(f[:], "sid", "pid", "rooms", "data", "nsp", "since", "until", "at", "behind", "who", "expires", "direct") {
		return Session{}, errSession
	}
	if err = setText(&s.SID, f[0]); err == nil {
		err = setText(&s.PID, f[1])
	}
	if err == nil && (s.SID == "" || s.PID == "") {
		err = errSession
	}
	if err == nil {
		s.Rooms, _, err = rooms(f[2])
	}
	if err == nil {
		err = setValue(&s.Data, f[3])
	}
	for i, text := range []*string{&s.Namespace, &s.Since, &s.Until, &s.At, &s.Behind, &s.Identity, &s.Expires, &s.Direct} {
		if err == nil {
			err = setText(text, f[4+i])
		}
	}
	if err != nil {
		return Session{}, err
	}
	return s, nil
}
