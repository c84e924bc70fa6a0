package identity

import (
	"context"
	"strings"
)

// An Explanation says what is known of a token.
type Explanation struct {
	Identity *Identity // whose it is; nil if it is not believed
	Refusal  *Refusal  // why it is not; nil if it is

	Algorithm string // that it says; "" if it has not come to that
	Key       string // what has verified it; "" if nothing has
	// Header and Claims are JSON, nil if they are not that: the claims too if nothing has
	// verified them.
	Header, Claims []byte
}

// Explain judges a token, whatever is remembered of it, and says what was found. It may
// wait for keys, or for ctx.
func (a *Authority) Explain(ctx context.Context, token string) Explanation {
	v := a.v.Load()
	s := &scratch{}
	j, r := v.judge(ctx, token, s)
	if r == nil {
		r = a.checkRevoked(j.id, a.now())
	}
	x := Explanation{Refusal: r, Algorithm: j.alg, Header: j.header, Claims: j.payload}
	if j.by != nil {
		x.Key = j.by.name()
	}
	if r == nil {
		x.Identity = j.id
	}
	if parts := strings.Split(token, "."); x.Claims == nil && len(token) <= v.maxToken && len(parts) == 3 {
		x.Claims, _ = s.object("payload", parts[1])
	}
	return x
}
