package presence

import (
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/alive"
)

// What a server tells of its members is in buckets, by a hash of their names. Each
// bucket has a version, which begins at 0 and is one more with each change that is told;
// a server that has a bucket in another version than the one before a change asks for
// the whole of it. Hashes of what is in the buckets are told now and then, so that what
// was lost is noticed also when nothing changes any more.
//
// Everything that is told is how something is now, and not what has been done to it: to
// hear it twice, or by two ways, does no harm.

const (
	buckets   = 256
	maxSlices = 64 // parts that a bucket is told in

	askEvery   = 500 * time.Millisecond // at most, of one server
	replyEvery = 20 * time.Millisecond  // part of what was asked for
	flushEvery = 10 * time.Millisecond  // at most, what has changed
	greetEvery = 200 * time.Millisecond // at most, those who begin
	maxNodes   = alive.MaxPeers         // servers that are listened to
)

// ownBucket is what this server tells of its members.
type ownBucket struct {
	version uint64
	hash    uint64 // of what is in it: the sum (exclusive or) of stamps
	members map[*member]struct{}
}

// A node is another server.
type node struct {
	*alive.Peer[*node]
	leaves  time.Time // when what it had is forgotten, since it has said that it ends; zero: it has not
	dirty   bool      // something is missing
	short   bool      // something was refused for want of room
	asked   time.Time
	hash    uint64 // the sum of those of the buckets
	buckets []theirBucket
}

// theirBucket is a bucket of another server.
type theirBucket struct {
	version uint64
	hash    uint64
	members map[*member]int32 // with their connections there
	// A version that comes in slices: which, how many, and those that have come. No
	// slices: none is coming.
	coming uint64
	slices int
	have   uint64
}

// pending is what the view has to do soon.
type pending struct {
	flushed time.Time
	beat    time.Time // the next one
	beaten  time.Time // the last one
	wanted  [buckets]bool
	wants   int
	replied time.Time
	ended   bool
}

// hashOf is that of a member's names: the same on all servers.
func hashOf(at place, user string) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037) // FNV-1a
	for _, s := range [...]string{at.instance, at.room, user} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h = (h ^ 0xff) * prime // no byte of UTF-8
	}
	return mix(h)
}

// mix spreads what differs over all bits.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// stamp is of a member with its connections.
func stamp(hash uint64, conns int32) uint64 { return mix(hash + uint64(conns+1)*0x9e3779b97f4a7c15) }

func bucketOf(hash uint64) int { return int(hash >> 56) }

// sliceOf is the part of its bucket that a hash is in, of so many: a power of two.
func sliceOf(hash uint64, slices int) int { return int(hash>>50) & (slices - 1) }

// touch notes that what this server has of a member has changed: it had so many
// connections here before, if it had it.
func (v *view) touch(m *member, before int32, had bool) {
	if !v.cluster {
		return
	}
	h := hashOf(m.room.at, m.user)
	b := &v.own[bucketOf(h)]
	if had {
		b.hash ^= stamp(h, before)
	}
	if m.mine {
		b.hash ^= stamp(h, m.own)
		if b.members == nil {
			b.members = map[*member]struct{}{}
		}
		b.members[m] = struct{}{}
	} else if delete(b.members, m); len(b.members) == 0 {
		b.members = nil
	}
	v.changed[m] = struct{}{}
}

// put notes what another server has of a member; negative conns: it has it no more.
func (v *view) put(n *node, at place, user string, conns int32) {
	h := hashOf(at, user)
	b := &n.buckets[bucketOf(h)]
	m, made := v.find(at, user), false
	had, known := int32(0), false
	if m != nil {
		had, known = b.members[m]
	}
	switch {
	case conns < 0 && !known:
		return
	case conns >= 0 && m == nil:
		if m, made = v.enter(at, user); m == nil {
			n.short = true
			return
		}
	}
	if known {
		n.stamp(b, stamp(h, had))
		m.conns -= had
	}
	switch {
	case conns < 0:
		if delete(b.members, m); len(b.members) == 0 {
			b.members = nil
		}
		m.nodes--
	default:
		if b.members == nil {
			b.members = map[*member]int32{}
		}
		b.members[m] = conns
		m.conns += conns
		n.stamp(b, stamp(h, conns))
		if !known {
			m.nodes++
		}
	}
	v.settle(m, made)
}

