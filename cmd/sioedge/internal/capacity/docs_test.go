package capacity

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tables of docs/million.md")

// docs/million.md has the tables that its numbers are in from this package.
func TestDocs(t *testing.T) {
	const file = "../../docs/million.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	for name, table := range map[string]string{
		"costs": costs(), "memory": memories(), "work": work(), "return": returns(), "rates": rates(), "checks": checks(),
	} {
		block := regexp.MustCompile(`(?s)(<!-- ` + name + ` -->\n).*?(<!-- end -->\n)`)
		if !block.MatchString(want) {
			t.Errorf("%s has no place for the %s", file, name)
		}
		want = block.ReplaceAllString(want, "${1}"+strings.ReplaceAll(table, "$", "$$")+"${2}")
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want {
		t.Errorf("%s is not what is computed: go test ./cmd/sioedge/internal/capacity -run Docs -update", file)
	}
}

// README says in one sentence what the page computes.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var s [3]string
	all := [3]Load{}
	for i, cores := range []int{1, 8, 32} {
		all[i] = Measured.Of(million(func(p *Plan) { p.Cores = cores }))
		s[i] = short(all[i].Broadcast.Seconds)
	}
	want := fmt.Sprintf("%s GB, %s cores for heartbeats, and with 1, 8 and 32 cores %s, %s and %s s for a broadcast of 64 B to all; after a restart all are back in %s, %s and %s s with an `accept_rate` that suits the host, in %s, %s and %s s without",
		short(float64(all[0].ProcessBytes+all[0].KernelBytes)/1e9), short(all[0].Heartbeats.Cores), s[0], s[1], s[2],
		until(all[0].Restart.WithAdvised.All), until(all[1].Restart.WithAdvised.All), until(all[2].Restart.WithAdvised.All),
		until(all[0].Restart.All), until(all[1].Restart.All), until(all[2].Restart.All))
	if !strings.Contains(strings.Join(strings.Fields(string(b)), " "), want) {
		t.Errorf("README does not say %q", want)
	}
}

// short writes a number with two digits that count, or as many as it has before the point.
func short(x float64) string {
	if x >= 9.95 {
		s := strconv.Itoa(int(math.Round(x)))
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 2, 64), 64)
	return strconv.FormatFloat(r, 'f', -1, 64)
}

func until(s Seconds) string {
	if s < 0 {
		return "over 3,600"
	}
	return short(float64(s))
}

func costs() string {
	var b strings.Builder
	b.WriteString("| | | measured by |\n|---|---|---|\n")
	for _, c := range Measured.All() {
		fmt.Fprintf(&b, "| %s | %s %s | %s |\n", c.Name, strings.TrimSuffix(commas(c.Value), ".0"), c.Unit, c.Source)
	}
	return b.String()
}

