package rooms

import "slices"

// The rooms of a socket are a list of ids of sets in the order of joining: the
// first in the record, further ones in a chain of nodes from the last to the
// first, without pointers, so that they are nothing for the garbage collector
// to look at.

const inlineRooms = 3

type node struct {
	rooms [6]uint32
	n     uint32
	prev  uint32
}

// pushRoom appends a room to the socket's.
func (l *Local) pushRoom(r *record, id uint32) {
	if r.more == 0 {
		for i := range r.rooms {
			if r.rooms[i] == 0 {
				r.rooms[i] = id
				return
			}
		}
	}
	if r.more == 0 || int(l.nodes.At(r.more).n) == len(node{}.rooms) {
		i := l.nodes.Alloc()
		*l.nodes.At(i) = node{prev: r.more}
		r.more = i
	}
	n := l.nodes.At(r.more)
	n.rooms[n.n] = id
	n.n++
}

// popRoom removes the socket's last room and returns it. There is one.
func (l *Local) popRoom(r *record) uint32 {
	if r.more == 0 {
		i := inlineRooms - 1
		for r.rooms[i] == 0 {
			i--
		}
		id := r.rooms[i]
		r.rooms[i] = 0
		return id
	}
	n := l.nodes.At(r.more)
	n.n--
	id := n.rooms[n.n]
	if n.n == 0 {
		l.nodes.Free(r.more)
		r.more = n.prev
	}
	return id
}

// dropRoom removes a room that is one of the socket's: from the end of the list
// to its place, each takes the place of the one before.
func (l *Local) dropRoom(r *record, id uint32) {
	carry := l.popRoom(r)
	if carry == id {
		return
	}
	for i := r.more; i != 0; {
		n := l.nodes.At(i)
		for j := int(n.n) - 1; j >= 0; j-- {
			carry, n.rooms[j] = n.rooms[j], carry
			if carry == id {
				return
			}
		}
		i = n.prev
	}
	for j := inlineRooms - 1; j >= 0 && carry != id; j-- {
		if r.rooms[j] != 0 {
			carry, r.rooms[j] = r.rooms[j], carry
		}
	}
}

// appendRooms appends the socket's rooms to dst.
func (l *Local) appendRooms(r *record, dst []uint32) []uint32 {
	for _, id := range r.rooms {
		if id == 0 {
			return dst
		}
		dst = append(dst, id)
	}
	mark := len(dst)
	for i := r.more; i != 0; {
		n := l.nodes.At(i)
		for j := int(n.n) - 1; j >= 0; j-- {
			dst = append(dst, n.rooms[j])
		}
		i = n.prev
	}
	slices.Reverse(dst[mark:])
	return dst
}

// takeRooms appends the socket's rooms to dst and leaves it none.
func (l *Local) takeRooms(r *record, dst []uint32) []uint32 {
	dst = l.appendRooms(r, dst)
	for r.more != 0 {
		prev := l.nodes.At(r.more).prev
		l.nodes.Free(r.more)
		r.more = prev
	}
	r.rooms = [inlineRooms]uint32{}
	return dst
}
