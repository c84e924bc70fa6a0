package rooms

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Each exported method of a Local asks first whose goroutine it is on, but those
// that are called before the loop runs.
func TestMethodsOfALocalAskWhoseItIs(t *testing.T) {
	before := map[string]bool{"OnDeliver": true, "OwnedBy": true, "Measure": true}
	files, _ := filepath.Glob("*.go")
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			m, ok := d.(*ast.FuncDecl)
			if !ok || m.Recv == nil || !m.Name.IsExported() || before[m.Name.Name] {
				continue
			}
			if star, ok := m.Recv.List[0].Type.(*ast.StarExpr); !ok || star.X.(*ast.Ident).Name != "Local" {
				continue
			}
			found++
			if !asks(m.Body.List[0]) {
				t.Errorf("%s begins without own or check", m.Name.Name)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d methods were found", found)
	}
}

// asks tells whether a statement is a call of own, or of check, which calls it.
func asks(s ast.Stmt) bool {
	x, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := x.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	return ok && (f.Sel.Name == "own" || f.Sel.Name == "check")
}
