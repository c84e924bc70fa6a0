package webhook

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

// A Loss is why something could not be told, or nobody waits for the answer any more.
type Loss uint8

// The reasons, beside one for each Outcome.
const (
	_       Loss = iota
	Left         // the client that wanted in has left, or does not wait any more
	Late         // its acknowledgement came too late for anybody
	TooOld       // it was tried for retry_for
	Full         // too much waited
	Stopped      // the backend was closed
	firstOfOutcomes
	lossCount = firstOfOutcomes + Loss(outcomes)
)

// lossOf is the reason that an outcome is.
func lossOf(o Outcome) Loss { return firstOfOutcomes + Loss(o) }

// String names the reason as metrics do.
func (l Loss) String() string {
	switch {
	case l == Left:
		return "left"
	case l == Late:
		return "late"
	case l == TooOld:
		return "too_old"
	case l == Full:
		return "queue_full"
	case l == Stopped:
		return "stopped"
	case l >= firstOfOutcomes && l < lossCount:
		return Outcome(l - firstOfOutcomes).String()
	}
	return "unknown"
}

// Losses returns all reasons.
func Losses() (all []Loss) {
	for l := Left; l < lossCount; l++ {
		if l < firstOfOutcomes || !treatments[l-firstOfOutcomes].taken {
			all = append(all, l)
		}
	}
	return all
}

// losses are what a backend has still to be told that it was not told.
type losses struct {
	counts [action.Kinds]int64
	since  int64 // Unix ms: when the first came that was lost
}

// lostLog gathers losses. Any goroutine may use it.
type lostLog struct {
	mu  sync.Mutex
	all losses
	any bool
}

// add counts n more of a kind.
func (l *lostLog) add(k action.Kind, n int64, since int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.any || since < l.all.since {
		l.all.since = since
	}
	l.all.counts[k] += n
	l.any = true
}

// take returns what there is, nil for nothing.
func (l *lostLog) take() *losses {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.any {
		return nil
	}
	x := l.all
	l.all, l.any = losses{}, false
	return &x
}

// giveBack is for losses that could not be told.
func (l *lostLog) giveBack(x *losses) {
	for k, n := range x.counts {
		if n > 0 {
			l.add(action.Kind(k), n, x.since)
		}
	}
}

// members appends them: {"counts":{"event":3},"since":ms}, each with a comma before it.
func (x *losses) members(dst []byte) []byte {
	dst = append(dst, `,"counts":{`...)
	first := true
	for k, n := range x.counts {
		if n == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(dst, '"'), action.Kind(k).String()...), `":`...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	return strconv.AppendInt(append(dst, `},"since":`...), x.since, 10)
}

// report has a batch that was not sent yet say what was lost.
func (l *lane) report(x *batch) {
	if l.urgent || x.id != "" {
		return
	}
	lost := l.b.lost.take()
	if lost == nil {
		return
	}
	if x.form.byType { // a request of its own, which is made first
		y := newBatch(x.form, x.kind)
		x.items, y.items = y.items, x.items
		x.body, y.body = y.body, x.body
		x.bytes, y.bytes = y.bytes, x.bytes
		x.trace, y.trace = y.trace, x.trace
		l.back(y)
	}
	now := time.Now()
	var id [idLength]byte
	l.b.ids.append(id[:0], now)
	from := x.at()
	x.body = x.form.begin(x.body, string(id[:]), kindLost, "", now)
	x.body = x.form.end(lost.members(x.body))
	x.add(item{from: from, idLen: idLength, lost: lost, since: now.UnixMilli()})
}

// lose is for an item that is not told. Its client and who has told it are answered.
func (b *Backend) lose(it *item, why Loss) {
	b.release(it)
	switch {
	case it.lost != nil:
		b.lost.giveBack(it.lost)
		return
	case it.call != nil:
		it.call.end(nil, why)
	case it.asks:
		b.noAck(it, why)
	}
	if it.done != nil {
		it.done(false)
	}
	b.countLoss(it.kind, why, it.since)
}

// countLoss counts one of a kind.
func (b *Backend) countLoss(k action.Kind, why Loss, since int64) {
	b.tally.lost[k][why].Add(1)
	if k == action.Connect || k == action.Refresh {
		return // its client was told, and the backend has nothing to repair
	}
	b.lost.add(k, 1, since)
	b.notice.Warn(fmt.Sprintf("webhook: a backend was not told of %s: %s", k, why), "backend", b.name, "see", b.key)
}

// Lose is for things of a kind that who would tell of them could not keep.
func (b *Backend) Lose(k action.Kind, n int64) {
	b.tally.lost[k][Full].Add(n)
	b.lost.add(k, n, time.Now().UnixMilli())
}

var _ action.Loser = (*Backend)(nil)

// told is for an item that the backend has.
func (b *Backend) told(it *item) {
	b.release(it)
	if it.lost != nil {
		return
	}
	b.tally.told[it.kind].Add(1)
	if it.done != nil {
		it.done(true)
	}
}

// release takes an item's bytes out of what waits.
func (b *Backend) release(it *item) {
	if it.kind == action.Event && it.lost == nil {
		b.lane(it.socket.Conn()).room.give(it.cost)
		b.room.give(it.cost)
		return
	}
	b.kept.Add(-it.cost)
}

// noAck tells a client that its event has no acknowledgement, if that is wanted.
func (b *Backend) noAck(it *item, why Loss) {
	b.tally.unacknowledged.Add(1)
	if b.own.Load().AckErrors {
		_ = it.reply.Ack(noAnswer{noAnswerDetail{503, "the backend has not answered", why.String()}}) // or the client has left
	}
}

// A noAnswer is the acknowledgement of an event that the backend has not answered.
type noAnswer struct {
	Error noAnswerDetail `json:"$error"`
}

type noAnswerDetail struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
}
