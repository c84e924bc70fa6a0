package wsframe

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// A fragment is one frame to be sent in a test.
type fragment struct {
	fin     bool
	op      Op
	payload string
}

// wire encodes fragments as a client sends them.
func wire(fragments ...fragment) []byte {
	var b []byte
	for _, f := range fragments {
		b = AppendHeader(b, Header{Fin: f.fin, Op: f.op, Masked: true, Mask: key, Length: int64(len(f.payload))})
		i := len(b)
		b = append(b, f.payload...)
		Mask(b[i:], key, 0)
	}
	return b
}

// describe writes a message on one line.
func describe(m Message) string {
	s := fmt.Sprintf("%d %q", m.Op, m.Data)
	if m.Op == Close {
		s += fmt.Sprint(" ", m.Code)
	}
	if m.Compressed {
		s += " compressed"
	}
	return s
}

// readAll gives the pieces to a copy of r as a connection does, keeping what is
// not consumed, and returns the messages and how it ended.
func readAll(t *testing.T, r Reader, pieces ...[]byte) (messages []string, err error) {
	t.Helper()
	var kept []byte
	for _, p := range pieces {
		kept = append(kept, p...)
		for {
			m, n, err := r.Next(kept)
			if n < 0 || n > len(kept) || m.Op != 0 && (n == 0 || err != nil) {
				t.Fatalf("Next(% x) = %s, %d, %v", kept, describe(m), n, err)
			}
			if err != nil {
				return messages, err
			}
			if m.Op != 0 {
				messages = append(messages, describe(m))
			}
			kept = kept[n:]
			if m.Op == 0 {
				break
			}
		}
		if len(kept) >= 6+125 {
			t.Errorf("Next leaves %d bytes, want less than a control frame", len(kept))
		}
	}
	return messages, nil
}

// readSplit is readAll of b whole, cut in two everywhere and byte by byte, which
// must make no difference. r is not changed.
func readSplit(t *testing.T, r Reader, b []byte) (messages []string, err error) {
	t.Helper()
	messages, err = readAll(t, r, bytes.Clone(b))
	want := fmt.Sprint(messages, codeOf(err))
	check := func(pieces ...[]byte) {
		got, gotErr := readAll(t, r, pieces...)
		if s := fmt.Sprint(got, codeOf(gotErr)); s != want {
			t.Errorf("% x in %d pieces, the first of %d bytes = %s, want %s", b, len(pieces), len(pieces[0]), s, want)
		}
	}
	splits(b, func(head, tail []byte) { check(bytes.Clone(head), bytes.Clone(tail)) })
	if len(b) > 0 {
		var single [][]byte
		for i := range b {
			single = append(single, []byte{b[i]})
		}
		check(single...)
	}
	return messages, err
}

