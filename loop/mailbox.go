package loop

import (
	"bytes"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Task is something for a loop to do.
type Task interface {
	// Run is called on the loop, within the end of a step. It must not block
	// and must not run code of applications: Ask drains the mailbox, within
	// whatever its caller is doing.
	Run(l *Loop)
}

// TaskFunc is a function that is a Task.
type TaskFunc func(l *Loop)

// Run calls f.
func (f TaskFunc) Run(l *Loop) { f(l) }

const (
	mailInArena  = 16 << 10  // longer mail has a slice of its own
	keptArena    = 256 << 10 // larger arenas are given up after use
	keptMessages = 4096
)

// A message is a Task or a piece of mail.
type message struct {
	task     Task // nil: mail
	to       uint64
	kind     uint32
	off, len uint32 // in the batch's arena
	own      []byte // not nil: the payload, instead of off and len
}

// A batch is a number of messages in the order they were posted in.
type batch struct {
	messages []message
	arena    []byte
}

// size returns how many bytes b keeps, full or empty; what messages have of their own is
// not among them.
func (b *batch) size() int64 {
	return int64(cap(b.arena)) + int64(cap(b.messages))*int64(unsafe.Sizeof(message{}))
}

// empty makes b ready for use again.
func (b *batch) empty() {
	clear(b.messages)
	if cap(b.messages) > keptMessages {
		b.messages = nil
	}
	if cap(b.arena) > keptArena {
		b.arena = nil
	}
	b.messages, b.arena = b.messages[:0], b.arena[:0]
}

// mailbox has many producers and one consumer, who swaps the batch that fills
// for an empty one.
type mailbox struct {
	// Guarded by mu. Held to append or to swap.
	mu      sync.Mutex
	filled  batch
	closed  bool
	room    chan struct{} // closed when filled is swapped; nil: nobody waits for it
	gathers []*gathering  // not run yet, oldest first

	size atomic.Int64 // of filled in bytes, about; written with mu held
}

const (
	// mailboxMost is how many bytes may wait in a mailbox before Admit has its
	// callers wait.
	mailboxMost = 16 << 20
	// admitTime is how long they wait at most.
	admitTime = 10 * time.Second
	// messageSize is what a message takes, with a small task.
	messageSize = 128
	// mailSlice is how many messages are run before sockets are served again.
	mailSlice = 512
)

// Posted tells whether something was posted that has not been run. On the loop.
func (l *Loop) Posted() bool {
	l.owner.check()
	return l.attention.Load() || l.held != nil || l.batchPos < len(l.batch.messages)
}

// Admit has its caller wait while too much is in the mailbox for the loop to get
// to, so that whoever posts faster than the loop works does not fill the memory.
// It waits for ten seconds at most, and not at all on a loop of the engine, which
// might wait for itself. It is for the start of what goroutines of applications
// do, with no lock held that the loop may need. Any goroutine may call it.
func (l *Loop) Admit() {
	if l.mailbox.size.Load() > mailboxMost && l.sim == nil && !l.engine.OnLoop() {
		l.waitForRoom()
	}
}

func (l *Loop) waitForRoom() {
	l.mailWaits.Add(1)
	l.engine.notes.Warn("goroutines wait: more is sent to a loop's connections than it gets to", "loop", l.index, "bytes", l.mailbox.size.Load())
	box, late := &l.mailbox, time.NewTimer(admitTime)
	defer late.Stop()
	for {
		box.mu.Lock()
		if box.closed || box.size.Load() <= mailboxMost {
			box.mu.Unlock()
			return
		}
		if box.room == nil {
			box.room = make(chan struct{})
		}
		room := box.room
		box.mu.Unlock()
		select {
		case <-room:
		case <-late.C:
			return
		}
	}
}

// waiting returns how many messages are in the mailbox, and what they take.
func (b *mailbox) waiting() (n, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.filled.messages)), b.size.Load()
}

// grown counts a message of n bytes; mu is held.
func (b *mailbox) grown(n int) { b.size.Store(b.size.Load() + messageSize + int64(n)) }

