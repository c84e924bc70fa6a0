package loop

import "golang.org/x/sys/unix"

// Here a Sim's peers part from sockets: their descriptors are negative. The
// calls for sockets stay direct.

func (l *Loop) recv(fd int32, p []byte) (int, unix.Errno) {
	if fd < 0 {
		return l.sim.recv(fd, p)
	}
	return sysRead(fd, p)
}

// peekReset tells whether the kernel has an error to tell about fd, or both its
// directions have ended, whatever may still be read from it.
func (l *Loop) peekReset(fd int32) bool {
	if fd < 0 {
		return l.sim.peer(fd).reset
	}
	return pollNow(fd, 0) != 0
}

// peekEnd tells that too, and whether the peer has ended its own direction.
func (l *Loop) peekEnd(fd int32) bool {
	if fd < 0 {
		p := l.sim.peer(fd)
		return p.reset || p.ended
	}
	return pollNow(fd, pollPeerEnd) != 0
}

// pollNow asks the kernel for events of a descriptor; of errors, and of the end of
// both directions, it always tells.
func pollNow(fd int32, events int16) int16 {
	all := [1]unix.PollFd{{Fd: fd, Events: events}}
	for {
		if _, err := unix.Poll(all[:], 0); err != unix.EINTR {
			return all[0].Revents & (events | unix.POLLERR | unix.POLLHUP)
		}
	}
}

func (l *Loop) send(fd int32, p []byte) (int, unix.Errno) {
	if fd < 0 {
		return l.sim.send(fd, p)
	}
	return sysSend(fd, p)
}

// unacknowledged returns how many bytes the kernel has of ours that the peer
// does not.
func (l *Loop) unacknowledged(fd int32) int {
	if fd < 0 {
		return l.sim.peer(fd).outq
	}
	return sysOutq(fd)
}

// shutdown sends our end of stream.
func (l *Loop) shutdown(fd int32) unix.Errno {
	if fd < 0 {
		return l.sim.shutdown(fd)
	}
	if unix.Shutdown(int(fd), unix.SHUT_WR) != nil {
		return unix.ENOTCONN
	}
	return 0
}

// watch tells the poller that from have the connection's interest is now want.
func (l *Loop) watch(slot uint32, fd int32, have, want flags) error {
	if fd < 0 {
		l.sim.watch(l, slot, fd, want)
		return nil
	}
	return l.poll(slot, fd, have, want)
}

// unwatch makes this loop's poller forget the connection, and returns the
// descriptor it has from now on.
func (l *Loop) unwatch(r *record) int32 {
	if r.fd < 0 {
		l.sim.watch(l, 0, r.fd, 0)
		return r.fd
	}
	return l.forget(r)
}

func closeFD(fd int32) { _ = unix.Close(int(fd)) }
