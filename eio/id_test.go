package eio

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"testing"
)

func newIDs(t *testing.T, purpose string) *IDs {
	t.Helper()
	x, err := NewIDs("Node", purpose)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestIDsRoundTrip(t *testing.T) {
	x := newIDs(t, "test")
	shape := regexp.MustCompile(`^[A-Za-z0-9_-]{20}$`)
	rnd := rand.New(rand.NewPCG(1, 2))
	const bits = 0xffffffff00ffffff // of a reference
	refs := []uint64{0, 1, 1<<24 - 1, 1 << 32, 1 << 63, bits}
	for range 1000 {
		refs = append(refs, rnd.Uint64()&bits, uint64(rnd.IntN(100)))
	}
	seen := map[string]uint64{}
	for _, ref := range refs {
		id := x.Append([]byte("x"), ref)
		if id[0] != 'x' || !shape.Match(id[1:]) || NodeOf(id[1:]) != "Node" {
			t.Errorf("Append(x, %x) = %q, want x and %d characters of the alphabet", ref, id, IDLen)
		}
		if got, ok := x.Parse(id[1:]); !ok || got != ref {
			t.Errorf("Parse(Append(%x)) = %x, %t", ref, got, ok)
		}
		if other, ok := seen[string(id)]; ok && other != ref {
			t.Errorf("%x and %x have the same id %q", ref, other, id)
		}
		seen[string(id)] = ref
	}
}

// TestIDsTellNothing counts the bits in which the ids of neighbours differ: it
// is half of them, so that no id can be guessed from another.
func TestIDsTellNothing(t *testing.T) {
	x := newIDs(t, "test")
	differ := 0
	const n, hidden = 500, IDLen - NodeLen
	for ref := range uint64(n) {
		a, b := x.Append(nil, ref), x.Append(nil, ref+1)
		for i := range a {
			if a[i] != b[i] {
				differ++
			}
		}
	}
	if share := float64(differ) / (n * hidden); share < 0.97 {
		t.Errorf("neighbours differ in %.2f of their characters, want about 63/64", share)
	}
}

func TestIDsRefusesOthers(t *testing.T) {
	x, y := newIDs(t, "one"), newIDs(t, "one")
	id := x.Append(nil, 42)
	if ref, ok := y.Parse(id); ok {
		t.Errorf("Parse(id of another codec) = %x, true, want false", ref)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range id { // every other character in every place
		for _, c := range []byte(alphabet) {
			forged := bytes.Clone(id)
			if forged[i] = c; c == id[i] {
				continue
			}
			if ref, ok := x.Parse(forged); ok {
				t.Errorf("Parse(%q) = %x, true, want false: it is %q forged", forged, ref, id)
			}
		}
	}
	for _, bad := range []string{"", "constructor", "__proto__", "AAAAAAAAAAAAAAAAAAAA", string(id[:19]), string(id) + "A",
		string(id[:19]) + "=", string(id[:19]) + "\n", string(id[:18]) + "\r\n", string(id[:19]) + "\x00", string(id[:19]) + "/"} {
		if ref, ok := x.Parse([]byte(bad)); ok {
			t.Errorf("Parse(%q) = %x, true, want false", bad, ref)
		}
	}
}

func TestIDsAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the pool loses buffers on purpose under the race detector")
	}
	x := newIDs(t, "test")
	dst := make([]byte, 0, IDLen)
	if n := testing.AllocsPerRun(100, func() { dst = x.Append(dst[:0], 7) }); n != 0 {
		t.Errorf("Append allocates %v times, want none", n)
	}
	if n := testing.AllocsPerRun(100, func() { x.Parse(dst) }); n != 0 {
		t.Errorf("Parse allocates %v times, want none", n)
	}
}

func FuzzParseID(f *testing.F) {
	x, err := NewIDs("Node", "test")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAA"), uint64(1))
	f.Fuzz(func(t *testing.T, id []byte, ref uint64) {
		ref &= 0xffffffff00ffffff
		if got, ok := x.Parse(id); ok {
			t.Errorf("Parse(%q) = %x, true, want false", id, got)
		}
		if got, ok := x.Parse(x.Append(nil, ref)); !ok || got != ref {
			t.Errorf("Parse(Append(%x)) = %x, %t", ref, got, ok)
		}
	})
}

func TestNodes(t *testing.T) {
	for range 100 {
		if n := NewNode(); !n.Valid() {
			t.Errorf("NewNode() = %q, want one that is valid", n)
		}
	}
	for _, bad := range []Node{"", "abc", "abcde", "ab d", "ab*d", "ab=="} {
		if _, err := NewIDs(bad, "test"); err == nil {
			t.Errorf("NewIDs(%q) has no error, want one", bad)
		}
	}
	for id, want := range map[string]Node{
		"ABCDEFGHIJKLMNOPQRST": "ABCD", "ABCDEFGHIJKLMNOPQRS": "", "ABCDEFGHIJKLMNOPQR\nT": "", "ABCDEFGHIJKLMNOPQRS ": "", "": "",
	} {
		if got := NodeOf([]byte(id)); got != want {
			t.Errorf("NodeOf(%q) = %q, want %q", id, got, want)
		}
	}
}

// Codecs of one key are of different purposes, however these are called.
func TestIDsOfAnotherPurpose(t *testing.T) {
	a := newIDs(t, "purpose one")
	b, err := NewIDsWithKey("Node", "purpose two", a.Key())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewIDsWithKey("Node", "purpose one", a.Key())
	if err != nil {
		t.Fatal(err)
	}
	id := a.Append(nil, 7)
	if _, ok := b.Parse(id); ok {
		t.Errorf("%s is an id of another purpose too", id)
	}
	if ref, ok := c.Parse(id); !ok || ref != 7 {
		t.Errorf("%s is %d, %t to a codec of its purpose, want 7", id, ref, ok)
	}
}
