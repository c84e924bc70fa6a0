package sio

import (
	"sync/atomic"
	"testing"

	"github.com/sioedge/sioedge/sio/internal/framing"
)

// What a message that is kept takes in further forms is counted while it is kept.
func TestFurtherFormsOfAKeptMessageAreCounted(t *testing.T) {
	var kept atomic.Int64
	m := newMessage(framing.Append(nil, []byte(`2["event","~0000--------"]`), nil), false)
	m.tail = framing.OffsetTail
	if n := m.Keep(&kept); n < int64(m.Size()) || kept.Load() != 0 {
		t.Errorf("a message of %d bytes takes %d, and %d in further forms", m.Size(), n, kept.Load())
	}
	if p := m.in(packedForm); p == nil || kept.Load() != int64(p.Size()) {
		t.Errorf("%d bytes are counted of another form", kept.Load())
	}
	m.Drop()
	if m.in(bareForm); kept.Load() != 0 {
		t.Errorf("%d bytes are counted of what is not kept", kept.Load())
	}
}
