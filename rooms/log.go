package rooms

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// A Log is an Adapter that keeps for a while what servers emit, in an order that
// all of them see, and the sessions of clients that have gone: so a client can
// come back to another server and get what it has missed.
//
// Namespaces whose events are in one order are a lane.
type Log interface {
	Adapter
	// Record is called once, before Start, by a server that wants all that. From
	// then on events go to r, in the order of the log, and not to the Host.
	Record(r Recorder)
	// Lane names the lane of a namespace.
	Lane(namespace string) string
	// Append is Emit for an event that is to be kept; n, not 0, is larger each
	// time. The recorder gets it too, unless it is lost.
	Append(t Target, e Event, n uint64)

	// Keep keeps a session for window.
	Keep(s Session, window time.Duration)
	// Take returns a session that is kept, and keeps it no more. It is false if
	// there is none.
	Take(ctx context.Context, pid string) (s Session, ok bool, err error)
	// Missed calls each, until it is false, with the events of a namespace, or of
	// the pattern whose instance it is, that are behind from and not behind to, but
	// for the volatile ones, and with what was done to its sockets (Entry.Op). It is
	// false if some of them may not be kept any more.
	Missed(ctx context.Context, namespace, pattern string, from, to Place, each func(Entry) bool) (complete bool, err error)
}

// A Recorder gets what a Log reads. Its methods are called by one goroutine for
// each lane, and must not block.
type Recorder interface {
	// Recorded is told of each event, and of what this server has done to sockets
	// (Entry.Op). Of what others did the Host is told, in the same order.
	Recorded(lane string, e Entry)
	// Passed says that everything up to a place has been read; the first call
	// says where the lane begins for this server. It is called before what others
	// did to sockets is done to those of the Host: who asks for what it has missed
	// meanwhile finds it in the log.
	Passed(lane string, p Place)
}

// An Entry is an event in a Log.
type Entry struct {
	Place Place
	// Own is the number of an event that this server appended: the rest is not
	// set then. It is 0 for those of others.
	Own    uint64
	Target Target
	Event  Event
	// Op is not Emitted if this is no event: Names are rooms then.
	Op    Op
	Names []string
	// Once says that the event was a question of one server to one client, which
	// cannot be asked again.
	Once bool
}

// An Op is what is done to the sockets of a Target.
type Op uint8

// The Ops: they are sent an event, join or leave rooms, or are disconnected.
const (
	Emitted Op = iota
	Joined
	Left
	Disconnected
)

// A Session is what is kept of a socket whose client may come back.
type Session struct {
	ID, PID string
	Rooms   []string // its own among them
	Data    json.RawMessage
	// Namespace and Since are "" and 0 in a session of a server that is not of this
	// kind. Since is where what the client may have missed begins.
	Namespace string
	Since     Place
	// Until is when its time is over, At where its lane was when it was kept, and
	// Identity who it is by Recovery.Identity of package sio; zero likewise.
	Until    time.Time
	At       Place
	Behind   uint64 // events of the server's own behind that place
	Identity string
	// Expires is when the socket's deadline is, zero if it has none: nobody gets it
	// back after that.
	Expires time.Time
	// Direct are events that are not in the log: the server's own form of them. Who
	// does not know that form must not have the session.
	Direct []byte
}

// A Place is where an entry is in a lane: later ones are larger. It is a time in
// ms and, in the last 20 bits, a number. Zero is none.
type Place uint64

const placeBits = 20

// String returns the form that clients get: time and number in decimal.
func (p Place) String() string {
	return strconv.FormatUint(uint64(p>>placeBits), 10) + "-" + strconv.FormatUint(uint64(p&(1<<placeBits-1)), 10)
}

// ParsePlace parses that form.
func ParsePlace(s string) (p Place, ok bool) {
	ms, n, _ := strings.Cut(s, "-")
	a, err := strconv.ParseUint(ms, 10, 64-placeBits)
	b, err2 := strconv.ParseUint(n, 10, placeBits)
	return Place(a)<<placeBits | Place(b), err == nil && err2 == nil
}
