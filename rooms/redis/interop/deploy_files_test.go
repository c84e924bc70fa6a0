//go:build interop

package interop

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The files that are shipped for proxies, as they are but for addresses, in front of
// servers that are replaced one after the other.

// A front is a proxy, by its file.
type front struct {
	name string
	file string
	// listens is how the file says where.
	listens string
	// start has it serve with its file, and returns the statuses of what it answered, as
	// its log has them; nil if that has none.
	start func(t testing.TB, config, dir, addr string) (statuses func() map[int][]string)
	proxy bool // connections to servers begin with a preface
}

// at is listens for another address.
func (k front) at(addr string) string {
	if k.name == "caddy" { // without a name it has no certificate
		_, addr, _ = strings.Cut(addr, ":")
		addr = ":" + addr
	}
	return regexp.MustCompile(`:?8080`).ReplaceAllString(k.listens, addr)
}

var fronts = []front{
	{name: "haproxy", file: "haproxy/haproxy.cfg", listens: "bind :8080", start: startHAProxy(regexp.MustCompile(` [-+\d]+/[-+\d]+/[-+\d]+/[-+\d]+/[-+\d]+ (\d{3}) `))},
	{name: "haproxy, PROXY", file: "haproxy/haproxy-tcp.cfg", listens: "bind :8080", start: startHAProxy(nil), proxy: true},
	{name: "nginx", file: "nginx/nginx.conf", listens: "listen 8080", start: startNginx},
	{name: "caddy", file: "caddy/Caddyfile", listens: "\n:8080 {", start: startCaddy},
}

func startHAProxy(status *regexp.Regexp) func(t testing.TB, config, dir, addr string) func() map[int][]string {
	return func(t testing.TB, config, dir, addr string) func() map[int][]string {
		config = replace(t, config, "maxconn 100000", "maxconn 4000") // each takes two descriptors
		d := launch(t, "haproxy", addr, "haproxy", "-db", "-f", write(t, dir, config))
		if status == nil {
			return nil
		}
		return func() map[int][]string { return statuses(status, d.log()) }
	}
}

func startNginx(t testing.TB, config, dir, addr string) func() map[int][]string {
	access := filepath.Join(dir, "access")
	config = replace(t, config, "/run/nginx.pid", dir+"/pid", "/var/log/nginx/error.log", "stderr", "/var/log/nginx/access.log", access,
		"worker_processes auto", "worker_processes 1", "worker_rlimit_nofile 200000", "worker_rlimit_nofile 10000", "worker_connections 65536", "worker_connections 4096",
		"http {", "http {\n proxy_temp_path "+dir+"/b; client_body_temp_path "+dir+"/a; fastcgi_temp_path "+dir+"/c; uwsgi_temp_path "+dir+"/d; scgi_temp_path "+dir+"/e;")
	launch(t, "nginx", addr, "nginx", "-p", dir, "-g", "daemon off; master_process off; user root;", "-c", write(t, dir, config))
	return func() map[int][]string {
		b, err := os.ReadFile(access)
		if err != nil {
			t.Fatal(err)
		}
		return statuses(regexp.MustCompile(`" (\d{3}) `), string(b))
	}
}

func startCaddy(t testing.TB, config, dir, addr string) func() map[int][]string {
	t.(*testing.T).Setenv("HOME", dir)
	d := launch(t, "caddy", addr, "caddy", "run", "--adapter", "caddyfile", "--config", write(t, dir, "{\n\tadmin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n}\n"+config))
	return func() map[int][]string { return statuses(regexp.MustCompile(`"status":(\d+)`), d.log()) }
}

// sentAway is a poll or a post that is refused.
var sentAway = regexp.MustCompile(`^(400|502|503).*transport=polling\S*&sid=`)

// statuses finds the lines of a log, by their status.
func statuses(of *regexp.Regexp, log string) map[int][]string {
	all := map[int][]string{}
	for line := range strings.Lines(log) {
		if m := of.FindStringSubmatch(line); m != nil && !sentAway.MatchString(m[1]+line) && !strings.Contains(line, "<BADREQ>") { // launch's connection says nothing
			n, _ := strconv.Atoi(m[1])
			all[n] = append(all[n], line)
		}
	}
	return all
}

