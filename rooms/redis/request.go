package redis

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis/wire"
)

// A request is something that other servers were asked and are to answer. Those
// of our kind say who they are; of Node's servers only their number is known.
type request struct {
	mu       sync.Mutex
	done     chan struct{} // closed when nothing more is to come
	ended    bool
	named    map[string]string // names of the servers asked that are known, by uid
	expected int               // how many were asked, named or not
	answers  map[string]*tally // by uid; "" are all of Node's
	last     int               // answers at the last look at who is there
	missing  int               // how many are known not to come

	want answerKind      // of servers
	each func(a answer)  // is called for each answer, one at a time
	once map[string]bool // the named servers that have answered
}

// An answerKind is what an answer is.
type answerKind uint8

const (
	aMembers answerKind = iota + 1
	aNames
	aValue
	aCount // how many clients will answer, each with a value
	aTotal // how many sockets there are; of servers that do not know this question, aMembers
)

// An answer is what a server, or a client of one, has said: the field of its kind.
type answer struct {
	kind    answerKind
	members []rooms.Member
	names   []string
	value   rooms.Value
	total   int // of aCount too
}

// is tells whether it is one to a question for want.
func (a *answer) is(want answerKind) bool {
	return a.kind == want || want == aTotal && a.kind == aMembers
}

// ofClients is what a request for aCount calls: asked with the numbers, each with what
// clients answer.
func ofClients(asked func(clients int), each func(rooms.Value)) func(answer) {
	return func(a answer) {
		if a.kind == aCount {
			asked(a.total)
		} else {
			each(a.value)
		}
	}
}

func newRequest(want answerKind, each func(answer)) *request {
	return &request{done: make(chan struct{}), answers: map[string]*tally{}, want: want, each: each, once: map[string]bool{}}
}

// A tally is what came from a server, or from all that have no name.
type tally struct{ servers, clients, acks int }

func (r *request) of(uid string) *tally {
	if _, known := r.named[uid]; !known {
		uid = ""
	}
	t := r.answers[uid]
	if t == nil {
		t = &tally{}
		r.answers[uid] = t
	}
	return t
}

// maxClients bounds the clients that a server may say will answer.
const maxClients = 1 << 30

// server notes that a server has answered; clients is how many of its clients
// will. It is false if that is no answer to the request.
func (r *request) server(uid string, clients int, a answer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !a.is(r.want) || clients < 0 || clients > maxClients {
		return false
	}
	if _, named := r.named[uid]; named {
		if r.once[uid] {
			return false
		}
		r.once[uid] = true
	}
	if r.ended {
		return true
	}
	t := r.of(uid)
	t.servers++
	t.clients += clients
	a.total += clients
	if !strings.HasPrefix(uid, strangers) { // or there is nothing in it
		r.each(a)
	}
	r.settle(nil)
	return true
}

// client notes that a client of a server has answered. It is false if clients were
// not asked.
func (r *request) client(uid string, v rooms.Value) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.want != aCount {
		return false
	}
	if r.ended {
		return true
	}
	r.of(uid).acks++
	r.each(answer{kind: aValue, value: v})
	r.settle(nil)
	return true
}

// settle ends the request if everything has come that will; alive are the servers
// that are there, if they have been looked at. r.mu is held.
func (r *request) settle(alive map[string]string) {
	servers, due := 0, 0
	for uid, t := range r.answers {
		servers += t.servers
		if _, there := alive[uid]; uid == "" || alive == nil || there {
			due += t.clients - t.acks
		}
	}
	dead := 0
	if alive != nil {
		for uid := range r.named {
			if _, there := alive[uid]; !there && r.answers[uid] == nil {
				dead++
			}
		}
	}
	r.missing = max(r.expected-servers, 0)
	if servers+dead >= r.expected && due <= 0 {
		r.end()
	}
}

func (r *request) end() {
	if !r.ended {
		r.ended = true
		close(r.done)
	}
}

// look takes note of who is there: servers by number, those of our kind by name.
// If as many have answered as there are, for two looks, the others have gone.
func (r *request) look(servers int, alive map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.settle(alive)
	got := 0
	for _, t := range r.answers {
		got += t.servers
	}
	if !r.ended && servers < r.expected && got >= servers && r.last == got+1 {
		if t := r.answers[""]; t == nil || t.acks >= t.clients {
			r.end()
		}
	}
	r.last = got + 1
}

