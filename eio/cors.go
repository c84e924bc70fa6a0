package eio

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/loop/http1"
)

// CORS says from where pages may use the server. Unlike Node's cors it does not
// only tell browsers: a request of another origin is refused, be it a poll or
// the handshake of a WebSocket, which browsers let any page make.
type CORS struct {
	// Origins that are allowed, such as "https://app.example.com",
	// "https://*.example.com" or "http://localhost:*": a * stands for at least one
	// character. "*" by itself is any origin, "null" that of files and sandboxed
	// frames, "file://" that of files in some devices, and apps have schemes of their
	// own: "capacitor://localhost". Some clients name the address they connect to: ws
	// and wss are taken for http and https. A port that is its scheme's is no other
	// origin. The host that the request is for is always allowed, so without any
	// Origins it is the only one; and so are requests that name no origin, whose
	// clients are no browsers. (JSONP names none: there it is that of the Referer.)
	// Node: cors.origin.
	Origins []string
	// Credentials lets pages of other origins send cookies, and see what is
	// answered then. It cannot be had with the origin "*". Node: cors.credentials.
	Credentials bool
	// Methods and AllowedHeaders are what pages of other origins may send. Nil
	// means Node's methods, and whatever headers they ask for. Node: cors.methods,
	// cors.allowedHeaders.
	Methods, AllowedHeaders []string
	// ExposedHeaders of answers are shown to pages of other origins. Node:
	// cors.exposedHeaders.
	ExposedHeaders []string
	// MaxAge is how long a browser may remember all this, in whole seconds. Zero
	// leaves it to the browser. Node: cors.maxAge.
	MaxAge time.Duration
	// Hint is appended to the message of a refusal, for whoever has to find out
	// what to change.
	Hint string
}

// cors is CORS, ready for use.
type cors struct {
	any       bool
	patterns  []string      // in lower case
	allowed   []http1.Field // of every answer to an origin that is allowed
	preflight []http1.Field // of the answer to OPTIONS, on top
	reflects  bool          // pages may send any header
	hint      string
}

var (
	fieldVary         = []byte("Vary")
	fieldAllowOrigin  = []byte("Access-Control-Allow-Origin")
	fieldAllowHeaders = []byte("Access-Control-Allow-Headers")
)

const requestHeaders = "Access-Control-Request-Headers"

func newCORS(o *CORS) (*cors, error) {
	c := &cors{reflects: o.AllowedHeaders == nil, hint: o.Hint}
	for _, p := range o.Origins {
		if !isOrigin(p) {
			return nil, fmt.Errorf("eio: CORS: %q is not an origin such as https://*.example.com", p)
		}
		c.any = c.any || p == "*"
		c.patterns = append(c.patterns, plainOrigin(p))
	}
	if c.any && o.Credentials {
		return nil, errors.New(`eio: CORS: Credentials would give every site the cookies; name the Origins instead of "*"`)
	}
	if o.MaxAge < 0 {
		return nil, errors.New("eio: CORS: MaxAge must not be negative")
	}
	var bad error
	field := func(name string, values ...string) http1.Field {
		f := http1.Field{Name: []byte(name), Value: []byte(strings.Join(values, ","))}
		if !f.Valid() {
			bad = fmt.Errorf("eio: CORS: %s cannot be %q", name, f.Value)
		}
		return f
	}
	if c.any {
		c.allowed = append(c.allowed, field("Access-Control-Allow-Origin", "*"))
	}
	if o.Credentials {
		c.allowed = append(c.allowed, field("Access-Control-Allow-Credentials", "true"))
	}
	if len(o.ExposedHeaders) > 0 {
		c.allowed = append(c.allowed, field("Access-Control-Expose-Headers", o.ExposedHeaders...))
	}
	methods := o.Methods
	if methods == nil {
		methods = []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"}
	}
	c.preflight = append(c.preflight, field("Access-Control-Allow-Methods", methods...))
	if !c.reflects {
		c.preflight = append(c.preflight, field("Access-Control-Allow-Headers", o.AllowedHeaders...))
	}
	if o.MaxAge > 0 {
		c.preflight = append(c.preflight, field("Access-Control-Max-Age", strconv.Itoa(int(o.MaxAge/time.Second))))
	}
	c.allowed, c.preflight = slices.Clip(c.allowed), slices.Clip(c.preflight)
	return c, bad
}

