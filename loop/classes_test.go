package loop

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop/class"
)

// checkQueue recounts what a connection's queue has, and compares it with what the
// loop's gauges say when there are no others.
func checkQueue(t *testing.T, s *Sim, c Conn) {
	t.Helper()
	r := c.record()
	if r == nil || r.ext == 0 {
		return
	}
	e := s.e.loops[0].exts[r.ext]
	queued, held, entries, marked, dead := -e.off, 0, 0, 0, 0
	for i, q := range e.queue[e.head:] {
		if q.p == nil {
			dead++
			continue
		}
		queued, held, entries = queued+len(q.p), held+q.held(), entries+1
		if q.judged {
			marked++
			if at := e.index.Place(q.mark); at != e.place(e.head+i) || i == 0 && e.off > 0 {
				t.Fatalf("queue[%d] is %d for the index, %d bytes of the first were sent", e.head+i, at-e.base, e.off)
			}
		} else if q.mark != 0 {
			t.Fatalf("queue[%d] was not judged at the end of the step", e.head+i)
		}
		if q.kind == transient {
			t.Fatalf("queue[%d] is in the arena at the end of the step", e.head+i)
		}
	}
	st := s.e.Stats()
	if int64(queued) != st.Queued || int64(held) != st.Held || int64(entries) != st.Entries || dead != e.dead || e.fresh != 0 {
		t.Fatalf("queued %d, held %d, entries %d, dead %d; the gauges say %d, %d, %d, %d; %d fresh",
			queued, held, entries, dead, st.Queued, st.Held, st.Entries, e.dead, e.fresh)
	}
	if dead > entries+fewRefs+1 {
		t.Fatalf("%d of %d places are of what was dropped", dead, dead+entries)
	}
	if e.index != nil && e.index.Len() != marked {
		t.Fatalf("the index has %d messages, want %d", e.index.Len(), marked)
	}
}

// A said is a message of the tests below: who says it, and its number.
type said struct {
	kind *class.Kind
	name string
	seq  int
}

func (m said) bytes(pad int) []byte {
	return fmt.Appendf(nil, "%s:%d:%s\n", m.name, m.seq, strings.Repeat("x", pad))
}

// hear parses what was received, which must be whole messages.
func hear(t *testing.T, b []byte) (all []said) {
	t.Helper()
	for line := range strings.Lines(string(b)) {
		var m said
		parts := strings.Split(line, ":")
		if len(parts) != 3 || strings.Trim(parts[2], "x") != "\n" {
			t.Fatalf("a torn message: %.80q", line)
		}
		m.name = parts[0]
		if _, err := fmt.Sscan(parts[1], &m.seq); err != nil {
			t.Fatalf("a torn message: %.80q", line)
		}
		all = append(all, m)
	}
	return all
}

// write writes messages in one of the ways there are.
func write(r *rand.Rand, c Conn, all []said) {
	for len(all) > 0 {
		n := 1
		if r.IntN(3) == 0 {
			n = 1 + r.IntN(len(all))
		}
		var p []byte
		var parts []class.Part
		for _, m := range all[:n] {
			p = append(p, m.bytes(r.IntN(60))...)
			parts = append(parts, class.Part{End: len(p), Kind: m.kind})
		}
		switch k := all[0].kind; {
		case n == 1 && r.IntN(2) == 0:
			c.WriteKind(p, k) // a copy: it is ours
			clear(p)
		case n == 1 && k == nil:
			c.WriteShared(p)
		case r.IntN(2) == 0:
			c.SendParts(p, parts)
		default:
			c.WriteParts(p, parts)
		}
		all = all[n:]
	}
}

// Whatever is written, dropped and taken in whatever pieces: what a peer receives is
// whole messages in their order, all that may not be dropped among them, the newest
// of what is conflated, and each other one is counted.
func TestWhatIsNotReceivedWasCounted(t *testing.T) {
	seeds := uint64(2000)
	if checked { // the race detector is on
		seeds = 150
	}
	for seed := range seeds {
		runDrops(t, seed)
	}
}

