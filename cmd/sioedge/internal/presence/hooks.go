package presence

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// counted has the user that a socket counts as, while it is in rooms; uncounted those
// of its rooms in which it does not count.
var (
	counted   = sio.NewKey[string]()
	uncounted = sio.NewKey[map[string]bool]()
)

// as returns whom a socket counts as, the same from its first room on. Named: it is
// somebody's.
func (p *Presence) as(s sio.Socket) (user string, named bool) {
	if user, named = counted.Get(s); named {
		return user, true
	}
	if user = p.user(s); user == "" {
		return s.PublicID(), false
	}
	_ = counted.Set(s, user) // who has gone is told of nevertheless, and forgotten then
	return user, true
}

// joined is told by the namespace.
func (p *Presence) joined(g *guard, s sio.Socket, room string) {
	user, _ := p.as(s)
	at, recovered := place{s.Name(), room}, s.Recovered()
	resync := p.o.Resync && recovered && p.config(g).Enabled
	ok := len(user) <= maxUser
	p.do(func(time.Time) {
		switch {
		case p.closed:
		case !ok:
			p.refused++
		default:
			ok = p.v.join(g, at, user, recovered)
		}
		if resync && !p.closed {
			p.resync(s, at)
		}
	})
	if !ok {
		p.notice.Warn("members of rooms are not shown", "option", "MaxMembers", "bound", p.o.MaxMembers, "longest name", maxUser)
		rooms, _ := uncounted.Get(s)
		if rooms == nil {
			rooms = map[string]bool{}
		}
		rooms[room] = true
		_ = uncounted.Set(s, rooms)
	}
}

// left is told by the namespace.
func (p *Presence) left(g *guard, s sio.Socket, room string) {
	if rooms, ok := uncounted.Get(s); ok && rooms[room] {
		delete(rooms, room) // what happens to a socket is told one at a time
		return
	}
	user, named := p.as(s)
	d, recoverable := time.Duration(0), s.Recoverable() && p.o.Recovery > 0
	if named || s.Connected() { // else nobody can come back with the id
		d = p.config(g).Debounce
	}
	if recoverable {
		d = max(d, p.o.Recovery)
	}
	p.do(func(now time.Time) {
		if !p.closed {
			p.v.leave(place{s.Name(), room}, user, d, recoverable, now)
		}
	})
}

// heard is told by the other servers.
func (p *Presence) heard(from string, body json.RawMessage) (answer any, err error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	p.do(func(now time.Time) { err = p.v.hear(from, &m, now) })
	return nil, err
}

// get answers a client.
func (p *Presence) get(g *guard, s sio.Socket, m *sio.Msg) error {
	var room string
	if err := m.Decode(&room); err != nil || m.Len() != 1 {
		return m.Ack(refusal("the name of a room is missing", 400))
	}
	if !p.config(g).Enabled {
		return m.Ack(refusal("presence is off", 404))
	}
	if room == s.ID() || !m.In(room) {
		return m.Ack(refusal("forbidden", 403))
	}
	result := make(chan error, 1)
	p.Show(s.Name(), room, func(all []Member, n int) { result <- m.Ack(answer(room, all, n)) })
	return <-result
}

func refusal(text string, code int) any {
	return map[string]any{"error": text, "data": map[string]int{"code": code}}
}

func answer(room string, all []Member, n int) Answer {
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.User, b.User) })
	return Answer{OK: true, Room: room, Count: n, Members: all}
}

// resync tells a socket that has recovered who is in a room of its, or if they are
// many how many, so that its client asks. mu is held.
func (p *Presence) resync(s sio.Socket, at place) {
	all, n := p.v.list(at, maxResync)
	if n > maxResync {
		all = []Member{}
	}
	p.v.out = append(p.v.out, effect{call: func() { _ = s.Emit(List, answer(at.room, all, n)) }}) // it may have gone
}
