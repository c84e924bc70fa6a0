package sio

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/sio/internal/pattern"
)

// An instance is a namespace as it is seen on the wire: a literal one for ever,
// one of a pattern while it has sockets. Immutable but for acks and holds.
type instance struct {
	ns     *Namespace
	name   string
	id     uint32 // not that of another for four thousand million, so that what is late reaches nobody
	params []pattern.Param
	acks   atomic.Uint64 // the next acknowledgement id
	holds  int           // sockets; guarded by registry.mu; unused by literals
	told   atomic.Bool   // the cluster knows it; set with registry.mu held
	ended  atomic.Bool   // it is not live any more; another one may have its name
}

// A registry knows the namespaces of a server.
type registry struct {
	// all are the namespaces, in the order in which a name is looked up. Nobody walks
	// them for one connection: literals are found by name, others as owner says.
	all      atomic.Pointer[[]*Namespace]
	literals atomic.Pointer[map[string]*instance]

	// curious are the namespaces whose handlers may ask how a session began: how many
	// literal ones there are, and how many others, any of whose names a session can
	// join at any time.
	curious struct{ literal, open atomic.Int32 }

	// made and dropped are told of instances, opened of those that a socket has been
	// admitted to, with mu held; nil: nobody is.
	made, opened, dropped func(in *instance)
	known                 func(pattern string) // is told of patterns

	mu   sync.Mutex           // of what follows, and of changing the above
	last uint32               // id
	ids  map[uint32]struct{}  // of the instances there are
	live map[string]*instance // of patterns and functions

	inherited []*instance // held until settle

	patterns  pattern.Set[*Namespace]
	texts     map[string]*Namespace // the same, by what they are called
	functions []*Namespace          // appended to only
	most      int                   // bound on live
}

func (r *registry) init(most int) {
	r.all.Store(&[]*Namespace{})
	r.literals.Store(&map[string]*instance{})
	r.live = map[string]*instance{}
	r.ids = map[uint32]struct{}{}
	r.texts = map[string]*Namespace{}
	r.most = most
}

// newInstance makes an instance; r.mu is held. Whoever opens and leaves instances
// comes to the end of the ids in some days: those in use are passed over.
func (r *registry) newInstance(ns *Namespace, name string, params []pattern.Param) *instance {
	for r.last++; r.taken(r.last); r.last++ {
	}
	r.ids[r.last] = struct{}{}
	return &instance{ns: ns, name: name, id: r.last, params: params}
}

func (r *registry) taken(id uint32) bool {
	_, ok := r.ids[id]
	return ok || id == 0
}

// add registers ns; r.mu is held.
func (r *registry) add(ns *Namespace) {
	all := append(slices.Clone(*r.all.Load()), ns)
	slices.SortStableFunc(all, func(a, b *Namespace) int {
		if a.pattern != nil && b.pattern != nil {
			return a.pattern.Compare(b.pattern)
		}
		return a.rank() - b.rank()
	})
	r.all.Store(&all)
	switch {
	case ns.pattern != nil:
		r.patterns.Add(ns.pattern, ns)
		r.texts[ns.name] = ns
	case ns.match != nil:
		r.functions = append(r.functions, ns)
	}
	ns.mu.Lock()
	ns.added = true
	r.count(ns)
	ns.mu.Unlock()
	if ns.in != nil {
		literals := make(map[string]*instance)
		for k, v := range *r.literals.Load() {
			literals[k] = v
		}
		literals[ns.name] = ns.in
		r.literals.Store(&literals)
	}
	if r.made != nil && ns.in != nil {
		r.made(ns.in)
		r.tell(ns.in)
	}
	if r.known != nil && ns.pattern != nil {
		r.known(ns.name)
	}
}

// count counts a namespace that clients can join as one that asks, or not any more; ns.mu
// is held.
func (r *registry) count(ns *Namespace) {
	asks := ns.added && ns.table.Load().asks()
	if asks == ns.counted {
		return
	}
	by := int32(-1)
	if ns.counted = asks; asks {
		by = 1
	}
	if ns.in != nil {
		r.curious.literal.Add(by)
	} else {
		r.curious.open.Add(by)
	}
}

