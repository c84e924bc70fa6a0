package sio

import "sync/atomic"

const (
	genChunk = 4096
	genBits  = 24 // of a Ref
)

// generations are the generations of a loop's socket slots: written by the
// loop, read by any goroutine that wants to know whether a socket is there. An
// odd one is a socket that is connected or about to be.
type generations struct {
	chunks [1 << 12]atomic.Pointer[[genChunk]atomic.Uint32]
}

func (g *generations) at(slot uint32) *atomic.Uint32 {
	c := &g.chunks[slot/genChunk]
	if c.Load() == nil {
		c.Store(new([genChunk]atomic.Uint32)) // only the loop gets here with a new slot
	}
	return &c.Load()[slot%genChunk]
}

// next moves slot to its next generation and returns it.
func (g *generations) next(slot uint32) uint32 {
	p := g.at(slot)
	n := (p.Load() + 1) & (1<<genBits - 1)
	p.Store(n)
	return n
}

// is tells whether slot is in generation gen, from any goroutine.
func (g *generations) is(slot, gen uint32) bool { return g.load(slot)&^shutBit == gen }

// load returns the generation of slot, which may have shutBit, or noGen.
func (g *generations) load(slot uint32) uint32 {
	if slot/genChunk >= uint32(len(g.chunks)) {
		return noGen
	}
	c := g.chunks[slot/genChunk].Load()
	if c == nil {
		return noGen
	}
	return c[slot%genChunk].Load()
}

const noGen = ^uint32(0)

// shutBit is set in a generation whose socket is about to be disconnected by
// us: the events of its client that wait are not handled.
const shutBit = 1 << 31

// shut sets shutBit if slot is in generation gen, from any goroutine.
func (g *generations) shut(slot, gen uint32) {
	if g.load(slot) == gen {
		g.at(slot).CompareAndSwap(gen, gen|shutBit)
	}
}

// isShut tells whether slot is in generation gen and shut.
func (g *generations) isShut(slot, gen uint32) bool { return g.load(slot) == gen|shutBit }
