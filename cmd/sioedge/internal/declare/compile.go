package declare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/sio"
)

// A Program is declarations that have been compiled, for [Router.Apply]. Immutable.
type Program struct {
	spaces []*rules
	claims []string
}

// Claims returns the paths of the claims that templates use, sorted: what must be kept
// of a token.
func (p *Program) Claims() []string { return slices.Clone(p.claims) }

// Options are those of Compile.
type Options struct {
	// Auth says that clients can prove who they are. Without it, everybody is nobody of
	// whom no backend says otherwise.
	Auth bool
	// Asks says that a backend is to be asked who they are, wherever auth is not none.
	Asks bool
	// Backends are those that there are, by name.
	Backends map[string]config.Backend
	// Bridges are likewise.
	Bridges map[string]config.Bridge
}

// rules are those of one declared namespace. Immutable.
type rules struct {
	key         string // namespaces[1]
	name        name
	need        need
	constraints []*regexp.Regexp // by parameter; nil: any value
	enter       []*template      // permissions, one of which is needed; none: everybody may
	rooms       []*template      // that each socket is in
	readOnly    bool
	events      map[string]*rule
	joins       []*rule // those of events that join
	any         *rule   // of the events that have none of their own; nil: there are none
	rates       *limit.Rules
	maxRooms    int // 0: any number
	maxConns    int // of a user; 0: any number
	classes     map[string]class
	history     config.History
	presence    config.Presence
	backend     string      // its name; "": there is none
	hooks       action.Hook // what that is asked and told
	bridge      string      // its name; "": there is none
}

// A need says whether clients prove who they are.
type need uint8

const (
	needNone need = iota
	needOptional
	needRequired
)

// A class says what becomes of an event for a client that takes too little.
type class struct {
	policy sio.Policy
	key    *template // of conflate; nil: the latest of all is kept
}

var policies = map[string]sio.Policy{"": sio.CloseSlow, "close": sio.CloseSlow, "drop-new": sio.DropNew, "drop-oldest": sio.DropOldest, "conflate": sio.Conflate}

// Compile compiles declarations. The error is all of their mistakes, joined: each is a
// *config.Fault.
func Compile(list []config.Namespace, o Options) (*Program, error) {
	p := &Program{}
	c := compiler{o: o, shapes: map[string]string{}, claims: map[string]bool{}}
	for i := range list {
		p.spaces = append(p.spaces, c.namespace(fmt.Sprintf("namespaces[%d]", i), &list[i]))
	}
	if err := errors.Join(c.faults...); err != nil {
		return nil, err
	}
	p.claims = slices.Sorted(maps.Keys(c.claims))
	return p, nil
}

// A compiler compiles one list of declarations.
type compiler struct {
	o      Options
	shapes map[string]string // keys of declarations, by the shapes of their names
	claims map[string]bool
	faults []error
}

// fault notes a mistake.
func (c *compiler) fault(key string, err error) {
	c.faults = append(c.faults, &config.Fault{Key: key, Err: err})
}

// faultIf notes one that is there.
func (c *compiler) faultIf(wrong bool, key, text string) {
	if wrong {
		c.fault(key, errors.New(text))
	}
}

func (c *compiler) namespace(key string, d *config.Namespace) *rules {
	r := &rules{key: key, readOnly: d.ReadOnly, events: map[string]*rule{}, presence: d.Presence}
	var err error
	if r.name, err = parseName(d.Pattern); err != nil {
		c.fault(key+".pattern", err)
	} else if other := c.shapes[r.name.shape]; other != "" {
		c.fault(key+".pattern", fmt.Errorf("has the same names as that of %s", other))
	} else {
		c.shapes[r.name.shape] = key
	}
	c.span(key, d, r)
	c.hooks(key, d, r)
	r.need = c.need(key+".auth", d.Auth, r.hooks.Has(action.Connect))
	c.params(key, d, r)
	r.enter = c.templates(key+".allow_connect", d.AllowConnect, r, mayUser)
	if len(d.AllowConnect) > 0 && r.need == needNone {
		c.fault(key+".allow_connect", errNoUser)
	}
	r.rooms = c.templates(key+".join_on_connect", d.JoinOnConnect, r, mayUser|isRoom)
	c.faultIf(d.ReadOnly && len(d.Events) > 0, key+".events", "are all refused, since readonly is set")
	for _, event := range slices.Sorted(maps.Keys(d.Events)) {
		x := d.Events[event]
		compiled := c.event(key+".events."+event, event, &x, r)
		if compiled.action == join && len(compiled.rooms) == 1 {
			r.joins = append(r.joins, compiled)
		}
		if event == anyEvent {
			r.any = compiled
		} else {
			r.events[event] = compiled
		}
	}
	switch {
	case r.any != nil || r.readOnly:
	case r.bridge != "":
		r.any = &rule{key: key, action: bridge, bridge: r.bridge, ack: true}
	case r.hooks.Has(action.Event):
		r.any = &rule{key: key + ".hooks", action: webhook, backend: r.backend, ack: true}
	}
	c.classesOf(key+".emit", d.Emit, r)
	c.limits(key, d, r)
	c.history(key+".history", d.History, r)
	c.faultIf(d.Presence.Debounce < 0, key+".presence.debounce", "is negative")
	return r
}

