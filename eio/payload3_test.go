package eio

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sioedge/sioedge/wsframe"
)

// The vectors of Engine.IO 3's payloads.
func TestPayload3(t *testing.T) {
	hello, euro, smile := AppendText(nil, []byte("hello")), AppendText(nil, []byte("€")), AppendText(nil, []byte("😀"))
	four, twelve := AppendBinary(nil, []byte{1, 2, 3, 4}), AppendBinary(nil, bytes.Repeat([]byte{7}, 12))
	for _, c := range []struct {
		frames       [][]byte
		text, binary string
	}{
		{nil, "", ""},
		{[][]byte{hello, euro}, "6:4hello2:4€", "0006ff3468656c6c6f" + "0004ff34e282ac"},
		{[][]byte{smile}, "3:4😀", "0005ff34f09f9880"},
		{[][]byte{euro, four}, "2:4€10:b4AQIDBA==", "0004ff34e282ac" + "0105ff0401020304"},
		{[][]byte{hello, four}, "6:4hello10:b4AQIDBA==", "0006ff3468656c6c6f" + "0105ff0401020304"},
		{[][]byte{AppendText(nil, []byte(`51-["bin","€",{"_placeholder":true,"num":0}]`)), four}, `45:451-["bin","€",{"_placeholder":true,"num":0}]10:b4AQIDBA==`,
			"000407ff" + hex.EncodeToString([]byte(`451-["bin","€",{"_placeholder":true,"num":0}]`)) + "0105ff0401020304"},
		{[][]byte{twelve}, "18:b4BwcHBwcHBwcHBwcH", "010103ff04" + strings.Repeat("07", 12)},
		{[][]byte{AppendText(nil), AppendBinary(nil, nil)}, "1:42:b4", "0001ff34" + "0101ff04"},
	} {
		frames := slices.Concat(c.frames...)
		if got := string(appendPayload3(nil, frames)); got != c.text {
			t.Errorf("appendPayload3(%x) = %q, want %q", frames, got, c.text)
		}
		if got := hex.EncodeToString(appendBinaryPayload3(nil, frames)); got != c.binary {
			t.Errorf("appendBinaryPayload3(%x) = %s, want %s", frames, got, c.binary)
		}
		if got, want := hasBinary(frames), strings.Contains(c.text, "b4"); got != want {
			t.Errorf("hasBinary(%x) = %t, want %t", frames, got, want)
		}
	}
}

func TestCutPacket3(t *testing.T) {
	for _, c := range []struct {
		in, packet, rest string
		ok               bool
	}{
		{"6:4hello2:4€", "4hello", "2:4€", true}, {"2:4€", "4€", "", true}, {"3:4😀x", "4😀", "x", true},
		{"0:", "", "", true}, {"0:x", "", "x", true}, {"0002:4x", "4x", "", true}, {"2:4\xffx", "4\xff", "x", true},
		{"", "", "", false}, {"abc", "", "", false}, {"5:4abc", "", "", false}, {"-1:4", "", "", false}, {":4", "", "", false},
		{"1.0:2", "", "", false}, {" 1:2", "", "", false}, {"1e0:2", "", "", false}, {"2:😀x", "😀", "x", true}, {"1:😀", "", "", false},
		{"999999999999:4", "", "", false}, {"99999999999999999999999:4", "", "", false}, {"12", "", "", false},
	} {
		packet, rest, ok := cutPacket3([]byte(c.in))
		if ok != c.ok || ok && (string(packet) != c.packet || string(rest) != c.rest) {
			t.Errorf("cutPacket3(%q) = %q, %q, %t, want %q, %q, %t", c.in, packet, rest, ok, c.packet, c.rest, c.ok)
		}
	}
}

func TestCutBinaryPacket3(t *testing.T) {
	for _, c := range []struct {
		in, packet, rest string
		binary, ok       bool
	}{
		{"0004ff34e282ac0105ff", "34e282ac", "0105ff", false, true}, {"0105ff0401020304", "0401020304", "", true, true},
		{"010103ff04" + strings.Repeat("07", 12), "04" + strings.Repeat("07", 12), "", true, true}, {"0000ff", "", "", false, true},
		{"", "", "", false, false}, {"000106ff", "", "", false, false}, {"00ff", "", "", false, false}, {"0201ff34", "", "", false, false},
		{"000aff34", "", "", false, false}, {"0001", "", "", false, false}, {"00" + strings.Repeat("09", 12) + "ff34", "", "", false, false},
		{"00" + strings.Repeat("00", 11) + "01ff34", "34", "", false, true}, {"00" + strings.Repeat("00", 12) + "01ff34", "", "", false, false},
	} {
		in, _ := hex.DecodeString(c.in)
		packet, rest, binary, ok := cutBinaryPacket3(in)
		if ok != c.ok || ok && (binary != c.binary || hex.EncodeToString(packet) != c.packet || hex.EncodeToString(rest) != c.rest) {
			t.Errorf("cutBinaryPacket3(%s) = %x, %x, %t, %t, want %s, %s, %t, %t", c.in, packet, rest, binary, ok, c.packet, c.rest, c.binary, c.ok)
		}
	}
}

