package history

import (
	"bytes"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// Name returns the name of an event, of which data is the JSON array.
func Name(data []byte) (name string, ok bool) {
	if len(data) < 2 || data[0] != '[' {
		return "", false
	}
	at := value.SkipSpace(data, 1)
	end := value.Skip(data, at, 1)
	if end < 0 || data[at] != '"' {
		return "", false
	}
	text, _ := value.Unquote(nil, data[at:end])
	return string(text), true
}

// EventOf returns the event that the frames of an instance's are of, in memory of its
// own, without the tail of so many bytes before the last one of its text.
func EventOf(frames []byte, tail int, instance string) (e rooms.Event, ok bool) {
	var text []byte
	eio.EachMessage(frames, func(data []byte, binary bool) {
		if binary {
			e.Attachments = append(e.Attachments, bytes.Clone(data))
		} else {
			text = data
		}
	})
	head := parser.AppendHead(nil, parser.Event, len(e.Attachments), instance, 0, false)
	end := len(text) - 1 - tail
	if end < len(head) || !bytes.HasPrefix(text, head) {
		return e, false
	}
	e.Data = append(bytes.Clone(text[len(head):end]), ']')
	return e, true
}
