package swarm

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// String is the one line a Status is shown as.
func (s Status) String() string {
	per := func(n uint64) string {
		if s.Since <= 0 {
			return "0/s"
		}
		return fmt.Sprintf("%.0f/s", float64(n)/s.Since.Seconds())
	}
	line := fmt.Sprintf("%4.0fs %-7s %d/%d connected", s.Elapsed.Seconds(), s.Phase, s.Counts.Live, s.Clients)
	if s.Phase == "connect" {
		line += " " + per(s.Change.Connects)
	} else {
		line += fmt.Sprintf(" · sent %d %s · delivered %d %s", s.Counts.Sent, per(s.Change.Sent), s.Counts.Delivered, per(s.Change.Delivered))
	}
	for _, p := range []struct {
		n    uint64
		what string
	}{
		{s.Counts.Failed, "failed"}, {s.Counts.Disconnected, "disconnected"}, {s.Counts.Lost, "missing"}, {s.Counts.Duplicated, "duplicated"},
		{s.Counts.OutOfOrder, "out of order"}, {s.Counts.Misrouted, "misrouted"}, {s.Counts.Strange, "strange"},
	} {
		if p.n > 0 {
			line += fmt.Sprintf(" · %d %s", p.n, p.what)
		}
	}
	return line
}

// WriteTable writes the report for people to read.
func (rep *Report) WriteTable(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	rep.setup(row)
	row("connected", "%d of %d in %.2f s, %.0f/s", rep.Connected, rep.Clients, rep.ConnectSeconds, rep.ConnectsPerSecond)
	row("connect time", "%s", rep.ConnectUS)
	if rep.Window != nil {
		rep.window(row)
	}
	if rep.Total.Pings > 0 {
		row("pings answered", "%d", rep.Total.Pings)
	}
	if rep.Server != nil {
		rep.Server.rows(row)
	}
	for _, w := range rep.Workers {
		row(fmt.Sprintf("worker %d", w.Worker), "%d clients, busy %.0f %% (worst second %.0f %%), cpu %.0f %%, %d late, %d times blocked by the server",
			w.Clients, 100*w.Busy, 100*w.BusyPeak, 100*w.CPU, w.Late, w.Blocked)
	}
	row("generator memory", "%.0f B a client in tables, %.0f B resident", rep.ClientBytes, rep.ClientRSSBytes)
	for _, why := range slices.Sorted(maps.Keys(rep.Errors)) {
		row("error", "%d × %s", rep.Errors[why], why)
	}
	if rep.OK {
		row("result", "ok: nothing lost, duplicated or out of order")
	} else {
		row("result", "NOT OK: %s", strings.Join(rep.Problems, ", "))
	}
	for _, why := range rep.Reasons {
		row("warning", "the load generator was the bottleneck: %s", why)
	}
	return t.Flush()
}

func (rep *Report) setup(row func(name, format string, args ...any)) {
	row("scenario", "%s, %s, namespace %s", rep.Scenario, rep.URL, rep.Namespace)
	poll := "sleeping"
	if rep.BusyPoll {
		poll = "busy-polling"
	}
	row("generator", "%d %s workers, %d clients", rep.Procs, poll, rep.Clients)
	loop := ""
	switch {
	case rep.MsgRate > 0:
		loop = fmt.Sprintf(", %.0f/s", rep.MsgRate)
	case rep.Inflight > 0:
		loop = fmt.Sprintf(", %d in flight", rep.Inflight)
	}
	switch rep.Scenario {
	case Broadcast:
		row("messages", "%d B%s, %d publishers", rep.Size, loop, rep.Publishers)
	case Rooms:
		row("messages", "%d B%s, %d publishers to %d rooms", rep.Size, loop, rep.Publishers, rep.Rooms)
	case Reader:
		row("messages", "%d B%s, %d publishers, %d readers", rep.Size, loop, rep.Publishers, rep.Active)
	case Jitter:
		row("messages", "%d B%s, %d publishers to one room", rep.Size, loop, rep.Publishers)
	case Echo:
		row("messages", "%d B%s, %d active clients", rep.Size, loop, rep.Active)
	}
}

func (rep *Report) window(row func(name, format string, args ...any)) {
	w := rep.Window
	if rep.Scenario == Idle {
		row("window", "%.2f s", w.Seconds)
		return
	}
	row("window", "%.2f s, sent %d (%.1f/s), delivered %d (%.0f/s, %.2f MB/s)",
		w.Seconds, w.Sent, w.SentPerSecond, w.Delivered, w.DeliveredPerSecond, w.MBPerSecond)
	row("latency", "%s", w.LatencyUS)
	if rep.Scenario == Reader {
		row("readers' latency", "%s, %d echoes", w.ReaderUS, w.ReaderUS.Count)
	}
	if rep.Scenario == Jitter {
		row("delivered share", "%.4f", rep.DeliveredShare)
	}
	if t := rep.Total; t.Cut > 0 {
		row("cut", "%d, of which %d came back to their session; %d attempts failed", t.Cut, t.Recovered, t.Refused)
	}
	row("whole run", "sent %d, delivered %d, lost %d, duplicated %d, out of order %d, misrouted %d, strange %d, disconnected %d", rep.Total.Sent,
		rep.Total.Delivered, rep.Total.Lost, rep.Total.Duplicated, rep.Total.OutOfOrder, rep.Total.Misrouted, rep.Total.Strange, rep.Total.Disconnected)
}

func (s *Server) rows(row func(name, format string, args ...any)) {
	row("server cpu", "%.3f µs per %s (user %.3f, system %.3f), %.2f s in all",
		s.CPUUS, strings.ReplaceAll(s.Per, "_", " "), s.UserUS, s.SystemUS, s.CPUSeconds)
	if s.KsoftirqdUS >= 0 {
		row("ksoftirqd", "%.3f µs per %s, apart", s.KsoftirqdUS, strings.ReplaceAll(s.Per, "_", " "))
	} else {
		row("ksoftirqd", "not visible from here")
	}
	row("server connect", "%.1f µs cpu a connection", s.ConnectUS)
	row("server memory", "%.1f MiB before, %.1f connected (%.0f B a connection), %.1f at the end",
		mib(s.RSSBefore), mib(s.RSSConnected), s.RSSPerConnection, mib(s.RSSEnd))
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// String is the percentiles in words.
func (p Percentiles) String() string {
	if p.Count == 0 {
		return "nothing recorded"
	}
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, p99.9 %v, max %v", us(p.P50), us(p.P90), us(p.P99), us(p.P999), us(p.Max))
}
