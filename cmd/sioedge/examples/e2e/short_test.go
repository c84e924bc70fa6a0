// Package e2e tests the chat's applications, all in the same way: what each does
// with requests of the edge and of others, and then with the edge and a browser. make
// examples installs what they need.
package e2e

import (
	"go/format"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// languages are those of the applications, with where each is, what comments begin with
// there, and what imports libraries.
var languages = map[string]struct {
	files, comment string
	imports        *regexp.Regexp
}{
	"go":     {"../go/*.go", "//", regexp.MustCompile(`(?ms)^import \(.*?^\)$`)},
	"node":   {"../node/*.mjs", "//", regexp.MustCompile(`(?m)^import .*$`)},
	"python": {"../python/*.py", "#", regexp.MustCompile(`(?m)^(import|from) .*$`)},
	"php":    {"../php/*.php", "//", regexp.MustCompile(`(?m)^(use|require) .*$`)},
	"ruby":   {"../ruby/*.rb", "#", regexp.MustCompile(`(?m)^(require |%w.* require library ).*$`)},
}

// each runs a test for each language.
func each(t *testing.T, test func(t *testing.T, language string)) {
	for _, language := range slices.Sorted(maps.Keys(languages)) {
		t.Run(language, func(t *testing.T) { test(t, language) })
	}
}

// An application has at most 80 lines of code, in all its files: lines that are not empty,
// and neither comments nor imports, which have a line each in Go and are one in Ruby.
func TestApplicationsAreShort(t *testing.T) {
	each(t, func(t *testing.T, language string) {
		l := languages[language]
		files, err := filepath.Glob(l.files)
		if err != nil || len(files) == 0 {
			t.Fatalf("there is no %s: %v", l.files, err)
		}
		n := 0
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if formatted, err := format.Source(b); language == "go" && (err != nil || string(formatted) != string(b)) {
				t.Errorf("%s is not as gofmt has it: %v", file, err)
			}
			for line := range strings.Lines(l.imports.ReplaceAllString(string(b), "")) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, l.comment) {
					n++
				}
				if len(line) > 150 {
					t.Errorf("%s: a line has %d bytes: %s", file, len(line), line)
				}
			}
		}
		if t.Logf("%d lines", n); n == 0 || n > 80 {
			t.Errorf("%d lines, want at most 80", n)
		}
	})
}
