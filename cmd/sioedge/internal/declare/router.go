package declare

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Parts are what a Router works with. Each may be nil, and is then left out.
type Parts struct {
	Authority *identity.Authority // says who clients are; nil: everybody is nobody
	Limiter   *limit.Limiter      // bounds what they send, and how many connections a user has
	Presence  *presence.Presence  // tells them who is there
	// Backend returns a backend by its name, nil if there is none: not any more, or not
	// yet. Programs whose Backends are none need it not.
	Backend func(name string) action.Backend
	// Bridge is likewise of bridges.
	Bridge func(name string) action.Bridge
	// Roster tells backends who comes and goes.
	Roster Roster
	// Logged tells, when a Program is applied, whether the requests of clients are shown
	// when they connect. Nil: they are not.
	Logged func() bool

	// Cluster says that other servers emit to the rooms of this one: a client is told
	// that it has joined one when what they emit reaches it.
	Cluster bool
	// Logger is told of clients that are refused, now and then. Nil: slog.Default.
	Logger *slog.Logger
}

// A Roster tells backends who comes and goes. Any goroutine may call its methods; they do
// not block.
type Roster interface {
	// Came is called from OnConnect, of recovered sockets too. Wants has action.Connected,
	// action.Disconnect or both: what b, which Parts.Backend has returned, wants to know.
	Came(s sio.Socket, e action.Entry, b action.Backend, wants action.Hook)
	// Left is called from OnDisconnecting: the socket is in its rooms still. Of some Came
	// was not called.
	Left(s sio.Socket, reason sio.Reason)
}

// A Router serves the namespaces of a [Program] on a server. Any goroutine may use it.
type Router struct {
	// Immutable.
	srv   *sio.Server
	parts Parts
	note  *notice.Log
	rooms landlord

	mu     sync.Mutex        // held while applying
	spaces map[string]*space // by the shapes of their names; guarded by mu, as what follows

	byNamespace map[*sio.Namespace]*space
}

// A space is a declared namespace as long as the server lives: rules come and go.
type space struct {
	router *Router
	names  []string // by which sio has its parameters; set before anybody can join

	rules  atomic.Pointer[rules]
	open   atomic.Bool // it is declared: who is not there yet may come
	counts [reasons]atomic.Int64

	ns      *sio.Namespace // set while applying, before anybody can join
	classes []string       // events that have a class; guarded by router.mu, as what follows
	guarded bool           // presence is told of its rooms
	watched bool           // the roster is told of its sockets
	housed  bool           // and the landlord of its rooms
	bridged bool           // bridges are told of its sockets
}

// New returns a Router without namespaces. It is called before the server serves.
func New(srv *sio.Server, p Parts) *Router {
	if p.Logger == nil {
		p.Logger = slog.Default()
	}
	r := &Router{srv: srv, parts: p, note: notice.New(p.Logger, 0), spaces: map[string]*space{}, byNamespace: map[*sio.Namespace]*space{}}
	r.rooms.delay = roomDelay
	r.carryBonds()
	if p.Authority != nil {
		p.Authority.OnRefresh(r.refreshed)
	}
	r.carry()
	return r
}

// errTaken is returned by Apply for a namespace of the server's own.
var errTaken = errors.New("is a namespace of the server's own")

// Apply has the namespaces of a Program served, and no others: at the start, and when
// declarations have changed. What a rule says holds for the next event, also of sockets
// that are there; who joins or enters by it is looked at once. A namespace that is not
// declared any more is one that there is not, for new sockets; those that are there go
// on as before. The error is *config.Fault, several of them joined, for namespaces that
// the server has for itself: the others are served.
func (r *Router) Apply(p *Program) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	declared := map[string]bool{}
	for _, rules := range p.spaces {
		declared[rules.name.shape] = true
		if sp := r.spaces[rules.name.shape]; sp != nil {
			sp.set(rules)
			sp.open.Store(true)
		} else if !r.make(rules) {
			faults = append(faults, &config.Fault{Key: rules.key + ".pattern", Err: errTaken})
		}
	}
	for shape, sp := range r.spaces {
		if !declared[shape] {
			sp.open.Store(false)
		}
	}
	return errors.Join(faults...)
}

// make makes a namespace. It is false if there is one that is not declared.
func (r *Router) make(rules *rules) (ok bool) {
	sp := &space{router: r, names: rules.name.params}
	r.srv.Define(rules.name.text, func(ns *sio.Namespace) {
		sp.ns = ns
		sp.register()
		sp.set(rules)
		sp.open.Store(true)
	})
	if sp.ns == nil {
		return false
	}
	r.spaces[rules.name.shape], r.byNamespace[sp.ns] = sp, sp
	return true
}

// register has the namespace do what its rules say.
func (sp *space) register() {
	ns, p := sp.ns, sp.router.parts
	ns.Restrict(sp.lets)
	if p.Limiter != nil {
		p.Limiter.Guard(ns, func() *limit.Rules { return sp.rules.Load().rates })
	}
	ns.Use(sp.admit)
	ns.OnConnect(sp.connected)
	if p.Authority != nil {
		ns.Handle(identity.RefreshEvent, sp.refresh)
	}
	ns.HandleAnyInline(sp.handle)
}

