package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
)

const (
	readCount = 256             // entries of a stream that are read at once
	readBlock = 2 * time.Second // how long Redis waits for one
)

// A reader reads streams, from the end that they have when it begins. It goes on
// where it was, whatever happens to connections: nothing is left out, unless
// Redis has dropped it.
type reader struct {
	b      *broker
	entry  func(stream string, place rooms.Place, x rueidis.XRangeEntry)
	passed func(stream string, place rooms.Place)

	located func() // is called when it is known where to read from

	names  []string
	health health

	mu    sync.Mutex
	ids   []string      // of the entries that were read last; "" as long as that is not known
	after []rooms.Place // what is not behind these is another process', which has read it
	heir  bool          // nobody has been told of that yet
	held  bool          // what is read is kept
	over  bool          // it is dropped
	kept  []keptEntry
	bytes int
}

var errNotRead = errors.New("redis: streams are not read yet")

// read reads all streams until the broker is closed: on one connection, or with
// one for each stream if they are on the nodes of a Redis Cluster. Held says that what is
// read is kept, for now.
func (s *streams) read(held bool) {
	defer s.b.ended.Done()
	client, err := s.b.get(s.b.ctx)
	if err != nil {
		return
	}
	names := streamNames(s.o.StreamName, s.o.Streams)
	readers := []*reader{s.newReader(names...)}
	if client.Mode() == rueidis.ClientModeCluster {
		readers = nil
		for _, name := range names {
			readers = append(readers, s.newReader(name))
		}
	}
	for _, r := range readers {
		r.held = held
	}
	s.mu.Lock()
	s.readers = readers
	s.mu.Unlock()
	var unknown atomic.Int64
	unknown.Store(int64(len(readers)))
	for _, r := range readers {
		r.located = sync.OnceFunc(func() {
			if unknown.Add(-1) == 0 {
				close(s.reading)
			}
		})
		s.b.ended.Add(1)
		// ends when the broker is closed
		go func() {
			defer s.b.ended.Done()
			r.run(client)
		}()
	}
}

func (s *streams) newReader(names ...string) *reader {
	r := &reader{b: s.b, entry: s.entry, passed: func(string, rooms.Place) {}, names: names, ids: make([]string, len(names)), after: make([]rooms.Place, len(names))}
	if s.recorder != nil {
		r.passed = s.recorder.Passed
	}
	r.health.since, r.health.failed[receiving] = time.Now(), errNotRead
	return r
}

func (r *reader) run(client rueidis.Client) {
	for wait := firstPause; r.b.ctx.Err() == nil; wait = r.b.pause(wait) {
		began := time.Now()
		err := r.readOn(client)
		if r.b.ctx.Err() != nil {
			return
		}
		r.health.set(receiving, err) // the broker says what there is to say
		r.b.log.Debug("redis: streams are not read", "error", err)
		if time.Since(began) > lastPause {
			wait = firstPause
		}
	}
}

// readOn reads on one connection until that fails.
func (r *reader) readOn(client rueidis.Client) error {
	at := r.b.master(client)
	conn, release := client.Dedicate()
	defer release()
	stop := context.AfterFunc(r.b.ctx, conn.Close) // or a read would be waited for
	defer stop()
	if client.Mode() == rueidis.ClientModeSentinel {
		if err := r.b.reached(client, conn); err != nil {
			return err
		}
	}
	for i := range r.names {
		if err := r.locate(conn, i); err != nil {
			return err
		}
	}
	r.health.set(receiving, nil)
	r.located()
	for r.room() {
		ctx, cancel := context.WithTimeout(r.b.ctx, readBlock+r.b.timeout)
		streams, err := conn.Do(ctx, conn.B().Xread().Count(readCount).Block(readBlock.Milliseconds()).Streams().Key(r.names...).Id(r.read()...).Build()).AsXRead()
		cancel()
		switch {
		case rueidis.IsRedisNil(err):
		case err != nil:
			return err
		}
		for i, name := range r.names {
			if last := r.take(i, streams[name]); len(streams[name]) > 0 {
				r.unwind(conn, name, last)
			}
		}
		if err := r.b.stays(client, at); err != nil {
			return err
		}
	}
	return errClosed
}

