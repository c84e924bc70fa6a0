package wire

import (
	"testing"

	"github.com/sioedge/sioedge/rooms/value"
)

// canonical returns JSON as it comes back from MessagePack: one value can be
// written in many ways as JSON. What looks like a placeholder stays data.
func canonical(t *testing.T, text []byte) []byte {
	out, attachments := throughMsgpack(t, text, nil)
	if len(attachments) > 0 {
		t.Fatalf("%s has attachments after a way through MessagePack", text)
	}
	return out
}

func throughMsgpack(t *testing.T, text []byte, attachments [][]byte) ([]byte, [][]byte) {
	b, err := value.AppendMsgpackFromJSON(nil, text, attachments)
	if err != nil {
		t.Fatalf("AppendMsgpackFromJSON(%q) = %v, want no error for what was parsed", text, err)
	}
	v, err := value.ViewMsgpack(b, maxDepth)
	if err != nil {
		t.Fatalf("ViewMsgpack(%x) from %q = %v, want no error", b, text, err)
	}
	out, attachments, err := v.JSON()
	if err != nil {
		t.Fatalf("JSON of %x from %q = %v, want no error", b, text, err)
	}
	return out, attachments
}

// flatten makes a value canonical; if plain, with its attachments as what JSON
// has for them.
func flatten(t *testing.T, text *[]byte, attachments *[][]byte, plain bool) {
	if *text == nil {
		return
	}
	if plain && len(*attachments) > 0 {
		out, err := value.AppendJSONWithBuffers(nil, *text, *attachments)
		if err != nil {
			t.Fatalf("AppendJSONWithBuffers(%q) = %v, want no error for what was parsed", *text, err)
		}
		*text, *attachments = out, nil
	}
	*text, *attachments = throughMsgpack(t, *text, *attachments)
}

func canonicalMessage(t *testing.T, m *Message) {
	flatten(t, &m.Packet.Data, &m.Packet.Attachments, false)
	flatten(t, &m.Value.Data, &m.Value.Attachments, false)
	for i := range m.Sockets {
		s := &m.Sockets[i]
		flatten(t, &s.Data.Data, &s.Data.Attachments, false)
		var none [][]byte
		flatten(t, &s.Handshake, &none, true)
	}
}
