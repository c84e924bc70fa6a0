package main

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/wsframe"
)

func TestMedianOfEvenAndOddNumbers(t *testing.T) {
	cpu := func(f figure) float64 { return f.cpu }
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		var fs []figure
		for _, v := range c.values {
			fs = append(fs, figure{cpu: v})
		}
		if got := median(fs, cpu); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestTablesNameWhatIsMissingAndWhatFailed(t *testing.T) {
	trials := allTrials(settings{rounds: 2, clients: 15000, seconds: 1})[2:3]
	servers := []*server{{name: "we"}, {name: limit, extra: true}, {name: "small", most: 5000}, {name: "broken"}, {name: "absent", missing: "no compiler"}}
	name := trials[0].name
	results := map[string][]figure{
		name + "\twe":       {{cpu: 6}, {cpu: 2}},
		name + "\t" + limit: {{cpu: 2}},
		name + "\tsmall":    {{cpu: 1, problems: []string{"3 messages lost"}}},
	}
	var b strings.Builder
	tables(&b, trials, servers, results, map[string]string{name + "\tbroken": "it fell over"})
	for _, want := range []string{"4.000 (2.000–6.000)", "2.000\n", "5000 clients; NOT OK: 3 messages lost", "failed: it fell over", "missing: absent: no compiler"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("tables lack %q:\n%s", want, b.String())
		}
	}
}

func TestTellingFindsTheReason(t *testing.T) {
	const npm = "npm error code 2\nnpm error fatal: unable to reach the sources\nnpm error A complete log of this run can be found in: x\n"
	if got := telling([]byte(npm)); !strings.Contains(got, "unable to reach") {
		t.Errorf("telling = %q, want the fatal line", got)
	}
	if got := telling([]byte("a\nb\n")); got != "b" {
		t.Errorf("telling = %q, want the last line", got)
	}
}

func TestTurnsAreFairWhereRatiosCount(t *testing.T) {
	servers := []*server{{name: ourselves, near: true}, {name: oneLoop, extra: true, near: true}, {name: limit, extra: true, near: true}, {name: "peer"}, {name: "absent", missing: "no compiler"}}
	order := func(tr trial, more ...*server) string {
		var all []string
		for _, v := range turns(tr, append(slices.Clone(servers), more...), false) {
			all = append(all, v.name)
		}
		return strings.Join(all, "; ")
	}
	for want, tr := range map[string]trial{
		"sioedge; peer":                 {},
		"sioedge; sioedge 1 loop; peer": {also: []string{oneLoop}},
		"sioedge; C; peer; C; sioedge":  {also: []string{limit}},
		"sioedge; C; peer":              {also: []string{limit}, once: true},
	} {
		if got := order(tr); got != want {
			t.Errorf("turns = %s, want %s", got, want)
		}
	}
	earlier := &server{name: "before", like: ourselves, near: true}
	want := "sioedge; C; peer; before; before; C; sioedge"
	if got := order(trial{also: []string{limit}}, earlier); got != want {
		t.Errorf("turns beside an earlier revision = %s, want %s", got, want)
	}
	if alone := (&server{name: "before 1 loop", extra: true, like: oneLoop}); !(trial{also: []string{oneLoop}}).takes(alone) || (trial{}).takes(alone) {
		t.Error("an earlier revision with one loop does not take part where today's does")
	}
}

func TestTrialsNameServersThatThereAre(t *testing.T) {
	known := func(name string) bool {
		return slices.ContainsFunc(allServers(), func(v *server) bool { return v.name == name })
	}
	for _, tr := range allTrials(settings{rounds: 1, clients: 1000, seconds: 1}) {
		for _, name := range slices.Concat(tr.also, tr.alone) {
			if !known(name) {
				t.Errorf("%s names %q, which is no server", tr.name, name)
			}
		}
	}
}

func TestPlacesOfCommandsAreFilled(t *testing.T) {
	for _, v := range allServers() {
		all := strings.Join(filled(append(slices.Clone(v.app), v.cmd...), appPlace, "a:1", internalPlace, "b:2", portPlace, "3"), " ")
		for _, place := range []string{appPlace, internalPlace, portPlace} {
			if strings.Contains(all, place) {
				t.Errorf("%s: %s is not filled in %q", v.name, place, all)
			}
		}
		if strings.Contains(strings.Join(v.cmd, " "), appPlace) && len(v.app) == 0 {
			t.Errorf("%s has no application for %s", v.name, appPlace)
		}
	}
}

// Who attacks sends whole packets, and rooms with names of their own.
func TestHostilitiesAreWhatTheySay(t *testing.T) {
	names := map[string]bool{}
	for _, h := range hostilities() {
		if names[h.name] {
			t.Errorf("two are named %q", h.name)
		}
		names[h.name] = true
		for _, b := range append([][]byte{h.begin}, h.units...) {
			for len(b) > 0 {
				head, n, err := wsframe.ParseHeader(b)
				if err != nil || n == 0 || int64(len(b)-n) < head.Length || !head.Masked {
					t.Fatalf("%s: a frame of %d bytes is not whole: %+v, %v", h.name, len(b), head, err)
				}
				b = b[n+int(head.Length):]
			}
		}
	}
}

func TestTablesOfMemoryHaveAColumnAWave(t *testing.T) {
	trials := slices.DeleteFunc(costs(settings{rounds: 1, clients: 100, seconds: 1}), func(t trial) bool { return t.name != "memory over ten waves" })
	f := figure{clients: 100}
	for i := range waves + 1 {
		f.held = append(f.held, float64(i<<20))
	}
	var b strings.Builder
	tables(&b, trials, []*server{{name: ourselves}}, map[string][]figure{trials[0].name + "\t" + ourselves: {f}}, nil)
	if want := []string{ourselves, "10.0", "0.0", "1.0", "2.0", "5.0"}; !strings.Contains(strings.Join(strings.Fields(b.String()), " "), strings.Join(want, " ")) {
		t.Errorf("the table lacks %q:\n%s", want, b.String())
	}
}

func TestDialWaitsForWhoListensLater(t *testing.T) {
	addr, err := freePlace()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	// ends when it is connected, or dial has given up
	go func() {
		conn, err := dial(addr)
		if err == nil {
			conn.Close()
		}
		done <- err
	}()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Skip(err) // somebody else has taken it
	}
	defer l.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
