package handle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Export returns how often each slot has been used, and which are in use and go along, as
// goes says: for Import of a table elsewhere, so that no handle of this one is somebody
// else's there. It takes a byte or two for each slot.
func (t *Table[T]) Export(goes func(slot uint32) bool) []byte {
	b := make([]byte, 0, 2*t.next)
	for slot := uint32(1); slot <= t.next; slot++ {
		w := t.at(slot).word.Load()
		use := uint64(w&MaxGen) << 1
		if w&live != 0 && goes(slot) {
			use |= 1
		}
		b = binary.AppendUvarint(b, use)
	}
	return b
}

// Import gives a table on which nothing was allocated yet the slots of Export, all free:
// Alloc returns none of them in a generation that it had there, and AllocAt only those that
// have come along, as they were. The error is of bytes that are not Export's, or of more
// slots than most or Limit; nothing has changed then.
func (t *Table[T]) Import(b []byte, most int64) error {
	if t.next != 0 {
		return errors.New("handle: slots of this table have been used")
	}
	most = min(most, int64(t.limit()))
	for rest, slot := b, uint32(1); len(rest) > 0; slot++ {
		use, n := binary.Uvarint(rest)
		gen := use >> 1
		switch {
		case n <= 0:
			return fmt.Errorf("handle: slot %d has no number", slot)
		case int64(slot) > most:
			return fmt.Errorf("handle: there are more than %d slots", most)
		case gen < uint64(t.Age), gen > MaxGen, use&1 != 0 && gen == uint64(t.Age):
			return fmt.Errorf("handle: slot %d cannot be in generation %d", slot, gen)
		}
		rest = rest[n:]
	}
	for len(b) > 0 {
		use, n := binary.Uvarint(b)
		b = b[n:]
		t.bring(t.grow(), uint32(use>>1), use&1 != 0)
	}
	return nil
}

// bring has a new slot be free as if it had been used before, up to generation gen, and had
// gone by Leave if it was in use.
func (t *Table[T]) bring(slot, gen uint32, used bool) {
	w := &t.at(slot).word
	w.Store(gen)
	if gen == MaxGen {
		t.retired++
	} else {
		t.vacate(slot)
	}
	if used {
		w.Store(w.Load() | left)
	}
}
