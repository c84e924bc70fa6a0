package admin

import (
	"context"
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// Logins bounds passwords that are tried, at the page or elsewhere: of one address and of
// all, and how many are compared at a time. Any goroutine may use it.
type Logins struct {
	x   attempts
	now func() time.Time
}

// NewLogins returns a Logins that nobody has tried.
func NewLogins() *Logins {
	l := &Logins{now: time.Now}
	l.x.init()
	return l
}

// Password tells whether a user and a password are those of s, which has one, or how long to
// wait: then they were not looked at. It takes about 100 ms, and until ctx is done at most.
func (l *Logins) Password(ctx context.Context, addr netip.Addr, s config.Admin, user, password string) (right bool, wait time.Duration) {
	if wait := l.Failed(addr); wait > 0 { // else it is taken back
		return false, wait
	}
	if len(password) > maxPassword {
		return false, 0
	}
	same, ok := l.x.compare(ctx, s.Password, password)
	if !ok {
		return false, attemptEvery
	}
	given, want := digestOf(user), digestOf(s.User)
	if subtle.ConstantTimeCompare(given[:], want[:])&same != 1 {
		return false, 0
	}
	l.x.forgive(networkOf(addr))
	return true, 0
}

// Failed counts a login of an address that has failed, and returns how long it has to
// wait, 0 if it was not one too many.
func (l *Logins) Failed(addr netip.Addr) (wait time.Duration) {
	return l.x.fail(networkOf(addr), l.now())
}
