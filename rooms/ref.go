package rooms

import "github.com/sioedge/sioedge/loop/handle"

// A Ref is a handle to a socket, which pins no memory, and when it is stale
// resolves to nothing instead of to someone else. The zero Ref is nobody.
type Ref = handle.Ref

const genMask = handle.MaxGen

// MakeRef returns the handle of a slot of a loop. Of gen, the low 24 bits
// count.
func MakeRef(loop int, slot, gen uint32) Ref { return handle.MakeRef(loop, slot, gen) }
