package sio_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// The request of a session is kept as long as it may join a namespace that asks for it,
// and no longer, by what is registered at that moment.
func TestWhatASessionMayStillBeAsked(t *testing.T) {
	greet := func(sio.Socket) error { return nil }
	for _, c := range []struct {
		name     string
		register func(srv *sio.Server)
		opened   int   // requests held
		kept     []int // behind the joins of /, /a and /b
	}{
		{"nobody greets", func(srv *sio.Server) {}, 0, []int{0, 0, 0}},
		{"the first", func(srv *sio.Server) { srv.Of("/").Use(greet) }, 1, []int{0, 0, 0}},
		{"the last", func(srv *sio.Server) { srv.Of("/b").OnConnect(greet) }, 1, []int{1, 1, 0}},
		{"two, in several ways", func(srv *sio.Server) {
			srv.Of("/").Use(greet, greet)
			srv.Of("/").OnConnect(greet)
			srv.Of("/a").OnConnect(greet)
		}, 1, []int{1, 0, 0}},
		{"a pattern", func(srv *sio.Server) { srv.Of("/c/:id").Use(greet) }, 1, []int{1, 1, 1}},
		{"a function", func(srv *sio.Server) {
			srv.OfFunc(func(string, json.RawMessage) bool { return false }).OnConnect(greet)
		}, 1, []int{1, 1, 1}},
		{"those that need none", func(srv *sio.Server) {
			for _, name := range []string{"/", "/c/:id"} {
				ns := srv.Of(name)
				ns.NeedsRequest(false)
				ns.Use(greet)
				ns.OnConnect(greet)
			}
			srv.Of("/b").OnConnect(greet)
			srv.Of("/b").NeedsRequest(false)
		}, 0, []int{0, 0, 0}},
		{"those of servers", func(srv *sio.Server) {
			srv.Of("/c/:id").Use(greet)
			srv.Of("/c/:id").ServersOnly()
		}, 0, []int{0, 0, 0}},
		{"handlers of something else", func(srv *sio.Server) {
			srv.Of("/c/:id").OnDisconnect(func(sio.Socket, sio.Reason) {})
			srv.Of("/a").Use()
		}, 0, []int{0, 0, 0}},
	} {
		srv := siotest.New(t, sio.Options{})
		for _, name := range []string{"/", "/a", "/b"} {
			srv.Of(name)
		}
		c.register(srv.Server)
		conn := srv.Dial(siotest.Options{})
		if n := srv.Held()["handshakes"]; n != c.opened {
			t.Errorf("%s: %d requests are held at first, want %d", c.name, n, c.opened)
		}
		for i, packet := range []string{"40", "40/a,", "40/b,"} {
			conn.Send(packet)
			if n := srv.Held()["handshakes"]; n != c.kept[i] {
				t.Errorf("%s: behind %s %d requests are held, want %d", c.name, packet, n, c.kept[i])
			}
		}
		conn.Drop()
		wantNothingHeld(t, srv.Held())
	}
}

// Who needs no request is given the address, and the auth for the namespace.
func TestWhatIsKnownWithoutARequest(t *testing.T) {
	j := &journal{}
	srv := siotest.New(t, sio.Options{Logger: slog.New(slog.NewTextHandler(j, nil))})
	srv.Of("/a").NeedsRequest(false)
	srv.Of("/a").OnConnect(func(s sio.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil {
			return err
		}
		return s.Emit("known", auth.Token, s.Handshake().Address().IsValid(), s.Handshake().URL())
	})
	for auth, want := range map[string]string{`{"token":"x"}`: `"x",true,""`, "": `"",true,""`} {
		c := srv.Dial(siotest.Options{})
		c.Send("40/a," + auth)
		if got := c.Received(); got[len(got)-1] != `42/a,["known",`+want+"]" {
			t.Errorf("with auth %q: %q", auth, got)
		}
	}
	if log := strings.Join(j.lines(), "\n"); strings.Contains(log, "OnConnect") {
		t.Errorf("logged: %s", log)
	}
}

// Among a thousand namespaces each client finds its own.
func TestAThousandNamespaces(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	for i := range 1000 {
		srv.Of(fmt.Sprintf("/p%d/:id", i)).OnConnect(func(s sio.Socket) error { return s.Emit("of", i, s.Param("id")) })
		srv.Of(fmt.Sprintf("/l%d", i)).OnConnect(func(s sio.Socket) error { return s.Emit("of", i) })
	}
	for _, i := range []int{0, 500, 999} {
		if got := srv.Connect(fmt.Sprintf("/p%d/x", i)).Expect("of").Args.String(); got != fmt.Sprintf(`%d, "x"`, i) {
			t.Errorf("a client of pattern %d is in that of %s", i, got)
		}
		if got := srv.Connect(fmt.Sprintf("/l%d", i)).Expect("of").Args.String(); got != fmt.Sprint(i) {
			t.Errorf("a client of namespace %d is in that of %s", i, got)
		}
	}
}

// What a connection costs does not depend on how many namespaces there are: they are
// walked only by what the program or an operator does.
func TestNobodyWalksAllNamespacesForAConnection(t *testing.T) {
	may := []string{"init", "add", "define", "Namespaces", "Stats", "operators", "export", "exportHistory", "settleHistory"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				load, ok := n.(*ast.SelectorExpr)
				if !ok || load.Sel.Name != "Load" {
					return true
				}
				if all, ok := load.X.(*ast.SelectorExpr); ok && all.Sel.Name == "all" && !slices.Contains(may, fn.Name.Name) {
					t.Errorf("%s: %s walks all namespaces", name, fn.Name.Name)
				}
				return true
			})
		}
	}
}
