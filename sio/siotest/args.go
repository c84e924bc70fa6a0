package siotest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// Args are the arguments of an event or of an acknowledgement. They may be passed on
// to Emit, whole.
type Args struct {
	raw     [][]byte
	buffers [][]byte
}

// Len returns the number of arguments.
func (a Args) Len() int { return len(a.raw) }

// Raw returns argument i as JSON, nil if there is none. Attachments in it are
// placeholders.
func (a Args) Raw(i int) json.RawMessage {
	if i < 0 || i >= len(a.raw) {
		return nil
	}
	return a.raw[i]
}

// Binary returns the attachments in their order.
func (a Args) Binary() [][]byte { return a.buffers }

// Decode decodes the arguments into dst, one each, as [sio.Args.Decode] does. The
// error is a *sio.DecodeError.
func (a Args) Decode(dst ...any) error {
	for i, d := range dst {
		if i == len(a.raw) {
			break
		}
		if err := value.Decode(a.raw[i], a.buffers, d); err != nil {
			return &sio.DecodeError{Arg: i, Err: err}
		}
	}
	return nil
}

// Verbatim returns the arguments for whoever encodes them again.
func (a Args) Verbatim() (args, attachments [][]byte) { return a.raw, a.buffers }

// shown is how much of arguments is shown in a failure, in bytes.
const shown = 400

// String shows the arguments as JSON, and how many attachments there are.
func (a Args) String() string {
	all := make([]string, len(a.raw))
	for i, raw := range a.raw {
		all[i] = string(raw)
	}
	text := strings.Join(all, ", ")
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	if n := len(a.buffers); n > 0 {
		text += fmt.Sprintf(" (%d attachments)", n)
	}
	return text
}

// An Event is one that a client has received.
type Event struct {
	Args
	Name string

	c     *Client
	id    uint64
	asks  bool
	acked bool
}

// String shows name and arguments.
func (e *Event) String() string {
	if e.Len() == 0 {
		return fmt.Sprintf("%q", e.Name)
	}
	return fmt.Sprintf("%q %v", e.Name, e.Args)
}

// WantsAck tells whether the server waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.asks }

// Ack answers the server, which must want it, once.
func (e *Event) Ack(args ...any) {
	e.c.srv.t.Helper()
	switch {
	case !e.asks:
		e.c.fatal("the server does not ask to have %v acknowledged", e)
	case e.acked:
		e.c.fatal("%v has been acknowledged already", e)
	}
	e.acked = true
	text, attachments, err := limits.AppendAck(nil, e.c.namespace, e.id, args)
	if err != nil {
		e.c.fatal("acknowledging %v: %v", e, err)
	}
	e.c.srv.do(func() { e.c.conn.packet(text, attachments) })
}

// limits are what clients take and send.
var limits = parser.Limits{MaxAttachments: 1 << 20, MaxAttachmentBytes: 1 << 30, MaxDepth: 1 << 16, MaxArgs: 1 << 20}
