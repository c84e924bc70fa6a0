package sio

import "github.com/sioedge/sioedge/loop"

// An ending ends every socket and then every session of a loop, some at a time.
type ending struct {
	sh      *shard
	slot    uint32 // the last that has been looked at
	session uint32 // where eio.CloseSome goes on
	closing bool   // all sockets have left
}

// Run does a step.
func (e *ending) Run(l *loop.Loop) {
	if e.step(l) {
		l.Hold(e)
	}
}

// step is false when all is done.
func (e *ending) step(l *loop.Loop) (more bool) {
	sh := e.sh
	sh.ending = true
	if e.closing {
		e.session = sh.srv.eio.CloseSome(l, e.session)
		return e.session != 0
	}
	for left := 0; left < operatorStep && e.slot < sh.sockets.Max(); {
		e.slot++
		if st := sh.sockets.At(e.slot).state; st == connecting || st == connected {
			sh.leave(sh.session(e.slot), e.slot, ServerShuttingDown)
			left++
		}
	}
	e.closing = e.slot >= sh.sockets.Max()
	return true
}

// end does all of it at once: the loop has ended, and nobody else is served.
func (sh *shard) end() {
	for e := (&ending{sh: sh}); e.step(sh.loop); {
	}
}