func runDrops(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	speakers := []said{{name: "firm"}}
	for p := class.DropNew; p <= class.Conflate; p++ {
		for key := range 3 {
			name := fmt.Sprint(p, key)
			speakers = append(speakers, said{kind: &class.Kind{Policy: p, Key: name, Owner: name}, name: name})
		}
	}
	speakers = append(speakers, said{kind: &class.Kind{Policy: class.Conflate, Key: "o", Ordered: true, Owner: "ordered"}, name: "ordered"})
	soft := 500 + r.IntN(3000)
	s, p, c, _ := slowSim(t, Options{SoftOutbound: soft, MaxOutbound: 1 << 20, SlowAfter: time.Hour})
	dropped := map[string]int{}
	s.e.loops[0].OnDrop(func(k *class.Kind, n int) { dropped[k.Owner.(string)] += n })
	p.Stall(r.IntN(2) == 0)
	var sent []said
	var got []byte
	for range 60 {
		var now []said
		for range r.IntN(12) {
			m := &speakers[r.IntN(len(speakers))]
			m.seq++
			now = append(now, *m)
		}
		sent = append(sent, now...)
		write(r, c, now)
		if r.IntN(5) > 0 {
			s.Turn()
			checkQueue(t, s, c)
		}
		switch r.IntN(6) {
		case 0:
			p.Stall(r.IntN(3) > 0)
		case 1, 2:
			p.Take(r.IntN(300))
			s.Turn()
			checkQueue(t, s, c)
		}
		got = append(got, p.Received()...)
	}
	p.Limit(1 + r.IntN(500))
	p.Stall(false)
	s.Turn()
	got = append(got, p.Received()...)
	checkHeard(t, seed, sent, hear(t, got), dropped)
	if st := s.e.Stats(); st.Queued != 0 || st.Held != 0 || st.Entries != 0 || int(st.Dropped.Sum()) != len(sent)-len(hear(t, got)) {
		t.Fatalf("seed %d: at the end there are %+v", seed, st)
	}
}

func checkHeard(t *testing.T, seed uint64, sent, got []said, dropped map[string]int) {
	t.Helper()
	count := func(all []said) (n map[string]int, last map[string]int) {
		n, last = map[string]int{}, map[string]int{}
		for _, m := range all {
			if m.seq <= last[m.name] {
				t.Fatalf("seed %d: %s %d is behind %d", seed, m.name, m.seq, last[m.name])
			}
			n[m.name], last[m.name] = n[m.name]+1, m.seq
		}
		return n, last
	}
	n, last := count(got)
	for name, all := range last {
		if name == "" || all == 0 {
			t.Fatalf("seed %d: nobody says %q", seed, name)
		}
	}
	sentN, sentLast := count(sent)
	for name := range sentN {
		if n[name]+dropped[name] != sentN[name] {
			t.Fatalf("seed %d: of %s %d were sent, %d received, %d dropped", seed, name, sentN[name], n[name], dropped[name])
		}
		if !strings.HasPrefix(name, "drop-new") && last[name] != sentLast[name] {
			t.Fatalf("seed %d: the newest of %s is %d, received was %d", seed, name, sentLast[name], last[name])
		}
	}
	// All but what took another's place is in the order in which it was sent.
	inOrder := func(all []said) []said {
		return slices.DeleteFunc(slices.Clone(all), func(m said) bool { return strings.HasPrefix(m.name, "conflate") })
	}
	rest := inOrder(sent)
	for _, m := range inOrder(got) {
		i := slices.IndexFunc(rest, func(x said) bool { return x.name == m.name && x.seq == m.seq })
		if i < 0 {
			t.Fatalf("seed %d: %s %d is out of order", seed, m.name, m.seq)
		}
		rest = rest[i+1:]
	}
}

