package framing

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// What is made here is whole; what is cut, or something else, is not.
func TestWholeFrames(t *testing.T) {
	for _, size := range []int{1, 200, 70_000} {
		for _, attachments := range [][][]byte{nil, {{1}, bytes.Repeat([]byte{2}, size)}} {
			e := rooms.Event{Data: []byte(`["` + strings.Repeat("e", size) + `",1]`), Attachments: attachments}
			logged, _ := Logged("/x", e)
			for _, test := range []struct {
				frames []byte
				tail   int
			}{{Of("/", e, 0, false), 0}, {Of("/x", e, 7, true), 0}, {logged, OffsetTail}} {
				if !IsWhole(test.frames, test.tail) {
					t.Errorf("%d bytes with %d attachments and a tail of %d are not whole", size, len(attachments), test.tail)
				}
				for _, tail := range []int{-1, 1, len(test.frames), test.tail + 5} {
					if IsWhole(test.frames, tail) {
						t.Errorf("%d bytes with a tail of %d have one of %d", size, test.tail, tail)
					}
				}
				for n := 0; n < len(test.frames); n += 1 + size/50 {
					// Without its attachments it is a text.
					if text := eio.TextLen(len(test.frames)); n < text && IsWhole(test.frames[:n], test.tail) && len(attachments) == 0 {
						t.Errorf("%d of %d bytes are whole", n, len(test.frames))
					}
				}
			}
		}
	}
	for name, frames := range map[string][]byte{
		"nothing":             nil,
		"a binary message":    eio.AppendBinary(nil, []byte("42[]")),
		"two texts":           eio.AppendText(eio.AppendText(nil, []byte(`2["e"]`)), []byte(`2["e"]`)),
		"a ping":              {0x89, 0},
		"a masked text":       {0x81, 0x81, 0, 0, 0, 0, 0},
		"an acknowledgement":  eio.AppendText(nil, []byte("31[1,2]")),
		"no list":             eio.AppendText(nil, []byte(`2{"a":1}`)),
		"a long form":         append([]byte{0x81, 126, 0, 8}, `42["e"] `...),
		"a length of minus 1": append([]byte{0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255}, `42["e"]`...),
	} {
		if IsWhole(frames, 0) {
			t.Errorf("%s is an event", name)
		}
	}
}

func FuzzIsWhole(f *testing.F) {
	logged, _ := Logged("/x", rooms.Event{Data: []byte(`["e",1]`), Attachments: [][]byte{{1}}})
	f.Add(logged, OffsetTail)
	f.Fuzz(func(t *testing.T, frames []byte, tail int) {
		if IsWhole(frames, tail) { // whatever is done with those that are must not panic
			WithTail(frames, tail, "")
			Pack(frames)
			Type(frames)
			eio.PrepareFrames(frames)
		}
	})
}