// NeedsRequest says whether the namespace's middlewares and OnConnect ask how a session
// began, which is assumed: without it [Socket.Handshake] has the address, and the auth that
// the client gave for the namespace. A session's first request, several hundred bytes, is
// kept as long as it may join a namespace that needs it ([KeepUntilJoined]), and for nobody
// if none does.
func (n *Namespace) NeedsRequest(needs bool) {
	n.change(func(t *table) { t.brief = !needs })
}

// ServersOnly says that no client can join the namespace: it is for what servers say to
// each other ([Namespace.ServerSideEmit]). A client that asks for it is refused as for one
// that nobody has ("Invalid namespace"), also if a namespace behind this one would have
// the name. Sockets that are there stay.
func (n *Namespace) ServersOnly() {
	n.change(func(t *table) { t.closed = true })
}

// greets tells whether there are handlers for sockets that connect.
func (t *table) greets() bool { return len(t.use)+len(t.connect) > 0 }

// asks tells whether handlers for sockets that connect may ask how a session began.
func (t *table) asks() bool { return t.greets() && !t.brief && !t.closed }

// rank is the precedence of the kinds of namespaces.
func (n *Namespace) rank() int {
	switch {
	case n.in != nil:
		return 0
	case n.pattern != nil:
		return 1
	}
	return 2
}

// acquire returns the instance of a name for one more socket, made if a pattern
// or a function has it. It is nil if none does; full says that there are too
// many already. While an instance is live, whoever joins it is admitted by the
// pattern or function that it is of: what another function would have let in is
// not what its sockets expect beside them.
func (r *registry) acquire(name []byte, auth json.RawMessage) (in *instance, full bool) {
	if in := (*r.literals.Load())[string(name)]; in != nil {
		if !in.ns.lets(in.name, nil) {
			in = nil
		}
		return in, false
	}
	if !namesInstance(string(name)) {
		return nil, false
	}
	for range acquireTries {
		ns, params := r.owner(string(name), auth)
		if ns == nil {
			return nil, false
		}
		if in, full = r.open(ns, string(name), params); in != nil || full {
			return in, full
		}
	}
	return nil, false
}

// acquireTries is how often a name is looked up again because its instance has
// ended, or become another namespace's, while a function was asked.
const acquireTries = 4

// owner returns the namespace that a name's instance is of, or would be, if that
// admits a client; else nil.
func (r *registry) owner(name string, auth json.RawMessage) (*Namespace, []pattern.Param) {
	r.mu.Lock()
	in, functions := r.live[name], r.functions
	r.mu.Unlock()
	if in != nil {
		if in.ns.match != nil && !in.ns.match(name, auth) || !in.ns.lets(name, in.params) {
			return nil, nil
		}
		return in.ns, in.params
	}
	for nth := 0; ; nth++ {
		ns, params := r.patterned(name, nth)
		switch {
		case ns == nil:
			return admitting(functions, name, auth), nil
		case ns.lets(name, params):
			return ns, params
		case ns.table.Load().closed:
			return nil, nil
		}
	}
}

// admitting returns the first of the functions' namespaces that admits a client to a name.
func admitting(functions []*Namespace, name string, auth json.RawMessage) *Namespace {
	for _, ns := range functions {
		switch {
		case !ns.match(name, auth):
		case ns.lets(name, nil):
			return ns
		case ns.table.Load().closed:
			return nil
		}
	}
	return nil
}

// patterned returns the namespace whose pattern has a name, and the parameters; of
// several that at place nth, from 0. It is nil if there are not so many.
func (r *registry) patterned(name string, nth int) (*Namespace, []pattern.Param) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns, params, _ := r.patterns.Find(name, nth)
	return ns, params
}

// namesInstance tells whether the instance of a pattern or function may have a
// name. Those that would stand for something else between servers may not: the
// text of a pattern, and, with a #, a room of another namespace.
func namesInstance(name string) bool {
	return !strings.Contains(name, "/:") && !strings.Contains(name, "/*") && !strings.Contains(name, "#")
}

