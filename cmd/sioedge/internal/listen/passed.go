package listen

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// Sockets are listening sockets that systemd has passed to the process
// (sd_listen_fds(3)), each with a name: that of its unit, or FileDescriptorName= in it.
type Sockets struct {
	named []string // names that addresses ask for

	mu    sync.Mutex
	files []*os.File // that nobody has taken
	had   int
}

// Passed returns the sockets that were passed to this process. Only the first call finds
// any: what it starts later is not told. addresses are all those of the settings: what
// one of them names is not part of "systemd:" without a name.
func Passed(addresses []string) *Sockets {
	s := &Sockets{files: activation.Files(true)}
	s.had = len(s.files)
	for _, text := range addresses {
		if l, err := config.ParseListen(text); err == nil && l.Network == "systemd" && l.Address != "" {
			s.named = append(s.named, l.Address)
		}
	}
	return s
}

// take returns the sockets of a name, those that are one address together (as with
// ReusePort=) in one group. "" is all that have no address of their own. They are the
// caller's.
func (s *Sockets) take(name string) (groups [][]*os.File, err error) {
	if s == nil {
		s = &Sockets{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var at []string
	s.files = slices.DeleteFunc(s.files, func(f *os.File) bool {
		if f.Name() != name && (name != "" || slices.Contains(s.named, f.Name())) {
			return false
		}
		addr := addressOf(f)
		if i := slices.Index(at, addr); addr != "" && i >= 0 {
			groups[i] = append(groups[i], f)
			return true
		}
		at, groups = append(at, addr), append(groups, []*os.File{f})
		return true
	})
	switch {
	case len(groups) > 0:
		return groups, nil
	case s.had == 0:
		return nil, fmt.Errorf("systemd has passed no sockets: the process was not started by a .socket unit")
	case name == "":
		return nil, fmt.Errorf("systemd has passed no sockets but those of other addresses")
	}
	return nil, fmt.Errorf("systemd has passed no socket of the name %q (FileDescriptorName=)", name)
}

// one returns the one socket of a name.
func (s *Sockets) one(name string) (net.Listener, error) {
	groups, err := s.take(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, g := range groups {
			for _, f := range g {
				_ = f.Close() // there is a copy
			}
		}
	}()
	if len(groups) > 1 || len(groups[0]) > 1 {
		return nil, fmt.Errorf("systemd has passed more than one socket of the name %q", name)
	}
	ln, err := net.FileListener(groups[0][0])
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it is systemd's
	}
	return ln, err
}

// Close closes the sockets that nobody has taken, and returns their names.
func (s *Sockets) Close() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		names = append(names, f.Name())
		_ = f.Close()
	}
	s.files = nil
	return names
}

// addressOf returns where a socket listens, "" if it does not.
func addressOf(f *os.File) string {
	ln, err := net.FileListener(f)
	if err != nil {
		return ""
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	defer ln.Close()
	return ln.Addr().Network() + " " + ln.Addr().String()
}
