package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// Record has events given to r.
func (s *streams) Record(r rooms.Recorder) { s.recorder = r }

// Append adds an event to its stream.
func (s *streams) Append(t rooms.Target, e rooms.Event, n uint64) {
	m := s.message(wire.BroadcastMessage, t, e)
	m.Packet = packetOf(e)
	s.add(m, n)
}

// A saving knows which sessions are on their way to Redis, so that who comes back
// at once finds its own.
type saving struct {
	mu   sync.Mutex
	pids map[string]chan struct{} // closed when it is there, or lost
}

func (w *saving) begin(pid string) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pids == nil {
		w.pids = map[string]chan struct{}{}
	}
	there := make(chan struct{})
	w.pids[pid] = there
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.pids[pid] == there {
			delete(w.pids, pid)
		}
		close(there)
	}
}

func (w *saving) wait(ctx context.Context, pid string) {
	w.mu.Lock()
	there := w.pids[pid]
	w.mu.Unlock()
	if there == nil {
		return
	}
	select {
	case <-there:
	case <-ctx.Done():
	}
}

// Keep sets a session's key.
func (s *streams) Keep(x rooms.Session, window time.Duration) {
	session := wire.Session{SID: x.ID, PID: x.PID, Rooms: x.Rooms, Data: wire.Value{Data: x.Data}, Namespace: x.Namespace, Identity: x.Identity, Direct: string(x.Direct)}
	if x.Since != 0 {
		session.Since = x.Since.String()
	}
	if x.At != 0 {
		session.At = x.At.String()
	}
	if x.Behind != 0 {
		session.Behind = strconv.FormatUint(x.Behind, 10)
	}
	if !x.Until.IsZero() {
		session.Until = strconv.FormatInt(x.Until.UnixMilli(), 10)
	}
	if !x.Expires.IsZero() {
		session.Expires = strconv.FormatInt(x.Expires.UnixMilli(), 10)
	}
	value, err := wire.AppendSession(nil, &session)
	if err != nil {
		s.unwritten("a session", err)
		return
	}
	s.b.queue.put(command{
		words: []string{"SET", s.o.SessionPrefix + x.PID, string(value), "PX", strconv.FormatInt(max(window.Milliseconds(), 1), 10)},
		done:  s.saving.begin(x.PID),
	})
}

const (
	// maxTakes bounds the sessions that are asked for at one time: clients name them
	// before anybody knows who they are. When a server has gone, its clients come
	// back together.
	maxTakes = 8192
	// maxAsked bounds those of them that Redis is asked for. The others wait.
	maxAsked = 256
)

// maxPID bounds what a session may be called, in bytes: those of servers, of Node's
// too, are shorter.
const maxPID = 128

var errBusy = errors.New("redis: too many sessions are being asked for")

// Take returns a session and deletes its key. It is one command, in one batch with
// others, or if Redis is older than 6.2 a transaction.
func (s *streams) Take(ctx context.Context, pid string) (x rooms.Session, ok bool, err error) {
	if len(pid) > maxPID {
		return rooms.Session{}, false, nil
	}
	select {
	case s.takes <- struct{}{}:
		defer func() { <-s.takes }()
	default:
		s.refused.Add(1)
		return rooms.Session{}, false, errBusy
	}
	s.saving.wait(ctx, pid)
	client, err := s.b.get(ctx)
	if err != nil {
		return rooms.Session{}, false, err
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return rooms.Session{}, false, ctx.Err()
	}
	key := s.o.SessionPrefix + pid
	value, err := client.Do(ctx, client.B().Getdel().Key(key).Build()).AsBytes()
	if refusal, ok := rueidis.IsRedisErr(err); ok && strings.Contains(refusal.Error(), "unknown command") {
		value, err = takeOld(ctx, client, key)
	}
	if rueidis.IsRedisNil(err) {
		return rooms.Session{}, false, nil
	}
	if err != nil {
		return rooms.Session{}, false, err
	}
	session, err := wire.ParseSession(value)
	if err != nil {
		return rooms.Session{}, false, err
	}
	x = rooms.Session{ID: session.SID, PID: session.PID, Rooms: session.Rooms, Data: session.Data.Data, Namespace: session.Namespace, Identity: session.Identity, Direct: []byte(session.Direct)}
	x.Since, _ = rooms.ParsePlace(session.Since)
	x.At, _ = rooms.ParsePlace(session.At)
	x.Behind, _ = strconv.ParseUint(session.Behind, 10, 64)
	if ms, err := strconv.ParseInt(session.Until, 10, 64); err == nil {
		x.Until = time.UnixMilli(ms)
	}
	if ms, err := strconv.ParseInt(session.Expires, 10, 64); err == nil {
		x.Expires = time.UnixMilli(ms)
	}
	return x, true, nil
}

