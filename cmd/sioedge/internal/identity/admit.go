package identity

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A Need says what a namespace asks of its clients.
type Need int

// The needs.
const (
	Required Need = iota // who it is
	Optional             // who it is, if it says so: a token that is not believed is refused
	None                 // nothing: what it brings is not looked at
)

const unavailableCode = 4503 // the connection is closed with it: the client comes back by itself

// Admit says who a socket's client is, for a middleware of its namespace: by the token
// that it brought for it (auth.token), that of its request (Authorization, or the
// parameter access_token), or that of another namespace that its connection has joined
// before. It is nil for nobody. The error is a *sio.Error for the client: "unauthorized",
// with the Reason in its data. While there are no keys to verify with the connection is
// closed, so that the client comes back.
//
// What Admit returns is kept: see Of. A socket that is admitted needs Connected.
func (a *Authority) Admit(s sio.Socket, need Need) (*Identity, error) {
	return a.AdmitAsked(s, need, nil)
}

// ErrAnother is returned by AdmitAsked for a recovered socket whose client is another than
// it was: the socket is a new one, for which the middlewares run again, and nothing is to
// be done with it, nor to be returned, before.
var ErrAnother = errors.New("identity: the client is another than it was")

// AdmitAsked is Admit, and ask is called once it is known who the client is by what it
// brought: what that says counts too. See Asking. The error may be ErrAnother.
func (a *Authority) AdmitAsked(s sio.Socket, need Need, ask Asking) (*Identity, error) {
	v := a.v.Load()
	id, token, r := a.admit(v, s, need, ask != nil)
	if r == nil && ask != nil {
		g, err := ask(id, v.payload(token))
		if err != nil {
			return nil, err
		}
		id, r = a.asked(v, s, need, id, g)
		if r == nil && !s.Identify(id.user()) {
			return nil, ErrAnother
		}
	}
	if r != nil {
		a.count.refuse(r.Reason)
		a.notices.Info("a client is refused: "+string(r.Reason), "detail", r.Detail, "setting", r.Setting, "namespace", s.Name(), "address", s.Handshake().Address())
		if r.Reason == Unavailable {
			_ = s.CloseConnWith(unavailableCode, string(r.Reason)) // it has left, or hears it
		}
		return nil, r.client()
	}
	if id == nil {
		a.count.anonymous.Add(1)
		return nil, nil
	}
	if err := a.keep(s, id); err != nil {
		return nil, err
	}
	a.count.admitted.Add(1)
	return id, nil
}

// admit returns who a client is by what it brought, and the token that came with the
// socket itself. If somebody else will say who it is, it need not have brought anything.
func (a *Authority) admit(v *verifier, s sio.Socket, need Need, asks bool) (id *Identity, token string, r *Refusal) {
	if need == None {
		a.foresee(v, s)
		return nil, "", nil
	}
	if id, token, r = a.own(v, s); r != nil {
		return nil, "", r
	}
	if id == nil {
		if id, r = a.before(s); r != nil {
			return nil, "", r
		}
		if id != nil {
			if r := a.checkStill(v, id); r != nil {
				return nil, "", r
			}
		}
	}
	if id == nil && need == Required && (v.proves() || !asks) {
		return nil, "", refuse(Missing, "auth.mode", "there is none in auth.token, in Authorization or in access_token")
	}
	return id, token, nil
}

// foresee looks at what the request of a connection proves although this namespace does
// not ask: the next one may, and the request is gone by then.
func (a *Authority) foresee(v *verifier, s sio.Socket) {
	if _, ok := a.key.Get(s); ok {
		return
	}
	var id *Identity
	var r *Refusal
	switch v.auth.Mode {
	case modeHeader:
		id, r = a.fromHeader(v, s)
	case modeCert:
		id, r = fromCertificate(v, s)
	case modeJWT, modeBoth:
		var token string
		if token, r = fromHandshake(s.Handshake()); token != "" && r == nil {
			id, r = a.verify(a.ctx, v, token)
		}
	}
	if id == nil && r == nil {
		return
	}
	c, err := a.conn(s)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.first != nil || c.rest != nil && c.rest.refused != nil: // by another one meanwhile
	case id != nil:
		c.first = id
	default:
		c.others().refused = r
	}
}

