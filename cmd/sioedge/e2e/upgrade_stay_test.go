//go:build interop

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What TLS keeps in the old process is served there, sent away with a code of its own, and
// comes back to the new one; sessions that poll over TLS go along, and notice nothing.
func TestUpgradeWithTLS(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newSigner(t)
	cert, key := ca.sign(t, "localhost")
	for name, text := range map[string]string{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := deploy(t, "1.0.0", upgradable+"tls: { cert: [\""+dir+"/cert.pem\"], key: [\""+dir+"/key.pem\"] }\n", "--listen", "tls://127.0.0.1:0")
	addr := d.said("listening")["address"].(string)
	url := "https://localhost" + addr[strings.LastIndexByte(addr, ':'):]
	secret := map[string]any{"ca": ca.pem}
	x := &agents{t: t}
	plain := x.enter("4", d.url, "/", options{})
	polls := x.enter("4", url, "/", options{tls: secret, transports: []string{"polling"}})
	socket := x.enter("4", url, "/", options{tls: secret, recover: true})
	d.install(t, release(t, "2.0.0"))
	out, code := d.command("upgrade")
	if code != 0 || !strings.Contains(out, "1 over TLS") {
		t.Fatalf("the command says %d %s", code, out)
	}
	if line := d.upgraded("2.0.0"); line["stay-tls"] != 1.0 || line["sessions"] != 2.0 {
		t.Errorf("handed over are %v", line)
	}
	if s := socket.disconnected(); s.Code != 4001 || s.Text != "going away for upgrade" {
		t.Errorf("what stays is closed with %d %s", s.Code, s.Text)
	}
	socket.connected()
	d.said("stopped")
	for i, c := range []*client{plain, polls, socket} {
		c.ask("say", i)
		for _, other := range []*client{plain, polls, socket} {
			other.hears("say", string(rune('0'+i)))
		}
	}
	for _, c := range []*client{plain, polls} {
		c.mu.Lock()
		if len(c.seen) > 0 {
			t.Errorf("%s has seen %+v", c.name, c.seen[0])
		}
		c.mu.Unlock()
	}
}

// A process that stays, as the first of a container does, passes signals on to those that
// have the clients, through several upgrades, and ends as the last of them.
func TestUpgradeOfAProcessThatStays(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string][]string{
		"told to":   nil,
		"process 1": {"unshare", "--fork", "--pid", "--mount-proc", "--kill-child"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stay := "always"
			if wrap != nil {
				stay = "auto"
				if out, err := exec.Command(wrap[0], append(wrap[1:], "true")...).CombinedOutput(); err != nil {
					t.Skipf("a space of process ids cannot be made here: %v %s", err, out)
				}
			}
			d := &deployed{program: filepath.Join(t.TempDir(), "sioedge")}
			d.install(t, release(t, "1.0.0"))
			e := &edge{t: t, file: write(t, upgradable), done: make(chan struct{})}
			args := append(wrap, d.program, "serve", "--config", e.file, "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0", "--log-format", "json",
				"--drain", "4s", "--drain-delay", "0s", "--origins", "*", "--loops", "2", "--handover-stay", stay)
			e.cmd = exec.Command(args[0], args[1:]...)
			e.run()
			d.edge = e
			first := e.cmd.Process.Pid
			if wrap != nil {
				first = childOf(t, first)
			}
			x := &agents{t: t}
			c := x.enter("4", d.url, "/", options{})
			for _, version := range []string{"2.0.0", "1.0.0", "2.0.0"} {
				d.install(t, release(t, version))
				if err := syscall.Kill(first, syscall.SIGUSR2); err != nil {
					t.Fatal(err)
				}
				if line := d.said("handed over"); line["its-version"] != version {
					t.Errorf("handed over to %v, want %s", line["its-version"], version)
				}
				eventually(t, version+" answers", func() bool { return d.version() == version })
				c.asks(`{"ok":true}`, "say", version)
			}
			d.said("this process stays")
			if err := syscall.Kill(first, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			d.said("reloaded")
			if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if s := c.disconnected(); s.Code != 4000 {
				t.Errorf("the client is closed with %d %s", s.Code, s.Text)
			}
			select {
			case <-d.done:
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			if code := d.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("it ends with code %d", code)
			}
		})
	}
}

// childOf waits for the child of a process, and returns it.
func childOf(t *testing.T, pid int) (child int) {
	t.Helper()
	eventually(t, "the process has a child", func() bool {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			b, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
			if m := regexp.MustCompile(`^(\d+) \(.*\) \S (\d+)`).FindStringSubmatch(string(b)); m != nil && m[2] == strconv.Itoa(pid) {
				child, _ = strconv.Atoi(m[1])
				return true
			}
		}
		return false
	})
	return child
}

// systemd is told which process is the service's from then on.
func TestUpgradeUnderSystemd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := &deployed{program: filepath.Join(t.TempDir(), "sioedge")}
	d.install(t, release(t, "1.0.0"))
	e := &edge{t: t, file: write(t, upgradable), done: make(chan struct{})}
	// The watchdog is the first process's, by its number, and the next one serves it.
	e.cmd = exec.Command("/bin/sh", "-c", `NOTIFY_SOCKET=`+path+` WATCHDOG_USEC=2000000 WATCHDOG_PID=$$ exec "$0" "$@"`, d.program, "serve", "--config", e.file, "--listen", "127.0.0.1:0",
		"--internal-listen", "127.0.0.1:0", "--log-format", "json", "--drain", "2s", "--drain-delay", "0s", "--origins", "*")
	e.run()
	d.edge, d.pid = e, e.cmd.Process.Pid
	says := func() string {
		t.Helper()
		b := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	until := func(want string) {
		t.Helper()
		for got := says(); got != want; got = says() {
			if strings.HasPrefix(got, "STOPPING") || strings.HasPrefix(got, "MAINPID") {
				t.Fatalf("systemd is told %s before %s", got, want)
			}
		}
	}
	until("READY=1")
	until("WATCHDOG=1")
	d.install(t, release(t, "2.0.0"))
	d.signal(syscall.SIGUSR2)
	line := d.upgraded("2.0.0")
	until("MAINPID=" + strconv.Itoa(int(line["process"].(float64))))
	d.said("stopped")
	until("WATCHDOG=1")
	if err := syscall.Kill(d.pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("READY=1") // behind RELOADING
}
