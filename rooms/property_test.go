package rooms

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// act makes one random move; it is false when there are no more choices.
func (m *model) act() bool {
	ok := true
	pick := func(n int) int {
		i, more := m.choose(n)
		ok = ok && more
		return i
	}
	var alive []*msocket
	for _, s := range m.all {
		if !s.gone {
			alive = append(alive, s)
		}
	}
	op := pick(16)
	if len(alive) < 4 {
		op = 0
	}
	if !ok {
		return false
	}
	switch op {
	case 0:
		if len(alive) >= 40 {
			m.remove(alive[pick(len(alive))])
			break
		}
		s := m.open(pick(modelLoops), pick(modelNamespaces))
		for range pick(3) { // in its middlewares
			m.join(s, room(pick(6)))
		}
		if pick(8) > 0 {
			m.connect(s)
		}
	case 1:
		m.remove(alive[pick(len(alive))])
	case 2, 3:
		m.join(alive[pick(len(alive))], room(pick(6)))
	case 4:
		m.part(alive[pick(len(alive))], room(pick(6)))
	case 5:
		m.connect(alive[pick(len(alive))])
	case 6, 7, 8, 9:
		m.emit(pick, alive)
	case 10:
		s := alive[pick(len(alive))]
		m.direct(s, m.message(pick(modelEmitters)))
	case 11:
		m.expectedJoin(alive[pick(len(alive))], room(pick(6)))
	case 12, 13:
		l := m.loops[pick(modelLoops)]
		for n := pick(8); n > 0 && len(l.mail) > 0; n-- {
			f := l.mail[0]
			l.mail = l.mail[1:]
			f()
		}
	case 14:
		m.loops[pick(modelLoops)].local.Step(1 + pick(9))
	case 15:
		s := alive[pick(len(alive))]
		m.loops[s.loop].local.CatchUp(s.slot)
	}
	return ok && m.problem == nil
}

func room(i int) string { return fmt.Sprintf("room %d", i) }

// emit publishes one to three messages to random targets.
func (m *model) emit(pick func(int) int, alive []*msocket) {
	b := Broadcast{Namespace: uint32(pick(modelNamespaces)), Volatile: pick(8) == 0, Size: pick(3) * 20_000}
	emitter := pick(modelEmitters)
	someone := func() Ref {
		if pick(3) == 0 {
			return m.all[pick(len(m.all))].ref() // maybe stale
		}
		return alive[pick(len(alive))].ref()
	}
	if shape := pick(8); shape > 1 {
		for range min(shape-1, 3) {
			b.To = append(b.To, room(pick(7))) // of which one never exists
		}
		if shape == 6 {
			b.To, b.ToRefs = nil, []Ref{someone()}
		}
		if shape == 7 {
			b.ToRefs = []Ref{someone(), someone(), MakeRef(200, 1, 1)}
		}
	}
	if pick(3) == 0 {
		b.Except = append(b.Except, room(pick(7)))
	}
	if pick(3) == 0 {
		b.ExceptRefs = append(b.ExceptRefs, someone())
	}
	for range 1 + pick(3) {
		c := b
		msg := m.message(emitter)
		c.Message = msg
		m.publish(&mcast{b: &c, msg: msg})
	}
}

// expectedJoin posts a join, so that what is emitted after it finds the room.
func (m *model) expectedJoin(s *msocket, name string) {
	k := mkey{s.ns, name}
	m.dir.Expect(int(s.loop), s.ns, name)
	m.room(k).expected[s.loop]++
	l := m.loops[s.loop]
	l.mail = append(l.mail, func() {
		m.join(s, name)
		l.local.Arrived(s.ns, name)
		m.room(k).expected[s.loop]--
		m.settle(k)
	})
}

func random(seed uint64) choice {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(n int) (int, bool) { return rng.IntN(n), true }
}

// run makes n random moves and lets everything arrive.
func (m *model) run(n int) error {
	for i := 0; i < n && m.act(); i++ {
	}
	m.drain()
	return m.check()
}

func TestEveryMessageOnceAndInOrder(t *testing.T) {
	for seed := range uint64(150) {
		m := newModel(random(seed))
		if err := m.run(1500); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, s := range m.all {
			m.remove(s)
		}
		for i, l := range m.loops {
			if n := l.local.sets.Len() + l.local.nodes.Len() + l.local.table.used; n != 0 {
				t.Fatalf("seed %d: loop %d holds %d records when all have left", seed, i, n)
			}
		}
		for i := range m.dir.shards {
			if n := m.dir.shards[i].rooms.Len() + len(m.dir.shards[i].expected); n != 0 {
				t.Fatalf("seed %d: shard %d holds %d rooms when all have left", seed, i, n)
			}
		}
	}
}

func TestOrderHoldsWhenGroupNumbersWrap(t *testing.T) {
	for seed := range uint64(40) {
		m := newModel(random(1000 + seed))
		for _, l := range m.loops {
			l.local.queue.number = ^uint32(20)
		}
		if err := m.run(1500); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// The checker is only worth something if it finds what is wrong.
func TestCheckerFindsABrokenDeliverer(t *testing.T) {
	var last []*message
	for _, tt := range []struct {
		name   string
		order  bool
		broken func(s *msocket, ms []*message) []*message
	}{
		{"two messages of a run are swapped", true, func(_ *msocket, ms []*message) []*message {
			if len(ms) > 1 {
				ms[0], ms[1] = ms[1], ms[0]
			}
			return ms
		}},
		{"a message overtakes the one delivered before", true, func(s *msocket, ms []*message) []*message {
			if n := len(s.got); n > 0 {
				s.got[n-1], ms[0] = ms[0], s.got[n-1]
			}
			return ms
		}},
		{"a message is delivered twice", false, func(_ *msocket, ms []*message) []*message {
			return append(ms, ms[len(ms)-1])
		}},
		{"a message is lost", false, func(_ *msocket, ms []*message) []*message { return ms[1:] }},
		{"a socket gets what was for the last one", false, func(_ *msocket, ms []*message) []*message {
			ms, last = last, ms
			return ms
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(random(7))
			m.broken = tt.broken
			err := m.run(1500)
			if err == nil || errors.Is(err, errOrder) != tt.order {
				t.Fatalf("check() = %v, want an error, of order: %v", err, tt.order)
			}
		})
	}
}

func FuzzModel(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		seed := make([]byte, 600)
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newModel(func(n int) (int, bool) {
			if len(b) == 0 {
				return 0, false
			}
			i := int(b[0]) % n
			b = b[1:]
			return i, true
		})
		if err := m.run(1 << 20); err != nil {
			t.Fatal(err)
		}
	})
}
