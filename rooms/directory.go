package rooms

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop/hashset"
)

const (
	maxLoops  = 256 // a Ref has 8 bits for the loop
	numShards = 64  // one bit each in a uint64
)

// A Directory knows the rooms of all loops by name. Any goroutine may use it.
//
// Lock order: shards in the order of their index. While shards are locked,
// nothing is called but Sequenced and the post of Publish or ExpectAll, which may
// lock a mailbox.
type Directory struct {
	// Immutable after NewDirectory.
	locals []*Local
	seed   maphash.Seed

	// Written with all shards locked, read with any of them locked.
	watchers []func(ns uint32, name string, occupied bool)

	waiting atomic.Int64 // bytes

	shards [numShards]shard
}

type shard struct {
	mu       sync.Mutex
	rooms    hashset.Set[*entry]
	expected map[expectation]int
	named    int            // of rooms, those that have a name
	of       map[uint32]int // of them, those of each namespace that has some
}

// An expectation is of members of a room in a loop, see Directory.Expect.
type expectation struct {
	e    *entry
	loop int
}

// A key says which room. The room that all sockets of a namespace are in has no
// name that could be joined.
type key struct {
	ns       uint32
	everyone bool
	name     string
}

// An entry is a room, for as long as it has members or some are expected. It is
// made when the first loop has a member and forgotten when the last has none; a
// room of that name made later is another entry.
type entry struct {
	key         // immutable
	hash uint32 // immutable

	members atomic.Int32 // that are connected; written by the loops that have some

	// Guarded by mu of the shard: a bit for each loop that has or expects
	// members.
	loops uint64
	high  *[maxLoops/64 - 1]uint64 // loops from 64 on; nil: none
}

// NewDirectory returns the directory of so many loops, 1 to 256, and makes
// their Locals.
func NewDirectory(loops int) *Directory {
	if loops < 1 || loops > maxLoops {
		panic(fmt.Sprintf("rooms: %d loops, want 1 to %d", loops, maxLoops))
	}
	d := &Directory{seed: maphash.MakeSeed()}
	for i := range loops {
		d.locals = append(d.locals, &Local{dir: d, index: i})
	}
	return d
}

// Watch has f called whenever a room gets its first members, or the first that
// are expected, and when it has none any more. Watchers are called in the order
// in which they were added, and for each room in the order of what happened to
// it. Any goroutine may add one, at any time; it is not told of the rooms that
// there are already.
//
// F is called with the room's shard locked, on the loop that changed the room or
// the goroutine that expects members: it must not block, nor call the Directory.
func (d *Directory) Watch(f func(ns uint32, name string, occupied bool)) {
	const all = ^uint64(0)
	d.lockShards(all)
	defer d.unlock(all)
	d.watchers = append(slices.Clip(d.watchers), f)
}

// changed counts a room, and tells the watchers. Its shard s is locked.
func (d *Directory) changed(s *shard, k key, occupied bool) {
	if k.everyone {
		return
	}
	if occupied {
		s.count(k.ns, 1)
	} else {
		s.count(k.ns, -1)
	}
	for _, f := range d.watchers {
		f(k.ns, k.name, occupied)
	}
}

// count counts rooms with a name of a namespace.
func (s *shard) count(ns uint32, n int) {
	s.named += n
	switch x := s.of[ns] + n; {
	case x == 0:
		delete(s.of, ns)
	case s.of == nil:
		s.of = map[uint32]int{ns: x}
	default:
		s.of[ns] = x
	}
}

// Local returns a loop's own part.
func (d *Directory) Local(loop int) *Local { return d.locals[loop] }

// Publish looks up the rooms of b and calls post for each loop that has
// members of them or a socket of b.ToRefs, in ascending order; the loop passes
// b to its Local's Enqueue. The rooms are locked until the last post has
// returned, so that all members of a room get its messages in one order; post
// must only put b in a mailbox.
func (d *Directory) Publish(b *Broadcast, post func(loop int, b *Broadcast)) {
	var buf [8]uint32
	hashes := d.hashes(buf[:0], b)
	locked := d.lock(hashes)
	defer d.unlock(locked)

	loops := d.resolve(b, hashes)
	if b.Sequenced != nil {
		b.Sequenced()
	}
	left := 0
	for _, word := range loops {
		left += bits.OnesCount64(word)
	}
	if left > 0 {
		atomic.StoreInt32(&b.left, int32(left))
		d.waiting.Add(b.cost())
	}
	for w, word := range loops {
		for ; word != 0; word &= word - 1 {
			post(w*64+bits.TrailingZeros64(word), b)
		}
	}
}

