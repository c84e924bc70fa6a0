package api

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// Servers of Node in the same cluster can be asked for all sockets of some rooms at one
// time, and no other way. What they tell is judged here.

// atForeign is what a cursor has for a node while these are listed: behind every Node.
const atForeign = "~"

// foreigners returns the sockets of servers of Node that a filter has, in the order of
// their ids.
func (a *API) foreigners(ctx context.Context, f *filter) (all []sio.RemoteSocket, part *wire.Partial, err error) {
	to, err := f.target(a.srv)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.peers.wait())
	defer cancel()
	all, err = to.FetchForeign(ctx)
	if part, err = a.peers.partOf(err); err != nil {
		return nil, nil, err
	}
	all = slices.DeleteFunc(all, func(r sio.RemoteSocket) bool { return r.ID() == "" || !f.tells(r) })
	slices.SortFunc(all, func(x, y sio.RemoteSocket) int { return cmp.Compare(x.ID(), y.ID()) })
	return slices.CompactFunc(all, func(x, y sio.RemoteSocket) bool { return x.ID() == y.ID() }), part, nil
}

// tells judges a socket by what its server tells.
func (f *filter) tells(r sio.RemoteSocket) bool {
	if f.IP.IsValid() {
		at := r.Handshake().Address()
		if !at.IsValid() || !f.IP.Contains(at.Addr().Unmap()) {
			return false
		}
	}
	if f.User == "" && len(f.Where) == 0 {
		return true
	}
	data := told(r)
	return (f.User == "" || userIn(data) == f.User) && f.holds(data)
}

// told returns the data of a socket as JSON, nil if it is none that can be read.
func told(r sio.RemoteSocket) (data json.RawMessage) {
	if r.Data(&data) != nil || value.Skip(data, value.SkipSpace(data, 0), value.MaxDepth) < 0 {
		return nil
	}
	return data
}

// userIn returns the user that data of Node tells, "" for nobody.
func userIn(data json.RawMessage) (user string) {
	value.EachMember(data, func(quoted, v []byte) bool {
		if value.Says(quoted, "user") {
			user, _ = textOf("user", v, maxUser)
		}
		return true
	})
	return user
}

// describeForeign says of a socket of Node what is asked for.
func describeForeign(r sio.RemoteSocket, nsp string, want fields) (x wire.Socket, size int) {
	x = wire.Socket{SID: r.ID(), Nsp: nsp}
	size = 128 + len(x.SID) + len(x.Nsp)
	data := told(r)
	if want&ofUser != 0 {
		x.User = userIn(data)
		size += len(x.User)
	}
	if want&ofRooms != 0 {
		size = sayRooms(&x, size, r.ID(), r.Rooms())
	}
	if want&ofData != 0 {
		size = sayData(&x, size, data, true)
	}
	if want&ofHandshake != 0 {
		x.Handshake = &wire.Handshake{Address: shown(r.Handshake()).Address}
	}
	return x, size
}

// queryForeign goes on with a page of a query, behind an id. What is said of them is
// bounded as the page of a server is.
func (a *API) queryForeign(ctx context.Context, x wire.Sockets, f *filter, want fields, limit int, after string) (wire.Sockets, error) {
	if len(x.Sockets) >= limit {
		x.Cursor = cursor{Node: atForeign, After: after}.String()
		return x, nil
	}
	all, part, err := a.foreigners(ctx, f)
	if err != nil {
		return x, err
	}
	x.Partial = both(x.Partial, part)
	i, found := slices.BinarySearchFunc(all, after, func(r sio.RemoteSocket, id string) int { return cmp.Compare(r.ID(), id) })
	if found {
		i++
	}
	nsp := cmp.Or(f.Nsp, "/")
	for size := 0; i < len(all); i++ {
		if len(x.Sockets) >= limit || size > pageBytes {
			x.Cursor = cursor{Node: atForeign, After: after}.String()
			break
		}
		said, bytes := describeForeign(all[i], nsp, want)
		x.Sockets = append(x.Sockets, said)
		after = said.SID
		size += bytes
	}
	return x, nil
}

// detailForeign returns what is known of a socket of Node, nil if there is none of that
// id: in all namespaces that have no parameters, unless one is named.
func (a *API) detailForeign(ctx context.Context, sid, nsp string) (d *wire.SocketDetail, part *wire.Partial, err error) {
	names := []string{nsp}
	if nsp == "" {
		names = a.fixed()
	} else if _, err := action.Find(a.srv, nsp); err != nil {
		return nil, nil, nil // nobody can be in it
	}
	ctx, cancel := context.WithTimeout(ctx, a.peers.wait())
	defer cancel()
	for _, name := range names {
		if a.peers.link == nil || ctx.Err() != nil {
			break
		}
		all, less, err := a.foreigners(ctx, &filter{Nsp: name, In: []string{sid}})
		if err != nil {
			return nil, nil, err
		}
		part = both(part, less)
		for _, r := range all {
			if r.ID() != sid {
				continue // who is in a room that is called like an id
			}
			d = &wire.SocketDetail{}
			d.Socket, _ = describeForeign(r, name, ofRooms|ofData|ofUser)
			d.Handshake = shown(r.Handshake())
			return d, part, nil
		}
	}
	return nil, part, nil
}

// fixed returns the names of namespaces that have no parameters.
func (a *API) fixed() (names []string) {
	for _, ns := range a.srv.Namespaces() {
		if to, ok := a.srv.Find(ns.Name()); ok && to.Namespace() == ns && !peerlink.Owns(ns.Name()) {
			names = append(names, ns.Name())
		}
	}
	return names
}

// changeStep is how many ids one message to servers of Node has.
const changeStep = 256

// changeForeign does a change to sockets of Node, by their ids, or counts those to which
// it cannot be done.
func (a *API) changeForeign(ctx context.Context, x *change, done *wire.Changed) error {
	if a.peers.link == nil {
		return nil
	}
	all, part, err := a.foreigners(ctx, &x.Filter)
	if err != nil {
		return err
	}
	done.Partial = both(done.Partial, part)
	if x.Op == "data" || x.Code != 0 || x.Reason != "" {
		done.LeftOut = len(all)
		return nil
	}
	to, err := action.Find(a.srv, x.Filter.Nsp)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(all, changeStep) {
		ids := make([]string, len(some))
		for i, r := range some {
			ids[i] = r.ID()
		}
		x.to(to.To(ids...))
	}
	done.Sockets += len(all)
	return nil
}
