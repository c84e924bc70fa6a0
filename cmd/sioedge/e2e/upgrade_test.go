//go:build interop

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// releases are builds of sioedge, each once, by their version.
var releases struct {
	mu  sync.Mutex
	all map[string]string
}

// release builds sioedge with a version.
func release(t *testing.T, version string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	releases.mu.Lock()
	defer releases.mu.Unlock()
	if at := releases.all[version]; at != "" {
		return at
	}
	at := filepath.Join(filepath.Dir(path), "sioedge-"+version)
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.release="+version, "-o", at, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if releases.all == nil {
		releases.all = map[string]string{}
	}
	releases.all[version] = at
	return at
}

const upgradeKey = "0123456789abcdefghijklmnop"

// upgradable are settings whose clients talk to each other.
const upgradable = `
api: { keys: ["` + upgradeKey + `"] }
namespaces:
  - pattern: /
    join_on_connect: [all]
    events:
      say: { action: relay, to: all, self: true, ack: true }
`

// A deployed server's program is replaced while it runs.
type deployed struct {
	*edge
	program string
	pid     int // of the process that has the clients
}

func deploy(t *testing.T, version, settings string, flags ...string) *deployed {
	t.Helper()
	d := &deployed{program: filepath.Join(t.TempDir(), "sioedge")}
	d.install(t, release(t, version))
	d.edge = startFrom(t, d.program, write(t, settings), append([]string{"--internal-listen", "127.0.0.1:0", "--loops", "2", "--drain", "4s"}, flags...)...)
	d.pid = d.cmd.Process.Pid
	return d
}

// install has another program lie where the server was started from, as install(1) does.
func (d *deployed) install(t *testing.T, from string) {
	t.Helper()
	next := d.program + ".new"
	if err := errors.Join(os.Link(from, next), os.Rename(next, d.program)); err != nil {
		t.Fatal(err)
	}
}

// installText has a script lie there. Another process writes it: this one starts others
// meanwhile, which would keep it open.
func (d *deployed) installText(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `cat >"$0.new" && chmod 755 "$0.new" && mv -f "$0.new" "$0"`, d.program)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// command runs a command of the server's first program.
func (d *deployed) command(name string, more ...string) (string, int) {
	return command(d.t, append([]string{name, "--url", "http://" + d.api, "--api-key", upgradeKey}, more...)...)
}

// follows notes that another process has the clients, and ends it with the test.
func (d *deployed) follows(pid int) {
	d.t.Helper()
	d.pid = pid
	d.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) }) // before the first one's end is waited for
}

// upgraded waits for the log's word that another process has the clients, and returns it.
func (d *deployed) upgraded(version string) map[string]any {
	d.t.Helper()
	line := d.said("handed over: another process has the clients")
	if line["its-version"] != version {
		d.t.Errorf("handed over to %v, want %s", line["its-version"], version)
	}
	d.follows(int(line["process"].(float64)))
	return line
}

func (d *deployed) get(path string) (int, string) {
	d.t.Helper()
	r, err := http.NewRequest("GET", "http://"+d.api+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", upgradeKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// version is that of the process that answers.
func (d *deployed) version() string {
	d.t.Helper()
	_, info := d.get("/api/info")
	var x struct{ Version string }
	if err := json.Unmarshal([]byte(info), &x); err != nil {
		d.t.Fatalf("info is %s", info)
	}
	return x.Version
}

// A crew is clients of all kinds that talk to each other, and must notice nothing.
type crew struct {
	all  []*client
	said int
	sids []string
}

func (d *deployed) crew() *crew {
	d.t.Helper()
	x, c := &agents{t: d.t}, &crew{}
	for _, k := range []struct {
		kind       string
		transports []string
	}{{"4", []string{"websocket"}}, {"4", []string{"polling"}}, {"4", []string{"polling", "websocket"}}, {"3", nil}, {"2", nil}, {"2", []string{"polling"}}, {py, nil}, {py, []string{"polling"}}} {
		c.all = append(c.all, x.enter(k.kind, d.url, "/", options{transports: k.transports}))
	}
	for _, k := range c.all {
		c.sids = append(c.sids, k.sid)
	}
	return c
}

// talk has each client say something that all must hear, in order.
func (c *crew) talk() {
	c.all[0].a.t.Helper()
	for _, k := range c.all {
		c.said++
		k.ask("say", c.said)
	}
}

// keepTalking has clients say something until the test wants no more.
func (c *crew) keepTalking() (enough func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	// ends with enough
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			k := c.all[i%len(c.all)]
			c.said++
			if _, err := k.a.do("ask", map[string]any{"c": k.name, "event": "say", "args": []any{c.said}}); err != nil {
				k.a.t.Errorf("%s: what it says is not answered: %v", k.name, err)
				return
			}
		}
	}()
	return func() { close(stop); <-done }
}

// check has all clients hear everything, once and in order, and see nothing else.
func (c *crew) check() {
	t := c.all[0].a.t
	t.Helper()
	for _, k := range c.all {
		for n := 1; n <= c.said; n++ {
			s := k.await(fmt.Sprintf("say %d", n), func(s *sight) bool { return true })
			if s.On != "event" || s.Event != "say" || len(s.Args) == 0 || string(s.Args[0]) != strconv.Itoa(n) {
				t.Fatalf("%s sees %+v, want what was said as number %d", k.name, s, n)
			}
		}
	}
	for i, k := range c.all {
		if got := string(k.a.must("sid", map[string]any{"c": k.name})); got != strconv.Quote(c.sids[i]) {
			t.Errorf("%s was %s, and is %s", k.name, c.sids[i], got)
		}
		k.mu.Lock()
		if len(k.seen) > 0 {
			t.Errorf("%s has seen %+v beside", k.name, k.seen[0])
		}
		k.mu.Unlock()
	}
	c.said = 0
}

