package rooms

// A Broadcast is a message and whom it is for: the members of the rooms To and
// the sockets ToRefs, less the members of Except and the sockets ExceptRefs.
// Fill it in, Publish it once, and do not change it afterwards: all loops read
// it, and keep it until the last member has been visited.
type Broadcast struct {
	// Namespace is where the rooms are. Sockets of others never get it, be it
	// by ToRefs.
	Namespace uint32

	// To and Except are names of rooms; those that do not exist have no
	// members. Without To and ToRefs it is for everybody in the namespace.
	To, Except []string

	// ToRefs and ExceptRefs are single sockets. A socket's own id is a room
	// that nobody stores: who makes the broadcast decodes ids into Refs. Refs
	// that are stale, or not of any loop, are nobody.
	ToRefs, ExceptRefs []Ref

	// Volatile says that the message may be lost where it cannot be sent at
	// once. Only the deliverer looks at it.
	Volatile bool

	// Message is what the deliverer sends. It is never touched here.
	Message any

	// Binary says that the message has attachments: see Run.Binary.
	Binary bool

	// Size is the length of the message in bytes. It bounds a Run.
	Size int

	// Since is when the message was emitted, in µs on the clock that Local.Measure was
	// given; 0: it is not in Spread, and nobody is told of its end.
	Since int64
	// Owner is for whoever is told of its end: see Local.Measure.
	Owner any

	// Sequenced, if not nil, is called by Publish with the rooms locked, before it
	// posts: what it notes is in the order in which the members get messages. It must
	// not block, nor call the Directory.
	Sequenced func()

	// Resolved by Publish. An entry is never used again for another room, even
	// one of the same name.
	to, except []*entry
	room       [2]*entry // what to and except usually fit in

	left    int32 // atomic: loops that have not visited all members
	reached int32 // atomic: members of those that have
}

// cost is what a broadcast holds while it waits: message, record and its places in
// queues, about.
func (b *Broadcast) cost() int64 { return int64(b.Size) + 320 }

// Bounds of a Run. A single message may be larger.
const (
	MaxRunBytes    = 64 << 10
	MaxRunMessages = 256
)

// A Run is consecutive broadcasts to the same sockets, delivered in one visit
// of each: at most MaxRunMessages, and MaxRunBytes in sum of their sizes unless
// it is one message alone. A Run that Deliver has seen never changes, so that
// something made of its messages can be kept under its address.
type Run struct {
	Broadcasts []*Broadcast // in the order of publishing, at least one

	one    [1]*Broadcast // what Broadcasts usually fits in
	binary int           // of Broadcasts
}

// Binary returns how many of Broadcasts[from:] are.
func (r *Run) Binary(from int) (n int) {
	if from == 0 {
		return r.binary
	}
	for _, b := range r.Broadcasts[from:] {
		if b.Binary {
			n++
		}
	}
	return n
}

// A Deliver sends messages to one socket: run.Broadcasts[from:], in order.
// More says that other runs wait behind this one, so that it may pay to gather
// messages and send once; none of them need be for the same socket. It must not
// call a method of the Local that changes anything (that panics): errors are
// put aside until Step or CatchUp has returned.
type Deliver func(slot uint32, run *Run, from int, more bool)
