package swarm

import (
	"fmt"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sioedge/sioedge/bench/host"
)

// A Report is what a run measured. Its JSON is sioload's --json.
type Report struct {
	// OK is false when anything was lost, duplicated, out of order, misrouted
	// or damaged, a client failed or was disconnected, or the run was ended by
	// its timeout, a stall or an interrupt.
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"` // why OK is false, in words

	// Bottleneck says that the figures are the generator's, not the server's;
	// Reasons say how. It does not change OK.
	Bottleneck bool     `json:"bottleneck"`
	Reasons    []string `json:"bottleneck_reasons,omitempty"`

	Scenario   Scenario `json:"scenario"`
	URL        string   `json:"url"`
	Namespace  string   `json:"namespace"`
	Clients    int      `json:"clients"`
	Procs      int      `json:"procs"`
	BusyPoll   bool     `json:"busy_poll"`
	Inflight   int      `json:"inflight,omitempty"` // closed loop
	MsgRate    float64  `json:"msg_rate,omitempty"` // open loop
	Size       int      `json:"size"`               // WebSocket payload of a message, bytes
	Active     int      `json:"active,omitempty"`
	Rooms      int      `json:"rooms,omitempty"`
	Publishers int      `json:"publishers,omitempty"`

	Interrupted bool `json:"interrupted,omitempty"`
	TimedOut    bool `json:"timed_out,omitempty"`
	Stalled     bool `json:"stalled,omitempty"` // the closed loop stood still

	Connected         int            `json:"connected"` // when all were connected or had failed
	Total             Counts         `json:"total"`     // of the whole run
	Errors            map[string]int `json:"errors,omitempty"`
	ConnectSeconds    float64        `json:"connect_seconds"` // first to last connect
	ConnectsPerSecond float64        `json:"connects_per_second"`
	ConnectUS         Percentiles    `json:"connect_us"` // from TCP to Socket.IO connected

	// DeliveredShare is, in Jitter, the messages delivered of those that the
	// clients would have got if nobody had been cut.
	DeliveredShare float64 `json:"delivered_share,omitempty"`

	Window  *Window     `json:"window,omitempty"` // nil when nothing was measured
	Server  *Server     `json:"server,omitempty"` // nil without PIDs
	Workers []Generator `json:"workers"`

	ClientBytes    float64 `json:"client_bytes"`     // the generator's own memory a client: its tables
	ClientRSSBytes float64 `json:"client_rss_bytes"` // the same as growth of its processes while connecting
}

// Percentiles of a histogram, in µs.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p999"`
	Max   int64   `json:"max"`
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	if h.TotalCount() == 0 {
		return Percentiles{}
	}
	return Percentiles{
		Count: h.TotalCount(), Mean: h.Mean(), Max: h.Max(),
		P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9),
	}
}

// A Window is what was measured, from the mark to the last delivery (in Idle to
// the end).
type Window struct {
	Seconds            float64     `json:"seconds"`
	Sent               uint64      `json:"sent"`
	Delivered          uint64      `json:"delivered"`
	SentPerSecond      float64     `json:"sent_per_second"`
	DeliveredPerSecond float64     `json:"delivered_per_second"`
	MBPerSecond        float64     `json:"mb_per_second"` // TCP payload received, 10^6 bytes
	Pings              uint64      `json:"pings"`
	LatencyUS          Percentiles `json:"latency_us"` // of deliveries, acks, or reconnects (Churn; Avalanche: since the cut)
	ReaderUS           Percentiles `json:"reader_us"`  // of the echoes in Reader
}

// Server is what the server's processes used.
type Server struct {
	PIDs []int `json:"pids"`

	// CPU time in the window. User and System come in ticks of 10 ms; CPU is
	// read to the ns where no thread ended meanwhile.
	CPUSeconds    float64 `json:"cpu_seconds"`
	UserSeconds   float64 `json:"user_seconds"`
	SystemSeconds float64 `json:"system_seconds"`

	// Per is the unit of the following: "delivery", "echo", "connect" (Churn,
	// its disconnect included) or "connection_second" (Idle).
	Per       string  `json:"per"`
	CPUUS     float64 `json:"cpu_us_per_unit"`
	UserUS    float64 `json:"user_us_per_unit"`
	SystemUS  float64 `json:"system_us_per_unit"`
	ConnectUS float64 `json:"cpu_us_per_connect"` // while the clients connected

	// Kernel threads that work for whoever caused the traffic; counted apart.
	// Negative where a container hides them.
	KsoftirqdUS float64 `json:"ksoftirqd_us_per_unit"`
	// The same for Broadcast and Rooms under the name the unit has there.
	KsoftirqdPerDelivery *float64 `json:"ksoftirqd_us_per_delivery,omitempty"`

	RSSBefore        int64   `json:"rss_before_bytes"`    // before the first connect
	RSSConnected     int64   `json:"rss_connected_bytes"` // after connecting and settling
	RSSEnd           int64   `json:"rss_end_bytes"`
	RSSPerConnection float64 `json:"rss_bytes_per_connection"` // (connected − before) / connections

	Each []Use `json:"each"` // the same apart, in the order of PIDs
}

