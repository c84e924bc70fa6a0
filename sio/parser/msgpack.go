package parser

import (
	"bytes"
	"unicode/utf8"

	"github.com/sioedge/sioedge/rooms/value"
)

// Texts of socket.io-msgpack-parser; for what its decoder calls "Could not
// parse" or "trailing bytes" it is errPayload.
var (
	errPacketType = &Error{UnknownType, "invalid packet type"}
	errNamespace  = &Error{InvalidPayload, "invalid namespace"}
	errPacketID   = &Error{InvalidPayload, "invalid packet id"}
)

// ParseMsgpack parses a packet that is one binary message, as npm's
// socket.io-msgpack-parser makes them, and fills into with views of it. It
// validates the whole message: every value in it is well-formed, texts are
// UTF-8, keys are texts or integers, nothing is nested deeper than limits allow
// or follows the packet, and the payload has the shape its type requires. Keys
// come in any order, and those it does not know are ignored. Bytes are within
// the arguments, as many as there may be attachments: each becomes one.
// MaxAttachmentBytes limits nothing here. It does not allocate, unless into never held as many arguments before, or as
// long an event name that is a number.
//
// Stricter than Node: reserved event names are refused, an event's name is a
// text or a number, a namespace begins with a slash and holds no comma, an id is
// not negative and at most 2^53-1, and beside bytes there is no object that
// clients of the JSON parser would take for an attachment. More lenient: nil
// counts as absent, since not every encoder has JavaScript's undefined.
//
// The error is an *[Error]; into is then not to be used.
func ParseMsgpack(msg []byte, limits Limits, into *Packet) error {
	into.reset()
	into.Encoding = MessagePack
	if limits.MaxAttachments == 0 || limits.MaxDepth == 0 || limits.MaxArgs == 0 {
		limits = limits.withDefaults()
	}
	head, b := value.NextToken(msg)
	if head.Kind != value.MapToken {
		return errPacketType
	}
	p := packetParser{p: into, limits: limits, data: value.AbsentToken}
	for range head.N {
		var err error
		if b, err = p.member(b); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return errPayload
	}
	return p.finish()
}

// A packetParser gathers the members of a packet's map. A key that is there
// twice counts as in JavaScript: the last one wins.
type packetParser struct {
	p      *Packet
	limits Limits
	typed  bool            // there is a type
	named  bool            // there is a namespace
	data   value.TokenKind // of the payload
	scan   value.Scanner
}

// member takes a key and its value at the start of b and returns what follows.
func (p *packetParser) member(b []byte) (rest []byte, err error) {
	key, b := value.NextToken(b)
	if !key.IsKey() {
		return nil, errPayload
	}
	v, rest := value.NextToken(b)
	switch string(key.Data) {
	case "type":
		n, ok := v.Integer()
		if !ok || n > uint64(ConnectError) {
			return nil, errPacketType
		}
		p.p.Type, p.typed = Type(n), true
	case "nsp":
		if v.Kind != value.TextToken || !isNamespace(v.Data) {
			return nil, errNamespace
		}
		p.p.Namespace, p.named = v.Data, true
	case "id":
		n, ok := v.Integer()
		p.p.ID, p.p.HasID = n, ok
		if !ok && !v.Absent() || n > value.MaxExact {
			return nil, errPacketID
		}
	case "data":
		return p.payload(b)
	default:
		var ignored value.Scanner
		if rest, ok := ignored.Skip(b, p.limits.MaxDepth); ok {
			return rest, nil
		}
		return nil, errPayload
	}
	return rest, nil
}

// isNamespace tells whether name could be in a packet of the JSON parser.
func isNamespace(name []byte) bool {
	return len(name) > 0 && name[0] == '/' && bytes.IndexByte(name, ',') < 0 && utf8.Valid(name)
}

// payload takes the payload at the start of b. The elements of an array become
// arguments, the first one too: whether it is a name is not known before the
// type is.
func (p *packetParser) payload(b []byte) (rest []byte, err error) {
	clear(p.p.Args) // of a former payload
	p.p.Data, p.p.Args, p.scan = nil, p.p.Args[:0], value.Scanner{Most: p.limits.MaxAttachments}
	head, rest := value.NextToken(b)
	p.data = head.Kind
	if head.Absent() {
		p.data = value.AbsentToken
		return rest, nil
	}
	ok := true
	if head.Kind != value.ArrayToken {
		rest, ok = p.scan.Skip(b, p.limits.MaxDepth)
	}
	for n := range head.Elements() {
		arg := rest
		if rest, ok = p.scan.Skip(arg, p.limits.MaxDepth-1); !ok {
			break
		}
		if n > uint64(p.limits.MaxArgs) { // one more may be the name
			return nil, errManyArgs
		}
		end := len(arg) - len(rest)
		p.p.Args = append(p.p.Args, arg[:end:end])
	}
	if p.scan.Many {
		return nil, errManyAttachments
	}
	if !ok {
		return nil, errPayload
	}
	if p.scan.Marked && p.scan.Bytes {
		return nil, errPlaceholder
	}
	end := len(b) - len(rest)
	p.p.Data = b[:end:end]
	return rest, nil
}

// finish checks what depends on several members.
func (p *packetParser) finish() error {
	if !p.typed {
		return errPacketType
	}
	if !p.named {
		return errNamespace
	}
	ok := false
	switch p.p.Type {
	case Connect:
		ok = p.data == value.AbsentToken || p.data == value.MapToken
	case Disconnect:
		ok = p.data == value.AbsentToken
	case ConnectError:
		ok = p.data == value.TextToken || p.data == value.MapToken
	case Ack:
		ok = p.data == value.ArrayToken
	case Event:
		ok = p.data == value.ArrayToken && p.takeEvent()
	}
	if !ok {
		return errPayload
	}
	if len(p.p.Args) > p.limits.MaxArgs {
		return errManyArgs
	}
	return nil
}

// takeEvent makes the first argument the event's name. A number is written as
// JavaScript does, whose emitter knows it by that text.
func (p *packetParser) takeEvent() bool {
	args := p.p.Args
	if len(args) == 0 {
		return false
	}
	switch name, _ := value.NextToken(args[0]); name.Kind {
	case value.TextToken:
		if value.Reserved(string(name.Data)) {
			return false
		}
		p.p.Event = name.Data
	case value.SignedToken, value.UnsignedToken, value.FloatToken:
		text, ok := name.AppendNumber(p.p.unescaped[:0])
		if !ok {
			return false
		}
		p.p.Event, p.p.unescaped = text, text
	default:
		return false
	}
	copy(args, args[1:])
	args[len(args)-1] = nil
	p.p.Args = args[:len(args)-1]
	return true
}
