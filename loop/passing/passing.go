// Package passing is the stream in which one process gives another its connections over
// a Unix socket: records, each with its length, a checksum and descriptors of its own.
//
// A record is, big endian:
//
//	magic   uint16   0x53E0 and the version of the framing
//	kind    uint8    what it is: the caller's
//	lane    uint8    the loop that it is of: the caller's
//	files   uint16   descriptors that go with it, MaxFiles at most
//	length  uint32   of the body, MaxBody at most
//	check   uint32   CRC-32C of what is before and of the body
//	body
//
// Descriptors come by SCM_RIGHTS (unix(7)), MaxFiles a message, with the first byte of a
// record or before; the receiver owns them. Nothing here knows what records mean.
package passing

import (
	"errors"
	"net"
	"time"
)

// Bounds of a record.
const (
	MaxBody  = 16 << 20 // bytes
	MaxFiles = 253      // SCM_MAX_FD of Linux
)

// ErrBroken is returned, wrapped with the reason, by Receive of what is no record, or
// came without its descriptors. Nothing that follows can be understood.
var ErrBroken = errors.New("passing: the stream is broken")

// A Record is what Receive returns. Body is the caller's, and so are Files: descriptors,
// not inherited by children (FD_CLOEXEC).
type Record struct {
	Kind, Lane uint8
	Body       []byte
	Files      []int
}

// A Stream is a connection between the two processes. Any goroutine may call Send and
// Flush; Receive is one goroutine's.
type Stream struct {
	c *net.UnixConn

	sending   sender
	receiving receiver
	peer      peer
	oob       []byte // read's
}

// New returns the Stream on a connection, which it owns from then on.
func New(c *net.UnixConn) *Stream {
	s := &Stream{c: c}
	s.peer.meet(c)
	s.sending.write = func(p, rights []byte) (int, error) {
		n, _, err := c.WriteMsgUnix(p, rights, nil)
		return n, err
	}
	s.receiving.read = func(p []byte) (int, []int, error) { return s.read(p) }
	return s
}

// Send queues a record, whose body is copied, and writes when enough has come together:
// files are to stay open until Flush has returned. Errors stay, but for those of a record
// that is too large.
func (s *Stream) Send(kind, lane uint8, body []byte, files ...int) error {
	return s.sending.send(kind, lane, body, files)
}

// Flush writes what Send has queued.
func (s *Stream) Flush() error { return s.sending.flush() }

// Receive returns the next record. The error is io.EOF at the end between two records,
// io.ErrUnexpectedEOF within one, and ErrBroken for what is no record. When a deadline has
// passed, and was set anew, it goes on.
func (s *Stream) Receive() (Record, error) { return s.receiving.receive() }

// Ready tells whether the next record has come, so that Receive, whose goroutine it is for,
// does not wait.
func (s *Stream) Ready() bool { return s.receiving.ready() }

// Recycle takes back records of which nobody has a view any more: their bodies are those of
// later ones. It clears them. Any goroutine may call it.
func (s *Stream) Recycle(records []Record) { s.receiving.spares.put(records) }

// SetDeadline bounds, as of net.Conn, all calls that are or will be made; the zero Time
// takes that back.
func (s *Stream) SetDeadline(at time.Time) error {
	s.sending.until.Store(&at)
	return s.c.SetDeadline(at)
}

// Peer returns the process at the other end, its id and its user's: the one that something
// came from, or else that which has connected, or listened (SO_PEERCRED). The two are not
// the same when that has made the connection for another one. Only on Linux it is known.
func (s *Stream) Peer() (pid, uid int, err error) { return s.peer.is() }

// Kill ends the process at the other end (SIGKILL), unless it has ended, and returns when it
// has, or with an error when that takes longer: so that there is one of the two. It never
// kills its own process.
func (s *Stream) Kill(wait time.Duration) error { return s.peer.kill(wait) }

// Close closes the connection. Descriptors that came and were not received are closed.
func (s *Stream) Close() error {
	err := s.c.Close()
	s.sending.close()
	s.receiving.close()
	s.peer.close()
	return err
}
