package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// Servers of a cluster prove to each other who they are. Each makes a token when it
// starts, which the adapter tells the others with its address. A key is derived of
// both and of Options.Secret:
//
//	A asks, on each connection that it makes to B's address     challenge
//	B answers                                                    MAC(key of B, challenge)
//	A sends what it forwards, on this connection alone           MAC(key of B, method and target)
//
// So a client's cookies go to nobody who has merely got B's address, or told it to
// the cluster without knowing the secret; and B knows what no client can say by
// itself. Without a secret, whoever reads the cluster's Redis knows the keys.
type proof []byte

const (
	challengeHeader = "Sioedge-Challenge"
	challengePath   = "sioedge-node" // below the path, where B answers
	maxChallenge    = 64             // bytes
)

// newToken returns what a server's key is derived of.
func newToken() string { return rand.Text() }

// proofOf returns the key of a server.
func proofOf(secret, node, addr, token string) proof {
	m := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(m, "sioedge: %q %q %q", node, addr, token)
	return m.Sum(nil)
}

// mac is 16 bytes of a MAC of what is said in a way, as base64url.
func (p proof) mac(way string, parts ...string) string {
	m := hmac.New(sha256.New, p)
	_, _ = fmt.Fprintf(m, "%s %q", way, parts)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// answer is what the server answers to a challenge.
func (p proof) answer(challenge string) string { return p.mac("answer", challenge) }

// request is what a request has that is forwarded to the server.
func (p proof) request(method, target string) string { return p.mac("request", method, target) }

func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }
