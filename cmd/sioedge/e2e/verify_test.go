//go:build interop

package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// verifiers run what the guide has in a language, with a secret, the three fields and a
// body as arguments, and print true or false.
var verifiers = map[string]struct{ file, before, after, run string }{
	"js": {"v.mjs", "", `
const [secret, id, at, signature, body] = process.argv.slice(2);
console.log(verify(secret, { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature }, Buffer.from(body)));`, "node"},
	"python": {"v.py", "", `
import sys
secret, id, at, signature, body = sys.argv[1:]
print(str(verify(secret, {"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature}, body.encode())).lower())`, "/usr/bin/python3"},
	"php": {"v.php", "<?php\n", `
[, $secret, $id, $at, $signature, $body] = $argv;
echo verify($secret, ['webhook-id' => $id, 'webhook-timestamp' => $at, 'webhook-signature' => $signature], $body) ? 'true' : 'false';`, "php"},
	"go": {"v.go", `package main

import ("crypto/hmac"; "crypto/sha256"; "encoding/base64"; "fmt"; "net/http"; "os"; "slices"; "strconv"; "strings"; "time")
`, `
func main() {
	h := http.Header{}
	h.Set("webhook-id", os.Args[2])
	h.Set("webhook-timestamp", os.Args[3])
	h.Set("webhook-signature", os.Args[4])
	fmt.Println(verify(os.Args[1], h, []byte(os.Args[5])))
}`, "go run"},
}

// What the guide for backends has of code to verify requests does so.
func TestGuideVerifiesInFourLanguages(t *testing.T) {
	guide, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key, id, at, body string) string {
		mac := hmac.New(sha256.New, []byte(key))
		fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	raw := "0123456789abcdef0123456789abcdef"
	coded := "whsec_" + base64.StdEncoding.EncodeToString([]byte(raw))
	now, old := fmt.Sprint(time.Now().Unix()), fmt.Sprint(time.Now().Unix()-400)
	body := `{"node":"a","events":[{"ev":"ä \" "}]}`
	good := sign(raw, "m1", now, body)
	for language, v := range verifiers {
		t.Run(language, func(t *testing.T) {
			code := ""
			for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
				if strings.Contains(strings.ToLower(m[1]), "hmac") {
					code = m[1]
				}
			}
			file := filepath.Join(t.TempDir(), v.file)
			if err := os.WriteFile(file, []byte(v.before+code+v.after), 0o600); err != nil {
				t.Fatal(err)
			}
			if v.run == "go run" { // built once
				program := strings.TrimSuffix(file, ".go")
				if out, err := exec.Command("go", "build", "-o", program, file).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				file, v.run = "", program
			}
			for what, x := range map[string]struct {
				args []string
				want string
			}{
				"a good one":      {[]string{coded, "m1", now, good, body}, "true"},
				"a secret's text": {[]string{raw, "m1", now, good, body}, "true"},
				"two signatures":  {[]string{coded, "m1", now, sign("another", "m1", now, body) + " " + good, body}, "true"},
				"another body":    {[]string{coded, "m1", now, good, body + " "}, "false"},
				"another id":      {[]string{coded, "m2", now, good, body}, "false"},
				"another secret":  {[]string{raw + "x", "m1", now, good, body}, "false"},
				"an old one":      {[]string{coded, "m1", old, sign(raw, "m1", old, body), body}, "false"},
				"a short one":     {[]string{coded, "m1", now, "v1,AAAA", body}, "false"},
			} {
				args := x.args
				if file != "" {
					args = append([]string{file}, args...)
				}
				out, err := exec.Command(v.run, args...).CombinedOutput()
				if got := strings.TrimSpace(string(out)); err != nil || got != x.want {
					t.Errorf("%s: %v, %s, want %s", what, err, got, x.want)
				}
			}
		})
	}
}
