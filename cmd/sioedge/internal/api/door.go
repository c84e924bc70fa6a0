package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Keys open something beside the API on the same listener, as its own keys open that: a
// request has one as Bearer, or X-API-Key. Immutable; the zero one opens to nobody.
type Keys struct{ keys keys }

// NewKeys returns Keys of texts.
func NewKeys(texts []string) Keys { return Keys{newKeys(texts, nil)} }

// None tells whether there are no keys.
func (k Keys) None() bool { return len(k.keys) == 0 }

// Open tells whether a request has one of the keys. It takes as long whichever that is.
func (k Keys) Open(r *http.Request) bool {
	text := given(r.Header)
	return text != "" && len(text) <= maxKey && k.keys.find(text) != nil
}

// A Refusal is what a request is answered that may not have what it asks for.
type Refusal struct {
	Status int
	Detail string        // for people
	Retry  time.Duration // when it may be tried again; 0: nothing is said
}

// RefusePage refuses a request of a page in a browser; nil: it is none.
func RefusePage(r *http.Request) *Refusal {
	if !isPage(r) {
		return nil
	}
	return &Refusal{Status: http.StatusForbidden, Detail: "pages in browsers may not ask for this"}
}

// RefuseKey refuses a request that has no key, or none that opens what it asks for, and
// counts it with those of the API: who fails often is told to wait. What is the line of
// the log, and keys are where those are from that would do.
func (a *API) RefuseKey(r *http.Request, what, keys string) *Refusal {
	p := a.failed(r, given(r.Header) != "", what, keys)
	return &Refusal{p.status, p.is.Message, p.retry}
}

// Write answers with a problem (RFC 9457).
func (x *Refusal) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if x.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((x.Retry+time.Second-1)/time.Second)))
	}
	if x.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="sioedge"`)
	}
	w.WriteHeader(x.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(x.Status), "status": x.Status, "detail": x.Detail}) // who asked may have gone
}