func TestReader(t *testing.T) {
	ping := fragment{true, Ping, "p"}
	const smile = "\U0001f600"
	for _, c := range []struct {
		name   string
		frames []fragment
		want   []string
		code   uint16
	}{
		{"a text", []fragment{{true, Text, "4hello"}}, []string{`1 "4hello"`}, 0},
		{"an empty text and an empty binary", []fragment{{true, Text, ""}, {true, Binary, ""}}, []string{`1 ""`, `2 ""`}, 0},
		{"binary is any bytes", []fragment{{true, Binary, "\xff\x00"}}, []string{`2 "\xff\x00"`}, 0},
		{"three messages in a row", []fragment{{true, Text, "a"}, {true, Binary, "b"}, {true, Text, "c"}}, []string{`1 "a"`, `2 "b"`, `1 "c"`}, 0},
		{"a message in fragments", []fragment{{false, Text, "a"}, {false, Continuation, ""}, {true, Continuation, "b"}, {true, Text, "c"}}, []string{`1 "ab"`, `1 "c"`}, 0},
		{"empty fragments", []fragment{{false, Text, ""}, {false, Continuation, ""}, {true, Continuation, ""}}, []string{`1 ""`}, 0},
		{"control frames between fragments", []fragment{{false, Binary, "a"}, ping, {false, Continuation, "b"}, {true, Pong, ""}, {true, Continuation, "c"}}, []string{`9 "p"`, `10 ""`, `2 "abc"`}, 0},
		{"a close between fragments", []fragment{{false, Text, "a"}, {true, Close, "\x03\xe8"}}, []string{`8 "" 1000`}, 0},
		{"a ping of 125 bytes", []fragment{{true, Ping, strings.Repeat("p", 125)}}, []string{`9 "` + strings.Repeat("p", 125) + `"`}, 0},
		{"a character in two fragments", []fragment{{false, Text, smile[:1]}, ping, {true, Continuation, smile[1:]}}, []string{`9 "p"`, `1 "` + smile + `"`}, 0},
		{"a character in four fragments", []fragment{{false, Text, "x" + smile[:1]}, {false, Continuation, smile[1:2]}, {false, Continuation, smile[2:3]}, {true, Continuation, smile[3:]}}, []string{`1 "x` + smile + `"`}, 0},
		{"a message of exactly the limit", []fragment{{true, Binary, strings.Repeat("b", 300)}}, []string{`2 "` + strings.Repeat("b", 300) + `"`}, 0},
		{"fragments of exactly the limit", []fragment{{false, Binary, strings.Repeat("b", 150)}, {true, Continuation, strings.Repeat("b", 150)}}, []string{`2 "` + strings.Repeat("b", 300) + `"`}, 0},
		{"a message above the limit", []fragment{{true, Text, "a"}, {true, Binary, strings.Repeat("b", 301)}}, []string{`1 "a"`}, CodeTooLarge},
		{"fragments above the limit", []fragment{{false, Binary, strings.Repeat("b", 300)}, {true, Continuation, "b"}}, nil, CodeTooLarge},
		{"an empty fragment at the limit", []fragment{{false, Binary, strings.Repeat("b", 300)}, {true, Continuation, ""}}, []string{`2 "` + strings.Repeat("b", 300) + `"`}, 0},
		{"a continuation of nothing", []fragment{{true, Continuation, "a"}}, nil, CodeProtocolError},
		{"a continuation after the end", []fragment{{false, Text, "a"}, {true, Continuation, "b"}, {true, Continuation, "c"}}, []string{`1 "ab"`}, CodeProtocolError},
		{"a message inside a message", []fragment{{false, Text, "a"}, {true, Text, "b"}}, nil, CodeProtocolError},
		{"a reserved opcode", []fragment{{true, 3, "a"}}, nil, CodeProtocolError},
		{"a ping that is too long", []fragment{{true, Ping, strings.Repeat("p", 126)}}, nil, CodeProtocolError},
		{"a ping in fragments", []fragment{{false, Ping, "p"}}, nil, CodeProtocolError},
		{"text that is not UTF-8", []fragment{{true, Text, "42\xff\xfe"}}, nil, CodeInvalidText},
		{"text that ends inside a character", []fragment{{true, Text, "a" + smile[:3]}}, nil, CodeInvalidText},
		{"fragments that end inside a character", []fragment{{false, Text, "a" + smile[:2]}, {true, Continuation, ""}}, nil, CodeInvalidText},
		{"a character broken by the next fragment", []fragment{{false, Text, smile[:2]}, {true, Continuation, "a"}}, nil, CodeInvalidText},
		{"a surrogate", []fragment{{true, Text, "\xed\xa0\x80"}}, nil, CodeInvalidText},
		{"an overlong character", []fragment{{true, Text, "\xc0\x80"}}, nil, CodeInvalidText},
		{"a character above U+10FFFF", []fragment{{true, Text, "\xf4\x90\x80\x80"}}, nil, CodeInvalidText},
		{"only continuation bytes", []fragment{{true, Text, "\x80\x80\x80\x80\x80"}}, nil, CodeInvalidText},
	} {
		got, err := readSplit(t, Reader{MaxMessage: 300}, wire(c.frames...))
		if fmt.Sprint(got) != fmt.Sprint(c.want) || codeOf(err) != c.code {
			t.Errorf("%s: %v = %v, %v, want %v, code %d", c.name, c.frames, got, err, c.want, c.code)
		}
	}
}

func TestReaderChecksCloseFrames(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload string
		want    string
		code    uint16
	}{
		{"without a code", "", `8 "" 1005`, 0},
		{"with a code", "\x03\xe8", `8 "" 1000`, 0},
		{"with a reason", "\x03\xe8bye ä", `8 "bye ä" 1000`, 0},
		{"with half a code", "\x03", "", CodeProtocolError},
		{"with a reason that is not UTF-8", "\x03\xe8a\xff", "", CodeInvalidText},
		{"with a reason that ends inside a character", "\x03\xe8a\xc3", "", CodeInvalidText},
		{"with the longest reason", "\x03\xe8" + strings.Repeat("a", 123), `8 "` + strings.Repeat("a", 123) + `" 1000`, 0},
	} {
		got, err := readSplit(t, Reader{}, wire(fragment{true, Close, c.payload}))
		if strings.Join(got, " ") != c.want || codeOf(err) != c.code {
			t.Errorf("a close %s = %v, %v, want %v, code %d", c.name, got, err, c.want, c.code)
		}
	}
	// RFC 6455, 7.4.1 and 7.4.2, and what is registered since: 1012 to 1014.
	legal := func(code int) bool {
		return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
	}
	for code := range 1 << 16 {
		var r Reader
		m, _, err := r.Next(wire(fragment{true, Close, string([]byte{byte(code >> 8), byte(code)})}))
		if legal(code) && (err != nil || int(m.Code) != code) || !legal(code) && codeOf(err) != CodeProtocolError {
			t.Errorf("close code %d = %s, %v, want legal %t", code, describe(m), err, legal(code))
		}
	}
}

