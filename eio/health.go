package eio

import (
	"net/http"

	"github.com/sioedge/sioedge/loop/http1"
)

var (
	fieldAllow  = []byte("Allow")
	valueAllow  = []byte("GET, HEAD, OPTIONS")
	bodyHealthy = []byte("ok\n")
	bodyUnwell  = []byte("unavailable\n")
)

// asksHealth tells whether a request is one for Options.Health. HAProxy's bare check, for
// one, is OPTIONS / HTTP/1.0, without a Host.
func (sh *shard) asksHealth(r *http1.Request) bool {
	o, path := &sh.srv.o, string(r.Path)
	options := false
	switch string(r.Method) {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		options = true
	default:
		return false
	}
	switch {
	case sh.isPath(r):
		return false
	case path == "*":
		return options
	case path == "/" && (sh.forEngine(r) || o.HealthPath == "" && !options):
		return false
	case path == "/" && string(r.Method) == http.MethodGet && path != o.HealthPath:
		return o.Route == nil || o.Route(path) == nil
	}
	return path == "/" || o.HealthPath != "" && path == o.HealthPath
}

// answerHealth answers it. No bound of sessions applies. A connection that is one too many
// of its address has no further request.
func (sh *shard) answerHealth(h *httpConn) {
	over := false
	if h.client.IsValid() {
		sh.forgetPeer(h.conn) // it is a proxy's
	} else {
		sh.countPeer(h)
		over = sh.peers[h.conn.Key()].over
	}
	status, body := http.StatusOK, bodyHealthy
	if !sh.srv.o.Health() {
		status, body = http.StatusServiceUnavailable, bodyUnwell
	}
	fields := []http1.Field{{Name: fieldCache, Value: valueNoStore}}
	if string(h.req.Method) == http.MethodOptions {
		fields, body = append(fields, http1.Field{Name: fieldAllow, Value: valueAllow}), nil
	} else {
		fields = append(fields, http1.Field{Name: fieldType, Value: valueText})
	}
	sh.answer(h, status, fields, body, over)
}
