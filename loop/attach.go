package loop

import (
	"net/netip"
)

// noFD is the descriptor of what has none: a stream. Those from -1 down to it are
// a Sim's peers.
const noFD = -1 << 31

// An arrival is a connection on its way to this loop: accepted here or elsewhere,
// adopted, attached, or moved.
type arrival struct {
	fd     int32
	label  uint8
	x      *ext   // queued output, carried input, the link; may be nil
	opener Opener // nil: straight to the handler
	addr   netip.AddrPort
	peer   plainAddr // as the kernel has said
}

func (a arrival) isZero() bool { return a.fd == 0 && a.x == nil }

// Run puts the connection on the list of arrivals. It does not open it, because
// a mailbox is also drained by Ask, within a handler.
func (a arrival) Run(l *Loop) { l.arrivals = append(l.arrivals, a) }

// attach opens a connection. It counts already as live.
func (l *Loop) attach(a arrival) {
	if l.ending || a.opener != nil && (l.draining || !l.admitOpening()) {
		l.discard(a.fd, a.x)
		return
	}
	slot, ok := l.conns.Alloc()
	if !ok {
		l.tally.NoSlot++
		l.engine.notes.Warn("a connection was closed at once: its loop has no slot left", "loop", l.index)
		if a.opener != nil {
			l.engine.opening.Add(-1)
		}
		l.discard(a.fd, a.x)
		return
	}
	r := l.conns.At(slot)
	*r = record{fd: a.fd, label: a.label}
	if x := a.x; x != nil {
		r.ext = l.newExt()
		l.exts[r.ext] = x
		l.tally.Queued += int64(x.queued)
		l.tally.Held += int64(x.held)
		l.tally.Entries += int64(x.entries())
		x.since, x.taken = l.now, unknown
	}
	if a.addr.IsValid() {
		l.addrs.set(slot, a.addr)
	}
	if a.fd >= 0 {
		l.recent.put(l.conn(slot), a.peer)
		l.engine.fds.set(int(a.fd), uint32(l.index)<<24|slot)
	}
	if a.fd < 0 || a.x != nil && a.x.link != nil {
		r.flow |= linked
	}
	if a.opener != nil {
		l.begun(slot, r, a.opener)
		return
	}
	l.admitted(slot, r)
}

// depart hands the connection to another loop.
func (l *Loop) depart(slot uint32, r *record) {
	if r.due&inDirty != 0 { // by another connection's Close in this turn
		l.flush(slot)
		if r.life.in(cutSet) {
			return // deferred anew
		}
	}
	x := l.exts[r.ext]
	r.become(closing) // nothing more may be written here
	x.err = ErrMoved
	l.tellClosed(slot, r)
	if r.life == cutting { // an Abort from within Close
		l.drop(slot, r)
		return
	}
	to := x.to
	x.to, x.err = nil, nil
	l.uncount(x)
	l.exts[r.ext], r.ext = nil, l.recycle(r.ext)
	a := arrival{fd: l.unwatch(r), label: r.label, x: x, addr: l.addrs.get(slot)}
	l.release(slot, r, false)
	if !to.Post(a) {
		l.discard(a.fd, x)
	}
}

// uncount takes what is queued in x off the gauges: it goes elsewhere, or is
// dropped.
func (l *Loop) uncount(x *ext) {
	l.tally.Queued -= int64(x.queued)
	l.tally.Held -= int64(x.held)
	l.tally.Entries -= int64(x.entries())
}

// recycle gives an index of exts back and returns 0.
func (l *Loop) recycle(i uint32) uint32 {
	l.freeExts = append(l.freeExts, i)
	return 0
}

// release frees the record of a connection whose descriptor lives on. leaves says
// that it may come back under its name.
func (l *Loop) release(slot uint32, r *record, leaves bool) {
	if r.fd >= 0 {
		l.engine.fds.set(int(r.fd), 0) // before the number can be used again
	}
	l.addrs.drop(slot)
	if checked {
		r.become(free)
	}
	*r = record{fd: noFD}
	if leaves {
		l.conns.Leave(slot)
	} else {
		l.conns.Free(slot)
	}
}

// discard closes what no record has.
func (l *Loop) discard(fd int32, x *ext) {
	if x != nil && x.link != nil {
		l.safely(x.link.Close)
	}
	switch {
	case fd >= 0:
		closeFD(fd)
	case fd != noFD:
		l.sim.hangUp(fd)
	}
	l.engine.gone()
}

// addrs are the addresses of connections whose peer is not who the kernel says,
// by slot.
type addrs map[uint32]plainAddr

// plainAddr is an address without a pointer.
type plainAddr struct {
	ip   [16]byte
	port uint16
}

func plain(a netip.AddrPort) plainAddr { return plainAddr{a.Addr().As16(), a.Port()} }

func (p plainAddr) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(p.ip).Unmap(), p.port)
}

func (a *addrs) set(slot uint32, to netip.AddrPort) {
	if *a == nil {
		*a = addrs{}
	}
	(*a)[slot] = plain(to)
}

// get returns the zero AddrPort if there is none.
func (a addrs) get(slot uint32) netip.AddrPort {
	if p, ok := a[slot]; ok {
		return p.addrPort()
	}
	return netip.AddrPort{}
}

func (a addrs) drop(slot uint32) {
	if len(a) > 0 {
		delete(a, slot)
	}
}

// recent are the addresses that the latest connections came with, by slot: who they are is
// asked for when they have just come, mostly.
type recent [64]struct {
	slot, gen uint32
	peer      plainAddr
}

func (x *recent) put(c Conn, peer plainAddr) {
	e := &x[c.slot%uint32(len(x))]
	e.slot, e.gen, e.peer = c.slot, c.gen, peer
}

// get is false if that is not known.
func (x *recent) get(c Conn) (netip.AddrPort, bool) {
	e := &x[c.slot%uint32(len(x))]
	if e.slot != c.slot || e.gen != c.gen || e.peer.port == 0 {
		return netip.AddrPort{}, false
	}
	return e.peer.addrPort(), true
}
