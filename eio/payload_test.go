package eio

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

func TestDecodeBase64(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"", "", true}, {"AQIDBA==", "01020304", true}, {"AQIDBA", "01020304", true}, {"AQIDBA=", "01020304", true},
		{"4AQ==", "e004", true}, {"-_-_", "fbffbf", true}, {"+/+/", "fbffbf", true}, {"AR==", "01", true},
		{"=", "", true}, {"A", "", false}, {"AQIDB", "", false}, {"AQ=I", "", false}, {"AQ I", "0102", true}, {"AQ\nI", "0102", true}, {"bAw==\n", "6c0c", true}, {"AQ\n=\r\n=\n", "01", true}, {"\n", "", true}, {"AQ=\nI", "", false}, {"AQ\vI", "", false}, {"é", "", false},
	} {
		got, ok := decodeBase64([]byte(c.in))
		if ok != c.ok || ok && hex.EncodeToString(got) != c.want {
			t.Errorf("decodeBase64(%q) = %x, %t, want %s, %t", c.in, got, ok, c.want, c.ok)
		}
	}
}

// modelBase64 is what decodeBase64 has to do: as Node for whatever is base64 of
// either alphabet, with or without padding, and with white space or not, and
// nothing else.
func modelBase64(in string) (out []byte, ok bool) {
	in = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", "\t", "", " ", "").Replace(in)
	s := strings.TrimRight(in, "=")
	if strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '/'
	}) {
		return nil, false
	}
	out, err := base64.RawStdEncoding.DecodeString(s)
	return out, err == nil
}

func FuzzDecodeBase64(f *testing.F) {
	for _, s := range []string{"", "AQIDBA==", "AQIDBA", "-_+/", "A", "AQ=I", "AQ\r\nI", "bAw=\n=\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		want, wantOK := modelBase64(in)
		got, ok := decodeBase64([]byte(in))
		if ok != wantOK || ok && !bytes.Equal(got, want) {
			t.Errorf("decodeBase64(%q) = %x, %t, want %x, %t", in, got, ok, want, wantOK)
		}
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			if got, ok := decodeBase64([]byte(e.EncodeToString([]byte(in)))); !ok || string(got) != in {
				t.Errorf("decodeBase64(%q encoded) = %q, %t", in, got, ok)
			}
		}
	})
}

// modelPayload is what a session makes of a payload: what its handler sees, and
// whether the answer is ok.
func modelPayload(body string) (seen []string, ok bool) {
	seen = []string{"open"}
	for p := range strings.SplitSeq(body, "\x1e") {
		if p == "" {
			return append(seen, "close parse error"), false
		}
		switch p[0] {
		case '4':
			seen = append(seen, "message "+p[1:])
		case 'b':
			data, ok := modelBase64(p[1:])
			if !ok {
				return append(seen, "close parse error"), false
			}
			seen = append(seen, "binary "+hex.EncodeToString(data))
		case '1':
			return append(seen, "close transport close"), true
		case '2':
			return append(seen, "close transport error"), true
		case '0', '3', '5', '6':
		default:
			return append(seen, "close parse error"), false
		}
	}
	return seen, true
}

// FuzzPayload posts anything to a session, and what it does is what the model
// says.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{"4hello", "4", "4a\x1e4b", "4a\x1ebAQIDBA==", "b", "2", "2probe", "1\x1e4", "4a\x1ex\x1e4b", "", "\x1e", "40\x1e", "0\x1e3\x1e5\x1e6\x1e4\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 60_000 {
			return
		}
		var seen []string
		var now Session
		play := &play{}
		srv, sim := newSim(t, &hooks{
			open:    func(s Session, _ *http1.Request) { now, seen = s, append(seen, "open") },
			message: func(s Session, data []byte, binary bool) { play.Message(s, data, binary) },
			close:   func(_ Session, r Reason) { play.seen = append(play.seen, "close "+string(r)) },
		}, Options{}, loop.Options{})
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		c.Received()
		c.Send(postRequest("EIO=4&transport=polling&sid="+now.ID(), body))
		seen = append(seen, play.seen...)
		want, ok := modelPayload(string(validText([]byte(body))))
		status := "HTTP/1.1 200 OK"
		if !ok {
			status = "HTTP/1.1 400 Bad Request"
		}
		if got := string(c.Received()); !slices.Equal(seen, want) || !strings.HasPrefix(got, status) {
			t.Errorf("payload %q: the handler saw %q, want %q; answer %q, want %q", body, seen, want, got, status)
		}
		c.Close()
		sim.Advance(2 * time.Minute)
		checkEmpty(t, srv, sim.Engine())
	})
}

