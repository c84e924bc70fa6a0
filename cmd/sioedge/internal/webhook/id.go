package webhook

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

const (
	idLength  = 26
	idCounter = 22 // bits behind the milliseconds
)

// ids makes the ids of items and of requests, in the form of ULIDs: 48 bits of Unix
// milliseconds, a counter of 22 bits, and 58 bits that are random for each ids. Each is
// greater than the one before, also when the clock is set back, and no two processes
// make the same. Any goroutine may use it.
type ids struct {
	node uint64 // 58 bits
	last atomic.Uint64
}

func newIDs() *ids {
	var b [8]byte
	rand.Read(b[:]) // which never fails
	return &ids{node: binary.BigEndian.Uint64(b[:]) >> 6}
}

// append appends the next id, at a time.
func (g *ids) append(dst []byte, now time.Time) []byte {
	at := uint64(now.UnixMilli()) << idCounter
	for {
		last := g.last.Load()
		next := max(at, last+1)
		if g.last.CompareAndSwap(last, next) {
			return appendID(dst, next, g.node)
		}
	}
}

// appendID appends 128 bits as 26 digits of 5: milliseconds and counter, and the node.
func appendID(dst []byte, moment, node uint64) []byte {
	high := moment >> (idCounter - 16) // 48 bits of time and 16 of the counter
	low := moment<<(64-(idCounter-16)) | node
	var b [idLength]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = action.IDDigits[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	return append(dst, b[:]...)
}
