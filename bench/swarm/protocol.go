package swarm

import "time"

// A command is one line from the coordinator to a worker.
type command struct {
	Do      string        `json:"do"`
	Job     *job          `json:"job,omitempty"`     // doJob
	Members []int32       `json:"members,omitempty"` // doGo: receivers by room, of all workers
	Acc     []int64       `json:"acc,omitempty"`     // doAcc: by publisher, of all workers
	Died    []int32       `json:"died,omitempty"`    // doAcc: the rooms of receivers lost since
	Sent    [][]uint32    `json:"sent,omitempty"`    // doDrain: by publisher and room
	Wait    time.Duration `json:"wait,omitempty"`    // doDrain
}

// What a command asks for, in the order of a run.
const (
	doJob   = "job"
	doGo    = "go"
	doMark  = "mark"
	doAcc   = "acc"
	doStop  = "stop"
	doDrain = "drain"
	doQuit  = "quit"
)

// A job is a worker's share. Client i of worker Index has the global number
// i*Workers+Index; global numbers decide about rooms, publishers and activity.
type job struct {
	Config  Config   `json:"config"`
	Index   int      `json:"index"`
	Workers int      `json:"workers"`
	Run     uint16   `json:"run"`
	Address string   `json:"address"` // ip:port, resolved
	Sources []string `json:"sources,omitempty"`
}

// share is how many of total numbered things fall to worker index of n.
func share(total, index, n int) int { return (total - index + n - 1) / n }

func (j *job) clients() int    { return share(j.Config.Clients, j.Index, j.Workers) }
func (j *job) publishers() int { return share(j.Config.Publishers, j.Index, j.Workers) }
func (j *job) active() int     { return share(j.Config.Active, j.Index, j.Workers) }

// An event is one line from a worker to the coordinator.
type event struct {
	Ev      string            `json:"ev"`
	Now     *Counts           `json:"now,omitempty"`     // evStat, evReady, evDrained
	Members []int32           `json:"members,omitempty"` // evReady: connected receivers by room
	Acc     []int64           `json:"acc,omitempty"`     // evAcc: by publisher
	Died    []int32           `json:"died,omitempty"`    // evAcc
	Sent    map[int][]uint32  `json:"sent,omitempty"`    // evStopped: by publisher of this worker
	Errors  map[string]int    `json:"errors,omitempty"`  // evDrained
	Final   *final            `json:"final,omitempty"`   // evDrained
	Gen     *Generator        `json:"gen,omitempty"`     // evDrained
	Hist    map[string][]byte `json:"hist,omitempty"`    // evDrained: histograms, V2 compressed
	Reason  string            `json:"reason,omitempty"`  // evBroken
}

// What an event tells.
const (
	evReady   = "ready"   // every client is connected or failed
	evStat    = "stat"    // once a second
	evMarked  = "marked"  // the window has begun
	evAcc     = "acc"     // closed loop with several workers
	evStopped = "stopped" // nothing more will be sent
	evDrained = "drained" // nothing more is owed, or no longer waited for
	evBroken  = "broken"  // the worker cannot go on
)

// Histograms of a worker.
const (
	histLatency = "latency"
	histConnect = "connect"
	histReader  = "reader"
)

// final is what only the end tells.
type final struct {
	Window     Counts `json:"window"`      // since the mark
	LastNS     int64  `json:"last_ns"`     // Unix ns of the last delivery; 0 when none
	TableBytes int    `json:"table_bytes"` // memory of the client tables
	RSSBytes   int64  `json:"rss_bytes"`   // of the process, grown while connecting
	FirstNS    int64  `json:"first_ns"`    // Unix ns of the first connect
	ReadyNS    int64  `json:"ready_ns"`    // Unix ns when all were connected
	MarkNS     int64  `json:"mark_ns"`     // Unix ns when the window began
}

// Counts are what the clients did and saw, from the beginning of the run or of
// the window.
type Counts struct {
	Live         int    `json:"live"`         // connected now
	Connects     uint64 `json:"connects"`     // reached Socket.IO connected (and joined)
	Failed       uint64 `json:"failed"`       // did not
	Disconnected uint64 `json:"disconnected"` // lost without having asked for it
	Sent         uint64 `json:"sent"`         // messages, echoes, or reconnects begun
	Delivered    uint64 `json:"delivered"`    // distinct messages or acks received
	Lost         uint64 `json:"lost"`         // owed and never received; provisional while running
	Duplicated   uint64 `json:"duplicated"`   // received again
	OutOfOrder   uint64 `json:"out_of_order"` // received after a later one
	Misrouted    uint64 `json:"misrouted"`    // received for a room the client is not in
	Strange      uint64 `json:"strange"`      // packets that are not of this run, or damaged
	Cut          uint64 `json:"cut"`          // connections cut by the generator
	Refused      uint64 `json:"refused"`      // attempts to come back that failed; others followed
	Recovered    uint64 `json:"recovered"`    // came back to the same session
	Pings        uint64 `json:"pings"`        // Engine.IO pings answered
	BytesIn      uint64 `json:"bytes_in"`     // TCP payload received
}

func (c *Counts) add(d Counts) {
	c.Live += d.Live
	c.each(&d, func(a, b uint64) uint64 { return a + b })
}

func (c *Counts) sub(d Counts) {
	c.each(&d, func(a, b uint64) uint64 { return a - min(a, b) })
}

func (c *Counts) each(d *Counts, f func(a, b uint64) uint64) {
	for _, p := range [][2]*uint64{
		{&c.Connects, &d.Connects}, {&c.Failed, &d.Failed}, {&c.Disconnected, &d.Disconnected},
		{&c.Sent, &d.Sent}, {&c.Delivered, &d.Delivered}, {&c.Lost, &d.Lost},
		{&c.Duplicated, &d.Duplicated}, {&c.OutOfOrder, &d.OutOfOrder}, {&c.Misrouted, &d.Misrouted},
		{&c.Strange, &d.Strange}, {&c.Cut, &d.Cut}, {&c.Refused, &d.Refused}, {&c.Recovered, &d.Recovered}, {&c.Pings, &d.Pings}, {&c.BytesIn, &d.BytesIn},
	} {
		*p[0] = f(*p[0], *p[1])
	}
}

// A Generator says whether one worker kept up.
type Generator struct {
	Worker      int     `json:"worker"`
	Clients     int     `json:"clients"`
	Busy        float64 `json:"busy"`         // share of the window not spent waiting
	BusyPeak    float64 `json:"busy_peak"`    // the same in the worst second
	CPU         float64 `json:"cpu"`          // thread CPU time over the window; 0 where unknown
	ConnectBusy float64 `json:"connect_busy"` // as Busy, while connecting
	Late        uint64  `json:"late"`         // sends over 10 ms late by the worker's own fault
	LateUS      int64   `json:"late_us"`      // the worst of them
	Blocked     uint64  `json:"blocked"`      // times a sender waited for the server to read
}