// modelPacket3 is cutPacket3 as JavaScript does it, which has strings of UTF-16.
func modelPacket3(in string) (packet, rest string, ok bool) {
	length, after, found := strings.Cut(in, ":")
	if !found || length == "" || len(length) > maxDigits || strings.Trim(length, "0123456789") != "" {
		return "", "", false
	}
	n := 0
	if _, err := fmt.Sscanf(length, "%d", &n); err != nil {
		return "", "", false
	}
	text := utf16.Encode([]rune(after))
	if n > len(text) {
		return "", "", false
	}
	packet = string(utf16.Decode(text[:n]))
	if n > 0 && n < len(text) && utf16.IsSurrogate(rune(text[n])) && text[n] >= 0xdc00 {
		return "", "", false
	}
	return packet, string(utf16.Decode(text[n:])), true
}

func FuzzCutPacket3(f *testing.F) {
	for _, s := range []string{"6:4hello2:4€", "3:4😀", "2:4😀", "0:", "5:4abc", "1.0:2", "-1:4", "1:2x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if !utf8.ValidString(in) {
			cutPacket3([]byte(in))
			return
		}
		wantPacket, wantRest, wantOK := modelPacket3(in)
		packet, rest, ok := cutPacket3([]byte(in))
		if ok != wantOK || ok && (string(packet) != wantPacket || string(rest) != wantRest) {
			t.Errorf("cutPacket3(%q) = %q, %q, %t, want %q, %q, %t", in, packet, rest, ok, wantPacket, wantRest, wantOK)
		}
	})
}

// FuzzPayload3 encodes messages, one of text and one of bytes, in both forms, and
// decodes them again.
func FuzzPayload3(f *testing.F) {
	f.Add("hello", []byte{1, 2, 3, 4})
	f.Add("€😀\xff", []byte{})
	f.Add("", []byte{0xff, 0x04})
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		frames := AppendBinary(AppendText(nil, []byte(text)), data)
		b := appendPayload3(nil, frames)
		first, rest, ok := cutPacket3(b)
		if !ok || string(first) != "4"+text {
			t.Errorf("the first packet of %q is %q, %t, want 4%s", b, first, ok, text)
		}
		second, rest, ok := cutPacket3(rest)
		decoded, isBase64 := decodeBase64(bytes.TrimPrefix(second, []byte(encodedText3)))
		if !ok || len(rest) != 0 || !isBase64 || !bytes.Equal(decoded, data) {
			t.Errorf("the second packet of %q is %q, %t, want %x", b, second, ok, data)
		}
		b = appendBinaryPayload3(nil, frames)
		first, rest, binary, ok := cutBinaryPacket3(b)
		if !ok || binary || string(first) != "4"+text {
			t.Errorf("the first packet of %x is %q, %t, %t, want 4%s", b, first, binary, ok, text)
		}
		second, rest, binary, ok = cutBinaryPacket3(rest)
		if !ok || !binary || len(rest) != 0 || !bytes.Equal(second, append([]byte{typedMessage}, data...)) {
			t.Errorf("the second packet of %x is %x, %t, %t, want 04%x", b, second, binary, ok, data)
		}
	})
}

func FuzzCutBinaryPacket3(f *testing.F) {
	for _, s := range []string{"\x00\x04\xff4\xe2\x82\xac", "\x01\x05\xff\x04\x01\x02\x03\x04", "\x00\x01\x06\xff", "\x00\xff", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		packet, rest, binary, ok := cutBinaryPacket3(in)
		if !ok {
			return
		}
		mark := byte(textMark)
		if binary {
			mark = binaryMark
		}
		want := append(appendLength3([]byte{mark}, len(packet)), packet...)
		head := in[:len(in)-len(rest)]
		if in[0] != mark || !bytes.HasSuffix(head, want[bytes.IndexByte(want, lengthEnd):]) {
			t.Errorf("cutBinaryPacket3(%x) = %x, of which %x was used", in, packet, head)
		}
	})
}

