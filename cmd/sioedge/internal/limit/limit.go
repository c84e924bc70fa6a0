// Package limit bounds what clients may do: how fast each may send, and how many
// connections one user may have.
//
// Rates are of a socket: all of its events, all of its bytes, and events that have a
// rate of their own. Whoever is below them has nothing here: a bucket exists while
// something of it is used up.
package limit

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Rules are the rates of one namespace's sockets. They are not changed.
type Rules struct {
	Events, Bytes Rate
	// PerEvent are those of events of these names; "*" is of all events together that
	// have none of their own. A zero Rate is one: any number.
	PerEvent map[string]Rate
}

// Options of a Limiter.
type Options struct {
	// Now is the clock, that of the server ([sio.Server.Now]). Nil: time.Now.
	Now func() time.Time
	// Logger is told of clients that are over their bounds. Nil: slog.Default.
	Logger *slog.Logger
}

// A Limiter bounds what the clients of a server may do. Any goroutine may use it.
type Limiter struct {
	now    func() time.Time
	start  time.Time
	notice *notice.Log
	global atomic.Pointer[global]

	holders holders
	tally   tally
	users   users
	heirs   heirs // of a successor
}

// global is what holds for all namespaces.
type global struct {
	Rules
	perUser int
}

// New returns a Limiter with the bounds that hold for all namespaces. The error is
// *config.Fault, several of them joined.
func New(l config.Limits, o Options) (*Limiter, error) {
	x := &Limiter{now: o.Now}
	if x.now == nil {
		x.now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	x.start, x.notice = x.now(), notice.New(o.Logger, 0)
	x.holders.init(x.clock)
	x.users.init()
	return x, x.Reload(l)
}

// Reload is New for bounds that have changed. What clients have used up of the others
// counts. If there is an error, nothing has changed.
func (x *Limiter) Reload(l config.Limits) error {
	g := &global{perUser: l.MaxConnsPerUser}
	var faults []error
	if l.MaxConnsPerUser < 0 {
		faults = append(faults, &config.Fault{Key: "limits.max_conns_per_user", Err: errors.New("is negative")})
	}
	parse := func(key, text string, bytes bool) Rate {
		r, err := ParseRate(text)
		if err == nil && r.Sized && !bytes {
			err = errors.New("is a number of events, not of bytes")
		}
		if err != nil {
			faults = append(faults, &config.Fault{Key: key, Err: fmt.Errorf("%q %w", text, err)})
		}
		return r
	}
	g.Events = parse("limits.events", l.Events, false)
	g.Bytes = parse("limits.bytes", l.Bytes, true)
	g.PerEvent = make(map[string]Rate, len(l.PerEvent))
	for name, text := range l.PerEvent {
		g.PerEvent[name] = parse("limits.per_event."+name, text, false)
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	x.global.Store(g)
	return nil
}

// clock returns the microseconds since the Limiter was made.
func (x *Limiter) clock() int64 { return x.now().Sub(x.start).Microseconds() }

// Guard has what the clients of a namespace send bounded, by what rules returns (nil:
// none) and by what holds for all namespaces. rules is called for each event, on the
// event loop; what it returns may change at any time, and what has been used up counts.
func (x *Limiter) Guard(ns *sio.Namespace, rules func() *Rules) {
	ns.Gate(func(s sio.Socket, in sio.Inbound) sio.Verdict {
		var r *Rules
		if rules != nil {
			r = rules()
		}
		return x.judge(s, in, x.global.Load(), r)
	})
}

// A scope is what is bounded.
type scope uint8

const (
	events scope = iota
	size
	nsEvents
	nsSize
	scopes // how many have a bucket in every holder

	event   = events   // of a name: beside it
	nsEvent = nsEvents // likewise
)

// A bound is a rate that an event is judged by.
type bound struct {
	rate  Rate
	of    scope
	event []byte // that it is of, a view; nil: all
	cost  int64
}

// bounds appends the bounds that an event has by a set of rules.
func (r *Rules) bounds(to []bound, in sio.Inbound, own scope) []bound {
	if r.Bytes.Set() {
		to = append(to, bound{r.Bytes, own + size, nil, int64(min(in.Bytes, maxCost))})
	}
	if in.Ack {
		return to // we have asked for it
	}
	if r.Events.Set() {
		to = append(to, bound{r.Events, own + events, nil, 1})
	}
	if rate, name, ok := r.named(in.Event); ok && rate.Set() {
		to = append(to, bound{rate, own + event, name, 1})
	}
	return to
}

// named returns the rate that events of a name have, and the name that it is kept by:
// not the client's, which may be any.
func (r *Rules) named(event []byte) (rate Rate, name []byte, ok bool) {
	if len(r.PerEvent) == 0 {
		return Rate{}, nil, false
	}
	if rate, ok = r.PerEvent[string(event)]; ok && len(event) > 0 {
		return rate, event, true
	}
	rate, ok = r.PerEvent["*"]
	return rate, anyEvent, ok
}

var anyEvent = []byte("*")

var tooMuch = sio.Nack(&sio.Error{Message: "rate limit", Data: map[string]int{"code": 429}})

// judge says what becomes of an event. What does not pass uses nothing up.
func (x *Limiter) judge(s sio.Socket, in sio.Inbound, g *global, own *Rules) sio.Verdict {
	var room [6]bound
	bounds := g.bounds(room[:0], in, events)
	if own != nil {
		bounds = own.bounds(bounds, in, nsEvents)
	}
	if len(bounds) == 0 {
		return sio.Pass
	}
	worst, late, over := x.take(s, bounds)
	if worst == none {
		return sio.Pass
	}
	x.tally.count(over, worst)
	x.warn(s, over, worst)
	switch worst {
	case Delay:
		return sio.Delay(late)
	case Nack:
		return tooMuch
	case Drop:
		return sio.Drop
	default:
		return sio.Close(4029, "rate limit")
	}
}

// take takes what an event costs out of its socket's buckets, unless it does not pass.
// It returns the strictest of the actions, with the bound that has it, and how long the
// connection has to wait.
func (x *Limiter) take(s sio.Socket, bounds []bound) (worst Action, late time.Duration, over bound) {
	now := x.clock()
	st := x.holders.lock(s)
	defer st.mu.Unlock()
	h := st.find(s)
	fresh := h == nil
	if fresh {
		h = &holder{s: s}
	} else if h.full <= now {
		h.own, h.named = [scopes]bucket{}, h.named[:0] // whatever the rates were
	}
	for i := range bounds {
		b := &bounds[i]
		k := h.bucket(b.of, b.event)
		k.now(&b.rate, now)
		excess := k.over(&b.rate, b.cost)
		if excess <= 0 {
			continue
		}
		if b.rate.Action > worst {
			worst, over = b.rate.Action, *b
		}
		if b.rate.Action == Delay {
			late = max(late, time.Duration(wait(excess, b.rate.speed()))*time.Microsecond)
		}
	}
	if worst > Delay {
		return worst, 0, over
	}
	for i := range bounds {
		b := &bounds[i]
		k := h.bucket(b.of, b.event)
		k.used += b.cost * parts
		h.full = max(h.full, now+wait(k.used, b.rate.speed()))
	}
	if fresh {
		x.holders.add(st, h, now)
	}
	return worst, late, over
}

// warn says in the log that a client was over a bound.
func (x *Limiter) warn(s sio.Socket, b bound, a Action) {
	keys := [...]string{events: "limits.events", size: "limits.bytes", nsEvents: "namespaces[].limits.events", nsSize: "namespaces[].limits.bytes"}
	key := keys[b.of]
	switch {
	case b.event != nil && b.of == event:
		key = "limits.per_event." + string(b.event)
	case b.event != nil:
		key = "namespaces[].events." + string(b.event) + ".rate"
	}
	x.notice.Warn("a client sends faster than it may", "key", key, "rate", b.rate.String(), "action", a.String(), "namespace", s.Name())
}
