package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms/value"
)

const (
	maxRoomData    = 16 << 10       // bytes of what is stored with one room
	roomTTL        = time.Minute    // that it is kept while nobody is in the room, unless it says so
	maxRoomTTL     = 24 * time.Hour //
	roomDataEach   = 256            // bytes that one takes beside its texts, about
	roomSweep      = time.Second    // between looks for those whose time is over
	roomSweepMost  = 64             // of one look: the others wait for the next
	roomClockAhead = time.Minute    // that another server's clock may be ahead
)

// A roomRecord is what is stored with a room: also what servers tell each other of it.
type roomRecord struct {
	Nsp   string          `json:"nsp"`
	Room  string          `json:"room"`
	Data  json.RawMessage `json:"data,omitempty"` // nil: it was taken out, which others are to learn
	Stamp int64           `json:"stamp"`          // ms since 1970; of two, the later counts
	By    string          `json:"by"`             // the server that was told; of one Stamp, the greater counts
	TTL   int64           `json:"ttl"`            // seconds
}

func (r *roomRecord) later(than *roomRecord) bool {
	return cmp.Or(cmp.Compare(r.Stamp, than.Stamp), cmp.Compare(r.By, than.By)) > 0
}

func (r *roomRecord) size() int { return len(r.Nsp) + len(r.Room) + len(r.Data) + roomDataEach }

// check tells what is wrong with a record of another server.
func (r *roomRecord) check(now time.Time) error {
	switch {
	case r.Nsp == "" || r.Nsp[0] != '/' || r.Room == "" || len(r.Nsp) > action.MaxRoomName || len(r.Room) > action.MaxRoomName || len(r.By) > action.MaxEventName:
		return errors.New("no names")
	case len(r.Data) > maxRoomData || r.Data != nil && value.Skip(r.Data, 0, value.MaxDepth) != len(r.Data):
		return errors.New("no data of a room")
	case r.TTL < 1 || r.TTL > int64(maxRoomTTL/time.Second) || r.Stamp < 0 || r.Stamp > now.Add(roomClockAhead).UnixMilli():
		return errors.New("no times")
	}
	return nil
}

type roomKey struct{ nsp, room string }

// roomData is what this server has of what is stored with rooms: all that the others have
// told it. It stays while somebody is in the room, on whichever server, and for its TTL
// after that.
type roomData struct {
	a *API

	mu       sync.Mutex
	kept     map[roomKey]*keptRoom
	bytes    int
	sweeping bool

	refused atomic.Int64
}

type keptRoom struct {
	roomRecord
	due time.Time // when it is looked whether somebody is there
}

// get returns what there is, nil for nothing.
func (d *roomData) get(nsp, room string) *roomRecord {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.kept[roomKey{nsp, room}]; k != nil {
		r := k.roomRecord
		return &r
	}
	return nil
}

// put stores a record, if it is the latest, and returns the stamp of the latest; one of
// this server's own becomes that. It is false if there is no space. The record is kept.
func (d *roomData) put(r roomRecord, own bool, now time.Time) (stamp int64, ok bool) {
	most := d.a.settings.Load().MaxRoomData
	d.mu.Lock()
	defer d.mu.Unlock()
	key, size := roomKey{r.Nsp, r.Room}, r.size()
	old := d.kept[key]
	if old != nil {
		if own {
			r.Stamp = max(r.Stamp, old.Stamp+1)
		}
		if !r.later(&old.roomRecord) {
			return old.Stamp, true
		}
		size -= old.size()
	}
	if d.bytes+size > most && size > 0 {
		d.refused.Add(1)
		d.a.notice.Warn("data of a room is not stored, since there is so much", "option", "api.max_room_data", "bytes", d.bytes, "bound", most)
		return 0, false
	}
	d.bytes += size
	if d.kept == nil {
		d.kept = map[roomKey]*keptRoom{}
	}
	d.kept[key] = &keptRoom{r, now.Add(time.Duration(r.TTL) * time.Second)}
	if !d.sweeping {
		d.sweeping = true
		// ends when nothing is stored any more, or with the API
		go d.sweep()
	}
	return r.Stamp, true
}

// sweep takes out what is over, now and then.
func (d *roomData) sweep() {
	for tick := time.NewTicker(roomSweep); ; {
		select {
		case <-d.a.stopped.Done():
			return
		case now := <-tick.C:
			for _, k := range d.over(now) {
				d.settle(k, now)
			}
		}
		d.mu.Lock()
		ended := len(d.kept) == 0
		d.sweeping = !ended
		d.mu.Unlock()
		if ended {
			return
		}
	}
}

// over returns some whose time has come.
func (d *roomData) over(now time.Time) (all []*keptRoom) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kept {
		if !k.due.After(now) {
			if all = append(all, k); len(all) == roomSweepMost {
				break
			}
		}
	}
	return all
}

