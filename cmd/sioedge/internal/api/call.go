package api

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// A call is a request while it is served, by its goroutine.
type call struct {
	a     *API
	s     *settings
	w     http.ResponseWriter
	r     *http.Request
	began time.Time

	route  *route // nil: there is none
	params []string
	key    *key
	left   *atomic.Int64 // what is to be counted down
	query  url.Values
	body   []byte
	buffer *bytes.Buffer // of body

	status int // that was answered; 0: nothing yet

	operator, readOnly bool // ServeOperator
}

// writeTime is how long a piece of a long answer may take to be written. How long other
// requests and answers may take is for the http.Server to say.
const writeTime = 30 * time.Second

// serve answers.
func (c *call) serve() {
	defer func() {
		if c.left != nil {
			c.left.Add(-1)
		}
		if c.buffer != nil {
			putBuffer(c.buffer)
		}
		if v := recover(); v != nil {
			c.panicked(v)
		}
	}()
	answer, err := c.do()
	switch {
	case err != nil:
		c.fail(c.a.problemOf(err))
	case answer != nil:
		c.answer(http.StatusOK, answer)
	}
}

// panicked is for a mistake of this program's: the request is lost, the server is not.
func (c *call) panicked(v any) {
	if v == http.ErrAbortHandler {
		c.status = statusCut
		panic(v)
	}
	c.a.notice.Warn("a panic in a request of the HTTP API", "panic", v, "stack", string(debug.Stack()))
	if c.status != 0 {
		c.status = statusCut
		panic(http.ErrAbortHandler)
	}
	c.fail(fail(http.StatusInternalServerError, "internal", "the server failed; its log says why"))
}

// do does what is asked. A nil answer without an error is one that was written.
func (c *call) do() (any, error) {
	var allowed string
	c.route, c.params, allowed = c.a.router.find(c.r.Method, c.r.URL.EscapedPath())
	if p := c.admit(); p != nil {
		return nil, p
	}
	if c.route == nil {
		if allowed != "" {
			p := fail(http.StatusMethodNotAllowed, "method_not_allowed", "there is "+allowed+" of this path")
			p.allow = allowed
			return nil, p
		}
		return nil, fail(http.StatusNotFound, "unknown_path", "there is no such path: see "+wire.OpenAPIPath)
	}
	if p := c.enter(); p != nil {
		return nil, p
	}
	if p := c.parameters(); p != nil {
		return nil, p
	}
	if c.route.stream {
		return nil, c.route.write(c)
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	if c.route.path == wire.UpgradePath { // which it is that holds
		return c.route.serve(c)
	}
	hurry, p := c.a.pause.begin(c.r.Context())
	if p != nil {
		c.close()
		return nil, p
	}
	defer c.a.pause.done()
	ctx, done := within(c.r.Context(), hurry)
	defer done()
	c.r = c.r.WithContext(ctx)
	return c.route.serve(c)
}

// parameters reads the query: one that the route does not know is not ignored, as what
// was meant to narrow whom it is for would be.
func (c *call) parameters() *problem {
	if c.r.URL.RawQuery == "" {
		return nil
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return bad("", "malformed", "the query is malformed")
	}
	for name, values := range q {
		x := c.route.param(name)
		if x == nil {
			return bad(clip(name), unknownParameter, "there is no such parameter")
		}
		if len(values) > 1 && !x.many {
			return bad(name, "duplicate", "is there more than once")
		}
	}
	c.query = q
	return nil
}

// clip bounds what is said back of what was sent.
func clip(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept bounds a buffer that is kept for another request.
const maxKept = 64 << 10

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		buffers.Put(b)
	}
}

