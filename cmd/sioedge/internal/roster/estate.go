package roster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/alive"
)

// An estate is a book as it goes to a successor, which the other servers take for the same
// server. Times are Unix ms, 0 for none.
type estate struct {
	Run     int64        `cbor:"1,keyasint"`
	Stint   uint32       `cbor:"2,keyasint,omitempty"`
	Version uint64       `cbor:"3,keyasint,omitempty"`
	Epoch   uint64       `cbor:"4,keyasint,omitempty"`
	Places  [][]string   `cbor:"5,keyasint,omitempty"` // as of a message
	Ledgers []ledgerForm `cbor:"6,keyasint"`           // the own one first
	Removed []goneForm   `cbor:"7,keyasint,omitempty"` // of the own one
	Keepers []keeperForm `cbor:"8,keyasint,omitempty"`
	Peers   []peerForm   `cbor:"9,keyasint,omitempty"`
	Queues  []queueForm  `cbor:"10,keyasint,omitempty"`
	Out     []effectForm `cbor:"11,keyasint,omitempty"`
}

// Of whom a ledger is.
const (
	ofOwn = iota
	ofCopy
	ofLost
	ofReturning
)

type ledgerForm struct {
	Of       int         `cbor:"1,keyasint,omitempty"`
	Node     string      `cbor:"2,keyasint,omitempty"`
	Run      int64       `cbor:"3,keyasint,omitempty"`
	Stint    uint32      `cbor:"4,keyasint,omitempty"`
	Epoch    uint64      `cbor:"5,keyasint,omitempty"`
	Have     uint64      `cbor:"6,keyasint,omitempty"`
	Since    int64       `cbor:"7,keyasint,omitempty"`
	Ended    bool        `cbor:"8,keyasint,omitempty"`
	Active   bool        `cbor:"9,keyasint,omitempty"`
	Answered bool        `cbor:"10,keyasint,omitempty"`
	Forgot   bool        `cbor:"11,keyasint,omitempty"`
	SaidNode bool        `cbor:"12,keyasint,omitempty"`
	Open     int         `cbor:"13,keyasint,omitempty"`
	Done     int64       `cbor:"14,keyasint,omitempty"`
	Entries  []entryForm `cbor:"15,keyasint,omitempty"`
}

type entryForm struct {
	SID     string       `cbor:"1,keyasint"`
	User    string       `cbor:"2,keyasint,omitempty"`
	Place   int          `cbor:"3,keyasint,omitempty"`
	Born    int64        `cbor:"4,keyasint,omitempty"`
	Due     int64        `cbor:"5,keyasint,omitempty"`
	Lane    uint64       `cbor:"6,keyasint,omitempty"`
	Version uint64       `cbor:"7,keyasint,omitempty"`
	Gen     uint32       `cbor:"8,keyasint,omitempty"`
	Hop     uint32       `cbor:"9,keyasint,omitempty"`
	Sockets uint8        `cbor:"10,keyasint,omitempty"`
	State   uint8        `cbor:"11,keyasint,omitempty"`
	Flags   uint8        `cbor:"12,keyasint,omitempty"`
	Waits   bool         `cbor:"13,keyasint,omitempty"`
	Parting *partingForm `cbor:"14,keyasint,omitempty"`
	Telling *tellingForm `cbor:"15,keyasint,omitempty"`
	Claimed *claimedForm `cbor:"16,keyasint,omitempty"`
	Claims  int64        `cbor:"17,keyasint,omitempty"` // since when; of one that is claiming
	Takes   int          `cbor:"18,keyasint,omitempty"` // 1, and how often it was said
}

type partingForm struct {
	Reason      string `cbor:"1,keyasint,omitempty"`
	Rooms       []byte `cbor:"2,keyasint,omitempty"`
	Left        int64  `cbor:"3,keyasint,omitempty"`
	Recoverable bool   `cbor:"4,keyasint,omitempty"`
	Tries       uint8  `cbor:"5,keyasint,omitempty"`
}

type tellingForm struct {
	Word      uint8        `cbor:"1,keyasint"`
	Gen       uint32       `cbor:"2,keyasint,omitempty"`
	At        int64        `cbor:"3,keyasint,omitempty"`
	Recovered bool         `cbor:"4,keyasint,omitempty"`
	Parting   *partingForm `cbor:"5,keyasint,omitempty"`

	// Of one that is of no entry.
	SID   string `cbor:"6,keyasint,omitempty"`
	User  string `cbor:"7,keyasint,omitempty"`
	Lane  uint64 `cbor:"8,keyasint,omitempty"`
	Born  int64  `cbor:"9,keyasint,omitempty"`
	Place int    `cbor:"10,keyasint,omitempty"`
}

type claimedForm struct {
	By      string `cbor:"1,keyasint"`
	Run     int64  `cbor:"2,keyasint"`
	Yielded bool   `cbor:"3,keyasint,omitempty"`
}

