package action

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// A Kind is what a backend is told of.
type Kind uint8

// The kinds, by their names in JSON.
const (
	Connect    Kind = iota // connect: a client wants in; it waits
	Event                  // event
	Disconnect             // disconnect: behind the recovery window
	Connected              // connected: it was admitted
	Room                   // room: created or deleted
	Refresh                // refresh: a client has brought a new token
	Node                   // node: a server of the cluster came or went
	Kinds                  // how many there are
)

// String returns the name in JSON: that of config.Hooks.
func (k Kind) String() string {
	if k < Kinds {
		return config.Hooks[k]
	}
	return "unknown"
}

// IDDigits are those of ids that backends are told, 5 bits each, as ULIDs have them.
const IDDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// A Hook is a set of kinds.
type Hook uint8

// Of returns the set of one kind.
func (k Kind) Of() Hook { return 1 << k }

// Has tells whether a kind is in the set.
func (h Hook) Has(k Kind) bool { return h&k.Of() != 0 }

// Hooks returns the set of kinds with names. The error names the first that there is not.
func Hooks(names []string) (h Hook, err error) {
	for _, name := range names {
		k := slices.Index(config.Hooks, name)
		if k < 0 {
			return h, fmt.Errorf("%q is no kind of event", name)
		}
		h |= Kind(k).Of()
	}
	return h, nil
}

// A Backend is an application outside of the process that decides about clients and is
// told of them. Any goroutine may call its methods.
type Backend interface {
	// Hooks are the kinds that it wants.
	Hooks() Hook
	// Connect asks whether a client may connect, in a middleware: it blocks, as long as
	// the backend may take. What the result says of the socket itself is for the caller
	// to do: Result.Enter and Act. The error is a *sio.Error that the client is told; if the
	// connection was closed instead, that of a client that comes back.
	Connect(s sio.Socket, e Entry) (*Result, error)
	// Refresh asks whether a client may go on with a new token, JSON, which it brought
	// in place of what it connected with; e.Claims are those of the new one. It is as
	// Connect, but that the connection is left alone whatever happens.
	Refresh(s sio.Socket, e Entry, token json.RawMessage) (*Result, error)
	// Event sends an event on. It does not block, and may be called on the event loop;
	// if too much waits it goes on by m.Later, and the client is not read from
	// meanwhile. M is not kept. What the backend answers is done later.
	Event(s sio.Socket, m *sio.Msg, e Entry, o EventOptions) error
	// Tell has the backend know of something, in the order of calls for one Peer.Lane,
	// until it has said that it does or there is no hope: it does not block. Body
	// appends those members of the item that P does not have, each with a comma before
	// it; it is called before Tell returns, nil has none.
	Tell(k Kind, p Peer, body func(dst []byte) []byte)
}

// A Loser is a Backend that says what it was not told. Who cannot keep something for it,
// and so has no item to Tell, says that by Lose: N things of a kind.
type Loser interface {
	Lose(k Kind, n int64)
}

// An Entry is what is known of a socket whose event or request to connect is sent on.
type Entry struct {
	Namespace string          // as the client joined it
	Route     string          // the pattern that has it
	Params    []string        // names of the parameters of the namespace's name, whose values Socket.Param has
	User      string          // "": nobody
	Claims    json.RawMessage // of the token, for connect; nil: none
	Recovered bool
}

// EventOptions are what a rule says about an event that is sent on.
type EventOptions struct {
	Timeout time.Duration // 0: the backend's own
}

// A Peer is whom, or what, a backend is told of. It need not be on this server. Members of
// the item are ID (id), Time (time), Namespace (nsp), Route (route), SID (sid) and User
// (user), each unless it is empty.
type Peer struct {
	// ID of the item, the same whoever tells of it, so that a double is known: text that
	// needs no escapes in JSON, at most 128 bytes; "": one is made.
	ID        string
	Lane      uint64 // what has the same is told in order, among it the events of a connection: see LaneOf
	Namespace string // as the client joined it; "": of no namespace
	Route     string
	SID       string // "": of no socket
	User      string
	Time      time.Time // when it happened; zero: now
	// Done, unless nil, is called once: when the backend has taken it, or when there is no
	// hope, perhaps before Tell returns. It is called from any goroutine, must not block,
	// and may call Tell.
	Done func(taken bool)
}

// laneSeed keeps clients from choosing whom they share a lane with.
var laneSeed atomic.Uint64

func init() { laneSeed.Store(rand.Uint64()) }

// LaneSeed returns what lanes are made of, and SetLaneSeed has it be that of the process whose
// clients this one takes over: what has waited in a lane and what comes after it are of one.
func LaneSeed() uint64 { return laneSeed.Load() }

// SetLaneSeed is called before anything is in a lane.
func SetLaneSeed(seed uint64) { laneSeed.Store(seed) }

// LaneOf returns the lane of what concerns a connection.
func LaneOf(c sio.Conn) uint64 { return mix(laneSeed.Load() ^ c.Number()) }

// LaneOfText returns the lane of what concerns something with a name, such as a room, or
// a socket of another server.
func LaneOfText(name string) uint64 {
	h := laneSeed.Load()
	for i := range len(name) {
		h = mix(h ^ uint64(name[i]))
	}
	return h
}

// mix spreads each bit over all (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
