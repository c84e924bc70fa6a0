package config

import (
	"strings"
	"testing"
	"time"
)

const masterKey = "a master key that is long enough!"

// A backend that is named inherits what it does not say, and has a secret of its own.
func TestBackendsInherit(t *testing.T) {
	l, err := of(t, `
secret: "`+masterKey+`"
webhook: { url: "http://app:8080/sio", timeout: 1s, events: [connect, room], secret_previous: "the one before it, which rotates" }
backends:
  fast: "unix:/run/fast.sock:/hooks"
  main: { url: "https://main/{type}", timeout: 9s, secret: "a secret of its own, long enough", on_error: allow, events: event }
`)
	if err != nil {
		t.Fatal(err)
	}
	all := l.BackendsOf()
	def, fast, main := all[DefaultBackend], all["fast"], all["main"]
	if len(all) != 3 || def.URL != "http://app:8080/sio" || def.Lanes != 64 || def.CacheTTL != 5*time.Minute {
		t.Errorf("the backends are %+v", all)
	}
	if fast.Timeout != time.Second || strings.Join(fast.Events, " ") != "connect room" || fast.OnError != "close" || fast.SecretPrevious == "" {
		t.Errorf("fast does not inherit: %+v", fast)
	}
	if main.Timeout != 9*time.Second || main.OnError != "allow" || strings.Join(main.Events, " ") != "event" || main.SecretPrevious != "" {
		t.Errorf("main is %+v, want what it says, and no previous secret of another's", main)
	}
	if def.Secret == fast.Secret || len(def.Secret) != 64 || main.Secret != "a secret of its own, long enough" {
		t.Errorf("the secrets are %q, %q, %q", def.Secret, fast.Secret, main.Secret)
	}
	if k := l.APIKeys(); len(k) != 1 || len(k[0]) != 64 || k[0] == def.Secret {
		t.Errorf("the API's keys are %q", k)
	}
}

// What is well formed and cannot be is a fault of its key.
func TestBackendFaults(t *testing.T) {
	for text, want := range map[string]string{
		`secret: short`:                                                          "secret: must have at least 32 bytes",
		`api: { keys: [short] }`:                                                 "api.keys[0]: must have at least 24 bytes",
		`webhook: { url: "http://a" }`:                                           "webhook.secret: is missing",
		`webhook: { url: "http://a", secret: short }`:                            "webhook.secret: must have at least 24 bytes",
		`{ secret: "` + masterKey + `", webhook: "ftp://a" }`:                    "webhook.url: is no URL of http or https",
		`{ secret: "` + masterKey + `", webhook: "http://u:p@a" }`:               "webhook.url: has a user",
		`{ secret: "` + masterKey + `", webhook: "http://{type}.a/" }`:           "webhook.url: ",
		`{ secret: "` + masterKey + `", webhook: "http://a/?t={type}" }`:         "webhook.url: has a placeholder outside",
		`{ secret: "` + masterKey + `", webhook: "unix:run" }`:                   "webhook.url: is not unix:",
		`{ secret: "` + masterKey + `", backends: { a: { timeout: 1s } } }`:      "backends.a.url: is missing",
		`{ secret: "` + masterKey + `", backends: { none: "http://a" } }`:        "backends.none: cannot be called that",
		`{ secret: "` + masterKey + `", webhook: { url: "http://a", cert: x } }`: "webhook.cert: goes with key",
	} {
		if _, err := of(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// A page for operators that nobody could use is a mistake.
func TestAdminThatNobodyCanUse(t *testing.T) {
	const hash = `"$2a$04$WvLF.hAc7mkWbb3BTz7LwuAB1Q0ULvt2m8N0vS1s7jUzr0Y7nYQpe"`
	for text, ok := range map[string]bool{
		"admin: {enabled: true}": false, "admin: {enabled: true, user: root}": false, "admin: true": false, "admin: {password: ''}": true,
		"admin: {enabled: true, password: " + hash + "}": true, "admin: true\nsecret: 0123456789abcdef0123456789abcdef": true, "admin: true\napi: {keys: [0123456789abcdef0123456789abcdef]}": true,
	} {
		_, err := of(t, text+"\n")
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), ":1: admin.password: is missing") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
