//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tests is where the tests in Node are.
const tests = "../npm/test"

// binary is sioedge, built once, in a directory that TestMain removes.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sioedge-bridge")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sioedge")
	if out, err := exec.Command("go", "build", "-o", path, "../../..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// node runs a file of tests, and shows what they say.
func node(t *testing.T, folder, file string) {
	t.Helper()
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, installed := range []string{"..", folder} {
		if _, err := os.Stat(filepath.Join(tests, installed, "node_modules")); err != nil {
			t.Fatalf("%v: npm ci installs it", err)
		}
	}
	cmd := exec.Command("node", "--test", "--test-reporter=spec", file)
	cmd.Dir = filepath.Join(tests, folder)
	cmd.Env = append(os.Environ(), "SIOEDGE="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if !strings.Contains(string(out), "ℹ fail 0") || strings.Contains(string(out), "ℹ pass 0\n") {
		t.Fatalf("no test has run:\n%s", out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// Each minor version of socket.io does through the bridge what it does by itself.
func TestVersions(t *testing.T) { node(t, "versions", "versions.test.js") }

// NestJS, Express with sessions, Node's cluster, TypeScript, and two bridges of one edge.
func TestFrameworks(t *testing.T) { node(t, "frameworks", "frameworks.test.js") }
