package wsframe

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// fromHex makes bytes of hexadecimal digits; blanks are for the reader.
func fromHex(digits string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// samples are payloads of many kinds and sizes, the same in every run.
func samples() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var events []byte
	for i := 0; len(events) < 200_000; i++ {
		events = fmt.Appendf(events, `42["message",{"id":%d,"user":"user %d","text":"Grüße %d"}]`, i, random.IntN(50), random.Uint32())
	}
	all := map[string][]byte{}
	for _, size := range []int{0, 1, 2, 10, 100, 512, 1024, 4096, 32767, 32768, 32769, 65535, 65536, 200_000} {
		all[fmt.Sprint(size, " zeros")] = make([]byte, size)
		all[fmt.Sprint(size, " bytes of noise")] = noise[:size]
		all[fmt.Sprint(size, " bytes of events")] = events[:size]
	}
	return all
}

// stdDeflate compresses p with the standard library and cuts the trailer off.
func stdDeflate(p []byte, level int) []byte {
	var b bytes.Buffer
	w, err := stdflate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	w.Write(p)
	w.Flush()
	return b.Bytes()[:b.Len()-len(flushed)]
}

// stdInflate is what an Inflater does, with the standard library.
func stdInflate(payload []byte, limit int) ([]byte, uint16) {
	src := bytes.NewReader(append(bytes.Clone(payload), inflateTail...))
	var out []byte
	for {
		b, err := io.ReadAll(io.LimitReader(stdflate.NewReader(src), int64(limit-len(out)+1)))
		out = append(out, b...)
		left := src.Len()
		switch {
		case len(out) > limit:
			return nil, CodeTooLarge
		case err != nil || left > 0 && left < len(inflateTail):
			return nil, CodeInvalidText
		case left == 0 || left == len(inflateTail):
			return out, 0
		}
	}
}

