package sio

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/rooms"
)

// A Handshake is what is known of the request that began a session. It keeps
// the text and parses it when asked.
type Handshake struct {
	Address netip.AddrPort // of the TCP peer; zero on a Unix socket
	Time    time.Time
	URL     string // path and query, as sent

	head  string // "Name: value\n" for each field
	query string // that a client of Socket.IO 2 gave with the namespace's name
}

func newHandshake(es eio.Session, r *http1.Request) *Handshake {
	n := 0
	for _, f := range r.Fields {
		n += len(f.Name) + len(": ") + len(f.Value) + len("\n")
	}
	var b strings.Builder
	b.Grow(n)
	for _, f := range r.Fields {
		b.Write(f.Name)
		b.WriteString(": ")
		b.Write(f.Value)
		b.WriteByte('\n')
	}
	return &Handshake{Address: es.RemoteAddr(), Time: time.Now(), URL: string(r.Target), head: b.String()}
}

// Query returns the parameters of the URL. A client of Socket.IO 2 can add some
// for a namespace, which replace those of the same name.
func (h *Handshake) Query() url.Values {
	_, query, _ := strings.Cut(h.URL, "?")
	v, _ := url.ParseQuery(query) // what can be parsed
	more, _ := url.ParseQuery(h.query)
	maps.Copy(v, more)
	return v
}

// Header returns the request's header.
func (h *Handshake) Header() http.Header {
	header := http.Header{}
	for line := range strings.Lines(h.head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		header.Add(name, value)
	}
	return header
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
	handshake *Handshake
	auth      []byte
	data      any
	pid       string // that is not that of the Ref: after a recovery
	identity  string // by Recovery.Identity
	recovered bool
	ctx       context.Context
	cancel    context.CancelFunc
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
	if x.handshake == nil && x.auth == nil && x.data == nil && x.ctx == nil && x.pid == "" && x.identity == "" && !x.recovered {
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

// put stores what a socket brought when it connected.
func (d *details) put(ref rooms.Ref, h *Handshake, auth []byte) {
	d.edit(ref, func(x *detail) { x.handshake, x.auth = h, bytes.Clone(auth) })
}

// settle forgets what a socket brought.
func (d *details) settle(ref rooms.Ref) {
	d.edit(ref, func(x *detail) { x.handshake, x.auth = nil, nil })
}

// end ends the context of a socket that leaves, also one that is asked for from
// now on: by a handler that runs, which the end of the socket waits for.
func (d *details) end(ref rooms.Ref) {
	d.edit(ref, func(x *detail) {
		if x.cancel != nil {
			x.cancel()
		}
		x.ctx, x.cancel = closedContext, nil
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
