//go:build interop

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fails has an upgrade come to nothing, with a reason that the command, its exit code and
// the log have; the server is what it was.
func (d *deployed) fails(reason string, how ...string) {
	d.t.Helper()
	out, code := d.command("upgrade", how...)
	if code != 1 || !strings.Contains(out, reason) {
		d.t.Fatalf("the command says %d %s, want %q", code, out, reason)
	}
	if line := d.said("the upgrade has come to nothing"); !strings.Contains(fmt.Sprint(line["error"]), reason) {
		d.t.Errorf("the log says %v, want %q", line["error"], reason)
	}
	if got := d.version(); got != "1.0.0" {
		d.t.Errorf("%s answers", got)
	}
}

// Whatever is wrong with the new version, the clients notice nothing, and what is wrong is
// said.
func TestUpgradeThatComesToNothing(t *testing.T) {
	t.Parallel()
	d := deploy(t, "1.0.0", upgradable, "--eio3", "--handover-ready-timeout", "1500ms")
	c := d.crew()
	enough, done := c.keepTalking(), d.observe()
	good := release(t, "2.0.0")
	settings, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}

	if err := os.Remove(d.program); err != nil {
		t.Fatal(err)
	}
	d.fails("no such file")
	d.installText(t, "#!/bin/sh\n")
	if err := os.Chmod(d.program, 0o644); err != nil {
		t.Fatal(err)
	}
	d.fails("permission denied")
	d.installText(t, "no program")
	d.fails("exec format error")
	for script, reason := range map[string]string{
		"exit 3":                 "exit status 3",
		"kill -9 $$":             "signal: killed",
		"exec sleep 1000":        "in time",
		"exit 0":                 "exit status 0",
		"echo oops >&3":          "exit status 0", // no record
		"exec cat /dev/zero >&3": "handover",
		// A version that knows no upgrades is one that does not look for the other.
		"unset SIO_HANDOVER_FD; exec " + good + ` "$@"`: "in time",
		// It was built for another machine, so to speak.
		"exec " + good + ` "$@" --loops 3`:                 "3 loops",
		"exec " + good + ` "$@" --ping-interval soon`:      "not a duration",
		"exec " + good + ` "$@" --no-such-flag`:            "exit status 2",
		"exec " + good + ` "$@" --adapter redis://[::1]:1`: "",
		"exec " + good + ` "$@" --listen 203.0.113.1:1`:    "203.0.113.1",
		"SIO_HANDOVER_FD=0 exec " + good + ` "$@"`:         "exit status 1",
	} {
		d.installText(t, "#!/bin/sh\n"+script+"\n")
		d.fails(reason)
	}
	d.install(t, good)
	rewrite(t, d.file, string(settings)+"ping: { interval: soon }\n")
	d.fails("not a duration")
	d.fails("not a duration", "--dry-run")
	rewrite(t, d.file, string(settings))

	enough()
	done()
	c.talk()
	c.check()
	if out, code := d.command("upgrade"); code != 0 { // and then it is right
		t.Fatalf("the command says %d %s", code, out)
	}
	d.upgraded("2.0.0")
	c.talk()
	c.check()
}

