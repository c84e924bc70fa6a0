package admin

import (
	"math"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A Backend is what the page shows of one that is asked and told about sockets.
type Backend struct {
	Name     string `json:"name"`
	InFlight int    `json:"in_flight"`
	Waiting  int    `json:"waiting"`
	Queued   int64  `json:"queued_bytes"`
	Breaker  string `json:"breaker"`
	Opened   int64  `json:"opened"`
	Requests int64  `json:"requests"`
	Failed   int64  `json:"failed"` // of these
	Items    int64  `json:"items"`
	Lost     int64  `json:"lost"` // items
	Paused   int    `json:"paused"`
	Nanos    int64  `json:"nanos"` // that all requests took
}

// A Bridge is what the page shows of one that has an application's processes: gauges, and
// counts since the start.
type Bridge struct {
	Name      string `json:"name"`
	Processes int    `json:"processes"`
	Links     int    `json:"links"`
	Draining  int    `json:"draining"` // of links
	Sockets   int    `json:"sockets"`
	Events    int64  `json:"events"`  // to processes
	Emits     int64  `json:"emits"`   // of processes
	Waiting   int    `json:"waiting"` // connections without a process
	Paused    int64  `json:"paused"`
	Taken     int64  `json:"taken"`  // connections that went from one to another
	Closed    int64  `json:"closed"` // connections for which there was none
}

// A Loop is what the page shows of an event loop: counts since the start, and gauges.
type Loop struct {
	Clients   int64 `json:"clients"`
	Sockets   int64 `json:"sockets"`
	EventsIn  int64 `json:"events_in"`
	EventsOut int64 `json:"events_out"`
	BytesIn   int64 `json:"bytes_in"`
	BytesOut  int64 `json:"bytes_out"`
	Writes    int64 `json:"writes"`
	Busy      int64 `json:"busy_ns"`
	Queued    int64 `json:"queued_bytes"`
	Largest   int64 `json:"largest_queue_bytes"`
	Slow      int64 `json:"slow"`
	Mail      int64 `json:"mail"`
	Lag       int64 `json:"lag_ms"`
	Dropped   int64 `json:"dropped"`
	Late      int64 `json:"late_ms,omitempty"` // it has not told anything for so long: the rest is old
}

// An Overview is what a server is doing: counts since the start, and gauges. What happens
// a second is for the page to find out, from two of them.
type Overview struct {
	Time       int64            `json:"time"`    // ms since 1970
	Started    int64            `json:"started"` // the same
	Node       string           `json:"node"`
	Version    string           `json:"version"`
	Go         string           `json:"go"`
	Draining   bool             `json:"draining"`
	ReadOnly   bool             `json:"readonly"`
	Operators  int64            `json:"operators"` // sessions on this page
	Wrong      int64            `json:"wrong"`     // logins that were not right, or were refused
	Clients    int64            `json:"clients"`
	Sockets    int64            `json:"sockets"`
	Rooms      int64            `json:"rooms"`
	Transports map[string]int64 `json:"transports"`
	EventsIn   int64            `json:"events_in"`
	EventsOut  int64            `json:"events_out"`
	BytesIn    int64            `json:"bytes_in"`
	BytesOut   int64            `json:"bytes_out"`
	Opened     int64            `json:"opened"` // sessions
	Queued     int64            `json:"queued_bytes"`
	Waiting    int64            `json:"waiting"` // events that wait for handlers
	Lag        int64            `json:"lag_ms"`
	Dropped    int64            `json:"dropped"`
	Drops      map[string]int64 `json:"drops"`  // those that are not 0, by what they are
	Closes     map[string]int64 `json:"closes"` // sessions, by the reason
	Memory     Memory           `json:"memory"`
	Loops      []Loop           `json:"loops"`
	Backends   []Backend        `json:"backends"`
	Bridges    []Bridge         `json:"bridges"`
	Adapter    *Adapter         `json:"adapter,omitempty"` // none: the server is alone
}

// Memory is what the process takes.
type Memory struct {
	Resident   int64 `json:"resident"` // bytes; 0: the system does not say
	InUse      int64 `json:"in_use"`   // bytes that Go's runtime holds
	Limit      int64 `json:"limit"`    // bytes of limits.memory; 0: none
	Short      bool  `json:"short"`    // it is passed: new sessions are refused
	Goroutines int64 `json:"goroutines"`
}

// An Adapter is how the server is joined to others.
type Adapter struct {
	Up            bool   `json:"up"`
	Since         int64  `json:"since,omitempty"` // ms since 1970
	Reason        string `json:"reason,omitempty"`
	Sent          int64  `json:"sent"`
	Received      int64  `json:"received"`
	Lost          int64  `json:"lost"`
	Discarded     int64  `json:"discarded"`
	Malformed     int64  `json:"malformed"`
	Reconnects    int64  `json:"reconnects"`
	Waiting       int    `json:"waiting"`
	Subscriptions int    `json:"subscriptions"`
	Pending       int    `json:"pending"`
	Incomplete    int64  `json:"incomplete"`
}

// snapshots keeps the last overview for a moment: however many look, it is made twice a
// second at most.
type snapshots struct {
	mu   sync.Mutex
	at   time.Time
	last *Overview
}

const snapshotEvery = 500 * time.Millisecond

func (a *Admin) overview(w http.ResponseWriter, _ *http.Request) {
	x := &a.snapshots
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := a.now(); x.last == nil || now.Sub(x.at) >= snapshotEvery || now.Before(x.at) {
		x.last, x.at = a.look(), now
	}
	answer(w, http.StatusOK, x.last)
}

// look makes an overview.
func (a *Admin) look() *Overview {
	srv, rules := a.o.Server, a.rules.Load()
	st, mine := srv.Stats(), a.Stats()
	o := &Overview{
		Time: time.Now().UnixMilli(), Started: a.started.UnixMilli(), Node: srv.Node(), Version: a.o.Version, Go: runtime.Version(),
		Draining: a.o.Draining(), ReadOnly: rules.ReadOnly, Operators: mine.Sessions, Wrong: mine.Wrong + mine.Throttled,
		Clients: st.Loop.Open, Rooms: int64(st.Directory.Rooms), Opened: st.Engine.Opened.Sum(),
		Transports: map[string]int64{"websocket": st.Engine.Open.WebSocket + st.Engine.Open.WebSocket3, "polling": st.Engine.Open.Polling + st.Engine.Open.Polling3},
		BytesIn:    st.Loop.BytesIn, BytesOut: st.Loop.BytesOut,
		Queued: st.Loop.Queued + st.Engine.Queued, Waiting: st.Backlog.Tasks, Lag: st.Loop.Lag,
		Drops: dropsOf(&st), Closes: closesOf(&st), Memory: memory(&st), Loops: loopsOf(&st), Backends: a.o.Backends(), Bridges: a.o.Bridges(), Adapter: adapterOf(srv),
	}
	for _, n := range st.Namespaces {
		o.Sockets, o.EventsIn, o.EventsOut = o.Sockets+n.Sockets, o.EventsIn+n.Events, o.EventsOut+n.Emits
	}
	for _, n := range o.Drops {
		o.Dropped += n
	}
	return o
}

// loopsOf is what the page shows of each loop.
func loopsOf(st *sio.Stats) []Loop {
	x := make([]Loop, len(st.Loops))
	for i, l := range st.Loops {
		served := &st.Served[i]
		x[i] = Loop{
			Clients: l.Open, Sockets: served.Sockets, EventsIn: served.Events, EventsOut: served.Emits, BytesIn: l.BytesIn, BytesOut: l.BytesOut, Writes: l.Writes,
			Busy: l.Busy, Queued: l.Queued, Largest: l.Largest, Slow: l.Slow, Mail: l.Mail, Lag: l.Lag, Dropped: l.Dropped.New + l.Dropped.Oldest + l.Dropped.Conflated,
		}
	}
	for _, l := range st.Late {
		x[l.Loop].Late = l.For.Milliseconds()
	}
	return x
}

// dropsOf names what was not done or sent, and is not 0.
func dropsOf(st *sio.Stats) map[string]int64 {
	d := &st.Drops
	all := map[string]int64{
		"volatile events": d.Volatile, "events by their class": st.Loop.Dropped.New + st.Loop.Dropped.Oldest + st.Loop.Dropped.Conflated,
		"events while overloaded": d.Overloaded, "events of who has left": d.Unhandled, "events refused by a gate": d.Gated,
		"acknowledgements, too many owed": d.Acks, "rooms, too many": d.Rooms, "namespaces, too many": d.Namespaces, "namespaces, no place": d.Full,
		"events between servers": d.Unheard, "rooms and namespaces, jammed": d.Jammed,
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// closesOf are sessions that have ended, by Node's reasons.
func closesOf(st *sio.Stats) map[string]int64 {
	c := &st.Engine.Closed
	return map[string]int64{
		"transport close": c.TransportClose, "transport error": c.TransportError, "ping timeout": c.PingTimeout, "parse error": c.ParseError, "forced close": c.ForcedClose,
	}
}

func adapterOf(srv *sio.Server) *Adapter {
	s := srv.Cluster()
	if s.Since.IsZero() {
		return nil
	}
	return &Adapter{
		Up: s.Up, Since: s.Since.UnixMilli(), Reason: s.Reason, Sent: s.Sent, Received: s.Received, Lost: s.Lost, Discarded: s.Discarded, Malformed: s.Malformed,
		Reconnects: s.Reconnects, Waiting: s.Waiting, Subscriptions: s.Subscriptions, Pending: s.Pending, Incomplete: s.Incomplete,
	}
}

// memory says what the process takes.
func memory(st *sio.Stats) Memory {
	x := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(x)
	m := Memory{InUse: int64(x[0].Value.Uint64() - x[1].Value.Uint64()), Limit: st.MemoryLimit, Short: st.MemoryShort, Goroutines: int64(x[2].Value.Uint64())}
	if m.Limit == math.MaxInt64 {
		m.Limit = 0
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			m.Resident = pages * int64(os.Getpagesize())
		}
	}
	return m
}
