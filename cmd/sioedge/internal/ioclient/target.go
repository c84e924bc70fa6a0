package ioclient

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// A Target is what a URL of Socket.IO means.
type Target struct {
	// Base is the server: its scheme is http or https, and it has a host only.
	Base url.URL
	// Namespace is the path of the URL.
	Namespace string
	// Query goes with each request to open a session.
	Query url.Values
}

// ParseTarget reads a URL as the stock client does: its path is the namespace, its query
// is the handshake's; ws and wss are http and https. Without a scheme it is https, but
// http where the host is this machine.
func ParseTarget(raw string) (Target, error) {
	if !strings.Contains(raw, "://") {
		scheme := "https://"
		if u, err := url.Parse("http://" + raw); err == nil && local(u.Hostname()) {
			scheme = "http://"
		}
		raw = scheme + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Target{}, fmt.Errorf("not a URL: %w", errors.Unwrap(err))
	}
	t := Target{Base: url.URL{Scheme: u.Scheme, Host: u.Host}, Namespace: u.Path, Query: u.Query()}
	switch u.Scheme {
	case "ws", "wss":
		t.Base.Scheme = "http" + u.Scheme[2:]
	case "http", "https":
	default:
		return Target{}, fmt.Errorf("a scheme %q cannot be connected to: http, https, ws or wss", u.Scheme)
	}
	if u.Hostname() == "" {
		return Target{}, errors.New("the URL names no host")
	}
	if u.User != nil {
		return Target{}, errors.New("a URL with a user is not what Socket.IO knows: use a header")
	}
	if t.Namespace == "" {
		t.Namespace = "/"
	}
	return t, CheckNamespace(t.Namespace)
}

// local tells whether a host is this machine by its name.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CheckNamespace says what is wrong with the name of a namespace.
func CheckNamespace(name string) error {
	switch {
	case !strings.HasPrefix(name, "/"):
		return fmt.Errorf("a namespace begins with a slash, %q does not", name)
	case strings.Contains(name, ","):
		return fmt.Errorf("%q cannot be a namespace: it has a comma", name)
	}
	return nil
}

// engineURL returns the URL of Engine.IO requests, which have the scheme of base.
func (o *Options) engineURL(transport, sid string) *url.URL {
	u := o.Target.Base
	u.Path = o.Path
	q := url.Values{}
	for k, v := range o.Target.Query {
		q[k] = v
	}
	q.Set("EIO", "4")
	q.Set("transport", transport)
	if sid != "" {
		q.Set("sid", sid)
	}
	u.RawQuery = q.Encode()
	return &u
}
