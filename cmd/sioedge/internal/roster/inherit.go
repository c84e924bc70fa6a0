package roster

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"slices"
	"time"
)

// inherit makes an empty book what another one was. What a backend was being told it is told
// again, by the same id: whoever tells it knows that. SettleAll follows, when all sockets
// are there.
func (b *book) inherit(x *estate, now time.Time) error {
	if err := x.check(); err != nil {
		return err
	}
	b.run, b.stint, b.version, b.epoch = x.Run, x.Stint, x.Version, x.Epoch
	b.own.run = x.Run
	b.beaten, b.beat = now, now // met is true: who was met a moment ago is greeted still
	for i := range x.Ledgers {
		b.inheritLedger(x, &x.Ledgers[i])
	}
	if !b.o.cluster {
		b.version = 0
	} else {
		b.inheritStream(x)
	}
	for _, f := range x.Queues {
		q := b.queue(f.Backend)
		q.tokens, q.filled = f.Tokens, now
	}
	b.out = nil
	b.retell()
	for i := range x.Out {
		b.inheritEffect(x, &x.Out[i])
	}
	return nil
}

func (b *book) inheritLedger(x *estate, f *ledgerForm) {
	l := b.own
	if f.Of != ofOwn {
		if !b.o.cluster {
			return
		}
		l = newLedger(f.Node, f.Run)
		l.stint, l.epoch, l.have, l.since, l.ended, l.active = f.Stint, f.Epoch, f.Have, moment(f.Since), f.Ended, f.Active
		l.answered, l.forgot, l.saidNode, l.open, l.done = f.Answered, f.Forgot, f.SaidNode, f.Open, moment(f.Done)
		switch f.Of {
		case ofCopy:
			b.copies[f.Node] = l
		case ofReturning:
			l.returning = true
			b.returning[f.Node] = l
		default:
			b.lost[life{f.Node, f.Run}] = l
		}
	}
	for i := range f.Entries {
		if l.entries[f.Entries[i].SID] == nil {
			b.inheritEntry(x, l, &f.Entries[i])
		}
	}
}

func (b *book) inheritEntry(x *estate, l *ledger, f *entryForm) {
	names := x.Places[f.Place]
	e := &entry{
		sid: f.SID, user: f.User, place: b.at(keyOf(names), names[3:]), home: l, born: f.Born, due: f.Due, lane: f.Lane, version: f.Version, gen: f.Gen, hop: f.Hop,
		sockets: f.Sockets, state: state(f.State), flags: f.Flags, index: -1,
	}
	l.entries[e.sid] = e
	b.depart(e, f.Parting.parting())
	if f.Waits && e.state == away {
		heap.Push(&b.waiting, e)
	}
	if c := f.Claimed; c != nil {
		b.claimed[e] = &claimed{by: c.By, run: c.Run, yielded: c.Yielded}
	}
	if e.is(claiming) {
		b.claims[e] = &claim{since: moment(f.Claims)}
	}
	if f.Takes > 0 {
		b.takings[e] = &taking{times: min(f.Takes-1, tookTimes-1)}
	}
	if t := f.Telling; t != nil {
		e.word = word(t.Word)
		b.telling[e] = b.tellingOf(t, e)
	}
}

func (b *book) tellingOf(f *tellingForm, e *entry) *telling {
	t := &telling{e: e, word: word(f.Word), gen: f.Gen, at: f.At, recovered: f.Recovered}
	if e != nil {
		t.place, t.sid, t.user, t.lane, t.born = e.place, e.sid, e.user, e.lane, e.born
	}
	if p := f.Parting.parting(); p != nil {
		t.parting = *p
	}
	return t
}

func (f *partingForm) parting() *parting {
	if f == nil {
		return nil
	}
	return &parting{reason: f.Reason, rooms: f.Rooms, left: f.Left, recoverable: f.Recoverable, tries: f.Tries}
}

