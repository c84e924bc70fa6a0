package eio

import (
	"errors"
	"net/http"
	"slices"

	"github.com/sioedge/sioedge/loop/http1"
)

const (
	// ForwardedHeader is in requests that one node forwards to another, those for
	// tunnels among them: they are never forwarded again. A client can send it too:
	// what it proves is for Options.Proven to say.
	ForwardedHeader = "Sioedge-Forwarded"
	// ReleaseHeader is in a forwarded request that is no poll itself: it has the one of
	// its session answered that waits, as the node stops that forwarded it.
	ReleaseHeader = "Sioedge-Release"
	// ReasonHeader says, in an answer, why the session of another node could not
	// be asked. Clients compare the texts of errors, so that it cannot be there.
	ReasonHeader = "Sioedge-Reason"
)

// ErrNoNode is what Options.Seek returns for a node that is not there.
var ErrNoNode = errors.New("eio: there is no such node")

var (
	// foreignUpgrade is an upgrade for which there is no tunnel. It is told to clients
	// like unknownSID. They take it for a failed probe and go on polling.
	foreignUpgrade = refusal{code: CodeUnknownSID, message: unknownSID.message, status: http.StatusBadRequest, name: "FOREIGN_UPGRADE"}
	// unavailableNode is a request for a session of which it is not certain that there
	// is none.
	unavailableNode = refusal{code: CodeUnknownSID, message: unknownSID.message, status: http.StatusServiceUnavailable, name: "NODE_UNAVAILABLE"}
	// unproven is a request that says falsely that another node has forwarded it.
	unproven = refusal{code: CodeForbidden, message: forbidden.message, status: http.StatusForbidden, name: "UNPROVEN", alwaysJSON: true}
)

// proven tells whether a request is what its ForwardedHeader says, nil if it has none:
// forwarded by another node.
func (sh *shard) proven(r *http1.Request, claim []byte) bool {
	return claim == nil || sh.srv.o.Proven == nil || sh.srv.o.Proven(r, claim)
}

// releases tells whether a request is another node's, to have a poll answered.
func releases(r *http1.Request) bool {
	return r.Get(ReleaseHeader) != nil && r.Get(ForwardedHeader) != nil
}

// sessionElsewhere answers a request whose session is not here: it has ended, or another
// node has it, which Options.Forward or Options.Tunnel can ask.
func (sh *shard) sessionElsewhere(h *httpConn, sid string) {
	o, node := &sh.srv.o, NodeOf([]byte(sid))
	switch {
	case o.Forward == nil && o.Tunnel == nil || node == "" || node == sh.srv.ids.node:
		sh.refuse(h, unknownSID)
	case h.req.Get(ForwardedHeader) != nil:
		sh.refuseWithReason(h, unknownSID, "the session is of node "+string(node)+" and the request was forwarded to another one")
	case sh.passOn(h, node):
	case o.Seek == nil:
		sh.unasked(h, node)
	default:
		sh.runApart(h, &work{is: stateSeek, node: node}, nil)
	}
}

var errNotSought = errors.New("the node could not be sought")

// sought goes on when a node has been sought.
func (sh *shard) sought(h *httpConn, x *work) {
	err := x.err
	if x.failed {
		err = errNotSought
	}
	switch {
	case err == nil && sh.passOn(h, x.node):
	case err == nil || errors.Is(err, ErrNoNode):
		sh.unasked(h, x.node)
	default:
		h.fields = append(slices.Clip(h.fields), http1.Field{Name: []byte("Retry-After"), Value: []byte("1")})
		sh.refuseWithReason(h, unavailableNode, err.Error())
	}
}

func (sh *shard) unasked(h *httpConn, node Node) {
	sh.refuseWithReason(h, unknownSID, "the session is of node "+string(node)+", which cannot be asked")
}

// passOn has a node answer a request. It is false if that is not known.
func (sh *shard) passOn(h *httpConn, node Node) bool {
	o := &sh.srv.o
	if h.upgrade && o.Tunnel != nil {
		if sh.srv.leaving() {
			sh.stops(h)
			return true
		}
		tunnel := o.Tunnel(node)
		if tunnel != nil {
			sh.runApart(h, &work{is: stateTunnel, dialer: tunnel}, nil)
		}
		return tunnel != nil
	}
	if o.Forward == nil {
		return false
	}
	handler := o.Forward(node)
	switch {
	case handler == nil:
		return false
	case h.upgrade:
		sh.refuseWithReason(h, foreignUpgrade, "the session is of node "+string(node)+", and a WebSocket cannot be forwarded")
	default:
		sh.runHandler(h, &work{is: stateForward, target: handler}, o.MaxPayload)
	}
	return true
}

// stops refuses a WebSocket of another node's session while draining, with 503: a proxy
// may ask another server.
func (sh *shard) stops(h *httpConn) {
	h.fields = append(slices.Clip(h.fields), http1.Field{Name: []byte(ReasonHeader), Value: []byte("the server is stopping")})
	sh.unavailable(h)
}

// refuseWithReason refuses with a reason for whoever looks at the answer.
func (sh *shard) refuseWithReason(h *httpConn, r refusal, reason string) {
	h.fields = append(slices.Clip(h.fields), http1.Field{Name: []byte(ReasonHeader), Value: []byte(reason)})
	sh.refuse(h, r)
}