// Use is what one of the server's processes used.
type Use struct {
	PID            int     `json:"pid"`
	CPUSeconds     float64 `json:"cpu_seconds"` // in the window
	UserSeconds    float64 `json:"user_seconds"`
	ConnectSeconds float64 `json:"connect_cpu_seconds"` // while the clients connected
	RSSBefore      int64   `json:"rss_before_bytes"`    // before the first connect
	RSSConnected   int64   `json:"rss_connected_bytes"` // after connecting and settling
}

// report puts together what the workers told.
func (r *run) report() *Report {
	c := r.cfg
	rep := &Report{
		Scenario: c.Scenario, URL: c.URL, Namespace: c.Namespace, Clients: c.Clients, Procs: r.procs, BusyPoll: c.BusyPoll,
		MsgRate: c.MsgRate, Size: c.Size,
		Interrupted: r.interrupted, TimedOut: r.timedOut, Stalled: r.stalled,
		Connected: r.readyLive, Total: r.total(), ConnectUS: percentiles(r.merged(histConnect)),
	}
	if c.Scenario == Jitter {
		if owed := rep.Total.Delivered + rep.Total.Lost; owed > 0 {
			rep.DeliveredShare = float64(rep.Total.Delivered) / float64(owed)
		}
	}
	if c.MsgRate == 0 && (c.pubSub() || c.Scenario == Echo) {
		rep.Inflight = c.Inflight
	}
	switch c.Scenario {
	case Rooms:
		rep.Rooms, rep.Publishers = c.Rooms, c.Publishers
	case Broadcast, Jitter:
		rep.Publishers = c.Publishers
	case Reader:
		rep.Publishers, rep.Active = c.Publishers, c.Active
	case Echo:
		rep.Active = c.Active
	}
	r.addWorkers(rep)
	if !r.markAt.IsZero() {
		rep.Window = r.measured()
		rep.Server = r.server(rep.Window)
	}
	rep.Problems = rep.problems()
	rep.OK = len(rep.Problems) == 0
	rep.Reasons = rep.bottlenecks(runtime.NumCPU())
	rep.Bottleneck = len(rep.Reasons) > 0
	return rep
}

// addWorkers adds what comes from each worker.
func (r *run) addWorkers(rep *Report) {
	var first, last int64
	var tables int
	var rss int64
	rep.Errors = map[string]int{}
	for _, w := range r.workers {
		f := w.drained.Final
		rep.Workers = append(rep.Workers, *w.drained.Gen)
		for why, n := range w.drained.Errors {
			rep.Errors[why] += n
		}
		tables += f.TableBytes
		rss += f.RSSBytes
		if f.FirstNS > 0 && (first == 0 || f.FirstNS < first) {
			first = f.FirstNS
		}
		last = max(last, f.ReadyNS)
	}
	rep.ClientBytes = float64(tables) / float64(r.cfg.Clients)
	rep.ClientRSSBytes = float64(rss) / float64(r.cfg.Clients)
	if last > first {
		rep.ConnectSeconds = float64(last-first) / 1e9
		rep.ConnectsPerSecond = float64(r.cfg.Clients-int(rep.Total.Failed)) / rep.ConnectSeconds
	}
}

// measured is the window of all workers.
func (r *run) measured() *Window {
	var sum Counts
	last := r.markAt
	for _, w := range r.workers {
		sum.add(w.drained.Final.Window)
		if t := time.Unix(0, w.drained.Final.LastNS); t.After(last) {
			last = t
		}
	}
	if r.cfg.Scenario == Idle {
		last = r.markAt.Add(r.held)
	}
	w := &Window{Sent: sum.Sent, Delivered: sum.Delivered, Pings: sum.Pings,
		LatencyUS: percentiles(r.merged(histLatency)), ReaderUS: percentiles(r.merged(histReader)), Seconds: last.Sub(r.markAt).Seconds()}
	if w.Seconds > 0 {
		w.SentPerSecond = float64(sum.Sent) / w.Seconds
		w.DeliveredPerSecond = float64(sum.Delivered) / w.Seconds
		w.MBPerSecond = float64(sum.BytesIn) / w.Seconds / 1e6
	}
	return w
}

