package loop

import (
	"context"
	"sync/atomic"
)

// Quiet has the loops read nothing of connections and accept nobody, or do so again. They
// go on with timers, tasks, and what is to be sent. It returns when all loops do so, or
// ctx's error when that is done before; then nothing has changed.
//
// What comes meanwhile, also for connections that are opened or attached, waits in the
// kernel. What Conn.PauseRead and Conn.HoldData have said, before or meanwhile, holds
// afterwards; what was read before and is to be given to Data again comes then too.
func (e *Engine) Quiet(ctx context.Context, on bool) error {
	if e.gatherIdle(func(l *Loop) { l.setQuiet(on) }) {
		return nil
	}
	var left atomic.Int32
	left.Store(int32(len(e.loops)))
	changed, done := make([]bool, len(e.loops)), make(chan struct{})
	each := func(l *Loop) {
		if l.quiet != on && !l.ending {
			l.setQuiet(on)
			changed[l.index] = true
		}
		if left.Add(-1) == 0 {
			close(done)
		}
	}
	e.quieting.Lock() // so that all loops are told by two callers in the same order
	for _, l := range e.loops {
		if !l.Post(TaskFunc(each)) && left.Add(-1) == 0 {
			close(done)
		}
	}
	e.quieting.Unlock()
	if e.current().awaitUntil(done, ctx.Done()) {
		return nil
	}
	for _, l := range e.loops {
		l.Post(TaskFunc(func(l *Loop) { // behind the other
			if changed[l.index] {
				l.setQuiet(!on)
			}
		}))
	}
	return ctx.Err()
}

// setQuiet begins or ends that nothing is read. Who is heard of by the poller is taken
// out of it when it has something to say: see readable and acceptOn.
func (l *Loop) setQuiet(on bool) {
	l.quiet = on
	if on {
		return
	}
	for slot := uint32(1); slot <= l.conns.Max(); slot++ {
		if r := l.conns.At(slot); r.life.in(readingSet) {
			l.loud(slot, r)
		}
	}
	for _, ls := range l.listeners {
		switch {
		case ls.paused:
			l.Schedule(&ls.retry, 0, func() { l.retryAccept(ls) })
		case ls.silent:
			ls.silent = false
			if err := l.listen(ls); err != nil {
				l.pauseAccept(ls, err)
			} else if edgeTriggered { // nobody else will say that there are some
				l.Schedule(&ls.retry, 0, func() { l.retryAccept(ls) })
			}
		}
	}
}

// loud has r read from again if nothing else forbids it.
func (l *Loop) loud(slot uint32, r *record) {
	if r.flow&(mute|peerEnded) == 0 {
		l.interest(slot, r, r.flow|wantRead)
	}
	if r.due&redeliver != 0 {
		l.deferFor(slot, r, redeliver)
	}
	if r.flow&linked != 0 && l.link(r).Pending() {
		l.deferFor(slot, r, ready)
	}
}

// IsQuiet reports whether nothing is read of connections: see Engine.Quiet.
func (l *Loop) IsQuiet() bool {
	l.owner.check()
	return l.quiet
}
