package declare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// Rules do not go along: a successor has those of its own settings, which hold for sockets
// that come as they do after a reload.

// A changeForm is a change of a room that a backend was not told of yet.
type changeForm struct {
	Pattern   string `cbor:"1,keyasint"`
	Namespace string `cbor:"2,keyasint"`
	Room      string `cbor:"3,keyasint"`
	There     bool   `cbor:"4,keyasint,omitempty"`
	At        int64  `cbor:"5,keyasint,omitempty"` // Unix ms
}

var errEstate = errors.New("declare: that is no state of a router")

// carry has what is known of sockets and rooms go along to another process.
func (r *Router) carry() {
	sio.CarryKey(r.srv, "stale", stale, nil, nil)
	l := &r.rooms
	r.srv.Carry(sio.Part{
		Name: "rooms", Still: func(context.Context) error { l.stand(true); return nil }, Release: func() { l.stand(false) },
		Export: l.export, Moved: l.moved,
		Import: func(p []byte) error { return l.inherit(p, r.spaceOf) }, Serving: func() { l.stand(false) },
	})
}

// spaceOf returns the space of a pattern, nil if there is none.
func (r *Router) spaceOf(pattern string) *space {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ns, sp := range r.byNamespace {
		if ns.Name() == pattern {
			return sp
		}
	}
	return nil
}

// stand has nothing be told, or everything again.
func (l *landlord) stand(still bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.still = still
	l.arm()
}

func (l *landlord) export() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []changeForm
	for _, c := range l.queue {
		if !c.undone {
			all = append(all, changeForm{c.sp.ns.Name(), c.namespace, c.name, c.there, c.at.UnixMilli()})
		}
	}
	return carried.Marshal(all)
}

// moved leaves all rooms to another process.
func (l *landlord) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handed, l.still, l.queue, l.waiting = true, false, nil, nil
}

// inherit takes changes over. Those of namespaces that there are not any more are left out.
func (l *landlord) inherit(p []byte, spaceOf func(pattern string) *space) error {
	var all []changeForm
	if err := carried.Unmarshal(p, &all); err != nil {
		return fmt.Errorf("%w: %w", errEstate, err)
	}
	if len(all) > 2*mostRooms {
		return fmt.Errorf("%w: %d rooms", errEstate, len(all))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.still = true
	for _, f := range all {
		sp := spaceOf(f.Pattern)
		if sp == nil {
			continue
		}
		c := &change{room: room{sp, f.Namespace, f.Room}, there: f.There, at: time.UnixMilli(min(f.At, time.Now().UnixMilli()))}
		if l.waiting[c.room] != nil {
			return fmt.Errorf("%w: a room twice", errEstate)
		}
		if l.waiting == nil {
			l.waiting = map[room]*change{}
		}
		l.waiting[c.room] = c
		l.queue = append(l.queue, c)
	}
	return nil
}
