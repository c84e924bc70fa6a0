//go:build interop

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Proxies connect from 127.0.0.9, clients from other addresses.
const proxied = `
loops: 2
eio3: true
trust_proxy: 127.0.0.9
keep_handshake: true
limits: {max_conns_per_ip: 2}
api: {keys: [$KEY]}
`

const haproxyConfig = `
global
  maxconn 1000
defaults
  mode $MODE
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
listen nodes
  bind $FRONT
  $OPTIONS
  server a $BACK source 127.0.0.9 $SEND
`

const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  server {
    listen $FRONT;
    location / {
      proxy_pass http://$BACK;
      proxy_bind 127.0.0.9;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host inside;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $http_host;
    }
  }
}
`

// Behind HAProxy and nginx, clients have the addresses that they have: in handshakes, and
// where they are counted.
func TestBehindProxies(t *testing.T) {
	for _, x := range []struct {
		name, query, config string
		values              []string
		secure              bool
		spoof               string // a field that a client adds, in vain
	}{
		{"PROXY 1 of HAProxy", "?proxy=v1", haproxyConfig, []string{"$MODE", "tcp", "$OPTIONS", "", "$SEND", "send-proxy check check-send-proxy inter 200ms"}, false, "X-Forwarded-For"},
		{"PROXY 2 of HAProxy", "?proxy=v2", haproxyConfig, []string{"$MODE", "tcp", "$OPTIONS", "", "$SEND", "send-proxy-v2 check check-send-proxy inter 200ms"}, false, "X-Forwarded-For"},
		{"PROXY 2 of HAProxy with what it knows", "?proxy=any", haproxyConfig, []string{"$MODE", "tcp", "$OPTIONS", "", "$SEND", "send-proxy-v2 proxy-v2-options crc32c,unique-id"}, false, "Forwarded"},
		{"fields of HAProxy", "", haproxyConfig, []string{"$MODE", "http", "$OPTIONS", "option forwardfor", "$SEND", ""}, false, "X-Forwarded-For"},
		{"fields of nginx", "", nginxConfig, nil, true, "X-Forwarded-For"},
	} {
		t.Run(x.name, func(t *testing.T) { behindProxy(t, x.query, x.config, x.values, x.secure, x.spoof) })
	}
}

func behindProxy(t *testing.T, query, config string, values []string, secure bool, spoof string) {
	e := start(t, write(t, proxied, "$KEY", apiKey), "--internal-listen", "127.0.0.1:0", "--drain-delay=0s", "--listen", "tcp://127.0.0.1:0"+query)
	front := proxy(t, config, append(values, "$BACK", e.said("listening")["address"].(string))...)
	x := &agents{t: t}
	for _, kind := range []string{"4", "3"} {
		x.enter(kind, "http://"+front, "/", options{headers: map[string]string{spoof: "203.0.113.66"}})
	}
	status, _, text := e.ask(http.DefaultClient, apiKey, http.MethodPost, "/api/sockets/query", strings.NewReader(`{"nsp":"/","fields":["handshake"]}`))
	var page struct{ Sockets []struct{ SID string } }
	if err := json.Unmarshal(text, &page); err != nil || status != 200 || len(page.Sockets) != 2 {
		t.Fatalf("the API answers %d %s", status, text)
	}
	for _, s := range page.Sockets {
		_, _, text := e.ask(http.DefaultClient, apiKey, http.MethodGet, "/api/sockets/"+s.SID, nil)
		var d struct {
			Handshake struct {
				Address string
				Secure  bool
			}
		}
		if err := json.Unmarshal(text, &d); err != nil || d.Handshake.Address != "127.0.0.1" || d.Handshake.Secure != secure {
			t.Errorf("of a socket it is said %s, want 127.0.0.1 and %v", text, secure)
		}
	}
	if got := upgradeFrom(t, front, "127.0.0.1"); got != 429 {
		t.Errorf("one more of the same address is answered %d", got)
	}
	if got := upgradeFrom(t, front, "127.0.0.2"); got != 101 {
		t.Errorf("one of another address is answered %d", got)
	}
}

// proxy starts one, and returns where it listens.
func proxy(t *testing.T, config string, values ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := ln.Addr().String()
	_ = ln.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	rewrite(t, file, config, append(values, "$FRONT", front)...)
	cmd := exec.Command("haproxy", "-db", "-f", file)
	if config == nginxConfig {
		cmd = exec.Command("nginx", "-p", dir, "-c", file)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make proxies)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "the proxy listens", func() bool {
		c, err := net.Dial("tcp", front)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return front
}

// upgradeFrom asks for a WebSocket from an address, and returns the status. The connection
// lasts as long as the test.
func upgradeFrom(t *testing.T, to, from string) int {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
