package listen

import (
	"net/netip"
	"sync"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/proxyproto"
)

// Trusts returns what tells whether the other end of a connection is a proxy that is
// believed, nil if there is none. One without an address, on a Unix socket, is.
func Trusts(proxies []netip.Prefix) func(netip.Addr) bool {
	if len(proxies) == 0 {
		return nil
	}
	return func(peer netip.Addr) bool {
		if !peer.IsValid() {
			return true
		}
		peer = peer.Unmap()
		for _, p := range proxies {
			if p.Contains(peer) {
				return true
			}
		}
		return false
	}
}

// PrefaceStats count what became of PROXY prefaces.
type PrefaceStats = proxyproto.Stats

// A Preface has the counts of all addresses with a PROXY preface.
type Preface struct {
	mu      sync.Mutex
	openers []*proxyproto.Opener
}

// Stats returns the sums. Any goroutine may call it.
func (p *Preface) Stats() (sum PrefaceStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.openers {
		sum.Add(o.Stats())
	}
	return sum
}

// versions are what ?proxy= can be.
var versions = map[string]int{"v1": 1, "v2": 2, "any": 0}

// preface returns what reads a preface in front of next. Of those who come by a Unix
// socket all are believed: who may is its permissions' to say.
func (o *Options) preface(version string, next loop.Opener) loop.Opener {
	trusted := Trusts(o.Trusted)
	p := proxyproto.New(proxyproto.Options{
		Version: versions[version],
		Trusted: func(a netip.Addr) bool { return !a.IsValid() || trusted != nil && trusted(a) },
		Next:    next, Hint: " (--trust-proxy)",
	})
	if o.Preface != nil {
		o.Preface.mu.Lock()
		o.Preface.openers = append(o.Preface.openers, p)
		o.Preface.mu.Unlock()
	}
	return p
}
