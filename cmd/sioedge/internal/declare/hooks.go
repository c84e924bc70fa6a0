package declare

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// hooks compiles what a namespace's backend is asked and told.
func (c *compiler) hooks(key string, d *config.Namespace, r *rules) {
	kinds := d.Hooks
	switch r.backend = c.backend(key+".backend", d.Backend); {
	case r.backend != "" && len(kinds) == 0 && r.bridge == "":
		kinds = c.o.Backends[r.backend].Events
	case r.backend == "":
		c.faultIf(len(kinds) > 0, key+".hooks", "are of a backend, and the namespace has none"+c.known())
		return
	}
	var err error
	if r.hooks, err = action.Hooks(kinds); err != nil {
		c.fault(key+".hooks", err)
	}
	c.faultIf(len(d.Hooks) > 0 && r.hooks.Has(action.Node), key+".hooks", "cannot have node, which is of no namespace: it is of a backend's events")
	if r.bridge != "" {
		c.besideBridge(key, d, r)
	}
	c.faultIf(len(d.Hooks) > 0 && d.ReadOnly && r.hooks.Has(action.Event), key+".hooks", "have event, and all are refused, since readonly is set")
}

// backend returns the name of the backend that is meant by one; "" is none.
func (c *compiler) backend(key, name string) string {
	switch {
	case name == config.NoBackend:
		return ""
	case name == "":
		name = config.DefaultBackend
		if _, ok := c.o.Backends[name]; !ok {
			return ""
		}
	}
	if _, ok := c.o.Backends[name]; ok {
		return name
	}
	names := slices.Sorted(maps.Keys(c.o.Backends))
	switch near := config.Nearest(name, append(names, config.NoBackend)); {
	case name == config.DefaultBackend:
		c.fault(key, errors.New("is default, and webhook.url is not set"+c.known()))
	case near != "":
		c.fault(key, fmt.Errorf("is %q, and there is no such backend; did you mean %s?", name, near))
	default:
		c.fault(key, fmt.Errorf("is %q, and there is no such backend%s", name, c.known()))
	}
	return ""
}

// known says which backends there are.
func (c *compiler) known() string {
	if len(c.o.Backends) == 0 {
		return ": webhook.url, or one of backends, says where requests go"
	}
	return ": there are " + strings.Join(slices.Sorted(maps.Keys(c.o.Backends)), ", ")
}

// webhook compiles what is an event's that goes to a backend.
func (c *compiler) webhook(key string, d *config.Event, r *rules, x *rule) {
	x.timeout = d.Timeout
	c.faultIf(d.Timeout < 0, key+".timeout", "is negative")
	if d.Backend == "" {
		x.backend = r.backend
	} else {
		c.faultIf(d.Backend == config.NoBackend, key+".backend", "is none, and the action is webhook")
		before := len(c.faults)
		if x.backend = c.backend(key+".backend", d.Backend); x.backend == "" && len(c.faults) > before {
			return // that is said
		}
	}
	if x.backend == "" && d.Backend != config.NoBackend {
		c.fault(key+".action", errors.New("is webhook, and there is no backend for it"+c.known()))
	}
}

// Backends returns the names of the backends that namespaces have, and those of their
// events, sorted.
func (p *Program) Backends() []string {
	names := map[string]bool{}
	for _, r := range p.spaces {
		names[r.backend] = true
		for _, x := range r.events {
			names[x.backend] = true
		}
		if r.any != nil {
			names[r.any.backend] = true
		}
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// Wants returns what namespaces have backends asked and told, by their names.
func (p *Program) Wants() map[string]action.Hook {
	all := map[string]action.Hook{}
	for _, r := range p.spaces {
		if r.backend != "" {
			all[r.backend] |= r.hooks
		}
	}
	return all
}

// Asks tells whether a backend is asked about clients of some namespace.
func (p *Program) Asks() bool {
	return slices.ContainsFunc(p.spaces, func(r *rules) bool { return r.hooks.Has(action.Connect) })
}
