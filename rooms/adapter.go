package rooms

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// An Adapter joins a server to others, so that what is addressed to a room
// reaches its members everywhere. The server serves its own sockets by itself
// and first; the adapter carries what the others need to know, and gives the
// server, its Host, what comes from them.
//
// Methods without a context may be called on event loops and with locks held:
// they note what is to be done and return. What one goroutine asks for is done
// in that order. Names of namespaces are those on the wire, or the pattern of a
// namespace with parameters, which stands for all its instances on servers that
// know the pattern.
type Adapter interface {
	// Start is called once, before anything else. An error is about the
	// configuration: whoever is unreachable is tried again and again.
	Start(h Host) error
	// Close leaves the cluster, telling the others, and frees everything.
	Close(ctx context.Context) error

	// Open and Drop say that a namespace begins and ceases to exist here. They are
	// counted, since an instance may be called as a pattern is: a namespace that was
	// opened twice is there until it has been dropped twice.
	Open(namespace string)
	Drop(namespace string)
	// Occupied and Vacated say that a room has members here, and has none any
	// more; they are counted too, and each Occupied has its Vacated, which may come
	// after the Drop of the namespace. Sockets' own rooms, whose names begin with
	// Host.Node, are told only to an adapter that has OwnRooms.
	Occupied(namespace, room string)
	Vacated(namespace, room string)
	// OwnRooms says whether sockets' own rooms are told too. It is asked once, after
	// Start.
	OwnRooms() bool
	// Await returns when what the other servers emit to rooms from now on reaches
	// this server. It is an error if ctx is done before, if a room is not occupied
	// any more, or if it cannot be.
	Await(ctx context.Context, namespace string, names []string) error

	// Emit sends an event to the sockets of the other servers.
	Emit(t Target, e Event)
	// Join, Leave and Disconnect do to sockets of the other servers what
	// BroadcastOperator's methods of these names do.
	Join(t Target, rooms []string)
	Leave(t Target, rooms []string)
	Disconnect(t Target, closing bool)
	// ServerSideEmit sends an event to the other servers themselves.
	ServerSideEmit(namespace string, e Event)

	// EmitAck sends an event to the sockets of the other servers, calls asked with
	// how many that are as each server says it, and answer for each acknowledgement,
	// until all have come. Of ctx, the deadline is told to the others.
	EmitAck(ctx context.Context, t Target, e Event, asked func(clients int), answer func(Value)) error
	// Members asks the other servers for their sockets.
	Members(ctx context.Context, t Target) ([]Member, error)
	// RoomNames asks the other servers for the names of their rooms.
	RoomNames(ctx context.Context, namespace string) ([]string, error)
	// ServerSideAsk is ServerSideEmit with one answer of each server.
	ServerSideAsk(ctx context.Context, namespace string, e Event) ([]Value, error)

	// Peer returns the server whose ids begin with node, if it is of the same
	// kind as this one and there. One that has fallen silent, without a word that it
	// leaves, is there for longer than a client of it waits: it may live, and its
	// heartbeats be lost.
	Peer(node string) (Peer, bool)
	// Seek asks the other servers who they are and returns when Peer knows node, or
	// ctx is done. It may return sooner if node has said that it leaves. It blocks.
	Seek(ctx context.Context, node string)
	// Status says how the adapter is and what it did. Any goroutine may ask.
	Status() Status
}

// A Counter is an Adapter that can ask the other servers for numbers alone, if they
// can answer so.
type Counter interface {
	// Count returns how many sockets Members would. Errors are as of that, and come
	// with what is known.
	Count(ctx context.Context, t Target) (int, error)
}

// A Keeper is an Adapter that keeps small values for all servers of the cluster, beyond
// the life of each: what would be wrong to forget when all have been started anew. Values
// have no order, and of equal ones there is one.
type Keeper interface {
	// KeepValue keeps a value in the set of a name until a time, which replaces that of a
	// value that is kept already. It is not for more than a few thousand values, of a few
	// hundred bytes each. It waits for the store, or for ctx.
	KeepValue(ctx context.Context, set string, value []byte, until time.Time) error
	// KeptValues returns the values of a set whose time is not over, at most so many:
	// those that are kept longest. It waits for the store, or for ctx.
	KeptValues(ctx context.Context, set string, most int) ([][]byte, error)
}

// A Host is what an adapter knows of its server. Methods do not block unless
// they say so.
type Host interface {
	// Node is what the ids of the server's sockets and sessions begin with.
	Node() string
	// Advertise is the base URL at which other servers reach this one, "" if they
	// are not to.
	Advertise() string
	// Token is what other servers need, beside the address, to know this one by. The
	// adapter tells it to them alone.
	Token() string
	// Deliver sends an event to the server's sockets.
	Deliver(t Target, e Event)
	// DeliverAck does, and waits: counted is told how many sockets there are,
	// answer each acknowledgement. It returns when all have answered or left, or
	// ctx is done.
	DeliverAck(ctx context.Context, t Target, e Event, counted func(clients int), answer func(Value))
	// Join, Leave and Disconnect are for the server's own sockets. Nothing of them is
	// dropped, however much the server has to do: what does not come to the sockets at
	// once waits in memory.
	Join(t Target, rooms []string)
	Leave(t Target, rooms []string)
	Disconnect(t Target, closing bool)
	// Members returns the server's sockets. It waits for the loops.
	Members(t Target) []Member
	// Count returns how many they are. It waits for the loops too.
	Count(t Target) int
	// RoomNames returns the names of the server's rooms, the sockets' own ones
	// included. It waits for the loops.
	RoomNames(namespace string) []string
	// ServerSide hands over what another server said to the servers. Answer is
	// nil if none is wanted, and is called at most once, later.
	ServerSide(namespace string, e Event, answer func(Value))
	// Load tells how much the server has to do. It waits for the loops.
	Load() Load
}

