package eio

import "time"

// A wheel keeps one deadline for each of many sessions, named by their slots.
// Setting and clearing cost a few instructions and no memory beyond the three
// words a slot; a deadline fires up to one tick late, never early.
//
// It is a hashed timing wheel: a slot hangs in the doubly linked list of the
// bucket of its deadline, and a bucket is looked through once a turn.
type wheel struct {
	tick    int64 // ms a bucket; a power of two, so that buckets go on where 32 bits of ms wrap
	buckets [512]uint32
	links   []wheelLink // by slot
	done    int64       // every tick up to this one has been looked through
	armed   int
	firing  []uint32 // scratch of advance
}

// A wheelLink's zero value is an unarmed slot; next and prev are slots, and
// slot 0 is nobody.
type wheelLink struct {
	next, prev uint32
	at         uint32 // ms, modulo 2^32; 0 when not armed
}

func (w *wheel) bucket(at uint32) *uint32 {
	return &w.buckets[int64(at)/w.tick%int64(len(w.buckets))]
}

// set arms slot for the time at, in ms of the loop's clock: not before the
// present, and at most 24 days ahead.
func (w *wheel) set(slot uint32, at int64) {
	w.clear(slot)
	for int(slot) >= len(w.links) {
		w.links = append(w.links, wheelLink{})
	}
	l := &w.links[slot]
	l.at = max(uint32(at), 1)
	head := w.bucket(l.at)
	l.next, l.prev = *head, 0
	if *head != 0 {
		w.links[*head].prev = slot
	}
	*head = slot
	w.armed++
}

func (w *wheel) clear(slot uint32) {
	if int(slot) >= len(w.links) || w.links[slot].at == 0 {
		return
	}
	l := &w.links[slot]
	if l.next != 0 {
		w.links[l.next].prev = l.prev
	}
	if l.prev != 0 {
		w.links[l.prev].next = l.next
	} else {
		*w.bucket(l.at) = l.next
	}
	*l = wheelLink{}
	w.armed--
}

// due tells whether slot's deadline has passed, for those who cannot wait for
// the wheel to turn.
func (w *wheel) due(slot uint32, now int64) bool {
	return int(slot) < len(w.links) && w.links[slot].at != 0 && int32(uint32(now)-w.links[slot].at) >= 0
}

// left returns how long it is until slot's deadline, which is negative when it has
// passed, and 0 if there is none.
func (w *wheel) left(slot uint32, now int64) time.Duration {
	if int(slot) >= len(w.links) || w.links[slot].at == 0 {
		return 0
	}
	return time.Duration(int32(w.links[slot].at-uint32(now))) * time.Millisecond
}

// advance disarms the slots whose deadline has passed and gives them to fire,
// at most max of them, with the ms by which they are late; it is true when it
// stopped for that reason. fire may set and clear any slot.
func (w *wheel) advance(now int64, max int, fire func(slot uint32, late int64)) (more bool) {
	last := now / w.tick
	if last-w.done > int64(len(w.buckets)) {
		w.done = last - int64(len(w.buckets))
	}
	// The bucket of the present is looked through too, again and again: it
	// holds what falls due within this tick.
	for t := w.done; t <= last; t++ {
		w.firing = w.firing[:0]
		for slot := w.buckets[t%int64(len(w.buckets))]; slot != 0; slot = w.links[slot].next {
			if !w.due(slot, now) {
				continue
			}
			if len(w.firing) == max {
				more = true
				break
			}
			w.firing = append(w.firing, slot)
		}
		for _, slot := range w.firing {
			if w.due(slot, now) { // not cleared by the firing of another
				late := int64(uint32(now) - w.links[slot].at)
				w.clear(slot)
				fire(slot, late)
			}
		}
		w.done = t
		if max -= len(w.firing); more || max == 0 && t < last {
			return true
		}
	}
	return false
}
