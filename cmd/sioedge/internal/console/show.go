package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/terminal"
	"github.com/sioedge/sioedge/rooms/value"
)

// maxShown bounds a line on a terminal, in bytes of what it shows.
const maxShown = 8 << 10

// A Printer writes lines. Its fields are not changed once it is used.
type Printer struct {
	Out io.Writer // events and acknowledgements
	Err io.Writer // what happens to the connection, and mistakes

	JSON   bool // one object a line, all of them to Out
	Colors bool
	Cut    bool // long lines

	mu  sync.Mutex
	buf []byte
}

// line writes a line that is fit for a terminal: mark, then text.
func (p *Printer) line(w io.Writer, c terminal.Color, mark, text string) {
	if !p.Colors {
		c = terminal.Plain
	}
	if p.Cut && len(text) > maxShown {
		text = fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:maxShown], ""), len(text))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = append(terminal.AppendIn(p.buf[:0], c, mark), ' ')
	p.buf = append(append(p.buf, text...), '\n')
	p.flush(w)
}

// flush writes the buffer, and keeps its memory if it is not large.
func (p *Printer) flush(w io.Writer) {
	_, _ = w.Write(p.buf)
	if cap(p.buf) > 64<<10 {
		p.buf = nil
	}
}

// A record is a line in JSON.
type record struct {
	Time        int64             `json:"time"` // Unix ms
	Type        string            `json:"type"`
	Namespace   string            `json:"nsp,omitempty"`
	Event       string            `json:"ev,omitempty"`
	Args        []json.RawMessage `json:"args,omitempty"`
	Attachments [][]byte          `json:"attachments,omitempty"`
	ID          *uint64           `json:"ackId,omitempty"` // to be answered as this
	SID         string            `json:"sid,omitempty"`
	Recovered   *bool             `json:"recovered,omitempty"`
	Transport   string            `json:"transport,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Code        uint16            `json:"code,omitempty"`
	Message     string            `json:"message,omitempty"`
	Data        json.RawMessage   `json:"data,omitempty"`
	Attempt     int               `json:"attempt,omitempty"`
	Ms          *float64          `json:"ms,omitempty"`
}

func (p *Printer) record(r record) {
	if r.Time == 0 {
		r.Time = time.Now().UnixMilli()
	}
	b, err := value.AppendJSON(nil, r)
	if err != nil { // what the server sent is valid JSON, all else is ours
		b = fmt.Appendf(nil, `{"type":"error","message":%q}`, err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = append(terminal.AppendText(p.buf[:0], string(bytes.TrimSpace(b))), '\n')
	p.flush(p.Out)
}

// Notice writes what has happened.
func (p *Printer) Notice(n ioclient.Notice) {
	if p.JSON {
		p.record(recordOf(n))
		return
	}
	space := terminal.Text(n.Namespace)
	switch n.Kind {
	case ioclient.Arrived:
		text := space + " " + name(n.Event) + list(n.Args, n.Attachments)
		if n.Asks {
			text += fmt.Sprintf("  (asks: answer %d …)", n.ID)
		}
		p.line(p.Out, terminal.Green, "<", text)
	case ioclient.Opened:
		p.state("session by %s", n.Transport)
	case ioclient.Upgraded:
		p.state("upgraded to %s", n.Transport)
	case ioclient.Connected:
		how := ""
		if n.Recovered {
			how = ", recovered"
		}
		p.state("%s connected as %s%s", space, terminal.Text(n.SID), how)
	case ioclient.Disconnected:
		p.state("%s disconnected: %s%s", space, n.Reason, details(n))
	case ioclient.Retrying:
		p.state("connecting again in %v, attempt %d", n.Delay, n.Attempt)
	case ioclient.Refused:
		p.Mistake(fmt.Errorf("%s refused: %s%s", space, terminal.Text(n.Message), list(rawList(n.Data), nil)))
	case ioclient.Failed:
		p.Mistake(fmt.Errorf("no connection: %w", n.Err))
	case ioclient.Strange:
		p.Mistake(fmt.Errorf("the server sent %s", n.Message))
	}
}

func rawList(data json.RawMessage) []json.RawMessage {
	if data == nil {
		return nil
	}
	return []json.RawMessage{data}
}

// details are what is known of a disconnection beyond its reason.
func details(n ioclient.Notice) string {
	switch {
	case n.Code != 0 && n.Message != "":
		return fmt.Sprintf(" (%d %s)", n.Code, terminal.Text(n.Message))
	case n.Code != 0:
		return fmt.Sprintf(" (%d)", n.Code)
	case n.Err != nil:
		return fmt.Sprintf(" (%s)", terminal.Text(n.Err.Error()))
	}
	return ""
}

func recordOf(n ioclient.Notice) record {
	r := record{Time: n.Time.UnixMilli(), Type: string(n.Kind), Namespace: n.Namespace, Event: n.Event, Args: n.Args, Attachments: n.Attachments,
		SID: n.SID, Transport: n.Transport, Reason: n.Reason, Code: n.Code, Message: n.Message, Data: n.Data, Attempt: n.Attempt}
	switch {
	case n.Asks:
		r.ID = &n.ID
	case n.Kind == ioclient.Connected:
		r.Recovered = &n.Recovered
	case n.Kind == ioclient.Retrying:
		r.Ms = ms(n.Delay)
	case n.Err != nil && n.Message == "":
		r.Message = n.Err.Error()
	}
	return r
}

func ms(d time.Duration) *float64 {
	v := float64(d.Microseconds()) / 1000
	return &v
}

// Ack writes an acknowledgement.
func (p *Printer) Ack(namespace, event string, a ioclient.Answer) {
	if p.JSON {
		p.record(record{Type: "ack", Namespace: namespace, Event: event, Args: a.Args, Attachments: a.Attachments, Ms: ms(a.Took)})
		return
	}
	text := name(event) + " " + a.Took.Round(10*time.Microsecond).String() + list(a.Args, a.Attachments)
	p.line(p.Out, terminal.Cyan, "=", terminal.Text(namespace)+" "+text)
}

// state writes what happens to the connection.
func (p *Printer) state(format string, args ...any) {
	p.line(p.Err, terminal.Faint, "*", fmt.Sprintf(format, args...))
}

// Say writes what a command has to say: lines of what is fit for a terminal.
func (p *Printer) Say(text string) {
	if p.JSON {
		p.record(record{Type: "info", Message: text})
		return
	}
	for line := range strings.Lines(text) {
		p.line(p.Out, terminal.Faint, "*", strings.TrimRight(line, "\n"))
	}
}

// Mistake writes an error.
func (p *Printer) Mistake(err error) {
	if p.JSON {
		p.record(record{Type: "error", Message: err.Error()})
		return
	}
	p.line(p.Err, terminal.Red, "!", terminal.Text(err.Error()))
}

// name is an event's name as it would be typed.
func name(event string) string {
	if plain(event) {
		return event
	}
	return terminal.Text(strconv.Quote(event))
}

// plain tells whether a text is a word that needs no quotes.
func plain(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"'[]{}@\`, r)
	})
}

// list writes arguments, each after a space, with <N bytes> for attachments.
func list(args []json.RawMessage, attachments [][]byte) string {
	texts := make([]string, len(attachments))
	for i, a := range attachments {
		texts[i] = fmt.Sprintf("<%d bytes>", len(a))
	}
	var out []byte
	for _, a := range args {
		var compact bytes.Buffer
		if json.Compact(&compact, a) != nil { // deeper than encoding/json goes
			compact.Reset()
			compact.Write(a)
		}
		shown, err := value.AppendJSONReplaced(nil, compact.Bytes(), texts)
		if err != nil {
			shown = compact.Bytes()
		}
		out = terminal.AppendText(append(out, ' '), string(shown))
	}
	return string(out)
}
