// Package identity says who a client is: by a signed token that it brought (JWT, RFC
// 7519), or by the fields of a request that a trusted proxy has set.
//
//	a, err := identity.New(settings, claims, identity.Options{Logger: log})
//	a.Options(&o)      // what recovery must ask, and how long a request is kept
//	srv, err := sio.New(o)
//	a.Register(srv)    // the clock, and how servers tell each other of revocations
//
//	ns.Use(func(s sio.Socket) error { _, err := a.Admit(s, identity.Required); return err })
//	ns.OnConnect(func(s sio.Socket) error { a.Connected(s); return nil })
//	ns.Handle(identity.RefreshEvent, a.Refresh)
//
// # How a token is judged
//
//	token ── bounded, split ── header ── key by alg and kid ── signature ── claims ── revoked? ── Identity
//	  ╰─ SHA-256 known: the Identity that it was, unless it has ended or is revoked ────────────────╯
//
// Nothing of a token but its header is read before a key has verified it. The key
// decides which algorithms may be used with it, never the token: a secret is for HS,
// an RSA key for RS and PS, a curve for its own ES (RFC 8725, 3.1). Keys that a token
// brings or names by a URL (jwk, jku, x5c, x5u) are not looked at.
//
// # When it ends
//
// A live socket has the deadline of its token (sio.Socket.ExpireAt): its client is told
// before, by auth:expiring, and may send a new token as auth:refresh; otherwise the
// connection is closed with 4401. A revoked token ends with a DISCONNECT of each
// namespace and 4403, so that the client stays down.
//
// The files answer:
//
//   - what a client brings, and what becomes of it: admit.go, refresh.go, header.go
//   - which tokens are believed: token.go, claims.go, with json.go below them
//   - by which keys: keys.go, jwks.go
//   - what an Identity may: grants.go
//   - what is revoked, here and on other servers: revoke.go, cluster.go
package identity
