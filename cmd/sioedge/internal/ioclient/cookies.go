package ioclient

import (
	"net/http"
	"sync"
)

// Bounds of the cookies of a server.
const (
	maxCookies     = 32
	maxCookieBytes = 4 << 10 // of one
)

// cookies are those that a server set by answers to polls: of balancers, for instance,
// that lead all requests of a session to one server. They go back to the same server
// only, whatever they say, and end with the client.
type cookies struct {
	mu  sync.Mutex
	set []*http.Cookie
}

// take keeps those of an answer.
func (c *cookies) take(r *http.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range r.Cookies() {
		at := len(c.set)
		for i, have := range c.set {
			if have.Name == k.Name {
				at = i
			}
		}
		switch {
		case len(k.Name)+len(k.Value) > maxCookieBytes || at == maxCookies:
		case at == len(c.set):
			c.set = append(c.set, k)
		default:
			c.set[at] = k
		}
	}
}

// header returns a copy of h with the cookies added.
func (c *cookies) header(h http.Header) http.Header {
	r := http.Request{Header: h.Clone()}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.set {
		if k.MaxAge >= 0 {
			r.AddCookie(&http.Cookie{Name: k.Name, Value: k.Value})
		}
	}
	return r.Header
}
