package freight

import (
	"bytes"
	"math"
	"testing"

	"github.com/sioedge/sioedge/loop/class"
)

// What is put into columns is taken out of them in its order, and columns are used again.
func TestColumns(t *testing.T) {
	var names Names
	var messages Messages
	kind := &class.Kind{Policy: class.Conflate, Key: "k", Ordered: true, Owner: 1}
	for range 2 {
		var n Numbers
		for _, x := range []uint64{0, 1, 127, 128, math.MaxUint64} {
			n.Put(x)
		}
		var r Reader
		for _, x := range []uint64{0, 1, 127, 128, math.MaxUint64} {
			if got := r.Take(&n); got != x || r.Failed {
				t.Errorf("taken %d, want %d", got, x)
			}
		}
		if r.Take(&n); !r.Failed {
			t.Error("a number is taken of an empty column")
		}
		r = Reader{}
		for _, name := range []string{"a", "", "b", "a"} {
			n.Put(names.Of(name))
		}
		for _, name := range []string{"a", "", "b", "a"} {
			if got := r.Name(&n, &names); got != name {
				t.Errorf("taken %q, want %q", got, name)
			}
		}
		n.Put(3)
		if r.Name(&n, &names); !r.Failed || len(names.List) != 2 {
			t.Error("the third of two names is taken")
		}
		names.Reset()
		messages.Put(Message{Frames: []byte("abc"), Tail: 2, Plain: true, Kind: kind})
		messages.Put(Message{})
		messages.Put(Message{Frames: []byte("d"), Kind: &class.Kind{Policy: class.Conflate, Key: "k", Ordered: true}})
		came := Messages{Lens: messages.Lens, Tails: messages.Tails, Of: messages.Of, Kinds: messages.Kinds, Frames: messages.Frames}
		m, err := came.Next()
		if err != nil || string(m.Frames) != "abc" || m.Tail != 2 || !m.Plain || m.Kind == nil || m.Kind.Key != "k" || m.Kind.Owner != nil || cap(m.Frames) != 3 {
			t.Errorf("taken %+v, %v", m, err)
		}
		if m, err := came.Next(); err != nil || len(m.Frames) != 0 || m.Kind != nil {
			t.Errorf("taken %+v, %v", m, err)
		}
		if last, err := came.Next(); err != nil || last.Kind != m.Kind || len(came.Kinds) != 1 {
			t.Errorf("one kind is several: %v", err)
		}
		if _, err := came.Next(); err != ErrBroken || came.Left() != 0 {
			t.Errorf("a fourth of three messages: %v", err)
		}
		messages.Reset()
	}
}

// Columns that contradict each other are refused.
func TestColumnsThatAreBroken(t *testing.T) {
	whole := func() Messages {
		return Messages{Lens: Numbers{3}, Tails: Numbers{2}, Of: Numbers{1}, Kinds: []Kind{{Policy: uint8(class.DropNew)}}, Frames: bytes.Repeat([]byte{1}, 3)}
	}
	x := whole()
	if _, err := x.Next(); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(x *Messages){
		"too few frames":        func(x *Messages) { x.Frames = x.Frames[1:] },
		"a tail that is longer": func(x *Messages) { x.Tails = Numbers{8} },
		"no length":             func(x *Messages) { x.Lens = nil },
		"no tail":               func(x *Messages) { x.Tails = nil },
		"half a number":         func(x *Messages) { x.Lens = Numbers{0x80} },
		"a kind too many":       func(x *Messages) { x.Of = Numbers{2} },
		"no such policy":        func(x *Messages) { x.Kinds[0].Policy = 99 },
		"a policy without kind": func(x *Messages) { x.Kinds[0].Policy = uint8(class.CloseSlow) },
	} {
		x := whole()
		if breaks(&x); func() bool { _, err := x.Next(); return err == nil }() {
			t.Errorf("%s is a message", name)
		}
	}
}
