package api

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
)

// What servers ask each other. Each question is answered by a step of bounded work: what
// is more is asked for again.
const (
	topicPage   = "api.page"   // a page of sockets of one server: pageQuestion, pageAnswer
	topicSocket = "api.socket" // who has a socket: socketQuestion, *wire.SocketDetail
	topicChange = "api.change" // do something to sockets: changeQuestion, changeAnswer
	topicUser   = "api.user"   // disconnect a user: userQuestion, changeAnswer
	topicRooms  = "api.rooms"  // rooms behind a name: roomsQuestion, []wire.Room

	topicRoomPut  = "api.room_put"  // store data with a room: roomRecord, roomAnswer
	topicRoomData = "api.room_data" // the data of a room: roomQuestion, roomRecord
)

// askTime is how long answers are waited for.
const askTime = 3 * time.Second

// Questions are counts of what servers have asked each other.
type Questions struct {
	Asked      int64 // of others
	Incomplete int64 // of these: some did not answer
	Answered   int64 // for others
	Links      peerlink.Stats
}

// peers are the other servers of the cluster.
type peers struct {
	a    *API
	link *peerlink.Link // nil: there are none

	silent silent
	names  names

	asked, incomplete, answered atomic.Int64
}

func newPeers(a *API) *peers {
	p := &peers{a: a}
	if !a.o.Cluster {
		return p
	}
	p.link = peerlink.New(a.srv, a.o.Logger)
	handle(p, topicPage, func(q pageQuestion) any {
		if q.Node != p.link.Node() {
			return nil
		}
		return a.page(q.clamped())
	})
	handle(p, topicSocket, func(q socketQuestion) any {
		if d := a.detail(q.SID, q.Nsp); d != nil {
			return d
		}
		return nil
	})
	handle(p, topicChange, func(q changeQuestion) any {
		at, mine := q.At[p.link.Node()]
		if !mine && len(q.At) > 0 {
			return nil
		}
		return a.step(&q.Change, at)
	})
	handle(p, topicUser, func(q userQuestion) any { return changeAnswer{Node: p.link.Node(), Sockets: a.kick(q)} })
	handle(p, topicRooms, func(q roomsQuestion) any { return a.rooms(q.clamped()) })
	handle(p, topicRoomPut, a.roomData.told)
	handle(p, topicRoomData, func(q roomQuestion) any {
		if r := a.roomData.get(q.Nsp, q.Room); r != nil {
			return r
		}
		return nil
	})
	return p
}

// handle has a topic answered by f.
func handle[Q any](p *peers, topic string, f func(q Q) any) {
	p.link.HandleAsked(topic, func(from string, body json.RawMessage) (any, error) {
		var q Q
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		p.answered.Add(1)
		p.silent.remove(from)
		return f(q), nil
	})
}

// ask asks all other servers. Those that have nothing to say are left out of the answers.
// The error is not that some did not answer: part says that. While some are silent, those
// that are known are asked without them.
func ask[A any](ctx context.Context, p *peers, topic string, question any) (all []A, part *wire.Partial, err error) {
	if p.link == nil {
		return nil, nil, nil
	}
	others := p.others()
	if _, silent := p.split(others); len(silent) > 0 {
		return askThese[A](ctx, p, others, topic, question)
	}
	p.asked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers, err := p.link.Ask(ctx, topic, question)
	part, err = p.partOf(err)
	if part != nil {
		p.incomplete.Add(1)
	}
	return understood[A](p, topic, answers), part, err
}

// both joins what is said of two questions.
func both(a, b *wire.Partial) *wire.Partial {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	missing := slices.Concat(a.Missing, b.Missing)
	slices.Sort(missing)
	reason := a.Reason
	if reason == "" {
		reason = b.Reason
	}
	return &wire.Partial{Missing: slices.Compact(missing), Unnamed: max(a.Unnamed, b.Unnamed), Reason: reason}
}

// nodes returns the servers of this kind, this one among them, in order.
func (p *peers) nodes() []string {
	all := append(p.others(), p.a.srv.Node())
	slices.Sort(all)
	return slices.Compact(all)
}

// others are those without this one.
func (p *peers) others() (all []string) {
	known := p.a.srv.Cluster().Peers
	p.names.learn(known)
	for _, x := range known {
		all = append(all, x.Node)
	}
	return all
}

func (p *peers) stats() Questions {
	q := Questions{Asked: p.asked.Load(), Incomplete: p.incomplete.Load(), Answered: p.answered.Load()}
	if p.link != nil {
		q.Links = p.link.Stats()
	}
	return q
}
