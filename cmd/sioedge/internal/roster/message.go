package roster

import (
	"errors"
	"fmt"
	"time"
)

// Kinds of messages.
const (
	here    = "here"   // I am there
	rows    = "rows"   // this has changed in my ledger
	ack     = "ack"    // I have heard your rows
	claims  = "claim"  // these sockets have come to me
	answers = "answer" // this is what a backend knows of sockets that you claim
	took    = "took"   // these sockets are mine now
	gone    = "gone"   // you were held to be lost: of these backends were told that they are gone
	heard   = "heard"  // I have heard that
	bye     = "bye"    // I end
)

// A message is what a server says to the others. All times are ms.
type message struct {
	Kind  string   `json:"k"`
	Run   int64    `json:"r"`
	Hello bool     `json:"n,omitempty"`  // of here: I have begun, who are you?
	Holds []hold   `json:"h,omitempty"`  // of here
	To    string   `json:"to,omitempty"` // whom it is for; "": everybody
	Of    int64    `json:"of,omitempty"` // the run of To
	SIDs  []string `json:"s,omitempty"`
	Gens  []uint32 `json:"g,omitempty"`  // of took and gone: of SIDs
	Hops  []uint32 `json:"hs,omitempty"` // of took and claim: of SIDs
	Stint uint32   `json:"t,omitempty"`
	All   bool     `json:"all,omitempty"` // of gone: it may be any of them

	// Of rows, and ack: a keeper has those up to a version.
	To2    []target   `json:"ks,omitempty"`
	Epoch  uint64     `json:"e,omitempty"`
	Lacks  bool       `json:"l,omitempty"` // of ack: what was before is missing
	From   uint64     `json:"f,omitempty"`
	Upto   uint64     `json:"u,omitempty"`
	Base   int64      `json:"b,omitempty"` // Unix ms: when it was said
	Places [][]string `json:"p,omitempty"` // backend, route, namespace, and names of parameters with their values
	Users  []string   `json:"us,omitempty"`
	At     []int      `json:"a,omitempty"`  // places of SIDs
	Born   []int64    `json:"bs,omitempty"` // before Base
	Extras []extra    `json:"x,omitempty"`

	// Of answer.
	Waits  []string  `json:"w,omitempty"` // not yet
	Here   []string  `json:"i,omitempty"` // their clients are with me
	None   []string  `json:"o,omitempty"` // I had a claim, and have none any more
	Not    []string  `json:"q,omitempty"` // you yield them, and I have no claim
	Yields []yielded `json:"y,omitempty"`
}

// A target is a keeper that rows are for.
type target struct {
	Name  string `json:"n"`
	Epoch uint64 `json:"e"`
}

// An extra is what few rows have.
type extra struct {
	Row         int    `json:"i"`
	Gen         uint32 `json:"g,omitempty"`
	Hop         uint32 `json:"h,omitempty"`
	Removed     bool   `json:"x,omitempty"`
	Told        bool   `json:"t,omitempty"`
	Left        int64  `json:"l,omitempty"` // that it left so long before Base; 0: it has not
	Due         int64  `json:"d,omitempty"` // that its client may come back for so long
	Reason      string `json:"r,omitempty"`
	Recoverable bool   `json:"b,omitempty"`
	Claimed     string `json:"c,omitempty"` // by that server
}

// A yielded socket is one that another server has now.
type yielded struct {
	SID  string `json:"s"`
	Gen  uint32 `json:"g,omitempty"`
	Hop  uint32 `json:"h,omitempty"`
	Told bool   `json:"t,omitempty"`
	Born int64  `json:"b"`
}

// A writer makes a message of rows.
type writer struct {
	m      *message
	places map[*place]int
	now    time.Time
	bytes  int
}

func (w *writer) row(e *entry, c *claimed) {
	m, at := w.m, w.now.UnixMilli()
	x := extra{Row: len(m.SIDs), Gen: e.gen, Hop: e.hop, Told: e.is(told)}
	m.SIDs = append(m.SIDs, e.sid)
	w.bytes += len(e.sid) + len(e.user) + 20
	if e.is(removed) || e.is(claiming) && !e.is(known) { // of which the server knows that it had it
		m.Users, m.At, m.Born = append(m.Users, ""), append(m.At, 0), append(m.Born, 0)
		m.Extras = append(m.Extras, extra{Row: x.Row, Removed: true})
		w.bytes += 20
		return
	}
	i, ok := w.places[e.place]
	if !ok {
		i = len(m.Places)
		w.places[e.place] = i
		names := append([]string{e.place.backend, e.place.route, e.place.namespace}, e.place.names...)
		m.Places = append(m.Places, names)
		for _, n := range names {
			w.bytes += len(n) + 3
		}
	}
	m.Users, m.At, m.Born = append(m.Users, e.user), append(m.At, i), append(m.Born, at-e.born)
	if c != nil {
		x.Claimed = c.by
	}
	if p := e.parting; p != nil {
		x.Left, x.Reason, x.Recoverable = max(at-p.left, 1), p.reason, p.recoverable
		if e.state == away {
			x.Due = max(e.due-at, 0)
		}
	}
	if (x != extra{Row: x.Row}) {
		m.Extras = append(m.Extras, x)
		w.bytes += 60 + len(x.Reason)
	}
}

