package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

const (
	// mostRequests bounds the broadcasts of a link whose answers it waits for.
	mostRequests = 1024
	// answersSize is how many bytes of answers go together, and answersDelay how long the
	// first of them waits: an application whose time is over has what came until then.
	answersSize  = 64 << 10
	answersDelay = 10 * time.Millisecond
	// admission bounds the wait for sockets that are accepted, and not admitted yet.
	admission = 5 * time.Second
	// mostSpaces bounds the names of namespaces that a link remembers.
	mostSpaces = 1024
	// mostWait bounds the wait for clients' answers.
	mostWait = 24 * time.Hour
	// slack is how long after the application's time the edge stops to wait: it is
	// the application that knows best when it began.
	slack = time.Second
)

// toMany does something to many sockets of a namespace.
func (b *Bridge) toMany(m *member, msg *wire.Message) error {
	ns := m.space(msg.Nsp)
	if ns == nil {
		b.tally.foreign.Add(1)
		b.notice.Warn("bridge: a process speaks to a namespace that is not of its bridge", "bridge", b.name, "process", m.s.UID(), "namespace", msg.Nsp)
		if msg.Kind == wire.KindBroadcast && msg.ID != wire.None {
			m.none(msg.ID)
		}
		return nil
	}
	if !m.settle() {
		return link.ErrHeld
	}
	to := ns.Instance(string(msg.Nsp)).Local()
	if msg.Rooms.Len() > 0 {
		to = to.To(msg.Rooms.Strings()...)
	}
	if msg.Except.Len() > 0 {
		to = to.Except(msg.Except.Strings()...)
	}
	switch msg.Kind {
	case wire.KindJoinAll:
		to.Join(msg.Names.Strings()...)
	case wire.KindLeaveAll:
		to.Leave(msg.Names.Strings()...)
	case wire.KindDisconnectAll:
		_ = to.Disconnect(sio.DisconnectOptions{Conn: msg.Close}) // its error is about codes
	case wire.KindBroadcast:
		return b.broadcast(m, msg, flagged(to, msg.Flags))
	}
	return nil
}

// space returns the namespace of the bridge that a name is of, nil if there is none.
func (m *member) space(name []byte) *sio.Namespace {
	if ns := m.spaces[string(name)]; ns != nil {
		return ns
	}
	to, ok := m.b.srv.Find(string(name))
	if !ok || !m.b.Owns(to.Namespace()) {
		return nil
	}
	if len(m.spaces) >= mostSpaces {
		clear(m.spaces)
	}
	m.spaces[string(name)] = to.Namespace()
	return to.Namespace()
}

// settle waits until the sockets that the link has accepted are admitted: what is done to
// many is done to them, too. It is false if that is not to be waited for now.
func (m *member) settle() bool {
	b := m.b
	b.mu.Lock()
	if m.pending == 0 {
		b.unlock()
		return true
	}
	if m.settled == nil {
		m.settled = make(chan struct{})
	}
	settled := m.settled
	b.unlock()
	t := time.NewTimer(admission)
	defer t.Stop()
	select {
	case <-settled:
	case <-b.moving.unmoved():
		return false
	case <-t.C:
		b.notice.Warn("bridge: sockets that were accepted are not admitted, and a broadcast goes on without them", "bridge", b.name)
	}
	return true
}

