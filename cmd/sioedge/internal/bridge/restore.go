package bridge

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// An arrival is what another server had, until its sockets are there.
type arrival struct {
	data    carriedBridge
	members []*member
	seats   []*seat
	sockets []*socket
	events  []*event
}

// Import takes what another server's Export has returned. It is called before there are any
// clients. The error says what cannot be.
func (b *Bridge) Import(data []byte) error {
	a := &arrival{}
	if err := carried.Unmarshal(data, &a.data); err != nil {
		return err
	}
	d := &a.data
	for i := range d.Seats {
		x, err := restoreSeat(&d.Seats[i])
		if err != nil {
			return err
		}
		a.seats = append(a.seats, x)
	}
	for i := range d.Sockets {
		k, err := a.socket(&d.Sockets[i])
		if err != nil {
			return err
		}
		a.sockets = append(a.sockets, k)
	}
	for i := range d.Events {
		c := &d.Events[i]
		k, ok := at(a.sockets, c.Socket)
		if !ok || k == nil || c.Size < 0 || c.Size > 1<<30 || !json.Valid(c.Text) {
			return errCarried
		}
		a.events = append(a.events, &event{k: k, ack: c.Ack, text: c.Text, bins: c.Bins, size: c.Size})
	}
	b.mu.Lock()
	defer b.unlock()
	if err := a.link(b); err != nil {
		return err
	}
	b.arrived = a
	return nil
}

// at returns what has a number; nil of 0. It is false if there is none.
func at[T any](all []*T, n int) (x *T, ok bool) {
	if n < 0 || n > len(all) {
		return nil, false
	}
	if n == 0 {
		return nil, true
	}
	return all[n-1], true
}

func restoreSeat(c *carriedSeat) (*seat, error) {
	_, r, err := wire.ParseBatch(wire.AppendConnectionOf(wire.AppendBatch(nil, 0, 1), 1, c.Handshake), wire.Edge)
	var m wire.Message
	if err == nil {
		_, err = r.Next(&m)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Kind != wire.KindConnection || r.Len() > 0 || c.Deaths < 0 || c.Waited < 0:
		return nil, errCarried
	}
	return &seat{
		handshake: c.Handshake, transport: c.Transport, number: c.Number, upgraded: c.Upgraded, ended: c.Ended, reason: c.Reason,
		waits: c.Waits, since: time.Now().Add(-c.Waited), drained: c.Drained, deaths: c.Deaths,
	}, nil
}

func (a *arrival) socket(c *carriedSocket) (*socket, error) {
	x, ok := at(a.seats, c.Seat)
	if !ok || x == nil || c.Stage > gone || c.Data != nil && !json.Valid(c.Data) || c.Auth != nil && !json.Valid(c.Auth) {
		return nil, errCarried
	}
	k := &socket{x: x, nsp: c.Nsp, id: c.ID, auth: c.Auth, identity: c.Identity, returned: c.Returned, number: c.Number, stage: c.Stage, known: c.Known, rooms: c.Rooms}
	if c.HasData {
		k.data = &data{json: c.Data}
	}
	if c.Leaves {
		k.leaves = &departure{c.Reason, c.Kept}
	}
	return k, nil
}

