package crowd

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A link is a session of a client: Socket.IO packets as text, such as 2["event"], in both
// directions. Send may be called by one goroutine and receive by another.
type link interface {
	send(packet []byte) error
	// receive returns the next packet, which is valid until the next call.
	receive() ([]byte, error)
	close()
}

// A client is what one program would be.
type client struct {
	crowd     *Crowd
	kind      Kind
	room      *room
	publishes bool
	came      bool // of run

	mu     sync.Mutex
	l      link
	asked  []time.Time // of the questions that are not answered, in order
	first  int64       // the number of the first of them
	next   int64       // the number of the next question
	last   int64       // the number of the room that came last; 0: none
	ended  bool        // it was cut off
	joined atomic.Bool
	gone   atomic.Bool // by its own will
}

// leastID is the first number of a question: join has one below.
const leastID = 100

var errGone = errors.New("the client has gone")

// run is the client's life: one session, or of who upgrades one behind the other.
func (c *client) run() {
	sent := false
	defer func() {
		if !sent {
			c.crowd.sending.Done()
		}
	}()
	for {
		err := c.session(func() {
			if !sent {
				sent = true
				c.crowd.sending.Done()
			}
		})
		select {
		case <-c.crowd.leaving:
			return
		default:
		}
		if err != nil && !errors.Is(err, errGone) {
			c.mu.Lock()
			c.ended = true
			c.mu.Unlock()
			c.crowd.report.change(func(r *Report) { r.Disconnects++ })
			c.crowd.report.problem("%s: %v", c.kind, err)
			return
		}
		select {
		case <-c.crowd.stopping:
			return
		default:
		}
	}
}

// session opens one, talks, and ends with it. Done is called when nothing more is sent.
func (c *client) session(done func()) error {
	l, err := dial(c.kind, c.crowd.c.Addr)
	if err != nil {
		return fmt.Errorf("could not connect: %w", err)
	}
	defer l.close()
	c.mu.Lock()
	c.l, c.asked, c.first, c.next, c.last = l, nil, leastID, leastID, 0
	c.mu.Unlock()
	c.gone.Store(false)
	c.joined.Store(false)
	opened := make(chan struct{})
	failed := make(chan error, 1)
	// ends with the link
	go func() { failed <- c.read(l, opened) }()
	if c.kind != EIO3 { // which is in / by itself
		if err := l.send([]byte("0")); err != nil {
			return fmt.Errorf("could not enter: %w", err)
		}
	}
	select {
	case err := <-failed:
		return err
	case <-time.After(patience):
		return errors.New("it was not let in in time")
	case <-opened:
	}
	if !c.came {
		c.came = true
		c.crowd.joined.Add(1)
		c.crowd.report.change(func(r *Report) { r.Clients[c.kind]++ })
	}
	c.crowd.report.change(func(r *Report) { r.Sessions++ })
	talked := make(chan error, 1)
	// ends when it has said what it had to
	go func() { talked <- c.talk(l) }()
	select {
	case err := <-failed:
		return errors.Join(err, <-talked)
	case err := <-talked:
		if err != nil {
			return err
		}
	}
	select {
	case <-c.crowd.stopping:
		done()
		return <-failed // by hangUp
	default:
		c.settle()
		c.gone.Store(true)
		l.close()
		<-failed
		return errGone
	}
}

// talk asks, and publishes, until nothing more is to be sent or, of who upgrades, for some
// questions.
func (c *client) talk(l link) error {
	var packet []byte
	pad := strings.Repeat("x", 20)
	if c.kind == Slow {
		pad = strings.Repeat("y", 48<<10)
	}
	published, enough := time.Time{}, 4+rand.IntN(8)
	for n := 0; ; n++ {
		if c.kind == Upgrading && n >= enough && !c.publishes {
			return nil
		}
		if !c.crowd.wait(c.crowd.c.Every) {
			return nil
		}
		c.mu.Lock()
		if c.kind == Slow && len(c.asked) >= 3 { // so much that it does not keep up is another test
			c.mu.Unlock()
			continue
		}
		id := c.next
		c.next++
		c.asked = append(c.asked, time.Now())
		c.mu.Unlock()
		packet = append(strconv.AppendInt(append(packet[:0], '2'), id, 10), `["echo",`...)
		packet = append(append(append(strconv.AppendInt(packet, id, 10), `,"`...), pad...), `"]`...)
		if err := l.send(packet); err != nil {
			return err
		}
		if c.publishes && time.Since(published) >= c.crowd.c.Publish*2/3 {
			published = time.Now()
			packet = append(append(append(packet[:0], `2["publish","`...), c.room.name...), `",`...)
			packet = append(strconv.AppendInt(packet, c.room.last.Add(1), 10), ']')
			if err := l.send(packet); err != nil {
				return err
			}
		}
	}
}