// own returns who the client of a socket is by what it brought itself, and its token if
// it was that.
func (a *Authority) own(v *verifier, s sio.Socket) (id *Identity, token string, r *Refusal) {
	switch v.auth.Mode {
	case modeHeader:
		id, r = a.fromHeader(v, s)
	case modeCert:
		id, r = fromCertificate(v, s)
	case modeJWT, modeBoth:
		if token, r = brought(s); token != "" && r == nil {
			id, r = a.verify(a.ctx, v, token)
		}
	}
	return id, token, r
}

// brought returns the token that came with a socket, "" if none did.
func brought(s sio.Socket) (token string, r *Refusal) {
	var auth struct {
		Token json.RawMessage `json:"token"`
	}
	if err := s.Auth(&auth); err != nil {
		return "", refuse(Malformed, "", "what it gave as auth is not an object")
	}
	if token, r = fromAuth(auth.Token); token != "" || r != nil {
		return token, r
	}
	return fromHandshake(s.Handshake())
}

func fromHandshake(h sio.Handshake) (token string, r *Refusal) {
	return fromRequest(h.Header()["Authorization"], h.Query()["access_token"])
}

// fromAuth returns the token that a client gave as JSON, "" if there is none.
func fromAuth(value json.RawMessage) (token string, r *Refusal) {
	if len(value) == 0 || string(value) == "null" {
		return "", nil
	}
	if !isText(value) {
		return "", refuse(Malformed, "", "the token is not text")
	}
	token = text(value)
	if t, ok := bearer(token); ok { // some send the field's value
		token = t
	}
	return token, nil
}

// fromRequest returns the token in fields called Authorization, or else in parameters of
// the URL; "" if there is none. There must not be two.
func fromRequest(fields, parameters []string) (token string, r *Refusal) {
	for _, field := range fields {
		t, ok := bearer(field)
		switch {
		case !ok: // of another scheme
		case token != "":
			return "", refuse(Malformed, "", "there are two tokens in Authorization")
		default:
			token = t
		}
	}
	if token != "" || len(parameters) == 0 {
		return token, nil
	}
	if len(parameters) > 1 {
		return "", refuse(Malformed, "", "there is more than one access_token")
	}
	return parameters[0], nil
}

// bearer returns the token of a value of Authorization (RFC 6750, 2.1).
func bearer(field string) (token string, ok bool) {
	const scheme = "bearer "
	if len(field) <= len(scheme) || !strings.EqualFold(field[:len(scheme)], scheme) {
		return "", false
	}
	token = strings.Trim(field[len(scheme):], " ")
	return token, token != ""
}

// claimed is for recovery: it returns who a client says it is, on the event loop. That
// is not verified, as it may take a while, and need not be: the middlewares do that
// before the client is given what the other had, and refuse it.
func (a *Authority) claimed(s sio.Socket) string {
	v := a.v.Load()
	switch v.auth.Mode {
	case modeHeader:
		if id, r := a.fromHeader(v, s); r == nil && id != nil {
			return id.User
		}
	case modeCert:
		if id, r := fromCertificate(v, s); r == nil && id != nil {
			return id.User
		}
	case modeJWT, modeBoth:
		token, r := brought(s)
		if r != nil || token != "" {
			return v.says(token)
		}
	}
	if id, _ := a.before(s); id != nil {
		return id.User
	}
	return ""
}

// says returns the user that a token names, verified or not; "" if it is no token.
func (v *verifier) says(token string) string {
	_, body, _, r := v.split(token)
	if r != nil {
		return ""
	}
	tmp := scratches.Get().(*scratch)
	defer tmp.done()
	payload, r := tmp.object("payload", body)
	if r != nil {
		return ""
	}
	tmp.claims = tmp.claims.read(payload)
	value := tmp.claims.lookUp(v.auth.JWT.UserClaim)
	if value == nil {
		return ""
	}
	return plain(value)
}

// A conn is what is known of a connection that somebody came with: 64 bytes, for most
// have one socket, of one user.
type conn struct {
	mu    sync.Mutex
	first *Identity  // what a namespace without a token of its own goes by
	s     sio.Socket // the first that was admitted; zero: none yet
	rest  *rest      // nil: s is who first is, and there is nothing else
}

