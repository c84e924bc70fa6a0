package admin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// names tells whether a request may name a host: an address, this machine, or one of the
// settings. Any other is that of a page elsewhere whose name DNS leads here.
func (r *rules) names(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(r.Hosts, func(h string) bool { return strings.EqualFold(strings.TrimSuffix(h, "."), host) })
}

// sameOrigin tells whether a request is of this page: browsers say so, and who says
// nothing is believed only if nothing changes.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin" || site == "none" && reads(r)
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return reads(r)
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == r.Host
}

// reads tells whether a request changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// tokenField is the header field of a session's token.
const tokenField = "X-Admin-Token"

type sessionKey struct{}

// sessionOf returns the session of a request that known has let pass.
func sessionOf(r *http.Request) *session {
	s, _ := r.Context().Value(sessionKey{}).(*session)
	return s
}

// known lets requests pass that are of a session, and of this page; those that change
// something have to show the session's token, which no other page can know.
func (a *Admin) known(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !sameOrigin(r) {
			a.forbid(w, r)
			return
		}
		s := a.sessionOf(r)
		if s == nil {
			refuse(w, http.StatusUnauthorized, "no_session", "log in first")
			return
		}
		if !reads(r) && subtle.ConstantTimeCompare([]byte(r.Header.Get(tokenField)), []byte(s.token)) != 1 {
			a.forbid(w, r)
			return
		}
		h(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, s)))
	}
}

// forbid refuses what comes from another page.
func (a *Admin) forbid(w http.ResponseWriter, r *http.Request) {
	a.counts.foreign.Add(1)
	a.notice.Warn("a request for the page for operators comes from another page", "address", r.RemoteAddr)
	refuse(w, http.StatusForbidden, "origin", "this comes from another page")
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", "the server failed")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who has gone does not get it
}

// refuse answers what is wrong, as the API does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}
