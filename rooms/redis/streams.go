package redis

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// A streams is the adapter of @socket.io/redis-streams-adapter: what is said to
// sockets is added to streams, requests and their answers are published.
type streams struct {
	family
	// Immutable after Start.
	recorder rooms.Recorder // nil: events go to the host

	saving  saving
	takes   chan struct{} // has one for each session that is asked for
	asking  chan struct{} // has one for each that Redis is asked for
	reading chan struct{} // closed when it is known from where on each stream is read

	following atomic.Bool // this server reads what another process reads still

	mu      sync.Mutex
	readers []*reader // none before there is a client
}

// Start begins.
func (s *streams) Start(h rooms.Host) error {
	s.keys, s.shards = true, s.o.ShardedPubSub
	s.send = func(m *wire.Message) {
		if m.Durable() {
			s.add(m, 0)
		} else {
			s.put(s.main(m.Namespace), m)
		}
	}
	s.form = wire.Packed
	s.topics = s.mainTopics
	s.counts()
	s.reading, s.takes, s.asking = make(chan struct{}), make(chan struct{}, maxTakes), make(chan struct{}, maxAsked)
	s.start(h, newUID(), s.receive)
	if s.move.heir != nil { // who reads when it follows
		return nil
	}
	s.b.ended.Add(1)
	// ends when the broker is closed
	go s.read(false)
	return nil
}

// streamNames returns the names of all streams. Servers of Node write to those
// with a negative number too, and do not read them.
func streamNames(name string, count int) (all []string) {
	if count <= 1 {
		return []string{name}
	}
	for i := 1 - count; i < count; i++ {
		all = append(all, name+"-"+strconv.Itoa(i))
	}
	return all
}

// Lane returns the stream of a namespace.
func (s *streams) Lane(ns string) string { return wire.StreamName(s.o.StreamName, s.o.Streams, ns) }

// numberField is the field of an entry that has the number of an event for the
// server that it came from. Servers of Node do not look at it.
const numberField = "n"

// add adds a message to its stream; n is its number, if not 0.
func (s *streams) add(m *wire.Message, n uint64) {
	words, err := wire.AppendEntry([]string{"XADD", s.Lane(m.Namespace), "MAXLEN", "~", strconv.Itoa(s.o.MaxLen), "*"}, m)
	if err != nil {
		s.unwritten("a message", err)
		return
	}
	if n != 0 {
		words = append(words, numberField, strconv.FormatUint(n, 10))
	}
	if age := s.age(); age != "" {
		words = append(words, ageField, age)
	}
	s.out.message(m)
	s.b.queue.put(command{words: words})
}

// entry handles what was read from a stream.
func (s *streams) entry(lane string, place rooms.Place, x rueidis.XRangeEntry) {
	s.b.received.Add(1)
	own, other := s.ours(x)
	switch {
	case own, other && (s.recorder == nil || x.FieldValues[numberField] == ""):
		s.returned(lane, place, x)
		return
	case !s.has(x.FieldValues["nsp"]):
		s.discards.unwanted.Add(1)
		return
	}
	m, err := wire.ParseEntry(x.FieldValues)
	switch {
	case err != nil:
		s.b.malformed.Add(1)
	case s.recorder != nil && m.Type == wire.BroadcastMessage && m.RequestID == "":
		s.in.message(&m)
		s.recorder.Recorded(lane, entryOf(place, m))
	default:
		if s.recorder != nil && opOf(m.Type) != rooms.Emitted {
			s.recorder.Passed(lane, place)
		}
		s.act(m)
	}
}

// returned handles what this server has added itself.
func (s *streams) returned(lane string, place rooms.Place, x rueidis.XRangeEntry) {
	n, _ := strconv.ParseUint(x.FieldValues[numberField], 10, 64)
	op := rooms.Emitted
	if n == 0 && s.recorder != nil {
		if m, err := wire.ParseEntry(x.FieldValues); err == nil {
			op = opOf(m.Type)
		}
	}
	if s.recorder == nil || n == 0 && op == rooms.Emitted {
		s.discards.own.Add(1)
		return
	}
	s.recorder.Recorded(lane, rooms.Entry{Place: place, Own: n, Op: op})
}

// Occupied does nothing: rooms have no channels.
func (s *streams) Occupied(string, string) {}

// Vacated does nothing.
func (s *streams) Vacated(string, string) {}

// Await waits until the streams are read. From then on nothing is missed.
func (s *streams) Await(ctx context.Context, _ string, _ []string) error {
	ctx, cancel := deadline(ctx, s.o.Timeout)
	defer cancel()
	select {
	case <-s.reading:
		return nil
	case <-s.b.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status says how the adapter is. It is up only if the streams are read.
func (s *streams) Status() rooms.Status {
	status := s.core.Status()
	if s.silent.Load() && s.move.heir != nil {
		return status // the other process reads them
	}
	s.mu.Lock()
	readers := s.readers
	s.mu.Unlock()
	if status.Up && len(readers) == 0 {
		status.Up, status.Reason = false, errNotRead.Error()
	}
	for _, r := range readers {
		if up, since, reason := r.health.get(); status.Up && !up {
			status.Up, status.Since, status.Reason = false, since, reason
		}
	}
	return status
}

func entryOf(place rooms.Place, m wire.Message) rooms.Entry {
	return rooms.Entry{
		Place: place, Target: targetOf(m.Namespace, m.Options), Event: eventOf(m.Packet, m.Options.Flags), Once: m.Packet.HasID,
	}
}
