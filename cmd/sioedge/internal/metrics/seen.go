package metrics

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/admin"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/adminui"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/declare"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/health"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/roster"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/webhook"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A part is what is there, or not, as a whole. Of some there are several things, and a
// label says which.
type part int

const (
	serverPart part = iota
	clusterPart
	apiPart
	authPart
	limitsPart
	rulesPart
	presencePart
	rosterPart
	healthPart
	prefacePart
	tlsPart
	adminUIPart
	adminPart
	dialsPart
	backendPart // of each backend
	bridgePart  // of each bridge
	routePart   // of each namespace that is declared, or was
	loopPart    // of each loop
	processPart // is always there
	parts
)

// eachOf are the labels of parts of which there are several things.
var eachOf = [parts]label{
	backendPart: {name: "backend", from: "the backends' names in the settings"},
	bridgePart:  {name: "bridge", from: "the bridges' names in the settings"},
	routePart:   {name: "route", from: "the namespaces as they are declared: a pattern, never the name that a client asks for"},
	loopPart:    {name: "loop", from: "event loops, from 0"},
}

// Labels of these parts.
var (
	backend = eachOf[backendPart]
	span    = eachOf[bridgePart]
	route   = eachOf[routePart]
	loopNo  = eachOf[loopPart]
)

// seen is what one scrape has found. Of the last fields there is one for each thing, and
// all are looked at one after the other.
type seen struct {
	Server   sio.Stats
	Cluster  rooms.Status
	API      api.Stats
	Auth     identity.Stats
	Limits   limit.Stats
	Rules    declare.Stats
	Presence presence.Stats
	Roster   roster.Stats
	Health   aHealth
	Preface  listen.PrefaceStats
	Admin    admin.Stats
	TLS      listen.TLSStats
	AdminUI  adminui.Stats

	Dials Dials

	Backend webhook.Stats
	Bridge  bridge.Stats
	Route   sio.NamespaceStats
	Loop    aLoop

	Process process
}

// aLoop is what is known of a loop.
type aLoop struct {
	Late                   time.Duration // since it was first asked in vain; 0: it is not late
	Lag, Turns, Busy, Open int64         // as loop.Stats has them
}

// aHealth is how the server is.
type aHealth struct{ Welcome, Red bool }

// words are the first words of paths.
var words = map[string]part{
	"Server": serverPart, "Cluster": clusterPart, "API": apiPart, "Auth": authPart, "Limits": limitsPart, "Rules": rulesPart,
	"Presence": presencePart, "Roster": rosterPart, "Health": healthPart, "Preface": prefacePart, "Admin": adminPart, "TLS": tlsPart, "AdminUI": adminUIPart, "Dials": dialsPart, "Backend": backendPart, "Bridge": bridgePart, "Route": routePart, "Loop": loopPart, "Process": processPart,
}

// resolve finds a field by its path, such as Server.Engine.Refused[2].
func (x *seen) resolve(path string) (p part, field any) {
	v := reflect.ValueOf(x).Elem()
	for _, word := range strings.Split(path, ".") {
		word, index, indexed := strings.Cut(word, "[")
		if v = v.FieldByName(word); !v.IsValid() {
			panic("metrics: there is no " + path)
		}
		for indexed {
			var at string
			at, index, indexed = strings.Cut(index, "[")
			i, err := strconv.Atoi(strings.TrimSuffix(at, "]"))
			if err != nil {
				panic("metrics: " + path + " is no path")
			}
			v = v.Index(i)
		}
	}
	first, _, _ := strings.Cut(path, ".")
	of, ok := words[first]
	if !ok {
		panic("metrics: there is no part " + first)
	}
	return of, v.Addr().Interface()
}

// number returns what reads a number of any type.
func number(p any, path string) func() float64 {
	switch p := p.(type) {
	case *int64:
		return func() float64 { return float64(*p) }
	case *int:
		return func() float64 { return float64(*p) }
	case *uint64:
		return func() float64 { return float64(*p) }
	case *float64:
		return func() float64 { return *p }
	case *time.Duration:
		return func() float64 { return p.Seconds() }
	case *bool:
		return func() float64 {
			if *p {
				return 1
			}
			return 0
		}
	case *webhook.State:
		return func() float64 { return float64(*p) }
	}
	panic(fmt.Sprintf("metrics: %s is a %T, and no number", path, p))
}

// look finds all that is to be told, and has it be told.
func (m *Metrics) look() {
	x, c, from := &m.seen, &m.catalogue, &m.from
	if from.Server != nil {
		m.lookServer()
	}
	lookAt(c, apiPart, from.API, func(a *api.API) { x.API = a.Stats() })
	lookAt(c, authPart, from.Authority, func(a *identity.Authority) { x.Auth = a.Stats() })
	lookAt(c, limitsPart, from.Limiter, func(l *limit.Limiter) { x.Limits = l.Stats() })
	lookAt(c, rulesPart, from.Router, func(r *declare.Router) { x.Rules = r.Stats() })
	lookAt(c, presencePart, from.Presence, func(p *presence.Presence) { x.Presence = p.Stats() })
	lookAt(c, rosterPart, from.Roster, func(r *roster.Roster) { x.Roster = r.Stats() })
	lookAt(c, healthPart, from.Health, func(h *health.Health) { x.Health = aHealth{h.Welcome(), h.Red()} })
	lookAt(c, prefacePart, from.Preface, func(p *listen.Preface) { x.Preface = p.Stats() })
	lookAt(c, tlsPart, from.TLS, func(t *listen.TLS) { x.TLS = t.Stats() })
	lookAt(c, adminPart, from.Admin, func(a *admin.Admin) { x.Admin = a.Stats() })
	lookAt(c, adminUIPart, from.AdminUI, func(u *adminui.UI) { x.AdminUI = u.Stats() })
	if from.Backends != nil {
		all := from.Backends()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			x.Backend = all[name].Stats()
			c.tell(backendPart, name)
		}
	}
	if from.Bridges != nil {
		all, dials := from.Bridges()
		x.Dials = dials
		c.tell(dialsPart)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			x.Bridge = all[name].Stats()
			c.tell(bridgePart, name)
		}
	}
	c.tell(processPart)
}

// lookAt looks at a source that there is, and has its part be told.
func lookAt[T any](c *catalogue, p part, source *T, look func(*T)) {
	if source != nil {
		look(source)
		c.tell(p)
	}
}

// lookServer is look for the server and its cluster.
func (m *Metrics) lookServer() {
	x, c, srv := &m.seen, &m.catalogue, m.from.Server
	x.Server = srv.Stats()
	c.tell(serverPart)
	for i := range x.Server.Namespaces {
		x.Route = x.Server.Namespaces[i]
		c.tell(routePart, x.Route.Name)
	}
	for i := range x.Server.Loops {
		x.Loop = loopOf(&x.Server, i)
		c.tell(loopPart, strconv.Itoa(i))
	}
	if m.from.Cluster {
		x.Cluster = srv.Cluster()
		c.tell(clusterPart)
	}
}

// loopOf returns what is known of a loop.
func loopOf(st *sio.Stats, i int) aLoop {
	l := &st.Loops[i]
	x := aLoop{Lag: l.Lag, Turns: l.Turns, Busy: l.Busy, Open: l.Open}
	for _, late := range st.Late {
		if late.Loop == i {
			x.Late = late.For
		}
	}
	return x
}
