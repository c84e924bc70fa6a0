package identity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A Revocation ends tokens before they expire.
type Revocation struct {
	// JTI is the id of the token that it ends. With it the other names are empty.
	JTI string `json:"jti,omitempty"`
	// User is whose tokens it ends; "", without JTI, is everybody's.
	User string `json:"user,omitempty"`
	// Before has it end tokens that were issued before that (iat), and those that do not
	// say when they were; of User alone zero is now. A time to come bars the user for as
	// long as the revocation is in force.
	Before time.Time `json:"before,omitzero"`
	// Until is how long it is in force: until the tokens that it ends have expired. Zero is
	// for as long as the setting auth.revocation_ttl says.
	Until time.Time `json:"until,omitzero"`
}

// ErrFull is returned by Revoke when as many revocations are in force as may be:
// auth.max_revocations.
var ErrFull = errors.New("identity: too many revocations are in force")

// A RevocationError says what is wrong with a revocation.
type RevocationError struct{ Err error }

// Error is for people.
func (e *RevocationError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *RevocationError) Unwrap() error { return e.Err }

const maxJTI = 512 // bytes

// checked returns r with its defaults, or tells what is wrong with it.
func (r Revocation) checked(now time.Time, ttl time.Duration) (Revocation, error) {
	switch {
	case r.JTI != "" && (r.User != "" || !r.Before.IsZero()):
		return r, errors.New("identity: a revocation of a token by its id has neither a user nor a time")
	case r.JTI == "" && r.User == "" && r.Before.IsZero():
		return r, errors.New("identity: a revocation names a token, a user or a time")
	case len(r.JTI) > maxJTI:
		return r, fmt.Errorf("identity: the id of a token has %d bytes at most", maxJTI)
	}
	if r.User != "" {
		if err := checkUser(r.User); err != nil {
			return r, fmt.Errorf("identity: the user %w", err)
		}
	}
	if r.Until.IsZero() {
		r.Until = now.Add(ttl)
	}
	if r.JTI == "" && r.Before.IsZero() {
		r.Before = now.Truncate(time.Second).Add(time.Second) // what was issued within this second too
	}
	if most := now.Add(mostLifetime); r.Until.After(most) || r.Before.After(most) {
		return r, errors.New("identity: a revocation is for ten years at most")
	}
	if !r.Until.After(now) {
		return r, errors.New("identity: a revocation ends before it begins")
	}
	return r, nil
}

// Revoke ends tokens, on all servers of the cluster, those of clients that are away too:
// sockets that have them are disconnected and stay down, and nobody is admitted by one
// any more. When it returns this server's sockets are told, and others have been asked to
// do the same. The error is a *RevocationError, ErrFull, or of the Keeper: then r is in force, but
// not for longer than servers live that know it.
func (a *Authority) Revoke(ctx context.Context, r Revocation) error {
	now := a.now()
	r, err := r.checked(now, a.v.Load().revocationTTL)
	if err != nil {
		return &RevocationError{err}
	}
	if !a.revoked.add(r, now) {
		return ErrFull
	}
	a.tell(r)
	err = a.retain(ctx, r)
	a.sweep()
	return err
}

// readRevoked reads those that are listed in the settings: they are in force as long as
// they are.
func (v *verifier) readRevoked(f *faults) {
	now := v.now()
	v.listed.most = len(v.auth.Revoked)
	for i, x := range v.auth.Revoked {
		key := fmt.Sprintf("auth.revoked[%d]", i)
		r := Revocation{JTI: x.JTI, User: x.User, Until: now.Add(mostLifetime)}
		if x.Before != "" {
			before, err := time.Parse(time.RFC3339, x.Before)
			if err != nil {
				f.add(key+".before", "%q is not a time such as 2026-01-31T12:00:00Z", x.Before)
				continue
			}
			r.Before = before
		} else if x.User != "" && x.JTI == "" {
			f.add(key, "says not when the tokens were issued: before must be set")
			continue
		}
		r, err := r.checked(now, mostLifetime)
		if err != nil {
			f.err(key, err)
			continue
		}
		v.listed.add(r, now)
	}
}

// isRevoked tells whether somebody's token is not believed any more.
func (a *Authority) isRevoked(id *Identity, now time.Time) bool {
	if a.revoked.has(id, now) || a.v.Load().listed.has(id, now) {
		return true
	}
	by := id.proven()
	return by != nil && by.User != id.User && a.isRevoked(by, now) // the token of another user than it was said to be
}

// OnRevoke sets what is called when something was revoked, here or on another server: for
// who remembers who clients are. It is set before the server serves, and must not block.
func (a *Authority) OnRevoke(f func()) { a.barred = f }

