package api

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/base64"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/eio"
)

// A roomsQuestion asks for the rooms of a namespace behind a name, in order.
type roomsQuestion struct {
	Nsp    string `json:"nsp"`
	Prefix string `json:"prefix,omitempty"`
	Behind string `json:"behind,omitempty"`
	Limit  int    `json:"limit"`
}

func (q roomsQuestion) clamped() roomsQuestion {
	q.Limit = min(max(q.Limit, 1), maxPage)
	return q
}

// rooms returns those of this server: the first so many in order. However many rooms there
// are, no more are kept.
func (a *API) rooms(q roomsQuestion) []wire.Room {
	to, err := action.Find(a.srv, q.Nsp)
	if err != nil {
		return nil
	}
	var first lastFirst
	size := 0
	for name, n := range to.RoomCounts() {
		if name <= q.Behind || !strings.HasPrefix(name, q.Prefix) || len(first) == q.Limit && name >= first[0].Room {
			continue
		}
		heap.Push(&first, wire.Room{Room: name, Sockets: n})
		for size += len(name) + 40; len(first) > q.Limit || size > pageBytes && len(first) > 1; {
			size -= len(heap.Pop(&first).(wire.Room).Room) + 40
		}
	}
	slices.SortFunc(first, byName)
	return first
}

func byName(a, b wire.Room) int { return cmp.Compare(a.Room, b.Room) }

// lastFirst is a heap of rooms, the one whose name is the last at its head.
type lastFirst []wire.Room

func (h lastFirst) Len() int           { return len(h) }
func (h lastFirst) Less(i, j int) bool { return h[i].Room > h[j].Room }
func (h lastFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push appends a room.
func (h *lastFirst) Push(x any) { *h = append(*h, x.(wire.Room)) }

// Pop takes the last one.
func (h *lastFirst) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// allRooms joins those of all servers. A server that has told fewer than there may be,
// for want of space, bounds what is known of all.
func (a *API) allRooms(ctx context.Context, q roomsQuestion) (wire.Rooms, error) {
	here := a.rooms(q)
	answers, part, err := ask[[]wire.Room](ctx, a.peers, topicRooms, q)
	if err != nil {
		return wire.Rooms{}, err
	}
	sum, until := map[string]int{}, ""
	for _, rooms := range append(answers, here) {
		size := 0
		for _, r := range rooms {
			sum[r.Room] += r.Sockets
			size += len(r.Room) + 40
		}
		if len(rooms) > 0 && (len(rooms) >= q.Limit || size > pageBytes-action.MaxRoomName-40) {
			if last := rooms[len(rooms)-1].Room; until == "" || last < until {
				until = last
			}
		}
	}
	x := wire.Rooms{Rooms: []wire.Room{}, Partial: part}
	for name, n := range sum {
		if until == "" || name <= until {
			x.Rooms = append(x.Rooms, wire.Room{Room: name, Sockets: n})
		}
	}
	slices.SortFunc(x.Rooms, byName)
	if len(x.Rooms) > q.Limit {
		x.Rooms = x.Rooms[:q.Limit]
		until = x.Rooms[q.Limit-1].Room
	}
	if until != "" {
		x.Cursor = base64.RawURLEncoding.EncodeToString([]byte(until))
	}
	return x, nil
}

// listRooms is the endpoint.
func (c *call) listRooms() (any, error) {
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	q := roomsQuestion{Nsp: c.query.Get("nsp"), Prefix: c.query.Get("prefix"), Limit: limit}
	if _, err := action.Find(c.a.srv, q.Nsp); err != nil {
		return nil, err
	}
	if text := c.query.Get("cursor"); text != "" {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) > action.MaxRoomName {
			return nil, bad("cursor", string(action.Malformed), "is none that was given")
		}
		q.Behind = string(b)
	}
	return c.a.allRooms(c.r.Context(), q)
}

// limit returns that of a page.
func (c *call) limit() (int, error) {
	if text := c.query.Get("limit"); text != "" {
		return wholeOf("limit", []byte(text), 1, maxPage)
	}
	return pageSize, nil
}

