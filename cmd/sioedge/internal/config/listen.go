package config

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// A Listen is an address to listen on.
type Listen struct {
	Network string // "tcp", "unix" or "systemd"
	Address string // host:port, a path, or the name of sockets that systemd passes; "" of systemd: all
	TLS     bool
	Proxy   string      // preface of the PROXY protocol that connections begin with: "v1", "v2" or "any"; "": none
	Mode    fs.FileMode // of a path; 0: what the umask leaves
	Owner   string      // of a path: user, user:group or :group; "": the process's
}

var errListen = errors.New("is not an address such as :3000, tls://:443, tcp://10.0.0.1:3000?proxy=v2, unix:/run/sioedge.sock?mode=0660 or systemd:name")

// ParseListen parses what listen can be: host:port, tcp://host:port, tls://host:port,
// unix:/path, systemd:name, each with options behind a question mark: proxy=v1|v2|any;
// of a path mode=0660 and owner=user:group; of unix and systemd tls=true. No name in it
// is looked up.
func ParseListen(text string) (Listen, error) {
	rest, query, has := strings.Cut(text, "?")
	l := Listen{Network: "tcp", Address: rest}
	switch scheme, address, ok := strings.Cut(rest, ":"); {
	case ok && scheme == "unix":
		l.Network, l.Address = "unix", strings.TrimPrefix(address, "//")
	case ok && scheme == "systemd":
		l.Network, l.Address = "systemd", address
	case ok && (scheme == "tcp" || scheme == "tls") && strings.HasPrefix(address, "//"):
		l.Address, l.TLS = address[2:], scheme == "tls"
	}
	if has {
		if err := l.options(query); err != nil {
			return Listen{}, err
		}
	}
	return l, l.check()
}

func (l *Listen) check() error {
	switch l.Network {
	case "unix":
		if l.Address == "" {
			return errListen
		}
	case "tcp":
		_, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			return errListen
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return errListen
		}
	}
	return nil
}

// options reads what is behind the question mark.
func (l *Listen) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) == 0 {
		return errListen
	}
	for name, all := range values {
		v, good := all[0], len(all) == 1
		switch name {
		case "proxy":
			l.Proxy = v
			good = good && (v == "v1" || v == "v2" || v == "any")
		case "tls":
			l.TLS = v == "true"
			good = good && v == "true" && l.Network != "tcp"
		case "mode":
			n, err := strconv.ParseUint(v, 8, 9)
			l.Mode = fs.FileMode(n)
			good = good && err == nil && n != 0 && l.Network == "unix"
		case "owner":
			l.Owner = v
			good = good && v != "" && v != ":" && strings.Count(v, ":") <= 1 && l.Network == "unix"
		default:
			good = false
		}
		if !good {
			return errListen
		}
	}
	return nil
}

// checkListen checks an address to listen on.
func checkListen(text string) error {
	_, err := ParseListen(text)
	return err
}