// While an upgrade is under way there is no other, nobody is sent away, and settings wait
// to be read.
func TestUpgradeAlone(t *testing.T) {
	t.Parallel()
	d := deploy(t, "1.0.0", upgradable, "--handover-ready-timeout", "5s")
	d.installText(t, "#!/bin/sh\nexec sleep 1000\n")
	post := func(path, body string) (int, string) {
		t.Helper()
		res, err := http.DefaultClient.Do(apiRequest(t, "http://"+d.api+path, body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		var f struct{ Error struct{ Code string } }
		_ = json.Unmarshal(b, &f)
		return res.StatusCode, f.Error.Code
	}
	d.signal(syscall.SIGUSR2)
	d.said("upgrade: a process is started")
	for _, x := range [][2]string{{"/api/upgrade", "{}"}, {"/api/upgrade", `{"dry_run":true}`}, {"/api/drain", "{}"}} {
		if status, code := post(x[0], x[1]); status != 409 || code != "upgrading" {
			t.Errorf("%s is answered %d %s meanwhile", x[0], status, code)
		}
	}
	d.signal(syscall.SIGUSR2)
	d.said("no upgrade is begun")
	d.signal(syscall.SIGHUP)
	d.said("the upgrade has come to nothing")
	d.said("reloaded")
	d.mu.Lock()
	for _, line := range d.log {
		if line["msg"] == "reloaded" {
			t.Error("settings were read twice")
		}
	}
	d.mu.Unlock()
	// A server that drains has nobody to give away.
	if status, _ := post("/api/drain", `{"delay":"1h"}`); status != 200 {
		t.Fatalf("draining is answered %d", status)
	}
	if status, code := post("/api/upgrade", "{}"); status != 409 || code != "draining" {
		t.Errorf("an upgrade of a server that drains is answered %d %s", status, code)
	}
	if status, _ := post("/api/undrain", ""); status != 200 {
		t.Fatalf("undraining is answered %d", status)
	}
	d.install(t, release(t, "2.0.0"))
	if out, code := d.command("upgrade"); code != 0 {
		t.Fatalf("the command says %d %s", code, out)
	}
	d.upgraded("2.0.0")
}

// A server that is told to stop while a new version starts calls that off, and stops as
// ever.
func TestUpgradeIsCalledOffByAStop(t *testing.T) {
	t.Parallel()
	d := deploy(t, "1.0.0", upgradable)
	x := &agents{t: t}
	c := x.enter("4", d.url, "/", options{})
	d.installText(t, "#!/bin/sh\necho $$ >\"$0.pid\"\nexec sleep 1000\n")
	d.signal(syscall.SIGUSR2)
	d.said("upgrade: a process is started")
	var pid int
	eventually(t, "the new program runs", func() bool {
		b, err := os.ReadFile(d.program + ".pid")
		n, _ := fmt.Sscan(string(b), &pid)
		return err == nil && n == 1
	})
	d.signal(syscall.SIGTERM)
	if line := d.said("the upgrade has come to nothing"); !strings.Contains(fmt.Sprint(line["error"]), "called off") {
		t.Errorf("the log says %v", line["error"])
	}
	if s := c.disconnected(); s.Code != 4000 {
		t.Errorf("the client is closed with %d %s", s.Code, s.Text)
	}
	d.said("stopped")
	eventually(t, "the new program has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	select {
	case <-d.done:
	case <-time.After(patience):
		t.Fatal("the server does not end")
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ends with code %d", code)
	}
}

// A process that comes to take over and is told to stop before it has does so, and leaves
// the other one as it was.
func TestUpgradeByOneThatIsStopped(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "h")
	d := deploy(t, "1.0.0", upgradable, "--handover", socket)
	x := &agents{t: t}
	c := x.enter("4", d.url, "/", options{})
	d.signal(syscall.SIGSTOP) // it hands nothing over
	defer d.signal(syscall.SIGCONT)
	next := exec.Command(release(t, "2.0.0"), "serve", "--config", d.file, "--listen", "127.0.0.1:0", "--internal-listen", "", "--handover", socket)
	out, err := next.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Process.Kill() }()
	eventually(t, "it is connected", func() bool {
		b, _ := os.ReadFile("/proc/net/unix") // the listener, and who waits there
		return strings.Count(string(b), socket) >= 2
	})
	if err := next.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(out)
	if err := next.Wait(); err == nil || !strings.Contains(string(said), "clients are not taken over") {
		t.Errorf("it ends with %v and says %s", err, said)
	}
	d.signal(syscall.SIGCONT)
	d.said("the upgrade has come to nothing")
	c.asks(`{"ok":true}`, "say", 1)
	if got := d.version(); got != "1.0.0" {
		t.Errorf("%s answers", got)
	}
}
