package eio

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/loop/http1"
)

// The codes of refused requests: Engine.IO protocol 4, "Handshake", and Node's
// Server.errors.
const (
	CodeUnknownTransport = iota
	CodeUnknownSID
	CodeBadHandshakeMethod
	CodeBadRequest
	CodeForbidden
	CodeUnsupportedVersion
)

// A ConnectionError is a request that was refused. Node: connection_error.
type ConnectionError struct {
	Code    int    // of the answer, such as CodeForbidden
	Message string // of the answer
	Context ErrorContext
	// RemoteAddr is the client's address: see Options.Via.
	RemoteAddr netip.AddrPort
	// Request is a view, valid until OnConnectionError returns.
	Request *http1.Request
}

// ErrorContext is what is known about a ConnectionError, by Node's names. What
// its code does not have is "".
type ErrorContext struct {
	// Name says why a request is bad: INVALID_ORIGIN, TRANSPORT_MISMATCH,
	// PROTOCOL_MISMATCH, TRANSPORT_HANDSHAKE_ERROR, MIDDLEWARE_FAILURE,
	// FOREIGN_UPGRADE (of a session of another node; with SID, code 1),
	// NODE_UNAVAILABLE (the same, and it could not be asked), UNPROVEN (it says that
	// another node forwarded it; code 4).
	Name string

	Transport string // CodeUnknownTransport, TRANSPORT_MISMATCH, TRANSPORT_HANDSHAKE_ERROR
	SID       string // CodeUnknownSID
	Method    string // CodeBadHandshakeMethod
	Origin    string // INVALID_ORIGIN, and CodeForbidden
	Protocol  string // the request's EIO: CodeUnsupportedVersion, PROTOCOL_MISMATCH
	Err       error  // what AllowRequest returned
}

// report counts a refusal and tells whoever wants to know.
func (sh *shard) report(h *httpConn, r refusal) {
	sh.tally.Refused[r.code]++
	f := sh.srv.o.OnConnectionError
	if f == nil {
		return
	}
	q := &h.query
	e := ConnectionError{Code: r.code, Message: r.message, Context: ErrorContext{Name: r.name, Err: r.err}, RemoteAddr: sh.clientAddr(h), Request: h.req}
	c := &e.Context
	switch r.code {
	case CodeUnknownTransport:
		c.Transport = string(q.transport)
	case CodeUnknownSID:
		c.SID = string(q.sid)
	case CodeBadHandshakeMethod:
		c.Method = string(h.req.Method)
	case CodeForbidden:
		c.Origin = string(h.req.Get("Origin"))
	case CodeUnsupportedVersion:
		c.Protocol = string(q.revision)
	}
	switch r.name {
	case invalidOrigin.name:
		c.Origin = string(h.req.Get("Origin"))
	case transportMismatch.name, handshakeError.name:
		c.Transport = string(q.transport)
	case protocolMismatch.name:
		c.Protocol = string(q.revision)
	}
	f(e)
}

// hook has the application add fields to the answer of a request that succeeds.
func (sh *shard) hook(h *httpConn) {
	o := &sh.srv.o
	if o.Headers == nil && o.InitialHeaders == nil {
		return
	}
	header := http.Header{}
	if len(h.query.sid) == 0 && o.InitialHeaders != nil {
		o.InitialHeaders(header, h.req)
	}
	if o.Headers != nil {
		o.Headers(header, h.req)
	}
	h.hooked = appendHeader(h.hooked, header)
}

// appendHeader appends what an application wants in an answer, in the order of
// the names, without what the server decides itself.
func appendHeader(fields []http1.Field, header http.Header) []http1.Field {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch http.CanonicalHeaderKey(name) {
		case "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding", "Upgrade",
			"Sec-Websocket-Accept", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol":
			continue
		}
		for _, v := range header[name] {
			fields = append(fields, http1.Field{Name: []byte(name), Value: []byte(strings.TrimSpace(v))})
		}
	}
	return fields
}

// appendFields appends fields to a response head. Those that are not valid are
// left out.
func appendFields(dst []byte, fields []http1.Field) []byte {
	for _, f := range fields {
		if f.Valid() {
			dst = append(append(dst, f.Name...), ": "...)
			dst = append(append(dst, f.Value...), "\r\n"...)
		}
	}
	return dst
}

// appendInitial appends the frame of the InitialPacket, if there is one.
func (s *Server) appendInitial(frames []byte) []byte {
	if s.o.InitialPacket == nil {
		return frames
	}
	return AppendText(frames, s.o.InitialPacket)
}

// setCookie has the answer that opens a session set the cookie of Options.
func (sh *shard) setCookie(h *httpConn, slot uint32) {
	if sh.srv.cookie == nil {
		return
	}
	c := *sh.srv.cookie
	c.Value = sh.handle(slot).ID()
	h.hooked = append(h.hooked, http1.Field{Name: []byte("Set-Cookie"), Value: []byte(c.String())})
}

// newCookie returns the template with what its zero values mean.
func newCookie(template *http.Cookie) (*http.Cookie, error) {
	c := *template
	if c.Name == "" {
		c.Name = "io"
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == 0 {
		c.SameSite = http.SameSiteLaxMode
	}
	c.HttpOnly, c.Value = true, "x"
	return &c, c.Valid()
}

// retryAfter is what is told, in seconds, to whoever is refused while draining:
// by then another server should have taken over. Socket.IO's client backs off by
// itself; this is for proxies.
const retryAfter = 5

// unavailable refuses a new session while draining. A refusal before the upgrade
// makes clients back off; a close after it would not.
func (sh *shard) unavailable(h *httpConn) {
	sh.tally.Draining++
	sh.answerUnavailable(h)
}

// full refuses a new session for which there is no room.
func (sh *shard) full(h *httpConn) {
	sh.tally.Full++
	sh.answerUnavailable(h)
}

func (sh *shard) answerUnavailable(h *httpConn) {
	sh.answer(h, http.StatusServiceUnavailable,
		[]http1.Field{{Name: []byte("Retry-After"), Value: strconv.AppendInt(nil, retryAfter, 10)}}, nil, true)
}
