//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestInteropBridge plays the scenarios a third time: the application is Node's own, and
// its clients live on sioedge, to which the npm package attaches it. This package knows
// nothing of either: they are processes.
func TestInteropBridge(t *testing.T) {
	pkg, err := filepath.Abs("../../cmd/sioedge/internal/bridge/npm")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "sioedge")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/sioedge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("SIOEDGE", binary)
	t.Setenv("BRIDGE", pkg)
	node(t, "run.mjs", "--filter", os.Getenv("FILTER"),
		"4=bridge", "3=bridge", "2=bridge", "msgpack=bridge", "recovery=bridge", "deflate=bridge")
}
