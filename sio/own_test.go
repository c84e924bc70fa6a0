package sio

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// What belongs to a loop checks that it is called there where it is entered: the
// methods of a sequencer that take a shard do so first.
func TestSequencersCheckTheirLoop(t *testing.T) {
	var funcs []*ast.FuncDecl
	methods := map[string]bool{}
	for _, name := range []string{"sequencer.go", "recover.go", "clustered.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.FuncDecl:
				funcs = append(funcs, x)
			case *ast.TypeSpec:
				if i, ok := x.Type.(*ast.InterfaceType); ok && x.Name.Name == "sequencer" {
					for _, m := range i.Methods.List {
						methods[m.Names[0].Name] = true
					}
				}
			}
			return true
		})
	}
	checked := 0
	for _, f := range funcs {
		if f.Recv == nil || !methods[f.Name.Name] || !takesShard(f) {
			continue
		}
		checked++
		if !beginsWithCheck(f) {
			t.Errorf("%s does not begin with sh.loop.Check()", f.Name.Name)
		}
	}
	if checked < 10 {
		t.Errorf("%d methods that take a shard were found, want all", checked)
	}
}

func takesShard(f *ast.FuncDecl) bool {
	for _, p := range f.Type.Params.List {
		if s, ok := p.Type.(*ast.StarExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && id.Name == "shard" {
				return true
			}
		}
	}
	return false
}

func beginsWithCheck(f *ast.FuncDecl) bool {
	if len(f.Body.List) == 0 {
		return false
	}
	e, ok := f.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := e.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Check"
}
