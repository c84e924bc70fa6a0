package adminui

import (
	"encoding/json"
	"os"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/sio"
)

// maxNamespaces bounds the namespaces of which counts are told, and sockets gathered: of
// one with parameters the instances that are one too many are left out, and counted
// together under its pattern.
const maxNamespaces = 200

// An identity is who pages are told that a server is. It is no other's, also on the same
// machine.
type identity struct {
	id, host string
	node     string
	pid      int
	began    time.Time
}

func whoIs(srv *sio.Server) identity {
	host, err := os.Hostname()
	if err != nil {
		host = srv.Node()
	}
	pid := os.Getpid()
	return identity{host + "#" + strconv.Itoa(pid), host, srv.Node(), pid, time.Now()}
}

// serverStats are what server_stats has.
type serverStats struct {
	ServerID   string           `json:"serverId"`
	Hostname   string           `json:"hostname"`
	PID        int              `json:"pid"`
	Uptime     float64          `json:"uptime"` // s
	Clients    int64            `json:"clientsCount"`
	Polling    int64            `json:"pollingClientsCount"`
	Events     []aggregated     `json:"aggregatedEvents"`
	Namespaces []namespaceCount `json:"namespaces"`
	// Lost is Stats.Lost, which Node's servers have not.
	Lost int64 `json:"lostEvents,omitempty"`
}

type namespaceCount struct {
	Name    string `json:"name"`
	Sockets int64  `json:"socketsCount"`
}

// An aggregated is how often something has happened since the last server_stats.
type aggregated struct {
	Timestamp int64  `json:"timestamp"` // ms, of a whole second
	Type      string `json:"type"`
	SubType   string `json:"subType,omitempty"`
	Count     int64  `json:"count"`
}

// A differ knows what counts were, from when somebody looked last.
type differ struct {
	at   time.Time
	last map[[2]string]int64 // by type and subtype
}

// totals are counts since the start, by the types of aggregated events.
func totals(st *sio.Stats) map[[2]string]int64 {
	e, c := &st.Engine, &st.Engine.Closed
	n := map[[2]string]int64{
		{"rawConnection"}:                       e.Opened.Sum(),
		{"rawDisconnection", "transport close"}: c.TransportClose,
		{"rawDisconnection", "transport error"}: c.TransportError,
		{"rawDisconnection", "ping timeout"}:    c.PingTimeout,
		{"rawDisconnection", "parse error"}:     c.ParseError,
		{"rawDisconnection", "forced close"}:    c.ForcedClose,
		{"bytesIn"}:                             e.Traffic.Polling.In + e.Traffic.WebSocket.In,
		{"bytesOut"}:                            e.Traffic.Polling.Out + e.Traffic.WebSocket.Out,
	}
	for _, ns := range st.Namespaces {
		n[[2]string{"packetsIn"}] += ns.In.Sum()
		n[[2]string{"packetsOut"}] += ns.Out.Sum()
	}
	return n
}

// order is that of the types.
var order = []string{"rawConnection", "rawDisconnection", "packetsIn", "packetsOut", "bytesIn", "bytesOut"}

// since returns what has happened since it was called last, nothing if that is long ago.
func (d *differ) since(st *sio.Stats, now time.Time) []aggregated {
	next, all := totals(st), []aggregated{}
	if now.Sub(d.at) < 3*tickEvery {
		at := now.Truncate(time.Second).UnixMilli()
		for _, kind := range order {
			for key, n := range next {
				if n -= d.last[key]; key[0] == kind && n > 0 {
					all = append(all, aggregated{at, key[0], key[1], n})
				}
			}
		}
	}
	d.at, d.last = now, next
	return all
}

// here returns the namespaces of this server with the numbers of their sockets: literal
// ones, and instances that are live.
func (u *UI) here() (all []namespaceCount, sockets int64) {
	for _, ns := range u.srv.Namespaces() {
		if peerlink.Owns(ns.Name()) {
			continue
		}
		total, told := int64(ns.Count()), int64(0)
		sockets += total
		for _, name := range ns.Instances() {
			if name != ns.Name() && len(all) >= maxNamespaces {
				break
			}
			n := total
			if name != ns.Name() {
				n = int64(ns.Instance(name).Count())
			}
			all, told = append(all, namespaceCount{name, n}), told+n
		}
		if told < total && len(all) >= maxNamespaces {
			all = append(all, namespaceCount{ns.Name(), total - told})
		}
	}
	return all, sockets
}

// serverStats returns the counts of this server.
func (u *UI) serverStats(now time.Time) record {
	st := u.srv.Stats()
	u.statsMu.Lock()
	defer u.statsMu.Unlock()
	namespaces, _ := u.here()
	x := serverStats{
		ServerID: u.me.id, Hostname: u.me.host, PID: u.me.pid, Uptime: now.Sub(u.me.began).Seconds(),
		Clients: st.Engine.Open.Sum(), Polling: st.Engine.Open.Polling + st.Engine.Open.Polling3,
		Events: u.stats.since(&st, now), Namespaces: namespaces, Lost: u.counts.lost.Load(),
	}
	list, _ := json.Marshal([]any{x})
	return record{event: statsEvent, list: list}
}
