package sio_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A bus joins the servers of a test: an adapter that calls the others at once.
type bus struct {
	mu     sync.Mutex // of stops and their hosts: servers start while others work
	stops  []*stop
	silent []string // servers that do not answer
	sparse bool     // what is for rooms reaches only servers that have one of them
}

// A stop is one server's adapter.
type stop struct {
	*bus
	host rooms.Host

	mu    sync.Mutex
	known []string // "/ns" and "/ns room", as often as they are there
	wrong []string // of these, what went without having come
	owns  bool     // it wants to know of sockets' own rooms
	ended bool
	addr  string // at which others reach the server; "" is what it advertises, "-" none

	hidden chan struct{} // until it is closed nobody knows the server
	sought atomic.Int64  // how often Seek was called
}

func (b *bus) stop() *stop {
	s := &stop{bus: b, hidden: make(chan struct{})}
	close(s.hidden)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stops = append(b.stops, s)
	return s
}

// there returns the servers that have started.
func (b *bus) there() (all []*stop) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.stops {
		if s.host != nil {
			all = append(all, s)
		}
	}
	return all
}

func (s *stop) Start(h rooms.Host) error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.host = h
	return nil
}
func (s *stop) Open(ns string)           { s.note(ns, true) }
func (s *stop) Drop(ns string)           { s.note(ns, false) }
func (s *stop) Occupied(ns, room string) { s.note(ns+" "+room, true) }
func (s *stop) Vacated(ns, room string)  { s.note(ns+" "+room, false) }
func (s *stop) Status() rooms.Status     { return rooms.Status{Up: true} }

func (s *stop) Await(_ context.Context, ns string, names []string) error {
	for _, name := range names {
		if !s.knows(ns + " " + name) {
			return errors.New("not occupied: " + name)
		}
	}
	return nil
}

func (s *stop) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return nil
}

func (s *stop) Peer(node string) (rooms.Peer, bool) {
	for _, o := range s.there() {
		if o == s || o.host.Node() != node {
			continue
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		select {
		case <-o.hidden:
		default:
			return rooms.Peer{}, false
		}
		return rooms.Peer{Node: node, Addr: strings.TrimPrefix(cmp.Or(o.addr, o.host.Advertise()), "-"), Token: o.host.Token()}, !o.ended
	}
	return rooms.Peer{}, false
}

// Seek returns when the server is known; who has gone, or never was, is not waited for.
func (s *stop) Seek(ctx context.Context, node string) {
	s.sought.Add(1)
	for _, o := range s.there() {
		if o.host.Node() != node {
			continue
		}
		o.mu.Lock()
		hidden := o.hidden
		o.mu.Unlock()
		select {
		case <-hidden:
		case <-ctx.Done():
		}
	}
}

// of returns the stop of a host.
func (b *bus) of(h rooms.Host) *stop {
	for _, s := range b.there() {
		if s.host == h {
			return s
		}
	}
	return nil
}

// hide has nobody know the server until show is called.
func (s *stop) hide() (show func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hidden := make(chan struct{})
	s.hidden = hidden
	return func() { close(hidden) }
}

// reached says where others reach the server.
func (s *stop) reached(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = addr
}

func (s *stop) OwnRooms() bool { return s.owns }

func (s *stop) note(what string, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.known, what)
	switch {
	case there:
		s.known = append(s.known, what)
	case i >= 0:
		s.known = slices.Delete(s.known, i, i+1)
	default:
		s.wrong = append(s.wrong, what)
	}
}

func (s *stop) knows(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.known, what)
}

// others calls f with the hosts of the other servers, and says which do not
// answer.
func (s *stop) others(f func(h rooms.Host)) error {
	var missing []string
	for _, o := range s.there() {
		switch {
		case o == s:
		case slices.Contains(s.silent, o.host.Node()):
			missing = append(missing, o.host.Node())
		default:
			f(o.host)
		}
	}
	if missing != nil {
		return &rooms.IncompleteError{Missing: missing}
	}
	return nil
}

func (s *stop) Emit(t rooms.Target, e rooms.Event) {
	_ = s.others(func(h rooms.Host) {
		if !s.sparse || len(t.Rooms) == 0 || slices.ContainsFunc(t.Rooms, func(room string) bool { return s.of(h).knows(t.Namespace + " " + room) }) {
			h.Deliver(t, e)
		}
	})
}
func (s *stop) Join(t rooms.Target, names []string) {
	_ = s.others(func(h rooms.Host) { h.Join(t, names) })
}
func (s *stop) Leave(t rooms.Target, names []string) {
	_ = s.others(func(h rooms.Host) { h.Leave(t, names) })
}
func (s *stop) Disconnect(t rooms.Target, closing bool) {
	_ = s.others(func(h rooms.Host) { h.Disconnect(t, closing) })
}
func (s *stop) ServerSideEmit(ns string, e rooms.Event) {
	_ = s.others(func(h rooms.Host) { h.ServerSide(ns, e, nil) })
}

func (s *stop) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, asked func(int), answer func(rooms.Value)) error {
	return s.others(func(h rooms.Host) { h.DeliverAck(ctx, t, e, asked, answer) })
}

func (s *stop) Members(_ context.Context, t rooms.Target) (all []rooms.Member, err error) {
	err = s.others(func(h rooms.Host) { all = append(all, h.Members(t)...) })
	return all, err
}

func (s *stop) RoomNames(_ context.Context, ns string) (all []string, err error) {
	err = s.others(func(h rooms.Host) { all = append(all, h.RoomNames(ns)...) })
	return all, err
}

func (s *stop) ServerSideAsk(ctx context.Context, ns string, e rooms.Event) (all []rooms.Value, err error) {
	answers := make(chan rooms.Value, len(s.there()))
	asked := 0
	err = s.others(func(h rooms.Host) { asked++; h.ServerSide(ns, e, func(v rooms.Value) { answers <- v }) })
	for range asked {
		select {
		case v := <-answers:
			all = append(all, v)
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
	return all, err
}

// A pair is two servers of a cluster, with a client on "/" of each.
type pair struct {
	*bus
	servers [2]*server
	stops   [2]*stop
	ns      [2]*sio.Namespace
	sockets [2]sio.Socket
	clients [2]*client
}

func newPair(t testing.TB, o sio.Options, register func(i int, srv *sio.Server)) *pair {
	t.Helper()
	p := &pair{bus: &bus{}}
	for i := range p.servers {
		p.stops[i] = p.stop()
		p.stops[i].owns = i == 0
		o.Adapter = p.stops[i]
		var joined chan sio.Socket
		p.servers[i] = serve(t, o, func(srv *sio.Server) {
			p.ns[i] = srv.Of("/")
			echo(p.ns[i])
			joined = sockets(p.ns[i])
			if register != nil {
				register(i, srv)
			}
		})
		p.clients[i] = p.servers[i].dial()
		p.clients[i].send(`40{"token":"t"}`)
		p.clients[i].next()
		p.sockets[i] = take(t, joined)
	}
	return p
}