// need compiles auth; asked says that a backend is, about each client.
func (c *compiler) need(key, auth string, asked bool) need {
	c.faultIf(c.o.Asks && auth != "none" && !asked, key, "needs a backend with the hook connect, which says who clients are: auth.mode has webhook")
	switch auth {
	case "none":
		return needNone
	case "optional", "required":
		c.faultIf(!c.o.Auth && !c.o.Asks && !asked, key, "cannot be "+auth+": auth.mode is none, and no backend has the hook connect, so nobody can say who it is")
		if auth == "optional" {
			return needOptional
		}
		return needRequired
	case "":
		switch {
		case c.o.Auth || c.o.Asks:
			return needRequired
		case asked: // if the backend says who it is, it is that
			return needOptional
		}
		return needNone
	}
	c.fault(key, fmt.Errorf("is %s: required, optional or none", auth))
	return needRequired
}

// params compiles the constraints of parameters.
func (c *compiler) params(key string, d *config.Namespace, r *rules) {
	r.constraints = make([]*regexp.Regexp, len(r.name.params))
	for _, param := range slices.Sorted(maps.Keys(d.Params)) {
		key := key + ".params." + param
		expr, err := parseConstraint(d.Params[param])
		if err != nil {
			c.fault(key, err)
		}
		if i := slices.Index(r.name.params, param); i >= 0 {
			r.constraints[i] = expr
		} else {
			c.fault(key, fmt.Errorf("is no parameter of %s", d.Pattern))
		}
	}
}

// templates compiles a list of templates.
func (c *compiler) templates(key string, list []string, r *rules, may allowed) (all []*template) {
	for i, text := range list {
		if t := c.template(fmt.Sprintf("%s[%d]", key, i), text, r, may); t != nil {
			all = append(all, t)
		}
	}
	return all
}

// template compiles one; nil is a fault.
func (c *compiler) template(key, text string, r *rules, may allowed) *template {
	if r.need == needNone {
		may &^= mayUser
	}
	t, err := parseTemplate(text, r.name.params, may)
	if err != nil {
		c.fault(key, err)
		return nil
	}
	for _, p := range t.parts {
		if p.from == fromClaim {
			c.claims[p.text] = true
		}
	}
	return t
}

// classesOf compiles emit.
func (c *compiler) classesOf(key string, list map[string]config.Class, r *rules) {
	r.classes = map[string]class{}
	for _, event := range slices.Sorted(maps.Keys(list)) {
		d, key := list[event], key+"."+event
		if why := checkEvent(event); why != "" || event == anyEvent {
			c.fault(key, errors.New(cmp.Or(why, "is no event: each has its class by its own name")))
		}
		x := class{}
		var ok bool
		if x.policy, ok = policies[d.Policy]; !ok {
			c.fault(key+".policy", fmt.Errorf("is %q: close, drop-new, drop-oldest or conflate", d.Policy))
		}
		switch {
		case d.Key == "":
		case x.policy == sio.Conflate:
			x.key = c.template(key+".key", d.Key, r, mayArgs|isKey)
		default:
			c.fault(key+".key", errors.New("is of conflate alone"))
		}
		r.classes[event] = x
	}
}

// limits compiles limits, and the rates of events.
func (c *compiler) limits(key string, d *config.Namespace, r *rules) {
	l, key := d.Limits, key+".limits"
	r.maxRooms, r.maxConns = l.MaxRooms, l.MaxConnsPerUser
	c.faultIf(l.MaxRooms < 0, key+".max_rooms", "is negative")
	c.faultIf(l.MaxRooms > 0 && l.MaxRooms < len(d.JoinOnConnect), key+".max_rooms", "is less than there are in join_on_connect")
	c.faultIf(l.MaxConnsPerUser < 0, key+".max_conns_per_user", "is negative")
	c.faultIf(l.MaxConnsPerUser > 0 && r.need == needNone, key+".max_conns_per_user", "there are no users where auth is none")
	r.rates = &limit.Rules{Events: c.rate(key+".events", l.Events), Bytes: c.rate(key+".bytes", l.Bytes), PerEvent: map[string]limit.Rate{}}
	for event, x := range d.Events {
		if x.Rate != "" || d.Events[anyEvent].Rate != "" { // else it counts with those of "*"
			rate, _ := limit.ParseRate(x.Rate) // a fault already
			r.rates.PerEvent[event] = rate
		}
	}
}

func (c *compiler) rate(key, text string) limit.Rate {
	rate, err := limit.ParseRate(text)
	if err != nil {
		c.fault(key, err)
	}
	return rate
}

// history checks history.
func (c *compiler) history(key string, h config.History, r *rules) {
	r.history = h
	const nothing = "does nothing: history.size is not set"
	for _, x := range []struct {
		name  string
		value int64
	}{{"size", int64(h.Size)}, {"ttl", int64(h.TTL / time.Nanosecond)}, {"max_bytes", int64(h.MaxBytes)}, {"replay_on_join", int64(h.ReplayOnJoin)}} {
		c.faultIf(x.value < 0, key+"."+x.name, "is negative")
		c.faultIf(x.value > 0 && h.Size == 0 && x.name != "max_bytes", key+"."+x.name, nothing) // that has a default
	}
	c.faultIf(h.Size > 0 && h.ReplayOnJoin > h.Size, key+".replay_on_join", "is more than size: so many are not kept")
	c.faultIf(len(h.Events) > 0 && h.Size == 0, key+".events", nothing)
	for i, event := range h.Events {
		if why := checkEvent(event); why != "" || event == anyEvent {
			c.fault(fmt.Sprintf("%s.events[%d]", key, i), errors.New(cmp.Or(why, "is no event: without history.events all are kept")))
		}
	}
}
