package class

import "unsafe"

// An Index knows where in a queue the messages are that have a Kind: whole ones, of
// which nothing was sent. A place is a number that the queue gives; a mark is what the
// Index knows a message by, never 0, and is used again. The zero value is empty. It is
// owned by whoever owns the queue.
type Index struct {
	lists map[id]uint32 // places in all
	all   []list        // [0] is unused
	nodes []node        // by mark; [0] is unused

	freeList, freeNode uint32 // the first of those that are not used; 0: none
	held               int
	count              int
}

// id is what a list is found by.
type id struct {
	policy Policy
	key    string
}

// A list is the messages of a kind in the order of the queue.
type list struct {
	id          id
	first, last uint32 // marks; of one that is not used, first is the next of those
}

// A node is a message.
type node struct {
	list       uint32
	prev, next uint32
	place      uint32
	held       int32 // more than that is held for few
}

// A Queue is what an Index is of.
type Queue interface {
	// Size returns the bytes that are held for all messages.
	Size() int
	// Drop drops the message in a place: it has been taken out of the Index.
	Drop(place uint32)
}

const (
	nodeSize = int(unsafe.Sizeof(node{}))
	listSize = int(unsafe.Sizeof(list{})) + 2*int(unsafe.Sizeof(id{})) // with its entry in the map, about
)

// Len returns how many messages there are.
func (x *Index) Len() int { return x.count }

// Held returns the bytes that were said to be held for them.
func (x *Index) Held() int { return x.held }

// Size returns the bytes that the Index takes, about.
func (x *Index) Size() int { return cap(x.nodes)*nodeSize + cap(x.all)*listSize }

// Add puts a message behind the others of its kind.
func (x *Index) Add(k *Kind, place uint32, held int) (mark uint32) {
	at := x.open(id{k.Policy, k.Key})
	mark = x.freeNode
	if mark != 0 {
		x.freeNode = x.nodes[mark].next
	} else {
		if x.nodes == nil {
			x.nodes = make([]node, 1, 8)
		}
		mark = uint32(len(x.nodes))
		x.nodes = append(x.nodes, node{})
	}
	l := &x.all[at]
	x.nodes[mark] = node{list: at, prev: l.last, place: place}
	if l.last != 0 {
		x.nodes[l.last].next = mark
	} else {
		l.first = mark
	}
	l.last = mark
	x.count++
	x.setHeld(mark, held)
	return mark
}

func (x *Index) setHeld(mark uint32, held int) {
	n := &x.nodes[mark]
	x.held -= int(n.held)
	n.held = int32(min(held, 1<<31-1))
	x.held += int(n.held)
}

// open returns the place of a list in all, made if there is none. The caller puts a
// message in.
func (x *Index) open(i id) uint32 {
	if at, ok := x.lists[i]; ok {
		return at
	}
	at := x.freeList
	if at != 0 {
		x.freeList = x.all[at].first
	} else {
		if x.all == nil {
			x.all, x.lists = make([]list, 1, 4), map[id]uint32{}
		}
		at = uint32(len(x.all))
		x.all = append(x.all, list{})
	}
	x.all[at] = list{id: i}
	x.lists[i] = at
	return at
}

// Remove takes a message out: it was sent, or the sending of it has begun, or it was
// dropped.
func (x *Index) Remove(mark uint32) {
	x.setHeld(mark, 0)
	n := x.nodes[mark]
	l := &x.all[n.list]
	if n.prev != 0 {
		x.nodes[n.prev].next = n.next
	} else {
		l.first = n.next
	}
	if n.next != 0 {
		x.nodes[n.next].prev = n.prev
	} else {
		l.last = n.prev
	}
	x.nodes[mark] = node{next: x.freeNode}
	x.freeNode = mark
	x.count--
	if l.first == 0 {
		delete(x.lists, l.id)
		*l = list{first: x.freeList}
		x.freeList = n.list
	}
}

// Move notes that a message is in another place.
func (x *Index) Move(mark, place uint32) { x.nodes[mark].place = place }

// Place returns where a message is.
func (x *Index) Place(mark uint32) uint32 { return x.nodes[mark].place }

// A Verdict is what becomes of a new message.
type Verdict struct {
	Refused bool   // it is dropped
	Instead uint32 // it takes the place of this message, which is dropped; 0: it goes to the end
	Dropped int    // how many messages are dropped, itself among them if it is refused
}

// Judge makes room in q for a message of kind k that takes n bytes, and tells what
// becomes of it. It is then for the caller to Add it, or to Replace another by it.
func (x *Index) Judge(q Queue, k *Kind, n, soft int) (v Verdict) {
	name := id{k.Policy, k.Key}
	at := x.lists[name]
	switch k.Policy {
	case DropNew:
		if q.Size() > soft {
			return Verdict{Refused: true, Dropped: 1}
		}
	case DropOldest:
		for at != 0 && q.Size()+n > soft {
			x.drop(q, x.all[at].first)
			v.Dropped++
			at = x.lists[name]
		}
	case Conflate:
		if at == 0 {
			break
		}
		switch l := x.all[at]; {
		case !k.Ordered:
			v.Instead, v.Dropped = l.first, 1
		case l.first != l.last:
			x.drop(q, l.last)
			v.Dropped = 1
		}
	}
	return v
}

func (x *Index) drop(q Queue, mark uint32) {
	place := x.nodes[mark].place
	x.Remove(mark)
	q.Drop(place)
}

// Replace notes that another message, for which so many bytes are held, has taken the
// place of one.
func (x *Index) Replace(mark uint32, held int) { x.setHeld(mark, held) }
