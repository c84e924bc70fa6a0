package identity

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// An estate is what an Authority leaves to that of a successor beside what it knows of
// connections.
type estate struct {
	Key    []byte    `cbor:"1,keyasint"` // idKey, a secret
	All    [2]int64  `cbor:"2,keyasint,omitempty"`
	Users  []barred  `cbor:"3,keyasint,omitempty"`
	Tokens []barred  `cbor:"4,keyasint,omitempty"`
	Full   int64     `cbor:"5,keyasint,omitempty"`
	JWKS   *jwksForm `cbor:"6,keyasint,omitempty"`
}

// A barred is a user or the id of a token that is revoked: see bar.
type barred struct {
	Name   string `cbor:"1,keyasint"`
	Before int64  `cbor:"2,keyasint,omitempty"`
	Until  int64  `cbor:"3,keyasint"`
}

// A jwksForm is the keys that a server has published.
type jwksForm struct {
	URL  string `cbor:"1,keyasint"`
	Keys []byte `cbor:"2,keyasint"` // as the server writes them
	Age  int64  `cbor:"3,keyasint"` // ms since they came
}

// heirs are what an Authority needs while it takes over what another one knows.
type heirs struct {
	mu      sync.Mutex
	known   map[string]*Identity // by their form: many connections have one
	sockets []heir
}

// An heir is a socket that is not there yet, of a conn that is.
type heir struct {
	c      *conn
	packed []byte
	held   int // in rest.more; -1: it is conn.s
}

// carry has what is known go along to a successor.
func (a *Authority) carry() {
	if a.srv.Inherits() {
		a.serves = make(chan struct{})
	}
	a.srv.CarryDeadlines(a.resume)
	sio.CarryConnKey(a.srv, "identity", a.key, a.encodeConn, a.decodeConn)
	a.srv.Carry(sio.Part{Name: "identity", Export: a.export, Import: a.inherit, Taken: a.taken, Serving: a.serving})
}

