package identity

import (
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
)

// counts are what Stats tells.
type counts struct {
	admitted, anonymous, cached, verified atomic.Int64
	refreshed, warned, expired, cast      atomic.Int64
	refusals                              [len(reasons)]atomic.Int64
}

// refuse counts a refusal.
func (c *counts) refuse(why Reason) {
	for i, r := range reasons {
		if r == why {
			c.refusals[i].Add(1)
		}
	}
}

// Stats are counts since the start, and gauges, which say so: what there is now.
type Stats struct {
	Admitted  int64            // sockets of somebody
	Anonymous int64            // sockets of nobody, where that may be
	Refused   map[Reason]int64 // sockets, and new tokens of live ones
	Verified  int64            // tokens, by a key
	Cached    int64            // tokens that had been verified before

	Refreshed int64 // new tokens of live sockets
	Warned    int64 // sockets that were told that their token ends
	Expired   int64 // connections closed since it did
	Cast      int64 // sockets disconnected since their token was revoked

	Revocations     int64 // a gauge: in force
	RevocationsFull int64 // that are not in force, since there were too many

	CacheEntries int   // a gauge
	CacheBytes   int64 // a gauge, about

	Keys        int       // a gauge: of the JWKS server
	KeysSince   time.Time // when it was last asked with success
	JWKSFetched int64     // answers of it
	JWKSFailed  int64     // requests without one that is any good

	Peers peerlink.Stats // of other servers
}

// Stats returns the counts.
func (a *Authority) Stats() Stats {
	c, v := &a.count, a.v.Load()
	s := Stats{
		Admitted: c.admitted.Load(), Anonymous: c.anonymous.Load(), Refused: map[Reason]int64{}, Verified: c.verified.Load(), Cached: c.cached.Load(),
		Refreshed: c.refreshed.Load(), Warned: c.warned.Load(), Expired: c.expired.Load(), Cast: c.cast.Load(),
	}
	for i, r := range reasons {
		if n := c.refusals[i].Load(); n > 0 {
			s.Refused[r] = n
		}
	}
	s.Revocations, s.RevocationsFull = a.revoked.inForce(a.now())
	s.CacheEntries, s.CacheBytes = v.cache.held()
	if j := v.jwks; j != nil {
		if set := j.set.Load(); set != nil {
			s.Keys = len(set.keys)
		}
		j.mu.Lock()
		s.KeysSince = j.since
		j.mu.Unlock()
		s.JWKSFetched, s.JWKSFailed = j.fetched.Load(), j.failed.Load()
	}
	if a.link != nil {
		s.Peers = a.link.Stats()
	}
	return s
}
