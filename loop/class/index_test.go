package class

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A message of the queues below.
type message struct {
	id   int
	kind *Kind
	n    int
	mark uint32
}

// fifo is a queue of messages as a transport has one: what was dropped stays as a nil,
// and places do not change.
type fifo struct {
	x     Index
	all   []*message
	first uint32 // the place of all[0]
	bytes int
	drops Counts
}

func (q *fifo) Size() int { return q.bytes }

func (q *fifo) Drop(place uint32) {
	m := q.all[place-q.first]
	q.bytes -= m.n
	q.all[place-q.first] = nil
}

func (q *fifo) put(m message, soft int) {
	if m.kind == nil {
		q.all, q.bytes = append(q.all, &m), q.bytes+m.n
		return
	}
	v := q.x.Judge(q, m.kind, m.n, soft)
	q.drops.Count(m.kind.Policy, v.Dropped)
	switch {
	case v.Refused:
		return
	case v.Instead != 0:
		old := q.all[q.x.Place(v.Instead)-q.first]
		q.bytes += m.n - old.n
		m.mark = v.Instead
		*old = m
		q.x.Replace(m.mark, m.n)
	default:
		m.mark = q.x.Add(m.kind, q.first+uint32(len(q.all)), m.n)
		q.all, q.bytes = append(q.all, &m), q.bytes+m.n
	}
}

// send takes the first message out; part has it only begun.
func (q *fifo) send(part bool) {
	for len(q.all) > 0 && q.all[0] == nil {
		q.all, q.first = q.all[1:], q.first+1
	}
	if len(q.all) == 0 {
		return
	}
	m := q.all[0]
	if m.mark != 0 {
		q.x.Remove(m.mark)
		m.mark = 0
	}
	if part {
		return
	}
	q.bytes -= m.n
	q.all, q.first = q.all[1:], q.first+1
}

// compact moves what is left together, as queues do now and then.
func (q *fifo) compact() {
	q.all = slices.DeleteFunc(q.all, func(m *message) bool { return m == nil })
	for i, m := range q.all {
		if m.mark != 0 {
			q.x.Move(m.mark, q.first+uint32(i))
		}
	}
}

// plain is the same by going through everything: what an Index is to be like.
type plain struct {
	all   []message // mark: 1 while nothing of it was sent
	drops Counts
}

func (p *plain) size() (n int) {
	for _, m := range p.all {
		n += m.n
	}
	return n
}

// of returns where the messages are of a kind, of which nothing was sent.
func (p *plain) of(k *Kind) (at []int) {
	for i, m := range p.all {
		if m.mark != 0 && m.kind.Policy == k.Policy && m.kind.Key == k.Key {
			at = append(at, i)
		}
	}
	return at
}

func (p *plain) put(m message, soft int) {
	m.mark = 0
	if m.kind == nil {
		p.all = append(p.all, m)
		return
	}
	m.mark = 1
	at := p.of(m.kind)
	switch k := m.kind; {
	case k.Policy == DropNew && p.size() > soft:
		p.drops.New++
		return
	case k.Policy == DropOldest:
		for len(at) > 0 && p.size()+m.n > soft {
			p.all = slices.Delete(p.all, at[0], at[0]+1)
			p.drops.Oldest++
			at = p.of(k)
		}
	case k.Policy == Conflate && k.Ordered && len(at) > 1:
		p.all = slices.Delete(p.all, at[1], at[1]+1)
		p.drops.Conflated++
	case k.Policy == Conflate && !k.Ordered && len(at) > 0:
		p.all[at[0]] = m
		p.drops.Conflated++
		return
	}
	p.all = append(p.all, m)
}

func (p *plain) send(part bool) {
	switch {
	case len(p.all) == 0:
	case part:
		p.all[0].mark = 0
	default:
		p.all = p.all[1:]
	}
}

// play has both do what the bytes of b say, and compares them.
func play(t *testing.T, b []byte) {
	t.Helper()
	kinds := []*Kind{nil}
	for p := DropNew; p < policies; p++ {
		for key := range 3 {
			kinds = append(kinds, &Kind{Policy: p, Key: fmt.Sprint(key)}, &Kind{Policy: p, Key: fmt.Sprint("ordered", key), Ordered: true})
		}
	}
	const soft = 1000
	var q fifo
	var want plain
	for id, c := range b {
		switch {
		case c < 160:
			m := message{id: id, kind: kinds[int(c)%len(kinds)], n: 1 + int(c)*3}
			q.put(m, soft)
			want.put(m, soft)
		case c < 190:
			q.compact()
		default:
			q.send(c%3 == 0)
			want.send(c%3 == 0)
		}
		check(t, id, &q, &want)
	}
}

func check(t *testing.T, step int, q *fifo, want *plain) {
	t.Helper()
	var got []int
	held, marked := 0, 0
	for i, m := range q.all {
		if m == nil {
			continue
		}
		got = append(got, m.id)
		if m.mark != 0 {
			held, marked = held+m.n, marked+1
			if at := q.x.Place(m.mark); at != q.first+uint32(i) {
				t.Fatalf("step %d: a message is in place %d, the Index says %d", step, q.first+uint32(i), at)
			}
		}
	}
	var ids []int
	for _, m := range want.all {
		ids = append(ids, m.id)
	}
	if !slices.Equal(got, ids) || q.drops != want.drops || q.bytes != want.size() {
		t.Fatalf("step %d: queued %v, dropped %+v, %d bytes; want %v, %+v, %d", step, got, q.drops, q.bytes, ids, want.drops, want.size())
	}
	if q.x.Len() != marked || q.x.Held() != held {
		t.Fatalf("step %d: Len %d, Held %d, want %d, %d", step, q.x.Len(), q.x.Held(), marked, held)
	}
}

func TestIndexDoesWhatGoingThroughTheQueueDoes(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		play(t, b)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 1, 170, 255})
	f.Fuzz(func(t *testing.T, b []byte) { play(t, b[:min(len(b), 2000)]) })
}

// What an Index takes is bounded by what was in it at a time, not by how many kinds
// there have been.
func TestAnIndexDoesNotGrowWithTheKindsOfThePast(t *testing.T) {
	var q fifo
	for i := range 10_000 {
		q.put(message{kind: &Kind{Policy: DropOldest, Key: fmt.Sprint(i)}, n: 1}, 1000)
		q.send(false)
	}
	if n := q.x.Size(); n > 1024 || len(q.x.lists) != 0 || q.x.Len() != 0 {
		t.Fatalf("%d bytes, %d lists, %d messages, want next to nothing", n, len(q.x.lists), q.x.Len())
	}
}

func TestPoliciesHaveNames(t *testing.T) {
	for p, want := range []string{"close", "drop-new", "drop-oldest", "conflate", "?"} {
		if got := Policy(p).String(); got != want || Policy(p).Valid() != (want != "?") {
			t.Errorf("Policy(%d) = %q, valid %v, want %q", p, got, Policy(p).Valid(), want)
		}
	}
}
