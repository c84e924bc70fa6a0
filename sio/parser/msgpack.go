package parser

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// Texts of socket.io-msgpack-parser; for what its decoder calls "Could not
// parse" or "trailing bytes" it is errPayload.
var (
	errPacketType = &Error{UnknownType, "invalid packet type"}
	errNamespace  = &Error{InvalidPayload, "invalid namespace"}
	errPacketID   = &Error{InvalidPayload, "invalid packet id"}
)

// maxExact is the largest integer up to which JavaScript's numbers are exact.
const maxExact = 1<<53 - 1

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
	head, b := nextToken(msg)
	if head.kind != mapToken {
		return errPacketType
	}
	p := packetParser{p: into, limits: limits, data: absentToken}
	for range head.n {
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
	typed  bool // there is a type
	named  bool // there is a namespace
	data   kind // of the payload
	scan   scanner
}

// member takes a key and its value at the start of b and returns what follows.
func (p *packetParser) member(b []byte) (rest []byte, err error) {
	key, b := nextToken(b)
	if !key.isKey() {
		return nil, errPayload
	}
	value, rest := nextToken(b)
	switch string(key.data) {
	case "type":
		n, ok := value.integer()
		if !ok || n > uint64(ConnectError) {
			return nil, errPacketType
		}
		p.p.Type, p.typed = Type(n), true
	case "nsp":
		if value.kind != textToken || !isNamespace(value.data) {
			return nil, errNamespace
		}
		p.p.Namespace, p.named = value.data, true
	case "id":
		n, ok := value.integer()
		p.p.ID, p.p.HasID = n, ok
		if !ok && !value.isAbsent() || n > maxExact {
			return nil, errPacketID
		}
	case "data":
		return p.payload(b)
	default:
		var ignored scanner
		if rest, ok := ignored.skip(b, p.limits.MaxDepth); ok {
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
	p.p.Data, p.p.Args, p.scan = nil, p.p.Args[:0], scanner{most: p.limits.MaxAttachments}
	head, rest := nextToken(b)
	p.data = head.kind
	if head.isAbsent() {
		p.data = absentToken
		return rest, nil
	}
	ok := true
	if head.kind != arrayToken {
		rest, ok = p.scan.skip(b, p.limits.MaxDepth)
	}
	for n := range head.elements() {
		arg := rest
		if rest, ok = p.scan.skip(arg, p.limits.MaxDepth-1); !ok {
			break
		}
		if n > uint64(p.limits.MaxArgs) { // one more may be the name
			return nil, errManyArgs
		}
		end := len(arg) - len(rest)
		p.p.Args = append(p.p.Args, arg[:end:end])
	}
	if p.scan.many {
		return nil, errManyAttachments
	}
	if !ok {
		return nil, errPayload
	}
	if p.scan.marked && p.scan.bytes {
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
		ok = p.data == absentToken || p.data == mapToken
	case Disconnect:
		ok = p.data == absentToken
	case ConnectError:
		ok = p.data == textToken || p.data == mapToken
	case Ack:
		ok = p.data == arrayToken
	case Event:
		ok = p.data == arrayToken && p.takeEvent()
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
	switch name, _ := nextToken(args[0]); name.kind {
	case textToken:
		if Reserved(string(name.data)) {
			return false
		}
		p.p.Event = name.data
	case signedToken, unsignedToken, floatToken:
		text, ok := name.appendNumber(p.p.unescaped[:0])
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

// appendNumber appends the number t as JSON. It returns false for what has
// none, not a number and the infinities.
func (t token) appendNumber(dst []byte) ([]byte, bool) {
	switch t.kind {
	case signedToken:
		return strconv.AppendInt(dst, int64(t.n), 10), true
	case unsignedToken:
		return strconv.AppendUint(dst, t.n, 10), true
	}
	f := t.float()
	if f == 0 {
		f = 0 // JSON.stringify knows no negative zero
	}
	out, err := appendFloat(dst, f, 64)
	return out, err == nil
}

// number returns the value of t if that is a finite number.
func (t token) number() (f float64, ok bool) {
	switch t.kind {
	case signedToken:
		return float64(int64(t.n)), true
	case unsignedToken:
		return float64(t.n), true
	case floatToken:
		f = t.float()
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return 0, false
}

// integer returns t as a packet's type or id: an integer, also one written as a
// floating point number, that is not negative.
func (t token) integer() (n uint64, ok bool) {
	switch t.kind {
	case signedToken:
		return t.n, int64(t.n) >= 0
	case unsignedToken:
		return t.n, true
	case floatToken:
		f := t.float()
		if f >= 0 && f <= maxExact && f == math.Trunc(f) {
			return uint64(f), true
		}
	}
	return 0, false
}