// set has other rules hold.
func (sp *space) set(r *rules) {
	sp.rules.Store(r)
	logged := sp.router.parts.Logged
	sp.ns.NeedsRequest(r.need != needNone || r.hooks != 0 || r.bridge != "" || logged != nil && logged())
	for _, event := range sp.classes {
		if _, ok := r.classes[event]; !ok {
			sp.setClass(event, nil)
		}
	}
	sp.classes = slices.Collect(maps.Keys(r.classes))
	for event, c := range r.classes {
		sp.setClass(event, &c)
	}
	sp.keepHistory(r.history)
	sp.watch(r.hooks)
	if r.bridge != "" {
		sp.spanned(r.bridge)
	}
	if p := sp.router.parts.Presence; p != nil && r.presence.Enabled && !sp.guarded {
		sp.guarded = true // who has no use for it pays nothing
		p.Guard(sp.ns, func() config.Presence { return sp.rules.Load().presence })
	}
}

// watch has what backends want to know be noticed, which costs nothing where they never
// did.
func (sp *space) watch(hooks action.Hook) {
	roster := sp.router.parts.Roster
	if roster != nil && !sp.watched && (hooks.Has(action.Connected) || hooks.Has(action.Disconnect)) {
		sp.watched = true
		sp.ns.OnConnect(func(s sio.Socket) error {
			r := sp.rules.Load()
			wants := r.hooks & (action.Connected.Of() | action.Disconnect.Of())
			b := sp.backend(r.backend)
			if wants == 0 || b == nil {
				return nil // not any more
			}
			e := sp.entry(s, r)
			if id := sp.who(s); id != nil {
				e.User = id.User
			}
			e.Recovered = s.Recovered()
			roster.Came(s, e, b, wants)
			return nil
		})
		sp.ns.OnDisconnecting(roster.Left)
	}
	if !sp.housed && hooks.Has(action.Room) {
		sp.housed = true
		told := &sp.router.rooms
		sp.ns.OnRoomCreated(func(namespace, name string) { told.changed(room{sp, namespace, name}, true) })
		sp.ns.OnRoomDeleted(func(namespace, name string) { told.changed(room{sp, namespace, name}, false) })
	}
}

// Close has backends told of the rooms that there were, when the server has ended.
func (r *Router) Close() { r.rooms.close() }

// lets tells whether a name may be joined.
func (sp *space) lets(_ string, param func(string) string) bool {
	return sp.open.Load() && sp.rules.Load().lets(func(i int) string { return param(sp.names[i]) })
}

// A reason is why something was refused.
type reason uint8

const (
	noPermission reason = iota // the token has none of the permissions that are needed
	noEntry                    // it does not let its client into the namespace, or the event out
	noRoom                     // the room is not among those of allow, and not granted
	noMember                   // the sender is not in the room
	badValue                   // a template cannot have a value
	noOne                      // there is no user, or no such claim
	noEvent                    // there is no such event
	isReadOnly                 // the namespace takes none
	tooLarge                   // max_bytes
	tooMany                    // max_rooms
	unavailable                // what it needs did not answer in time, or too much waits
	unwanted                   // the backend does not want the client
	undone                     // what the backend has said could not be done
	reasons
)

// refusals are how reasons are called, and what clients are told.
var refusals = [reasons]struct {
	name, message string
	code          int
}{
	noPermission: {"permission", "forbidden", 403},
	noEntry:      {"token", "forbidden", 403},
	noRoom:       {"room", "forbidden", 403},
	noMember:     {"member_only", "forbidden", 403},
	badValue:     {"value", "bad request", 400},
	noOne:        {"user", "forbidden", 403},
	noEvent:      {"unknown", "unknown event", 404},
	isReadOnly:   {"readonly", "read-only", 403},
	tooLarge:     {"max_bytes", "too large", 413},
	tooMany:      {"max_rooms", "too many rooms", 429},
	unavailable:  {"unavailable", "unavailable", 503},
	unwanted:     {"backend", "", 0}, // which says why
	undone:       {"undone", "", 0},
}

// A Refusal counts what was refused in a namespace.
type Refusal struct {
	Namespace string // the pattern
	Reason    string // permission, token, room, member_only, value, user, unknown, readonly, max_bytes, max_rooms, unavailable, backend, undone
	Count     int64
}

// Refusals returns all that Refusal.Reason can be.
func Refusals() (all []string) {
	for _, r := range refusals {
		all = append(all, r.name)
	}
	return all
}

// Stats are counts since the start, and a gauge.
type Stats struct {
	Namespaces int       // a gauge: that are declared
	Refused    []Refusal // those that there are, by namespace and reason
}

// Stats returns the counts.
func (r *Router) Stats() (st Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, shape := range slices.Sorted(maps.Keys(r.spaces)) {
		sp := r.spaces[shape]
		if sp.open.Load() {
			st.Namespaces++
		}
		for i := range sp.counts {
			if n := sp.counts[i].Load(); n > 0 {
				st.Refused = append(st.Refused, Refusal{sp.ns.Name(), refusals[i].name, n})
			}
		}
	}
	return st
}
