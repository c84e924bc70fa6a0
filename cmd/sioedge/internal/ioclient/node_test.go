//go:build interop

package ioclient

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Node's own server has the same said of it as ours.
func TestInteropNode(t *testing.T) {
	cmd := exec.Command("node", "reference-server.mjs")
	cmd.Dir = "../../../../sio/interop"
	cmd.Env = append(os.Environ(), "WITH_PARENT=1", "RECOVERY=1")
	cmd.Stderr = os.Stderr
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hold.Close()
		_ = cmd.Wait()
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	play(t, strings.TrimSpace(url))
}
