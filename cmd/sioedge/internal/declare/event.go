package declare

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/rooms/value"
)

const (
	anyEvent     = "*" // those that have no declaration of their own
	maxEventName = 256 // as sio has it
)

// ownEvents are those that the server itself sends and takes. No declaration has them,
// and none of a client's is relayed under such a name.
var ownEvents = []string{"auth:expiring", "auth:refresh", "presence:join", "presence:leave", "presence:get", "presence:list"}

// A deed is what is done with an event: its action.
type deed uint8

const (
	join deed = iota + 1
	leave
	relay
	drop
	webhook
	bridge
)

var deeds = map[string]deed{"join": join, "leave": leave, "relay": relay, "drop": drop, "webhook": webhook, "bridge": bridge}

// A rule is what is done with an event of clients. Immutable.
type rule struct {
	key      string // namespaces[1].events.subscribe
	action   deed
	rooms    []*template // of relay none: everybody
	judged   bool        // each room is to match allow, or to be granted by the token
	allow    []*pattern
	require  []*template // permissions, one of which is needed; none: everybody may
	member   bool        // rooms are those that the sender is in
	volatile bool
	self     bool
	sender   bool
	as       string // "": the event's own name
	skip     int    // of the arguments: that are not passed on
	ack      bool
	maxBytes int
	backend  string        // of webhook: its name
	timeout  time.Duration // of webhook, of the acknowledgement; 0: the backend's
	bridge   string        // of bridge: its name
}

// checkEvent says why there can be no event of a name.
func checkEvent(event string) string {
	switch {
	case event == "":
		return "an event has no name"
	case len(event) > maxEventName:
		return fmt.Sprintf("an event has a name of more than %d bytes", maxEventName)
	case value.Reserved(event):
		return "is a name that Socket.IO keeps for itself"
	case slices.Contains(ownEvents, event):
		return "is an event of the server's own"
	}
	return ""
}

// event compiles what is done with an event.
func (c *compiler) event(key, event string, d *config.Event, r *rules) *rule {
	x := &rule{key: key, action: deeds[d.Action], member: d.MemberOnly, volatile: d.Volatile, self: d.Self, sender: d.Sender,
		as: d.As, skip: d.Skip, ack: d.Ack == nil || *d.Ack, maxBytes: int(d.MaxBytes)}
	if why := checkEvent(event); why != "" {
		c.fault(key, errors.New(why))
	}
	switch {
	case x.action != 0:
	case d.Action == "":
		c.fault(key+".action", errors.New("is missing: join, leave, relay, drop, webhook or bridge"))
	default:
		c.fault(key+".action", fmt.Errorf("is %s: join, leave, relay, drop, webhook or bridge", d.Action))
	}
	if x.action == webhook {
		c.webhook(key, d, r, x)
	}
	if x.action == bridge {
		x.bridge = r.bridge
		c.faultIf(r.bridge == "", key+".action", "is bridge, and the namespace has none (bridge)")
	}
	if x.action != 0 {
		c.fits(key, d, x.action)
	}
	if d.Room != "" {
		if t := c.template(key+".room", d.Room, r, mayUser|mayArgs|isRoom); t != nil {
			x.rooms = append(x.rooms, t)
		}
	}
	x.rooms = append(x.rooms, c.templates(key+".to", d.To, r, mayUser|mayArgs|isRoom)...)
	for i, text := range d.Allow {
		if t := c.template(fmt.Sprintf("%s.allow[%d]", key, i), text, r, mayUser|mayAny); t != nil {
			x.allow = append(x.allow, &pattern{t})
		}
	}
	x.require = c.templates(key+".require", d.Require, r, mayUser|mayArgs)
	if len(d.Require) > 0 && r.need == needNone {
		c.fault(key+".require", errNoUser)
	}
	if d.As != "" {
		if why := checkEvent(d.As); why != "" || d.As == anyEvent {
			c.fault(key+".as", fmt.Errorf("is %s, which cannot be sent", d.As))
		}
	}
	c.rate(key+".rate", d.Rate)
	c.faultIf(d.Skip < 0, key+".skip", "is negative")
	c.faultIf(d.MaxBytes < 0, key+".max_bytes", "is negative")
	c.judge(key, x, r)
	return x
}

// fits notes what an event has that its action does nothing with.
func (c *compiler) fits(key string, d *config.Event, a deed) {
	for _, x := range []struct {
		name string
		set  bool
		of   []deed
	}{
		{"room", d.Room != "", []deed{join, leave}},
		{"to", len(d.To) > 0, []deed{relay, webhook, bridge}},
		{"allow", len(d.Allow) > 0, []deed{join, leave, relay, webhook, bridge}},
		{"member_only", d.MemberOnly, []deed{relay, webhook, bridge}},
		{"backend", d.Backend != "", []deed{webhook}},
		{"timeout", d.Timeout != 0, []deed{webhook}},
		{"ack", d.Ack != nil && !*d.Ack, []deed{join, leave, relay, drop}},
		{"volatile", d.Volatile, []deed{relay}},
		{"self", d.Self, []deed{relay}},
		{"sender", d.Sender, []deed{relay}},
		{"as", d.As != "", []deed{relay}},
		{"skip", d.Skip != 0, []deed{relay}},
	} {
		c.faultIf(x.set && !slices.Contains(x.of, a), key+"."+x.name, "does nothing with the action "+d.Action)
	}
	c.faultIf(d.Room == "" && (a == join || a == leave), key+".room", "is missing: a template, such as trend:{args.0}")
	if a == relay && len(d.To) == 0 {
		const everybody = "does nothing without to: the event goes to everybody in the namespace"
		c.faultIf(len(d.Allow) > 0, key+".allow", everybody)
		c.faultIf(d.MemberOnly, key+".member_only", everybody)
	}
	if a == webhook || a == bridge {
		c.faultIf(len(d.To) > 0 && len(d.Allow) == 0 && !d.MemberOnly, key+".to", "does nothing with the action "+d.Action+", but with member_only or allow: the application says where an event goes")
		c.faultIf(len(d.To) == 0 && len(d.Allow) > 0, key+".allow", "does nothing without to: the rooms that the event is about")
		c.faultIf(len(d.To) == 0 && d.MemberOnly, key+".member_only", "does nothing without to: the rooms that the event is about")
	}
}

// judge finds out whether the rooms of an event have to be allowed.
func (c *compiler) judge(key string, x *rule, r *rules) {
	asked := slices.ContainsFunc(x.rooms, func(t *template) bool { return t.has(fromArg) })
	x.judged = len(x.allow) > 0 || asked && x.action != leave && x.action != webhook && x.action != bridge
	if asked && x.judged && len(x.allow) == 0 && r.need == needNone {
		c.fault(key+".allow", errors.New("is missing: a room that clients name needs it where no token can grant one"))
	}
}
