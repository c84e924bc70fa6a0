//go:build interop

package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const secretive = `
eio3: true
secret: $SECRET-of-all-0123456789abcdef-0123456789
auth:
  mode: jwt+webhook
  jwt: { secret: $SECRET-of-tokens-0123456789abcdef }
api: { keys: [$SECRET-key-of-the-api-0123456789, $SECRET-another-key-0123456789] }
webhook: { url: "http://$BACKEND/hook?token=$SECRET", secret: $HOOK, timeout: 1s, forward_headers: [cookie, authorization, x-secret] }
log: { level: debug }
namespaces:
  - pattern: /
    auth: optional
    events: { local: { action: drop, max_bytes: 64 } }
  - pattern: /closed
    allow_connect: ["room:{user}"]
`

// No secret of the settings, and nothing that clients, callers or backends send is in the
// log of any level, nor in what commands write; not when it is wrong, either.
func TestLogsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	r := newRogue(t, 7)
	values := []string{"$SECRET", mark, "$BACKEND", r.addr, "$HOOK", rogueSecret}
	file := write(t, secretive, values...)
	e := start(t, file, "--internal-listen", "127.0.0.1:0")
	x := &agents{t: t}
	r.ill.Store(true)
	for i := range 12 {
		for _, kind := range []string{"4", "2", py} {
			o := marked(kind, "u")
			switch i % 3 {
			case 1: // a token that looks like one
				o.auth = map[string]string{"token": forged(token(t, mark, time.Hour, claims{"secret": mark}))}
			case 2:
				o.auth = map[string]any{"token": map[string]string{mark: mark}}
			}
			x.dial(kind, e.url, []string{"/", "/closed", "/" + mark}[i%3], o)
		}
	}
	c := x.dial("4", e.url, "/", marked("4", "ann"))
	eventually(t, "a client is let in, or not", func() bool { return !strings.Contains(c.story(), "nothing") })
	for _, event := range []string{"local", "n", mark, "connect", "auth:refresh"} {
		for _, arg := range []any{mark, strings.Repeat(mark, 100), map[string]string{"token": mark}} {
			_, _ = c.a.do("emit", map[string]any{"c": c.name, "event": event, "args": []any{arg}}) // it may be gone
		}
	}
	for _, ask := range []struct{ method, url, body string }{
		{"POST", e.url + "/socket.io/?EIO=4&transport=polling&sid=" + mark, mark}, {"GET", e.url + "/" + mark + "?" + mark, ""},
		{"POST", "http://" + e.api + "/api/" + mark, mark}, {"POST", "http://" + e.api + "/api/emit?" + mark, mark},
		{"POST", "http://" + e.api + "/api/emit", `{"ev":"` + mark + `","args":["` + mark + `"],"` + mark + `":1}`},
	} {
		for _, key := range []string{mark, mark + "-key-of-the-api-0123456789"} {
			req, err := http.NewRequest(ask.method, ask.url, strings.NewReader(ask.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key)
			req.Header.Set("Cookie", "io="+mark)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	time.Sleep(3 * time.Second) // what the backend did is tried again
	for i, wrong := range []string{"api: { keys: [$SECRET] }", "webhook: { url: x, secret: $SECRET }", "webhook: { url: \"http://u:$SECRET@x\", secret: \"whsec_$SECRET!\" }",
		"secret: $SECRET", "auth: { mode: jwt, jwt: { secret: $SECRET } }", "adapter: 'redis://:$SECRET@127.0.0.1:1x/'"} {
		rewrite(t, file, wrong, values...)
		e.signal(syscall.SIGHUP)
		if i < 5 {
			e.said("not reloaded")
		} else {
			e.said("reloaded") // the adapter needs a restart
		}
		for _, command := range []string{"check", "config print", "doctor"} {
			x := &caller{t, nil}
			args := append(strings.Fields(command), "--config", file)
			out, errs, _ := x.run("", args[0], args[1:]...)
			if strings.Contains(out+errs, mark) {
				t.Errorf("%s of wrong settings %d says %s%s", command, i, out, errs)
			}
		}
	}
	rewrite(t, file, secretive, values...)
	good := &caller{t, nil}
	for _, args := range [][]string{{"config", "print", "--config", file}, {"check", "--config", file}, {"doctor", "--config", file}} {
		out, errs, _ := good.run("", args[0], args[1:]...)
		if out = strings.ReplaceAll(out, file, ""); strings.Contains(out+errs, mark) {
			t.Errorf("%q writes %s%s", args, out, errs)
		}
	}
}
