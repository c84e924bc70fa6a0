package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
)

// ageField is the field of an entry that has offer.Age of who added it, if that is not 0:
// of two processes with one uid, it says which. Servers of Node do not look at it.
const ageField = "age"

var errStreams = errors.New("redis: the other process reads other streams")

// age returns what ageField has of this process, "" if there is none.
func (s *streams) age() string {
	if s.move.age == 0 {
		return ""
	}
	return strconv.Itoa(s.move.age)
}

// ours tells whether an entry was added by this process, or by another one under its name.
func (s *streams) ours(x rueidis.XRangeEntry) (own, other bool) {
	uid := x.FieldValues["uid"]
	if uid == s.me() {
		own = uid != s.uid || x.FieldValues[ageField] == s.age()
		return own, !own
	}
	return uid == s.uid && x.FieldValues[ageField] == s.age(), false
}

// Mark splits what comes. Streams are split where they have been read up to, which is behind
// all that this server has added by then.
func (s *streams) Mark(ctx context.Context) ([]byte, error) {
	x, err := s.core.mark(ctx)
	if err != nil {
		return nil, err
	}
	if x.Streams, err = s.stop(ctx); err != nil {
		s.calledOff("marking the place in streams", &err)
		s.Back()
		return nil, err
	}
	return json.Marshal(x)
}

// Back goes on.
func (s *streams) Back() {
	s.core.Back()
	for _, r := range s.all() {
		r.resume()
	}
}

// Gone leaves the place to the other.
func (s *streams) Gone(ctx context.Context, stays bool) error {
	if !stays {
		for _, r := range s.all() {
			r.end()
		}
	}
	err := s.core.Gone(ctx, stays)
	if err == nil && stays {
		for _, r := range s.all() {
			r.resume()
		}
	}
	return err
}

// Follow returns when this server hears what the other hears, and reads what that reads.
func (s *streams) Follow(ctx context.Context, offer []byte) error {
	if err := s.core.Follow(ctx, offer); err != nil {
		return err
	}
	if !s.following.Swap(true) {
		s.b.ended.Add(1)
		// ends when the broker is closed
		go s.read(true)
	}
	select {
	case <-s.reading:
		return nil
	case <-s.b.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNotRead, ctx.Err())
	}
}

// Succeed begins to take part.
func (s *streams) Succeed(p []byte) error {
	at, err := parsePlace(p)
	if err != nil {
		return err
	}
	if len(s.all()) == 0 {
		return errNotRead
	}
	for _, r := range s.all() {
		if err := r.from(at.Streams); err != nil {
			s.calledOff("succeeding in streams", &err)
			return err
		}
	}
	if _, err = s.core.succeed(p); err != nil {
		return err
	}
	for _, r := range s.all() {
		r.resume()
	}
	return nil
}

func (s *streams) all() []*reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readers
}

// stop has what follows kept, and returns up to where everything has been read: that is
// behind all there is now.
func (s *streams) stop(ctx context.Context) (at map[string]string, err error) {
	client, err := s.b.get(ctx)
	if err != nil {
		return nil, err
	}
	if len(s.all()) == 0 {
		return nil, errNotRead
	}
	at = map[string]string{}
	for _, r := range s.all() {
		if err := r.stop(ctx, client, at); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// A keptEntry is what was read of the stream of a number, and waits.
type keptEntry struct {
	i int
	x rueidis.XRangeEntry
}

// size is what it takes, about.
func (k *keptEntry) size() int {
	n := 256 + len(k.x.ID)
	for field, value := range k.x.FieldValues {
		n += len(field) + len(value)
	}
	return n
}

// room returns when there is room for what is read next: the rest waits in the stream. It is
// false if the broker was closed before.
func (r *reader) room() bool {
	for {
		r.mu.Lock()
		full := r.held && r.bytes > mostKept
		r.mu.Unlock()
		if !full {
			return r.b.ctx.Err() == nil
		}
		select {
		case <-time.After(firstPause / 5):
		case <-r.b.ctx.Done():
			return false
		}
	}
}

// read returns the entries that were read last.
func (r *reader) read() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// from says up to where another process has read.
func (r *reader) from(at map[string]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, name := range r.names {
		place, ok := rooms.ParsePlace(at[name])
		if !ok {
			return errStreams
		}
		if place = max(place, 1); place < r.after[i] {
			return errNotRead
		}
		r.after[i], r.heir = place, true
	}
	return nil
}

// resume handles what was kept, and what follows.
func (r *reader) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return
	}
	for i, name := range r.names {
		if r.heir {
			r.passed(name, r.after[i])
		}
	}
	r.heir = false
	for _, k := range r.kept {
		r.handle(k.i, k.x)
	}
	for i, name := range r.names {
		if place, ok := rooms.ParsePlace(r.ids[i]); ok && place > r.after[i] && !r.over {
			r.passed(name, place)
		}
	}
	r.kept, r.bytes, r.held = nil, 0, false
}

// end drops what was kept, and what follows.
func (r *reader) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept, r.bytes, r.held, r.over = nil, 0, false, true
}

// stop has what follows kept, when the streams have been read as far as there is something
// in them now.
func (r *reader) stop(ctx context.Context, client rueidis.Client, at map[string]string) error {
	ends := make([]rooms.Place, len(r.names))
	for i, name := range r.names {
		last, err := client.Do(ctx, client.B().Xrevrange().Key(name).End("+").Start("-").Count(1).Build()).AsXRange()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		if len(last) > 0 {
			ends[i], _ = rooms.ParsePlace(last[0].ID)
		}
	}
	for ; !r.hold(ends, at); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			return fmt.Errorf("redis: a stream is not read up to its end: %w", ctx.Err())
		}
	}
	return nil
}

// hold is stop for places that need not have been reached: it is false then.
func (r *reader) hold(ends []rooms.Place, at map[string]string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, end := range ends {
		if place, ok := rooms.ParsePlace(r.ids[i]); !ok || place < end {
			return false
		}
	}
	for i, name := range r.names {
		at[name] = r.ids[i]
	}
	r.held = true
	return true
}
