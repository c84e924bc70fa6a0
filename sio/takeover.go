package sio

import (
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
)

// A private id alone takes nothing away from a client that is there. A client
// that comes back before we have noticed that its old connection is dead is told
// from one who has got hold of a private id by asking that connection: a pong says
// that its owner lives.
const (
	takeoverWait = time.Second // how long the owner has to answer
	takeoverLook = 50 * time.Millisecond
)

// A verdict is what became of a challenge.
type verdict uint8

const (
	itLeft verdict = iota // the socket is free
	itLives
	itIsAnother // the newcomer is somebody else, or in another namespace
)

// challenge asks whether the client of a socket is still there that the one of
// slot wants back, and then goes on with the latter. Account is charged with
// taskCost until there is an answer.
func (sh *shard) challenge(slot uint32, old rooms.Ref, c comeback, account *budget.Account) {
	newcomer, name, identity := sh.ref(slot), sh.instance(slot).name, sh.srv.identity(sh.ref(slot))
	from := sh.srv.shards[old.Loop()]
	from.loop.Post(loop.TaskFunc(func(*loop.Loop) {
		from.defend(old, name, identity, func(v verdict) {
			account.Done(taskCost)
			sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.decided(newcomer, v, c) }))
		})
	}))
}

// defend finds out whether a socket's client is there, and ends its session if it
// is not. Decided is called once.
func (sh *shard) defend(ref rooms.Ref, name, identity string, decided func(verdict)) {
	slot := sh.lookup(ref)
	switch {
	case slot == 0 || sh.sockets.At(slot).state == leaving:
		decided(itLeft)
		return
	case sh.instance(slot).name != name || sh.srv.identity(ref) != identity:
		decided(itIsAnother)
		return
	}
	// An answer that is on its way already, from before the connection was lost,
	// says nothing.
	asked := sh.session(slot).Answered()
	sh.session(slot).Ping()
	timer, waited := new(loop.Timer), time.Duration(0)
	var look func()
	look = func() {
		slot := sh.lookup(ref)
		switch {
		case slot == 0 || sh.sockets.At(slot).state == leaving:
			decided(itLeft)
		case asked && sh.session(slot).Answered():
			decided(itLives)
		case waited >= takeoverWait:
			sh.session(slot).Close()
			decided(itLeft)
		default:
			waited += takeoverLook
			asked = asked || sh.session(slot).Answered()
			sh.session(slot).Ping()
			sh.loop.Schedule(timer, takeoverLook, look)
		}
	}
	sh.loop.Schedule(timer, takeoverLook, look)
	waited = takeoverLook
}

// decided goes on with a connecting socket that wanted another.
func (sh *shard) decided(newcomer rooms.Ref, v verdict, c comeback) {
	slot := sh.lookup(newcomer)
	if slot == 0 || sh.sockets.At(slot).state != connecting {
		return
	}
	es := sh.session(slot)
	if v == itLeft && sh.regain(es, slot, c) {
		return
	}
	if v != itLeft {
		sh.srv.log.refused(v)
	}
	sh.enterNamespace(es, slot)
}

// refused counts a newcomer who does not get what it asked for.
func (l *packetLog) refused(v verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v == itLives {
		l.counts.Alive++
	} else {
		l.counts.Alien++
	}
}