// room is the endpoint: how many are in it, and a page of who.
func (c *call) room() (any, error) {
	nsp, room := c.params[0], c.params[1]
	if err := checkNames("room", []string{room}); err != nil {
		return nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	from, err := parseCursor(c.query.Get("cursor"))
	if err != nil {
		return nil, err
	}
	f := &filter{Nsp: nsp, In: []string{room}}
	to, err := f.target(c.a.srv)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.a.peers.wait())
	defer cancel()
	n, err := to.CountAll(ctx)
	part, err := c.a.peers.partOf(err)
	if err != nil {
		return nil, err
	}
	data, less, err := c.a.roomData.latest(c.r.Context(), "/"+strings.TrimPrefix(nsp, "/"), room)
	if err != nil {
		return nil, err
	}
	page, err := c.a.query(c.r.Context(), f, ofUser, limit, c.mostPages(), from)
	if c.readOnly {
		data = nil
	}
	return wire.RoomDetail{Nsp: nsp, Room: room, Count: n, Data: data, Sockets: page.Sockets, Cursor: page.Cursor, Partial: both(both(part, less), page.Partial)}, err
}

// presence is the endpoint.
func (c *call) presence() (any, error) {
	nsp, room := cmp.Or(c.query.Get("nsp"), "/"), c.query.Get("room")
	if err := checkNames("room", []string{room}); err != nil {
		return nil, err
	}
	if _, err := action.Find(c.a.srv, nsp); err != nil {
		return nil, err
	}
	x := wire.Presence{Nsp: nsp, Room: room, Members: []wire.Member{}}
	said := make(chan struct{})
	c.a.o.Presence.Show(nsp, room, func(all []presence.Member, n int) {
		x.Count = n
		for _, m := range all {
			x.Members = append(x.Members, wire.Member{User: m.User, Connections: m.Count, Nodes: m.Nodes})
		}
		close(said)
	})
	select {
	case <-said:
	case <-c.r.Context().Done():
		return nil, c.r.Context().Err()
	}
	slices.SortFunc(x.Members, func(a, b wire.Member) int { return cmp.Compare(a.User, b.User) })
	return x, nil
}

// namespaces is the endpoint.
func (c *call) namespaces() (any, error) {
	x := wire.Namespaces{Node: c.a.srv.Node(), Namespaces: []wire.Namespace{}}
	for _, n := range c.a.srv.Stats().Namespaces {
		if peerlink.Owns(n.Name) {
			continue
		}
		x.Namespaces = append(x.Namespaces, wire.Namespace{Name: n.Name, Sockets: n.Sockets, Instances: n.Instances, Events: n.Events, Emits: n.Emits, Refused: n.Refused})
	}
	return x, nil
}

// nodes is the endpoint: what servers tell of themselves, without asking them.
func (c *call) nodes() (any, error) {
	here := c.a.here()
	st := c.a.srv.Cluster()
	x := wire.Nodes{Cluster: wire.Cluster{Adapter: c.a.o.Cluster, Up: st.Up, Reason: st.Reason}}
	x.Nodes = append(x.Nodes, wire.Node{Node: here.Node, Self: true, Sessions: int(here.Sessions), Sockets: int(here.Sockets)})
	for _, p := range st.Peers {
		x.Nodes = append(x.Nodes, wire.Node{Node: p.Node, Name: p.Name, Address: p.Addr, Seen: p.Seen.UnixMilli(), Sessions: p.Load.Sessions, Sockets: p.Load.Sockets})
	}
	return x, nil
}

// info is the endpoint.
func (c *call) info() (any, error) {
	x := c.a.here()
	if c.a.o.Draining != nil {
		d := c.a.o.Draining()
		x.Draining = &d
	}
	return x, nil
}

// here is about this server.
func (a *API) here() wire.Info {
	st := a.srv.Stats()
	x := wire.Info{
		Node: a.srv.Node(), Version: a.o.Version, Go: runtime.Version(), Started: a.started.UnixMilli(),
		Connections: st.Loop.Open, Sessions: sum(st.Engine.Open), Nodes: len(a.peers.nodes()),
	}
	for _, n := range st.Namespaces {
		x.Sockets += n.Sockets
	}
	return x
}

func sum(n eio.Sessions) int64 { return n.Polling + n.WebSocket + n.Polling3 + n.WebSocket3 }

// seconds returns a member that is a time in seconds since 1970.
func seconds(field string, v []byte) (int64, error) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32*64 {
		return 0, bad(field, string(action.Malformed), "is to be a time in whole seconds since 1970")
	}
	return n, nil
}
