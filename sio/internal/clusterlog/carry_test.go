package clusterlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

func newLog() *Log {
	return New(Options{Source: &page{}, Lock: &sync.Mutex{}, Most: 1 << 20, Patience: time.Minute,
		Later: func(time.Duration, func()) {}, Early: func() {}, Warn: func(string, ...any) {}})
}

func event(text string) rooms.Event {
	return rooms.Event{Data: []byte(`["` + text + `"]`), Attachments: [][]byte{{1}}, Plain: true}
}

func exported(t testing.TB, l *Log) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.Export(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Events for single sockets go on being numbered, and are kept for who goes later, in
// another process, and another one.
func TestEventsForOneGoOnInAnotherProcess(t *testing.T) {
	l := newLog()
	x := l.Lane("lane")
	x.Pass(10, time.Now())
	var all []string
	send := func(ref rooms.Ref, text string) { all = append(all, l.Send(l.Lane("lane"), ref, event(text), false)) }
	send(1, "a")
	send(2, "b")
	for range 3 {
		next := newLog()
		if err := next.Import(exported(t, l), time.Minute, 1<<20); err != nil {
			t.Fatal(err)
		}
		l = next
		send(1, "c")
	}
	if want := []string{"0-10.1", "0-10.2", "0-10.3", "0-10.4", "0-10.5"}; !slices.Equal(all, want) {
		t.Errorf("offsets are %q, want %q", all, want)
	}
	events, whole := l.Directs.Take(1, 10)
	if len(events) != 4 || !whole || string(events[0].Data) != `["a"]` || events[0].Spot != "0-10.1" || !events[0].Plain || len(events[0].Attachments) != 1 {
		t.Errorf("%d are kept of four, whole: %t", len(events), whole)
	}
	if n, size := l.Directs.Kept(); n != 5 || size == 0 {
		t.Errorf("%d are kept, in %d bytes", n, size)
	}
	if l.Directs.Prune(0, 1<<20); l.Directs.bytes != 0 {
		t.Errorf("%d bytes are kept for ever", l.Directs.bytes)
	}
}

// What was dropped is known to be, and what is too old or too much is dropped there.
func TestEventsForOneThatAreNotKeptAnyMore(t *testing.T) {
	l := newLog()
	l.Lane("lane").Pass(10, time.Now())
	for i := range 10 {
		l.Send(l.Lane("lane"), rooms.Ref(1+i%2), event("a"), false)
	}
	_, size := l.Directs.Kept()
	l.Directs.Prune(time.Minute, size-1)
	for name, most := range map[string]int64{"all": size, "half": size / 2} {
		next := newLog()
		if err := next.Import(exported(t, l), time.Minute, most); err != nil {
			t.Fatal(err)
		}
		if n, size := next.Directs.Kept(); size > most || n < 4 {
			t.Errorf("%s: %d are kept, in %d bytes of %d", name, n, size, most)
		}
		if _, whole := next.Directs.Take(1, 10); whole {
			t.Errorf("%s: nothing is known to have been dropped", name)
		}
	}
	old := newLog()
	if err := old.Import(exported(t, l), -time.Minute, size); err != nil {
		t.Fatal(err)
	}
	if n, _ := old.Directs.Kept(); n != 0 {
		t.Errorf("%d are kept that are too old", n)
	}
}

// As long as something is on its way through the log, nobody else goes on from there.
func TestALogWithSomethingOnItsWayStays(t *testing.T) {
	l := newLog()
	x := l.Lane("lane")
	x.Pass(10, time.Now())
	l.Append(rooms.Target{Namespace: "/"}, event("a"), func(rooms.Place) {})
	var b bytes.Buffer
	if l.Export(&b) == nil {
		t.Error("it goes while an event is on its way")
	}
	l.giveUp(x, "")
	if l.Export(&b) == nil {
		t.Error("it goes while an event that was delivered is still to be read")
	}
	l.Returned(x, 1, 11)
	if err := l.Export(&b); err != nil {
		t.Error(err)
	}
}

// A lane that has been read further is where it is.
func TestALaneThatIsAheadStaysThere(t *testing.T) {
	l := newLog()
	l.Lane("lane").Pass(10, time.Now())
	l.Send(l.Lane("lane"), 1, event("a"), false)
	next := newLog()
	next.Lane("lane").Pass(11, time.Now())
	if err := next.Import(exported(t, l), time.Minute, 1<<20); err != nil {
		t.Fatal(err)
	}
	if at := next.Lane("lane").Now(); at != (Spot{11, 0}) {
		t.Errorf("it is at %s", at)
	}
}

func imported(data []byte) error {
	const most = 1 << 14
	l := newLog()
	if err := l.Import(data, time.Minute, most); err != nil {
		return err
	}
	if _, size := l.Directs.Kept(); size > most {
		return fmt.Errorf("%d bytes are kept of %d", size, most)
	}
	for ref := range l.Directs.of {
		events, _ := l.Directs.Take(ref, 0)
		if _, ok := ParseDirects(AppendDirects(events)); !ok {
			panic("what is kept cannot go with a session")
		}
	}
	l.Directs.Prune(0, 0)
	return nil
}

func carriedSeed(t testing.TB) []byte {
	l := newLog()
	l.Lane("lane").Pass(10, time.Now())
	l.Lane("other").Pass(11, time.Now())
	for i := range 20 {
		l.Send(l.Lane("lane"), rooms.Ref(1+i%3), event(fmt.Sprint(i)), false)
	}
	l.Directs.Prune(time.Minute, 5000)
	return exported(t, l)
}

func TestBrokenStates(t *testing.T) {
	data := carriedSeed(t)
	for n := range data {
		if imported(data[:n]) == nil {
			t.Fatalf("%d of %d bytes are a state", n, len(data))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		broken := bytes.Clone(data)
		broken[r.IntN(len(broken))] = byte(r.Uint32())
		_ = imported(broken)
	}
}

func FuzzImportDirects(f *testing.F) {
	f.Add(carriedSeed(f))
	f.Fuzz(func(t *testing.T, data []byte) { _ = imported(data) })
}