func (n *node) stamp(b *theirBucket, s uint64) {
	b.hash ^= s
	n.hash ^= s
}

// clear forgets all that a server had.
func (v *view) clear(n *node) {
	for i := range n.buckets {
		for m := range n.buckets[i].members {
			m.conns -= n.buckets[i].members[m]
			m.nodes--
			v.settle(m, false)
		}
		n.buckets[i] = theirBucket{}
	}
	n.hash, n.short, n.dirty = 0, false, false
}

// node returns the server of that name, which was heard; nil if it is not to be
// listened to.
func (v *view) node(name string, run int64, now time.Time) *node {
	p, began := v.nodes.Hear(name, run, now)
	switch {
	case p == nil:
		return nil
	case p.Of == nil:
		p.Of = &node{Peer: p, buckets: make([]theirBucket, buckets)}
	case began: // another one of that name: what it has is told anew
		n := p.Of
		n.leaves, n.dirty, n.asked = time.Time{}, true, time.Time{}
		for i := range n.buckets {
			n.buckets[i].version, n.buckets[i].slices = 0, 0
		}
	}
	return p.Of
}

// step does what is due, and returns when something will be next.
func (v *view) step(now time.Time) (next time.Time) {
	v.expire(now)
	if v.cluster && !v.ended {
		v.watch(now)
		next = v.speak(now)
	}
	if len(v.waiting) > 0 && (next.IsZero() || v.waiting[0].until.Before(next)) {
		next = v.waiting[0].until
	}
	return next
}

// watch forgets servers that have ended, or have not been heard for too long.
func (v *view) watch(now time.Time) {
	for _, p := range v.nodes.All() {
		if n := p.Of; !n.leaves.IsZero() && !n.Gone && !n.leaves.After(now) {
			v.clear(n)
			n.Gone = true
		}
	}
	for name, p := range v.nodes.Silent(now, v.limits.lost) {
		n := p.Of
		if !n.Gone && !n.leaves.IsZero() {
			continue
		}
		if !n.Gone {
			v.lost++
		}
		v.clear(n)
		v.nodes.Forget(name)
	}
}

// speak tells the others what is due.
func (v *view) speak(now time.Time) (next time.Time) {
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	due := len(v.changed) > 0 && now.Sub(v.flushed) >= flushEvery
	beats := !v.beat.After(now)
	answers := v.wants > 0 && now.Sub(v.replied) >= replyEvery
	if due || beats || answers {
		v.flush(now)
	}
	if answers {
		v.reply(now)
	}
	if beats {
		v.say(&message{Kind: here, Hello: v.beaten.IsZero(), Sum: v.sum()})
		v.beaten, v.beat = now, now.Add(v.limits.heartbeat)
	}
	if len(v.changed) > 0 {
		sooner(v.flushed.Add(flushEvery))
	}
	if v.wants > 0 {
		sooner(v.replied.Add(replyEvery))
	}
	for name, p := range v.nodes.All() {
		n := p.Of
		if n.short && v.members < v.limits.members-v.limits.members/8 {
			n.short, n.dirty = false, true
		}
		switch {
		case !n.dirty || n.Gone:
		case now.Sub(n.asked) >= askEvery:
			n.asked, n.dirty = now, false
			v.asked++
			v.say(n.question(name))
		default:
			sooner(n.asked.Add(askEvery))
		}
		if !n.leaves.IsZero() && !n.Gone {
			sooner(n.leaves)
		}
	}
	sooner(v.beat)
	return next
}

// sum is of all that this server has.
func (v *view) sum() (h uint64) {
	for i := range v.own {
		h ^= v.own[i].hash
	}
	return h
}

func (v *view) say(m *message) {
	m.Run = v.run
	v.out = append(v.out, effect{say: m})
}

// end has this server say that it ends, and that its members are to be shown for so
// long still. Nothing is said after it.
func (v *view) end(now time.Time, linger time.Duration) {
	if !v.cluster || v.ended {
		return
	}
	v.flush(now)
	v.say(&message{Kind: bye, Linger: linger.Milliseconds()})
	v.ended = true
}

// isolated says that no other server can be heard, or hear: none is held to be lost
// for that.
func (v *view) isolated(now time.Time) { v.nodes.Isolated(now) }
