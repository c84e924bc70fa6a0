package sio

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

// A RemoteSocket is a socket of this server or of another one, as it was when it
// was fetched: its rooms and data are copies. Its methods reach it wherever it is.
type RemoteSocket struct {
	ns     *Namespace
	name   string // of the instance
	member rooms.Member
}

// foreign is in Except of what servers of this module have nothing to say to. Those of
// Node find no socket in such a room.
const foreign = "sioedge:foreign"

// FetchSockets returns the sockets addressed, of all servers, those of this one
// first. It waits for the other servers, or for ctx. If some of them did not
// answer, the error is a *[rooms.IncompleteError] and comes with what there is. In an
// inline handler of a cluster's server it is [ErrInline].
// Node: fetchSockets.
func (b BroadcastOperator) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	if b.server().waits() {
		return nil, ErrInline
	}
	b.server().seq.settle(b.address())
	all := b.remote(b.members())
	c, t := b.cluster()
	if c == nil {
		return all, nil
	}
	members, err := c.Members(ctx, t)
	return append(all, b.remote(members)...), err
}

// Pages yields the sockets addressed as [BroadcastOperator.FetchSockets] returns
// them, at most size at a time (zero means 100), those of this server first. Of these
// no more than a page is in memory, and between pages they go on living: one that is
// there throughout, and in the rooms, is in exactly one page, one that comes or goes
// meanwhile may be in one. A page is the caller's. Those of other servers come when all
// have answered, a server's together, since that is how they can be asked. An error
// comes with no page and ends it: that of ctx, of FetchSockets, or ErrInline on a loop.
func (b BroadcastOperator) Pages(ctx context.Context, size int) iter.Seq2[[]RemoteSocket, error] {
	if size <= 0 {
		size = 100
	}
	return func(yield func([]RemoteSocket, error) bool) {
		if b.server().waits() {
			yield(nil, ErrInline)
			return
		}
		b.server().seq.settle(b.address())
		for page := range b.pages(size) {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) {
				return
			}
		}
		c, t := b.cluster()
		if c == nil {
			return
		}
		members, err := c.Members(ctx, t)
		for part := range slices.Chunk(members, size) {
			if !yield(b.remote(part), nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// pages yields the sockets of this server, in pages that are full but for the last.
func (b BroadcastOperator) pages(size int) iter.Seq[[]RemoteSocket] {
	return func(yield func([]RemoteSocket) bool) {
		targets := b.targets()
		for at, more := uint64(0), true; more; more = at != 0 {
			var here []member
			here, at = walk(b, targets, at, size, (*shard).member)
			var page []rooms.Member
			for _, m := range here {
				page = append(page, m.described())
			}
			if len(page) > 0 && !yield(b.remote(page)) {
				return
			}
		}
	}
}

// SocketsFrom is [BroadcastOperator.Sockets] a part at a time: it returns up to n, from a
// place that the call before has returned, 0 for the first. Next is where to go on, 0 if
// nobody is left; a part may be empty before that. Who is addressed throughout is in one
// part, who comes or goes meanwhile may be. It is for one namespace, or one instance: of
// a pattern, instances that come or go have others be missed, or come twice.
func (b BroadcastOperator) SocketsFrom(place uint64, n int) (all []Socket, next uint64) {
	b.server().seq.settle(b.address())
	return walk(b, b.targets(), place, n, (*shard).socket)
}

// walk returns what of makes of up to n sockets of this server, on their loops, from a
// place on, and where to go on; 0: nowhere. A place is the number of an instance's part
// on a loop, and a slot.
func walk[T any](b BroadcastOperator, targets []*instance, place uint64, n int, of func(*shard, uint32) T) (all []T, next uint64) {
	shards := b.server().shards
	for part, slot := place>>32, uint32(place); part < uint64(len(targets)*len(shards)); {
		if len(all) >= n {
			return all, part<<32 | uint64(slot)
		}
		in, sh := targets[int(part)/len(shards)], shards[int(part)%len(shards)]
		from, want := slot, min(n-len(all), operatorStep)
		slot = 0 // unless the loop says something else, which may have ended
		sh.loop.Ask(func() {
			var slots []uint32
			slots, slot = sh.addressed(b, in, from, want)
			for _, slot := range slots {
				all = append(all, of(sh, slot))
			}
		})
		if slot == 0 {
			part++
		}
	}
	return all, 0
}

// addressed returns up to most of this loop's sockets that b addresses in an instance,
// from a slot on, and where to go on; 0: nowhere.
func (sh *shard) addressed(b BroadcastOperator, in *instance, from uint32, most int) (all []uint32, next uint32) {
	var slots []uint32
	if b.direct {
		slots = sh.matching(b, in)
	} else {
		slots = sh.local.Members(b.addressees(in), from, make([]uint32, 0, most))
	}
	for _, slot := range slots {
		if sh.sockets.At(slot).state == connected {
			all = append(all, slot)
		}
	}
	if b.direct || len(slots) < most {
		return all, 0
	}
	return all, slots[len(slots)-1] + 1
}

// FetchRooms returns the names of the namespace's rooms that have sockets on any
// server, the sockets' own ones included, in no order; errors are as in
// [BroadcastOperator.FetchSockets]. The rooms of b do not matter.
func (b BroadcastOperator) FetchRooms(ctx context.Context) (names []string, err error) {
	if b.server().waits() {
		return nil, ErrInline
	}
	b.server().seq.settle(b.address())
	names = b.roomNames()
	if c, t := b.cluster(); c != nil {
		var more []string
		more, err = c.RoomNames(ctx, t.Namespace)
		names = append(names, more...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names, err
}

// waits tells whether asking the cluster would have a loop wait.
func (srv *Server) waits() bool { return srv.cluster != nil && srv.engine.OnLoop() }

func (b BroadcastOperator) remote(members []rooms.Member) []RemoteSocket {
	all := make([]RemoteSocket, len(members))
	name := b.name
	if b.in != nil {
		name = b.in.name
	}
	for i, m := range members {
		all[i] = RemoteSocket{b.namespace(), name, m}
	}
	return all
}

// ID returns the socket's id.
func (r RemoteSocket) ID() string { return r.member.ID }

// Rooms returns the rooms that the socket was in, its own among them.
func (r RemoteSocket) Rooms() []string { return r.member.Rooms }

// Data decodes what the application stored with the socket, of which there is JSON;
// nothing is an empty object. It is an error if the socket's server could not encode
// it.
func (r RemoteSocket) Data(dst any) error {
	if len(r.member.Data) == 0 {
		return errors.New("sio: the socket's server could not encode its data")
	}
	return json.Unmarshal(r.member.Data, dst)
}

// Auth decodes what the client gave as auth into dst, which stays as it is if it gave
// nothing, or its server did not keep it ([KeepAlways]). The error is
// json.Unmarshal's.
func (r RemoteSocket) Auth(dst any) error {
	var h wireHandshake
	if err := json.Unmarshal(r.member.Handshake, &h); err != nil {
		return err
	}
	return Handshake{auth: string(h.Auth)}.Auth(dst)
}

// Handshake returns the session's first request, as the socket's server knows
// it: of one of this module without [KeepAlways], the address.
func (r RemoteSocket) Handshake() Handshake { return parseHandshake(r.member.Handshake) }

// Emit sends an event to the client. The error is an *[EncodeError]: whether the
// socket is still there is not known here.
func (r RemoteSocket) Emit(event string, args ...any) error { return r.itself().Emit(event, args...) }

// EmitAck sends an event and waits for the client's acknowledgement, of which there is
// the first argument, or for ctx. The error is [ErrClosed] if the socket has left, else
// as of [BroadcastOperator.EmitAck].
func (r RemoteSocket) EmitAck(ctx context.Context, event string, args ...any) (Args, error) {
	answers, err := r.itself().EmitAck(ctx, event, args...)
	switch {
	case len(answers) > 0:
		return answers[0], nil
	case err == nil:
		err = ErrClosed
	}
	return Args{}, err
}

// Join puts the socket into rooms.
func (r RemoteSocket) Join(rooms ...string) { r.itself().Join(rooms...) }

// Leave takes the socket out of rooms.
func (r RemoteSocket) Leave(rooms ...string) { r.itself().Leave(rooms...) }

// Disconnect makes the socket leave its namespace, as [Socket.Disconnect] does. The
// error is about o: whether the socket is still there is not known here.
func (r RemoteSocket) Disconnect(o DisconnectOptions) error { return r.itself().Disconnect(o) }

func (r RemoteSocket) itself() BroadcastOperator {
	return BroadcastOperator{ns: r.ns, in: r.ns.in, name: r.name}.To(r.member.ID)
}

// A member is what a loop knows of a socket that others see.
type member struct {
	s     Socket
	rooms []string
	h     Handshake
	over  string // the transport
}

// member returns that of a connected socket.
func (sh *shard) member(slot uint32) member {
	return member{sh.socket(slot), sh.roomsOf(slot), sh.handshake(slot), sh.session(slot).Transport()}
}

// described is the form that other servers get. It is made by no loop.
func (m member) described() rooms.Member {
	return rooms.Member{ID: m.s.ID(), Handshake: m.h.wire(), Rooms: m.rooms, Data: m.s.wireData()}
}

// members describes the sockets addressed, those of this server.
func (b BroadcastOperator) members() (all []rooms.Member) {
	var here []member
	b.visit(func(sh *shard, slot uint32) { here = append(here, sh.member(slot)) })
	for _, m := range here {
		x := m.described()
		if tell := b.server().describe; tell != nil && b.heard {
			x.Data = tell(m.s, m.over, x.Data)
		}
		all = append(all, x)
	}
	return all
}

// roomNames returns the names of the rooms of the instances that b addresses.
func (b BroadcastOperator) roomNames() (names []string) {
	all := BroadcastOperator{ns: b.ns, in: b.in, name: b.name}
	all.visit(func(sh *shard, slot uint32) { names = append(names, sh.roomsOf(slot)...) })
	slices.Sort(names)
	return slices.Compact(names)
}

// roomsOf returns the rooms of a connected socket, its own first.
func (sh *shard) roomsOf(slot uint32) []string {
	names := []string{sh.id(slot)}
	for _, room := range sh.local.Rooms(slot) {
		if room != names[0] {
			names = append(names, room)
		}
	}
	return names
}

// wireData is what the application stored, as JSON; an empty object for nothing, as
// Node has it. It is nil, which is logged, if there is no JSON of it: encoding it is
// the program's, and may panic.
func (s Socket) wireData() (b json.RawMessage) {
	switch data := s.data().(type) {
	case nil:
		return json.RawMessage("{}")
	case travelled:
		return json.RawMessage(data)
	default:
		err := s.srv().guard(func() (err error) {
			b, err = value.AppendJSON(nil, data)
			return err
		})
		if err != nil {
			s.srv().notice.Warn("a socket's data cannot be encoded for other servers", append(about(s, "data"), "error", err)...)
			return nil
		}
		return b
	}
}

// A wireHandshake is Node's socket.handshake.
type wireHandshake struct {
	Headers map[string]any  `json:"headers"` // in lower case; a string or a list of them
	Time    string          `json:"time"`
	Address string          `json:"address"`
	XDomain bool            `json:"xdomain"`
	Secure  bool            `json:"secure"`
	Issued  int64           `json:"issued"` // Unix ms
	URL     string          `json:"url"`
	Query   map[string]any  `json:"query"`
	Auth    json.RawMessage `json:"auth"`
}

// jsTime is how JavaScript prints a date.
const jsTime = "Mon Jan 02 2006 15:04:05 GMT-0700 (Coordinated Universal Time)"

// wire returns what other servers are told of h.
func (h Handshake) wire() json.RawMessage {
	w := wireHandshake{
		Headers: flatten(h.Header(), strings.ToLower), Time: h.Issued().UTC().Format(jsTime), Issued: h.r.particulars().issued,
		URL: h.URL(), Query: flatten(h.Query(), nil), XDomain: h.XDomain(), Secure: h.Secure(), Auth: json.RawMessage("{}"),
	}
	if a := h.Address(); a.IsValid() {
		w.Address = a.Addr().Unmap().String()
	}
	if h.auth != "" {
		w.Auth = json.RawMessage(h.auth)
	}
	b, err := json.Marshal(w)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

// flatten returns lists of one as that one.
func flatten(m map[string][]string, name func(string) string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if name != nil {
			k = name(k)
		}
		if len(v) == 1 {
			out[k] = v[0]
		} else {
			out[k] = v
		}
	}
	return out
}

// parseHandshake reads what another server says of a socket; what it does not
// say is zero.
func parseHandshake(b json.RawMessage) Handshake {
	var w wireHandshake
	_ = json.Unmarshal(b, &w) // what can be read
	f := particulars{issued: w.Issued, secure: w.Secure}
	if addr, err := netip.ParseAddr(w.Address); err == nil {
		f.address = netip.AddrPortFrom(addr, 0)
	}
	line := strings.NewReplacer("\n", " ")
	var text strings.Builder
	text.WriteString(line.Replace(w.URL) + "\n")
	for name, v := range w.Headers {
		values, ok := v.([]any)
		if !ok {
			values = []any{v}
		}
		for _, v := range values {
			if value, ok := v.(string); ok {
				text.WriteString(line.Replace(name) + ": " + line.Replace(value) + "\n")
			}
		}
	}
	f.text = text.String()
	query := url.Values{}
	for name, v := range w.Query {
		if text, ok := v.(string); ok {
			query.Set(name, text)
		}
	}
	f.query = query.Encode()
	return Handshake{f.pack(), string(w.Auth)}
}

// session returns a socket as the servers of a cluster keep it.
func (x *socketState) session(data json.RawMessage) rooms.Session {
	expires := time.Time{}
	if x.Expires != 0 {
		expires = time.UnixMilli(x.Expires)
	}
	return rooms.Session{
		Expires: expires, ID: x.ID, PID: x.PID, Rooms: append([]string{x.ID}, x.Rooms...), Data: data,
		Namespace: x.Name, Since: rooms.Place(x.From), Identity: x.Identity,
	}
}

// stateOf is the other way round, for a socket in an instance. There is no data if
// that is Node's of a socket without.
func stateOf(s rooms.Session, instance string) *socketState {
	x := &socketState{Socket: packetlog.Socket{Name: instance, ID: s.ID, PID: s.PID, Identity: s.Identity, From: uint64(s.Since)}}
	if !s.Expires.IsZero() {
		x.Expires = s.Expires.UnixMilli()
	}
	for _, room := range s.Rooms {
		if room != s.ID {
			x.Rooms = append(x.Rooms, room)
		}
	}
	if d := string(s.Data); d != "" && d != "{}" && d != "null" {
		x.data = travelled(s.Data)
	}
	return x
}
