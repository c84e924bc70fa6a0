package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

// status asks a public listener.
func (s *served) status(t *testing.T, method, path string) int {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// ends waits for the end of the process, and returns the messages until then.
func (s *served) ends(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for deadline := time.After(20 * time.Second); ; {
		select {
		case line, ok := <-s.log:
			if !ok {
				return all.String()
			}
			all.WriteString(line + "\n")
		case <-deadline:
			t.Fatal("the process does not end")
		}
	}
}

const handshake = "/socket.io/?EIO=4&transport=polling"

// A signal makes health red at once, while everybody is served as long as the delay lasts;
// there is no way back, and a second one ends the process.
func TestSignalsDrainAndEnd(t *testing.T) {
	s, socket, file := internalOf(t, "loops: 1\n", "--api-key="+apiKey, "--drain-delay=1h")
	s.next(t, "listening for operators and backends")
	check := func(more ...string) (string, error) {
		out, _, err := run(append([]string{"healthcheck", "--config=" + file, "--timeout=20s"}, more...)...)
		return strings.TrimSpace(out), err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out, err := check()
		if err == nil && out == "ok" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("healthcheck says %q, %v", out, err)
		}
	}
	for _, r := range [][2]string{{"GET", "/healthz"}, {"HEAD", "/"}, {"OPTIONS", "/"}, {"GET", handshake}} {
		if got := s.status(t, r[0], r[1]); got != 200 {
			t.Errorf("%v is answered %d", r, got)
		}
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.next(t, "draining: not ready, and everybody is served")
	for _, r := range [][2]string{{"GET", "/healthz"}, {"HEAD", "/"}, {"OPTIONS", "/"}} {
		if got := s.status(t, r[0], r[1]); got != 503 {
			t.Errorf("while it drains %v is answered %d", r, got)
		}
	}
	if got := s.status(t, "GET", handshake); got != 200 {
		t.Errorf("during the delay a new session is answered %d", got)
	}
	if out, err := check(); err == nil || !strings.HasPrefix(err.Error(), "503: drain: waiting: 2 sessions are left") {
		t.Errorf("healthcheck says %q, %v", out, err)
	}
	if out, err := check("--live"); err != nil || out != "ok" {
		t.Errorf("healthcheck --live says %q, %v", out, err)
	}
	if status, answer := request(t, socket, "POST", "/api/undrain", apiKey, ""); status != 409 {
		t.Errorf("a server that stops is undrained: %d %s", status, answer)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if log := s.ends(t); strings.Contains(log, `"stopped"`) {
		t.Errorf("a second signal lets it stop in its own time:\n%s", log)
	}
}

// The commands drain a server and take that back, and have it stop.
func TestDrainCommands(t *testing.T) {
	s, socket, _ := internalOf(t, "loops: 1\n", "--api-key="+apiKey)
	s.next(t, "listening for operators and backends")
	ask := func(want string, args ...string) {
		t.Helper()
		out, errs, err := run(append(args, "--url=unix:"+socket, "--api-key="+apiKey)...)
		if err != nil || strings.TrimSpace(out) != want {
			t.Errorf("%v says %q %q, %v, want %q", args, out, errs, err, want)
		}
	}
	if got := s.status(t, "GET", handshake); got != 200 {
		t.Fatalf("a new session is answered %d", got)
	}
	ask("drained, 0 sessions are left", "drain", "--delay=0s", "--over=0s", "--wait")
	if got := s.status(t, "GET", handshake); got != 503 {
		t.Errorf("when it is drained a new session is answered %d", got)
	}
	ask("serving", "undrain")
	if got := s.status(t, "GET", handshake); got != 200 {
		t.Errorf("undrained, a new session is answered %d", got)
	}
	if _, _, err := run("drain", "--delay=soon", "--url=unix:"+socket, "--api-key="+apiKey); err == nil || !strings.Contains(err.Error(), "delay") {
		t.Errorf("a delay that is none is answered %v", err)
	}
	out, _, err := run("drain", "--stop", "--json", "--delay=0s", "--over=0s", "--url=unix:"+socket, "--api-key="+apiKey)
	if err != nil || !strings.HasPrefix(out, `{"phase":"`) {
		t.Errorf("drain --stop says %q, %v", out, err)
	}
	if log := s.ends(t); !strings.Contains(log, `"stopped"`) {
		t.Errorf("it does not stop:\n%s", log)
	}
}

// Without an internal listener the public one is asked; what cannot be asked is said.
func TestHealthcheck(t *testing.T) {
	s := startServer(t, "--loops=1", "--internal-listen=", "--health-path=/up")
	for end := time.Now().Add(20 * time.Second); s.status(t, "GET", "/up") != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not ready")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct{ args, out, err string }{
		{"--internal-listen= --health-path=/up --listen=unix:/nowhere?proxy=v1 --listen=" + s.addr, "ok", ""},
		{"--internal-listen= --health-path=/down --listen=" + s.addr, "", "404: "},
		{"--url=http://" + s.addr + "/up", "ok", ""},
		{"--url=http://" + s.addr, "", "404: "},
		{"--url=unix:" + none, "", "no such file"},
		{"--url=" + s.addr, "", "is not http://"},
		{"--internal-listen= --health-path=", "", "no listener that can be asked"},
		{"--internal-listen=systemd:x --listen=systemd:", "", "no listener that can be asked"},
		{"--nosuch", "", "unknown flag"},
	} {
		out, _, err := run(append([]string{"healthcheck", "--timeout=20s"}, strings.Fields(test.args)...)...)
		if strings.TrimSpace(out) != test.out || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("healthcheck %s says %q, %v, want %q, %q", test.args, out, err, test.out, test.err)
		}
	}
	for listen, want := range map[string]string{
		"": "", ":9000": "http://127.0.0.1:9000", "tcp://[::]:1": "http://127.0.0.1:1", "10.0.0.1:2": "http://10.0.0.1:2", "unix:/s?mode=0660": "unix:/s", "systemd:": "",
	} {
		if got := listenerURL(listen); got != want {
			t.Errorf("listenerURL(%q) = %q, want %q", listen, got, want)
		}
	}
}

