package webhook

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// A restored is what another server had, until its sockets are there.
type restored struct {
	packs  []restoredPack
	loses  *losses
	ill    bool
	opened int64

	// Who has told something that waits tells it once more to hear of it: by its id.
	mu    sync.Mutex
	waits map[string]*outcome
	open  atomic.Int64 // of waits
}

// A restoredPack is a batch, whose items have no sockets yet.
type restoredPack struct {
	lane  int // of how many; -1: each item by itself
	form  *form
	pack  carriedPack
	kind  action.Kind
	kinds []action.Kind
}

// An outcome is what has become of something that was told to the server before.
type outcome struct {
	over, taken bool
	done        func(taken bool) // nil: nobody has asked
}

// Bounds of what is imported.
const (
	mostIDLen   = 128 // of an item's, in bytes
	mostTexts   = 1 << 10
	mostForms   = 64
	mostTries   = 1 << 20
	mostWaiting = 5 * time.Minute
)

// Import takes what another server's Export has returned. It is called before there are any
// clients; nothing is begun before Taken. The error says what cannot be.
func (b *Backend) Import(data []byte) error {
	var x carriedBackend
	if err := carried.Unmarshal(data, &x); err != nil {
		return err
	}
	loses, err := lossesOf(x.Lost, x.Since)
	if err != nil {
		return err
	}
	forms, err := b.formsOf(x.Forms)
	if err != nil {
		return err
	}
	r := &b.carried
	for i, lane := range x.Lanes {
		for _, p := range lane {
			at := i
			if len(x.Lanes) != len(b.lanes) || p.Form >= 0 && p.Form < len(forms) && b.form.Load().byType && !x.Forms[p.Form].ByType {
				at = -1
			}
			y, err := restore(p, at, forms)
			if err != nil {
				return err
			}
			r.packs = append(r.packs, y)
		}
	}
	if ahead := uint64(time.Now().Add(time.Hour).UnixMilli()) << idCounter; x.LastID < ahead { // else it is no time of ours
		b.ids.last.Store(max(b.ids.last.Load(), x.LastID))
	}
	r.loses, r.ill, r.opened = loses, x.Ill, max(x.Opened, 0)
	return nil
}

// Waiting returns how many items there are in what Export has returned.
func Waiting(data []byte) (n int) {
	var x carriedBackend
	if carried.Unmarshal(data, &x) != nil {
		return 0
	}
	for _, lane := range x.Lanes {
		for _, p := range lane {
			n += len(p.Items)
		}
	}
	return n
}

var errCarried = errors.New("webhook: what another server has told of a backend contradicts itself")