// link has all that came name each other, and restores the links. The lock is held.
func (a *arrival) link(b *Bridge) error {
	for i := range a.data.Members {
		m, err := a.member(b, &a.data.Members[i])
		if err != nil {
			return err
		}
		a.members = append(a.members, m)
	}
	for i, x := range a.seats {
		m, ok := at(a.members, a.data.Seats[i].Member)
		if !ok {
			return errCarried
		}
		x.member = m
		for _, n := range a.data.Seats[i].Sockets {
			k, ok := at(a.sockets, n)
			if !ok || k == nil || k.x != x {
				return errCarried
			}
			x.sockets = append(x.sockets, k)
		}
	}
	for i, k := range a.sockets {
		c := &a.data.Sockets[i]
		m, ok := at(a.members, c.Member)
		if !ok || m == nil && (c.Stage == open || c.Stage == asked) {
			return errCarried
		}
		if k.member = m; c.Pending && m != nil {
			k.pending = m
			m.pending++
		}
		for _, n := range c.Held {
			e, ok := at(a.events, n)
			if !ok || e == nil || e.k != k {
				return errCarried
			}
			k.held = append(k.held, e)
			k.x.held += e.size
		}
		for _, x := range c.Asks {
			if m, ok := at(a.members, x.Member); !ok || m == nil {
				return errCarried
			}
		}
	}
	for _, n := range a.data.Waiting {
		x, ok := at(a.seats, n)
		if !ok || x == nil || x.listed {
			return errCarried
		}
		if x.waits && len(x.sockets) == 0 {
			return errCarried
		}
		x.listed = true
		b.waiting = append(b.waiting, x)
	}
	return nil
}

func (a *arrival) member(b *Bridge, c *carriedMember) (*member, error) {
	s, err := b.links.Restore(&c.Link, b, func(n int) (any, bool) {
		e, ok := at(a.events, n)
		return e, ok && e != nil
	})
	if err != nil {
		return nil, err
	}
	m := &member{
		b: b, s: s, spaces: map[string]*sio.Namespace{}, namespaces: c.Namespaces, direct: c.Direct, conns: map[uint64]*seat{}, socks: map[uint64]*socket{},
		requests: map[int64]context.CancelFunc{}, lastConn: c.LastConn, lastSock: c.LastSock, load: c.Load, left: c.Left, draining: c.Draining > 0, relays: c.Relays,
	}
	for _, text := range c.Relays {
		m.relayBytes += len(text)
	}
	for n, i := range c.Conns {
		x, ok := at(a.seats, i)
		if !ok || x == nil {
			return nil, errCarried
		}
		m.conns[n] = x
	}
	for n, i := range c.Socks {
		k, ok := at(a.sockets, i)
		if !ok || k == nil {
			return nil, errCarried
		}
		m.socks[n] = k
	}
	b.members = append(b.members, m)
	return m, nil
}

// Taken has what came be of the sockets, which are there now. Those that have stayed with
// the other server have left.
func (b *Bridge) Taken() {
	a := b.arrived
	if a == nil {
		return
	}
	for i, x := range a.seats {
		x.last, _ = b.srv.Unpack(a.data.Seats[i].Last) // or nothing of it is there
	}
	var stayed []*socket
	for i, k := range a.sockets {
		c := &a.data.Sockets[i]
		s, err := b.srv.Unpack(c.Socket)
		if err != nil || s.Gone() && !c.Gone {
			stayed = append(stayed, k)
		}
		if k.s = s; err != nil || s.Gone() {
			continue
		}
		if k.data != nil {
			s.SetData(k.data)
		}
		for _, x := range c.Asks {
			m, _ := at(a.members, x.Member)
			b.resumeAsk(k, &ask{k: k, m: m, number: x.Number, id: x.ID, ack: x.Ack})
		}
		if c.Coming {
			// ends when the socket leaves, or Came has been called
			k.ctxStop = context.AfterFunc(s.Context(), func() { b.lost(k) })
		}
	}
	for _, k := range stayed {
		b.leave(k, departure{reason: string(eio.TransportClose)}, nil)
	}
}

// Serving has links be resumed, and time go on.
func (b *Bridge) Serving() {
	b.mu.Lock()
	a := b.arrived
	if a == nil {
		b.unlock()
		return
	}
	for i, m := range a.members {
		c := &a.data.Members[i]
		for _, id := range c.Requests { // whose answers went to the one before
			m.s.Put(nil, true, func(dst []byte) []byte { return wire.AppendAnswers(dst, id, true, 0, nil) })
		}
		if m.draining {
			time.AfterFunc(c.Draining, func() { b.overdue(m) })
		}
	}
	b.arrived = nil
	b.tellPeers()
	b.arm()
	b.kick()
	b.unlock()
	b.links.Serving()
}
