package loop

import "time"

// A Timer calls a function on its loop once, later. It is meant to be embedded
// in what it is for; the zero value is ready, and arming it allocates nothing.
// It must not be copied while it is armed.
type Timer struct {
	at  int64  // ms on the loop's clock
	seq uint64 // order among equals
	pos int    // in the heap, counted from 1; 0: not armed
	f   func()
}

// maxWait is for ever, in ns: with what the clock has, it fits.
const maxWait = 1 << 62

// Armed reports whether t will fire.
func (t *Timer) Armed() bool { return t.pos != 0 }

// Schedule has f called on the loop after d, within the end of a step: never
// earlier, and not before the next millisecond. A timer that is armed is armed
// anew. It may be used on the loop only; before Engine.Run, d begins with that.
func (l *Loop) Schedule(t *Timer, d time.Duration, f func()) {
	l.owner.check()
	const ms = int64(time.Millisecond)
	at := (l.clockNs() + min(max(int64(d), 0), maxWait) + ms - 1) / ms
	if t.pos != 0 {
		l.timers.remove(t)
	}
	t.at, t.f = max(at, l.now+1), f
	l.timers.push(t)
}

// Cancel disarms t, if it is armed.
func (l *Loop) Cancel(t *Timer) {
	l.owner.check()
	if t.pos != 0 {
		l.timers.remove(t)
	}
}

// Left returns how long it is until t fires, 0 if it is due or not armed.
func (l *Loop) Left(t *Timer) time.Duration {
	l.owner.check()
	if t.pos == 0 {
		return 0
	}
	return max(time.Duration(t.at*int64(time.Millisecond)-l.clockNs()), 0)
}

// fire calls what is due by the horizon.
func (l *Loop) fire() {
	for len(l.timers.heap) > 0 && l.timers.heap[0].at <= l.horizon {
		t := l.timers.heap[0]
		l.timers.remove(t)
		l.safely(t.f)
	}
}

// setAlarm makes sure that the loop is woken for its earliest timer.
func (l *Loop) setAlarm() {
	if keepsTime || len(l.timers.heap) == 0 || l.sim != nil {
		return
	}
	at := l.timers.heap[0].at
	if l.wakeAt != 0 && l.wakeAt <= at {
		return
	}
	l.wakeAt = at
	d := time.Duration(at*int64(time.Millisecond) - l.clockNs())
	if l.alarm == nil {
		l.alarm = time.AfterFunc(d, l.ring)
	} else {
		l.alarm.Reset(d)
	}
}

// ring is called by the alarm, on a goroutine of its own.
func (l *Loop) ring() {
	l.note()
	l.Wake()
}

// timerHeap is a heap with four children a node: half the depth of a binary
// one, and the four lie together.
type timerHeap struct {
	heap []*Timer
	seq  uint64
}

const heapArity = 4

func (h *timerHeap) push(t *Timer) {
	h.seq++
	t.seq = h.seq
	h.heap = append(h.heap, t)
	h.up(len(h.heap) - 1)
}

func (h *timerHeap) remove(t *Timer) {
	i, last := t.pos-1, len(h.heap)-1
	moved := h.heap[last]
	h.heap[last] = nil
	h.heap = h.heap[:last]
	t.pos = 0
	if i == last {
		return
	}
	h.heap[i] = moved
	h.down(i)
	h.up(moved.pos - 1)
}

func (t *Timer) before(u *Timer) bool {
	return t.at < u.at || t.at == u.at && t.seq < u.seq
}

// up moves the timer at i towards the root, and tells it where it is.
func (h *timerHeap) up(i int) {
	t := h.heap[i]
	for i > 0 {
		parent := (i - 1) / heapArity
		if !t.before(h.heap[parent]) {
			break
		}
		h.place(i, h.heap[parent])
		i = parent
	}
	h.place(i, t)
}

// down moves the timer at i towards the leaves, and tells it where it is.
func (h *timerHeap) down(i int) {
	t := h.heap[i]
	for {
		first := i*heapArity + 1
		if first >= len(h.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+heapArity, len(h.heap)); c++ {
			if h.heap[c].before(h.heap[least]) {
				least = c
			}
		}
		if !h.heap[least].before(t) {
			break
		}
		h.place(i, h.heap[least])
		i = least
	}
	h.place(i, t)
}

func (h *timerHeap) place(i int, t *Timer) {
	h.heap[i] = t
	t.pos = i + 1
}
