package webhook

import (
	"bytes"
	"errors"
	"runtime/debug"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// apply does what an answer says, in the order of the items. Items without a result are
// taken without anything to do.
func (b *Backend) apply(x *batch, a *answer) {
	var results []action.Result
	if a.outcome == Answered && len(a.body) > 0 {
		var err error
		if results, err = action.ParseResults(a.body, b.limits); err != nil {
			a.outcome = Garbled
			b.tally.garbled.Add(1)
			b.notice.Warn("webhook: the answer of a backend cannot be read", "backend", b.name, "see", b.key, "error", parseError(err))
		}
	}
	of := x.match(results, &b.tally)
	for i := range x.items {
		var r *action.Result
		if k := of[i]; k >= 0 {
			r = &results[k]
		}
		b.answer(&x.items[i], r, a.outcome)
	}
}

// match returns the number of each item's result, -1 for none. Results that are of no item,
// or of one that has one already, are counted.
func (x *batch) match(results []action.Result, t *tally) []int {
	of := x.wanted[:0]
	for range x.items {
		of = append(of, -1)
	}
	x.wanted = of
	var byID map[string]int
	next := 0
	for k := range results {
		id := results[k].ID
		if next < len(x.items) && string(x.itemID(&x.items[next])) == id { // as they usually come
			of[next] = k
			next++
			continue
		}
		if byID == nil {
			byID = make(map[string]int, len(x.items))
			for i := range x.items {
				byID[string(x.itemID(&x.items[i]))] = i
			}
		}
		i, ok := byID[id]
		if !ok || of[i] >= 0 {
			t.unknown.Add(1)
			continue
		}
		of[i] = k
		if i >= next {
			next = i + 1
		}
	}
	return of
}

// answer does what the answer to an item says; r is nil if there is none.
func (b *Backend) answer(it *item, r *action.Result, o Outcome) {
	if r != nil && r.Fault != nil {
		b.tally.faulty.Add(1)
		b.notice.Warn("webhook: a result of a backend cannot be used", "backend", b.name, "see", b.key, "type", it.kind.String(), "member", r.Fault.Field, "code", string(r.Fault.Code))
		r, o = nil, Garbled
	}
	switch {
	case it.call != nil && o == Garbled:
		it.call.end(nil, lossOf(Garbled))
	case it.call != nil:
		if r == nil {
			r = &action.Result{}
		}
		it.call.end(r, 0)
	case r == nil && it.asks && o == Garbled:
		b.noAck(it, lossOf(Garbled))
	case r != nil && it.lost == nil && it.socket != (sio.Socket{}):
		b.do(it, r)
	}
}

// do does what a result says on behalf of the socket that has sent the event. If that has
// gone, others may still have something of it.
func (b *Backend) do(it *item, r *action.Result) {
	defer func() {
		if p := recover(); p != nil {
			b.tally.panics.Add(1)
			b.notice.Warn("webhook: doing what a backend says has panicked", "backend", b.name, "stack", string(debug.Stack()))
		}
	}()
	gone := it.socket.Gone()
	if gone {
		b.tally.gone.Add(1)
	}
	if it.asks && it.due != 0 && it.due < time.Now().UnixMilli() {
		b.noAck(it, Late)
		it.asks = false
	}
	ack := func() {
		if it.asks && r.Ack != nil && !gone {
			b.failed(it.reply.Ack(*r.Ack))
		}
		it.asks = false
	}
	if r.Error != nil {
		b.failed(errRefusal)
	}
	b.failed(r.Enter(it.socket))
	config.Each(r.Act(b.srv, it.socket, ack), b.failed)
}

// errRefusal is counted for a backend that refuses what it is told of.
var errRefusal = errors.New("error is for connect alone: events are answered by ack")

// failed counts an error of what a backend wants done.
func (b *Backend) failed(err error) {
	if err == nil || errors.Is(err, sio.ErrClosed) {
		return
	}
	b.tally.undone.Add(1)
	b.notice.Warn("webhook: what a backend wants cannot be done", "backend", b.name, "error", err)
}

// parseError returns what is wrong with an answer, without what is in it.
func parseError(err error) string {
	var f *action.FieldError
	if errors.As(err, &f) {
		return string(f.Code)
	}
	return "malformed"
}

// null tells whether JSON is nothing.
func null(b []byte) bool { return len(b) == 0 || bytes.Equal(b, []byte("null")) }
