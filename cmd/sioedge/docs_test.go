package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// libraries are the packages that others build on.
var libraries = []string{"loop", "loop/http1", "loop/http1/encoding", "loop/slab", "loop/handle", "loop/budget", "loop/notice", "wsframe", "eio", "sio", "sio/parser", "sio/internal/clientfiles", "sio/internal/confine", "sio/internal/memory", "sio/internal/pattern", "sio/internal/relay", "rooms", "rooms/redis", "rooms/redis/wire"}

func TestExportedNamesHaveDocComments(t *testing.T) {
	for _, pkg := range libraries {
		fset, files := parseLibrary(t, pkg)
		for _, missing := range undocumented(fset, files) {
			t.Errorf("%s/%s has no doc comment", pkg, missing)
		}
	}
}

func TestPackagesHaveOnePackageComment(t *testing.T) {
	for _, pkg := range packages(t) {
		fset, files := parseLibrary(t, pkg)
		var in []string
		for _, f := range files {
			if f.Doc == nil {
				continue
			}
			in = append(in, filepath.Base(fset.File(f.Package).Name()))
			begin := "Package " + f.Name.Name + " "
			if f.Name.Name == "main" {
				begin = "Command " + filepath.Base(pkg) + " "
			}
			if !strings.HasPrefix(f.Doc.Text(), begin) {
				t.Errorf("the package comment of %s does not begin with %q", pkg, begin)
			}
		}
		if len(in) != 1 {
			t.Errorf("%s has %d package comments, in %v, want one", pkg, len(in), in)
		}
	}
}

// What a doc comment has in brackets is there, so that it becomes a link.
func TestDocLinksLeadSomewhere(t *testing.T) {
	for _, pkg := range libraries {
		fset, files := parseLibrary(t, pkg)
		p, err := doc.NewFromFiles(fset, files, module+"/"+pkg)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, group := range f.Comments {
				for _, link := range brokenLinks(p.Parser().Parse(group.Text())) {
					t.Errorf("%s/%s: [%s] is no link", pkg, position(fset, group.Pos()), link)
				}
			}
		}
	}
}

// Every piece of code in the tutorial is part of an example, so that it compiles
// and does what is said of it.
func TestTutorialShowsCodeOfExamples(t *testing.T) {
	fset, files := parseLibrary(t, "sio")
	names, err := filepath.Glob("../../sio/example*_test.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("Glob(example*_test.go) = %v, %v, want some", names, err)
	}
	examples := "\n"
	for _, name := range names {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		examples += squeeze(string(code))
	}
	p, err := doc.NewFromFiles(fset, files, module+"/sio")
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	for _, block := range p.Parser().Parse(p.Doc).Content {
		code, ok := block.(*comment.Code)
		if !ok {
			continue
		}
		pieces++
		if !strings.Contains(examples, "\n"+squeeze(code.Text)) {
			t.Errorf("the tutorial shows what is in no example:\n%s", code.Text)
		}
	}
	if pieces == 0 {
		t.Error("the tutorial shows no code")
	}
}

