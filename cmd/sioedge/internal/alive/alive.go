// Package alive knows which servers of a cluster are there, by what each of them says:
// one is known from its first message on, told by its run from one of its name before,
// and lost when it has been silent for too long. It has no clock and sends nothing.
package alive

import (
	"iter"
	"time"
)

// MaxPeers bounds the servers that are listened to.
const MaxPeers = 256

// A Set is of the other servers that one knows, with a T of each. Whoever has it locks
// it.
type Set[T any] struct {
	// Strangers counts messages of servers that are too many.
	Strangers int64

	peers map[string]*Peer[T]
}

// A Peer is another server.
type Peer[T any] struct {
	Run   int64     // when it began, greater than that of one of its name before
	Heard time.Time // the last time
	// Gone says that it has said that it ends, and has: what comes late of it is not
	// listened to. It is remembered until it has been silent for too long.
	Gone bool
	Of   T
}

// Hear notes that a server has said something. It is nil if that is not to be listened
// to: it is of a server that has gone, or that is one too many. Began says that it is a
// server of a new run, of which nothing is known, though Of is of the run before if there
// was one.
func (s *Set[T]) Hear(name string, run int64, now time.Time) (p *Peer[T], began bool) {
	p = s.peers[name]
	if p == nil {
		if len(s.peers) >= MaxPeers {
			s.Strangers++
			return nil, false
		}
		if s.peers == nil {
			s.peers = map[string]*Peer[T]{}
		}
		p = &Peer[T]{Run: run, Heard: now}
		s.peers[name] = p
		return p, true
	}
	switch {
	case run < p.Run, run == p.Run && p.Gone:
		return nil, false
	case run > p.Run:
		p.Run, p.Gone, began = run, false, true
	}
	p.Heard = now
	return p, began
}

// Silent yields the servers that have said nothing for so long. The loop may Forget them.
func (s *Set[T]) Silent(now time.Time, lost time.Duration) iter.Seq2[string, *Peer[T]] {
	return func(yield func(string, *Peer[T]) bool) {
		for name, p := range s.peers {
			if now.Sub(p.Heard) >= lost && !yield(name, p) {
				return
			}
		}
	}
}

// Forget forgets a server.
func (s *Set[T]) Forget(name string) { delete(s.peers, name) }

// Get returns the server of a name, nil if it is not known.
func (s *Set[T]) Get(name string) *Peer[T] { return s.peers[name] }

// All yields the servers that are known, those that have gone among them.
func (s *Set[T]) All() iter.Seq2[string, *Peer[T]] {
	return func(yield func(string, *Peer[T]) bool) {
		for name, p := range s.peers {
			if !yield(name, p) {
				return
			}
		}
	}
}

// Len returns how many All yields.
func (s *Set[T]) Len() int { return len(s.peers) }

// Isolated says that no other server can be heard at this moment, or hear: none is held
// to be lost for that.
func (s *Set[T]) Isolated(now time.Time) {
	for _, p := range s.peers {
		p.Heard = now
	}
}