// Waiting returns how many bytes are held by broadcasts that have been published
// and have members that are still to be visited, each counted once, however many
// loops it waits for. Any goroutine may ask.
func (d *Directory) Waiting() int64 { return d.waiting.Load() }

// leave says that a loop has visited its members of b, which were so many. It is true for
// the last loop, with how many all have.
func (b *Broadcast) leave(members int) (all int, last bool) {
	// The last loop needs no more than a look: nobody else will touch it.
	if atomic.LoadInt32(&b.left) == 1 {
		return int(atomic.LoadInt32(&b.reached)) + members, true
	}
	atomic.AddInt32(&b.reached, int32(members))
	if atomic.AddInt32(&b.left, -1) > 0 {
		return 0, false
	}
	return int(atomic.LoadInt32(&b.reached)), true
}

// hashes appends those of the rooms b is to, then those of the rooms excepted.
func (d *Directory) hashes(dst []uint32, b *Broadcast) []uint32 {
	if len(b.To) == 0 && len(b.ToRefs) == 0 {
		dst = append(dst, d.hash(key{ns: b.Namespace, everyone: true}))
	}
	for _, name := range b.To {
		dst = append(dst, d.hash(key{ns: b.Namespace, name: name}))
	}
	for _, name := range b.Except {
		dst = append(dst, d.hash(key{ns: b.Namespace, name: name}))
	}
	return dst
}

// resolve sets b.to and b.except and returns which loops b is for. The rooms
// are locked.
func (d *Directory) resolve(b *Broadcast, hashes []uint32) (loops [maxLoops / 64]uint64) {
	b.to = b.room[:0:1]
	b.except = b.room[1:1]
	if len(b.To) == 0 && len(b.ToRefs) == 0 {
		if e := d.at(hashes[0], key{ns: b.Namespace, everyone: true}); e != nil {
			b.to = append(b.to, e)
		}
		hashes = hashes[1:]
	}
	for i, name := range b.To {
		if e := d.at(hashes[i], key{ns: b.Namespace, name: name}); e != nil {
			b.to = append(b.to, e)
		}
	}
	for i, name := range b.Except {
		if e := d.at(hashes[len(b.To)+i], key{ns: b.Namespace, name: name}); e != nil {
			b.except = append(b.except, e)
		}
	}
	for _, e := range b.to {
		loops[0] |= e.loops
		if e.high != nil {
			for i, word := range e.high {
				loops[1+i] |= word
			}
		}
	}
	for _, ref := range b.ToRefs {
		if i := ref.Loop(); i < len(d.locals) && ref != 0 {
			loops[i/64] |= 1 << (i % 64)
		}
	}
	return loops
}

// Count returns how many connected sockets of all loops are in a room. It is one
// moment's figure, which is kept: nobody is asked.
func (d *Directory) Count(ns uint32, name string) int {
	return d.count(key{ns: ns, name: name})
}

// CountAll returns how many sockets of all loops are connected to a namespace.
func (d *Directory) CountAll(ns uint32) int {
	return d.count(key{ns: ns, everyone: true})
}

