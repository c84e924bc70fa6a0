//go:build interop

package interop

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestBrowserBoard runs the demo's board, which is declared, on the server itself.
func TestBrowserBoard(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "sioedge")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/sioedge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(bin, "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	at := regexp.MustCompile(`msg=listening address=(\S+)`)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if m := at.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(os.Stderr, log) }() // ends with the server
			node(t, "pins.mjs", "http://"+m[1])
			return
		}
	}
	t.Fatal("the server said no address")
}
