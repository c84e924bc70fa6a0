package main

import (
	"fmt"
	"go/ast"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What can be counted of how readable the code is. Tests may be as long as they must.
const (
	maxFileLines     = 450
	maxFunctionLines = 60
	maxFilesOfSio    = 40
)

func TestHouseRules(t *testing.T) {
	for _, pkg := range packages(t) {
		for _, what := range untidy(t, pkg) {
			t.Error(what)
		}
	}
}

// packages returns those of the module that are not only tests.
func packages(t *testing.T) (all []string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{if .GoFiles}}{{.ImportPath}}{{end}}", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		all = append(all, strings.TrimPrefix(path, module+"/"))
	}
	return all
}

// untidy returns the rules that a package breaks.
func untidy(t *testing.T, pkg string) (broken []string) {
	breaks := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	fset, files := parseLibrary(t, pkg)
	if pkg == "sio" && len(files) > maxFilesOfSio {
		breaks("sio has over %d files", maxFilesOfSio)
	}
	for _, f := range files {
		file := fset.File(f.Package)
		name := pkg + "/" + filepath.Base(file.Name())
		if file.LineCount()-1 > maxFileLines {
			breaks("%s has over %d lines", name, maxFileLines)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && file.Line(d.End())-file.Line(d.Pos())+1 > maxFunctionLines {
				breaks("%s: %s has over %d lines", name, d.Name, maxFunctionLines)
			}
		}
	}
	return broken
}
