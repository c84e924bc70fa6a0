package rooms

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// The model: a Directory and three Locals with mailboxes, driven by random
// choices, beside the same in plain maps, which decide at the moment a
// broadcast is enqueued who is to get it.

const (
	modelLoops      = 3
	modelNamespaces = 2
	modelEmitters   = 4
)

// A choice returns a number from 0 to n-1, and false when there are no more.
type choice func(n int) (int, bool)

type message struct {
	id      int // also the order of publishing
	emitter int
	count   int // of the emitter
	rooms   []mkey
}

// An mkey is a room of the model; the name "*" is everybody.
type mkey struct {
	ns   uint32
	name string
}

type mroom struct {
	members  map[*msocket]bool
	expected [modelLoops]int
}

type msocket struct {
	loop, slot, gen uint32
	ns              uint32
	connected, gone bool
	rooms           []string
	want, got       []*message
}

func (s *msocket) ref() Ref { return MakeRef(int(s.loop), s.slot, s.gen) }

// An mcast is a broadcast as the model has resolved it.
type mcast struct {
	b          *Broadcast
	msg        *message
	to, except []*mroom
}

type mloop struct {
	local   *Local
	mail    []func()
	sockets map[uint32]*msocket // by slot
	gens    map[uint32]uint32
	free    []uint32 // last in, first out
	next    int
}

type model struct {
	choose  choice
	dir     *Directory
	loops   [modelLoops]*mloop
	rooms   map[mkey]*mroom
	all     []*msocket
	counts  [modelEmitters]int
	ids     int
	runs    map[*Run]int // how long each was when first seen
	problem error
	broken  func(s *msocket, ms []*message) []*message // of the deliverer, for tests of the checker
}

// Slots lie in several blocks, and at their borders.
var modelSlots = []uint32{5, 1, 4095, 4096, 8191, 2, 12288, 6, 4097, 3, 1023, 1024, 20000, 7, 8, 70000}

func newModel(c choice) *model {
	m := &model{choose: c, dir: NewDirectory(modelLoops), rooms: map[mkey]*mroom{}, runs: map[*Run]int{}}
	for i := range m.loops {
		l := &mloop{local: m.dir.Local(i), sockets: map[uint32]*msocket{}, gens: map[uint32]uint32{}}
		l.local.OnDeliver(func(slot uint32, run *Run, from int, more bool) { m.deliver(l, slot, run, from) })
		m.loops[i] = l
	}
	return m
}

func (m *model) fail(format string, args ...any) {
	if m.problem == nil {
		m.problem = fmt.Errorf(format, args...)
	}
}

func (m *model) deliver(l *mloop, slot uint32, run *Run, from int) {
	s := l.sockets[slot]
	if s == nil || !s.connected {
		m.fail("Deliver(%d) to a slot that is not connected", slot)
		return
	}
	if n, ok := m.runs[run]; ok && n != len(run.Broadcasts) {
		m.fail("a run of %d messages has %d now", n, len(run.Broadcasts))
	}
	m.runs[run] = len(run.Broadcasts)
	var ms []*message
	for _, b := range run.Broadcasts[from:] {
		ms = append(ms, b.Message.(*message))
	}
	if m.broken != nil {
		ms = m.broken(s, ms)
	}
	s.got = append(s.got, ms...)
}

// room returns a room of the model, made if needed; settle forgets it.
func (m *model) room(k mkey) *mroom {
	if m.rooms[k] == nil {
		m.rooms[k] = &mroom{members: map[*msocket]bool{}}
	}
	return m.rooms[k]
}

func (m *model) settle(k mkey) {
	if r := m.rooms[k]; r != nil && len(r.members) == 0 && r.expected == [modelLoops]int{} {
		delete(m.rooms, k)
	}
}

func (m *model) leave(s *msocket, name string) {
	k := mkey{s.ns, name}
	delete(m.room(k).members, s)
	m.settle(k)
}

