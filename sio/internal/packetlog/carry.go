package packetlog

import (
	"bytes"
	"errors"
	"strings"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/freight"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// A log goes to a successor with its nonce and its places: so the offsets that clients
// have are right there. Sockets that are away come first, then the entries, some of them
// at a time. Times are ages: clocks are each process's own.

// A Carrier knows what the log does not: what is in messages, and whose sockets are.
type Carrier interface {
	Pack(m Message) freight.Message
	Unpack(name string, m freight.Message) (Message, error)
	// Label names an owner of sockets, Labelled is the other way round: nil if there is
	// no such one.
	Label(owner any) string
	Labelled(label string) any
	// PackRest returns Saved.Rest as data.
	PackRest(s *Saved) ([]byte, error)
	UnpackRest(s *Saved, p []byte) error
}

// A carriedLog is what comes first.
type carriedLog struct {
	Nonce   string `cbor:"1,keyasint"`
	First   uint64 `cbor:"2,keyasint"` // place of the first entry
	Entries int    `cbor:"3,keyasint,omitempty"`
	Saved   int    `cbor:"4,keyasint,omitempty"`
}

// A carriedSocket is one that may come back.
type carriedSocket struct {
	Label    string    `cbor:"1,keyasint"` // of its owner
	Name     string    `cbor:"2,keyasint"`
	ID       string    `cbor:"3,keyasint"`
	PID      string    `cbor:"4,keyasint"`
	Identity string    `cbor:"5,keyasint,omitempty"`
	Rooms    []string  `cbor:"6,keyasint,omitempty"`
	Ref      rooms.Ref `cbor:"7,keyasint"`
	Home     rooms.Ref `cbor:"8,keyasint"`
	From     uint64    `cbor:"9,keyasint,omitempty"`
	Expires  int64     `cbor:"10,keyasint,omitempty"`
	Age      int64     `cbor:"11,keyasint,omitempty"` // ms since it left
	Back     bool      `cbor:"12,keyasint,omitempty"` // it is connected
	Rest     []byte    `cbor:"13,keyasint,omitempty"`
}

// What an entry has beside its name and its age.
const (
	isEvent = 1 << iota
	hasJoined
	hasRef
	hasRoom
	hasExcept
	hasTo
)

// A carriedTo is an Audience.
type carriedTo struct {
	Rooms      []string    `cbor:"1,keyasint,omitempty"`
	Except     []string    `cbor:"2,keyasint,omitempty"`
	Refs       []rooms.Ref `cbor:"3,keyasint,omitempty"`
	ExceptRefs []rooms.Ref `cbor:"4,keyasint,omitempty"`
	All        bool        `cbor:"5,keyasint,omitempty"`
}

// carriedEntries are some entries, in order. Only those have a number in a column whose
// flags say so.
type carriedEntries struct {
	Flags    []byte           `cbor:"1,keyasint"`
	Names    freight.Names    `cbor:"2,keyasint"`
	Ages     freight.Numbers  `cbor:"3,keyasint"` // ms of the first one, then how much later each is
	Name     freight.Numbers  `cbor:"4,keyasint"`
	Room     freight.Numbers  `cbor:"5,keyasint,omitempty"`
	Ref      freight.Numbers  `cbor:"6,keyasint,omitempty"`
	Except   freight.Numbers  `cbor:"7,keyasint,omitempty"`
	Effects  freight.Numbers  `cbor:"8,keyasint,omitempty"` // of changes
	To       []carriedTo      `cbor:"9,keyasint,omitempty"`
	Messages freight.Messages `cbor:"10,keyasint"`
}

const (
	piece      = 256     // entries or sockets at a time
	pieceBytes = 1 << 18 // of their messages
	maxAge     = 1 << 50 // ms: no age is more
	maxPlace   = 1 << (6 * placeDigits)
)

var errBroken = errors.New("packetlog: that is no log")

// Export writes all there is to b, for Import, with more sockets as if they had just left.
// It changes nothing.
func (l *Log) Export(b *bytes.Buffer, c Carrier, more []*Saved) error {
	b.Grow(int(l.held()) + 1<<12)
	h := carriedLog{Nonce: l.nonce, First: l.entries.first, Entries: l.entries.len(), Saved: len(l.away.heap) + len(more)}
	if err := passage.Write(b, &h); err != nil {
		return err
	}
	now := l.o.Now()
	if err := exportSaved(b, c, l.away.heap, func(s *Saved) int64 { return max(0, now-s.left) }); err != nil {
		return err
	}
	if err := exportSaved(b, c, more, func(*Saved) int64 { return 0 }); err != nil {
		return err
	}
	var x carriedEntries
	before := int64(0)
	for i := range l.entries.len() {
		e := l.entries.at(l.entries.first + uint64(i))
		if len(x.Flags) == 0 {
			x.Ages.Put(uint64(max(0, now-e.at)))
		} else {
			x.Ages.Put(uint64(max(0, e.at-before)))
		}
		before = e.at
		x.put(e, c)
		if len(x.Flags) == piece || len(x.Messages.Frames) >= pieceBytes || i == l.entries.len()-1 {
			if err := passage.Write(b, &x); err != nil {
				return err
			}
			x.reset()
		}
	}
	return nil
}

func (x *carriedEntries) put(e *entry, c Carrier) {
	flags := byte(0)
	x.Name.Put(x.Names.Of(e.Name))
	if e.Message != nil {
		flags |= isEvent
		x.Messages.Put(c.Pack(e.Message))
	} else {
		if e.change.joined {
			flags |= hasJoined
		}
		x.Effects.Put(e.change.effect)
	}
	if e.Ref != 0 {
		flags |= hasRef
		x.Ref.Put(uint64(e.Ref))
	}
	if e.Room != "" {
		flags |= hasRoom
		x.Room.Put(x.Names.Of(e.Room))
	}
	if e.Except != 0 {
		flags |= hasExcept
		x.Except.Put(uint64(e.Except))
	}
	if a := e.To; a != nil {
		flags |= hasTo
		x.To = append(x.To, carriedTo{a.Rooms, a.Except, a.Refs, a.ExceptRefs, a.All})
	}
	x.Flags = append(x.Flags, flags)
}

func (x *carriedEntries) reset() {
	x.Names.Reset()
	x.Messages.Reset()
	clear(x.To)
	x.Flags, x.Ages, x.Name, x.Room, x.Ref = x.Flags[:0], x.Ages[:0], x.Name[:0], x.Room[:0], x.Ref[:0]
	x.Except, x.Effects, x.To = x.Except[:0], x.Effects[:0], x.To[:0]
}

func exportSaved(b *bytes.Buffer, c Carrier, all []*Saved, age func(*Saved) int64) error {
	var some []carriedSocket
	size := 0
	for i, s := range all {
		x := carriedSocket{Label: c.Label(s.Owner), Name: s.Name, ID: s.ID, PID: s.PID, Identity: s.Identity, Rooms: s.Rooms,
			Ref: s.Ref, Home: s.Home, From: s.From, Expires: s.Expires, Age: age(s), Back: s.status == isBack}
		if s.Rest != nil {
			var err error
			if x.Rest, err = c.PackRest(s); err != nil {
				return err
			}
		}
		some = append(some, x)
		if size += len(x.Rest) + 16*len(x.Rooms); len(some) == piece || size >= pieceBytes || i == len(all)-1 {
			if err := passage.Write(b, some); err != nil {
				return err
			}
			some, size = some[:0], 0
		}
	}
	return nil
}

// Import has the log be that of Export, which another process has called. What there is in
// it is forgotten: it was for nobody. What is too old goes, and what is too much.
func (l *Log) Import(c Carrier, data []byte) error {
	var h carriedLog
	data, err := passage.Next(data, &h)
	if err != nil {
		return err
	}
	if !isNonce(h.Nonce) || h.First < 1 || h.First > maxPlace || h.Entries < 0 || h.Entries > maxPlace-int(h.First) || h.Saved < 0 {
		return errBroken
	}
	l.begin(&h)
	for n := 0; n < h.Saved; {
		var some []carriedSocket
		if data, err = passage.Next(data, &some); err != nil {
			return err
		}
		if n += len(some); len(some) == 0 || n > h.Saved {
			return errBroken
		}
		for i := range some {
			if err := l.importSaved(c, &some[i], h.First+uint64(h.Entries)-1); err != nil {
				return err
			}
		}
	}
	for n := 0; n < h.Entries; {
		var x carriedEntries
		if data, err = passage.Next(data, &x); err != nil {
			return err
		}
		if n += len(x.Flags); len(x.Flags) == 0 || n > h.Entries {
			return errBroken
		}
		if err := l.importEntries(c, &x); err != nil {
			return err
		}
	}
	if len(data) > 0 {
		return errBroken
	}
	l.wanted()
	return nil
}

// All returns the counters, in an order of their own, but for what is kept now.
func (c *Counts) All() []*int64 {
	return []*int64{&c.Recovered, &c.Replayed, &c.Unknown, &c.Lost, &c.TooLarge, &c.Alien, &c.Alive, &c.Early, &c.Revoked, &c.Evicted, &c.Dropped}
}

// Away returns the sockets that may come back.
func (l *Log) Away() (all []*Saved) {
	for _, s := range l.away.heap {
		if s.status <= isClaimed {
			all = append(all, s)
		}
	}
	return all
}

// Part has the log begin anew, with nothing in it, when a successor has it: offsets from
// now on are none of that one's, who knows them for others by that.
func (l *Log) Part() { l.begin(&carriedLog{Nonce: newNonce(), First: l.Last() + 1}) }

// isNonce tells whether a nonce can be one: it goes into packets as it is.
func isNonce(s string) bool {
	return len(s) == 4 && strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(base64Digits, r) }) < 0
}

