package swarm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestTokensAreTheClientsOwn(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	one := token("secret", 1, now)
	parts := strings.Split(one, ".")
	if len(parts) != 3 || one == token("secret", 2, now) || one == token("another", 1, now) {
		t.Fatalf("token = %q, want three parts that no other client has", one)
	}
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if sum, err := base64.RawURLEncoding.DecodeString(parts[2]); err != nil || !hmac.Equal(sum, mac.Sum(nil)) {
		t.Errorf("signature %q, %v is not that of the parts before", parts[2], err)
	}
	var head struct{ Alg string }
	var claims struct {
		Sub string
		Exp int64
	}
	for i, into := range []any{&head, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	if head.Alg != "HS256" || claims.Sub != "user-0000001" || claims.Exp != now.Add(tokenLife).Unix() {
		t.Errorf("head %+v, claims %+v", head, claims)
	}
}

// The token is there at the first connect, and beside the session at a later one.
func TestTokensAreBroughtWhenClientsComeBack(t *testing.T) {
	w, _ := pair(t, Config{Scenario: Jitter, Clients: 1, TokenSecret: "secret"})
	for _, pid := range []string{"", "abc"} {
		w.sessions = map[int32]session{0: {pid: pid}}
		packet := string(w.appendConnect(nil, 0))
		var auth struct{ PID, Token string }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(packet, "40")), &auth); err != nil || auth.PID != pid || !strings.HasPrefix(auth.Token, tokenHead) {
			t.Errorf("packet = %s, %v, want a token and the session %q", packet, err, pid)
		}
	}
}