func kindNamed(name string) (action.Kind, error) {
	for k := range action.Kinds {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("webhook: another server tells of something of a kind that there is not: %.32q", name)
}

func lossesOf(all []carriedLoss, since int64) (*losses, error) {
	if len(all) == 0 {
		return nil, nil
	}
	x := &losses{since: since}
	for _, l := range all {
		k, err := kindNamed(l.Kind)
		if err != nil {
			return nil, err
		}
		if l.N < 0 || x.counts[k] > 0 {
			return nil, errCarried
		}
		x.counts[k] = l.N
	}
	return x, nil
}

// formsOf returns how items are written that come: as this server writes them, if that is the
// same.
func (b *Backend) formsOf(all []carriedForm) (forms []*form, err error) {
	own := b.form.Load()
	if len(all) > mostForms {
		return nil, errCarried
	}
	for _, c := range all {
		if !isText(c.Node) || !isText(c.Source) {
			return nil, errCarried
		}
		f := own
		if c != (carriedForm{own.node, own.source, own.cloud, own.multipart, own.byType}) {
			f = &form{node: c.Node, source: c.Source, cloud: c.Cloud, multipart: c.Multipart, byType: c.ByType || own.byType, headers: own.headers, maxItems: own.maxItems, maxBytes: own.maxBytes}
			f.headLen = len(f.head(nil))
		}
		forms = append(forms, f)
	}
	return forms, nil
}

// isText tells whether a text is JSON of one.
func isText(s string) bool {
	return len(s) <= mostTexts && strings.HasPrefix(s, `"`) && value.Skip([]byte(s), 0, 1) == len(s)
}

// restore checks a batch.
func restore(p carriedPack, lane int, forms []*form) (r restoredPack, err error) {
	if p.Form < 0 || p.Form >= len(forms) || len(p.ID) > mostIDLen || len(p.Trace) > 64 || p.Tries < 0 || p.Tries > mostTries {
		return r, errCarried
	}
	r = restoredPack{lane: lane, form: forms[p.Form], pack: p, kinds: make([]action.Kind, len(p.Items))}
	if r.kind, err = kindNamed(p.Kind); err != nil {
		return r, err
	}
	r.pack.After = min(max(p.After, 0), mostWaiting)
	for i := range p.Items {
		c := &p.Items[i]
		if r.kinds[i], err = kindNamed(c.Kind); err != nil {
			return r, err
		}
		whole := value.SkipSpace(c.Text, 0) == 0 && len(c.Text) > 0 && value.Skip(c.Text, 0, value.MaxDepth) == len(c.Text)
		switch k := r.kinds[i]; {
		case !whole, c.IDLen < 1 || c.IDLen > mostIDLen || idAt+c.IDLen >= len(c.Text) || c.Text[idAt+c.IDLen] != '"' || !strings.HasPrefix(string(c.Text[:idAt]), `{"id":"`):
			return r, errCarried
		case (k == action.Connect || k == action.Refresh) && len(c.Lost) == 0, c.Tries < 0 || c.Tries > mostTries:
			return r, errCarried
		}
		if _, err := lossesOf(c.Lost, c.Since); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Taken puts what has come into lanes, now that all sockets are there; Release has it be told.
// What a client has sent that has stayed with the other server is that server's.
func (b *Backend) Taken() {
	r := &b.carried
	if r.loses != nil {
		b.lost.giveBack(r.loses)
	}
	if r.ill {
		b.breaker.trip()
	}
	b.breaker.addOpened(r.opened)
	for i := range r.packs {
		b.install(&r.packs[i])
	}
	r.packs, r.loses = nil, nil
}

// install puts a batch into its lane, or the lanes of its items.
func (b *Backend) install(r *restoredPack) {
	x := newBatch(r.form, r.kind)
	for i := range r.pack.Items {
		it, text, ok := b.revive(&r.pack.Items[i], r.kinds[i])
		if !ok {
			continue
		}
		if r.lane >= 0 {
			it.from = x.at()
			x.body = append(x.body, text...)
			x.add(it)
			continue
		}
		y := newBatch(r.form, r.kinds[i])
		it.from = y.at()
		y.body = append(y.body, text...)
		y.add(it)
		y.follow(r.pack.Trace)
		y.tries, y.after, y.whole = r.pack.Tries, afterOf(r.pack.After), true
		b.lanes[it.lane%uint64(len(b.lanes))].append(y)
	}
	if len(x.items) == 0 {
		return
	}
	x.tries, x.whole, x.trace, x.after = r.pack.Tries, r.pack.Whole, r.pack.Trace, afterOf(r.pack.After)
	if len(x.items) == len(r.pack.Items) {
		x.id = r.pack.ID // else it is another request than it was
	}
	b.lanes[r.lane].append(x)
}

func afterOf(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// append puts a batch behind what is in the lane. Its goroutine is begun by Release.
func (l *lane) append(x *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dues += x.dues()
	l.queue = append(l.queue, x)
}

// revive makes an item, which is counted as one that waits. It is false for what is the other
// server's.
func (b *Backend) revive(c *carriedItem, k action.Kind) (it item, text []byte, ok bool) {
	s, err := b.srv.Unpack(c.Socket)
	if err != nil { // of a namespace that there is not any more: the backend is told all the same
		s = sio.Socket{}
	} else if s != (sio.Socket{}) && s.Gone() && !c.Left {
		return it, nil, false
	}
	it = item{
		idLen: c.IDLen, kind: k, tries: c.Tries, cost: int64(len(c.Text)) + itemBytes, since: c.Since, due: c.Due, socket: s, lane: c.Lane, attachments: c.Attachments,
	}
	if it.lost, _ = lossesOf(c.Lost, c.Since); it.lost != nil {
		it.cost = 0
		return it, c.Text, true
	}
	if c.Asks && s != (sio.Socket{}) {
		it.asks, it.reply = true, s.ReplyTo(c.Reply)
	}
	for _, a := range it.attachments {
		it.cost += int64(len(a))
	}
	if k == action.Event {
		it.lane = action.LaneOf(s.Conn())
		b.lane(s.Conn()).room.force(it.cost)
		b.room.force(it.cost)
	} else {
		b.kept.Add(it.cost)
	}
	if c.Waited {
		id := string(c.Text[idAt:][:c.IDLen])
		o := &outcome{}
		b.carried.expect(id, o)
		it.done = func(taken bool) { b.carried.end(o, taken) }
	}
	return it, c.Text, true
}

// expect notes that what becomes of an item will be asked.
func (r *restored) expect(id string, o *outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waits == nil {
		r.waits = map[string]*outcome{}
	}
	r.waits[id] = o
	r.open.Store(int64(len(r.waits)))
}

// end says what has become of an item.
func (r *restored) end(o *outcome, taken bool) {
	r.mu.Lock()
	o.over, o.taken = true, taken
	done := o.done
	r.mu.Unlock()
	if done != nil {
		done(taken)
	}
}

// ask has done told of an item that the server before was told of. It is false if it was not.
func (r *restored) ask(id string, done func(taken bool)) bool {
	if r.open.Load() == 0 || id == "" || done == nil {
		return false
	}
	r.mu.Lock()
	o := r.waits[id]
	delete(r.waits, id)
	r.open.Store(int64(len(r.waits)))
	if o == nil {
		r.mu.Unlock()
		return false
	}
	o.done = done
	over, taken := o.over, o.taken
	r.mu.Unlock()
	if over {
		done(taken)
	}
	return true
}
