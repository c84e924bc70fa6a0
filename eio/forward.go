package eio

import (
	"net/http"
	"slices"

	"github.com/sioedge/sioedge/loop/http1"
)

const (
	// ForwardedHeader is in requests that one node forwards to another, those for
	// tunnels among them: they are never forwarded again. A client can send it too,
	// so it proves nothing.
	ForwardedHeader = "Sioedge-Forwarded"
	// ReasonHeader says, in an answer, why the session of another node could not
	// be asked. Clients compare the texts of errors, so that it cannot be there.
	ReasonHeader = "Sioedge-Reason"
)

// foreignUpgrade is an upgrade for which there is no tunnel. It is told to clients
// like unknownSID. They take it for a failed probe and go on polling.
var foreignUpgrade = refusal{code: CodeUnknownSID, message: unknownSID.message, status: http.StatusBadRequest, name: "FOREIGN_UPGRADE"}

// stray answers a request whose session is not here: it has ended, or another
// node has it, which Options.Forward or Options.Tunnel can ask.
func (sh *shard) stray(h *httpConn, sid string) {
	o, node := &sh.srv.o, NodeOf([]byte(sid))
	if o.Forward == nil && o.Tunnel == nil || node == "" || node == sh.srv.ids.node {
		sh.refuse(h, unknownSID)
		return
	}
	if h.req.Get(ForwardedHeader) != nil {
		sh.refuseStray(h, unknownSID, "the session is of node "+string(node)+" and the request was forwarded to another one")
		return
	}
	var tunnel http.RoundTripper
	var handler http.Handler
	switch {
	case h.upgrade && o.Tunnel != nil:
		tunnel = o.Tunnel(node)
	case o.Forward != nil:
		handler = o.Forward(node)
	}
	switch {
	case tunnel != nil:
		sh.openTunnel(h, tunnel)
	case handler == nil:
		sh.refuseStray(h, unknownSID, "the session is of node "+string(node)+", which cannot be asked")
	case h.upgrade:
		sh.refuseStray(h, foreignUpgrade, "the session is of node "+string(node)+", and a WebSocket cannot be forwarded")
	default:
		sh.handled(h, handler, int64(o.MaxPayload))
	}
}

// refuseStray refuses with a reason for whoever looks at the answer.
func (sh *shard) refuseStray(h *httpConn, r refusal, reason string) {
	h.fields = append(slices.Clip(h.fields), http1.Field{Name: []byte(ReasonHeader), Value: []byte(reason)})
	sh.refuse(h, r)
}
