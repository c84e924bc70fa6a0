package clusterlog

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

// An event for one socket alone is not added to the log of the cluster, which all
// servers read: it is delivered at once, behind what it may not overtake, and kept
// here as long as it may not have arrived. If the socket's client goes, what it may
// lack goes with its session.

// A Spot is where an event is in a lane: that of an entry, or, with a number,
// behind it, of the server that the socket is on.
type Spot struct {
	Place rooms.Place
	N     uint64
}

func (s Spot) less(t Spot) bool { return s.Place < t.Place || s.Place == t.Place && s.N < t.N }

// String returns the form that clients get. Servers of Node take one with a number
// for none.
func (s Spot) String() string {
	if s.N == 0 {
		return s.Place.String()
	}
	return s.Place.String() + "." + strconv.FormatUint(s.N, 10)
}

// ParseSpot parses that form.
func ParseSpot(text string) (s Spot, ok bool) {
	place, n, numbered := strings.Cut(text, ".")
	if s.Place, ok = rooms.ParsePlace(place); ok && numbered {
		var err error
		s.N, err = strconv.ParseUint(n, 10, 32)
		ok = err == nil && s.N > 0
	}
	return s, ok
}

// Now returns the spot behind which the next event of a lane is.
func (x *Lane) Now() Spot { return Spot{x.last, x.direct} }

// Offset returns what is put behind an event in a namespace: "" if nothing. An event
// without a place of its own, with 0, must not take that of the last offset that the
// client has.
func (l *Log) Offset(namespace string, e rooms.Event, place rooms.Place) string {
	if place != 0 && !e.Volatile {
		return place.String()
	}
	if now := l.Of(namespace).Now(); packetlog.EndsInString(e.Data) && now.Place != 0 {
		return now.String()
	}
	return ""
}

// A Direct is an event for one socket, in the form in which it goes with a session.
type Direct struct {
	Spot        string          `json:"at"`
	Data        json.RawMessage `json:"data"`
	Attachments [][]byte        `json:"attachments,omitempty"`
	Plain       bool            `json:"plain,omitempty"`

	spot Spot
	time time.Time
	ref  rooms.Ref
}

func (d *Direct) event() rooms.Event {
	return rooms.Event{Data: d.Data, Attachments: d.Attachments, Plain: d.Plain}
}

func (d *Direct) size() int64 {
	n := int64(len(d.Data)) + 300
	for _, a := range d.Attachments {
		n += int64(len(a)) + 24
	}
	return n
}

// Directs are those of the sockets of this server. Guarded by Options.Lock.
type Directs struct {
	of    map[rooms.Ref]*directList
	queue []*Direct // all, the oldest first
	bytes int64
}

// A directList is those of one socket.
type directList struct {
	events  []*Direct
	dropped Spot // the last that is not kept any more
}

const (
	// maxDirects bounds the bytes of such events that go with a session: its client
	// is a new one beyond.
	maxDirects = 1 << 20
	// directBytes is what one takes there beside its own.
	directBytes = 64
)

// Send gives an event for one socket its place, behind what its lane has delivered,
// and keeps it unless the socket is gone. The offset is "" if that place is not known.
func (l *Log) Send(x *Lane, ref rooms.Ref, e rooms.Event, gone bool) (offset string) {
	if x.last == 0 {
		return ""
	}
	x.direct++
	offset = x.Now().String()
	if !gone {
		l.Directs.add(&Direct{Spot: offset, Data: e.Data, Attachments: e.Attachments, Plain: e.Plain, spot: x.Now(), time: time.Now(), ref: ref})
	}
	return offset
}

// Resend keeps events again that a socket was given when it came back.
func (x *Directs) Resend(ref rooms.Ref, events []*Direct) {
	for _, d := range events {
		sent := *d
		sent.ref, sent.time = ref, time.Now()
		x.add(&sent)
	}
}

// list returns that of a socket, made if there is none.
func (x *Directs) list(ref rooms.Ref) *directList {
	if x.of == nil {
		x.of = map[rooms.Ref]*directList{}
	}
	list := x.of[ref]
	if list == nil {
		list = &directList{}
		x.of[ref] = list
	}
	return list
}

// add keeps an event.
func (x *Directs) add(d *Direct) {
	list := x.list(d.ref)
	list.events = append(list.events, d)
	x.queue = append(x.queue, d)
	x.bytes += d.size()
}

// Kept returns how many events are kept, and what they take.
func (x *Directs) Kept() (events int, bytes int64) { return len(x.queue), x.bytes }

// Prune drops what is older, or more, than is kept. It is false if nothing is kept.
func (x *Directs) Prune(proof time.Duration, most int64) (kept bool) {
	for len(x.queue) > 0 && (x.bytes > most || time.Since(x.queue[0].time) > proof) {
		d := x.queue[0]
		x.queue[0] = nil
		x.queue = x.queue[1:]
		x.bytes -= d.size()
		if list := x.of[d.ref]; list != nil && len(list.events) > 0 && list.events[0] == d {
			list.events, list.dropped = list.events[1:], d.spot
		}
	}
	if len(x.queue) == 0 {
		x.queue = nil
	}
	return len(x.queue) > 0
}

// Take returns those of a socket that leaves which its client may not have had: all
// that were sent since the log was at a place. It is false if they are not all kept,
// or too many to go with its session.
func (x *Directs) Take(ref rooms.Ref, from rooms.Place) (events []*Direct, ok bool) {
	list := x.of[ref]
	if list == nil {
		return nil, true
	}
	delete(x.of, ref)
	i := slices.IndexFunc(list.events, func(d *Direct) bool { return d.spot.Place >= from })
	if i >= 0 {
		events = list.events[i:]
	}
	bytes := int64(0)
	for _, d := range events {
		bytes += int64(len(d.Data)) + directBytes
		for _, a := range d.Attachments {
			bytes += int64(len(a)) * 4 / 3 // in base64
		}
	}
	return events, (list.dropped.Place < from || list.dropped == Spot{}) && bytes <= maxDirects
}

// Forget forgets the events of a socket that is gone.
func (x *Directs) Forget(ref rooms.Ref) { delete(x.of, ref) }

// AppendDirects encodes events that go with a session.
func AppendDirects(events []*Direct) []byte {
	if len(events) == 0 {
		return nil
	}
	b, err := json.Marshal(events)
	if err != nil {
		panic("clusterlog: an event that was encoded is no JSON: " + err.Error())
	}
	return b
}

// isEvent tells whether data may be that of an event.
func isEvent(data []byte) bool {
	return len(data) >= len(`["e"]`) && data[0] == '[' && data[1] == '"' && data[len(data)-1] == ']'
}

// ParseDirects decodes them. It is false if they are not what this package keeps.
func ParseDirects(b []byte) (events []*Direct, ok bool) {
	if len(b) == 0 {
		return nil, true
	}
	if json.Unmarshal(b, &events) != nil {
		return nil, false
	}
	for i, d := range events {
		if d == nil || !isEvent(d.Data) {
			return nil, false
		}
		if d.spot, ok = ParseSpot(d.Spot); !ok || i > 0 && !events[i-1].spot.less(d.spot) {
			return nil, false
		}
	}
	return events, true
}
