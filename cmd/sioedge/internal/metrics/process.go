package metrics

import (
	"runtime"

	dto "github.com/prometheus/client_model/go"
)

// process is what is known of the process.
type process struct {
	RSS         float64 // bytes; 0: not known
	Base        float64 // RSS when the Metrics were made
	FDs, MaxFDs float64
}

// read takes what the collector of client_golang has found.
func (p *process) read(all []*dto.MetricFamily) {
	for _, f := range all {
		if len(f.Metric) == 0 {
			continue
		}
		switch v := f.Metric[0].GetGauge().GetValue(); f.GetName() {
		case "process_resident_memory_bytes":
			p.RSS = v
		case "process_open_fds":
			p.FDs = v
		case "process_max_fds":
			p.MaxFDs = v
		}
	}
}

// processOf is the process, and what tells of it.
func processOf(c *catalogue, m *Metrics) {
	c.in("Process")
	version := label{name: "version", from: "the server's version"}
	c.gauge("build_info", "1, with what was built.", version, label{name: "go", from: "Go's version"}).of(processPart, func(*seen) float64 { return 1 }, m.from.Version, runtime.Version())
	c.gauge("bytes_per_connection", "Memory, in bytes, that the process has taken since it started, for each connection that is open now.").of(serverPart, func(x *seen) float64 {
		return ratio(max(x.Process.RSS-x.Process.Base, 0), float64(x.Server.Loop.Open))
	})
	c.gauge("ready", "Whether clients should be sent here: what /readyz found, a moment ago.").field("Health.Welcome")
	c.gauge("draining", "Whether clients are told to leave, or soon will be.").field("Health.Red")
	c.gauge("drain_remaining", "Connections of Engine.IO that are still to leave; 0 if the server does not drain.").of(healthPart, func(x *seen) float64 {
		if !x.Health.Red {
			return 0
		}
		return float64(x.Server.Engine.Open.Sum())
	})
	c.gauge("fds_open", "File descriptors that are open.").field("Process.FDs")
	c.gauge("fds_limit", "File descriptors that may be open.").field("Process.MaxFDs")
	c.counter("config_reloads", "Times that the settings were read again.", result).
		of(processPart, func(*seen) float64 { return float64(m.reloads[1].Load()) }, "success").
		of(processPart, func(*seen) float64 { return float64(m.reloads[0].Load()) }, "failure")
	c.counter("handovers", "Times that another process took over the clients of this one, or of those before it, or was to.", result).
		of(processPart, func(*seen) float64 { done, _, _ := m.from.Upgrades(); return float64(done) }, "success").
		of(processPart, func(*seen) float64 { _, failed, _ := m.from.Upgrades(); return float64(failed) }, "failure")
	c.gauge("handover_pause_seconds", "For how long nobody was served when this process took over; 0: it did not.").of(processPart, func(*seen) float64 {
		_, _, pause := m.from.Upgrades()
		return pause.Seconds()
	})
	c.counter("scrapes", "Scrapes that were served, and refused since there were too many at a time.", result).
		of(processPart, func(*seen) float64 { return float64(m.scrapes[served].Load()) }, "served").
		of(processPart, func(*seen) float64 { return float64(m.scrapes[busy].Load()) }, "busy")
	c.gauge("scrape_duration_seconds", "How long the scrape before this one took, on the whole.").of(processPart, func(*seen) float64 { return m.took.Seconds() })
}

// ratio returns a/b, 0 if there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