// open makes a socket that is not connected yet.
func (m *model) open(loop, ns int) *msocket {
	l := m.loops[loop]
	var slot uint32
	switch n := len(l.free); {
	case n > 0:
		slot, l.free = l.free[n-1], l.free[:n-1]
	case l.next < len(modelSlots):
		slot = modelSlots[l.next]
		l.next++
	default:
		slot = uint32(100 + 3*l.next)
		l.next++
	}
	l.gens[slot]++
	s := &msocket{loop: uint32(loop), slot: slot, gen: l.gens[slot], ns: uint32(ns)}
	l.sockets[slot] = s
	m.all = append(m.all, s)
	return s
}

func (m *model) connect(s *msocket) {
	if s.gone || s.connected {
		return
	}
	m.loops[s.loop].local.Add(s.slot, s.gen, s.ns)
	s.connected = true
	m.room(mkey{s.ns, "*"}).members[s] = true
}

func (m *model) join(s *msocket, name string) {
	if s.gone {
		return
	}
	joined := m.loops[s.loop].local.Join(s.slot, s.ns, name)
	if want := !slices.Contains(s.rooms, name); joined != want {
		m.fail("Join(%d, %q) = %v, want %v", s.slot, name, joined, want)
	}
	if joined {
		s.rooms = append(s.rooms, name)
		m.room(mkey{s.ns, name}).members[s] = true
	}
}

func (m *model) part(s *msocket, name string) {
	i := slices.Index(s.rooms, name)
	if left := m.loops[s.loop].local.Leave(s.slot, s.ns, name); left != (i >= 0) {
		m.fail("Leave(%d, %q) = %v, want %v", s.slot, name, left, i >= 0)
	}
	if i >= 0 {
		s.rooms = slices.Delete(s.rooms, i, i+1)
		m.leave(s, name)
	}
}

func (m *model) remove(s *msocket) {
	if s.gone {
		return
	}
	l := m.loops[s.loop]
	l.local.Remove(s.slot)
	for _, name := range s.rooms {
		m.leave(s, name)
	}
	if s.connected {
		m.leave(s, "*")
	}
	s.connected, s.gone, s.rooms = false, true, nil
	delete(l.sockets, s.slot)
	l.free = append(l.free, s.slot)
}

func (m *model) message(emitter int) *message {
	m.ids++
	m.counts[emitter]++
	return &message{id: m.ids, emitter: emitter, count: m.counts[emitter]}
}

// publish resolves in the model, and compares which loops Publish chose.
func (m *model) publish(c *mcast) {
	b, ns := c.b, c.b.Namespace
	names := b.To
	if len(b.To) == 0 && len(b.ToRefs) == 0 {
		names = []string{"*"}
	}
	var want [modelLoops]bool
	for _, name := range names {
		c.msg.rooms = append(c.msg.rooms, mkey{ns, name})
		if r := m.rooms[mkey{ns, name}]; r != nil {
			c.to = append(c.to, r)
			for s := range r.members {
				want[s.loop] = true
			}
			for i, n := range r.expected {
				want[i] = want[i] || n > 0
			}
		}
	}
	for _, name := range b.Except {
		if r := m.rooms[mkey{ns, name}]; r != nil {
			c.except = append(c.except, r)
		}
	}
	for _, ref := range b.ToRefs {
		if ref.Loop() < modelLoops {
			want[ref.Loop()] = true
		}
	}
	last := -1
	m.dir.Publish(b, func(i int, b *Broadcast) {
		if !want[i] || i <= last {
			m.fail("Publish posts to loop %d after %d, want each of %v once in order", i, last, want)
		}
		last, want[i] = i, false
		m.loops[i].mail = append(m.loops[i].mail, func() { m.enqueue(i, c) })
	})
	if slices.Contains(want[:], true) {
		m.fail("Publish(To %q) left out loops %v", b.To, want)
	}
}

