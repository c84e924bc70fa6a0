package eio

import "github.com/sioedge/sioedge/wsframe"

// A frameEdge follows frames that pass by in pieces, to know where one ends: there
// alone another may be put between them. What it does not understand is for the
// client to refuse: it is no frame, and has no end.
type frameEdge struct {
	rest uint64 // of the payload
	head [14]byte
	have uint8 // bytes of head
	lost bool
}

// between tells whether a frame has just ended, or none has begun.
func (e *frameEdge) between() bool { return e.rest == 0 && e.have == 0 && !e.lost }

// advance passes bytes.
func (e *frameEdge) advance(p []byte) {
	for len(p) > 0 && !e.lost {
		if e.rest > 0 {
			n := min(e.rest, uint64(len(p)))
			e.rest -= n
			p = p[n:]
			continue
		}
		had := int(e.have)
		e.have += uint8(copy(e.head[had:], p))
		h, n, err := wsframe.ParseHeader(e.head[:e.have])
		switch {
		case err != nil:
			e.lost = true
		case n == 0:
			return // all of p is in head
		default:
			p = p[n-had:]
			e.rest, e.have = uint64(h.Length), 0
		}
	}
}
