package history

import (
	"bytes"
	"errors"

	"github.com/sioedge/sioedge/sio/internal/freight"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// A history goes to a successor with its places and, as ages, its times: each event once,
// with the rooms that have it, the oldest first.

// A Carrier knows what is in messages.
type Carrier interface {
	Pack(m Message) freight.Message
	Unpack(instance string, m freight.Message) (Message, error)
}

// A carriedStore is what comes first.
type carriedStore struct {
	Place uint64 `cbor:"1,keyasint,omitempty"`
	Links int    `cbor:"2,keyasint,omitempty"`
	Rooms int    `cbor:"3,keyasint,omitempty"` // behind the links
	// Stats are Kept, Evicted, Expired, Asked and Merged.
	Stats []int64 `cbor:"4,keyasint,omitempty"`
}

// What an event is.
const (
	isLocal = 1 << iota
	isMerged
	hasRooms
	hasExcept
)

// carriedLinks are events in rooms, in the order of all, and those of the events that come
// for the first time.
type carriedLinks struct {
	Names freight.Names `cbor:"1,keyasint"`
	// Of each link: the event's number, from 0 in the order in which they come; its
	// instance's and its room's name.
	Items     freight.Numbers `cbor:"2,keyasint"`
	Instances freight.Numbers `cbor:"3,keyasint"`
	Rooms     freight.Numbers `cbor:"4,keyasint"`

	// Of each event.
	Flags    []byte           `cbor:"5,keyasint,omitempty"`
	Places   freight.Numbers  `cbor:"6,keyasint,omitempty"`
	Ages     freight.Numbers  `cbor:"7,keyasint,omitempty"` // ms
	Others   [][]string       `cbor:"8,keyasint,omitempty"` // Item.Rooms, Item.Except: those that there are
	Messages freight.Messages `cbor:"9,keyasint"`
}

// A carriedRoom is what is known of a room beside its events.
type carriedRoom struct {
	Instance string `cbor:"1,keyasint"`
	Room     string `cbor:"2,keyasint"`
	Since    uint64 `cbor:"3,keyasint,omitempty"`
	Fresh    bool   `cbor:"4,keyasint,omitempty"`
	Empty    bool   `cbor:"5,keyasint,omitempty"` // it has had no members
	Age      int64  `cbor:"6,keyasint,omitempty"` // for so many ms
}

const (
	piece      = 256     // links or rooms at a time
	pieceBytes = 1 << 18 // of their messages
)

var errBroken = errors.New("history: that is no history")

// Export returns all there is, for Import. It changes nothing.
func (s *Store) Export(c Carrier) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := bytes.NewBuffer(make([]byte, 0, s.bytes+1<<10))
	h := carriedStore{s.place, int(s.links), len(s.rooms), []int64{s.stats.Kept, s.stats.Evicted, s.stats.Expired, s.stats.Asked, s.stats.Merged}}
	if err := passage.Write(b, &h); err != nil {
		return nil, err
	}
	var x carriedLinks
	number, known, links := uint64(0), map[*Item]uint64{}, 0
	for l := s.oldest; l != nil; l = l.newer {
		n, again := known[l.item]
		if !again {
			if n = number; l.item.uses > 1 {
				known[l.item] = n
			}
			number++
			x.put(l.item, s.now(), c)
		}
		x.Items.Put(n)
		x.Instances.Put(x.Names.Of(l.room.instance))
		x.Rooms.Put(x.Names.Of(l.room.room))
		if links++; links == piece || len(x.Messages.Frames) >= pieceBytes || l.newer == nil {
			if err := passage.Write(b, &x); err != nil {
				return nil, err
			}
			x.reset()
			links = 0
		}
	}
	err := s.exportRooms(b)
	return b.Bytes(), err
}

func (x *carriedLinks) put(item *Item, now int64, c Carrier) {
	flags := byte(0)
	if item.Local {
		flags |= isLocal
	}
	if item.Merged {
		flags |= isMerged
	}
	if len(item.Rooms) > 0 {
		flags |= hasRooms
		x.Others = append(x.Others, item.Rooms)
	}
	if len(item.Except) > 0 {
		flags |= hasExcept
		x.Others = append(x.Others, item.Except)
	}
	x.Flags = append(x.Flags, flags)
	x.Places.Put(item.Place)
	x.Ages.Put(uint64(max(0, now-item.At)))
	x.Messages.Put(c.Pack(item.Message))
}

func (x *carriedLinks) reset() {
	x.Names.Reset()
	x.Messages.Reset()
	clear(x.Others)
	x.Items, x.Instances, x.Rooms, x.Flags = x.Items[:0], x.Instances[:0], x.Rooms[:0], x.Flags[:0]
	x.Places, x.Ages, x.Others = x.Places[:0], x.Ages[:0], x.Others[:0]
}

func (s *Store) exportRooms(b *bytes.Buffer) error {
	var some []carriedRoom
	n := 0
	for k, r := range s.rooms {
		x := carriedRoom{Instance: k.instance, Room: k.room, Since: r.since, Fresh: r.fresh, Empty: r.left != 0}
		if x.Empty {
			x.Age = min(max(0, s.now()-r.left), farAway)
		}
		some = append(some, x)
		if n++; len(some) == piece || n == len(s.rooms) {
			if err := passage.Write(b, some); err != nil {
				return err
			}
			some = some[:0]
		}
	}
	return nil
}

