package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// An estate is what sockets have used up, for a successor: levels, each with how long ago
// that was.
type estate struct {
	Events  []string `cbor:"1,keyasint,omitempty"` // names
	Holders []byte   `cbor:"2,keyasint,omitempty"` // see appendHolder
}

// A seatForm is a seat.
type seatForm struct {
	User      string `cbor:"1,keyasint"`
	Namespace string `cbor:"2,keyasint,omitempty"` // ""; in all
}

// heirs are what a Limiter needs while it takes over what another one knows.
type heirs struct {
	spaces func() map[string]*sio.Namespace
	all    map[uint64]*holder // by the numbers of sockets that are to come; not changed
}

// Register has what clients have used up, and which connections users have, go along to
// another process. It is called before the server serves.
func (x *Limiter) Register(srv *sio.Server) {
	x.heirs.spaces = sync.OnceValue(func() map[string]*sio.Namespace {
		all := map[string]*sio.Namespace{}
		for _, ns := range srv.Namespaces() {
			all[ns.Name()] = ns
		}
		return all
	})
	sio.CarryConnKey(srv, "seats", x.users.key, encodeSeats, x.decodeSeats)
	srv.Carry(sio.Part{Name: "limit", Export: x.export, Import: x.inherit, Socket: x.came, Taken: func() { x.heirs.all = nil }})
}

func (x *Limiter) export() ([]byte, error) {
	var e estate
	now, names := x.clock(), map[string]uint64{}
	for i := range x.holders.parts {
		st := &x.holders.parts[i]
		st.mu.Lock()
		for _, h := range st.all {
			if now < h.full && !h.s.Gone() {
				e.Holders = h.append(e.Holders, now, func(event string) uint64 {
					n, ok := names[event]
					if !ok {
						n = uint64(len(e.Events))
						names[event] = n
						e.Events = append(e.Events, event)
					}
					return n
				})
			}
		}
		st.mu.Unlock()
	}
	return carried.Marshal(e)
}

// append appends the number of the holder's socket, for how many µs it is needed, and its
// buckets in use: how many there are, and of each its scope, twice, and 1 more if it is of
// an event, which follows; for how many µs it has been as it is, and its level.
func (h *holder) append(dst []byte, now int64, name func(string) uint64) []byte {
	dst = binary.AppendUvarint(dst, h.s.Number())
	dst = binary.AppendUvarint(dst, uint64(h.full-now))
	n := len(h.named)
	for i := range h.own {
		if h.own[i].used > 0 {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range h.own {
		if b := &h.own[i]; b.used > 0 {
			dst = b.append(binary.AppendUvarint(dst, uint64(i)*2), now)
		}
	}
	for i := range h.named {
		b := &h.named[i]
		dst = binary.AppendUvarint(dst, uint64(b.of)*2+1)
		dst = b.append(binary.AppendUvarint(dst, name(b.event)), now)
	}
	return dst
}

func (b *bucket) append(dst []byte, now int64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(max(now-b.at, 0))), uint64(max(b.used, 0)))
}

// mostLevel is more than a level can be, in parts, and mostTime than a time, in µs: what
// is reckoned from them fits.
const (
	mostLevel = 1 << 62
	mostTime  = 1 << 53
	mostNamed = 1 << 12 // events of a socket that have a rate of their own
)

var errEstate = errors.New("limit: that is no state of a limiter")

func (x *Limiter) inherit(p []byte) error {
	var e estate
	if err := carried.Unmarshal(p, &e); err != nil {
		return fmt.Errorf("%w: %w", errEstate, err)
	}
	now, all := x.clock(), map[uint64]*holder{}
	for p = e.Holders; len(p) > 0; {
		r := reader{p: p}
		number, h := r.holder(now, e.Events)
		if r.failed {
			return errEstate
		}
		all[number], p = h, r.p
	}
	x.heirs.all = all
	return nil
}

// A reader reads what holder.append has written.
type reader struct {
	p      []byte
	failed bool
}

// take takes a number that is most at most.
func (r *reader) take(most uint64) uint64 {
	n, size := binary.Uvarint(r.p)
	if size <= 0 || n > most {
		r.failed, r.p = true, nil
		return 0
	}
	r.p = r.p[size:]
	return n
}

func (r *reader) holder(now int64, events []string) (number uint64, h *holder) {
	number, h = r.take(math.MaxUint64), &holder{full: now + int64(r.take(mostTime))}
	for n := r.take(uint64(scopes) + mostNamed); n > 0 && !r.failed; n-- {
		of := r.take(2*uint64(scopes) - 1)
		var b *bucket
		if of%2 == 0 {
			b = &h.own[of/2]
		} else {
			i := r.take(math.MaxInt)
			if r.failed || i >= uint64(len(events)) {
				r.failed = true
				break
			}
			b = h.bucket(scope(of/2), []byte(events[i]))
		}
		b.at, b.used = now-int64(r.take(mostTime)), int64(r.take(mostLevel))
	}
	return number, h
}

// came gives a socket that has come what it had.
func (x *Limiter) came(s sio.Socket, _ []string) {
	h := x.heirs.all[s.Number()]
	if h == nil {
		return
	}
	h.s = s
	st := x.holders.lock(s)
	defer st.mu.Unlock()
	x.holders.add(st, h, x.clock())
}

func encodeSeats(seats []seat) ([]byte, error) {
	all := make([]seatForm, len(seats))
	for i, a := range seats {
		all[i].User = a.user
		if a.ns != nil {
			all[i].Namespace = a.ns.Name()
		}
	}
	return carried.Marshal(all)
}

// decodeSeats counts them, until the connection they are of has ended. Those of namespaces
// that there are not any more are nobody's.
func (x *Limiter) decodeSeats(p []byte) ([]seat, error) {
	var all []seatForm
	if err := carried.Unmarshal(p, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", errEstate, err)
	}
	seats := make([]seat, 0, len(all))
	for _, a := range all {
		ns := x.heirs.spaces()[a.Namespace]
		if a.User == "" {
			return nil, fmt.Errorf("%w: a seat of nobody", errEstate)
		}
		if ns != nil || a.Namespace == "" {
			seats = append(seats, seat{a.User, ns})
		}
	}
	x.users.mu.Lock()
	defer x.users.mu.Unlock()
	for _, a := range seats {
		x.users.taken[a]++
	}
	return seats, nil
}
