package relay

import (
	"bytes"
	"testing"
)

// Who takes over a server proves to others that it is this one, and not itself any more.
func TestAnHeirProvesThatItIsTheOther(t *testing.T) {
	o := Options{Secret: "secret", Node: "nod0", Advertise: "http://example.com"}
	a, b := New(o), New(o)
	own := b.proof
	if bytes.Equal(a.proof, b.proof) {
		t.Fatal("two processes have the same proof")
	}
	b.Inherit(a.Token())
	if b.Token() != a.Token() || !bytes.Equal(b.proof, a.proof) || bytes.Equal(b.proof, own) {
		t.Error("what the other is known by does not prove that this is it")
	}
	if token := a.Token(); len(token) == 0 || len(token) > 256 {
		t.Errorf("a token of %d bytes, want some, and no more than a successor takes", len(token))
	}
}
