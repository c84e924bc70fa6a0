package swarm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Status is how a run stands, once a second.
type Status struct {
	Phase   string // "connect", "warmup", "run", "drain"
	Elapsed time.Duration
	Clients int    // configured
	Counts  Counts // so far
	Change  Counts // since the Status before
	Since   time.Duration
}

// Run loads a server as cfg says and returns what was measured. launch starts
// the workers. progress, if not nil, is called once a second from Run's
// goroutine.
//
// When ctx ends, Run stops sending, waits two seconds at most for what is owed
// and returns what it has, marked Interrupted. The error is a *ConfigError, or
// says why there was no run to report; a server that loses messages or refuses
// clients makes a Report that is not OK, not an error.
func Run(ctx context.Context, cfg Config, launch Launcher, progress func(Status)) (*Report, error) {
	cfg, err := cfg.WithDefaults()
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, progress: progress, events: make(chan workerEvent, 1024), begin: time.Now()}
	if r.procs, err = cfg.workers(openLimit()); err != nil {
		return nil, err
	}
	address, err := resolve(ctx, cfg.URL)
	if err != nil {
		return nil, err
	}
	if r.before, err = usageOf(cfg.PIDs); err != nil {
		return nil, err
	}
	defer r.end()
	if err := r.launch(launch, address); err != nil {
		return nil, err
	}
	timeout, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, errTimeout)
	defer cancel()
	if err := r.phases(timeout); err != nil {
		return nil, err
	}
	return r.report(), nil
}

var (
	errTimeout = errors.New("timeout")
	errStalled = errors.New("stalled")
	errLimit   = errors.New("limit")
)

// run is one Run. Owned by its goroutine; the readers of the workers' output
// only send events.
type run struct {
	cfg      Config
	procs    int
	progress func(Status)
	begin    time.Time
	phase    string
	events   chan workerEvent
	workers  []*remote

	members  []int32 // by room
	died     []int32 // not yet told to the publishers
	accDirty bool
	going    bool

	before, connected, marked, ended usage
	markAt                           time.Time
	held                             time.Duration // length of the window in Idle
	readyLive                        int           // connected when all were ready
	interrupted, timedOut, stalled   bool
	serverGone                       bool // so its use is not known

	shown   Counts
	shownAt time.Time
	moved   Counts // when progress was last seen
	movedAt time.Time
}

// remote is a worker as the coordinator sees it.
type remote struct {
	proc    *Process
	index   int
	gone    bool
	ready   bool
	marked  bool
	stopped bool
	now     Counts
	acc     []int64
	sent    map[int][]uint32
	drained *event
}

type workerEvent struct {
	worker int
	event  event
	err    error // the worker's output ended
}

// resolve turns the URL's host into an address.
func resolve(ctx context.Context, raw string) (netip.AddrPort, error) {
	t, err := parseTarget(raw)
	if err != nil {
		return netip.AddrPort{}, err
	}
	host, port, err := net.SplitHostPort(t.host)
	if err != nil {
		return netip.AddrPort{}, &ConfigError{"URL", err.Error()}
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return netip.AddrPort{}, &ConfigError{"URL", err.Error()}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("swarm: %w", err)
	}
	at := max(0, slices.IndexFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is4() }))
	return netip.AddrPortFrom(addrs[at].Unmap(), uint16(number)), nil
}

// launch starts the workers and gives them their jobs.
func (r *run) launch(launch Launcher, address netip.AddrPort) error {
	tag := uint16(rand.Uint32())
	for i := range r.procs {
		p, err := launch(i)
		if err != nil {
			return err
		}
		r.workers = append(r.workers, &remote{proc: p, index: i})
		go r.listen(i, p) // ends with the worker's output
	}
	for i, w := range r.workers {
		r.send(w, command{Do: doJob, Job: &job{
			Config: r.cfg, Index: i, Workers: r.procs, Run: tag,
			Address: address.String(), Sources: r.cfg.sourcesOf(i, r.procs, address.Addr()),
		}})
	}
	return nil
}

func (r *run) listen(i int, p *Process) {
	lines := bufio.NewScanner(p.Out)
	lines.Buffer(make([]byte, 64<<10), 256<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			r.events <- workerEvent{worker: i, err: fmt.Errorf("event %.60q: %w", lines.Bytes(), err)}
			return
		}
		r.events <- workerEvent{worker: i, event: e}
	}
	err := lines.Err()
	if err == nil {
		err = errors.New("ended early")
	}
	r.events <- workerEvent{worker: i, err: err}
}

