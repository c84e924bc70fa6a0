package main

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/capacity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/trial"
)

// A question is what doctor computes the load of, where it is not this host.
type question struct {
	clients int64 // 0: as many as the host can hold
	cores   int   // 0: as many as it has
	payload int   // of a broadcast, in bytes
	costs   capacity.Costs
}

const (
	mostAsked   = 1_000_000_000
	mostCores   = 1024
	mostPayload = 60 << 10

	// anyNetwork is assumed where the system does not say how fast its own is, in bits a
	// second: virtual machines do not.
	anyNetwork = 10_000_000_000
	// downtime is assumed for a restart: until the server listens again.
	downtime = time.Second
)

func (q *question) flags(cmd *cobra.Command) {
	cmd.Flags().Int64Var(&q.clients, "clients", 0, "compute the load of so many clients; 0: of as many as this host can hold")
	cmd.Flags().IntVar(&q.cores, "cores", 0, "compute it for so many cores; 0: as many as this host has")
	cmd.Flags().IntVar(&q.payload, "payload", 64, "bytes of the message that is broadcast")
}

func (q *question) check() error {
	switch {
	case q.clients < 0 || q.clients > mostAsked:
		return fmt.Errorf("--clients is not between 0 and %d", mostAsked)
	case q.cores < 0 || q.cores > mostCores:
		return fmt.Errorf("--cores is not between 0 and %d", mostCores)
	case q.payload < 0 || q.payload > mostPayload:
		return fmt.Errorf("--payload is not between 0 and %d", mostPayload)
	}
	return nil
}

// plan is what was asked, on this host and with its settings.
func (q *question) plan(root fs.FS, d *diagnosis, s *config.Settings) capacity.Plan {
	p := capacity.Plan{
		Clients: min(d.Clients, mostAsked), Cores: d.Cores, TLS: encrypts(s), Token: tokenOf(&s.Auth),
		PingInterval: s.Ping.Interval, Payload: q.payload, Network: fastest(root), AcceptRate: s.Limits.AcceptRate, Down: downtime,
	}
	if q.clients > 0 {
		p.Clients = q.clients
	}
	if q.cores > 0 {
		p.Cores = q.cores
	}
	if s.Loops > 0 {
		p.Cores = min(p.Cores, s.Loops)
	}
	return p
}

// each returns what an idle client takes in a process of these settings, and why it is
// more than a bare one.
func each(c *capacity.Costs, s *config.Settings) (bytes int64, why string) {
	tls, token := encrypts(s), s.Auth.Mode != "none"
	if tls {
		why += ", with TLS"
	}
	if token {
		why += ", with an identity"
	}
	return c.Bytes(tls, token), why
}

// encrypts tells whether clients may come over TLS that ends in this process.
func encrypts(s *config.Settings) bool {
	return slices.ContainsFunc(s.Listen, func(a string) bool {
		l, err := config.ParseListen(a)
		return err == nil && l.TLS
	})
}

// tokenOf names the costliest algorithm of those that the settings believe tokens by, and
// "" if clients are nobody. Identities without a token are taken for the cheapest.
func tokenOf(a *config.Auth) string {
	switch {
	case a.Mode == "none":
		return ""
	case !strings.Contains(a.Mode, "jwt") || a.JWT.PublicKey == "" && a.JWT.JWKSURL == "":
		return "HS256"
	}
	may := func(prefix string) bool {
		return len(a.JWT.Algorithms) == 0 || slices.ContainsFunc(a.JWT.Algorithms, func(x string) bool { return strings.HasPrefix(x, prefix) })
	}
	switch {
	case may("EdDSA"):
		return "EdDSA"
	case may("ES"):
		return "ES256"
	case may("RS"), may("PS"):
		return "RS256"
	}
	return "HS256"
}

// fastest is the rate of the fastest interface, in bits a second.
func fastest(root fs.FS) int64 {
	all, _ := fs.Glob(root, "sys/class/net/*/speed")
	most := int64(0)
	for _, path := range all {
		most = max(most, number(root, path)) // in Mbit/s
	}
	if most == 0 || most > 10_000_000 {
		return anyNetwork
	}
	return most * 1_000_000
}

func printLoad(w io.Writer, l *capacity.Load, costs []capacity.Cost) {
	h, b, r := &l.Heartbeats, &l.Broadcast, &l.Restart
	fmt.Fprintf(w, "\nWith %s clients and %s in event loops, by what things cost %s:\n", count(l.Clients), several(l.Cores, "core"), where(costs))
	fmt.Fprintf(w, "  memory      %s: %s in the process, %s in the kernel\n", gigabytes(l.ProcessBytes+l.KernelBytes), gigabytes(l.ProcessBytes), gigabytes(l.KernelBytes))
	fmt.Fprintf(w, "  heartbeats  %s a second, one each %s s: %s cores, %s Mbit/s\n", count(int64(h.PerSecond)), short(h.Interval), short(h.Cores), short(h.BitsPerSecond/1e6))
	fmt.Fprintf(w, "  broadcast   %d B to all: %s s (%s s of CPU; the network, at %s Gbit/s, needs %s s)\n",
		b.Payload, short(b.Seconds), short(b.CPUSeconds), short(float64(b.Network)/1e9), short(b.Wire))
	fmt.Fprintf(w, "  restart     %s µs of CPU a client: %s a second at most. All lost at once, listening again after %s s:\n", short(r.Connect), count(int64(r.Capacity)), short(downtime.Seconds()))
	printReturn(w, &r.Return, fmt.Sprintf("as limits.accept_rate is %d", r.AcceptRate))
	if r.AcceptRate == 0 && r.Refused > 0 {
		printReturn(w, &r.WithAdvised, fmt.Sprintf("if it were %d", r.Advised))
	}
	fmt.Fprintln(w, "              sioedge upgrade and sioedge drain do not lose them at once")
	fmt.Fprintln(w, "  --json has each cost with what measures it; --measure measures some here; --clients and --cores compute it for another host")
}

// where says on which machine costs were measured.
func where(costs []capacity.Cost) string {
	of := func(c capacity.Cost) bool { return c.Source == trial.Here }
	if !slices.ContainsFunc(costs, of) {
		return "on the machine of the benchmarks"
	}
	return "here, and memory, heartbeats and other algorithms on the machine of the benchmarks"
}

func printReturn(w io.Writer, r *capacity.Return, with string) {
	fmt.Fprintf(w, "              %s: half are back after %s, 99 %% after %s, all after %s; %s attempts refused",
		with, until(r.Half), until(r.NinetyNine), until(r.All), count(r.Refused))
	if r.TimedOut > 0 {
		fmt.Fprintf(w, ", %s in vain for 20 s", count(r.TimedOut))
	}
	fmt.Fprintln(w)
}

// until writes when so many are back.
func until(s capacity.Seconds) string {
	if s < 0 {
		return "more than an hour"
	}
	return short(float64(s)) + " s"
}

// several writes a number of things.
func several(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// short writes a number with two digits that count, or as many as it has before the point.
func short(x float64) string {
	if x >= 9.95 {
		return count(int64(math.Round(x)))
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 2, 64), 64) // without an exponent
	return strconv.FormatFloat(r, 'f', -1, 64)
}

// gigabytes writes bytes, in MB below one GB.
func gigabytes(n int64) string {
	if n < 1e9 {
		return short(float64(n)/1e6) + " MB"
	}
	return short(float64(n)/1e9) + " GB"
}
