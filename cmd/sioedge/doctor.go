package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/capacity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// reserve is what the process itself, and the system, need beside clients.
const reserve = 256 << 20

// A bound is something that bounds the number of clients.
type bound struct {
	Name    string `json:"name"`
	Value   int64  `json:"value"`
	Clients int64  `json:"clients"` // that it allows
	Fix     string `json:"fix,omitempty"`
}

// A remark is a setting that does not bound how many there are, but how well
// they come or stay.
type remark struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Want  string `json:"want"`
	Fix   string `json:"fix"`
}

// A diagnosis is what doctor prints.
type diagnosis struct {
	Cores    int      `json:"cores"`
	Memory   int64    `json:"memory_bytes"` // that may be used
	Clients  int64    `json:"clients"`      // that this host can hold as it is
	Binds    string   `json:"binds"`        // the limit that says so
	Limits   []bound  `json:"limits"`       // the tightest first
	Remarks  []remark `json:"remarks"`
	Assuming string   `json:"assuming"`

	Load  capacity.Load   `json:"load"`  // of so many clients
	Costs []capacity.Cost `json:"costs"` // that it is computed from
}

func doctorCommand() *cobra.Command {
	asJSON, measure := false, false
	asked := question{costs: capacity.Measured}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say how many clients this host can hold, with the server's settings, which limit binds first, how to raise it, and what so many take", Args: noArgs,
	}
	load := settingsOf(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settings, err := load()
		if err != nil {
			return usageError{err}
		}
		if err := asked.check(); err != nil {
			return usageError{err}
		}
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return err
		}
		if measure {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			if asked.costs, err = measured(cmd.Context(), program); err != nil {
				return err
			}
		}
		d := diagnose(os.DirFS("/"), l, runtime.NumCPU(), &settings.Settings, asked)
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(d)
		}
		return d.print(cmd.OutOrStdout())
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&measure, "measure", false, "measure for a few seconds what a connect, a delivery, a refusal, TLS and tokens cost on this machine, with servers on loopback; Linux")
	asked.flags(cmd)
	return cmd
}

// diagnose reads the limits of a host from its root file system.
func diagnose(root fs.FS, files syscall.Rlimit, cores int, s *config.Settings, asked question) diagnosis {
	client, why := each(&asked.costs, s)
	kernelBytes := int64(asked.costs.Kernel.Value)
	d := diagnosis{Cores: cores, Memory: memory(root), Assuming: fmt.Sprintf("idle clients over WebSocket%s: %d B here and %d B in the kernel each", why, client, kernelBytes)}
	usable := func(n int64) int64 { return n - n/20 } // --max-conns leaves 5 %
	add := func(name string, value, clients int64, fix string) {
		if value > 0 {
			d.Limits = append(d.Limits, bound{name, value, max(clients, 0), fix})
		}
	}
	soft := clamp(files.Cur)
	add("descriptors of a process (RLIMIT_NOFILE)", soft, usable(soft), "LimitNOFILE=2000000 in the systemd unit, or ulimit -n 2000000")
	for _, s := range []struct{ path, name, fix string }{
		{"proc/sys/fs/nr_open", "most descriptors that a process may be given (fs.nr_open)", "sysctl -w fs.nr_open=4000000"},
		{"proc/sys/fs/file-max", "descriptors of all processes (fs.file-max)", "sysctl -w fs.file-max=8000000"},
		{"proc/sys/net/netfilter/nf_conntrack_max", "connections that the firewall tracks (nf_conntrack_max)", "sysctl -w net.netfilter.nf_conntrack_max=4000000, or a NOTRACK rule for the port"},
	} {
		n := number(root, s.path)
		add(s.name, n, usable(n), s.fix)
	}
	add("memory", d.Memory, (d.Memory-reserve)/(client+kernelBytes), "more memory, or a higher limit of the container")
	add("connections that the settings allow (limits.max_conns)", int64(s.Limits.MaxConns), int64(s.Limits.MaxConns), "--max-conns, or 0 for as many as there are descriptors")
	if pages := fields(root, "proc/sys/net/ipv4/tcp_mem"); len(pages) == 3 {
		// Idle sockets have empty buffers; some are always in use.
		bytes := pages[2] * int64(os.Getpagesize())
		add("memory of all TCP buffers (net.ipv4.tcp_mem)", bytes, bytes/512, "sysctl -w net.ipv4.tcp_mem='1048576 2097152 4194304'")
	}
	slices.SortStableFunc(d.Limits, func(a, b bound) int { return cmp.Compare(a.Clients, b.Clients) })
	if len(d.Limits) > 0 {
		d.Clients, d.Binds = d.Limits[0].Clients, d.Limits[0].Name
	}
	d.Remarks = remarks(root)
	d.Load, d.Costs = asked.costs.Of(asked.plan(root, &d, s)), asked.costs.All()
	return d
}