func takeOld(ctx context.Context, client rueidis.Client, key string) (value []byte, err error) {
	err = client.Dedicated(func(c rueidis.DedicatedClient) error {
		all := c.DoMulti(ctx, c.B().Multi().Build(), c.B().Get().Key(key).Build(), c.B().Del().Key(key).Build(), c.B().Exec().Build())
		results, err := all[len(all)-1].ToArray()
		if err == nil && len(results) > 0 {
			value, err = results[0].AsBytes()
		}
		return err
	})
	return value, err
}

// Missed reads the stream of a namespace, a few entries at a time.
func (s *streams) Missed(ctx context.Context, ns, pattern string, from, to rooms.Place, each func(rooms.Entry) bool) (complete bool, err error) {
	client, err := s.b.get(ctx)
	if err != nil {
		return false, err
	}
	stream := s.Lane(ns)
	for next := from + 1; next <= to; {
		entries, err := client.Do(ctx, client.B().Xrange().Key(stream).Start(next.String()).End(to.String()).Count(readCount).Build()).AsXRange()
		if err != nil && !rueidis.IsRedisNil(err) {
			return false, err
		}
		for _, x := range entries {
			place, ok := rooms.ParsePlace(x.ID)
			if !ok {
				return false, nil
			}
			next = place + 1
			if e, ok := missedEntry(place, x, ns, pattern); ok && !each(e) {
				return false, nil
			}
		}
		if len(entries) < readCount {
			break
		}
	}
	// Looked at last, since Redis may have dropped some meanwhile.
	return s.keeps(ctx, client, stream, from)
}

// opOf returns what a message does to sockets.
func opOf(t wire.MessageType) rooms.Op {
	switch t {
	case wire.SocketsJoin:
		return rooms.Joined
	case wire.SocketsLeave:
		return rooms.Left
	case wire.DisconnectSockets:
		return rooms.Disconnected
	}
	return rooms.Emitted
}

// missedEntry returns an entry as an event that a client can have missed, or as
// something that was done to it.
func missedEntry(place rooms.Place, x rueidis.XRangeEntry, ns, pattern string) (e rooms.Entry, ok bool) {
	if to := x.FieldValues["nsp"]; to != ns && (pattern == "" || to != pattern) {
		return rooms.Entry{}, false
	}
	m, err := wire.ParseEntry(x.FieldValues)
	if op := opOf(m.Type); err == nil && op != rooms.Emitted {
		return rooms.Entry{Place: place, Target: targetOf(m.Namespace, m.Options), Op: op, Names: m.Rooms}, true
	}
	if err != nil || m.Type != wire.BroadcastMessage || m.RequestID != "" || m.Packet.HasID || m.Options.Flags.Volatile {
		return rooms.Entry{}, false
	}
	return entryOf(place, m), true
}

// keeps tells whether a stream still has all that is behind a place: an entry
// that is not, since the oldest are dropped first, or all that it ever had.
func (s *streams) keeps(ctx context.Context, client rueidis.Client, stream string, from rooms.Place) (bool, error) {
	first, err := client.Do(ctx, client.B().Xrange().Key(stream).Start("-").End(from.String()).Count(1).Build()).AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		return false, err
	}
	if len(first) > 0 {
		return true, nil
	}
	info, err := client.Do(ctx, client.B().XinfoStream().Key(stream).Build()).ToMap()
	if err != nil {
		if _, ok := rueidis.IsRedisErr(err); ok {
			return from <= 1, nil // there is no stream: it has not begun, or is gone
		}
		return false, err
	}
	added, length := info["entries-added"], info["length"]
	a, err := added.AsInt64()
	if err != nil {
		return false, nil // Redis 6 does not say it
	}
	n, err := length.AsInt64()
	return err == nil && a == n, nil
}
