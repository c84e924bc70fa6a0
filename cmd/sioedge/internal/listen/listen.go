// Package listen opens what the edge listens on: addresses of TCP with and without
// TLS, Unix sockets with an owner, sockets that systemd passes, each with a PROXY preface
// in front if it says so; and it tells systemd how the process is.
package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// Options are what addresses have in common.
type Options struct {
	// TLS is what connections of addresses with TLS go through. Nil: such an address is
	// an error.
	TLS loop.Opener
	// Trusted are the proxies whose PROXY preface is believed.
	Trusted []netip.Prefix
	// Sockets are those that systemd has passed. Nil: none.
	Sockets *Sockets
	// Inherited are those of the process whose clients srv takes over. Nil: none.
	Inherited *Inherited
	// Preface counts what became of prefaces. Nil: nobody asks.
	Preface *Preface
	Logger  *slog.Logger
}

// errNoTLS is of an address that wants TLS where there is no certificate.
var errNoTLS = errors.New("needs a certificate (--tls-cert)")

// Open has srv, which does not serve yet, listen on an address, and returns where that
// is: of systemd's it can be several, of others it is one.
func Open(srv *sio.Server, l config.Listen, o Options) ([]net.Addr, error) {
	var lo loop.ListenOptions
	if l.TLS {
		if lo.Opener = o.TLS; lo.Opener == nil {
			return nil, errNoTLS
		}
	}
	if l.Proxy != "" {
		lo.Opener = o.preface(l.Proxy, lo.Opener)
	}
	if at := o.Inherited.take(l); len(at) > 0 {
		return openInherited(srv, at, lo)
	}
	switch l.Network {
	case "systemd":
		return openPassed(srv, l.Address, lo, o.Sockets)
	case "unix":
		owner, err := ownerOf(l.Owner)
		if err != nil {
			return nil, err
		}
		lo.Mode, lo.Owner = l.Mode, owner
		a, err := srv.ListenWith("unix:"+l.Address, lo)
		return []net.Addr{a}, err
	}
	a, err := srv.ListenWith("tcp://"+l.Address, lo)
	return []net.Addr{a}, err
}

// openInherited has srv listen where the process listens whose clients it takes over.
func openInherited(srv *sio.Server, at []string, lo loop.ListenOptions) (addrs []net.Addr, err error) {
	for _, text := range at {
		a, err := srv.ListenWith(text, lo)
		if err != nil {
			return addrs, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// openPassed has srv listen on the sockets of a name that systemd has passed.
func openPassed(srv *sio.Server, name string, lo loop.ListenOptions, s *Sockets) (addrs []net.Addr, err error) {
	groups, err := s.take(name)
	if err != nil {
		return nil, err
	}
	for _, files := range groups {
		lo.Files = files
		a, err := srv.ListenWith("", lo)
		for _, f := range files {
			_ = f.Close() // the server has a copy
		}
		if err != nil {
			return addrs, fmt.Errorf("a socket that systemd has passed: %w", err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// Check returns what is wrong with an address that can be known without opening it.
func Check(l config.Listen, trusted []netip.Prefix) error {
	if l.Proxy != "" && len(trusted) == 0 && l.Network == "tcp" {
		return errNobodyTrusted
	}
	_, err := ownerOf(l.Owner)
	return err
}

// errNobodyTrusted is of an address whose prefaces nobody could send.
var errNobodyTrusted = errors.New("has ?proxy=, but there is no trust_proxy (--trust-proxy): nobody's preface would be believed")
