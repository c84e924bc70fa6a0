package wire

import (
	"strings"
	"unicode/utf16"
)

// BroadcastChannel returns the channel of what is for a whole namespace. prefix
// is the option key of redis-adapter and channelPrefix of the others, normally
// "socket.io".
func BroadcastChannel(prefix, namespace string) string { return prefix + "#" + namespace + "#" }

// RoomChannel returns the channel of what is for one room only. With a server's
// UID in place of the room it is where that server gets responses to the
// messages it has sent.
func RoomChannel(prefix, namespace, room string) string {
	return BroadcastChannel(prefix, namespace) + room + "#"
}

// BroadcastTarget returns the channel on which a [Broadcast] with the options is
// published: the room's, if there is exactly one.
func BroadcastTarget(prefix, namespace string, o *Options) string {
	if len(o.Rooms) == 1 {
		return RoomChannel(prefix, namespace, o.Rooms[0])
	}
	return BroadcastChannel(prefix, namespace)
}

// BroadcastPattern returns the pattern for PSUBSCRIBE of all broadcasts of a
// namespace, and of its rooms.
func BroadcastPattern(prefix, namespace string) string {
	return EscapeGlob(BroadcastChannel(prefix, namespace)) + "*"
}

// RequestChannel returns the channel of all requests in a namespace.
func RequestChannel(prefix, namespace string) string { return prefix + "-request#" + namespace + "#" }

// ResponseChannel returns the channel of all responses in a namespace.
func ResponseChannel(prefix, namespace string) string { return prefix + "-response#" + namespace + "#" }

// OwnResponseChannel returns the channel of the responses to the server uid
// alone, which some servers use instead.
func OwnResponseChannel(prefix, namespace, uid string) string {
	return ResponseChannel(prefix, namespace) + uid + "#"
}

var globEscaper = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `\`, `\\`)

// EscapeGlob returns a pattern of Redis that matches s only.
func EscapeGlob(s string) string { return globEscaper.Replace(s) }

// A ShardedMode is which channels the sharded adapter uses beside the
// namespace's; all servers must agree on it. Node: subscriptionMode.
type ShardedMode uint8

// The modes. Dynamic is the default.
const (
	Dynamic        ShardedMode = iota // one for each room, but those of single sockets
	DynamicPrivate                    // one for each room
	Static                            // none
)

// socketIDLength is how long a room's name is that is taken for a socket's id.
const socketIDLength = 20

// ShardedTarget returns the channel on which the sharded adapter publishes m,
// unless it is a response, which goes to the [RoomChannel] of the asker's UID.
func ShardedTarget(prefix string, mode ShardedMode, m *Message) string {
	if m.Type != BroadcastMessage || m.RequestID != "" || len(m.Options.Rooms) != 1 {
		return BroadcastChannel(prefix, m.Namespace)
	}
	room := m.Options.Rooms[0]
	if mode == Static || mode == Dynamic && len(utf16Units(room)) == socketIDLength {
		return BroadcastChannel(prefix, m.Namespace)
	}
	return RoomChannel(prefix, m.Namespace, room)
}

// utf16Units returns s as JavaScript sees it.
func utf16Units(s string) []uint16 { return utf16.Encode([]rune(s)) }
