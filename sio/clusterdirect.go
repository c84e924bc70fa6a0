package sio

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// An event for one socket alone is not added to the log of the cluster, which all
// servers read: it is delivered at once, behind what it may not overtake, and kept
// here as long as it may not have arrived. If the socket's client goes, what it may
// lack goes with its session.

// A spot is where an event is in a lane: that of an entry, or, with a number,
// behind it, of the server that the socket is on.
type spot struct {
	place rooms.Place
	n     uint64
}

func (s spot) less(t spot) bool { return s.place < t.place || s.place == t.place && s.n < t.n }

// String returns the form that clients get. Servers of Node take one with a number
// for none.
func (s spot) String() string {
	if s.n == 0 {
		return s.place.String()
	}
	return s.place.String() + "." + strconv.FormatUint(s.n, 10)
}

func parseSpot(text string) (s spot, ok bool) {
	place, n, numbered := strings.Cut(text, ".")
	if s.place, ok = rooms.ParsePlace(place); ok && numbered {
		var err error
		s.n, err = strconv.ParseUint(n, 10, 32)
		ok = err == nil && s.n > 0
	}
	return s, ok
}

// A direct is an event for one socket.
type direct struct {
	Spot        string          `json:"at"`
	Data        json.RawMessage `json:"data"`
	Attachments [][]byte        `json:"attachments,omitempty"`
	Plain       bool            `json:"plain,omitempty"`

	spot spot
	time time.Time
	ref  rooms.Ref
}

func (d *direct) event() rooms.Event {
	return rooms.Event{Data: d.Data, Attachments: d.Attachments, Plain: d.Plain}
}

func (d *direct) size() int64 {
	n := int64(len(d.Data)) + 300
	for _, a := range d.Attachments {
		n += int64(len(a)) + 24
	}
	return n
}

// directs are those of the sockets of this server. Guarded by clusterLog.mu.
type directs struct {
	of    map[rooms.Ref]*directList
	queue []*direct // all, the oldest first
	bytes int64
}

// A directList is those of one socket.
type directList struct {
	events  []*direct
	dropped spot // the last that is not kept any more
}

const (
	// maxDirects bounds the bytes of such events that go with a session: its client
	// is a new one beyond.
	maxDirects = 1 << 20
	// directBytes is what one takes there beside its own.
	directBytes = 64
)

// add keeps an event.
func (x *directs) add(d *direct) {
	if x.of == nil {
		x.of = map[rooms.Ref]*directList{}
	}
	list := x.of[d.ref]
	if list == nil {
		list = &directList{}
		x.of[d.ref] = list
	}
	list.events = append(list.events, d)
	x.queue = append(x.queue, d)
	x.bytes += d.size()
}

// prune drops what is older, or more, than is kept.
func (x *directs) prune(proof time.Duration, most int64) {
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
}

// take returns those of a socket that leaves which its client may not have had: all
// that were sent since the log was at a place. It is false if they are not all kept,
// or too many to go with its session.
func (x *directs) take(ref rooms.Ref, from rooms.Place) (events []*direct, ok bool) {
	list := x.of[ref]
	if list == nil {
		return nil, true
	}
	delete(x.of, ref)
	i := slices.IndexFunc(list.events, func(d *direct) bool { return d.spot.place >= from })
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
	return events, (list.dropped.place < from || list.dropped == spot{}) && bytes <= maxDirects
}

// forget forgets the events of a socket that is gone.
func (l *clusterLog) forget(ref rooms.Ref) {
	l.mu.Lock()
	delete(l.directs.of, ref)
	l.mu.Unlock()
}

// now returns the spot behind which the next event of a lane is.
func (x *lane) now() spot { return spot{x.last, x.direct} }

// emitCluster is Emit where the cluster keeps events.
func (s Socket) emitCluster(event string, args []any, plain bool) error {
	if s.gone() {
		return ErrClosed
	}
	e, err := s.srv().encodeEvent(event, args)
	if err != nil {
		return err
	}
	e = own(e)
	e.Plain = plain
	l := s.srv().shared
	l.after(s.in.name, func() { l.send(s, e) })
	return nil
}

// send delivers an event to one socket; mu is held.
func (l *clusterLog) send(s Socket, e rooms.Event) {
	x, offset := l.of(s.in.name), ""
	if x.last != 0 {
		x.direct++
		offset = x.now().String()
		if !s.gone() {
			l.directs.add(&direct{Spot: offset, Data: e.Data, Attachments: e.Attachments, Plain: e.Plain, spot: x.now(), time: time.Now(), ref: s.ref})
			l.directs.prune(l.srv.log.proof, l.srv.log.most)
			l.srv.log.wanted()
		}
	}
	frames, tail := frameAt(s.in.name, e, offset)
	s.shard().loop.Mail(uint64(s.ref), mailKind(e.Plain, tail), frames, nil)
}

// appendDirects encodes events that go with a session.
func appendDirects(events []*direct) []byte {
	if len(events) == 0 {
		return nil
	}
	b, err := json.Marshal(events)
	if err != nil {
		panic("sio: an event that was encoded is no JSON: " + err.Error())
	}
	return b
}

// parseDirects decodes them. It is false if they are not what this package keeps.
func parseDirects(b []byte) (events []*direct, ok bool) {
	if len(b) == 0 {
		return nil, true
	}
	if json.Unmarshal(b, &events) != nil {
		return nil, false
	}
	for i, d := range events {
		if d == nil || len(d.Data) < len(`["e"]`) || d.Data[0] != '[' || d.Data[1] != '"' {
			return nil, false
		}
		if d.spot, ok = parseSpot(d.Spot); !ok || i > 0 && !events[i-1].spot.less(d.spot) {
			return nil, false
		}
	}
	return events, true
}

// mingle puts the events for a watcher alone among what it has missed otherwise,
// but for those that its client has had.
func (w *watcher) mingle(most int64) {
	missed, places := w.missed, w.places
	w.missed, w.places = nil, nil
	n := 0
	for _, d := range w.direct {
		if !w.had.less(d.spot) {
			continue
		}
		for n < len(missed) && places[n] <= d.spot.place {
			w.missed = append(w.missed, missed[n])
			n++
		}
		frames, _ := frameAt(w.in.name, d.event(), d.Spot)
		w.add(frames, d.Plain, most)
		w.again = append(w.again, d)
	}
	w.missed = append(w.missed, missed[n:]...)
}
