package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files that results are compared with")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant what %s has:\n%s", got, path, want)
	}
}

// file writes a file of settings and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sioedge.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// of loads a file, with an environment.
func of(t *testing.T, text string, environ ...string) (*Loaded, error) {
	t.Helper()
	return Load(Sources{Environ: append(environ, "SIOEDGE_CONFIG="+file(t, text))})
}

// Every key of the table is wrong once in the file, and a fault says where and why.
func TestEachKeyWrongOnce(t *testing.T) {
	const path = "testdata/wrong.yaml"
	_, err := Load(Sources{Environ: []string{"SIOEDGE_CONFIG=" + path}})
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	r := &reader{name: path, places: map[string]string{}}
	text, _ := readFile(path, mostFile, true)
	r.read(text) // Load tells the first hundred
	golden(t, "wrong.txt", joinedText(r.faults))
	said := map[string]int{}
	for _, f := range r.faults {
		said[general(f.(*Placed).Key)]++
	}
	for _, k := range Keys() {
		if n := said[k.Path]; n != 1 && k.Path != "" && k.Path != "namespaces" && k.Path != "auth.revoked" && k.Path != "backends" && k.Path != "bridges" {
			t.Errorf("%d faults are about %s, want one", n, k.Path)
		}
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != mostFaults+1 || !strings.HasPrefix(lines[mostFaults], "and ") {
		t.Errorf("Load tells %d lines, want %d and how many more", len(lines), mostFaults)
	}
}

func joinedText(all []error) string {
	var b strings.Builder
	for _, err := range all {
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

// general returns the path in the table of a path in the file.
func general(path string) string {
	path = strings.NewReplacer("[0]", "[]", "[1]", "[]", "per_event.typing", "per_event.*", "params.id", "params.*", "events.a.b", "events.*", "emit.price", "emit.*", "backends.main", "backends.*", "bridges.main", "bridges.*").Replace(path)
	if k := keys.paths[path]; k == nil {
		path = strings.TrimSuffix(path, "[]")
	}
	return strings.TrimSuffix(path, "[]")
}
