package loop

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// edgeTriggered says that the poller reports input only once.
const edgeTriggered = false

// pollPeerEnd is what poll(2) tells when the peer has ended its direction.
const pollPeerEnd = unix.POLLRDHUP

// Reads and sends never block, so they need not tell the scheduler: a raw
// system call saves 70 ns, and keeps sysmon from taking the processor away in
// the middle of a broadcast, which costs 25 to 50 % (measured).

func sysRead(fd int32, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func sysSend(fd int32, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// sysOutq is SIOCOUTQ: what was not acknowledged (tcp(7)), or of a unix socket
// not read, counted in the kernel's own way.
func sysOutq(fd int32) int {
	var n int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0
	}
	return int(n)
}

func sysWrite(fd int, p []byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
}

// sysAccept returns a connection, and who it is: to ask for that later is a system call of
// its own, and package unix would want to know the protocol too, by another.
func sysAccept(fd int) (int, plainAddr, error) {
	var sa unix.RawSockaddrInet6 // the larger of the two
	n := uint32(unix.SizeofSockaddrInet6)
	nfd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, plainAddr{}, errno
	}
	return int(nfd), plain(addrOf(&sa)), nil
}

func peerAddr(fd int32) netip.AddrPort {
	var sa unix.RawSockaddrInet6
	n := uint32(unix.SizeofSockaddrInet6)
	_, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return addrOf(&sa)
}

// addrOf returns the zero AddrPort for what is no address of TCP.
func addrOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	switch sa.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
	}
	return netip.AddrPort{}
}

// tuneListener sets what accepted sockets inherit.
func tuneListener(fd int, o *Options) error {
	if o.UserTimeout > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout.Milliseconds())); err != nil {
			return err
		}
	}
	if o.NotSentLowat > 0 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat)
	}
	return nil
}

// tuneAccepted has nothing to do here: everything is inherited.
func tuneAccepted(int, *Options) {}

// sharedPorts says that each loop has a listener of its own on one port, among
// which the kernel spreads connections.
const sharedPorts = true

func sharePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// poll changes what the poller reports about fd from have to want.
func (l *Loop) poll(_ uint32, fd int32, have, want flow) error {
	l.pa.FD = int(fd)
	switch {
	case want == 0:
		return l.poller.Delete(int(fd))
	case want == wantWrite: // there is no Mod for output only
		if have != 0 {
			if err := l.poller.Delete(int(fd)); err != nil {
				return err
			}
		}
		return l.poller.AddWrite(&l.pa, false)
	case want == wantRead && have == 0:
		return l.poller.AddRead(&l.pa, false)
	case want == wantRead:
		return l.poller.ModRead(&l.pa, false)
	case have == 0:
		return l.poller.AddReadWrite(&l.pa, false)
	default:
		return l.poller.ModReadWrite(&l.pa, false)
	}
}

// forget makes this loop's poller forget the descriptor, and returns the number
// it has from now on.
func (l *Loop) forget(r *record) int32 {
	if r.flow&interests != 0 {
		_ = l.poller.Delete(int(r.fd))
	}
	return r.fd
}

// directions tells what an event is about. Errors are found by reading, or by
// writing while reading is paused.
func directions(ev netpoll.IOEvent, flags netpoll.IOFlags) (readable, writable bool) {
	if netpoll.IsErrorEvent(ev, flags) {
		return true, true
	}
	return netpoll.IsReadEvent(ev), netpoll.IsWriteEvent(ev)
}
