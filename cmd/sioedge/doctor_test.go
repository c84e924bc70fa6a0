package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/capacity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/trial"
)

func host(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for path, text := range files {
		m[path] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// holds is how many clients 1.25 GiB hold, by what one was measured to take.
func holds(tls, token bool) int64 {
	return (1342177280 - reserve) / (capacity.Measured.Bytes(tls, token) + int64(capacity.Measured.Kernel.Value))
}

func TestDoctorNamesTheLimitThatBinds(t *testing.T) {
	big := map[string]string{
		"proc/meminfo":                 "MemTotal: 99999999 kB\nMemAvailable: 33554432 kB\n",
		"proc/sys/fs/nr_open":          "4000000\n",
		"proc/sys/fs/file-max":         "9223372036854775807\n",
		"proc/sys/net/core/somaxconn":  "4096\n",
		"proc/sys/net/ipv4/tcp_mem":    "1000000 2000000 4000000\n",
		"sys/fs/cgroup/memory.max":     "max\n",
		"proc/sys/net/ipv4/tcp_rmem":   "4096 131072 6291456\n",
		"proc/sys/net/ipv4/tcp_wmem":   "8192 16384 4194304\n",
		"proc/sys/fs/what-nobody-read": "1\n",
	}
	with := func(path, text string) map[string]string {
		m := map[string]string{path: text}
		for k, v := range big {
			if k != path {
				m[k] = v
			}
		}
		return m
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		nofile  uint64
		args    string
		binds   string
		clients int64
	}{
		{"descriptors", big, 20_000, "", "RLIMIT_NOFILE", 19_000},
		{"memory", big, 1 << 40, "", "nr_open", 3_800_000},
		{"a container", with("sys/fs/cgroup/memory.max", "1342177280"), 1 << 40, "", "memory", holds(false, false)},
		{"the firewall", with("proc/sys/net/netfilter/nf_conntrack_max", "262144"), 1 << 40, "", "conntrack", 249_037},
		{"a host that tells nothing", nil, 1000, "", "RLIMIT_NOFILE", 950},
		{"a container, with TLS", with("sys/fs/cgroup/memory.max", "1342177280"), 1 << 40, "--listen tls://:443", "memory", holds(true, false)},
		{"a container, with TLS and tokens", with("sys/fs/cgroup/memory.max", "1342177280"), 1 << 40, "--listen tls://:443 --auth jwt", "memory", holds(true, true)},
		{"settings", big, 1 << 40, "--max-conns 5000", "limits.max_conns", 5000},
	} {
		d := diagnose(host(test.files), syscall.Rlimit{Cur: test.nofile}, 4, &settings(t, test.args).Settings, question{costs: capacity.Measured})
		if !strings.Contains(d.Binds, test.binds) || d.Clients != test.clients {
			t.Errorf("%s: %d clients, bound by %q, want %d by %s", test.name, d.Clients, d.Binds, test.clients, test.binds)
		}
	}
	d := diagnose(host(big), syscall.Rlimit{Cur: 1}, 4, &settings(t, "").Settings, question{costs: capacity.Measured})
	if len(d.Remarks) != 2 || d.Remarks[0].Name != "net.core.somaxconn" || d.Remarks[1].Fix != "sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'" {
		t.Errorf("remarks = %+v, want those about somaxconn and tcp_wmem", d.Remarks)
	}
}

// What doctor asks package capacity for is what the host and the settings are.
func TestDoctorComputesTheLoadOfTheSettings(t *testing.T) {
	files := map[string]string{"sys/class/net/eth0/speed": "25000\n", "sys/class/net/eth1/speed": "1000\n", "sys/class/net/lo/speed": "-1\n"}
	plain := capacity.Plan{Clients: 950, Cores: 4, PingInterval: 25 * time.Second, Network: 25_000_000_000, Down: downtime}
	with := func(change func(*capacity.Plan)) capacity.Plan {
		p := plain
		change(&p)
		return p
	}
	const tokens = "--auth jwt --jwt-public-key key.pem "
	for _, c := range []struct {
		args  string
		asked question
		want  capacity.Plan
	}{
		{"", question{}, plain},
		{"--loops 2 --ping-interval 1m --accept-rate 700", question{}, with(func(p *capacity.Plan) { p.Cores, p.PingInterval, p.AcceptRate = 2, time.Minute, 700 })},
		{"--loops 16", question{clients: 1_000_000, cores: 8, payload: 512}, with(func(p *capacity.Plan) { p.Clients, p.Cores, p.Payload = 1_000_000, 8, 512 })},
		{"--listen tls://:443 --auth jwt", question{}, with(func(p *capacity.Plan) { p.TLS, p.Token = true, "HS256" })},
		{"--auth header --trust-proxy 10.0.0.0/8", question{}, with(func(p *capacity.Plan) { p.Token = "HS256" })},
		{tokens, question{}, with(func(p *capacity.Plan) { p.Token = "EdDSA" })},
		{tokens + "--jwt-algorithms HS256,ES384,RS256", question{}, with(func(p *capacity.Plan) { p.Token = "ES256" })},
		{tokens + "--jwt-algorithms PS256", question{}, with(func(p *capacity.Plan) { p.Token = "RS256" })},
		{tokens + "--jwt-algorithms HS512", question{}, with(func(p *capacity.Plan) { p.Token = "HS256" })},
	} {
		s := &settings(t, c.args).Settings
		d := diagnosis{Clients: 950, Cores: 4}
		if got := c.asked.plan(host(files), &d, s); got != c.want {
			t.Errorf("%q %+v: %+v, want %+v", c.args, c.asked, got, c.want)
		}
	}
	if got := fastest(host(nil)); got != anyNetwork {
		t.Errorf("a network that does not say how fast it is has %d bits a second", got)
	}
}

func TestDoctorSaysWhatAMillionTakes(t *testing.T) {
	l := capacity.Load{
		Clients: 1_000_000, Cores: 8, ProcessBytes: 314_000_000, KernelBytes: 5_100_000_000,
		Heartbeats: capacity.Heartbeats{Interval: 25, PerSecond: 40_000, Cores: 0.732, BitsPerSecond: 89_600_000},
		Broadcast:  capacity.Broadcast{Payload: 64, CPUSeconds: 8.4, Wire: 0.1344, Network: 10_000_000_000, Seconds: 1.05},
		Restart: capacity.Restart{Connect: 74, Capacity: 108_108.1, Advised: 81_081,
			Return:      capacity.Return{Half: 54.21, NinetyNine: 78.86, All: 80.12, Refused: 7_408_778},
			WithAdvised: capacity.Return{Half: 6.21, NinetyNine: 15.41, All: 15.75, Refused: 224_028, TimedOut: 7}},
	}
	for _, c := range []struct {
		name   string
		change func()
		want   string
	}{
		{"memory", nil, "memory      5.4 GB: 314 MB in the process, 5.1 GB in the kernel"},
		{"heartbeats", nil, "heartbeats  40,000 a second, one each 25 s: 0.73 cores, 90 Mbit/s"},
		{"broadcast", nil, "broadcast   64 B to all: 1.1 s (8.4 s of CPU; the network, at 10 Gbit/s, needs 0.13 s)"},
		{"restart", nil, "restart     74 µs of CPU a client: 108,108 a second at most"},
		{"return", nil, "as limits.accept_rate is 0: half are back after 54 s, 99 % after 79 s, all after 80 s; 7,408,778 attempts refused\n"},
		{"advice", nil, "if it were 81081: half are back after 6.2 s, 99 % after 15 s, all after 16 s; 224,028 attempts refused, 7 in vain for 20 s\n"},
		{"a rate", func() { l.Restart.AcceptRate = 700 }, "as limits.accept_rate is 700: half"},
		{"hours", func() { l.Restart.All = -1 }, "all after more than an hour"},
		{"hours for half", func() { l.Restart.Half = -1 }, "half are back after more than an hour"},
		{"one core", func() { l.Cores = 1 }, "With 1,000,000 clients and 1 core in event loops"},
	} {
		if c.change != nil {
			c.change()
		}
		var out strings.Builder
		printLoad(&out, &l, nil)
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: doctor prints\n%s, without %q", c.name, out.String(), c.want)
		}
		if advises := strings.Contains(out.String(), "if it were"); advises != (l.Restart.AcceptRate == 0) {
			t.Errorf("%s: doctor advises another rate: %v", c.name, advises)
		}
	}
}

func TestDoctorPrints(t *testing.T) {
	run := func(args ...string) (string, error) {
		cmd := command()
		var out bytes.Buffer
		cmd.SetArgs(append([]string{"doctor"}, args...))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.Execute()
		return out.String(), err
	}
	text, err := run()
	if err != nil || !strings.Contains(text, "This host can hold about") || !strings.Contains(text, "\n  restart ") {
		t.Errorf("doctor printed %q, %v", text, err)
	}
	text, err = run("--json", "--clients", "1000000", "--cores", "32")
	var d diagnosis
	if err != nil || json.Unmarshal([]byte(text), &d) != nil || d.Clients == 0 || d.Binds == "" {
		t.Errorf("doctor --json printed %q, %v", text, err)
	}
	if d.Load.Clients != 1_000_000 || d.Load.Cores != 32 || d.Load.Restart.Advised == 0 || d.Load.Heartbeats.PerSecond != 40_000 {
		t.Errorf("doctor --json computed %+v", d.Load)
	}
	for _, c := range d.Costs {
		if c.Value <= 0 || c.Unit == "" || c.Name == "" || c.Source == "" {
			t.Errorf("a cost is %+v, and not where it comes from", c)
		}
	}
	if len(d.Costs) != len(capacity.Measured.All()) {
		t.Errorf("doctor --json has %d costs", len(d.Costs))
	}
	for _, args := range [][]string{{"--clients", "-1"}, {"--clients", "1000000001"}, {"--cores", "-1"}, {"--cores", "1025"}, {"--payload", "-1"}, {"--payload", "61441"}} {
		if _, err := run(args...); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("doctor %v = %v, want an error of %s", args, err, args[0])
		}
	}
}

// What --measure has measured is of this program, on servers that it ends.
func TestDoctorMeasures(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	program := filepath.Join(t.TempDir(), "sioedge")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("TMPDIR", t.TempDir())
	c, err := measured(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []capacity.Cost{c.Connect, c.Delivery, c.Refusal} {
		if x.Source != trial.Here || x.Value <= 0 {
			t.Errorf("%s: %v µs, %s", x.Name, x.Value, x.Source)
		}
	}
	if c.Process != capacity.Measured.Process || c.Heartbeat != capacity.Measured.Heartbeat {
		t.Error("what was not measured has changed")
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	if here, there := where(c.All()), where(capacity.Measured.All()); !strings.HasPrefix(here, "here, ") || strings.HasPrefix(there, "here") {
		t.Errorf("doctor says that costs were measured %q and %q", here, there)
	}
	if _, err := measured(t.Context(), "/bin/false"); err == nil {
		t.Error("a program that is no server was measured")
	}
}
