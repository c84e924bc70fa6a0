package packetlog

import (
	"hash/maphash"

	"github.com/sioedge/sioedge/rooms"
)

// A store has entries by place, in chunks that are used again: so appending neither
// moves what is kept nor makes garbage of it. Guarded by the Log's lock.
type store struct {
	first  uint64 // place of the oldest entry
	n      int
	chunks []*chunk // the first has the oldest entry
	offset int      // of that in it
	spare  *chunk
}

const chunkLen = 128

type chunk [chunkLen]entry

func (s *store) len() int     { return s.n }
func (s *store) last() uint64 { return s.first + uint64(s.n) - 1 }

// at returns the entry of a place that is kept.
func (s *store) at(place uint64) *entry {
	i := s.offset + int(place-s.first)
	return &s.chunks[i/chunkLen][i%chunkLen]
}

func (s *store) front() *entry { return &s.chunks[0][s.offset] }

func (s *store) push(e entry) *entry {
	i := s.offset + s.n
	if i/chunkLen == len(s.chunks) {
		c := s.spare
		if s.spare = nil; c == nil {
			c = new(chunk)
		}
		s.chunks = append(s.chunks, c)
	}
	s.n++
	x := &s.chunks[i/chunkLen][i%chunkLen]
	*x = e
	return x
}

// pop drops the oldest entry.
func (s *store) pop() {
	*s.front() = entry{}
	s.first++
	s.n--
	s.offset++
	switch {
	case s.n == 0:
		s.chunks, s.spare, s.offset = nil, nil, 0
	case s.offset == chunkLen:
		s.spare, s.offset = s.chunks[0], 0
		s.chunks[0] = nil
		s.chunks = s.chunks[1:]
	}
}

// Entries for one addressee are chained, from the last to the first. To find them
// again a fixed number of buckets has the last ones: addressees that share one have
// one chain, in which nobody takes what is not for it. So what leads to the entries
// takes the same however many rooms there are, and nothing has to be taken out.
type chained struct {
	bucket uint32
	prev   uint64
}

// An index has the chains. Guarded by the Log's lock.
type index struct {
	seed     maphash.Seed
	salt     uint64
	newest   []uint64 // by bucket
	excepted []uint64 // by bucket: the last event that is not for who is in a room
}

const (
	minBuckets    = 1 << 8
	maxBuckets    = 1 << 20
	bytesABucket  = 512 // of MaxBytes
	exceptBuckets = 4   // buckets for one of excepted
)

func newIndex(most int64) index {
	n := minBuckets
	for n < maxBuckets && int64(n)*bytesABucket < most {
		n *= 2
	}
	seed := maphash.MakeSeed()
	return index{seed, maphash.String(seed, ""), make([]uint64, n), make([]uint64, n/exceptBuckets)}
}

func (x *index) bucket(hash uint64) uint32 { return uint32(hash) & uint32(len(x.newest)-1) }

// ofAll, ofRoom and ofRef return the bucket of an addressee.
func (x *index) ofAll(name string) uint32 { return x.bucket(maphash.String(x.seed, name)) }

func (x *index) ofRoom(name, room string) uint32 {
	return x.bucket(maphash.String(x.seed, name)*3 + maphash.String(x.seed, room))
}

func (x *index) ofRef(ref rooms.Ref) uint32 {
	h := (uint64(ref) ^ x.salt) * 0x9e3779b97f4a7c15
	return x.bucket(h >> 32)
}

// last returns the last event for, or not for, those in a room, or one behind it.
func (x *index) last(name, room string) uint64 {
	b := x.ofRoom(name, room)
	return max(x.newest[b], x.excepted[b/exceptBuckets])
}

// chain makes the entry of a place the newest of a bucket's.
func (x *index) chain(b uint32, place uint64) chained {
	l := chained{b, x.newest[b]}
	x.newest[b] = place
	return l
}

// put puts the newest entry into the chains of those it is for.
func (x *index) put(place uint64, e *entry) {
	a := e.To
	switch {
	case a == nil && e.Ref != 0:
		e.link = x.chain(x.ofRef(e.Ref), place)
		return
	case a == nil && e.Room != "":
		e.link = x.chain(x.ofRoom(e.Name, e.Room), place)
		return
	case a == nil || a.All:
		e.link = x.chain(x.ofAll(e.Name), place)
	default:
		x.putAll(place, e)
	}
	for i := 0; a != nil && i < len(a.Except); i++ {
		x.excepted[x.ofRoom(e.Name, a.Except[i])/exceptBuckets] = place
	}
}

// putAll is put for an event to several rooms and sockets.
func (x *index) putAll(place uint64, e *entry) {
	a := e.To
	if n := len(a.Rooms) + len(a.Refs) - 1; n > 0 {
		a.links = make([]chained, 0, n)
	}
	add := func(i int, b uint32) {
		if i == 0 {
			e.link = x.chain(b, place)
		} else {
			a.links = append(a.links, x.chain(b, place))
		}
	}
	for i, room := range a.Rooms {
		add(i, x.ofRoom(e.Name, room))
	}
	for i, ref := range a.Refs {
		add(len(a.Rooms)+i, x.ofRef(ref))
	}
}

// before returns the place of the entry before e in the chain of a bucket.
func (e *entry) before(bucket uint32) uint64 {
	if e.link.bucket == bucket {
		return e.link.prev
	}
	for _, l := range e.To.links {
		if l.bucket == bucket {
			return l.prev
		}
	}
	panic("packetlog: an entry is in a chain that does not lead on")
}
