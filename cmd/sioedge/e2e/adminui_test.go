//go:build interop

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const adminUIFile = `
loops: 2
admin: { namespace: /admin, mode: development, password: "$HASH" }
namespaces:
  - pattern: /
    events:
      enter: { action: join, room: "{args.0}", allow: [ "*" ], ack: true }
`

const adminUIPassword = "correct horse battery staple"

func adminUIHash(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(adminUIPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// playAdminUI runs a part of adminui.mjs, and returns what it prints.
func playAdminUI(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{"adminui.mjs"}, args...)...)
	cmd.Env = append(os.Environ(), "PASSWORD="+adminUIPassword)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out.Bytes())
	}
	return out.String()
}

func startAdminUI(t *testing.T, hash string, flags ...string) *edge {
	t.Helper()
	return start(t, write(t, adminUIFile, "$HASH", hash), append(flags, "--internal-listen", "127.0.0.1:0")...)
}

// startInstrumented starts a server of Node with @socket.io/admin-ui, and returns its URL.
func startInstrumented(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("node", append([]string{"adminui-node.mjs"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// A page is told the same by this server as by one of Node, in the same dialogue.
func TestAdminUIAsNode(t *testing.T) {
	hash := adminUIHash(t)
	want := playAdminUI(t, "dialogue", startInstrumented(t, hash))
	got := playAdminUI(t, "dialogue", startAdminUI(t, hash).url)
	if got != want {
		t.Errorf("the page is told\n%s\nand by Node\n%s", got, want)
	}
}

// In a cluster with a server of Node pages see both, wherever they are connected.
func TestAdminUIOfAMixedCluster(t *testing.T) {
	redis, hash := startRedis(t), adminUIHash(t)
	node := startInstrumented(t, hash, redis)
	a := startAdminUI(t, hash, "--adapter", "redis://"+redis)
	b := startAdminUI(t, hash, "--adapter", "redis://"+redis)
	for _, url := range []string{a.url, b.url, node} {
		playAdminUI(t, "servers", url, "3", "a server of Node")
	}
}

// The package's own page shows the server in Chromium.
func TestBrowserAdminUI(t *testing.T) {
	e := startAdminUI(t, adminUIHash(t), "--origins", "http://127.0.0.1:*")
	t.Setenv("PID", fmt.Sprint(e.cmd.Process.Pid))
	if out := playAdminUI(t, "browser", e.url); !strings.Contains(out, "shown") {
		t.Error(out)
	}
}
