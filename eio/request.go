package eio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sioedge/sioedge/loop/http1"
)

// A refusal is a request that Engine.IO answers with an error (protocol 4,
// "Handshake"; the codes and texts are Node's, which clients compare).
type refusal struct {
	code       int
	message    string
	status     int
	name       string // of ErrorContext
	err        error  // of ErrorContext
	alwaysJSON bool   // is answered alike whatever was asked for
}

func bad(name string) refusal {
	return refusal{code: CodeBadRequest, message: "Bad request", status: http.StatusBadRequest, name: name}
}

var (
	unknownTransport   = refusal{code: CodeUnknownTransport, message: "Transport unknown", status: http.StatusBadRequest}
	unknownSID         = refusal{code: CodeUnknownSID, message: "Session ID unknown", status: http.StatusBadRequest}
	badHandshakeMethod = refusal{code: CodeBadHandshakeMethod, message: "Bad handshake method", status: http.StatusBadRequest}
	badRequest         = bad("")
	invalidOrigin      = bad("INVALID_ORIGIN")
	transportMismatch  = bad("TRANSPORT_MISMATCH")
	protocolMismatch   = bad("PROTOCOL_MISMATCH")
	handshakeError     = bad("TRANSPORT_HANDSHAKE_ERROR")
	middlewareFailure  = bad("MIDDLEWARE_FAILURE")
	forbidden          = refusal{code: CodeForbidden, message: "Forbidden", status: http.StatusForbidden}
	unsupportedVersion = refusal{code: CodeUnsupportedVersion, message: "Unsupported protocol version", status: http.StatusBadRequest}
)

// refuse answers an engine request with r.
func (sh *shard) refuse(h *httpConn, r refusal) {
	switch r.code {
	case CodeUnknownSID:
		sh.srv.notice.Info("a session is not known", "address", addrText(sh.clientAddr(h)))
	case CodeUnsupportedVersion:
		sh.srv.notice.Warn("a client of Engine.IO 3, as Socket.IO 2 has it, was refused", "flag", "--eio3", "address", addrText(sh.clientAddr(h)))
	}
	sh.report(h, r)
	sh.answerRefusal(h, r)
}

// answerRefusal answers with r: JSON, or bare text when a WebSocket was asked for,
// after which the connection ends.
func (sh *shard) answerRefusal(h *httpConn, r refusal) {
	if h.upgrade && !r.alwaysJSON {
		sh.answer(h, http.StatusBadRequest, []http1.Field{{Name: fieldType, Value: valueHTML}}, []byte(r.message), true)
		return
	}
	message, _ := json.Marshal(r.message) // a string can always be encoded
	body := fmt.Appendf(nil, `{"code":%d,"message":%s}`, r.code, message)
	sh.answer(h, r.status, []http1.Field{{Name: fieldType, Value: valueJSON}}, body, h.upgrade)
}

// engineRequest verifies a request under Path, in Node's order, and acts on it.
func (sh *shard) engineRequest(h *httpConn) {
	srv := sh.srv
	transport := string(h.query.transport)
	if !srv.serves(transport) {
		sh.refuse(h, unknownTransport)
		return
	}
	for _, c := range h.req.Get("Origin") {
		if c < ' ' && c != '\t' || c == 0x7f {
			sh.refuse(h, invalidOrigin)
			return
		}
	}
	ua := h.req.Get("User-Agent")
	h.oldIE = bytes.Contains(ua, []byte(";MSIE")) || bytes.Contains(ua, []byte("Trident/"))
	if sid := h.query.sid; len(sid) > 0 {
		ref, ok := srv.ids.Parse(sid)
		slot := sh.lookup(ref)
		if !ok || int(ref>>56) != sh.loop.Index() || slot == 0 || sh.overdue(slot) {
			if ok && srv.handed.Load() {
				sh.answerElsewhere(h)
				return
			}
			sh.sessionElsewhere(h, string(sid))
			return
		}
		h.stays = h.stays || srv.handed.Load() // as the session does
		sh.sessionRequest(h, slot, transport)
		return
	}
	switch {
	case string(h.req.Method) != http.MethodGet:
		sh.refuse(h, badHandshakeMethod)
	case transport == "websocket" && !h.upgrade, transport == "polling" && h.upgrade:
		sh.refuse(h, handshakeError)
	case !srv.o.AllowEIO3 && h.query.flags().has(revision3):
		sh.refuse(h, unsupportedVersion)
	case srv.leaving():
		sh.unavailable(h)
	case srv.pressed.Load():
		sh.press(h)
	case sh.hasPlace(h) && sh.inTime(h):
		sh.admit(h, transport)
	}
}

// sessionRequest acts on a request that names a live session.
func (sh *shard) sessionRequest(h *httpConn, slot uint32, transport string) {
	s := sh.sessions.At(slot)
	switch {
	case releases(h.req):
		sh.releasePoll(slot)
		sh.answer(h, http.StatusOK, nil, nil, false)
	case !h.upgrade && (transport == "websocket") != s.is(overWS):
		sh.refuse(h, transportMismatch)
	case s.is(revision3) != h.query.flags().has(revision3):
		sh.refuse(h, protocolMismatch)
	case h.upgrade && transport == "websocket" && string(h.req.Method) == http.MethodGet:
		sh.startProbe(h, slot)
	case h.upgrade, transport != "polling":
		sh.refuse(h, transportMismatch)
	case string(h.req.Method) == http.MethodGet:
		if sh.hookSession(h, slot) {
			sh.poll(h, slot)
		}
	case string(h.req.Method) == http.MethodPost:
		if sh.hookSession(h, slot) {
			sh.post(h, slot)
		}
	default:
		sh.answer(h, http.StatusInternalServerError, nil, nil, false)
	}
}

// hookSession is hook for a request of a session, which the application may end
// there: then it is false, and the request has been refused.
func (sh *shard) hookSession(h *httpConn, slot uint32) bool {
	ref := sh.ref(slot)
	if sh.hook(h); sh.lookup(ref) != 0 {
		return true
	}
	sh.refuse(h, unknownSID)
	return false
}

// appendOpen appends the open packet. The five keys are all required by
// clients, and some look at nothing else.
func (sh *shard) appendOpen(dst []byte, slot uint32, upgrades string) []byte {
	o := &sh.srv.o
	dst = append(dst, opened)
	dst = append(dst, `{"sid":"`...)
	dst = sh.srv.ids.Append(dst, sh.ref(slot))
	dst = append(append(dst, `","upgrades":`...), upgrades...)
	dst = strconv.AppendInt(append(dst, `,"pingInterval":`...), o.PingInterval.Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"pingTimeout":`...), o.PingTimeout.Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"maxPayload":`...), int64(o.MaxPayload), 10)
	return append(dst, '}')
}
