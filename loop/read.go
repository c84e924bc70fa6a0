package loop

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"
)

// readable serves a connection that has input, or an error to be read.
func (l *Loop) readable(slot uint32) {
	r := l.conns.At(slot)
	if r.fd == noFD || r.flags&(flagsDying|flagMove) != 0 {
		return // by an earlier event of the same batch
	}
	if r.flags&(flagsNoRead|flagEOF) != 0 {
		l.interest(slot, r, r.flags&^flagR)
		return
	}
	for range maxReads {
		buf, kept := l.headroom(r)
		n, errno := l.recv(r.fd, buf[kept:])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			l.fail(slot, r, errno)
			return
		case n == 0:
			l.peerEnded(slot, r)
			return
		}
		l.tally.bytesIn += int64(n)
		full := n == len(buf)-kept
		if r.flags&flagLinger == 0 {
			l.received(slot, r, buf[:kept+n], kept)
			if full && r.ext != 0 && l.exts[r.ext].size() > l.engine.o.SoftOutbound {
				// Reading on could make a peer slow that only sends much.
				l.flush(slot)
			}
			if r.flags&(flagsNoRead|flagsDying|flagMove) != 0 {
				if edgeTriggered {
					l.interest(slot, r, r.flags&^flagR)
				}
				return
			}
		}
		if !full && !edgeTriggered {
			return
		}
	}
	if edgeTriggered && r.fd >= 0 {
		l.again = append(l.again, slot)
	}
}

// headroom returns the buffer to read into, behind the carried bytes if those
// leave enough of it.
func (l *Loop) headroom(r *record) (buf []byte, kept int) {
	if r.ext == 0 || len(l.exts[r.ext].carry) > len(l.rbuf)/2 {
		return l.rbuf, 0
	}
	return l.rbuf, copy(l.rbuf, l.exts[r.ext].carry)
}

// received takes b, of which the first kept bytes were carried.
func (l *Loop) received(slot uint32, r *record, b []byte, kept int) {
	if kept == 0 && r.ext != 0 && l.exts[r.ext].carry != nil {
		// Too much is carried to be copied in front of each read: what comes
		// is put behind it, in a buffer that grows by more than is needed.
		e := l.exts[r.ext]
		e.carry = append(e.carry, b...)
		b = e.carry
	}
	l.deliver(slot, r, b)
}

// deliver gives b, which is all there is, to the handler, and carries the rest.
func (l *Loop) deliver(slot uint32, r *record, b []byte) {
	n := 0
	if r.flags&flagHold != 0 {
		if len(b) >= l.engine.o.ReadBuffer {
			r.flags |= flagHeldFull
		}
	} else {
		n = l.callData(l.conn(slot), b)
	}
	rest := b[n:]
	if len(rest) == 0 {
		if r.ext != 0 {
			l.exts[r.ext].carry = nil
			l.shed(r)
		}
		return
	}
	e := l.extend(slot, r)
	if len(e.carry) == len(b) && &e.carry[0] == &b[0] {
		e.carry = rest // what was taken goes when all of it has been
		return
	}
	e.carry = bytes.Clone(rest)
}

// redeliver gives the carried bytes to the handler again.
func (l *Loop) redeliver(slot uint32, r *record) {
	if r.ext == 0 || r.flags&(flagPaused|flagSoft|flagHold) != 0 {
		return
	}
	if carry := l.exts[r.ext].carry; carry != nil {
		l.deliver(slot, r, carry)
	}
}

// resume goes on reading if nothing forbids it, and has the carried bytes
// given again.
func (l *Loop) resume(slot uint32, r *record) {
	if r.flags&(flagsNoRead|flagEOF) == 0 && r.flags&flagR == 0 {
		l.interest(slot, r, r.flags|flagR)
	}
	if r.ext != 0 && l.exts[r.ext].carry != nil {
		l.deferFor(slot, r, flagRedeliver)
	}
}

// peerEnded serves the peer's end of stream. What is queued is still sent: the
// peer may have closed only its own direction.
func (l *Loop) peerEnded(slot uint32, r *record) {
	r.flags |= flagEOF
	if r.flags&flagLinger == 0 {
		if r.flags&flagsDying == 0 {
			l.extend(slot, r).err = io.EOF
		}
		l.deferFor(slot, r, flagClose)
		return
	}
	if r.flags&flagShut != 0 {
		l.drop(slot, r)
		return
	}
	l.interest(slot, r, r.flags&^flagR)
}
