package identity

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sioedge/sioedge/sio"
)

const maxHeader = 8 << 10 // bytes of a field that says what may be done

// fromHeader returns who a trusted proxy says the client is; nil if it says nothing.
// The fields of anybody else are nobody's word.
func (a *Authority) fromHeader(v *verifier, s sio.Socket) (*Identity, *Refusal) {
	h := s.Handshake()
	header, c := h.Header(), v.auth.Header
	users := header.Values(c.User)
	if len(users) == 0 {
		return nil, nil
	}
	if !a.trusts(h.Peer().Addr()) {
		return nil, refuse(Untrusted, "trust_proxy", "%s came from %s, which is not trusted to say who a client is", c.User, h.Peer())
	}
	if len(users) > 1 {
		return nil, refuse(Malformed, "auth.header.user", "there is more than one %s", c.User)
	}
	if err := checkUser(users[0]); err != nil {
		return nil, refuse(BadUser, "auth.header.user", "%s %v", c.User, err)
	}
	id := &Identity{User: strings.Clone(users[0]), issued: v.now().Unix()}
	g := &grants{}
	for _, x := range []struct {
		setting, name string
		to            *[]string
	}{{"auth.header.scope", c.Scope, &g.scope}, {"auth.header.rooms", c.Rooms, &g.rooms}} {
		if x.name == "" {
			continue
		}
		values := header.Values(x.name)
		switch {
		case len(values) == 0:
			continue
		case len(values) > 1:
			return nil, refuse(Malformed, x.setting, "there is more than one %s", x.name)
		case len(values[0]) > maxHeader:
			return nil, refuse(Malformed, x.setting, "%s has %d bytes, there may be %d", x.name, len(values[0]), maxHeader)
		case !utf8.ValidString(values[0]) || strings.ContainsFunc(values[0], unicode.IsControl):
			return nil, refuse(Malformed, x.setting, "%s has control characters", x.name)
		}
		*x.to = strings.Fields(strings.Clone(values[0]))
	}
	id.grants = v.grants.of(g)
	return id, nil
}

// trusts tells whether the other end of a connection is a proxy that is believed.
func (a *Authority) trusts(peer netip.Addr) bool {
	return a.o.Trusts != nil && a.o.Trusts(peer)
}
