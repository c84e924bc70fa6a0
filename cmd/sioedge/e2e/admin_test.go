//go:build interop

package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const adminFile = `
loops: 2
keep_handshake: true
drain: 3s
drain_delay: 100ms
api: { keys: [ "$KEY" ] }
admin: { enabled: true, password: "$HASH" }
auth: { mode: jwt, jwt: { secret: "$SECRET" } }
webhook: { url: "http://127.0.0.1:1/hook", secret: "a secret of the webhook, long enough" }
namespaces:
  - pattern: /
    auth: optional
    backend: none
    events:
      enter: { action: join, room: "{args.0}", allow: [ "*" ], ack: true }
      "*": { action: relay, to: "{args.0}", allow: [ "*" ], self: true, skip: 1 }
  - pattern: /rooms/:id
    auth: optional
    backend: none
`

// An operator uses the page in Chromium: what is in it is what clients of npm do, and they
// see what the operator does. Screenshots are in build/.
func TestBrowserAdmin(t *testing.T) {
	const password, key, secret = "correct horse battery staple", "a key of the API for the page", "a secret of tokens that nobody guesses"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, write(t, adminFile, "$KEY", key, "$HASH", string(hash), "$SECRET", secret), "--internal-listen", "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "admin.mjs", e.url, "http://"+e.api)
	cmd.Env = append(os.Environ(), "ADMIN_PASSWORD="+password, "API_KEY="+key, "JWT_SECRET="+secret)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}
