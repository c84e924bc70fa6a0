package loop

import "golang.org/x/sys/unix"

// Here connections that are linked part from plain sockets. The calls for sockets
// stay direct.

func (l *Loop) recv(slot uint32, r *record, p []byte) (int, unix.Errno) {
	if r.flow&linked != 0 {
		return l.linkRead(slot, r, p)
	}
	return sysRead(r.fd, p)
}

func (l *Loop) send(slot uint32, r *record, p []byte) (int, unix.Errno) {
	if r.flow&linked != 0 {
		return l.linkWrite(slot, r, p)
	}
	return sysSend(r.fd, p)
}

// bottom returns what r's bytes go to in the end, if it has no descriptor.
func (l *Loop) bottom(r *record) Stream {
	if r.fd == noFD {
		s, _ := l.stream(r)
		return s
	}
	return l.sim.link(r.fd)
}

// peekReset tells whether there is an error to tell about r, or both its
// directions have ended, whatever may still be read from it.
func (l *Loop) peekReset(r *record) bool {
	if r.fd < 0 {
		reset, _ := l.bottom(r).Ended()
		return reset
	}
	return pollNow(r.fd, 0) != 0
}

// peekEnd tells that too, and whether the peer has ended its own direction.
func (l *Loop) peekEnd(r *record) bool {
	if r.fd < 0 {
		reset, ended := l.bottom(r).Ended()
		return reset || ended
	}
	return pollNow(r.fd, pollPeerEnd) != 0
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

// unacknowledged returns how many bytes the kernel has of ours that the peer
// does not.
func (l *Loop) unacknowledged(r *record) int {
	if r.fd < 0 {
		return l.bottom(r).Unacknowledged()
	}
	return sysOutq(r.fd)
}

// shutdown sends our end of stream, after that of a link.
func (l *Loop) shutdown(r *record) unix.Errno {
	switch {
	case r.fd == noFD:
		return 0
	case r.fd < 0:
		return l.sim.shutdown(r.fd)
	case unix.Shutdown(int(r.fd), unix.SHUT_WR) != nil:
		return unix.ENOTCONN
	}
	return 0
}

// watch tells the poller that from have the connection's interest is now want.
func (l *Loop) watch(slot uint32, r *record, have, want flow) error {
	if r.fd < 0 {
		l.bottom(r).Want(l.conn(slot), want&wantRead != 0, want&wantWrite != 0)
		return nil
	}
	return l.poll(slot, r.fd, have, want)
}

// unwatch makes this loop's poller forget the connection, and returns the
// descriptor it has from now on.
func (l *Loop) unwatch(r *record) int32 {
	if r.fd < 0 {
		l.bottom(r).Want(Conn{l: l}, false, false)
		return r.fd
	}
	return l.forget(r)
}

func closeFD(fd int32) { _ = unix.Close(int(fd)) }
