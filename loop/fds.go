package loop

import (
	"sync"
	"sync/atomic"
)

const fdChunk = 4096

// fdTable tells which connection a descriptor is: eight bits of loop and 24 of
// slot, 0 for none. One table serves all loops, because a number moves between
// them. An entry is cleared before its descriptor is closed.
type fdTable struct {
	chunks atomic.Pointer[[]*[fdChunk]atomic.Uint32]
	mu     sync.Mutex // guards growth
}

// get returns fd's entry.
func (t *fdTable) get(fd int) uint32 {
	chunks := t.chunks.Load()
	if chunks == nil || fd/fdChunk >= len(*chunks) {
		return 0
	}
	return (*chunks)[fd/fdChunk][fd%fdChunk].Load()
}

// set sets fd's entry.
func (t *fdTable) set(fd int, v uint32) {
	chunks := t.chunks.Load()
	if chunks == nil || fd/fdChunk >= len(*chunks) {
		chunks = t.grow(fd / fdChunk)
	}
	(*chunks)[fd/fdChunk][fd%fdChunk].Store(v)
}

func (t *fdTable) grow(i int) *[]*[fdChunk]atomic.Uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var chunks []*[fdChunk]atomic.Uint32
	if old := t.chunks.Load(); old != nil {
		chunks = append(chunks, *old...)
	}
	for len(chunks) <= i {
		chunks = append(chunks, new([fdChunk]atomic.Uint32))
	}
	t.chunks.Store(&chunks)
	return &chunks
}