// remarks looks at what matters when many clients come at once, or are slow.
func remarks(root fs.FS) (all []remark) {
	for _, s := range []struct {
		key  string
		want int64
	}{
		{"net.core.somaxconn", 16384}, {"net.ipv4.tcp_max_syn_backlog", 16384}, {"net.core.netdev_max_backlog", 16384},
	} {
		n := number(root, "proc/sys/"+strings.ReplaceAll(s.key, ".", "/"))
		if n > 0 && n < s.want {
			all = append(all, remark{s.key, fmt.Sprint(n), fmt.Sprintf("at least %d, for many clients that come at once", s.want), fmt.Sprintf("sysctl -w %s=%d", s.key, s.want)})
		}
	}
	for _, s := range []struct {
		key  string
		most int64
	}{{"net.ipv4.tcp_rmem", 4096}, {"net.ipv4.tcp_wmem", 4096}} {
		if v := fields(root, "proc/sys/"+strings.ReplaceAll(s.key, ".", "/")); len(v) == 3 && v[0] > s.most {
			all = append(all, remark{s.key, fmt.Sprint(v[0], " ", v[1], " ", v[2]), fmt.Sprintf("a minimum of %d, for buffers under pressure", s.most), fmt.Sprintf("sysctl -w %s='%d %d %d'", s.key, s.most, v[1], v[2])})
		}
	}
	return all
}

// memory returns the bytes that may be used: what the system has available, or
// what a container may take.
func memory(root fs.FS) int64 {
	available := int64(0)
	for line := range strings.Lines(text(root, "proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			available = kb << 10
		}
	}
	for _, path := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n := number(root, path); n > 0 && (available == 0 || n < available) {
			available = n
		}
	}
	return available
}

func text(root fs.FS, path string) string {
	b, err := fs.ReadFile(root, path)
	if err != nil {
		return ""
	}
	return string(b)
}

// number returns the number in a file, 0 if there is none.
func number(root fs.FS, path string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text(root, path)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func fields(root fs.FS, path string) (all []int64) {
	for _, f := range strings.Fields(text(root, path)) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}

// clamp returns n, or the highest number there is for one that means no limit.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func (d *diagnosis) print(w io.Writer) error {
	fmt.Fprintf(w, "This host can hold about %s clients. What binds: %s.\n", count(d.Clients), d.Binds)
	fmt.Fprintf(w, "(%d cores, %.1f GiB of memory; %s)\n\n", d.Cores, float64(d.Memory)/(1<<30), d.Assuming)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "limit\tvalue\tclients\tto raise it")
	for _, l := range d.Limits {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Name, count(l.Value), count(l.Clients), l.Fix)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printLoad(w, &d.Load, d.Costs)
	if len(d.Remarks) > 0 {
		fmt.Fprintln(w, "\nbetter be changed:")
	}
	for _, r := range d.Remarks {
		fmt.Fprintf(w, "  %s is %s; %s: %s\n", r.Name, r.Value, r.Want, r.Fix)
	}
	return nil
}

// count writes a number with its thousands apart.
func count(n int64) string {
	if n >= math.MaxInt64/2 {
		return "unlimited"
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
