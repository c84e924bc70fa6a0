// Package freight packs what a server keeps for its successor in columns: many numbers,
// names and messages at a time, each column in one piece.
//
// What is unpacked has come from another process: whoever reads finds out by Failed, or
// by an error, that a column does not have what it should.
package freight

import (
	"encoding/binary"
	"errors"

	"github.com/sioedge/sioedge/loop/class"
)

// Numbers are unsigned numbers one behind the other, as uvarints.
type Numbers []byte

// Put appends a number.
func (n *Numbers) Put(x uint64) { *n = binary.AppendUvarint(*n, x) }

// A Reader takes numbers from columns, and knows whether one of them has ended too early.
type Reader struct{ Failed bool }

// Take takes the first number of a column; 0 if there is none.
func (r *Reader) Take(n *Numbers) uint64 {
	if len(*n) > 0 && (*n)[0] < 0x80 {
		x := (*n)[0]
		*n = (*n)[1:]
		return uint64(x)
	}
	x, size := binary.Uvarint(*n)
	if size <= 0 {
		r.Failed = true
		return 0
	}
	*n = (*n)[size:]
	return x
}

// Names are what numbers stand for: from 1 on, 0 is "".
type Names struct {
	List  []string `cbor:"1,keyasint,omitempty"`
	known map[string]uint64
}

// Of returns the number of a name, which is added if it is new.
func (n *Names) Of(name string) uint64 {
	if name == "" {
		return 0
	}
	x, ok := n.known[name]
	if !ok {
		if n.known == nil {
			n.known = map[string]uint64{}
		}
		n.List = append(n.List, name)
		x = uint64(len(n.List))
		n.known[name] = x
	}
	return x
}

// Reset empties n for its next use.
func (n *Names) Reset() {
	clear(n.List)
	n.List = n.List[:0]
	clear(n.known)
}

// Name takes a name by its number from a column.
func (r *Reader) Name(n *Numbers, names *Names) string {
	switch x := r.Take(n); {
	case x == 0:
		return ""
	case x > uint64(len(names.List)):
		r.Failed = true
		return ""
	default:
		return names.List[x-1]
	}
}

// A Message is an event as it is sent.
type Message struct {
	Frames []byte
	Tail   int         // bytes of the text before its last that are an offset
	Plain  bool        // it is never compressed
	Kind   *class.Kind // nil: it is never dropped; its Owner does not travel
}

// A Kind is a class.Kind without its owner.
type Kind struct {
	Policy  uint8  `cbor:"1,keyasint"`
	Key     string `cbor:"2,keyasint"`
	Ordered bool   `cbor:"3,keyasint,omitempty"`
}

// Messages are several of them.
type Messages struct {
	Lens   Numbers `cbor:"1,keyasint,omitempty"`
	Tails  Numbers `cbor:"2,keyasint,omitempty"` // twice that, and 1 more if it is plain
	Of     Numbers `cbor:"3,keyasint,omitempty"` // the Kind, from 1; 0: none
	Kinds  []Kind  `cbor:"4,keyasint,omitempty"`
	Frames []byte  `cbor:"5,keyasint,omitempty"`

	known map[Kind]uint64
	kinds []*class.Kind // by number, of what is read
}

// Put appends a message.
func (x *Messages) Put(m Message) {
	x.Lens.Put(uint64(len(m.Frames)))
	tail := uint64(m.Tail) * 2
	if m.Plain {
		tail++
	}
	x.Tails.Put(tail)
	x.Of.Put(x.kind(m.Kind))
	x.Frames = append(x.Frames, m.Frames...)
}

func (x *Messages) kind(k *class.Kind) uint64 {
	if k == nil {
		return 0
	}
	y := Kind{uint8(k.Policy), k.Key, k.Ordered}
	n, ok := x.known[y]
	if !ok {
		if x.known == nil {
			x.known = map[Kind]uint64{}
		}
		x.Kinds = append(x.Kinds, y)
		n = uint64(len(x.Kinds))
		x.known[y] = n
	}
	return n
}

// Reset empties x for its next use.
func (x *Messages) Reset() {
	clear(x.Kinds)
	clear(x.known)
	x.Lens, x.Tails, x.Of, x.Kinds, x.Frames = x.Lens[:0], x.Tails[:0], x.Of[:0], x.Kinds[:0], x.Frames[:0]
}

// ErrBroken is returned for what nobody has packed.
var ErrBroken = errors.New("freight: columns that do not belong together")

// Next takes the first message; its frames are a view of one piece for all. The error is
// ErrBroken.
func (x *Messages) Next() (m Message, err error) {
	if x.kinds == nil {
		x.kinds = make([]*class.Kind, len(x.Kinds)+1)
		for i, k := range x.Kinds {
			x.kinds[i+1] = &class.Kind{Policy: class.Policy(k.Policy), Key: k.Key, Ordered: k.Ordered}
		}
	}
	var r Reader
	size, tail, kind := r.Take(&x.Lens), r.Take(&x.Tails), r.Take(&x.Of)
	if r.Failed || size > uint64(len(x.Frames)) || tail/2 > size || kind >= uint64(len(x.kinds)) {
		return m, ErrBroken
	}
	m = Message{Frames: x.Frames[:size:size], Tail: int(tail / 2), Plain: tail%2 == 1, Kind: x.kinds[kind]}
	if m.Kind != nil && (!m.Kind.Policy.Valid() || m.Kind.Policy == class.CloseSlow) {
		return m, ErrBroken
	}
	x.Frames = x.Frames[size:]
	return m, nil
}

// Left returns how much of the columns has not been taken.
func (x *Messages) Left() int { return len(x.Lens) + len(x.Tails) + len(x.Of) + len(x.Frames) }
