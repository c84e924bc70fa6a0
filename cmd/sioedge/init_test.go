package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// signed signs claims with a secret, as an application does.
func signed(secret, claims string) string {
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return text + "." + enc.EncodeToString(m.Sum(nil))
}

// ofUser returns a token of a user, with a scope.
func ofUser(secret, user, scope string) string {
	return signed(secret, fmt.Sprintf(`{"sub":%q,"scope":%q,"exp":%d}`, user, scope, time.Now().Add(time.Hour).Unix()))
}

// What init writes passes check, is served, and does what its comments say.
func TestStarter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sioedge.yaml")
	if out, _, err := run("init", "--dir", dir); err != nil || !strings.Contains(out, path) {
		t.Fatalf("init = %v, printed %q", err, out)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s is %v, %v, want it for its owner alone", path, info.Mode(), err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := run("init", "-o", path); !os.IsExist(err) {
		t.Errorf("a second init = %v, want that the file is there", err)
	}
	other := filepath.Join(dir, "other.yaml")
	if _, _, err := run("init", "-o", other); err != nil {
		t.Error(err)
	}
	second, _ := os.ReadFile(other)
	now, _ := os.ReadFile(path)
	if string(now) != string(first) || string(second) == string(first) || strings.Contains(string(first), "SECRET") {
		t.Errorf("init has changed a file, or its secrets are not new:\n%s", second)
	}
	if out, errs, err := run("check", "--config", path); err != nil || out != "ok\n" {
		t.Fatalf("check of what init has written = %v, %s", err, errs)
	}

	l, err := config.Load(config.Sources{Environ: []string{"SIOEDGE_CONFIG=" + path}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Auth.JWT.Secret == l.Cluster.Secret || len(l.Auth.JWT.Secret) < 43 {
		t.Errorf("the secrets are %q and %q", l.Auth.JWT.Secret, l.Cluster.Secret)
	}
	s := startServer(t, "--config", path, "--loops=1")
	d := device{name: "a client", talk: strings.NewReplacer("TOKEN", ofUser(l.Auth.JWT.Secret, "u7", "room:42:read")).Replace(`
w> GET /socket.io/?EIO=4&transport=websocket HTTP/1.1 | Host: $host:$port | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== | Sec-WebSocket-Version: 13
w< 101
w~ 0{"sid":
w: 40/elsewhere,
w= 44/elsewhere,{"message":"Invalid namespace"}
w: 40
w~ 44{"message":"unauthorized","data":{"code":401
w: 40/public,
w~ 40/public,{"sid":
w: 40/rooms/42,{"token":"TOKEN"}
w~ 40/rooms/42,{"sid":
w^ 42/rooms/42,["presence:join",{"room":"room:42","user":"u7"}]
w: 40/rooms/43,{"token":"TOKEN"}
w~ 44/rooms/43,{"message":"forbidden","data":{"code":403
w: 42/rooms/42,1["subscribe","trend:42:up"]
w^ 43/rooms/42,1[{"ok":true,"room":"trend:42:up"}]
w: 42/rooms/42,2["subscribe","trend:43:up"]
w^ 43/rooms/42,2[{"error":"forbidden","data":{"code":403
w: 42/rooms/42,["message","hello"]
w^ 42/rooms/42,["message","hello",{"id":
w: 42/rooms/42,3["message","hello"]
w^ 43/rooms/42,3[{"ok":true
w: 42/public,4["message","hello"]
w^ 43/public,4[{"error":"read-only"`)}
	d.run(t, s.addr)
}
