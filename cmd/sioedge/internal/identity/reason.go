package identity

import (
	"fmt"
	"slices"

	"github.com/sioedge/sioedge/sio"
)

// A Reason is why a client is not believed, in the words that it sees.
type Reason string

// The reasons.
const (
	Missing      Reason = "token missing"
	Expired      Reason = "token expired"
	NotYet       Reason = "token not yet valid"
	BadSignature Reason = "signature invalid"
	BadAlgorithm Reason = "algorithm"
	UnknownKey   Reason = "unknown key"
	BadIssuer    Reason = "issuer"
	BadAudience  Reason = "audience"
	BadUser      Reason = "user" // there is none in the token, or none that can be
	Revoked      Reason = "revoked"
	Malformed    Reason = "malformed"
	Unavailable  Reason = "keys unavailable" // for now; the client may try again
	Untrusted    Reason = "proxy not trusted"
	OtherUser    Reason = "other user" // of a new token
	TooMany      Reason = "too many attempts"
)

// reasons are all of them, in the order in which they are counted.
var reasons = [...]Reason{
	Missing, Expired, NotYet, BadSignature, BadAlgorithm, UnknownKey, BadIssuer, BadAudience, BadUser,
	Revoked, Malformed, Unavailable, Untrusted, OtherUser, TooMany,
}

// A Refusal says why a token, or what is in its place, is not believed.
type Refusal struct {
	Reason Reason
	// Detail is for operators: what was found and what was expected. It has parts of
	// the token, but neither a signature nor a key.
	Detail string
	// Setting is the key of the setting that decides, such as auth.jwt.audience; "" if
	// there is none.
	Setting string
}

// Error shows the reason and the detail.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Detail
}

// refuse makes a Refusal.
func refuse(why Reason, setting, format string, args ...any) *Refusal {
	return &Refusal{Reason: why, Setting: setting, Detail: fmt.Sprintf(format, args...)}
}

// code is what clients see beside the reason, as of HTTP.
func (r *Refusal) code() int {
	switch r.Reason {
	case Unavailable:
		return 503
	case TooMany:
		return 429
	}
	return 401
}

// client is the error as the client sees it.
func (r *Refusal) client() *sio.Error {
	return &sio.Error{Message: "unauthorized", Data: map[string]any{"code": r.code(), "reason": r.Reason}}
}

// Reasons returns all of them.
func Reasons() []Reason { return slices.Clone(reasons[:]) }