// USR1 has the log's file opened again, where somebody has moved it, and says how the
// server is; a part of the connections is in the log, from a reload on.
func TestLogFile(t *testing.T) {
	dir := t.TempDir()
	log, file := filepath.Join(dir, "log"), filepath.Join(dir, "f.yaml")
	base := "loops: 1\ninternal: {listen: ''}\nlog: {file: " + log
	writeSettings(t, file, base+"}\nnamespaces: [{pattern: /}]\n")
	cmd := exec.Command(os.Args[0], "serve", "--listen=127.0.0.1:0", "--drain-delay=0s", "--config", file)
	cmd.Env = append(os.Environ(), "DEVICES_SERVER=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	// ends with the process
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	var seen []map[string]any
	next := func(msg string) map[string]any {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			b, _ := os.ReadFile(log)
			seen = nil
			for text := range strings.Lines(string(b)) {
				var m map[string]any
				if json.Unmarshal([]byte(text), &m) == nil {
					if seen = append(seen, m); m["msg"] == msg {
						return m
					}
				}
			}
			if time.Now().After(end) {
				t.Fatalf("the log does not say %q but %v", msg, seen)
			}
		}
	}
	tell := func(sig syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	s := &served{addr: next("listening")["address"].(string)}
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	tell(syscall.SIGUSR1)
	next("the log's file was opened again")
	if st := next("state"); st["loops"] != 1.0 || st["draining"] != "serving" || st["sessions"] != 0.0 {
		t.Errorf("the state is %v", st)
	}
	writeSettings(t, file, base+", conn_sample: 1}\nnamespaces: [{pattern: /}]\n")
	tell(syscall.SIGHUP)
	if l := next("reloaded"); l["applied"] != "log.conn_sample" {
		t.Errorf("a reload applies %v", l)
	}
	d := device{name: "a client", talk: "a> GET /socket.io/?EIO=4&transport=polling HTTP/1.1 | Host: $host:$port | User-Agent: A/1\na< 200 0{\"sid\":\na> POST /socket.io/?EIO=4&transport=polling&sid=$sid HTTP/1.1 | Host: $host:$port || 40\na< 200 ok"}
	d.run(t, s.addr)
	if l := next("connection: a namespace is entered"); l["namespace"] != "/" || l["user-agent"] != "A/1" || !strings.HasPrefix(l["address"].(string), "127.0.0.1:") || l["transport"] != "polling" {
		t.Errorf("of a connection is said %v", l)
	}
	tell(syscall.SIGTERM)
	if l := next("connection: a namespace is left"); l["reason"] != "server shutting down" {
		t.Errorf("of its end is said %v", l)
	}
	next("stopped")
	if err := <-done; err != nil {
		t.Errorf("it ends with %v", err)
	}
	done <- nil
	if _, _, err := run("serve", "--listen=127.0.0.1:0", "--log-file="+dir); err == nil || !strings.HasPrefix(err.Error(), "--log-file: ") {
		t.Errorf("a directory as the log is %v", err)
	}
}

// Garbage is let lie while clients are given away, and as before when that is over.
func TestHandoversCollectLessGarbage(t *testing.T) {
	now := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	before := now()
	e := edge{internal: new(internal)}
	p := e.part()
	for name, end := range map[string]func(){"called off": p.Release, "done": p.Moved} {
		if err := p.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := now(); got <= before {
			t.Errorf("GOGC is %d, and was %d", got, before)
		}
		if end(); now() != before {
			t.Errorf("when it is %s, GOGC is %d, and was %d", name, now(), before)
		}
	}
}
