package swarm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// Lobby is the room, or the channel, that a client's token speaks of: a server that
// acts on tokens has the client in it.
const Lobby = "lobby"

// tokenHead is {"alg":"HS256","typ":"JWT"}.
const tokenHead = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."

// tokenLife is longer than any run.
const tokenLife = 24 * time.Hour

// token returns the JSON Web Token of client n of all, signed by HS256 (RFC 7515,
// 7519): no two clients have the same.
func token(secret string, n int, now time.Time) string {
	claims := fmt.Sprintf(`{"sub":"user-%07d","iat":%d,"exp":%d,"rooms":["room-*"],"channels":[%q]}`, n, now.Unix(), now.Add(tokenLife).Unix(), Lobby)
	text := tokenHead + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// connectOf returns client i's first packet, with its auth as a JSON object, or
// nothing, behind the head of the packet.
func (w *worker) connectOf(i int32) (packet, auth []byte) {
	if w.cfg.TokenSecret == "" {
		return w.wire.connect, w.wire.connect[len(w.wire.connect)-len(w.cfg.Auth):]
	}
	t := token(w.cfg.TokenSecret, int(i)*w.job.Workers+w.job.Index, time.Now())
	if w.wire.centrifuge {
		return []byte(`{"id":1,"connect":{"token":"` + t + `"}}`), nil
	}
	auth, err := json.Marshal(map[string]string{"token": t})
	if err != nil {
		panic("swarm: a token has no JSON: " + err.Error())
	}
	return append(w.wire.connect[:len(w.wire.connect):len(w.wire.connect)], auth...), auth
}
