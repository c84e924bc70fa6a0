package swarm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

type phase uint8

// The phases of a worker.
const (
	phWait    phase = iota // no job yet
	phConnect              // clients are connecting
	phHold                 // ready, no go yet
	phRun                  // sending
	phStopped              // sending no more
	phDrain                // waiting for what is owed
	phDone                 // drained, waiting to quit
)

const (
	commandToken = -1
	statEvery    = int64(time.Second)
	accEvery     = int64(200 * time.Microsecond)
	lateAfter    = int64(10 * time.Millisecond)
	maxLatency   = int64(10 * time.Minute / time.Microsecond)
)

// A worker connects and drives its share of the clients. Everything in it is
// owned by the goroutine that runs it.
type worker struct {
	job     job
	cfg     Config
	wire    *wire
	target  netip.AddrPort
	sources []netip.Addr
	random  *rand.Rand
	phase   phase
	quit    bool

	poll    *poller
	in      int // descriptor of the commands
	partial []byte
	out     *os.File
	buf     []byte // one read of any client
	frameBuf, packetBuf,
	burstBuf []byte
	at int64 // Unix ns of the read being parsed

	clients  []client
	carry    map[int32][]byte
	parts    map[int32][]byte
	unsent   map[int32][]byte
	started  int // clients whose first connection was begun
	pending  int // between stConnecting and stLive
	closing  int
	connects schedule

	ledger  *ledger
	streams int // a client's streams in the ledger
	accounts
	senders

	counts      Counts // all but what the ledger counts
	window      Counts // counts at the mark
	errors      map[string]int
	latency     *hdrhistogram.Histogram // µs
	connectHist *hdrhistogram.Histogram // µs
	lastNS      int64
	drainEnd    int64

	load
	nextStat                 int64
	firstNS, readyNS, markNS int64
	rssBefore, rssAfter      int64
}

// Worker runs one worker: it reads commands from in and writes events to out
// until it is told to quit or in ends. It locks its goroutine to a thread and
// makes in non-blocking. The error says what kept it from working; faults of
// the server and of connections are counted, not returned.
func Worker(in, out *os.File) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := &worker{in: int(in.Fd()), out: out}
	if err := unix.SetNonblock(w.in, true); err != nil {
		return fmt.Errorf("swarm: commands: %w", err)
	}
	poll, err := newPoller()
	if err != nil {
		return fmt.Errorf("swarm: poller: %w", err)
	}
	defer poll.close()
	w.poll = poll
	if err := poll.addCommands(w.in, commandToken); err != nil {
		return fmt.Errorf("swarm: poller: %w", err)
	}
	defer func() {
		for i := range w.clients {
			w.release(int32(i))
		}
	}()
	err = w.run()
	if err != nil {
		w.tell(event{Ev: evBroken, Reason: err.Error()})
	}
	return err
}

// run is the loop.
func (w *worker) run() error {
	var events []ready
	for !w.quit {
		before := time.Now().UnixNano()
		wait := time.Second
		if w.phase != phWait {
			wait = w.patience(before)
		}
		var err error
		if events, err = w.poll.wait(events[:0], wait); err != nil {
			return fmt.Errorf("swarm: poller: %w", err)
		}
		now := time.Now().UnixNano()
		if wait > 0 || len(events) == 0 {
			w.idle += now - before
		}
		for _, e := range events {
			if e.token != commandToken {
				w.onReady(e.token, e)
			} else if err := w.commands(); err != nil {
				return err
			}
		}
		if w.phase >= phRun {
			w.readReaders()
		}
		if w.phase != phWait {
			w.tick(time.Now().UnixNano())
		}
	}
	return nil
}

// patience is how long the worker may sleep.
func (w *worker) patience(now int64) time.Duration {
	if w.cfg.BusyPoll {
		return 0
	}
	next := w.nextStat
	if w.phase == phConnect && w.started < len(w.clients) && w.pending < w.maxPending() {
		next = min(next, w.connects.due())
	}
	if w.phase == phRun {
		next = min(next, w.nextSend())
	}
	if len(w.wakes) > 0 {
		next = min(next, w.wakes[0].at)
	}
	if w.phase == phDrain {
		next = min(next, w.drainEnd)
	}
	if w.accDirty {
		next = min(next, w.accAt+accEvery)
	}
	return max(0, time.Duration(next-now))
}

// tick does what time, not a socket, asks for.
func (w *worker) tick(now int64) {
	if w.phase == phConnect {
		w.connectDue(now)
	}
	w.wakeDue(now)
	if w.phase == phRun {
		w.sendDue(now)
	}
	if w.accDirty && (w.accUrgent || now-w.accAt >= accEvery) {
		w.reportAcc(now)
	}
	if w.phase == phDrain && (w.settled() || now >= w.drainEnd) {
		w.drained(now)
	}
	if now >= w.nextStat {
		w.nextStat = now + statEvery
		w.load.second(now)
		if w.pending+w.closing > 0 {
			w.expire(now)
		}
		if counts := w.total(); w.phase < phDone { // evDrained has the last word
			w.tell(event{Ev: evStat, Now: &counts})
		}
	}
}

// maxPending bounds the handshakes under way, below the smallest listen backlog
// in use (511), so that a burst costs no retransmission.
func (w *worker) maxPending() int { return max(8, 256/w.job.Workers) }

