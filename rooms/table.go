package rooms

import "github.com/sioedge/sioedge/loop/slab"

// A table finds a loop's sets by their rooms: open addressing with linear
// probing over the ids of sets, about 6 bytes a room where a map of names takes
// ten times that. The zero value is empty.
type table struct {
	ids  []uint32 // 0: free; the length is a power of two
	used int
}

const minTable = 16

// find returns the set of a room by its key, 0 if there is none.
func (t *table) find(sets *slab.Of[set], h uint32, k key) uint32 {
	if t.used == 0 {
		return 0
	}
	mask := uint32(len(t.ids) - 1)
	for i := h & mask; t.ids[i] != 0; i = (i + 1) & mask {
		if e := sets.At(t.ids[i]).entry; e.hash == h && e.key == k {
			return t.ids[i]
		}
	}
	return 0
}

// findEntry returns the set of exactly this room, not of a later one of its
// name; 0 if there is none.
func (t *table) findEntry(sets *slab.Of[set], e *entry) uint32 {
	if t.used == 0 {
		return 0
	}
	mask := uint32(len(t.ids) - 1)
	for i := e.hash & mask; t.ids[i] != 0; i = (i + 1) & mask {
		if sets.At(t.ids[i]).entry == e {
			return t.ids[i]
		}
	}
	return 0
}

// insert adds a set whose room is not in the table.
func (t *table) insert(sets *slab.Of[set], id uint32) {
	if (t.used+1)*4 > len(t.ids)*3 {
		t.resize(sets, max(minTable, 2*len(t.ids)))
	}
	t.put(sets, id)
	t.used++
}

func (t *table) put(sets *slab.Of[set], id uint32) {
	mask := uint32(len(t.ids) - 1)
	i := sets.At(id).entry.hash & mask
	for t.ids[i] != 0 {
		i = (i + 1) & mask
	}
	t.ids[i] = id
}

// remove takes out a set that is in the table.
func (t *table) remove(sets *slab.Of[set], id uint32) {
	mask := uint32(len(t.ids) - 1)
	i := sets.At(id).entry.hash & mask
	for t.ids[i] != id {
		i = (i + 1) & mask
	}
	t.ids[i] = 0
	t.used--
	// What stood behind may only have been there because this place was taken.
	for j := (i + 1) & mask; t.ids[j] != 0; j = (j + 1) & mask {
		home := sets.At(t.ids[j]).entry.hash & mask
		if (j-home)&mask >= (j-i)&mask {
			t.ids[i], t.ids[j] = t.ids[j], 0
			i = j
		}
	}
	if len(t.ids) > minTable && t.used*8 < len(t.ids) {
		t.resize(sets, len(t.ids)/2)
	}
}

func (t *table) resize(sets *slab.Of[set], n int) {
	old := t.ids
	t.ids = make([]uint32, n)
	for _, id := range old {
		if id != 0 {
			t.put(sets, id)
		}
	}
}