func TestReaderChecksMasking(t *testing.T) {
	plain := AppendFrame(nil, Text, []byte("a"))
	masked := AppendMaskedFrame(nil, Text, []byte("a"), key)
	for _, c := range []struct {
		name   string
		client bool
		b      []byte
		code   uint16
	}{
		{"a server takes masked frames", false, masked, 0},
		{"a server refuses plain frames", false, plain, CodeProtocolError},
		{"a client takes plain frames", true, plain, 0},
		{"a client refuses masked frames", true, masked, CodeProtocolError},
	} {
		got, err := readSplit(t, Reader{Client: c.client}, c.b)
		if codeOf(err) != c.code || c.code == 0 && strings.Join(got, "") != `1 "a"` {
			t.Errorf("%s: %v, %v, want code %d", c.name, got, err, c.code)
		}
	}
	long := append(AppendHeader(nil, Header{Op: Text, Length: 2}), "ab"...)
	long = append(AppendHeader(long, Header{Fin: true, Op: Continuation, Length: 1}), "c"...)
	if got, err := readSplit(t, Reader{Client: true}, long); err != nil || strings.Join(got, "") != `1 "abc"` {
		t.Errorf("a client reads fragments as %v, %v, want abc", got, err)
	}
}

func TestReaderAllowsRSV1OnlyIfTold(t *testing.T) {
	frame := func(h Header, payload string) []byte {
		h.Masked, h.Mask, h.Length = true, key, int64(len(payload))
		b := AppendHeader(nil, h)
		i := len(b)
		b = append(b, payload...)
		Mask(b[i:], key, 0)
		return b
	}
	whole := frame(Header{Fin: true, RSV: RSV1, Op: Text}, "\xff")
	pieces := append(frame(Header{RSV: RSV1, Op: Text}, "\xff"), frame(Header{Fin: true, Op: Continuation}, "\xfe")...)
	pieces = append(pieces, frame(Header{Fin: true, Op: Text}, "plain")...)
	for _, b := range [][]byte{whole, pieces} {
		if _, err := readSplit(t, Reader{}, b); codeOf(err) != CodeProtocolError {
			t.Errorf("% x without compression = %v, want code 1002", b, err)
		}
	}
	if got, err := readSplit(t, Reader{Compression: true}, whole); err != nil || fmt.Sprint(got) != `[1 "\xff" compressed]` {
		t.Errorf("% x = %v, %v, want it compressed", whole, got, err)
	}
	if got, err := readSplit(t, Reader{Compression: true}, pieces); err != nil || fmt.Sprint(got) != `[1 "\xff\xfe" compressed 1 "plain"]` {
		t.Errorf("% x = %v, %v, want the first compressed and the second not", pieces, got, err)
	}
	second := append(frame(Header{Op: Text}, "a"), frame(Header{Fin: true, RSV: RSV1, Op: Continuation}, "b")...)
	if _, err := readSplit(t, Reader{Compression: true}, second); codeOf(err) != CodeProtocolError {
		t.Errorf("RSV1 on the second frame = %v, want code 1002", err)
	}
}

func TestReaderFailsAtTheFirstImpossibleByte(t *testing.T) {
	for _, c := range []struct {
		name string
		text string // the last byte of which makes it impossible
	}{
		{"a byte that is never used", "abc\xff"},
		{"a continuation byte alone", "a\x80"},
		{"an overlong start", "a\xe0\x80"},
		{"a surrogate", "a\xed\xa0"},
		{"above U+10FFFF", "a\xf4\x90"},
		{"a character not continued", "\xf0\x9f\x98a"},
	} {
		// The frame says that much more will come; it does not.
		b := AppendHeader(nil, Header{Fin: true, Op: Text, Masked: true, Mask: key, Length: 1000})
		i := len(b)
		b = append(b, c.text...)
		Mask(b[i:], key, 0)
		var r Reader
		_, n, err := r.Next(bytes.Clone(b[:len(b)-1]))
		if n != len(b)-1 || err != nil {
			t.Errorf("%s: Next up to the byte before = %d, %v, want %d, nil", c.name, n, err, len(b)-1)
		}
		if _, _, err = r.Next(bytes.Clone(b[len(b)-1:])); codeOf(err) != CodeInvalidText {
			t.Errorf("%s: Next of the byte = %v, want code 1007", c.name, err)
		}
	}
}

