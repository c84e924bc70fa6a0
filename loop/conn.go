package loop

import (
	"net/netip"

	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/loop/handle"
)

// record is a connection's entry in its loop's table: no pointers, so that the
// garbage collector never looks at it. An idle connection is this and no more.
type record struct {
	fd    int32 // negative: there is none, see Loop.link
	tag   uint32
	ext   uint32 // index in Loop.exts, 0: none
	life  life
	flow  flow
	due   due
	label uint8 // of its listener
}

// kind returns what the connection's bytes are counted by.
func (r *record) kind() uint32 { return r.tag >> 29 }

// A Conn names a connection. It is a small comparable value without a pointer
// to the connection; when the connection is gone, or was moved, its methods do
// nothing and return zero values. The zero Conn is stale.
//
// All methods are for the connection's loop only, except Loop and comparison.
type Conn struct {
	l         *Loop
	slot, gen uint32
}

// record returns c's record, or nil when c is stale.
func (c Conn) record() *record {
	if c.l == nil {
		return nil
	}
	c.l.owner.check()
	return c.l.conns.Find(c.slot, c.gen)
}

// conn returns the handle of the connection in slot.
func (l *Loop) conn(slot uint32) Conn { return Conn{l, slot, l.conns.Gen(slot)} }

// living returns c's record, or nil when c is stale or being closed.
func (c Conn) living() *record {
	if r := c.record(); r != nil && r.life.in(livingSet) {
		return r
	}
	return nil
}

// Valid reports whether the connection exists: from Handler.Open until
// Handler.Close has returned.
func (c Conn) Valid() bool { return c.record() != nil }

// Ending reports whether the connection is being closed: it is Valid, but
// nothing can be written to it any more, and Handler.Close is due.
func (c Conn) Ending() bool {
	r := c.record()
	return r != nil && !r.life.in(livingSet)
}

// Loop returns the loop the connection was on when c was made, from any
// goroutine. It is nil for the zero Conn.
func (c Conn) Loop() *Loop { return c.l }

// Tag returns the handler's own word for this connection, 0 at Open.
func (c Conn) Tag() uint32 {
	if r := c.record(); r != nil {
		return r.tag
	}
	return 0
}

// SetTag sets the word that Tag returns. Its highest three bits are the connection's kind:
// see Stats.Traffic.
func (c Conn) SetTag(tag uint32) {
	if r := c.record(); r != nil {
		r.tag = tag
	}
}

// Write queues a copy of p, to be sent at the end of the current step together
// with what else was queued.
func (c Conn) Write(p []byte) {
	if r := c.living(); r != nil && len(p) > 0 {
		c.l.queueCopy(c.slot, r, p)
	}
}

// WriteShared queues p itself, to be sent at the end of the current step. It is
// never copied as long as it waits, so p must not be modified from now on.
func (c Conn) WriteShared(p []byte) {
	if r := c.living(); r != nil && len(p) > 0 {
		c.l.queueShared(c.slot, r, p, freshRef{})
	}
}

// SendShared sends p at once if nothing is queued, and queues what the kernel
// does not take. p must not be modified from now on. It is for messages to many
// connections; for one connection's own messages WriteShared and Write save
// system calls.
func (c Conn) SendShared(p []byte) {
	if r := c.living(); r != nil && len(p) > 0 {
		c.l.sendNow(c.slot, r, p, freshRef{})
	}
}

// Queued returns how many bytes are queued and not yet taken by the kernel.
func (c Conn) Queued() int {
	if r := c.record(); r != nil && r.ext != 0 {
		return c.l.exts[r.ext].queued
	}
	return 0
}

// AwaitDrained has Handler.Drained called once, at the end of a step, when
// nothing is queued any more. Move forgets it.
func (c Conn) AwaitDrained() {
	switch r := c.living(); {
	case r == nil:
	case r.ext != 0 && c.l.exts[r.ext].queued > 0:
		r.due |= awaited
	default:
		c.l.deferFor(c.slot, r, drained)
	}
}