func (b *book) say(m *message) {
	m.Run = b.run
	b.out = append(b.out, effect{say: m})
}

// hear takes what another server says. The error says that it is no message.
func (b *book) hear(from string, m *message, now time.Time) error {
	if err := m.check(); err != nil {
		return err
	}
	if b.ended || from == b.self {
		return nil
	}
	p, began := b.peers.Hear(from, m.Run, now)
	if p == nil {
		return nil
	}
	if began {
		p.Of = peer{}
		b.begun(from, m.Run, now)
	}
	if l := b.lost[life{from, m.Run}]; l != nil {
		b.returned(l)
	}
	switch m.Kind {
	case here:
		b.heardKeepers(from, m)
		old := p.Of.holds
		p.Of.holds = map[life]hold{}
		for _, h := range m.Holds {
			if _, known := old[life{h.Node, h.Run}]; !known {
				b.remind()
			}
			p.Of.holds[life{h.Node, h.Run}] = h
		}
		if m.Hello && !began {
			b.remind()
		}
		if soon := b.beaten.Add(greetEvery); m.Hello && soon.Before(b.beat) {
			b.beat = soon
		}
	case rows:
		b.heardRows(from, m, now)
	case ack:
		b.heardAck(from, m)
	case claims:
		b.heardClaim(from, m, now)
	case answers:
		b.heardAnswer(from, m, now)
	case took:
		b.heardTook(from, m)
	case gone:
		b.heardGone(from, m)
	case heard:
		b.heardHeard(from, m)
	case bye:
		p.Gone = true
		b.vanished(from, m.Run+1, now, true)
		b.unclaim(from, m.Run+1, now)
		b.choose("")
	}
	return nil
}

// What one message may have.
const (
	maxName   = 1 << 10
	maxPlace  = 3 + 2*64
	maxMillis = int64(1) << 50
)

var errShape = errors.New("no message of the roster")

// check says what is wrong with a message.
func (m *message) check() error {
	switch m.Kind {
	case here, ack, claims, answers, took, gone, heard, bye:
		if len(m.Places)+len(m.Users)+len(m.Extras) > 0 {
			return fmt.Errorf("%w: %s with rows", errShape, m.Kind)
		}
	case rows:
		if err := m.checkRows(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: kind %.20q", errShape, m.Kind)
	}
	if (m.Kind == took || m.Kind == gone) && len(m.Gens) != len(m.SIDs) || (m.Kind == took || m.Kind == claims) && len(m.Hops) != len(m.SIDs) {
		return fmt.Errorf("%w: %d sockets of %d generations", errShape, len(m.SIDs), len(m.Gens))
	}
	for _, names := range append([][]string{m.SIDs, m.Users, m.Waits, m.None, m.Not, m.Here, {m.To}}, m.Places...) {
		for _, s := range names {
			if len(s) > maxName {
				return fmt.Errorf("%w: a name of %d bytes", errShape, len(s))
			}
		}
	}
	for _, y := range m.Yields {
		if len(y.SID) > maxName || y.Born < 0 || y.Born > maxMillis {
			return fmt.Errorf("%w: a socket that is yielded", errShape)
		}
	}
	if len(m.Holds) > maxHolds {
		return fmt.Errorf("%w: %d lost servers", errShape, len(m.Holds))
	}
	return nil
}

func (m *message) checkRows() error {
	n := len(m.SIDs)
	if len(m.Users) != n || len(m.At) != n || len(m.Born) != n || m.Upto < m.From || m.Base < 0 || m.Base > maxMillis {
		return fmt.Errorf("%w: %d rows, %d users, %d places, %d times, versions %d to %d", errShape, n, len(m.Users), len(m.At), len(m.Born), m.From, m.Upto)
	}
	for _, p := range m.Places {
		if len(p) < 3 || len(p) > maxPlace || len(p)%2 == 0 {
			return fmt.Errorf("%w: a place of %d names", errShape, len(p))
		}
	}
	last := -1
	removed := map[int]bool{}
	for _, x := range m.Extras {
		if x.Row <= last || x.Row >= n || x.Left < 0 || x.Left > maxMillis || x.Due < 0 || x.Due > maxMillis || len(x.Reason)+len(x.Claimed) > maxName {
			return fmt.Errorf("%w: row %d of %d", errShape, x.Row, n)
		}
		last = x.Row
		removed[x.Row] = x.Removed
	}
	for i, at := range m.At {
		if at < 0 || at >= len(m.Places) && !removed[i] || m.Born[i] < -maxMillis || m.Born[i] > maxMillis {
			return fmt.Errorf("%w: place %d of %d", errShape, at, len(m.Places))
		}
	}
	return nil
}