type goneForm struct {
	SID     string `cbor:"1,keyasint"`
	Version uint64 `cbor:"2,keyasint"`
}

type keeperForm struct {
	Name  string `cbor:"1,keyasint"`
	Epoch uint64 `cbor:"2,keyasint"`
	Acked uint64 `cbor:"3,keyasint,omitempty"`
	Open  bool   `cbor:"4,keyasint,omitempty"`
}

type peerForm struct {
	Name  string `cbor:"1,keyasint"`
	Run   int64  `cbor:"2,keyasint"`
	Heard int64  `cbor:"3,keyasint,omitempty"`
	Gone  bool   `cbor:"4,keyasint,omitempty"`
	Holds []byte `cbor:"5,keyasint,omitempty"` // JSON of []hold
}

type queueForm struct {
	Backend string  `cbor:"1,keyasint"`
	Tokens  float64 `cbor:"2,keyasint"`
}

// An effectForm is what was not done yet.
type effectForm struct {
	Say   []byte       `cbor:"1,keyasint,omitempty"` // a message, JSON
	Tell  *tellingForm `cbor:"2,keyasint,omitempty"` // of no entry
	Node  string       `cbor:"3,keyasint,omitempty"` // news
	State string       `cbor:"4,keyasint,omitempty"`
	ID    string       `cbor:"5,keyasint,omitempty"`
	Loses string       `cbor:"6,keyasint,omitempty"`
}

// millis is a moment in Unix ms, and moment the other way.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// A packer makes an estate of a book.
type packer struct {
	b      *book
	x      estate
	places map[*place]int
}

// leaveAll returns all that a successor needs. The book goes on.
func (b *book) leaveAll() estate {
	for _, a := range b.takeAnswers() {
		b.say(a)
	}
	if m := b.took; m != nil {
		b.took = nil
		b.sayTook(m)
	}
	p := &packer{b: b, places: map[*place]int{}, x: estate{Run: b.run, Stint: b.stint, Version: b.version, Epoch: b.epoch}}
	p.ledger(ofOwn, b.own)
	for of, all := range map[int]map[string]*ledger{ofCopy: b.copies, ofReturning: b.returning} {
		for _, l := range all {
			p.ledger(of, l)
		}
	}
	for _, l := range b.lost {
		p.ledger(ofLost, l)
	}
	for _, s := range b.log {
		if s.e != nil && s.e.is(removed) {
			p.x.Removed = append(p.x.Removed, goneForm{s.e.sid, s.version})
		}
	}
	for _, k := range b.stream.keepers {
		p.x.Keepers = append(p.x.Keepers, keeperForm{k.name, k.epoch, k.acked, k.open})
	}
	for name, q := range b.peers.All() {
		f := peerForm{Name: name, Run: q.Run, Heard: millis(q.Heard), Gone: q.Gone}
		holds := make([]hold, 0, len(q.Of.holds))
		for _, h := range q.Of.holds {
			holds = append(holds, h)
		}
		f.Holds, _ = json.Marshal(holds) // of texts and numbers
		p.x.Peers = append(p.x.Peers, f)
	}
	for name, q := range b.queues {
		p.x.Queues = append(p.x.Queues, queueForm{name, q.tokens})
	}
	for i := range b.out {
		p.effect(&b.out[i])
	}
	return p.x
}

func (p *packer) place(x *place) int {
	i, ok := p.places[x]
	if !ok {
		i = len(p.x.Places)
		p.places[x] = i
		p.x.Places = append(p.x.Places, append([]string{x.backend, x.route, x.namespace}, x.names...))
	}
	return i
}

func (p *packer) ledger(of int, l *ledger) {
	f := ledgerForm{
		Of: of, Node: l.node, Run: l.run, Stint: l.stint, Epoch: l.epoch, Have: l.have, Since: millis(l.since), Ended: l.ended, Active: l.active,
		Answered: l.answered, Forgot: l.forgot, SaidNode: l.saidNode, Open: l.open, Done: millis(l.done), Entries: make([]entryForm, 0, len(l.entries)),
	}
	for _, e := range l.entries {
		f.Entries = append(f.Entries, p.entry(e))
	}
	p.x.Ledgers = append(p.x.Ledgers, f)
}

func (p *packer) entry(e *entry) entryForm {
	b := p.b
	f := entryForm{
		SID: e.sid, User: e.user, Place: p.place(e.place), Born: e.born, Due: e.due, Lane: e.lane, Version: e.version, Gen: e.gen, Hop: e.hop,
		Sockets: e.sockets, State: uint8(e.state), Flags: e.flags, Waits: e.index >= 0, Parting: e.parting.form(),
	}
	if t := b.telling[e]; t != nil {
		f.Telling = t.form()
	}
	if c := b.claimed[e]; c != nil {
		f.Claimed = &claimedForm{c.by, c.run, c.yielded}
	}
	if c := b.claims[e]; c != nil {
		f.Claims = max(millis(c.since), 1)
	}
	if t := b.takings[e]; t != nil {
		f.Takes = 1 + t.times
	}
	return f
}

