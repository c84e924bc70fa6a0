package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

const (
	maxRooms = 1024            // of to, except, in
	maxAck   = 5 * time.Minute // that acknowledgements can be waited for
	// maxAcks bounds the bytes of acknowledgements that are gathered for an answer, or
	// that wait for who reads a streamed one.
	maxAcks = 16 << 20
)

// emit is the endpoint.
func (c *call) emit() (any, error) {
	wait, err := c.ackTime()
	if err != nil {
		return nil, err
	}
	if wait == 0 {
		return c.a.emit(c.r.Context(), c.s, c.body, c.onceKey())
	}
	return c.emitAck(wait)
}

// onceKey returns the idempotency key that a request has beside its body.
func (c *call) onceKey() string {
	if id := c.query.Get("id"); id != "" {
		return id
	}
	return c.r.Header.Get("Idempotency-Key")
}

// emit does the command.
func (a *API) emit(ctx context.Context, s *settings, raw []byte, id string) (any, error) {
	e, own, err := action.ParseEmit(raw, s.limits)
	if err != nil {
		return nil, err
	}
	if own != "" {
		id = own
	}
	if err := checkOnceKey(id); err != nil {
		return nil, err
	}
	if id == "" {
		return a.send(e)
	}
	answer, replayed, err := a.once(ctx, id, wire.EmitPath, raw, func() (any, error) { return a.send(e) })
	if err != nil || !replayed {
		return answer, err
	}
	return emittedBefore(answer)
}

// send sends the event, and returns the answer.
func (a *API) send(e *action.Emit) (any, error) {
	to, err := e.Target(a.srv, sio.Socket{}, false)
	if err != nil {
		return nil, err
	}
	offset, err := to.EmitOffset(e.Event, e.Args)
	if err != nil || offset == "" {
		return emitted, err
	}
	return wire.Emitted{Offset: offset}, nil
}

// emittedBefore is the answer to who sends an emit again.
func emittedBefore(answer any) (any, error) {
	raw, _ := answer.(json.RawMessage)
	var first wire.Emitted
	if err := json.Unmarshal(raw, &first); err != nil {
		return nil, err
	}
	first.Replayed = true
	return first, nil
}

// emitted is the answer to most emits, as JSON.
var emitted any = json.RawMessage("{}")

func checkOnceKey(id string) error {
	if len(id) > maxOnceKey {
		return bad("id", string(action.TooLong), "has more than "+strconv.Itoa(maxOnceKey)+" bytes")
	}
	return nil
}

// ackTime returns how long acknowledgements are to be waited for, 0 for not at all.
func (c *call) ackTime() (time.Duration, error) {
	text := c.query.Get("ack")
	if text == "" {
		return 0, nil
	}
	return ackTime("ack", text)
}

func ackTime(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > maxAck {
		return 0, bad(field, string(action.Malformed), "is to be a time such as 5s, "+maxAck.String()+" at most")
	}
	return d, nil
}

// An asking is an emit whose acknowledgements are waited for. What has come and is not
// taken yet is bounded: beyond it, nothing more is waited for.
type asking struct {
	e    *action.Emit
	to   sio.BroadcastOperator
	wait time.Duration
	most int // bytes, of maxAcks

	mu    sync.Mutex
	lines [][]byte // responses, as JSON
	bytes int
	got   int
	over  bool          // there were too many bytes
	news  chan struct{} // has a word when there are lines
	stop  context.CancelFunc
}

// emitAck is emit that waits.
func (c *call) emitAck(wait time.Duration) (any, error) {
	e, id, err := action.ParseEmit(c.body, c.s.limits)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = c.onceKey()
	}
	if err := checkOnceKey(id); err != nil {
		return nil, err
	}
	to, err := e.Target(c.a.srv, sio.Socket{}, false)
	if err != nil {
		return nil, err
	}
	rc := c.endless(wait)
	q := &asking{e: e, to: to, wait: wait, most: c.a.maxAcks, news: make(chan struct{}, 1)}
	if c.accepts(wire.NDJSON) {
		if id != "" {
			return nil, bad("id", "streamed", "is not for acknowledgements that are streamed")
		}
		return nil, c.streamAcks(rc, q)
	}
	answer, replayed, err := c.a.once(c.r.Context(), id, wire.EmitPath+"?ack="+wait.String(), c.body, func() (any, error) {
		return q.gather(c.r.Context(), c.a)
	})
	if raw, ok := answer.(json.RawMessage); ok && replayed {
		var acks wire.Acks
		if err := json.Unmarshal(raw, &acks); err != nil {
			return nil, err
		}
		acks.Replayed = true
		return acks, nil
	}
	return answer, err
}

// ask sends the event and takes the answers. It returns what is known in the end.
func (q *asking) ask(ctx context.Context, a *API) (asked int, part *wire.Partial, err error) {
	ctx, q.stop = context.WithTimeout(ctx, q.wait)
	defer q.stop()
	asked, err = q.to.EmitAckEach(ctx, q.take, q.e.Event, q.e.Args)
	var missing *rooms.IncompleteError
	switch {
	case errors.As(err, &missing):
		part, err = partialOf(missing), nil
	case errors.Is(err, context.DeadlineExceeded):
		err = nil
	case q.over:
		err = fail(http.StatusRequestEntityTooLarge, "too_long", fmt.Sprintf("there are more than %d bytes of acknowledgements that nobody has taken: have them streamed (Accept: %s), and read", q.most, wire.NDJSON))
	}
	return asked, part, err
}

