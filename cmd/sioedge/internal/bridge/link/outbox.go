package link

import (
	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

const (
	// batchSize is how long a batch is at most, unless one message is longer.
	batchSize = 256 << 10
	// headroom is left in front of a batch's messages for its head and the frame's.
	headroom = 32
	// compact is how long a batch is that keeps the buffer it was made in.
	compact = 64 << 10
	// maxBatches bounds the batches under way whatever their size, since each takes memory
	// beside its bytes.
	maxBatches = 1024
	// maxFree bounds the batches that are kept to be used again, and each one's memory.
	maxFree = 16
)

// A batch is some messages that were Put.
type batch struct {
	buf   []byte // headroom, and the messages
	n     int    // messages
	items []any
	acked bool // while it is written
}

// size is what a batch counts, in bytes; its head is no longer than headroom.
func (b *batch) size() int { return len(b.buf) }

// An outbox has what goes to a process, from Put until it is worked off. Whoever has it
// guards it.
type outbox struct {
	// The open batch.
	open  []byte
	n     int
	items []any

	// Closed ones, in order. The first is number acked+1.
	list    []*batch
	gone    int // of list, that were acked
	acked   uint64
	next    int // index of the first that is not under way in this connection
	most    int // of next since acked, in any connection: what the process may have received
	under   int // bytes under way: of batches[:next]
	waiting int // bytes of batches[next:]
	writing *batch

	free  []*batch
	spare []byte // for the open one, when it was long
}

// batches are those that are closed and not acked.
func (o *outbox) batches() []*batch { return o.list[o.gone:] }

// put appends a message to the open batch.
func (o *outbox) put(item any, f func(dst []byte) []byte) {
	if len(o.open) >= batchSize {
		o.close()
	}
	if len(o.open) == 0 {
		o.open = append(o.open, make([]byte, headroom)...)
	}
	at := len(o.open)
	o.open = f(o.open)
	if len(o.open) > batchSize && o.n > 0 {
		// The message is one of the next batch.
		tail := append(make([]byte, headroom, headroom+len(o.open)-at), o.open[at:]...)
		o.open = o.open[:at]
		o.close()
		o.open = append(o.open, tail...)
	}
	o.n++
	if item != nil {
		o.items = append(o.items, item)
	}
}

// close makes a batch of the open one, unless it is empty.
func (o *outbox) close() {
	if o.n == 0 {
		return
	}
	var b *batch
	if k := len(o.free); k > 0 {
		b, o.free = o.free[k-1], o.free[:k-1]
	} else {
		b = &batch{}
	}
	if len(o.open) > compact {
		b.buf, o.open, o.spare = o.open, o.spare, nil
	} else {
		b.buf, o.open = append(b.buf[:0], o.open...), o.open[:0]
	}
	b.n, o.n = o.n, 0
	b.items, o.items = o.items, b.items[:0]
	o.list = append(o.list, b)
	o.waiting += b.size()
}

// queued is how many bytes are not under way.
func (o *outbox) queued() int { return o.waiting + len(o.open) }

// take returns the next batch that the window lets through, which is written then.
func (o *outbox) take(window int) (b *batch, again bool) {
	if o.next == len(o.batches()) {
		o.close()
	}
	if o.next == len(o.batches()) || o.next >= maxBatches {
		return nil, false
	}
	b = o.batches()[o.next]
	if o.under > 0 && o.under+b.size() > window {
		return nil, false
	}
	o.next++
	o.under += b.size()
	o.waiting -= b.size()
	o.writing = b
	again = o.next <= o.most
	o.most = max(o.most, o.next)
	return b, again
}

// wrote says that what take returned is not looked at any more.
func (o *outbox) wrote() {
	if b := o.writing; b != nil && b.acked {
		o.recycle(b)
	}
	o.writing = nil
}

// ack drops the batches up to a number, and appends their items. It is false if they were
// not all under way in this connection, or received before it.
func (o *outbox) ack(number uint64, items []any) ([]any, bool) {
	if number <= o.acked {
		return items, true // a batch that is sent again has the ack that it had
	}
	if number > o.acked+uint64(o.next) {
		return items, false
	}
	k := int(number - o.acked)
	for _, b := range o.batches()[:k] {
		o.under -= b.size()
		items = append(items, b.items...)
		if b == o.writing {
			b.acked = true
		} else {
			o.recycle(b)
		}
	}
	clear(o.batches()[:k])
	if o.gone += k; o.gone > len(o.list)/2 {
		o.list = append(o.list[:0], o.batches()...)
		o.gone = 0
	}
	o.acked = number
	o.next -= k
	o.most -= k
	return items, true
}

func (o *outbox) recycle(b *batch) {
	clear(b.items)
	if cap(b.buf) > 2*compact && cap(b.buf) <= 2*batchSize && o.spare == nil {
		o.spare, b.buf = b.buf[:0], nil
	}
	if len(o.free) < maxFree && cap(b.buf) <= 2*compact && cap(b.items) <= 4096 {
		*b = batch{buf: b.buf, items: b.items[:0]}
		o.free = append(o.free, b)
	}
}

// resume goes back to the batch behind those that the process has received. It is false if
// it cannot have received so many, or has told before of more.
func (o *outbox) resume(received uint64) bool {
	if received < o.acked || received > o.acked+uint64(o.most) {
		return false
	}
	o.next = int(received - o.acked)
	o.under, o.waiting, o.writing = 0, 0, nil
	for i, b := range o.batches() {
		if i < o.next {
			o.under += b.size()
		} else {
			o.waiting += b.size()
		}
	}
	return true
}

// rest returns the items of all that was not worked off, and drops it.
func (o *outbox) rest() (items []any) {
	for _, b := range o.batches() {
		items = append(items, b.items...)
	}
	items = append(items, o.items...)
	*o = outbox{acked: o.acked}
	return items
}

// frame returns a batch as it is on the wire, in its own memory.
func (b *batch) frame(ack uint64) []byte {
	var h [headroom]byte
	head := wire.AppendBatch(h[:0], ack, b.n)
	at := headroom - len(head)
	copy(b.buf[at:], head)
	head = appendHeader(h[:0], ws.OpBinary, len(b.buf)-at)
	at -= len(head)
	copy(b.buf[at:], head)
	return b.buf[at:]
}