// read takes what comes until the link ends. Opened is closed when the client is in its
// room.
func (c *client) read(l link, opened chan struct{}) error {
	for {
		p, err := l.receive()
		if err != nil {
			if c.gone.Load() {
				return errGone
			}
			return err
		}
		switch {
		case len(p) == 0:
		case p[0] == '0':
			if err := l.send([]byte(`21["join","` + c.room.name + `"]`)); err != nil {
				return err
			}
		case bytes.HasPrefix(p, []byte("31[")):
			if c.joined.Swap(true) {
				return errors.New("it joined twice")
			}
			close(opened)
		case p[0] == '3':
			c.answered(p)
		case bytes.HasPrefix(p, []byte(`2["msg",`)):
			c.told(p)
		default:
			return fmt.Errorf("unexpected packet %.100s", p)
		}
	}
}

// answered takes an acknowledgement: 3<id>[<id>,…].
func (c *client) answered(p []byte) {
	id, rest, ok := number(p[1:], '[')
	again, _, same := number(rest, ',')
	if !ok || !same || id != again {
		c.crowd.report.problem("%s: the answer %.60s", c.kind, p)
		return
	}
	c.mu.Lock()
	var asked time.Time
	skipped, old := int64(0), id < c.first
	if !old && id < c.next {
		skipped = id - c.first
		asked = c.asked[skipped]
		c.asked, c.first = c.asked[skipped+1:], id+1
	}
	c.mu.Unlock()
	switch {
	case old:
		c.crowd.report.change(func(r *Report) { r.Doubled++ })
		c.crowd.report.problem("%s: answer %d came again", c.kind, id)
	case asked.IsZero():
		c.crowd.report.problem("%s: answer %d was not asked for", c.kind, id)
	default:
		c.crowd.report.echo(asked, c.kind.prompt())
		c.lost(skipped, "answers before %d", id)
	}
}

// told takes a number of the room: 2["msg",<n>], with an offset behind it where there is
// recovery.
func (c *client) told(p []byte) {
	n, _, ok := number(p[len(`2["msg",`):], ',')
	if !ok {
		c.crowd.report.problem("%s: the message %.60s", c.kind, p)
		return
	}
	c.mu.Lock()
	last := c.last
	c.last = max(last, n)
	c.mu.Unlock()
	switch {
	case last == 0 || n == last+1:
		c.crowd.report.change(func(r *Report) { r.Messages++ })
	case n <= last:
		c.crowd.report.change(func(r *Report) { r.Doubled++ })
		c.crowd.report.problem("%s: message %d came behind %d", c.kind, n, last)
	default:
		c.lost(n-last-1, "messages before %d", n)
	}
}

func (c *client) lost(n int64, format string, args ...any) {
	if n > 0 {
		c.crowd.report.change(func(r *Report) { r.Lost += n })
		c.crowd.report.problem("%s: %d lost: %s", c.kind, n, fmt.Sprintf(format, args...))
	}
}

// settle waits until everything has come that is owed.
func (c *client) settle() {
	stopped := func() bool {
		select {
		case <-c.crowd.stopping:
			return true
		default:
			return false
		}
	}
	for end := time.Now().Add(c.crowd.c.Patience); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		answers, messages := int64(len(c.asked)), int64(0)
		if c.last != 0 && stopped() {
			messages = c.room.last.Load() - c.last
		}
		ended := c.ended || !c.joined.Load()
		c.mu.Unlock()
		switch {
		case ended || answers+messages == 0:
			return
		case time.Now().After(end):
			c.lost(answers+messages, "%d answers and %d messages at the end", answers, messages)
			return
		}
	}
}

// hangUp ends the session.
func (c *client) hangUp() {
	c.gone.Store(true)
	c.mu.Lock()
	l := c.l
	c.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// number parses a number that ends in a byte, or as the last of a list.
func number(p []byte, end byte) (n int64, rest []byte, ok bool) {
	i := bytes.IndexByte(p, end)
	if j := bytes.IndexByte(p, ']'); i < 0 || j >= 0 && j < i {
		i = j // the last argument
	}
	if i < 0 {
		return 0, nil, false
	}
	n, err := strconv.ParseInt(string(p[:i]), 10, 64)
	return n, p[i+1:], err == nil
}
