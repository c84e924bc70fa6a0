package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

const secretPrefix = "whsec_"

// key returns the bytes that a secret stands for: those that follow whsec_ in base64,
// as Standard Webhooks writes secrets, or else those of the text itself.
func key(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return []byte(secret), nil
	}
	k, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("is not base64 behind %s", secretPrefix)
	}
	if len(k) < 24 {
		return nil, fmt.Errorf("has less than 24 bytes behind %s", secretPrefix)
	}
	return k, nil
}

// A signer signs requests as Standard Webhooks 1.0 has it: each of its keys makes a
// signature "v1,<base64>" of "id.timestamp.body" by HMAC-SHA-256. Any goroutine may use
// it.
type signer struct {
	keys []*sync.Pool // of hash.Hash, one of each key
}

// newSigner returns a signer with the secrets that are not empty. The error says which
// one is none.
func newSigner(secret, previous string) (*signer, error) {
	s := &signer{}
	for i, text := range []string{secret, previous} {
		if text == "" {
			continue
		}
		k, err := key(text)
		if err != nil {
			return nil, &config.Fault{Key: []string{"secret", "secret_previous"}[i], Err: err}
		}
		s.keys = append(s.keys, &sync.Pool{New: func() any { return hmac.New(sha256.New, k) }})
	}
	return s, nil
}

// sign returns the fields webhook-timestamp and webhook-signature of a request; the
// second is "" without keys.
func (s *signer) sign(id string, now time.Time, body []byte) (timestamp, signature string) {
	timestamp = strconv.FormatInt(now.Unix(), 10)
	var out []byte
	for i := range s.keys {
		h := s.keys[i].Get().(hash.Hash)
		h.Reset()
		h.Write([]byte(id))
		h.Write([]byte{'.'})
		h.Write([]byte(timestamp))
		h.Write([]byte{'.'})
		h.Write(body)
		var sum [sha256.Size]byte
		if i > 0 {
			out = append(out, ' ')
		}
		out = base64.StdEncoding.AppendEncode(append(out, "v1,"...), h.Sum(sum[:0]))
		s.keys[i].Put(h)
	}
	return timestamp, string(out)
}
