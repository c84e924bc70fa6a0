// Package terminal makes what others have said fit for a terminal, which obeys control
// sequences: of a server's texts none gets there.
package terminal

import (
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"
)

// AppendText appends s with all that does not show as it is written as in JSON: control
// characters, what has text go another way, what is invisible. A byte that is no UTF-8 is
// written as \xff. JSON without white space between its parts stays JSON with the same
// meaning.
func AppendText(dst []byte, s string) []byte {
	for i, r := range s {
		switch {
		case unicode.IsPrint(r) && (r != utf8.RuneError || s[i] == 0xef):
			dst = utf8.AppendRune(dst, r)
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == utf8.RuneError:
			dst = fmt.Appendf(dst, `\x%02x`, s[i])
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, hi, lo)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return dst
}

// Text is AppendText of a string alone.
func Text(s string) string { return string(AppendText(nil, s)) }

// Lines is Text of each line of a text.
func Lines(s string) string {
	all := strings.Split(s, "\n")
	for i := range all {
		all[i] = Text(all[i])
	}
	return strings.Join(all, "\n")
}

// Is tells whether f is a terminal.
func Is(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Colors tells whether f is to be written to in colours: if it is a terminal that can
// show some, and the user has not said no ($NO_COLOR).
func Colors(f any, getenv func(string) string) bool {
	return Is(f) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// A Color is what text is written in.
type Color string

// Colors of terminals.
const (
	Plain Color = ""
	Red   Color = "31"
	Green Color = "32"
	Cyan  Color = "36"
	Faint Color = "2"
)

// AppendIn appends text, which must be fit for a terminal, in a colour.
func AppendIn(dst []byte, c Color, text string) []byte {
	if c == Plain {
		return append(dst, text...)
	}
	return fmt.Appendf(dst, "\x1b[%sm%s\x1b[0m", c, text)
}
