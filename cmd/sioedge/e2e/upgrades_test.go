//go:build interop

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Ten upgrades in a row, between two builds, while a thousand clients of all kinds send
// numbers and check those that come: nobody is disconnected, nothing is lost, doubled or out
// of order, and the server holds no more after the last one than after the first.
func TestUpgradesUnderTraffic(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "upgrades")
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-trimpath", "-o", tool, "github.com/sioedge/sioedge/cmd/sioedge/upgrades"),
		exec.Command(tool, "-clients", "1000", "-upgrades", "10", "-apart", "500ms", "-calm", "1s", "-every", "1s", "-rate", "250"),
	} {
		cmd.Env = append(os.Environ(), "PORT=", "REDIS_URL=")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
	}
}
