package wsframe

import (
	"fmt"
	"testing"
)

func TestNothingIsAllocated(t *testing.T) {
	frame := AppendMaskedFrame(nil, Binary, make([]byte, 64), key)
	text := AppendMaskedFrame(nil, Text, make([]byte, 64), key)
	mask := [4]byte{} // so that the same bytes can be read again and again
	text = append(text[:2], append(mask[:], make([]byte, 64)...)...)
	payload := make([]byte, 512)
	out := make([]byte, 0, 1024)
	var r Reader
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"ParseHeader", func() { ParseHeader(frame) }},
		{"Reader.Next of binary", func() { r.Next(frame) }},
		{"Reader.Next of text", func() { r.Next(text) }},
		{"AppendFrame", func() { out = AppendFrame(out[:0], Text, payload) }},
		{"AppendMaskedFrame", func() { out = AppendMaskedFrame(out[:0], Text, payload, key) }},
		{"AppendClose", func() { out = AppendClose(out[:0], CodeNormal, "bye") }},
		{"AppendUpgrade", func() { out = AppendUpgrade(out[:0], []byte(sampleKey), nil, nil) }},
	} {
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", c.name, n)
		}
	}
}

func BenchmarkParseAndUnmask(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			frame := AppendMaskedFrame(nil, Binary, make([]byte, size), key)
			for b.Loop() {
				h, n, err := ParseHeader(frame)
				if err != nil {
					b.Fatal(err)
				}
				Mask(frame[n:], h.Mask, 0)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			frame := AppendMaskedFrame(nil, Binary, make([]byte, size), key)
			var r Reader
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Next(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{16, 64, 256, 511, 512, 4096} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			p := make([]byte, size)
			for b.Loop() {
				Mask(p, key, 1)
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := make([]byte, 512)
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		out = AppendFrame(out[:0], Text, payload)
	}
}

func BenchmarkAppendUpgrade(b *testing.B) {
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		out = AppendUpgrade(out[:0], []byte(sampleKey), nil, nil)
	}
}