// settle takes one out if nobody is in the room, as far as is known of all servers.
func (d *roomData) settle(k *keptRoom, now time.Time) {
	there := d.a.occupied(k.Nsp, k.Room) && k.Data != nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if key := (roomKey{k.Nsp, k.Room}); d.kept[key] == k { // it is none that came meanwhile
		if there {
			k.due = now.Add(time.Duration(k.TTL) * time.Second)
			return
		}
		d.bytes -= k.size()
		delete(d.kept, key)
	}
}

// occupied tells whether somebody is in a room, or may be.
func (a *API) occupied(nsp, room string) bool {
	to, err := action.Find(a.srv, nsp)
	if err != nil {
		return false
	}
	to = to.To(room)
	if to.Local().Count() > 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(a.stopped, a.peers.wait())
	defer cancel()
	n, err := to.CountAll(ctx)
	return n > 0 || err != nil
}

func (d *roomData) stats() RoomDataStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return RoomDataStats{len(d.kept), d.bytes, d.refused.Load()}
}

// A roomQuestion asks what is stored with a room: the answer is a roomRecord.
type roomQuestion struct {
	Nsp  string `json:"nsp"`
	Room string `json:"room"`
}

// A roomAnswer is what a server says that was told a roomRecord: the stamp of the latest
// that it knows.
type roomAnswer struct {
	Stamp int64 `json:"stamp"`
}

// told stores what another server has told.
func (d *roomData) told(r roomRecord) any {
	now := time.Now()
	if err := r.check(now); err != nil {
		d.a.notice.Warn("what another server said of a room is not understood", "error", err)
		return nil
	}
	stamp, _ := d.put(r, false, now)
	return roomAnswer{stamp}
}

// latest returns what is stored with a room, of all servers, nil for nothing.
func (d *roomData) latest(ctx context.Context, nsp, room string) (json.RawMessage, *wire.Partial, error) {
	here := d.get(nsp, room)
	answers, part, err := ask[roomRecord](ctx, d.a.peers, topicRoomData, roomQuestion{nsp, room})
	if err != nil {
		return nil, nil, err
	}
	now, best := time.Now(), here
	for i := range answers {
		if r := &answers[i]; r.Nsp == nsp && r.Room == room && r.check(now) == nil && (best == nil || r.later(best)) {
			best = r
		}
	}
	if best == nil {
		return nil, part, nil
	}
	if best != here {
		d.put(*best, false, now)
	}
	return best.Data, part, nil
}

// store stores a record on all servers.
func (d *roomData) store(ctx context.Context, r roomRecord) (any, error) {
	now := time.Now()
	r.By, r.Stamp = d.a.srv.Node(), now.UnixMilli()
	for again := false; ; again = true {
		var ok bool
		if r.Stamp, ok = d.put(r, true, now); !ok {
			p := fail(http.StatusServiceUnavailable, "full", "as much is stored with rooms as may be (api.max_room_data)")
			p.passing = true
			return nil, p
		}
		answers, part, err := ask[roomAnswer](ctx, d.a.peers, topicRoomPut, r)
		if err != nil {
			return nil, err
		}
		latest := r.Stamp
		for _, x := range answers {
			latest = max(latest, x.Stamp)
		}
		if latest == r.Stamp || again || latest > now.Add(roomClockAhead).UnixMilli() {
			return wire.RoomStored{Partial: part}, nil
		}
		r.Stamp = latest + 1 // a server whose clock is ahead had it before
	}
}

// putRoom is the endpoint.
func (c *call) putRoom() (any, error) {
	r := roomRecord{Nsp: "/" + strings.TrimPrefix(c.params[0], "/"), Room: c.params[1], TTL: int64(roomTTL / time.Second)}
	if err := checkNames("room", []string{r.Room}); err != nil {
		return nil, err
	}
	if _, err := action.Find(c.a.srv, r.Nsp); err != nil {
		return nil, err
	}
	if err := checkJSON(c.body, c.s); err != nil {
		return nil, err
	}
	found := false
	err := members(c.body, func(name string, v []byte) (err error) {
		switch name {
		case "data":
			if found, r.Data = true, slices.Clone(v); string(v) == "null" {
				r.Data = nil
			} else if len(v) > maxRoomData {
				return bad(name, string(action.TooLong), "has more than "+strconv.Itoa(maxRoomData)+" bytes")
			}
		case "ttl":
			n, wrong := wholeOf(name, v, 1, int(maxRoomTTL/time.Second))
			r.TTL, err = int64(n), wrong
		default:
			err = errUnknown
		}
		return err
	})
	if err == nil && !found {
		err = bad("data", string(action.Missing), "is missing")
	}
	if err != nil {
		return nil, err
	}
	return c.a.roomData.store(c.r.Context(), r)
}
