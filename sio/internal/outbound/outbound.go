// Package outbound says which events make room for each other in the queues of slow
// clients, and has that travel to a loop with an event for one socket.
package outbound

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"

	"github.com/sioedge/sioedge/loop/class"
)

// maxKey bounds what is kept of a key: many clients may have many of them queued.
const maxKey = 256

// Kind returns what the events of a name, in an instance of a namespace, have in
// common that have the same key. Longer keys are kept as their SHA-256.
func Kind(p class.Policy, namespace, event, key string, ordered bool, owner any) *class.Kind {
	// A namespace's name has no comma.
	all := namespace + "," + strconv.Itoa(len(event)) + ":" + event + key
	if len(all) > maxKey {
		sum := sha256.Sum256([]byte(all))
		all = string(sum[:])
	}
	return &class.Kind{Policy: p, Key: all, Ordered: ordered, Owner: owner}
}

// Event returns the name of an event from the JSON array that begins with it, or false
// if there is none.
func Event(data []byte) (name string, ok bool) {
	if len(data) < 2 || data[0] != '[' || data[1] != '"' {
		return "", false
	}
	for i := 2; i < len(data); i++ {
		switch data[i] {
		case '\\':
			var list []json.RawMessage
			if json.Unmarshal(data, &list) != nil || json.Unmarshal(list[0], &name) != nil {
				return "", false
			}
			return name, true
		case '"':
			return string(data[2:i]), true
		}
	}
	return "", false
}

// The kinds of mail of events for one socket: packets that may be compressed, and those
// that may not, perhaps behind what an event may be dropped by; with, behind TailShift, how
// much at the end of the text is an offset.
const (
	Plain     = 1
	Classed   = 2
	TailShift = 2
)

// Mail returns the kind of mail without a head.
func Mail(plain bool, tail int) uint32 {
	kind := uint32(tail) << TailShift
	if plain {
		kind |= Plain
	}
	return kind
}

// AppendHead appends a kind, but for its owner, in the form in which CutHead finds it.
func AppendHead(dst []byte, k *class.Kind) []byte {
	ordered := byte(0)
	if k.Ordered {
		ordered = 1
	}
	dst = append(dst, byte(k.Policy), ordered)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(k.Key)))
	return append(dst, k.Key...)
}

// CutHead returns the kind that b begins with, and what is behind it: a view.
func CutHead(b []byte, owner any) (k *class.Kind, rest []byte) {
	n := int(binary.BigEndian.Uint16(b[2:]))
	key := b[4 : 4+n]
	return &class.Kind{Policy: class.Policy(b[0]), Ordered: b[1] == 1, Key: string(key), Owner: owner}, b[4+n:]
}
