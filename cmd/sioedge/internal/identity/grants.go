package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"
)

// An Identity is who a client is, and what it may do. It is immutable, and shared by all
// that came with the same token. Methods may be called on nil: that is nobody, who has
// no permission.
type Identity struct {
	User string

	expires int64  // ms since 1970: see Expires
	issued  int64  // Unix seconds: when the token was made; 0: it does not say
	jti     uint64 // the token's id, hashed; 0: it has none
	grants  *grants
	claims  *kept // nil: none of those that templates use, and nobody was asked

	// Of the cache, which sets them before anybody else has the Identity.
	sum   tokenSum
	until int64 // Unix seconds: when it is worth nothing any more; 0: never
}

// Expires returns when the token ends, to the millisecond; zero: never.
func (id *Identity) Expires() time.Time {
	if id == nil || id.expires == 0 {
		return time.Time{}
	}
	return time.UnixMilli(id.expires)
}

// user returns who it is, "" for nobody.
func (id *Identity) user() string {
	if id == nil {
		return ""
	}
	return id.User
}

// A kept has the claims that templates use, and what few have. Immutable.
type kept struct {
	names  []string // of the Authority's settings
	values []string // "" is none

	// Of who somebody was asked about: see Asking.
	by    *Identity // who it is by what it brought; nil: nobody
	given *given    // what was said beside that; nil: nobody was asked, or said nothing
}

// Claim returns what the token says under a name that New was given, as text: of a
// string, a number or a boolean. It is false if there is none.
func (id *Identity) Claim(path string) (value string, ok bool) {
	if id == nil || id.claims == nil {
		return "", false
	}
	if i := slices.Index(id.claims.names, path); i >= 0 {
		value = id.claims.values[i]
	}
	return value, value != ""
}

// Claims returns what the token says under the names that New was given, as an object of
// JSON with a text each: {"org":"acme"}. Nil: nothing.
func (id *Identity) Claims() json.RawMessage {
	if id == nil || id.claims == nil {
		return nil
	}
	all := map[string]string{}
	for i, name := range id.claims.names {
		if value := id.claims.values[i]; value != "" {
			all[name] = value
		}
	}
	if len(all) == 0 {
		return nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic("identity: texts cannot be encoded: " + err.Error())
	}
	return text
}

// Has tells whether the token has a permission, by its scope or by the rooms that it
// names. Where those have an asterisk there may be any text.
func (id *Identity) Has(permission string) bool {
	return id != nil && (match(id.grants.scope, permission) || match(id.grants.rooms, permission))
}

// MayJoin tells whether the token names a room, or a pattern that the room matches.
func (id *Identity) MayJoin(room string) bool { return id != nil && match(id.grants.rooms, room) }

// MayEnter tells whether the token lets its client into a namespace: if it names some, it
// must be one of those.
func (id *Identity) MayEnter(namespace string) bool {
	return id == nil || !id.grants.someNamespaces || match(id.grants.namespaces, namespace)
}

// MaySend tells whether the token lets its client send an event: if it names some, it
// must be one of those.
func (id *Identity) MaySend(event string) bool {
	return id == nil || !id.grants.someEvents || match(id.grants.events, event)
}

// grants is what a token permits. Tokens of many users permit the same, and share it.
// Immutable.
type grants struct {
	scope, rooms, namespaces, events []string
	// That the token names some, which may be none at all.
	someNamespaces, someEvents bool
}

var noGrants = &grants{}

// size is what it takes in memory, about.
func (g *grants) size() (n int) {
	for _, list := range [][]string{g.scope, g.rooms, g.namespaces, g.events} {
		n += 16 * len(list)
		for _, x := range list {
			n += len(x)
		}
	}
	return n
}

// match tells whether a name is one of the patterns.
func match(patterns []string, name string) bool {
	for _, p := range patterns {
		if p == name || strings.IndexByte(p, '*') >= 0 && glob(p, name) {
			return true
		}
	}
	return false
}

// glob matches a name with a pattern in which each asterisk is any text, none
// included. It takes len(pattern) × len(name) steps at most.
func glob(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0: // the last asterisk takes one more
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

var errList = errors.New("is neither text nor a list of texts")

// list reads a claim that is text with spaces between its items, or a list of texts.
func list(value []byte) (all []string, err error) {
	switch {
	case value == nil:
		return nil, nil
	case isText(value):
		return strings.Fields(text(value)), nil
	case value[0] != '[':
		return nil, errList
	}
	err = each(value, func(_, item []byte) error {
		if !isText(item) {
			return errList
		}
		if s := text(item); s != "" {
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// interned has each grants once, as long as somebody has it.
type interned struct {
	mu sync.Mutex
	m  map[[sha256.Size]byte]weak.Pointer[grants]
}

// of returns what equals g.
func (t *interned) of(g *grants) *grants {
	if len(g.scope)+len(g.rooms)+len(g.namespaces)+len(g.events) == 0 && !g.someNamespaces && !g.someEvents {
		return noGrants
	}
	sum, mine := g.sum(), *g
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.m[sum].Value(); have != nil {
		return have
	}
	if t.m == nil {
		t.m = map[[sha256.Size]byte]weak.Pointer[grants]{}
	}
	t.m[sum] = weak.Make(&mine)
	runtime.AddCleanup(&mine, func(sum [sha256.Size]byte) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.m[sum].Value() == nil { // or somebody has made it again
			delete(t.m, sum)
		}
	}, sum)
	return &mine
}

// sum names what is in g.
func (g *grants) sum() [sha256.Size]byte {
	var few [512]byte
	b := few[:0]
	for _, x := range []struct {
		list []string
		some bool
	}{{g.scope, true}, {g.rooms, true}, {g.namespaces, g.someNamespaces}, {g.events, g.someEvents}} {
		n := uint64(len(x.list)) << 1
		if x.some {
			n++
		}
		b = binary.LittleEndian.AppendUint64(b, n)
		for _, s := range x.list {
			b = append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
		}
	}
	return sha256.Sum256(b)
}
