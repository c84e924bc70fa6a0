package parser

import (
	"math"
	"unicode/utf8"

	"github.com/sioedge/sioedge/rooms/value"
)

// Parse parses the text of a packet (what follows the Engine.IO type byte) and
// fills into with views of it. It validates the whole message: the payload is
// JSON by RFC 8259, nested no deeper than limits allow, of the shape its type
// requires, and placeholders of a binary packet name attachments it announces.
// That msg is valid UTF-8 is the transport's business. Without attachments it
// does not allocate, unless into never held as many arguments before, or as
// long an event name with escapes.
//
// Stricter than Node: a number is digits and nothing else, an acknowledgement
// id has at most 15 of them (leading zeros count, and are dropped), and an Event
// or Ack has a payload. The error is an *[Error]; into is then not to be used.
func Parse(msg []byte, limits Limits, into *Packet) error {
	into.reset()
	if limits.MaxAttachments == 0 || limits.MaxDepth == 0 || limits.MaxArgs == 0 {
		limits = limits.withDefaults()
	}
	i, err := parseHead(msg, limits.MaxAttachments, into)
	if err != nil {
		return err
	}
	payload := msg[i:]
	switch into.Type {
	case Connect:
		if len(payload) > 0 && payload[0] != '{' {
			return errPayload
		}
		err = into.setData(payload, limits.MaxDepth)
	case ConnectError:
		if len(payload) > 0 && payload[0] != '{' && payload[0] != '"' {
			return errPayload
		}
		err = into.setData(payload, limits.MaxDepth)
	case Disconnect:
		if len(payload) > 0 {
			return errPayload
		}
	case Event, Ack:
		err = into.setArgs(payload, limits)
	}
	if err == nil && into.Attachments > 0 && value.CheckPlaceholders(into.Data, into.Attachments, limits.MaxDepth) != nil {
		return errPlaceholder
	}
	return err
}

// parseHead parses what precedes the payload and returns where that begins.
func parseHead(msg []byte, maxAttachments int, into *Packet) (i int, err error) {
	if len(msg) == 0 || msg[0] < '0' || msg[0] > '9' {
		return 0, errUnknownType
	}
	into.Type = Type(msg[0] - '0')
	if into.Type > BinaryAck {
		return 0, &Error{UnknownType, errUnknownTypeText + into.Type.String()}
	}
	i = 1
	if into.Type.binary() {
		into.Type -= BinaryEvent - Event
		if i, err = parseAttachments(msg, maxAttachments, into); err != nil {
			return 0, err
		}
	}
	if i < len(msg) && msg[i] == '/' {
		start := i
		for i < len(msg) && msg[i] != ',' {
			i++
		}
		into.Namespace = msg[start:i:i]
		i = min(i+1, len(msg))
	}
	start := i
	for i < len(msg) && isDigit(msg[i]) {
		into.ID = into.ID*10 + uint64(msg[i]-'0')
		i++
	}
	into.HasID = i > start
	if i-start > 15 { // beyond, JavaScript's numbers are no longer exact
		return 0, errPayload
	}
	return i, nil
}

// parseAttachments parses the number and the dash behind the type.
func parseAttachments(msg []byte, most int, into *Packet) (i int, err error) {
	n := 0
	for i = 1; i < len(msg) && isDigit(msg[i]); i++ {
		n = min(n*10+int(msg[i]-'0'), most+1)
	}
	switch {
	case i == len(msg) || msg[i] != '-' || n == 0:
		return 0, errAttachmentCount
	case n > most:
		return 0, errManyAttachments
	}
	into.Attachments = n
	return i + 1, nil
}

// setData takes a payload that is not split, or none.
func (p *Packet) setData(payload []byte, depth int) error {
	if len(payload) == 0 {
		return nil
	}
	end := value.Skip(payload, 0, depth)
	if end < 0 || value.SkipSpace(payload, end) != len(payload) {
		return errPayload
	}
	p.Data = payload[:end:end]
	return nil
}

// setArgs takes the array of an Event or Ack and splits it on the way.
func (p *Packet) setArgs(b []byte, limits Limits) error {
	if len(b) == 0 || b[0] != '[' {
		return errPayload
	}
	i := value.SkipSpace(b, 1)
	if i < len(b) && b[i] == ']' {
		if p.Type == Event {
			return errPayload // no name
		}
		return p.endArgs(b, i)
	}
	for named := p.Type == Ack; ; named = true {
		start := value.SkipSpace(b, i)
		i = value.Skip(b, start, limits.MaxDepth-1)
		if i < 0 {
			return errPayload
		}
		if !named {
			if err := p.setEvent(b[start:i:i]); err != nil {
				return err
			}
		} else if len(p.Args) == limits.MaxArgs {
			return errManyArgs
		} else {
			p.Args = append(p.Args, b[start:i:i])
		}
		if i = value.SkipSpace(b, i); i == len(b) {
			return errPayload
		}
		if b[i] == ']' {
			return p.endArgs(b, i)
		}
		if b[i] != ',' {
			return errPayload
		}
		i++
	}
}

// ParseArgs parses arguments that are no packet's: a JSON array with white space around
// it or none, nested no deeper than depth and valid UTF-8, and placeholders in it that
// name so many attachments. What it returns are views of list. The error is an *[Error].
func ParseArgs(list []byte, attachments, depth int) ([][]byte, error) {
	p := Packet{Type: Ack}
	if !utf8.Valid(list) {
		return nil, errPayload
	}
	if err := p.setArgs(list[value.SkipSpace(list, 0):], Limits{MaxDepth: depth, MaxArgs: math.MaxInt}); err != nil {
		return nil, err
	}
	if attachments > 0 && value.CheckPlaceholders(p.Data, attachments, depth) != nil {
		return nil, errPlaceholder
	}
	return p.Args, nil
}

// endArgs finishes at the closing bracket b[i].
func (p *Packet) endArgs(b []byte, i int) error {
	if value.SkipSpace(b, i+1) != len(b) {
		return errPayload
	}
	p.Data = b[: i+1 : i+1]
	return nil
}

// setEvent takes the first element of an event's array, valid JSON.
func (p *Packet) setEvent(raw []byte) error {
	switch c := raw[0]; {
	case c == '-' || isDigit(c):
		p.Event = raw
	case c != '"':
		return errPayload
	default:
		name, escaped := value.Unquote(p.unescaped[:0], raw)
		if escaped {
			p.unescaped = name
		}
		if value.Reserved(string(name)) {
			return errPayload
		}
		p.Event = name
	}
	return nil
}

func isDigit(c byte) bool { return c-'0' <= 9 }
