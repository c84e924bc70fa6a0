package terminal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestAppendText(t *testing.T) {
	for in, want := range map[string]string{
		"plain €, 日本, 😀":         "plain €, 日本, 😀",
		"\x1b[2J\x07":            `\u001b[2J\u0007`,
		"a\nb\rc\td":             `a\nb\u000dc\u0009d`,
		"\u009b31m\x7f":          `\u009b31m\u007f`,
		"\u202egnp.exe\u2066":    `\u202egnp.exe\u2066`,
		"\u200b\ufeff\U000e0041": `\u200b\ufeff\udb40\udc41`,
		"\xff\xc3(\ufffd":        `\xff\xc3(` + "\ufffd",
		`back\slash`:             `back\slash`,
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	if got := Lines("a\x1b\n\nb\r\n"); got != "a\\u001b\n\nb\\u000d\n" {
		t.Errorf("Lines = %q", got)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b, "NAME", "N")
	table.Row("a\x1b[2J\n", "1", "not shown")
	table.Row(strings.Repeat("€", 61), "2")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("€", 59) + "…"
	want := "NAME" + strings.Repeat(" ", 58) + "N\n" + `a\u001b[2J\n` + strings.Repeat(" ", 62-12) + "1\n" + long + "  2\n"
	if b.String() != want {
		t.Errorf("wrote\n%s, want\n%s", b.String(), want)
	}
}

// Nothing that a terminal obeys comes through, and JSON means the same.
func FuzzAppendText(f *testing.F) {
	f.Add("\x1b]0;title\x07")
	f.Add(`{"a":"\u001b","b":"` + "\u009b\u202e" + `"}`)
	f.Fuzz(func(t *testing.T, s string) {
		out := AppendText(nil, s)
		for _, r := range string(out) {
			if !unicode.IsPrint(r) {
				t.Fatalf("Text(%q) = %q", s, out)
			}
		}
		var compact bytes.Buffer
		if !utf8.ValidString(s) || json.Compact(&compact, []byte(s)) != nil {
			return
		}
		var before, after any
		if json.Unmarshal(compact.Bytes(), &before) != nil {
			return // a number out of range
		}
		if err := json.Unmarshal(AppendText(nil, compact.String()), &after); err != nil {
			t.Fatalf("%q is no JSON any more: %v", s, err)
		}
		a, _ := json.Marshal(before)
		b, _ := json.Marshal(after)
		if !bytes.Equal(a, b) {
			t.Fatalf("%q is %s, was %s", s, b, a)
		}
	})
}
