package sio

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

// A Handshake is what is known of the request that began a session, as Node's
// socket.handshake. It is a value of two words, which may be kept; each method parses
// what it is asked for, from one copy of the head of the request. Of the zero one,
// and of what is not known, all is zero.
type Handshake struct {
	r    *request
	auth string // JSON; "": none
}

// A request is the one copy of a session's first request, for all its sockets.
// Immutable.
type request struct {
	text    string // the target, and each field as "Name: value", each with a newline behind it
	query   string // that a client of Socket.IO 2 gave with the namespace's name
	address netip.AddrPort
	issued  int64 // Unix ms
	secure  bool
}

// newRequest copies the head of a request.
func newRequest(es eio.Session, r *http1.Request) *request {
	n := len(r.Target) + len("\n")
	for _, f := range r.Fields {
		n += len(f.Name) + len(": ") + len(f.Value) + len("\n")
	}
	var b strings.Builder
	b.Grow(n)
	b.Write(r.Target)
	b.WriteByte('\n')
	for _, f := range r.Fields {
		b.Write(f.Name)
		b.WriteString(": ")
		b.Write(f.Value)
		b.WriteByte('\n')
	}
	return &request{text: b.String(), address: es.RemoteAddr(), issued: time.Now().UnixMilli()}
}

// withQuery returns the request of a socket whose client gave a query with the
// name of the namespace, or, with none, as the session's is.
func (r *request) withQuery(query []byte) *request {
	if r == nil || string(query) == r.query {
		return r
	}
	own := *r
	own.query = string(query)
	return &own
}

// get returns the request, a zero one in place of none.
func (h Handshake) get() *request {
	if h.r == nil {
		return &request{}
	}
	return h.r
}

// Address returns the client's address, that of the TCP peer unless
// [eio.Options] say otherwise; the zero one on a Unix socket. Node: address, without
// the port.
func (h Handshake) Address() netip.AddrPort { return h.get().address }

// Secure tells whether the connection is encrypted up to this process; it is not
// where a proxy in front ends TLS. Node: secure.
func (h Handshake) Secure() bool { return h.get().secure }

// Issued returns when the request came, to the millisecond; the zero Time if the
// request is not known any more. Node: issued, and time.
func (h Handshake) Issued() time.Time {
	if h.r == nil || h.r.issued == 0 {
		return time.Time{}
	}
	return time.UnixMilli(h.r.issued)
}

// URL returns path and query, as sent. Node: url.
func (h Handshake) URL() string {
	url, _, _ := strings.Cut(h.get().text, "\n")
	return url
}

// Query returns the parameters of the URL, EIO and transport among them. A client
// of Socket.IO 2 can add some for a namespace, which replace those of the same name.
// The map is the caller's. Node: query.
func (h Handshake) Query() url.Values {
	_, query, _ := strings.Cut(h.URL(), "?")
	v, _ := url.ParseQuery(query) // what can be parsed
	more, _ := url.ParseQuery(h.get().query)
	maps.Copy(v, more)
	return v
}

// Header returns the request's header, with names in Go's spelling. The map is the
// caller's. Node: headers, with names in lower case.
func (h Handshake) Header() http.Header {
	header := http.Header{}
	for name, value := range h.fields() {
		header.Add(name, value)
	}
	return header
}

// XDomain tells whether the request names an origin, as those of pages of other
// sites do, and of this one over WebSocket. Node: xdomain.
func (h Handshake) XDomain() bool {
	for name := range h.fields() {
		if strings.EqualFold(name, "Origin") {
			return true
		}
	}
	return false
}

// Auth decodes what the client gave as auth, JSON, into dst, which stays as it is if
// it gave nothing. The error is json.Unmarshal's. Node: auth.
func (h Handshake) Auth(dst any) error {
	if h.auth == "" {
		return nil
	}
	return json.Unmarshal([]byte(h.auth), dst)
}

// fields yields the fields of the header, as sent.
func (h Handshake) fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		_, head, _ := strings.Cut(h.get().text, "\n")
		for line := range strings.Lines(head) {
			if name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); !yield(name, value) {
				return
			}
		}
	}
}

// A socketState is a socket as plain data: what it is to its client and to the
// program, and nothing of where it lies or of what runs for it. What recovers is
// saved and restored in this form, here and in a cluster.
type socketState struct {
	packetlog.Socket
	socketRest
}

// socketRest is the part of a socketState that only this package knows.
type socketRest struct {
	data      any
	values    *values // by keys
	recovered bool    // Socket.Recovered

	// Of one that is restored with its connection.
	handshake Handshake
	owed      []uint64 // ids of acknowledgements that its client owes, in order
	nextAck   uint64   // ids from there on have not been given
}

