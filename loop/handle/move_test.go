package handle

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// A table goes elsewhere again and again, with those records that are restored there and
// without the others: what is named is who it was, or nobody, and no handle is given out
// twice.
func TestTablesGoElsewhere(t *testing.T) {
	const limit = 40
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		here := &Table[uint32]{Limit: limit, Age: MaxGen - 8}
		used, given := map[Key]bool{}, map[Key]bool{} // now, and ever
		for range 6 {
			for range 40 {
				if slot, ok := here.Alloc(); ok {
					k := here.Key(slot)
					if given[k] {
						t.Fatalf("seed %d: %v is given out twice", seed, k)
					}
					used[k], given[k] = true, true
				}
				for k := range used {
					switch rnd.IntN(4) {
					case 0:
						here.Free(k.Slot)
						delete(used, k)
					case 1: // it is about to end: nobody restores it
						here.Expire(k.Slot)
						here.Free(k.Slot)
						delete(used, k)
					}
					break
				}
			}
			there := &Table[uint32]{Limit: limit, Age: here.Age}
			if err := there.Import(here.Export(all), MaxSlot); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if there.Len() != 0 || there.Max() != here.Max() {
				t.Fatalf("seed %d: %d of %d slots are in use, want 0 of %d", seed, there.Len(), there.Max(), here.Max())
			}
			for k := range given {
				if !used[k] && there.AllocAt(k.Slot, k.Gen) {
					t.Fatalf("seed %d: %v had ended, and comes back", seed, k)
				}
			}
			for k := range used {
				if rnd.IntN(5) == 0 {
					delete(used, k) // stays where it is
				} else if !there.AllocAt(k.Slot, k.Gen) || there.AllocAt(k.Slot, k.Gen) {
					t.Fatalf("seed %d: %v does not come back, once", seed, k)
				}
			}
			here = there
			if here.Len() != len(used) {
				t.Fatalf("seed %d: Len() = %d, want %d", seed, here.Len(), len(used))
			}
			for k := range given {
				if found := here.Find(k.Slot, k.Gen) != nil; found != used[k] {
					t.Fatalf("seed %d: %v is found: %v, want %v", seed, k, found, used[k])
				}
			}
		}
		for k := range used {
			here.Free(k.Slot)
		}
		for slot, ok := here.Alloc(); ok; slot, ok = here.Alloc() { // to the end of all slots' lives
			k := here.Key(slot)
			if given[k] {
				t.Fatalf("seed %d: %v is given out twice", seed, k)
			}
			given[k] = true
			here.Free(slot)
		}
		if here.Retired() != limit || here.Len() != 0 {
			t.Fatalf("seed %d: %d slots are retired and %d in use, want %d and 0", seed, here.Retired(), here.Len(), limit)
		}
	}
}

// A record in the last generation of its slot comes back as well.
func TestTheLastGenerationComesBack(t *testing.T) {
	table := Table[uint32]{Age: MaxGen - 1, Limit: 1}
	k := alloc(t, &table)
	there := Table[uint32]{Age: MaxGen - 1, Limit: 1}
	if err := there.Import(table.Export(all), MaxSlot); err != nil {
		t.Fatal(err)
	}
	for name, table := range map[string]*Table[uint32]{"imported": &there, "left": &table} {
		if name == "left" {
			table.Leave(k.Slot)
		}
		if slot, ok := table.Alloc(); ok {
			t.Errorf("%s: slot %d is allocated, of whose generations none is left", name, slot)
		}
		if !table.AllocAt(k.Slot, k.Gen) || table.AllocAt(k.Slot, k.Gen) || table.Len() != 1 || table.Retired() != 0 {
			t.Errorf("%s: it does not come back, once", name)
		}
		table.Free(k.Slot)
		if table.AllocAt(k.Slot, k.Gen) || table.Len() != 0 || table.Retired() != 1 {
			t.Errorf("%s: it comes back though it was freed", name)
		}
	}
}

func uses(all ...uint64) (b []byte) {
	for _, u := range all {
		b = binary.AppendUvarint(b, u)
	}
	return b
}

func TestImportOfWhatIsNoTable(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"cut", uses(2, 300)[:2], "slot 2 has no number"},
		{"longer than a number", bytes.Repeat([]byte{0xFF}, 11), "slot 1 has no number"},
		{"more slots than there may be", uses(2, 2, 2, 2), "more than 3"},
		{"a generation that there is not", uses(2, (MaxGen+1)<<1), "slot 2 cannot be in generation 16777216"},
		{"in use and never used", uses(1), "slot 1 cannot be in generation 0"},
	} {
		table := Table[uint32]{Limit: 3}
		if err := table.Import(c.in, MaxSlot); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		if table.Max() != 0 {
			t.Errorf("%s: the table has slots", c.name)
		}
		if err := table.Import(uses(2, 5, MaxGen<<1), MaxSlot); err != nil || table.Max() != 3 || table.Retired() != 1 {
			t.Errorf("%s: what is a table is not imported afterwards: %v", c.name, err)
		}
		if err := table.Import(uses(2), MaxSlot); err == nil {
			t.Error("a table is imported into one that is in use")
		}
	}
	var table Table[uint32]
	if err := table.Import(table.Export(all), MaxSlot); err != nil {
		t.Errorf("an empty table: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add(uses(2, 3, 0, MaxGen<<1, MaxGen<<1|1))
	f.Add(uses(200, 300, 1<<26))
	f.Fuzz(func(t *testing.T, b []byte) {
		table := Table[uint32]{Limit: 1000}
		if table.Import(b, MaxSlot) != nil {
			return
		}
		var again Table[uint32]
		free := table.Export(all) // as nothing was restored, nothing is in use
		if err := again.Import(free, MaxSlot); err != nil || !bytes.Equal(again.Export(all), free) || again.Max() != table.Max() {
			t.Fatalf("%x is imported as %x, and that as %x: %v", b, free, again.Export(all), err)
		}
		for slot := uint32(1); slot <= table.Max(); slot++ {
			if gen := table.Gen(slot); table.Find(slot, gen) != nil || table.AllocAt(slot, gen) && table.Find(slot, gen) == nil {
				t.Fatalf("slot %d is in use before it was restored, or not afterwards", slot)
			}
		}
	})
}

// all has everything that is in use go along.
func all(uint32) bool { return true }
