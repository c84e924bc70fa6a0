package declare

import (
	"context"
	"slices"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

// enterRooms has a socket join rooms, and sends it what is kept of them. Where other
// servers emit to them it waits until that arrives; if it does not, the socket is in
// none of them. One that is connecting, and is to be sent something, joins when it is
// admitted: see connected.
func (sp *space) enterRooms(s sio.Socket, r *rules, names ...string) error {
	if !sp.router.parts.Cluster {
		s.JoinReplay(names, r.history.ReplayOnJoin)
		return nil
	}
	ctx, cancel := context.WithTimeout(s.Context(), joinTime)
	defer cancel()
	err := s.JoinReplayWait(ctx, names, r.history.ReplayOnJoin)
	if err != nil {
		s.Leave(names...)
	}
	return err
}

// connected is called when a socket has been admitted, before its events: with its
// deadline set, one that was recovered leaves the rooms that its token of now does not
// allow, which it has again only since.
func (sp *space) connected(s sio.Socket) error {
	p, r := sp.router.parts, sp.rules.Load()
	if p.Authority != nil {
		p.Authority.Connected(s)
	}
	if old, _ := stale.Get(s); old {
		sp.review(s)
		stale.Delete(s)
	}
	v, id := values{socket: s, names: sp.names}, sp.who(s)
	v.is(id)
	if s.Recovered() {
		sp.leaveLost(s, r, &v, id)
	}
	if !p.Cluster || r.history.ReplayOnJoin == 0 || len(r.rooms) == 0 {
		return nil
	}
	rooms, _, err := r.ownRooms(&v)
	if err != nil {
		return nil // admit has looked, unless there are other rules since
	}
	if err := sp.enterRooms(s, r, rooms...); err != nil {
		_ = sp.turnAway(s, err, r.key+".join_on_connect")
	}
	return nil
}

// turnAway refuses a socket that cannot be in its rooms. If that is not its own fault the
// connection is closed, so that the client comes back.
func (sp *space) turnAway(s sio.Socket, err error, declared string) error {
	why := whyNot(err)
	if why == unavailable {
		_ = s.CloseConnWith(overloadCode, refusals[why].message) // it has left, or hears it
	}
	return sp.refuseEntry(s, why, declared, err)
}

const overloadCode = 4503

// keepHistory has the last events of rooms kept, from now on.
func (sp *space) keepHistory(h config.History) {
	only := slices.Clone(h.Events)
	sp.ns.KeepHistory(sio.History{Size: h.Size, TTL: h.TTL, MaxBytes: int64(h.MaxBytes), Keep: func(event string) bool {
		return !slices.Contains(ownEvents, event) && (len(only) == 0 || slices.Contains(only, event))
	}})
}

// setClass sets what becomes of an event for clients that take too little; nil is what
// becomes of any. An event without its key, which the backend has left out, makes room
// for none.
func (sp *space) setClass(event string, c *class) {
	if c == nil {
		sp.ns.SetClass(event, nil)
		return
	}
	policy, key := c.policy, c.key
	sp.ns.SetClass(event, func(a sio.Args) sio.Class {
		if key == nil {
			return sio.Class{Policy: policy}
		}
		var buf [maxValue]byte
		args, _ := a.Verbatim()
		text, why := key.appendKey(buf[:0], args)
		if why != "" {
			sp.router.note.Warn("an event to conflate has no key", "namespace", sp.ns.Name(), "event", event, "key", key.text, "error", why)
			return sio.Class{}
		}
		return sio.Class{Policy: policy, Key: string(text)}
	})
}