// begin empties the log, and has it begin at another's place.
func (l *Log) begin(h *carriedLog) {
	for l.entries.len() > 0 {
		if m := l.entries.front().Message; m != nil {
			m.Drop()
		}
		l.entries.pop()
	}
	clear(l.index.newest)
	clear(l.index.excepted)
	l.nonce, l.bytes = h.Nonce, 0
	l.entries = store{first: h.First}
	l.away = away{}
	l.away.init()
}

// importSaved is Save of a socket that has gone from another process, with last as the last
// place.
func (l *Log) importSaved(c Carrier, x *carriedSocket, last uint64) error {
	if x.Ref == 0 || x.Home == 0 || x.Name == "" || x.PID == "" || x.From > last || x.Age < 0 || x.Age > maxAge {
		return errBroken
	}
	s := &Saved{Owner: c.Labelled(x.Label), Socket: Socket{Name: x.Name, ID: x.ID, PID: x.PID, Identity: x.Identity, Rooms: x.Rooms,
		Ref: x.Ref, Home: x.Home, From: x.From, Expires: x.Expires}}
	s.left = l.o.Now() - x.Age
	if s.until = s.left + l.o.Window.Milliseconds(); s.Owner == nil || s.until <= l.o.Now() || l.lacks(s.From) && !x.Back {
		return nil // nobody can come back for it
	}
	if x.Rest != nil && !x.Back {
		if err := c.UnpackRest(s, x.Rest); err != nil {
			return err
		}
	}
	if l.away.add(s); x.Back {
		l.away.back(s)
	}
	for l.away.bytes > l.o.MaxBytes/2 {
		l.o.Counts.Evicted++
		l.away.remove(l.away.first())
	}
	return nil
}

