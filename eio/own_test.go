package eio

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestEntriesCheckTheLoop: each exported method of what belongs to loops begins with
// the loop's check, which builds with the race detector have; those that any goroutine
// may call say so.
func TestEntriesCheckTheLoop(t *testing.T) {
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	// What a method begins with, by the name of what is called: these check.
	checks := map[string]bool{"Check": true, "at": true, "Valid": true, "pause": true, "resume": true}
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			m, ok := d.(*ast.FuncDecl)
			if !ok || m.Recv == nil || !m.Name.IsExported() {
				continue
			}
			of := m.Recv.List[0].Type
			if p, ok := of.(*ast.StarExpr); ok {
				of = p.X
			}
			if x, ok := of.(*ast.Ident); !ok || x.Name != "Session" && x.Name != "Server" {
				continue
			}
			n++
			text := strings.Join(strings.Fields(m.Doc.Text()), " ")
			if strings.Contains(text, "Any goroutine may call it") || strings.Contains(text, "on any goroutine") {
				continue
			}
			checked := false
			if len(m.Body.List) > 0 {
				first := m.Body.List[0]
				if x, ok := first.(*ast.IfStmt); ok && x.Init != nil {
					first = x.Init
				} else if ok {
					first = &ast.ExprStmt{X: x.Cond}
				}
				ast.Inspect(first, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok {
						if s, ok := call.Fun.(*ast.SelectorExpr); ok && checks[s.Sel.Name] {
							checked = true
						}
					}
					return true
				})
			}
			if !checked {
				t.Errorf("%s: %s does not begin with a check of its loop, nor says that any goroutine may call it", fset.Position(m.Pos()), m.Name.Name)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d methods were looked at, want all", n)
	}
}
