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
}

// A registry knows the namespaces of a server.
type registry struct {
	// all are the namespaces in the order in which a name is looked up among
	// those with patterns and functions; literals are found by name.
	all      atomic.Pointer[[]*Namespace]
	literals atomic.Pointer[map[string]*instance]

	// made and dropped are told of instances, opened of those that a socket has been
	// admitted to, with mu held; nil: nobody is.
	made, opened, dropped func(in *instance)
	known                 func(pattern string) // is told of patterns

	mu   sync.Mutex           // of what follows, and of changing the above
	last uint32               // id
	ids  map[uint32]struct{}  // of the instances there are
	live map[string]*instance // of patterns and functions
	most int                  // bound on live
}

func (r *registry) init(most int) {
	r.all.Store(&[]*Namespace{})
	r.literals.Store(&map[string]*instance{})
	r.live = map[string]*instance{}
	r.ids = map[uint32]struct{}{}
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
	in := r.live[name]
	r.mu.Unlock()
	if in != nil {
		if in.ns.match != nil && !in.ns.match(name, auth) {
			return nil, nil
		}
		return in.ns, in.params
	}
	for _, ns := range *r.all.Load() {
		if params, ok := ns.has(name, auth); ok {
			return ns, params
		}
	}
	return nil, nil
}

// namesInstance tells whether the instance of a pattern or function may have a
// name. Those that would stand for something else between servers may not: the
// text of a pattern, and, with a #, a room of another namespace.
func namesInstance(name string) bool {
	return !strings.Contains(name, "/:") && !strings.Contains(name, "/*") && !strings.Contains(name, "#")
}

// has tells whether a pattern or function has a name.
func (n *Namespace) has(name string, auth json.RawMessage) ([]pattern.Param, bool) {
	switch {
	case n.pattern != nil:
		return n.pattern.Match(name)
	case n.match != nil:
		return nil, n.match(name, auth)
	}
	return nil, false
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

// count returns how many instances of ns there are.
func (r *registry) count(ns *Namespace) int64 {
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
	space   *space // counts of its namespace
	sockets int
}

// space returns what the loop counts of a namespace.
func (sh *shard) space(ns *Namespace) *space {
	x := sh.spaces[ns]
	if x == nil {
		x = &space{}
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
	sh.instances[i].space.sockets++
	return i
}

// exit counts a socket out.
func (sh *shard) exit(i uint32) {
	x := &sh.instances[i]
	in := x.in
	x.space.sockets--
	if x.sockets--; x.sockets == 0 {
		delete(sh.places, in)
		*x = localInstance{}
		sh.freePlaces = append(sh.freePlaces, i)
	}
	sh.srv.registry.release(in)
}

// A Key is the name of a value of type T that sockets can have, for a package that
// keeps something with sockets that is not its own:
//
//	var account = sio.NewKey[*Account]()
//
//	account.Set(s, a)    // in a middleware
//	a, ok := account.Get(s)
//
// Values are kept as they are, until the disconnect handlers have returned. They
// stay in this process: a socket that is recovered has them again, but not through a
// cluster ([rooms.Log]), and other servers are not told of them. For what is to
// travel there is [Socket.SetData]. A socket without values takes no memory for
// them. Any goroutine may use a Key.
type Key[T any] struct{ id *key }

type key struct{ _ byte } // of a size, so that each is another

// NewKey returns a Key that is unlike any other.
func NewKey[T any]() Key[T] { return Key[T]{new(key)} }

// Set stores the socket's value. It is [ErrClosed] if the socket is gone. It panics
// for a Key that NewKey has not made.
func (k Key[T]) Set(s Socket, v T) error {
	if k.id == nil {
		panic("sio: a Key is made by NewKey")
	}
	return s.setValue(k.id, func(list []keyed) []keyed { return append(list, keyed{k.id, v}) })
}

// Get returns the socket's value; it is false if there is none.
func (k Key[T]) Get(s Socket) (v T, ok bool) {
	d := s.srv().details.get(s.ref)
	if d == nil || d.values == nil {
		return v, false
	}
	for _, x := range *d.values {
		if x.key == k.id {
			v, ok = x.value.(T)
			return v, ok || x.value == nil // a nil of an interface's
		}
	}
	return v, false
}

// Delete forgets the socket's value.
func (k Key[T]) Delete(s Socket) {
	_ = s.setValue(k.id, func(list []keyed) []keyed { return list }) // who is gone has none
}

// values are those of a socket by their keys: a few. Immutable.
type values []keyed

type keyed struct {
	key   *key
	value any
}

// setValue replaces a socket's values by what change makes of them but that of key.
func (s Socket) setValue(key *key, change func(list []keyed) []keyed) (err error) {
	s.srv().details.edit(s.ref, func(d *detail) {
		if s.gone() { // asked here, so that details.remove comes later
			err = ErrClosed
			return
		}
		var list values
		if d.values != nil {
			list = slices.DeleteFunc(slices.Clone(*d.values), func(x keyed) bool { return x.key == key })
		}
		if list = change(list); len(list) == 0 {
			d.values = nil
			return
		}
		d.values = &list
	})
	return err
}

// isSomeonesOwn tells whether a room's name is a socket's id.
func (srv *Server) isSomeonesOwn(room string) bool {
	_, ok := srv.idRef(room)
	return ok || srv.named.Load() && srv.given.has(room)
}

// givenIDs are the ids of sockets that are not those of their Refs, with how many
// have each: two, while a client takes a socket over. Of Socket.IO 2, or recovered.
type givenIDs struct {
	mu sync.Mutex
	m  map[string]int
}

// count notes that one more socket has an id, or one less; "" is none.
func (g *givenIDs) count(id string, by int) {
	if id == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m == nil {
		g.m = map[string]int{}
	}
	if g.m[id] += by; g.m[id] == 0 {
		delete(g.m, id)
	}
	if len(g.m) == 0 {
		g.m = nil // maps do not shrink
	}
}

func (g *givenIDs) has(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m[id] > 0
}
