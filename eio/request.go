package eio

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/sioedge/sioedge/loop/http1"
)

// A refusal is a request that Engine.IO answers with an error (protocol 4,
// "Handshake"; the codes and texts are Node's, which clients compare).
type refusal struct {
	code    int
	message string
	status  int
}

var (
	unknownTransport   = refusal{0, "Transport unknown", http.StatusBadRequest}
	unknownSID         = refusal{1, "Session ID unknown", http.StatusBadRequest}
	badHandshakeMethod = refusal{2, "Bad handshake method", http.StatusBadRequest}
	badRequest         = refusal{3, "Bad request", http.StatusBadRequest}
	unsupportedVersion = refusal{5, "Unsupported protocol version", http.StatusBadRequest}
)

// refuse answers an engine request with r: JSON, or bare text when a WebSocket
// was asked for, after which the connection ends.
func (sh *shard) refuse(h *httpConn, r refusal) {
	if h.upgrade {
		sh.answer(h, http.StatusBadRequest, []http1.Field{{Name: fieldType, Value: valueHTML}}, []byte(r.message), true)
		return
	}
	body := fmt.Appendf(nil, `{"code":%d,"message":%q}`, r.code, r.message)
	sh.answer(h, r.status, []http1.Field{{Name: fieldType, Value: valueJSON}}, body, false)
}

// engineRequest verifies a request under Path, in Node's order, and acts on it.
func (sh *shard) engineRequest(h *httpConn) {
	srv := sh.srv
	transport, _ := sh.req.Query("transport")
	if !srv.serves(transport) {
		sh.refuse(h, unknownTransport)
		return
	}
	for _, c := range sh.req.Get("Origin") {
		if c < ' ' && c != '\t' || c == 0x7f {
			sh.refuse(h, badRequest)
			return
		}
	}
	ua := sh.req.Get("User-Agent")
	h.oldIE = bytes.Contains(ua, []byte(";MSIE")) || bytes.Contains(ua, []byte("Trident/"))
	revision, _ := sh.req.Query("EIO")
	if sid, _ := sh.req.Query("sid"); sid != "" {
		ref, ok := srv.ids.Parse([]byte(sid))
		slot := sh.lookup(ref)
		if !ok || int(ref>>56) != sh.loop.Index() || slot == 0 || sh.overdue(slot) {
			sh.refuse(h, unknownSID)
			return
		}
		sh.sessionRequest(h, slot, transport, revision)
		return
	}
	switch {
	case string(sh.req.Method) != http.MethodGet:
		sh.refuse(h, badHandshakeMethod)
	case transport == "websocket" && !h.upgrade, transport == "polling" && h.upgrade:
		sh.refuse(h, badRequest)
	case revision != "4":
		sh.refuse(h, unsupportedVersion)
	case srv.draining.Load():
		// A refusal before the upgrade makes clients back off; a close after
		// it would not.
		sh.answer(h, http.StatusServiceUnavailable, nil, nil, true)
	case transport == "websocket":
		sh.openWS(h)
	default:
		sh.openPolling(h)
	}
}

// sessionRequest acts on a request that names a live session.
func (sh *shard) sessionRequest(h *httpConn, slot uint32, transport, revision string) {
	s := sh.sessions.At(slot)
	switch {
	case revision != "4":
		sh.refuse(h, badRequest)
	case h.upgrade && transport == "websocket" && string(sh.req.Method) == http.MethodGet:
		sh.startProbe(h, slot)
	case h.upgrade, transport != "polling", s.is(overWS):
		sh.refuse(h, badRequest)
	case string(sh.req.Method) == http.MethodGet:
		sh.poll(h, slot)
	case string(sh.req.Method) == http.MethodPost:
		sh.post(h, slot)
	default:
		sh.answer(h, http.StatusInternalServerError, nil, nil, false)
	}
}

// appendOpen appends the open packet. The five keys are all required by
// clients, and some look at nothing else.
func (sh *shard) appendOpen(dst []byte, slot uint32, upgrades string) []byte {
	o := &sh.srv.o
	dst = append(dst, opened)
	dst = append(dst, `{"sid":"`...)
	dst = sh.srv.ids.Append(dst, sh.ref(slot))
	return fmt.Appendf(dst, `","upgrades":%s,"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}`,
		upgrades, o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload)
}
