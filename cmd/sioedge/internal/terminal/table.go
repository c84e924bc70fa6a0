package terminal

import (
	"io"
	"strings"
	"unicode/utf8"
)

// maxCell bounds a cell, in characters.
const maxCell = 60

// A Table writes rows below a head, in columns. Rows are kept until Flush.
type Table struct {
	out  io.Writer
	head []string
	rows [][]string
}

// NewTable makes a Table that writes to out.
func NewTable(out io.Writer, head ...string) *Table { return &Table{out: out, head: head} }

// Row adds a row: as many cells as there are in the head, whatever is in them.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.head))
	for i := range row {
		row[i] = Text(cells[i])
		if r := []rune(row[i]); len(r) > maxCell {
			row[i] = string(r[:maxCell-1]) + "…"
		}
	}
	t.rows = append(t.rows, row)
}

// Flush writes what has been added, and goes on with nothing.
func (t *Table) Flush() error {
	widths := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range all {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	t.rows = nil
	_, err := io.WriteString(t.out, b.String())
	return err
}
