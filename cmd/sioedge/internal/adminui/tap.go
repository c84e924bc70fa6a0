package adminui

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// Bounds of what waits to be told, and of how much is told.
const (
	maxRecords = 8192
	maxBytes   = 4 << 20
	maxShown   = 32 << 10 // bytes of one event; of longer ones the length is shown

	perSecond      = 500 // events, after a burst of as many
	bytesPerSecond = 256 << 10
	byteBurst      = 1 << 20
	movesPerSecond = 1000 // what else happens: who comes and goes, and rooms
	moveBurst      = 4000
)

// A record is what pages are to be told: the name of an event and its arguments, as the
// text of a JSON array.
type record struct {
	event       string
	list        []byte
	attachments [][]byte
	later       func() []byte // makes list, on no loop; or nil
}

// text returns the record's arguments.
func (r *record) text() []byte {
	if r.list == nil && r.later != nil {
		r.list, r.later = r.later(), nil
	}
	return r.list
}

// size is what the record takes, about.
func (r *record) size() int {
	const unmade = 2 << 10
	n := len(r.list) + 128
	if r.later != nil {
		n += unmade
	}
	for _, a := range r.attachments {
		n += len(a)
	}
	return n
}

// A bucket says how often something may happen, after a burst. The zero value is full.
type bucket struct{ full time.Time }

// take is false if it is empty; else it takes so many, each of which comes back after every.
func (b *bucket) take(now time.Time, n int, every time.Duration, burst int) bool {
	if b.full.Before(now) {
		b.full = now
	}
	full := b.full.Add(time.Duration(n) * every)
	if full.Sub(now) > time.Duration(burst)*every {
		return false
	}
	b.full = full
	return true
}

// A tap makes records of what happens to sockets. Loops call see.
type tap struct {
	// Immutable.
	namespace string        // the pages' own
	node      string        // this server
	lost      *atomic.Int64 // counts what is left out
	ready     func()        // is called when there are records
	now       func() time.Time

	mu      sync.Mutex // of what follows; held for a moment
	records []record
	bytes   int
	events  bucket
	volume  bucket
	moves   bucket
	lossy   bool // something was left out without which a page does not know who is there
}

// take returns what waits, and whether something is missing of it that pages need.
func (t *tap) take() (all []record, lossy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, lossy = t.records, t.lossy
	t.records, t.bytes, t.lossy = nil, 0, false
	return all, lossy
}

// move queues a record of who is there, and in which rooms.
func (t *tap) move(r record) {
	t.mu.Lock()
	ok := t.moves.take(t.now(), 1, time.Second/movesPerSecond, moveBurst) && t.fits(r.size())
	if ok {
		t.records, t.bytes = append(t.records, r), t.bytes+r.size()
	} else {
		t.lossy = true
	}
	t.mu.Unlock()
	t.told(ok)
}

// event queues a record of an event that takes size bytes, which make makes.
func (t *tap) event(size int, make func() record) {
	t.mu.Lock()
	ok := t.fits(size) && t.events.take(t.now(), 1, time.Second/perSecond, perSecond) &&
		t.volume.take(t.now(), size, time.Second/bytesPerSecond, byteBurst)
	if ok {
		r := make()
		t.records, t.bytes = append(t.records, r), t.bytes+r.size()
	}
	t.mu.Unlock()
	t.told(ok)
}

func (t *tap) told(ok bool) {
	if ok {
		t.ready()
	} else {
		t.lost.Add(1)
	}
}

// fits tells whether so much more may wait; mu is held.
func (t *tap) fits(size int) bool { return len(t.records) < maxRecords && t.bytes+size <= maxBytes }

// see is the function of sio.Server.Observe.
func (t *tap) see(x *sio.Observation) {
	s := x.Socket
	switch x.Kind {
	case sio.ObservedConnect:
		t.connected(x)
	case sio.ObservedDisconnect:
		t.move(record{event: "socket_disconnected", list: t.list(true, s.Name(), s.ID(), string(x.Reason))})
		t.move(record{event: "room_left", list: t.list(true, s.Name(), s.ID(), s.ID())}) // its own
	case sio.ObservedJoin:
		t.move(record{event: "room_joined", list: t.list(true, s.Name(), x.Room, s.ID())})
	case sio.ObservedLeave:
		t.move(record{event: "room_left", list: t.list(true, s.Name(), x.Room, s.ID())})
	case sio.ObservedUpgrade:
		list, _ := json.Marshal([]any{map[string]string{"id": s.ID(), "nsp": s.Name(), "transport": x.Transport()}})
		t.move(record{event: "socket_updated", list: list})
	case sio.ObservedData:
		t.move(record{event: "socket_updated", later: func() []byte {
			list, _ := json.Marshal([]any{map[string]any{"id": s.ID(), "nsp": s.Name(), "data": dataOf(s)}})
			return list
		}})
	case sio.ObservedEvent:
		t.exchanged("event_received", x)
	case sio.ObservedEmit:
		t.exchanged("event_sent", x)
	}
}

// connected tells of a socket that has come, and of its rooms before that, as Node does.
func (t *tap) connected(x *sio.Observation) {
	s, date := x.Socket, t.date()
	rooms := append([]string{s.ID()}, x.Rooms()...)
	for _, room := range rooms {
		t.move(record{event: "room_joined", list: t.list(true, s.Name(), room, s.ID())})
	}
	shown := described(s, t.node, x.Transport(), rooms)
	t.move(record{event: "socket_connected", later: func() []byte {
		shown.Data = dataOf(s)
		list, _ := json.Marshal([]any{shown, date})
		return list
	}})
}

// exchanged tells of an event, but for those of the pages themselves.
func (t *tap) exchanged(how string, x *sio.Observation) {
	if x.Socket.Name() == t.namespace {
		return
	}
	event := x.Event()
	args, attachments := x.Args().Verbatim()
	size := len(event) + 128
	for _, a := range args {
		size += len(a)
	}
	for _, a := range attachments {
		size += len(a)
	}
	if size > maxShown {
		note := fmt.Sprintf("(%d bytes, which are not shown)", size-len(event)-128)
		args, attachments = [][]byte{value.AppendJSONText(nil, note)}, nil
		size = len(event) + 128 + len(note)
	}
	t.event(size, func() record {
		list := append(t.list(false, x.Socket.Name(), x.Socket.ID()), ",["...)
		list = value.AppendJSONText(list, event)
		for _, a := range args {
			list = append(append(list, ','), a...)
		}
		r := record{event: how, list: append(append(append(list, "],\""...), t.date()...), "\"]"...)}
		for _, a := range attachments {
			r.attachments = append(r.attachments, append([]byte{}, a...))
		}
		return r
	})
}

// list returns texts as the text of a JSON array, open unless it ends with the time.
func (t *tap) list(dated bool, texts ...string) []byte {
	list := []byte{'['}
	for i, s := range texts {
		if i > 0 {
			list = append(list, ',')
		}
		list = value.AppendJSONText(list, s)
	}
	if dated {
		list = append(append(append(list, ",\""...), t.date()...), "\"]"...)
	}
	return list
}

// date returns the time as JavaScript writes it.
func (t *tap) date() string { return t.now().UTC().Format("2006-01-02T15:04:05.000Z") }