// Of a market board of 500 symbols, a reader that takes a little now and then sees
// each symbol's turn come, in the order of its prices, and never has more than 500
// prices queued; none is closed, however long that goes on, and one that keeps up gets
// every price.
func TestAMarketBoardIsNeverAQueue(t *testing.T) {
	const symbols = 500
	s, p, c, _ := slowSim(t, Options{SoftOutbound: 16 << 10, MaxOutbound: 256 << 10, SlowAfter: time.Second})
	var fast Conn
	s.e.handler.(*hooks).open = func(c Conn) { fast = c }
	q := s.Connect(0)
	kinds := make([]*class.Kind, symbols)
	for i := range kinds {
		kinds[i] = &class.Kind{Policy: class.Conflate, Key: fmt.Sprint(i)}
	}
	heard, rounds := map[string]int{}, 0
	var quick []byte
	for round := 1; round <= 400; round++ {
		for i := range symbols {
			b := said{name: fmt.Sprint(i), seq: round}.bytes(80)
			parts := []class.Part{{End: len(b), Kind: kinds[i]}}
			c.SendParts(b, parts)
			fast.SendParts(b, parts)
		}
		p.Take(5 * 90) // 5 of 500
		s.Advance(100 * time.Millisecond)
		quick = append(quick, q.Received()...)
		e := s.e.loops[0].exts[c.record().ext]
		if n := e.entries(); n > symbols+1 { // one is partly sent
			t.Fatalf("round %d: %d are queued", round, n)
		}
		rounds = round
	}
	if !c.Valid() || c.Slow() {
		t.Fatal("the reader was closed, or is not read from")
	}
	for _, m := range hear(t, trimLine(p.Received())) {
		if m.seq <= heard[m.name] {
			t.Fatalf("symbol %s goes back from %d to %d", m.name, heard[m.name], m.seq)
		}
		heard[m.name] = m.seq
	}
	for i := range symbols {
		if at := heard[fmt.Sprint(i)]; at < rounds-2*symbols/5 {
			t.Fatalf("the price of symbol %d is that of round %d of %d", i, at, rounds)
		}
	}
	if n := len(hear(t, quick)); n != symbols*rounds {
		t.Fatalf("who keeps up has %d prices of %d", n, symbols*rounds)
	}
}

// trimLine cuts what came of a message that is not complete.
func trimLine(b []byte) []byte { return b[:bytes.LastIndexByte(b, '\n')+1] }

// Who takes nothing is closed for what may not be dropped alone.
func TestWhatMayBeDroppedMakesNobodySlow(t *testing.T) {
	k := &class.Kind{Policy: class.Conflate}
	for _, x := range []struct {
		name   string
		write  func(c Conn, i int)
		closes bool
	}{
		{"conflated", func(c Conn, i int) {
			c.WriteKind(make([]byte, 3000), &class.Kind{Policy: class.Conflate, Key: fmt.Sprint(i % 5)})
		}, false},
		{"oldest", func(c Conn, i int) { c.WriteKind(make([]byte, 300), &class.Kind{Policy: class.DropOldest}) }, false},
		{"new", func(c Conn, i int) { c.WriteKind(make([]byte, 300), &class.Kind{Policy: class.DropNew}) }, false},
		{"firm beside it", func(c Conn, i int) { c.Write(make([]byte, 300)); c.WriteKind(make([]byte, 300), k) }, true},
	} {
		s, _, c, reason := slowSim(t, Options{SoftOutbound: 2000, MaxOutbound: 1 << 20, SlowAfter: 10 * time.Second})
		for i := range 20 {
			x.write(c, i)
			s.Advance(time.Second)
		}
		if closed := errors.Is(*reason, ErrSlowPeer); closed != x.closes || !x.closes && c.Slow() {
			t.Errorf("%s: closed with %v, slow %v, want closed %v", x.name, *reason, c.Slow(), x.closes)
		}
		if held, quiet := c.Backlog(); !x.closes && held > 2000 && quiet < 15*time.Second {
			t.Errorf("%s: Backlog says that it has taken nothing for %v", x.name, quiet)
		}
	}
}

// The hard bound stays: what is conflated by too many keys ends the connection, and a
// message that may be dropped never does.
func TestTheHardBoundOfWhatMayBeDropped(t *testing.T) {
	s, _, c, reason := slowSim(t, Options{SoftOutbound: 1000, MaxOutbound: 50_000, SlowAfter: time.Hour})
	c.Write(make([]byte, 49_000))
	for range 1000 {
		c.WriteKind(make([]byte, 900), &class.Kind{Policy: class.DropNew})
	}
	s.Turn()
	if !c.Valid() || s.e.Stats().Dropped.New != 1000 {
		t.Fatalf("closed with %v, %d dropped, want all 1000", *reason, s.e.Stats().Dropped.New)
	}
	for i := range 1000 {
		c.WriteKind(make([]byte, 900), &class.Kind{Policy: class.Conflate, Key: fmt.Sprint(i)})
		s.Turn()
	}
	if !errors.Is(*reason, ErrQueueFull) {
		t.Fatalf("closed with %v, want ErrQueueFull", *reason)
	}
	checkGauges(t, s.e)
}