func (d *Directory) count(k key) int {
	h := d.hash(k)
	s := &d.shards[shardOf(h)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := find(s, h, k); e != nil {
		return int(e.members.Load())
	}
	return 0
}

// Names returns the names of a namespace's rooms with connected members, in any order. It goes
// through the rooms of all namespaces, a 64th of them locked at a time: it is
// for people's eyes, not for messages.
func (d *Directory) Names(ns uint32) []string {
	var names []string
	d.Each(ns, func(part []RoomCount) bool {
		for _, r := range part {
			names = append(names, r.Name)
		}
		return true
	})
	return names
}

// Expect says that a Join is about to be posted to a loop. From now on Publish
// finds the room and posts to the loop, behind the Join: without it, a broadcast
// published after posting a room's first Join would find no room. The loop
// calls Arrived once for each Expect, after the Join or in place of it.
func (d *Directory) Expect(loop int, ns uint32, name string) {
	k := key{ns: ns, name: name}
	h := d.hash(k)
	s := &d.shards[shardOf(h)]
	s.mu.Lock()
	defer s.mu.Unlock()
	d.expectLocked(s, h, k, loop)
}

// ExpectAll does what Expect does for several rooms, and then calls post with all of
// them locked. What was published to one of them before has been posted by then, and
// what is published after is posted behind what post posts: between the two is
// where a member comes that is to be told of the former. Post may lock a mailbox; it
// must not block, nor call the Directory.
func (d *Directory) ExpectAll(loop int, ns uint32, names []string, post func()) {
	hashes := make([]uint32, len(names))
	for i, name := range names {
		hashes[i] = d.hash(key{ns: ns, name: name})
	}
	locked := d.lock(hashes)
	defer d.unlock(locked)
	for i, name := range names {
		d.expectLocked(&d.shards[shardOf(hashes[i])], hashes[i], key{ns: ns, name: name}, loop)
	}
	post()
}

// expectLocked notes an expectation; the room's shard s is locked.
func (d *Directory) expectLocked(s *shard, h uint32, k key, loop int) {
	if s.expected == nil {
		s.expected = make(map[expectation]int)
	}
	s.expected[expectation{d.openLocked(s, h, k, loop), loop}]++
}

// arrived ends one expectation; members says whether the loop has some.
func (d *Directory) arrived(k key, loop int, members bool) {
	h := d.hash(k)
	s := &d.shards[shardOf(h)]
	s.mu.Lock()
	defer s.mu.Unlock()
	x := expectation{find(s, h, k), loop}
	if s.expected[x] == 0 {
		panic("rooms: Arrived without Expect")
	}
	if s.expected[x]--; s.expected[x] > 0 {
		return
	}
	delete(s.expected, x)
	if !members {
		d.closeLocked(s, x.e, loop)
	}
}

// open returns the entry of a room, made if there is none, and marks the loop
// as having members of it. The caller is that loop.
func (d *Directory) open(h uint32, k key, loop int) *entry {
	s := &d.shards[shardOf(h)]
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.openLocked(s, h, k, loop)
}

// close marks the loop as having no members of e any more, unless it expects
// some. The caller is that loop, and has counted its members out.
func (d *Directory) close(e *entry, loop int) {
	s := &d.shards[shardOf(e.hash)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expected[expectation{e, loop}] == 0 {
		d.closeLocked(s, e, loop)
	}
}

func (d *Directory) openLocked(s *shard, h uint32, k key, loop int) *entry {
	e := find(s, h, k)
	if e == nil {
		k.name = strings.Clone(k.name) // it may be a piece of something large
		e = &entry{key: k, hash: h}
		s.rooms.Add(e)
		d.changed(s, k, true)
	}
	if loop < 64 {
		e.loops |= 1 << loop
		return e
	}
	if e.high == nil {
		e.high = new([maxLoops/64 - 1]uint64)
	}
	e.high[loop/64-1] |= 1 << (loop % 64)
	return e
}

func (d *Directory) closeLocked(s *shard, e *entry, loop int) {
	if loop < 64 {
		e.loops &^= 1 << loop
	} else {
		e.high[loop/64-1] &^= 1 << (loop % 64)
	}
	if e.high != nil && slices.Max(e.high[:]) == 0 {
		e.high = nil
	}
	if e.loops == 0 && e.high == nil {
		s.rooms.Remove(e)
		d.changed(s, e.key, false)
	}
}

// at returns the entry of a room, nil if there is none. Its shard is locked.
func (d *Directory) at(h uint32, k key) *entry { return find(&d.shards[shardOf(h)], h, k) }

// find returns the entry of a room of a shard, nil if there is none. It is locked.
func find(s *shard, h uint32, k key) *entry {
	return s.rooms.Find(h, func(e *entry) bool { return e.hash == h && e.key == k })
}

// Hash is of the room's key.
func (e *entry) Hash() uint32 { return e.hash }

// hash is seeded: names may be chosen by clients.
func (d *Directory) hash(k key) uint32 {
	h := maphash.String(d.seed, k.name) ^ uint64(k.ns)*0x9e3779b97f4a7c15
	if k.everyone {
		h ^= 0xd1b54a32d192ed03
	}
	return uint32(h ^ h>>32)
}

func shardOf(h uint32) uint32 { return h >> 26 } // 64 shards; tables use the low bits

// lock locks the shards of the rooms and returns which they are.
func (d *Directory) lock(hashes []uint32) (locked uint64) {
	for _, h := range hashes {
		locked |= 1 << shardOf(h)
	}
	d.lockShards(locked)
	return locked
}

func (d *Directory) lockShards(which uint64) {
	for ; which != 0; which &= which - 1 {
		d.shards[bits.TrailingZeros64(which)].mu.Lock()
	}
}

func (d *Directory) unlock(locked uint64) {
	for ; locked != 0; locked &= locked - 1 {
		d.shards[bits.TrailingZeros64(locked)].mu.Unlock()
	}
}
