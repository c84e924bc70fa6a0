package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd is told when the server is there, when it reads its settings again, and when it
// ends.
func TestServiceManagerIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "n") // a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "s"))
	t.Setenv("WATCHDOG_USEC", "2000000")
	until := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
		for {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("nobody says %s: %v", want, err)
			}
			if regexp.MustCompile("^" + want + "$").Match(b[:n]) {
				return
			}
		}
	}
	s := startServer(t, "--loops=1", "--internal-listen=")
	until("READY=1")
	until("WATCHDOG=1")
	until("STATUS=0 connections on 1 loops")
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(`RELOADING=1\nMONOTONIC_USEC=\d+`)
	until("READY=1")
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(`STOPPING=1\nEXTEND_TIMEOUT_USEC=\d+`)
}

// The server takes over sockets that were there before it, by their names or all of them,
// the internal listener's among them.
func TestSocketActivation(t *testing.T) {
	dir, err := os.MkdirTemp("", "a") // a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "serve", "--listen=systemd:web?proxy=v1", "--listen=systemd:",
		"--internal-listen=systemd:api", "--api-key="+apiKey, "--trust-proxy=127.0.0.0/8", "--log-format=json", "--loops=2", "--drain-delay=0s", "--drain=2s")
	cmd.Env = []string{"LISTEN_FDS=4", "LISTEN_FDNAMES=web:api:other:"}
	var addrs []net.Addr
	for _, at := range []string{"127.0.0.1:0", filepath.Join(dir, "api"), "127.0.0.1:0", filepath.Join(dir, "more")} {
		network := "tcp"
		if strings.HasPrefix(at, "/") {
			network = "unix"
		}
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // as systemd
		ln, err := lc.Listen(t.Context(), network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles, addrs = append(cmd.ExtraFiles, f), append(addrs, ln.Addr())
	}
	// Somebody waits there before the server has begun.
	early, err := net.Dial("tcp", addrs[2].String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	s := startCommand(t, cmd)
	ask := func(c net.Conn, preface string) string {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		_, _ = c.Write([]byte(preface + "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n"))
		b := make([]byte, 15)
		_, _ = c.Read(b)
		return string(b)
	}
	if got := ask(early, ""); got != "HTTP/1.1 200 OK" {
		t.Errorf("who has waited is answered %q", got)
	}
	for _, x := range []struct {
		at      net.Addr
		preface string
	}{{addrs[0], "PROXY UNKNOWN\r\n"}, {addrs[3], ""}} {
		c, err := net.Dial(x.at.Network(), x.at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := ask(c, x.preface); got != "HTTP/1.1 200 OK" {
			t.Errorf("%v answers %q", x.at, got)
		}
	}
	if status, answer := request(t, addrs[1].String(), http.MethodPost, "/api/emit", apiKey, `{"ev":"x"}`); status != 200 {
		t.Errorf("the API answers %d %s", status, answer)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.next(t, "stopped")
	if _, err := os.Stat(addrs[3].String()); err != nil {
		t.Errorf("the path of a socket that is systemd's: %v", err)
	}
}

// Names that were not passed, and such of which nobody asks, are told.
func TestSocketsThatWereNotPassed(t *testing.T) {
	for args, want := range map[string]string{
		"--listen=systemd:": "--listen: systemd:: systemd has passed no sockets",
		"--listen=127.0.0.1:0 --internal-listen=systemd:x":     "--internal-listen: systemd has passed no sockets",
		"--listen=:0?proxy=v2":                                 "--trust-proxy",
		"--listen=unix:/x?owner=no-such-user-here":             "no-such-user-here",
		"--listen=127.0.0.1:0 --listen=unix:/nonexistent/none": "--listen: unix:/nonexistent/none: ",
	} {
		_, _, err := run(append([]string{"serve", "--loops=1"}, strings.Fields(args)...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sioedge %s: %v, want %q", args, err, want)
		}
	}
	for _, args := range []string{"--listen=:0?proxy=v2", "--listen=unix:/x?owner=no-such-user-here"} {
		if _, _, err := run("check", args); err == nil {
			t.Errorf("sioedge check %s finds nothing", args)
		}
	}
}