// broadcast emits to many.
func (b *Bridge) broadcast(m *member, msg *wire.Message, to sio.BroadcastOperator) error {
	name, args, err := eventOf(msg)
	if err != nil {
		return err
	}
	b.tally.broadcasts.Add(1)
	if msg.ID == wire.None {
		b.failed(to.Emit(name, args))
		return nil
	}
	wait := min(time.Duration(min(msg.Timeout, uint64(mostWait.Milliseconds())))*time.Millisecond, mostWait)
	if msg.Timeout == 0 {
		wait = mostWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait+slack)
	b.mu.Lock()
	_, twice := m.requests[msg.ID]
	full := len(m.requests) >= mostRequests
	if !twice && !full && !m.over {
		m.requests[msg.ID] = cancel
	}
	b.unlock()
	switch {
	case twice:
		cancel()
		return errors.New("two broadcasts have one number")
	case full:
		cancel()
		b.tally.refusedRequests.Add(1)
		b.notice.Warn("bridge: a broadcast is not sent because too many wait for answers", "bridge", b.name, "process", m.s.UID(), "most", mostRequests)
		m.none(msg.ID)
		return nil
	}
	sent, q := make(chan struct{}), &request{m: m, id: msg.ID}
	// ends when all have answered, with ctx, or with the link
	go q.run(ctx, cancel, to, name, args, sent)
	<-sent // what follows is behind it, and args is a view
	return nil
}

// A request is a broadcast whose answers a process waits for. Its goroutine has it, beside
// what mu guards.
type request struct {
	m     *member
	id    int64
	count uint64

	mu      sync.Mutex // held while answers are put on the link, for whose room it may wait
	answers []wire.Reply
	bytes   int
	delay   *time.Timer // of the first of answers
	over    bool        // nothing may follow
}

func (q *request) run(ctx context.Context, cancel func(), to sio.BroadcastOperator, name string, args sio.Args, sent chan struct{}) {
	defer cancel()
	once := func() {
		if sent != nil {
			close(sent)
			sent = nil
		}
	}
	defer once()
	asked, err := to.EmitAckSent(ctx, once, q.take, name, args)
	once()
	b := q.m.b
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		q.count = uint64(asked) // more than have answered
	case err != nil && ctx.Err() == nil:
		b.failed(err)
	}
	b.mu.Lock()
	_, wanted := q.m.requests[q.id]
	delete(q.m.requests, q.id)
	b.unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	if q.delay != nil {
		q.delay.Stop()
	}
	if wanted && !errors.Is(ctx.Err(), context.Canceled) {
		b.done(q.m, q.id, q.count, q.answers)
	}
}

// take takes an answer.
func (q *request) take(a sio.Args) {
	args, bins := a.Verbatim()
	if q.m.b.long(sizeOfArgs(args, bins)) {
		return
	}
	text := []byte{'['}
	for i, arg := range args {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, arg...)
	}
	q.count++
	q.mu.Lock()
	defer q.mu.Unlock()
	q.answers = append(q.answers, wire.Reply{JSON: append(text, ']'), Bins: bins})
	q.bytes += len(text)
	for _, bin := range bins {
		q.bytes += len(bin)
	}
	switch {
	case q.bytes >= answersSize:
		q.pass()
	case len(q.answers) == 1:
		q.delay = time.AfterFunc(answersDelay, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			if !q.over {
				q.pass()
			}
		})
	}
}

// pass sends the process the answers that there are. The lock is held.
func (q *request) pass() {
	if q.delay != nil { // else one answer is all that goes together
		q.delay.Stop()
	}
	if len(q.answers) == 0 {
		return // the timer was late
	}
	q.m.putWaiting(func(dst []byte) []byte { return wire.AppendAnswers(dst, q.id, false, 0, q.answers) })
	q.answers, q.bytes = nil, 0
}

// none ends a request that was not begun. In the link's turn nobody may wait for room: a
// process that leaves none does not hear of it.
func (m *member) none(id int64) {
	m.s.Put(nil, false, func(dst []byte) []byte { return wire.AppendAnswers(dst, id, true, 0, nil) })
}

// done ends a request: count is how many have answered, or more if time is over.
func (b *Bridge) done(m *member, id int64, count uint64, answers []wire.Reply) {
	m.putWaiting(func(dst []byte) []byte { return wire.AppendAnswers(dst, id, true, count, answers) })
}

// forget ends a request whose answers nobody waits for any more.
func (b *Bridge) forget(m *member, id int64) {
	b.mu.Lock()
	cancel := m.requests[id]
	delete(m.requests, id)
	b.unlock()
	if cancel != nil {
		cancel()
	}
}
