package api

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

const (
	maxOperators  = 64 // requests of operators at a time
	operatorPages = 4  // how often servers are asked for one page of theirs: a search goes on with the cursor
)

// ServeOperator answers a request of somebody who is known by something else than a key:
// the page for operators calls it, which has found out by whom a request is and that it is
// of no other page. It is as ServeHTTP else, but for streams, which are refused. Who is
// readOnly may see who is there, without what applications store with sockets, and change
// nothing. A page of sockets of a query is found in a bounded number of them, and may be
// empty with a cursor.
func (a *API) ServeOperator(w http.ResponseWriter, r *http.Request, readOnly bool) {
	c := &call{a: a, s: a.settings.Load(), w: w, r: r, began: time.Now(), operator: true, readOnly: readOnly}
	c.serve()
	a.counts.add(c)
}

// Digest is that of a key, as Opens takes it.
func Digest(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// Opens tells whether a digest is that of a key that opens the API now. It takes as long
// for any.
func (a *API) Opens(digest [sha256.Size]byte) bool {
	return a.settings.Load().keys.digest(digest) != nil
}

// admitOperator is admit for ServeOperator.
func (c *call) admitOperator() *problem {
	c.key = &c.a.operators
	switch {
	case c.route == nil:
	case c.route.stream:
		return fail(http.StatusForbidden, "stream", "streams are for keys")
	case c.readOnly && c.route.method != http.MethodGet && c.route.path != wire.QueryPath:
		return fail(http.StatusForbidden, "readonly", "nothing may be changed here (admin.readonly)")
	}
	return nil
}

// mostPages returns how often servers are asked for one answer.
func (c *call) mostPages() int {
	if c.operator {
		return operatorPages
	}
	return maxPages
}

// hides tells whether the caller may not see, or ask for, what applications store with
// sockets.
func (c *call) hides(f *filter) *problem {
	if c.readOnly && len(f.Where) > 0 {
		return fail(http.StatusForbidden, "readonly", "data of sockets may not be seen here (admin.readonly)")
	}
	return nil
}

// private are names of parameters of a query that prove who somebody is.
var private = []string{"token", "secret", "password", "passwd", "apikey", "api_key", "auth", "jwt", "session", "signature"}

// isPrivate tells whether a parameter of a query proves who its client is, by its name.
func isPrivate(name string) bool {
	name = strings.ToLower(name)
	for _, p := range private {
		if strings.Contains(name, p) {
			return true
		}
	}
	return name == "key" || name == "sig"
}
