package roster

import (
	"crypto/sha256"
	"strconv"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/rooms/value"
)

// makeID makes an id of an item of what it is about: the same on all servers. It has the
// form of the others, of 26 digits of 5 bits.
func makeID(about ...string) string {
	var buf [256]byte
	text := buf[:0]
	for _, s := range about {
		text = append(append(strconv.AppendInt(text, int64(len(s)), 10), ':'), s...)
	}
	sum := sha256.Sum256(text)
	var id [26]byte
	bits, n, at := uint32(0), 0, 0
	for i := range id {
		for n < 5 {
			bits, n, at = bits<<8|uint32(sum[at]), n+8, at+1
		}
		id[i] = action.IDDigits[bits>>(n-5)&31]
		n -= 5
	}
	id[0] = action.IDDigits[sum[31]&7] // 130 bits are two too many
	return string(id[:])
}

// socketID is that of what is told of a socket.
func socketID(kind, sid string, gen uint32) string {
	return makeID(kind, sid, strconv.FormatUint(uint64(gen), 10))
}

// nodeID is that of what is told of a server.
func nodeID(state, node string, run int64, stint uint32) string {
	return makeID("node", state, node, strconv.FormatInt(run, 10), strconv.FormatUint(uint64(stint), 10))
}

// What is said of rooms, at most.
const (
	maxRooms     = 256
	maxRoomBytes = 16 << 10
)

// appendRooms appends what is said of a socket's rooms but its own, as members of an item.
func appendRooms(dst []byte, own string, names []string) []byte {
	dst = append(dst, `,"rooms":[`...)
	first, said, more := len(dst), 0, 0
	for _, name := range names {
		switch {
		case name == own:
		case said >= maxRooms || len(dst)-first+len(name) > maxRoomBytes:
			more++
		default:
			if said++; len(dst) > first {
				dst = append(dst, ',')
			}
			dst = value.AppendJSONText(dst, name)
		}
	}
	dst = append(dst, ']')
	if more > 0 {
		dst = strconv.AppendInt(append(dst, `,"moreRooms":`...), int64(more), 10)
	}
	return dst
}

// members appends those of an item that action.Peer does not have.
func (t *telling) members(dst []byte) []byte {
	if names := t.place.names; len(names) > 0 {
		dst = append(dst, `,"params":{`...)
		for i := 0; i+1 < len(names); i += 2 {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = value.AppendJSONText(append(value.AppendJSONText(dst, names[i]), ':'), names[i+1])
		}
		dst = append(dst, '}')
	}
	if t.word == hello {
		return strconv.AppendBool(append(dst, `,"recovered":`...), t.recovered)
	}
	dst = value.AppendJSONText(append(dst, `,"reason":`...), t.parting.reason)
	dst = append(dst, t.parting.rooms...)
	dst = strconv.AppendInt(append(dst, `,"connectedMs":`...), max(t.parting.left-t.born, 0), 10)
	return strconv.AppendBool(append(dst, `,"recoverable":`...), t.parting.recoverable)
}

// members appends those of an item about a server.
func (n *news) members(dst []byte) []byte {
	dst = value.AppendJSONText(append(dst, `,"node":`...), n.node)
	return value.AppendJSONText(append(dst, `,"state":`...), n.state)
}