// PauseRead stops reading and calls of Data until ResumeRead. While reading is
// paused the end of the peer is not noticed.
func (c Conn) PauseRead() {
	if r := c.living(); r != nil {
		// The poller is told only if input comes meanwhile: most pauses are
		// shorter than that.
		r.flow |= paused
	}
}

// ResumeRead ends PauseRead. Carried bytes are given to Data again at the end
// of the step.
func (c Conn) ResumeRead() {
	if r := c.living(); r != nil && r.flow&paused != 0 {
		r.flow &^= paused
		c.l.resume(c.slot, r)
	}
}

// Redeliver asks for the carried bytes, if any, to be given to Data again at
// the end of the step, without waiting for more.
func (c Conn) Redeliver() {
	if r := c.living(); r != nil && r.ext != 0 && c.l.exts[r.ext].carry != nil {
		c.l.deferFor(c.slot, r, redeliver)
	}
}

// HoldData(true) keeps what the peer sends from Data but goes on reading, so
// that the peer's end is noticed, until a whole ReadBuffer is carried.
// HoldData(false) ends that, and gives what was carried to Data at the end of
// the step.
func (c Conn) HoldData(hold bool) {
	r := c.living()
	if r == nil {
		return
	}
	if hold {
		r.flow |= holding
	} else if r.flow&holding != 0 {
		r.flow &^= holding | heldFull
		c.l.resume(c.slot, r)
	}
}

// Close closes the connection gracefully: at the end of this step the handler
// is told (ErrClosed), then what is queued is sent, our end of the stream is
// closed, and input is discarded until the peer ends too or LingerTimeout has
// passed. Nothing can be written any more.
func (c Conn) Close() {
	if r := c.living(); r != nil {
		c.l.turnTo(c.slot, r, closing)
	}
}

// Abort closes the connection at the end of this step, after the handler was
// told (ErrClosed), without sending what is queued. After Close it cuts the
// connection instead of flushing it, if the step has not ended yet.
func (c Conn) Abort() {
	if r := c.record(); r != nil {
		c.l.fail(c.slot, r, ErrClosed)
	}
}

// AbortWith is Abort with a last word: last, which belongs to the loop from now on, is
// sent in place of what is queued, behind the rest of a message of which a part was sent
// if the Handler is a [Framer]. It is waited for as after Close, but for SlowAfter at
// most.
func (c Conn) AbortWith(last []byte) {
	if r := c.living(); r != nil {
		c.l.extend(c.slot, r).last = last
		c.l.fail(c.slot, r, ErrClosed)
	}
}

// Move takes the connection to another loop: at the end of this step
// Handler.Close is called here with ErrMoved, then, on to, Handler.Open and,
// if bytes were carried, Handler.Data. Queued output goes with it.
//
// It is false, and nothing happens, of a Conn that is stale, ending or not open
// yet, and of a Stream, which stays where its owner is.
func (c Conn) Move(to *Loop) bool {
	r := c.living()
	if r == nil || r.life.in(unopenedSet) || r.fd == noFD || to == nil || to.engine != c.l.engine {
		return false
	}
	c.l.extend(c.slot, r).to = to
	c.l.turnTo(c.slot, r, leaving)
	return true
}

// Listener returns the label of the listener that the connection came by, see
// ListenOptions.
func (c Conn) Listener() uint8 {
	if r := c.record(); r != nil {
		return r.label
	}
	return 0
}

// Link returns what the connection's bytes go through, for what it knows of the
// peer, or nil: that is the socket.
func (c Conn) Link() Link {
	if r := c.record(); r != nil && r.ext != 0 {
		return c.l.exts[r.ext].link
	}
	return nil
}

// RemoteAddr returns the peer's address, that which an Opener has said or else the
// kernel's; an IPv4 address is never in its IPv6-mapped form. It is zero for unix
// sockets, and may be when the peer is gone.
func (c Conn) RemoteAddr() netip.AddrPort {
	r := c.record()
	if r == nil {
		return netip.AddrPort{}
	}
	if a := c.l.addrs.get(c.slot); a.IsValid() {
		return a
	}
	switch {
	case r.fd >= 0:
		if a, ok := c.l.recent.get(c); ok {
			return a
		}
		return peerAddr(r.fd)
	case r.fd != noFD:
		return c.l.sim.addr(r.fd)
	}
	return netip.AddrPort{}
}

