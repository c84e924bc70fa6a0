//go:build !linux

package loop

import (
	"errors"
	"net/netip"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// edgeTriggered says that the poller reports input only once. The kqueue poller
// cannot stop watching a descriptor, so that input nobody wants would be
// reported for ever.
const edgeTriggered = true

// pollPeerEnd is what poll(2) tells when the peer has ended its direction: here
// nothing does.
const pollPeerEnd = 0

func sysRead(fd int32, p []byte) (int, unix.Errno) {
	n, err := unix.Read(int(fd), p)
	return n, number(err)
}

func sysSend(fd int32, p []byte) (int, unix.Errno) {
	n, err := unix.Write(int(fd), p) // the runtime ignores SIGPIPE on sockets
	return n, number(err)
}

// sysOutq cannot tell everywhere: what the kernel takes is all that is known.
func sysOutq(int32) int { return 0 }

func number(err error) unix.Errno {
	if err == nil {
		return 0
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return unix.EIO
	}
	return errno
}

func sysAccept(fd int) (int, plainAddr, error) {
	nfd, _, err := unix.Accept(fd)
	if err != nil {
		return -1, plainAddr{}, err
	}
	unix.CloseOnExec(nfd)
	if err := unix.SetNonblock(nfd, true); err != nil {
		_ = unix.Close(nfd)
		return -1, plainAddr{}, unix.ECONNABORTED
	}
	return nfd, plainAddr{}, nil
}

func tuneListener(int, *Options) error { return nil }

// tuneAccepted sets what is not inherited from a listener everywhere.
func tuneAccepted(fd int, _ *Options) {
	_ = tuneSocket(fd) // fails on unix sockets
}

// sharedPorts says that SO_REUSEPORT does not spread connections here: the
// first loop accepts for all.
const sharedPorts = false

func sharePort(int) error { return nil }

// poll changes what the poller reports about fd from have to want. Input is
// reported for as long as the descriptor is open; what was missed meanwhile is
// looked for when somebody wants it again.
func (l *Loop) poll(slot uint32, fd int32, have, want flow) error {
	l.pa.FD = int(fd)
	changed := have ^ want
	if changed&want&wantRead != 0 {
		if err := l.poller.AddRead(&l.pa, true); err != nil {
			return err
		}
		l.again = append(l.again, slot)
	}
	switch {
	case changed&wantWrite == 0:
		return nil
	case want&wantWrite != 0:
		return l.poller.ModReadWrite(&l.pa, true)
	default:
		return l.poller.ModRead(&l.pa, true)
	}
}

// forget makes this loop's poller forget the descriptor, and returns the number
// it has from now on: kqueue forgets a number when it is closed.
func (l *Loop) forget(r *record) int32 {
	fd, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return r.fd // events for it wake this loop for nothing, no more
	}
	l.engine.fds.set(int(r.fd), 0)
	closeFD(r.fd)
	r.fd = int32(fd)
	return r.fd
}

// directions tells what an event is about. Errors are found by reading, or by
// writing while reading is paused.
func directions(ev netpoll.IOEvent, flags netpoll.IOFlags) (readable, writable bool) {
	bad := netpoll.IsErrorEvent(ev, flags)
	return bad || netpoll.IsReadEvent(ev), bad || netpoll.IsWriteEvent(ev)
}

func peerAddr(fd int32) netip.AddrPort {
	sa, err := unix.Getpeername(int(fd))
	if err != nil {
		return netip.AddrPort{}
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
