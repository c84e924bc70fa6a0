// Package parser reads and writes Socket.IO packets, protocol 5, as JSON text
// with binary attachments, and as MessagePack. Every function works on byte
// slices: no I/O, no goroutine, no clock.
//
// As JSON, a packet is one text message, followed by as many binary messages as it
// announces. The Engine.IO type byte in front ('4') belongs to the caller:
//
//	2["chat","hi"]                                  an event in "/"
//	2/admin,13["chat","hi"]                         the same in "/admin", to be acknowledged as 13
//	3/admin,13["seen"]                              its acknowledgement
//	51-["file",{"_placeholder":true,"num":0}]       an event and one attachment
//	0/admin,{"token":"123"}                         connect, disconnect ("1/admin,"), refusal ("4/admin,{…}")
//
// In: an [Assembler] takes text and binary messages and calls [Parse], which
// validates everything and decodes nothing: names and arguments are views of
// the message, for package value to decode. Out: [Limits.AppendEvent],
// [Limits.AppendAck] and the other Append functions write into the caller's buffer.
package parser

import (
	"strconv"

	"github.com/sioedge/sioedge/rooms/value"
)

// A Type is the kind of a packet, as its first digit says.
type Type byte

// The types of packets. The binary ones exist on the wire only: [Parse] folds
// them into Event and Ack, the Append functions choose them by themselves.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// String returns the name the protocol gives t, such as "CONNECT_ERROR".
func (t Type) String() string {
	names := [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}
	if int(t) < len(names) {
		return names[t]
	}
	return strconv.Itoa(int(t))
}

// binary tells whether packets of type t announce attachments.
func (t Type) binary() bool { return t == BinaryEvent || t == BinaryAck }

// An Encoding is how the payload of a packet is written.
type Encoding byte

// The encodings of payloads.
const (
	JSON        Encoding = iota // with placeholders for what is in Buffers
	MessagePack                 // with the bytes in place
)

// A Packet is a parsed packet. Its slices are views: of the message given to
// [Parse], valid as long as that is, or of memory that belongs to the Packet
// and is written again by the next Parse into it. Nothing in it may be modified.
// A Packet is meant to be reused, since Parse keeps the capacity of Args.
type Packet struct {
	// Type is never BinaryEvent or BinaryAck.
	Type Type
	// Encoding is that of Data and Args: JSON after [Parse], MessagePack after
	// [ParseMsgpack].
	Encoding Encoding
	// Namespace is "/" when the message names none. It begins with a slash and
	// holds no comma; a query string is part of the name.
	Namespace []byte
	// ID is the acknowledgement id, if HasID.
	ID    uint64
	HasID bool
	// Data is the payload, encoded: an array (Event, Ack), an object (Connect),
	// an object or a string (ConnectError), or nil if the packet has none.
	Data []byte
	// Event is the event's name, unescaped; a name that is a number keeps its
	// digits. Only of an Event.
	Event []byte
	// Args are the arguments, encoded: of an Event what follows the name, of an
	// Ack everything.
	Args [][]byte
	// Attachments is how many binary messages belong to the packet; always
	// zero with MessagePack.
	Attachments int
	// Buffers are the contents of those messages, in order of arrival, once an
	// [Assembler] has them all. They are not written again: keeping them is safe.
	Buffers [][]byte

	unescaped []byte // backs Event when it is not in the message as it is
}

// reset empties p but for the memory it may use again, and bounds that memory:
// one packet with thousands of arguments must not be paid for ever after.
func (p *Packet) reset() {
	const keep = 64
	args, unescaped := p.Args, p.unescaped
	if cap(args) > keep {
		args = nil
	}
	if cap(unescaped) > 1024 {
		unescaped = nil
	}
	clear(args) // views would pin the former message
	*p = Packet{Namespace: root, Args: args[:0], unescaped: unescaped[:0]}
}

var root = []byte("/")[:1:1]

// Limits bound what a packet may ask of the receiver.
type Limits struct {
	// MaxAttachments bounds the attachments of one packet, in and out. Zero means
	// 10, as in socket.io-parser since 4.2.6 (maxAttachments): with more, clients
	// have to be told too.
	MaxAttachments int
	// MaxAttachmentBytes bounds the bytes an [Assembler] holds for one packet,
	// its text included. Zero means 10,000,000.
	MaxAttachmentBytes int
	// MaxDepth bounds the nesting of arrays and objects in a payload; the
	// arguments' own array is the first level. Zero means 128.
	MaxDepth int
	// MaxArgs bounds the arguments of an event or acknowledgement. Zero means 4096.
	MaxArgs int
}

func (l Limits) withDefaults() Limits {
	orElse := func(n *int, or int) {
		if *n == 0 {
			*n = or
		}
	}
	orElse(&l.MaxAttachments, value.DefaultMaxAttachments)
	orElse(&l.MaxAttachmentBytes, 10_000_000)
	orElse(&l.MaxDepth, 128)
	orElse(&l.MaxArgs, 4096)
	return l
}

// A Kind says what rule a message broke.
type Kind byte

// The kinds of errors. After any of them the whole connection is closed.
const (
	UnknownType        Kind = iota + 1
	IllegalAttachments      // the announced number is none, or a placeholder's number is out of range
	TooManyAttachments      // more than Limits.MaxAttachments
	InvalidPayload          // missing, malformed, nested too deep, of the wrong shape, or a reserved event name
	UnexpectedText          // a text message while attachments are due
	UnexpectedBinary        // a binary message while none is due
	TooLarge                // past Limits.MaxArgs or MaxAttachmentBytes
)

// An Error tells why a peer's message was refused. Kind is the rule that it
// broke. Text is what Node's server hands to applications ("invalid payload"),
// without a package's name, because they compare it.
type Error struct {
	Kind Kind
	Text string
}

// Error returns "parser: " and e.Text.
func (e *Error) Error() string { return "parser: " + e.Text }

const errUnknownTypeText = "unknown packet type "

// Texts of socket.io-parser, but for the last two, which are limits of ours.
var (
	errUnknownType      = &Error{UnknownType, errUnknownTypeText + "NaN"}
	errAttachmentCount  = &Error{IllegalAttachments, "Illegal attachments"}
	errPlaceholder      = &Error{IllegalAttachments, "illegal attachments"}
	errManyAttachments  = &Error{TooManyAttachments, "too many attachments"}
	errPayload          = &Error{InvalidPayload, "invalid payload"}
	errUnexpectedText   = &Error{UnexpectedText, "got plaintext data when reconstructing a packet"}
	errUnexpectedBinary = &Error{UnexpectedBinary, "got binary data when not reconstructing a packet"}
	errManyArgs         = &Error{TooLarge, "too many arguments"}
	errTooLarge         = &Error{TooLarge, "attachments too large"}
)
