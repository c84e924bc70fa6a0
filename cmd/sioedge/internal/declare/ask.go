package declare

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/sio"
)

// A hearing is a backend asked about a client, by the rules of one moment.
type hearing struct {
	sp    *space
	s     sio.Socket
	r     *rules
	token json.RawMessage // that the client brings in place of another; nil: it connects
	said  *action.Result  // what the backend answered; nil: nothing that would matter
}

// identity returns who a client is that connects, nil for nobody, and asks the backend
// about it if that wants to be. The error is for the client; it has been counted and
// logged.
func (h *hearing) identity(a *identity.Authority) (id *identity.Identity, err error) {
	var ask identity.Asking
	if h.r.hooks.Has(action.Connect) {
		ask = h.ask
	}
	switch {
	case a != nil:
		return a.AdmitAsked(h.s, needs[h.r.need], ask)
	case ask != nil:
		_, err = ask(nil, nil)
	}
	return nil, err
}

// ask asks the backend. It is an identity.Asking. What a token does not let in is refused
// before.
func (h *hearing) ask(id *identity.Identity, claims json.RawMessage) (identity.Given, error) {
	sp, e := h.sp, h.sp.entry(h.s, h.r)
	if !id.MayEnter(e.Namespace) {
		return identity.Given{}, sp.refuseEntry(h.s, noEntry, h.r.key+".auth", nil)
	}
	b := sp.backend(h.r.backend)
	if b == nil { // a reload has taken it away, and the rules not yet
		return identity.Given{}, sp.turnAway(h.s, errNoBackend, h.r.key+".backend")
	}
	if id == nil && h.token != nil { // what it was before
		id = sp.who(h.s)
	}
	if id != nil {
		e.User = id.User
	}
	e.Claims, e.Recovered = claims, h.s.Recovered()
	var err error
	if h.token == nil {
		h.said, err = b.Connect(h.s, e)
	} else {
		h.said, err = b.Refresh(h.s, e, h.token)
	}
	if err != nil {
		why, what := unavailable, "a client is not let in: its backend does not answer"
		if errors.As(err, new(*sio.Error)) {
			why, what = unwanted, "a client is refused: by its backend"
		}
		sp.count(h.s, why, what, h.r.key+".backend", err)
		return identity.Given{}, err
	}
	if h.said == nil {
		return identity.Given{}, nil
	}
	return saidOf(h.said), nil
}

// saidOf is what a result says of who a client is.
func saidOf(x *action.Result) identity.Given {
	g := identity.Given{User: x.User, Scope: x.Scope, Rooms: x.Rooms}
	if x.ExpireAt != 0 {
		g.Expires = time.Unix(x.ExpireAt, 0)
	}
	return g
}

// errNoBackend is why something cannot be sent on.
var errNoBackend = errors.New("there is no such backend at this moment")

// backend returns a backend by its name, nil if there is none.
func (sp *space) backend(name string) action.Backend {
	if f := sp.router.parts.Backend; f != nil {
		return f(name)
	}
	return nil
}

// entry is what a backend is told of a socket, without who it is.
func (sp *space) entry(s sio.Socket, r *rules) action.Entry {
	return action.Entry{Namespace: s.Name(), Route: r.name.text, Params: sp.names}
}

// enter has a socket be in the rooms that it is in without a backend, and in those of the
// backend, and does what else that has said, if the application behind a bridge lets it in.
func (h *hearing) enter(rooms []string, id *identity.Identity) error {
	x := h.said
	if x != nil {
		x.Keep(h.s)
		for _, name := range x.Join {
			if !slices.Contains(rooms, name) {
				rooms = append(rooms, name)
			}
		}
		if h.r.maxRooms > 0 && len(rooms) > h.r.maxRooms {
			return h.sp.turnAway(h.s, sio.ErrTooManyRooms, h.r.key+".limits.max_rooms")
		}
	}
	if len(rooms) > 0 {
		if err := h.sp.enterRooms(h.s, h.r, rooms...); err != nil {
			return h.sp.turnAway(h.s, err, h.r.key+".join_on_connect")
		}
	}
	if err := h.cross(id); err != nil {
		return err
	}
	h.act()
	return nil
}

// act does the emits and actions of a result.
func (h *hearing) act() {
	if h.said == nil {
		return
	}
	if err := h.said.Act(h.sp.router.srv, h.s, nil); err != nil {
		h.sp.count(h.s, undone, "what a backend says of a client is not done, or not all", h.r.key+".backend", err)
	}
}

// refresh is the handler of identity.RefreshEvent: where the backend wants to be asked, a
// new token is one that it takes.
func (sp *space) refresh(s sio.Socket, m *sio.Msg) error {
	a, r := sp.router.parts.Authority, sp.rules.Load()
	if !r.hooks.Has(action.Refresh) {
		return a.Refresh(s, m)
	}
	h := hearing{sp: sp, s: s, r: r, token: m.Raw(0)}
	if h.token == nil {
		h.token = json.RawMessage("null")
	}
	answer, ok := a.Renew(s, h.token, h.ask)
	if ok && h.said != nil {
		x := h.said
		x.Keep(s)
		if err := sp.joinMore(s, r, x.Join); err != nil {
			sp.count(s, undone, "a client does not join the rooms of its backend", r.key+".backend", err)
		}
		h.act()
	}
	return m.Ack(answer)
}

// joinMore has a socket join rooms beside those that it is in.
func (sp *space) joinMore(s sio.Socket, r *rules, rooms []string) error {
	have := s.Rooms()
	more := slices.DeleteFunc(slices.Clone(rooms), func(name string) bool { return slices.Contains(have, name) })
	switch {
	case len(more) == 0:
		return nil
	case r.maxRooms > 0 && len(have)-1+len(more) > r.maxRooms: // its own is among them
		return sio.ErrTooManyRooms
	}
	return sp.enterRooms(s, r, more...)
}

// handOver sends an event on to a backend, which answers it.
func (sp *space) handOver(s sio.Socket, m *sio.Msg, x *rule, user string) error {
	b := sp.backend(x.backend)
	if b == nil {
		return sp.refuse(s, m, x, unavailable, "backend", errNoBackend)
	}
	e := sp.entry(s, sp.rules.Load())
	e.User = user
	if err := b.Event(s, m, e, action.EventOptions{Timeout: x.timeout}); err != nil {
		return sp.refuse(s, m, x, unavailable, "backend", err)
	}
	return nil
}