// result ends the request and returns nil if all that were asked have answered.
func (r *request) result(cause error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end()
	due := 0
	e := &rooms.IncompleteError{Cause: cause}
	for uid, t := range r.answers {
		if t.clients > t.acks {
			due++
			if uid != "" {
				e.Missing = append(e.Missing, r.named[uid])
			}
		}
	}
	for uid, name := range r.named {
		if r.answers[uid] == nil {
			e.Missing = append(e.Missing, name)
		}
	}
	slices.Sort(e.Missing)
	e.Unnamed = max(0, r.missing-len(e.Missing))
	if t := r.answers[""]; t != nil && t.clients > t.acks && e.Unnamed == 0 {
		e.Unnamed = 1 // at least
	}
	if r.missing == 0 && due == 0 {
		return nil
	}
	return e
}

// requests are those that wait for answers.
type requests struct {
	mu   sync.Mutex
	byID map[string]*request
}

func (q *requests) get(id string) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.byID[id]
}

// pending returns how many there are.
func (q *requests) pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.byID)
}

// silent returns the named servers that have not answered.
func (r *request) silent() (uids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid := range r.named {
		if r.answers[uid] == nil {
			uids = append(uids, uid)
		}
	}
	return uids
}

// ask asks the other servers of a namespace: t is where they listen, send publishes
// the request, which gets the answers. It waits until all have answered, those that
// have not are known to be gone, or ctx is done.
//
// Those that have the namespace by their last heartbeat are known by name, and
// expected to answer even if Redis knows of fewer: their connections may have failed
// a moment ago. One that has opened it since, or has too many to say, is like a
// server of Node: if it does not answer, it is counted, but not named.
func (c *core) ask(ctx context.Context, ns string, t topic, id string, send func() error, r *request) error {
	others, err := c.others(ctx, t)
	if err != nil {
		return c.unasked(ns, r.want, err)
	}
	r.named = c.peers.having(ns)
	r.expected = max(others, len(r.named))
	if r.expected == 0 {
		return nil
	}
	c.requests.mu.Lock()
	c.requests.byID[id] = r
	c.requests.mu.Unlock()
	defer func() {
		c.requests.mu.Lock()
		delete(c.requests.byID, id)
		c.requests.mu.Unlock()
	}()
	c.asked.Add(1)
	result := c.questions.of(r.want)
	if err := send(); err != nil {
		result.failed.Add(1)
		return err
	}
	if err = c.await(ctx, r, t); err == nil {
		result.complete.Add(1)
	} else {
		result.incomplete.Add(1)
		c.incomplete.Add(1)
		c.peers.unanswered(r.silent())
	}
	return err
}

// unasked is the error of a request that nobody was asked, and counts it.
func (c *core) unasked(ns string, want answerKind, err error) error {
	c.questions.of(want).failed.Add(1)
	e := &rooms.IncompleteError{Cause: err}
	for _, name := range c.peers.having(ns) {
		e.Missing = append(e.Missing, name)
	}
	slices.Sort(e.Missing)
	return e
}

// maxTimeout bounds how long other servers may have clients waited for.
const maxTimeout = time.Hour

// timeoutOf returns how long another server waits.
func timeoutOf(f wire.Flags) time.Duration {
	return time.Duration(min(max(f.Timeout, 1), maxTimeout.Milliseconds())) * time.Millisecond
}

// others returns how many other servers are subscribed to a channel. We need not
// be: an instance of a namespace may not be live here.
func (c *core) others(ctx context.Context, t topic) (int, error) {
	n, err := c.b.subscribers(ctx, t)
	if err == nil && c.b.subs.isReady(t) {
		n--
	}
	return n, err
}

// lookEvery is how often it is looked who is still there.
const lookEvery = 250 * time.Millisecond

func (c *core) await(ctx context.Context, r *request, t topic) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-r.done:
			return r.result(nil)
		case <-ctx.Done():
			return r.result(ctx.Err())
		case <-c.b.ctx.Done():
			return r.result(errClosed)
		case <-ticker.C:
			if others, err := c.others(ctx, t); err == nil {
				r.look(others, c.peers.alive())
			}
		}
	}
}
