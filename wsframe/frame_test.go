package wsframe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// drawn makes bytes of a drawing in zeros and ones; blanks are for the reader.
func drawn(drawing string) []byte {
	var out []byte
	var n int
	for _, c := range drawing {
		if c != '0' && c != '1' {
			continue
		}
		if n%8 == 0 {
			out = append(out, 0)
		}
		out[n/8] = out[n/8]<<1 | byte(c-'0')
		n++
	}
	if n%8 != 0 {
		panic("half a byte in " + drawing)
	}
	return out
}

// splits calls f with every way to cut b in two.
func splits(b []byte, f func(head, tail []byte)) {
	for i := 0; i <= len(b); i++ {
		f(b[:i:i], b[i:])
	}
}

// codeOf returns the code of a *CloseError, zero for nil.
func codeOf(err error) uint16 {
	var e *CloseError
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

var (
	key = [4]byte{0x37, 0xfa, 0x21, 0x3d}
	eof = strings.Repeat("0", 4*8)
)

func TestParseHeader(t *testing.T) {
	const keyBits = "00110111 11111010 00100001 00111101"
	for _, c := range []struct {
		name string
		//       F RSV op   M length  …
		drawing string
		want    Header
	}{
		{"an empty text", "1 000 0001 0 0000000", Header{Fin: true, Op: Text}},
		{"a masked text", "1 000 0001 1 0000101" + keyBits, Header{Fin: true, Op: Text, Masked: true, Mask: key, Length: 5}},
		{"the longest short length", "1 000 0010 0 1111101", Header{Fin: true, Op: Binary, Length: 125}},
		{"the shortest 16-bit length", "1 000 0010 0 1111110 00000000 01111110", Header{Fin: true, Op: Binary, Length: 126}},
		{"the longest 16-bit length", "1 000 0010 0 1111110 11111111 11111111", Header{Fin: true, Op: Binary, Length: 65535}},
		{"the shortest 64-bit length", "1 000 0010 0 1111111" + eof + "00000000 00000001 00000000 00000000", Header{Fin: true, Op: Binary, Length: 65536}},
		{"a masked 64-bit length", "1 000 0010 1 1111111" + eof + "00000000 00000001 00000000 00000001" + keyBits,
			Header{Fin: true, Op: Binary, Masked: true, Mask: key, Length: 65537}},
		{"the longest length", "1 000 0010 0 1111111 01111111" + strings.Repeat("1", 56), Header{Fin: true, Op: Binary, Length: 1<<63 - 1}},
		{"the first fragment", "0 000 0001 0 0000001", Header{Op: Text, Length: 1}},
		{"a fragment between", "0 000 0000 0 0000001", Header{Op: Continuation, Length: 1}},
		{"the last fragment", "1 000 0000 0 0000001", Header{Fin: true, Op: Continuation, Length: 1}},
		{"a compressed text", "1 100 0001 0 0000001", Header{Fin: true, RSV: RSV1, Op: Text, Length: 1}},
		{"a close", "1 000 1000 0 0000010", Header{Fin: true, Op: Close, Length: 2}},
		{"a ping", "1 000 1001 0 1111101", Header{Fin: true, Op: Ping, Length: 125}},
		{"a pong", "1 000 1010 0 0000000", Header{Fin: true, Op: Pong}},
	} {
		b := drawn(c.drawing)
		splits(b, func(head, tail []byte) {
			h, n, err := ParseHeader(head)
			if len(tail) > 0 && (n != 0 || err != nil) {
				t.Errorf("%s: ParseHeader(% x) = %+v, %d, %v, want 0, nil", c.name, head, h, n, err)
			}
			if len(tail) == 0 && (h != c.want || n != len(b) || err != nil) {
				t.Errorf("%s: ParseHeader(% x) = %+v, %d, %v, want %+v, %d, nil", c.name, head, h, n, err, c.want, len(b))
			}
		})
		if h, n, err := ParseHeader(append(b[:len(b):len(b)], "payload"...)); h != c.want || n != len(b) || err != nil {
			t.Errorf("%s: ParseHeader with payload = %+v, %d, %v, want %+v, %d, nil", c.name, h, n, err, c.want, len(b))
		}
		if got := AppendHeader([]byte("x"), c.want); !bytes.Equal(got[1:], b) || got[0] != 'x' {
			t.Errorf("%s: AppendHeader(%+v) = % x, want % x", c.name, c.want, got[1:], b)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	//                 F RSV op   M length
	for _, c := range []struct{ name, drawing string }{
		{"opcode 3", "1 000 0011 0 0000000"},
		{"opcode 7", "1 000 0111 0 0000000"},
		{"opcode 11", "1 000 1011 0 0000000"},
		{"opcode 15", "1 000 1111 0 0000000"},
		{"RSV2", "1 010 0001 0 0000000"},
		{"RSV3", "1 001 0001 0 0000000"},
		{"all reserved bits", "1 111 0001 0 0000000"},
		{"RSV1 on a control frame", "1 100 1001 0 0000000"},
		{"RSV1 on a continuation", "1 100 0000 0 0000000"},
		{"a fragmented ping", "0 000 1001 0 0000000"},
		{"a fragmented close", "0 000 1000 0 0000000"},
		{"a ping of 126 bytes", "1 000 1001 0 1111110"},
		{"a pong with a 64-bit length", "1 000 1010 0 1111111"},
		{"125 in 16 bits", "1 000 0010 0 1111110 00000000 01111101"},
		{"0 in 16 bits", "1 000 0010 0 1111110 00000000 00000000"},
		{"65535 in 64 bits", "1 000 0010 0 1111111" + eof + "00000000 00000000 11111111 11111111"},
		{"a length of 2^63", "1 000 0010 0 1111111 10000000" + strings.Repeat("0", 56)},
	} {
		b := drawn(c.drawing)
		for _, b := range [][]byte{b, append(b, 1, 2, 3)} {
			if h, n, err := ParseHeader(b); n != 0 || codeOf(err) != CodeProtocolError {
				t.Errorf("%s: ParseHeader(% x) = %+v, %d, %v, want a CloseError with 1002", c.name, b, h, n, err)
			}
		}
	}
}

func TestAppendFrame(t *testing.T) {
	for _, c := range []struct {
		size   int
		header string
	}{
		{0, "8200"}, {1, "8201"}, {125, "827d"}, {126, "827e007e"}, {65535, "827effff"}, {65536, "827f0000000000010000"},
	} {
		payload := bytes.Repeat([]byte{7}, c.size)
		got := AppendFrame(nil, Binary, payload)
		header, _ := hex.DecodeString(c.header)
		if !bytes.Equal(got, append(header, payload...)) {
			t.Errorf("AppendFrame(%d bytes) = % x…, want % x…", c.size, got[:min(len(got), 12)], header)
		}
		if n := ServerHeaderLen(c.size); n != len(header) {
			t.Errorf("ServerHeaderLen(%d) = %d, want %d", c.size, n, len(header))
		}
	}
}

func TestAppendMaskedFrameIsTheExampleOfTheRFC(t *testing.T) {
	payload := []byte("Hello")
	got := AppendMaskedFrame(nil, Text, payload, key)
	if want := "818537fa213d7f9f4d5158"; hex.EncodeToString(got) != want {
		t.Errorf("AppendMaskedFrame(%q) = %x, want %s", payload, got, want) // RFC 6455, 5.7
	}
	if string(payload) != "Hello" {
		t.Errorf("AppendMaskedFrame changed its payload to %q", payload)
	}
}

func TestAppendClose(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   uint16
		reason string
		want   string
	}{
		{"no code", 0, "ignored", "\x88\x00"},
		{"the code for no code", CodeNone, "ignored", "\x88\x00"},
		{"a code alone", CodeTooLarge, "", "\x88\x02\x03\xf1"},
		{"a code and a reason", CodeNormal, "bye", "\x88\x05\x03\xe8bye"},
		{"the longest reason", CodeNormal, strings.Repeat("a", 123), "\x88\x7d\x03\xe8" + strings.Repeat("a", 123)},
		{"a reason that is too long", CodeNormal, strings.Repeat("a", 200), "\x88\x7d\x03\xe8" + strings.Repeat("a", 123)},
		{"a reason cut inside a character", CodeNormal, strings.Repeat("a", 121) + "€", "\x88\x7b\x03\xe8" + strings.Repeat("a", 121)},
	} {
		if got := AppendClose(nil, c.code, c.reason); string(got) != c.want {
			t.Errorf("%s: AppendClose(%d, %q) = % x, want % x", c.name, c.code, c.reason, got, c.want)
		}
	}
}

func TestMaskIsItsDefinitionForEveryLengthAndPosition(t *testing.T) {
	sizes := []int{511, 512, 513, 1000, 1027, 4099}
	for n := range 100 {
		sizes = append(sizes, n)
	}
	for _, size := range sizes {
		for pos := range 9 {
			got, want := make([]byte, size+2), make([]byte, size+2)
			for i := range got {
				got[i] = byte(i * 31)
				want[i] = got[i]
			}
			for i := range size {
				want[1+i] ^= key[(pos+i)%4]
			}
			Mask(got[1:1+size], key, pos)
			if !bytes.Equal(got, want) {
				t.Fatalf("Mask(%d bytes, pos %d) = % x, want % x", size, pos, got, want)
			}
		}
	}
}

func TestCloseErrorText(t *testing.T) {
	e := &CloseError{CodeTooLarge, "message too large"}
	if got, want := e.Error(), "wsframe: message too large"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
