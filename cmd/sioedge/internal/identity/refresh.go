package identity

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// What is said in band, of tokens of live sockets.
const (
	ExpiringEvent = "auth:expiring" // to clients: {"expires": Unix seconds}
	RefreshEvent  = "auth:refresh"  // of clients: a new token
)

const (
	tokenExpired = "token expired" // why a connection is closed, with sio.ExpiredCode
	revokedCode  = 4403

	triesEvery = time.Minute
	fewTries   = 5 // new tokens of a connection in that time, and two more a socket
)

// Expiring is the argument of ExpiringEvent.
type Expiring struct {
	Expires int64 `json:"expires"` // Unix seconds
}

// arm sets a socket's deadline: that of its warning, and then that of its end. Where less
// is left than the warning's time, it comes when half of that has passed.
func (a *Authority) arm(s sio.Socket, id *Identity) {
	v, now := a.v.Load(), a.now()
	end := v.end(id, now)
	if end.IsZero() {
		s.ExpireAt(time.Time{}, nil)
		return
	}
	grace := v.auth.JWT.Grace
	if grace <= 0 {
		s.ExpireAt(end, a.atEnd)
		return
	}
	warning := end.Add(-grace)
	if half := now.Add(end.Sub(now) / 2); warning.Before(half) && half.Before(end) {
		warning = half
	}
	s.ExpireAt(warning, a.atWarning)
}

// warn tells a client that its token is about to end, unless it has brought another.
func (a *Authority) warn(s sio.Socket) {
	id := a.Of(s)
	if id == nil {
		return
	}
	v, now := a.v.Load(), a.now()
	end := v.end(id, now)
	if end.IsZero() || now.Before(end.Add(-v.auth.JWT.Grace)) {
		a.arm(s, id)
		return
	}
	a.count.warned.Add(1)
	_ = s.Emit(ExpiringEvent, Expiring{id.Expires().Unix()}) // it has left, or gets it
	s.ExpireAt(end, a.atEnd)
}

// expire ends a socket's connection with its token, unless it has brought another.
func (a *Authority) expire(s sio.Socket) {
	id := a.Of(s)
	if id == nil {
		return
	}
	v, now := a.v.Load(), a.now()
	if id.Expires().IsZero() || now.Before(id.Expires()) {
		a.arm(s, id)
		return
	}
	if !v.expires { // since the settings are others
		return
	}
	a.count.expired.Add(1)
	_ = s.CloseConnWith(sio.ExpiredCode, tokenExpired) // it has left, or hears it
}

// Refresh is the handler of RefreshEvent: it takes a new token, of the same user, in
// place of the one that a socket has. All sockets of the connection that are that user
// have it then. The client is answered {"ok": true, "expires": Unix seconds, or null}, or
// {"error": "unauthorized", "data": {"code", "reason"}}, which ends nothing: the old token
// lasts as long as it would have. The error is that of the answer.
func (a *Authority) Refresh(s sio.Socket, m *sio.Msg) error {
	answer, _ := a.Renew(s, m.Raw(0), nil)
	return m.Ack(answer)
}

// Renew is Refresh of a token, JSON, that returns what the client is to be answered, and
// whether the token is a good one. Ask is called with who it is of, and what that says
// counts too, of this socket: see Asking. What it does not say stays as it was said
// before. Nil has nobody asked. Where clients bring no tokens that keys verify, it may be
// any JSON, and ask says of whom.
func (a *Authority) Renew(s sio.Socket, token json.RawMessage, ask Asking) (answer any, ok bool) {
	id, r, err := a.refresh(s, token, ask)
	if r != nil {
		a.count.refuse(r.Reason)
		a.notices.Info("a new token is refused: "+string(r.Reason), "detail", r.Detail, "setting", r.Setting, "namespace", s.Name())
		err = r.client()
	}
	if err != nil {
		e := &sio.Error{Message: "unavailable", Data: map[string]any{"code": 503}}
		_ = errors.As(err, &e)
		return map[string]any{"error": e.Message, "data": e.Data}, false
	}
	a.count.refreshed.Add(1)
	var expires any
	if !id.Expires().IsZero() {
		expires = id.Expires().Unix()
	}
	return map[string]any{"ok": true, "expires": expires}, true
}

