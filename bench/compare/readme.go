package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A sheet is one table of a result file: the titles of its columns, and under the name of
// each server what stands there.
type sheet struct {
	titles []string
	rows   map[string][]string
}

var (
	sheetName = regexp.MustCompile(`^(\S.*), \d+ clients(, one round)?$`)
	partName  = regexp.MustCompile(`^(\S.*): go run \./bench/`)
	gap       = regexp.MustCompile(`\s{2,}`)
)

// parseSheets finds the tables in the text of a result. Those of a part have its name
// before theirs.
func parseSheets(text string) map[string]sheet {
	all := map[string]sheet{}
	name, of := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		fields := gap.Split(strings.TrimSpace(line), -1)
		switch found := sheetName.FindStringSubmatch(line); {
		case found != nil:
			name = of + found[1]
			all[name] = sheet{rows: map[string][]string{}}
		case partName.MatchString(line):
			name, of = "", partName.FindStringSubmatch(line)[1]+": "
		case line == "":
		case name == "" || !strings.HasPrefix(line, "  "):
			name = ""
		case fields[0] == "server" || fields[0] == "side":
			sh := all[name]
			sh.titles = fields[1:]
			all[name] = sh
		default:
			all[name].rows[fields[0]] = fields[1:]
		}
	}
	return all
}

// cell is what a line of README says at a place; empty if nothing is known.
func (l line) cell(sheets map[string]sheet, p place) string {
	sh, column := sheets[l.trial], l.column
	if p.edge {
		column = l.edge
	}
	row, there := sh.rows[p.server]
	switch {
	case !there:
		return ""
	case len(row) < len(sh.titles):
		return "failed"
	}
	at := slices.IndexFunc(sh.titles, func(title string) bool { return strings.HasPrefix(title, column) })
	if at < 0 || p.edge && column == "" {
		return ""
	}
	number, _, _ := strings.Cut(row[at], " ")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return ""
	}
	said := short(v * scaleOf(l.scale))
	if l.scale == percent {
		said += " %"
	}
	if len(row) > len(sh.titles) {
		note := row[len(sh.titles)]
		switch {
		case strings.Contains(note, "NOT OK"):
			said += " ‡"
		case strings.HasPrefix(note, "thrown out"):
			said += ", thrown out"
		}
	}
	return said
}

func scaleOf(s float64) float64 {
	if s == 0 {
		return 1
	}
	return s
}

// short is a number with three digits that count, and commas.
func short(v float64) string {
	digits := 2
	for w := max(v, -v); digits > 0 && w >= 10; w /= 10 {
		digits--
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	for i := len(s) - 3; digits == 0 && i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// markdown is a table of README; empty if the result has nothing of it.
func (t readmeTable) markdown(sheets map[string]sheet) string {
	var columns []place
	for _, p := range t.places {
		for _, l := range t.lines {
			if l.cell(sheets, p) != "" {
				columns = append(columns, p)
				break
			}
		}
	}
	if len(columns) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| |")
	for _, p := range columns {
		b.WriteString(" " + p.title + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, l := range t.lines {
		var cells []string
		for _, p := range columns {
			said := l.cell(sheets, p)
			if second := l.cell(sheets, place{server: l.second[p.server]}); second != "" {
				said += "; " + second
			}
			cells = append(cells, said)
		}
		if strings.Join(cells, "") != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", l.label, strings.Join(cells, " | "))
		}
	}
	if strings.Contains(b.String(), "‡") {
		b.WriteString("\n‡ not all went well: see the result.\n")
	}
	return b.String()
}

// until ends each block of README.
const until = "<!-- until here -->\n"

func beginOf(block string) string {
	return "<!-- go run ./bench/compare -readme README.md: " + block + " -->\n"
}

// tell replaces the blocks of README that text, a result, says something of.
func (s settings) tell(text string) error {
	if s.readme == "" {
		return nil
	}
	b, err := os.ReadFile(s.readme)
	if err != nil {
		return err
	}
	whole, sheets := string(b), parseSheets(text)
	var missed []error
	for _, t := range readmeTables() {
		if table := t.markdown(sheets); table != "" {
			if whole, err = replaced(whole, t.block, s.caption(text)+table); err != nil {
				missed = append(missed, err)
			}
		}
	}
	if whole, err = replaced(whole, "better", better()); err != nil {
		missed = append(missed, err)
	}
	if whole == string(b) {
		missed = append(missed, errors.New("nothing of the result is new in "+s.readme))
	}
	return errors.Join(append(missed, os.WriteFile(s.readme, []byte(whole), 0o644))...)
}

// replaced returns a text with another block of a name; the text itself if there is none.
func replaced(whole, block, with string) (string, error) {
	before, rest, ok := strings.Cut(whole, beginOf(block))
	_, after, ended := strings.Cut(rest, until)
	if !ok || !ended {
		return whole, fmt.Errorf("no lines %q and %q", beginOf(block), until)
	}
	return before + beginOf(block) + with + until + after, nil
}

// caption says where and when a result was measured, which is in its second line.
func (s settings) caption(text string) string {
	_, rest, _ := strings.Cut(text, "\n# ")
	said, _, _ := strings.Cut(rest, "\n")
	if s.from != "" {
		said += " ([result](" + filepath.ToSlash(s.from) + "))"
	}
	return said + ".\n\n"
}