// A Target is a set of sockets of a Namespace, named as on the wire: those in any
// of Rooms (all of the namespace if there are none) and in none of Except. A
// socket's id is a room.
type Target struct {
	Namespace     string
	Rooms, Except []string
}

// An Event is immutable once it is given away.
type Event struct {
	// Data is the JSON array of the event's name and arguments, with
	// placeholders for Attachments, as in a Socket.IO packet.
	Data        []byte
	Attachments [][]byte
	Volatile    bool
	Plain       bool // not to be compressed
}

// A Value is the answer of a client or a server: JSON, with placeholders for
// Attachments. Data is nil if there is no value.
type Value struct {
	Data        []byte
	Attachments [][]byte
}

// A Member is a socket as other servers see it.
type Member struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"` // in the form of Node's socket.handshake
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}

// Load is what a server tells of itself.
type Load struct {
	Sessions int `json:"sessions"` // Engine.IO connections
	Sockets  int `json:"sockets"`  // in all namespaces
}

// An IncompleteError says that some servers did not answer, whose answers are
// missing in what came with it.
type IncompleteError struct {
	// Missing are the names of servers that are known by one.
	Missing []string
	// Unnamed is how many others did not answer.
	Unnamed int
	// Cause is why the wait ended: a context's error, or nil if all that are
	// missing are known to have gone.
	Cause error
}

// Error says how many servers are missing, and what is known of them.
func (e *IncompleteError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rooms: %d servers did not answer", len(e.Missing)+e.Unnamed)
	if len(e.Missing) > 0 {
		fmt.Fprintf(&b, ", among them %s", strings.Join(e.Missing, ", "))
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *IncompleteError) Unwrap() error { return e.Cause }

// Status of an Adapter.
type Status struct {
	Up     bool      // connected, with all subscriptions in place
	Since  time.Time // when Up became what it is
	Reason string    // why it is not up
	Peers  []Peer    // servers that are known by name, without this one

	Sent, Received int64    // messages
	Out, In        Messages // by what they are: those that were to be sent, and those that were understood
	Discarded      int64    // received, but for nobody here: the sum of Discards
	Discards       Discards // why
	Malformed      int64    // received and not understood
	Lost           int64    // not sent: the sum of Losses
	Losses         Losses   // why
	Reconnects     int64
	Waiting        int   // messages to be sent
	WaitingBytes   int64 // that these hold
	Subscriptions  int
	Parked         int   // subscriptions that were one too many: these rooms get nothing from others
	Refused        int64 // questions of other servers that were not answered: there were too many
	Answering      int   // questions of other servers that are being answered
	Requests       int64 // that were sent
	Pending        int   // of these: some answers are being waited for
	Incomplete     int64 // of these: some servers did not answer
	Questions      Questions

	// Lag is how long the last heartbeat of this server that has come back took, with the
	// time that it waited to be sent; 0 if none has, or there are no such.
	Lag time.Duration
}

// Messages are counted by what they are.
type Messages struct {
	Events     int64 // for sockets: Emit and EmitAck
	Changes    int64 // Join, Leave and Disconnect
	ServerSide int64 // ServerSideEmit and ServerSideAsk
	Questions  int64 // for sockets, their number, or rooms
	Answers    int64 // to EmitAck, ServerSideAsk and questions
	Heartbeats int64 // and what else servers tell of themselves
}

// Questions are what other servers were asked, by what that was.
type Questions struct {
	Acks       Asked // of EmitAck
	ServerSide Asked // of ServerSideAsk
	Members    Asked // of Members and Count
	Rooms      Asked // of RoomNames
}

// Asked are questions by what became of them.
type Asked struct {
	Complete   int64 // all have answered
	Incomplete int64 // some have not
	Failed     int64 // nobody could be asked
}

// Losses are messages that were not sent, by what became of them.
type Losses struct {
	Full      int64 // too many bytes waited
	Failed    int64 // the connection failed while they were on their way; they may have arrived
	Refused   int64 // the server that they were sent to refused them
	Left      int64 // they waited when the adapter was closed
	Unwritten int64 // they have no form on the wire
}

// Sum returns how many they are.
func (l Losses) Sum() int64 { return l.Full + l.Failed + l.Refused + l.Left + l.Unwritten }

// Discards are messages that were received and are for nobody here, by why.
type Discards struct {
	Own      int64 // this server sent them
	Unwanted int64 // nothing here is addressed, or they have come by another way too
	Late     int64 // answers that nobody waits for any more
}

// Sum returns how many they are.
func (d Discards) Sum() int64 { return d.Own + d.Unwanted + d.Late }

// A Peer is another server of the same kind.
type Peer struct {
	Node string // what its ids begin with
	Name string // for people
	Addr string // base URL at which it serves clients to other servers; "" if it does not
	// Token is the server's Host.Token. It is not in Status.
	Token string    `json:"-"`
	Seen  time.Time // when it was last heard of
	Load  Load
	// Unanswered are requests that it did not answer as long as they were waited for.
	Unanswered int64
}
