package sio

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/keyed"
)

// A Part is something that a program has beside its sockets and that is to go along when
// another process takes them over: see [Server.Handover]. Functions that are nil do
// nothing. They are called one at a time, but for Socket, and on no loop: those of the
// process that goes in the order of the fields up to Export, all parts' Hold first, in the
// order of Carry, and likewise Still; then Moved, or, if it is called off, Release. Those of
// the successor are Import, before there are any sockets, Socket, Taken, when all are there
// and nothing has been served, and Serving.
type Part struct {
	// Name is the same in both processes.
	Name string
	// Optional has a successor that knows no such part take the rest.
	Optional bool

	// Hold has nothing new be begun that a handover would cut in two, such as a question to
	// another program, and returns when what was begun has ended. Clients are served
	// meanwhile. An error, also ctx's, calls the handover off.
	Hold func(ctx context.Context) error
	// Still is Hold when no handler runs, and none begins, any more: behind it nothing may be
	// done to sockets but what handlers do. Clients are read from, and inline handlers run.
	Still func(ctx context.Context) error
	// Release takes back Hold and Still, and follows them also when they have failed.
	Release func()
	// Export returns what the successor gets. All loops stand still: it must not ask them,
	// or wait for what needs them. Server.Stats asks nobody then, and is exact.
	Export func() ([]byte, error)
	// Moved is told that the successor has everything.
	Moved func()

	// Import gets what Export has returned. An error calls the handover off.
	Import func(data []byte) error
	// Socket is called with each socket that has come, and its rooms, its own id left out:
	// its values are there. For those of several loops it is called at the same time. No
	// loop runs: it must ask none.
	Socket func(s Socket, rooms []string)
	// Taken is told that all sockets are there.
	Taken func()
	// Serving is told that clients are served, and that other servers hear this one.
	Serving func()
}

// Carry adds a part. It is called before Serve; it panics for a name that there is.
func (srv *Server) Carry(p Part) {
	for _, q := range srv.parts {
		if q.Name == p.Name {
			panic(fmt.Sprintf("sio: there are two parts %q", p.Name))
		}
	}
	srv.parts = append(srv.parts, p)
}

// A valueCodec is how values of a Key travel to a successor.
type valueCodec struct {
	name   string
	encode func(v any) ([]byte, error)
	decode func(p []byte) (any, error)
}

// CarryKey has the values of a key go along to a successor, by a name that is the same in
// both processes: as JSON if encode and decode are nil. A value without an encoding, nil
// with no error, stays behind. Without CarryKey, sockets that have a value of the key
// cannot be taken over. It is called before Serve.
func CarryKey[T any](srv *Server, name string, k Key[T], encode func(v T) ([]byte, error), decode func(p []byte) (T, error)) {
	srv.carryValues(k.id, codecOf("key "+name, encode, decode))
}

// CarryConnKey is CarryKey for the values of connections.
func CarryConnKey[T any](srv *Server, name string, k ConnKey[T], encode func(v T) ([]byte, error), decode func(p []byte) (T, error)) {
	srv.carryValues(k.id, codecOf("conn "+name, encode, decode))
}

func codecOf[T any](name string, encode func(v T) ([]byte, error), decode func(p []byte) (T, error)) *valueCodec {
	if encode == nil {
		encode = func(v T) ([]byte, error) { return json.Marshal(v) }
		decode = func(p []byte) (v T, err error) {
			err = json.Unmarshal(p, &v)
			return v, err
		}
	}
	return &valueCodec{
		name: name,
		encode: func(v any) ([]byte, error) {
			x, _ := v.(T) // not of a nil of an interface's
			return encode(x)
		},
		decode: func(p []byte) (any, error) { return decode(p) },
	}
}

func (srv *Server) carryValues(k *keyed.Key, c *valueCodec) {
	if srv.carried.byName == nil {
		srv.carried.byName, srv.carried.byKey = map[string]*keyed.Key{}, map[*keyed.Key]*valueCodec{}
	}
	if srv.carried.byName[c.name] != nil {
		panic(fmt.Sprintf("sio: there are two of %q", c.name))
	}
	srv.carried.byName[c.name], srv.carried.byKey[k] = k, c
}

// carriedValues are how values travel. Immutable once the server serves.
type carriedValues struct {
	byName   map[string]*keyed.Key
	byKey    map[*keyed.Key]*valueCodec
	deadline func(Socket) // of CarryDeadlines; nil: none
}

