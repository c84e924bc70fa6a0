package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/MicahParks/jwkset"
)

const (
	maxKeys     = 128      // of one server
	maxKeyBytes = 32 << 10 // of one key, with its certificates
)

// A keySet is the keys of one answer of a server. Immutable.
type keySet struct {
	keys    []*key
	byID    map[string][]*key
	public  []jwkset.JWKMarshal // of keys, for the file
	dropped []error             // why others are not used
}

// find returns the keys that a token may mean. Known says that there is one of that id.
func (s *keySet) find(id, alg string) (all []*key, known bool) {
	from := s.keys
	if id != "" {
		from = s.byID[id]
	}
	for _, k := range from {
		if k.fits(alg) {
			all = append(all, k)
		}
	}
	return all, id != "" && len(from) > 0
}

// same tells whether two sets have the same keys.
func (s *keySet) same(other *keySet) bool { return reflect.DeepEqual(s.public, other.public) }

var errKeys = errors.New("it is not a set of keys: there is no list called keys in it")

// parseJWKS parses a set of keys (RFC 7517, 5). Those that are not for us to verify
// with are left out; it is an error if none is left.
func parseJWKS(b []byte, from string) (*keySet, error) {
	if err := checkDepth(b); err != nil {
		return nil, fmt.Errorf("it %w", err)
	}
	if !json.Valid(b) {
		return nil, errors.New("it is not JSON")
	}
	list := member(b, "keys")
	if list == nil || list[0] != '[' {
		return nil, errKeys
	}
	set, n := &keySet{byID: map[string][]*key{}}, 0
	_ = each(list, func(_, item []byte) error {
		if n++; n > maxKeys {
			return nil
		}
		k, public, err := parseJWK(item)
		if err != nil {
			set.dropped = append(set.dropped, fmt.Errorf("key %d %w", n, err))
			return nil
		}
		k.from = from
		set.keys, set.public = append(set.keys, k), append(set.public, public)
		if k.id != "" {
			set.byID[k.id] = append(set.byID[k.id], k)
		}
		return nil
	})
	if n > maxKeys {
		set.dropped = append(set.dropped, fmt.Errorf("there are %d keys, of which the first %d are looked at", n, maxKeys))
	}
	if len(set.keys) == 0 {
		if len(set.dropped) > 0 {
			return nil, fmt.Errorf("none of its %d keys can be used: %w", n, set.dropped[0])
		}
		return nil, errors.New("there is no key in it")
	}
	return set, nil
}

// parseJWK parses a key (RFC 7517, 4), and tells why it is not for verifying tokens.
func parseJWK(b []byte) (*key, jwkset.JWKMarshal, error) {
	var m jwkset.JWKMarshal
	none := jwkset.JWKMarshal{}
	if len(b) > maxKeyBytes {
		return nil, none, fmt.Errorf("has %d bytes, there may be %d", len(b), maxKeyBytes)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, none, errors.New("is not the JSON of a key")
	}
	switch {
	case m.KTY == jwkset.KtyOct:
		return nil, none, errors.New("is a secret: what is published is none")
	case m.USE != "" && m.USE != jwkset.UseSig:
		return nil, none, fmt.Errorf("(kid %s) is not for signatures (use)", quote(m.KID))
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return nil, none, fmt.Errorf("(kid %s) is not for verifying (key_ops)", quote(m.KID))
	case len(m.KID) > maxKeyID:
		return nil, none, fmt.Errorf("has an id of %d bytes, there may be %d", len(m.KID), maxKeyID)
	}
	parsed, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipUse: true, SkipKeyOps: true})
	if err != nil {
		return nil, none, fmt.Errorf("(kid %s) is wrong: %w", quote(m.KID), err)
	}
	k, err := known(parsed.Key())
	if err != nil {
		return nil, none, fmt.Errorf("(kid %s) %w", quote(m.KID), err)
	}
	k.id, k.alg = m.KID, string(m.ALG)
	if k.alg != "" && (algorithms[k.alg] == nil || !k.fits(k.alg)) {
		return nil, none, fmt.Errorf("(kid %s) says that it is for %s, and is %s", quote(m.KID), quote(k.alg), k.is)
	}
	return k, parsed.Marshal(), nil
}

// write keeps the keys in a file, the public parts alone, whole or not at all.
func (s *keySet) write(path string) error {
	b, err := json.Marshal(jwkset.JWKSMarshal{Keys: s.public})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// readJWKS reads what write has written.
func readJWKS(path string) (*keySet, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJWKS+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxJWKS:
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxJWKS)
	}
	return parseJWKS(b, "auth.jwt.jwks_file")
}
