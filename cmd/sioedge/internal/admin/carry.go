package admin

import (
	"errors"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// A carriedSession is somebody who has logged in, for the server's successor. What the cookie
// says is not in it.
type carriedSession struct {
	Cookie     []byte        `cbor:"1,keyasint"` // its digest
	Who        string        `cbor:"2,keyasint,omitempty"`
	Token      string        `cbor:"3,keyasint,omitempty"`
	Credential []byte        `cbor:"4,keyasint,omitempty"`
	ByKey      bool          `cbor:"5,keyasint,omitempty"`
	Age        time.Duration `cbor:"6,keyasint,omitempty"`
	Idle       time.Duration `cbor:"7,keyasint,omitempty"`
}

// Part has operators stay logged in when another process takes the server's clients over.
func (a *Admin) Part() sio.Part {
	return sio.Part{
		Name: "admin", Optional: true,
		Export: func() ([]byte, error) { return carried.Marshal(a.sessions.export(a.now())) },
		Import: func(data []byte) error { return a.sessions.restore(data, a.now()) },
	}
}

func (x *sessions) export(now time.Time) (all []carriedSession) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, s := range x.all {
		if !s.over(now) {
			all = append(all, carriedSession{id[:], s.who, s.token, s.credential[:], s.byKey, now.Sub(s.made), now.Sub(s.seen)})
		}
	}
	return all
}

var errCarried = errors.New("admin: what another server has told of who is logged in contradicts itself")

func (x *sessions) restore(data []byte, now time.Time) error {
	var all []carriedSession
	if err := carried.Unmarshal(data, &all); err != nil {
		return err
	}
	if len(all) > maxSessions {
		return errCarried
	}
	sessions := map[digest]*session{}
	for _, c := range all {
		s := &session{who: c.Who, token: c.Token, byKey: c.ByKey, made: now.Add(-c.Age), seen: now.Add(-c.Idle)}
		if len(c.Cookie) != len(digest{}) || len(c.Credential) != len(digest{}) || c.Token == "" || c.Idle < 0 || c.Age < c.Idle {
			return errCarried
		}
		s.credential = digest(c.Credential)
		sessions[digest(c.Cookie)] = s
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = sessions
	return nil
}
