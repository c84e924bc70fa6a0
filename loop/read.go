package loop

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"
)

// readable serves a connection that has input, or an error to be read.
func (l *Loop) readable(slot uint32) {
	r := l.conns.At(slot)
	if !r.life.in(readingSet) { // by an earlier event of the same batch
		if r.life == entering { // what comes is the link's, which is not there yet
			l.interest(slot, r, r.flow&^wantRead)
		}
		return
	}
	if r.flow&(mute|peerEnded) != 0 || l.quiet {
		l.interest(slot, r, r.flow&^wantRead)
		return
	}
	for range maxReads {
		// Read behind the place of what is carried, which is copied to it only if
		// more comes than that.
		kept := 0
		if r.ext != 0 && len(l.exts[r.ext].carry) <= len(l.rbuf)/2 {
			kept = len(l.exts[r.ext].carry)
		}
		n, errno := l.recv(slot, r, l.rbuf[kept:])
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
		l.tally.Traffic[r.kind()].In += int64(n)
		full := n == len(l.rbuf)-kept
		if !r.life.in(lingerSet) {
			l.received(slot, r, l.rbuf[:kept+n], kept)
			if full && r.ext != 0 && l.exts[r.ext].size() > l.engine.o.SoftOutbound {
				// Reading on could make a peer slow that only sends much.
				l.flush(slot)
			}
			if r.flow&mute != 0 || !r.life.in(readingSet) || l.quiet {
				if edgeTriggered {
					l.interest(slot, r, r.flow&^wantRead)
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

// received takes b, which is behind kept bytes of room for what is carried. Each
// byte is copied a bounded number of times, however small the pieces are that it
// comes in and that the handler takes: what is carried is copied in front of what
// came if that is as much at least; otherwise what came is put behind it, in a
// buffer that grows by more than is needed.
func (l *Loop) received(slot uint32, r *record, b []byte, kept int) {
	if r.ext == 0 || l.exts[r.ext].carry == nil {
		l.deliver(slot, r, b, false)
		return
	}
	e := l.exts[r.ext]
	if came := len(b) - kept; kept == len(e.carry) && came >= kept {
		copy(b, e.carry)
		l.deliver(slot, r, b, false)
		return
	}
	e.carry = append(e.carry, b[kept:]...)
	l.deliver(slot, r, e.carry, true)
}

// deliver gives b, which is all there is, to the handler, and carries the rest.
// It is what is carried, if carried says so.
func (l *Loop) deliver(slot uint32, r *record, b []byte, carried bool) {
	n := 0
	if r.flow&holding != 0 {
		if len(b) >= l.engine.o.ReadBuffer {
			r.flow |= heldFull
		}
	} else {
		l.giving = slot
		n = l.give(slot, r, b)
		l.giving = 0
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
	if !carried || cap(rest) > 4*len(rest)+carrySlack {
		rest = bytes.Clone(rest)
	}
	e.carry = rest
}

// carrySlack is how much more than is carried may be held for it, beside what a
// buffer grows by.
const carrySlack = 512

// redeliver gives the carried bytes to the handler again.
func (l *Loop) redeliver(slot uint32, r *record) {
	if r.ext == 0 || r.flow&(paused|overSoft|holding) != 0 {
		return
	}
	if carry := l.exts[r.ext].carry; carry != nil {
		l.deliver(slot, r, carry, true)
	}
}

// resume goes on reading if nothing forbids it, and has the carried bytes
// given again.
func (l *Loop) resume(slot uint32, r *record) {
	if r.flow&(mute|peerEnded) == 0 && r.flow&wantRead == 0 {
		l.interest(slot, r, r.flow|wantRead)
	}
	if r.ext == 0 {
		return
	}
	e := l.exts[r.ext]
	if e.carry != nil {
		l.deferFor(slot, r, redeliver)
	}
	if e.link != nil && e.link.Pending() {
		l.deferFor(slot, r, ready)
	}
}

// peerEnded serves the peer's end of stream. What is queued is still sent: the
// peer may have closed only its own direction.
func (l *Loop) peerEnded(slot uint32, r *record) {
	r.flow |= peerEnded
	if !r.life.in(lingerSet) {
		if !r.life.in(dyingSet) {
			l.extend(slot, r).err = io.EOF
		}
		l.turnTo(slot, r, closing)
		return
	}
	if r.life == waiting {
		l.drop(slot, r)
		return
	}
	l.interest(slot, r, r.flow&^wantRead)
}