func TestAppendPayload(t *testing.T) {
	frames := AppendText(nil, []byte("é"), []byte("€😀"))
	frames = AppendBinary(frames, []byte{1, 2, 3, 4})
	frames = AppendText(frames)
	const want = "4é€😀\x1ebAQIDBA==\x1e4"
	if got := string(appendPayload(nil, frames, false)); got != want {
		t.Errorf("appendPayload(…) = %q, want %q", got, want)
	}
	if got := string(appendPayload([]byte("2"), frames, true)); got != "2\x1e"+want {
		t.Errorf("appendPayload(2, …) = %q, want %q", got, "2\x1e"+want)
	}
	text, bytes4, empty := AppendText(nil, []byte("é€😀")), AppendBinary(nil, []byte{1, 2, 3, 4}), AppendText(nil)
	control := slices.Concat([]byte("\x81\x030{}"), text, bytes4, pingFrame, noopFrame, closeFrame, empty)
	if got, want := string(appendPayload(nil, control, false)), "0{}\x1e4é€😀\x1ebAQIDBA==\x1e2\x1e6\x1e1\x1e4"; got != want {
		t.Errorf("appendPayload(…) with packets of every kind = %q, want %q", got, want)
	}
	large := new(Server).Concat([]*Prepared{Prepare(make([]byte, 200), true), Prepare(bytes.Repeat([]byte("x"), 70_000), false)})
	if want := "b" + base64.StdEncoding.EncodeToString(make([]byte, 200)) + "\x1e4" + strings.Repeat("x", 70_000); string(appendPayload(nil, large.frames, false)) != want {
		t.Error("appendPayload of large messages is not what was prepared")
	}
	if n := large.Size(); n != len(large.frames) {
		t.Errorf("Size() = %d, want %d", n, len(large.frames))
	}
}

func TestEachMessage(t *testing.T) {
	p := PrepareFrames(AppendText(AppendBinary(AppendText(nil, []byte("x"), []byte("y")), []byte{1, 2}), nil))
	var got []string
	EachMessage(p.Frames(), func(data []byte, binary bool) { got = append(got, fmt.Sprintf("%q %t", data, binary)) })
	if want := []string{`"xy" false`, `"\x01\x02" true`, `"" false`}; !slices.Equal(got, want) {
		t.Errorf("EachMessage gives %q, want %q", got, want)
	}
}

func TestWithoutBinary(t *testing.T) {
	text, binary := AppendText(nil, []byte("x")), AppendBinary(nil, []byte{1, 2, 3, 4})
	base64 := append([]byte{0x81, 9}, "bAQIDBA=="...)
	for _, c := range []struct{ in, want [][]byte }{
		{nil, nil},
		{[][]byte{text, text}, [][]byte{text, text}},
		{[][]byte{binary}, [][]byte{base64}},
		{[][]byte{text, binary, text, binary, binary, text}, [][]byte{text, base64, text, base64, base64, text}},
	} {
		in := slices.Concat(c.in...)
		kept := bytes.Clone(in)
		if got, want := withoutBinary(in, "b"), slices.Concat(c.want...); !bytes.Equal(got, want) {
			t.Errorf("withoutBinary(%x) = %x, want %x", in, got, want)
		}
		if !bytes.Equal(in, kept) {
			t.Errorf("withoutBinary changed its argument, which is shared")
		}
	}
}