// read reads the body, which is valid until the call ends.
func (c *call) read() error {
	if c.route.body == nil {
		if c.r.ContentLength != 0 {
			c.close()
			return bad("", "body", "there must be no body")
		}
		return nil
	}
	if err := c.isJSON(); err != nil {
		return err
	}
	most := int64(c.s.MaxBody)
	if c.r.ContentLength > most {
		return c.tooLong()
	}
	c.buffer = buffers.Get().(*bytes.Buffer)
	if n := min(c.r.ContentLength, maxKept-bytes.MinRead); n > 0 { // what is only announced takes no more
		c.buffer.Grow(int(n) + bytes.MinRead)
	}
	n, err := c.buffer.ReadFrom(&io.LimitedReader{R: c.r.Body, N: most + 1})
	switch {
	case err != nil:
		c.close()
		p := fail(http.StatusBadRequest, "body", "the body has not come as a whole")
		p.passing = true
		return p
	case n > most:
		return c.tooLong()
	}
	c.body = c.buffer.Bytes()
	return nil
}

// tooLong is for a body of more than MaxBody bytes.
func (c *call) tooLong() error {
	c.close()
	return fail(http.StatusRequestEntityTooLarge, "too_long", "the body has more than "+strconv.Itoa(c.s.MaxBody)+" bytes (api.max_body)")
}

// isJSON tells whether a body may be what is expected; who does not say is believed.
func (c *call) isJSON() error {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		c.close()
		return fail(http.StatusUnsupportedMediaType, "content_encoding", "a body must not be compressed")
	}
	kind := c.r.Header.Get("Content-Type")
	if kind == "" || kind == wire.JSON {
		return nil
	}
	kind, _, err := mime.ParseMediaType(kind)
	if err == nil && (kind == wire.JSON || kind == wire.NDJSON && c.route.stream) {
		return nil
	}
	c.close()
	want := wire.JSON
	if c.route.stream {
		want = wire.NDJSON
	}
	return fail(http.StatusUnsupportedMediaType, "content_type", "Content-Type must be "+want)
}

// close has the connection end behind the answer: what is left of the body is not read.
func (c *call) close() { c.w.Header().Set("Connection", "close") }

// Values of header fields that every answer has.
var (
	typeJSON   = []string{wire.JSON}
	typeNDJSON = []string{wire.NDJSON}
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
)

func (c *call) head(kind []string) {
	h := c.w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = kind, noStore, noSniff
}

// answer writes an answer.
func (c *call) answer(status int, v any) {
	b, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if b, err = json.Marshal(v); err != nil {
			c.fail(c.a.problemOf(err))
			return
		}
	}
	c.status = status
	c.head(typeJSON)
	c.w.Header()["Content-Length"] = lengthOf(b)
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // who has gone does not get it
}

// fail writes what is wrong.
func (c *call) fail(p *problem) {
	h := c.w.Header()
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retry+time.Second-1)/time.Second)))
	}
	switch p.status {
	case http.StatusUnauthorized:
		if h.Get("WWW-Authenticate") == "" { // of Guard
			h.Set("WWW-Authenticate", `Bearer realm="sioedge"`)
		}
	case http.StatusMethodNotAllowed:
		h.Set("Allow", p.allow)
	}
	if c.key == nil || c.route == nil {
		c.close() // its body is not read
	}
	c.answer(p.status, wire.Failure{Error: p.is})
}

var two = []string{"2"}

// lengthOf is the field of a body's length. Most are {}.
func lengthOf(b []byte) []string {
	if len(b) == 2 {
		return two
	}
	return []string{strconv.Itoa(len(b))}
}

// accepts tells whether who asks wants a content type.
func (c *call) accepts(kind string) bool {
	for _, field := range c.r.Header["Accept"] {
		for x := range strings.SplitSeq(field, ",") {
			x, _, _ = strings.Cut(x, ";")
			if strings.TrimSpace(x) == kind {
				return true
			}
		}
	}
	return false
}

// endless has the request last for so long beyond what other requests may, and returns
// what flushes its answer.
func (c *call) endless(d time.Duration) *http.ResponseController {
	rc := http.NewResponseController(c.w)
	_ = rc.SetReadDeadline(time.Time{}) // what cannot do that has no deadline
	_ = rc.SetWriteDeadline(time.Now().Add(d + writeTime))
	return rc
}
