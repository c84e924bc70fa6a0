package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// secureServer serves Socket.IO over TLS, and returns its URL and its certificate's file.
func secureServer(t *testing.T) (at, ca string) {
	t.Helper()
	srv, err := sio.New(sio.Options{KeepHandshake: sio.KeepAlways})
	if err != nil {
		t.Fatal(err)
	}
	ns := srv.Of("/chat")
	ns.Use(func(s sio.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token == "" {
			return &sio.Error{Message: "no token"}
		}
		return nil
	})
	ns.Handle("tell", func(s sio.Socket, m *sio.Msg) error {
		var auth json.RawMessage
		if err := s.Auth(&auth); err != nil {
			return err
		}
		h := s.Handshake()
		return m.Ack(auth, h.Query().Get("q"), h.Header().Get("X-Test"))
	})
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	h := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr.String()}))
	t.Cleanup(func() {
		h.Close()
		_ = srv.Shutdown(context.Background())
		<-served
	})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.URL + "/chat?q=1", ca
}

// What flags say reaches the server; what becomes of a script is its exit code.
func TestClientCommand(t *testing.T) {
	at, ca := secureServer(t)
	for _, c := range []struct {
		name, args  string // with | between arguments
		fails       string
		code        int
		out, stderr string // parts of them
	}{
		{"all flags", "--ca|CA|--auth|user=u7|--auth|n:=1|--token|T|--header|X-Test: yes|--query|r=2|--exec|ask tell", "", 0, ` {"n":1,"token":"T","user":"u7"} "1" "yes"`, "connected as"},
		{"by polling", "--ca|CA|--token|T|--transports|polling|--exec|ask tell", "", 0, `{"token":"T"}`, "session by polling"},
		{"by WebSocket", "--ca|CA|--token|T|--transports|websocket|--exec|ask tell", "", 0, `{"token":"T"}`, "session by websocket"},
		{"any certificate", "--insecure|--token|T|--exec|ask tell", "", 0, `{"token":"T"}`, "--insecure: whoever is in between"},
		{"an unknown certificate", "--token|T|--exec|ask tell", "certificate", exitNoServer, "", ""},
		{"another authority", "--ca|/dev/null|--exec|ask tell", "--ca: /dev/null has no certificate", 1, "", ""},
		{"an authority that does not end", "--ca|/dev/zero|--exec|ask tell", "--ca: read /dev/zero: has more than 1MiB", 1, "", ""},
		{"a certificate that does not end", "--cert|/dev/zero|--key|/dev/null|--exec|ask tell", "--cert: read /dev/zero: has more than 1MiB", 1, "", ""},
		{"a refusal", "--ca|CA|--exec|ask tell", "the server refused /chat: no token", exitRefused, "", ""},
		{"no answer", "--ca|CA|--token|T|--timeout|300ms|--exec|ask nothing", "no acknowledgement of nothing within 300ms", exitNoAnswer, "", ""},
		{"no event", "--ca|CA|--token|T|--once|--for|50ms", "no event within 50ms", exitNoAnswer, "", ""},
		{"no command", "--ca|CA|--token|T|--exec|bogus", "there is no command", 1, "", ""},
		{"a binding", "--ca|CA|--token|T|--bind|me=tell|--exec|me", "", 0, `{"token":"T"}`, ""},
		{"a bad binding", "--bind|emit=x", "emit is a command", exitUsage, "", ""},
		{"a bad transport", "--transports|pigeon", `there is no transport "pigeon"`, exitUsage, "", ""},
		{"a bad header", "--header|X", `not "Name: value"`, exitUsage, "", ""},
		{"a header of two", "--header|X: a\r\nY: b", "cannot be a header", exitUsage, "", ""},
		{"bad auth", "--auth|SECRET", "--auth: neither", exitUsage, "", ""},
		{"a bad namespace", "--namespace|chat", "begins with a slash", exitUsage, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, err := run(append([]string{"client", at}, strings.Split(strings.ReplaceAll(c.args, "CA", ca), "|")...)...)
			if !failsAs(err, c.fails, c.code) || !strings.Contains(out, c.out) || !strings.Contains(errs, c.stderr) {
				t.Errorf("%v, wrote\n%s\n%s\nwant %s (%d), %s, %s", err, out, errs, c.fails, c.code, c.out, c.stderr)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("it tells what is secret: %v", err)
			}
		})
	}
	for _, args := range [][]string{{"client"}, {"client", "a", "b"}, {"client", "ftp://h"}} {
		if _, _, err := run(args...); !failsAs(err, "", exitUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