func TestReaderFailsAtTheHeaderOfWhatIsTooLarge(t *testing.T) {
	b := AppendHeader(nil, Header{Fin: true, Op: Binary, Masked: true, Length: 1<<63 - 1})
	var r Reader
	if _, n, err := r.Next(b); n != 0 || codeOf(err) != CodeTooLarge {
		t.Errorf("Next(a header of 2^63-1 bytes) = %d, %v, want 0 and code 1009", n, err)
	}
	b = AppendHeader(nil, Header{Fin: true, Op: Binary, Masked: true, Length: DefaultMaxMessage})
	if _, n, err := r.Next(b); n != len(b) || err != nil {
		t.Errorf("Next(a header of the default limit) = %d, %v, want %d, nil", n, err, len(b))
	}
}

func TestReaderTakesSixtyFiveThousandFragments(t *testing.T) {
	piece := strings.Repeat("x", 64)
	b := wire(fragment{false, Text, piece})
	for range DefaultMaxFragments - 2 {
		b = append(b, wire(fragment{false, Continuation, piece})...)
	}
	b = append(b, wire(fragment{true, Continuation, piece})...)
	for _, size := range []int{len(b), 64 << 10, 1000} {
		r := Reader{MaxMessage: 4 << 20}
		var kept []byte
		var m Message
		for rest := bytes.Clone(b); len(rest) > 0; {
			k := min(size, len(rest))
			kept = append(kept, rest[:k]...)
			rest = rest[k:]
			var n int
			var err error
			if m, n, err = r.Next(kept); err != nil {
				t.Fatalf("Next = %v, want nil", err)
			}
			kept = kept[n:]
		}
		if len(m.Data) != 4<<20 || m.Op != Text || !r.Idle() {
			t.Errorf("65,536 fragments in pieces of %d = %d bytes of %d, want 4 MiB of text", size, len(m.Data), m.Op)
		}
	}
}

func TestReaderBoundsFragments(t *testing.T) {
	frames := []fragment{{false, Text, "a"}, {false, Continuation, ""}, {true, Continuation, "b"}}
	if got, err := readSplit(t, Reader{MaxFragments: 3}, wire(frames...)); err != nil || len(got) != 1 {
		t.Errorf("3 fragments of 3 = %v, %v, want one message", got, err)
	}
	if _, err := readSplit(t, Reader{MaxFragments: 2}, wire(frames...)); codeOf(err) != CodePolicy {
		t.Errorf("3 fragments of 2 = %v, want code 1008", err)
	}
	twice := append(wire(frames...), wire(frames...)...)
	if got, err := readSplit(t, Reader{MaxFragments: 3}, twice); err != nil || len(got) != 2 {
		t.Errorf("two messages of 3 fragments = %v, %v, want both", got, err)
	}
}

func TestReaderHoldsNothingWhileIdle(t *testing.T) {
	var r Reader
	b := wire(fragment{false, Text, "abc"}, fragment{true, Continuation, "def"})
	for i, want := range []struct {
		upTo int
		idle bool
	}{{5, true}, {6, false}, {9, false}, {12, false}, {len(b), true}} {
		r = Reader{}
		r.Next(bytes.Clone(b[:want.upTo]))
		if r.Idle() != want.idle || want.idle && !reflect.DeepEqual(r, Reader{mask: r.mask, fin: r.fin, pos: r.pos}) {
			t.Errorf("%d: after %d bytes Idle() = %t with %+v, want %t", i, want.upTo, r.Idle(), r, want.idle)
		}
	}
}

func TestReaderAllocatesWhatArrivedNotWhatIsClaimed(t *testing.T) {
	b := AppendHeader(nil, Header{Fin: true, Op: Binary, Masked: true, Length: 1 << 30})
	r := Reader{MaxMessage: 1 << 30}
	r.Next(append(b, make([]byte, 1000)...))
	if len(r.buf) != 1000 || cap(r.buf) > 2000 {
		t.Errorf("after 1000 bytes of 1 GiB the buffer has %d of %d bytes, want 1000 of at most 2000", len(r.buf), cap(r.buf))
	}
	r = Reader{}
	r.Next(append(AppendHeader(nil, Header{Fin: true, Op: Binary, Masked: true, Length: 1500}), make([]byte, 1000)...))
	if cap(r.buf) != 1500 {
		t.Errorf("after 1000 bytes of 1500 the buffer has %d bytes, want 1500", cap(r.buf))
	}
}

func TestReaderReturnsViews(t *testing.T) {
	b := wire(fragment{true, Text, "abc"}, fragment{true, Text, "def"})
	var r Reader
	m, n, err := r.Next(b)
	if err != nil || string(m.Data) != "abc" || &m.Data[0] != &b[n-3] {
		t.Errorf("Next = %s, %v, want a view of abc", describe(m), err)
	}
	_ = append(m.Data, "overwritten"...)
	if m, _, err := r.Next(b[n:]); err != nil || string(m.Data) != "def" {
		t.Errorf("Next = %s, %v, want def", describe(m), err)
	}
}
