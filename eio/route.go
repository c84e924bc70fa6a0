package eio

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/loop/http1"
)

// minShared is the length of a body from which on it is not copied: a handler's
// answer is nobody else's, or may be shared.
const minShared = 4 << 10

// maxRouteBody bounds what is read of a request that is not Engine.IO's.
const maxRouteBody = 1 << 20

// runHandler has a net/http handler answer a request: on a goroutine, with the
// request's body, of up to limit bytes, read and the answer collected before it
// is written. The request's context ends with the connection.
func (sh *shard) runHandler(h *httpConn, x *work, limit int) {
	x.w = &recorder{header: http.Header{}}
	if !hasBody(h.req) {
		sh.runApart(h, x, nil)
		return
	}
	x.req, h.work = h.req.Clone(), x
	as := stateRouteBody
	if x.is == stateForward {
		as = stateForwardBody
	}
	sh.receiveBody(h, as, limit)
}

// handlerEnds, deferred, notes how the handler ended.
func (x *work) handlerEnds() {
	v := recover()
	x.abort = v == http.ErrAbortHandler
	if v != nil && !x.abort {
		x.sh.srv.o.Logger.Error("panic in HTTP handler", "path", x.r.URL.Path, "panic", v)
	}
	if v != nil || x.w.status == 0 { // it panicked, or ended its goroutine
		x.w = &recorder{}
		x.w.WriteHeader(http.StatusInternalServerError)
	}
}

// handlerDone writes what a handler has answered.
func (sh *shard) handlerDone(h *httpConn, x *work) {
	if x.abort {
		h.conn.Abort()
		return
	}
	fields, body, end := x.w.answer(h.isHead)
	h.fields = besides(h.fields, fields)
	sh.respond(h, x.w.status, fields, body, len(body) >= minShared, end)
}

// netRequest makes a net/http request of ours, as net/http's server would.
func netRequest(r *http1.Request, addr netip.AddrPort, body []byte) (*http.Request, error) {
	u, err := url.ParseRequestURI(string(r.Target))
	if err != nil {
		return nil, err
	}
	q := &http.Request{
		Method: string(r.Method), URL: u, RequestURI: string(r.Target), Host: string(r.Host),
		Proto: "HTTP/1." + strconv.Itoa(r.Minor), ProtoMajor: 1, ProtoMinor: r.Minor,
		Header: make(http.Header), Body: http.NoBody, ContentLength: int64(len(body)), Close: !r.KeepAlive,
	}
	if addr.IsValid() { // it is empty for a peer without an address: of a unix socket, or gone
		q.RemoteAddr = addr.String()
	}
	if len(body) > 0 {
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	for _, f := range r.Fields {
		q.Header.Add(string(f.Name), string(f.Value))
	}
	q.Header.Del("Host")              // is in Host
	q.Header.Del("Transfer-Encoding") // is undone
	return q, nil
}

// A recorder collects an answer.
type recorder struct {
	header http.Header
	status int         // 0 before WriteHeader
	sent   http.Header // header as it was then
	shared []byte      // the first part of the body
	body   bytes.Buffer
}

// WriteShared is w.Write(p) for bytes that nobody modifies from now on. If w is
// what a handler of Options.Route was given, and it is the whole body, they are
// sent as they are: however many clients ask for a file, and however slowly they
// take it, it is there once.
func WriteShared(w http.ResponseWriter, p []byte) (int, error) {
	r, ok := w.(*recorder)
	if !ok || r.shared != nil || r.body.Len() > 0 {
		return w.Write(p)
	}
	r.WriteHeader(http.StatusOK)
	if !r.hasBody() {
		return 0, http.ErrBodyNotAllowed
	}
	r.shared = p
	return len(p), nil
}

// hasBody tells whether the status allows one.
func (w *recorder) hasBody() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

func (w *recorder) Header() http.Header { return w.header }

// WriteHeader panics for what is no status, as net/http does. Interim answers
// are left out.
func (w *recorder) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("eio: invalid status " + strconv.Itoa(status))
	case status >= 200 && w.status == 0:
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.hasBody() {
		return 0, http.ErrBodyNotAllowed
	}
	if w.shared != nil {
		w.body.Write(w.shared)
		w.shared = nil
	}
	return w.body.Write(p)
}

// answer returns what was collected, without the fields that the connection
// decides itself, and whether the handler wants it to end. Of an answer to HEAD
// the handler may give the length instead of a body.
func (w *recorder) answer(isHead bool) (fields []http1.Field, body []byte, end bool) {
	body = w.shared
	if body == nil {
		body = w.body.Bytes()
	}
	if _, typed := w.sent["Content-Type"]; !typed && len(body) > 0 && w.sent.Get("Content-Encoding") == "" {
		fields = append(fields, http1.Field{Name: fieldType, Value: []byte(http.DetectContentType(body))})
	}
	for _, name := range slices.Sorted(maps.Keys(w.sent)) {
		switch http.CanonicalHeaderKey(name) {
		case "Connection":
			end = strings.EqualFold(w.sent.Get(name), "close")
			continue
		case "Transfer-Encoding":
			continue
		case "Content-Length":
			n, err := strconv.ParseUint(w.sent.Get(name), 10, 63)
			if isHead && err == nil {
				body = nil
				fields = append(fields, http1.Field{Name: fieldLength, Value: strconv.AppendUint(nil, n, 10)})
			}
			continue
		}
		for _, v := range w.sent[name] {
			fields = append(fields, http1.Field{Name: []byte(name), Value: []byte(textproto.TrimString(v))})
		}
	}
	return fields, body, end
}

// besides returns the fields of ours that are not among theirs already. Of Vary
// there may be several, with different values.
func besides(ours, theirs []http1.Field) []http1.Field {
	return slices.DeleteFunc(slices.Clone(ours), func(f http1.Field) bool {
		return slices.ContainsFunc(theirs, func(g http1.Field) bool {
			return bytes.EqualFold(f.Name, g.Name) && (!bytes.EqualFold(f.Name, fieldVary) || bytes.EqualFold(f.Value, g.Value))
		})
	})
}
