package bridge

import (
	"slices"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// mostRelays bounds the bytes that wait for room on a link to be relayed to its process.
const mostRelays = 8 << 20

// relay passes something on to other processes, each by one of its links: those that are
// named, or all.
func (b *Bridge) relay(m *member, msg *wire.Message) {
	from := []byte(m.s.UID())
	var names []string
	if msg.Names.Len() > 0 {
		names = msg.Names.Strings()
	}
	size := len(msg.Payload) + len(msg.Nsp) + 128
	if size > int(b.settings.Load().MaxMessage) {
		b.tally.relaysDropped.Add(1)
		return
	}
	b.mu.Lock()
	defer b.unlock()
	served := []string{m.s.UID()}
	for _, to := range b.members {
		uid := to.s.UID()
		if slices.Contains(served, uid) || names != nil && !slices.Contains(names, uid) {
			continue
		}
		served = append(served, uid)
		b.pass(to, func(dst []byte) []byte { return wire.AppendRelayed(dst, from, msg.Nsp, msg.Payload) }, size)
	}
}

// pass sends one process what another one relays. If there is no room it waits, so that
// the other does not, and if too much does it is dropped. The lock is held.
func (b *Bridge) pass(to *member, f func(dst []byte) []byte, size int) {
	switch {
	case len(to.relays) == 0 && to.s.Put(nil, false, f):
	case to.relayBytes+size > mostRelays && to.relayBytes > 0:
		b.tally.relaysDropped.Add(1)
		b.notice.Warn("bridge: what processes say to each other is dropped because one does not take it", "bridge", b.name, "process", to.s.UID(), "bytes", to.relayBytes)
		return
	default:
		text := f(make([]byte, 0, size))
		to.relays = append(to.relays, text)
		to.relayBytes += len(text)
	}
	b.tally.relayed.Add(1)
}