// A carriedValue is one as data.
type carriedValue struct {
	Name string `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
}

var errNotCarried = errors.New("sio: a socket has a value of a Key, or ConnKey, that CarryKey was not called for")

// pack returns values as data.
func (c *carriedValues) pack(l keyed.List) (all []carriedValue, err error) {
	keyed.Each(l, func(k *keyed.Key, v any) {
		codec := c.byKey[k]
		if codec == nil {
			err = errors.Join(err, errNotCarried)
			return
		}
		p, perr := codec.encode(v)
		if perr != nil {
			err = errors.Join(err, fmt.Errorf("sio: value of %s: %w", codec.name, perr))
		} else if p != nil {
			all = append(all, carriedValue{codec.name, p})
		}
	})
	return all, err
}

// unpack returns the values that data are. Those whose name nothing here has are left out.
func (c *carriedValues) unpack(all []carriedValue) (l keyed.List, err error) {
	for _, x := range all {
		k := c.byName[x.Name]
		if k == nil {
			continue
		}
		v, err := c.byKey[k].decode(x.Data)
		if err != nil {
			return nil, fmt.Errorf("sio: value of %s: %w", x.Name, err)
		}
		l = keyed.With(l, k, v)
	}
	return l, nil
}

// allParts are the server's own and those of Carry, in the order in which they are held,
// exported and imported.
func (srv *Server) allParts() []Part { return append(srv.ownParts(), srv.parts...) }

// holdParts has all parts hold, or, if it is to be still, do nothing by themselves.
func (srv *Server) holdParts(ctx context.Context, still bool) error {
	for _, p := range srv.allParts() {
		hold := p.Hold
		if still {
			hold = p.Still
		}
		if hold == nil {
			continue
		}
		if err := hold(ctx); err != nil {
			return fmt.Errorf("sio: part %s: %w", p.Name, err)
		}
	}
	return nil
}

func (srv *Server) releaseParts() {
	for _, p := range srv.allParts() {
		if p.Release != nil {
			p.Release()
		}
	}
}

func (srv *Server) movedParts() {
	for _, p := range srv.allParts() {
		if p.Moved != nil {
			p.Moved()
		}
	}
}

// What a program keeps of sockets goes along with them: a Socket as data, and who waits for
// a client's answer.

// Pack appends the socket as data, which [Server.Unpack] of a successor makes a Socket of
// again: see [Part].Export. It asks nobody.
func (s Socket) Pack(dst []byte) []byte {
	if s.in == nil {
		return dst
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.ref))
	dst = binary.BigEndian.AppendUint64(dst, s.conn)
	dst = binary.AppendUvarint(dst, uint64(len(s.own)))
	return append(append(dst, s.own...), s.in.name...)
}

var errNoSocket = errors.New("sio: that is no socket as data")

// Unpack returns the socket that Pack of the server whose clients this one has taken over
// has made data of, from [Part].Taken on; it equals the one that handlers get. One that had
// left has left here. Of nothing it is the zero Socket. The error says that the data is
// wrong, or that there is no such namespace any more.
func (srv *Server) Unpack(p []byte) (Socket, error) {
	if len(p) == 0 {
		return Socket{}, nil
	}
	if len(p) < 17 {
		return Socket{}, errNoSocket
	}
	s := Socket{ref: rooms.Ref(binary.BigEndian.Uint64(p)), conn: binary.BigEndian.Uint64(p[8:])}
	n, k := binary.Uvarint(p[16:])
	if p = p[16:]; k <= 0 || n > uint64(len(p)-k) || s.ref == 0 || s.ref.Loop() >= len(srv.shards) {
		return Socket{}, errNoSocket
	}
	s.own = string(p[k:][:n])
	if s.in = srv.registry.instanceOf(string(p[k+int(n):])); s.in == nil {
		return Socket{}, errors.New("sio: a socket as data is of no namespace of this server")
	}
	return s, nil
}

// instanceOf returns the instance of a name; if none is live, one for sockets that have left.
// It is nil if no namespace has the name.
func (r *registry) instanceOf(name string) *instance {
	if in := r.called(name); in != nil {
		return in
	}
	if len(name) > maxNamespaceName || !namesInstance(name) {
		return nil
	}
	ns, params := r.patterned(name, 0)
	if ns == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.functions) == 0 {
			return nil
		}
		ns = r.functions[0]
	}
	return &instance{ns: ns, name: name, params: params}
}

// EmitAckID is [Socket.EmitAckFunc] that tells the number by which the client answers, for
// who has a successor wait for that: see [Socket.AwaitAck].
func (s Socket) EmitAckID(d time.Duration, done func(Args, error), event string, args ...any) (id uint64, err error) {
	q := &inquiry{s: s, event: event, wait: cmp.Or(d, DefaultAckTimeout), done: done}
	err = s.in.ns.outgoing(s.itself(), event, args, q.emit)
	switch {
	case err != nil && !q.over.Swap(true):
		return 0, err
	case err == nil && !q.sent: // by a wrapper that did not go on, as EmitAck has it
		q.later(nil)
	}
	return q.id, nil
}

// AwaitAck waits for the answer to an event that [Socket.EmitAckID] of the server whose
// clients this one has taken over has sent, as that does. It is for [Part].Taken: later the
// answer may have come.
func (s Socket) AwaitAck(id uint64, d time.Duration, done func(Args, error), event string) {
	q := &inquiry{s: s, event: event, wait: cmp.Or(d, DefaultAckTimeout), done: done, sent: true, id: id}
	sh := s.shard()
	await := func(*loop.Loop) {
		p := &pendingAck{inquiry: q}
		switch slot := sh.lookup(s.ref); {
		case slot == 0:
			q.answer(sh, Args{}, ErrClosed, nil, 0)
		case !sh.await(slot, id, p):
			q.answer(sh, Args{}, ErrTooManyAcks, nil, 0)
		default:
			q.begin(sh, p)
		}
	}
	if !sh.loop.Post(loop.TaskFunc(await)) {
		q.later(ErrClosed)
	}
}

// Inherits tells whether the server is to take over what another process has, and has not
// yet ([Options].Inherit): what it does in the meantime the other does, too. It is true
// until parts are told of Serving.
func (srv *Server) Inherits() bool { return srv.heir.Load() }

// CarryDeadlines has f be called, in a successor, in place of the functions that deadlines
// of sockets have ([Socket.ExpireAt]), which do not go along: when such a deadline comes,
// or at once if it has and its function may not have been called. Without f, and of
// deadlines without a function, it is as for nil. It is called before Serve.
func (srv *Server) CarryDeadlines(f func(Socket)) { srv.carried.deadline = f }

// Number names the socket among all that the server has had, and those of the server that
// it has taken over and of its successors: it is the same there. It is never 0.
func (s Socket) Number() uint64 { return uint64(s.ref) }

// isTimed tells whether a socket has a deadline with a function, or had one whose function
// may not have been called.
func (sh *shard) isTimed(slot uint32) bool {
	d, ok := sh.deadlines.Get(slot)
	return ok && d.Do != nil || sh.sockets.At(slot).is&expired != 0
}

// restored sets the deadline of a socket that restoreSocket has put in its place, and tells
// parts of it. A deadline that has passed comes when the loop runs, and not before.
func (sh *shard) restored(slot uint32, x *socketState) {
	var f func(Socket)
	if x.timed {
		f = sh.srv.carried.deadline
	}
	if x.timed || x.Expires != 0 {
		sh.expireAt(slot, time.UnixMilli(max(x.Expires, sh.srv.wall().UnixMilli()+1)), f)
	}
	for i := range sh.srv.parts {
		if f := sh.srv.parts[i].Socket; f != nil {
			f(sh.socket(slot), x.Rooms)
		}
	}
}

// standStill notes what frozen loops count, as they cannot be asked. Undo has them asked
// again.
func (srv *Server) standStill(f *loop.Frozen) (undo func()) {
	all := make([]told, len(srv.shards))
	f.Each(func(l *loop.Loop) { all[l.Index()] = srv.shards[l.Index()].tell() })
	srv.standing.Store(&all)
	return func() { srv.standing.Store(nil) }
}

// counts is gather, which asks no loops that stand still.
func (srv *Server) counts() (all []told, late []loop.LateLoop) {
	if told := srv.standing.Load(); told != nil {
		return *told, nil
	}
	return srv.gather()
}

// succeeded tells parts that the server serves.
func (srv *Server) succeeded() {
	srv.heir.Store(false)
	for _, p := range srv.allParts() {
		if p.Serving != nil {
			p.Serving()
		}
	}
}
