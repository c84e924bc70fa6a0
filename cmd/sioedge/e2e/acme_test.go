//go:build interop

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const pebble = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3" // Let's Encrypt's authority for tests

// nameServer answers each question for an address by 127.0.0.1, over TCP (RFC 1035).
func nameServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	// ends with l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// ends with the one who asks
			go func() {
				defer c.Close()
				var n [2]byte
				for {
					if _, err := io.ReadFull(c, n[:]); err != nil {
						return
					}
					b := make([]byte, int(n[0])<<8|int(n[1]))
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					r := resolve(b)
					_, _ = c.Write(append([]byte{byte(len(r) >> 8), byte(len(r))}, r...))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// resolve answers a question.
func resolve(b []byte) []byte {
	end := 12
	for end < len(b) && b[end] != 0 {
		end += 1 + int(b[end])
	}
	end += 5
	r := append([]byte{b[0], b[1], 0x85, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, b[12:end]...)
	if b[end-4] == 0 && b[end-3] == 1 { // A
		r[7] = 1
		r = append(r, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return r
}

// port returns a port that was free a moment ago.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, p, _ := net.SplitHostPort(l.Addr().String())
	return p
}

const withAuthority = `
tls:
  acme: { domains: [edge.example.net], email: nobody@example.net, directory: "https://localhost:$ACME/dir", ca: "$DIR/ca.pem", cache: "$DIR/cache" }
`

// An authority gives a certificate by tls-alpn-01, which is served to clients, and is in the
// cache for the next process.
func TestAuthorityGivesCertificates(t *testing.T) {
	dir, ca := t.TempDir(), newSigner(t)
	install := exec.Command("go", "install", pebble)
	install.Dir, install.Env = dir, append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("pebble cannot be built here: %v: %s", err, out)
	}
	cert, key := ca.sign(t, "localhost")
	acme, edgePort := port(t), port(t)
	config, _ := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": "127.0.0.1:" + acme, "managementListenAddress": "127.0.0.1:0", "certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": 1, "retryAfter": map[string]any{"authz": 1, "order": 1}, "tlsPort": json.RawMessage(edgePort), "profiles": map[string]any{"default": map[string]any{"description": "x", "validityPeriod": 86400}},
	}})
	for name, text := range map[string]string{"ca.pem": ca.pem, "cert.pem": cert, "key.pem": key, "pebble.json": string(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authority := exec.Command(filepath.Join(dir, "pebble"), "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", nameServer(t))
	authority.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	var said strings.Builder
	authority.Stdout, authority.Stderr = &said, &said
	if err := authority.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("pebble says:\n%s", &said)
		}
	}()
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = authority.Process.Kill()
			_ = authority.Wait()
		}
	}
	defer end()
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+acme)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(until) {
			t.Fatalf("pebble is not there: %v", err)
		}
	}
	file := write(t, withAuthority, "$ACME", acme, "$DIR", dir)
	var served []byte
	for _, first := range []bool{true, false} {
		e := start(t, file, "--listen", "tls://127.0.0.1:"+edgePort)
		line := e.said("there is a certificate of the authority")
		if line["name"] != "edge.example.net" {
			t.Errorf("it is said: %v", line)
		}
		conn, err := tls.Dial("tcp", "127.0.0.1:"+edgePort, &tls.Config{ServerName: "edge.example.net", InsecureSkipVerify: true})
		if err != nil {
			end()
			t.Fatalf("%v; pebble: %s", err, &said)
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		_ = conn.Close()
		if err := leaf.VerifyHostname("edge.example.net"); err != nil || !strings.Contains(leaf.Issuer.CommonName, "Pebble") {
			t.Errorf("the certificate is of %s: %v", leaf.Issuer, err)
		}
		if first {
			served = leaf.Raw
			end() // the next process has it from the cache
		} else if string(served) != string(leaf.Raw) {
			t.Error("the certificate is not that of the cache")
		}
		e.stop()
	}
}
