package rooms

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A running is a loop on a goroutine of its own, with a mailbox.
type running struct {
	local *Local

	mu   sync.Mutex
	mail []func()

	// Owned by the loop until it has ended.
	got map[uint32][]*message // by slot
}

func (l *running) post(f func()) {
	l.mu.Lock()
	l.mail = append(l.mail, f)
	l.mu.Unlock()
}

// run ends when the publishers have and nothing is left to do.
func (l *running) run(done *atomic.Bool, churn func()) {
	for {
		last := done.Load()
		l.mu.Lock()
		mail := l.mail
		l.mail = nil
		l.mu.Unlock()
		for _, f := range mail {
			f()
		}
		if more := l.local.Step(16); !more && len(mail) == 0 {
			if last {
				return
			}
			runtime.Gosched()
		}
		churn()
	}
}

const (
	stayers   = 12 // sockets of each loop that stay in their room, slots from 1
	passers   = 20 // sockets that come and go, slots from 5000
	permanent = 3  // rooms that the stayers are in, and passers now and then
)

// Publishers, loops, and rooms that come and go, all at once: whoever stays in
// a room gets all its messages, in the same order in all loops.
func TestOneOrderForAllMembersUnderConcurrency(t *testing.T) {
	const loops, publishers, messages = 3, 4, 1500
	d := NewDirectory(loops)
	var all [loops]*running
	for i := range all {
		l := &running{local: d.Local(i), got: map[uint32][]*message{}}
		l.local.OnDeliver(func(slot uint32, run *Run, from int, more bool) {
			for _, b := range run.Broadcasts[from:] {
				l.got[slot] = append(l.got[slot], b.Message.(*message))
			}
		})
		for s := range uint32(stayers) {
			l.local.Add(1+s, 1, 1)
			l.local.Join(1+s, 1, room(int(s)%permanent))
		}
		all[i] = l
	}

	var sent [publishers][]*message
	var done atomic.Bool
	var running, publishing sync.WaitGroup
	for i, l := range all {
		churn := churner(l.local, uint64(i))
		running.Go(func() { l.run(&done, churn) })
	}
	for p := range publishers {
		publishing.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(p), 77))
			for n := range messages {
				msg := &message{emitter: p, count: n + 1}
				publishOne(d, all[:], rng, msg)
				sent[p] = append(sent[p], msg)
				if n%100 == 0 {
					d.Names(1)
					runtime.Gosched()
				}
			}
		})
	}
	publishing.Wait()
	done.Store(true)
	running.Wait()

	published := map[string]int{}
	for _, ms := range sent {
		for _, m := range ms {
			for _, k := range m.rooms {
				published[k.name]++
			}
		}
	}

	for i, l := range all {
		for slot, got := range l.got {
			if err := inOrder(got); err != nil {
				t.Fatalf("loop %d, slot %d: %v", i, slot, err)
			}
		}
		for s := range uint32(stayers) {
			for _, name := range []string{room(int(s) % permanent), everybody} {
				got, model := named(l.got[1+s], name), named(all[0].got[1+s%permanent], name)
				if !slices.Equal(got, model) || len(got) != published[name] {
					t.Fatalf("loop %d, slot %d: %d messages of %q, want the %d published, in the order of loop 0",
						i, 1+s, len(got), name, published[name])
				}
			}
		}
	}
}

const everybody = "*"

// named returns the messages to one room. Only of those the order is promised:
// a message to a room and one to everybody, from two goroutines, may well
// arrive in one order in one loop and in the other in another.
func named(ms []*message, name string) (of []*message) {
	for _, m := range ms {
		if slices.Contains(m.rooms, mkey{1, name}) {
			of = append(of, m)
		}
	}
	return of
}

// publishOne sends to everybody, one of the permanent rooms or one that may not
// exist; or moves a passer, by a join that it expects.
func publishOne(d *Directory, all []*running, rng *rand.Rand, msg *message) {
	b := &Broadcast{Namespace: 1, Message: msg, To: []string{room(rng.IntN(permanent + 3))}}
	switch rng.IntN(8) {
	case 0:
		i, slot, name := rng.IntN(len(all)), 5000+rng.Uint32N(passers), b.To[0]
		d.Expect(i, 1, name)
		all[i].post(func() {
			all[i].local.Join(slot, 1, name)
			all[i].local.Arrived(1, name)
		})
	case 1:
		if second := room(rng.IntN(permanent)); second != b.To[0] {
			b.To = append(b.To, second)
		}
		b.Except = []string{room(permanent + 1)} // of passers
	case 2:
		i := rng.IntN(len(all))
		ref := MakeRef(i, 5000+rng.Uint32N(passers), 1)
		b.To, b.ToRefs = []string{"none"}, []Ref{ref}
	}
	if b.ToRefs == nil && rng.IntN(3) == 0 {
		b.To = nil
		msg.rooms = []mkey{{1, everybody}}
	}
	for _, name := range b.To {
		msg.rooms = append(msg.rooms, mkey{1, name})
	}
	d.Publish(b, func(i int, b *Broadcast) {
		all[i].post(func() { all[i].local.Enqueue(b) })
	})
	if n := d.Count(1, room(0)); n < len(all)*stayers/permanent {
		panic(fmt.Sprintf("Count(%s) = %d, want at least those that stay", room(0), n))
	}
}

// churner returns what a loop does in between: its passers come, go and get
// messages of their own.
func churner(l *Local, seed uint64) func() {
	rng := rand.New(rand.NewPCG(seed, 5))
	connected := map[uint32]bool{}
	return func() {
		slot := 5000 + rng.Uint32N(passers)
		switch rng.IntN(6) {
		case 0:
			l.Remove(slot)
			connected[slot] = false
		case 1, 2:
			if !connected[slot] {
				l.Add(slot, 1, 1)
				connected[slot] = true
			}
		case 3:
			l.Join(slot, 1, room(rng.IntN(permanent+3)))
		case 4:
			l.Leave(slot, 1, room(rng.IntN(permanent+3)))
		case 5:
			l.CatchUp(slot)
		}
	}
}

// inOrder says whether each emitter's messages are in the order of emission,
// each at most once.
func inOrder(got []*message) error {
	last := map[int]int{}
	for _, m := range got {
		if m.count <= last[m.emitter] {
			return fmt.Errorf("message %d of emitter %d after %d", m.count, m.emitter, last[m.emitter])
		}
		last[m.emitter] = m.count
	}
	return nil
}
