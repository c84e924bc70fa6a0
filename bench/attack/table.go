package main

import (
	"fmt"
	"os"
	"strings"
)

const heading = "| one hostile client | sent | held for one | held for a hundred | counted as |\n|---|---|---|---|---|\n"

// row is the attack's row of the table, in Markdown.
func (x *attack) row(all [2]result) string {
	refused := all[1].refused
	if refused == "" {
		refused = all[0].refused
	}
	if refused == "" {
		refused = "served"
	}
	name := x.name
	if x.server {
		name += " †"
	}
	return fmt.Sprintf("| %s | %s; %s | %s | %s | %s |\n", name, size(all[0].sent), size(all[1].sent), size(all[0].held), size(all[1].held), refused)
}

// size says a number of bytes in short.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", max(n, 0))
	case n < 10<<20:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// The table stands between these lines.
const (
	begin = "<!-- go run ./bench/attack -readme README.md -->\n"
	end   = "<!-- until here -->\n"
)

// replace puts a table into a file in place of the one that is there.
func replace(path, table string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return fmt.Errorf("%s has no lines %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+table+end+after), 0o644)
}
