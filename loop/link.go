package loop

import (
	"errors"
	"io"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrAgain is what a Link returns that cannot go on now: without input, or without
// room for output.
var ErrAgain = errors.New("loop: not now")

// A Link is what a connection's bytes come from and go to in place of its socket:
// a layer above the socket (TLS), or, as a [Stream], something without one. It is
// called on the connection's loop and must not block. It bounds what it keeps by
// itself, to a record or two. A panic in it ends the connection.
//
// Read and Write count the connection's bytes, not those of the socket.
type Link interface {
	// Read returns n > 0 bytes; or 0 and ErrAgain, io.EOF at the peer's proper end,
	// or why the connection has failed. It may have to send: what the socket does
	// not take is kept, and makes the link Blocked.
	Read(s Socket, p []byte) (n int, err error)

	// Write takes the first n bytes of p, which may be kept in another form, as
	// far as there is room. ErrAgain says that it took none: it waits for room
	// when it is Blocked, for input of the peer when it is not.
	Write(s Socket, p []byte) (n int, err error)

	// Flush sends what is kept, and returns ErrAgain if something is left. It is
	// called when the socket has room again.
	Flush(s Socket) error

	// CloseWrite says to the peer that nothing more comes, before the socket is
	// shut. It returns ErrAgain when that was not taken yet, and is called again.
	CloseWrite(s Socket) error

	// Pending tells whether Read would return something though nothing comes from
	// the socket.
	Pending() bool

	// Blocked tells whether something is kept that the socket has not taken.
	Blocked() bool

	// Close is called once, when the connection has ended. The socket is gone.
	Close()
}

// A Stream is a Link without a socket, such as one of many within another
// connection of the same loop. Who owns it says by Conn.Ready when it can be read
// or written. It stays on its loop: Conn.Move and Conn.Detach refuse.
type Stream interface {
	Link

	// Want is told what the connection waits for, and its name. Conn.Ready is to
	// follow when there is such a thing, at once if there is one now.
	Want(c Conn, read, write bool)

	// Unacknowledged returns how many bytes of what Write took the peer has not
	// got yet, 0 if that is not known.
	Unacknowledged() int

	// Ended tells whether the peer has ended its direction, or everything, also
	// when Read has not come to it yet.
	Ended() (reset, ended bool)
}

// A Socket is what is below a Link that is no Stream. It is good for the call that
// it is given to.
type Socket struct {
	fd    int32
	below Stream // of a Sim: in place of fd
}

// Read reads into p what has come. It returns ErrAgain if nothing has, io.EOF at
// the end.
func (s Socket) Read(p []byte) (int, error) {
	if s.below != nil {
		return s.below.Read(Socket{}, p)
	}
	for {
		n, errno := sysRead(s.fd, p)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return 0, ErrAgain
		case errno != 0:
			return 0, errno
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write sends what the kernel takes of p, and returns ErrAgain if that is not all.
func (s Socket) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := s.write(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s Socket) write(p []byte) (int, error) {
	if s.below != nil {
		return s.below.Write(Socket{}, p)
	}
	n, errno := sysSend(s.fd, p)
	switch errno {
	case 0:
		return n, nil
	case unix.EINTR:
		return 0, nil
	case unix.EAGAIN:
		return 0, ErrAgain
	}
	return 0, errno
}

// link returns r's link, if it is linked.
func (l *Loop) link(r *record) Link {
	if r.ext != 0 {
		if k := l.exts[r.ext].link; k != nil {
			return k
		}
	}
	return l.sim.link(r.fd)
}

// stream returns r's link if it has no socket below.
func (l *Loop) stream(r *record) (Stream, bool) {
	if r.flow&linked == 0 {
		return nil, false
	}
	s, ok := l.link(r).(Stream)
	return s, ok
}

// socket returns what is below r's link.
func (l *Loop) socket(r *record) Socket {
	if r.fd >= 0 || r.fd == noFD {
		return Socket{fd: r.fd}
	}
	return Socket{fd: noFD, below: l.sim.link(r.fd)}
}

func (l *Loop) linkRead(slot uint32, r *record, p []byte) (n int, errno unix.Errno) {
	defer l.linkGuard(slot, r, &errno)
	l.inLink++
	k := l.link(r)
	n, err := k.Read(l.socket(r), p)
	if k.Blocked() {
		l.interest(slot, r, r.flow|wantWrite)
	}
	if n > 0 {
		if k.Pending() { // the poller will not say so
			l.deferFor(slot, r, ready)
		}
		if r.ext != 0 && l.exts[r.ext].queued > 0 { // a write may have waited for this
			l.markDirty(slot, r)
		}
		return n, 0
	}
	if err == io.EOF {
		return 0, 0
	}
	return 0, l.linkError(slot, r, err)
}

func (l *Loop) linkWrite(slot uint32, r *record, p []byte) (n int, errno unix.Errno) {
	defer l.linkGuard(slot, r, &errno)
	l.inLink++
	k := l.link(r)
	n, err := k.Write(l.socket(r), p)
	if k.Blocked() { // though it took everything
		l.interest(slot, r, r.flow|wantWrite)
	}
	if n > 0 {
		return n, 0
	}
	return 0, l.linkError(slot, r, err)
}

// linkError is err as a system call has it. What has no number ends the connection
// here.
func (l *Loop) linkError(slot uint32, r *record, err error) unix.Errno {
	var errno syscall.Errno
	switch {
	case err == nil || err == ErrAgain:
		return unix.EAGAIN
	case errors.As(err, &errno) && errno != unix.EAGAIN && errno != unix.EINTR:
		return errno
	}
	l.fail(slot, r, err)
	return unix.EIO
}

// linkGuard is deferred around a Link's method: a panic ends the connection.
func (l *Loop) linkGuard(slot uint32, r *record, errno *unix.Errno) {
	l.inLink--
	if v := recover(); v != nil {
		l.panicked(v)
		l.fail(slot, r, &panicError{v})
		*errno = unix.EIO
	}
}

// linkFlush has the link of r send what it keeps, and reports whether all is sent.
func (l *Loop) linkFlush(slot uint32, r *record) bool {
	return l.linkDo(slot, r, Link.Flush)
}

// linkEnded has the link of r say that nothing more comes, and reports whether it
// has.
func (l *Loop) linkEnded(slot uint32, r *record) bool {
	if !l.linkDo(slot, r, Link.CloseWrite) {
		l.block(slot, r)
		return false
	}
	return true
}

func (l *Loop) linkDo(slot uint32, r *record, f func(Link, Socket) error) bool {
	var errno unix.Errno
	func() {
		defer l.linkGuard(slot, r, &errno)
		l.inLink++
		if err := f(l.link(r), l.socket(r)); err != nil {
			errno = l.linkError(slot, r, err)
		}
	}()
	if errno != 0 && errno != unix.EAGAIN {
		l.fail(slot, r, errno)
	}
	return errno == 0
}

// block has the poller asked for room, if that is what r's output waits for.
func (l *Loop) block(slot uint32, r *record) {
	if l.waitsForRoom(r) {
		l.interest(slot, r, r.flow|wantWrite)
	}
}

// shortIsFull tells whether a short write says that there is no room. A Link may
// take less than it has room for.
func (l *Loop) shortIsFull(r *record) bool {
	if r.flow&linked == 0 {
		return true
	}
	k := l.link(r)
	_, peer := k.(*simLink)
	return peer || k.Blocked()
}

// waitsForRoom tells whether output that was not taken waits for room below, and
// not for a link that wants input first.
func (l *Loop) waitsForRoom(r *record) bool {
	if r.flow&linked == 0 {
		return true
	}
	k := l.link(r)
	_, is := k.(Stream)
	return is || k.Blocked()
}

// Ready says that a Stream can be read or written, or has ended: the connection is
// served at the end of the step.
func (c Conn) Ready() {
	if c.l == nil {
		return
	}
	c.l.owner.check()
	// Also of one that lingers, whose name is stale for everybody else.
	if c.slot == 0 || c.slot > c.l.conns.Max() || c.l.conns.Gen(c.slot) != c.gen {
		return
	}
	if r := c.l.conns.At(c.slot); r.life != free {
		c.l.deferFor(c.slot, r, ready)
	}
}

// OpenStream opens a connection on a Stream, at the end of the step: Handler.Open
// is called with it. addr and label are what Conn.RemoteAddr and Conn.Listener
// answer. It counts against
// MaxConns, and is refused, by false, above that and when the engine shuts down;
// Stream.Close is then not called.
func (l *Loop) OpenStream(s Stream, addr netip.AddrPort, label uint8) bool {
	l.owner.check()
	if l.draining || l.engine.live.Add(1) > int64(l.engine.o.MaxConns) {
		if !l.draining {
			l.engine.gone()
		}
		return false
	}
	l.arrivals = append(l.arrivals, arrival{fd: noFD, label: label, x: &ext{link: s}, addr: addr})
	return true
}