// A rest is what few connections have.
type rest struct {
	refused *Refusal  // why first is nil, of a token that no namespace has asked for yet
	own     *Identity // of conn.s; nil: it is first
	more    []held    // further sockets, and some that have left
	limit   int32     // of more, above which those that have left are looked for
	tries   int32     // new tokens since since
	since   int64     // Unix seconds
}

// A held is a socket's Identity.
type held struct {
	s  sio.Socket
	id *Identity
}

// conn returns what is known of a socket's connection, which is made if it is not there.
func (a *Authority) conn(s sio.Socket) (*conn, error) {
	if c, ok := a.key.Get(s); ok {
		return c, nil
	}
	mu := &a.making[maphash.Comparable(idSeed, s.Conn())%uint64(len(a.making))]
	mu.Lock()
	defer mu.Unlock()
	if c, ok := a.key.Get(s); ok {
		return c, nil
	}
	c := &conn{}
	return c, a.key.Set(s, c)
}

// keep keeps who a socket is, and its connection. The error is sio.ErrClosed.
func (a *Authority) keep(s sio.Socket, id *Identity) error {
	c, err := a.conn(s)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := id.proven(); c.first == nil && first != nil {
		c.first = first
		if c.rest != nil {
			c.rest.refused = nil
		}
	}
	c.hold(s, id)
	return nil
}

// others returns the rest of a connection, which is made if it is not there. c.mu is
// held.
func (c *conn) others() *rest {
	if c.rest == nil {
		c.rest = &rest{}
	}
	return c.rest
}

// hold notes who a socket is. c.mu is held.
func (c *conn) hold(s sio.Socket, id *Identity) {
	if c.s == (sio.Socket{}) {
		c.s = s
	}
	if c.s == s {
		switch {
		case id != c.first:
			c.others().own = id
		case c.rest != nil:
			c.rest.own = nil
		}
		return
	}
	o := c.others()
	for i := range o.more {
		if o.more[i].s == s {
			o.more[i].id = id
			return
		}
	}
	o.prune()
	o.more = append(o.more, held{s, id})
}

const fewSockets = 8

// prune forgets sockets of a connection that have left, when there are many. The
// connection's mu is held.
func (o *rest) prune() {
	if o.limit = max(o.limit, fewSockets); len(o.more) < int(o.limit) {
		return
	}
	o.more = slices.DeleteFunc(o.more, func(x held) bool { return x.s.Gone() })
	o.limit = int32(max(fewSockets, 2*len(o.more)))
}

// of returns who a socket is, nil if it was not admitted. c.mu is held.
func (c *conn) of(s sio.Socket) *Identity {
	switch {
	case c.s == s && (c.rest == nil || c.rest.own == nil):
		return c.first
	case c.s == s:
		return c.rest.own
	case c.rest == nil:
		return nil
	}
	for _, x := range c.rest.more {
		if x.s == s {
			return x.id
		}
	}
	return nil
}

// before returns who the connection of a socket is by what other namespaces were
// brought; nil if it is nobody.
func (a *Authority) before(s sio.Socket) (id *Identity, r *Refusal) {
	c, ok := a.key.Get(s)
	if !ok {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rest != nil {
		r = c.rest.refused
	}
	return c.first, r
}

// Of returns who a socket is, as Admit or Refresh said last; nil if that is nobody.
func (a *Authority) Of(s sio.Socket) *Identity {
	c, ok := a.key.Get(s)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of(s)
}

// Connected is called from OnConnect for each socket that Admit has admitted, recovered
// ones too: it sets the socket's deadline.
func (a *Authority) Connected(s sio.Socket) {
	id := a.Of(s)
	if id == nil {
		return
	}
	if a.isRevoked(id, a.now()) { // since Admit, when sweep did not see the socket yet
		a.cast(s)
		return
	}
	if s.Recovered() || !a.v.Load().end(id, a.now()).IsZero() {
		a.arm(s, id)
	}
}

// end returns when a live socket ends; zero if it does not.
func (v *verifier) end(id *Identity, now time.Time) time.Time {
	switch {
	case id.Expires().IsZero() || !v.expires:
		return time.Time{}
	case now.Before(id.Expires()):
		return id.Expires()
	}
	return id.Expires().Add(v.auth.JWT.Leeway) // it was admitted later, by leeway
}
