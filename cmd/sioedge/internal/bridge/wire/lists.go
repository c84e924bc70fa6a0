package wire

import (
	"iter"

	"github.com/tinylib/msgp/msgp"
)

// Texts are an array of texts: a view of a batch. The zero value has none.
type Texts struct {
	n   int
	raw []byte
}

// Len returns how many there are.
func (t Texts) Len() int { return t.n }

// All goes through them, each a view.
func (t Texts) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := t.raw
		for range t.n {
			var text []byte
			text, b, _ = msgp.ReadStringZC(b)
			if !yield(text[:len(text):len(text)]) {
				return
			}
		}
	}
}

// Strings returns copies of them. It is not nil.
func (t Texts) Strings() []string {
	all := make([]string, 0, t.n)
	for text := range t.All() {
		all = append(all, string(text))
	}
	return all
}

// Bins are binary values behind a message's JSON: a view of a batch. The zero value has
// none.
type Bins struct {
	n   int
	raw []byte
}

// Len returns how many there are.
func (t Bins) Len() int { return t.n }

// All goes through them, each a view.
func (t Bins) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := t.raw
		for range t.n {
			var bin []byte
			bin, b, _ = msgp.ReadBytesZC(b)
			if !yield(bin[:len(bin):len(bin)]) {
				return
			}
		}
	}
}

// Views returns them, each a view. It is nil if there are none.
func (t Bins) Views() [][]byte {
	if t.n == 0 {
		return nil
	}
	all := make([][]byte, 0, t.n)
	for bin := range t.All() {
		all = append(all, bin)
	}
	return all
}

// Copies returns copies of them. It is nil if there are none.
func (t Bins) Copies() [][]byte {
	all := t.Views()
	for i, bin := range all {
		all[i] = append([]byte{}, bin...)
	}
	return all
}