// What has a Kind costs who keeps up nothing: no allocation, and no index.
func TestAKindCostsNothingWhileThePeerTakes(t *testing.T) {
	s, p, c, _ := slowSim(t, Options{})
	p.Discard(true)
	p.Stall(false)
	b := make([]byte, 100)
	parts := []class.Part{{End: 100, Kind: &class.Kind{Policy: class.Conflate}}}
	k := parts[0].Kind
	s.Turn()
	if n := testing.AllocsPerRun(100, func() {
		for range fewRefs / 2 {
			c.WriteParts(b, parts)
			c.WriteKind(b, k)
		}
		s.Turn()
		c.SendParts(b, parts)
		s.Turn()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if n := s.e.Stats().Dropped.Sum(); n != 0 {
		t.Errorf("%d were dropped", n)
	}
}

// Work in a step is bounded by what was written in it: dropping from a long queue
// does not go through it.
func TestDroppingFromALongQueueMovesLittle(t *testing.T) {
	s, _, c, _ := slowSim(t, Options{SoftOutbound: 8 << 20, MaxOutbound: 64 << 20})
	const n = 20_000
	old := &class.Kind{Policy: class.Conflate, Key: "a", Ordered: true}
	for i := range n {
		c.WriteKind(make([]byte, 50), old)
		c.WriteShared(make([]byte, 50))
		if i%100 == 0 {
			s.Turn()
		}
	}
	s.Turn()
	e := s.e.loops[0].exts[c.record().ext]
	if live := e.entries(); live != n+2 || len(e.queue) > 2*live+fewRefs || e.kept != len(e.queue) {
		t.Fatalf("%d live of %d, %d kept; want %d of at most twice as many, all kept", live, len(e.queue), e.kept, n+2)
	}
	checkQueue(t, s, c)
}

// A message goes on with its connection to another loop, and is dropped there.
func TestKindsMoveWithTheConnection(t *testing.T) {
	conns := make([]Conn, 0, 2)
	s := newSim(&hooks{open: func(c Conn) { conns = append(conns, c) }}, Options{Loops: 2, SoftOutbound: 10_000})
	p := s.Connect(0)
	p.Stall(true)
	k := &class.Kind{Policy: class.Conflate}
	conns[0].WriteKind([]byte("old\n"), k)
	conns[0].Write([]byte("firm\n"))
	conns[0].WriteKind([]byte("newer\n"), k)
	conns[0].Move(s.e.loops[1])
	s.Turn()
	conns[1].WriteKind([]byte("newest\n"), k)
	s.Turn()
	p.Stall(false)
	s.Turn()
	if got := string(p.Received()); got != "newest\nfirm\n" {
		t.Fatalf("received %q", got)
	}
}

// Through a link, what it has taken is sent, and what it has not may be dropped.
func TestKindsBehindALink(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var conn Conn
		s, _ := framedSim(&hooks{open: func(c Conn) { conn = c }}, Options{SoftOutbound: 2000})
		p := s.Connect(0)
		s.Turn()
		p.Stall(true)
		dropped := map[string]int{}
		s.e.loops[0].OnDrop(func(k *class.Kind, n int) { dropped[k.Owner.(string)] += n })
		speakers := []said{{name: "firm"}, {name: "conflate", kind: &class.Kind{Policy: class.Conflate, Owner: "conflate"}},
			{name: "drop-oldest", kind: &class.Kind{Policy: class.DropOldest, Owner: "drop-oldest"}}}
		var sent []said
		for range 50 {
			var now []said
			for range r.IntN(8) {
				m := &speakers[r.IntN(len(speakers))]
				m.seq++
				now = append(now, *m)
			}
			sent = append(sent, now...)
			write(r, conn, now)
			s.Turn()
			p.Take(r.IntN(200))
			s.Turn()
		}
		p.Stall(false)
		s.Turn()
		got, _ := unframe(t, p.Received())
		checkHeard(t, seed, sent, hear(t, got), dropped)
	}
}

func FuzzDrops(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(runDrops)
}