// Import has the store be that of Export, which another process has called. What there is
// in it is forgotten: it was for nobody. What is too old goes, and what is too much. When
// rooms have their members, Settle follows.
func (s *Store) Import(c Carrier, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var h carriedStore
	data, err := passage.Next(data, &h)
	if err != nil {
		return err
	}
	if h.Links < 0 || h.Rooms < 0 || h.Place > farAway || len(h.Stats) != 5 {
		return errBroken
	}
	for s.oldest != nil {
		s.drop(s.oldest.room.links[0])
	}
	s.place = h.Place
	s.stats = Stats{Kept: h.Stats[0], Evicted: h.Stats[1], Expired: h.Stats[2], Asked: h.Stats[3], Merged: h.Stats[4]}
	a := arrival{store: s, carrier: c, several: map[uint64]*Item{}}
	for n := 0; n < h.Links; {
		var x carriedLinks
		if data, err = passage.Next(data, &x); err != nil {
			return err
		}
		k, err := a.add(&x)
		if n += k; err != nil || k == 0 || n > h.Links {
			return errors.Join(errBroken, err)
		}
	}
	s.sweep(1 << 30)
	s.inherited = nil
	for len(s.inherited) < h.Rooms {
		var some []carriedRoom
		if data, err = passage.Next(data, &some); err != nil {
			return err
		}
		if len(some) == 0 {
			return errBroken
		}
		s.inherited = append(s.inherited, some...)
	}
	if len(data) > 0 || len(s.inherited) > h.Rooms {
		return errBroken
	}
	return nil
}

// An arrival is of links that come some at a time.
type arrival struct {
	store   *Store
	carrier Carrier
	number  uint64           // of the next new event
	several map[uint64]*Item // those that are in several rooms, by their numbers
}

// add adds links, and returns how many there were.
func (a *arrival) add(x *carriedLinks) (n int, err error) {
	var r freight.Reader
	s, fresh := a.store, make([]Item, 0, len(x.Flags))
	for ; len(x.Items) > 0; n++ {
		number, instance, name := r.Take(&x.Items), r.Name(&x.Instances, &x.Names), r.Name(&x.Rooms, &x.Names)
		item := a.several[number]
		switch {
		case r.Failed:
			return n, errBroken
		case number == a.number && len(fresh) < cap(fresh):
			fresh = fresh[:len(fresh)+1]
			item = &fresh[len(fresh)-1]
			if err := a.item(item, x, len(fresh)-1, instance); err != nil {
				return n, err
			}
		case item == nil:
			return n, errBroken
		case item.uses == 0:
			continue // it has gone for lack of room
		}
		room := s.open(instance, name)
		s.append(room, &link{room: room, item: item}, nil)
		if len(room.links) > s.o.Size {
			s.drop(room.links[0])
		}
		s.squeeze()
	}
	if len(fresh) < cap(fresh) || len(x.Instances)+len(x.Rooms)+len(x.Ages)+len(x.Places)+len(x.Others)+x.Messages.Left() > 0 {
		return n, errBroken
	}
	return n, nil
}

// item makes an event that comes for the first time, the nth of x.
func (a *arrival) item(item *Item, x *carriedLinks, n int, instance string) error {
	var r freight.Reader
	s, flags := a.store, x.Flags[n]
	others := func(there bool) (names []string) {
		if there && len(x.Others) > 0 {
			names, x.Others = x.Others[0], x.Others[1:]
		}
		return names
	}
	*item = Item{Local: flags&isLocal != 0, Merged: flags&isMerged != 0, Rooms: others(flags&hasRooms != 0), Except: others(flags&hasExcept != 0),
		Place: min(r.Take(&x.Places), s.place), At: s.now() - int64(min(r.Take(&x.Ages), farAway))}
	m, err := x.Messages.Next()
	if err == nil {
		item.Message, err = a.carrier.Unpack(instance, m)
	}
	if err != nil || r.Failed {
		return errors.Join(err, errBroken)
	}
	if len(item.Rooms) > 0 {
		a.several[a.number] = item
	}
	a.number++
	item.cost = item.size(&s.further)
	s.bytes += item.cost
	return nil
}

// Settle ends Import: rooms are what they were to the other servers, those of which
// occupied says that they have members.
func (s *Store) Settle(occupied func(instance, room string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.inherited {
		fresh := x.Fresh && occupied(x.Instance, x.Room)
		if s.rooms[key{x.Instance, x.Room}] == nil && !fresh {
			continue
		}
		r := s.open(x.Instance, x.Room)
		r.since, r.fresh, r.left = min(x.Since, s.place), fresh, 0
		switch {
		case x.Fresh && !fresh:
			r.left = s.now()
		case x.Empty:
			r.left = s.now() - min(max(x.Age, 0), farAway)
		}
		if r.left == 0 && (x.Empty || x.Fresh && !fresh) {
			r.left = -1
		}
	}
	s.inherited = nil
	s.squeeze()
}