// ext is what a connection needs only sometimes.
type ext struct {
	// Output, oldest first: queue[head:], of whose first off bytes are sent.
	queue  []ref
	head   int
	off    int
	kept   int // queue[:kept] outlives the step
	queued int // bytes to send
	held   int // bytes kept for them, without the queue itself
	end    int // where in Loop.arena the last ref ends, if it is transient
	lead   int // of queue[head], those that end a message that began before it

	// Of what may be dropped: see judge.
	index *class.Index // while some is queued that was judged
	base  uint32       // its place of queue[0]
	dead  int          // of queue[head:], those that were dropped
	fresh int          // those that are to be judged

	// Progress, by the loop's clock and in bytes since the ext was made.
	since int64 // when the kernel or the peer last took something, or the queue began
	sent  int64 // taken by the kernel
	taken int64 // of these, by the peer, when that was last looked at; unknown since the last send
	mark  int64 // the same for Conn.Taking
	asked bool  // Conn.Taking was, and is to be asked again

	carry  []byte // input that Data did not consume
	err    error  // why it is being closed
	last   []byte // by AbortWith
	to     *Loop  // where it is moving
	linger *lingerer
	link   Link // nil: the socket
}

// keptExts is how many unused exts a loop keeps.
const keptExts = 1024

// extend returns r's ext, which it makes if there is none.
func (l *Loop) extend(slot uint32, r *record) *ext {
	if r.ext == 0 {
		r.ext = l.newExt()
	}
	return l.exts[r.ext]
}

func (l *Loop) newExt() uint32 {
	n := len(l.freeExts)
	if n == 0 {
		l.exts = append(l.exts, new(ext))
		return uint32(len(l.exts) - 1)
	}
	i := l.freeExts[n-1]
	l.freeExts = l.freeExts[:n-1]
	if l.exts[i] == nil {
		l.exts[i] = new(ext)
	}
	return i
}

// shed gives r's ext back if nothing is in it.
func (l *Loop) shed(r *record) {
	if r.ext == 0 {
		return
	}
	e := l.exts[r.ext]
	if e.queued > 0 || e.carry != nil || e.err != nil || e.to != nil || e.linger != nil || e.link != nil || e.asked {
		return
	}
	q := e.queue
	if cap(q) > fewRefs {
		q = nil
	}
	*e = ext{queue: q}
	if len(l.freeExts) >= keptExts {
		l.exts[r.ext] = nil
	}
	l.freeExts = append(l.freeExts, r.ext)
	r.ext = 0
}

// Key names the connection on its loop without a pointer, for records that are
// to have none; see Loop.Conn. It is 0 only for the zero Conn.
func (c Conn) Key() handle.Key { return handle.Key{Slot: c.slot, Gen: c.gen} }

// Conn returns the connection that key names, which may be stale.
func (l *Loop) Conn(key handle.Key) Conn {
	if key == (handle.Key{}) {
		return Conn{}
	}
	return Conn{l, key.Slot, key.Gen}
}

// Reset asks the kernel whether the peer has reset the connection, which one does
// that ends before it has read everything, or that is sent something when it has
// gone; also when the loop has not come to notice yet, or cannot as reading is
// paused. It is false of a stale Conn.
func (c Conn) Reset() bool {
	r := c.living()
	return r != nil && r.flow&peerEnded == 0 && c.l.peekReset(r)
}

// PeerEnded asks the kernel whether the peer has ended the connection or its own
// direction of it, also when the loop has not come to notice yet; only on Linux it
// knows of the direction alone. It is true of a stale Conn.
func (c Conn) PeerEnded() bool {
	r := c.living()
	return r == nil || r.flow&peerEnded != 0 || c.l.peekEnd(r)
}
