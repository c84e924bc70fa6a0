package wsframe

import (
	"bytes"
	"testing"
)

// TestReaderStateGoesOn: a reader that gets the state of another, wherever that was in
// a message, reads the rest as that would have.
func TestReaderStateGoesOn(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	wire := AppendMaskedFrame(nil, Text, []byte("first"), key)
	frame := AppendMaskedFrame(nil, Text, []byte("hä"), key)
	frame[0] &^= 0x80 // more follows
	wire = append(wire, frame...)
	wire = append(wire, AppendMaskedFrame(nil, Ping, []byte("p"), key)...)
	frame = AppendMaskedFrame(nil, Text, []byte("lf and half"), key)
	frame[0] = frame[0]&^0x0f | byte(Continuation)
	wire = append(wire, frame...)
	want := "first|p|hälf and half|"
	for cut := range len(wire) + 1 {
		got, r := "", &Reader{}
		read := func(b []byte) (rest []byte) {
			for {
				m, n, err := r.Next(b)
				if err != nil {
					t.Fatal(err)
				}
				b = b[n:]
				if m.Op == 0 && n == 0 {
					return b
				}
				if m.Op != 0 {
					got += string(m.Data) + "|"
				}
			}
		}
		rest := read(bytes.Clone(wire[:cut]))
		s := r.State()
		s.Data = bytes.Clone(s.Data)
		r = &Reader{}
		if !r.SetState(s) {
			t.Fatalf("cut at %d: %+v was refused", cut, s)
		}
		read(append(bytes.Clone(rest), wire[cut:]...))
		if got != want || !r.Idle() {
			t.Errorf("cut at %d: %q, want %q", cut, got, want)
		}
	}
}

// TestReaderStateIsChecked: it comes from elsewhere.
func TestReaderStateIsChecked(t *testing.T) {
	for name, s := range map[string]ReaderState{
		"a mask has four bytes":       {Op: Text, MaskAt: 4},
		"less than nothing to come":   {Op: Text, InFrame: true, Left: -1},
		"more checked than there is":  {Op: Text, Checked: 1},
		"too large":                   {Op: Binary, InFrame: true, Left: 101},
		"too large with what came":    {Op: Binary, InFrame: true, Left: 60, Data: make([]byte, 60)},
		"a control frame":             {Op: Ping},
		"data of nothing":             {Data: []byte("x")},
		"a frame of nothing":          {InFrame: true, Left: 1},
		"compressed without asking":   {Op: Text, Compressed: true},
		"in a frame that is complete": {Op: Text, InFrame: true},
	} {
		r := &Reader{MaxMessage: 100}
		if r.SetState(s) || !r.Idle() {
			t.Errorf("%s: SetState(%+v) = true, want false", name, s)
		}
	}
}
