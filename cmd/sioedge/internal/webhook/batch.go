package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/sio"
)

// An item is what waits to be told, beside its JSON.
type item struct {
	from, to int // of batch.body: its JSON
	idLen    int
	kind     action.Kind
	lost     *losses // it says what was lost; nil: it does not
	tries    int
	cost     int64 // of the store, until it is done
	since    int64 // Unix ms
	due      int64 // Unix ms: when an acknowledgement is too late; 0: never

	socket      sio.Socket
	asks        bool      // the client waits for an acknowledgement,
	reply       sio.Reply // which is this
	left        bool      // the socket had, when it was exported
	lane        uint64    // as of action.LaneOf
	call        *call     // who waits, of a connect
	done        func(taken bool)
	attachments [][]byte // of multipart
}

// itemBytes is what an item takes beside its JSON.
const itemBytes = int64(unsafe.Sizeof(item{}))

// A batch is what one request tells, in the order in which it came. It belongs to its
// lane's lock while items are added, and then to the lane's goroutine.
type batch struct {
	form   *form
	kind   action.Kind // of all items, if form.byType
	body   []byte      // head, and items with commas between
	items  []item
	bytes  int    // of attachments
	id     string // webhook-id, once it was sent
	tries  int
	after  time.Time // it is not sent before; zero: at once
	whole  bool      // nothing is added any more
	trace  string    // traceparent of all that have one; mixed if they have several
	scrap  []byte    // of multipart
	wanted []int     // of results
}

const mixed = "-"

// keptBody is the largest body that is kept for another batch.
const keptBody = 256 << 10

var batches = sync.Pool{New: func() any { return &batch{} }}

func newBatch(f *form, k action.Kind) *batch {
	x := batches.Get().(*batch)
	x.form, x.kind = f, k
	x.body = f.head(x.body)
	return x
}

// recycle gives a batch back whose items are done.
func (x *batch) recycle() {
	if cap(x.body) > keptBody || cap(x.items) > 1024 {
		return
	}
	*x = batch{body: x.body[:0], items: x.items[:0], wanted: x.wanted[:0]}
	batches.Put(x)
}

// fits tells whether an item of a kind may be added.
func (x *batch) fits(f *form, k action.Kind) bool {
	return !x.whole && x.form == f && (!f.byType || x.kind == k) && len(x.items) < f.maxItems && len(x.body)+x.bytes < f.maxBytes
}

// at returns where the next item begins, behind a comma if it needs one.
func (x *batch) at() int {
	if len(x.items) > 0 {
		x.body = append(x.body, ',')
	}
	return len(x.body)
}

// add adds an item whose JSON has been appended to the body.
func (x *batch) add(it item) {
	it.to = len(x.body)
	for _, a := range it.attachments {
		x.bytes += len(a)
	}
	x.items = append(x.items, it)
}

// overflows tells whether the last item makes the request too large, which it may only if
// it is alone.
func (x *batch) overflows() bool {
	return len(x.items) > 1 && len(x.body)+len("]}")+x.bytes > x.form.maxBytes
}

// tailInto moves the items from n on into another batch.
func (x *batch) tailInto(y *batch, n int) {
	for _, it := range x.items[n:] {
		from := y.at()
		y.body = append(y.body, x.body[it.from:it.to]...)
		it.from = from
		for _, a := range it.attachments {
			x.bytes -= len(a)
		}
		y.add(it)
	}
	clear(x.items[n:])
	x.items = x.items[:n]
	end := x.form.headLen
	if n > 0 {
		end = x.items[n-1].to
	}
	x.body = x.body[:end]
}

// keep drops the items for which f is false, which it is asked in order. The others stay
// in order, and are another request than they were with these.
func (x *batch) keep(f func(it *item) bool) {
	kept, at := 0, x.form.headLen
	for i := range x.items {
		it := &x.items[i]
		if !f(it) {
			for _, a := range it.attachments {
				x.bytes -= len(a)
			}
			continue
		}
		if kept > 0 {
			x.body[at] = ','
			at++
		}
		n := copy(x.body[at:], x.body[it.from:it.to])
		it.from, it.to = at, at+n
		at += n
		x.items[kept] = *it
		kept++
	}
	if kept < len(x.items) {
		x.id = ""
	}
	clear(x.items[kept:])
	x.items, x.body = x.items[:kept], x.body[:at]
}

// drop takes out the items that f is true of and returns them, without their JSON.
func (x *batch) drop(f func(it *item) bool) (gone []item) {
	for i := range x.items {
		if f(&x.items[i]) {
			gone = append(gone, x.items[i])
		}
	}
	if len(gone) > 0 {
		x.keep(func(it *item) bool { return !f(it) })
	}
	return gone
}

// itemID returns the id of an item, a view.
func (x *batch) itemID(it *item) []byte { return x.body[it.from+idAt:][:it.idLen] }

// parcel returns what is sent: a view of the batch, which nothing may be added to until
// unwrap.
func (x *batch) parcel() *parcel {
	x.body = x.form.tail(x.body)
	p := &parcel{id: x.id, kind: x.kind.String(), mime: x.form.mime(), body: x.body}
	if x.trace != mixed {
		p.trace = x.trace
	}
	if len(x.items) > 0 && x.items[0].lost != nil {
		p.kind = kindLost
	}
	if x.bytes > 0 {
		boundary := rand.Text()
		x.scrap = x.parts(slices.Grow(x.scrap[:0], len(x.body)+x.bytes+512), boundary)
		p.mime, p.body = `multipart/form-data; boundary=`+boundary, x.scrap
	}
	return p
}

// unwrap takes what parcel has added off again.
func (x *batch) unwrap() { x.body = x.body[:len(x.body)-len(x.form.tail(nil))] }

// parts appends the body as multipart/form-data: a field "events", and each attachment as
// a file whose field has the name that the item says.
func (x *batch) parts(dst []byte, boundary string) []byte {
	part := func(name, mime string, file bool, data []byte) {
		dst = append(append(append(dst, "--"...), boundary...), "\r\nContent-Disposition: form-data; name=\""...)
		dst = append(append(dst, name...), '"')
		if file {
			dst = append(append(append(dst, `; filename="`...), name...), '"')
		}
		dst = append(append(append(dst, "\r\nContent-Type: "...), mime...), "\r\n\r\n"...)
		dst = append(append(dst, data...), "\r\n"...)
	}
	part("events", x.form.mime(), false, x.body)
	for i := range x.items {
		it := &x.items[i]
		for n, a := range it.attachments {
			part(string(partName(nil, x.itemID(it), n)), "application/octet-stream", true, a)
		}
	}
	return append(append(append(dst, "--"...), boundary...), "--\r\n"...)
}

// partName appends the name of an attachment's part, of letters, digits and a hyphen,
// which no framework changes.
func partName(dst, id []byte, n int) []byte {
	return strconv.AppendInt(append(append(dst, id...), '-'), int64(n), 10)
}

// attachments appends the member for those of an event, in base64, or the names of their
// parts.
func (f *form) attachments(dst, id []byte, all [][]byte) []byte {
	if len(all) == 0 {
		return dst
	}
	dst = append(dst, `,"attachments":[`...)
	for i, a := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		if f.multipart {
			dst = partName(dst, id, i)
		} else {
			dst = base64.StdEncoding.AppendEncode(dst, a)
		}
		dst = append(dst, '"')
	}
	return append(dst, ']')
}

// follow notes the trace that an item belongs to.
func (x *batch) follow(trace string) {
	switch {
	case trace == "" || x.trace == trace:
	case x.trace == "":
		x.trace = trace
	default:
		x.trace = mixed
	}
}