// importEntries appends entries, which had their places.
func (l *Log) importEntries(c Carrier, x *carriedEntries) error {
	var r freight.Reader
	now, at := l.o.Now(), int64(0)
	all := make([]entry, len(x.Flags))
	for i, flags := range x.Flags {
		age := r.Take(&x.Ages)
		if age > maxAge {
			return errBroken
		}
		if i == 0 {
			at = now - int64(age)
		} else {
			at = min(at+int64(age), now)
		}
		e := &all[i]
		e.at = at
		if !x.take(e, flags, &r) {
			return errBroken
		}
		if e.change != nil {
			continue
		}
		m, err := x.Messages.Next()
		if err == nil {
			e.Message, err = c.Unpack(e.Name, m)
		}
		if err != nil {
			return err
		}
	}
	if !x.used() {
		return errBroken
	}
	for i := range all {
		l.put(all[i], now)
	}
	return nil
}

// take sets what an entry has beside its message and its age; it is false if columns have
// ended, or it can be none.
func (x *carriedEntries) take(e *entry, flags byte, r *freight.Reader) bool {
	e.Name = r.Name(&x.Name, &x.Names)
	if flags&isEvent == 0 {
		e.change = &change{flags&hasJoined != 0, r.Take(&x.Effects)}
	}
	if flags&hasRef != 0 {
		e.Ref = rooms.Ref(r.Take(&x.Ref))
	}
	if flags&hasRoom != 0 {
		e.Room = r.Name(&x.Room, &x.Names)
	}
	if flags&hasExcept != 0 {
		e.Except = rooms.Ref(r.Take(&x.Except))
	}
	if flags&hasTo != 0 {
		if len(x.To) == 0 {
			return false
		}
		t := &x.To[0]
		e.To = &Audience{Rooms: t.Rooms, Except: t.Except, Refs: t.Refs, ExceptRefs: t.ExceptRefs, All: t.All}
		x.To = x.To[1:]
	}
	return !r.Failed && e.Name != "" && (e.change == nil || e.To == nil && e.Ref != 0 && e.Room != "")
}

// used tells whether all columns have been taken.
func (x *carriedEntries) used() bool {
	return len(x.Ages)+len(x.Name)+len(x.Room)+len(x.Ref)+len(x.Except)+len(x.Effects)+len(x.To)+x.Messages.Left() == 0
}
