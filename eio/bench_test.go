package eio

import (
	"bytes"
	"testing"
)

// payloads are what a poll carries in either direction, as frames.
func payloads() map[string][]byte {
	short := AppendText(nil, []byte(`2["msg","`), bytes.Repeat([]byte("x"), 50), []byte(`"]`))
	return map[string][]byte{
		"packets=1/size=64":   short,
		"packets=16/size=64":  bytes.Repeat(short, 16),
		"packets=1/size=64Ki": AppendText(nil, bytes.Repeat([]byte("x"), 64<<10)),
		"packets=1/binary=4Ki": AppendBinary(AppendText(nil, []byte(`51-["msg",{"_placeholder":true,"num":0}]`)),
			bytes.Repeat([]byte{0xff}, 4<<10)),
	}
}

func BenchmarkAppendPayload(b *testing.B) {
	for name, frames := range payloads() {
		for version, f := range map[string]func(dst, frames []byte) []byte{
			"eio=4": func(dst, frames []byte) []byte { return appendPayload(dst, frames, false) },
			"eio=3": appendPayload3, "eio=3/octets": appendBinaryPayload3,
		} {
			b.Run(version+"/"+name, func(b *testing.B) {
				dst := f(nil, frames)
				b.SetBytes(int64(len(dst)))
				b.ReportAllocs()
				for b.Loop() {
					dst = f(dst[:0], frames)
				}
			})
		}
	}
}

func BenchmarkCutPacket(b *testing.B) {
	for name, frames := range payloads() {
		b.Run("eio=4/"+name, func(b *testing.B) {
			body := appendPayload(nil, frames, false)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				for rest, more := body, true; more; {
					_, rest, more = cutPacket(rest)
				}
			}
		})
		b.Run("eio=3/"+name, func(b *testing.B) {
			body := appendPayload3(nil, frames)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				for rest, ok := body, true; len(rest) > 0; {
					if _, rest, ok = cutPacket3(rest); !ok {
						b.Fatal("cutPacket3 refuses what was appended")
					}
				}
			}
		})
	}
}