// observe has somebody ask whether the server is ready, all the time: where operators do, and
// where balancers do.
func (d *deployed) observe() (done func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	asks := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	// ends with done
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			res, err := asks.Get([]string{"http://" + d.api + "/readyz", d.url + "/healthz"}[i%2])
			if err != nil {
				d.t.Errorf("whether it is ready is not answered: %v", err)
				return
			}
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 {
				d.t.Errorf("it is not ready: %d %s", res.StatusCode, b)
				return
			}
		}
	}()
	return func() { close(stop); <-ended }
}

// By the command, the API, a signal, and by a process that comes by itself: each time
// another version has the clients, who talk to each other meanwhile and notice nothing.
func TestUpgradeInEveryWay(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "h")
	d := deploy(t, "1.0.0", upgradable, "--eio3", "--handover", socket)
	c := d.crew()
	enough, done := c.keepTalking(), d.observe()

	d.install(t, release(t, "2.0.0"))
	out, code := d.command("upgrade", "--dry-run")
	if code != 0 || out != "2.0.0 would be ready\n" {
		t.Fatalf("a dry run says %d %s", code, out)
	}
	if got := d.version(); got != "1.0.0" {
		t.Fatalf("behind a dry run %s answers", got)
	}

	out, code = d.command("upgrade", "--json")
	var up struct {
		PID, Sessions, Sockets int
		Version                string
	}
	if err := json.Unmarshal([]byte(out), &up); code != 0 || err != nil || up.Version != "2.0.0" || up.Sockets != len(c.all) || up.Sessions != len(c.all) {
		t.Fatalf("the command says %d %s", code, out)
	}
	d.upgraded("2.0.0")
	if up.PID != d.pid {
		t.Errorf("the command says process %d, the log %d", up.PID, d.pid)
	}
	if line := d.said("taken over"); line["sessions"] != float64(len(c.all)) {
		t.Errorf("the new process says %v", line)
	}

	d.install(t, release(t, "1.0.0")) // the way back is the same
	res, err := http.DefaultClient.Do(apiRequest(t, "http://"+d.api+"/api/upgrade", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || !strings.Contains(string(b), `"version":"1.0.0"`) {
		t.Fatalf("the API says %d %s", res.StatusCode, b)
	}
	d.upgraded("1.0.0")

	d.install(t, release(t, "2.0.0"))
	if err := syscall.Kill(d.pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	d.upgraded("2.0.0")

	next := startFrom(t, release(t, "1.0.0"), d.file, "--internal-listen", d.api, "--loops", "2", "--eio3", "--handover", socket)
	d.upgraded("1.0.0")
	if next.cmd.Process.Pid != d.pid {
		t.Errorf("the clients are process %d's, want %d's, which came by itself", d.pid, next.cmd.Process.Pid)
	}

	enough()
	done()
	c.talk()
	c.check()
	if got := d.version(); got != "1.0.0" {
		t.Errorf("%s answers", got)
	}
	if _, m := d.get("/metrics"); !strings.Contains(m, `sioedge_handovers_total{result="success"} 4`) || !strings.Contains(m, `sioedge_handovers_total{result="failure"} 0`) {
		t.Error("four upgrades are not counted")
	}
	x := &agents{t: t}
	x.enter("4", d.url, "/", options{}).asks(`{"ok":true}`, "say", "new")
	for range 3 { // those that have given their clients away have ended
		d.said("stopped")
	}
}

func apiRequest(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", upgradeKey)
	return r
}

// shortDir is a directory for sockets, whose paths are short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "u")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// The new settings name other addresses: those that are new are opened, those that are
// gone are closed, and what stays is where it was.
func TestUpgradeToOtherAddresses(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	settings := upgradable + "listen: [\"127.0.0.1:0\", \"unix:" + dir + "/a\"]\n"
	d := deployOwn(t, settings)
	unix := func(name string) error {
		c, err := net.Dial("unix", filepath.Join(dir, name))
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := unix("a"); err != nil {
		t.Fatal(err)
	}
	rewrite(t, d.file, upgradable+"listen: [\"unix:"+dir+"/b\", \"127.0.0.1:0\"]\n")
	before := d.url
	if out, code := d.command("upgrade"); code != 0 {
		t.Fatalf("the upgrade says %d %s", code, out)
	}
	d.upgraded("1.0.0")
	if line := d.said("addresses of the process before"); line["addresses"] != "unix:"+dir+"/a" {
		t.Errorf("what is left is said to be %v", line["addresses"])
	}
	if err := unix("b"); err != nil {
		t.Errorf("the new address: %v", err)
	}
	if err := unix("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address that is gone: %v", err)
	}
	x := &agents{t: t}
	x.enter("4", before, "/", options{}).asks(`{"ok":true}`, "say", 1)
}

// deployOwn is deploy for settings that have their own addresses.
func deployOwn(t *testing.T, settings string) *deployed {
	t.Helper()
	d := &deployed{program: filepath.Join(t.TempDir(), "sioedge")}
	d.install(t, release(t, "1.0.0"))
	e := &edge{t: t, file: write(t, settings), done: make(chan struct{})}
	e.cmd = exec.Command(d.program, "serve", "--config", e.file, "--internal-listen", "127.0.0.1:0", "--log-format", "json", "--drain", "4s", "--drain-delay", "0s", "--origins", "*", "--loops", "2")
	e.cmd.Env = append(os.Environ(), "PORT=", "REDIS_URL=")
	e.run()
	d.edge, d.pid = e, e.cmd.Process.Pid
	return d
}
