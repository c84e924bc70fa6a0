package presence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// stayed is for how long members are shown, at least, whose clients have stayed with the
// process before, and come over when that ends.
const stayed = time.Minute

// An arrival is a socket that has come from another process.
type arrival struct {
	s     sio.Socket
	g     *guard
	rooms []string
}

// carry has the view go along to another process, and be taken over from one.
func (p *Presence) carry() {
	sio.CarryKey(p.srv, "presence", counted,
		func(user string) ([]byte, error) { return append(make([]byte, 0, len(user)), user...), nil },
		func(b []byte) (string, error) { return string(b), nil })
	sio.CarryKey(p.srv, "presence-uncounted", uncounted,
		func(rooms map[string]bool) ([]byte, error) { return carried.Marshal(slices.Sorted(maps.Keys(rooms))) },
		func(b []byte) (map[string]bool, error) {
			var rooms []string
			err := carried.Unmarshal(b, &rooms)
			all := map[string]bool{}
			for _, room := range rooms {
				all[room] = true
			}
			return all, err
		})
	p.srv.Carry(sio.Part{
		Name: "presence", Still: p.stand, Release: p.goOn, Export: p.export, Moved: p.moved,
		Import: p.inherit, Socket: p.arrived, Taken: p.taken, Serving: p.goOn,
	})
}

// stand has nothing be told any more, to clients or to servers: what there is to tell
// waits, and goes along.
func (p *Presence) stand(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.still = true
	for p.draining { // what it does waits for nobody
		p.room.Wait()
	}
	return nil
}

// goOn takes stand back, and has a successor begin.
func (p *Presence) goOn() {
	p.mu.Lock()
	p.still = false
	begins := p.heir && !p.closed
	p.heir = false
	p.change(func(time.Time) {})
	p.drain()
	if begins && !p.manual {
		// ends with Close
		go p.run()
	}
}

func (p *Presence) export() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return carried.Marshal(p.v.leaveAll(p.o.now()))
}

// moved ends presence here, without a word: it is the successor's. Who asks is answered
// still.
func (p *Presence) moved() {
	p.mu.Lock()
	p.closed, p.v.ended, p.still = true, true, false
	p.v.waiting = nil
	p.v.out = slices.DeleteFunc(p.v.out, func(e effect) bool { return e.call == nil })
	p.drain()
	p.poke()
}

func (p *Presence) inherit(data []byte) error {
	var e estate
	if err := carried.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%w: %w", errEstate, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	guards := map[string]*guard{}
	v := newView(p.srv.Node(), p.v.run, p.o.Cluster, p.v.limits)
	had, err := v.inherit(&e, p.o.now(), func(instance string) *guard {
		g, ok := guards[instance]
		if !ok {
			if b, found := p.srv.Find(instance); found {
				g = p.guards[b.Namespace()]
			}
			guards[instance] = g
		}
		return g
	})
	if err != nil {
		return err
	}
	asked := slices.DeleteFunc(p.v.out, func(e effect) bool { return e.call == nil })
	v.out = append(v.out, asked...)
	p.v, p.coming = v, coming{had: had}
	return nil
}

// arrived counts a socket that has come. Who it is may not be known yet.
func (p *Presence) arrived(s sio.Socket, rooms []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.guards[s.Namespace()]
	if g == nil || len(rooms) == 0 {
		return
	}
	if user, named := counted.Get(s); named {
		p.arrive(s, g, user, rooms)
	} else {
		p.coming.later = append(p.coming.later, arrival{s, g, rooms})
	}
}

// arrive counts a socket of a user. mu is held.
func (p *Presence) arrive(s sio.Socket, g *guard, user string, rooms []string) {
	not, _ := uncounted.Get(s)
	for _, room := range rooms {
		if !not[room] && (len(user) > maxUser || !p.v.arrive(g, place{s.Name(), room}, user)) {
			if not == nil {
				not = map[string]bool{}
			}
			not[room] = true
			_ = uncounted.Set(s, not) // it is there
		}
	}
}

func (p *Presence) taken() {
	p.mu.Lock()
	later := p.coming.later
	var on []func() config.Presence
	for _, g := range p.guards {
		on = append(on, g.on)
	}
	p.mu.Unlock()
	linger := max(p.o.Recovery, stayed)
	for _, on := range on {
		linger = max(linger, on().Debounce)
	}
	users := make([]string, len(later))
	for i, x := range later {
		users[i], _ = p.as(x.s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range later {
		p.arrive(x.s, x.g, users[i], x.rooms)
	}
	p.v.settleAll(p.coming.had, p.o.now().Add(linger))
	p.coming = coming{}
}
