package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

func host(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for path, text := range files {
		m[path] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
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
		binds   string
		clients int64
	}{
		{"descriptors", big, 20_000, "RLIMIT_NOFILE", 19_000},
		{"memory", big, 1 << 40, "nr_open", 3_800_000},
		{"a container", with("sys/fs/cgroup/memory.max", "1342177280"), 1 << 40, "memory", 195_225},
		{"the firewall", with("proc/sys/net/netfilter/nf_conntrack_max", "262144"), 1 << 40, "conntrack", 249_037},
		{"a host that tells nothing", nil, 1000, "RLIMIT_NOFILE", 950},
	} {
		d := diagnose(host(test.files), syscall.Rlimit{Cur: test.nofile}, 4)
		if !strings.Contains(d.Binds, test.binds) || d.Clients != test.clients {
			t.Errorf("%s: %d clients, bound by %q, want %d by %s", test.name, d.Clients, d.Binds, test.clients, test.binds)
		}
	}
	d := diagnose(host(big), syscall.Rlimit{Cur: 1}, 4)
	if len(d.Remarks) != 2 || d.Remarks[0].Name != "net.core.somaxconn" || d.Remarks[1].Fix != "sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'" {
		t.Errorf("remarks = %+v, want those about somaxconn and tcp_wmem", d.Remarks)
	}
}

func TestDoctorPrints(t *testing.T) {
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		cmd := command()
		var out bytes.Buffer
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		var d diagnosis
		switch {
		case len(args) == 1 && !strings.Contains(out.String(), "This host can hold about"):
			t.Errorf("doctor printed %q", out.String())
		case len(args) == 2 && (json.Unmarshal(out.Bytes(), &d) != nil || d.Clients == 0 || d.Binds == ""):
			t.Errorf("doctor --json printed %q", out.String())
		}
	}
}
