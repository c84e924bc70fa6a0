package metrics

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write the table of series into docs/metrics.md")

// asked are the series that operators were promised, with those that are there in their
// place, and why.
var asked = map[string]string{
	"connections{transport,eio}": "", "sockets{route}": "", "rooms{route}": "", "handshakes_total{result}": "", "handshake_duration_seconds": "",
	"upgrades_total{result}": "", "recoveries_total{result}": "", "recovered_packets_total": "", "recovery_log_bytes": "", "disconnects_total{route,reason}": "",
	"close_codes_total{code}": "", "connection_age_seconds": "", "events_received_total{route,kind}": "", "events_sent_total{route,kind}": "",
	"acks_total{result}": "", "bytes_received_total{transport}": "", "bytes_sent_total{transport}": "", "frames_total{dir,opcode}": "",
	"broadcasts_total{route}": "", "broadcast_recipients": "", "broadcast_duration_seconds": "", "emit_to_write_seconds": "", "ping_rtt_seconds": "",
	"ping_timeouts_total": "", "queue_bytes": "", "queue_high_water_bytes": "", "slow_consumers": "",
	"dropped_total{route}":             "with `route` alone: why is `policy` of `sioedge_queue_dropped_total` and `reason` of `sioedge_events_discarded_total`, which are counted for all namespaces",
	"writes_total":                     "",
	"rate_limited_total{scope,action}": "", "admission_rejected_total{reason}": "", "memory_pressure": "",
	"webhook_requests_total{backend,type,code}": "", "webhook_duration_seconds{backend,type}": "", "webhook_inflight{backend}": "", "webhook_queue{backend}": "",
	"webhook_batch_size{backend}": "", "webhook_breaker_state{backend}": "", "webhook_dropped_total{backend,reason}": "", "api_requests_total{endpoint,code}": "", "api_duration_seconds{endpoint}": "",
	"adapter_messages_total{dir,kind}": "", "adapter_lag_seconds": "", "adapter_subscriptions": "", "adapter_up": "", "cluster_nodes": "",
	"cluster_requests_total{kind,result}": "", "loop_iterations_total{loop}": "", "loop_lag_seconds{loop}": "", "loop_connections{loop}": "",
	"buffers_pooled_bytes": "", "bytes_per_connection": "", "tls_handshakes_total{result}": "", "drain_remaining": "", "fds_open": "", "fds_limit": "", "config_reloads_total{result}": "", "build_info{version,go}": "",
}

// missing are those that are not there, and what to look at instead.
var missing = []struct{ name, instead string }{
	{"frames_per_write", "`rate(sioedge_frames_total{dir=\"out\"}[5m]) / rate(sioedge_writes_total[5m])`, which rules.yml records as `sioedge:frames_per_write:ratio5m`"},
	{"loop_busy_ratio", "`rate(sioedge_loop_busy_seconds_total[5m])`, which rules.yml records as `sioedge:loop_busy:ratio5m`: a counter is right whoever scrapes, and how often"},
}

// The series that were promised are there, or in missing.
func TestWhatWasPromisedIsThere(t *testing.T) {
	m := New(Sources{})
	there := map[string]bool{}
	for _, f := range m.catalogue.all {
		name := strings.TrimPrefix(f.name, prefix)
		if len(f.labels) > 0 {
			name += "{" + labelNames(f) + "}"
		}
		there[name] = true
	}
	for name := range asked {
		if !there[name] {
			t.Errorf("there is no %s", name)
		}
	}
	for _, x := range missing {
		if there[x.name] {
			t.Errorf("%s is there", x.name)
		}
	}
}

// docs/metrics.md has all series.
func TestDocs(t *testing.T) {
	const file, mark = "../../docs/metrics.md", "<!-- What follows is written by go test ./cmd/sioedge/internal/metrics -run Docs -update -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(b), mark)
	want := head + mark + table(New(Sources{}))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want {
		t.Errorf("%s does not have the series that there are: go test ./cmd/sioedge/internal/metrics -run Docs -update", file)
	}
}

func table(m *Metrics) string {
	var b strings.Builder
	origins := map[string]string{}
	var names []string
	for _, s := range m.catalogue.sections {
		fmt.Fprintf(&b, "\n## %s\n\n| Series | Type | Labels | |\n|---|---|---|---|\n", s.title)
		for _, f := range s.families {
			var labels []string
			for _, l := range f.labels {
				if l.values == nil {
					labels = append(labels, "`"+l.name+"`")
					if origins[l.name] == "" {
						names = append(names, l.name)
						origins[l.name] = l.from
					}
				} else {
					labels = append(labels, "`"+l.name+"`: "+strings.Join(l.values, ", "))
				}
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, strings.ToLower(f.kind.String()), strings.Join(labels, "; "), f.help)
		}
	}
	b.WriteString("\n`go_*` and `process_*` are as Prometheus' library for Go has them.\n\n## Labels of your own\n\n| Label | Values |\n|---|---|\n")
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, origins[name])
	}
	b.WriteString("\n## What is elsewhere\n\n| Not there | Instead |\n|---|---|\n")
	for _, x := range missing {
		fmt.Fprintf(&b, "| `%s%s` | %s |\n", prefix, x.name, x.instead)
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if why := asked[name]; why != "" {
			fmt.Fprintf(&b, "| more labels of `%s%s` | %s |\n", prefix, name, why)
		}
	}
	return b.String()
}

func labelNames(f *family) string {
	var all []string
	for _, l := range f.labels {
		all = append(all, l.name)
	}
	return strings.Join(all, ",")
}

// Each label has a list of values, or says where its values are from; each series has a
// text that ends.
func TestSeriesSayWhatTheyAre(t *testing.T) {
	names := map[string]bool{}
	for _, f := range New(Sources{}).catalogue.all {
		if names[f.name] {
			t.Errorf("%s is there twice", f.name)
		}
		names[f.name] = true
		if !strings.HasSuffix(f.help, ".") && f.name != "sioedge_build_info" {
			t.Errorf("%s: %q does not end", f.name, f.help)
		}
		for _, l := range f.labels {
			if (len(l.values) == 0) == (l.from == "") {
				t.Errorf("%s: nobody says what %s can be", f.name, l.name)
			}
		}
		if f.kind == dto.MetricType_COUNTER != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%s is a %s", f.name, f.kind)
		}
	}
}