// await waits until the server serves. It is false if the Authority ends before.
func (a *Authority) await() bool {
	if a.serves == nil {
		return true
	}
	select {
	case <-a.serves:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// export is sio.Part.Export.
func (a *Authority) export() ([]byte, error) {
	x := a.revoked.leave(a.now())
	x.Key = idKey.Load()[:]
	if j := a.v.Load().jwks; j != nil {
		x.JWKS = j.leave()
	}
	return carried.Marshal(x)
}

// leave returns those in force.
func (l *revocations) leave(now time.Time) estate {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(now.Unix())
	x := estate{All: [2]int64{l.all.before, l.all.until}, Full: l.full}
	for user, b := range l.users {
		x.Users = append(x.Users, barred{user, b.before, b.until})
	}
	for _, t := range l.ids {
		x.Tokens = append(x.Tokens, barred{Name: t.jti, Until: t.until})
	}
	return x
}

// leave returns the keys, nil if there are none.
func (j *jwks) leave() *jwksForm {
	set := j.set.Load()
	if set == nil {
		return nil
	}
	keys, err := json.Marshal(jwkset.JWKSMarshal{Keys: set.public})
	if err != nil {
		return nil // the successor fetches them
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return &jwksForm{URL: j.url, Keys: keys, Age: max(time.Since(j.since).Milliseconds(), 0)}
}

var errEstate = errors.New("identity: that is no state of an authority")

// inherit is sio.Part.Import. Revocations are in force also if they are more than settings
// allow now.
func (a *Authority) inherit(p []byte) error {
	var x estate
	if err := carried.Unmarshal(p, &x); err != nil {
		return fmt.Errorf("%w: %w", errEstate, err)
	}
	if len(x.Key) != sha256.Size || len(x.Users)+len(x.Tokens) > mostRevoked {
		return errEstate
	}
	for _, u := range x.Users {
		if checkUser(u.Name) != nil {
			return fmt.Errorf("%w: a user is revoked that nobody can be", errEstate)
		}
	}
	for _, t := range x.Tokens {
		if t.Name == "" || len(t.Name) > maxJTI {
			return fmt.Errorf("%w: the id of a token has %d bytes", errEstate, len(t.Name))
		}
	}
	a.reload.Lock()
	defer a.reload.Unlock()
	v := a.v.Load()
	idKey.Store((*[sha256.Size]byte)(x.Key))
	v.listed.rehash()
	a.revoked.rehash()
	a.epoch.Add(1) // tokens that were verified before have ids that are hashed in another way
	a.revoked.take(&x)
	if x.JWKS != nil && v.jwks != nil && v.jwks.url == x.JWKS.URL {
		return v.jwks.inherit(x.JWKS)
	}
	return nil
}

// rehash has ids be found by the key that there is now.
func (l *revocations) rehash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make(map[uint64]named, len(l.ids))
	for _, t := range l.ids {
		ids[hashID(t.jti)] = t
	}
	l.ids = ids
}

// take adds those that somebody has left.
func (l *revocations) take(x *estate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = map[string]bar{}
	}
	l.all = l.all.over(bar{x.All[0], x.All[1]})
	for _, u := range x.Users {
		l.users[u.Name] = l.users[u.Name].over(bar{u.Before, u.Until})
	}
	for _, t := range x.Tokens {
		id := hashID(t.Name)
		l.ids[id] = named{t.Name, max(l.ids[id].until, t.Until)}
	}
	l.full += x.Full
	l.counted()
}

// inherit takes keys that another process has fetched, unless there are some.
func (j *jwks) inherit(x *jwksForm) error {
	if len(x.Keys) > maxJWKS {
		return fmt.Errorf("%w: keys of %d bytes", errEstate, len(x.Keys))
	}
	set, err := parseJWKS(x.Keys, "auth.jwt.jwks_url")
	if err != nil {
		return fmt.Errorf("%w: its keys: %w", errEstate, err)
	}
	if !j.set.CompareAndSwap(nil, set) {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.since.IsZero() {
		j.since = time.Now().Add(-time.Duration(min(max(x.Age, 0), time.Hour.Milliseconds()*24*365)) * time.Millisecond)
	}
	return nil
}

// resume is called of a socket whose deadline another process has set.
func (a *Authority) resume(s sio.Socket) {
	if id := a.Of(s); id != nil && a.now().Before(id.Expires()) {
		a.warn(s)
	} else {
		a.expire(s)
	}
}

// taken is sio.Part.Taken.
func (a *Authority) taken() {
	h := &a.heirs
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.sockets {
		s, _ := a.srv.Unpack(x.packed) // none: there is no such namespace any more
		x.c.mu.Lock()
		if x.held < 0 {
			x.c.s = s
		} else {
			x.c.rest.more[x.held].s = s
		}
		x.c.mu.Unlock()
	}
	for _, x := range h.sockets {
		if x.held == 0 {
			o := x.c.rest
			o.more = slices.DeleteFunc(o.more, func(y held) bool { return y.s == (sio.Socket{}) })
		}
	}
	h.known, h.sockets = nil, nil
}

// serving is sio.Part.Serving. What was revoked while clients went from the one process to
// the other may have been told to none of their sockets, and to neither of the two.
func (a *Authority) serving() {
	if a.serves != nil {
		close(a.serves) // keepUp asks the others
	}
	if a.revoked.n.Load()+a.v.Load().listed.n.Load() > 0 {
		a.start(a.sweep)
	}
}

// encodeConn is how a conn travels; see sio.CarryConnKey.
func (a *Authority) encodeConn(c *conn) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := connForm{First: c.first.form(), Socket: c.s.Pack(nil)}
	if o := c.rest; o != nil {
		x.Own, x.Tries, x.Since = o.own.form(), o.tries, o.since
		if r := o.refused; r != nil {
			x.Refused = &refusalForm{string(r.Reason), r.Detail, r.Setting}
		}
		for _, h := range o.more {
			if !h.s.Gone() {
				x.More = append(x.More, heldForm{h.s.Pack(nil), h.id.form()})
			}
		}
	}
	return carried.Marshal(&x)
}

// decodeConn is its counterpart. The sockets follow with taken.
func (a *Authority) decodeConn(p []byte) (*conn, error) {
	var x connForm
	if err := carried.Unmarshal(p, &x); err != nil {
		return nil, fmt.Errorf("%w: %w", errEstate, err)
	}
	c := &conn{}
	sockets := make([]heir, 0, 4)
	if len(x.Socket) > 0 {
		sockets = append(sockets, heir{c, x.Socket, -1})
	}
	var err error
	if c.first, err = a.identityOf(x.First); err != nil {
		return nil, err
	}
	if x.Own != nil || x.Refused != nil || len(x.More) > 0 || x.Since != 0 {
		o := c.others()
		if o.own, err = a.identityOf(x.Own); err != nil {
			return nil, err
		}
		if r := x.Refused; r != nil {
			if !slices.Contains(reasons[:], Reason(r.Reason)) {
				return nil, fmt.Errorf("%w: a reason that there is not", errEstate)
			}
			o.refused = &Refusal{Reason(r.Reason), r.Detail, r.Setting}
		}
		for i, h := range x.More {
			id, err := a.identityOf(h.ID)
			if err != nil {
				return nil, err
			}
			o.more = append(o.more, held{id: id})
			sockets = append(sockets, heir{c, h.Socket, i})
		}
		o.tries, o.since, o.limit = max(x.Tries, 0), x.Since, int32(max(fewSockets, 2*len(o.more)))
	}
	a.heirs.mu.Lock()
	defer a.heirs.mu.Unlock()
	a.heirs.sockets = append(a.heirs.sockets, sockets...)
	return c, nil
}