// The checks above see what is missing, and nothing else.
func TestUndocumented(t *testing.T) {
	const text = `// Package p is one.
package p

const A = 1 // the first

const (
	B = 2
	c = 3
)

// The numbers.
const (
	D = 4
	E = 5
)

var F int

// T is a type. K is in this comment.
type T struct {
	G int // both
	H int

	I int
	j int

	K int

	U
}

// Method is a method.
func (t *T) Method() {}

func (T) Naked() {}

func (t *T) naked() {}

type U struct{}

// V is one of several.
type (
	V[X any] int
	w        int
)

func (v V[X]) Also() {}

func (w) Not() {}

// Func links [T] and [T.Method] and [Nowhere] and ["a text"].
func Func() {}

func Bare() {}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	files := []*ast.File{f}
	want := "p.go:7: B|p.go:17: F|p.go:24: T.I|p.go:35: T.Naked|p.go:39: U|p.go:47: V.Also|p.go:54: Bare"
	if got := strings.Join(undocumented(fset, files), "|"); got != want {
		t.Errorf("undocumented(…) = %s, want %s", got, want)
	}
	p, err := doc.NewFromFiles(fset, files, "p")
	if err != nil {
		t.Fatal(err)
	}
	if got := brokenLinks(p.Parser().Parse(p.Funcs[1].Doc)); !slices.Equal(got, []string{"Nowhere"}) {
		t.Errorf("brokenLinks(%q) = %q, want Nowhere", p.Funcs[1].Doc, got)
	}
}

// parseLibrary parses the files of a package, for whatever system they are.
func parseLibrary(t *testing.T, pkg string) (*token.FileSet, []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		t.Fatalf("package %s has no files", pkg)
	}
	return fset, files
}

func position(fset *token.FileSet, p token.Pos) string {
	at := fset.Position(p)
	return fmt.Sprintf("%s:%d", filepath.Base(at.Filename), at.Line)
}

// undocumented returns where what is exported has no doc comment, and its name.
func undocumented(fset *token.FileSet, files []*ast.File) (missing []string) {
	miss := func(p token.Pos, name string) { missing = append(missing, position(fset, p)+": "+name) }
	for _, f := range files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name, visible := d.Name.Name, d.Name.IsExported()
				if d.Recv != nil {
					of := receiver(d.Recv.List[0].Type)
					name, visible = of+"."+name, visible && ast.IsExported(of)
				}
				if visible && d.Doc == nil {
					miss(d.Pos(), name)
				}
			case *ast.GenDecl:
				checkSpecs(fset, d, miss)
			}
		}
	}
	return missing
}

// checkSpecs checks types with their fields, constants and variables. The comment
// of a group of constants or variables is for all of them, and that of a type for
// the fields that it names.
func checkSpecs(fset *token.FileSet, d *ast.GenDecl, miss func(token.Pos, string)) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if spec.Doc == nil && d.Doc == nil {
				miss(spec.Pos(), spec.Name.Name)
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				about := spec.Doc.Text() + d.Doc.Text()
				checkFields(fset, st.Fields.List, func(p token.Pos, field string) {
					if !regexp.MustCompile(`\b` + field + `\b`).MatchString(about) {
						miss(p, spec.Name.Name+"."+field)
					}
				})
			}
		case *ast.ValueSpec:
			if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					miss(spec.Pos(), name.Name)
				}
			}
		}
	}
}

// checkFields checks the exported fields of a structure: a comment is for all
// those beside it that no empty line separates. Embedded types have their own.
func checkFields(fset *token.FileSet, fields []*ast.Field, miss func(token.Pos, string)) {
	line := func(p token.Pos) int { return fset.Position(p).Line }
	begin := func(f *ast.Field) int {
		if f.Doc != nil {
			return line(f.Doc.Pos())
		}
		return line(f.Pos())
	}
	for len(fields) > 0 {
		n, commented := 1, false
		for n < len(fields) && begin(fields[n]) <= line(fields[n-1].End())+1 {
			n++
		}
		for _, f := range fields[:n] {
			commented = commented || f.Doc != nil || f.Comment != nil
		}
		for _, f := range fields[:n] {
			for _, name := range f.Names {
				if name.IsExported() && !commented {
					miss(f.Pos(), name.Name)
				}
			}
		}
		fields = fields[n:]
	}
}

// receiver returns the name of a receiver's type.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

// bracketed is what is meant to be a link: a name that is exported, perhaps of
// another package.
var bracketed = regexp.MustCompile(`\[\*?((?:[a-z0-9]+\.)?[A-Z]\w*(?:\.[A-Z]\w*)?)\]`)

// brokenLinks returns what is in brackets in a comment's text and names nothing.
func brokenLinks(d *comment.Doc) (links []string) {
	texts := func(all []comment.Text) {
		for _, t := range all {
			if plain, ok := t.(comment.Plain); ok {
				for _, m := range bracketed.FindAllStringSubmatch(string(plain), -1) {
					links = append(links, m[1])
				}
			}
		}
	}
	for _, block := range d.Content {
		switch block := block.(type) {
		case *comment.Heading:
			texts(block.Text)
		case *comment.Paragraph:
			texts(block.Text)
		case *comment.List:
			for _, item := range block.Items {
				for _, p := range item.Content {
					if p, ok := p.(*comment.Paragraph); ok {
						texts(p.Text)
					}
				}
			}
		}
	}
	return links
}

// squeeze returns the lines of code without their indentation and without those
// that are empty.
func squeeze(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// errorsOf says what the doc comment of a method that returns an error has of it.
var errorsOf = regexp.MustCompile(`(?i)\berrors?\b|\bErr[A-Z]\w+|Error\b|\b[Ss]ee\s+\[`)

// The operators of sio say what the errors are that they return, and of which context
// or answer they wait.
func TestMethodsSayWhatTheirErrorsAre(t *testing.T) {
	_, files := parseLibrary(t, "sio")
	checked := 0
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || fn.Name.Name == "Unwrap" || !returnsError(fn.Type) || fn.Recv != nil && !ast.IsExported(owner(fn)) {
				continue
			}
			checked++
			if !errorsOf.MatchString(fn.Doc.Text()) {
				t.Errorf("%s.%s returns an error and does not say which", owner(fn), fn.Name.Name)
			}
			if takesContext(fn.Type) && !strings.Contains(fn.Doc.Text(), "ctx") && !regexp.MustCompile(`wait|as in|See|context`).MatchString(fn.Doc.Text()) {
				t.Errorf("%s.%s takes a context and does not say that it waits", owner(fn), fn.Name.Name)
			}
		}
	}
	if checked < 30 {
		t.Errorf("%d functions were checked, want those of the package", checked)
	}
}

// owner is the type that a function is a method of, or the package.
func owner(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return "sio"
	}
	return receiver(fn.Recv.List[0].Type)
}

func returnsError(f *ast.FuncType) bool {
	if f.Results == nil {
		return false
	}
	last, ok := f.Results.List[len(f.Results.List)-1].Type.(*ast.Ident)
	return ok && last.Name == "error"
}

func takesContext(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
			return true
		}
	}
	return false
}
