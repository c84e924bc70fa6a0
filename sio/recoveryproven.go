package sio

import (
	"time"

	"github.com/sioedge/sioedge/loop"
)

// A passage tells, on one loop, when everything up to a place had been given to
// the sessions it was for. With what a session's client has proven to have had
// (eio.Session.Proven), that says which events it need not be sent again, although
// it has told no offset. Owned by the loop.
type passage struct {
	waiting []passed    // members are still being visited for what came before
	marks   []milestone // in order
}

// passed is a place in a loop's part of the rooms.
type passed struct {
	place    uint64
	enqueued uint64 // broadcasts before it
}

// A milestone is when everything up to a place had been given.
type milestone struct {
	at    int64 // ms of the loop's clock
	place uint64
}

const (
	// markEvery is how exactly it is known when something was delivered.
	markEvery = time.Second
	maxMarks  = 512
)

// pass notes that everything up to a place of a log, called lane in a cluster, has
// been posted to the loop.
func (sh *shard) pass(lane string, place uint64) {
	p := sh.passages[lane]
	if p == nil {
		p = &passage{}
		sh.passages[lane] = p
	}
	enqueued, visited := sh.local.Progress()
	p.waiting = append(p.waiting, passed{place, enqueued})
	done := 0
	for done < len(p.waiting) && p.waiting[done].enqueued <= visited {
		p.marks = append(p.marks, milestone{sh.loop.Now(), p.waiting[done].place})
		done++
	}
	if p.waiting = p.waiting[done:]; len(p.waiting) > maxMarks {
		p.waiting = p.waiting[1:]
	}
	if len(p.marks) > maxMarks {
		p.marks = append([]milestone(nil), p.marks[len(p.marks)/2:]...)
	}
}

// proven returns the place up to which a socket's client has had everything.
func (sh *shard) proven(slot uint32) uint64 {
	had, at, lane := sh.sockets.At(slot).start.get(), sh.session(slot).Proven(), ""
	if m, ok := sh.resumed[slot]; ok {
		if m.at >= at {
			return had // what it missed was sent then, or later
		}
		had = m.place
	}
	if sh.srv.shared != nil {
		lane = sh.srv.shared.log.Lane(sh.instance(slot).name)
	}
	if p := sh.passages[lane]; p != nil {
		for i := len(p.marks) - 1; i >= 0; i-- {
			if p.marks[i].at < at {
				return max(had, p.marks[i].place)
			}
		}
	}
	return had
}

// tell tells the loops up to where everything has been posted to them; packetLog.mu
// is held.
func (srv *Server) tell(lane string, place uint64) {
	for _, sh := range srv.shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.pass(lane, place) }))
	}
}

// mind has the log looked after while anything is in it, on the first loop.
func (srv *Server) mind() {
	timer, sh := new(loop.Timer), srv.shards[0]
	var look func()
	look = func() {
		l := srv.log
		l.mu.Lock()
		if last := l.last(); srv.shared == nil && last != l.marked {
			l.marked = last
			srv.tell("", last)
		}
		again := l.tick()
		if c := srv.shared; c != nil {
			c.directs.prune(l.proof, l.most)
			l.armed = again || len(c.directs.queue) > 0
			again = l.armed
		}
		l.mu.Unlock()
		l.report(srv.notice)
		if again {
			sh.loop.Schedule(timer, markEvery, look)
		}
	}
	srv.log.arm = func() {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.loop.Schedule(timer, markEvery, look) }))
	}
}