// isOrigin tells whether p can be an origin as browsers and other clients send it
// (RFC 6454, 6.2), or match one. Of files there is no host.
func isOrigin(p string) bool {
	scheme, host, ok := strings.Cut(p, "://")
	if strings.EqualFold(scheme, "file") {
		return host == ""
	}
	return p == "*" || p == "null" || ok && scheme != "" && host != "" &&
		!strings.ContainsFunc(scheme+host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/\,"<>?#@`, r) })
}

// plainOrigin returns an origin, or a pattern of them, in the one spelling in which
// they are compared: in lower case, http for ws and https for wss, and without the
// port that is the scheme's, or a slash at the end.
func plainOrigin(p string) string {
	scheme, host, ok := strings.Cut(strings.ToLower(p), "://")
	if !ok {
		return scheme
	}
	host = strings.TrimSuffix(host, "/")
	switch scheme {
	case "ws", "http":
		scheme, host = "http", strings.TrimSuffix(host, ":80")
	case "wss", "https":
		scheme, host = "https", strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host
}

// allows tells where a request comes from and whether it may be served, and which
// fields its answers have. They may be appended to.
func (c *cors) allows(r *http1.Request, jsonp bool) (origin []byte, fields []http1.Field, allowed bool) {
	if c.any {
		return nil, c.allowed, true
	}
	// Caches must not give one origin's answer to another.
	fields = []http1.Field{{Name: fieldVary, Value: []byte("Origin")}}
	if origin = r.Get("Origin"); len(origin) == 0 {
		if !jsonp {
			return nil, fields, true
		}
		origin = refererOrigin(r.Get("Referer"))
	}
	plain := plainOrigin(string(origin))
	if !isOrigin(plain) || !ownHost(plain, strings.ToLower(string(r.Host))) &&
		!slices.ContainsFunc(c.patterns, func(p string) bool { return glob(p, plain) }) {
		return origin, fields, false
	}
	return origin, append(append(fields, http1.Field{Name: fieldAllowOrigin, Value: bytes.Clone(origin)}), c.allowed...), true
}

// refererOrigin returns the origin of a URL. Any page can load what JSONP answers,
// as a script, and the browser does not send an Origin with that; a page that
// has it send no Referer either is of no origin that could be allowed.
func refererOrigin(url []byte) []byte {
	scheme, rest, ok := bytes.Cut(url, []byte("://"))
	host, _, _ := bytes.Cut(rest, []byte("/"))
	if !ok {
		return []byte("unknown")
	}
	return url[:len(scheme)+len("://")+len(host)]
}

// ownHost tells whether an origin, as plainOrigin spells it, is where a request
// was sent; host is in lower case. Whether that was by TLS is not looked at, nor
// whether a port is that of the one or the other: a proxy may have ended it.
func ownHost(origin, host string) bool {
	scheme, authority, _ := strings.Cut(origin, "://")
	return (scheme == "http" || scheme == "https") && host != "" && withoutPort(authority) == withoutPort(host)
}

// withoutPort returns a host without a port that is one of the web's.
func withoutPort(host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
}

// glob tells whether s is like pattern, in which a * stands for at least one
// character. As a / is only before the host, a * does not reach from the scheme
// into it. The time is at most the product of the lengths.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the latest *, and where what it stands for ends
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i+1
			p, i = p+1, i+1
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return p == len(pattern)
}

// checkOrigin settles where a request under the path comes from: its answers get the
// fields for that. It is false when the request was answered: a preflight, or
// one that is refused, unless it is for a file, which anybody may have.
func (sh *shard) checkOrigin(h *httpConn, file bool) bool {
	c := sh.srv.cors
	origin, fields, allowed := c.allows(h.req, h.query.jsonp)
	h.fields = fields
	preflight := string(h.req.Method) == http.MethodOptions
	switch {
	case !allowed && (preflight || !file):
		sh.tally.Origins++
		sh.srv.notice.Warn("an origin was refused", "flag", "--origins", "origin", origin, "host", h.req.Host,
			"address", addrText(sh.clientAddr(h)))
		sh.refuse(h, refusal{code: CodeForbidden, status: http.StatusForbidden, alwaysJSON: true,
			message: fmt.Sprintf("origin %s is not allowed%s", origin[:min(len(origin), 200)], c.hint)})
		return false
	case preflight:
		h.fields = append(slices.Clip(h.fields), c.preflight...)
		if asked := h.req.Get(requestHeaders); c.reflects {
			h.fields = append(h.fields, http1.Field{Name: fieldVary, Value: []byte(requestHeaders)})
			if len(asked) > 0 {
				h.fields = append(h.fields, http1.Field{Name: fieldAllowHeaders, Value: bytes.Clone(asked)})
			}
		}
		sh.answer(h, http.StatusNoContent, nil, nil, false)
		return false
	}
	return true
}
