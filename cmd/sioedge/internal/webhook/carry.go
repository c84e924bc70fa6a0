package webhook

import (
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// A carriedBackend is a backend as data, for the server's successor.
type carriedBackend struct {
	Forms  []carriedForm   `cbor:"1,keyasint,omitempty"` // of batches
	Lanes  [][]carriedPack `cbor:"2,keyasint,omitempty"`
	Lost   []carriedLoss   `cbor:"3,keyasint,omitempty"` // that it is still to be told of
	Since  int64           `cbor:"4,keyasint,omitempty"` // of Lost: Unix ms
	LastID uint64          `cbor:"5,keyasint,omitempty"` // of ids
	Ill    bool            `cbor:"6,keyasint,omitempty"` // the breaker is not closed
	Opened int64           `cbor:"7,keyasint,omitempty"` // how often it was opened
}

type carriedForm struct {
	Node      string `cbor:"1,keyasint,omitempty"`
	Source    string `cbor:"2,keyasint,omitempty"`
	Cloud     bool   `cbor:"3,keyasint,omitempty"`
	Multipart bool   `cbor:"4,keyasint,omitempty"`
	ByType    bool   `cbor:"5,keyasint,omitempty"`
}

// A carriedPack is a batch.
type carriedPack struct {
	Form  int           `cbor:"1,keyasint,omitempty"`
	Kind  string        `cbor:"2,keyasint,omitempty"`
	ID    string        `cbor:"3,keyasint,omitempty"`
	Tries int           `cbor:"4,keyasint,omitempty"`
	Whole bool          `cbor:"5,keyasint,omitempty"`
	Trace string        `cbor:"6,keyasint,omitempty"`
	After time.Duration `cbor:"7,keyasint,omitempty"`
	Items []carriedItem `cbor:"8,keyasint,omitempty"`
}

type carriedItem struct {
	Text        []byte        `cbor:"1,keyasint,omitempty"` // JSON
	IDLen       int           `cbor:"2,keyasint,omitempty"`
	Kind        string        `cbor:"3,keyasint,omitempty"`
	Tries       int           `cbor:"4,keyasint,omitempty"`
	Since       int64         `cbor:"5,keyasint,omitempty"`
	Due         int64         `cbor:"6,keyasint,omitempty"`
	Socket      []byte        `cbor:"7,keyasint,omitempty"` // sio.Socket.Pack; empty: none
	Left        bool          `cbor:"8,keyasint,omitempty"` // the socket has
	Reply       uint64        `cbor:"9,keyasint,omitempty"`
	Asks        bool          `cbor:"10,keyasint,omitempty"` // the client waits for an acknowledgement, by Reply
	Waited      bool          `cbor:"11,keyasint,omitempty"` // for what becomes of it, by who has told it
	Lane        uint64        `cbor:"12,keyasint,omitempty"`
	Lost        []carriedLoss `cbor:"13,keyasint,omitempty"`
	Attachments [][]byte      `cbor:"14,keyasint,omitempty"`
}

// A carriedLoss says how many of a kind were lost.
type carriedLoss struct {
	Kind string `cbor:"1,keyasint"`
	N    int64  `cbor:"2,keyasint"`
}

func carryLosses(x *losses) (all []carriedLoss) {
	for k, n := range x.counts {
		if n > 0 {
			all = append(all, carriedLoss{action.Kind(k).String(), n})
		}
	}
	return all
}

// Export returns all that waits to be told as data. It is called behind Still, and changes
// nothing, but notes for Moved what the successor gets.
func (b *Backend) Export() ([]byte, error) {
	x := carriedBackend{LastID: b.ids.last.Load(), Ill: b.breaker.state() != Closed, Opened: b.breaker.count()}
	if lost := b.lost.take(); lost != nil {
		x.Lost, x.Since = carryLosses(lost), lost.since
		b.lost.giveBack(lost)
	}
	forms := map[*form]int{}
	for i := range b.lanes {
		l := &b.lanes[i]
		l.mu.Lock()
		var all []carriedPack
		for _, batch := range l.queue {
			if _, ok := forms[batch.form]; !ok {
				f := batch.form
				forms[f] = len(x.Forms)
				x.Forms = append(x.Forms, carriedForm{f.node, f.source, f.cloud, f.multipart, f.byType})
			}
			all = append(all, batch.carry(forms[batch.form]))
		}
		l.mu.Unlock()
		x.Lanes = append(x.Lanes, all)
	}
	return carried.Marshal(x)
}

// carry returns a batch as data, of which views are good until it is encoded.
func (x *batch) carry(form int) carriedPack {
	p := carriedPack{Form: form, Kind: x.kind.String(), ID: x.id, Tries: x.tries, Whole: x.whole, Trace: x.trace, Items: make([]carriedItem, len(x.items))}
	if !x.after.IsZero() {
		p.After = max(time.Until(x.after), 0)
	}
	for i := range x.items {
		it := &x.items[i]
		c := &p.Items[i]
		*c = carriedItem{
			Text: x.body[it.from:it.to], IDLen: it.idLen, Kind: it.kind.String(), Tries: it.tries, Since: it.since, Due: it.due, Asks: it.asks,
			Waited: it.done != nil, Lane: it.lane, Attachments: it.attachments,
		}
		if it.socket != (sio.Socket{}) {
			it.left = it.socket.Gone()
			c.Socket, c.Left = it.socket.Pack(nil), it.left
		}
		if id, ok := it.reply.ID(); ok && it.asks {
			c.Reply = id
		}
		if it.lost != nil {
			c.Lost = carryLosses(it.lost)
		}
	}
	return p
}

// Moved forgets what the successor has, without a word to who has told it, and has the rest
// go on: what clients have sent that have stayed.
func (b *Backend) Moved() {
	b.lost.take()
	for i := range b.lanes {
		l := &b.lanes[i]
		l.mu.Lock()
		for _, x := range l.queue {
			x.keep(func(it *item) bool {
				stays := it.socket != (sio.Socket{}) && !it.left && !it.socket.Gone()
				if !stays {
					b.release(it)
				}
				return stays
			})
		}
		l.queue = slices.DeleteFunc(l.queue, func(x *batch) bool { return len(x.items) == 0 })
		l.dues = 0
		for _, x := range l.queue {
			l.dues += x.dues()
		}
		l.mu.Unlock()
	}
	b.Release()
}
