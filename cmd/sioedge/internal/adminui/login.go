package adminui

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

const (
	// sessionTime is how long the id of a session lets a page in without the password.
	// Node's RedisStore: the same.
	sessionTime = 24 * time.Hour
	maxKey      = 4096 // bytes of a key that are looked at
)

// errCredentials is what the page knows as that it has to ask for a password.
var errCredentials = &sio.Error{Message: "invalid credentials"}

// newRules makes rules of settings. What session ids are sealed with is known to all
// servers with the same user and password, or keys, and to nobody who has not got these.
func newRules(s config.Admin, keys []string) *rules {
	r := &rules{Admin: s}
	h := sha256.New()
	fmt.Fprintf(h, "sioedge admin-ui session\n%q %q\n", s.User, s.Password)
	if s.Password == "" {
		for _, key := range keys {
			fmt.Fprintf(h, "%q\n", key)
			d := sha256.Sum256([]byte(key))
			r.keys = append(r.keys, d[:])
		}
	}
	r.seal = h.Sum(nil)
	return r
}

// credentials are a page's auth.
type credentials struct {
	Username  string `json:"username"`
	Password  string `json:"password"`
	SessionID string `json:"sessionId"`
}

// admit is the middleware of the namespace. It takes as long as a password does.
func (u *UI) admit(s sio.Socket) error {
	var c credentials
	if err := s.Auth(&c); err != nil {
		return u.refuse(s, 0)
	}
	r := u.rules.Load()
	if c.SessionID != "" && r.knows(c.SessionID, u.now()) {
		return nil
	}
	if c.Username == "" && c.Password == "" {
		u.counts.refused.Add(1) // nothing was guessed: a page whose session is over
		return errCredentials
	}
	address := s.Handshake().Address().Addr().Unmap()
	if !s.Handshake().Secure() && address.IsValid() && !address.IsLoopback() {
		u.note.Warn("a password of the Admin UI has come without TLS: whoever is in between knows it", "address", address)
	}
	right, wait := false, time.Duration(0)
	if r.Password != "" {
		right, wait = u.logins.Password(u.stopped, address, r.Admin, c.Username, c.Password)
	} else if right = r.opens(&c); !right {
		wait = u.logins.Failed(address)
	}
	if !right {
		return u.refuse(s, wait)
	}
	u.counts.logins.Add(1)
	u.o.Logger.Info("an operator has logged in to the Admin UI's namespace", "address", address)
	return s.Emit("session", r.session(u.now()))
}

// refuse is the error for who is not let in, and may try again after wait.
func (u *UI) refuse(s sio.Socket, wait time.Duration) error {
	u.counts.refused.Add(1)
	u.note.Warn("a login to the Admin UI's namespace has failed", "address", s.Handshake().Address(), "wait", wait)
	if wait > 0 {
		return &sio.Error{Message: fmt.Sprintf("too many logins have failed: wait %d seconds", (wait+time.Second-1)/time.Second)}
	}
	return errCredentials
}

// opens tells whether a key is the password.
func (r *rules) opens(c *credentials) bool {
	if len(c.Password) > maxKey {
		return false
	}
	d, right := sha256.Sum256([]byte(c.Password)), 0
	for _, key := range r.keys {
		right |= subtle.ConstantTimeCompare(d[:], key)
	}
	return right&subtle.ConstantTimeCompare([]byte(c.Username), []byte(r.User)) == 1
}

// A session id is when it ends, what tells it from others, and the seal of both.
const (
	endLen  = 8
	saltLen = 8
	sealLen = 16
)

// session returns a new session id.
func (r *rules) session(now time.Time) string {
	b := make([]byte, endLen+saltLen, endLen+saltLen+sealLen)
	binary.BigEndian.PutUint64(b, uint64(now.Add(sessionTime).Unix()))
	_, _ = rand.Read(b[endLen:]) // never fails
	return hex.EncodeToString(append(b, r.sealOf(b)...))
}

// knows tells whether a session id is one that has not ended.
func (r *rules) knows(id string, now time.Time) bool {
	if len(id) != 2*(endLen+saltLen+sealLen) {
		return false
	}
	b, err := hex.DecodeString(id)
	if err != nil {
		return false
	}
	body, seal := b[:endLen+saltLen], b[endLen+saltLen:]
	end := int64(binary.BigEndian.Uint64(body))
	return subtle.ConstantTimeCompare(seal, r.sealOf(body)) == 1 && now.Unix() < end
}

func (r *rules) sealOf(b []byte) []byte {
	h := hmac.New(sha256.New, r.seal)
	h.Write(b)
	return h.Sum(nil)[:sealLen]
}
