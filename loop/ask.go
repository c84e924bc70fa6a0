package loop

import "runtime"

// Ask runs f on the loop and waits until it has. On the loop itself it runs
// what is in the mailbox and then f, at once. On another loop of the engine that
// loop runs what comes into its own mailbox while it waits, so that loops may ask
// each other. It returns false, without having run f, if the loop has ended. Before
// Engine.Run it waits for that.
func (l *Loop) Ask(f func()) bool {
	if l.sim != nil {
		defer l.sim.lock()()
		l.drain(true)
		l.safely(f)
		return true
	}
	on := l.engine.current()
	if on == l {
		l.drain(true)
		l.safely(f)
		return true
	}
	if on != nil {
		l.asked.Add(1)
		defer l.asked.Add(-1)
	}
	done := make(chan struct{})
	if !l.Post(TaskFunc(func(l *Loop) {
		defer close(done)
		f()
		l.Yield()
	})) {
		return false
	}
	if on == nil {
		<-done
		return true
	}
	on.await(done)
	return true
}

// RunPosted runs what is in the mailbox, as Ask does before its function: a task, or
// what a socket's data is given to, then sees what it has posted.
func (l *Loop) RunPosted() {
	l.owner.check()
	l.drain(true)
}

// await runs what comes into the mailbox until done is closed: who closes it may
// be waiting for this loop.
func (l *Loop) await(done <-chan struct{}) {
	l.awaitUntil(done, nil)
}

// awaitUntil is await until over, which it returns false for. Of no loop, nil, it
// only waits.
func (l *Loop) awaitUntil(done, over <-chan struct{}) bool {
	var posted chan struct{}
	if l != nil {
		outer := l.asking.Swap(true)
		defer l.asking.Store(outer)
		posted = l.posted
	}
	for {
		if l != nil {
			l.drain(true)
		}
		select {
		case <-done:
			return true
		case <-over:
			return false
		case <-posted:
		}
	}
}

// OnLoop reports whether the caller runs on a loop of the engine, which must not
// wait for anything but Ask. It takes about a microsecond. In a Sim that is not
// shared it is false.
func (e *Engine) OnLoop() bool {
	if e.sim != nil {
		return e.sim.turning()
	}
	return e.current() != nil
}

// current returns the loop that the caller runs on, nil if it runs on none. It
// takes about a microsecond.
func (e *Engine) current() *Loop {
	id := goroutineID()
	for _, l := range e.loops {
		if l.owner.goroutine.Load() == id {
			return l
		}
	}
	return nil
}

// OnLoop reports whether the caller runs on the loop. It compares goroutine
// numbers, which takes about a microsecond: it is for Ask and for checks. In a
// Sim it is always true.
func (l *Loop) OnLoop() bool {
	return l.sim != nil || l.owner.goroutine.Load() == goroutineID()
}

// goroutineID reads the number from the first line of the goroutine's stack,
// "goroutine 123 [running]:", as net/http's HTTP/2 server does in debug builds.
func goroutineID() uint64 {
	var buf [64]byte
	var id uint64
	const prefix = len("goroutine ")
	for _, c := range buf[prefix:max(prefix, runtime.Stack(buf[:], false))] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	return id
}
