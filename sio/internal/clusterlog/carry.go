package clusterlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// What of a Log goes to a successor: how far lanes are, so that events for single sockets
// go on being numbered, and these as long as they may not have arrived. The log of the
// cluster itself is elsewhere.

// A carriedLane is how far a lane has been delivered.
type carriedLane struct {
	Name string      `cbor:"1,keyasint"`
	Last rooms.Place `cbor:"2,keyasint,omitempty"`
	N    uint64      `cbor:"3,keyasint,omitempty"`
}

// A carriedDirect is an event for one socket.
type carriedDirect struct {
	Ref         rooms.Ref   `cbor:"1,keyasint"`
	Place       rooms.Place `cbor:"2,keyasint"`
	N           uint64      `cbor:"3,keyasint,omitempty"`
	Age         int64       `cbor:"4,keyasint,omitempty"` // ms
	Data        []byte      `cbor:"5,keyasint"`
	Attachments [][]byte    `cbor:"6,keyasint,omitempty"`
	Plain       bool        `cbor:"7,keyasint,omitempty"`
}

// A carriedDrop says what of a socket's events is not kept any more.
type carriedDrop struct {
	Ref   rooms.Ref   `cbor:"1,keyasint"`
	Place rooms.Place `cbor:"2,keyasint"`
	N     uint64      `cbor:"3,keyasint,omitempty"`
}

// carried comes first; events follow, some at a time.
type carried struct {
	Lanes   []carriedLane `cbor:"1,keyasint,omitempty"`
	Drops   []carriedDrop `cbor:"2,keyasint,omitempty"`
	Directs int           `cbor:"3,keyasint,omitempty"`
}

const (
	piece      = 256     // events at a time
	pieceBytes = 1 << 18 // of them
	maxAge     = 1 << 40 // ms
)

var (
	errBroken = errors.New("clusterlog: that is no state of a log")
	errWaits  = errors.New("clusterlog: events of this server have not come back from the log of the cluster")
)

// Export writes it to b. It changes nothing. It is an error as long as something of this
// server's is on its way through the log: others would deliver that a second time.
func (l *Log) Export(b *bytes.Buffer) error {
	d := &l.Directs
	h := carried{Directs: len(d.queue)}
	for name, x := range l.Lanes {
		if x.Busy() || len(x.ahead) > 0 || x.lost {
			return errWaits
		}
		h.Lanes = append(h.Lanes, carriedLane{name, x.last, x.direct})
	}
	for ref, list := range d.of {
		if list.dropped != (Spot{}) {
			h.Drops = append(h.Drops, carriedDrop{ref, list.dropped.Place, list.dropped.N})
		}
	}
	if err := passage.Write(b, &h); err != nil {
		return err
	}
	var some []carriedDirect
	size, now := int64(0), time.Now()
	for i, e := range d.queue {
		some = append(some, carriedDirect{e.ref, e.spot.Place, e.spot.N, max(0, now.Sub(e.time).Milliseconds()), e.Data, e.Attachments, e.Plain})
		if size += e.size(); len(some) == piece || size >= pieceBytes || i == len(d.queue)-1 {
			if err := passage.Write(b, some); err != nil {
				return err
			}
			some, size = some[:0], 0
		}
	}
	return nil
}

// Import has the log go on where another process has called Export. Events that are too
// old, or more than most bytes, are not kept.
func (l *Log) Import(data []byte, proof time.Duration, most int64) error {
	var h carried
	data, err := passage.Next(data, &h)
	if err != nil {
		return err
	}
	for _, x := range h.Lanes {
		if lane := l.Lane(x.Name); lane.last <= x.Last { // else it has been read further
			lane.last, lane.direct = x.Last, x.N
		}
	}
	d := &l.Directs
	for _, x := range h.Drops {
		d.list(x.Ref).dropped = Spot{x.Place, x.N}
	}
	now := time.Now()
	for n := 0; n < h.Directs; {
		var some []carriedDirect
		if data, err = passage.Next(data, &some); err != nil {
			return err
		}
		if n += len(some); len(some) == 0 || n > h.Directs {
			return errBroken
		}
		for _, x := range some {
			e := &Direct{Data: x.Data, Attachments: x.Attachments, Plain: x.Plain, spot: Spot{x.Place, x.N}, ref: x.Ref}
			list := d.of[x.Ref]
			if !isEvent(x.Data) || !json.Valid(x.Data) || x.Ref == 0 || x.Age < 0 || x.Age > maxAge || list != nil && len(list.events) > 0 && !list.events[len(list.events)-1].spot.less(e.spot) {
				return errBroken
			}
			e.Spot, e.time = e.spot.String(), now.Add(-time.Duration(x.Age)*time.Millisecond)
			d.add(e)
			d.Prune(proof, most)
		}
	}
	if len(data) > 0 {
		return errBroken
	}
	return nil
}
