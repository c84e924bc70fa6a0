package limit

import (
	"slices"
	"sync"

	"github.com/sioedge/sioedge/sio"
)

// users counts the connections of each user.
type users struct {
	key sio.ConnKey[[]seat] // those that a connection has

	mu    sync.Mutex // held for one look
	taken map[seat]int
}

// A seat is what a connection of a user takes: one of all that the user may have, or
// one of those that it may have in a namespace, with all its instances.
type seat struct {
	user string
	ns   *sio.Namespace // nil: in all
}

func (u *users) init() {
	u.key, u.taken = sio.NewConnKey[[]seat](), map[seat]int{}
	u.key.OnEnd(u.leave)
}

var errTooMany = &sio.Error{Message: "too many connections", Data: map[string]int{"code": 429}}

// Enter counts the connection of a socket as one of a user's, until it has ended. The
// socket's middleware asks, or OnConnect of one that was recovered; a connection counts
// once, however often that is, and in however many namespaces. The error, for the client,
// is that the user has as many connections to this server as limits.max_conns_per_user
// allows, or most in the socket's namespace (0: any number); or [sio.ErrClosed]. Who is
// nobody, "", is not counted, and neither is anybody while there is no bound.
func (x *Limiter) Enter(s sio.Socket, user string, most int) error {
	all := x.global.Load().perUser
	if user == "" || all <= 0 && most <= 0 {
		return nil
	}
	u := &x.users
	u.mu.Lock()
	defer u.mu.Unlock()
	before, _ := u.key.Get(s)
	seats := slices.Clip(before)
	for _, want := range []struct {
		seat
		most int
	}{{seat{user, nil}, all}, {seat{user, s.Namespace()}, most}} {
		if want.most <= 0 || slices.Contains(before, want.seat) {
			continue
		}
		if u.taken[want.seat] >= want.most {
			x.refused(want.seat, want.most)
			return errTooMany
		}
		seats = append(seats, want.seat)
	}
	if len(seats) == len(before) {
		return nil
	}
	if err := u.key.Set(s, seats); err != nil {
		return err
	}
	for _, a := range seats[len(before):] {
		u.taken[a]++
	}
	return nil
}

// leave gives back what a connection had.
func (u *users) leave(seats []seat) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range seats {
		if u.taken[a]--; u.taken[a] <= 0 {
			delete(u.taken, a)
		}
	}
	if len(u.taken) == 0 {
		u.taken = map[seat]int{} // a map never gets smaller
	}
}

// refused counts, and says in the log, that a user may have no more.
func (x *Limiter) refused(a seat, most int) {
	if a.ns == nil {
		x.tally.users.Add(1)
		x.notice.Warn("a user has too many connections", "key", "limits.max_conns_per_user", "flag", "--max-conns-per-user", "most", most, "user", a.user)
		return
	}
	x.tally.nsUsers.Add(1)
	x.notice.Warn("a user has too many connections to a namespace", "key", "namespaces[].limits.max_conns_per_user", "most", most, "namespace", a.ns.Name(), "user", a.user)
}