// open counts one more socket in an instance of ns, made if it is not there. It
// is nil if that name is another's by now, or there are too many.
func (r *registry) open(ns *Namespace, name string, params []pattern.Param) (in *instance, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in = r.live[name]; in != nil && in.ns != ns {
		return nil, false
	}
	if in == nil {
		if len(r.live) >= r.most {
			return nil, true
		}
		in = r.newInstance(ns, strings.Clone(name), params)
		ns.live++
		r.live[in.name] = in
		if r.made != nil {
			r.made(in)
		}
	}
	in.holds++
	return in, false
}

// release ends one acquire. An instance without sockets is forgotten.
func (r *registry) release(in *instance) {
	if in.ns.in == in {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.holds--; in.holds == 0 {
		delete(r.live, in.name)
		in.ended.Store(true)
		in.ns.live--
		delete(r.ids, in.id)
		if r.dropped != nil {
			r.dropped(in)
		}
	}
}

// announce has the cluster told of an instance once somebody has been admitted.
func (r *registry) announce(in *instance) {
	if r.opened == nil || in.told.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[in.name] == in { // else it has gone meanwhile
		r.tell(in)
	}
}

// tell is announce with r.mu held.
func (r *registry) tell(in *instance) {
	if !in.told.Swap(true) {
		r.opened(in)
	}
}

// of returns the instances of ns: itself, or those that are live.
func (r *registry) of(ns *Namespace) (all []*instance) {
	if ns.in != nil {
		return []*instance{ns.in}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.live {
		if in.ns == ns {
			all = append(all, in)
		}
	}
	return all
}

// instances returns how many instances of ns there are.
func (r *registry) instances(ns *Namespace) int64 {
	if ns.in != nil {
		return 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(ns.live)
}

// called returns the instance called name, nil if there is none.
func (r *registry) called(name string) *instance {
	if in := (*r.literals.Load())[name]; in != nil {
		return in
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[name]
}

// withPattern returns the namespace whose pattern is text, nil if there is none.
func (r *registry) withPattern(text string) *Namespace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.texts[text]
}

// named returns the live instance called name if it is one of ns, else nil.
func (r *registry) named(ns *Namespace, name string) *instance {
	if ns.in != nil && ns.name == name {
		return ns.in
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.live[name]; in != nil && in.ns == ns {
		return in
	}
	return nil
}

// A local is a shard's count of the sockets in an instance, so that a socket's
// record can name it by a small number.
type localInstance struct {
	in      *instance
	space   *NamespaceStats // counts of its namespace
	sockets int
}

// space returns what the loop counts of a namespace.
func (sh *shard) space(ns *Namespace) *NamespaceStats {
	x := sh.spaces[ns]
	if x == nil {
		x = &NamespaceStats{}
		sh.spaces[ns] = x
	}
	return x
}

// enter counts a new socket in and returns the instance's place in
// shard.instances.
func (sh *shard) enter(in *instance) uint32 {
	i, ok := sh.places[in]
	if !ok {
		i = uint32(len(sh.instances))
		if n := len(sh.freePlaces); n > 0 {
			i, sh.freePlaces = sh.freePlaces[n-1], sh.freePlaces[:n-1]
		} else {
			sh.instances = append(sh.instances, localInstance{})
		}
		sh.instances[i] = localInstance{in: in, space: sh.space(in.ns)}
		sh.places[in] = i
	}
	sh.instances[i].sockets++
	sh.instances[i].space.Sockets++
	return i
}

// exit counts a socket out.
func (sh *shard) exit(i uint32) {
	x := &sh.instances[i]
	in := x.in
	x.space.Sockets--
	if x.sockets--; x.sockets == 0 {
		delete(sh.places, in)
		*x = localInstance{}
		sh.freePlaces = append(sh.freePlaces, i)
	}
	sh.srv.registry.release(in)
}

// isSomeonesOwn tells whether a room's name is a socket's id.
func (srv *Server) isSomeonesOwn(room string) bool {
	_, ok := srv.idRef(room)
	return ok || srv.named.Load() && srv.given.Has(room)
}