// sweep disconnects the sockets of this server whose tokens are revoked. One that is
// being admitted meanwhile is looked at by Connected.
func (a *Authority) sweep() {
	if a.barred != nil {
		a.barred()
	}
	a.pending.Store(true)
	a.sweeping.Lock()
	defer a.sweeping.Unlock()
	if a.srv == nil || !a.pending.Swap(false) { // another call has looked since
		return
	}
	for _, ns := range a.srv.Namespaces() {
		for _, s := range ns.All().Sockets() {
			if id := a.Of(s); id != nil && a.isRevoked(id, a.now()) {
				a.cast(s)
			}
		}
	}
}

// cast disconnects a client that must not come back by itself.
func (a *Authority) cast(s sio.Socket) {
	if s.Disconnect(sio.DisconnectOptions{Conn: true, Code: revokedCode, Reason: string(Revoked)}) == nil {
		a.count.cast.Add(1)
	}
}

// revocations are those in force.
type revocations struct {
	n atomic.Int64 // how many there are: most often none

	mu    sync.RWMutex
	most  int
	users map[string]bar
	ids   map[uint64]named
	all   bar
	full  int64 // that were not added
}

// A bar ends what was issued before a second, until another one.
type bar struct{ before, until int64 }

// A named is the id of a token, until a second.
type named struct {
	jti   string
	until int64
}

// over joins two bars into one that ends what either does.
func (b bar) over(c bar) bar { return bar{max(b.before, c.before), max(b.until, c.until)} }

func (b bar) ends(id *Identity, now int64) bool { return now < b.until && id.issued < b.before }

// bound says how many there may be.
func (l *revocations) bound(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
}

// has tells whether an Identity is revoked.
func (l *revocations) has(id *Identity, now time.Time) bool {
	if l.n.Load() == 0 {
		return false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	at := now.Unix()
	if l.all.ends(id, at) || l.users[id.User].ends(id, at) {
		return true
	}
	x, ok := l.ids[id.jti]
	return ok && id.jti != 0 && at < x.until
}

// add adds one that is checked. It is false if there are too many.
func (l *revocations) add(r Revocation, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.counted()
	if l.users == nil {
		l.users, l.ids = map[string]bar{}, map[uint64]named{}
	}
	id, b := hashID(r.JTI), bar{ceil(r.Before), ceil(r.Until)}
	_, user := l.users[r.User]
	_, token := l.ids[id]
	switch {
	case r.JTI == "" && r.User == "":
		if l.all.until <= now.Unix() {
			l.all = bar{}
		}
		l.all = l.all.over(b)
		return true
	case !user && !token && len(l.users)+len(l.ids) >= l.most && l.drop(now.Unix()) >= l.most:
		l.full++
		return false
	case r.JTI != "":
		l.ids[id] = named{strings.Clone(r.JTI), max(l.ids[id].until, b.until)}
	default:
		old := l.users[r.User]
		if old.until <= now.Unix() {
			old = bar{}
		}
		l.users[strings.Clone(r.User)] = old.over(b)
	}
	return true
}

// ceil is a moment as a second that is not before it.
func ceil(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return int64(math.Ceil(float64(t.UnixMilli()) / 1000))
}

// drop forgets those that are over, and returns how many are left. l.mu is held.
func (l *revocations) drop(now int64) int {
	for user, b := range l.users {
		if b.until <= now {
			delete(l.users, user)
		}
	}
	for id, x := range l.ids {
		if x.until <= now {
			delete(l.ids, id)
		}
	}
	if l.all.until <= now {
		l.all = bar{}
	}
	return len(l.users) + len(l.ids)
}

// counted notes how many there are. l.mu is held.
func (l *revocations) counted() {
	n := len(l.users) + len(l.ids)
	if l.all != (bar{}) {
		n++
	}
	l.n.Store(int64(n))
}

// inForce forgets what is over, and returns how many are left, and how many were refused.
func (l *revocations) inForce(now time.Time) (n, full int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(now.Unix())
	l.counted()
	return l.n.Load(), l.full
}

// name orders revocations, for other servers to ask for a part of them at a time.
func (r Revocation) name() string {
	switch {
	case r.JTI != "":
		return "j" + r.JTI
	case r.User != "":
		return "u" + r.User
	}
	return "a"
}

// list returns those in force behind a name, in order, at most n.
func (l *revocations) list(behind string, n int, now time.Time) (all []Revocation) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at := now.Unix()
	add := func(r Revocation, until int64) {
		if r.Until = time.Unix(until, 0); at < until && r.name() > behind {
			all = append(all, r)
		}
	}
	if l.all != (bar{}) {
		add(Revocation{Before: time.Unix(l.all.before, 0)}, l.all.until)
	}
	for user, b := range l.users {
		add(Revocation{User: user, Before: time.Unix(b.before, 0)}, b.until)
	}
	for _, x := range l.ids {
		add(Revocation{JTI: x.jti}, x.until)
	}
	slices.SortFunc(all, func(a, b Revocation) int { return strings.Compare(a.name(), b.name()) })
	return all[:min(len(all), n)]
}
