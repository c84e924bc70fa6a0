package main

import (
	"slices"
	"strings"
	"testing"
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
	servers := []*server{{name: "we"}, {name: "C send", extra: true}, {name: "small", most: 5000}, {name: "broken"}, {name: "absent", missing: "no compiler"}}
	name := trials[0].name
	results := map[string][]figure{
		name + "\twe":     {{cpu: 6}, {cpu: 2}},
		name + "\tC send": {{cpu: 2}},
		name + "\tsmall":  {{cpu: 1, problems: []string{"3 messages lost"}}},
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
	servers := []*server{{name: ourselves}, {name: oneLoop, extra: true}, {name: limit, extra: true}, {name: "peer"}, {name: "absent", missing: "no compiler"}}
	order := func(tr trial, more ...*server) string {
		var all []string
		for _, v := range turns(tr, append(slices.Clone(servers), more...)) {
			all = append(all, v.name)
		}
		return strings.Join(all, "; ")
	}
	for want, tr := range map[string]trial{
		"sioedge; peer":                 {},
		"sioedge; sioedge 1 loop; peer": {also: []string{oneLoop}},
		"sioedge; C send; peer; C send; sioedge; sioedge; C send": {also: []string{limit}},
	} {
		if got := order(tr); got != want {
			t.Errorf("turns = %s, want %s", got, want)
		}
	}
	earlier := &server{name: "before", like: ourselves}
	want := "sioedge; C send; peer; before; before; C send; sioedge; sioedge; C send; before"
	if got := order(trial{also: []string{limit}}, earlier); got != want {
		t.Errorf("turns beside an earlier revision = %s, want %s", got, want)
	}
	if alone := (&server{name: "before 1 loop", extra: true, like: oneLoop}); !(trial{also: []string{oneLoop}}).takes(alone) || (trial{}).takes(alone) {
		t.Error("an earlier revision with one loop does not take part where today's does")
	}
}