// commas writes a measured value as it is.
func commas(x float64) string {
	if x >= 1000 {
		return short(x)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// kinds are the settings that differ.
var kinds = []struct {
	name   string
	change func(*Plan)
}{
	{"plain", func(*Plan) {}},
	{"token, HS256", func(p *Plan) { p.Token = "HS256" }},
	{"TLS", func(p *Plan) { p.TLS = true }},
	{"TLS; token, ES256", func(p *Plan) { p.TLS, p.Token = true, "ES256" }},
}

func memories() string {
	var b strings.Builder
	b.WriteString("| a million clients, GB | process | kernel | both |\n|---|---|---|---|\n")
	for _, k := range kinds {
		l := Measured.Of(million(k.change))
		process, kernel := float64(l.ProcessBytes)/1e9, float64(l.KernelBytes)/1e9
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", k.name, short(process), short(kernel), short(process+kernel))
	}
	return b.String()
}

func work() string {
	var b strings.Builder
	b.WriteString("| a million clients | 1 core | 8 cores | 32 cores | the network by itself, 10 Gbit/s |\n|---|---|---|---|---|\n")
	row := func(name string, network string, of func(*Load) string, change func(*Plan)) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, cores := range []int{1, 8, 32} {
			l := Measured.Of(million(func(p *Plan) { change(p); p.Cores = cores }))
			fmt.Fprintf(&b, " %s |", of(&l))
		}
		fmt.Fprintf(&b, " %s |\n", network)
	}
	for _, every := range []time.Duration{25 * time.Second, time.Minute} {
		set := func(p *Plan) { p.PingInterval = every }
		h := Measured.Of(million(set)).Heartbeats
		row(fmt.Sprintf("heartbeats, one each %d s: part of the cores' time", int(every.Seconds())), fmt.Sprintf("%s Mbit/s, %s packets a second", short(h.BitsPerSecond/1e6), short(h.PacketsPerSec)),
			func(l *Load) string { return short(100*l.Heartbeats.Cores/float64(l.Cores)) + " %" }, set)
	}
	for _, c := range []struct {
		name    string
		payload int
		tls     bool
	}{{"broadcast of 64 B to all, s", 64, false}, {"of 1,000 B, as far as the same holds", 1000, false}, {"of 64 B, TLS", 64, true}} {
		set := func(p *Plan) { p.Payload, p.TLS = c.payload, c.tls }
		x := Measured.Of(million(set)).Broadcast
		row(c.name, fmt.Sprintf("%s s (%d B on the wire each)", short(x.Wire), x.Packet), func(l *Load) string { return short(l.Broadcast.Seconds) }, set)
	}
	return b.String()
}

func returns() string {
	var b strings.Builder
	b.WriteString("| a million back | µs of CPU each | at most a second | all back after, s: `accept_rate` 0 | three quarters of that | -1 |\n|---|---|---|---|---|---|\n")
	for _, cores := range []int{1, 8, 32} {
		for _, k := range kinds {
			set := func(rate int) Restart {
				return Measured.Of(million(func(p *Plan) { k.change(p); p.Cores, p.AcceptRate = cores, rate })).Restart
			}
			r := set(0)
			fmt.Fprintf(&b, "| %d cores, %s | %s | %s | %s | %s | %s |\n", cores, k.name, short(r.Connect), short(r.Capacity), until(r.All), until(r.WithAdvised.All), until(set(-1).All))
		}
	}
	return strings.ReplaceAll(b.String(), "| 1 cores", "| 1 core")
}

func rates() string {
	var b strings.Builder
	b.WriteString("| 8 cores, a million | half after, s | 99 % | all | refused, a client | most attempts in a second | cores for those let in |\n|---|---|---|---|---|---|---|\n")
	const n = 1_000_000
	row := func(name string, s Storm) {
		s.Clients, s.Cores, s.Connect, s.Refusal, s.Down = n, 8, Measured.Connect.Value, Measured.Refusal.Value, time.Second
		r, in := s.Run(), "as they have time"
		if s.Rate > 0 {
			in = short(s.Rate * s.Connect / 1e6)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", name, until(r.Half), until(r.NinetyNine), until(r.All), short(float64(r.Refused)/n), short(float64(r.Peak)), in)
	}
	for _, rate := range []float64{5000, 10_000, 20_000, 40_000, 80_000} {
		row("`accept_rate: "+strconv.Itoa(int(rate))+"`", Storm{Rate: rate, Backoff: Default})
	}
	row("`accept_rate: 0`", Storm{Backoff: Default})
	slow := Backoff{5 * time.Second, 30 * time.Second, 0.5}
	row("`accept_rate: 20000`, clients that wait 5 to 30 s", Storm{Rate: 20_000, Backoff: slow})
	return b.String()
}

// checks has what was measured beside what is computed: of real clients that were cut at once.
func checks() string {
	var b strings.Builder
	b.WriteString("| | half back after, s | 99 % | all | refused |\n|---|---|---|---|---|\n")
	for _, c := range []struct {
		name                  string
		half, ninetyNine, all float64
		refused               int
		s                     Storm
	}{
		{"5,000 clients, `accept_rate: 500`", 4.75, 13.15, 13.62, 6847, Storm{Clients: 5000, Rate: 500, Connect: 74, Refusal: 60}},
		{"15,000, one core, `accept_rate: 0`", 1.33, 1.66, 1.66, 0, Storm{Clients: 15_000, Connect: 74, Refusal: 60}},
		{"18,000, one core of which others took a part", 21.7, 29.1, 29.6, 81_808, Storm{Clients: 18_000, Connect: 116, Refusal: 40}},
		{"18,000, a tenth of a core", 25.8, 40, 40.2, 28_905, Storm{Clients: 18_000, Connect: 740, Refusal: 600}},
	} {
		c.s.Cores, c.s.Backoff = 1, Default
		r := c.s.Run()
		fmt.Fprintf(&b, "| %s: measured | %.1f | %.1f | %.1f | %s |\n", c.name, c.half, c.ninetyNine, c.all, short(float64(c.refused)))
		fmt.Fprintf(&b, "| computed | %.1f | %.1f | %.1f | %s |\n", r.Half, r.NinetyNine, r.All, short(float64(r.Refused)))
	}
	return b.String()
}
