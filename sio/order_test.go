package sio_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// An audience is clients on all transports, and what each of them must receive:
// of every emitter all that was meant for it, once, in the order emitted.
type audience struct {
	t       *testing.T
	ns      *sio.Namespace
	members []*member
}

type member struct {
	s     sio.Socket
	rooms map[string]bool
	peer  interface{ next() string }

	mu   sync.Mutex
	want map[int][]int // by emitter: what was meant for it
}

var orderRooms = []string{"a", "b", "c", "d"}

// An emitter emits numbered messages in all ways. It is one goroutine's, or
// that of the inline handler of one socket.
type emitter struct {
	a   *audience
	id  int
	n   int
	rnd *rand.Rand
}

// emit emits one message and notes for whom it is.
func (e *emitter) emit() error {
	a := e.a
	var to sio.Emitter
	var forMember func(m *member) bool
	one := a.members[e.rnd.IntN(len(a.members))]
	room, other := orderRooms[e.rnd.IntN(4)], orderRooms[e.rnd.IntN(4)]
	switch e.rnd.IntN(8) {
	case 0, 1:
		to, forMember = one.s, func(m *member) bool { return m == one }
	case 2:
		to, forMember = a.ns, func(*member) bool { return true }
	case 3:
		to, forMember = a.ns.To(room), func(m *member) bool { return m.rooms[room] }
	case 4:
		to, forMember = a.ns.To(room, other), func(m *member) bool { return m.rooms[room] || m.rooms[other] }
	case 5:
		to, forMember = a.ns.To(room).Except(other), func(m *member) bool { return m.rooms[room] && !m.rooms[other] }
	case 6:
		to, forMember = one.s.To(room), func(m *member) bool { return m.rooms[room] && m != one }
	default:
		to, forMember = a.ns.To(one.s.ID(), other), func(m *member) bool { return m == one || m.rooms[other] }
	}
	for _, m := range a.members {
		if forMember(m) {
			m.mu.Lock()
			m.want[e.id] = append(m.want[e.id], e.n)
			m.mu.Unlock()
		}
	}
	n := e.n
	e.n++
	if n%5 == 0 {
		return to.Emit("m", e.id, n, mark(e.id, n, 0), mark(e.id, n, 1))
	}
	return to.Emit("m", e.id, n)
}

// mark is what an attachment of a message says.
func mark(emitter, n, i int) []byte { return fmt.Appendf(nil, "%d %d %d", emitter, n, i) }

// listen reads until the event "end" and compares.
func (m *member) listen(t *testing.T) {
	got := map[int][]int{}
	for {
		p := m.peer.next()
		if p == `42["end"]` {
			break
		}
		_, list, _ := strings.Cut(p, "[")
		var args []json.RawMessage
		var id, n int
		if err := json.Unmarshal([]byte("["+list), &args); err != nil || len(args) < 3 ||
			json.Unmarshal(args[1], &id) != nil || json.Unmarshal(args[2], &n) != nil {
			t.Errorf("%s received %s, want a message", m.s.ID(), p)
			return
		}
		got[id] = append(got[id], n)
		for i := range len(args) - 3 {
			if b, want := m.peer.next(), "<"+hex.EncodeToString(mark(id, n, i))+">"; b != want {
				t.Errorf("behind %s came %s, want %s", p, b, want)
				return
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, want := range m.want {
		if fmt.Sprint(got[id]) != fmt.Sprint(want) {
			t.Errorf("%s received of emitter %d\n%v, want\n%v", m.s.ID(), id, got[id], want)
		}
	}
	for id := range got {
		if m.want[id] == nil {
			t.Errorf("%s received of emitter %d, want nothing", m.s.ID(), id)
		}
	}
}

// A mover polls until it is told to upgrade, and then goes on over WebSocket.
type mover struct {
	*poller
	c    *client
	when *atomic.Int64
	at   int64
}

func (m *mover) next() string {
	switch {
	case m.c != nil:
		return m.c.next()
	case len(m.got) == 0 && m.when.Load() >= m.at:
		m.c = m.upgrade(func() {})
		return m.c.next()
	}
	return m.poller.next()
}

// What one goroutine, or one inline handler, emits reaches each socket in that
// order, direct and broadcast alike, exactly once, over every transport and
// across an upgrade; attachments stay with their packet.
func TestOrder(t *testing.T) {
	const stay, poll, move = 40, 8, 12
	messages := 250
	if testing.Short() {
		messages = 50
	}
	a := &audience{t: t}
	var joined chan sio.Socket
	var inline sync.Map // emitters, by socket
	srv := serve(t, sio.Options{
		Loop:   loop.Options{Loops: 3, MaxOutbound: 8 << 20},
		Engine: eio.Options{MaxQueue: 8 << 20},
	}, func(srv *sio.Server) {
		a.ns = srv.Of("/")
		joined = sockets(a.ns)
		a.ns.HandleInline("go", func(s sio.Socket, m *sio.Msg) error {
			e, _ := inline.Load(s)
			for range 10 {
				if err := e.(*emitter).emit(); err != nil {
					return err
				}
			}
			return nil
		})
	})
	var progress atomic.Int64
	for i := range stay + poll + move {
		m := &member{rooms: map[string]bool{}, want: map[int][]int{}}
		switch {
		case i < stay:
			m.peer = srv.join("40")
		case i < stay+poll:
			m.peer = srv.joinPolling()
		default:
			m.peer = &mover{poller: srv.joinPolling(), when: &progress, at: int64(i-stay-poll+1) * int64(messages) / 4}
		}
		m.s = take(t, joined)
		for j, room := range orderRooms {
			if i>>j&1 == 1 {
				m.s.Join(room)
				m.rooms[room] = true
			}
		}
		m.s.Rooms() // behind the joins
		a.members = append(a.members, m)
	}

	var emitting, listening sync.WaitGroup
	for _, m := range a.members {
		listening.Go(func() { m.listen(t) })
	}
	for id := range 6 {
		e := &emitter{a: a, id: id, rnd: rand.New(rand.NewPCG(1, uint64(id)))}
		emitting.Go(func() {
			for range messages {
				if err := e.emit(); err != nil {
					t.Error(err)
				}
				progress.Add(1)
			}
		})
	}
	for id := range 3 {
		m := a.members[id]
		inline.Store(m.s, &emitter{a: a, id: 100 + id, rnd: rand.New(rand.NewPCG(2, uint64(id)))})
		emitting.Go(func() {
			for range messages / 10 {
				m.peer.(*client).send(`42["go"]`)
			}
		})
	}
	emitting.Wait()
	// The inline handlers have run when something behind their events is
	// answered; then "end" is behind all.
	for id := range 3 {
		m := a.members[id]
		done := make(chan struct{})
		a.ns.HandleInline(fmt.Sprint("done", id), func(sio.Socket, *sio.Msg) error { close(done); return nil })
		m.peer.(*client).send(fmt.Sprintf(`42["done%d"]`, id))
		take(t, done)
	}
	if err := a.ns.Emit("end"); err != nil {
		t.Fatal(err)
	}
	listening.Wait()
}
