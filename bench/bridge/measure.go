package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/bench/client"
	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/bench/swarm"
)

// measure starts a side, has its load driven, and ends it.
func measure(v side, t trial) (figure, error) {
	s, err := start(v)
	if err != nil {
		return figure{}, err
	}
	defer s.end()
	return t.drive(s, t)
}

// generated has the load generator do it all.
func generated(s setting, t trial) (figure, error) {
	c := s.config(t.load)
	c.Clients = t.clients
	r, err := swarm.Run(context.Background(), c, launch, nil)
	if err != nil {
		return figure{}, err
	}
	if !r.OK || r.Server == nil {
		return figure{}, errors.New(strings.Join(r.Problems, ", "))
	}
	n := float64(r.Window.Delivered)
	if c.Scenario == swarm.Broadcast {
		n = float64(r.Window.Sent)
	}
	return figureOf(r.Server.Each, n)
}

// figureOf is what each of n units cost the application, and the edge if there is one.
func figureOf(each []swarm.Use, n float64) (f figure, err error) {
	if n <= 0 {
		return f, errors.New("nothing was done")
	}
	f.app, f.user = 1e6*each[0].CPUSeconds/n, 1e6*each[0].UserSeconds/n
	if len(each) > 1 {
		f.edge = 1e6 * each[1].CPUSeconds / n
	}
	return f, nil
}

// A crowd is clients that stay until it is dismissed. Its methods are called by one
// goroutine.
type crowd struct {
	cancel  context.CancelFunc
	inside  chan struct{} // closed when all are there
	ended   chan struct{}
	strange atomic.Uint64 // events that they have got, as of the last second
	report  *swarm.Report // these two are set before ended is closed
	err     error
}

// gather has clients come, and returns when they are there.
func gather(s setting, clients int, length time.Duration) (*crowd, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &crowd{cancel: cancel, inside: make(chan struct{}), ended: make(chan struct{})}
	there := sync.OnceFunc(func() { close(w.inside) })
	c := s.config(swarm.Config{Scenario: swarm.Idle, Clients: clients, Settle: 2 * time.Second, Duration: length})
	// ends when it is dismissed, or after length
	go func() {
		defer close(w.ended)
		w.report, w.err = swarm.Run(ctx, c, launch, func(st swarm.Status) {
			w.strange.Store(st.Counts.Strange)
			if st.Phase == "run" {
				there()
			}
		})
	}()
	select {
	case <-w.inside:
		return w, nil
	case <-w.ended:
		cancel()
		if w.err == nil {
			w.err = errors.New(strings.Join(w.report.Problems, ", "))
		}
		return nil, w.err
	}
}