// inheritStream has those who keep the ledger go on from where they are.
func (b *book) inheritStream(x *estate) {
	for _, e := range b.own.entries {
		b.log = append(b.log, slot{e.version, e})
	}
	for _, g := range x.Removed {
		b.log = append(b.log, slot{g.Version, &entry{sid: g.SID, home: b.own, version: g.Version, index: -1, flags: removed, place: &place{}}})
		b.stale++
	}
	slices.SortFunc(b.log, func(x, y slot) int { return cmp.Compare(x.version, y.version) })
	for _, p := range x.Peers {
		q, _ := b.peers.Hear(p.Name, p.Run, moment(p.Heard))
		if q == nil {
			continue
		}
		q.Gone, q.Of.holds = p.Gone, map[life]hold{}
		var holds []hold
		if json.Unmarshal(p.Holds, &holds) == nil && len(holds) <= maxHolds {
			for _, h := range holds {
				q.Of.holds[life{h.Node, h.Run}] = h
			}
		}
	}
	for _, k := range x.Keepers {
		b.stream.keepers = append(b.stream.keepers, &keeper{name: k.Name, epoch: k.Epoch, acked: k.Acked, sent: k.Acked, open: k.Open})
	}
}

// retell has what was being told be told again, and what is ready wait for its turn: the
// longest first.
func (b *book) retell() {
	var idle []*entry
	for _, all := range b.ledgers() {
		for _, e := range all.entries {
			if t := b.telling[e]; t != nil {
				if t.word == goodbye {
					b.queue(e.place.backend).away++
				}
				b.out = append(b.out, effect{tell: t})
			} else if e.state == ready {
				idle = append(idle, e)
			}
		}
	}
	slices.SortFunc(idle, func(x, y *entry) int { return cmp.Compare(x.parting.left, y.parting.left) })
	for _, e := range idle {
		b.settle(e)
	}
}

// ledgers are all.
func (b *book) ledgers() []*ledger {
	list := []*ledger{b.own}
	for _, all := range []map[string]*ledger{b.copies, b.returning} {
		for _, l := range all {
			list = append(list, l)
		}
	}
	for _, l := range b.lost {
		list = append(list, l)
	}
	return list
}

func (b *book) inheritEffect(x *estate, f *effectForm) {
	var m message
	switch {
	case f.Say != nil:
		if b.o.cluster && json.Unmarshal(f.Say, &m) == nil && m.check() == nil {
			b.out = append(b.out, effect{say: &m})
		}
	case f.Tell != nil:
		t, names := b.tellingOf(f.Tell, nil), x.Places[f.Tell.Place]
		t.place = &place{placeKey: keyOf(names), names: names[3:]}
		t.sid, t.user, t.lane, t.born = f.Tell.SID, f.Tell.User, f.Tell.Lane, f.Tell.Born
		b.out = append(b.out, effect{tell: t})
	case f.Node != "":
		b.out = append(b.out, effect{news: &news{node: f.Node, state: f.State, id: f.ID}})
	case f.Loses != "":
		b.out = append(b.out, effect{loses: f.Loses})
	}
}

// settleAll ends inherit: sockets that have not come have stayed with the other process,
// which tells of them.
func (b *book) settleAll(here func(*entry) bool) {
	for _, e := range b.own.entries {
		if e.sockets == 0 || here(e) {
			continue
		}
		if t := b.telling[e]; t != nil { // it is told; nobody here wants to know whether it was taken
			t.e = nil
			delete(b.telling, e)
			if e.word = nothing; t.word == goodbye {
				b.queue(e.place.backend).away--
			}
		}
		b.remove(e)
	}
}

// handOn leaves all to another process, but what leaves here from now on.
func (b *book) handOn() {
	b.handed, b.closing, b.o.cluster = true, true, false
	b.out, b.waiting, b.queues, b.telling = nil, nil, map[string]*queue{}, map[*entry]*telling{}
	b.claims, b.claimed, b.takings = map[*entry]*claim{}, map[*entry]*claimed{}, map[*entry]*taking{}
	b.copies, b.lost, b.returning = map[string]*ledger{}, map[life]*ledger{}, map[string]*ledger{}
	b.stream.keepers, b.log = nil, nil
	for _, e := range b.own.entries {
		e.word, e.index = nothing, -1
		e.flags &^= claiming | known
		if e.state != present {
			b.remove(e)
		}
	}
}