func TestCallbackBody(t *testing.T) {
	for _, c := range []struct {
		form, want string
		ok         bool
	}{
		{"d=14%3A42%5B%22echo%22%2C%22x%22%5D", `14:42["echo","x"]`, true}, {"a=1&d=x+y", "x y", true}, {"d=", "", true}, {"d", "", true},
		{"d=a%5Cnb", "a\nb", true}, {"d=a%5C%5Cnb", `a\nb`, true}, {"d=%5C%5C%5Cn", `\\n`, true}, {"d=%5C", `\`, true},
		{"", "", false}, {"e=1", "", false},
	} {
		got, ok := callbackBody([]byte(c.form))
		if string(got) != c.want || ok != c.ok {
			t.Errorf("callbackBody(%q) = %q, %t, want %q, %t", c.form, got, ok, c.want, c.ok)
		}
	}
}

// FuzzCallback sends text both ways, as a client does it.
func FuzzCallback(f *testing.F) {
	f.Add("0", "hello")
	f.Add("alert(1)", "a\nb\\nc\\\\n\u2028</script>")
	f.Fuzz(func(t *testing.T, j, text string) {
		name := callbackName(j)
		digits := strings.TrimSuffix(strings.TrimPrefix(name, "___eio["), "]")
		if strings.Trim(digits, "0123456789") != "" || len(name) != len("___eio[]")+len(digits) {
			t.Errorf("callbackName(%q) = %q, want ___eio[digits]", j, name)
		}
		js := string(appendCallback(nil, name, []byte(text)))
		var got string
		if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(js, name+"("), ");")), &got); err != nil || got != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Errorf("appendCallback(%q) = %s, which is %q, %v", text, js, got, err)
		}
		if strings.ContainsAny(js, "\u2028\u2029\n\r<") {
			t.Errorf("appendCallback(%q) = %q, which has the end of a line or of a script", text, js)
		}
		// The client writes \n for the end of a line, and \\n for a backslash and n.
		escaped := strings.ReplaceAll(strings.ReplaceAll(text, `\n`, `\\n`), "\n", `\n`)
		back, ok := callbackBody([]byte(url.Values{"d": {escaped}}.Encode()))
		if want := text; utf8.ValidString(text) && !strings.Contains(text, `\`+"\n") && (!ok || string(back) != want) {
			t.Errorf("callbackBody of %q = %q, %t, want %q", escaped, back, ok, want)
		}
	})
}

// What a WebSocket of Engine.IO 3 gets of a shared message is made once, and
// compressed like any other.
func TestPreparedWithTypes(t *testing.T) {
	text, data := Prepare([]byte("x"), false), Prepare(bytes.Repeat([]byte{7}, 2000), true)
	if text.withTypes() != text {
		t.Error("withTypes of a text message is not the message itself")
	}
	typed := data.withTypes()
	if typed != data.withTypes() {
		t.Error("withTypes makes the message twice")
	}
	want := wsframe.AppendFrame(nil, wsframe.Binary, append([]byte{typedMessage}, bytes.Repeat([]byte{7}, 2000)...))
	if !bytes.Equal(typed.frames, want) {
		t.Errorf("withTypes gives %d bytes, want %d, with the type in front", len(typed.frames), len(want))
	}
	srv, err := NewServer(&hooks{}, Options{Compression: &Compression{}})
	if err != nil {
		t.Fatal(err)
	}
	both := srv.Concat([]*Prepared{text, data}).withTypes()
	if want := append(bytes.Clone(text.frames), want...); !bytes.Equal(both.frames, want) || len(both.parts) != 2 || both.parts[1] != typed {
		t.Errorf("withTypes of two messages gives %d bytes, want %d, of which the second is shared", len(both.frames), len(want))
	}
	var z zipper
	z.init(srv.deflate)
	if n := len(both.deflate(&z)); n >= len(both.frames) {
		t.Errorf("compressed it has %d bytes, want fewer than %d", n, len(both.frames))
	}
	plain := &Prepared{Plain: true, frames: data.frames}
	if !plain.withTypes().Plain {
		t.Error("withTypes of what is never compressed may be compressed")
	}
}

func TestWithoutBinary3(t *testing.T) {
	got := withoutBinary(AppendBinary(nil, []byte{1, 2, 3, 4}), encodedText3)
	if want := append([]byte{0x81, 10}, "b4AQIDBA=="...); !bytes.Equal(got, want) {
		t.Errorf("withoutBinary(…, b4) = %q, want %q", got, want)
	}
}