// take keeps an answer.
func (q *asking) take(args sio.Args) {
	line := []byte("null")
	if args.Len() > 0 {
		if line = args.Raw(0); len(args.Binary()) > 0 {
			if b, err := value.AppendJSONWithBuffers(nil, line, args.Binary()); err == nil {
				line = b
			}
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return
	}
	if q.bytes += len(line); q.bytes > q.most {
		q.over = true
		q.stop()
		return
	}
	q.lines = append(q.lines, bytes.Clone(line))
	q.got++
	select {
	case q.news <- struct{}{}:
	default:
	}
}

// taken returns what has come.
func (q *asking) taken() [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.lines
	q.lines, q.bytes = nil, 0
	return all
}

// gather waits for all of them.
func (q *asking) gather(ctx context.Context, a *API) (any, error) {
	asked, part, err := q.ask(ctx, a)
	if err != nil {
		return nil, err
	}
	acks := wire.Acks{Responses: []json.RawMessage{}, Clients: max(asked, q.got), Partial: part}
	for _, line := range q.lines {
		acks.Responses = append(acks.Responses, line)
	}
	acks.Missing = acks.Clients - q.got
	return acks, nil
}

// streamAcks writes them as they come.
func (c *call) streamAcks(rc *http.ResponseController, q *asking) error {
	c.status = http.StatusOK
	c.head(typeNDJSON)
	c.w.WriteHeader(c.status)
	_ = rc.Flush()
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	last := wire.AckLine{Done: true}
	over := make(chan struct{})
	// ends with ctx, or with the time for answers
	go func() {
		defer close(over)
		asked, part, err := q.ask(ctx, c.a)
		asked = max(asked, q.got)
		missing := asked - q.got
		last.Clients, last.Missing, last.Partial = &asked, &missing, part
		if err != nil {
			last.Error = &c.a.problemOf(err).is
		}
	}()
	out := &lineWriter{w: c.w, rc: rc}
	for ended := false; !ended; {
		select {
		case <-q.news:
		case <-over:
			ended = true
		}
		for _, line := range q.taken() {
			out.write([]byte(`{"response":`), line, []byte("}\n"))
		}
		if out.flush() != nil {
			cancel()
			<-over
			c.status = statusCut
			return nil
		}
	}
	b, _ := json.Marshal(last)
	out.write(b, []byte("\n"))
	_ = out.flush()
	return nil
}

// A lineWriter writes lines, a piece at a time. After an error it does nothing.
type lineWriter struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
	err error
}

// lineBytes is how much is gathered before it is written.
const lineBytes = 16 << 10

func (l *lineWriter) write(parts ...[]byte) {
	for _, p := range parts {
		l.buf = append(l.buf, p...)
	}
	if len(l.buf) >= lineBytes {
		l.put()
	}
}

// put writes what there is; who reads nothing for writeTime is given up.
func (l *lineWriter) put() {
	if l.err == nil && len(l.buf) > 0 {
		_ = l.rc.SetWriteDeadline(time.Now().Add(writeTime))
		_, l.err = l.w.Write(l.buf)
	}
	if l.buf = l.buf[:0]; cap(l.buf) > 4*lineBytes {
		l.buf = nil
	}
}

func (l *lineWriter) flush() error {
	if l.put(); l.err == nil {
		l.err = l.rc.Flush()
	}
	return l.err
}

// partialOf says who did not answer.
func partialOf(e *rooms.IncompleteError) *wire.Partial {
	p := &wire.Partial{Missing: e.Missing, Unnamed: e.Unnamed}
	if e.Cause != nil {
		p.Reason = e.Cause.Error()
	}
	return p
}

// raw is the endpoint.
func (c *call) raw() (any, error) {
	event, args, err := action.ParseEvent(c.body, c.s.limits)
	if err != nil {
		return nil, err
	}
	e := &action.Emit{Namespace: c.query.Get("nsp"), To: c.query["to"], Except: c.query["except"], Event: event, Args: args}
	for name, dst := range map[string]*bool{"volatile": &e.Volatile, "local": &e.Local} {
		if *dst, err = c.flag(name); err != nil {
			return nil, err
		}
	}
	if c.query.Has("compress") {
		may, err := c.flag("compress")
		if err != nil {
			return nil, err
		}
		e.Compress = &may
	}
	for _, name := range []string{"to", "except"} {
		if err := checkNames(name, c.query[name]); err != nil {
			return nil, err
		}
	}
	id := c.onceKey()
	if err := checkOnceKey(id); err != nil {
		return nil, err
	}
	answer, replayed, err := c.a.once(c.r.Context(), id, wire.RawPath+"?"+c.r.URL.RawQuery, c.body, func() (any, error) { return c.a.send(e) })
	if err != nil || !replayed {
		return answer, err
	}
	return emittedBefore(answer)
}

// checkNames bounds names of rooms in a query.
func checkNames(field string, names []string) error {
	if len(names) > maxRooms {
		return bad(field, string(action.TooMany), "is there more than "+strconv.Itoa(maxRooms)+" times")
	}
	for _, name := range names {
		switch {
		case name == "":
			return bad(field, string(action.Malformed), "is empty")
		case len(name) > action.MaxRoomName:
			return bad(field, string(action.TooLong), "is longer than "+strconv.Itoa(action.MaxRoomName)+" bytes")
		}
	}
	return nil
}

// flag returns a parameter that is true or false, false if it is not there.
func (c *call) flag(name string) (bool, error) {
	switch c.query.Get(name) {
	case "true", "1":
		return true, nil
	case "", "false", "0":
		return false, nil
	}
	return false, bad(name, string(action.WrongType), "is to be true or false")
}