// emptied says that filled is empty, to those who wait for that; mu is held.
func (b *mailbox) emptied() {
	b.size.Store(0)
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// Post has t run on the loop. Tasks and mail of one goroutine are run in the
// order they were posted in. It returns false if the loop has ended; otherwise
// t will run.
func (l *Loop) Post(t Task) bool {
	if !l.put(message{task: t}) {
		return false
	}
	l.Wake()
	return true
}

// PostQuiet is Post without waking the loop, for a caller that holds a lock. If
// it returns true, Wake must be called soon, best after unlocking. If the loop
// has ended, t is dropped.
func (l *Loop) PostQuiet(t Task) (wake bool) {
	return l.put(message{task: t}) && !l.running.Load() && !l.signalled.Load()
}

// Mail puts a copy of a and b, one behind the other, into the loop's mailbox,
// for the function of OnMail. It returns false if the loop has ended.
func (l *Loop) Mail(to uint64, kind uint32, a, b []byte) bool {
	m := message{to: to, kind: kind, len: uint32(len(a) + len(b))}
	if m.len > mailInArena {
		m.own = append(append(make([]byte, 0, m.len), a...), b...)
		if !l.put(m) {
			return false
		}
		l.Wake()
		return true
	}
	box := &l.mailbox
	box.mu.Lock()
	if box.closed {
		box.mu.Unlock()
		return false
	}
	m.off = uint32(len(box.filled.arena))
	box.filled.arena = append(append(box.filled.arena, a...), b...)
	if len(box.filled.arena) > math.MaxInt32 { // offsets are 32 bits
		m.own = bytes.Clone(box.filled.arena[m.off:])
		box.filled.arena = box.filled.arena[:m.off]
	}
	box.filled.messages = append(box.filled.messages, m)
	box.grown(int(m.len))
	box.mu.Unlock()
	l.note()
	l.Wake()
	return true
}

// OnMail sets who gets what Mail has put into the mailbox. p is valid until f
// returns; f has to obey the rules of a Task.
func (l *Loop) OnMail(f func(to uint64, kind uint32, p []byte)) {
	l.owner.check()
	l.onMail = f
}

func (l *Loop) put(m message) bool {
	box := &l.mailbox
	box.mu.Lock()
	if box.closed {
		box.mu.Unlock()
		return false
	}
	box.filled.messages = append(box.filled.messages, m)
	box.grown(len(m.own))
	box.mu.Unlock()
	l.note()
	return true
}

// note says that something is in the mailbox, also to a loop that waits in Ask.
func (l *Loop) note() {
	l.attention.Store(true)
	if l.asking.Load() {
		select {
		case l.posted <- struct{}{}:
		default: // it knows
		}
	}
}

// Wake makes the loop look into its mailbox, if it is not about to anyway. It
// costs a system call only when the loop may be asleep.
func (l *Loop) Wake() {
	if !l.running.Load() {
		l.signal()
	}
}

// signal makes the wake descriptor readable.
func (l *Loop) signal() {
	if !l.signalled.CompareAndSwap(false, true) {
		return
	}
	if l.sim == nil {
		l.wake.signal()
	} else if l.sim.shared != nil {
		l.sim.shared.posted()
	}
}

// unsignal makes it unreadable again.
func (l *Loop) unsignal() {
	if l.sim == nil {
		l.wake.clear()
	}
	l.signalled.Store(false)
}

// Hold has t run next, when the sockets have been served, and whatever is in the
// mailbox behind it: for a task, within Run, that does long work a slice at a time
// in its place in the order. Such a task must not call Ask.
func (l *Loop) Hold(t Task) {
	l.owner.check()
	l.held = t
}

// drain runs what is in the mailbox, up to a task that holds it; whole, it runs
// those to their end. It may be called from within a task, by Ask, and then goes on
// behind that task.
func (l *Loop) drain(whole bool) {
	if l.frozen {
		return
	}
	l.drainNest++
	for whole && l.held != nil {
		l.proceed()
	}
	l.runBatch(whole)
	if l.held == nil && l.attention.Load() && (whole || !l.gated()) {
		l.attention.Store(false)
		l.swap()
		l.runBatch(whole)
	}
	l.tell()
	l.drainNest--
}

// proceed runs the task that holds the mailbox.
func (l *Loop) proceed() {
	t := l.held
	l.held = nil
	l.safely(func() { t.Run(l) })
}

// swap exchanges the batch that was run for the one that was filled meanwhile.
func (l *Loop) swap() {
	ran := l.batch
	if l.drainNest > 1 {
		// Mail that is just being looked at lies in its arena.
		ran = batch{}
	}
	ran.empty()
	l.mailbox.mu.Lock()
	l.batch, l.mailbox.filled = l.mailbox.filled, ran
	l.mailbox.emptied()
	l.mailbox.mu.Unlock()
	l.batchPos = 0
}

// goOn lets the mailbox be run on.
var goOn = TaskFunc(func(*Loop) {})

func (l *Loop) runBatch(whole bool) {
	for n := 0; l.held == nil && l.batchPos < len(l.batch.messages) && (whole || !l.gated()); n++ {
		if n == mailSlice && !whole {
			l.Hold(goOn)
			return
		}
		m := &l.batch.messages[l.batchPos]
		l.batchPos++
		l.runMessage(m)
		for whole && l.held != nil {
			l.proceed()
		}
	}
}

func (l *Loop) runMessage(m *message) {
	defer l.recovered()
	if m.task != nil {
		m.task.Run(l)
		return
	}
	if l.onMail == nil {
		return
	}
	p := m.own
	if p == nil {
		p = l.batch.arena[m.off : m.off+m.len : m.off+m.len]
	}
	l.onMail(m.to, m.kind, p)
}
