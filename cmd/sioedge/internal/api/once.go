package api

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// What is remembered of commands with an idempotency key: for so long, so many, and so
// many bytes of answers, of which each has so many at most. Beyond, the oldest are
// forgotten, and counted.
const (
	onceFor     = 5 * time.Minute
	onceMost    = 64 << 10
	onceBytes   = 16 << 20
	onceAnswer  = 64 << 10
	maxOnceKey  = 128
	onceForEach = 256 // bytes of a key and what is kept of it, about
)

// A memory is of what was done by commands with an idempotency key, on this server.
type memory struct {
	mu    sync.Mutex
	known map[string]*once
	order []*once // by begun; those before first are forgotten
	first int
	bytes int
}

// A once is a command that was begun.
type once struct {
	id    string
	begun time.Time
	print uint64 // of the command, the same in a successor
	bytes int

	done   chan struct{} // closed when the rest is there
	answer json.RawMessage
	err    *problem
	long   bool // the answer is too long to be kept
}

func (m *memory) init() { m.known = map[string]*once{} }

// once does something unless it was done by the same idempotency key: then the answer is
// the first one's, for which it waits, and replayed is true. What the command is, is what
// and body.
func (a *API) once(ctx context.Context, id, what string, body []byte, do func() (any, error)) (answer any, replayed bool, err error) {
	if id == "" {
		answer, err = do()
		return answer, false, err
	}
	m := &a.memory
	h := sha256.New()
	_, _ = h.Write([]byte(what + "\x00"))
	_, _ = h.Write(body)
	print := binary.BigEndian.Uint64(h.Sum(nil))
	for {
		o, mine := m.begin(a, id, print)
		if mine {
			answer, err = a.first(o, do)
			return answer, false, err
		}
		if o.print != print {
			return nil, false, fail(http.StatusUnprocessableEntity, "idempotency_mismatch", "another command had this idempotency key a moment ago")
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		switch {
		case o.err != nil && o.err.passing: // it was not done: this one tries
			continue
		case o.err != nil:
			return nil, true, o.err
		case o.long:
			return nil, true, fail(http.StatusConflict, "answer_not_kept", "it was done before, by this idempotency key; its answer was too long to be kept")
		}
		a.counts.replayed.Add(1)
		return o.answer, true, nil
	}
}

// first does what nobody has done, and has it remembered unless it failed for the moment.
func (a *API) first(o *once, do func() (any, error)) (answer any, err error) {
	o.err = &problem{status: http.StatusInternalServerError, passing: true} // of a panic
	defer func() { a.memory.end(o) }()
	if answer, err = do(); err != nil {
		o.err = a.problemOf(err)
		return nil, o.err
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		o.err = a.problemOf(err)
		return nil, o.err
	}
	if o.err = nil; len(raw) > onceAnswer {
		o.long = true
		return answer, nil
	}
	o.answer = raw
	return answer, nil
}

// begin returns what is known of a key, or what is to be done by the caller.
func (m *memory) begin(a *API, id string, print uint64) (o *once, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.forget(a, now)
	if o = m.known[id]; o != nil {
		return o, false
	}
	o = &once{id: id, begun: now, print: print, bytes: onceForEach + len(id), done: make(chan struct{})}
	m.known[id] = o
	m.order = append(m.order, o)
	m.bytes += o.bytes
	return o, true
}

// end has those who wait go on.
func (m *memory) end(o *once) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[o.id] == o {
		if o.err != nil && o.err.passing {
			delete(m.known, o.id) // what it takes goes with its turn
		} else {
			m.bytes += len(o.answer)
			o.bytes += len(o.answer)
		}
	}
	close(o.done)
}

// forget forgets what is over, or too much.
func (m *memory) forget(a *API, now time.Time) {
	for ; m.first < len(m.order); m.first++ {
		o := m.order[m.first]
		over := now.Sub(o.begun) >= onceFor
		if !over && len(m.order)-m.first < onceMost && m.bytes+onceForEach+maxOnceKey <= onceBytes {
			break
		}
		if !over {
			a.counts.forgotten.Add(1)
			a.notice.Warn("idempotency keys are forgotten before five minutes are over: there are too many")
		}
		if m.known[o.id] == o {
			delete(m.known, o.id)
		}
		m.bytes -= o.bytes
		m.order[m.first] = nil
	}
	if m.first > 1024 && m.first > len(m.order)/2 {
		m.order = append(m.order[:0:0], m.order[m.first:]...)
		m.first = 0
	}
}

// size returns what is remembered: a gauge.
func (m *memory) size() (n, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.known), m.bytes
}
