package redis

import (
	"context"
	"crypto/subtle"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A gate is between Redis and an adapter while the adapter's place in the cluster goes to
// another process. Both are subscribed to the same channels at the same servers of Redis,
// so that what comes to one by a connection comes to the other in the same order. Where
// the marker comes, which the process that goes has published, that order splits: what is
// before it is that process', what is behind it the heir's.
//
// Markers have channels of their own, one for each connection, that no other server is
// subscribed to.
type gate struct {
	// Immutable after newBroker and start.
	most   int                                       // bytes that an heir keeps
	passes func(channel string, payload []byte) bool // is for this process wherever it comes
	spare  func(channel string, payload []byte)      // is told of what is the other's; it must not block
	wrong  func()                                    // is told of a marker that is none

	on atomic.Bool // what comes is looked at

	changed signal // due, or failed, is another
	mu      sync.Mutex
	heir    bool
	secret  string
	n       uint64              // of the marker
	marks   map[string]struct{} // channels of markers
	due     map[string]struct{} // those whose marker has not come
	behind  map[*line]struct{}  // lines whose marker has
	kept    []keptMessage
	bytes   int
	lost    int   // was too much to be kept
	failed  error // why what has come is not all
}

// A keptMessage is one that waits.
type keptMessage struct{ pattern, channel, payload string }

// size is what it takes, about.
func (k *keptMessage) size() int { return 64 + len(k.pattern) + len(k.channel) + len(k.payload) }

// mostKept is how much an heir keeps, in bytes. The process that goes keeps twice as many:
// when the heir gives up, nothing is lost.
const mostKept = 64 << 20

var (
	errKept    = errors.New("redis: more has come than is kept during a handover")
	errNoMarks = errors.New("redis: Redis does not bring back what marks the place of a handover")
)

// attend has an heir look at what comes: it is dropped until there is a marker.
func (g *gate) attend(secret string, marks []topic) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heir, g.secret, g.failed = true, secret, nil
	g.begin(0, marks)
}

// part has the process that goes look at what comes: what is behind the marker is kept. It
// returns the marker.
func (g *gate) part(secret string, n uint64, marks []topic) (marker []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heir, g.secret, g.failed = false, secret, nil
	g.begin(n, marks)
	return []byte(secret + "/" + strconv.FormatUint(n, 10))
}

// begin waits for the markers of a number. g.mu is held.
func (g *gate) begin(n uint64, marks []topic) {
	g.marks = map[string]struct{}{}
	for _, t := range marks {
		g.marks[t.name] = struct{}{}
	}
	g.reset(n)
	g.on.Store(true)
}

// reset forgets what has come. g.mu is held.
func (g *gate) reset(n uint64) {
	g.n, g.due, g.behind = n, map[string]struct{}{}, map[*line]struct{}{}
	g.kept, g.bytes, g.lost = nil, 0, 0
	for name := range g.marks {
		g.due[name] = struct{}{}
	}
}

// takes tells whether a message is not to be received now. It is called by the goroutine
// of the line.
func (g *gate) takes(l *line, m rueidis.PubSubMessage) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.on.Load() {
		return false
	}
	if _, ok := g.marks[m.Channel]; ok {
		if m.Pattern != "" {
			return true
		}
		return g.marked(l, m.Channel, m.Message)
	}
	_, behind := g.behind[l]
	if !behind && !g.heir || g.passes(m.Channel, []byte(m.Message)) {
		return false
	}
	if behind != g.heir {
		g.spare(m.Channel, []byte(m.Message))
	}
	if behind {
		g.keep(keptMessage{m.Pattern, m.Channel, m.Message})
	}
	return true
}

// marked handles what comes where markers do, and tells whether that was one. Who does not
// know the secret splits nothing, and nobody does so twice. g.mu is held.
func (g *gate) marked(l *line, channel, payload string) bool {
	secret, number, _ := strings.Cut(payload, "/")
	if g.secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(g.secret)) == 0 {
		g.wrong()
		return true
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 {
		return false // the last word, or nothing
	}
	if g.heir && n > g.n { // the one before did not come everywhere, or was called off
		g.reset(n)
	}
	if _, due := g.due[channel]; n == g.n && due {
		delete(g.due, channel)
		g.behind[l] = struct{}{}
		g.changed.tell()
	}
	return true
}

// keep keeps a message. An heir that cannot has failed. g.mu is held.
func (g *gate) keep(m keptMessage) {
	switch n := m.size(); {
	case g.heir && g.failed != nil:
	case g.heir && g.bytes+n > g.most:
		g.failed, g.kept, g.bytes = errKept, nil, 0
		g.changed.tell()
	case g.bytes+n > 2*g.most:
		g.lost++
	default:
		g.kept = append(g.kept, m)
		g.bytes += n
	}
}

// fail says that something may not have come.
func (g *gate) fail(err error) {
	if !g.on.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = err
		g.changed.tell()
	}
}

// split waits until the markers of a number, or at least 1 if that is 0, have come on all
// lines, and nothing has failed. Alive tells whether there is any hope.
func (g *gate) split(ctx context.Context, n uint64, alive func() error) error {
	ticker := time.NewTicker(firstPause)
	defer ticker.Stop()
	for {
		changed := g.changed.next()
		g.mu.Lock()
		failed, all := g.failed, len(g.due) == 0 && g.n == n
		g.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case all:
			return nil
		}
		select {
		case <-changed:
		case <-ticker.C:
			if err := alive(); err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.Join(errNoMarks, ctx.Err())
		}
	}
}

// open has everything received: first what is kept, and what comes meanwhile, in order. It
// returns how much was lost.
func (g *gate) open(receive func(k keptMessage)) (lost int) {
	for {
		g.mu.Lock()
		batch := g.kept
		g.kept, g.bytes = nil, 0
		if len(batch) == 0 {
			g.on.Store(false)
			lost = g.lost
			g.reset(g.n)
			g.mu.Unlock()
			return lost
		}
		g.mu.Unlock()
		for _, k := range batch {
			receive(k)
		}
	}
}

// sent are messages that this server has published behind the marker, as long as it has the
// name that its heir has too: they are told from the heir's by what they are.
type sent struct {
	on  atomic.Bool
	mu  sync.Mutex
	all map[string]int
}

// mostSent bounds them. More are taken for the heir's.
const mostSent = 1 << 16

// note notes one.
func (s *sent) note(channel string, payload []byte) {
	if !s.on.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]int{}
	}
	if len(s.all) < mostSent {
		s.all[channel+"\x00"+string(payload)]++
	}
}

// has tells whether a message that has come is one of them, once for each.
func (s *sent) has(channel string, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := channel + "\x00" + string(payload)
	n := s.all[key]
	switch {
	case n > 1:
		s.all[key]--
	case n == 1:
		delete(s.all, key)
	}
	return n > 0
}

// clear forgets them, and notes no more.
func (s *sent) clear() {
	s.on.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}