func (a *Authority) refresh(s sio.Socket, arg json.RawMessage, ask Asking) (*Identity, *Refusal, error) {
	v := a.v.Load()
	c, ok := a.key.Get(s)
	old := a.Of(s)
	if !ok || old == nil || !v.jwt() && (ask == nil || v.proves()) {
		return nil, refuse(OtherUser, "", "the socket has no token that could be replaced"), nil
	}
	if !c.try(a.now()) {
		return nil, refuse(TooMany, "", "a connection may try %d tokens a minute, and two more a socket", fewTries), nil
	}
	by, payload, r := a.newToken(v, arg, old)
	if r != nil {
		return nil, r, nil
	}
	g := Given{}
	if ask != nil {
		var err error
		if g, err = ask(by, payload); err != nil {
			return nil, nil, err
		}
	}
	id, r := a.with(v, by, a.interned(g).over(old.given()), old.User)
	if r != nil {
		return nil, r, nil
	}
	if id.User != old.User {
		return nil, refuse(OtherUser, "", "it is of user %s, and the socket of %s", quote(id.User), quote(old.User)), nil
	}
	for _, other := range a.replace(v, c, s, id) {
		a.arm(other, a.Of(other))
		if a.changed != nil {
			a.changed(other)
		}
	}
	if a.isRevoked(id, a.now()) { // since it was verified
		a.cast(s)
	}
	return id, nil, nil
}

// newToken returns whose a token is that a client brings in place of another, and what
// it says: by a key, or nobody's yet where somebody is asked about it.
func (a *Authority) newToken(v *verifier, arg json.RawMessage, old *Identity) (by *Identity, payload json.RawMessage, r *Refusal) {
	if !v.jwt() {
		switch {
		case len(arg) == 0 || string(arg) == "null":
			return nil, nil, refuse(Missing, "", "there is no token in %s", RefreshEvent)
		case len(arg) > v.maxToken:
			return nil, nil, refuse(Malformed, "auth.max_token", "it has %d bytes, there may be %d", len(arg), v.maxToken)
		}
		return old.proven(), nil, nil
	}
	token, r := fromAuth(arg)
	if r != nil {
		return nil, nil, r
	}
	if token == "" {
		return nil, nil, refuse(Missing, "", "there is no token in %s", RefreshEvent)
	}
	by, r = a.verify(a.ctx, v, token)
	return by, v.payload(token), r
}

// OnRefresh sets what is called with each socket that has another token than it had, by
// Refresh, before its client is answered: on a goroutine, which may be that of another
// socket of the connection. The socket may not have been admitted yet, or have left. It
// is set before the server serves.
func (a *Authority) OnRefresh(f func(s sio.Socket)) { a.changed = f }

// try tells whether one more token may be tried.
func (c *conn) try(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.others()
	if d := now.Unix() - o.since; d < 0 || d >= int64(triesEvery/time.Second) {
		o.tries, o.since = 0, now.Unix()
	}
	if int(o.tries) >= fewTries+2*(1+len(o.more)) {
		return false
	}
	o.tries++
	return true
}

// replace has a socket be another Identity, and with it, if that is by a token, all
// sockets of its connection that were the same user by one: with what was said of each
// beside it. It returns those that are another now.
func (a *Authority) replace(v *verifier, c *conn, s sio.Socket, id *Identity) (all []sio.Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by, own := id.proven(), c.of(c.s)
	tokens := by != nil && v.jwt()
	if tokens && c.first != nil && c.first.User == by.User {
		c.first = by
	}
	now := func(x sio.Socket, old *Identity) *Identity {
		next, r := id, (*Refusal)(nil)
		if x != s {
			if !tokens || old.proven() == nil || old.proven().User != by.User {
				return old
			}
			if next, r = a.with(v, by, old.given(), old.User); r != nil { // what was said of it has ended
				return old
			}
		}
		all = append(all, x)
		return next
	}
	if c.s != (sio.Socket{}) {
		c.hold(c.s, now(c.s, own))
	}
	if c.rest != nil {
		for i := range c.rest.more {
			x := &c.rest.more[i]
			x.id = now(x.s, x.id)
		}
	}
	return all
}