// snapshot returns the state of a socket, without where what it may have missed
// begins. What it holds is not changed any more.
func (sh *shard) snapshot(slot uint32) *socketState {
	s := sh.socket(slot)
	x := &socketState{Socket: packetlog.Socket{
		Name: s.in.name, ID: s.ID(), PID: sh.srv.seq.pid(s.ref), Ref: s.ref, Home: s.home(), From: sh.sockets.At(slot).start.get(),
		Expires: sh.deadlines.Of(slot),
	}}
	if d := sh.srv.details.get(s.ref); d != nil {
		x.data, x.values, x.handshake, x.Identity, x.recovered = d.data, d.values, Handshake{d.request, d.auth}, d.identity, d.recovered
	}
	for _, room := range sh.local.Rooms(slot) {
		if room != x.ID {
			x.Rooms = append(x.Rooms, room)
		}
	}
	x.nextAck = s.in.acks.Load()
	if e := sh.exts[slot]; e != nil {
		x.owed = slices.Sorted(maps.Keys(e.acks))
	}
	return x
}

// assume gives a connecting socket what another one was: its ids and data, and its
// handshake if that is not another. Its rooms, which may change until then, follow
// with rejoin.
func (sh *shard) assume(slot uint32, x *socketState) {
	if sh.id(slot) != x.ID {
		sh.rename(slot, x.ID)
	}
	sh.srv.details.edit(sh.ref(slot), func(d *detail) {
		d.pid, d.data, d.values, d.identity, d.recovered = x.PID, x.data, x.values, x.Identity, x.recovered
		if x.handshake != (Handshake{}) {
			d.request, d.auth = x.handshake.r, x.handshake.auth
		}
	})
}

// restoreSession has a session that eio has restored go on in this server, with its
// sockets in the order of joining; see restoreSocket. It is false if one of them cannot:
// those before it are there. Nothing is kept of a packet whose attachments were still
// to come.
func (sh *shard) restoreSession(es eio.Session, all []*socketState, answers func(id uint64) *pendingAck) (ok bool) {
	sh.loop.Check()
	es.SetUser(es.User() & userFlags) // the rest named the first socket elsewhere
	if es.User()&everJoined == 0 {
		sh.arrivals.add(sh, es.Ref())
	}
	for _, x := range all {
		if r := x.handshake.r; r != nil && sh.requests[es.Ref()] == nil && sh.srv.keepsHandshake() && !sh.keepRequest(es, r.withQuery(nil)) {
			return false
		}
		if _, ok := sh.restoreSocket(es, x, answers); !ok {
			return false
		}
	}
	return true
}

// restoreSocket puts a socket into a session of this loop that another server had, or
// this one had before: connected, and without a word to its client. It gets its own
// place if that is free, and keeps its id in any other. X.From is a place in the log
// that this server goes on with, or 0. Answers returns who gets the answer to what
// the client has been asked, nil if nobody wants it. It is false if there is no such
// namespace any more, no place, no room in the session's budget for what it brought, or
// somebody who has its id: a server with the ids of another is given what that had
// before it serves anybody.
func (sh *shard) restoreSocket(es eio.Session, x *socketState, answers func(id uint64) *pendingAck) (slot uint32, ok bool) {
	sh.loop.Check()
	if home, ok := sh.srv.idRef(x.ID); ok && sh.srv.alive(home) {
		return 0, false
	}
	in, _ := sh.srv.registry.acquire([]byte(x.Name), json.RawMessage(x.handshake.auth))
	if in == nil {
		return 0, false
	}
	brought, ok := sh.bring(es, len(x.handshake.auth))
	if !ok {
		sh.srv.registry.release(in)
		return 0, false
	}
	if slot = x.Ref.Slot(); x.Ref.Loop() == sh.loop.Index() && sh.sockets.AllocAt(slot, x.Ref.Gen()) {
		sh.link(es, in, slot)
	} else if slot, ok = sh.newSocket(es, in); !ok {
		brought.account.Release(brought.size)
		sh.srv.registry.release(in)
		return 0, false
	}
	sh.brings(slot, brought)
	sh.assume(slot, x)
	sh.srv.seq.holds(sh.ref(slot), x.PID)
	sh.sockets.At(slot).start = positionOf(x.From)
	sh.rejoin(slot, x.Rooms)
	if own := sh.ownID(slot); own != "" {
		sh.local.Join(slot, in.id, own)
	}
	for _, id := range x.owed {
		if p := answers(id); p != nil {
			sh.await(slot, id, p)
		}
	}
	for next := in.acks.Load(); next < x.nextAck && !in.acks.CompareAndSwap(next, x.nextAck); next = in.acks.Load() {
	}
	sh.connected(es, slot)
	if x.Expires != 0 {
		sh.expireAt(slot, time.UnixMilli(x.Expires), nil)
	}
	return slot, true
}

// renounce takes back what assume has given.
func (sh *shard) renounce(slot uint32) {
	sh.rename(slot, "")
	sh.srv.details.edit(sh.ref(slot), func(d *detail) { d.pid, d.data, d.values, d.recovered = "", nil, nil, false })
}