// server is what the server's processes used in window w; nil without PIDs or
// when they are gone.
func (r *run) server(w *Window) *Server {
	if len(r.cfg.PIDs) == 0 || r.serverGone {
		return nil
	}
	used := r.ended.since(r.marked)
	s := &Server{
		PIDs: r.cfg.PIDs, CPUSeconds: used.Total().Seconds(), UserSeconds: used.User.Seconds(), SystemSeconds: used.System.Seconds(),
		RSSBefore: r.before.rss, RSSConnected: r.connected.rss, RSSEnd: r.ended.rss, Per: "delivery",
	}
	units := float64(w.Delivered)
	switch r.cfg.Scenario {
	case Echo:
		s.Per = "echo"
	case Churn, Avalanche:
		s.Per = "connect"
	case Idle:
		s.Per, units = "connection_second", float64(r.readyLive)*w.Seconds
	}
	if units > 0 {
		s.CPUUS, s.UserUS, s.SystemUS = 1e6*s.CPUSeconds/units, 1e6*s.UserSeconds/units, 1e6*s.SystemSeconds/units
		s.KsoftirqdUS = 1e6 * used.softirq.Seconds() / units
	}
	if r.ended.softirq < 0 {
		s.KsoftirqdUS = -1
	}
	if r.cfg.pubSub() {
		s.KsoftirqdPerDelivery = &s.KsoftirqdUS
	}
	for i, pid := range r.cfg.PIDs {
		used := r.ended.each[i].since(r.marked.each[i])
		s.Each = append(s.Each, Use{PID: pid, CPUSeconds: used.Total().Seconds(), UserSeconds: used.User.Seconds(),
			ConnectSeconds: r.connected.each[i].since(r.before.each[i]).Total().Seconds(),
			RSSBefore:      r.before.each[i].rss, RSSConnected: r.connected.each[i].rss})
	}
	if n := float64(r.readyLive); n > 0 {
		s.RSSPerConnection = float64(s.RSSConnected-s.RSSBefore) / n
		s.ConnectUS = 1e6 * r.connected.since(r.before).Total().Seconds() / n
	}
	return s
}

// usage is what processes have used so far.
type usage struct {
	host.CPU
	rss     int64         // bytes
	softirq time.Duration // of the kernel's softirq threads; -1 where they cannot be seen
	each    []usage       // without softirq, of each process
}

// since is u less what was used before.
func (u usage) since(before usage) usage {
	u.CPU = u.Since(before.CPU)
	u.softirq -= before.softirq
	return u
}

// problems are the reasons why a report is not OK.
func (rep *Report) problems() []string {
	var p []string
	add := func(n uint64, what string) {
		if n > 0 {
			p = append(p, fmt.Sprintf("%d %s", n, what))
		}
	}
	t := rep.Total
	add(t.Failed, "clients failed to connect")
	add(t.Disconnected, "clients were disconnected")
	switch rep.Scenario {
	case Jitter: // DeliveredShare says it
	case Avalanche:
		add(t.Lost, "clients did not come back")
	default:
		add(t.Lost, "messages lost")
	}
	add(t.Duplicated, "messages duplicated")
	add(t.OutOfOrder, "messages out of order")
	add(t.Misrouted, "messages to a wrong room")
	add(t.Strange, "packets strange or damaged")
	if rep.Window == nil {
		p = append(p, "nothing was measured")
	}
	if rep.Interrupted {
		p = append(p, "interrupted")
	}
	if rep.TimedOut {
		p = append(p, "ended by the timeout")
	}
	if rep.Stalled {
		p = append(p, "the closed loop stood still")
	}
	return p
}

// busyLimit is the share of its time a worker may be busy before it is taken
// for the bottleneck.
const busyLimit = 0.85

// bottlenecks are the reasons why figures may be the generator's.
func (rep *Report) bottlenecks(cpus int) []string {
	var reasons []string
	for _, w := range rep.Workers {
		busy := w.Busy
		if !rep.BusyPoll { // a busy poller's thread always runs; its useful share is in Busy
			busy = max(busy, w.CPU)
		}
		if busy > busyLimit {
			reasons = append(reasons, fmt.Sprintf("worker %d was %.0f %% busy", w.Worker, 100*busy))
		}
		if w.ConnectBusy > busyLimit {
			reasons = append(reasons, fmt.Sprintf("worker %d was %.0f %% busy while connecting", w.Worker, 100*w.ConnectBusy))
		}
		if rep.Window != nil && float64(w.Late) > 0.01*float64(rep.Window.Sent)/float64(rep.Procs) {
			reasons = append(reasons, fmt.Sprintf("worker %d sent %d messages over 10 ms late, the worst by %d ms", w.Worker, w.Late, w.LateUS/1000))
		}
	}
	if rep.BusyPoll && rep.Procs >= cpus {
		reasons = append(reasons, fmt.Sprintf("%d busy-polling workers leave the server none of %d processors", rep.Procs, cpus))
	}
	return reasons
}
