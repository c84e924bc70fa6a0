package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// A coming is what a successor knows of its sockets until all are there.
type coming struct {
	here map[*entry]bool
}

// carry has the book go along to another process, and be taken over from one. That tells
// backends of all sockets then, those that are away among them, and the other servers see
// one server.
func (r *Roster) carry() {
	r.srv.Carry(sio.Part{
		Name: "roster", Still: r.stand, Release: r.goOn, Export: r.export, Moved: r.moved,
		Import: r.inherit, Socket: r.arrived, Taken: r.taken, Serving: r.goOn,
	})
}

// stand has nothing be told any more: it waits, and goes along.
func (r *Roster) stand(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.still = true
	for r.acting > 0 { // it waits for nobody
		r.acted.Wait()
	}
	return nil
}

// goOn takes stand back, and has a successor begin.
func (r *Roster) goOn() {
	r.mu.Lock()
	begins := r.heir && !r.manual
	r.still, r.heir = false, false
	r.mu.Unlock()
	if begins {
		// ends with part
		go r.run()
	} else {
		r.do(func(time.Time) {})
	}
}

// neverServed tells whether another process's clients were to be taken over, and were not:
// that tells of them.
func (r *Roster) neverServed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heir
}

// outcome notes what has become of a telling. It may be called within tell.
func (r *Roster) outcome(t *telling, taken bool) {
	r.doneMu.Lock()
	r.told = append(r.told, outcome{t, taken})
	r.doneMu.Unlock()
	r.poke()
}

// outcomes returns what has become of what was told since they were asked for.
func (r *Roster) outcomes() []outcome {
	r.doneMu.Lock()
	defer r.doneMu.Unlock()
	all := r.told
	r.told = nil
	return all
}

func (r *Roster) export() ([]byte, error) {
	all := r.outcomes()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.now()
	for _, x := range all {
		r.b.delivered(x.t, x.taken, now)
	}
	return carried.Marshal(r.b.leaveAll())
}

// moved has this process tell of those alone who have stayed with it.
func (r *Roster) moved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b.handOn()
	r.still = false
}

func (r *Roster) inherit(data []byte) error {
	var x estate
	if err := carried.Unmarshal(data, &x); err != nil {
		return fmt.Errorf("%w: %w", errEstate, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := newBook(r.srv.Node(), x.Run, r.b.o)
	if err := b.inherit(&x, r.o.now()); err != nil {
		return err
	}
	r.b, r.came = b, true
	r.coming = coming{here: map[*entry]bool{}}
	return nil
}

func (r *Roster) arrived(s sio.Socket, _ []string) {
	r.mu.Lock()
	none := len(r.b.own.entries) == 0
	r.mu.Unlock()
	if none {
		return
	}
	sid := s.ID()
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.b.own.entries[sid]; e != nil {
		r.coming.here[e] = true
	}
}

func (r *Roster) taken() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b.settleAll(func(e *entry) bool { return r.coming.here[e] })
	r.coming = coming{}
}
