// Package class says what becomes of messages that wait for a peer which takes less
// than it is sent, and knows where in a queue they are.
//
// A queue belongs to its transport: an [Index] knows no bytes, only the places of the
// messages that may make room, by what they have in common. What it costs is bounded
// by their number, and each message costs the same, however many there are.
package class

// A Policy is what becomes of messages that a peer is too slow for.
type Policy uint8

const (
	// CloseSlow keeps every message: who does not take them is closed.
	CloseSlow Policy = iota
	// DropNew drops the new message while more than the soft bound waits.
	DropNew
	// DropOldest drops the oldest messages of the kind until no more than the soft
	// bound waits with the new one, or none is left.
	DropOldest
	// Conflate keeps the newest message of the kind. It takes the place of the one
	// before, so that what changes all the time has its turn like the rest.
	Conflate

	policies
)

// Valid tells whether p is one of the policies.
func (p Policy) Valid() bool { return p < policies }

// String returns the policy as it is written in configurations.
func (p Policy) String() string {
	if p.Valid() {
		return [...]string{"close", "drop-new", "drop-oldest", "conflate"}[p]
	}
	return "?"
}

// A Kind is what messages have in common that make room for each other. It is
// immutable, and may be shared by any number of them. Messages of CloseSlow have none.
type Kind struct {
	Policy Policy
	// Key tells kinds of one policy apart.
	Key string
	// Ordered has Conflate keep everything in order: a new message goes to the end,
	// and the one before is dropped unless it is the first of its kind, which keeps its
	// turn. So two of a kind may wait.
	Ordered bool
	// Owner is for whoever counts what is dropped.
	Owner any
}

// A Part is a message of several that are written one behind the other.
type Part struct {
	End  int   // of it in the bytes of all
	Kind *Kind // nil: it is never dropped
}

// Counts are messages that were dropped, by the policy.
type Counts struct {
	New, Oldest, Conflated int64
}

// Count counts n messages of a policy.
func (c *Counts) Count(p Policy, n int) {
	switch p {
	case DropNew:
		c.New += int64(n)
	case DropOldest:
		c.Oldest += int64(n)
	case Conflate:
		c.Conflated += int64(n)
	}
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.New += o.New
	c.Oldest += o.Oldest
	c.Conflated += o.Conflated
}

// Sum returns how many they are.
func (c Counts) Sum() int64 { return c.New + c.Oldest + c.Conflated }
