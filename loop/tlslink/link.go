package tlslink

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// A Link is a loop.Link over crypto/tls. It is used on its connection's loop alone. It is
// not portable: what crypto/tls knows of a connection stays in its process.
type Link struct {
	tc    *tls.Conn
	o     *Opener
	shake *shake      // nil when there is nothing left of the handshake
	sock  loop.Socket // during a call
	out   []byte      // that the socket has not taken
	err   error       // Read is to return

	shaken bool // the handshake is done
	dry    bool // the socket had nothing more, in this call
	more   bool // Read may return something though nothing comes from the socket
	shut   bool
	lent   bool  // tls.Conn has a buffer of the pool
	posts  uint8 // messages behind the handshake, within minute
	minute uint16
}

var _ loop.Link = (*Link)(nil)

// Secure tells that what goes over the connection cannot be read on its way.
func (k *Link) Secure() bool { return true }

// ConnectionState returns what the handshake has found out.
func (k *Link) ConnectionState() tls.ConnectionState { return k.tc.ConnectionState() }

// errFlood is why a connection ends that sends too much which is nothing.
var errFlood = errors.New("tlslink: too many messages that carry nothing")

const (
	maxKept  = 64 << 10 // bytes that the socket has not taken: answers to what is not read, behind a record
	maxHand  = 4 << 10  // bytes of a message behind the handshake; key_update has 5
	maxPosts = 60       // times a minute that such messages come, up to 16 at a time
)

// Read is loop.Link's.
func (k *Link) Read(s loop.Socket, p []byte) (n int, err error) {
	k.sock, k.dry, k.more = s, false, true
	b := k.lend()
	for k.err == nil && (n == 0 || len(p)-n >= maxPlain) {
		m, err := k.tc.Read(p[n:])
		n += m
		switch {
		case k.postHandshake():
			k.end(errFlood)
		case errors.Is(err, errNotNow):
			k.settle(b, false)
			k.more = false
			return n, again(n)
		case err != nil && k.err == nil:
			k.end(err)
		}
	}
	k.settle(b, n == len(p))
	if n > 0 {
		return n, nil
	}
	return 0, k.err
}

func again(n int) error {
	if n > 0 {
		return nil
	}
	return loop.ErrAgain
}

// end has Read return err when all that came before it was read.
func (k *Link) end(err error) {
	k.err = err
	var sys syscall.Errno
	if err != io.EOF && !errors.As(err, &sys) {
		k.o.broken(err)
	}
}

// Write is loop.Link's.
func (k *Link) Write(s loop.Socket, p []byte) (int, error) {
	k.sock = s
	if err := k.flush(); err != nil {
		return 0, err
	}
	return k.tc.Write(p[:min(len(p), maxPlain)])
}

// CloseWrite is loop.Link's: it sends close_notify.
func (k *Link) CloseWrite(s loop.Socket) error {
	k.sock = s
	if !k.shut {
		k.shut = true
		if err := k.tc.CloseWrite(); err != nil {
			return err
		}
	}
	return k.flush()
}

// Flush is loop.Link's.
func (k *Link) Flush(s loop.Socket) error {
	k.sock = s
	return k.flush()
}

func (k *Link) flush() error {
	if len(k.out) == 0 {
		return nil
	}
	n, err := k.sock.Write(k.out)
	if k.out = k.out[n:]; len(k.out) == 0 {
		k.out = nil
	}
	return err
}

// Pending is loop.Link's.
func (k *Link) Pending() bool { return k.more || k.err != nil || k.shake != nil }

// Blocked is loop.Link's.
func (k *Link) Blocked() bool { return len(k.out) > 0 }

// Close is loop.Link's.
func (k *Link) Close() {}

// A wire is a Link as the net.Conn below its tls.Conn.
type wire Link

// notNow is what a tls.Conn survives: a net.Error that is temporary.
type notNow struct{}

func (*notNow) Error() string   { return "tlslink: nothing has come" }
func (*notNow) Timeout() bool   { return true }
func (*notNow) Temporary() bool { return true }

var errNotNow error = &notNow{}

// Read returns what has come: on the loop errNotNow if that is nothing.
func (w *wire) Read(p []byte) (int, error) {
	k := (*Link)(w)
	switch {
	case !k.shaken:
		return k.shake.read(p)
	case k.shake != nil:
		return k.leftover(p), nil
	case k.dry:
		return 0, errNotNow
	}
	n, err := k.sock.Read(p)
	k.dry = n < len(p)
	if err == loop.ErrAgain {
		return 0, errNotNow
	}
	return n, err
}

// Write sends p, and keeps what the socket does not take.
func (w *wire) Write(p []byte) (int, error) {
	k := (*Link)(w)
	if !k.shaken {
		k.shake.out = append(k.shake.out, p...)
		return len(p), nil
	}
	n := 0
	if len(k.out) == 0 {
		var err error
		if n, err = k.sock.Write(p); err == nil || err != loop.ErrAgain {
			return n, err
		}
		k.out = bytes.Clone(p[n:])
		return len(p), nil
	}
	if len(k.out)+len(p) > maxKept { // of one that asks, and does not read the answers
		if k.err == nil {
			k.end(errFlood)
		}
		return 0, errFlood
	}
	k.out = append(k.out, p...)
	return len(p), nil
}

func (w *wire) RemoteAddr() net.Addr {
	if h := w.shake; h != nil {
		return h.address()
	}
	return &net.TCPAddr{}
}

func (*wire) Close() error                     { return nil }
func (*wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }

// buffers has what records are read into. With so many bytes a bytes.Buffer makes room
// for the longest record by moving what is left, and never grows.
var buffers = sync.Pool{New: func() any { b := make([]byte, 40<<10); return &b }}
