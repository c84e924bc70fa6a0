package sio

import (
	"encoding/json"
	"errors"

	"github.com/sioedge/sioedge/eio"
)

// Why a socket is not restored.
var (
	errNoNamespace = errors.New("sio: there is no such namespace")
	errNoPlace     = errors.New("sio: there is no place for a socket")
	errSomebodys   = errors.New("sio: a socket is there already")
	errTooMuch     = errors.New("sio: what is kept of a connection is more than may be")
)

// restoreSession has a session that eio has restored go on in this server, with its
// sockets in the order of joining; see restoreSocket. The error says that one of them
// cannot: those before it are there. Nothing is kept of a packet whose attachments were still
// to come.
func (sh *shard) restoreSession(es eio.Session, all []*socketState, answers func(id uint64) *pendingAck) error {
	sh.loop.Check()
	es.SetUser(es.User() & userFlags) // the rest named the first socket elsewhere
	if es.User()&everJoined == 0 {
		sh.arrivals.add(sh, es.Ref())
	}
	for _, x := range all {
		if r := x.handshake.r; r != nil && sh.requests[es.Ref()] == nil && sh.srv.keepsHandshake() && !sh.keepRequest(es, r.withQuery(nil)) {
			return errTooMuch
		}
		sh.srv.conns.Put(es.Ref(), x.conn)
		if _, err := sh.restoreSocket(es, x, answers); err != nil {
			return err
		}
	}
	return nil
}

// restoreSocket puts a socket into a session of this loop that another server had, or
// this one had before: connected, and without a word to its client. It gets its own
// place if that is free, and keeps its id in any other. X.From is a place in the log
// that this server goes on with, or 0. Answers returns who gets the answer to what
// the client has been asked, nil if nobody wants it. The error says that there is no such
// namespace any more, no place, no room in the session's budget for what it brought, or
// somebody who has its id: a server with the ids of another is given what that had
// before it serves anybody.
func (sh *shard) restoreSocket(es eio.Session, x *socketState, answers func(id uint64) *pendingAck) (slot uint32, err error) {
	sh.loop.Check()
	if home, ok := sh.srv.idRef(x.ID); ok && sh.srv.alive(home) || sh.find(es, []byte(x.Name)) != 0 {
		return 0, errSomebodys
	}
	in := sh.srv.registry.rejoin(x.Name)
	if in == nil {
		in, _ = sh.srv.registry.acquire([]byte(x.Name), json.RawMessage(x.handshake.auth))
	}
	if in == nil {
		return 0, errNoNamespace
	}
	brought, ok := sh.bring(es, len(x.handshake.auth))
	if !ok {
		sh.srv.registry.release(in)
		return 0, errTooMuch
	}
	if slot = x.Ref.Slot(); x.Ref.Loop() == sh.loop.Index() && sh.sockets.AllocAt(slot, x.Ref.Gen()) {
		sh.link(es, in, slot)
	} else if slot, ok = sh.newSocket(es, in); !ok {
		brought.account.Release(brought.size)
		sh.srv.registry.release(in)
		return 0, errNoPlace
	}
	sh.brings(slot, brought)
	sh.assume(slot, x)
	if x.PID != "" {
		sh.srv.seq.holds(sh.ref(slot), x.PID)
	}
	sh.sockets.At(slot).start = positionOf(x.From)
	sh.rejoin(slot, x.Rooms)
	if own := sh.ownID(slot); own != "" {
		sh.local.Join(slot, in.id, own)
	}
	for _, id := range x.owed {
		if p := answers(id); p != nil {
			sh.await(slot, id, p)
		}
	}
	in.raiseAcks(x.nextAck)
	if x.handed == nil {
		sh.connected(es, slot)
	} else {
		sh.goesOn(es, slot, x)
	}
	sh.restored(slot, x)
	return slot, nil
}

// goesOn is connected of a socket that has been, elsewhere: nobody is told what is not new.
func (sh *shard) goesOn(es eio.Session, slot uint32, x *socketState) {
	r := sh.sockets.At(slot)
	sh.admitted(es, slot)
	if x.handed.Is&wasHeard != 0 {
		r.is |= heard
	}
	if x.handed.Is&wasCrowded != 0 {
		r.is |= crowded
	}
	switch in := sh.instance(slot); {
	case in.ns.table.Load().rooms == nil:
	case x.handed.Is&wasFollowed != 0:
		r.is |= followed
		in.ns.lane(in.name).count(in.name, sh.otherRooms(slot))
	default:
		sh.heirlooms.follow = append(sh.heirlooms.follow, sh.socket(slot))
	}
}

// count has a lane that does not work yet know of a socket that is in rooms.
func (l *moveLane) count(instance string, names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.members == nil {
		l.members = map[place]int{}
	}
	for _, room := range names {
		l.members[place{instance, room}]++
	}
}
