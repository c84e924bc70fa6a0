package sio

import (
	"errors"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/sio/parser"
)

// freeToBring is how many bytes a session's first request, and what a client
// gives when it joins a namespace, may have without being charged to the
// session: an ordinary token, so that ordinary idle sessions have no account.
const freeToBring = 2 << 10

// maxNamespaceName bounds the name of a namespace that a client asks for, in
// bytes. Each is kept, and told to the servers of a cluster.
const maxNamespaceName = 1 << 10

var errNamespaceName = errors.New("sio: the name of a namespace is too long")

// A bringing is what a socket brought, charged until it is forgotten.
type bringing struct {
	account *budget.Account
	size    int
}

// bring charges n bytes that a client gives when it joins a namespace. It is
// false if they do not fit: the session is gone.
func (sh *shard) bring(es eio.Session, n int) (b bringing, ok bool) {
	if n <= freeToBring {
		return bringing{}, true
	}
	b = bringing{es.Budget(), n}
	return b, b.account.Charge(n)
}

// brings notes what a socket brought.
func (sh *shard) brings(slot uint32, b bringing) {
	if b.size > 0 {
		sh.brought[slot] = b
	}
}

// giveBack releases what a socket brought.
func (sh *shard) giveBack(slot uint32) {
	if b, ok := sh.brought[slot]; ok {
		b.account.Release(b.size)
		delete(sh.brought, slot)
	}
}

// keepHandshake keeps a session's first request. It is false if that is more than
// may be kept: the session is gone.
func (sh *shard) keepHandshake(es eio.Session, h *Handshake) bool {
	if n := h.size(); n > freeToBring && !es.Budget().Charge(n) {
		return false
	}
	sh.handshakes[es.Ref()] = h
	return true
}

// dropHandshake forgets a session's first request.
func (sh *shard) dropHandshake(session uint64) {
	h := sh.handshakes[session]
	delete(sh.handshakes, session)
	if h == nil || h.size() <= freeToBring {
		return
	}
	if es, ok := sh.srv.eio.Lookup(sh.loop, session); ok {
		es.Budget().Release(h.size())
	}
}

// size is what the copy of the request takes.
func (h *Handshake) size() int { return len(h.URL) + len(h.head) }

// tooLong tells whether a client asks for a namespace whose name is too long.
func tooLong(p *parser.Packet) bool {
	return p.Type == parser.Connect && len(p.Namespace) > maxNamespaceName
}
