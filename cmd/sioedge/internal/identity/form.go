package identity

import (
	"fmt"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
)

// A connForm is a conn as it travels to a successor. Its identities are idForms that are
// encoded already: many of them are the same.
type connForm struct {
	First   []byte       `cbor:"1,keyasint,omitempty"`
	Socket  []byte       `cbor:"2,keyasint,omitempty"` // by Socket.Pack
	Own     []byte       `cbor:"3,keyasint,omitempty"`
	Refused *refusalForm `cbor:"4,keyasint,omitempty"`
	More    []heldForm   `cbor:"5,keyasint,omitempty"`
	Tries   int32        `cbor:"6,keyasint,omitempty"`
	Since   int64        `cbor:"7,keyasint,omitempty"`
}

type heldForm struct {
	Socket []byte `cbor:"1,keyasint"`
	ID     []byte `cbor:"2,keyasint,omitempty"`
}

type refusalForm struct {
	Reason  string `cbor:"1,keyasint"`
	Detail  string `cbor:"2,keyasint,omitempty"`
	Setting string `cbor:"3,keyasint,omitempty"`
}

// An idForm is an Identity.
type idForm struct {
	User    string      `cbor:"1,keyasint,omitempty"`
	Expires int64       `cbor:"2,keyasint,omitempty"` // ms since 1970
	Issued  int64       `cbor:"3,keyasint,omitempty"` // Unix seconds
	JTI     uint64      `cbor:"4,keyasint,omitempty"` // hashed with estate.Key
	Grants  *grantsForm `cbor:"5,keyasint,omitempty"`
	Names   []string    `cbor:"6,keyasint,omitempty"` // of claims
	Values  []string    `cbor:"7,keyasint,omitempty"`
	By      *idForm     `cbor:"8,keyasint,omitempty"`
	Given   *givenForm  `cbor:"9,keyasint,omitempty"`
}

type grantsForm struct {
	Scope          []string `cbor:"1,keyasint,omitempty"`
	Rooms          []string `cbor:"2,keyasint,omitempty"`
	Namespaces     []string `cbor:"3,keyasint,omitempty"`
	Events         []string `cbor:"4,keyasint,omitempty"`
	SomeNamespaces bool     `cbor:"5,keyasint,omitempty"`
	SomeEvents     bool     `cbor:"6,keyasint,omitempty"`
}

type givenForm struct {
	User    string      `cbor:"1,keyasint,omitempty"`
	Expires int64       `cbor:"2,keyasint,omitempty"` // ms since 1970; 0: it was not said
	Grants  *grantsForm `cbor:"3,keyasint,omitempty"` // nil: nothing was said
}

// form encodes an Identity; nil is nobody.
func (id *Identity) form() []byte {
	if id == nil {
		return nil
	}
	p, err := carried.Marshal(id.asForm())
	if err != nil {
		panic("identity: " + err.Error()) // of texts and numbers
	}
	return p
}

func (id *Identity) asForm() *idForm {
	if id == nil {
		return nil
	}
	x := &idForm{User: id.User, Expires: id.expires, Issued: id.issued, JTI: id.jti}
	if id.grants != noGrants {
		x.Grants = id.grants.form()
	}
	if k := id.claims; k != nil {
		x.Names, x.Values, x.By = k.names, k.values, k.by.asForm()
		if g := k.given; g != nil {
			x.Given = &givenForm{User: g.user}
			if !g.expires.IsZero() {
				x.Given.Expires = g.expires.UnixMilli()
			}
			if g.grants != nil {
				x.Given.Grants = g.grants.form()
			}
		}
	}
	return x
}

func (g *grants) form() *grantsForm {
	return &grantsForm{g.scope, g.rooms, g.namespaces, g.events, g.someNamespaces, g.someEvents}
}

// identityOf returns the Identity that form has encoded, one for all that are the same.
func (a *Authority) identityOf(p []byte) (*Identity, error) {
	if len(p) == 0 {
		return nil, nil
	}
	a.heirs.mu.Lock()
	id := a.heirs.known[string(p)]
	a.heirs.mu.Unlock()
	if id != nil {
		return id, nil
	}
	var x idForm
	if err := carried.Unmarshal(p, &x); err != nil {
		return nil, fmt.Errorf("%w: %w", errEstate, err)
	}
	id, err := a.ofForm(&x, true)
	if err != nil {
		return nil, err
	}
	a.heirs.mu.Lock()
	defer a.heirs.mu.Unlock()
	if a.heirs.known == nil {
		a.heirs.known = map[string]*Identity{}
	}
	a.heirs.known[string(p)] = id
	return id, nil
}

// ofForm is the Identity of a form, and of who it was by what it brought if that may be.
func (a *Authority) ofForm(x *idForm, mayBy bool) (*Identity, error) {
	switch {
	case x.User != "" && checkUser(x.User) != nil, x.Expires < 0, x.Expires > 1000*lastSecond, x.Issued < -lastSecond, x.Issued > lastSecond:
		return nil, fmt.Errorf("%w: a user, or a time, that cannot be", errEstate)
	case len(x.Names) != len(x.Values), x.By != nil && !mayBy, x.Given == nil && x.By != nil:
		return nil, fmt.Errorf("%w: claims that cannot be", errEstate)
	}
	id := &Identity{User: x.User, expires: x.Expires, issued: x.Issued, jti: x.JTI, grants: a.grantsOf(x.Grants)}
	if len(x.Names) == 0 && x.Given == nil {
		return id, nil
	}
	k := &kept{names: x.Names, values: x.Values}
	if names := a.v.Load().names; slices.Equal(names, k.names) {
		k.names = names
	}
	if g := x.Given; g != nil {
		if g.Expires < 0 || g.Expires > 1000*lastSecond {
			return nil, fmt.Errorf("%w: a time that cannot be", errEstate)
		}
		k.given = &given{user: g.User}
		if g.Expires != 0 {
			k.given.expires = time.UnixMilli(g.Expires)
		}
		if g.Grants != nil {
			k.given.grants = a.grantsOf(g.Grants)
		}
		if x.By != nil {
			var err error
			if k.by, err = a.ofForm(x.By, false); err != nil {
				return nil, err
			}
		}
	}
	id.claims = k
	return id, nil
}

func (a *Authority) grantsOf(x *grantsForm) *grants {
	if x == nil {
		return noGrants
	}
	return a.grants.of(&grants{x.Scope, x.Rooms, x.Namespaces, x.Events, x.SomeNamespaces, x.SomeEvents})
}
