package limit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A bucket is how much of a burst is used up, in parts of a token: there are so many in
// one that any rate gives back a whole number of them each microsecond. So nothing is
// ever rounded, and a bucket can go on with another rate.
type bucket struct {
	at   int64 // µs on the limiter's clock: used is of then
	used int64
}

const parts = int64(time.Hour / time.Microsecond) // in a token

// maxCost bounds what one event can cost, in tokens, so that sums fit.
const maxCost = 1 << 28

// speed is how many parts come back in a microsecond.
func (r *Rate) speed() int64 { return r.N * int64(time.Hour/r.Per) }

// now brings a bucket to the present.
func (b *bucket) now(r *Rate, now int64) {
	if gone := now - b.at; b.used > 0 && gone > 0 {
		if gone >= wait(b.used, r.speed()) {
			b.used = 0
		} else {
			b.used -= gone * r.speed()
		}
	}
	b.at = now
}

// over returns by how many parts a bucket of the present would be over its burst with a
// number of tokens more; zero or less: there is room.
func (b *bucket) over(r *Rate, tokens int64) int64 { return b.used + tokens*parts - r.Burst*parts }

// wait is how many microseconds it takes until so many parts have come back.
func wait(used, speed int64) int64 { return (used + speed - 1) / speed }

// A holder is what there is of a socket that has used up something, until that has come
// back. It is guarded by its store.
type holder struct {
	s     sio.Socket
	full  int64 // µs: when all of it has come back
	own   [scopes]bucket
	named []named // of events that have a rate of their own
}

// A named bucket is of a declared event; what clients invent has none.
type named struct {
	of    scope
	event string
	bucket
}

// bucket returns one of the holder's, made if needed.
func (h *holder) bucket(of scope, event []byte) *bucket {
	if event == nil {
		return &h.own[of]
	}
	for i := range h.named {
		if n := &h.named[i]; n.of == of && n.event == string(event) {
			return &n.bucket
		}
	}
	h.named = append(h.named, named{of: of, event: string(event)})
	return &h.named[len(h.named)-1].bucket
}

// stores is how many parts the holders are kept in, each with a lock of its own.
const stores = 64

// A store keeps holders. Those of sockets whose buckets are full again, or that are
// gone, are taken out: a few whenever another comes, so that they are never many more
// than are needed, and all of them by sweep.
type store struct {
	mu   sync.Mutex // held for one look
	at   map[sio.Socket]int32
	all  []*holder
	look int // where in all to look next
}

type holders struct {
	seed  maphash.Seed
	parts [stores]store
	count atomic.Int64
	armed atomic.Bool // sweep will be called
	clock func() int64
}

func (x *holders) init(clock func() int64) { x.seed, x.clock = maphash.MakeSeed(), clock }

// lock returns the store of a socket, locked.
func (x *holders) lock(s sio.Socket) *store {
	st := &x.parts[maphash.Comparable(x.seed, s)%stores]
	st.mu.Lock()
	return st
}

// find returns a socket's holder, nil if it has none.
func (st *store) find(s sio.Socket) *holder {
	if i, ok := st.at[s]; ok {
		return st.all[i]
	}
	return nil
}

// looks is how many holders are looked at when one comes.
const looks = 4

// add keeps a new holder.
func (x *holders) add(st *store, h *holder, now int64) {
	for range min(looks, len(st.all)) {
		if st.look++; st.look >= len(st.all) {
			st.look = 0
		}
		x.drop(st, st.look, now)
	}
	if st.at == nil {
		st.at = map[sio.Socket]int32{}
	}
	st.at[h.s] = int32(len(st.all))
	st.all = append(st.all, h)
	x.count.Add(1)
	if !x.armed.Swap(true) {
		time.AfterFunc(sweepEvery, x.sweepAll)
	}
}

// drop takes the holder at i out, if nobody needs it any more.
func (x *holders) drop(st *store, i int, now int64) {
	if i >= len(st.all) {
		return
	}
	h := st.all[i]
	if now < h.full && !h.s.Gone() {
		return
	}
	last := len(st.all) - 1
	delete(st.at, h.s)
	if st.all[i] = st.all[last]; i != last {
		st.at[st.all[i].s] = int32(i)
	}
	st.all[last] = nil
	if st.all = st.all[:last]; last == 0 {
		st.at, st.all, st.look = nil, nil, 0 // a map never gets smaller
	}
	x.count.Add(-1)
}

const (
	sweepEvery = 2 * time.Second // by the machine's clock
	sweepStep  = 1024            // holders that are looked at with a store locked
)

// sweepAll is sweep for the timer, which there is as long as there are holders.
func (x *holders) sweepAll() {
	x.sweep(x.clock())
	x.armed.Store(false)
	if x.count.Load() > 0 && !x.armed.Swap(true) {
		time.AfterFunc(sweepEvery, x.sweepAll)
	}
}

// sweep takes out all holders that nobody needs any more.
func (x *holders) sweep(now int64) {
	for i := range x.parts {
		st := &x.parts[i]
		for next := x.sweepFrom(st, -1, now); next > 0; {
			next = x.sweepFrom(st, next, now)
		}
	}
}

// sweepFrom looks at some holders of a store, from those before a place on down to the
// first; -1: from the last. It returns where to go on.
func (x *holders) sweepFrom(st *store, before int, now int64) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	if before < 0 || before > len(st.all) {
		before = len(st.all)
	}
	i := before
	for ; i > 0 && before-i < sweepStep; i-- {
		x.drop(st, i-1, now)
	}
	return i
}
