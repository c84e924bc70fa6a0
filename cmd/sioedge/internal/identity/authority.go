package identity

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Options are what an Authority needs beside its settings. The zero value is that of a
// server alone.
type Options struct {
	// Logger gets what an operator should know. Nil means slog.Default().
	Logger *slog.Logger
	// Trusts tells whether the other end of a connection is a proxy whose word counts: of
	// a Unix socket it is asked for the zero Addr. Nil: nobody is.
	Trusts func(peer netip.Addr) bool
	// Cluster says that the server has an adapter: revocations are told to the others, and
	// asked from them.
	Cluster bool
	// Keeper keeps revocations beyond the life of all servers. Nil: they live as long as
	// one server that knows them.
	Keeper Keeper
	// Idle has no keys fetched, for who wants to know whether settings are right.
	Idle bool
}

// An Authority says who clients are. Any goroutine may use it.
type Authority struct {
	// Immutable after New, and after Register.
	o       Options
	notices *notice.Log
	key     sio.ConnKey[*conn]
	srv     *sio.Server    // nil before Register
	link    *peerlink.Link // nil if the server is alone
	ctx     context.Context
	end     context.CancelFunc
	ended   sync.WaitGroup
	begin   sync.Mutex // held while end is called, and while something is added to ended

	atWarning, atEnd func(sio.Socket) // warn and expire: one value for all sockets
	changed          func(sio.Socket) // see OnRefresh; nil: nothing
	barred           func()           // see OnRevoke; nil: nothing

	v       atomic.Pointer[verifier]
	epoch   atomic.Uint64 // of the keys: what was verified in another one counts no more
	grants  interned
	revoked revocations
	count   counts

	making   [64]sync.Mutex // by connection: while its conn is made
	reload   sync.Mutex     // held by Reload
	sweeping sync.Mutex     // held while sockets are looked at
	pending  atomic.Bool    // there is something to sweep for

	heirs  heirs         // of a successor, until it serves
	serves chan struct{} // closed when it does; nil: it is none
}

// New returns an Authority. Claims are those that templates use: their names, or with
// dots between, paths. The error joins *config.Fault of all that is wrong with the
// settings. Keys that a server publishes are fetched in the background, until Close.
func New(auth config.Auth, claims []string, o Options) (*Authority, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &Authority{o: o, notices: notice.New(o.Logger, 0), key: sio.NewConnKey[*conn]()}
	a.atWarning, a.atEnd = a.warn, a.expire
	a.ctx, a.end = context.WithCancel(context.Background())
	v, err := a.build(auth, claims, nil)
	if err != nil {
		a.end()
		return nil, err
	}
	a.use(v)
	return a, nil
}

// use has a verifier judge from now on.
func (a *Authority) use(v *verifier) {
	a.v.Store(v)
	a.epoch.Add(1)
	a.revoked.bound(v.maxRevocations)
}

// now is the time by which tokens are judged: the server's.
func (a *Authority) now() time.Time {
	if a.srv != nil {
		return a.srv.Now()
	}
	return time.Now()
}

// Options sets what a server must be told before it is made: with recovery, who comes
// back goes through the middlewares again, and must be who it was; and a request is kept
// for the first namespace that its connection joins, since what it proved is kept.
func (a *Authority) Options(o *sio.Options) {
	if o.KeepHandshake == sio.KeepUntilJoined {
		o.KeepHandshake = sio.KeepForFirst
	}
	if o.Recovery.Window > 0 {
		o.Recovery.RunMiddlewares = true
		o.Recovery.Identity = a.claimed
	}
}

// Register gives the Authority its server, before Serve: its clock counts from then on.
// In a cluster, others are heard and asked.
func (a *Authority) Register(srv *sio.Server) {
	a.srv = srv
	a.carry()
	if !a.o.Cluster {
		return
	}
	a.link = peerlink.New(srv, a.o.Logger)
	a.listen()
	a.start(a.keepUp)
}

// start has f run on a goroutine that Close waits for, unless Close was called.
func (a *Authority) start(f func()) {
	a.begin.Lock()
	defer a.begin.Unlock()
	if a.ctx.Err() == nil {
		a.ended.Go(f) // ends with f
	}
}

// Reload has other settings count for whoever connects from now on; who is there stays
// until the end of what it came with, unless that is listed as revoked now. The error is as of New, and all stays as it was.
func (a *Authority) Reload(auth config.Auth, claims []string) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	old := a.v.Load()
	v, err := a.build(auth, claims, old)
	if err != nil {
		return err
	}
	a.use(v)
	a.sweep() // for what is listed now
	if old.jwks != nil && old.jwks != v.jwks {
		old.jwks.close()
	}
	return nil
}

// Close ends what New and Register have begun. The error is that of ctx.
func (a *Authority) Close(ctx context.Context) error {
	a.begin.Lock()
	a.end()
	a.begin.Unlock()
	done := make(chan struct{})
	// ends when what runs has
	go func() {
		defer close(done)
		a.reload.Lock()
		defer a.reload.Unlock()
		if j := a.v.Load().jwks; j != nil {
			j.close()
		}
		a.ended.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Verify tells whose a token is. It may wait for keys, or for ctx. The error is a
// *Refusal.
func (a *Authority) Verify(ctx context.Context, token string) (*Identity, error) {
	id, r := a.verify(ctx, a.v.Load(), token)
	if r != nil {
		return nil, r
	}
	return id, nil
}

// verify is Verify by the settings of one moment.
func (a *Authority) verify(ctx context.Context, v *verifier, token string) (*Identity, *Refusal) {
	if len(token) > v.maxToken { // nothing is done with it, not even a sum
		_, _, _, r := v.split(token)
		return nil, r
	}
	sum, epoch, now := sumToken(token), a.epoch.Load(), a.now()
	if id := v.cache.get(sum, epoch, now); id != nil {
		a.count.cached.Add(1)
		return id, a.checkRevoked(id, now)
	}
	tmp := scratches.Get().(*scratch)
	defer tmp.done()
	j, r := v.judge(ctx, token, tmp)
	if r != nil {
		return nil, r
	}
	a.count.verified.Add(1)
	id := j.id
	if r := a.checkRevoked(id, now); r != nil {
		return nil, r
	}
	var end int64
	if !id.Expires().IsZero() {
		end = id.Expires().Add(v.auth.JWT.Leeway).Unix()
		if left := id.Expires().Sub(now); left > v.revocationTTL {
			a.notices.Warn("a token lives longer than revocations do, which are forgotten before it ends", "setting", "auth.revocation_ttl", "revocation_ttl", v.revocationTTL, "left", left)
		}
	}
	v.cache.put(sum, epoch, id, end, now)
	return id, nil
}

// checkRevoked tells whether an Identity was revoked.
func (a *Authority) checkRevoked(id *Identity, now time.Time) *Refusal {
	if a.isRevoked(id, now) {
		return refuse(Revoked, "", "it is of user %s, and was revoked", quote(id.User))
	}
	return nil
}

// checkStill tells whether an Identity that was verified before has ended since.
func (a *Authority) checkStill(v *verifier, id *Identity) *Refusal {
	now := a.now()
	if !id.Expires().IsZero() && v.expires && !now.Before(id.Expires().Add(v.auth.JWT.Leeway)) {
		return refuse(Expired, "", "what the connection brought ended at %s", stamp(id.Expires()))
	}
	return a.checkRevoked(id, now)
}
