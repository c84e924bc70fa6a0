package rooms

import "context"

// A Movable is an Adapter whose place in the cluster another process can take, while the
// other servers see one server that goes on: under the same Host.Node, and with each
// message delivered by one of the two. The order of the calls, of the server that goes and
// of its successor:
//
//	goes                          successor
//	Offer                         Inherit, Start       serves on, while the successor prepares
//	Offer                         Follow               reads nothing of its clients any more
//	Mark                                               waits for what is before the marks
//	                              Succeed              has forgotten its sockets
//	Gone                                               or, called off at any time: Back
//
// Methods of the server that goes are called one at a time.
type Movable interface {
	Adapter

	// Offer returns what a successor needs to hear all that this server hears: which
	// topics there are, and whatever else. It may be called at any time, and again.
	Offer() ([]byte, error)
	// Mark splits all that comes at one place: it returns when everything before that has
	// been given to the Host, and keeps back what comes behind it, which is the
	// successor's. It returns where that place is. A failure changes nothing.
	Mark(ctx context.Context) ([]byte, error)
	// Back has the server go on: what is kept back since Mark is given to the Host.
	Back()
	// Gone ends what Mark has kept back, and this server's part in the cluster, without a
	// word to the others. If stays is true, the server still has sockets: it goes on
	// behind the place for these, as one that others do not know by name.
	Gone(ctx context.Context, stays bool) error

	// Inherit is called before Start, which then joins without a word to the others, and
	// hears what the other does. An error is about settings that differ from the other's.
	Inherit(offer []byte) error
	// Follow returns when everything reaches this server that reaches the other. It may be
	// called again, with a newer offer.
	Follow(ctx context.Context, offer []byte) error
	// Succeed begins to take part: what came behind the place, which is kept with a bound,
	// is given to the Host, in order; what was before it is dropped. It is an error if not
	// all of that has come, or more than is kept. It asks the Host nothing: no loop need
	// run.
	Succeed(place []byte) error
}
