package relay

import (
	"net"
	"net/netip"
	"sync"
)

// shares are places that many want: none of those that do can have all. A client may
// take one more while it has less than what is free, and one more may wait for a
// server while less than three times that do. So one client alone gets half, the next
// half of the rest, and three quarters wait for one server, which may hang. Any
// goroutine may use them.
type shares struct {
	mu   sync.Mutex
	most int
	used int
	held map[holder]int
}

// A holder is a client or a server of the cluster that has places.
type holder struct {
	server bool
	name   string // address or node
}

// serverShare is how many times what is free may wait for one server.
const serverShare = 3

func newShares(most int) *shares { return &shares{most: most, held: map[holder]int{}} }

// take takes a place for a client's request to a server. It is false if there is
// none, or one of the two has its share; give gives it back.
func (s *shares) take(client, node string) bool { return s.takeSome(client, node, 1) }

func (s *shares) give(client, node string) { s.giveSome(client, node, 1) }

// takeSome is take for so many, of which 0 are always there.
func (s *shares) takeSome(client, node string, count int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if count == 0 {
		return true
	}
	free := s.most - s.used
	c, n := holder{false, client}, holder{true, node}
	if s.held[c]+count > free || s.held[n]+count > serverShare*free {
		return false
	}
	s.used += count
	s.held[c] += count
	s.held[n] += count
	return true
}

func (s *shares) giveSome(client, node string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= count
	for _, h := range [...]holder{{false, client}, {true, node}} {
		if s.held[h] -= count; s.held[h] == 0 {
			delete(s.held, h)
		}
	}
}

func (s *shares) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// clientOf returns what a client's share goes by: its address, of IPv6 the network
// that one household has.
func clientOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Unmap().Is4() {
		return host
	}
	p, _ := a.WithZone("").Prefix(64) // cannot fail for IPv6
	return p.String()
}
