package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

const (
	// chunk is how much is read, and written, at a time.
	chunk = 256 << 10
	// maxKept is how long the buffer of messages is kept for the next one.
	maxKept = 1 << 20
	// parting is how long the ends of a connection that one of them ends wait for each
	// other.
	parting = time.Second
)

// A failure is what is wrong with a connection, and the code that it is closed with.
type failure struct {
	status ws.StatusCode
	err    error
}

func (f *failure) Error() string { return f.err.Error() }

// A goodbye is a process's close frame.
type goodbye struct{ status ws.StatusCode }

func (g *goodbye) Error() string {
	return fmt.Sprintf("the process ended the connection: %d", g.status)
}

// errGiven ends a connection that gives way.
var errGiven = errors.New("another connection of the session has come")

// A conn is a connection of a process.
type conn struct {
	// Immutable after upgrade.
	net.Conn
	o *Options

	// Owned by the goroutine that reads.
	r    *bufio.Reader
	buf  []byte    // of a message
	due  time.Time // when it, or the next chunk, must be there; zero: none has begun
	head [ws.MaxHeaderSize]byte

	wakes chan struct{} // there may be something to write
	stop  chan struct{} // closed: nothing is to be written any more
	wrote chan struct{} // closed: nothing is written any more

	given    atomic.Bool            // it gives way to another one
	pong     atomic.Pointer[[]byte] // of the latest ping
	farewell atomic.Pointer[farewell]
	hung     atomic.Bool

	// Until when there is something to read, or to write: ns since 1970; 0: for ever.
	readUntil, writeUntil atomic.Int64
}

// A farewell is what is written last.
type farewell struct {
	*Refusal // nil: nothing but the close frame
	status   ws.StatusCode
}

// poke has the writing goroutine look what there is.
func (c *conn) poke() {
	select {
	case c.wakes <- struct{}{}:
	default:
	}
}

// give has it end, since another one of its session has come.
func (c *conn) give() {
	c.given.Store(true)
	c.limit(&c.writeUntil, time.Now().Add(parting), c.SetWriteDeadline)
	c.limit(&c.readUntil, time.Unix(1, 0), c.SetReadDeadline)
	c.poke()
}

// limit sets an end in time, which may be in the past.
func (c *conn) limit(until *atomic.Int64, t time.Time, set func(time.Time) error) {
	until.Store(t.UnixNano())
	_ = set(t) // fails if it is closed
}

// extend gives what is read or written now its time, but no more than until due, unless
// that is zero, and within a limit that may come meanwhile.
func (c *conn) extend(until *atomic.Int64, due time.Time, set func(time.Time) error) error {
	for {
		limit := until.Load()
		t := time.Now().Add(c.o.Timeout)
		if !due.IsZero() && due.Before(t) {
			t = due
		}
		if limit != 0 && limit < t.UnixNano() {
			t = time.Unix(0, limit)
		}
		if err := set(t); err != nil {
			return err
		}
		if until.Load() == limit {
			return nil
		}
	}
}

// Read is that of the connection, for at most Timeout.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.extend(&c.readUntil, c.due, c.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write is that of the connection, for at most Timeout each chunk.
func (c *conn) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if err = c.extend(&c.writeUntil, time.Time{}, c.SetWriteDeadline); err == nil {
			var k int
			k, err = c.Conn.Write(p[n:min(n+chunk, len(p))])
			n += k
		}
	}
	return n, err
}

// message reads the next message, of at most so many bytes, and each chunk of it in
// Timeout. It is valid until the next call. The error is a *failure, a *goodbye, or that
// of the connection.
func (c *conn) message(most int) ([]byte, error) {
	if cap(c.buf) > maxKept {
		c.buf = nil
	}
	c.buf, c.due = c.buf[:0], time.Time{}
	var begun time.Time
	for state := ws.StateServerSide; ; {
		h, err := ws.ReadHeaderBuffer(c.r, c.head[:])
		if err == nil {
			err = ws.CheckHeader(h, state)
		}
		var wrong ws.ProtocolError
		switch {
		case errors.As(err, &wrong) || errors.Is(err, ws.ErrHeaderLengthMSB) || errors.Is(err, ws.ErrHeaderLengthUnexpected):
			return nil, &failure{ws.StatusProtocolError, err}
		case err != nil:
			return nil, err
		case h.OpCode.IsControl():
			if err := c.control(h); err != nil {
				return nil, err
			}
			continue
		case h.OpCode == ws.OpText:
			return nil, &failure{ws.StatusUnsupportedData, errors.New("text messages are none of the link's")}
		case h.Length > int64(most-len(c.buf)):
			return nil, &failure{ws.StatusMessageTooBig, fmt.Errorf("a message has over %d bytes", most)}
		}
		if begun.IsZero() {
			begun = time.Now()
			c.due = begun.Add(c.o.Timeout)
		}
		if err := c.payload(h, begun); err != nil {
			return nil, err
		}
		if h.Fin {
			c.due = time.Time{}
			return c.buf, nil
		}
		state = state.Set(ws.StateFragmented)
	}
}

// payload appends that of a frame to the message. Memory is taken as it comes, not as a
// header claims.
func (c *conn) payload(h ws.Header, begun time.Time) error {
	for off := 0; off < int(h.Length); {
		n := min(int(h.Length)-off, chunk)
		at := len(c.buf)
		if cap(c.buf)-at < n {
			c.buf = append(make([]byte, 0, 2*at+n), c.buf...)
		}
		c.buf = c.buf[:at+n]
		c.due = begun.Add(c.o.Timeout * time.Duration(1+at/chunk))
		if _, err := io.ReadFull(c.r, c.buf[at:]); err != nil {
			return err
		}
		ws.Cipher(c.buf[at:], h.Mask, off)
		off += n
	}
	return nil
}

// control takes a control frame.
func (c *conn) control(h ws.Header) error {
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(c.r, p); err != nil {
		return err
	}
	ws.Cipher(p, h.Mask, 0)
	c.poke() // also of what was handled before, see handled
	switch h.OpCode {
	case ws.OpPing:
		c.pong.Store(&p) // of several, the latest is answered: RFC 6455, 5.5.3
	case ws.OpClose:
		status, text := ws.ParseCloseFrameData(p)
		if len(p) > 0 && ws.CheckCloseFrameData(status, text) != nil && !status.In(ws.StatusRangeApplication) && !status.In(ws.StatusRangePrivate) {
			return &failure{ws.StatusProtocolError, errors.New("a close frame has a wrong code")}
		}
		return &goodbye{status}
	}
	return nil
}

// frame appends a frame.
func frame(dst []byte, op ws.OpCode, p []byte) []byte {
	return append(appendHeader(dst, op, len(p)), p...)
}

// appendHeader appends what stands in front of n bytes: RFC 6455, 5.2.
func appendHeader(dst []byte, op ws.OpCode, n int) []byte {
	switch dst = append(dst, 0x80|byte(op)); {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// part reads what still comes until the process closes the connection, and closes it: what
// was written last could be lost otherwise, as TCP answers what nobody reads.
func (c *conn) part() {
	c.limit(&c.readUntil, time.Now().Add(parting), c.SetReadDeadline)
	_, _ = io.Copy(io.Discard, c.r)
	_ = c.Close()
}

// isTimeout tells whether an error is that nothing came, or could be written, in time.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