// hears waits until they have got so many events, all together.
func (w *crowd) hears(n uint64) error {
	last, since := uint64(0), time.Now()
	for w.strange.Load() < n {
		select {
		case <-w.ended:
			return errors.Join(w.err, errors.New("the clients left before they had everything"))
		case <-time.After(20 * time.Millisecond):
		}
		if now := w.strange.Load(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > client.Patience {
			return fmt.Errorf("%d of %d events have arrived, and no more do", now, n)
		}
	}
	return nil
}

// dismiss ends them and returns what was seen. Events that they did not expect are exactly
// so many.
func (w *crowd) dismiss(events uint64) (*swarm.Report, error) {
	w.cancel()
	<-w.ended
	if w.err != nil {
		return nil, w.err
	}
	if got := w.report.Total.Strange; got != events {
		return nil, fmt.Errorf("%d events arrived, want %d", got, events)
	}
	wrong := slices.DeleteFunc(slices.Clone(w.report.Problems), func(p string) bool { return p == "interrupted" || strings.HasSuffix(p, "strange or damaged") })
	if len(wrong) > 0 || w.report.Server == nil {
		return nil, errors.New(strings.Join(append(wrong, "nothing was measured"), ", "))
	}
	return w.report, nil
}

// idle has clients that do nothing: what one takes, and what its heartbeats do.
func idle(s setting, t trial) (figure, error) {
	before, err := s.memory()
	if err != nil {
		return figure{}, err
	}
	w, err := gather(s, t.clients, t.length+time.Minute)
	if err != nil {
		return figure{}, err
	}
	defer w.cancel()
	from, err := s.use()
	if err != nil {
		return figure{}, err
	}
	time.Sleep(t.length) // that is what is measured: an interval of their heartbeats
	to, err := s.use()
	if err != nil {
		return figure{}, err
	}
	n := float64(t.clients)
	f, err := to.since(from, n*t.length.Seconds())
	if err != nil {
		return f, err
	}
	after, err := s.memory()
	if err != nil {
		return f, err
	}
	r, err := w.dismiss(0)
	if err != nil {
		return f, err
	}
	f.heap, f.rss = float64(after.Heap-before.Heap)/n, float64(after.RSS-before.RSS)/n
	f.connecting = 1e6 * r.Server.Each[0].ConnectSeconds / n
	if len(r.Server.Each) > 1 {
		e := r.Server.Each[1]
		f.edgeRSS, f.edgeAccepted = float64(e.RSSConnected-e.RSSBefore)/n, 1e6*e.ConnectSeconds/n
	}
	return f, nil
}

// A size is what the application takes after a garbage collection, in bytes.
type size struct {
	RSS  int64 `json:"rss"`
	Heap int64 `json:"heapUsed"`
}

// memory asks the application. Its heap is what it tells; RSS is read from outside.
func (s setting) memory() (size, error) {
	var got []size
	c, err := client.Dial(s.addr)
	if err != nil {
		return size{}, err
	}
	defer c.Close()
	if err := c.Send(`421["memory"]`); err != nil {
		return size{}, err
	}
	b, err := c.AwaitRest("431")
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err == nil && len(got) != 1 {
		err = fmt.Errorf("the application tells its memory as %.100q", b)
	}
	if err != nil {
		return size{}, err
	}
	got[0].RSS, err = host.Resident(s.app.Process.Pid)
	return got[0], err
}

// deliveries is how many events a plain Node server sends in a second, at most about.
const deliveries = 40_000

// shout has the application emit to all clients, as it would by itself. With an edge before
// it, it is many more: there the time is the edge's, which has them in groups.
func shout(s setting, t trial) (figure, error) {
	w, err := gather(s, t.clients, t.length+5*time.Minute)
	if err != nil {
		return figure{}, err
	}
	defer w.cancel()
	c, err := client.Dial(s.addr)
	if err != nil {
		return figure{}, err
	}
	defer c.Close()
	n := max(4, int(deliveries*t.length.Seconds())/t.clients)
	if s.edge != nil {
		n = min(250*n, 4000)
	}
	told := 0
	tell := func(n int) error {
		if err := ask(c, "flood", n, true); err != nil {
			return err
		}
		told += n
		return w.hears(uint64(told) * uint64(t.clients))
	}
	if err := tell(n); err != nil { // Node's compiler needs a while
		return figure{}, err
	}
	from, err := s.use()
	if err != nil {
		return figure{}, err
	}
	if err := errors.Join(tell(n), s.quiet()); err != nil {
		return figure{}, err
	}
	to, err := s.use()
	if err != nil {
		return figure{}, err
	}
	if _, err := w.dismiss(uint64(told) * uint64(t.clients)); err != nil {
		return figure{}, err
	}
	return to.since(from, float64(n))
}

// ask has the application emit n events, to all or to who asks, and returns when it has.
func ask(c *client.Conn, event string, n int, all bool) error {
	if err := c.Send(fmt.Sprintf(`421[%q,%d,%v]`, event, n, all)); err != nil {
		return err
	}
	return c.Await("431[true]")
}

// batch is how many events are under way from, or to, one client.
const batch = 64

// notes has clients send events that nobody answers, and one that is after each batch.
func notes(s setting, t trial) (figure, error) {
	one := []byte(`42["note","` + strings.Repeat("x", 64-len(`42["note",""]`)) + `"]`)
	var packets []byte
	for range batch - 1 {
		packets = client.AppendPacket(packets, one)
	}
	packets = client.AppendPacket(packets, []byte(`421["echo","`+strings.Repeat("x", 64-len(`421["echo",""]`))+`"]`))
	return s.driven(t, func(c *client.Conn) (int, error) {
		if _, err := c.Write(packets); err != nil {
			return 0, err
		}
		return batch, c.Await("431[")
	})
}

// floods has each client be sent events, as many as it has asked for.
func floods(s setting, t trial) (figure, error) {
	return s.driven(t, func(c *client.Conn) (int, error) {
		if err := c.Send(fmt.Sprintf(`421["flood",%d,false]`, batch)); err != nil {
			return 0, err
		}
		for seen := 0; ; {
			p, err := c.Next()
			switch {
			case err != nil:
				return seen, err
			case bytes.HasPrefix(p, []byte(`42["tick"`)):
				seen++
			case string(p) == "431[true]" && seen == batch:
				return batch, nil
			default:
				return seen, fmt.Errorf("after %d events of %d comes %.100q", seen, batch, p)
			}
		}
	})
}

// driven has clients do something again and again, which returns how many units of work
// that was, and measures once they have warmed the servers up.
func (s setting) driven(t trial, do func(*client.Conn) (int, error)) (figure, error) {
	clients := make([]*client.Conn, t.clients)
	for i := range clients {
		var err error
		if clients[i], err = client.Dial(s.addr); err != nil {
			return figure{}, err
		}
		defer clients[i].Close()
	}
	round := func(length time.Duration) (float64, error) {
		var done atomic.Int64
		failures := make([]error, len(clients))
		var all sync.WaitGroup
		for i, c := range clients {
			all.Go(func() { // ends after length
				for end := time.Now().Add(length); time.Now().Before(end) && failures[i] == nil; {
					var n int
					n, failures[i] = do(c)
					done.Add(int64(n))
				}
			})
		}
		all.Wait()
		return float64(done.Load()), errors.Join(append(failures, s.quiet())...)
	}
	if _, err := round(max(time.Second, t.length/2)); err != nil {
		return figure{}, err
	}
	from, err := s.use()
	if err != nil {
		return figure{}, err
	}
	n, err := round(t.length)
	if err != nil {
		return figure{}, err
	}
	to, err := s.use()
	if err != nil {
		return figure{}, err
	}
	return to.since(from, n)
}
