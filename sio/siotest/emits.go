package siotest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/sio/internal/quiet"
)

// An Emit is an event that the server has emitted, to one socket or to many, or to
// nobody, as the wrappers of UseEmit have left it.
type Emit struct {
	Args
	Namespace string // of the sockets that were addressed, or the pattern of all of its
	Name      string

	Rooms, Except []string
	// Socket is the id of the socket whose others were addressed (by its To,
	// Broadcast and the like), or, if Direct, the one that it was emitted to.
	Socket string
	Direct bool

	Volatile     bool
	Local        bool
	Uncompressed bool // Compress(false)

	// Recipients are the ids of the sockets that it was sent to, each once. A client
	// that does not read may not have what is volatile.
	Recipients []string
}

// String shows all of it, for failures.
func (e Emit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v in %s", &Event{Args: e.Args, Name: e.Name}, e.Namespace)
	if len(e.Rooms) > 0 {
		fmt.Fprintf(&b, " to %q", e.Rooms)
	}
	if len(e.Except) > 0 {
		fmt.Fprintf(&b, " except %q", e.Except)
	}
	if e.Volatile {
		b.WriteString(" volatile")
	}
	fmt.Fprintf(&b, " for %d sockets", len(e.Recipients))
	return b.String()
}

// Reached tells whether the event was sent to these clients and to nobody else.
func (e Emit) Reached(clients ...*Client) bool {
	if len(clients) != len(e.Recipients) {
		return false
	}
	for _, c := range clients {
		if !slices.Contains(e.Recipients, c.ID()) {
			return false
		}
	}
	return true
}

// emitted is told of what the server emits.
func (s *Server) emitted(e *quiet.Emit) {
	s.told.Lock()
	defer s.told.Unlock()
	s.emits = append(s.emits, e)
}

// Emits returns what the server has emitted that ExpectEmit has not taken, oldest
// first, and takes it.
func (s *Server) Emits() []Emit {
	s.t.Helper()
	s.Settle()
	s.told.Lock()
	defer s.told.Unlock()
	var all []Emit
	for _, e := range s.emits {
		if e, sent := emitOf(e); sent {
			all = append(all, e)
		}
	}
	s.emits = nil
	return all
}

// ExpectEmit takes the first event of this name that the server has emitted and the
// test has not taken, whoever it reached, and decodes its arguments into dst.
func (s *Server) ExpectEmit(event string, dst ...any) Emit {
	s.t.Helper()
	s.Settle()
	s.told.Lock()
	var others []string
	for i, q := range s.emits {
		e, sent := emitOf(q)
		if !sent {
			continue
		}
		if e.Name == event {
			s.emits = append(s.emits[:i:i], s.emits[i+1:]...)
			s.told.Unlock()
			if err := e.Decode(dst...); err != nil {
				s.fatal("decoding %v: %v", e, err)
			}
			return e
		}
		others = append(others, e.String())
	}
	s.told.Unlock()
	s.fatal("waiting for the server to emit %q: it has emitted %s", event, cmp.Or(strings.Join(others, ", "), "nothing"))
	return Emit{}
}

func emitOf(q *quiet.Emit) (e Emit, sent bool) {
	e = Emit{Args: Args{q.Args, q.Attachments}, Namespace: q.Namespace, Name: q.Event, Rooms: q.Rooms, Except: q.Except,
		Socket: q.Socket, Direct: q.Direct, Volatile: q.Volatile, Local: q.Local, Uncompressed: q.Plain}
	e.Recipients, sent = q.Recipients()
	return e, sent
}