// A stream's clock is Redis', and never goes back: if Redis' does, entries have the
// time of the last one and a number that grows. A Place has not room for all
// numbers. So before that is full, whoever reads adds an entry that is a millisecond
// later, at which numbers begin again. It has no namespace: nobody looks at it.
const windAt = 1 << 19

// unwind does that if need be. It does not matter who does, or that somebody else
// has.
func (r *reader) unwind(conn rueidis.CoreClient, stream, last string) (done bool) {
	ms, n, _ := strings.Cut(last, "-")
	at, err1 := strconv.ParseUint(ms, 10, 64)
	number, err2 := strconv.ParseUint(n, 10, 64)
	if err1 != nil || err2 != nil || number < windAt {
		return false
	}
	ctx, cancel := context.WithTimeout(r.b.ctx, r.b.timeout)
	defer cancel()
	_ = conn.Do(ctx, conn.B().Xadd().Key(stream).Id(strconv.FormatUint(at+1, 10)+"-0").FieldValue().FieldValue("sioedge", "").Build()).Error()
	r.b.log.Info("redis: a stream's clock is ahead of Redis', and was set on", "stream", stream, "last", last)
	return true
}

// locate finds out where a stream ends, as far as that must be known: where it is
// to be read from at first, and afterwards whether there still is what was read.
func (r *reader) locate(conn rueidis.CoreClient, i int) error {
	ctx, cancel := context.WithTimeout(r.b.ctx, r.b.timeout)
	defer cancel()
	newest := func() ([]rueidis.XRangeEntry, error) {
		last, err := conn.Do(ctx, conn.B().Xrevrange().Key(r.names[i]).End("+").Start("-").Count(1).Build()).AsXRange()
		if rueidis.IsRedisNil(err) {
			err = nil
		}
		return last, err
	}
	last, err := newest()
	if err == nil && len(last) > 0 && r.unwind(conn, r.names[i], last[0].ID) {
		last, err = newest()
	}
	if err != nil {
		return err
	}
	id, place := "0-0", rooms.Place(1) // before all entries
	if len(last) > 0 {
		id = last[0].ID
		place, _ = rooms.ParsePlace(id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before, _ := rooms.ParsePlace(r.ids[i])
	switch {
	case r.ids[i] == "":
	case place < before: // Redis has lost it, and its clock may be behind
		r.b.log.Warn("redis: a stream has been shortened", "stream", r.names[i], "read", r.ids[i], "last", id)
	default:
		return nil
	}
	r.ids[i] = id
	if r.held {
		r.after[i] = place
	} else {
		r.after[i] = min(r.after[i], place)
		r.passed(r.names[i], place)
	}
	return nil
}

// take handles what was read of a stream, or keeps it, and returns the last entry.
func (r *reader) take(i int, entries []rueidis.XRangeEntry) (last string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range entries {
		r.ids[i] = x.ID
		if r.held {
			k := keptEntry{i, x}
			r.kept = append(r.kept, k)
			r.bytes += k.size()
		} else {
			r.handle(i, x)
		}
	}
	if place, ok := rooms.ParsePlace(r.ids[i]); ok && len(entries) > 0 && !r.held && !r.over && place > r.after[i] {
		r.passed(r.names[i], place)
	}
	return r.ids[i]
}

// handle handles an entry. r.mu is held.
func (r *reader) handle(i int, x rueidis.XRangeEntry) {
	place, ok := rooms.ParsePlace(x.ID)
	switch {
	case r.over || ok && place <= r.after[i]:
	case ok:
		r.entry(r.names[i], place, x)
	default:
		r.b.malformed.Add(1)
	}
}
