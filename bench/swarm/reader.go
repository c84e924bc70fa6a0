package swarm

import "github.com/HdrHistogram/hdrhistogram-go"

// readers are the clients of Reader that get no broadcast and echo at a fixed
// rate instead: the last ones by their global numbers.
type readers struct {
	firstReader int32   // this worker's clients from here on are readers
	echoes      *ledger // by reader
	readerSent  []uint32
	echoesOwed  int64
	readPlan    schedule
	readCursor  int
	readerHist  *hdrhistogram.Histogram // µs
}

func (w *worker) initReaders() {
	w.firstReader = int32(len(w.clients))
	if w.cfg.Scenario == Reader {
		w.firstReader = int32(share(w.cfg.Clients-w.cfg.Active, w.job.Index, w.job.Workers))
	}
	n := len(w.clients) - int(w.firstReader)
	w.echoes, w.readerSent = newLedger(n), make([]uint32, n)
	w.readerHist = hdrhistogram.New(1, maxLatency, 3)
}

func (w *worker) isReader(i int32) bool { return i >= w.firstReader }

// startReading begins the schedule of the echoes.
func (w *worker) startReading(now int64) {
	if n := len(w.readerSent); n > 0 {
		w.readPlan = everyNS(now, w.cfg.EchoRate*float64(n)/float64(w.cfg.Active), w.job.Index, w.job.Workers)
	}
}

// readDue sends the echoes that are due, the readers in turn. They count from
// when they were due, so that a stall is seen by all echoes that fall into it.
func (w *worker) readDue(now int64) {
	for n := 0; w.readPlan.interval > 0 && w.readPlan.due() <= now && n < maxBurst; n++ {
		due := w.readPlan.due()
		w.readPlan.k++
		w.readCursor = (w.readCursor + 1) % len(w.readerSent)
		i := w.firstReader + int32(w.readCursor)
		if w.clients[i].state != stLive {
			continue
		}
		seq := &w.readerSent[w.readCursor]
		w.packetBuf = w.wire.appendEcho(w.packetBuf[:0], stamp{seq: *seq, at: due})
		*seq++
		w.echoesOwed++
		w.sendFrame(i, opText, w.packetBuf)
	}
}

// readReaders looks at the readers' sockets before those of the broadcast's
// receivers that are ready too, whose number is the generator's and not the
// server's.
func (w *worker) readReaders() {
	for i := w.firstReader; int(i) < len(w.clients); i++ {
		if w.clients[i].state == stLive {
			w.read(i, false)
		}
	}
}

// readerAcked counts the ack of a reader's echo.
func (w *worker) readerAcked(i int32, id uint32, args []byte) {
	r := i - w.firstReader
	s, ok := w.wire.parseEchoed(args)
	if !ok || s.seq != id || id >= w.readerSent[r] {
		w.counts.Strange++
		return
	}
	if moved := w.echoes.observe(r, id); moved > 0 {
		w.echoesOwed -= int64(moved)
		_ = w.readerHist.RecordValue(clampLatency(w.at - s.at))
	}
}

// readerLost settles the accounts of live reader i, which is gone.
func (w *worker) readerLost(i int32) {
	r := i - w.firstReader
	w.echoes.forget(r)
	w.echoesOwed -= int64(w.readerSent[r] - w.echoes.next[r])
}
