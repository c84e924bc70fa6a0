package sio

import (
	"context"
	"crypto/x509"
	"encoding/binary"
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
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/keyed"
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

// particulars are what is known of a session's first request.
type particulars struct {
	text    string         // the target, and each field as "Name: value", each with a newline behind it
	query   string         // that a client of Socket.IO 2 gave with the namespace's name
	address netip.AddrPort // zero: it is not known
	peer    netip.AddrPort // likewise
	issued  int64          // Unix ms; 0: it is not known
	secure  bool
	cert    *x509.Certificate // of the client; nil: it has none that was verified
}

// A request is the one copy of that, for all sockets of the session: 48 bytes, and the text.
// Immutable.
type request struct {
	text string
	more *particulars // all of them, where the rest does not say it
	ip   [16]byte     // of the client; IPv4 in its mapped form; zero: it is not known
	port uint16
	when [6]byte // issued, and two bits: the peer is not known, and it is secure
}

// pack returns f as a request.
func (f particulars) pack() *request {
	when := f.issued << 2
	if !f.peer.IsValid() {
		when |= 2
	}
	if f.secure {
		when |= 1
	}
	r := &request{text: f.text}
	binary.BigEndian.PutUint16(r.when[:], uint16(when>>32))
	binary.BigEndian.PutUint32(r.when[2:], uint32(when))
	if f.address.IsValid() {
		r.ip, r.port = f.address.Addr().As16(), f.address.Port()
	}
	if r.particulars() != f {
		all := f
		r.more = &all
	}
	return r
}

// particulars returns what r was made of.
func (r *request) particulars() particulars {
	switch {
	case r == nil:
		return particulars{}
	case r.more != nil:
		return *r.more
	}
	when := int64(binary.BigEndian.Uint16(r.when[:]))<<32 | int64(binary.BigEndian.Uint32(r.when[2:]))
	f := particulars{text: r.text, issued: when >> 2, secure: when&1 != 0}
	if r.ip != [16]byte{} {
		f.address = netip.AddrPortFrom(netip.AddrFrom16(r.ip).Unmap(), r.port)
	}
	if when&2 == 0 {
		f.peer = f.address
	}
	return f
}

// newRequest copies the head of a request.
func newRequest(es eio.Session, r *http1.Request) *request {
	n := len(r.Target) + len("\n")
	for _, f := range r.Fields {
		n += len(f.Name) + len(": ") + len(f.Value) + len("\n")
	}
	var text strings.Builder
	text.Grow(n)
	text.Write(r.Target)
	text.WriteByte('\n')
	for _, f := range r.Fields {
		text.Write(f.Name)
		text.WriteString(": ")
		text.Write(f.Value)
		text.WriteByte('\n')
	}
	return particulars{
		text: text.String(), address: es.RemoteAddr(), peer: es.PeerAddr(), issued: time.Now().UnixMilli(),
		secure: es.Secure(), cert: es.Certificate(),
	}.pack()
}

// knownOf is the request of a session of which none is kept.
func knownOf(es eio.Session) *request {
	return particulars{address: es.RemoteAddr(), secure: es.Secure(), cert: es.Certificate()}.pack()
}

// withQuery returns the request of a socket whose client gave a query with the
// name of the namespace, or, with none, as the session's is.
func (r *request) withQuery(query []byte) *request {
	if r == nil {
		return nil
	}
	f := r.particulars()
	if string(query) == f.query {
		return r
	}
	f.query = string(query)
	return f.pack()
}

// Address returns the client's address, that of the TCP peer unless
// [eio.Options] say otherwise; the zero one on a Unix socket. Node: address, without
// the port.
func (h Handshake) Address() netip.AddrPort { return h.r.particulars().address }

// Peer returns the address of the other end of the connection that the request came on,
// whatever [eio.Options] say of the client's: behind a proxy, the proxy's. It is the zero
// one on a Unix socket, and of a request that is not known any more, or of another server.
func (h Handshake) Peer() netip.AddrPort { return h.r.particulars().peer }

// Secure tells whether the client's connection is encrypted: up to this process, or
// where [eio.Options].Via believes it up to a proxy. Node: secure, up to the process.
func (h Handshake) Secure() bool { return h.r.particulars().secure }

// Certificate returns the client's certificate, if it has one and TLS in this process has
// verified it; nil otherwise. It must not be modified.
func (h Handshake) Certificate() *x509.Certificate { return h.r.particulars().cert }

// Issued returns when the request came, to the millisecond; the zero Time if the
// request is not known any more. Node: issued, and time.
func (h Handshake) Issued() time.Time {
	issued := h.r.particulars().issued
	if issued == 0 {
		return time.Time{}
	}
	return time.UnixMilli(issued)
}

// URL returns path and query, as sent. Node: url.
func (h Handshake) URL() string {
	url, _, _ := strings.Cut(h.r.particulars().text, "\n")
	return url
}

// Query returns the parameters of the URL, EIO and transport among them. A client
// of Socket.IO 2 can add some for a namespace, which replace those of the same name.
// The map is the caller's. Node: query.
func (h Handshake) Query() url.Values {
	_, query, _ := strings.Cut(h.URL(), "?")
	v, _ := url.ParseQuery(query) // what can be parsed
	more, _ := url.ParseQuery(h.r.particulars().query)
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
		_, head, _ := strings.Cut(h.r.particulars().text, "\n")
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
	values    keyed.List
	recovered bool // Socket.Recovered

	// Of one that is restored with its connection.
	handshake Handshake
	conn      keyed.List
	owed      []uint64      // ids of acknowledgements that its client owes, in order
	nextAck   uint64        // ids from there on have not been given
	timed     bool          // its deadline has a function: see CarryDeadlines
	handed    *socketRecord // what has come of it from another process; nil: it has not
}

// snapshot returns the state of a socket: what it may have missed begins behind what its
// client has proven to have had. What it holds is not changed any more.
func (sh *shard) snapshot(slot uint32) *socketState {
	s := sh.socket(slot)
	x := &socketState{Socket: packetlog.Socket{
		Name: s.in.name, ID: s.ID(), PID: sh.srv.seq.pid(s.ref), Ref: s.ref, Home: s.home(), From: sh.srv.seq.proven(sh, slot),
		Expires: sh.deadlines.Of(slot),
	}}
	if d := sh.srv.details.get(s.ref); d != nil {
		x.data, x.handshake, x.recovered = d.data, Handshake{d.request, d.auth}, d.recovered
	}
	x.values, x.conn, x.Identity = sh.srv.values.Of(uint64(s.ref)), sh.srv.conns.Of(s.conn), sh.srv.details.identity(s.ref)
	for _, room := range sh.local.Rooms(slot) {
		if room != x.ID {
			x.Rooms = append(x.Rooms, room)
		}
	}
	x.nextAck, x.timed = s.in.acks.Load(), sh.isTimed(slot)
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
	sh.srv.values.Put(uint64(sh.ref(slot)), x.values)
	sh.srv.details.identify(sh.ref(slot), x.Identity)
	pid := x.PID
	if pid == sh.srv.seq.pid(sh.ref(slot)) {
		pid = "" // its own
	}
	sh.srv.details.edit(sh.ref(slot), func(d *detail) {
		d.pid, d.data, d.recovered = pid, x.data, x.recovered
		if x.handshake != (Handshake{}) {
			d.request, d.auth = x.handshake.r, x.handshake.auth
		}
	})
}

// renounce takes back what assume has given.
func (sh *shard) renounce(slot uint32) {
	sh.rename(slot, "")
	sh.srv.details.edit(sh.ref(slot), func(d *detail) { d.pid, d.data, d.recovered = "", nil, false })
	sh.srv.values.Take(uint64(sh.ref(slot)))
}

// disown has a connecting socket be a new one that has claimed what was somebody else's, who
// can still come back for it: see Socket.Identify.
func (q *recovering) disown(sh *shard, es eio.Session, slot uint32) {
	q.giveUp(sh, slot)
	q.count(&q.counts.Alien)
	sh.renounce(slot)
	sh.enterNamespace(es, slot)
}

// rejoin puts a socket into the rooms that it was in. Its own is among them only if
// its id is not that of its Ref.
func (sh *shard) rejoin(slot uint32, names []string) {
	in, own := sh.instance(slot), sh.id(slot)
	for _, room := range names {
		if len(room) > maxRoomName && room != own {
			continue // an operator named it while the socket was away
		}
		if sh.local.Join(slot, in.id, room) && room != own && sh.sockets.At(slot).rooms < maxMaxRooms {
			sh.sockets.At(slot).rooms++
		}
	}
}

// details holds, outside the loops, what only some sockets have and any
// goroutine may ask for. It is sharded by socket.
type details struct {
	shards [handle.Shards]struct {
		mu         sync.Mutex
		m          map[rooms.Ref]*detail
		identities map[rooms.Ref]string // by Recovery.Identity
		_          [40]byte             // no false sharing
	}
}

// A detail is replaced, never changed, so that reading needs no lock after get.
type detail struct {
	request   *request
	auth      string // JSON; "": none
	data      any
	pid       string // that is not that of the Ref: after a recovery
	recovered bool
	// recoverable says that it leaves, and may come back.
	recoverable bool
	ctx         context.Context
	cancel      context.CancelFunc
}

// edit changes a socket's detail, which is made if needed and forgotten if
// nothing is left in it.
func (d *details) edit(ref rooms.Ref, f func(*detail)) {
	s := &d.shards[ref.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	x := detail{}
	if old := s.m[ref]; old != nil {
		x = *old
	}
	f(&x)
	if x.request == nil && x.auth == "" && x.data == nil && x.ctx == nil && x.pid == "" && !x.recovered {
		delete(s.m, ref)
		return
	}
	if s.m == nil {
		s.m = map[rooms.Ref]*detail{}
	}
	s.m[ref] = &x
}

func (d *details) get(ref rooms.Ref) *detail {
	s := &d.shards[ref.Shard()]
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
	es := sh.session(slot)
	return Handshake{r: knownOf(es)}
}

// Handshake returns the first request of the socket's connection, as far as that is kept
// still (Options.KeepHandshake), or the address alone.
func (x *Observation) Handshake() Handshake { return x.sh.handshake(x.slot) }

// put stores what a socket brought when it connected.
func (d *details) put(ref rooms.Ref, r *request, auth []byte) {
	d.edit(ref, func(x *detail) { x.request, x.auth = r, string(auth) })
}

// settle forgets what a socket brought, if it brought something: most have no detail.
func (d *details) settle(ref rooms.Ref) {
	if d.get(ref) != nil {
		d.edit(ref, func(x *detail) { x.request, x.auth = nil, "" })
	}
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
	d.identify(ref, "")
	d.edit(ref, func(x *detail) {
		if x.cancel != nil {
			x.cancel()
		}
		*x = detail{}
	})
}