// connectDue begins the connections whose time has come.
func (w *worker) connectDue(now int64) {
	for w.started < len(w.clients) && w.pending < w.maxPending() && w.connects.due() <= now {
		if w.started == 0 {
			w.firstNS = now
		}
		w.connects.k++
		w.started++
		w.connect(int32(w.started - 1))
	}
	if w.started < len(w.clients) || w.pending > 0 {
		return
	}
	w.phase = phHold
	w.readyNS = now
	w.rssAfter = selfRSS()
	w.connectBusy = w.load.busy(now)
	counts := w.total()
	w.tell(event{Ev: evReady, Now: &counts, Members: w.members})
}

// source is the local address of client i; the zero Addr leaves it to the
// system.
func (w *worker) source(i int32) netip.Addr {
	if len(w.sources) == 0 {
		return netip.Addr{}
	}
	return w.sources[int(i)%len(w.sources)]
}

// commands reads and obeys what the coordinator has written.
func (w *worker) commands() error {
	var b [32 << 10]byte
	n, err := unix.Read(w.in, b[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("swarm: commands: %w", err)
	}
	if n == 0 {
		w.quit = true // the coordinator is gone
		return nil
	}
	w.partial = append(w.partial, b[:n]...)
	for {
		line, rest, ok := bytes.Cut(w.partial, []byte("\n"))
		if !ok {
			return nil
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("swarm: command %.40q: %w", line, err)
		}
		w.partial = append(w.partial[:0], rest...)
		if err := w.obey(c); err != nil {
			return err
		}
	}
}

func (w *worker) obey(c command) error {
	now := time.Now().UnixNano()
	switch c.Do {
	case doJob:
		return w.start(*c.Job, now)
	case doGo:
		w.startSending(c.Members, now)
	case doMark:
		w.mark(now)
	case doAcc:
		w.heard(c.Acc, c.Died)
	case doStop:
		w.stopSending()
	case doDrain:
		w.phase = phDrain
		w.drainEnd = now + int64(c.Wait)
		w.owe(c.Sent)
	case doQuit:
		w.quit = true
	}
	return nil
}

// start takes the job and begins to connect.
func (w *worker) start(j job, now int64) error {
	target, err := netip.ParseAddrPort(j.Address)
	if err != nil {
		return fmt.Errorf("swarm: address: %w", err)
	}
	for _, s := range j.Sources {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("swarm: source: %w", err)
		}
		w.sources = append(w.sources, a)
	}
	w.job, w.cfg, w.target = j, j.Config, target
	w.wire = newWire(w.cfg, j.Run)
	w.random = rand.New(rand.NewPCG(uint64(j.Run), uint64(j.Index)))
	w.rssBefore = selfRSS()
	w.buf = make([]byte, 64<<10)
	w.carry, w.parts, w.unsent = map[int32][]byte{}, map[int32][]byte{}, map[int32][]byte{}
	w.errors = map[string]int{}
	w.latency = hdrhistogram.New(1, maxLatency, 3)
	w.connectHist = hdrhistogram.New(1, maxLatency, 3)
	w.clients = make([]client, j.clients())
	w.initAccounts()
	for i := range w.clients {
		w.clients[i].fd = -1
		w.clients[i].room = uint16((i*j.Workers + j.Index) % w.cfg.Rooms)
	}
	interval := float64(time.Second) / w.cfg.Rate
	w.connects = schedule{start: now + int64(interval*float64(j.Index)), interval: interval * float64(j.Workers)}
	w.nextStat = now + statEvery
	w.load.reset(now)
	w.left = -1
	w.phase = phConnect
	if len(w.readerSent) > 0 {
		w.poll.atMost(32) // what the readers' answers wait for, see readReaders
	}
	return nil
}

// mark begins the measured window.
func (w *worker) mark(now int64) {
	w.markNS = now
	w.window = w.total()
	w.latency.Reset()
	w.readerHist.Reset()
	w.load.reset(now)
	w.blocked = 0
	w.left = -1
	if w.cfg.Messages > 0 {
		w.left = w.messages()
	}
	w.tell(event{Ev: evMarked})
}

// total is everything counted so far.
func (w *worker) total() Counts {
	c := w.counts
	if w.cfg.Scenario != Churn && w.cfg.Scenario != Avalanche {
		c.Delivered = w.ledger.delivered
	}
	c.Lost = w.ledger.missing + w.echoes.missing
	c.Duplicated = w.ledger.duplicated + w.echoes.duplicated
	c.OutOfOrder = w.ledger.outOfOrder + w.echoes.outOfOrder
	return c
}

// drained tells the end result.
func (w *worker) drained(now int64) {
	w.phase = phDone
	gen := w.load.generator(now)
	gen.Worker, gen.Clients = w.job.Index, len(w.clients)
	counts := w.total()
	counts.Lost += w.owed()
	window := w.total()
	window.sub(w.window)
	w.tell(event{
		Ev: evDrained, Now: &counts, Errors: w.errors, Gen: &gen,
		Final: &final{
			Window: window, LastNS: w.lastNS, FirstNS: w.firstNS, ReadyNS: w.readyNS, MarkNS: w.markNS,
			TableBytes: len(w.clients)*int(unsafe.Sizeof(client{})) + w.ledger.bytes() + w.senders.bytes(),
			RSSBytes:   max(0, w.rssAfter-w.rssBefore),
		},
		Hist: map[string][]byte{histLatency: encode(w.latency), histConnect: encode(w.connectHist), histReader: encode(w.readerHist)},
	})
}

func encode(h *hdrhistogram.Histogram) []byte {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic("swarm: histogram: " + err.Error()) // it only writes to memory
	}
	return b
}

// tell writes one event. A coordinator that is gone is noticed at in.
func (w *worker) tell(e event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic("swarm: event: " + err.Error())
	}
	_, _ = w.out.Write(append(b, '\n'))
}