// replace puts in addresses and the like; each must be there.
func replace(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the file has no %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// ready waits until a server says that it is.
func ready(t testing.TB, s *daemon) {
	t.Helper()
	eventually(t, s.name+" being ready", func() bool {
		r, err := http.Get("http://" + s.addr + "/healthz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// Two hundred clients of all modes behind each, round robin without stickiness: both
// servers are drained and come again, one after the other. No session, and no WebSocket,
// is answered 4xx or 5xx, every client that is sent away has its socket again at the
// other server, and nothing is lost. Those who poll are sent away by 503 to a poll, or
// 400 or 502 where a proxy asks the next server then: a packet that closes the session is
// final for some clients.
func TestDeployFiles(t *testing.T) {
	for _, k := range fronts {
		t.Run(k.name, func(t *testing.T) { throughFile(t, k) })
	}
}

func throughFile(t *testing.T, k front) {
	r := startRedis(t)
	adapter := "redis+streams://" + r.addr
	var servers []*daemon
	var pairs []string
	for _, name := range []string{"edge1", "edge2"} {
		internal, prefaced := freeAddr(t), freeAddr(t)
		flags := []string{"--recovery", "1m", "--trust-proxy", "127.0.0.0/8", "--internal-listen", internal, "--drain", "5s", "--drain-delay", "3s",
			"--ping-interval", "25s", "--ping-timeout", "20s"}
		if k.proxy {
			flags = append(flags, "--listen", "tcp://"+prefaced+"?proxy=v2")
		}
		s := sioedge(t, name, adapter, flags...)
		servers = append(servers, s)
		if k.proxy {
			_, port, _ := strings.Cut(internal, ":")
			pairs = append(pairs, "port 9000 send-proxy-v2\n    server "+name+" "+name+":3001", "port "+port+" send-proxy-v2\n    server "+name+" "+prefaced)
		} else {
			pairs = append(pairs, name+":3000", s.addr)
		}
	}
	file, err := os.ReadFile("../../../cmd/sioedge/deploy/" + k.file)
	if err != nil {
		t.Fatal(err)
	}
	addr, config := freeAddr(t), string(file)
	if k.proxy { // each server has an internal listener of its own here
		config = replace(t, config, "    server edge2", "    default-server check inter 1s fall 1 rise 1 port 9000 send-proxy-v2\n    server edge2")
	}
	config = replace(t, config, append(pairs, k.listens, k.at(addr))...)
	for _, s := range servers {
		ready(t, s)
	}
	answered := k.start(t, config, t.TempDir(), addr)
	tr := newTraffic(t, emitterOf(t, adapter))
	tr.pace, tr.every = 50*time.Millisecond, 500 // there are many clients
	for mode := range modes {
		tr.open("http://"+addr, mode, mode, 67)
	}
	tr.begin()
	tr.pass(20)
	for _, s := range servers {
		s.end()
		tr.pass(20)
		s.start()
		ready(t, s)
		tr.pass(80) // the proxy sees that, too
	}
	sum := summary(t, tr.rest())
	if sum.disconnects == 0 || sum.missed > 0 || sum.recovered < sum.disconnects {
		t.Errorf("%d numbers were missed and %d of %d clients that were disconnected recovered, want none and all", sum.missed, sum.recovered, sum.disconnects)
	}
	if answered == nil {
		return
	}
	all := answered()
	if len(all[101])+len(all[0]) == 0 || len(all[200]) == 0 {
		t.Errorf("the log of %s has no 101 (Caddy: 0) or 200", k.name)
	}
	for status, lines := range all {
		if status >= 400 {
			t.Errorf("%d requests were answered %d, such as\n%s", len(lines), status, strings.Join(lines[:min(len(lines), 8)], ""))
		}
	}
}