func (p *parting) form() *partingForm {
	if p == nil {
		return nil
	}
	return &partingForm{p.reason, p.rooms, p.left, p.recoverable, p.tries}
}

func (t *telling) form() *tellingForm {
	f := &tellingForm{Word: uint8(t.word), Gen: t.gen, At: t.at, Recovered: t.recovered}
	if t.word == goodbye {
		f.Parting = t.parting.form()
	}
	return f
}

func (p *packer) effect(e *effect) {
	switch {
	case e.say != nil:
		if text, err := json.Marshal(e.say); err == nil {
			p.x.Out = append(p.x.Out, effectForm{Say: text})
		}
	case e.news != nil:
		p.x.Out = append(p.x.Out, effectForm{Node: e.news.node, State: e.news.state, ID: e.news.id})
	case e.tell == nil:
		p.x.Out = append(p.x.Out, effectForm{Loses: e.loses})
	case e.tell.e == nil || e.tell.e.is(removed): // others are their entries'
		t, f := e.tell, e.tell.form()
		f.SID, f.User, f.Lane, f.Born, f.Place = t.sid, t.user, t.lane, t.born, p.place(t.place)
		p.x.Out = append(p.x.Out, effectForm{Tell: f})
	}
}

var errEstate = errors.New("roster: that is no state of one")

// check says what is wrong with an estate.
func (x *estate) check() error {
	if len(x.Ledgers) == 0 || len(x.Ledgers) > 4*alive.MaxPeers || len(x.Peers) > alive.MaxPeers || len(x.Keepers) > keepers || x.Version > math.MaxInt64 {
		return fmt.Errorf("%w: %d ledgers, %d servers, %d keepers", errEstate, len(x.Ledgers), len(x.Peers), len(x.Keepers))
	}
	for _, p := range x.Places {
		if len(p) < 3 || len(p) > maxPlace || len(p)%2 == 0 || slices.ContainsFunc(p, func(s string) bool { return len(s) > maxName }) {
			return fmt.Errorf("%w: a place of %d names", errEstate, len(p))
		}
	}
	for i := range x.Ledgers {
		l := &x.Ledgers[i]
		if (l.Of == ofOwn) != (i == 0) || l.Of < ofOwn || l.Of > ofReturning || len(l.Node) > maxName {
			return fmt.Errorf("%w: ledger %d", errEstate, i)
		}
		for j := range l.Entries {
			if err := l.Entries[j].check(x, l.Of == ofOwn); err != nil {
				return err
			}
		}
	}
	for _, g := range x.Removed {
		if g.Version > x.Version || len(g.SID) > maxName {
			return fmt.Errorf("%w: a socket that was removed", errEstate)
		}
	}
	for _, k := range x.Keepers {
		if k.Acked > x.Version || k.Epoch > x.Epoch {
			return fmt.Errorf("%w: a keeper of version %d", errEstate, k.Acked)
		}
	}
	for _, q := range x.Queues {
		if math.IsNaN(q.Tokens) || math.IsInf(q.Tokens, 0) {
			return fmt.Errorf("%w: a queue", errEstate)
		}
	}
	for _, e := range x.Out {
		if t := e.Tell; t != nil && (t.check() != nil || t.Place < 0 || t.Place >= len(x.Places)) {
			return fmt.Errorf("%w: what is to be told", errEstate)
		}
	}
	return nil
}

func (e *entryForm) check(x *estate, own bool) error {
	switch {
	case e.Place < 0 || e.Place >= len(x.Places), e.SID == "", len(e.SID)+len(e.User) > maxName, e.State > uint8(ready), e.Flags&removed != 0, own && e.Version > x.Version,
		e.State != uint8(present) && e.Parting == nil && (own || e.State == uint8(ready)), own && e.State != uint8(present) && e.Sockets > 0,
		(e.Flags&claiming != 0) != (e.Claims != 0), e.Parting != nil && len(e.Parting.Rooms) > 0 && !json.Valid(slices.Concat([]byte(`{"a":0`), e.Parting.Rooms, []byte("}"))):
		return fmt.Errorf("%w: socket %.64q", errEstate, e.SID)
	case e.Telling != nil:
		return e.Telling.check()
	}
	return nil
}

func (t *tellingForm) check() error {
	if t.Word != uint8(hello) && t.Word != uint8(goodbye) || (t.Word == uint8(goodbye)) != (t.Parting != nil) {
		return fmt.Errorf("%w: what is being told", errEstate)
	}
	return nil
}