func (r *run) send(w *remote, c command) {
	if w.gone {
		return
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic("swarm: command: " + err.Error())
	}
	_, _ = w.proc.In.Write(append(b, '\n')) // a worker that is gone is noticed at its output
}

func (r *run) sendAll(c command) {
	for _, w := range r.workers {
		r.send(w, c)
	}
}

func (r *run) all(cond func(*remote) bool) func() bool {
	return func() bool { return !slices.ContainsFunc(r.workers, func(w *remote) bool { return !cond(w) }) }
}

// phases takes the workers through a run.
func (r *run) phases(ctx context.Context) error {
	r.phase = "connect"
	err := r.await(ctx, r.all(func(w *remote) bool { return w.ready }), 0)
	if err == nil && r.cfg.Settle > 0 {
		err = ignore(r.await(ctx, never, r.cfg.Settle), errLimit)
	}
	r.readyLive = r.total().Live
	if err == nil {
		r.look(&r.connected)
		err = r.window(ctx)
	}
	r.interrupted = errors.Is(err, context.Canceled)
	r.timedOut = errors.Is(err, errTimeout)
	if err != nil && !r.interrupted && !r.timedOut {
		return err
	}
	return r.drain()
}

func never() bool { return false }

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// window sends, and measures from the mark to the last message.
func (r *run) window(ctx context.Context) error {
	if r.total().Live == 0 {
		return nil // nothing to measure; the report says why
	}
	r.going = true
	stopped := r.all(func(w *remote) bool { return w.stopped })
	if r.cfg.Warmup > 0 {
		r.phase = "warmup"
		r.sendAll(command{Do: doGo, Members: r.members})
		if err := r.await(ctx, never, r.cfg.Warmup); !errors.Is(err, errLimit) {
			return err
		}
	}
	r.look(&r.marked)
	// All begin the window before the first message of it is sent, else a
	// worker could receive it outside.
	r.sendAll(command{Do: doMark})
	if err := r.await(ctx, r.all(func(w *remote) bool { return w.marked }), 0); err != nil {
		return err
	}
	r.phase, r.markAt, r.movedAt = "run", time.Now(), time.Now()
	if r.cfg.Warmup == 0 {
		r.sendAll(command{Do: doGo, Members: r.members})
	}
	err := r.await(ctx, stopped, r.cfg.Duration)
	r.held = time.Since(r.markAt)
	r.stalled = errors.Is(err, errStalled)
	return ignore(ignore(err, errLimit), errStalled)
}

// drain stops the workers and collects what they counted.
func (r *run) drain() error {
	wait := r.cfg.Drain
	if r.interrupted || r.timedOut {
		wait = min(wait, 2*time.Second)
	}
	r.phase = "drain"
	ctx := context.Background() // bounded by the limits below
	r.sendAll(command{Do: doStop})
	if err := r.await(ctx, r.all(func(w *remote) bool { return w.stopped }), 5*time.Second); err != nil {
		return fmt.Errorf("swarm: workers do not stop: %w", err)
	}
	r.sendAll(command{Do: doDrain, Wait: wait, Sent: r.sent()})
	if err := r.await(ctx, r.all(func(w *remote) bool { return w.drained != nil }), wait+5*time.Second); err != nil {
		return fmt.Errorf("swarm: workers do not drain: %w", err)
	}
	r.look(&r.ended)
	return nil
}

// look notes what the server has used. A server that is gone has nothing said
// about it; its clients have been disconnected, which is.
func (r *run) look(u *usage) {
	var err error
	if *u, err = usageOf(r.cfg.PIDs); err != nil {
		r.serverGone = true
	}
}

// sent gathers what was sent, by publisher and room.
func (r *run) sent() [][]uint32 {
	if !r.cfg.pubSub() {
		return nil
	}
	sent := make([][]uint32, r.cfg.Publishers)
	for p := range sent {
		sent[p] = make([]uint32, r.cfg.Rooms)
	}
	for _, w := range r.workers {
		for p, rooms := range w.sent {
			sent[p] = rooms
		}
	}
	return sent
}

// end lets the workers go and waits for them, and kills those that stay.
func (r *run) end() {
	r.sendAll(command{Do: doQuit})
	for _, w := range r.workers {
		kill := time.AfterFunc(5*time.Second, w.proc.Kill)
		for !w.gone {
			r.note(<-r.events)
		}
		_ = w.proc.In.Close()
		_ = w.proc.Wait()
		kill.Stop()
		_ = w.proc.Out.Close()
	}
}
