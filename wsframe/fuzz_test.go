package wsframe

import (
	"bytes"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func FuzzParseHeader(f *testing.F) {
	for _, h := range []Header{
		{Fin: true, Op: Text, Length: 5}, {Op: Binary, Masked: true, Mask: key, Length: 126}, {Fin: true, Length: 65536},
		{Fin: true, Op: Close, Length: 2}, {RSV: RSV1, Op: Text, Length: 65535}, {Fin: true, Op: 3}, {Op: Ping}, {Fin: true, Op: Pong, Length: 126},
	} {
		f.Add(AppendHeader(nil, h))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		if n < 0 || n > len(b) || n > MaxHeader || n > 0 && err != nil || err != nil && codeOf(err) != CodeProtocolError {
			t.Fatalf("ParseHeader(% x) = %+v, %d, %v", b, h, n, err)
		}
		// An error may be seen before the header is complete, but nothing else.
		for i := range n {
			if _, k, err := ParseHeader(b[:i]); k != 0 || err != nil {
				t.Errorf("ParseHeader(% x) = %d, %v, want 0, nil", b[:i], k, err)
			}
		}
		if n > 0 {
			if again := AppendHeader(nil, h); !bytes.Equal(again, b[:n]) {
				t.Errorf("AppendHeader(%+v) = % x, want % x", h, again, b[:n])
			}
		}
		theirs, theirErr := ws.ReadHeader(bytes.NewReader(b))
		if theirErr != nil {
			return // too short for them too, or 2^63
		}
		legal := ws.CheckHeader(theirs, 0) == nil || theirs.OpCode == ws.OpContinuation && ws.CheckHeader(theirs, ws.StateFragmented) == nil
		if n > 0 {
			same := Header{theirs.Fin, theirs.Rsv, Op(theirs.OpCode), theirs.Masked, theirs.Mask, theirs.Length}
			rsv1 := h.RSV == RSV1 && (h.Op == Text || h.Op == Binary) // theirs asks for an extension first
			if same != h || !legal && !rsv1 {
				t.Errorf("ParseHeader(% x) = %+v, theirs is %+v, legal %t", b, h, theirs, legal)
			}
			return
		}
		minimal := theirs.Length >= 1<<16 || b[1]&0x7f < 126 || b[1]&0x7f == 126 && theirs.Length >= 126
		if legal && minimal {
			t.Errorf("ParseHeader(% x) = %v, theirs is legal: %+v", b, err, theirs)
		}
	})
}

// reference reads messages in the simplest way: all bytes there, gobwas/ws for
// the headers, no views. It is what FuzzReader compares with.
func reference(b []byte, limit int64, most int) (messages []string, code uint16) {
	var op Op
	var buf []byte
	frames := 0
	for {
		h, n, err := ParseHeader(b)
		if err != nil {
			return messages, codeOf(err)
		}
		if n == 0 {
			break
		}
		state := ws.StateServerSide
		if op != 0 {
			state = state.Set(ws.StateFragmented)
		}
		if ws.CheckHeader(ws.Header{Fin: h.Fin, Rsv: h.RSV, OpCode: ws.OpCode(h.Op), Masked: h.Masked, Mask: h.Mask, Length: h.Length}, state) != nil {
			return messages, CodeProtocolError
		}
		if !h.Op.Control() {
			if h.Length > limit-int64(len(buf)) {
				return messages, CodeTooLarge
			}
			if frames++; frames > most {
				return messages, CodePolicy
			}
		}
		b = b[n:]
		payload := bytes.Clone(b[:min(h.Length, int64(len(b)))])
		for i := range payload {
			payload[i] ^= h.Mask[i%4]
		}
		if int64(len(payload)) < h.Length {
			if op == Text || h.Op == Text { // incomplete, but perhaps already impossible
				if _, ok := validPrefix(append(buf, payload...)); !ok && !h.Op.Control() {
					return messages, CodeInvalidText
				}
			}
			break
		}
		b = b[h.Length:]
		if h.Op.Control() {
			m := Message{Op: h.Op, Data: payload}
			if h.Op == Close {
				code, reason := ws.ParseCloseFrameData(payload)
				m.Code, m.Data = uint16(code), []byte(reason)
				registered := code >= 1012 && code <= 1014 || ws.CheckCloseFrameData(code, "") == nil // theirs is older
				switch {
				case len(payload) == 0:
					m.Code = CodeNone
				case len(payload) == 1, !registered, code > 1014 && code < 3000, code < 1000, code >= 5000:
					return messages, CodeProtocolError
				case !utf8.ValidString(reason):
					return messages, CodeInvalidText
				}
			}
			messages = append(messages, describe(m))
			continue
		}
		if op == 0 {
			op = h.Op
		}
		buf = append(buf, payload...)
		if op == Text {
			if k, ok := validPrefix(buf); !ok || h.Fin && k != len(buf) {
				return messages, CodeInvalidText
			}
		}
		if h.Fin {
			messages = append(messages, describe(Message{Op: op, Data: buf}))
			op, buf, frames = 0, nil, 0
		}
	}
	return messages, 0
}

func FuzzReader(f *testing.F) {
	for _, frames := range [][]fragment{
		{{true, Text, "hello"}, {true, Binary, "\xff"}},
		{{false, Text, "a\xf0\x9f"}, {true, Ping, "p"}, {true, Continuation, "\x98\x80"}},
		{{true, Close, "\x03\xe8bye"}}, {{true, Close, ""}}, {{true, Close, "\x03\xf4"}}, {{true, Close, "\x0b\xb8\xff"}},
		{{true, Text, "\xed\xa0"}}, {{false, Binary, "a"}, {false, Continuation, ""}, {false, Continuation, ""}, {true, Continuation, ""}},
		{{true, Continuation, ""}}, {{true, Binary, string(make([]byte, 130))}}, {{true, Text, string(make([]byte, 101))}},
	} {
		f.Add(wire(frames...))
	}
	f.Add(wire(fragment{true, Text, "hello"})[:8])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Reader{MaxMessage: 100, MaxFragments: 3}
		want, code := reference(b, r.MaxMessage, r.MaxFragments)
		var single [][]byte
		for i := range b {
			single = append(single, []byte{b[i]})
		}
		for _, pieces := range [][][]byte{{bytes.Clone(b)}, single} {
			got, err := readAll(t, r, pieces...)
			if fmt.Sprint(got) != fmt.Sprint(want) || codeOf(err) != code {
				t.Errorf("% x in %d pieces = %v, %v, want %v, code %d", b, len(pieces), got, err, want, code)
			}
		}
	})
}