func TestInflate(t *testing.T) {
	const hello = "f2 48 cd c9 c9 07 00"
	final := func(p string) string { // one block with BFINAL, and nothing behind it
		var b bytes.Buffer
		w, _ := stdflate.NewWriter(&b, 9)
		w.Write([]byte(p))
		w.Close()
		return b.String()
	}
	for _, c := range []struct {
		name    string
		payload string
		want    string
		code    uint16
	}{
		// RFC 7692, 7.2.3.1 to 7.2.3.6.
		{"one block", fromHex(hello), "Hello", 0},
		{"a block without compression", fromHex("00 05 00 fa ff 48 65 6c 6c 6f 00"), "Hello", 0},
		{"a block with BFINAL", fromHex("f3 48 cd c9 c9 07 00 00"), "Hello", 0},
		{"two blocks", fromHex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"), "Hello", 0},
		{"an empty message", "\x00", "", 0},
		{"a block that needs the message before", fromHex("f2 00 11 00 00"), "", CodeInvalidText},

		{"an empty block of fixed codes", fromHex("02 00"), "", 0},
		{"many empty blocks", strings.Repeat("\x00"+flushed, 1000) + fromHex(hello), "Hello", 0},
		{"a block with BFINAL and nothing behind it", fromHex("f3 48 cd c9 c9 07 00"), "Hello", 0},
		{"an empty block with BFINAL", fromHex("03 00"), "", 0},
		{"blocks behind one with BFINAL", final("Hello, ") + final("wor") + fromHex(hello), "Hello, worHello", 0},
		{"an illegal block behind one with BFINAL", fromHex("f3 48 cd c9 c9 07 00 ff"), "", CodeInvalidText},
		{"garbage behind the blocks", fromHex("f2 48 cd c9 c9 07 00 01"), "", CodeInvalidText},
		{"the trailer that is not to be sent", fromHex(hello) + flushed, "", CodeInvalidText},
		{"nothing", "", "", CodeInvalidText},
		{"a block that stops in the middle", fromHex("f2 48 cd"), "", CodeInvalidText},
		{"a block without compression that stops in the middle", fromHex("00 05 00 fa ff 48 65"), "", CodeInvalidText},
		{"a reserved kind of block", "\x06", "", CodeInvalidText},
		{"a length that is not its complement", fromHex("00 05 00 fb ff 48 65 6c 6c 6f 00"), "", CodeInvalidText},
		{"text", "4hello", "", CodeInvalidText},
	} {
		var f Inflater
		for _, dst := range []string{"", "before"} {
			got, err := f.Append([]byte(dst), []byte(c.payload), 0)
			if string(got) != dst+c.want || codeOf(err) != c.code {
				t.Errorf("%s: Append(%q, % x) = %q, %v, want %q, code %d", c.name, dst, c.payload, got, err, dst+c.want, c.code)
			}
		}
		if got, err := f.Append(nil, []byte(fromHex(hello)), 0); string(got) != "Hello" || err != nil {
			t.Errorf("%s, and then Hello = %q, %v", c.name, got, err)
		}
		if out, code := stdInflate([]byte(c.payload), DefaultMaxMessage); string(out) != c.want || code != c.code {
			t.Errorf("%s: the standard library makes %q, code %d of % x, want %q, code %d", c.name, out, code, c.payload, c.want, c.code)
		}
	}
}

func TestCompressorMakesWhatOthersInflate(t *testing.T) {
	for _, level := range []int{0, 1, 5, 9, 100, -5} {
		c := Compressor{Level: level}
		var f Inflater
		for name, p := range samples() {
			out, ok := c.Append([]byte("before"), p)
			if !bytes.HasPrefix(out, []byte("before")) {
				t.Fatalf("level %d: Append(before, %s) = %.10q…, want it to begin with before", level, name, out)
			}
			out = out[len("before"):]
			if !ok {
				if len(out) > 0 || len(p) > 100 && !strings.Contains(name, "noise") {
					t.Errorf("level %d: Append(%s) = %d bytes, false", level, name, len(out))
				}
				continue
			}
			if len(out) >= len(p) || bytes.HasSuffix(out, []byte(flushed)) {
				t.Errorf("level %d: Append(%s) = %d bytes, want less than %d, without the trailer", level, name, len(out), len(p))
			}
			if got, code := stdInflate(out, len(p)); !bytes.Equal(got, p) || code != 0 {
				t.Errorf("level %d: the standard library inflates %s to %d bytes, code %d", level, name, len(got), code)
			}
			if got, err := f.Append(nil, out, len(p)); !bytes.Equal(got, p) || err != nil {
				t.Errorf("level %d: inflating %s gives %d bytes, %v", level, name, len(got), err)
			}
		}
	}
}

func TestInflaterTakesWhatOthersCompress(t *testing.T) {
	var f Inflater
	for name, p := range samples() {
		for _, level := range []int{stdflate.HuffmanOnly, stdflate.NoCompression, 1, 6, 9} {
			got, err := f.Append([]byte("before"), stdDeflate(p, level), max(1, len(p)))
			if string(got) != "before"+string(p) || err != nil {
				t.Errorf("level %d: inflating %s gives %d bytes, %v, want %d", level, name, len(got), err, len(p)+6)
			}
		}
	}
}

func TestCompressorKeepsNoContext(t *testing.T) {
	var c Compressor
	p := samples()["4096 bytes of events"]
	first, _ := c.Append(nil, p)
	if second, ok := c.Append(nil, p); !ok || !bytes.Equal(first, second) {
		t.Errorf("the same message is %d bytes the second time and %d the first, want the same bytes", len(second), len(first))
	}
}

func TestInflateStopsAtTheLimit(t *testing.T) {
	const size = 16 << 20
	bomb := stdDeflate(make([]byte, size), 9) // 1:1000
	for _, c := range []struct {
		name  string
		limit int
		code  uint16
	}{
		{"a byte less", size - 1, CodeTooLarge},
		{"exactly", size, 0},
		{"a byte more", size + 1, 0},
		{"the largest limit", math.MaxInt, 0},
		{"the default", 0, CodeTooLarge},
		{"one byte", 1, CodeTooLarge},
	} {
		var f Inflater
		got, err := f.Append([]byte("x"), bomb, c.limit)
		if codeOf(err) != c.code || c.code == 0 && len(got) != 1+size || c.code != 0 && string(got) != "x" {
			t.Errorf("%s: a bomb of %d bytes = %d bytes, %v, want code %d", c.name, size, len(got), err, c.code)
		}
	}

	const limit = 100_000
	var f Inflater
	if _, err := f.Append(nil, bomb, limit); codeOf(err) != CodeTooLarge {
		t.Fatalf("a bomb = %v, want code 1009", err)
	}
	// The window of 32 KiB is inflated at a time, and 258 bytes a symbol.
	if read := len(bomb) - f.src.Len(); read > len(bomb)*(limit+100_000)/size {
		t.Errorf("%d bytes of a bomb of %d were inflated before it was refused at %d", read, len(bomb), limit)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f.Append(nil, bomb, limit)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 2*limit+10_000 {
		t.Errorf("a bomb of %d bytes takes %d before it is refused at %d", size, took, limit)
	}
}

// compressed is the fragments of a compressed message as a client sends them.
func compressed(op Op, fragments ...[]byte) []byte {
	var b []byte
	for i, p := range fragments {
		h := Header{Fin: i == len(fragments)-1, Masked: true, Mask: key, Length: int64(len(p))}
		if i == 0 {
			h.Op, h.RSV = op, RSV1
		}
		b = AppendHeader(b, h)
		start := len(b)
		b = append(b, p...)
		Mask(b[start:], key, 0)
	}
	return b
}

func TestInflaterMessage(t *testing.T) {
	for _, c := range []struct {
		name  string
		op    Op
		data  string
		limit int
		code  uint16
	}{
		{"a text", Text, "4Grüße, Grüße, Grüße", 0, 0},
		{"an empty text", Text, "", 0, 0},
		{"a binary", Binary, "\xff\xfe\xfd", 0, 0},
		{"text that is not UTF-8", Text, "4hello\xff\xfe", 0, CodeInvalidText},
		{"text that ends inside a character", Text, "4hell\xc3", 0, CodeInvalidText},
		{"text of exactly the limit", Text, "hello", 5, 0},
		{"text above the limit", Text, "hello", 4, CodeTooLarge},
	} {
		p := stdDeflate([]byte(c.data), 6)
		for i := range len(p) + 1 {
			r := Reader{Compression: true}
			m, _, err := r.Next(compressed(c.op, p[:i], p[i:]))
			if err != nil || !m.Compressed {
				t.Fatalf("%s in fragments of %d and %d = %s, %v, want it compressed", c.name, i, len(p)-i, describe(m), err)
			}
			var f Inflater
			m, err = f.Message(m, c.limit)
			if codeOf(err) != c.code {
				t.Errorf("%s inflated = %v, want code %d", c.name, err, c.code)
			} else if c.code == 0 && (m.Op != c.op || m.Compressed || string(m.Data) != c.data) {
				t.Errorf("%s inflated = %s, want %q", c.name, describe(m), c.data)
			}
		}
	}
}

func TestInflaterKeepsNoLargeBuffers(t *testing.T) {
	var f Inflater
	noise := samples()["200000 bytes of noise"]
	m, err := f.Message(Message{Op: Binary, Compressed: true, Data: stdDeflate(noise, 6)}, 0)
	if err != nil || !bytes.Equal(m.Data, noise) {
		t.Fatalf("Message = %d bytes, %v, want %d", len(m.Data), err, len(noise))
	}
	if cap(f.in)+cap(f.out) > 0 {
		t.Errorf("it keeps buffers of %d and %d bytes, want none", cap(f.in), cap(f.out))
	}
}

func TestCompressorAppendFrame(t *testing.T) {
	for name, p := range samples() {
		var c Compressor
		b, ok := c.AppendFrame([]byte("before"), Text, p)
		if !bytes.HasPrefix(b, []byte("before")) {
			t.Fatalf("AppendFrame(before, %s) = %.10q…, want it to begin with before", name, b)
		}
		b = b[len("before"):]
		if !ok {
			if _, smaller := c.Append(nil, p); smaller || len(b) > 0 {
				t.Errorf("AppendFrame(%s) = %d bytes, false, want true", name, len(b))
			}
			continue
		}
		if plain := AppendFrame(nil, Text, p); len(b) >= len(plain) {
			t.Errorf("AppendFrame(%s) = %d bytes, want less than %d", name, len(b), len(plain))
		}
		payload, _ := c.Append(nil, p)
		want := append(AppendHeader(nil, Header{Fin: true, RSV: RSV1, Op: Text, Length: int64(len(payload))}), payload...)
		if !bytes.Equal(b, want) {
			t.Errorf("AppendFrame(%s) = %.20x…, %d bytes, want %.20x…, %d bytes", name, b, len(b), want, len(want))
		}
	}
}

func TestDeflateAllocatesNothing(t *testing.T) {
	for _, name := range []string{"1024 bytes of events", "32768 bytes of events", "1024 bytes of noise"} {
		p := samples()[name]
		m := Message{Op: Binary, Compressed: true, Data: stdDeflate(p, 6)}
		var c Compressor
		var f Inflater
		out := make([]byte, 0, 64<<10)
		for _, run := range []struct {
			name string
			f    func()
		}{
			{"Compressor.Append", func() { c.Append(out, p) }},
			{"Compressor.AppendFrame", func() { c.AppendFrame(out, Text, p) }},
			{"Inflater.Append", func() { f.Append(out, m.Data, 0) }},
			{"Inflater.Message", func() { f.Message(m, 0) }},
		} {
			if n := testing.AllocsPerRun(100, run.f); n != 0 {
				t.Errorf("%s of %s allocates %v times, want 0", run.name, name, n)
			}
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, p := range []string{"Hello", "", strings.Repeat("abc", 1000)} {
		for _, level := range []int{-2, 0, 1, 9} {
			f.Add(stdDeflate([]byte(p), level))
		}
	}
	f.Add([]byte(fromHex("f3 48 cd c9 c9 07 00 00")))
	f.Add([]byte(fromHex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		const limit = 10_000
		var i Inflater
		got, err := i.Append([]byte("x"), payload, limit)
		want, code := stdInflate(payload, limit)
		if string(got) != "x"+string(want) || codeOf(err) != code {
			t.Fatalf("Append(x, % x) = %.40x, %v, the standard library makes %.40x, code %d", payload, got, err, want, code)
		}
		again, err := i.Append(nil, payload, limit)
		if !bytes.Equal(again, want) || codeOf(err) != code {
			t.Errorf("Append(% x) the second time = %.40x, %v, want %.40x, code %d", payload, again, err, want, code)
		}
	})
}

func FuzzCompress(f *testing.F) {
	for _, p := range []string{"", "Hello", strings.Repeat("Hello", 20), strings.Repeat("x", 70_000)} {
		f.Add([]byte(p))
	}
	var c Compressor // kept, so that one message follows another
	var i Inflater
	f.Fuzz(func(t *testing.T, p []byte) {
		frame, ok := c.AppendFrame(nil, Binary, p)
		if !ok {
			return
		}
		r := Reader{Compression: true, Client: true}
		m, n, err := r.Next(frame)
		if err != nil || n != len(frame) || !m.Compressed || len(m.Data) >= len(p) {
			t.Fatalf("Next of a compressed frame of % x = %s, %d, %v", p, describe(m), n, err)
		}
		if m, err = i.Message(m, len(p)); err != nil || !bytes.Equal(m.Data, p) {
			t.Errorf("% x compressed and inflated = % x, %v", p, m.Data, err)
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{1024, 4096, 32768} {
		p := samples()[fmt.Sprint(size, " bytes of events")]
		out := make([]byte, 0, 64<<10)
		b.Run(fmt.Sprintf("Compress/payload=%d", size), func(b *testing.B) {
			var c Compressor
			for b.Loop() {
				c.AppendFrame(out, Text, p)
			}
		})
		b.Run(fmt.Sprintf("Inflate/payload=%d", size), func(b *testing.B) {
			m := Message{Op: Binary, Compressed: true, Data: stdDeflate(p, 6)}
			var f Inflater
			for b.Loop() {
				if _, err := f.Message(m, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
