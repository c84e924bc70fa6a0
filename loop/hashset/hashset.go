// Package hashset finds many records by pointers to them, by what they are: about 14
// bytes a record where a map of what they are takes 60 and more.
package hashset

// A Hashed is a pointer to a record with a hash, which stays the same while it is in a
// Set. Hashes of what others choose must be keyed, so that nobody can have them collide.
type Hashed interface {
	comparable
	Hash() uint32
}

// A Set is open addressing with linear probing: it is at most three quarters full, and
// gives memory back when an eighth is. The zero value is empty and ready for use. It
// is not safe for use by several goroutines at once.
type Set[P Hashed] struct {
	at  []P // nil: free; the length is a power of two
	len int
}

const fewest = 4 // places

// Len returns how many records there are.
func (t *Set[P]) Len() int { return t.len }

// Find returns the record with a hash that f is true for, nil if there is none.
func (t *Set[P]) Find(hash uint32, f func(P) bool) (p P) {
	if t.len == 0 {
		return p
	}
	var free P
	mask := uint32(len(t.at) - 1)
	for i := hash & mask; t.at[i] != free; i = (i + 1) & mask {
		if f(t.at[i]) {
			return t.at[i]
		}
	}
	return free
}

// Add adds a record that is not there.
func (t *Set[P]) Add(p P) {
	if (t.len+1)*4 > len(t.at)*3 {
		t.resize(max(fewest, 2*len(t.at)))
	}
	t.put(p)
	t.len++
}

func (t *Set[P]) put(p P) {
	var free P
	mask := uint32(len(t.at) - 1)
	i := p.Hash() & mask
	for t.at[i] != free {
		i = (i + 1) & mask
	}
	t.at[i] = p
}

// Remove takes out a record that is there.
func (t *Set[P]) Remove(p P) {
	var free P
	mask := uint32(len(t.at) - 1)
	i := p.Hash() & mask
	for t.at[i] != p {
		i = (i + 1) & mask
	}
	t.at[i] = free
	t.len--
	// What stood behind may only have been there because this place was taken.
	for j := (i + 1) & mask; t.at[j] != free; j = (j + 1) & mask {
		if home := t.at[j].Hash() & mask; (j-home)&mask >= (j-i)&mask {
			t.at[i], t.at[j] = t.at[j], free
			i = j
		}
	}
	if len(t.at) > fewest && t.len*8 < len(t.at) {
		t.resize(len(t.at) / 2)
	}
}

func (t *Set[P]) resize(n int) {
	old := t.at
	t.at = make([]P, n)
	var free P
	for _, p := range old {
		if p != free {
			t.put(p)
		}
	}
}

// Each calls f for the records, from the place of a hash on, until it is false. F must
// not change the Set.
func (t *Set[P]) Each(from uint32, f func(P) bool) {
	var free P
	for i := range t.at {
		if p := t.at[(from+uint32(i))&uint32(len(t.at)-1)]; p != free && !f(p) {
			return
		}
	}
}
