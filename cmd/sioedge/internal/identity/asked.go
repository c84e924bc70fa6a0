package identity

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// An Asking asks somebody who is believed, such as a backend, about a client: who it is by
// what it brought, nil for nobody, and the claims of the token that it brought for the
// socket itself, if it did: verified, JSON, otherwise nil. It may block. The error is a
// *sio.Error for the client, which is refused.
type Asking func(id *Identity, claims json.RawMessage) (Given, error)

// A Given is what somebody says of a client, beside what its token says. The zero value
// says nothing.
type Given struct {
	User    string    // who it is, also if the token has another; "": it was not said
	Expires time.Time // when that ends, unless the token ends sooner; zero: it was not said
	// Scope and Rooms are permissions, and rooms that may be joined, as a token names
	// them, and beside those. Nil: nothing was said.
	Scope, Rooms []string
}

// A given is a Given of which many have the same parts. Immutable.
type given struct {
	user    string
	expires time.Time
	grants  *grants // of scope and rooms; nil: nothing was said
}

// interned returns what was said for who keeps it; nil if nothing was.
func (a *Authority) interned(g Given) *given {
	if g.User == "" && g.Expires.IsZero() && g.Scope == nil && g.Rooms == nil {
		return nil
	}
	x := &given{user: strings.Clone(g.User), expires: g.Expires}
	if g.Scope != nil || g.Rooms != nil {
		x.grants = a.grants.of(&grants{scope: cloned(g.Scope), rooms: cloned(g.Rooms)})
	}
	return x
}

// cloned copies texts out of what they were read from.
func cloned(list []string) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = strings.Clone(s)
	}
	return all
}

// over returns g, and of what it does not say what old said.
func (g *given) over(old *given) *given {
	switch {
	case g == nil:
		return old
	case old == nil:
		return g
	}
	x := *g
	if x.user == "" {
		x.user = old.user
	}
	if x.expires.IsZero() {
		x.expires = old.expires
	}
	if x.grants == nil {
		x.grants = old.grants
	}
	return &x
}

// proven is who somebody is by what it brought; nil is nobody.
func (id *Identity) proven() *Identity {
	if id.given() != nil {
		return id.claims.by
	}
	return id
}

// given is what somebody said of it; nil is nothing.
func (id *Identity) given() *given {
	if id.claims == nil {
		return nil
	}
	return id.claims.given
}

// asked returns who a client is by what it brought and by what somebody said.
func (a *Authority) asked(v *verifier, s sio.Socket, need Need, by *Identity, g Given) (*Identity, *Refusal) {
	x := a.interned(g)
	if need == None {
		if x != nil {
			a.notices.Warn("a backend says who a client is, where auth is none: that is not looked at", "namespace", s.Namespace().Name())
		}
		return nil, nil
	}
	id, r := a.with(v, by, x, "")
	if r != nil {
		return nil, r
	}
	if need == Required && (id == nil || id.User == "") {
		return nil, refuse(BadUser, "namespaces[].auth", "the backend does not say who it is")
	}
	return id, nil
}

// with returns who somebody is by what it brought (nil: nobody) and what was said of it
// (nil: nothing); nil if that is nobody. User is who it is if neither says it.
func (a *Authority) with(v *verifier, by *Identity, g *given, user string) (*Identity, *Refusal) {
	if g == nil {
		return by, nil
	}
	id, all := &Identity{grants: noGrants, issued: a.now().Unix()}, &kept{by: by, given: g}
	if by != nil {
		*id = *by
		user = by.User
		if by.claims != nil {
			all.names, all.values = by.claims.names, by.claims.values
		}
	}
	id.User, id.claims = user, all
	if g.user != "" {
		if err := checkUser(g.user); err != nil {
			return nil, refuse(BadUser, "", "the backend's user %v", err)
		}
		id.User = g.user
	}
	if !g.expires.IsZero() && (id.expires == 0 || g.expires.Before(id.Expires())) {
		if id.expires = g.expires.UnixMilli(); !a.now().Before(g.expires) {
			return nil, refuse(Expired, "", "the backend says that it ended at %s", stamp(g.expires))
		}
	}
	if g.grants != nil {
		all := *id.grants
		all.scope, all.rooms = join(all.scope, g.grants.scope), join(all.rooms, g.grants.rooms)
		id.grants = v.grants.of(&all)
	}
	return id, a.checkRevoked(id, a.now())
}

// join returns what is in one of two lists.
func join(a, b []string) []string {
	all := slices.Clip(a)
	for _, x := range b {
		if !slices.Contains(a, x) {
			all = append(all, x)
		}
	}
	return all
}

// payload returns what a token says that is verified; nil of none.
func (v *verifier) payload(token string) json.RawMessage {
	if token == "" {
		return nil
	}
	_, body, _, r := v.split(token)
	if r != nil {
		return nil
	}
	tmp := scratches.Get().(*scratch)
	defer tmp.done()
	payload, r := tmp.object("payload", body)
	if r != nil {
		return nil
	}
	return bytes.Clone(payload)
}
