package webhook

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Requests over plain HTTP/1.1 are written, and their answers read, by the goroutine that
// makes them. net/http's Transport has two more for each connection, and waking them costs
// more than all else of a small request. What it is good for goes by it still: TLS, HTTP/2,
// and bodies that may not fit into what the two kernels keep, whose answer may come before
// they are read.

const (
	straightMost = 64 << 10         // bytes of a body
	headMost     = 64 << 10         // bytes of an answer's head
	idleTime     = 90 * time.Second // that a connection is kept
	mostInterim  = 5                // answers 1xx before one
)

var (
	errHead    = errors.New("webhook: the head of an answer is too long")
	errInterim = errors.New("webhook: there are too many interim answers, or another protocol")
)

// A straight makes the requests of one backend. Any goroutine may use it.
type straight struct {
	// Immutable.
	dial func(ctx context.Context) (net.Conn, error)
	most int // connections that are kept

	mu     sync.Mutex
	idle   []*line // the last one was used last
	closed bool
	reaps  bool // somebody looks after idle
}

// A line is a connection. It belongs to who asks by it.
type line struct {
	s     *straight
	conn  net.Conn
	raw   syscall.RawConn
	r     *bufio.Reader // of line.Read
	out   []byte
	left  int  // bytes that may be read
	heard bool // there is something of an answer
	whole bool // the request was written
	freed time.Time
	ctx   context.Context
	stop  func() bool // has the end of ctx do nothing
}

// newStraight returns one for a URL of http, by a socket if there is the path of one, or nil
// if the Transport is better at it.
func newStraight(u *url.URL, socket string, dialer *net.Dialer, most int) *straight {
	network, address := "tcp", u.Host
	switch {
	case u.Scheme != "http" || strings.Trim(strings.ToLower(u.Host), "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "": // which need to be encoded
		return nil
	case socket != "":
		network, address = "unix", socket
	case u.Port() == "":
		address = net.JoinHostPort(u.Hostname(), "80")
	}
	return &straight{most: most, dial: func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, address) }}
}

// ask makes a request, whose head but for its Content-Length is what head appends, and
// returns the answer. Its body is to be closed. Ctx is that of all requests; its end ends
// them.
func (s *straight) ask(ctx context.Context, head func([]byte) []byte, body []byte, deadline time.Time) (*http.Response, error) {
	for fresh := false; ; fresh = true {
		l, err := s.take(ctx, deadline, fresh)
		if err != nil {
			return nil, err
		}
		kept := l.heard // something, before
		l.heard, l.whole = false, false
		resp, err := l.ask(ctx, head, body)
		if err == nil {
			return resp, nil
		}
		l.close()
		// One that was kept may have been closed meanwhile, of which nothing was known when it
		// was taken. Ids allow to say it again.
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !kept || l.heard || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}

// take returns a connection that was kept, or another one, with a deadline.
func (s *straight) take(ctx context.Context, deadline time.Time, fresh bool) (*line, error) {
	for !fresh {
		s.mu.Lock()
		n := len(s.idle) - 1
		if n < 0 {
			s.mu.Unlock()
			break
		}
		l := s.idle[n]
		s.idle[n] = nil
		s.idle = s.idle[:n]
		s.mu.Unlock()
		if l.ctx == ctx && l.conn.SetDeadline(deadline) == nil && l.quiet() {
			return l, nil
		}
		l.close()
	}
	timed, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := s.dial(timed)
	if err != nil {
		return nil, err
	}
	l := &line{s: s, conn: conn, ctx: ctx}
	l.r = bufio.NewReaderSize(l, connBuffer)
	if c, ok := conn.(syscall.Conn); ok {
		l.raw, _ = c.SyscallConn()
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	l.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return l, nil
}

// quiet tells whether the other side has neither closed the connection, nor said anything
// since the last answer.
func (l *line) quiet() bool {
	ok := false
	return l.raw != nil && l.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, err := syscall.Read(int(fd), b[:])
		ok = n < 0 && errors.Is(err, syscall.EAGAIN)
		return true
	}) == nil && ok
}

// Read reads from the connection, at most what may be.
func (l *line) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHead
	}
	n, err := l.conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	l.heard = l.heard || n > 0
	return n, err
}

func (l *line) ask(ctx context.Context, head func([]byte) []byte, body []byte) (*http.Response, error) {
	l.out = head(l.out[:0])
	l.out = append(strconv.AppendInt(append(l.out, "Content-Length: "...), int64(len(body)), 10), "\r\n\r\n"...)
	l.out = append(l.out, body...)
	if ctx.Err() != nil { // the deadline that its end sets came before the present one
		return nil, ctx.Err()
	}
	_, unsent := l.conn.Write(l.out) // an answer may have come all the same
	l.whole = unsent == nil
	l.left = headMost
	resp, err := l.answer()
	if err != nil {
		if unsent != nil {
			err = unsent
		}
		return nil, err
	}
	l.left = math.MaxInt
	resp.Body = &answerBody{resp.Body, l, resp.Body == http.NoBody, resp.Close}
	return resp, nil
}

// answer reads the head of the answer.
func (l *line) answer() (*http.Response, error) {
	for range mostInterim + 1 {
		resp, err := http.ReadResponse(l.r, nil)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
	return nil, errInterim
}

// An answerBody is the body of an answer. When it is closed the connection is kept, if all
// of it was read.
type answerBody struct {
	io.Reader
	l     *line
	ended bool
	last  bool // nothing comes behind it
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

// Close gives the connection back. It does not read what is left of the body.
func (b *answerBody) Close() error {
	if l := b.l; l != nil {
		b.l = nil
		if !b.ended || b.last || !l.whole || l.r.Buffered() > 0 || !l.s.keep(l) {
			l.close()
		}
	}
	return nil
}

func (l *line) close() {
	l.stop()
	_ = l.conn.Close()
}

// keep keeps a connection for another request. It is false if there are enough.
func (s *straight) keep(l *line) bool {
	if cap(l.out) > 4*connBuffer {
		l.out = nil
	}
	l.freed = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) >= s.most {
		return false
	}
	s.idle = append(s.idle, l)
	if !s.reaps {
		s.reaps = true
		time.AfterFunc(idleTime, s.reap)
	}
	return true
}

// reap closes connections that nobody has used for long.
func (s *straight) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.idle) && (s.closed || time.Since(s.idle[n].freed) >= idleTime) {
		s.idle[n].close()
		n++
	}
	s.idle = append(s.idle[:0:0], s.idle[n:]...)
	if s.reaps = len(s.idle) > 0; s.reaps {
		time.AfterFunc(idleTime, s.reap)
	}
}

// close closes connections that are kept, and has none kept any more.
func (s *straight) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.idle {
		l.close()
	}
	s.idle = nil
}
