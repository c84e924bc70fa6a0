package api

import (
	"net/http"
	"time"
)

// Guard is h for who has a key of the API, beside it on the same listener. A key may be
// the password of Basic, too, for programs that know a URL alone. As long as there are no
// keys there is nothing: 404, with how to give one. Pages of browsers are refused, and who
// comes often with a wrong key is told to wait.
func (a *API) Guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{a: a, s: a.settings.Load(), w: w, r: r, began: time.Now()}
		if len(c.s.keys) == 0 {
			http.Error(w, "This needs a key, and there is none: give one of at least 24 bytes as $SIOEDGE_API_KEY, --api-key or api.keys.", http.StatusNotFound)
			return
		}
		if _, password, ok := r.BasicAuth(); ok {
			c.r = r.Clone(r.Context())
			c.r.Header.Set("Authorization", "Bearer "+password)
		}
		if p := c.admit(); p != nil {
			if p.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="sioedge: a key of the API as the password", charset="UTF-8"`)
			}
			c.fail(p)
			return
		}
		h.ServeHTTP(w, r)
	})
}
