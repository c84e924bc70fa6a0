package declare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/sio"
)

// span compiles the bridge of a namespace: what has no rule is its.
func (c *compiler) span(key string, d *config.Namespace, r *rules) {
	if d.Bridge == "" {
		return
	}
	key += ".bridge"
	if _, ok := c.o.Bridges[d.Bridge]; !ok {
		names := slices.Sorted(maps.Keys(c.o.Bridges))
		switch near := config.Nearest(d.Bridge, names); {
		case near != "":
			c.fault(key, fmt.Errorf("is %q, and there is no such bridge; did you mean %s?", d.Bridge, near))
		case len(names) == 0:
			c.fault(key, fmt.Errorf("is %q, and there is no such bridge: bridges says which there are", d.Bridge))
		default:
			c.fault(key, fmt.Errorf("is %q, and there is no such bridge: there are %s", d.Bridge, strings.Join(names, ", ")))
		}
	}
	c.faultIf(d.ReadOnly, key, "has the handlers of events, and all are refused, since readonly is set")
	r.bridge = d.Bridge
}

// besideBridge notes what a namespace with a bridge has that its application has instead.
func (c *compiler) besideBridge(key string, d *config.Namespace, r *rules) {
	c.faultIf(r.hooks.Has(action.Event), key+".hooks", "have event, and the events without a rule go to the bridge")
	used := slices.ContainsFunc(slices.Collect(maps.Values(d.Events)), func(x config.Event) bool { return deeds[x.Action] == webhook && x.Backend == "" })
	c.faultIf(d.Backend != "" && d.Backend != config.NoBackend && len(d.Hooks) == 0 && !used, key+".backend",
		"does nothing: the namespace has a bridge, and neither hooks nor an event with the action webhook")
	if any, ok := d.Events[anyEvent]; ok && deeds[any.Action] != bridge {
		c.fault(key+".events."+anyEvent, errors.New("is every event without a rule, and these go to the bridge: it can have the action bridge"))
	}
}

// Bridges returns the names of the bridges that namespaces have, sorted.
func (p *Program) Bridges() []string {
	names := map[string]bool{}
	for _, r := range p.spaces {
		names[r.bridge] = true
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// bonds say which bridge a socket is of: settings may have brought another one since.
var bonds = sio.NewKey[action.Bridge]()

// carryBonds has them go along, by the names of bridges.
func (r *Router) carryBonds() {
	named := func(b action.Bridge) ([]byte, error) {
		if n, ok := b.(interface{ Name() string }); ok {
			return []byte(n.Name()), nil
		}
		return nil, nil // it is of tests
	}
	sio.CarryKey(r.srv, "bridge", bonds, named, func(p []byte) (b action.Bridge, err error) {
		if f := r.parts.Bridge; f != nil {
			b = f(string(p))
		}
		return b, nil // nil: it is not in the settings any more
	})
}

// errNoBridge is why nobody has a client, or its event.
var errNoBridge = errors.New("there is no such bridge at this moment")

// bridge returns a bridge by its name, nil if there is none.
func (sp *space) bridge(name string) action.Bridge {
	if f := sp.router.parts.Bridge; f != nil {
		return f(name)
	}
	return nil
}

// cross asks the application behind the namespace's bridge, if it has one, about a client
// that all else lets in.
func (h *hearing) cross(id *identity.Identity) error {
	sp, s, r := h.sp, h.s, h.r
	if r.bridge == "" {
		return nil
	}
	b := sp.bridge(r.bridge)
	if b == nil { // a reload has taken it away, and the rules not yet
		return sp.turnAway(s, errNoBridge, r.key+".bridge")
	}
	e := sp.entry(s, r)
	if id != nil {
		e.User, e.Claims = id.User, id.Claims()
	}
	e.Recovered = s.Recovered()
	if err := bonds.Set(s, b); err != nil {
		return err // it has left
	}
	if err := b.Connect(s, e); err != nil {
		why, what := unwanted, "a client is refused: by the application behind its bridge"
		if !errors.As(err, new(*sio.Error)) {
			why, what = unavailable, "a client is not let in: there is no process behind its bridge"
		}
		sp.count(s, why, what, r.key+".bridge", err)
		return err
	}
	return nil
}

// spanned has a bridge be told of the namespace and its sockets, from now on.
func (sp *space) spanned(name string) {
	if b := sp.bridge(name); b != nil {
		b.Add(sp.ns)
	}
	if sp.bridged {
		return
	}
	sp.bridged = true
	sp.ns.OnConnect(func(s sio.Socket) error {
		if b, _ := bonds.Get(s); b != nil {
			return b.Came(s)
		}
		return nil // it was here before there was a bridge
	})
	sp.ns.OnDisconnecting(func(s sio.Socket, reason sio.Reason) {
		if b, _ := bonds.Get(s); b != nil {
			b.Left(s, reason)
		}
	})
}

// carry sends an event to the application behind a bridge. A client that is not its, since
// settings have changed, has to come back.
func (sp *space) carry(s sio.Socket, m *sio.Msg, x *rule) error {
	b, _ := bonds.Get(s)
	if b == nil || b != sp.bridge(x.bridge) {
		err := sp.refuse(s, m, x, unavailable, "bridge", errNoBridge)
		return cmp.Or(err, s.CloseConnWith(overloadCode, refusals[unavailable].message))
	}
	if err := b.Event(s, m); err != nil {
		return sp.refuse(s, m, x, unavailable, "bridge", err)
	}
	return nil
}

// isFree tells whether an event of the server's own is the application's, since the
// server has no use for it in the namespace.
func (r *rules) isFree(event string) bool {
	return r.bridge != "" && !r.presence.Enabled && strings.HasPrefix(event, "presence:")
}
