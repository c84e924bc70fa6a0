package loop

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// anyGoroutine are the exported methods of Conn, Loop and what is bound to one
// that any goroutine may call, or that are for before Run.
var anyGoroutine = map[string]bool{
	"Conn.Loop": true, "Conn.Key": true, "Loop.Conn": true, "Loop.Index": true, "Loop.Engine": true,
	"Loop.Post": true, "Loop.PostQuiet": true, "Loop.Mail": true, "Loop.Wake": true, "Loop.Ask": true,
	"Loop.OnLoop": true, "Loop.Admit": true,
}

// checks are what a method begins with that checks its goroutine.
var checks = []string{"check", "Check", "record", "living", "unopened", "Find"}

// Every exported method that is for the loop only checks that, in builds with the
// race detector.
func TestMethodsOfALoopCheckTheirGoroutine(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() {
				continue
			}
			on := receiver(f.Recv.List[0].Type)
			if on != "Conn" && on != "Loop" || anyGoroutine[on+"."+f.Name.Name] {
				continue
			}
			n++
			if !callsOne(f.Body, checks) {
				t.Errorf("%s.%s does not check the goroutine it is called on", on, f.Name.Name)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d methods were looked at, want more", n)
	}
}

func receiver(x ast.Expr) string {
	if p, ok := x.(*ast.StarExpr); ok {
		x = p.X
	}
	if id, ok := x.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func callsOne(body *ast.BlockStmt, names []string) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			if s, ok := c.Fun.(*ast.SelectorExpr); ok {
				for _, name := range names {
					found = found || s.Sel.Name == name
				}
			}
		}
		return true
	})
	return found
}