func (m *model) enqueue(loop int, c *mcast) {
	l := m.loops[loop]
	for _, s := range l.sockets {
		if !s.connected || s.ns != c.b.Namespace {
			continue
		}
		in := func(r *mroom) bool { return r.members[s] }
		if (slices.ContainsFunc(c.to, in) || slices.Contains(c.b.ToRefs, s.ref())) &&
			!slices.ContainsFunc(c.except, in) && !slices.Contains(c.b.ExceptRefs, s.ref()) {
			s.want = append(s.want, c.msg)
		}
	}
	l.local.Enqueue(c.b)
}

// direct posts a message to one socket.
func (m *model) direct(s *msocket, msg *message) {
	l := m.loops[s.loop]
	l.mail = append(l.mail, func() {
		if !s.connected {
			return
		}
		l.local.CatchUp(s.slot)
		s.want = append(s.want, msg)
		s.got = append(s.got, msg)
	})
}

// drain empties mailboxes and queues.
func (m *model) drain() {
	for _, l := range m.loops {
		for _, f := range l.mail {
			f()
		}
		l.mail = nil
		for l.local.Step(7) {
		}
	}
}

// check compares everything that can be seen from outside, then who got what.
func (m *model) check() error {
	if m.problem != nil {
		return m.problem
	}
	for _, s := range m.all {
		if !s.gone {
			if got := m.loops[s.loop].local.Rooms(s.slot); !slices.Equal(got, s.rooms) {
				return fmt.Errorf("Rooms(%d) = %q, want %q", s.slot, got, s.rooms)
			}
			for i := range 7 {
				got, want := m.loops[s.loop].local.Has(s.slot, s.ns, room(i)), slices.Contains(s.rooms, room(i))
				if got != want {
					return fmt.Errorf("Has(%d, %q) = %v, want %v", s.slot, room(i), got, want)
				}
			}
		}
	}
	for ns := range uint32(modelNamespaces) {
		var names []string
		for k, r := range m.rooms {
			connected := 0
			for s := range r.members {
				if s.connected {
					connected++
				}
			}
			if k.ns == ns && k.name != "*" && connected > 0 {
				names = append(names, k.name)
			}
			if got := m.dir.Count(ns, k.name); k.ns == ns && k.name != "*" && got != connected {
				return fmt.Errorf("Count(%q) = %d, want %d", k.name, got, connected)
			}
		}
		got := m.dir.Names(ns)
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
			return fmt.Errorf("Names(%d) = %q, want %q", ns, got, names)
		}
		if got, want := m.dir.CountAll(ns), len(m.room(mkey{ns, "*"}).members); got != want {
			return fmt.Errorf("CountAll(%d) = %d, want %d", ns, got, want)
		}
	}
	for _, s := range m.all {
		if err := checkSocket(s.want, s.got); err != nil {
			return fmt.Errorf("socket %x (%d loop): %w", s.ref(), s.loop, err)
		}
	}
	return nil
}

// checkSocket says what is wrong with the messages one socket got: each once,
// those of an emitter in the order of emission, and those of a room in the
// order of publishing, which is the same for all members.
func checkSocket(want, got []*message) error {
	byID := func(a, b *message) int { return cmp.Compare(a.id, b.id) }
	a, b := slices.SortedFunc(slices.Values(want), byID), slices.SortedFunc(slices.Values(got), byID)
	if !slices.Equal(a, b) {
		return fmt.Errorf("messages %v, want %v", idsOf(got), idsOf(want))
	}
	var emitted [modelEmitters]int
	published := map[mkey]int{}
	for _, msg := range got {
		if msg.count <= emitted[msg.emitter] {
			return fmt.Errorf("%w: message %d of emitter %d after %d", errOrder, msg.count, msg.emitter, emitted[msg.emitter])
		}
		emitted[msg.emitter] = msg.count
		for _, k := range msg.rooms {
			if msg.id < published[k] {
				return fmt.Errorf("%w: message %d of room %q after %d", errOrder, msg.id, k.name, published[k])
			}
			published[k] = msg.id
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%w: got %v, want %v", errOrder, idsOf(got), idsOf(want))
	}
	return nil
}

var errOrder = errors.New("out of order")

func idsOf(ms []*message) (ids []int) {
	for _, m := range ms {
		ids = append(ids, m.id)
	}
	return ids
}
