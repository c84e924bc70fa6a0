package passing

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// readLen is how much is read ahead of a record.
	readLen = 64 << 10

	// maxAhead bounds the descriptors that have come and whose records have not. A sender
	// has two messages' at most: the rest of one, and those of the next.
	maxAhead = 2 * MaxFiles
)

// A receiver is the half of a Stream that receives.
type receiver struct {
	// read is recvmsg(2): bytes and the descriptors that came with them, which are the
	// receiver's also with an error. At the end it is io.EOF.
	read func(p []byte) (n int, files []int, err error)

	// Guarded by mu, also while it reads.
	mu    sync.Mutex
	buf   []byte // buf[at:] was read, and not looked at
	at    int
	files []int // have come, in the order in which records take them
	head  header
	sum   [headerLen]byte // head, as it came
	body  []byte          // of head
	have  int             // of body
	in    bool            // within a record's body
	err   error           // the first that is no deadline's

	spares spares
}

// Bodies that are recycled have room for so much, and so many of them are kept.
const (
	spareLen  = 2 << 10
	maxSpares = 1 << 10
)

// spares are bodies of records that somebody has done with.
type spares struct {
	// Guarded by mu.
	mu  sync.Mutex
	all [][]byte
}

func (s *spares) put(records []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		if b := records[i].Body; cap(b) == spareLen && len(s.all) < maxSpares {
			s.all = append(s.all, b[:0])
		}
		records[i] = Record{}
	}
}

// body returns room for n bytes.
func (s *spares) body(n int) []byte {
	if n > spareLen {
		return make([]byte, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.all) - 1
	if last < 0 {
		return make([]byte, n, spareLen)
	}
	b := s.all[last]
	s.all = s.all[:last]
	return b[:n]
}

// ready tells whether a record has come whole.
func (r *receiver) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := r.buf[min(r.at, len(r.buf)):]
	if r.err != nil || r.in || len(rest) < headerLen {
		return false
	}
	h, err := parseHeader(rest)
	return err == nil && len(rest) >= headerLen+h.length
}

func (r *receiver) receive() (rec Record, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		rec, err = r.next()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			r.err = err
		}
		return rec, err
	}
	return rec, r.err
}

// next reads a record. After the error of a deadline it may be called again.
func (r *receiver) next() (Record, error) {
	if !r.in {
		if err := r.begin(); err != nil {
			return Record{}, err
		}
	}
	for r.have < len(r.body) {
		if n := copy(r.body[r.have:], r.buf[r.at:]); n > 0 {
			r.at += n
			r.have += n
			continue
		}
		if err := r.more(); err != nil {
			return Record{}, within(err)
		}
	}
	h, body := r.head, r.body
	if checksum(r.sum[:], body) != h.check {
		return Record{}, fmt.Errorf("%w: the checksum of a record of kind %d is wrong", ErrBroken, h.kind)
	}
	r.in, r.body = false, nil
	rec := Record{Kind: h.kind, Lane: h.lane, Body: body}
	if h.files > 0 {
		rec.Files = append(rec.Files, r.files[:h.files]...)
		r.files = r.files[h.files:]
	}
	return rec, nil
}

// begin reads the header of a record.
func (r *receiver) begin() error {
	for len(r.buf)-r.at < headerLen {
		if err := r.more(); err != nil {
			if len(r.buf) > r.at {
				return within(err)
			}
			return err
		}
	}
	h, err := parseHeader(r.buf[r.at:])
	switch {
	case err != nil:
		return err
	case h.files > len(r.files): // they come with its first byte
		return fmt.Errorf("%w: %d of a record's %d descriptors have come", ErrBroken, len(r.files), h.files)
	}
	copy(r.sum[:], r.buf[r.at:])
	r.at += headerLen
	r.head, r.in, r.body, r.have = h, true, r.spares.body(h.length), 0
	return nil
}

// more reads something: into the body where that is all that the buffer would be for.
func (r *receiver) more() error {
	if r.buf == nil {
		r.buf = make([]byte, 0, readLen)
	}
	if rest := r.body[min(r.have, len(r.body)):]; r.in && len(rest) >= readLen {
		n, err := r.take(rest)
		r.have += n
		return err
	}
	kept := copy(r.buf[:cap(r.buf)], r.buf[r.at:])
	r.buf, r.at = r.buf[:kept], 0
	n, err := r.take(r.buf[kept:cap(r.buf)])
	r.buf = r.buf[:kept+n]
	return err
}

// take reads into p, and keeps the descriptors.
func (r *receiver) take(p []byte) (int, error) {
	n, files, err := r.read(p)
	r.files = append(r.files, files...)
	switch {
	case err != nil:
		return n, err
	case len(r.files) > maxAhead:
		return n, fmt.Errorf("%w: %d descriptors that are of no record", ErrBroken, len(r.files))
	}
	return n, nil
}

// within is err of a read in the middle of a record.
func within(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// close closes descriptors that nobody has taken. The connection is closed.
func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range r.files {
		_ = unix.Close(fd)
	}
	r.files, r.buf, r.body = nil, nil, nil
	r.err = net.ErrClosed
}

// read is recvmsg(2) of the connection. Go has the kernel mark descriptors as not to be
// inherited (MSG_CMSG_CLOEXEC).
func (s *Stream) read(p []byte) (n int, files []int, err error) {
	if s.oob == nil {
		s.oob = make([]byte, oobLen)
	}
	n, m, flags, _, err := s.c.ReadMsgUnix(p, s.oob)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
		return 0, nil, err
	}
	all, err := unix.ParseSocketControlMessage(s.oob[:m])
	if err != nil {
		return n, nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	for i := range all {
		if s.peer.said(&all[i]) {
			continue
		}
		got, err := unix.ParseUnixRights(&all[i])
		if err != nil {
			continue // what nobody has asked for
		}
		files = append(files, got...)
	}
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		return n, files, fmt.Errorf("%w: not all descriptors of a message came: this process can have no more (RLIMIT_NOFILE)", ErrBroken)
	case n == 0:
		return n, files, io.EOF
	}
	return n, files, nil
}
