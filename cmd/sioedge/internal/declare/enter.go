package declare

import (
	"slices"
	"strconv"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/sio"
)

// needs are what an Authority is asked, by what is declared.
var needs = [...]identity.Need{needNone: identity.None, needOptional: identity.Optional, needRequired: identity.Required}

// admit lets a socket in, or refuses it: by who it is, by what a backend says, by its
// permissions, and by how many connections its user has. It is in the rooms of
// join_on_connect, and those of the backend, when its client is told.
func (sp *space) admit(s sio.Socket) error {
	r, p := sp.rules.Load(), sp.router.parts
	h := hearing{sp: sp, s: s, r: r}
	id, err := h.identity(p.Authority)
	if err == identity.ErrAnother {
		return nil // it is asked again, as a new one
	} else if err != nil {
		return err // which has been counted and logged
	}
	v := values{socket: s, names: sp.names}
	v.is(id)
	if why, key := r.refuses(s, &v, id); key != "" {
		return sp.refuseEntry(s, why, r.key+key, nil)
	}
	if p.Limiter != nil && id != nil {
		if err := p.Limiter.Enter(s, id.User, r.maxConns); err != nil {
			return err // likewise
		}
	}
	rooms, i, err := r.ownRooms(&v)
	if err != nil {
		return sp.refuseEntry(s, badValue, r.key+".join_on_connect["+strconv.Itoa(i)+"]", err)
	}
	return h.enter(rooms, id)
}

// refuses tells why a client may not be in the namespace, and by which key; "" is
// none.
func (r *rules) refuses(s sio.Socket, v *values, id *identity.Identity) (reason, string) {
	switch {
	case !id.MayEnter(s.Name()):
		return noEntry, ".auth"
	case !permitted(r.enter, v, id):
		return noPermission, ".allow_connect"
	}
	return 0, ""
}

// refuseEntry counts and logs that a socket was refused, and returns what its client is
// told.
func (sp *space) refuseEntry(s sio.Socket, why reason, declared string, err error) error {
	sp.count(s, why, "a client is refused: "+refusals[why].name, declared, err)
	return &sio.Error{Message: refusals[why].message, Data: details{Code: refusals[why].code}}
}

// ownRooms returns the rooms that each socket is in. Those that need a user or a claim
// are left out for who has none. The error is about the template with that number.
func (r *rules) ownRooms(v *values) (rooms []string, i int, err error) {
	for i, t := range r.rooms {
		name, err := t.name(v)
		if err == noUser {
			continue
		} else if err != nil {
			return nil, i, err
		}
		rooms = append(rooms, name)
	}
	return rooms, 0, nil
}

// name returns what t makes of values.
func (t *template) name(v *values) (string, error) {
	if t.fixed {
		return t.text, nil
	}
	var buf [maxValue]byte
	name, err := t.expand(buf[:0], v)
	return string(name), err
}

// stale is set of a socket whose token was replaced before it was admitted.
var stale = sio.NewKey[bool]()

// refreshed is called with a socket that has another token: it may be in other rooms
// then, or not in the namespace.
func (r *Router) refreshed(s sio.Socket) {
	r.mu.Lock()
	sp := r.byNamespace[s.Namespace()]
	r.mu.Unlock()
	if sp == nil {
		return // it is not declared
	}
	if err := stale.Set(s, true); err == nil && s.Connected() { // else connected looks
		sp.review(s)
		stale.Delete(s)
	}
}

// review has a socket be where its token lets it.
func (sp *space) review(s sio.Socket) {
	r, v := sp.rules.Load(), values{socket: s, names: sp.names}
	id := sp.who(s)
	v.is(id)
	if why, key := r.refuses(s, &v, id); key != "" {
		sp.count(s, why, "a client has to leave, with its new token: "+refusals[why].name, r.key+key, nil)
		_ = s.Disconnect(sio.DisconnectOptions{}) // or it has left
		return
	}
	sp.leaveLost(s, r, &v, id)
	rooms, _, err := r.ownRooms(&v)
	if err != nil {
		return // it is in none of them
	}
	if rooms = slices.DeleteFunc(rooms, s.In); len(rooms) == 0 {
		return
	}
	if err := sp.enterRooms(s, r, rooms...); err != nil {
		_ = sp.turnAway(s, err, r.key+".join_on_connect")
	}
}

// who returns who a socket is, nil for nobody.
func (sp *space) who(s sio.Socket) *identity.Identity {
	if a := sp.router.parts.Authority; a != nil {
		return a.Of(s)
	}
	return nil
}

// leaveLost takes a socket out of the rooms that rules can have put it in and would not
// any more, since its token is another one. Rooms that no rule has are those of
// somebody else, who emits to them.
func (sp *space) leaveLost(s sio.Socket, r *rules, v *values, id *identity.Identity) {
	var lost []string
	for _, name := range s.Rooms() {
		if name != s.ID() && !r.keeps(name, v, id) {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		sp.count(s, noRoom, "a client leaves rooms that its new token does not allow", r.key, nil)
		s.Leave(lost...)
	}
}

// keeps tells whether a socket may be in a room in which it is.
func (r *rules) keeps(name string, v *values, id *identity.Identity) bool {
	ruled := false
	for _, t := range r.rooms {
		if _, ok := t.parse(name); ok {
			ruled = true
			if own, err := t.name(v); err == nil && own == name {
				return true
			}
		}
	}
	for _, x := range r.joins {
		given, ok := x.rooms[0].parse(name)
		if !ok {
			continue
		}
		ruled = true
		w := *v
		w.given = given
		if again, _, err := x.room(x.rooms[0], &w, id); err == nil && again == name && permitted(x.require, &w, id) {
			return true
		}
	}
	return !ruled
}
