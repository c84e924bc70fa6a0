package packetlog

import (
	"math"
	"sync/atomic"
)

// A Keeping counts what a message takes more while it is kept, for Message.Keep. Nil
// and the zero value count nothing. Any goroutine may call Count.
type Keeping struct {
	total *atomic.Int64 // counts the bytes of further forms; nil: nobody does
	extra atomic.Int64  // of which it has counted these; negative: not kept any more
}

// NewKeeping returns one that counts in total.
func NewKeeping(total *atomic.Int64) *Keeping { return &Keeping{total: total} }

// Begin has total counted in. It is called before others have the message.
func (k *Keeping) Begin(total *atomic.Int64) { k.total = total }

// Count counts so many bytes more.
func (k *Keeping) Count(n int64) {
	if k == nil || k.total == nil {
		return
	}
	k.total.Add(n)
	if k.extra.Add(n) < 0 {
		k.total.Add(-n) // not kept any more
	}
}

// End takes all that was counted out: the message is not kept any more.
func (k *Keeping) End() { k.total.Add(-k.extra.Swap(math.MinInt64 / 2)) }