// rejoin puts a socket into the rooms that it was in. Its own is among them only if
// its id is not that of its Ref.
func (sh *shard) rejoin(slot uint32, names []string) {
	in, own := sh.instance(slot), sh.id(slot)
	for _, room := range names {
		if sh.local.Join(slot, in.id, room) && room != own && sh.sockets.At(slot).rooms < maxMaxRooms {
			sh.sockets.At(slot).rooms++
		}
	}
}

// session returns a socket as the servers of a cluster keep it.
func (x *socketState) session(data json.RawMessage) rooms.Session {
	expires := time.Time{}
	if x.Expires != 0 {
		expires = time.UnixMilli(x.Expires)
	}
	return rooms.Session{
		Expires: expires, ID: x.ID, PID: x.PID, Rooms: append([]string{x.ID}, x.Rooms...), Data: data,
		Namespace: x.Name, Since: rooms.Place(x.From), Identity: x.Identity,
	}
}

// stateOf is the other way round, for a socket in an instance. There is no data if
// that is Node's of a socket without.
func stateOf(s rooms.Session, instance string) *socketState {
	x := &socketState{Socket: packetlog.Socket{Name: instance, ID: s.ID, PID: s.PID, Identity: s.Identity, From: uint64(s.Since)}}
	if !s.Expires.IsZero() {
		x.Expires = s.Expires.UnixMilli()
	}
	for _, room := range s.Rooms {
		if room != s.ID {
			x.Rooms = append(x.Rooms, room)
		}
	}
	if d := string(s.Data); d != "" && d != "{}" && d != "null" {
		x.data = travelled(s.Data)
	}
	return x
}

// details holds, outside the loops, what only some sockets have and any
// goroutine may ask for. It is sharded by socket.
type details struct {
	shards [64]struct {
		mu sync.Mutex
		m  map[rooms.Ref]*detail
		_  [48]byte // no false sharing
	}
}

// A detail is replaced, never changed, so that reading needs no lock after get.
type detail struct {
	request   *request
	auth      string // JSON; "": none
	data      any
	values    *values // by keys
	pid       string  // that is not that of the Ref: after a recovery
	identity  string  // by Recovery.Identity
	recovered bool
	// recoverable says that it leaves, and may come back.
	recoverable bool
	ctx         context.Context
	cancel      context.CancelFunc
}

// edit changes a socket's detail, which is made if needed and forgotten if
// nothing is left in it.
func (d *details) edit(ref rooms.Ref, f func(*detail)) {
	s := &d.shards[ref.Slot()%uint32(len(d.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	x := detail{}
	if old := s.m[ref]; old != nil {
		x = *old
	}
	f(&x)
	if x.request == nil && x.auth == "" && x.data == nil && x.values == nil && x.ctx == nil && x.pid == "" && x.identity == "" && !x.recovered {
		delete(s.m, ref)
		return
	}
	if s.m == nil {
		s.m = map[rooms.Ref]*detail{}
	}
	s.m[ref] = &x
}

func (d *details) get(ref rooms.Ref) *detail {
	s := &d.shards[ref.Slot()%uint32(len(d.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[ref]
}

// handshake returns what a socket brought, if that is still known.
func (d *details) handshake(ref rooms.Ref) (h Handshake, ok bool) {
	x := d.get(ref)
	if x == nil || x.request == nil {
		return Handshake{}, false
	}
	return Handshake{x.request, x.auth}, true
}

// handshake returns what is known of how a socket's session began.
func (sh *shard) handshake(slot uint32) Handshake {
	if h, ok := sh.srv.details.handshake(sh.ref(slot)); ok {
		return h
	}
	return Handshake{r: &request{address: sh.session(slot).RemoteAddr()}}
}

// put stores what a socket brought when it connected.
func (d *details) put(ref rooms.Ref, r *request, auth []byte) {
	d.edit(ref, func(x *detail) { x.request, x.auth = r, string(auth) })
}

// settle forgets what a socket brought.
func (d *details) settle(ref rooms.Ref) {
	d.edit(ref, func(x *detail) { x.request, x.auth = nil, "" })
}

// end ends the context of a socket that leaves, also one that is asked for from
// now on: by a handler that runs, which the end of the socket waits for. Back says
// whether the client may come back.
func (d *details) end(ref rooms.Ref, back bool) {
	d.edit(ref, func(x *detail) {
		if x.cancel != nil {
			x.cancel()
		}
		x.ctx, x.cancel, x.recoverable = closedContext, nil, back
	})
}

// remove forgets a socket. It must be gone by now: whoever keeps something for
// it looks at that first, in edit.
func (d *details) remove(ref rooms.Ref) {
	d.edit(ref, func(x *detail) {
		if x.cancel != nil {
			x.cancel()
		}
		*x = detail{}
	})
}
