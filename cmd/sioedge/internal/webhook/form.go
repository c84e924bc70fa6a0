package webhook

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// kindLost is the type of an item that says what could not be told.
const kindLost = "lost"

// idAt is where the id of an item begins in its JSON, whatever the form.
const idAt = len(`{"id":"`)

// A form is how items are written, made of a backend's settings. Immutable.
type form struct {
	node      string // as JSON
	source    string // as JSON: /nodes/ and the node
	cloud     bool   // CloudEvents 1.0, in a batch as JSON
	multipart bool   // attachments in parts of their own
	headers   []string
	byType    bool // a request has items of one kind
	maxItems  int
	maxBytes  int
	headLen   int // of head, in bytes
}

func newForm(node string, b *config.Backend) *form {
	f := &form{
		node: string(value.AppendJSONText(nil, node)), source: string(value.AppendJSONText(nil, "/nodes/"+node)),
		cloud: b.Format == "cloudevents", multipart: b.Binary == "multipart", byType: strings.Contains(b.URL, typePlaceholder),
		maxItems: b.MaxBatch, maxBytes: int(b.MaxBatchBytes),
	}
	f.headLen = len(f.head(nil))
	for _, name := range b.ForwardHeaders {
		if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" && !slices.Contains(f.headers, name) {
			f.headers = append(f.headers, name)
		}
	}
	return f
}

// head appends what is before the items of a request.
func (f *form) head(dst []byte) []byte {
	if f.cloud {
		return append(dst, '[')
	}
	dst = append(append(dst, `{"node":`...), f.node...)
	return append(dst, `,"events":[`...)
}

// tail appends what is behind them.
func (f *form) tail(dst []byte) []byte {
	if f.cloud {
		return append(dst, ']')
	}
	return append(dst, "]}"...)
}

// mime is the Content-Type of a request.
func (f *form) mime() string {
	if f.cloud {
		return "application/cloudevents-batch+json"
	}
	return "application/json"
}

// begin appends what all items begin with. What follows are members, each with a comma
// before it, and then end. The id must need no escapes.
func (f *form) begin(dst []byte, id, kind, sid string, at time.Time) []byte {
	dst = append(append(append(dst, `{"id":"`...), id...), '"')
	if !f.cloud {
		dst = append(append(append(dst, `,"type":"`...), kind...), `","time":`...)
		return strconv.AppendInt(dst, at.UnixMilli(), 10)
	}
	dst = append(append(append(dst, `,"specversion":"1.0","type":"io.socket.`...), kind...), `","source":`...)
	dst = append(dst, f.source...)
	if sid != "" {
		dst = value.AppendJSONText(append(dst, `,"subject":`...), sid)
	}
	dst = at.UTC().AppendFormat(append(dst, `,"time":"`...), "2006-01-02T15:04:05.000Z")
	dst = append(append(dst, `","datacontenttype":"application/json","data":{"type":"`...), kind...)
	return append(dst, '"')
}

func (f *form) end(dst []byte) []byte {
	if f.cloud {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// text appends a member, unless its value is empty.
func text(dst []byte, name, v string) []byte {
	if v == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return value.AppendJSONText(dst, v)
}

// raw appends a member whose value is JSON, unless that is empty.
func raw(dst []byte, name string, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return append(dst, v...)
}

// flag appends a member that is true or false.
func flag(dst []byte, name string, v bool) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return strconv.AppendBool(dst, v)
}

// entry appends what is known of a socket; param returns the value of a parameter.
func entry(dst []byte, sid string, e *action.Entry, param func(name string) string) []byte {
	dst = text(dst, "nsp", e.Namespace)
	dst = text(dst, "route", e.Route)
	dst = text(dst, "sid", sid)
	dst = text(dst, "user", e.User)
	if len(e.Params) == 0 {
		return dst
	}
	dst = append(dst, `,"params":{`...)
	for i, name := range e.Params {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(value.AppendJSONText(dst, name), ':')
		dst = value.AppendJSONText(dst, param(name))
	}
	return append(dst, '}')
}

// conn appends the name of a socket's connection, unlike any other of the cluster.
func (f *form) conn(dst []byte, s sio.Socket) []byte {
	dst = append(append(dst, `,"conn":`...), f.node[:len(f.node)-1]...)
	return append(append(append(dst, '.'), s.Conn().String()...), '"')
}

// refresh appends the members of a refresh.
func (f *form) refresh(dst []byte, s sio.Socket, e *action.Entry, token, data []byte) []byte {
	dst = f.conn(entry(dst, s.ID(), e, s.Param), s)
	dst = raw(raw(dst, "token", token), "claims", e.Claims)
	return raw(dst, "data", data)
}

// mostSubject bounds what is told of a client's certificate, in bytes.
const mostSubject = 1 << 10

// connect appends the members of a connect.
func (f *form) connect(dst []byte, s sio.Socket, e *action.Entry, c *credentials) []byte {
	dst = entry(dst, s.ID(), e, s.Param)
	dst = f.conn(dst, s)
	dst = raw(dst, "auth", c.auth)
	dst = raw(dst, "claims", e.Claims)
	dst = flag(dst, "recovered", e.Recovered)
	h := c.handshake
	dst = value.AppendJSONText(append(dst, `,"handshake":{"transport":`...), s.Transport())
	dst = text(dst, "url", h.URL())
	dst = query(append(dst, `,"query":`...), h.Query())
	dst = f.forwarded(append(dst, `,"headers":`...), c.header)
	if a := h.Address().Addr(); a.IsValid() {
		dst = text(dst, "address", a.Unmap().String())
	}
	dst = flag(dst, "secure", h.Secure())
	dst = flag(dst, "xdomain", h.XDomain())
	if cert := h.Certificate(); cert != nil {
		subject := cert.Subject.String()
		dst = append(value.AppendJSONText(append(dst, `,"certificate":{"subject":`...), subject[:min(len(subject), mostSubject)]), '}')
	}
	return append(dst, '}')
}

// query appends the parameters of an URL as Node has them: a text, or a list of several.
func query(dst []byte, v url.Values) []byte {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(value.AppendJSONText(dst, name), ':')
		all := v[name]
		if len(all) == 1 {
			dst = value.AppendJSONText(dst, all[0])
			continue
		}
		for k, x := range all {
			dst = value.AppendJSONText(append(dst, "[,"[min(k, 1)]), x)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// forwarded appends the fields of a request that a backend is told, with names in lower
// case as Node has them.
func (f *form) forwarded(dst []byte, h http.Header) []byte {
	dst = append(dst, '{')
	first := true
	for _, name := range f.headers {
		all := h[name]
		if len(all) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		between := ", "
		if name == "Cookie" {
			between = "; "
		}
		dst = append(value.AppendJSONText(dst, strings.ToLower(name)), ':')
		dst = value.AppendJSONText(dst, strings.Join(all, between))
	}
	return append(dst, '}')
}

// dataOf returns what is kept of a socket as JSON, nil for nothing, and for what does not
// travel.
func dataOf(s sio.Socket) json.RawMessage {
	b, err := action.DataOf(s)
	if err != nil {
		return nil
	}
	return b
}
